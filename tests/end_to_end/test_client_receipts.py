"""Receipts of a real server, through the client library: live, asked for, and told afterwards."""

import pytest

from fastim.client import (
    Disconnected,
    Event,
    MessageReceived,
    Receipt,
    Reconnected,
    connect,
)
from tests.client.line import line_to
from tests.end_to_end.clients import QUICK, bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def test_delivering_and_reading_are_told_to_all_devices_of_who_asked(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with (
        device(server, tom) as phone,
        device(server, tom) as tablet,
        bell_for(server, tom, jerry) as bell,
    ):
        room = await phone.create_conversation([jerry])
        await bell.told(phone, tablet)
        nobody_asked = await room.send("never mind")
        async with device(server, jerry) as two, bell_for(server, jerry) as own_bell:
            await own_bell.told(two)
            sent = await room.send("hello", receipt=True)
            for client in (phone, tablet):
                if client is tablet:
                    assert (await told(client, MessageReceived)).message.id == nobody_asked.id
                    assert (await told(client, MessageReceived)).message.id == sent.id
                delivered = await told(client, Receipt)
                assert (delivered.message_id, delivered.by, delivered.read) == (sent.id, jerry, False)
                assert delivered.at >= sent.timestamp
            await two.conversation(room.id).mark_read()
            for client in (phone, tablet):
                read = await told(client, Receipt)
                assert (read.message_id, read.by, read.read) == (sent.id, jerry, True)
        times = await room.receipt_times()
        assert times.delivered_at is not None
        assert times.read_at is not None
        assert times.delivered_at >= times.read_at >= sent.timestamp
        assert await room.receipt_times_of_members() == {jerry: times}
        (found,) = await room.history_page(limit=1)
        assert (found.id, found.delivered_at, found.read_at) == (sent.id, times.delivered_at, times.read_at)


async def test_nobody_is_told_of_what_was_not_asked_for_or_cannot_be(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        device(server, tom) as one,
        device(server, jerry) as two,
        device(server, spike),
        bell_for(server, tom, jerry) as bell,
    ):
        pair = await one.create_conversation([jerry])
        three = await one.create_conversation([jerry, spike])
        await bell.told(one, two)
        await pair.send("not asked")
        await pair.send("fleeting", receipt=True, transient=True)
        await three.send("too many", receipt=True)
        await bell.told(two)
        for room in (pair, three):
            await two.conversation(room.id).mark_read()
        assert await bell.told(one) == [[]]


async def test_receipts_that_were_missed_are_told_after_a_reconnection(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with (
        line_to(server.tcp.host, server.tcp.port) as line,
        connect(line.address, app_id=server.app_id, client_id=tom, timing=QUICK) as one,
        bell_for(server, tom) as bell,
    ):
        room = await one.create_conversation([jerry])
        await bell.told(one)
        sent = await room.send("hello", receipt=True)
        line.cut()
        await told(one, Disconnected)
        async with device(server, jerry) as two:
            await two.conversation(room.id).mark_read()
        line.mend()
        await told(one, Reconnected)
        receipts: list[Receipt] = []
        while len(receipts) < 2:
            event = await told(one, Event)
            if isinstance(event, Receipt):
                receipts.append(event)
        assert [(event.message_id, event.by, event.read) for event in receipts] == [
            (sent.id, jerry, False),
            (sent.id, jerry, True),
        ]
        assert await bell.told(one) == [[]]
