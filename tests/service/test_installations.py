from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from fastim.core.commands import CloseSession, OpenSession
from fastim.core.errors import QueryFailed, Unavailable, UnbindFailed
from fastim.core.installation import NO_DEVICE, NO_EFFECT, TOUCH_MILLIS, Installation, InvalidInstallation
from fastim.core.policy import Policy
from fastim.core.session import Config, Session
from fastim.service.installations import (
    Saving,
    count_installations,
    delete_installation,
    find_installation,
    find_saved,
    link_device,
    query_installations,
    retire_token,
    save_installation,
    unlink_device,
)
from fastim.service.sessions import close_session
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import EVERYTHING, World, new_world

ANDROID = {"deviceType": "android", "installationId": "i1"}
IPHONE = {"deviceType": "ios", "deviceToken": "t1"}
NOWHERE = "0" * 24


async def saved(world: World, columns: dict[str, Any], installation_id: str = "", **more: Any) -> Installation:
    """The installation, saved."""
    result = await save_installation(world.io, Saving(installation_id, columns, **more))
    assert result is not None
    return result[0]


async def stored(world: World, installation: Installation) -> Installation:
    """The installation as it is now."""
    found = await find_installation(world.io, installation.id)
    assert found is not None
    return found


async def session_on(
    world: World, device: str, client_id: str = "tom", config: int = int(Config.BIND_INSTALLATION)
) -> Session:
    """A session as Java opens it, linked."""
    session, _ = await world.open(client_id, OpenSession(config=config, device=device))
    await link_device(world.io, session)
    return session


async def closed(world: World, session: Session) -> None:
    """Close a session, and unlink its device."""
    await close_session(world.io, session, CloseSession())
    await unlink_device(world.io, session)


async def found(
    world: World, where: str | None, order: str = "createdAt", skip: int = 0, limit: int = 100
) -> list[Any]:
    rows: list[Any] = msgspec.json.decode(await query_installations(world.io, where, order, skip, limit))
    return rows


@on_trio
async def test_a_device_is_saved_and_found_by_its_id() -> None:
    world = await new_world()
    result = await save_installation(world.io, Saving("", {**ANDROID, "channels": ["public"]}))
    assert result is not None
    installation, fresh = result
    assert fresh
    assert (installation.created_at, installation.channels) == (world.clock.now(), ("public",))
    assert await stored(world, installation) == installation
    for nothing in ("", "x", NOWHERE):
        assert await find_installation(world.io, nothing) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ANDROID, ANDROID),
        (IPHONE, IPHONE),
        (IPHONE, {**IPHONE, "installationId": "i1"}),
        ({**ANDROID, "deviceToken": "t1"}, IPHONE),
        ({**ANDROID, "deviceToken": "t1"}, {**ANDROID, "deviceToken": "t2"}),
    ],
)
@on_trio
async def test_a_device_that_comes_again_is_the_same_installation(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    world = await new_world()
    one = await saved(world, {**first, "channels": ["public"]})
    world.clock.step(1000)
    result = await save_installation(world.io, Saving("", {**second, "timeZone": "UTC"}))
    assert result is not None
    other, fresh = result
    assert (other.id, other.created_at, fresh) == (one.id, one.created_at, False)
    assert (other.channels, other.columns, other.updated_at) == (("public",), {"timeZone": "UTC"}, world.clock.now())
    assert await count_installations(world.io, None) == 1


@on_trio
async def test_an_app_that_was_installed_anew_takes_the_token_with_it() -> None:
    world = await new_world()
    older = await saved(world, {**ANDROID, "deviceToken": "t1", "channels": ["tom"]})
    newer = await saved(world, {**ANDROID, "installationId": "i2", "deviceToken": "t1"})
    assert newer.id != older.id
    assert newer.channels == ()
    assert await find_installation(world.io, older.id) is None


@on_trio
async def test_a_token_is_not_mistaken_for_an_installation_id() -> None:
    world = await new_world()
    by_name = await saved(world, {**ANDROID, "installationId": "x"})
    by_token = await saved(world, {**IPHONE, "deviceToken": "x"})
    assert by_token.id != by_name.id
    assert await count_installations(world.io, None) == 2


@explored
@given(schedules)
@on_trio
async def test_of_devices_that_come_at_once_there_is_one(turns: object) -> None:
    world = await new_world()
    fresh: list[bool] = []

    async def register(number: int) -> None:
        result = await save_installation(world.io, Saving("", {**ANDROID, f"n{number}": number}))
        assert result is not None
        fresh.append(result[1])

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(register, number)
    assert sorted(fresh) == [False, False, False, True]
    (row,) = await found(world, None)
    assert {f"n{number}" for number in range(4)} <= row.keys()


@on_trio
async def test_columns_of_an_installation_are_changed_by_its_id() -> None:
    world = await new_world()
    installation = await saved(world, {**IPHONE, "badge": 2, "channels": ["a"]})
    changed = await saved(world, {"badge": 0, "channels": {"__op": "AddUnique", "objects": ["b"]}}, installation.id)
    assert changed == replace(installation, badge=0, channels=("a", "b"))
    assert await stored(world, installation) == changed


@on_trio
async def test_what_is_not_there_is_not_changed() -> None:
    world = await new_world()
    for nothing in ("x", NOWHERE):
        assert await save_installation(world.io, Saving(nothing, {"badge": 0})) is None
    assert await count_installations(world.io, None) == 0


@on_trio
async def test_a_device_that_was_forgotten_and_says_everything_is_made_anew_with_its_id() -> None:
    world = await new_world()
    installation = await saved(world, ANDROID)
    assert await delete_installation(world.io, installation.id)
    again = await saved(world, ANDROID, installation.id)
    assert again.id == installation.id
    odd = await saved(world, IPHONE, "of-another-server")
    assert odd.id != "of-another-server"
    assert await stored(world, odd) == odd


@on_trio
async def test_a_device_that_was_registered_anew_under_another_id_is_found_by_its_name() -> None:
    world = await new_world()
    installation = await saved(world, ANDROID)
    assert (await saved(world, {**ANDROID, "badge": 1}, NOWHERE)).id == installation.id
    assert await find_saved(world.io, Saving(NOWHERE, ANDROID)) == await stored(world, installation)


@on_trio
async def test_what_is_no_installation_is_not_saved() -> None:
    world = await new_world()
    installation = await saved(world, IPHONE)
    for target, columns in (("", {"deviceType": "ios"}), (installation.id, {"deviceToken": None})):
        with pytest.raises(InvalidInstallation) as caught:
            await save_installation(world.io, Saving(target, columns))
        assert caught.value.code == NO_DEVICE
    assert await stored(world, installation) == installation
    assert await count_installations(world.io, None) == 1


@on_trio
async def test_a_change_with_a_condition_is_made_only_if_it_fits() -> None:
    world = await new_world()
    installation = await saved(world, {**IPHONE, "badge": 3})
    with pytest.raises(InvalidInstallation) as caught:
        await saved(world, {"badge": 0}, installation.id, where='{"badge": 4}')
    assert caught.value.code == NO_EFFECT
    assert await stored(world, installation) == installation
    assert (await saved(world, {"badge": 0}, installation.id, where='{"badge": 3}')).badge == 0
    with pytest.raises(QueryFailed):
        await saved(world, {"badge": 0}, installation.id, where="[]")


@on_trio
async def test_an_installation_is_forgotten_once() -> None:
    world = await new_world()
    installation = await saved(world, IPHONE)
    assert await delete_installation(world.io, installation.id)
    assert not await delete_installation(world.io, installation.id)
    assert not await delete_installation(world.io, "x")
    assert await count_installations(world.io, None) == 0


@on_trio
async def test_installations_are_found_by_conditions_in_order_and_by_pages() -> None:
    world = await new_world()
    for number in range(4):
        world.clock.step(1000)
        columns = {"deviceType": "ios", "deviceToken": f"t{number}", "channels": ["all", f"c{number % 2}"]}
        await saved(world, {**columns, "size": number})

    async def sizes(where: str | None, **more: Any) -> list[int]:
        return [row["size"] for row in await found(world, where, **more)]

    assert await sizes(None) == [0, 1, 2, 3]
    assert await sizes(None, order="-createdAt", skip=1, limit=2) == [2, 1]
    assert await sizes('{"channels": "c1"}') == [1, 3]
    assert await sizes('{"channels": "c1", "size": {"$gt": 1}}') == [3]
    assert await sizes('{"channels": {"$in": ["c0"]}}') == [0, 2]
    assert await sizes('{"deviceToken": "t2"}') == [2]
    assert await sizes('{"deviceToken": "t2", "size": 3}') == []
    assert await sizes('{"deviceToken": "nobody"}') == []
    (row,) = await found(world, '{"size": 3}')
    assert await sizes(f'{{"objectId": {{"$in": ["{row["objectId"]}", "{NOWHERE}", "x"]}}}}') == [3]
    assert await sizes(None, limit=0) == []
    assert await count_installations(world.io, '{"size": {"$gte": 2}}') == 2


@pytest.mark.parametrize("where", ["[]", "{", '{"$nothing": 1}'])
@on_trio
async def test_a_condition_that_is_none_is_refused(where: str) -> None:
    world = await new_world()
    with pytest.raises(QueryFailed):
        await found(world, where)
    with pytest.raises(QueryFailed):
        await count_installations(world.io, where)


@on_trio
async def test_a_query_that_looks_at_too_much_is_refused() -> None:
    world = await new_world(Policy(query_scan=2))
    for number in range(3):
        await saved(world, {"deviceType": "ios", "deviceToken": f"t{number}", "channels": [f"c{number}"]})
    with pytest.raises(QueryFailed, match="narrow it"):
        await found(world, '{"deviceType": "ios"}')
    assert len(await found(world, '{"channels": "c1", "deviceType": "ios"}')) == 1


@on_trio
async def test_an_answer_that_would_be_too_long_is_refused() -> None:
    world = await new_world()
    for number in range(150):
        await saved(world, {"deviceType": "ios", "deviceToken": f"t{number}", "filling": "x" * 15_000})
    with pytest.raises(QueryFailed, match="ask for fewer"):
        await found(world, None, limit=150)
    assert len(await found(world, None, limit=100)) == 100


@pytest.mark.rule("10.8")
@pytest.mark.parametrize(("columns", "device"), [(ANDROID, "i1"), (IPHONE, "t1")])
@on_trio
async def test_a_device_is_linked_at_login_and_unlinked_at_a_clean_close(columns: dict[str, Any], device: str) -> None:
    world = await new_world()
    installation = await saved(world, {**columns, "channels": ["public"]})
    session = await session_on(world, device)
    assert (await stored(world, installation)).channels == ("public", "tom")
    assert [one.id for one in await world.io.store.installations_of("tom")] == [installation.id]
    await closed(world, session)
    assert (await stored(world, installation)).channels == ("public",)


@pytest.mark.rule("10.8")
@on_trio
async def test_who_does_not_ask_for_it_is_not_linked() -> None:
    world = await new_world()
    installation = await saved(world, {**ANDROID, "channels": ["jerry"]})
    tom = await session_on(world, "i1", config=EVERYTHING & ~Config.BIND_INSTALLATION)
    jerry = await session_on(world, "i1", "jerry", config=EVERYTHING & ~Config.BIND_INSTALLATION)
    assert await stored(world, installation) == installation
    await closed(world, tom)
    await closed(world, jerry)
    assert await stored(world, installation) == installation


@on_trio
async def test_a_session_on_a_device_that_never_registered_is_linked_to_nothing() -> None:
    world = await new_world()
    await saved(world, ANDROID)
    session = await session_on(world, "i2")
    assert await world.io.store.installations_of("tom") == []
    await closed(world, session)


@on_trio
async def test_a_device_is_linked_to_all_the_clients_that_use_it() -> None:
    world = await new_world()
    installation = await saved(world, ANDROID)
    tom, jerry = await session_on(world, "i1"), await session_on(world, "i1", "jerry")
    assert (await stored(world, installation)).channels == ("tom", "jerry")
    await closed(world, tom)
    assert (await stored(world, installation)).channels == ("jerry",)
    await closed(world, jerry)
    assert (await stored(world, installation)).channels == ()


@on_trio
async def test_a_login_writes_nothing_that_is_known_but_once_a_day() -> None:
    world = await new_world()
    installation = await saved(world, ANDROID)
    await session_on(world, "i1")
    linked = await stored(world, installation)
    world.clock.step(TOUCH_MILLIS - 1)
    await session_on(world, "i1")
    assert await stored(world, installation) == linked
    world.clock.step(1)
    await session_on(world, "i1")
    assert (await stored(world, installation)).updated_at == world.clock.now()


@on_trio
async def test_a_session_that_was_replaced_on_its_device_does_not_unlink_it_when_it_ends() -> None:
    world = await new_world()
    installation = await saved(world, ANDROID)
    older = await session_on(world, "i1")
    await session_on(world, "i1")
    await closed(world, older)
    assert (await stored(world, installation)).channels == ("tom",)


@on_trio
async def test_a_store_that_cannot_take_it_does_not_keep_anybody_from_logging_in() -> None:
    world = await new_world()
    await saved(world, ANDROID)
    session, _ = await world.open("tom", OpenSession(config=0, device="i1"))
    world.store.refusing = True
    with capture_logs() as logs:
        await link_device(world.io, replace(session, config=Config.BIND_INSTALLATION))
    assert [log["event"] for log in logs] == ["a device could not be linked to its client"]
    assert "i1" not in str(logs)


@on_trio
async def test_a_device_that_cannot_be_unlinked_is_said_to_be_linked() -> None:
    world = await new_world()
    installation = await saved(world, ANDROID)
    session = await session_on(world, "i1")
    world.directory.leave(session)
    world.store.refusing = True
    with pytest.raises(UnbindFailed):
        await unlink_device(world.io, session)
    world.store.refusing = False
    assert (await stored(world, installation)).channels == ("tom",)
    await unlink_device(world.io, session)
    assert (await stored(world, installation)).channels == ()


@on_trio
async def test_who_saves_old_channels_does_not_unlink_those_whose_sessions_are_open() -> None:
    world = await new_world()
    installation = await saved(world, {**ANDROID, "channels": ["public"]})
    tom = await session_on(world, "i1")
    await session_on(world, "i2", "jerry")
    result = await saved(world, {**ANDROID, "channels": ["news"]}, installation.id)
    assert result.channels == ("news", "tom")
    assert await stored(world, installation) == result
    jerry = await saved(world, {**ANDROID, "channels": ["jerry"]}, installation.id)
    assert jerry.channels == ("jerry", "tom")
    assert (await saved(world, {**ANDROID, "channels": []}, installation.id)).channels == ("tom",)
    await closed(world, tom)
    assert (await saved(world, {**ANDROID, "channels": []}, installation.id)).channels == ()


@explored
@given(schedules)
@on_trio
async def test_however_a_login_and_a_save_interleave_the_device_is_linked(turns: object) -> None:
    world = await new_world()
    installation = await saved(world, {**ANDROID, "channels": ["public"]})
    session, _ = await world.open("tom", OpenSession(config=int(Config.BIND_INSTALLATION), device="i1"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link_device, world.io, session)
        nursery.start_soon(saved, world, {**ANDROID, "channels": ["news"]}, installation.id)
    assert (await stored(world, installation)).channels == ("news", "tom")


@explored
@given(schedules, st.integers(0, 8))
@on_trio
async def test_a_device_that_takes_another_name_during_a_login_is_not_linked(turns: object, turns_before: int) -> None:
    world = await new_world()
    installation = await saved(world, ANDROID)
    session, _ = await world.open("tom", OpenSession(config=0, device="i1"))

    async def log_in() -> None:
        for _ in range(turns_before):
            await trio.lowlevel.checkpoint()
        await link_device(world.io, replace(session, config=Config.BIND_INSTALLATION))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(log_in)
        nursery.start_soon(saved, world, {"installationId": "i2", "channels": []}, installation.id)
    assert (await stored(world, installation)).channels == ()


@on_trio
async def test_a_token_that_is_dead_is_valid_again_when_another_comes() -> None:
    world = await new_world()
    installation = await saved(world, IPHONE)
    await retire_token(world.io, installation.id)
    assert not (await stored(world, installation)).valid
    assert not (await saved(world, {**IPHONE, "valid": True}, installation.id)).valid
    renewed = await saved(world, {"deviceToken": "t2"}, installation.id)
    assert renewed.valid
    await retire_token(world.io, installation.id, installation)
    assert (await stored(world, installation)).valid
    await retire_token(world.io, installation.id, renewed)
    assert not (await stored(world, installation)).valid


@on_trio
async def test_a_token_of_what_is_gone_is_not_brought_back() -> None:
    world = await new_world()
    await retire_token(world.io, NOWHERE)
    assert await find_installation(world.io, NOWHERE) is None


@on_trio
async def test_what_the_store_cannot_take_is_not_saved() -> None:
    world = await new_world()
    world.store.refusing = True
    with pytest.raises(Unavailable):
        await save_installation(world.io, Saving("", ANDROID))
    world.store.refusing = False
    assert await count_installations(world.io, None) == 0
