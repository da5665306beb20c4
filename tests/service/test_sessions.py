import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import (
    CloseSession,
    OpenSession,
    QueryOnline,
    RefreshToken,
    ReportDevice,
    Unwatch,
    Watch,
)
from fastim.core.errors import InvalidLogin, QueryFailed, SessionConflict, SessionTokenExpired, Unavailable
from fastim.core.events import MessagePosted, SessionEvicted
from fastim.core.ids import is_client_id
from fastim.core.policy import WATCHED_MAX, Policy
from fastim.core.replies import Closed, DeviceReported, OnlineClients, Unwatched, Watching
from fastim.core.session import OfflineMode, Session
from fastim.service.sessions import (
    Opening,
    close_session,
    end_session,
    open_session,
    query_online,
    refresh_token,
    report_device,
    unwatch_clients,
    watch_clients,
)
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import EVERYTHING, World, new_world

PHONE = OpenSession(tag="mobile", device="phone", config=EVERYTHING)
TABLET = OpenSession(tag="mobile", device="tablet", config=EVERYTHING)


def remaining(world: World, client_id: str = "tom") -> list[Session]:
    """See off those who were evicted; the client's sessions that stay."""
    evicted = {event.session for event in world.bus.of(SessionEvicted)}
    for session in world.directory.sessions(client_id):
        if session.number in evicted:
            world.directory.leave(session)
    return world.directory.sessions(client_id)


class TestOpening:
    @on_trio
    async def test_a_session_is_in_the_directory_and_its_client_has_a_token(self) -> None:
        world = await new_world(Policy(token_ttl_seconds=60))
        session, opened = await world.open("tom", PHONE, offline_mode=OfflineMode.PUSH)
        assert world.directory.sessions("tom") == [session]
        assert (session.client_id, session.tag, session.device, session.config) == ("tom", "mobile", "phone", 187)
        assert (session.offline_mode, session.opened_at) == (OfflineMode.PUSH, world.clock.now())
        assert (opened.client_id, opened.token_ttl_seconds, opened.server_time) == ("tom", 60, world.clock.now())
        assert opened.token
        assert not world.bus.events

    @on_trio
    async def test_a_client_without_an_id_is_given_one(self) -> None:
        world = await new_world()
        made = [(await world.open(None))[1].client_id for _ in range(3)]
        assert len(set(made)) == 3
        assert all(map(is_client_id, made))
        assert [world.directory.sessions(one)[0].client_id for one in made] == made

    @pytest.mark.parametrize("client_id", ["", "x" * 65, "a\nb", "\x00", "\x7f"])
    @on_trio
    async def test_an_impossible_client_id_is_refused(self, client_id: str) -> None:
        world = await new_world()
        with pytest.raises(InvalidLogin) as caught:
            await world.open(client_id)
        assert caught.value.code == 4103
        assert world.directory.online([client_id]) == []

    @pytest.mark.parametrize("command", [OpenSession(tag="x" * 513), OpenSession(device="x" * 513)])
    @on_trio
    async def test_a_tag_or_device_that_is_too_long_is_refused(self, command: OpenSession) -> None:
        world = await new_world()
        with pytest.raises(InvalidLogin):
            await world.open("tom", command)
        assert world.directory.online(["tom"]) == []

    @on_trio
    async def test_a_device_without_a_name_comes_back_as_itself_with_its_token(self) -> None:
        world = await new_world()
        first, opened = await world.open("tom", OpenSession(tag="mobile"))
        other, _ = await world.open("tom", OpenSession(tag="mobile"))
        assert other.device != first.device
        again, _ = await world.open("tom", OpenSession(token=opened.token))
        assert (again.tag, again.device) == (first.tag, first.device)

    @pytest.mark.parametrize("client_id", ["x", "x" * 64, "7-days", "名前", "😀" * 64, "with space"])
    @on_trio
    async def test_any_other_is_taken(self, client_id: str) -> None:
        world = await new_world()
        assert (await world.open(client_id))[0].client_id == client_id

    @on_trio
    async def test_nobody_is_told_that_it_is_open_before_its_token_is_on_disk(self) -> None:
        world = await new_world()
        await world.open("tom", PHONE)
        world.store.hold_back()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.open, "tom", TABLET)
            await trio.testing.wait_all_tasks_blocked()
            assert [session.device for session in world.directory.sessions("tom")] == ["phone"]
            assert not world.bus.events
            world.store.go_on()
        assert [session.device for session in remaining(world)] == ["tablet"]

    @on_trio
    async def test_while_the_store_refuses_nobody_comes_in_and_nobody_is_put_out(self) -> None:
        world = await new_world()
        old, _ = await world.open("tom", PHONE)
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await world.open("tom", TABLET)
        assert remaining(world) == [old]
        world.store.refusing = False
        await world.open("tom", TABLET)
        assert [session.device for session in remaining(world)] == ["tablet"]


class TestReopening:
    @on_trio
    async def test_a_token_stands_for_tag_device_and_config(self) -> None:
        """JS and Java send neither tag nor device with it. Source: wire protocol, open."""
        world = await new_world()
        _, first = await world.open("tom", PHONE)
        session, second = await world.open("tom", OpenSession(reconnect=True, token=first.token))
        assert (session.tag, session.device, session.config) == ("mobile", "phone", EVERYTHING)
        assert second.token == first.token

    @on_trio
    async def test_what_is_said_again_counts_more_than_the_token(self) -> None:
        world = await new_world()
        _, first = await world.open("tom", PHONE)
        again = OpenSession(reconnect=True, token=first.token, tag="desk", device="pc", config=1)
        session, _ = await world.open("tom", again)
        assert (session.tag, session.device, session.config) == ("desk", "pc", 1)
        session, _ = await world.open("tom", OpenSession(reconnect=True, token=first.token))
        assert (session.tag, session.device, session.config) == ("desk", "pc", 1)

    @on_trio
    async def test_each_reopening_keeps_the_token_good_for_as_long_again(self) -> None:
        world = await new_world(Policy(token_ttl_seconds=60))
        _, opened = await world.open()
        for _ in range(3):
            world.clock.step(59_999)
            await world.open("tom", OpenSession(reconnect=True, token=opened.token))
        world.clock.step(60_000)
        with pytest.raises(SessionTokenExpired) as caught:
            await world.open("tom", OpenSession(reconnect=True, token=opened.token))
        assert caught.value.code == 4112

    @on_trio
    async def test_a_token_that_nobody_was_given_opens_nothing(self) -> None:
        world = await new_world()
        _, toms = await world.open("tom")
        for client_id, token in (("tom", "made up"), ("jerry", toms.token)):
            with pytest.raises(SessionTokenExpired):
                await world.open(client_id, OpenSession(reconnect=True, token=token))
        assert world.directory.online(["jerry"]) == []
        assert len(world.directory.sessions("tom")) == 1

    @explored
    @given(
        st.builds(
            OpenSession,
            reconnect=st.booleans(),
            tag=st.sampled_from(["", "default", "mobile"]),
            device=st.sampled_from(["", "phone"]),
            config=st.none() | st.integers(-(2**63), 2**63 - 1),
        )
    )
    @on_trio
    async def test_without_a_token_none_can_have_expired(self, command: OpenSession) -> None:
        """JS would come back without any delay, for ever. Source: wire protocol, open."""
        world = await new_world()
        await world.open("tom", TABLET)
        try:
            await world.open("tom", command)
        except SessionConflict:
            assert command.reconnect

    @on_trio
    async def test_a_config_that_nobody_sent_is_what_every_sdk_can_do(self) -> None:
        """C# leaves token and config out when it reopens, and waits for acks of what is transient."""
        world = await new_world()
        session, _ = await world.open("tom", OpenSession(reconnect=True, tag="desk", device="pc"))
        assert session.config == 171

    @on_trio
    async def test_or_what_the_device_said_when_its_older_session_is_still_open(self) -> None:
        world = await new_world()
        await world.open("tom", OpenSession(tag="desk", device="pc", config=EVERYTHING))
        await world.open("tom", OpenSession(device="phone", config=1))
        session, _ = await world.open("tom", OpenSession(reconnect=True, tag="desk", device="pc"))
        assert session.config == EVERYTHING
        session, _ = await world.open("tom", OpenSession(device="tablet"))
        assert session.config == 171


class TestConflict:
    """Source: wire protocol, tag, device identity and 4111."""

    @pytest.mark.parametrize(
        ("command", "devices", "silently"),
        [
            (TABLET, ["tablet"], False),
            (replace(TABLET, device="phone"), ["phone"], True),
            (replace(TABLET, device="phone", tag="other"), ["phone"], True),
            (replace(TABLET, device="phone", tag=""), ["phone"], True),
            (replace(TABLET, reconnect=True, device="phone"), ["phone"], True),
            (replace(TABLET, tag="other"), ["phone", "tablet"], None),
            (replace(TABLET, tag=""), ["phone", "tablet"], None),
            (replace(TABLET, tag="default"), ["phone", "tablet"], None),
            (replace(TABLET, reconnect=True, tag="other"), ["phone", "tablet"], None),
        ],
    )
    @on_trio
    async def test_who_stays_when_another_comes(
        self, command: OpenSession, devices: list[str], silently: bool | None
    ) -> None:
        world = await new_world()
        old, _ = await world.open("tom", PHONE)
        await world.open("tom", command)
        assert [session.device for session in remaining(world)] == devices
        if silently is None:
            assert not world.bus.events
        else:
            assert world.bus.events == [SessionEvicted(old.number, "tom", silently=silently)]

    @on_trio
    async def test_who_comes_back_by_itself_pushes_nobody_out(self) -> None:
        world = await new_world()
        old, _ = await world.open("tom", PHONE)
        with pytest.raises(SessionConflict) as caught:
            await world.open("tom", replace(TABLET, reconnect=True))
        assert caught.value.code == 4111
        assert remaining(world) == [old]

    @on_trio
    async def test_who_was_pushed_out_may_come_back_on_the_device_that_did_it(self) -> None:
        world = await new_world()
        _, opened = await world.open("tom", PHONE)
        tablet, _ = await world.open("tom", TABLET)
        assert remaining(world) == [tablet]
        back = OpenSession(reconnect=True, token=opened.token, device="tablet")
        session, _ = await world.open("tom", back)
        assert remaining(world) == [session]

    @on_trio
    async def test_the_token_of_a_device_that_was_pushed_out_brings_it_back_only_when_asked_for(self) -> None:
        world = await new_world()
        _, opened = await world.open("tom", PHONE)
        tablet, _ = await world.open("tom", TABLET)
        assert remaining(world) == [tablet]
        with pytest.raises(SessionConflict):
            await world.open("tom", OpenSession(reconnect=True, token=opened.token))
        session, _ = await world.open("tom", OpenSession(token=opened.token))
        assert remaining(world) == [session]
        assert session.device == "phone"

    @on_trio
    async def test_sessions_of_other_clients_do_not_count(self) -> None:
        world = await new_world()
        await world.open("tom", PHONE)
        await world.open("jerry", TABLET)
        await world.open("spike", replace(TABLET, reconnect=True))
        assert not world.bus.events

    @on_trio
    async def test_without_tag_and_device_any_number_may_be_open(self) -> None:
        world = await new_world()
        for _ in range(4):
            await world.login("tom")
        assert len(remaining(world)) == 4

    @explored
    @given(schedules, st.lists(st.booleans(), min_size=2, max_size=5))
    @on_trio
    async def test_of_devices_that_open_at_once_one_stays(self, schedule: object, reconnecting: list[bool]) -> None:
        world = await new_world()
        refused = []

        async def attempt(device: str, reconnect: bool) -> None:
            try:
                await world.open("tom", replace(PHONE, device=device, reconnect=reconnect))
            except SessionConflict:
                refused.append(device)

        async with trio.open_nursery() as nursery:
            for number, reconnect in enumerate(reconnecting):
                nursery.start_soon(attempt, f"device {number}", reconnect)

        (winner,) = remaining(world)
        assert winner.device not in refused
        assert len(refused) <= sum(reconnecting)


class TestRefreshing:
    @on_trio
    async def test_the_new_token_stands_for_the_same_session(self) -> None:
        world = await new_world(Policy(token_ttl_seconds=60))
        session, opened = await world.open("tom", PHONE)
        world.clock.step(30_000)
        refreshed = await refresh_token(world.io, session, RefreshToken(opened.token))
        assert refreshed.token_ttl_seconds == 60
        assert refreshed.token not in ("", opened.token)
        world.clock.step(59_999)
        again, _ = await world.open("tom", OpenSession(reconnect=True, token=refreshed.token))
        assert (again.tag, again.device, again.config) == ("mobile", "phone", EVERYTHING)

    @pytest.mark.parametrize("known", [True, False])
    @on_trio
    async def test_an_open_session_gets_one_whatever_became_of_the_last(self, known: bool) -> None:
        """JS and Swift ask only once the old one has expired, C# sends none."""
        world = await new_world(Policy(token_ttl_seconds=60))
        session, opened = await world.open("tom", PHONE)
        world.clock.step(600_000)
        refreshed = await refresh_token(world.io, session, RefreshToken(opened.token if known else ""))
        await world.open("tom", OpenSession(reconnect=True, token=refreshed.token))


class TestClosing:
    @on_trio
    async def test_only_that_session_ends(self) -> None:
        world = await new_world()
        phone, pc, jerry = await world.login("tom"), await world.login("tom"), await world.login("jerry")
        assert await close_session(world.io, phone, CloseSession()) == Closed()
        assert world.directory.sessions("tom") == [pc]
        assert world.directory.sessions("jerry") == [jerry]

    @on_trio
    async def test_its_token_still_opens_it(self) -> None:
        """JS reopens with it what its application has closed. Source: wire protocol, several clients."""
        world = await new_world()
        session, opened = await world.open("tom", PHONE)
        await close_session(world.io, session, CloseSession())
        again, _ = await world.open("tom", OpenSession(reconnect=True, token=opened.token))
        assert again.device == "phone"


class TestWhoIsOnline:
    @on_trio
    async def test_those_with_an_open_session(self) -> None:
        world = await new_world()
        tom, jerry = await world.login("tom"), await world.login("jerry")
        await close_session(world.io, jerry, CloseSession())
        asked = QueryOnline(("nobody", "tom", "jerry", "tom"))
        assert await query_online(world.io, tom, asked) == OnlineClients(("tom",))

    @pytest.mark.rule("2.10")
    @on_trio
    async def test_of_more_than_twenty_the_first_are_looked_at(self) -> None:
        """Both JavaScript SDKs say that what is beyond is ignored."""
        world = await new_world()
        tom = await world.login("tom")
        crowd = tuple(f"c{number}" for number in range(19))
        asked = QueryOnline((*crowd, "tom", "tom"))
        assert (await query_online(world.io, tom, asked)).client_ids == ("tom",)
        assert (await query_online(world.io, tom, QueryOnline((*crowd, "c19", "tom")))).client_ids == ()


class TestTheDevice:
    @on_trio
    async def test_goes_by_its_new_token(self) -> None:
        """Swift reports one when APNs gives it. Source: wire protocol, report."""
        world = await new_world()
        session, _ = await world.open("tom", PHONE)
        assert await report_device(world.io, session, ReportDevice("apns")) == DeviceReported()
        (renamed,) = world.directory.sessions("tom")
        assert renamed == replace(session, device="apns")
        await world.open("tom", replace(PHONE, device="apns"))
        assert world.bus.the(SessionEvicted) == SessionEvicted(session.number, "tom", silently=True)

    @on_trio
    async def test_takes_its_will_along(self) -> None:
        world = await new_world()
        session, *_ = await will_left(world)
        await report_device(world.io, session, ReportDevice("apns"))
        (renamed,) = world.directory.sessions("tom")
        again, _ = await world.open("tom", OpenSession(reconnect=True, device="apns"))
        await end_session(world.io, renamed)
        assert not world.bus.of(MessagePosted)
        await end_session(world.io, again)
        assert world.bus.the(MessagePosted).message.body == b"farewell"


async def will_left(world: World) -> tuple[Session, str, str]:
    """A session that has left a will, with the token that it was opened with, and where the will goes."""
    session, opened = await world.open("tom", PHONE)
    tea = await world.start(session, "jerry")
    await world.send(session, tea, "farewell", will=True)
    return session, opened.token, tea


class TestEnding:
    @pytest.mark.rule("5.20", "5.23")
    @on_trio
    async def test_the_will_is_sent_once_when_the_session_ends(self) -> None:
        world = await new_world()
        session, *_ = await will_left(world)
        for _ in range(2):
            await end_session(world.io, session)
        assert world.directory.sessions("tom") == []
        assert len(world.bus.of(MessagePosted)) == 1

    @pytest.mark.rule("5.20")
    @on_trio
    async def test_who_closes_leaves_no_will(self) -> None:
        world = await new_world()
        session, *_ = await will_left(world)
        await close_session(world.io, session, CloseSession())
        await end_session(world.io, session)
        assert not world.bus.of(MessagePosted)

    @on_trio
    async def test_a_device_that_comes_back_first_has_its_will_again(self) -> None:
        world = await new_world()
        old, token, _ = await will_left(world)
        new, _ = await world.open("tom", OpenSession(reconnect=True, token=token))
        await end_session(world.io, old)
        assert not world.bus.of(MessagePosted)
        await end_session(world.io, new)
        assert world.bus.the(MessagePosted).message.body == b"farewell"

    @on_trio
    async def test_nor_is_it_forgotten_when_the_connection_is_lost_while_it_opens(self) -> None:
        world = await new_world()
        old, token, _ = await will_left(world)
        world.directory.cut_off.add(old.number + 1)
        await world.open("tom", OpenSession(reconnect=True, token=token))
        assert world.bus.the(MessagePosted).message.body == b"farewell"

    @pytest.mark.parametrize("device", ["phone", "desk"])
    @on_trio
    async def test_one_that_has_to_make_room_on_its_connection_leaves_nothing_behind(self, device: str) -> None:
        world = await new_world()
        old, *_ = await will_left(world)
        room = await world.start_room(old)
        world.directory.shared = True
        new, _ = await world.open("tom", OpenSession(device=device))
        back = device == "phone"
        assert list(world.rooms.occupants(room)) == ([new] if back else [])
        assert len(world.bus.of(MessagePosted)) == (0 if back else 1)
        await close_session(world.io, new, CloseSession())
        assert list(world.rooms.occupants(room)) == []
        assert len(world.bus.of(MessagePosted)) == (0 if back else 1)


class TestArriving:
    @pytest.mark.rule("7.10")
    @on_trio
    async def test_a_client_is_new_once(self) -> None:
        world = await new_world()
        assert [(await world.arrive(one))[1].first for one in ("tom", "tom", "jerry")] == [True, False, True]

    @on_trio
    async def test_those_who_were_here_today_are_counted(self) -> None:
        world = await new_world()
        for client_id in ("tom", "jerry", "tom"):
            await world.login(client_id)
        assert await world.store.count_users(world.clock.now() // 86_400_000) == 2

    @on_trio
    async def test_a_session_knows_where_it_came_from(self) -> None:
        world = await new_world()
        opening = Opening(1, "tom", OfflineMode.UNREAD, OpenSession(), address="192.0.2.7")
        session, *_ = await open_session(world.io, opening)
        assert session.address == "192.0.2.7"


class TestWatching:
    @pytest.mark.rule("13.1", "13.2", "13.2a")
    @on_trio
    async def test_one_is_told_at_once_who_is_there(self) -> None:
        world = await new_world()
        tom, _ = await world.login("tom"), await world.login("jerry")
        watching = await watch_clients(world.io, tom, Watch(("spike", "jerry", "jerry", "tom")))
        assert watching == Watching(("jerry", "tom"))
        assert world.directory.watched(tom) == {"spike", "jerry", "tom"}
        assert await unwatch_clients(world.io, tom, Unwatch(("spike", "nobody"))) == Unwatched()
        assert world.directory.watched(tom) == {"jerry", "tom"}

    @on_trio
    async def test_too_many_are_refused_and_nothing_changes(self) -> None:
        world = await new_world()
        tom = await world.login("tom")
        await watch_clients(world.io, tom, Watch(("jerry",)))
        with pytest.raises(QueryFailed) as caught:
            await watch_clients(world.io, tom, Watch(tuple(f"c{number}" for number in range(WATCHED_MAX))))
        assert caught.value.code == 4310
        assert world.directory.watched(tom) == {"jerry"}
