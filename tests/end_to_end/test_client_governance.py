"""Roles, silence and blacklists of a real server, through the client library."""

from collections.abc import Sequence

import pytest

from fastim.client import (
    Blocked,
    Event,
    Left,
    MembersBlocked,
    MembersLeft,
    MembersSilenced,
    MembersUnblocked,
    MembersUnsilenced,
    MessageReceived,
    Refused,
    Role,
    RoleChanged,
    Silenced,
    Unblocked,
    Unsilenced,
)
from tests.end_to_end.clients import bell_for, device, someone
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


def kinds(events: Sequence[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


async def test_roles_are_given_by_higher_ones_and_told_to_all(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        device(server, tom) as owner,
        device(server, jerry) as manager,
        device(server, spike) as member,
        bell_for(server, tom, jerry, spike) as bell,
    ):
        room = await owner.create_conversation([jerry, spike])
        assert await room.roles() == {}
        await bell.told(owner, manager, member)
        await room.set_role(jerry, Role.MANAGER)
        for events in await bell.told(owner, manager, member):
            (event,) = events
            assert isinstance(event, RoleChanged)
            assert (event.conversation_id, event.member, event.role, event.by) == (room.id, jerry, Role.MANAGER, tom)
        assert await member.conversation(room.id).roles() == {jerry: Role.MANAGER}
        with pytest.raises(Refused, match="4320"):
            await member.conversation(room.id).set_role(spike, Role.MANAGER)
        with pytest.raises(Refused):
            await room.set_role(spike, Role.OWNER)
        await manager.conversation(room.id).set_role(spike, Role.MEMBER)
        assert (await room.roles())[jerry] is Role.MANAGER


async def test_who_is_silenced_reads_and_does_not_speak(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        device(server, tom) as owner,
        device(server, jerry) as target,
        device(server, spike) as member,
        bell_for(server, tom, jerry, spike) as bell,
    ):
        room = await owner.create_conversation([jerry, spike])
        await bell.told(owner, target, member)
        changes = await room.silence([jerry])
        assert (changes.allowed, changes.failed) == ((jerry,), {})
        by_owner, by_target, by_member = await bell.told(owner, target, member)
        assert kinds(by_target) == [Silenced, MembersSilenced]
        assert by_owner == by_member == by_target[1:]
        (event,) = by_owner
        assert isinstance(event, MembersSilenced)
        assert (event.conversation_id, event.members, event.by) == (room.id, (jerry,), tom)
        for transient in (False, True):
            with pytest.raises(Refused, match="4563"):
                await target.conversation(room.id).send("let me speak", transient=transient)
        said = await room.send("ssh")
        (events,) = await bell.told(target)
        assert events == [MessageReceived(said)]
        own_view = member.conversation(room.id)
        assert await own_view.silenced() == [jerry]
        assert await own_view.silenced_among([jerry, spike]) == {jerry}
        with pytest.raises(Refused, match="4320"):
            await own_view.unsilence([jerry])
        await bell.told(owner, member)
        await room.unsilence([jerry])
        by_owner, by_target = await bell.told(owner, target)
        assert kinds(by_owner) == [MembersUnsilenced]
        assert kinds(by_target) == [Unsilenced, MembersUnsilenced]
        await target.conversation(room.id).send("at last")


async def test_who_is_blocked_is_out_and_stays_out(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        device(server, tom) as owner,
        device(server, jerry) as target,
        device(server, spike) as member,
        bell_for(server, tom, jerry, spike) as bell,
    ):
        room = await owner.create_conversation([jerry, spike])
        await bell.told(owner, target, member)
        assert (await room.block([jerry])).allowed == (jerry,)
        by_owner, by_target, by_member = await bell.told(owner, target, member)
        assert set(kinds(by_target)) == {Blocked, Left}
        assert by_owner == by_member
        assert set(kinds(by_owner)) == {MembersBlocked, MembersLeft}
        assert await room.blocked() == [jerry]
        assert await member.conversation(room.id).blocked_among([jerry, spike]) == {jerry}
        with pytest.raises(Refused, match="4548"):
            await target.conversation(room.id).join()
        assert (await room.add([jerry])).failed[jerry].code == 4548
        with pytest.raises(Refused):
            await target.conversation(room.id).send("hey")
        await room.unblock([jerry])
        by_owner, by_target = await bell.told(owner, target)
        assert kinds(by_owner) == [MembersUnblocked]
        assert kinds(by_target) == [Unblocked]
        await target.conversation(room.id).join()
        assert await room.blocked() == []


async def test_long_lists_are_told_in_full(server: ServerProcess) -> None:
    names = [someone(f"{number}") for number in range(230)]
    async with device(server, someone("tom")) as tom:
        room = await tom.create_conversation(names[:50])
        for start in range(50, 230, 60):
            await room.add(names[start : start + 60])
        for start in range(0, 230, 60):
            await room.silence(names[start : start + 60])
        assert sorted(await room.silenced()) == sorted(names)
        for start in range(0, 230, 60):
            await room.block(names[start : start + 60])
        assert sorted(await room.blocked()) == sorted(names)
        assert await room.count_members() == 1


async def test_who_refuses_a_conversation_cannot_be_added_and_can_still_join(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one, device(server, jerry) as two:
        room = await one.create_conversation([])
        changes = await two.block_conversations([room.id])
        assert changes.allowed == (room.id,)
        assert await two.blocked_conversations() == [room.id]
        assert (await room.add([jerry])).failed[jerry].code == 4548
        await two.unblock_conversations([room.id])
        assert await two.blocked_conversations() == []
        assert (await room.add([jerry])).allowed == (jerry,)
