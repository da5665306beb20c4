"""What a hook has to say about who may log in. Source: REST reference, clients/sign; semantics, section 14."""

import pytest
from msgspec.structs import replace

from fastim.core.errors import HookFailed
from fastim.core.hooks import ClientSign, SignAnswer
from fastim.ports.users import UserIdentity
from tests.doors.office import KEY, Office, office
from tests.fakes.hooks import PlainHooks

pytestmark = pytest.mark.anyio

SIGN = "/1.2/rtm/clients/sign?session_token=abc"


class OneUser:
    """Fulfils the ``Users`` port: every token is the same user's."""

    async def verify(self, session_token: str) -> UserIdentity:
        return UserIdentity("5f1e", {"objectId": "5f1e", "sessionToken": session_token})

    async def close(self) -> None:
        """There is nothing to let go of."""


def hook(rest: Office, answer: SignAnswer | HookFailed) -> PlainHooks:
    """Have the application's hook answer that."""
    hooks = PlainHooks()
    hooks.answers[ClientSign] = answer
    tenant = rest.node.tenant
    rest.node.dispatcher.add(replace(tenant, io=replace(tenant.io, hooks=hooks), users=OneUser()))
    return hooks


async def test_the_hook_is_told_the_users_fields_and_signed_is_what_it_lets_pass() -> None:
    async with office() as rest:
        hooks = hook(rest, SignAnswer())
        assert (await rest.call("GET", SIGN, fields=KEY))["client_id"] == "5f1e"
        assert hooks.asked == [ClientSign(user={"objectId": "5f1e", "sessionToken": "abc"})]


async def test_whom_it_does_not_want_is_forbidden_with_its_own_words() -> None:
    async with office() as rest:
        hook(rest, SignAnswer(result=False, error="you are banned"))
        assert await rest.ask(SIGN, *KEY, method="GET") == (403, {"code": 4102, "error": "you are banned"})


async def test_a_hook_that_must_answer_and_does_not_is_the_servers_failure() -> None:
    async with office() as rest:
        hook(rest, HookFailed())
        assert await rest.ask(SIGN, *KEY, method="GET") == (503, {"code": 4200, "error": "INTERNAL_ERROR"})
