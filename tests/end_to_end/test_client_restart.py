"""A server that is stopped or killed and started again, as clients of the library live through it."""

import itertools
from collections.abc import Callable
from functools import partial

import anyio
import pytest
from anyio import to_thread

from fastim.client import (
    Client,
    Conversation,
    Disconnected,
    Message,
    MessageReceived,
    Position,
    Reconnected,
    UnreadChanged,
)
from fastim.client import Millis as At
from tests.end_to_end.clients import device, someone, told
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ways = pytest.mark.parametrize("crash", [False, True], ids=["SIGTERM", "kill -9"])


async def restart(server: ServerProcess, *, crash: bool) -> None:
    await to_thread.run_sync(partial(server.restart, crash=crash))


class Progress:
    """Lets a task wait for whatever others do."""

    def __init__(self) -> None:
        self._made = anyio.Event()

    def make(self) -> None:
        self._made.set()
        self._made = anyio.Event()

    async def until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            await self._made.wait()


class Follower:
    """Reads a conversation live, and catches up from its history after each reconnection."""

    def __init__(self, client: Client, room: Conversation, progress: Progress) -> None:
        self._client = client
        self._room = room
        self._progress = progress
        self._last = Position(At(0), "")
        self.seen: list[Message] = []
        self.reconnected = 0

    async def follow(self, count: int, reconnections: int) -> None:
        """Until there were so many messages and reconnections."""
        async for event in self._client.events():
            if isinstance(event, MessageReceived):
                self._take(event.message)
            elif isinstance(event, Reconnected):
                self.reconnected += 1
                async for message in self._room.history(after=self._last):
                    self._take(message)
                self._progress.make()
            if len(self.seen) >= count and self.reconnected >= reconnections:
                return

    def _take(self, message: Message) -> None:
        # What history had first comes live too when it was sent meanwhile.
        if message.position > self._last:
            self._last = message.position
            self.seen.append(message)


@ways
async def test_nothing_is_lost_or_doubled(own_server: ServerProcess, crash: bool) -> None:
    senders, each = 3, 60
    # Restarts begin when so many messages of each sender are acked and the follower is back; no sender goes far ahead.
    restarts_at = [20, 40]
    begun = {at: anyio.Event() for at in restarts_at}
    acked: list[Message] = []
    progress = Progress()

    async with device(own_server, someone("reader")) as reader:
        names = [someone(f"sender{number}") for number in range(senders)]
        room = await reader.create_conversation(names)
        follower = Follower(reader, room, progress)

        async def send_all(name: str) -> None:
            async with device(own_server, name, events_max=0) as sender:
                own_view = sender.conversation(room.id)
                for number in range(each):
                    if number - 5 in begun:
                        await begun[number - 5].wait()
                    acked.append(await own_view.send(f"{name} {number}"))
                    progress.make()

        def is_due(times: int, at: int) -> bool:
            return len(acked) >= senders * at and follower.reconnected >= times

        async def disturb() -> None:
            for times, at in enumerate(restarts_at):
                await progress.until(partial(is_due, times, at))
                begun[at].set()
                await restart(own_server, crash=crash)

        with anyio.fail_after(50):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(disturb)
                tasks.start_soon(follower.follow, senders * each, len(restarts_at))
                for name in names:
                    tasks.start_soon(send_all, name)

        kept = [message async for message in room.history(newest_first=False)]

    assert sorted(kept, key=lambda one: one.id) == sorted(acked, key=lambda one: one.id)
    assert follower.seen == kept
    for name in names:
        assert [one.text for one in kept if one.sender == name] == [f"{name} {number}" for number in range(each)]
    assert all(a.position < b.position for a, b in itertools.pairwise(kept))


@ways
async def test_what_is_asked_while_the_server_is_down_is_done_when_it_is_back(
    own_server: ServerProcess, crash: bool
) -> None:
    async with device(own_server, someone("tom")) as tom:
        room = await tom.create_conversation([someone("jerry")])
        before = await room.send("before")
        await to_thread.run_sync(own_server.kill if crash else own_server.terminate)
        assert isinstance(await _next_lost(tom), Disconnected)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(room.send, "meanwhile")
            tasks.start_soon(room.add, [someone("spike")])
            tasks.start_soon(room.mark_read)
            await anyio.wait_all_tasks_blocked()
            await to_thread.run_sync(own_server.start)
        await told(tom, Reconnected)
        after = await room.send("after")
        assert [message.text async for message in room.history()] == ["after", "meanwhile", "before"]
        assert (before.timestamp, before.id) < (after.timestamp, after.id)
        assert await room.count_members() == 3


@ways
async def test_a_token_of_a_message_is_known_after_a_restart(own_server: ServerProcess, crash: bool) -> None:
    async with device(own_server, someone("tom")) as tom:
        room = await tom.create_conversation([])
        first = await room.send("once", token="t")
        await restart(own_server, crash=crash)
        again = await room.send("once", token="t")
        assert again == first
        assert [message.text async for message in room.history()] == ["once"]


@ways
async def test_members_attributes_unread_counts_and_read_positions_outlive_the_server(
    own_server: ServerProcess, crash: bool
) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with device(own_server, tom) as one:
        room = await one.create_conversation([jerry], name="kept", unique=True)
        await room.add([spike])
        await room.update({"level": 7})
        await room.mute()
        read = await room.send("read")
        async with device(own_server, jerry) as two:
            await told(two, UnreadChanged)
            await two.conversation(room.id).mark_read(read)
            assert (await told(two, UnreadChanged)).count == 0
        await room.send("not read", mentions=[jerry])
        await restart(own_server, crash=crash)
        info = await room.fetch(with_last_message=True)
        assert (info.name, info.columns["level"], info.muted_by) == ("kept", 7, (tom,))
        assert set(info.members) == {tom, jerry, spike}
        assert info.last_message is not None
        assert info.last_message.text == "not read"
        assert await one.create_conversation([jerry], unique=True) == room
        async with device(own_server, jerry) as two:
            notice = await told(two, UnreadChanged)
            assert (notice.count, notice.mentioned) == (1, True)


async def test_after_a_restart_a_client_is_told_of_what_it_missed(own_server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(own_server, tom) as one:
        room = await one.create_conversation([jerry])
        async with device(own_server, jerry) as two:
            own_view = two.conversation(room.id)
            await room.send("seen")
            seen = (await _next_message(two)).message
            await restart(own_server, crash=True)
            await room.send("missed or not")
            while not isinstance(event := await anext(two.events()), Reconnected):
                assert isinstance(event, Disconnected)
            texts = [message.text async for message in own_view.history(after=seen)]
            assert texts == ["missed or not"]


@ways
async def test_devices_with_one_tag_come_back_without_pushing_each_other_out(
    own_server: ServerProcess, crash: bool
) -> None:
    tom = someone("tom")
    async with (
        device(own_server, tom, tag="Mobile", device="phone") as phone,
        device(own_server, tom, tag="Desktop", device="desk") as desk,
    ):
        token = phone.token
        await restart(own_server, crash=crash)
        for client in (phone, desk):
            await told(client, Disconnected)
            await told(client, Reconnected)
        assert await phone.online([tom]) == {tom}
        assert phone.token == token


async def _next_lost(client: Client) -> Disconnected:
    while True:
        event = await anext(client.events())
        if isinstance(event, Disconnected):
            return event


async def _next_message(client: Client) -> MessageReceived:
    while True:
        event = await anext(client.events())
        if isinstance(event, MessageReceived):
            return event
