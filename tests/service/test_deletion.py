import pytest

from fastim.core.errors import MessageNotFound, MessageNotOwned, RankTooLow
from fastim.core.message import Position, Span
from fastim.core.session import office
from fastim.service.deletion import delete_message
from tests.fakes.running import on_trio
from tests.fakes.world import new_world


@pytest.mark.rule("8.8")
@on_trio
async def test_only_the_application_deletes_and_only_in_the_senders_name() -> None:
    world = await new_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry")
    sent = await world.send(tom, room)
    position = Position(sent.timestamp, sent.message_id)
    world.bus.events.clear()
    with pytest.raises(RankTooLow):
        await delete_message(world.io, tom, room, position)
    with pytest.raises(MessageNotOwned):
        await delete_message(world.io, office("jerry"), room, position)
    with pytest.raises(MessageNotFound):
        await delete_message(world.io, office("tom"), room, Position(sent.timestamp, "-" * 22))
    assert len(await world.io.store.history(room, Span())) == 1
    await delete_message(world.io, office("tom"), room, position)
    assert await world.io.store.history(room, Span()) == []
    assert world.bus.events == []
