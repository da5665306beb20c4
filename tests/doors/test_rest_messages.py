import pytest

from fastim.core.policy import Policy
from fastim.wire import messages2_pb2 as pb
from tests.doors.office import Office, enter, id_of, office, opened

pytestmark = pytest.mark.anyio


async def texts(rest: Office, target: str) -> list[str]:
    return [one["data"] for one in await rest.get(target)]


def at(conversation: str, sent: dict[str, object]) -> str:
    """The path of a message that was sent."""
    return f"{conversation}/messages/{sent['msg-id']}"


async def test_a_message_reaches_everybody_in_whose_name_it_is_sent_and_is_stored() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        sent = await rest.say(room, "hello")
        assert sent.keys() == {"msg-id", "timestamp"}
        for line in (tom, jerry):
            direct = (await line.receive()).directMessage
            assert (direct.fromPeerId, direct.msg, direct.id) == ("tom", b"hello", sent["msg-id"])
            assert direct.timestamp == sent["timestamp"]
        assert await texts(rest, f"{room}/messages") == ["hello"]


async def test_who_is_not_a_member_may_be_the_sender() -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        await rest.say(room, "from outside", by="stranger")
        assert await texts(rest, f"{room}/messages") == ["from outside"]


@pytest.mark.rule("5.6")
async def test_the_senders_own_devices_can_be_left_out() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        await rest.say(room, "hello", no_sync=True)
        assert (await jerry.receive()).directMessage.msg == b"hello"
        assert await tom.is_silent()


@pytest.mark.rule("5.6")
async def test_in_a_chat_room_the_senders_own_devices_never_get_it() -> None:
    async with office() as rest:
        room = await rest.room()
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        await enter(tom, room, "tom")
        await enter(jerry, room, "jerry")
        await rest.say(room, "hello", priority="HIGH")
        assert (await jerry.receive()).directMessage.msg == b"hello"
        assert await tom.is_silent()
        assert await texts(rest, f"{room}/messages") == ["hello"]


@pytest.mark.rule("5.10", "5.11")
async def test_a_transient_message_reaches_who_is_online_and_is_not_stored() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        jerry = await opened(rest, "jerry")
        sent = await rest.say(room, "typing", transient=True)
        assert len(sent["msg-id"]) == 22
        direct = (await jerry.receive()).directMessage
        assert (direct.msg, direct.transient) == (b"typing", True)
        assert await texts(rest, f"{room}/messages") == []


@pytest.mark.rule("5.7", "2.11")
async def test_a_message_mentions_some_or_everybody() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry", "spike")
        jerry = await opened(rest, "jerry")
        await rest.say(room, "you", mention_client_ids=["jerry", "spike"])
        assert list((await jerry.receive()).directMessage.mentionPids) == ["jerry", "spike"]
        await rest.say(room, "all", mention_all=True)
        assert (await jerry.receive()).directMessage.mentionAll
        many = [f"client-{number}" for number in range(21)]
        body = {"from_client": "tom", "message": "x", "mention_client_ids": many}
        assert await rest.refusal("POST", f"{room}/messages", body) == (400, 400)


@pytest.mark.rule("2.2")
@pytest.mark.parametrize(
    "extra",
    [
        {"message": "x" * 5121},
        {"message": "骂" * 1707},
        {"message": "x" * 5000, "push_data": "y" * 121},
        {"message": "x" * 5000, "push_data": {"alert": "y" * 121}},
        {"message": "x" * 5100, "mention_client_ids": ["y" * 21]},
    ],
)
async def test_all_that_travels_with_a_message_counts_into_its_size(extra: dict[str, object]) -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        assert await rest.refusal("POST", f"{room}/messages", {"from_client": "tom", **extra}) == (400, 4109)
        await rest.say(room, "x" * 5000, push_data={"alert": "y" * 50})


@pytest.mark.parametrize(
    "body",
    [
        {"message": "x"},
        {"from_client": "tom"},
        {"from_client": "", "message": "x"},
        {"from_client": "tom", "message": {"_lctype": -1}},
        {"from_client": "tom", "message": "x", "priority": "urgent"},
        {"from_client": "tom", "message": "x", "transient": "yes"},
        {"from_client": "tom", "message": "x", "push_data": 5},
    ],
)
async def test_a_message_that_is_none_is_refused(body: dict[str, object]) -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        assert await rest.refusal("POST", f"{room}/messages", body) == (400, 400)
        assert await texts(rest, f"{room}/messages") == []


async def test_no_client_can_be_called_that() -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        body = {"from_client": "a\nb", "message": "x"}
        assert await rest.refusal("POST", f"{room}/messages", body) == (400, 4103)


async def test_there_has_to_be_such_a_conversation() -> None:
    async with office() as rest:
        body = {"from_client": "tom", "message": "x"}
        for one in ("5", "_tmp:5", "0" * 24):
            assert await rest.refusal("POST", f"/1.2/rtm/conversations/{one}/messages", body) == (404, 4303)
            assert await rest.refusal("GET", f"/1.2/rtm/conversations/{one}/messages") == (404, 4303)


@pytest.mark.parametrize("path", ["/1.2/rtm/conversations", "/1.2/rtm/chatrooms"])
async def test_a_history_tells_of_each_message_what_there_is_to_tell(path: str) -> None:
    async with office() as rest:
        room = f"{path}/{(await rest.post(path))['objectId']}"
        sent = await rest.say(room, "hello", by="stranger")
        assert await rest.get(f"{room}/messages") == [
            {
                "timestamp": sent["timestamp"],
                "conv-id": id_of(room),
                "data": "hello",
                "from": "stranger",
                "msg-id": sent["msg-id"],
                "is-conv": True,
                "is-room": path.endswith("chatrooms"),
                "to": id_of(room),
                "bin": False,
                "from-ip": "127.0.0.1",
            }
        ]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [3, 2, 1]),
        ("?limit=2", [3, 2]),
        ("?reversed=true", [1, 2, 3]),
        ("?reversed=true&limit=2", [1, 2]),
        ("?limit=0", []),
        ("?timestamp={t3}&till_timestamp={t1}", [2]),
        ("?timestamp={t3}&till_timestamp={t1}&include_start=true", [3, 2]),
        ("?timestamp={t3}&till_timestamp={t1}&include_stop=true", [2, 1]),
        ("?timestamp={t3}&till_timestamp={t1}&include_start=true&include_stop=true", [3, 2, 1]),
        ("?timestamp={t1}&till_timestamp={t3}&reversed=true", [2]),
        ("?timestamp={t1}&till_timestamp={t3}&reversed=true&include_start=true", [1, 2]),
        ("?timestamp={t1}&till_timestamp={t3}&reversed=true&include_stop=true", [2, 3]),
        ("?timestamp={t3}&msgid={m3}", [2, 1]),
        ("?timestamp={t3}&msgid={m3}&include_start=true", [3, 2, 1]),
        ("?timestamp={t3}&msgid={m3}&till_timestamp={t1}&till_msgid={m1}&include_stop=1", [2, 1]),
        ("?till_timestamp={t2}", [3]),
        ("?msgid={m2}", [3, 2, 1]),
        ("?timestamp={t2}", [1]),
        ("?timestamp={t1}", []),
        ("?timestamp={t1}&reversed=True", [2, 3]),
        ("?reversed=true&till_timestamp={t3}", [1, 2]),
        ("?client_id=tom&nonce=n&signature_ts=1&signature=s", [3, 2, 1]),
    ],
)
async def test_a_history_is_told_from_any_place_to_any_other(query: str, numbers: list[int]) -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        sent = [await rest.say(room, str(number)) for number in (1, 2, 3)]
        places = {f"t{number}": one["timestamp"] for number, one in enumerate(sent, 1)}
        ids = {f"m{number}": one["msg-id"] for number, one in enumerate(sent, 1)}
        target = f"{room}/messages{query.format(**places, **ids)}"
        assert await texts(rest, target) == [str(number) for number in numbers]


@pytest.mark.parametrize(
    "query", ["limit=1001", "limit=-1", "limit=x", "timestamp=-1", "timestamp=x", "reversed=maybe"]
)
async def test_a_history_that_cannot_be_told_is_refused(query: str) -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        assert await rest.refusal("GET", f"{room}/messages?{query}") == (400, 400)


async def test_a_binary_message_is_told_in_base64() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        tom = await opened(rest, "tom")
        direct = pb.DirectCommand(cid=id_of(room), binaryMsg=b"\xff\x00")
        await tom.call(pb.GenericCommand(cmd=pb.direct, i=3, directMessage=direct))
        (item,) = await rest.get(f"{room}/messages")
        assert (item["data"], item["bin"]) == ("/wA=", True)


@pytest.mark.rule("6.1")
async def test_between_two_a_history_tells_when_each_message_was_received() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        direct = pb.DirectCommand(cid=id_of(room), msg=b"hello", r=True)
        acked = (await tom.call(pb.GenericCommand(cmd=pb.direct, i=3, directMessage=direct))).ackMessage
        assert [one.get("ack-at") for one in await rest.get(f"{room}/messages")] == [None]
        rest.node.clock.step(5000)
        await jerry.receive()
        await jerry.send(pb.GenericCommand(cmd=pb.ack, ackMessage=pb.AckCommand(cid=id_of(room), mid=acked.uid)))
        assert (await tom.receive()).cmd == pb.rcp
        assert [one["ack-at"] for one in await rest.get(f"{room}/messages")] == [acked.t + 5000]
        await rest.say(room, "later")
        assert ["ack-at" in one for one in await rest.get(f"{room}/messages")] == [False, True]


@pytest.mark.rule("8.4", "8.7")
async def test_a_message_is_modified_and_every_device_is_told() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        sent = await rest.say(room, "hello", mention_client_ids=["jerry"])
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        body = {"from_client": "tom", "message": "goodbye", "timestamp": sent["timestamp"]}
        assert await rest.put(at(room, sent), **body) == {}
        for line in (tom, jerry):
            patch = (await line.receive()).patchMessage.patches[0]
            assert (patch.mid, patch.data, patch.recall) == (sent["msg-id"], b"goodbye", False)
            assert list(patch.mentionPids) == ["jerry"]
        (item,) = await rest.get(f"{room}/messages")
        assert (item["data"], item["timestamp"]) == ("goodbye", sent["timestamp"])
        assert item["patch-timestamp"] >= sent["timestamp"]
        await rest.put(at(room, sent), **body, mention_client_ids=[], mention_all=True)
        patch = (await jerry.receive()).patchMessage.patches[0]
        assert (list(patch.mentionPids), patch.mentionAll) == ([], True)


@pytest.mark.rule("8.4", "8.7")
async def test_a_message_is_recalled_and_every_device_is_told() -> None:
    async with office() as rest:
        room = await rest.room()
        sent = await rest.say(room, "hello")
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        await enter(tom, room, "tom")
        await enter(jerry, room, "jerry")
        body = {"from_client": "tom", "timestamp": sent["timestamp"]}
        assert await rest.put(f"{at(room, sent)}/recall", **body) == {}
        for line in (tom, jerry):
            patch = (await line.receive()).patchMessage.patches[0]
            assert (patch.mid, patch.recall) == (sent["msg-id"], True)
        assert await texts(rest, f"{room}/messages") == ['{"_lctype":-127}']


@pytest.mark.rule("8.8")
async def test_a_message_that_is_deleted_is_gone_here_and_nobody_is_told() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        tom = await opened(rest, "tom")
        first, second = await rest.say(room, "first", no_sync=True), await rest.say(room, "second", no_sync=True)
        target = f"{at(room, first)}?from_client=tom&timestamp={first['timestamp']}"
        assert await rest.delete(target) == {}
        assert await tom.is_silent()
        assert await texts(rest, f"{room}/messages") == ["second"]
        assert await rest.refusal("DELETE", target) == (404, 4404)
        await rest.delete(f"{at(room, second)}?from_client=tom&timestamp={second['timestamp']}")
        assert await texts(rest, f"{room}/messages") == []


async def test_only_the_right_sender_and_time_reach_a_message() -> None:
    async with office() as rest:
        room, elsewhere = await rest.conversation("tom", "jerry"), await rest.conversation("tom", "jerry")
        sent = await rest.say(room, "hello")
        right = {"from_client": "tom", "timestamp": sent["timestamp"]}
        wrong_sender = {**right, "from_client": "jerry"}
        wrong_time = {**right, "timestamp": sent["timestamp"] + 1}
        for wrong, path, answer in (
            (wrong_sender, at(room, sent), (400, 4403)),
            (wrong_time, at(room, sent), (404, 4404)),
            (right, f"{room}/messages/{'-' * 22}", (404, 4404)),
            (right, at(elsewhere, sent), (404, 4404)),
        ):
            query = f"?from_client={wrong['from_client']}&timestamp={wrong['timestamp']}"
            assert await rest.refusal("PUT", path, {**wrong, "message": "x"}) == answer
            assert await rest.refusal("PUT", f"{path}/recall", wrong) == answer
            assert await rest.refusal("DELETE", f"{path}{query}") == answer
        assert await texts(rest, f"{room}/messages") == ["hello"]


async def test_the_new_body_may_not_be_too_long_either() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        sent = await rest.say(room, "hello")
        body = {"from_client": "tom", "timestamp": sent["timestamp"], "message": "x" * 5121}
        assert await rest.refusal("PUT", at(room, sent), body) == (400, 4109)


async def test_messages_of_all_conversations_are_told_together() -> None:
    async with office() as rest:
        room, other = await rest.conversation("tom", "jerry"), await rest.room()
        news = await rest.service()
        await rest.say(room, "1")
        await rest.say(other, "2", by="jerry")
        await rest.say(room, "3")
        rest.node.clock.step(1000)
        await rest.post(f"{news}/broadcasts", from_client="tom", message="4")
        assert await texts(rest, "/1.2/rtm/messages") == ["4", "3", "2", "1"]
        assert await texts(rest, "/1.2/rtm/messages?reversed=true&limit=2") == ["1", "2"]
        assert await texts(rest, "/1.2/rtm/messages?limit=2") == ["4", "3"]
        assert await texts(rest, "/1.2/rtm/clients/tom/messages") == ["3", "1"]
        assert await texts(rest, "/1.2/rtm/clients/jerry/messages") == ["2"]
        assert await texts(rest, "/1.2/rtm/clients/nobody/messages") == []
        (first,) = await rest.get("/1.2/rtm/clients/tom/messages?reversed=true&limit=1")
        assert (first["conv-id"], first["is-room"]) == (id_of(room), False)
        after = f"/1.2/rtm/messages?timestamp={first['timestamp']}&reversed=true"
        assert await texts(rest, after) == ["2", "3", "4"]


@pytest.mark.rule("8.7")
async def test_switches_that_keep_clients_from_changing_messages_do_not_hold_for_the_application() -> None:
    async with office() as rest:
        rest.set_policy(Policy(modify_enabled=False, recall_enabled=False))
        room = await rest.conversation("tom", "jerry")
        sent = await rest.say(room, "hello")
        body = {"from_client": "tom", "message": "goodbye", "timestamp": sent["timestamp"]}
        await rest.put(at(room, sent), **body)
        assert await texts(rest, f"{room}/messages") == ["goodbye"]
        await rest.put(f"{at(room, sent)}/recall", **body)
        assert await texts(rest, f"{room}/messages") == ['{"_lctype":-127}']
