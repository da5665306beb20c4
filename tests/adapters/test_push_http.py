"""What providers share: how long they are told to wait, and access tokens."""

import asyncio
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.adapters.http_client import HttpClient
from fastim.adapters.push.http import RETRY_AFTER_SECONDS_MAX, NotSent, ProviderClient, retry_after
from fastim.adapters.push.tokens import MARGIN_SECONDS, AccessToken, TokenKeeper
from fastim.ports.push import Later
from tests.adapters.push_servers import NOW_SECONDS, LocalProvider, Says
from tests.fakes.running import on_asyncio


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60.0),
        ("Tue, 14 Nov 2023 22:13:19 GMT", 0.0),
        ("Tue, 14 Nov 2999 22:13:19 GMT", RETRY_AFTER_SECONDS_MAX),
        ("9" * 400, RETRY_AFTER_SECONDS_MAX),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
    ],
)
def test_a_provider_says_how_long_to_wait(told: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": told}, NOW_SECONDS) == seconds


def test_a_provider_need_not_say_it() -> None:
    assert retry_after({}, NOW_SECONDS) is None


@given(st.text())
def test_whatever_is_said_is_a_time_to_wait_or_none(told: str) -> None:
    seconds = retry_after({"retry-after": told}, NOW_SECONDS)
    assert seconds is None or 0 <= seconds <= RETRY_AFTER_SECONDS_MAX


@given(st.integers(0, 80_000))
def test_a_moment_and_a_number_mean_the_same(seconds: int) -> None:
    moment = formatdate(NOW_SECONDS + seconds, usegmt=True)
    assert retry_after({"retry-after": moment}, NOW_SECONDS) == retry_after({"retry-after": str(seconds)}, NOW_SECONDS)


@on_asyncio
async def test_a_connection_is_used_again() -> None:
    client = ProviderClient(HttpClient())
    async with LocalProvider() as provider:
        for _ in range(3):
            answer = await client.post(f"{provider.url}/x", b"hi", {"X-Id": "1"})
        assert (answer.status, answer.body, provider.connections) == (200, b"", 1)
        assert (provider.asked[0].body, provider.asked[0].headers["x-id"]) == (b"hi", "1")
        await client.close()
        with pytest.raises(NotSent) as caught:
            await client.post(provider.url, b"", {})
    assert caught.value.outcome == Later("closed")


@on_asyncio
async def test_an_answers_headers_are_found_whatever_their_case() -> None:
    client = ProviderClient(HttpClient())
    async with LocalProvider() as provider:
        provider.answers(Says(503, b"[1]", {"RETRY-After": "5"}))
        answer = await client.post(provider.url, b"", {})
        await client.close()
    assert retry_after(answer.headers, NOW_SECONDS) == 5
    assert answer.json() == {}


class Asked:
    """Gives out ``t1``, ``t2``, ..., once it may.

    Attributes:
        may: Set: it answers.
    """

    def __init__(self, lives_seconds: float = 3_600) -> None:
        self.count = 0
        self.fails = False
        self.may = asyncio.Event()
        self.may.set()
        self._lives_seconds = lives_seconds

    async def __call__(self) -> AccessToken:
        self.count += 1
        await self.may.wait()
        if self.fails:
            raise NotSent(Later("no"))
        return AccessToken(f"t{self.count}", self._lives_seconds)


@on_asyncio
async def test_a_token_is_kept_until_shortly_before_it_ends() -> None:
    now = 0.0
    tokens = TokenKeeper(asked := Asked(), now=lambda: now)
    assert await tokens.get() == "t1"
    now = 3_600 - MARGIN_SECONDS - 1
    assert await tokens.get() == "t1"
    now += 1
    assert await tokens.get() == "t2"
    assert asked.count == 2


@on_asyncio
async def test_a_short_lived_token_is_used_for_half_its_life() -> None:
    now = 0.0
    tokens = TokenKeeper(Asked(60), now=lambda: now)
    assert await tokens.get() == "t1"
    now = 29
    assert await tokens.get() == "t1"
    now = 30
    assert await tokens.get() == "t2"


@on_asyncio
async def test_a_token_turned_down_is_replaced_once_however_many_say_so() -> None:
    tokens = TokenKeeper(asked := Asked())
    await tokens.get()
    assert await asyncio.gather(*(tokens.get(turned_down="t1") for _ in range(5))) == ["t2"] * 5
    assert await tokens.get(turned_down="t1") == "t2"
    assert asked.count == 2


@on_asyncio
async def test_one_who_waits_no_longer_leaves_the_others_their_token() -> None:
    tokens = TokenKeeper(asked := Asked())
    asked.may.clear()
    waiting = [asyncio.create_task(tokens.get()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    asked.may.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == ["t1", "t1"]


@on_asyncio
async def test_a_failure_is_shared_and_not_kept() -> None:
    tokens = TokenKeeper(asked := Asked())
    asked.fails = True
    results = await asyncio.gather(*(tokens.get() for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [NotSent] * 3
    assert asked.count == 1
    asked.fails = False
    assert await tokens.get() == "t2"


@on_asyncio
async def test_closing_ends_the_question_and_all_who_wait() -> None:
    tokens = TokenKeeper(asked := Asked())
    asked.may.clear()
    waiting = [asyncio.create_task(tokens.get()) for _ in range(2)]
    await asyncio.sleep(0)
    await tokens.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [NotSent] * 2
