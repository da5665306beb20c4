import asyncio
import logging
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from fastim.adapters.push import apns
from fastim.adapters.push.apns import PAYLOAD_BYTES_MAX, RENEWAL_SECONDS_LEAST, TOKEN_SECONDS, Apns
from fastim.adapters.push.http import DEADLINE_SECONDS
from fastim.certificates import server_context
from fastim.core.errors import SettingsError
from fastim.ports.push import Dead, Later, Outcome, Refused, Sent
from fastim.settings import ApnsTeam, Push
from tests.adapters.push_servers import (
    EXPIRES_AT,
    NOW_SECONDS,
    LocalApns,
    Request,
    Says,
    Trouble,
    device,
    p256_key,
    pem_of,
    pushed,
    rsa_key,
)
from tests.authority import Authority
from tests.fakes.running import on_asyncio

TOKEN = "a1b2c3d4" * 8
SECRET_TEXT = "meet me at nine"
PHONE = device("ios", TOKEN)


@dataclass
class Keys:
    authority: Authority
    server: ssl.SSLContext
    teams: tuple[ApnsTeam, ...]
    keys: tuple[ec.EllipticCurvePrivateKey, ...]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    directory = tmp_path_factory.mktemp("apns")
    authority = Authority(directory)
    pair = authority.issue("server")
    files = [directory / "one.p8", directory / "two.p8"]
    made = tuple(p256_key(file) for file in files)
    teams = (
        ApnsTeam("TEAM000001", "KEY0000001", str(files[0]), "com.example.one"),
        ApnsTeam("TEAM000002", "KEY0000002", str(files[1]), "com.example.two"),
    )
    return Keys(authority, server_context(str(pair.certificate), str(pair.key), "h2"), teams, made)


class Now:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds: float = NOW_SECONDS

    def __call__(self) -> float:
        return self.seconds


@dataclass
class House:
    provider: Apns
    apple: LocalApns
    now: Now

    async def push(self, data: Any = None, **others: Any) -> Outcome:
        told = {"alert": SECRET_TEXT} if data is None else data
        phone = others.pop("phone", PHONE)
        return await self.provider.send(pushed(told, **others), [phone])

    async def payload(self, data: Any) -> Any:
        assert isinstance(await self.push(data), Sent)
        return self.apple.asked[-1].json()


@asynccontextmanager
async def house(keys: Keys, teams: int = 1, streams: int = 1_000) -> AsyncIterator[House]:
    now = Now()
    async with LocalApns(keys.server, streams) as apple:
        provider = Apns(keys.teams[:teams], apple.url, tls=keys.authority.trusting(), now=now)
        try:
            yield House(provider, apple, now)
        finally:
            await provider.close()


def claims(request: Request, key: ec.EllipticCurvePrivateKey) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims of the token that it was asked with, which is that key's."""
    scheme, _, token = request.headers["authorization"].partition(" ")
    assert scheme == "bearer"
    told = jwt.decode(token, key.public_key(), algorithms=["ES256"], options={"verify_iat": False})
    return jwt.get_unverified_header(token), told


# --- What is sent -----------------------------------------------------------------------------------------------------


@on_asyncio
async def test_a_notification_arrives_as_apple_wants_it(keys: Keys) -> None:
    async with house(keys) as at:
        outcome = await at.push({"alert": "Hi", "badge": 3, "sound": "ding.caf", "custom": {"a": [1]}, "action": "go"})
    (request,) = at.apple.asked
    assert (request.method, request.path) == ("POST", f"/3/device/{TOKEN}")
    assert request.headers["apns-topic"] == "com.example.one"
    assert request.headers["apns-push-type"] == "alert"
    assert request.headers["apns-priority"] == "10"
    assert request.headers["apns-expiration"] == str(EXPIRES_AT // 1_000)
    assert outcome == Sent(request.headers["apns-id"])
    assert request.json() == {
        "aps": {"alert": "Hi", "badge": 3, "sound": "ding.caf"},
        "custom": {"a": [1]},
        "action": "go",
    }
    header, told = claims(request, keys.keys[0])
    assert (header["alg"], header["kid"]) == ("ES256", "KEY0000001")
    assert told == {"iss": "TEAM000001", "iat": NOW_SECONDS}


@on_asyncio
async def test_keys_that_apple_knows_go_into_aps_and_the_others_beside_it(keys: Keys) -> None:
    async with house(keys) as at:
        alert = {"loc-key": "NEW", "loc-args": ["Tom"], "title": "T"}
        data = {"alert": alert, "thread-id": "t", "category": "c", "mutable-content": 1, "interruption-level": "active"}
        assert await at.payload(data) == {"aps": data}
        assert await at.payload({"alert": "Hi", "title": "T"}) == {"aps": {"alert": {"title": "T", "body": "Hi"}}}
        assert await at.payload({"alert": "Hi", "silent": True}) == {"aps": {"alert": "Hi"}}
        assert await at.payload({"aps": {"sound": "a", "alert": "x"}, "alert": "Hi"}) == {
            "aps": {"sound": "a", "alert": "Hi"}
        }
        assert await at.payload({"alert": "Hi", "badge": "Increment"}) == {"aps": {"alert": "Hi"}}
        assert await at.payload({"alert": "Hi", "badge": 0}) == {"aps": {"alert": "Hi", "badge": 0}}
    assert {request.headers["apns-push-type"] for request in at.apple.asked} == {"alert"}


@pytest.mark.parametrize("data", [{"content-available": 1, "id": 7}, {"id": 7}, {"alert": "", "id": 7}])
@on_asyncio
async def test_what_nobody_notices_is_sent_in_the_background(keys: Keys, data: dict[str, Any]) -> None:
    async with house(keys) as at:
        assert await at.payload(data) == {"aps": {"content-available": 1}, "id": 7}
    (request,) = at.apple.asked
    assert (request.headers["apns-push-type"], request.headers["apns-priority"]) == ("background", "5")


@on_asyncio
async def test_one_that_is_sent_again_has_the_same_id_and_no_other_has(keys: Keys) -> None:
    async with house(keys) as at:
        for others in ({}, {}, {"message_id": "m2"}, {"target": "i2"}):
            await at.push(**others)
    first, again, *others_ids = [request.headers["apns-id"] for request in at.apple.asked]
    assert first == again
    assert len({first, *others_ids}) == 3


@on_asyncio
async def test_each_team_has_its_key_and_its_topic(keys: Keys) -> None:
    async with house(keys, teams=2) as at:
        await at.push()
        await at.push(team_id="TEAM000002")
        await at.push(phone=device("ios", TOKEN, team_id="TEAM000002", topic="com.example.own"))
        assert await at.push(team_id="TEAM000003") == Refused("there is no key for the team of the device: push.apns")
    first, second, third = at.apple.asked
    assert [request.headers["apns-topic"] for request in at.apple.asked] == [
        "com.example.one", "com.example.two", "com.example.own",
    ]  # fmt: skip
    assert claims(first, keys.keys[0])[1]["iss"] == "TEAM000001"
    assert claims(second, keys.keys[1])[1]["iss"] == claims(third, keys.keys[1])[1]["iss"] == "TEAM000002"
    assert [request.connection for request in at.apple.asked] == [1, 2, 2]


@on_asyncio
async def test_development_is_another_connection(keys: Keys) -> None:
    async with house(keys) as at:
        await at.push()
        await at.push(profile="dev")
        await at.push(phone=device("ios", TOKEN, profile="dev"))
    assert [request.connection for request in at.apple.asked] == [1, 2, 2]


def test_apples_addresses_are_the_ones_of_its_documentation() -> None:
    assert (apns.PRODUCTION, apns.DEVELOPMENT) == ("https://api.push.apple.com", "https://api.sandbox.push.apple.com")


@on_asyncio
async def test_what_is_too_long_is_not_sent(keys: Keys) -> None:
    async with house(keys) as at:
        rest = len(b'{"aps":{"alert":""}}')
        assert isinstance(await at.push({"alert": "x" * (PAYLOAD_BYTES_MAX - rest)}), Sent)
        refused = await at.push({"alert": "x" * (PAYLOAD_BYTES_MAX - rest + 1)})
        assert refused == Refused("the payload has 4097 bytes, and APNs takes 4096")
    assert len(at.apple.asked) == 1


@pytest.mark.parametrize("data", ["", "[1]", '"hi"', "{", '{"a": "\\ud800"}', "[" * 5_000])
@on_asyncio
async def test_what_is_no_object_is_not_sent(keys: Keys, data: str) -> None:
    async with house(keys) as at:
        assert await at.push(data) == Refused("what is pushed is not a JSON object")
    assert at.apple.asked == []


@on_asyncio
async def test_nothing_of_a_device_changes_what_is_asked_for(keys: Keys) -> None:
    async with house(keys) as at:
        for token in ("../x", "a b", "a?b", "a\r\nb", "ä", "a" * 401):
            assert await at.push(phone=device("ios", token)) == Dead("not a device token")
        assert isinstance(await at.push(phone=device("ios", TOKEN, topic="a\r\nb: c")), Refused)
    assert at.apple.asked == []


def test_it_carries_ios_devices_with_a_token(keys: Keys) -> None:
    provider = Apns(keys.teams)
    assert provider.carries(PHONE)
    assert not provider.carries(device("ios"))
    assert not provider.carries(device("android", TOKEN))


# --- What is answered -------------------------------------------------------------------------------------------------


def no(status: int, reason: str, **headers: str) -> Says:
    return Says(status, {"reason": reason}, headers)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (no(400, "BadDeviceToken"), Dead("400 BadDeviceToken")),
        (no(400, "BadTopic"), Refused("400 BadTopic")),
        (no(400, "PayloadEmpty"), Refused("400 PayloadEmpty")),
        (no(400, "IdleTimeout"), Later("400 IdleTimeout", whole=False)),
        (no(410, "Unregistered"), Dead("410 Unregistered")),
        (no(410, "ExpiredToken"), Dead("410 ExpiredToken")),
        (no(413, "PayloadTooLarge"), Refused("413 PayloadTooLarge")),
        (no(429, "TooManyRequests"), Later("429 TooManyRequests", whole=False)),
        (no(429, "TooManyRequests", **{"retry-after": "17"}), Later("429 TooManyRequests", 17.0, whole=False)),
        (no(429, "TooManyProviderTokenUpdates"), Later("429 TooManyProviderTokenUpdates")),
        (no(403, "InvalidProviderToken"), Later("403 InvalidProviderToken")),
        (no(500, "InternalServerError"), Later("500 InternalServerError")),
        (no(503, "Shutdown", **{"retry-after": "60"}), Later("503 Shutdown", 60.0)),
        (Says(503, b"<html>busy"), Later("503")),
        (Says(400, b"<html>bad"), Later("400")),
        (Says(404, b""), Later("404")),
        (Says(302, b"", {"location": "https://127.0.0.1/"}), Later("302")),
        (no(400, f"{TOKEN} is bad"), Later("400")),
        (Says(400, b'{"reason": 5}'), Later("400")),
    ],
)
@on_asyncio
async def test_each_answer_has_its_outcome(keys: Keys, answer: Says, outcome: Outcome) -> None:
    async with house(keys) as at:
        at.apple.answers(answer)
        assert await at.push() == outcome
    assert len(at.apple.asked) == 1


@on_asyncio
async def test_a_token_is_not_lost_for_what_the_push_or_the_operator_has_got_wrong(keys: Keys) -> None:
    """Else one push with ``_profile`` "dev", or one wrong topic, would retire all devices."""
    async with house(keys) as at:
        at.apple.answers(no(400, "BadDeviceToken"))
        assert isinstance(await at.push(profile="dev"), Refused)
        assert isinstance(await at.push(phone=device("ios", TOKEN, profile="dev")), Dead)
        at.apple.answers(no(400, "DeviceTokenNotForTopic"))
        assert isinstance(await at.push(), Refused)
        assert isinstance(await at.push(phone=device("ios", TOKEN, topic="com.example.one")), Dead)


@on_asyncio
async def test_trouble_of_one_team_or_of_development_leaves_the_others_alone(keys: Keys) -> None:
    async with house(keys, teams=2) as at:
        at.apple.answers(no(403, "InvalidProviderToken"))
        assert await at.push() == Later("403 InvalidProviderToken", whole=False)
        at.apple.answers(no(503, "ServiceUnavailable"))
        assert await at.push() == Later("503 ServiceUnavailable")
        assert await at.push(profile="dev") == Later("503 ServiceUnavailable", whole=False)


@on_asyncio
async def test_a_key_that_is_not_taken_is_said_once_until_it_is(keys: Keys) -> None:
    async with house(keys) as at:
        at.apple.answers(*[no(403, "InvalidProviderToken")] * 2, Says(), no(403, "InvalidProviderToken"))
        with capture_logs() as logs:
            for _ in range(4):
                await at.push()
    assert [entry["event"] for entry in logs] == ["APNs does not take the key of a team"] * 2
    assert logs[0]["log_level"] == "error"
    assert (logs[0]["team"], logs[0]["reason"]) == ("TEAM000001", "InvalidProviderToken")


# --- The provider token -----------------------------------------------------------------------------------------------


@on_asyncio
async def test_a_token_is_used_for_50_minutes(keys: Keys) -> None:
    async with house(keys) as at:
        for seconds in (0, TOKEN_SECONDS - 1, TOKEN_SECONDS):
            at.now.seconds = NOW_SECONDS + seconds
            await at.push()
    first, same, renewed = [request.headers["authorization"] for request in at.apple.asked]
    assert first == same != renewed
    assert claims(at.apple.asked[2], keys.keys[0])[1]["iat"] == NOW_SECONDS + TOKEN_SECONDS


@on_asyncio
async def test_an_expired_token_is_renewed_and_the_push_sent_again(keys: Keys) -> None:
    async with house(keys) as at:
        await at.push()
        at.now.seconds += 60
        at.apple.answers(no(403, "ExpiredProviderToken"), Says())
        assert isinstance(await at.push(), Sent)
    issued = [claims(request, keys.keys[0])[1]["iat"] - NOW_SECONDS for request in at.apple.asked]
    assert issued == [0, 0, 60]


@on_asyncio
async def test_a_token_that_always_counts_as_expired_is_not_renewed_all_the_time(keys: Keys) -> None:
    async with house(keys) as at:
        at.apple.answers(no(403, "ExpiredProviderToken"))
        for seconds in (0, 1, RENEWAL_SECONDS_LEAST - 1, RENEWAL_SECONDS_LEAST):
            at.now.seconds = NOW_SECONDS + seconds
            assert await at.push() == Later("403 ExpiredProviderToken")
    tokens = [request.headers["authorization"] for request in at.apple.asked]
    assert len(tokens) == 6
    assert len(set(tokens)) == 3


# --- The connection ---------------------------------------------------------------------------------------------------


@on_asyncio
async def test_many_travel_at_once_on_one_connection(keys: Keys) -> None:
    async with house(keys, streams=10) as at:
        outcomes = await asyncio.gather(*(at.push(message_id=f"m{number}") for number in range(60)))
    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert len({outcome.says for outcome in outcomes}) == 60
    assert at.apple.connections == 1


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (Trouble.RESET, "the connection was cut"),
        (Trouble.RESET_IN_ANSWER, "the connection was cut"),
        (Trouble.RESET_STREAM, "the connection was cut"),
        (Trouble.GARBAGE, "the answer is not HTTP/2"),
    ],
)
@on_asyncio
async def test_a_cut_connection_is_tried_once_more(keys: Keys, trouble: Trouble, says: str) -> None:
    async with house(keys) as at:
        at.apple.answers(trouble, Says())
        assert isinstance(await at.push(), Sent)
        at.apple.answers(trouble)
        assert await at.push() == Later(says)
        assert [request.connection for request in at.apple.asked] == [1, 2, 2, 3]
        at.apple.answers(Says())
        assert isinstance(await at.push(), Sent)


@on_asyncio
async def test_those_whom_a_goaway_left_out_are_sent_on_another_connection(keys: Keys) -> None:
    async with house(keys) as at:
        await at.push()
        at.apple.answers(Trouble.GOAWAY, Says())
        assert isinstance(await at.push(), Sent)
        at.apple.answers(Trouble.GOAWAY_AFTER, Says())
        assert isinstance(await at.push(), Sent)
        assert isinstance(await at.push(), Sent)
    assert at.apple.asked[-1].connection > at.apple.asked[0].connection


@on_asyncio
async def test_an_idle_connection_may_be_closed(keys: Keys) -> None:
    async with house(keys) as at:
        assert isinstance(await at.push(), Sent)
        at.apple.hang_up()
        assert isinstance(await at.push(), Sent)
    assert [request.connection for request in at.apple.asked] == [1, 2]


@pytest.mark.parametrize("trouble", [Trouble.STALL, Trouble.DRIP])
@on_asyncio
async def test_what_does_not_answer_is_not_waited_for_and_not_used_again(keys: Keys, trouble: Trouble) -> None:
    async with house(keys) as at:
        at.apple.answers(trouble, Says())
        begun = asyncio.get_running_loop().time()
        assert await at.push() == Later("no answer in time")
        assert asyncio.get_running_loop().time() - begun == pytest.approx(DEADLINE_SECONDS, abs=0.1)
        assert isinstance(await at.push(), Sent)
    assert [request.connection for request in at.apple.asked] == [1, 2]


@on_asyncio
async def test_one_that_stalls_takes_none_with_it(keys: Keys) -> None:
    def answer(request: Request) -> Says | Trouble:
        return Trouble.STALL if request.json()["id"] == 3 else Says()

    async with house(keys) as at:
        at.apple.answers(answer)
        outcomes = await asyncio.gather(*(at.push({"alert": "Hi", "id": number}) for number in range(8)))
    assert [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Sent)] == [3]


@on_asyncio
async def test_an_answer_that_is_too_long_is_none(keys: Keys) -> None:
    async with house(keys) as at:
        at.apple.answers(Trouble.ENDLESS)
        assert await at.push() == Later("the answer is too long")


@on_asyncio
async def test_nobody_need_be_there(keys: Keys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    provider = Apns(keys.teams, f"https://127.0.0.1:{port}")
    assert await provider.send(pushed({"alert": "Hi"}), [PHONE]) == Later("no connection")
    await provider.close()


@on_asyncio
async def test_a_certificate_that_is_not_trusted_gets_nothing(keys: Keys) -> None:
    async with LocalApns(keys.server) as apple:
        provider = Apns(keys.teams, apple.url)
        assert await provider.send(pushed({"alert": "Hi"}), [PHONE]) == Later("no TLS that can be trusted")
        await provider.close()
    assert apple.asked == []


@on_asyncio
async def test_a_gateway_of_ones_own_may_do_without_tls(keys: Keys) -> None:
    async with LocalApns(None) as gateway:
        provider = Apns(keys.teams, f"{gateway.url}/apns/")
        assert isinstance(await provider.send(pushed({"alert": "Hi"}), [PHONE]), Sent)
        await provider.close()
    assert gateway.asked[0].path == f"/apns/3/device/{TOKEN}"


@on_asyncio
async def test_closing_fails_what_is_under_way(keys: Keys) -> None:
    async with house(keys) as at:
        asked = asyncio.Event()

        def answer(_: Request) -> Trouble:
            asked.set()
            return Trouble.STALL

        at.apple.answers(answer)
        pushing = asyncio.create_task(at.push())
        await asked.wait()
        await at.provider.close()
        assert isinstance(await pushing, Later)
        assert await at.push() == Later("closed")


def test_it_works_on_uvloop(keys: Keys) -> None:
    async def run() -> None:
        async with house(keys) as at:
            at.apple.answers(Says(), Trouble.RESET, Says())
            outcomes = await asyncio.gather(*(at.push(message_id=f"m{number}") for number in range(20)))
            assert {type(outcome) for outcome in outcomes} == {Sent}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


# --- What is not told -------------------------------------------------------------------------------------------------


@on_asyncio
async def test_no_secret_is_said_or_logged(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    outcomes = []
    async with house(keys) as at:
        for reply in (
            Says(), no(400, TOKEN), Says(400, {"reason": f"x{SECRET_TEXT}"}), no(403, "InvalidProviderToken"),
            no(503, "Shutdown"), Trouble.GARBAGE, Trouble.RESET, Trouble.STALL, Trouble.ENDLESS,
        ):  # fmt: skip
            at.apple.answers(reply)
            with capture_logs() as logs:
                outcomes.append(await at.push())
            bearer = at.apple.asked[-1].headers["authorization"].split()[1]
            told = f"{outcomes} {logs} {caplog.text}"
            assert TOKEN not in told
            assert SECRET_TEXT not in told
            assert bearer not in told


# --- Setting up -------------------------------------------------------------------------------------------------------


def test_without_keys_there_is_no_provider() -> None:
    assert apns.provider(Push()) is None


def test_a_key_has_to_be_usable(tmp_path: Path, keys: Keys) -> None:
    def team(content: bytes | None) -> Push:
        file = tmp_path / "key.p8"
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        return Push(apns=(ApnsTeam("T", "K", str(file), "com.example"),))

    assert isinstance(apns.provider(Push(apns=keys.teams)), Apns)
    with pytest.raises(SettingsError, match=r"push\.apns: key_file: .*key\.p8 cannot be read: No such file"):
        apns.provider(team(None))
    with pytest.raises(SettingsError, match=r"push\.apns: key_file: .*key\.p8: no private key in PEM form"):
        apns.provider(team(b"secret"))
    with pytest.raises(SettingsError, match="not a P-256 key"):
        apns.provider(team(pem_of(rsa_key())))
    with pytest.raises(SettingsError, match="not a P-256 key"):
        apns.provider(team(pem_of(ec.generate_private_key(ec.SECP384R1()))))


@pytest.mark.slow
def test_without_the_packages_of_the_extra_only_who_needs_them_is_told() -> None:
    program = """
import sys
for name in ("httpx2", "h2", "jwt", "http_ece", "cryptography"):
    sys.modules[name] = None
import fastim.app
from fastim.adapters.push import apns, fcm, web
from fastim.core.errors import SettingsError
from fastim.settings import ApnsTeam, Push
assert apns.provider(Push()) is fcm.provider(Push()) is web.provider(Push()) is None
for module, settings in (
    (apns, Push(apns=(ApnsTeam("T", "K", "f", "t"),))),
    (fcm, Push(fcm_account_file="f")),
    (web, Push(web_key_file="f", web_contact="mailto:a@b")),
):
    try:
        module.provider(settings)
    except SettingsError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"{setting}: this needs more packages: pip install 'fastim[push]'"
        for setting in ("push.apns", "push.fcm_account_file", "push.web_key_file")
    ]
