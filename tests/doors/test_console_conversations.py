"""Conversations in the console: found, looked at, and stepped into."""

import json

import pytest

from fastim.core.commands import SetRole, StartConversation
from fastim.core.message import Draft
from fastim.core.session import office
from fastim.service.conversations import start_conversation
from fastim.service.governance import give_role
from fastim.wire import messages2_pb2 as pb
from tests.doors.desk import Desk, desk
from tests.runtime.node import Line

pytestmark = pytest.mark.anyio

A = "/applications/app"


async def start(one: Desk, *members: str, name: str = "", by: str = "", **kind: bool) -> str:
    """The id of a new conversation."""
    one.node.clock.step(1_000)
    attributes = json.dumps({"name": name, "attr": {"a": 1}}) if name else None
    command = StartConversation(members=members, attributes=attributes, **kind)  # type: ignore[arg-type]
    return (await start_conversation(one.node.tenant.io, office(by), command)).conversation_id


async def say(one: Desk, conversation_id: str, text: str, by: str = "tom") -> dict[str, object]:
    one.node.clock.step(1_000)
    sent: dict[str, object] = await one.post(f"{A}/conversations/{conversation_id}/messages", text=text, **{"from": by})
    return sent


async def opened(one: Desk, client_id: str) -> Line:
    line = await one.node.line()
    await line.open(client_id)
    return line


async def enter(line: Line, room: str, client_id: str) -> None:
    join = pb.ConvCommand(cid=room, m=[client_id])
    assert (await line.call(pb.GenericCommand(cmd=pb.conv, op=pb.add, i=2, convMessage=join))).op == pb.added


async def ids(one: Desk, query: str = "") -> list[str]:
    return [line["id"] for line in (await one.get(f"{A}/conversations{query}"))["conversations"]]


async def test_conversations_are_listed_the_newest_first() -> None:
    async with desk() as one:
        normal = await start(one, "tom", "jerry", name="Cheese", by="tom")
        created_at = one.node.clock.now()
        room = await start(one, chat_room=True)
        service = await start(one, service=True)
        temporary = await start(one, "tom", temporary=True)
        assert sorted(await ids(one)) == sorted([normal, room, service, temporary])
        for kind, cid in {"normal": normal, "room": room, "service": service, "temporary": temporary}.items():
            assert await ids(one, f"?kind={kind}") == [cid]
        page = await one.get(f"{A}/conversations?kind=normal")
        assert page == {
            "conversations": [
                {
                    "id": normal,
                    "kind": "normal",
                    "name": "Cheese",
                    "creator": "tom",
                    "created_at": created_at,
                    "updated_at": created_at,
                    "members": 2,
                    "last_message_at": None,
                }
            ],
            "more": False,
        }


async def test_a_list_comes_in_pages() -> None:
    async with desk() as one:
        made = [await start(one, "tom", name=f"n{number}") for number in range(5)]
        first = await one.get(f"{A}/conversations?limit=2")
        second = await one.get(f"{A}/conversations?limit=2&skip=2")
        last = await one.get(f"{A}/conversations?limit=2&skip=4")
        assert [page["more"] for page in (first, second, last)] == [True, True, False]
        assert [line["id"] for page in (first, second, last) for line in page["conversations"]] == made[::-1]


async def test_a_conversation_is_found_by_id_name_creator_and_member() -> None:
    async with desk() as one:
        cheese = await start(one, "tom", "jerry", name="Blue CHEESE <b>", by="spike")
        await start(one, "butch", name="Milk")
        for search in (cheese, "cheese", "%3Cb%3E", "spike", "jerry"):
            assert await ids(one, f"?search={search}") == [cheese]
        assert await ids(one, "?search=bread") == []
        assert await ids(one, f"?search={cheese}&kind=room") == []
        assert await ids(one, f"?search={cheese}&skip=1") == []


async def test_a_query_that_makes_no_sense_is_refused() -> None:
    async with desk() as one:
        for query in ("limit=0", "limit=101", "skip=-1", "kind=group", "limit=x"):
            assert (await one.refusal("GET", f"{A}/conversations?{query}"))[0] == 400


async def test_a_conversation_says_who_is_in_it_and_what_they_may() -> None:
    async with desk() as one:
        cid = await start(one, "tom", "jerry", "spike", name="Cheese", by="tom")
        await opened(one, "jerry")
        await give_role(one.node.tenant.io, office(), SetRole(cid, "spike", "Manager"))
        await one.post(f"{A}/conversations/{cid}/silence", client_id="jerry", silenced=True)
        await one.post(f"{A}/conversations/{cid}/silence", client_id="spike", silenced=True, seconds=60)
        await one.post(f"{A}/conversations/{cid}/block", client_id="butch", blocked=True)
        whole = await one.get(f"{A}/conversations/{cid}")
        assert whole["attributes"] == {"name": "Cheese", "attr": {"a": 1}}
        assert whole["member_count"] == 3
        assert [(m["client_id"], m["role"], m["online"], m["silenced"]) for m in whole["members"]] == [
            ("tom", "Owner", False, False),
            ("jerry", "Member", True, True),
            ("spike", "Manager", False, True),
        ]
        assert whole["silenced"] == [
            {"client_id": "jerry"},
            {"client_id": "spike", "until": one.node.clock.now() + 60_000},
        ]
        assert whole["blocked"] == [{"client_id": "butch"}]
        assert "ledger" not in whole


async def test_a_room_says_how_many_are_there_and_what_became_of_its_messages() -> None:
    async with desk() as one:
        room = await start(one, chat_room=True, name="Cheese")
        line = await opened(one, "tom")
        await enter(line, room, "tom")
        await one.post(f"{A}/conversations/{room}/messages", text="hi", priority="high", **{"from": "jerry"})
        assert (await line.receive()).directMessage.msg
        whole = await one.get(f"{A}/conversations/{room}")
        assert whole["online"] == {"count": 1, "sample": ["tom"]}
        assert whole["members"] == []
        assert whole["ledger"]["readers"] == 1
        assert whole["ledger"]["messages"] == {"high": 1, "normal": 0, "low": 0}
        one.seconds.now += 1
        (top,) = (await one.get("/live"))["top_rooms"]
        assert (top["app"], top["id"], top["name"], top["readers"], top["messages"]) == ("app", room, "Cheese", 1, 1)


async def test_what_is_not_there_is_not_found() -> None:
    async with desk() as one:
        for path in ("", "/messages"):
            status, answer = await one.call("GET", f"{A}/conversations/nothing{path}")
            assert status == 404
            assert answer["code"] == 4303


async def test_what_is_sent_is_a_text_message_to_sdks() -> None:
    async with desk() as one:
        cid = await start(one, "tom", "jerry")
        line = await opened(one, "jerry")
        sent = await say(one, cid, "<b>hi</b>")
        told = await line.receive()
        assert told.directMessage.id == sent["id"]
        assert json.loads(told.directMessage.msg) == {"_lctype": -1, "_lctext": "<b>hi</b>"}
        assert ("message sent", "app", f"as tom in {cid}") in await one.audited()


async def test_what_is_a_message_already_is_sent_as_it_is() -> None:
    async with desk() as one:
        cid = await start(one, "tom", "jerry")
        for text in ('{"_lctype": 7}', '{"a": 1}', "[1]"):
            await say(one, cid, text)
        history = (await one.get(f"{A}/conversations/{cid}/messages"))["messages"]
        assert [(one["type"], one["text"]) for one in history] == [
            (-1, '{"_lctype":-1,"_lctext":"[1]"}'),
            (-1, '{"_lctype":-1,"_lctext":"{\\"a\\": 1}"}'),
            (7, '{"_lctype": 7}'),
        ]


async def test_a_history_is_read_back_in_pages() -> None:
    async with desk() as one:
        cid = await start(one, "tom", "jerry")
        said = [(await say(one, cid, f"{number}"))["id"] for number in range(5)]
        first = await one.get(f"{A}/conversations/{cid}/messages?limit=3")
        assert [message["id"] for message in first["messages"]] == said[:1:-1]
        assert first["more"]
        oldest = first["messages"][-1]
        before = f"before_timestamp={oldest['timestamp']}&before_id={oldest['id']}"
        rest = await one.get(f"{A}/conversations/{cid}/messages?limit=3&{before}")
        assert [message["id"] for message in rest["messages"]] == said[1::-1]
        assert not rest["more"]


async def test_bytes_are_shown_in_base64_and_what_is_no_text_as_far_as_it_goes() -> None:
    async with desk() as one:
        cid = await start(one, "tom", "jerry")
        await one.node.store.append(
            cid, Draft("tom", b"\xff\x00", binary=True, address="192.0.2.1"), one.node.clock.now()
        )
        await one.node.store.append(cid, Draft("tom", b"a\xff"), one.node.clock.now())
        newest, oldest = (await one.get(f"{A}/conversations/{cid}/messages"))["messages"]
        assert newest["text"] == "a\ufffd"
        assert (oldest["data"], oldest["binary"], oldest["address"]) == ("/wA=", True, "192.0.2.1")
        assert "text" not in oldest


async def test_a_message_is_recalled_by_the_console_and_devices_are_told() -> None:
    async with desk() as one:
        cid = await start(one, "tom", "jerry")
        sent = await say(one, cid, "oops")
        line = await opened(one, "jerry")
        target = f"{A}/conversations/{cid}/messages/{sent['id']}/recall"
        assert (await one.refusal("POST", target, {"timestamp": sent["timestamp"], "from": "jerry"}))[0] == 400
        assert (await one.refusal("POST", target, {"timestamp": 1, "from": "tom"}))[0] == 404
        await one.post(target, timestamp=sent["timestamp"], **{"from": "tom"})
        while (told := await line.receive()).cmd != pb.patch:
            pass
        assert told.patchMessage.patches[0].recall
        (message,) = (await one.get(f"{A}/conversations/{cid}/messages"))["messages"]
        assert message["recalled"]
        assert message["patched_at"]
        assert ("message recalled", "app", f"{sent['id']} in {cid}") in await one.audited()


async def test_a_member_is_removed() -> None:
    async with desk() as one:
        cid = await start(one, "tom", "jerry")
        await one.post(f"{A}/conversations/{cid}/members/remove", client_id="jerry")
        assert [m["client_id"] for m in (await one.get(f"{A}/conversations/{cid}"))["members"]] == ["tom"]
        assert ("member removed", "app", f"jerry in {cid}") in await one.audited()


async def test_who_is_silenced_may_speak_again_however_it_was_silenced() -> None:
    async with desk() as one:
        cid = await start(one, "tom", "jerry")
        for more in ({}, {"seconds": 60}):
            await one.post(f"{A}/conversations/{cid}/silence", client_id="jerry", silenced=True, **more)
            assert (await one.get(f"{A}/conversations/{cid}"))["silenced"]
            await one.post(f"{A}/conversations/{cid}/silence", client_id="jerry", silenced=False)
            assert (await one.get(f"{A}/conversations/{cid}"))["silenced"] == []
        body = {"client_id": "jerry", "silenced": True, "seconds": 86_401}
        assert (await one.refusal("POST", f"{A}/conversations/{cid}/silence", body))[0] == 400


async def test_who_is_blocked_is_out_and_may_come_back() -> None:
    async with desk() as one:
        cid = await start(one, "tom", "jerry")
        await one.post(f"{A}/conversations/{cid}/block", client_id="jerry", blocked=True)
        whole = await one.get(f"{A}/conversations/{cid}")
        assert whole["member_count"] == 1
        assert whole["blocked"] == [{"client_id": "jerry"}]
        await one.post(f"{A}/conversations/{cid}/block", client_id="jerry", blocked=False)
        assert (await one.get(f"{A}/conversations/{cid}"))["blocked"] == []


async def test_a_client_is_shown_where_it_is_online_and_kicked() -> None:
    async with desk() as one:
        name = "tom%2F%3Cb%3E"
        assert await one.get(f"{A}/clients/{name}") == {"online": False, "sessions": []}
        line = await one.node.line()
        await line.open("tom/<b>", tag="phone")
        shown = await one.get(f"{A}/clients/{name}")
        assert shown["online"]
        (session,) = shown["sessions"]
        assert (session["tag"], session["door"]) == ("phone", "tcp")
        await one.post(f"{A}/clients/{name}/kick", reason="go away")
        assert (await line.receive()).sessionMessage.reason == "go away"
        assert not (await one.get(f"{A}/clients/{name}"))["online"]
        assert ("client kicked", "app", "tom/<b>") in await one.audited()


async def test_what_was_refused_was_not_done_and_is_not_noted() -> None:
    async with desk() as one:
        cid = await start(one, "tom", "jerry")
        for path, body in {
            "members/remove": {"client_id": ""},
            "block": {"client_id": "jerry"},
            "silence": {"client_id": "x" * 65, "silenced": True},
            "messages": {"from": "tom", "text": "x" * 6_000},
        }.items():
            assert (await one.refusal("POST", f"{A}/conversations/{cid}/{path}", body))[0] == 400
        assert await one.audited() == [("password set", "", "")]
