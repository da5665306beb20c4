"""REST 1.1. Source: REST reference, section 7."""

import json

import pytest
from msgspec.structs import replace

from fastim.adapters.inprocess import InProcessBus
from fastim.core.events import Event, MessagePosted
from fastim.settings import Rest
from fastim.wire import messages2_pb2 as pb
from tests.doors.office import KEY, Json, Office, enter, first_of, id_of, office, opened

pytestmark = pytest.mark.anyio

MESSAGES = "/1.1/rtm/messages"
LOGS = "/1.1/rtm/messages/logs"
HISTORY = "/1.1/rtm/messages/history"


async def say(rest: Office, conversation_id: str, text: str, by: str = "tom", **more: Json) -> Json:
    """What sending a message answers that is kept; each is sent a second after the one before."""
    rest.node.clock.step(1000)
    fields = {"from_peer": by, "conv_id": conversation_id, "message": text, "transient": False}
    return await rest.post(MESSAGES, **{**fields, **more})


async def texts(rest: Office, target: str) -> list[str]:
    return [item["data"] for item in await rest.get(target)]


async def test_a_message_that_does_not_say_so_is_transient() -> None:
    async with office() as rest:
        room = id_of(await rest.conversation("tom", "jerry"))
        jerry = await opened(rest, "jerry")
        sent = await rest.post(MESSAGES, from_peer="tom", conv_id=room, message="typing")
        assert sent.keys() == {"msg-id", "timestamp"}
        received = (await jerry.receive()).directMessage
        assert (received.msg, received.fromPeerId, received.transient) == (b"typing", "tom", True)
        assert await rest.get(f"{HISTORY}?convid={room}") == []


async def test_a_message_that_says_so_is_kept_and_its_sender_may_go_without() -> None:
    async with office() as rest:
        room = id_of(await rest.conversation("tom", "jerry"))
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        sent = await say(rest, room, "hi", no_sync=True, mention_client_ids=["jerry"], priority="LOW")
        received = (await jerry.receive()).directMessage
        assert (received.id, received.transient, list(received.mentionPids)) == (sent["msg-id"], False, ["jerry"])
        assert await tom.is_silent()
        (item,) = await rest.get(f"{HISTORY}?convid={room}")
        assert item == {
            "timestamp": sent["timestamp"],
            "conv-id": room,
            "data": "hi",
            "from": "tom",
            "msg-id": sent["msg-id"],
            "is-conv": True,
            "is-room": False,
            "to": room,
            "bin": False,
            "from-ip": "127.0.0.1",
        }


async def test_in_a_chat_room_messages_are_of_high_priority_unless_they_say_otherwise() -> None:
    async with office() as rest:
        events: list[Event] = []
        tenant = rest.node.tenant
        rest.node.dispatcher.add(replace(tenant, io=replace(tenant.io, bus=InProcessBus(events.append))))
        room = id_of(await rest.room())
        await say(rest, room, "hi")
        await say(rest, room, "ho", priority="normal")
        await say(rest, room, "hum", priority="Low")
        assert [event.priority for event in events if isinstance(event, MessagePosted)] == [1, 2, 3]


async def test_a_service_conversation_writes_to_some_and_only_it_does() -> None:
    async with office() as rest:
        news = await rest.service()
        room = id_of(await rest.conversation("tom"))
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        await say(rest, id_of(news), "for tom", "editor", to_peers=["tom"])
        assert (await tom.receive()).directMessage.msg == b"for tom"
        assert await jerry.is_silent()
        assert await texts(rest, f"{news}/subscribers/tom/messages") == ["for tom"]
        body = {"from_peer": "tom", "conv_id": room, "message": "hi", "to_peers": ["tom"]}
        assert await rest.refusal("POST", MESSAGES, body) == (400, 4313)


async def test_a_service_conversation_writes_to_all_who_subscribe() -> None:
    async with office() as rest:
        news = await rest.service()
        assert await rest.call("POST", "/1.1/rtm/conversation/subscription", subscription(news), KEY) == {}
        tom = await opened(rest, "tom")
        body = {"from_peer": "editor", "conv_id": id_of(news), "message": "extra"}
        await rest.post("/1.1/rtm/broadcast/subscriber", **body, push={"alert": "extra"})
        await say(rest, id_of(news), "more", "editor")
        assert [(await tom.receive()).directMessage.msg for _ in range(2)] == [b"extra", b"more"]

        assert await rest.call("DELETE", "/1.1/rtm/conversation/subscription", subscription(news), KEY) == {}
        await rest.post("/1.1/rtm/broadcast/subscriber", **body)
        assert await tom.is_silent()
        room = await rest.conversation("tom")
        elsewhere = {**body, "conv_id": id_of(room)}
        assert await rest.refusal("POST", "/1.1/rtm/broadcast/subscriber", elsewhere) == (400, 4313)
        assert await rest.refusal("POST", "/1.1/rtm/conversation/subscription", subscription(room)) == (400, 4313)


def subscription(path: str) -> dict[str, str]:
    return {"conv_id": id_of(path), "client_id": "tom"}


@pytest.mark.parametrize("push", ["push", "push_data"])
async def test_a_broadcast_reaches_everybody_is_listed_and_taken_back(push: str) -> None:
    async with office() as rest:
        news = id_of(await rest.service())
        tom = await opened(rest, "tom")
        body = {"from_peer": "editor", "conv_id": news, "message": "all", push: {"alert": "all"}}
        sent = await rest.post("/1.1/rtm/broadcast", **body)
        assert (await tom.receive()).directMessage.msg == b"all"
        (listed,) = await rest.get(f"/1.1/rtm/broadcast?conv_id={news}")
        assert (listed["msg-id"], listed["data"]) == (sent["msg-id"], "all")
        assert await rest.get(f"/1.1/rtm/broadcast?conv_id={news}&skip=1") == []
        assert await rest.get(f"{HISTORY}?convid={news}") == []
        assert await rest.delete(f"/1.1/rtm/broadcast?mid={sent['msg-id']}") == {}
        assert await rest.get(f"/1.1/rtm/broadcast?conv_id={news}") == []
        assert await rest.refusal("DELETE", f"/1.1/rtm/broadcast?mid={sent['msg-id']}") == (404, 4404)
        too_long = {**body, push: {"alert": "x" * 6000}}
        assert await rest.refusal("POST", "/1.1/rtm/broadcast", too_long) == (400, 4109)


@pytest.mark.parametrize("path", [HISTORY, LOGS])
async def test_a_history_begins_before_a_moment(path: str) -> None:
    async with office() as rest:
        room = id_of(await rest.conversation("tom", "jerry"))
        sent = [await say(rest, room, str(number), by) for number, by in enumerate(("tom", "jerry", "tom"))]
        moment, message_id = sent[1]["timestamp"], sent[1]["msg-id"]
        of_room = f"{path}?convid={room}"
        assert await texts(rest, of_room) == ["2", "1", "0"]
        assert await texts(rest, f"{of_room}&limit=1") == ["2"]
        assert await texts(rest, f"{of_room}&limit=0") == []
        assert await texts(rest, f"{of_room}&max_ts={moment}") == ["0"]
        assert await texts(rest, f"{of_room}&max_ts={moment}&msgid={message_id}") == ["0"]
        assert await texts(rest, f"{of_room}&max_ts={moment + 1}") == ["1", "0"]
        for word in ("True", "true", "1"):
            assert await texts(rest, f"{of_room}&reversed={word}") == ["0", "1", "2"]
            assert await texts(rest, f"{of_room}&max_ts={moment}&reversed={word}") == ["2"]
        assert await texts(rest, f"{of_room}&reversed=False") == ["2", "1", "0"]
        assert await texts(rest, f"{of_room}&from=tom") == ["2", "0"]
        assert await texts(rest, f"{of_room}&from=tom&limit=1&max_ts={sent[2]['timestamp']}") == ["0"]


async def test_a_history_is_that_of_a_client_or_of_all() -> None:
    async with office() as rest:
        one, other = id_of(await rest.conversation("tom")), id_of(await rest.room())
        news = id_of(await rest.service())
        await say(rest, one, "a")
        second = await say(rest, other, "b")
        await say(rest, one, "c", "jerry")
        await say(rest, news, "d")
        assert await texts(rest, f"{HISTORY}?from=tom") == ["b", "a"]
        assert await texts(rest, f"{HISTORY}?from=tom&max_ts={second['timestamp']}") == ["a"]
        assert await texts(rest, HISTORY) == ["d", "c", "b", "a"]
        assert await texts(rest, f"{HISTORY}?limit=2&reversed=true") == ["a", "b"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("convid=nothing", 404, 4303),
        ("limit=1001", 400, 400),
        ("limit=-1", 400, 400),
        ("max_ts=yesterday", 400, 400),
        ("reversed=perhaps", 400, 400),
    ],
)
async def test_a_history_that_cannot_be_is_refused(query: str, status: int, code: int) -> None:
    async with office() as rest:
        assert await rest.refusal("GET", f"{HISTORY}?{query}") == (status, code)


@pytest.mark.parametrize("field", ["message", "data"])
async def test_a_message_is_changed_and_deleted_in_the_log(field: str) -> None:
    async with office() as rest:
        room = id_of(await rest.conversation("tom", "jerry"))
        sent = await say(rest, room, "before", mention_client_ids=["jerry"])
        place = {"convid": room, "msgid": sent["msg-id"], "timestamp": sent["timestamp"], "from": "tom"}
        jerry = await opened(rest, "jerry")
        assert await rest.put(LOGS, **place, **{field: "after"}) == {}
        (patch,) = (await first_of(jerry, pb.patch)).patchMessage.patches
        assert (patch.data, list(patch.mentionPids)) == (b"after", ["jerry"])
        assert await texts(rest, f"{LOGS}?convid={room}") == ["after"]
        assert await rest.refusal("PUT", LOGS, place) == (400, 400)
        assert await rest.refusal("PUT", LOGS, {**place, "from": "jerry", field: "mine"}) == (400, 4403)
        assert await rest.refusal("PUT", LOGS, {**place, "timestamp": 5, field: "when"}) == (404, 4404)

        query = "&".join(f"{name}={value}" for name, value in place.items())
        assert await rest.delete(f"{LOGS}?{query}") == {}
        assert await rest.get(f"{LOGS}?convid={room}") == []
        assert await rest.refusal("DELETE", f"{LOGS}?{query}") == (404, 4404)
        assert await jerry.is_silent()


async def test_a_message_is_changed_and_recalled() -> None:
    async with office() as rest:
        room = id_of(await rest.conversation("tom", "jerry"))
        sent = await say(rest, room, "before")
        place = {"conv_id": room, "msg_id": sent["msg-id"], "timestamp": sent["timestamp"], "from_peer": "tom"}
        assert await rest.put("/1.1/rtm/patch/message", **place, message="after") == {}
        assert await texts(rest, f"{HISTORY}?convid={room}") == ["after"]
        tom = await opened(rest, "tom")
        assert await rest.put("/1.1/rtm/patch/message", **place, recall=True) == {}
        (patch,) = (await first_of(tom, pb.patch)).patchMessage.patches
        assert patch.recall
        (item,) = await rest.get(f"{HISTORY}?convid={room}")
        assert json.loads(item["data"])["_lctype"] == -127
        to_some = {**place, "message": "again", "to_peers": ["tom"]}
        assert await rest.refusal("PUT", "/1.1/rtm/patch/message", to_some) == (400, 4313)


async def test_what_a_service_conversation_wrote_is_changed() -> None:
    async with office() as rest:
        news = await rest.service()
        to_tom = await say(rest, id_of(news), "for tom", "editor", to_peers=["tom"])
        to_all = await say(rest, id_of(news), "for all", "editor")
        for sent, more in ((to_tom, {"to_peers": ["tom"]}), (to_all, {})):
            place = {"conv_id": id_of(news), "msg_id": sent["msg-id"], "timestamp": sent["timestamp"]}
            await rest.put("/1.1/rtm/patch/message", from_peer="editor", message="changed", **place, **more)
        assert await texts(rest, f"{news}/subscribers/tom/messages") == ["changed", "changed"]


async def test_what_was_not_read_is_counted() -> None:
    async with office() as rest:
        one, other = id_of(await rest.conversation("tom", "jerry")), id_of(await rest.conversation("tom", "jerry"))
        for room in (one, one, other):
            await say(rest, room, "hi")
        for target, count in (("jerry", 3), (f"jerry/{one}", 2), (f"jerry/{other}", 1), ("nobody", 0), ("tom", 0)):
            assert await rest.call("GET", f"/1.1/rtm/messages/unread/{target}", fields=KEY) == {"count": count}


async def test_those_in_a_chat_room_and_online_are_told() -> None:
    async with office() as rest:
        room, other = await rest.room(), await rest.conversation("tom")
        for client_id in ("tom", "jerry"):
            await enter(await opened(rest, client_id), room, client_id)
        assert await rest.get(f"/1.1/rtm/transient_group/onlines?gid={id_of(room)}") == {"result": 2}
        assert await rest.refusal("GET", f"/1.1/rtm/transient_group/onlines?gid={id_of(other)}") == (400, 4316)
        online = await rest.post("/1.1/rtm/online", peers=["tom", "spike", "jerry"])
        assert sorted(online["results"]) == ["jerry", "tom"]
        assert await rest.refusal("POST", "/1.1/rtm/online", {"peers": ["x"] * 21}) == (400, 400)


@pytest.mark.rule("4.9")
@pytest.mark.parametrize("in_query", [True, False])
async def test_a_client_is_silenced_for_a_time_under_the_old_name(in_query: bool) -> None:
    async with office() as rest:
        path = await rest.conversation("tom", "jerry")
        who = {"conv_id": id_of(path), "client_id": "tom"}
        assert await rest.post("/1.1/rtm/conversation/blacklist", **who, ttl=60) == {}
        tom = await opened(rest, "tom")
        command = pb.GenericCommand(cmd=pb.direct, i=5, directMessage=pb.DirectCommand(cid=id_of(path), msg=b"hi"))
        assert (await tom.call(command)).ackMessage.code == 4315
        query = f"?conv_id={who['conv_id']}&client_id=tom" if in_query else ""
        assert await rest.delete(f"/1.1/rtm/conversation/blacklist{query}", **({} if in_query else who)) == {}
        assert (await tom.call(command)).ackMessage.uid
        for body in ({}, {"conv_id": who["conv_id"]}, {"client_id": "tom"}):
            assert await rest.refusal("DELETE", "/1.1/rtm/conversation/blacklist", body) == (400, 400)


async def test_a_client_is_kicked_under_the_old_name() -> None:
    async with office() as rest:
        tom = await opened(rest, "tom")
        assert await rest.post("/1.1/rtm/client/kick", client_id="tom", reason="enough") == {}
        told = (await tom.receive()).sessionMessage
        assert (told.code, told.reason) == (4115, "enough")
        assert await rest.refusal("POST", "/1.1/rtm/client/kick", {"client_id": ""}) == (400, 4103)
        assert await rest.refusal("POST", "/1.1/rtm/client/kick", {"client_id": "tom", "reason": "\n"}) == (400, 400)


async def test_they_come_out_of_the_same_quotas() -> None:
    async with office(Rest(sends_per_minute=1)) as rest:
        room = await rest.conversation("tom")
        await rest.post(f"{room}/messages", from_client="tom", message="hi")
        body = {"from_peer": "tom", "conv_id": id_of(room), "message": "hi"}
        assert await rest.refusal("POST", MESSAGES, body) == (429, 429)
    async with office(Rest(broadcasts_per_minute=1)) as rest:
        body = {"from_peer": "editor", "conv_id": id_of(await rest.service()), "message": "hi"}
        await rest.post("/1.1/rtm/broadcast", **body)
        assert await rest.refusal("POST", "/1.1/rtm/broadcast", body) == (429, 429)
        assert (await rest.post("/1.1/rtm/broadcast/subscriber", **body)).keys() == {"msg-id", "timestamp"}
