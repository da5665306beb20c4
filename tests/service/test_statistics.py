import pytest

from fastim.core.errors import InvalidLogin
from fastim.core.policy import Policy
from fastim.core.session import office
from fastim.service.broadcasts import send_to_clients
from fastim.service.sessions import end_session
from fastim.service.statistics import Users, count_unread, count_users, list_subscriptions
from tests.fakes.running import on_trio
from tests.fakes.world import new_world, written


@on_trio
async def test_unread_messages_are_capped_as_the_client_is_told_them() -> None:
    world = await new_world(Policy(unread_cap=2))
    tom = await world.login("tom")
    often, once = await world.start(tom, "jerry"), await world.start(tom, "jerry")
    for place in (often, often, often, once):
        await world.send(tom, place)
    assert await count_unread(world.io, "jerry", often) == 2
    assert await count_unread(world.io, "jerry", once) == 1
    assert await count_unread(world.io, "jerry") == 3
    assert await count_unread(world.io, "tom") == 0


@on_trio
async def test_what_a_service_wrote_to_one_client_counts_with_what_it_wrote_to_all() -> None:
    world = await new_world()
    tom = await world.login("tom")
    news = await world.start_service(tom)
    await world.send(office("editor"), news)
    await send_to_clients(world.io, office("editor"), written(news, "for you"), ["tom"])
    assert await count_unread(world.io, "tom", news) == await count_unread(world.io, "tom") == 2


@on_trio
async def test_clients_are_counted_once_however_many_sessions_they_have() -> None:
    world = await new_world()
    sessions = [await world.login("tom", "one"), await world.login("tom", "two"), await world.login("jerry")]
    assert await count_users(world.io) == Users(online=2, today=2)
    for session in sessions:
        world.directory.leave(session)
        await end_session(world.io, session)
    assert await count_users(world.io) == Users(online=0, today=2)


@on_trio
async def test_subscriptions_are_those_to_service_conversations_the_oldest_first() -> None:
    world = await new_world()
    tom = await world.login("tom")
    await world.start(tom)
    services = []
    for _ in range(3):
        world.clock.step(1)
        services.append(await world.start_service(tom))
    assert [one.conversation_id for one in await list_subscriptions(world.io, "tom")] == services
    assert await list_subscriptions(world.io, "jerry") == []


@on_trio
async def test_no_client_can_be_called_that() -> None:
    world = await new_world()
    with pytest.raises(InvalidLogin):
        await count_unread(world.io, "")
    with pytest.raises(InvalidLogin):
        await list_subscriptions(world.io, "x" * 65)
