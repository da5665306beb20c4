"""Chat rooms of a real server, through the client library."""

from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from fastim.client import (
    ChatRoom,
    Disconnected,
    MessageReceived,
    Priority,
    Reconnected,
    Refused,
    RoomLost,
    connect,
)
from tests.client.line import line_to
from tests.end_to_end.clients import QUICK, bell_for, device, someone, told
from tests.end_to_end.test_clock_steps import SteppingProcess
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def test_a_room_is_found_entered_and_left(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one, device(server, jerry) as two, bell_for(server, tom, jerry) as bell:
        name = someone("lobby")
        made = await one.create_room(name=name, attributes={"topic": "cheese"})
        assert await made.count_online() == 1
        texts = [f"text {number}" for number in range(5)]
        for text in texts:
            await made.send(text, priority=Priority.LOW)

        (room,) = await two.query({"tr": True, "name": name})
        assert isinstance(room, ChatRoom)
        assert room.info is not None
        assert (room.info.attributes, room.info.creator, room.info.members) == ({"topic": "cheese"}, tom, ())
        assert not await room.is_member()
        recent = await room.join(recent=3)
        assert [message.text for message in recent] == texts[2:]
        assert await room.is_member()
        assert await room.count_online() == 2
        assert set(await room.some_online()) == {tom, jerry}
        assert len(await room.some_online(1)) == 1

        sent = await room.send("hello", priority=Priority.HIGH)
        # Nobody is told who comes and goes.
        assert await bell.told(one, two) == [[MessageReceived(sent)], []]
        await room.leave()
        await room.leave()
        assert await made.count_online() == 1
        await made.send("all alone")
        assert await bell.told(one, two) == [[], []]


async def test_entering_a_room_leaves_the_one_before(server: ServerProcess) -> None:
    async with device(server, someone("tom")) as tom:
        first = await tom.create_room()
        second = await tom.create_room()
        assert await first.count_online() == 0
        await first.join()
        assert (await first.count_online(), await second.count_online()) == (1, 0)


async def test_nobody_can_be_counted_unread_or_receipted_in_a_room(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one, bell_for(server, tom, jerry) as bell:
        room = await one.create_room()
        async with device(server, jerry) as two:
            await two.room(room.id).join()
            await room.send("hello", receipt=True)
            await bell.told(two)
            assert await bell.told(one) == [[]]
        await room.send("missed")
        async with device(server, jerry) as two:
            assert await bell.told(two) == [[]]


async def test_after_a_reconnection_a_client_is_in_its_room_again(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with line_to(server.tcp.host, server.tcp.port) as line, device(server, tom) as one:
        room = await one.create_room()
        async with connect(line.address, app_id=server.app_id, client_id=jerry, timing=QUICK) as two:
            own_view = two.room(room.id)
            await own_view.join()
            line.cut()
            await told(two, Disconnected)
            missed = await room.send("missed")
            line.mend()
            await told(two, Reconnected)
            assert await own_view.count_online() == 2
            sent = await room.send("hello again")
            assert await told(two, MessageReceived) == MessageReceived(sent)
            assert await own_view.history_page() == [missed, sent]
            await own_view.leave()
            line.cut()
            await told(two, Disconnected)
            line.mend()
            await told(two, Reconnected)
            assert not await own_view.is_member()


@pytest.mark.slow
async def test_a_room_is_entered_again_after_the_server_was_killed(own_server: ServerProcess) -> None:
    async with device(own_server, "tom") as one:
        room = await one.create_room()
        await to_thread.run_sync(partial(own_server.restart, crash=True))
        while not isinstance(await anext(one.events()), Reconnected):
            pass
        assert await room.is_member()
        assert await room.count_online() == 1


@pytest.mark.slow
@pytest.mark.parametrize("blocked", [False, True])
async def test_after_an_absence_too_long_for_the_server_the_client_asks_to_be_let_in(
    tmp_path: Path, blocked: bool
) -> None:
    with SteppingProcess(tmp_path / "data") as server:
        async with line_to(server.tcp.host, server.tcp.port) as line, device(server, "tom") as one:
            room = await one.create_room()
            async with connect(line.address, app_id=server.app_id, client_id="jerry", timing=QUICK) as two:
                await two.room(room.id).join()
                line.cut()
                await told(two, Disconnected)
                while await room.count_online() > 1:
                    pass
                server.set_clock(31 * 60_000)
                if blocked:
                    await room.block(["jerry"])
                line.mend()
                await told(two, Reconnected)
                if blocked:
                    lost = await told(two, RoomLost)
                    assert (lost.conversation_id, lost.code) == (room.id, 4548)
                with anyio.fail_after(20):
                    while await room.count_online() != (1 if blocked else 2):
                        pass


async def test_a_room_that_is_not_there_is_refused(server: ServerProcess) -> None:
    async with device(server, someone("tom")) as tom:
        with pytest.raises(Refused, match="4303"):
            await tom.room("no such room").join()
