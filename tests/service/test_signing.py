"""Source: REST reference, clients/sign; guide, login with a user object."""

import pytest

from fastim.core.commands import OpenSession, Signature
from fastim.core.errors import InvalidLogin, SignatureFailed
from fastim.core.policy import Policy
from fastim.ports.users import UserIdentity
from fastim.service.sessions import kick_client
from fastim.service.signing import SignedClient, sign_client
from tests.fakes.running import on_trio
from tests.fakes.world import new_world

STRICT = Policy(signature_required=True)


def opening(signed: SignedClient) -> OpenSession:
    return OpenSession(signature=Signature(signed.timestamp, signed.nonce, signed.signature))


@on_trio
async def test_what_is_signed_opens_one_session_of_that_client() -> None:
    world = await new_world(STRICT)
    signed = await sign_client(world.io, UserIdentity("5f1e", {}))
    assert (signed.client_id, signed.timestamp) == ("5f1e", world.clock.now())
    with pytest.raises(SignatureFailed):
        await world.open("jerry", opening(signed))
    await world.open("5f1e", opening(signed))
    with pytest.raises(SignatureFailed):
        await world.open("5f1e", opening(signed))


@on_trio
async def test_each_time_it_is_another() -> None:
    world = await new_world(STRICT)
    first, second = [await sign_client(world.io, UserIdentity("tom", {})) for _ in range(2)]
    assert first.nonce != second.nonce
    for signed in (first, second):
        await world.open("tom", opening(signed))


@pytest.mark.parametrize("step", [0, -300_000])
@on_trio
async def test_who_was_kicked_is_signed_anew_though_the_clock_was_set_back(step: int) -> None:
    world = await new_world(STRICT)
    before = await sign_client(world.io, UserIdentity("tom", {}))
    await kick_client(world.io, "tom", "")
    world.clock.step(step)
    with pytest.raises(SignatureFailed):
        await world.open("tom", opening(before))
    await world.open("tom", opening(await sign_client(world.io, UserIdentity("tom", {}))))


@pytest.mark.parametrize("client_id", ["", "x" * 65, "a:b", "a\nb"])
@on_trio
async def test_what_can_be_no_client_is_not_signed(client_id: str) -> None:
    world = await new_world(STRICT)
    with pytest.raises(InvalidLogin):
        await sign_client(world.io, UserIdentity(client_id, {}))
