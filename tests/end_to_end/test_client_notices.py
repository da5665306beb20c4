"""What happens while a client is away, as a real server tells it afterwards, through the client library."""

from collections.abc import Sequence
from functools import partial

import pytest
from anyio import to_thread

from fastim.client import (
    Blocked,
    Client,
    ConversationUpdated,
    Disconnected,
    Event,
    Joined,
    Left,
    MembersBlocked,
    MembersJoined,
    MembersLeft,
    MembersSilenced,
    MembersUnblocked,
    MembersUnsilenced,
    Reconnected,
    Role,
    RoleChanged,
    Silenced,
    Unblocked,
    UnreadChanged,
    Unsilenced,
    connect,
)
from tests.client.line import line_to
from tests.end_to_end.clients import QUICK, bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def until(client: Client, kind: type[Event]) -> list[Event]:
    """What is told up to the first event of this kind, but for unread counts."""
    found: list[Event] = []
    while not found or not isinstance(found[-1], kind):
        event = await told(client, Event)
        if not isinstance(event, UnreadChanged):
            found.append(event)
    return found


def times(events: Sequence[Event]) -> list[int]:
    return [event.at for event in events if hasattr(event, "at")]


async def test_a_member_is_told_afterwards_what_it_would_have_been_told_live(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        line_to(server.tcp.host, server.tcp.port) as line,
        device(server, tom) as owner,
        device(server, jerry) as tablet,
        connect(line.address, app_id=server.app_id, client_id=jerry, timing=QUICK) as phone,
    ):
        line.cut()
        await told(phone, Disconnected)
        room = await owner.create_conversation([jerry], name="before")
        await room.add([spike])
        await room.update({"name": "after"})
        await room.set_role(jerry, Role.MANAGER)
        await room.silence([jerry])
        await room.unsilence([jerry])
        await room.block([spike])
        await room.unblock([spike])
        live = await until(tablet, MembersUnblocked)
        line.mend()
        await told(phone, Reconnected)
        missed = await until(phone, MembersUnblocked)
        # Those of one millisecond come in any order.
        assert sorted(missed, key=repr) == sorted(live, key=repr)
        assert times(missed) == sorted(times(missed))
        assert {type(event) for event in live} == {
            Joined,
            MembersJoined,
            ConversationUpdated,
            RoleChanged,
            Silenced,
            MembersSilenced,
            Unsilenced,
            MembersUnsilenced,
            MembersBlocked,
            MembersLeft,
            MembersUnblocked,
        }
        async with bell_for(server, jerry) as bell:
            assert await bell.told(phone) == [[]]


async def test_who_is_no_member_any_more_is_told_what_became_of_it(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with (
        line_to(server.tcp.host, server.tcp.port) as line,
        device(server, tom) as owner,
        connect(line.address, app_id=server.app_id, client_id=jerry, timing=QUICK) as phone,
    ):
        line.cut()
        await told(phone, Disconnected)
        room = await owner.create_conversation([jerry])
        await room.block([jerry])
        await room.unblock([jerry])
        line.mend()
        await told(phone, Reconnected)
        missed = await until(phone, Unblocked)
        own = [type(event) for event in missed if isinstance(event, Joined | Left | Blocked | Unblocked)]
        assert own[0] is Joined
        assert set(own[1:-1]) == {Left, Blocked}


async def test_nothing_is_told_twice_however_often_the_connection_breaks(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with (
        line_to(server.tcp.host, server.tcp.port) as line,
        device(server, tom) as owner,
        connect(line.address, app_id=server.app_id, client_id=jerry, timing=QUICK) as phone,
    ):
        expected: list[str] = []

        async def happen(count: int) -> None:
            expected.extend([(await owner.create_conversation([jerry])).id for _ in range(count)])

        heard: list[str] = []

        async def hear(count: int) -> None:
            while count:
                event = await told(phone, Event)
                if isinstance(event, Joined):
                    heard.append(event.conversation_id)
                    count -= 1

        for _ in range(3):
            await happen(1)
            await hear(1)
            line.cut()
            await happen(2)
            line.mend()
            await hear(2)
        async with bell_for(server, jerry) as bell:
            (events,) = await bell.told(phone)
        assert not any(isinstance(event, Joined) for event in events)
        assert heard == expected


async def test_the_next_run_of_a_program_goes_on_where_the_last_one_stopped(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as owner:
        async with device(server, jerry) as phone, bell_for(server, jerry) as bell:
            await owner.create_conversation([jerry])
            await bell.told(phone)
            kept = phone.notices_since
        missed = await owner.create_conversation([jerry])
        async with device(server, jerry, notices_since=kept) as phone:
            joined = (await until(phone, Joined))[-1]
            assert isinstance(joined, Joined)
            assert joined.conversation_id == missed.id
        # Who does not say where it stopped is told nothing from before.
        async with device(server, jerry) as phone, bell_for(server, jerry) as bell:
            (events,) = await bell.told(phone)
            assert all(isinstance(event, UnreadChanged) for event in events)


@pytest.mark.slow
async def test_what_was_missed_survives_the_server(own_server: ServerProcess) -> None:
    async with (
        line_to(own_server.tcp.host, own_server.tcp.port) as line,
        device(own_server, "tom") as owner,
        connect(line.address, app_id=own_server.app_id, client_id="jerry", timing=QUICK) as phone,
    ):
        line.cut()
        await told(phone, Disconnected)
        room = await owner.create_conversation(["jerry"])
        await to_thread.run_sync(partial(own_server.restart, crash=True))
        line.mend()
        joined = (await until(phone, Joined))[-1]
        assert isinstance(joined, Joined)
        assert joined.conversation_id == room.id
