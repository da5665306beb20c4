"""Messages of a real server that are modified and recalled, through the client library."""

import pytest

from fastim.client import (
    Disconnected,
    Event,
    MessageModified,
    MessageRecalled,
    Reconnected,
    Refused,
    UnreadChanged,
    connect,
)
from tests.client.line import line_to
from tests.end_to_end.clients import QUICK, bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def test_a_modified_message_is_told_to_all_others_and_is_new_wherever_it_is_looked_at(
    server: ServerProcess,
) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with (
        device(server, tom) as phone,
        device(server, tom) as tablet,
        device(server, jerry) as other,
        bell_for(server, tom, jerry) as bell,
    ):
        room = await phone.create_conversation([jerry])
        sent = await room.send("helo")
        await bell.told(phone, tablet, other)
        modified = await room.modify(sent, "hello", mentions=[jerry])
        assert (modified.id, modified.timestamp, modified.text) == (sent.id, sent.timestamp, "hello")
        assert modified.patched_at is not None
        assert modified.patched_at > sent.timestamp
        by_phone, by_tablet, by_other = await bell.told(phone, tablet, other)
        assert by_phone == []
        assert by_tablet == by_other == [MessageModified(modified, None, "")]
        (found,) = await room.history_page()
        assert (found.text, found.mentions, found.patched_at) == ("hello", (jerry,), modified.patched_at)
        info = await room.fetch(with_last_message=True)
        assert info.last_message is not None
        assert (info.last_message.text, info.last_message.patched_at) == ("hello", modified.patched_at)
        binary = await room.modify(modified, b"\xff\x00")
        (event,) = (await bell.told(other))[0]
        assert event == MessageModified(binary, None, "")


async def test_a_recalled_message_leaves_its_place_and_nothing_else(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one, bell_for(server, tom, jerry) as bell:
        room = await one.create_conversation([jerry])
        async with device(server, jerry) as two:
            sent = await room.send("secret", mention_all=True)
            await bell.told(two)
            recalled = await room.recall(sent)
            assert (recalled.recalled, recalled.type, recalled.mention_all) == (True, -127, False)
            assert await bell.told(two) == [[MessageRecalled(recalled, None, "")]]
            assert await room.recall(sent) == recalled
            (found,) = await two.conversation(room.id).history_page()
            assert (found.recalled, found.raw, found.patched_at) == (True, recalled.raw, recalled.patched_at)
            with pytest.raises(Refused, match="4404"):
                await room.modify(sent, "never mind")
        async with device(server, jerry) as again:
            while (notice := await told(again, UnreadChanged)).conversation_id != room.id:
                pass
            assert notice.last_message is not None
            assert notice.last_message.recalled


async def test_only_its_sender_may_change_a_message(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one, device(server, jerry) as two:
        room = await one.create_conversation([jerry])
        sent = await room.send("mine")
        with pytest.raises(Refused, match="4403"):
            await two.conversation(room.id).recall(sent)
        with pytest.raises(Refused, match="4403"):
            await two.conversation(room.id).modify(sent, "yours")
        assert [message.text async for message in room.history()] == ["mine"]


async def test_what_was_changed_while_a_client_was_away_is_told_once_when_it_is_back(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with line_to(server.tcp.host, server.tcp.port) as line, device(server, tom) as one:
        async with connect(line.address, app_id=server.app_id, client_id=jerry, timing=QUICK) as two:
            first, second = await one.create_conversation([jerry]), await one.create_conversation([jerry])
            in_first = [await first.send("1"), await first.send("2")]
            in_second = await second.send("3")
            async with bell_for(server, jerry) as bell:
                await bell.told(two)
                known = await first.modify(in_first[0], "known")
                assert await bell.told(two) == [[MessageModified(known, None, "")]]
            line.cut()
            await told(two, Disconnected)
            changed = [
                MessageModified(await first.modify(in_first[1], "two"), None, ""),
                MessageRecalled(await second.recall(in_second), None, ""),
                MessageModified(await first.modify(in_first[0], "one"), None, ""),
            ]
            line.mend()
            await told(two, Reconnected)
            async with bell_for(server, jerry) as bell:
                (events,) = await bell.told(two)
            assert [event for event in events if not isinstance(event, UnreadChanged)] == changed
            kept = two.patches_since
        latest: list[Event] = [MessageModified(await first.modify(in_first[0], "latest"), None, "")]
        # The next run of the program goes on where this one stopped.
        async with device(server, jerry, patches_since=kept) as two, bell_for(server, jerry) as bell:
            (events,) = await bell.told(two)
            assert [event for event in events if isinstance(event, MessageModified | MessageRecalled)] == latest
