"""Wills on a real server, through the client library."""

import pytest

from fastim.client import Conversation, MessageReceived, Reconnected, connect
from tests.client.line import line_to
from tests.end_to_end.clients import QUICK, bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def texts(room: Conversation) -> list[str]:
    return [message.text async for message in room.history()]


async def test_a_lost_session_s_last_will_is_told_once_and_is_in_no_history(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with (
        line_to(server.tcp.host, server.tcp.port) as line,
        device(server, jerry) as two,
        connect(line.address, app_id=server.app_id, client_id=tom, timing=QUICK) as one,
        bell_for(server, jerry) as bell,
    ):
        room, elsewhere = await one.create_conversation([jerry]), await one.create_conversation([jerry])
        await elsewhere.send("replaced", will=True)
        will = await room.send("tom has gone", will=True)
        (events,) = await bell.told(two)
        assert not any(isinstance(event, MessageReceived) for event in events)
        line.cut()
        message = (await told(two, MessageReceived)).message
        assert (message.id, message.sender, message.text) == (will.id, tom, "tom has gone")
        line.mend()
        while not isinstance(await anext(one.events()), Reconnected):
            pass
        assert await texts(room) == await texts(elsewhere) == []
        assert await bell.told(two) == [[]]


async def test_saying_goodbye_drops_the_will(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, jerry) as two, bell_for(server, jerry) as bell:
        async with device(server, tom) as one:
            room = await one.create_conversation([jerry])
            await bell.told(two)
            await room.send("tom has gone", will=True)
        assert await bell.told(two) == [[]]
