"""What is remembered of the last messages."""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from fastim.core.conversation import Kind
from fastim.core.events import MessagePatched, MessagePosted, MessagesReceipted
from fastim.core.hooks import Answer, Call, MessageAnswer, MessageReceived, MessageUpdate
from fastim.core.ids import message_id
from fastim.core.installation import Installation
from fastim.core.message import Message
from fastim.core.push import Job, Notification
from fastim.core.units import Millis
from fastim.ports.push import Outcome, Refused, Sent
from fastim.runtime.hooks import LocalHooks
from fastim.runtime.outbox import Outbox
from fastim.runtime.story import STEPS_MAX, Step, Stories
from fastim.settings import Hooks, Push
from fastim.wire import messages2_pb2 as pb
from tests.fakes.clock import NOON
from tests.fakes.engine import ScriptedEngine, broken
from tests.fakes.running import on_asyncio
from tests.runtime.node import Line, Node, message, running_node, starting

GROUP = "a" * 24


def stories_of(node: Node) -> Stories:
    assert node.tenant.stories is not None
    return node.tenant.stories


def said(number: int = 1, **fields: object) -> Message:
    made = message_id(Millis(NOON + number), bytes(10))
    return replace(Message(made, Millis(NOON + number), number, "tom", b"hi"), **fields)


def posted(one: Message, kind: Kind = Kind.NORMAL, *recipients: str, **fields: object) -> MessagePosted:
    return MessagePosted(GROUP, kind, one, recipients or ("tom", "jerry"), 0, **fields)  # type: ignore[arg-type]


def steps_of(node: Node, message_id: str) -> list[Step]:
    told = stories_of(node).tell(message_id)
    assert told is not None
    return list(told.steps)


def words_of(steps: list[Step]) -> list[str]:
    return [step.what for step in steps]


def hook(node: Node, engine: ScriptedEngine) -> None:
    """Have it asked from now on."""
    hooks = LocalHooks([engine], Hooks())
    node.dispatcher.add(replace(node.tenant, io=replace(node.tenant.io, hooks=hooks), hooks=hooks))


def answering(answer: Answer) -> ScriptedEngine:
    async def act(_: Call) -> Answer:
        return answer

    return ScriptedEngine(act, [MessageReceived, MessageUpdate])


async def group_of(line: Line, *others: str) -> str:
    await line.open("tom")
    started = await line.call(starting(*others))
    while (await line.receive()).op != pb.members_joined:
        pass
    return started.convMessage.cid


async def sent(node: Node, line: Line, conversation_id: str, text: bytes = b"hi", **fields: object) -> str:
    """The id of a message, once it is delivered."""
    command = message(conversation_id, text)
    for name, value in fields.items():
        setattr(command.directMessage, name, value)
    await line.send(command)
    while (ack := await line.receive()).cmd != pb.ack:
        pass
    assert ack.ackMessage.uid
    await settled(node, line)
    return ack.ackMessage.uid


async def settled(node: Node, line: Line) -> None:
    """What was sent is done, and everybody was told."""
    for _ in range(2):  # it has come in; it is done and told
        await line.send(pb.GenericCommand(cmd=pb.echo, i=-1))
        while (await line.receive()).cmd != pb.echo:
            pass
        await node.dispatcher.finish()


class TestWhatClientsDo:
    @on_asyncio
    async def test_a_message_is_received_stored_and_delivered_to_those_who_are_there(self) -> None:
        async with running_node() as node:
            tom, jerry = await node.line(), await node.line()
            await jerry.open("jerry")
            one = await sent(node, tom, await group_of(tom, "jerry", "spike"))
            steps = steps_of(node, one)
            assert words_of(steps) == ["received", "stored", "delivered"]
            assert steps[-1].sessions == 1
            assert steps[-1].withheld is None
            assert [step.at for step in steps] == [NOON, NOON, NOON]

    @on_asyncio
    async def test_a_transient_message_is_not_stored(self) -> None:
        async with running_node() as node:
            tom = await node.line()
            group = await group_of(tom, "jerry")
            steps = steps_of(node, await sent(node, tom, group, transient=True))
            assert words_of(steps) == ["received", "delivered"]

    @on_asyncio
    async def test_it_counts_how_many_places_were_masked(self) -> None:
        async with running_node() as node:
            await node.tenant.words.load(b"coffee\ntea", "stored")
            tom = await node.line()
            group = await group_of(tom, "jerry", "spike")
            steps = steps_of(node, await sent(node, tom, group, b"*** tea and coffee and tea"))
            assert words_of(steps) == ["received", "filtered", "stored", "delivered"]
            assert steps[1].hits == 3
            assert words_of(steps_of(node, await sent(node, tom, group, b"milk"))) == [
                "received",
                "stored",
                "delivered",
            ]

    @on_asyncio
    async def test_it_says_what_a_hook_made_of_a_message(self) -> None:
        async with running_node() as node:
            tom = await node.line()
            group = await group_of(tom, "jerry", "spike")
            verdicts = []
            for engine in (
                answering(MessageAnswer()),
                answering(MessageAnswer(content="good day", code=7)),
                answering(MessageAnswer(content="x" * 100_000)),
                ScriptedEngine(broken, [MessageReceived]),
                answering(MessageAnswer(to_peers=("jerry",))),
            ):
                hook(node, engine)
                step = steps_of(node, await sent(node, tom, group))[1]
                assert (step.what, step.hook) == ("hook", "_messageReceived")
                verdicts.append((step.verdict, step.code, step.receivers))
            assert verdicts == [
                ("passed", None, None),
                ("replaced", 7, None),
                ("ignored", None, None),
                ("failed", None, None),
                ("passed", None, 1),
            ]

    @on_asyncio
    async def test_receipts_and_changes_come_after_it(self) -> None:
        async with running_node() as node:
            tom, jerry = await node.line(), await node.line()
            await jerry.open("jerry")
            group = await group_of(tom, "jerry")
            one = await sent(node, tom, group, r=True)
            node.clock.step(1000)
            await jerry.send(pb.GenericCommand(cmd=pb.ack, ackMessage=pb.AckCommand(cid=group, mid=one)))
            await settled(node, jerry)
            node.clock.step(1000)
            patch = pb.PatchItem(cid=group, mid=one, timestamp=NOON, recall=True)
            patching = pb.PatchCommand(patches=[patch])
            await tom.send(pb.GenericCommand(cmd=pb.patch, op=pb.modify, i=8, patchMessage=patching))
            while (await tom.receive()).cmd != pb.patch:
                pass
            await settled(node, tom)
            steps = steps_of(node, one)[3:]
            assert [(step.what, step.client_id) for step in steps] == [("receipt", "jerry"), ("recalled", None)]
            assert [step.at for step in steps] == [NOON + 1000, NOON + 2000]

    @on_asyncio
    async def test_in_a_chat_room_it_says_how_many_were_there_and_what_was_shed(self) -> None:
        async with running_node() as node:
            tom = await node.line()
            await tom.open("tom")
            start = starting("tom")
            start.convMessage.transient = True
            room = (await tom.call(start)).convMessage.cid
            for client_id in ("jerry", "spike"):
                line = await node.line()
                await line.open(client_id)
                joining = pb.GenericCommand(cmd=pb.conv, op=pb.add, i=5)
                joining.convMessage.cid = room
                joining.convMessage.m.append(client_id)
                assert (await line.call(joining)).op == pb.added
            steps = steps_of(node, await sent(node, tom, room))
            assert words_of(steps) == ["received", "stored", "delivered", "shed"]
            there = node.tenant.io.rooms.count(room)
            assert (steps[2].readers, steps[2].priority, steps[2].sessions) == (there, 2, None)
            assert there >= 2
            nothing = dict.fromkeys(("age", "distance", "sample", "overrun"), 0)
            assert steps[3].shed == {"high": nothing, "normal": nothing, "low": nothing}


class TestBounds:
    @on_asyncio
    async def test_only_the_last_messages_are_remembered(self) -> None:
        async with running_node() as node:
            stories = Stories(node.clock, node.tenant.delivery, node.tenant.io.rooms, messages=3)
            for number in range(10):
                stories.hear(posted(said(number)))
                stories.hear(MessagePatched(GROUP, Kind.NORMAL, said(number), (), 0))
            assert len(stories) == 3
            assert [stories.tell(said(number).id) is not None for number in range(10)] == [False] * 7 + [True] * 3

    @on_asyncio
    async def test_a_message_of_long_ago_is_not_remembered_for_a_receipt_or_a_push(self) -> None:
        async with running_node() as node:
            stories = stories_of(node)
            stories.hear(receipt(said(), "jerry"))
            stories.hear_word(said().id, "jerry", "apns", "sent")
            assert len(stories) == 0

    @on_asyncio
    async def test_of_one_message_there_are_so_many_steps_and_the_rest_is_counted(self) -> None:
        async with running_node() as node:
            stories = stories_of(node)
            stories.hear(posted(said()))
            for number in range(STEPS_MAX + 5):
                stories.hear(receipt(said(), f"client {number}"))
            told = stories.tell(said().id)
            assert told is not None
            assert len(told.steps) == STEPS_MAX + 3
            assert told.left_out == 5

    @on_asyncio
    async def test_what_happens_again_and_again_is_one_step(self) -> None:
        async with running_node() as node:
            stories = stories_of(node)
            stories.hear(posted(said()))
            for _ in range(3):
                node.clock.step(1000)
                stories.hear_word(said().id, "jerry", "apns", "later")
            stories.hear_word(said().id, "jerry", "apns", "sent")
            *_, failed, pushed = steps_of(node, said().id)
            assert (failed.what, failed.outcome, failed.times, failed.at) == ("push_failed", "later", 3, NOON + 3000)
            assert (pushed.what, pushed.client_id, pushed.provider, pushed.outcome) == ("pushed", "jerry", "apns", None)

    @on_asyncio
    async def test_what_a_message_says_is_not_kept(self) -> None:
        async with running_node() as node:
            stories = stories_of(node)
            before = said(body=b"a secret and another")
            after = replace(before, body=b"*** and another")
            stories.judged(GROUP, after, MessageAnswer(content="a secret and another"), before)
            stories.hear(posted(after))
            assert "another" not in repr(stories.tell(after.id))
            assert words_of(steps_of(node, after.id)) == ["received", "hook", "filtered", "stored", "delivered"]


class Carrier:
    """A provider that answers what it is given, one after the other."""

    name = "apns"

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes)

    def carries(self, installation: Installation) -> bool:
        return True

    async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
        return self._outcomes.pop(0)

    async def close(self) -> None: ...


class TestPushes:
    @on_asyncio
    async def test_what_became_of_a_notification_is_added(self) -> None:
        async with running_node() as node:
            stories, store, done = stories_of(node), node.store, asyncio.Event()
            outbox = Outbox([Carrier(Refused("too long"), Sent())], Push(), node.tenant.hooks)

            def hear(message_id: str, client_id: str, provider: str, word: str) -> None:
                stories.hear_word(message_id, client_id, provider, word)
                if word == "sent":
                    done.set()

            outbox.on_word = hear
            one, other = said(1), said(2)
            stories.hear(posted(one))
            stories.hear(posted(other))
            device = Installation("phone", "ios", NOON, NOON, "token", channels=("jerry",))
            await store.change_installation("phone", lambda _: device)
            for each in (one, other):
                push = Notification("phone", each.id, GROUP, "jerry", "phone", "{}", Millis(NOON + 60_000))
                await store.queue_pushes(Job(each.id, GROUP, GROUP, NOON, ("jerry",)), [push], {}, NOON, done=True)
            outbox.start(node.tenant.io)
            await done.wait()
            await outbox.close()
            assert [words_of(steps_of(node, each.id))[-1] for each in (one, other)] == ["push_failed", "pushed"]
            failed = steps_of(node, one.id)[-1]
            assert (failed.outcome, failed.provider, failed.client_id) == ("refused", "apns", "jerry")


class TestServices:
    @on_asyncio
    async def test_what_is_written_to_a_service_is_looked_for_in_its_writers_log(self) -> None:
        async with running_node() as node:
            stories = stories_of(node)
            stories.hear(posted(said(), Kind.SYSTEM, "tom"))
            told = stories.tell(said().id)
            assert told is not None
            assert told.log_id == f"{GROUP}/tom"

    @on_asyncio
    async def test_a_correction_for_the_sender_alone_is_no_change(self) -> None:
        async with running_node() as node:
            stories = stories_of(node)
            stories.hear(posted(said()))
            stories.hear(MessagePatched(GROUP, Kind.NORMAL, said(patched_at=Millis(NOON + 1)), ("tom",), 0, only=7))
            assert words_of(steps_of(node, said().id)) == ["received", "stored", "delivered"]

    @on_asyncio
    async def test_reading_is_told_from_receiving(self) -> None:
        async with running_node() as node:
            stories = stories_of(node)
            stories.hear(posted(said()))
            stories.hear(receipt(said(), "jerry"))
            stories.hear(receipt(said(), "jerry", read=True))
            assert words_of(steps_of(node, said().id))[3:] == ["receipt", "read"]


def receipt(one: Message, by: str, *, read: bool = False) -> MessagesReceipted:
    return MessagesReceipted(GROUP, "tom", (one.id,), by, Millis(NOON + 5), Millis(NOON + 5), read)
