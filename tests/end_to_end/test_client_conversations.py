"""Conversations of a real server, through the client library: who may do what, and who is told."""

from collections.abc import Mapping
from typing import Any

import pytest

from fastim.client import (
    ConversationUpdated,
    Event,
    Joined,
    Left,
    MembersJoined,
    MembersLeft,
    Refused,
)
from tests.end_to_end.clients import bell_for, device, someone
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


def shapes(events: list[Event]) -> list[tuple[type[Event], str, frozenset[str], str]]:
    """What membership events say, without their times."""
    found: list[tuple[type[Event], str, frozenset[str], str]] = []
    for event in events:
        assert isinstance(event, Joined | Left | MembersJoined | MembersLeft), event
        members = event.members if isinstance(event, MembersJoined | MembersLeft) else ()
        found.append((type(event), event.conversation_id, frozenset(members), event.by))
    return found


async def test_a_new_conversation_is_announced_to_all_members_on_all_devices(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        device(server, tom) as phone,
        device(server, tom) as tablet,
        device(server, jerry) as other,
        device(server, spike) as outsider,
        bell_for(server, tom, jerry, spike) as bell,
    ):
        room = await phone.create_conversation([jerry], name="Tom & Jerry")
        *concerned, unconcerned = await bell.told(phone, tablet, other, outsider)
    everybody = frozenset((tom, jerry))
    for events in concerned:
        assert shapes(events) == [
            (Joined, room.id, frozenset(), tom),
            (MembersJoined, room.id, everybody, tom),
        ]
    assert unconcerned == []


async def test_a_unique_conversation_is_found_again_by_its_members_in_any_order(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        device(server, tom) as one,
        device(server, jerry) as two,
        bell_for(server, tom, jerry) as bell,
    ):
        room = await one.create_conversation([jerry, spike], name="first", unique=True)
        await bell.told(one, two)
        again = await two.create_conversation([spike, tom, spike], name="second", unique=True)
        assert again == room
        assert await bell.told(one, two) == [[], []]
        assert (await again.fetch()).name == "first"
        assert (await one.create_conversation([jerry], unique=True)) != room
        assert (await one.create_conversation([jerry, spike])) != room


async def test_adding_tells_the_added_and_all_members(server: ServerProcess) -> None:
    tom, jerry, spike, butch = someone("tom"), someone("jerry"), someone("spike"), someone("butch")
    async with (
        device(server, tom) as adder,
        device(server, jerry) as member,
        device(server, spike) as added,
        device(server, butch) as outsider,
        bell_for(server, tom, jerry, spike, butch) as bell,
    ):
        room = await adder.create_conversation([jerry])
        await bell.told(adder, member, added, outsider)
        changes = await room.add([spike, jerry])
        assert (set(changes.allowed), changes.failed) == ({spike, jerry}, {})
        by_adder, by_member, by_added, by_outsider = map(shapes, await bell.told(adder, member, added, outsider))
        news = (MembersJoined, room.id, frozenset((spike,)), tom)
        assert by_adder == by_member == [news]
        assert by_added == [(Joined, room.id, frozenset(), tom), news]
        assert by_outsider == []
        assert set((await room.fetch()).members) == {tom, jerry, spike}


async def test_joining_and_leaving_are_told_like_being_added_and_removed(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with (
        device(server, tom) as one,
        device(server, jerry) as two,
        bell_for(server, tom, jerry) as bell,
    ):
        room = await one.create_conversation([])
        await bell.told(one, two)
        own_view = two.conversation(room.id)
        assert not await own_view.is_member()

        await own_view.join()
        news = (MembersJoined, room.id, frozenset((jerry,)), jerry)
        assert [shapes(events) for events in await bell.told(one, two)] == [
            [news],
            [(Joined, room.id, frozenset(), jerry), news],
        ]
        assert await own_view.is_member()
        await own_view.join()
        assert await bell.told(one, two) == [[], []]

        await own_view.leave()
        assert [shapes(events) for events in await bell.told(one, two)] == [
            [(MembersLeft, room.id, frozenset((jerry,)), jerry)],
            [(Left, room.id, frozenset(), jerry)],
        ]
        assert not await own_view.is_member()
        await own_view.leave()
        assert await bell.told(one, two) == [[], []]


async def test_removing_tells_the_removed_and_those_who_remain(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        device(server, tom) as remover,
        device(server, jerry) as removed,
        device(server, jerry) as removed_too,
        device(server, spike) as member,
        bell_for(server, tom, jerry, spike) as bell,
    ):
        room = await remover.create_conversation([jerry, spike])
        await bell.told(remover, removed, removed_too, member)
        assert (await room.remove([jerry])).allowed == (jerry,)
        by_remover, by_removed, by_removed_too, by_member = map(
            shapes, await bell.told(remover, removed, removed_too, member)
        )
        assert by_remover == by_member == [(MembersLeft, room.id, frozenset((jerry,)), tom)]
        assert by_removed == by_removed_too == [(Left, room.id, frozenset(), tom)]
        # Who was removed still finds the conversation, and is in it no more.
        found = await removed.get_conversation(room.id)
        assert found.info is not None
        assert set(found.info.members) == {tom, spike}
        assert await removed.memberships([room.id]) == {room.id: False}


async def test_an_update_is_told_to_all_but_the_device_that_made_it(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        device(server, tom) as phone,
        device(server, tom) as tablet,
        device(server, jerry) as member,
        device(server, spike) as outsider,
        bell_for(server, tom, jerry, spike) as bell,
    ):
        room = await phone.create_conversation([jerry], name="old", attributes={"kept": 1, "dropped": 2})
        await bell.told(phone, tablet, member, outsider)
        asked = {"name": "new", "attr.dropped": {"__op": "Delete"}, "level": {"__op": "Increment", "amount": 3}}
        modified = await room.update(asked)
        assert modified == {"name": "new", "level": 3}

        by_phone, by_tablet, by_member, by_outsider = await bell.told(phone, tablet, member, outsider)
        assert by_phone == by_outsider == []
        for (event,) in (by_tablet, by_member):
            assert isinstance(event, ConversationUpdated)
            assert (event.conversation_id, event.asked, event.modified, event.by) == (room.id, asked, modified, tom)
        info = await room.fetch()
        assert (info.name, info.attributes, info.columns["level"]) == ("new", {"kept": 1}, 3)
        assert info.updated_at > info.created_at


async def test_who_may_not_is_refused_by_name(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    unknown = "0123456789abcdef01234567"
    async with device(server, tom) as owner, device(server, jerry) as outsider:
        room = await owner.create_conversation([])
        foreign = outsider.conversation(room.id)
        for attempt, code in (
            (foreign.update({"name": "mine"}), 4309),
            (foreign.add([someone("spike")]), 4317),
            (foreign.remove([tom]), 4317),
            (foreign.mute(), 4317),
            (foreign.history_page(), 4312),
            (foreign.send("let me in"), 4401),
            (outsider.conversation(unknown).send("hello?"), 4401),
            (outsider.conversation(unknown).update({}), 4303),
            (outsider.conversation(unknown).join(), 4303),
            (outsider.conversation(unknown).count_members(), 4303),
            (outsider.conversation(unknown).history_page(), 4303),
            (room.update({"m": ["nobody"]}), 4306),
            (outsider.query({"name": {"$nonsense": 1}}), 4310),
            (owner.create_conversation([f"member {number}" for number in range(500)]), 4304),
        ):
            with pytest.raises(Refused) as caught:
                await attempt
            assert caught.value.code == code
        with pytest.raises(LookupError):
            await outsider.get_conversation(unknown)
        assert (await room.fetch()).members == (tom,)


async def test_too_many_members_are_refused_one_by_one(server: ServerProcess) -> None:
    async with device(server, someone("tom")) as tom:
        room = await tom.create_conversation([f"member {number}" for number in range(498)])
        changes = await room.add(["last one", "one too many"])
        assert changes.allowed == ("last one",)
        assert changes.failed["one too many"].code == 4304
        assert await room.count_members() == 500


async def test_members_are_counted_and_memberships_told(server: ServerProcess) -> None:
    async with device(server, someone("tom")) as tom:
        alone = await tom.create_conversation([])
        together = await tom.create_conversation([someone("jerry"), someone("spike")])
        await alone.leave()
        assert (await alone.count_members(), await together.count_members()) == (0, 3)
        assert await tom.memberships([alone.id, together.id, "nonsense"]) == {
            alone.id: False,
            together.id: True,
            "nonsense": False,
        }


async def test_muting_is_kept_and_told_to_nobody(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with (
        device(server, tom) as one,
        device(server, jerry) as two,
        bell_for(server, tom, jerry) as bell,
    ):
        room = await one.create_conversation([jerry])
        await bell.told(one, two)
        await room.mute()
        assert (await two.get_conversation(room.id)).info is not None
        assert (await room.fetch()).muted_by == (tom,)
        await room.unmute()
        await room.unmute()
        assert (await room.fetch()).muted_by == ()
        assert await bell.told(one, two) == [[], []]


async def test_queries_find_by_conditions_in_order_and_in_slices(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one, device(server, jerry) as two:
        rooms = [
            await one.create_conversation(
                [jerry] if number % 2 else [], name=f"room {number}", attributes={"level": number}, columns={"tag": tom}
            )
            for number in range(6)
        ]
        mine = {"tag": tom, "m": tom}

        async def names(where: Mapping[str, Any] | None, **options: Any) -> list[str]:
            found = await one.query(where, **{"sort": ["attr.level"], **options})
            return [conversation.info.name for conversation in found if conversation.info is not None]

        everything = [f"room {number}" for number in range(6)]
        assert await names(None) == everything
        assert await names({}) == everything
        assert await names({**mine, "attr.level": {"$gte": 2, "$lt": 5}}) == everything[2:5]
        assert await names({**mine, "attr.level": {"$in": [1, 3, 99]}}) == ["room 1", "room 3"]
        assert await names({**mine, "name": {"$regex": "^ROOM [12]$", "$options": "i"}}) == ["room 1", "room 2"]
        assert await names({"tag": tom, "m": {"$all": [tom, jerry]}}) == everything[1::2]
        assert await names({**mine, "$or": [{"name": "room 0"}, {"attr.level": 5}]}) == ["room 0", "room 5"]
        assert await names({**mine, "attr.level": {"$exists": False}}) == []
        assert await names(mine, sort=["-attr.level"]) == everything[::-1]
        assert await names(mine, skip=1, limit=2) == everything[1:3]
        assert await names(mine, limit=0) == []
        # A condition also finds conversations that the asker is not in; none finds only its own.
        assert {one.id for one in await two.query({"tag": tom, "m": tom})} == {room.id for room in rooms}
        assert {one.id for one in await two.query()} == {room.id for room in rooms[1::2]}


async def test_a_query_leaves_members_out_and_puts_last_messages_in_when_told_to(server: ServerProcess) -> None:
    jerry = someone("jerry")
    async with device(server, someone("tom")) as tom:
        room = await tom.create_conversation([jerry])
        (before,) = await tom.query({"objectId": room.id}, compact=True, with_last_message=True)
        assert before.info is not None
        assert (before.info.members, before.info.last_message, before.info.last_message_at) == ((), None, None)
        sent = await room.send(b"\x00\xff", mentions=[jerry])
        (plain,) = await tom.query({"objectId": room.id})
        assert plain.info is not None
        assert (set(plain.info.members), plain.info.last_message) == ({tom.id, jerry}, None)
        assert plain.info.last_message_at == sent.timestamp
        (full,) = await tom.query({"objectId": room.id}, with_last_message=True)
        assert full.info is not None
        assert full.info.last_message == sent
        assert full.info.creator == tom.id
