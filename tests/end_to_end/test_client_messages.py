"""Messages of a real server, through the client library: sent, delivered, deduplicated, read back."""

from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import anyio
import pytest

from fastim.client import (
    Client,
    Conversation,
    Message,
    MessageReceived,
    Position,
    Refused,
    UnreadChanged,
)
from tests.end_to_end.clients import bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def received(client: Client, count: int) -> list[Message]:
    """The next messages, without what else comes before them."""
    found: list[Message] = []
    with anyio.fail_after(20):
        async for event in client.events():
            if isinstance(event, MessageReceived):
                found.append(event.message)
                if len(found) == count:
                    break
    return found


async def all_of(room: Conversation, **options: Any) -> list[str]:
    return [message.text async for message in room.history(**options)]


async def page_of(room: Conversation, **options: Any) -> list[str]:
    return [message.text for message in await room.history_page(**options)]


# -- sent and delivered ------------------------------------------------------------------------------------------------


async def test_a_message_reaches_every_other_device_of_every_member_as_it_was_sent(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        device(server, tom) as sender,
        device(server, tom) as tablet,
        device(server, jerry) as phone,
        device(server, jerry) as laptop,
        device(server, spike) as outsider,
        bell_for(server, tom, jerry, spike) as bell,
    ):
        room = await sender.create_conversation([jerry])
        everyone = (sender, tablet, phone, laptop, outsider)
        await bell.told(*everyone)
        sent = [
            await room.send("héllo \N{CAT FACE}"),
            await room.send(b"\x00\xff\xfe"),
            await room.send({"_lctype": -1, "_lctext": "typed"}),
            await room.send("hey you", mentions=[jerry]),
            await room.send("hey all", mention_all=True),
            await room.send(""),
            await room.send("psst", transient=True),
        ]
        by_sender, *by_members, by_outsider = await bell.told(*everyone)
        for events in by_members:
            assert events == [MessageReceived(message) for message in sent]
        assert by_sender == by_outsider == []


async def test_timestamps_and_ids_strictly_increase(server: ServerProcess) -> None:
    async with device(server, someone("tom")) as tom:
        room = await tom.create_conversation([])
        sent = [await room.send(f"text {number}") for number in range(50)]
    assert all(a.timestamp < b.timestamp and a.id < b.id for a, b in pairwise(sent))


async def test_everybody_sees_one_order_however_many_send_at_once(server: ServerProcess) -> None:
    names = [someone(f"client{number}") for number in range(5)]
    seen: dict[str, list[Message]] = {}
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(device(server, name)) for name in names]
        room = await clients[0].create_conversation(names)

        async def watch(client: Client) -> None:
            seen[client.id] = await received(client, 40)

        async def talk(client: Client) -> None:
            for number in range(10):
                await client.conversation(room.id).send(f"{client.id} {number}")

        async with anyio.create_task_group() as talking:
            for client in clients:
                talking.start_soon(watch, client)
                talking.start_soon(talk, client)
        order = [message async for message in room.history(newest_first=False)]
    assert len(order) == 50
    for name in names:
        assert seen[name] == [message for message in order if message.sender != name]
        own = [message.text for message in order if message.sender == name]
        assert own == [f"{name} {number}" for number in range(10)]


async def test_the_same_token_is_the_same_message(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with (
        device(server, tom) as one,
        device(server, tom) as tablet,
        device(server, jerry) as two,
        bell_for(server, tom, jerry) as bell,
    ):
        room = await one.create_conversation([jerry])
        elsewhere = await one.create_conversation([jerry])
        await bell.told(tablet, two)
        first = await room.send("once", token="t")
        again = await room.send("once", token="t")
        from_tablet = await tablet.conversation(room.id).send("once more", token="t")
        assert again == first
        assert (from_tablet.id, from_tablet.timestamp) == (first.id, first.timestamp)
        others = [
            await elsewhere.send("another conversation", token="t"),
            await two.conversation(room.id).send("another sender", token="t"),
        ]
        assert len({first.id, *(message.id for message in others)}) == 3
        by_tablet, by_two = await bell.told(tablet, two)
        assert by_tablet == [MessageReceived(message) for message in (first, *others)]
        assert by_two == [MessageReceived(first), MessageReceived(others[0])]
        assert await all_of(room, newest_first=False) == ["once", "another sender"]


async def test_a_transient_message_is_in_no_history_and_counts_for_nothing(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one:
        room = await one.create_conversation([jerry])
        await room.send("typing", transient=True)
        kept = await room.send("said")
        assert await all_of(room) == ["said"]
        async with device(server, jerry) as two:
            notice = await told(two, UnreadChanged)
            assert (notice.count, notice.last_message) == (1, kept)


async def test_what_is_too_long_is_refused_and_the_session_goes_on(server: ServerProcess) -> None:
    async with device(server, someone("tom")) as tom:
        room = await tom.create_conversation([])
        with pytest.raises(Refused, match="4109"):
            await room.send("x" * 5_121)
        await room.send("x" * 5_000)
        assert len(await all_of(room)) == 1


async def test_what_is_longer_than_any_frame_costs_the_connection_and_only_that(server: ServerProcess) -> None:
    async with device(server, someone("tom")) as tom:
        room = await tom.create_conversation([])
        with pytest.raises(Refused, match="4109"):
            await room.send("x" * 1_000_000)
        await room.send("short")
        assert await all_of(room) == ["short"]


async def test_many_messages_under_way_at_once_are_all_kept(server: ServerProcess) -> None:
    async with device(server, someone("tom"), events_max=0) as tom:
        room = await tom.create_conversation([])
        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(room.send, f"{number}")
        assert sorted(map(int, await all_of(room))) == list(range(300))


# -- history -----------------------------------------------------------------------------------------------------------


async def test_history_is_read_in_both_directions_and_in_pages(server: ServerProcess) -> None:
    texts = [f"text {number}" for number in range(25)]
    async with device(server, someone("tom")) as tom:
        room = await tom.create_conversation([])
        sent = [await room.send(text) for text in texts]

        assert await all_of(room) == texts[::-1]
        assert await all_of(room, page_size=4) == texts[::-1]
        assert await all_of(room, newest_first=False, page_size=5) == texts
        assert await all_of(room, after=sent[20], page_size=3) == texts[21:]
        assert await all_of(room, before=sent[3]) == texts[2::-1]
        assert await all_of(room, after=sent[5], before=sent[9]) == texts[6:9]
        assert await all_of(room, after=sent[24]) == []

        assert await page_of(room) == texts[5:]
        assert await page_of(room, limit=3) == texts[22:]
        assert await page_of(room, limit=3, newest_first=False) == texts[:3]
        assert await page_of(room, limit=0) == []
        assert await page_of(room, limit=1000) == texts


async def test_bounds_of_history_are_left_out_unless_they_are_said_to_belong_to_it(server: ServerProcess) -> None:
    texts = [f"text {number}" for number in range(10)]
    async with device(server, someone("tom")) as tom:
        room = await tom.create_conversation([])
        sent = [await room.send(text) for text in texts]
        low, high = sent[2], sent[6]
        for newest_first in (False, True):
            for low_place, high_place in (
                (low, high),
                (low.position, high.position),
                (low.timestamp, high.timestamp),
            ):
                bounds: dict[str, Any] = {"after": low_place, "before": high_place, "newest_first": newest_first}
                assert await page_of(room, **bounds) == texts[3:6]
                assert await page_of(room, **bounds, after_included=True) == texts[2:6]
                assert await page_of(room, **bounds, before_included=True) == texts[3:7]
                assert await page_of(room, **bounds, after_included=True, before_included=True) == texts[2:7]
        assert await page_of(room, after=low, newest_first=False, limit=2) == texts[3:5]
        assert await page_of(room, after=low, newest_first=True, limit=2) == texts[8:]
        assert await page_of(room, before=high, limit=2) == texts[4:6]
        assert await page_of(room, before=high, newest_first=False, limit=2) == texts[:2]
        future = Position(type(high.timestamp)(high.timestamp + 10_000_000), "")
        assert await page_of(room, after=future) == []


async def test_history_can_be_limited_to_one_type_of_message(server: ServerProcess) -> None:
    async with device(server, someone("tom")) as tom:
        room = await tom.create_conversation([])
        for number in range(6):
            await room.send({"_lctype": -1 if number % 2 else 7, "_lctext": f"{number}"})
        await room.send("plain")
        await room.send(b"\xff")
        found = [message.json()["_lctext"] async for message in room.history(message_type=-1, page_size=2)]
        assert found == ["5", "3", "1"]


async def test_history_shows_messages_as_they_were_sent(server: ServerProcess) -> None:
    jerry = someone("jerry")
    async with device(server, someone("tom")) as tom:
        room = await tom.create_conversation([jerry])
        sent = [
            await room.send(b"\x00\xff"),
            await room.send("hey", mentions=[jerry], mention_all=True),
            await room.send({"nested": {"deep": [1, None, "x"]}}),
        ]
        assert await room.history_page() == sent


async def test_who_joins_late_reads_what_was_said_before_and_who_left_reads_nothing(server: ServerProcess) -> None:
    async with device(server, someone("tom")) as tom, device(server, someone("jerry")) as jerry:
        room = await tom.create_conversation([])
        await room.send("before jerry")
        own_view = jerry.conversation(room.id)
        await own_view.join()
        assert await all_of(own_view) == ["before jerry"]
        await own_view.leave()
        with pytest.raises(Refused, match="4312"):
            await all_of(own_view)
