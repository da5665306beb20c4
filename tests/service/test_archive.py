from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastim.core.conversation import Kind
from fastim.core.message import Message, Position, Span
from fastim.core.session import office
from fastim.core.units import Millis
from fastim.service.archive import search_archive
from fastim.service.conversations import delete_conversation
from fastim.service.deletion import delete_message
from tests.fakes.running import explored, on_trio
from tests.fakes.world import World, new_world

CONVERSATIONS = 4
SENDERS = ("tom", "jerry")
WORD = st.tuples(st.integers(0, CONVERSATIONS - 1), st.integers(0, 1), st.integers(0, 2))
INTERLEAVED = [(number % CONVERSATIONS, 0, 1) for number in range(12)]


async def spoken(world: World, script: Sequence[tuple[int, int, int]]) -> dict[str, list[Message]]:
    """The messages that were said, by conversation: each with its number, its sender's, and how long after the last."""
    tom = await world.login("tom")
    ids = [await world.start(tom, "jerry", str(number)) for number in range(CONVERSATIONS)]
    for number, sender, pause in script:
        world.clock.step(pause)
        await world.send(office(SENDERS[sender]), ids[number])
    return {one: await world.io.store.history(one, Span(limit=1000)) for one in ids}


def expected(messages: Sequence[Message], span: Span) -> list[Message]:
    """What a search comes to, in plain words."""
    found = sorted(messages, key=lambda message: message.position)
    if span.after is not None:
        found = [
            one for one in found if one.position > span.after or (span.after_included and one.position == span.after)
        ]
    if span.before is not None:
        found = [
            one for one in found if one.position < span.before or (span.before_included and one.position == span.before)
        ]
    return found[max(len(found) - span.limit, 0) :] if span.newest_first else found[: span.limit]


@pytest.mark.slow
@explored
@given(
    script=st.lists(
        st.tuples(st.integers(0, CONVERSATIONS - 1), st.integers(0, 1), st.integers(0, 2)), min_size=5, max_size=20
    ),
    bounds=st.sampled_from([(None, None), (3, None), (None, 12), (3, 12)]),
    included=st.tuples(st.booleans(), st.booleans()),
    newest_first=st.booleans(),
    limit=st.integers(0, 5),
    sender=st.none() | st.sampled_from(SENDERS),
)
@example(INTERLEAVED, (None, None), (False, False), True, 3, None)
@example(INTERLEAVED, (None, None), (False, False), False, 3, None)
@example(INTERLEAVED[::-1], (None, None), (False, False), True, 3, None)
@example(INTERLEAVED[::-1], (None, None), (False, False), False, 3, None)
@on_trio
async def test_a_search_finds_what_sorting_everything_would(
    script: list[tuple[int, int, int]],
    bounds: tuple[int | None, int | None],
    included: tuple[bool, bool],
    newest_first: bool,
    limit: int,
    sender: str | None,
) -> None:
    world = await new_world()
    said = [message for messages in (await spoken(world, script)).values() for message in messages]

    def place(index: int | None) -> Position | None:
        return None if index is None or not said else said[index % len(said)].position

    span = Span(place(bounds[0]), place(bounds[1]), *included, newest_first=newest_first, limit=limit)
    wanted = [message for message in said if sender in (None, message.sender)]
    found = await search_archive(world.io, span, sender)
    assert [kept.message for kept in found] == expected(wanted, span)


@on_trio
async def test_each_message_comes_with_its_conversation() -> None:
    world = await new_world()
    ids = list(await spoken(world, [(0, 0, 1), (2, 1, 1)]))
    found = await search_archive(world.io, Span())
    assert [kept.conversation.id for kept in found] == [ids[0], ids[2]]


@on_trio
async def test_only_some_types_are_searched_when_that_is_asked_for() -> None:
    world = await new_world()
    tom = await world.login("tom")
    places = {
        Kind.NORMAL: await world.start(tom),
        Kind.CHAT_ROOM: await world.start_room(tom),
        Kind.TEMPORARY: await world.start_temporary(tom, "jerry", ttl_seconds=60),
        Kind.SYSTEM: await world.start_service(),
    }
    for place in places.values():
        world.clock.step(1)
        await world.send(office("tom"), place)
    for kind in Kind:
        found = await search_archive(world.io, Span(), kinds={kind})
        assert [kept.conversation.id for kept in found] == [places[kind]]
    assert len(await search_archive(world.io, Span())) == len(Kind)


@on_trio
async def test_what_has_expired_or_was_deleted_is_not_found() -> None:
    world = await new_world()
    tom = await world.login("tom")
    kept, gone = await world.start(tom), await world.start(tom, "jerry")
    temporary = await world.start_temporary(tom, "jerry", ttl_seconds=60)
    for place in (kept, gone, temporary):
        await world.send(tom, place)
    taken_out = await world.send(tom, kept)
    position = Position(Millis(taken_out.timestamp), taken_out.message_id)
    await delete_message(world.io, office("tom"), kept, position)
    await delete_conversation(world.io, gone)
    world.clock.step(60_000)
    found = await search_archive(world.io, Span())
    assert [one.conversation.id for one in found] == [kept]
