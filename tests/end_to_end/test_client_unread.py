"""Unread counts of a real server, through the client library: at login, live, and shared by a client's devices."""

import pytest

from fastim.client import MessageReceived, UnreadChanged
from tests.end_to_end.clients import bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def test_at_login_a_client_is_told_what_it_has_not_read(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one:
        room = await one.create_conversation([jerry])
        quiet = await one.create_conversation([jerry])
        await room.send("first")
        await room.send("hey", mentions=[jerry])
        last = await room.send(b"\xff")
        async with device(server, jerry) as two, bell_for(server, jerry) as bell:
            (events,) = await bell.told(two)
            (notice,) = events
            assert isinstance(notice, UnreadChanged)
            assert (notice.conversation_id, notice.count, notice.mentioned) == (room.id, 3, True)
            assert notice.last_message is not None
            assert (notice.last_message.id, notice.last_message.body) == (last.id, b"\xff")
            assert quiet.id != room.id
        # What one has sent oneself is not unread.
        async with device(server, tom) as again, bell_for(server, tom) as bell:
            assert await bell.told(again) == [[]]


async def test_being_mentioned_is_for_whom_it_concerns(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with device(server, tom) as one:
        room = await one.create_conversation([jerry, spike])
        await room.send("hey", mentions=[jerry])
        async with device(server, jerry) as two, device(server, spike) as three:
            assert (await told(two, UnreadChanged)).mentioned
            assert not (await told(three, UnreadChanged)).mentioned
        everyone = await one.create_conversation([spike])
        await everyone.send("all of you", mention_all=True)
        async with device(server, spike) as three:
            by_conversation = {}
            for _ in range(2):
                notice = await told(three, UnreadChanged)
                by_conversation[notice.conversation_id] = notice.mentioned
    assert by_conversation == {room.id: False, everyone.id: True}


async def test_reading_on_one_device_counts_for_all(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one, device(server, jerry) as phone, device(server, jerry) as laptop:
        async with bell_for(server, tom, jerry) as bell:
            room = await one.create_conversation([jerry])
            await bell.told(phone, laptop)
            messages = [
                await room.send("0"),
                await room.send("1", mentions=[jerry]),
                await room.send("2"),
                await room.send("3", mention_all=True),
                await room.send("4"),
            ]
            # While it is online no count goes with a message.
            for events in await bell.told(phone, laptop):
                assert events == [MessageReceived(message) for message in messages]
        own_view = phone.conversation(room.id)
        for upto, count, mentioned in (
            (messages[1], 3, True),
            (messages[3], 1, False),
            (None, 0, False),
            (messages[0], 0, False),  # positions never go back
        ):
            await own_view.mark_read(upto)
            for client in (phone, laptop):
                notice = await told(client, UnreadChanged)
                assert (notice.conversation_id, notice.count, notice.mentioned) == (room.id, count, mentioned)


async def test_what_was_read_is_not_unread_at_the_next_login_and_what_comes_later_is(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one:
        room = await one.create_conversation([jerry])
        await room.send("old", mentions=[jerry])
        async with device(server, jerry) as two:
            assert (await told(two, UnreadChanged)).count == 1
            await two.conversation(room.id).mark_read()
            assert (await told(two, UnreadChanged)).count == 0
        async with device(server, jerry) as two, bell_for(server, jerry) as bell:
            assert await bell.told(two) == [[]]
        await room.send("new")
        async with device(server, jerry) as two:
            notice = await told(two, UnreadChanged)
            assert (notice.count, notice.mentioned) == (1, False)


async def test_a_device_that_kept_the_time_is_told_only_what_changed_since(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one:
        first, second = await one.create_conversation([jerry]), await one.create_conversation([jerry])
        await first.send("a")
        async with device(server, jerry) as two:
            await told(two, UnreadChanged)
            kept = two.unread_since
        await second.send("b")
        async with device(server, jerry, unread_since=kept) as two:
            changed = set()
            async with bell_for(server, jerry) as bell:
                (events,) = await bell.told(two)
            for notice in events:
                assert isinstance(notice, UnreadChanged)
                changed.add(notice.conversation_id)
            assert second.id in changed


async def test_a_mark_by_time_reads_what_is_not_later(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one, device(server, jerry) as two, bell_for(server, tom, jerry) as bell:
        room = await one.create_conversation([jerry])
        messages = [await room.send(f"{number}") for number in range(4)]
        await bell.told(two)
        await two.conversation(room.id).mark_read(messages[2].timestamp)
        assert (await told(two, UnreadChanged)).count == 1
