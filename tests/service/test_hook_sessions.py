"""Hooks about clients coming and going, and what is pushed to their devices.

Source: semantics, section 14 and rules 10.8 and 13.3.
"""

import msgspec
import pytest

from fastim.core.commands import CloseSession, OpenSession, ReportDevice
from fastim.core.errors import (
    CodedError,
    FrameTooLong,
    HookFailed,
    ReadTimeout,
    SigningRejected,
    UnbindFailed,
    WireError,
)
from fastim.core.hooks import ClientOffline, ClientOnline, ClientSign, SignAnswer
from fastim.core.installation import Installation
from fastim.core.session import Config, Ending, OfflineMode, Session
from fastim.ports.users import UserIdentity
from fastim.service.sessions import Opening, close_session, end_session, open_session, report_device
from fastim.service.signing import sign_client
from tests.fakes.running import on_trio
from tests.fakes.world import EVERYTHING, World, new_world

ADDRESS = "10.0.0.7"
BINDING = int(Config.BIND_INSTALLATION) | EVERYTHING


async def scene() -> World:
    """A world in which hooks hear of clients."""
    world = await new_world()
    world.hooks.noticed = {ClientOnline, ClientOffline}
    return world


async def login(world: World, number: int, command: OpenSession | None = None) -> Session:
    opening = Opening(number, "tom", OfflineMode.UNREAD, command or OpenSession(config=EVERYTHING), ADDRESS)
    session, _, _ = await open_session(world.io, opening)
    return session


def gone(world: World) -> list[ClientOffline]:
    return [one for one in world.hooks.told if isinstance(one, ClientOffline)]


class TestComing:
    @pytest.mark.rule("13.3")
    @pytest.mark.parametrize("reconnect", [False, True])
    @on_trio
    async def test_the_hook_is_told_of_each_session(self, reconnect: bool) -> None:
        world = await scene()
        await login(world, 101, OpenSession(tag="phone", reconnect=reconnect, config=EVERYTHING))
        await login(world, 102)
        assert world.hooks.told == [
            ClientOnline(peer_id="tom", source_ip=ADDRESS, tag="phone", reconnect=int(reconnect)),
            ClientOnline(peer_id="tom", source_ip=ADDRESS, tag="default", reconnect=0),
        ]

    @on_trio
    async def test_who_was_cut_off_before_it_was_there_has_neither_come_nor_gone(self) -> None:
        world = await scene()
        world.directory.cut_off.add(101)
        await login(world, 101)
        assert world.hooks.told == []


class TestGoing:
    @on_trio
    async def test_who_closes_its_session_is_gone_as_planned(self) -> None:
        world = await scene()
        await close_session(world.io, await login(world, 101), CloseSession())
        assert gone(world) == [
            ClientOffline(
                peer_id="tom", close_code=1, close_message="closed by the client", tag="default", source_ip=ADDRESS
            )
        ]

    @on_trio
    async def test_of_a_lost_connection_nobody_says_where_it_came_from(self) -> None:
        world = await scene()
        await end_session(world.io, await login(world, 101))
        (told,) = gone(world)
        assert (told.close_code, told.source_ip, told.error_code, told.error_message) == (2, None, None, None)
        assert not {b"sourceIP", b"errorCode", b"errorMsg"} & set(msgspec.json.encode(told).split(b'"'))

    @pytest.mark.parametrize("closure", [ReadTimeout(), FrameTooLong(), WireError("not Base64")])
    @on_trio
    async def test_why_the_server_closed_the_connection(self, closure: CodedError) -> None:
        world = await scene()
        await end_session(world.io, await login(world, 101), Ending.LOST, closure)
        (told,) = gone(world)
        assert (told.close_code, told.error_code, told.error_message) == (2, closure.code, closure.reason)

    @pytest.mark.parametrize("ending", Ending)
    @on_trio
    async def test_it_is_told_once_however_often_it_ends(self, ending: Ending) -> None:
        world = await scene()
        tom = await login(world, 101)
        await end_session(world.io, tom, ending)
        await end_session(world.io, tom)
        await close_session(world.io, tom, CloseSession())
        (told,) = gone(world)
        assert told.close_code == ending.value
        assert (told.source_ip is None) == (ending is Ending.LOST)

    @on_trio
    async def test_who_lost_its_tag_to_another_device(self) -> None:
        world = await scene()
        world.directory.shared = True  # so that it is gone at once
        for number, device in ((101, "old"), (102, "new")):
            await login(world, number, OpenSession(tag="phone", device=device, config=EVERYTHING))
        (told,) = gone(world)
        assert (told.close_code, told.tag, told.source_ip) == (3, "phone", ADDRESS)

    @on_trio
    async def test_who_made_room_for_itself_on_the_same_connection(self) -> None:
        world = await scene()
        world.directory.shared = True
        for number in (101, 102):
            await login(world, number, OpenSession(device="phone", config=EVERYTHING))
        (told,) = gone(world)
        assert told.close_code == 2
        assert world.hooks.told.index(told) > 0

    @on_trio
    async def test_whose_coming_nobody_heard_of_has_not_gone_either(self) -> None:
        world = await new_world()
        tom = await login(world, 101)
        world.hooks.noticed = {ClientOnline, ClientOffline}
        await end_session(world.io, tom)
        assert world.hooks.told == []
        assert world.io.announced == set()

    @on_trio
    async def test_whoever_hears_only_of_going_hears_of_it(self) -> None:
        world = await new_world()
        world.hooks.noticed = {ClientOffline}
        await end_session(world.io, await login(world, 101))
        assert len(world.hooks.told) == 1
        assert world.io.announced == set()


class TestDevices:
    async def device(self, world: World, token: str) -> None:
        now = world.clock.now()
        installation = Installation("5" * 24, "ios", now, now, token=token)
        await world.io.store.change_installation(installation.id, lambda before: installation)

    async def channels(self, world: World) -> tuple[str, ...]:
        installation = await world.io.store.find_installation("5" * 24)
        assert installation is not None
        return installation.channels

    @pytest.mark.rule("10.8")
    @on_trio
    async def test_a_device_is_linked_at_login_and_until_the_session_is_closed(self) -> None:
        world = await new_world()
        await self.device(world, "token")
        tom = await login(world, 101, OpenSession(device="token", config=BINDING))
        assert await self.channels(world) == ("tom",)
        await end_session(world.io, tom)
        assert await self.channels(world) == ("tom",)
        tom = await login(world, 102, OpenSession(device="token", config=BINDING))
        await close_session(world.io, tom, CloseSession())
        assert await self.channels(world) == ()

    @on_trio
    async def test_one_that_learns_its_token_later_is_linked_then(self) -> None:
        world = await new_world()
        await self.device(world, "token")
        tom = await login(world, 101, OpenSession(device="other", config=BINDING))
        assert await self.channels(world) == ()
        await report_device(world.io, tom, ReportDevice("token"))
        assert await self.channels(world) == ("tom",)

    @pytest.mark.rule("10.8")
    @on_trio
    async def test_what_cannot_be_unlinked_is_said_and_the_session_is_closed_all_the_same(self) -> None:
        world = await scene()
        await self.device(world, "token")
        tom = await login(world, 101, OpenSession(device="token", config=BINDING))
        world.store.refusing = True
        with pytest.raises(UnbindFailed):
            await close_session(world.io, tom, CloseSession())
        assert world.directory.sessions("tom") == []
        assert [one.close_code for one in gone(world)] == [1]


class TestSigning:
    @on_trio
    async def test_the_hook_is_told_all_that_is_known_of_the_user(self) -> None:
        world = await new_world()
        world.hooks.answers[ClientSign] = SignAnswer()
        user = UserIdentity("5f1e", {"objectId": "5f1e", "email": "tom@example.com"})
        assert (await sign_client(world.io, user)).client_id == "5f1e"
        assert world.hooks.asked == [ClientSign(user=user.fields)]

    @on_trio
    async def test_whom_it_does_not_want_is_not_signed_for(self) -> None:
        world = await new_world()
        world.hooks.answers[ClientSign] = SignAnswer(result=False, error="not you")
        with pytest.raises(SigningRejected, match="not you") as caught:
            await sign_client(world.io, UserIdentity("5f1e", {}))
        assert caught.value.code == 4102

    @on_trio
    async def test_a_hook_that_must_answer_and_does_not_has_nobody_signed_for(self) -> None:
        world = await new_world()
        world.hooks.answers[ClientSign] = HookFailed()
        with pytest.raises(HookFailed):
            await sign_client(world.io, UserIdentity("5f1e", {}))
