"""Source: wire protocol, reliable notifications over REST."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.commands import AddMembers, QueryNotices, RemoveMembers, SetRole, UpdateConversation
from fastim.core.notice import Addressed, Notice
from fastim.core.policy import NOTICES_PAGE
from fastim.core.session import Session
from fastim.core.units import Millis
from fastim.service.conversations import update_conversation
from fastim.service.governance import set_role
from fastim.service.members import add_members, remove_members
from fastim.service.notifications import DROPPABLE_MAX, all_notices_since, query_notices
from tests.fakes.clock import NOON
from tests.fakes.running import explored, on_trio
from tests.fakes.world import World, new_world


async def told(world: World, session: Session, since: int = 0) -> list[str]:
    return [one.op for one in (await query_notices(world.io, session, QueryNotices(Millis(since)))).notices]


def own(at: int, op: str = "joined", client_id: str = "tom") -> Addressed:
    return Addressed(client_id, Notice(op, "c", Millis(at)))


@pytest.mark.rule("3.7")
@on_trio
async def test_who_was_away_hears_what_happened_since_and_nothing_twice() -> None:
    world = await new_world()
    tom, jerry = await world.login("tom"), await world.login("jerry")
    since = world.clock.now()
    world.clock.step(1)
    tea = await world.start(tom, "jerry")
    begun = world.clock.now()
    world.clock.step(1)
    await update_conversation(world.io, tom, UpdateConversation(tea, '{"name": "tea"}'))
    world.clock.step(1)
    await add_members(world.io, tom, AddMembers(tea, ("spike",)))
    world.clock.step(1)
    await remove_members(world.io, tom, RemoveMembers(tea, ("spike",)))
    assert await told(world, jerry, since) == ["joined", "members_joined", "updated", "members_joined", "members_left"]
    # The cursor is exclusive.
    assert await told(world, jerry, begun) == ["updated", "members_joined", "members_left"]
    assert await told(world, jerry, world.clock.now()) == []
    # Who was a member for a while is told of itself, and of nothing before.
    assert [op for op in await told(world, await world.login("spike"), since) if op != "members_joined"] == [
        "joined",
        "left",
    ]


@pytest.mark.rule("3.7")
@on_trio
async def test_temporary_conversations_are_told_of_and_chat_rooms_are_not() -> None:
    world = await new_world()
    tom = await world.login("tom")
    await world.start_room(tom)
    assert await told(world, tom) == []
    await world.start_temporary(tom, "jerry")
    assert await told(world, await world.login("jerry")) == ["joined", "members_joined"]


@pytest.mark.rule("4.5")
@on_trio
async def test_a_client_hears_of_its_own_role_once() -> None:
    world = await new_world()
    tom, jerry = await world.login("tom"), await world.login("jerry")
    tea = await world.start(tom, "jerry")
    since = world.clock.now()
    world.clock.step(1)
    await set_role(world.io, tom, SetRole(tea, "jerry", "Manager"))
    for session in (tom, jerry):
        assert await told(world, session, since) == ["member_info_changed"]


@explored
@given(st.lists(st.integers(1, 40), max_size=30), st.integers(0, 45))
@on_trio
async def test_page_by_page_everything_comes_in_order_once(steps: list[int], start: int) -> None:
    """More of one millisecond than fits on a page comes with it, or it would be skipped."""
    world = await new_world()
    tom = await world.login("tom")
    moments = [NOON + step for step in sorted(steps) for _ in range(60)]
    await world.store.add_notices([own(at) for at in moments])
    found: list[int] = []
    since = Millis(NOON + start)
    while True:
        page = await query_notices(world.io, tom, QueryNotices(since))
        found.extend(notice.at for notice in page.notices)
        if not page.more:
            break
        assert len(page.notices) >= NOTICES_PAGE
        assert page.notices[-1].at > since
        since = page.notices[-1].at
    assert found == [at for at in moments if at > NOON + start]


@on_trio
async def test_there_is_more_only_after_something() -> None:
    """JS would ask for ever."""
    world = await new_world()
    tom = await world.login("tom")
    info = {"info": {"pid": "tom", "role": "Member"}}
    tea = await world.start(tom)
    hidden = [
        Addressed(None, Notice("member_info_changed", tea, Millis(NOON + step), fields=info, permanent=False))
        for step in range(1, NOTICES_PAGE + 2)
    ]
    await world.store.add_notices([*hidden, own(NOON + 10_000, "left")])
    page = await query_notices(world.io, tom, QueryNotices(NOON))
    assert ([notice.op for notice in page.notices], page.more) == (["left"], False)


@on_trio
async def test_all_at_once_is_everything_until_that_is_too_much() -> None:
    world = await new_world()
    tea = await world.start(await world.login("tom"))
    since = NOON
    await world.store.add_notices([own(NOON + step) for step in range(1, 2 * NOTICES_PAGE)])
    missed = await all_notices_since(world.io, "tom", since)
    assert (len(missed.notices), missed.forgotten) == (2 * NOTICES_PAGE - 1, False)
    updates = [
        Addressed(None, Notice("updated", tea, Millis(NOON + step), permanent=False))
        for step in range(1, DROPPABLE_MAX + 1)
    ]
    await world.store.add_notices(updates)
    missed = await all_notices_since(world.io, "tom", since)
    assert (len(missed.notices), missed.forgotten) == (2 * NOTICES_PAGE - 1 + DROPPABLE_MAX, False)
    await world.store.add_notices([Addressed(None, Notice("updated", tea, Millis(NOON + 1), permanent=False))])
    missed = await all_notices_since(world.io, "tom", since)
    assert (len(missed.notices), missed.forgotten) == (2 * NOTICES_PAGE - 1, True)
    assert all(notice.permanent for notice in missed.notices)
    assert [notice.at for notice in missed.notices] == sorted(notice.at for notice in missed.notices)
