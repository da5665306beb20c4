import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from structlog.testing import capture_logs

from fastim.adapters.push import fcm
from fastim.adapters.push.fcm import SCOPE, Fcm
from fastim.adapters.push.http import DEADLINE_SECONDS
from fastim.core.errors import SettingsError
from fastim.ports.push import Dead, Later, Outcome, Refused, Sent
from fastim.settings import Push
from tests.adapters.push_servers import (
    NOW_SECONDS,
    LocalProvider,
    Reply,
    Request,
    Says,
    Trouble,
    device,
    p256_key,
    pem_of,
    pushed,
    service_account,
)
from tests.fakes.running import on_asyncio

TOKEN = "fT0k3n:APA91b-registration_id"
SECRET_TEXT = "meet me at nine"
SEND = "/v1/projects/example-app/messages:send"
PHONE = device("android", vendor="fcm", registration_id=TOKEN)
TAKEN = Says(200, {"name": "projects/example-app/messages/0:1500415314455276%31bd1c9631bd1c96"})


@dataclass
class House:
    provider: Fcm
    google: LocalProvider
    key: rsa.RSAPrivateKey

    async def push(self, data: Any = None) -> Outcome:
        told = {"alert": SECRET_TEXT} if data is None else data
        return await self.provider.send(pushed(told), [PHONE])

    async def message(self, data: Any) -> Any:
        assert isinstance(await self.push(data), Sent)
        return self.google.asked[-1].json()["message"]

    @property
    def sent(self) -> list[Request]:
        return self.google.asked_at(SEND)


@asynccontextmanager
async def house(directory: Path, *replies: Reply, token: Reply | None = None) -> AsyncIterator[House]:
    """Google's tokens are called ``access1``, ``access2``, ..., unless ``token`` says something else."""
    async with LocalProvider() as google:
        key = service_account(directory / "account.json", f"{google.url}/token")

        def give(_: Request) -> Says:
            return Says(200, {"access_token": f"access{len(google.asked_at('/token'))}", "expires_in": 3_599})

        google.answers(token or give, path="/token")
        google.answers(*(replies or (TAKEN,)), path=SEND)
        provider = Fcm(str(directory / "account.json"), google.url, now=lambda: NOW_SECONDS)
        try:
            yield House(provider, google, key)
        finally:
            await provider.close()


def problem(status: int, code: str, message: str = "", *fields: str, general: str = "", **headers: str) -> Says:
    """An error as Google words it."""
    details: list[dict[str, Any]] = []
    if code:
        details.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
    if fields:
        violations = [{"field": field, "description": message} for field in fields]
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations})
    error = {"code": status, "message": message, "status": general or code, "details": details}
    return Says(status, {"error": error}, headers)


# --- What is sent -----------------------------------------------------------------------------------------------------


@on_asyncio
async def test_a_notification_arrives_as_google_wants_it(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        outcome = await at.push({"alert": "Hi", "title": "T", "badge": 3, "sound": "ding", "id": 7, "who": "Tom"})
        asked, sent = at.google.asked
    assert outcome == Sent("0:1500415314455276%31bd1c9631bd1c96")
    assert (asked.method, asked.path, sent.method, sent.path) == ("POST", "/token", "POST", SEND)
    form = parse_qs(asked.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    (assertion,) = form["assertion"]
    told = jwt.decode(
        assertion,
        at.key.public_key(),
        algorithms=["RS256"],
        audience=f"{at.google.url}/token",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert jwt.get_unverified_header(assertion)["kid"] == "k1"
    assert (told["iss"], told["scope"]) == ("push@example-app.iam.gserviceaccount.com", SCOPE)
    assert (told["iat"], told["exp"]) == (NOW_SECONDS, NOW_SECONDS + 3_600)
    assert sent.headers["authorization"] == "Bearer access1"
    assert sent.json() == {
        "message": {
            "token": TOKEN,
            "notification": {"title": "T", "body": "Hi"},
            "android": {"ttl": "3600s", "priority": "HIGH", "notification": {"sound": "ding", "notification_count": 3}},
            "data": {"id": "7", "who": "Tom", "payload": '{"id":7,"who":"Tom"}'},
        }
    }


@on_asyncio
async def test_what_the_app_is_to_show_itself_is_data_only(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        data = {"alert": {"title": "T", "body": "Hi"}, "silent": True}
        message = await at.message(data)
    assert "notification" not in message
    assert json.loads(message["data"]["payload"]) == data
    assert message["data"]["alert"] == '{"title":"T","body":"Hi"}'


@on_asyncio
async def test_what_has_no_text_is_data_only(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        message = await at.message({"alert": {"loc-key": "NEW"}, "badge": 2})
    assert "notification" not in message
    assert message["data"]["badge"] == "2"


@on_asyncio
async def test_keys_that_google_keeps_for_itself_are_in_the_payload_only(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        own = {"from": "a", "message_type": "b", "collapse_key": "c", "google.x": "d", "gcm": "e", "fro": "f"}
        message = await at.message({"alert": "Hi"} | own)
    assert json.loads(message["data"].pop("payload")) == own
    assert message["data"] == {"fro": "f"}


@on_asyncio
async def test_what_would_be_too_long_twice_is_sent_once(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        message = await at.message({"alert": "Hi", "long": "x" * 2_500})
    assert list(message["data"]) == ["payload"]


@pytest.mark.parametrize("data", ["", "[1]", "{", '{"a": "\\ud800"}'])
@on_asyncio
async def test_what_is_no_object_is_not_sent(tmp_path: Path, data: str) -> None:
    async with house(tmp_path) as at:
        assert await at.push(data) == Refused("what is pushed is not a JSON object")
        assert at.google.asked == []


def test_it_carries_android_devices_that_have_googles_services(tmp_path: Path) -> None:
    service_account(tmp_path / "account.json", "https://oauth2.googleapis.com/token")
    provider = fcm.provider(Push(fcm_account_file=str(tmp_path / "account.json")))
    assert provider is not None
    for vendor in ("", "fcm", "FCM", "Firebase"):
        assert provider.carries(device("android", vendor=vendor, registration_id=TOKEN))
        assert provider.carries(device("android", TOKEN, vendor=vendor))
        assert not provider.carries(device("android", vendor=vendor))
    assert not provider.carries(device("android", vendor="HMS", registration_id=TOKEN))
    assert not provider.carries(device("ios", TOKEN))
    assert not provider.carries(device("android", "1f0e", installation_id="1f0e"))


# --- What is answered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Says(200, b"garbage"), Sent()),
        (Says(200, {"name": f"projects/x/{TOKEN}"}), Sent()),
        (problem(404, "UNREGISTERED", "Requested entity was not found."), Dead("404 UNREGISTERED")),
        (
            problem(400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token"),
            Dead("400 INVALID_ARGUMENT"),
        ),
        (problem(400, "INVALID_ARGUMENT", "Invalid value", "message.token"), Dead("400 INVALID_ARGUMENT")),
        (
            problem(400, "", "Invalid value, no registration token", "message.data[0].value",
                    general="INVALID_ARGUMENT"),
            Refused("400 INVALID_ARGUMENT"),
        ),
        (problem(400, "INVALID_ARGUMENT", "Android message is too big"), Refused("400 INVALID_ARGUMENT")),
        (
            problem(403, "SENDER_ID_MISMATCH", general="PERMISSION_DENIED"),
            Refused("403 SENDER_ID_MISMATCH: the token is of another project than push.fcm_account_file"),
        ),
        (problem(403, "", "FCM API is disabled", general="PERMISSION_DENIED"), Later("403 PERMISSION_DENIED")),
        (problem(404, "", "no such project", general="NOT_FOUND"), Later("404 NOT_FOUND")),
        (problem(429, "QUOTA_EXCEEDED", **{"Retry-After": "30"}), Later("429 QUOTA_EXCEEDED", 30.0)),
        (problem(429, "QUOTA_EXCEEDED"), Later("429 QUOTA_EXCEEDED")),
        (
            problem(503, "UNAVAILABLE", **{"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT"}),
            Later("503 UNAVAILABLE", 60.0),
        ),
        (problem(500, "INTERNAL"), Later("500 INTERNAL")),
        (problem(401, "THIRD_PARTY_AUTH_ERROR"), Later("401 THIRD_PARTY_AUTH_ERROR", whole=False)),
        (Says(502, b"<html>bad gateway"), Later("502")),
        (Says(400, b"<html>"), Later("400")),
        (Says(413, b""), Refused("413")),
        (Says(302, b"", {"Location": "/elsewhere"}), Later("302")),
        (Says(400, {"error": {"status": f"{TOKEN} is bad", "details": [5, {"errorCode": 5, "fieldViolations": 5}]}}),
         Later("400")),
        (Says(503, {"error": "busy"}), Later("503")),
        (Trouble.RESET, Later("the connection was cut")),
        (Trouble.RESET_IN_ANSWER, Later("the connection was cut")),
        (Trouble.GARBAGE, Later("the answer is not HTTP")),
        (Trouble.ENDLESS, Later("the answer is too long")),
    ],
)  # fmt: skip
@on_asyncio
async def test_each_answer_has_its_outcome(tmp_path: Path, answer: Says | Trouble, outcome: Outcome) -> None:
    async with house(tmp_path, answer) as at:
        assert await at.push() == outcome
        assert len(at.sent) == 1
        at.google.answers(TAKEN, path=SEND)
        assert isinstance(await at.push(), Sent)


@pytest.mark.parametrize("trouble", [Trouble.STALL, Trouble.DRIP])
@on_asyncio
async def test_what_does_not_answer_is_not_waited_for(tmp_path: Path, trouble: Trouble) -> None:
    async with house(tmp_path, trouble) as at:
        begun = asyncio.get_running_loop().time()
        assert await at.push() == Later("no answer in time")
        assert asyncio.get_running_loop().time() - begun == pytest.approx(DEADLINE_SECONDS, abs=0.1)


@on_asyncio
async def test_nobody_need_be_there(tmp_path: Path) -> None:
    async with LocalProvider() as google:
        service_account(tmp_path / "account.json", f"{google.url}/token")
    provider = Fcm(str(tmp_path / "account.json"), google.url)
    assert await provider.send(pushed({"alert": "Hi"}), [PHONE]) == Later("no connection")
    await provider.close()


# --- The access token -------------------------------------------------------------------------------------------------


@on_asyncio
async def test_one_token_is_asked_for_however_many_wait_for_it(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        outcomes = await asyncio.gather(*(at.push() for _ in range(20)))
        assert {type(outcome) for outcome in outcomes} == {Sent}
        assert len(at.google.asked_at("/token")) == 1


@on_asyncio
async def test_a_token_that_is_turned_down_is_replaced_once(tmp_path: Path) -> None:
    async with house(tmp_path, problem(401, "", general="UNAUTHENTICATED"), TAKEN) as at:
        assert isinstance(await at.push(), Sent)
        assert [request.headers["authorization"] for request in at.sent] == ["Bearer access1", "Bearer access2"]
        at.google.answers(problem(401, "", general="UNAUTHENTICATED"), path=SEND)
        with capture_logs() as logs:
            assert await at.push() == Later("401 UNAUTHENTICATED")
            assert await at.push() == Later("401 UNAUTHENTICATED")
        assert len(at.sent) == 6
    assert [entry["event"] for entry in logs] == ["Google does not take the service account"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Says(400, {"error": "invalid_grant", "error_description": "x"}), Later("no access token: 400 invalid_grant")),
        (Says(503, b"busy", {"Retry-After": "9"}), Later("no access token: 503", 9.0)),
        (Says(429, {"error": "rate"}), Later("no access token: 429 rate")),
        (Says(200, b"garbage"), Later("no access token: the answer holds none")),
        (Says(200, {"access_token": "a\r\nb"}), Later("no access token: it is not one")),
        (Says(200, {"access_token": "a", "expires_in": "soon"}), Later("no access token: the answer holds none")),
        (Says(302, b"", {"Location": "/elsewhere"}), Later("no access token: 302")),
        (Trouble.RESET, Later("the connection was cut")),
        (Trouble.GARBAGE, Later("the answer is not HTTP")),
        (Trouble.STALL, Later("no answer in time")),
    ],
)
@on_asyncio
async def test_without_a_token_nothing_is_sent_and_all_share_the_failure(
    tmp_path: Path, answer: Says | Trouble, outcome: Outcome
) -> None:
    async with house(tmp_path, token=answer) as at:
        assert await asyncio.gather(*(at.push() for _ in range(5))) == [outcome] * 5
        assert len(at.google.asked) == 1
        at.google.answers(Says(200, {"access_token": "a", "expires_in": 3_600}), path="/token")
        assert isinstance(await at.push(), Sent)


@on_asyncio
async def test_closing_fails_what_waits_for_a_token(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        asked = asyncio.Event()

        def answer(_: Request) -> Trouble:
            asked.set()
            return Trouble.STALL

        at.google.answers(answer, path="/token")
        pushing = asyncio.create_task(at.push())
        await asked.wait()
        await at.provider.close()
        assert await pushing == Later("closed")
        assert await at.push() == Later("closed")


# --- What is not told -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@on_asyncio
async def test_no_secret_is_said_or_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for path in ("/token", SEND):
        for reply in (
            Says(400, {"error": {"message": TOKEN, "status": TOKEN}}), Says(400, {"error": f"{TOKEN} {SECRET_TEXT}"}),
            Says(403, {"error": "denied"}), Trouble.GARBAGE, Trouble.RESET, Trouble.STALL, Trouble.ENDLESS,
        ):  # fmt: skip
            async with house(tmp_path) as at:
                at.google.answers(reply, path=path)
                with capture_logs() as logs:
                    told = f"{await at.push()} {logs} {caplog.text}"
                for secret in (TOKEN, SECRET_TEXT, "access1", "assertion", "PRIVATE KEY"):
                    assert secret not in told


# --- Setting up -------------------------------------------------------------------------------------------------------


def test_without_an_account_there_is_no_provider() -> None:
    assert fcm.provider(Push()) is None


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"type": "authorized_user"}, "not a service account's JSON: its type is another one"),
        ({"private_key": 5}, "not a service account's JSON, with a private_key and a token_uri"),
        ({"private_key": "secret"}, "private_key: no private key in PEM form without a password"),
        ({"project_id": ""}, "its project_id or token_uri cannot be used"),
        ({"token_uri": "file:///etc/passwd"}, "its project_id or token_uri cannot be used"),
    ],
)
def test_an_account_has_to_be_usable(tmp_path: Path, others: dict[str, Any], says: str) -> None:
    file = tmp_path / "account.json"
    service_account(file, "https://oauth2.googleapis.com/token", **others)
    with pytest.raises(SettingsError) as caught:
        fcm.provider(Push(fcm_account_file=str(file)))
    assert str(caught.value) == f"push.fcm_account_file: {file}: {says}"


def test_an_accounts_key_has_to_be_googles_kind(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    key = pem_of(p256_key(tmp_path / "key")).decode()
    service_account(file, "https://oauth2.googleapis.com/token", private_key=key)
    with pytest.raises(SettingsError, match="private_key: not a RSA key"):
        fcm.provider(Push(fcm_account_file=str(file)))


def test_an_accounts_file_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"push\.fcm_account_file: .* cannot be read: No such file"):
        fcm.provider(Push(fcm_account_file=str(tmp_path / "none.json")))
