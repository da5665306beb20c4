"""Source: wire protocol, signatures; guide, senior."""

import hashlib
import hmac
from contextlib import suppress

import pytest
import trio
from hypothesis import given
from msgspec.structs import replace

from fastim.core.commands import (
    AddMembers,
    ChangeBlocks,
    ListRefused,
    OpenSession,
    RefreshToken,
    RefuseConversations,
    RemoveMembers,
    Signature,
    StartConversation,
)
from fastim.core.errors import (
    BlacklistSignatureFailed,
    ConversationNotFound,
    ConversationSignatureFailed,
    MembershipRequired,
    SessionConflict,
    SessionRequired,
    SessionTokenExpired,
    SignatureFailed,
    Unavailable,
)
from fastim.core.events import ClientKicked
from fastim.core.policy import Policy
from fastim.core.session import Session, office
from fastim.service.conversations import start_conversation
from fastim.service.governance import change_blocks, list_refused, refuse_conversations
from fastim.service.members import add_members, remove_members
from fastim.service.sessions import kick_client, refresh_token
from tests.fakes.running import explored, on_trio, schedules
from tests.fakes.world import World, new_world

STRICT = Policy(signature_required=True, token_ttl_seconds=60 * 86_400)
HOUR = 3_600_000
DAY = 24 * HOUR
NOWHERE = "0" * 24


class Signer:
    """The application's own server, which goes by the world's clock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._nonce = 0

    def login(self, client_id: str, ago: int = 0) -> Signature:
        return self._sign(f"app:{client_id}:", ago)

    def start(self, client_id: str, *members: str) -> Signature:
        return self._sign(f"app:{client_id}:{':'.join(sorted(members))}")

    def change(self, client_id: str, conversation_id: str, action: str, *members: str) -> Signature:
        return self._sign(f"app:{client_id}:{conversation_id}:{':'.join(sorted(members))}", action=f":{action}")

    def refuse(self, client_id: str, conversation_id: str, action: str) -> Signature:
        return self._sign(f"app:{client_id}:{conversation_id}:", action=f":{action}")

    def _sign(self, text: str, ago: int = 0, action: str = "") -> Signature:
        self._nonce += 1
        timestamp, nonce = self._world.clock.now() - ago, f"n{self._nonce}"
        signed = f"{text}:{timestamp}:{nonce}{action}"
        return Signature(timestamp, nonce, hmac.new(b"master", signed.encode(), hashlib.sha1).hexdigest())


async def strict_world() -> tuple[World, Signer]:
    world = await new_world(STRICT)
    return world, Signer(world)


async def opened(world: World, signer: Signer, client_id: str = "tom") -> Session:
    session, _ = await world.open(client_id, OpenSession(signature=signer.login(client_id)))
    return session


async def started(world: World, signer: Signer, creator: Session, *others: str) -> str:
    command = StartConversation(others, signature=signer.start(creator.client_id, creator.client_id, *others))
    reply = await start_conversation(world.io, creator, command)
    world.bus.events.clear()
    return reply.conversation_id


class TestOpening:
    @on_trio
    async def test_without_a_signature_nobody_comes_in(self) -> None:
        world, signer = await strict_world()
        others = signer.login("jerry")
        for client_id, signature in (("tom", None), ("tom", others), (None, others), (None, None)):
            with pytest.raises(SignatureFailed) as caught:
                await world.open(client_id, OpenSession(signature=signature))
            assert caught.value.code == 4102
        assert world.directory.online(["tom"]) == []

    @on_trio
    async def test_with_one_the_client_comes_in_and_its_token_does_the_next_time(self) -> None:
        world, signer = await strict_world()
        _, first = await world.open("tom", OpenSession(tag="phone", signature=signer.login("tom")))
        world.clock.step(30 * DAY)
        again, _ = await world.open("tom", OpenSession(reconnect=True, token=first.token))
        assert again.tag == "phone"

    @on_trio
    async def test_an_id_with_a_colon_cannot_be_vouched_for(self) -> None:
        """What ``team`` signs to start a conversation with ``alice:`` would be what ``team:alice`` signs to log in."""
        world, signer = await strict_world()
        with pytest.raises(SignatureFailed):
            await world.open("team:alice", OpenSession(signature=signer.login("team:alice")))
        assert world.directory.online(["team:alice"]) == []

    @on_trio
    async def test_a_token_that_does_not_hold_is_not_made_good_by_a_signature(self) -> None:
        """SDKs come back without it on hearing 4112."""
        world, signer = await strict_world()
        with pytest.raises(SessionTokenExpired):
            await world.open("tom", OpenSession(token="made up", signature=signer.login("tom")))

    @on_trio
    async def test_where_none_is_required_one_is_not_even_looked_at(self) -> None:
        world = await new_world()
        wrong = Signature(1, "n", "wrong")
        session, _ = await world.open("tom", OpenSession(signature=wrong))
        for _ in range(2):
            await refresh_token(world.io, session, RefreshToken(signature=wrong))
            tea = (await start_conversation(world.io, session, StartConversation(signature=wrong))).conversation_id
            await add_members(world.io, session, AddMembers(tea, ("jerry",), wrong))
            await remove_members(world.io, session, RemoveMembers(tea, ("jerry",), wrong))

    @on_trio
    async def test_who_does_not_show_one_learns_nothing_of_others(self) -> None:
        world, signer = await strict_world()
        await world.open("tom", OpenSession(tag="mobile", device="phone", signature=signer.login("tom")))
        rival = OpenSession(reconnect=True, tag="mobile", device="tablet")
        with pytest.raises(SignatureFailed):
            await world.open("tom", rival)
        with pytest.raises(SessionConflict):
            await world.open("tom", replace(rival, signature=signer.login("tom")))

    @on_trio
    async def test_one_that_a_conflict_kept_from_being_used_still_counts(self) -> None:
        world, signer = await strict_world()
        await world.open("tom", OpenSession(tag="mobile", device="phone", signature=signer.login("tom")))
        command = OpenSession(reconnect=True, tag="mobile", device="tablet", signature=signer.login("tom"))
        with pytest.raises(SessionConflict):
            await world.open("tom", command)
        await world.open("tom", replace(command, reconnect=False))


class TestOnce:
    @on_trio
    async def test_a_signature_opens_one_session(self) -> None:
        world, signer = await strict_world()
        signature = signer.login("tom")
        await world.open("tom", OpenSession(signature=signature))
        for again in (signature, replace(signature, digest=signature.digest.upper())):
            with pytest.raises(SignatureFailed):
                await world.open("tom", OpenSession(signature=again))

    @explored
    @given(schedules)
    @on_trio
    async def test_of_several_at_once_one_comes_in(self, schedule: object) -> None:
        world, signer = await strict_world()
        command = OpenSession(signature=signer.login("tom"))
        refused = []

        async def attempt() -> None:
            try:
                await world.open("tom", command)
            except SignatureFailed:
                refused.append(True)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(attempt)
        assert len(refused) == 3
        assert len(world.directory.sessions("tom")) == 1

    @on_trio
    async def test_the_one_for_a_login_starts_no_conversation(self) -> None:
        """What is signed is the same where a conversation has no other members."""
        world, signer = await strict_world()
        signature = signer.login("tom")
        session, _ = await world.open("tom", OpenSession(signature=signature))
        with pytest.raises(ConversationSignatureFailed):
            await start_conversation(world.io, session, StartConversation(signature=signature))

    @on_trio
    async def test_while_the_store_cannot_remember_it_nobody_comes_in(self) -> None:
        world, signer = await strict_world()
        command = OpenSession(signature=signer.login("tom"))
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await world.open("tom", command)
        assert world.directory.online(["tom"]) == []
        world.store.refusing = False
        await world.open("tom", command)


class TestRefreshing:
    @on_trio
    async def test_none_need_be_given_and_one_that_is_has_to_count(self) -> None:
        world, signer = await strict_world()
        session = await opened(world, signer)
        await refresh_token(world.io, session, RefreshToken())
        signature = signer.login("tom")
        await refresh_token(world.io, session, RefreshToken(signature=signature))
        for wrong in (signature, signer.login("jerry"), signer.login("tom", ago=7 * HOUR)):
            with pytest.raises(SignatureFailed):
                await refresh_token(world.io, session, RefreshToken(signature=wrong))


class TestConversations:
    @on_trio
    async def test_starting_wants_one(self) -> None:
        world, signer = await strict_world()
        tom = await opened(world, signer)
        used = signer.start("tom", "jerry", "tom")
        await start_conversation(world.io, tom, StartConversation(("jerry",), signature=used))
        world.bus.events.clear()
        for signature in (None, used, signer.start("tom", "spike"), signer.start("jerry", "jerry")):
            with pytest.raises(ConversationSignatureFailed) as caught:
                await start_conversation(world.io, tom, StartConversation(("jerry",), signature=signature))
            assert caught.value.code == 4302
        assert not world.bus.events
        assert len(await world.store.conversation_ids_of("tom")) == 1

    @on_trio
    async def test_changing_members_wants_one_for_this_change(self) -> None:
        world, signer = await strict_world()
        tom = await opened(world, signer)
        tea = await started(world, signer, tom, "jerry")
        other = await started(world, signer, tom, "jerry", "tyke")
        for wrong in (
            None,
            signer.change("tom", tea, "kick", "spike"),
            signer.change("tom", tea, "invite", "tyke"),
            signer.change("tom", tea, "invite", "spike", "tyke"),
            signer.change("tom", other, "invite", "spike"),
            signer.change("jerry", tea, "invite", "spike"),
            signer.login("tom"),
        ):
            with pytest.raises(ConversationSignatureFailed):
                await add_members(world.io, tom, AddMembers(tea, ("spike",), wrong))
        for wrong in (None, signer.change("tom", tea, "invite", "jerry"), signer.change("tom", other, "kick", "jerry")):
            with pytest.raises(ConversationSignatureFailed):
                await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",), wrong))
        assert not world.bus.events
        await add_members(world.io, tom, AddMembers(tea, ("spike",), signer.change("tom", tea, "invite", "spike")))
        await remove_members(world.io, tom, RemoveMembers(tea, ("jerry",), signer.change("tom", tea, "kick", "jerry")))
        found = await world.store.find_conversation(tea)
        assert found is not None
        assert found.members == ("tom", "spike")

    @on_trio
    async def test_joining_wants_one_and_leaving_does_not(self) -> None:
        world, signer = await strict_world()
        tom, spike = await opened(world, signer), await opened(world, signer, "spike")
        tea = await started(world, signer, tom)
        with pytest.raises(ConversationSignatureFailed):
            await add_members(world.io, spike, AddMembers(tea, ("spike",)))
        joining = signer.change("spike", tea, "invite", "spike")
        await add_members(world.io, spike, AddMembers(tea, ("spike",), joining))
        await remove_members(world.io, spike, RemoveMembers(tea, ("spike",)))
        with pytest.raises(ConversationSignatureFailed):
            await add_members(world.io, spike, AddMembers(tea, ("spike",), joining))
        with pytest.raises(ConversationSignatureFailed):
            await remove_members(world.io, tom, RemoveMembers(tea, ("tom", "jerry")))

    @on_trio
    async def test_it_does_not_stand_for_membership(self) -> None:
        world, signer = await strict_world()
        tom, spike = await opened(world, signer), await opened(world, signer, "spike")
        tea = await started(world, signer, tom)
        signature = signer.change("spike", tea, "invite", "tyke")
        with pytest.raises(MembershipRequired):
            await add_members(world.io, spike, AddMembers(tea, ("tyke",), signature))
        joining = signer.change("spike", tea, "invite", "spike")
        await add_members(world.io, spike, AddMembers(tea, ("spike",), joining))
        # It was not used up by what was refused.
        await add_members(world.io, spike, AddMembers(tea, ("tyke",), signature))
        command = AddMembers(NOWHERE, ("tyke",), signer.change("spike", NOWHERE, "invite", "tyke"))
        with pytest.raises(ConversationNotFound):
            await add_members(world.io, spike, command)


class TestBlacklists:
    @on_trio
    async def test_blocking_wants_one_for_this_change(self) -> None:
        world, signer = await strict_world()
        tom = await opened(world, signer)
        tea = await started(world, signer, tom, "jerry")
        for wrong in (
            None,
            signer.change("tom", tea, "kick", "jerry"),
            signer.change("tom", tea, "conversation-unblock-clients", "jerry"),
            signer.change("tom", tea, "conversation-block-clients", "spike"),
            signer.change("jerry", tea, "conversation-block-clients", "jerry"),
        ):
            with pytest.raises(BlacklistSignatureFailed) as caught:
                await change_blocks(world.io, tom, ChangeBlocks(tea, ("jerry",), blocked=True, signature=wrong))
            assert caught.value.code == 4546
        assert not world.bus.events
        right = signer.change("tom", tea, "conversation-block-clients", "jerry")
        await change_blocks(world.io, tom, ChangeBlocks(tea, ("jerry",), blocked=True, signature=right))
        lifting = signer.change("tom", tea, "conversation-unblock-clients", "jerry")
        await change_blocks(world.io, tom, ChangeBlocks(tea, ("jerry",), blocked=False, signature=lifting))
        with pytest.raises(BlacklistSignatureFailed):
            await change_blocks(world.io, tom, ChangeBlocks(tea, ("jerry",), blocked=True, signature=right))

    @on_trio
    async def test_refusing_conversations_wants_one(self) -> None:
        world, signer = await strict_world()
        tom, jerry = await opened(world, signer), await opened(world, signer, "jerry")
        tea = await started(world, signer, tom)
        for wrong in (None, signer.refuse("jerry", tea, "client-unblock-conversations")):
            with pytest.raises(BlacklistSignatureFailed):
                await refuse_conversations(world.io, jerry, RefuseConversations((tea,), refused=True, signature=wrong))
        assert (await list_refused(world.io, jerry, ListRefused())).conversation_ids == ()
        right = signer.refuse("jerry", tea, "client-block-conversations")
        await refuse_conversations(world.io, jerry, RefuseConversations((tea,), refused=True, signature=right))
        assert (await list_refused(world.io, jerry, ListRefused())).conversation_ids == (tea,)


class TestTheApplicationItself:
    @on_trio
    async def test_it_needs_nobody_to_vouch_for_it(self) -> None:
        world, signer = await strict_world()
        tea = await started(world, signer, await opened(world, signer))
        for boss in (office(), office("tom")):
            await add_members(world.io, boss, AddMembers(tea, ("jerry",)))
            await remove_members(world.io, boss, RemoveMembers(tea, ("jerry",)))
            await change_blocks(world.io, boss, ChangeBlocks(tea, ("spike",), blocked=True))


class TestAfterAKick:
    @on_trio
    async def test_neither_tokens_nor_signatures_made_before_count(self) -> None:
        world, signer = await strict_world()
        _, first = await world.open("tom", OpenSession(signature=signer.login("tom")))
        held, jerrys = signer.login("tom"), signer.login("jerry")
        await kick_client(world.io, "tom", "")
        with pytest.raises(SessionTokenExpired):
            await world.open("tom", OpenSession(token=first.token))
        with pytest.raises(SignatureFailed):
            await world.open("tom", OpenSession(signature=held))
        await world.open("jerry", OpenSession(signature=jerrys))
        world.clock.step(1)
        await world.open("tom", OpenSession(signature=signer.login("tom")))

    @on_trio
    async def test_those_for_conversations_are_void_too(self) -> None:
        world, signer = await strict_world()
        held = signer.start("tom", "tom")
        await kick_client(world.io, "tom", "")
        world.clock.step(1)
        tom = await opened(world, signer)
        with pytest.raises(ConversationSignatureFailed):
            await start_conversation(world.io, tom, StartConversation(signature=held))


class TestClockSteps:
    """An hour or a day, both ways. A signer's clock is another machine's and keeps its time."""

    @pytest.mark.parametrize("step", [HOUR, DAY, -HOUR, -DAY])
    @on_trio
    async def test_a_used_signature_stays_used_whatever_was_swept(self, step: int) -> None:
        world, signer = await strict_world()
        signature = signer.login("tom")
        await world.open("tom", OpenSession(signature=signature))
        for _ in range(2):
            world.clock.step(step)
            await world.sweep()
            world.clock.step(-step)
            await world.sweep()
            with pytest.raises(SignatureFailed):
                await world.open("tom", OpenSession(signature=signature))

    @pytest.mark.parametrize("back", [HOUR, DAY])
    @on_trio
    async def test_nor_does_one_count_again_that_had_run_out_before_the_clock_was_set_back(self, back: int) -> None:
        world, signer = await strict_world()
        signature = signer.login("tom")
        await world.open("tom", OpenSession(signature=signature))
        world.clock.step(6 * HOUR + 600_001)
        await world.sweep()
        world.clock.step(-back)
        for _ in range(back // HOUR):
            world.clock.step(HOUR)
            with pytest.raises(SignatureFailed):
                await world.open("tom", OpenSession(signature=signature))

    @pytest.mark.parametrize("step", [HOUR, DAY, -HOUR, -DAY])
    @on_trio
    async def test_tokens_hold(self, step: int) -> None:
        world = await new_world()
        _, first = await world.open("tom", OpenSession(tag="phone", device="a"))
        world.clock.step(step)
        again, _ = await world.open("tom", OpenSession(reconnect=True, token=first.token))
        assert (again.tag, again.device) == ("phone", "a")
        await refresh_token(world.io, again, RefreshToken())

    @pytest.mark.parametrize("step", [HOUR, DAY, -HOUR, -DAY])
    @on_trio
    async def test_a_kick_ends_what_is_open_and_what_was_signed(self, step: int) -> None:
        world, signer = await strict_world()
        held = signer.login("tom")
        session = await opened(world, signer)
        world.clock.step(step)
        await kick_client(world.io, "tom", "")
        kicked = world.bus.the(ClientKicked)
        assert session.opened_at <= kicked.at
        world.clock.step(-step)
        with pytest.raises(SignatureFailed):
            await world.open("tom", OpenSession(signature=held))

    @on_trio
    async def test_who_comes_in_after_a_kick_counts_as_later_though_the_clock_was_set_back(self) -> None:
        world = await new_world()
        await kick_client(world.io, "tom", "")
        at = world.bus.the(ClientKicked).at
        world.clock.step(-DAY)
        session, reply = await world.open("tom")
        assert session.opened_at > at
        assert reply.server_time == world.clock.now()
        await refresh_token(world.io, session, RefreshToken())
        await kick_client(world.io, "tom", "")
        assert world.bus.of(ClientKicked)[-1].at >= session.opened_at


class TestKicking:
    @on_trio
    async def test_all_sessions_of_the_client_are_told_to_end(self) -> None:
        world = await new_world()
        phone, pc = await world.login("tom", "phone"), await world.login("tom", "pc")
        await kick_client(world.io, "tom", "spamming")
        kicked = world.bus.the(ClientKicked)
        assert (kicked.client_id, kicked.reason) == ("tom", "spamming")
        assert max(phone.opened_at, pc.opened_at) <= kicked.at

    @on_trio
    async def test_nobody_is_told_before_it_is_on_disk(self) -> None:
        world = await new_world()
        await world.login("tom")
        world.store.refusing = True
        with pytest.raises(Unavailable):
            await kick_client(world.io, "tom", "")
        assert not world.bus.events

    @explored
    @given(schedules)
    @on_trio
    async def test_no_token_that_is_made_meanwhile_survives_it(self, schedule: object) -> None:
        world = await new_world()
        session, first = await world.open("tom", OpenSession(device="phone"))
        tokens = [first.token]

        async def refresh() -> None:
            with suppress(SessionRequired):
                while len(tokens) < 5:
                    refreshed = await refresh_token(world.io, session, RefreshToken())
                    tokens.append(refreshed.token)

        async def reopen() -> None:
            with suppress(SessionTokenExpired):
                await world.open("tom", OpenSession(reconnect=True, token=first.token))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refresh)
            nursery.start_soon(reopen)
            nursery.start_soon(kick_client, world.io, "tom", "")
        for token in tokens:
            assert await world.store.find_grant("tom", token) is None

    @on_trio
    async def test_who_is_away_may_be_kicked_and_who_cannot_be_may_not(self) -> None:
        world = await new_world()
        await kick_client(world.io, "nobody", "")
        assert await world.store.find_kick("nobody") == world.clock.now()
        with pytest.raises(Exception, match="INVALID_LOGIN"):
            await kick_client(world.io, "x" * 65, "")
