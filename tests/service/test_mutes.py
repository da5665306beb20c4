import pytest

from fastim.core.errors import ConversationNotFound, NormalConversationRequired, RankTooLow
from fastim.core.session import office
from fastim.service.mutes import mute_members
from tests.fakes.running import on_trio
from tests.fakes.world import new_world


@pytest.mark.rule("11.1")
@on_trio
async def test_several_members_are_muted_in_one_change() -> None:
    world = await new_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry", "spike")
    world.clock.step(1000)
    muted = await mute_members(world.io, office(), room, ["jerry", "nobody", "spike", "jerry"], muted=True)
    stored = await world.io.store.find_conversation(room)
    assert stored is not None
    assert (stored.muted, stored.updated_at) == (("jerry", "spike"), muted.updated_at)
    assert muted.updated_at == world.clock.now()
    await mute_members(world.io, office(), room, ["spike"], muted=False)
    stored = await world.io.store.find_conversation(room)
    assert stored is not None
    assert stored.muted == ("jerry",)


@on_trio
async def test_nobody_but_the_application_mutes_for_others() -> None:
    world = await new_world()
    tom, jerry, spike = [await world.login(name) for name in ("tom", "jerry", "spike")]
    room = await world.start(tom, "jerry")
    for session in (tom, jerry, spike):
        with pytest.raises(RankTooLow):
            await mute_members(world.io, session, room, ["tom", "jerry"], muted=True)
    with pytest.raises(ConversationNotFound):
        await mute_members(world.io, office(), "0" * 24, ["tom"], muted=True)


@on_trio
async def test_only_a_normal_conversation_keeps_who_mutes_it() -> None:
    world = await new_world()
    tom = await world.login("tom")
    with pytest.raises(NormalConversationRequired):
        await mute_members(world.io, office(), await world.start_room(tom), ["tom"], muted=True)
