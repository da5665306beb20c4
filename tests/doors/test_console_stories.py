"""A message's story in the console."""

from typing import Any

import pytest
from msgspec.structs import replace

from fastim.core.conversation import Conversation, Kind
from fastim.core.ids import conversation_id
from fastim.core.installation import Installation
from fastim.core.push import Job, Notification
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb
from tests.doors.desk import Desk, desk
from tests.fakes.clock import NOON
from tests.runtime.node import Line, message, starting

pytestmark = pytest.mark.anyio

MESSAGES = "/applications/app/messages"


async def group_of(line: Line, *others: str) -> str:
    await line.open("tom")
    started = await line.call(starting(*others))
    while (await line.receive()).op != pb.members_joined:
        pass
    return started.convMessage.cid


async def sent(one: Desk, line: Line, conversation_id: str, text: bytes = b"hi", *, receipt: bool = False) -> str:
    command = message(conversation_id, text)
    command.directMessage.r = receipt
    await line.send(command)
    while (ack := await line.receive()).cmd != pb.ack:
        pass
    await settled(one, line)
    return ack.ackMessage.uid


async def settled(one: Desk, line: Line) -> None:
    for _ in range(2):  # it has come in; it is done and told
        await line.send(pb.GenericCommand(cmd=pb.echo, i=-1))
        while (await line.receive()).cmd != pb.echo:
            pass
        await one.node.dispatcher.finish()


def forget(one: Desk) -> None:
    """Have the server be one that was started since."""
    one.node.dispatcher.add(replace(one.node.tenant, stories=None))


def words_of(story: Any) -> list[str]:
    return [step["what"] for step in story["steps"]]


async def test_a_recent_message_has_its_steps_and_what_is_stored_of_it() -> None:
    async with desk() as one:
        tom, jerry = await one.node.line(), await one.node.line()
        await jerry.open("jerry")
        group = await group_of(tom, "jerry")
        mid = await sent(one, tom, group, b"<b>hi</b>", receipt=True)
        one.node.clock.step(1000)
        await jerry.send(pb.GenericCommand(cmd=pb.ack, ackMessage=pb.AckCommand(cid=group, mid=mid)))
        await settled(one, jerry)
        story = await one.get(f"{MESSAGES}/{mid}/story")
        assert (story["id"], story["found"], story["remembered"], story["kind"]) == (mid, True, True, "normal")
        assert story["conversation_id"] == group
        assert words_of(story) == ["received", "stored", "delivered", "receipt"]
        assert story["steps"][2] == {"at": NOON, "what": "delivered", "sessions": 1}
        assert story["steps"][3] == {"at": NOON + 1000, "what": "receipt", "client_id": "jerry"}
        durable = story["durable"]
        assert (durable["from"], durable["text"], durable["sequence"]) == ("tom", "<b>hi</b>", 1)
        assert (durable["members"], durable["delivered_to"], durable["read_by"]) == (2, ["jerry"], [])
        assert "recalled" not in durable
        assert "pushes_waiting" not in durable


async def test_a_message_that_is_not_remembered_is_found_in_the_store() -> None:
    async with desk() as one:
        tom = await one.node.line()
        first = await group_of(tom, "jerry")
        mid = await sent(one, tom, first)
        await tom.call(starting("spike"))
        forget(one)
        for query in ("", f"?conversation_id={first}"):
            story = await one.get(f"{MESSAGES}/{mid}/story{query}")
            assert (story["found"], story["remembered"], story["steps"]) == (True, False, [])
            assert (story["conversation_id"], story["durable"]["text"]) == (first, "hi")


async def test_a_message_that_was_recalled_says_so() -> None:
    async with desk() as one:
        tom = await one.node.line()
        group = await group_of(tom, "jerry")
        mid = await sent(one, tom, group)
        await one.post(
            f"/applications/app/conversations/{group}/messages/{mid}/recall", timestamp=NOON, **{"from": "tom"}
        )
        await settled(one, tom)
        story = await one.get(f"{MESSAGES}/{mid}/story")
        assert words_of(story) == ["received", "stored", "delivered", "recalled"]
        assert story["durable"]["recalled"] is True
        assert story["durable"]["patched_at"] > NOON


async def test_what_waits_to_be_pushed_of_it_is_told() -> None:
    async with desk() as one:
        tom = await one.node.line()
        group = await group_of(tom, "jerry")
        mid = await sent(one, tom, group)
        job = Job(mid, group, group, NOON, ("jerry",))
        due = Notification("phone", mid, group, "jerry", "phone", "{}", Millis(NOON + 60_000))
        other = Notification("tablet", "0" * 22, group, "jerry", "tablet", "{}", Millis(NOON + 60_000))
        await one.node.store.change_installation("phone", lambda _: Installation("phone", "ios", NOON, NOON, "secret"))
        await one.node.store.queue_pushes(job, [due, other], {}, NOON, done=True)
        durable = (await one.get(f"{MESSAGES}/{mid}/story"))["durable"]
        (waiting,) = durable["pushes_waiting"]
        assert waiting == {"client_id": "jerry", "installation_id": "phone", "due": NOON, "attempts": 0}
        assert "secret" not in str(durable)


async def test_nothing_is_known_of_a_message_that_there_never_was() -> None:
    async with desk() as one:
        tom = await one.node.line()
        group = await group_of(tom, "jerry")
        await sent(one, tom, group)
        for query in ("", f"?conversation_id={group}", f"?conversation_id={'0' * 24}", "?conversation_id=%00/%FF"):
            story = await one.get(f"{MESSAGES}/{'0' * 22}/story{query}")
            assert (story["found"], story["durable"], story["steps"]) == (False, None, [])


@pytest.mark.parametrize("mid", ["short", "x" * 23, "%20" * 22, "%F0%9F%98%80" * 22])
async def test_what_cannot_be_a_message_id_is_said_to_be_none(mid: str) -> None:
    async with desk() as one:
        status, _ = await one.refusal("GET", f"{MESSAGES}/{mid}/story")
        assert status == 400


async def test_a_clients_own_log_in_a_service_conversation_is_looked_into() -> None:
    async with desk() as one:
        tom = await one.node.line()
        await tom.open("tom")
        await one.node.dispatcher.finish()
        service = await _service(one)
        mid = await sent(one, tom, service, b"help")
        story = await one.get(f"{MESSAGES}/{mid}/story")
        assert (story["kind"], story["conversation_id"], story["durable"]["text"]) == ("service", service, "help")
        forget(one)
        assert not (await one.get(f"{MESSAGES}/{mid}/story"))["found"]
        assert (await one.get(f"{MESSAGES}/{mid}/story?conversation_id={service}/tom"))["durable"]["text"] == "help"


async def _service(one: Desk) -> str:
    made = conversation_id(NOON, bytes(7))
    await one.node.store.create_conversation(Conversation(made, Kind.SYSTEM, "", NOON, NOON))
    return made
