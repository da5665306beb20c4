import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from fastim.adapters.push import web
from fastim.adapters.push.http import DEADLINE_SECONDS
from fastim.adapters.push.web import BODY_BYTES_MAX, TEXT_BYTES_MAX, WebPush
from fastim.core.errors import SettingsError
from fastim.core.installation import Installation
from fastim.core.units import Millis
from fastim.ports.push import Dead, Later, Outcome, Refused, Sent
from fastim.settings import Push
from tests.adapters.push_servers import (
    NOW_SECONDS,
    LocalProvider,
    Says,
    Trouble,
    device,
    p256_key,
    pushed,
)
from tests.fakes.running import on_asyncio

CONTACT = "mailto:ops@example.com"
SECRET_TEXT = "meet me at nine"


class Browser:
    """One that has subscribed."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = bytes(range(16))

    def subscription(self, endpoint: str, **keys: str) -> str:
        told = {"p256dh": _text(_point(self.key)), "auth": _text(self.auth)} | keys
        return json.dumps({"endpoint": endpoint, "expirationTime": None, "keys": told})

    def read(self, body: bytes) -> Any:
        return json.loads(http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth, version="aes128gcm"))


@dataclass
class House:
    provider: WebPush
    service: LocalProvider
    key: ec.EllipticCurvePrivateKey
    browser: Browser

    async def push(self, data: Any = None, **others: Any) -> Outcome:
        told = {"alert": SECRET_TEXT} if data is None else data
        return await self.provider.send(pushed(told, **others), [self.device()])

    def device(self) -> Installation:
        return device("web", self.browser.subscription(f"{self.service.url}/wpush/v2/secret-path"))


@asynccontextmanager
async def house(directory: Path) -> AsyncIterator[House]:
    key = p256_key(directory / "vapid.pem")
    async with LocalProvider() as service:
        service.answers(Says(201))
        provider = WebPush(str(directory / "vapid.pem"), CONTACT, guarded=False, now=lambda: NOW_SECONDS)
        try:
            yield House(provider, service, key, Browser())
        finally:
            await provider.close()


@on_asyncio
async def test_only_the_browser_can_read_what_is_pushed(tmp_path: Path) -> None:
    data = {"alert": {"title": "T", "body": SECRET_TEXT}, "id": 7}
    async with house(tmp_path) as at:
        assert await at.push(data) == Sent()
        (request,) = at.service.asked
    assert (request.method, request.path) == ("POST", "/wpush/v2/secret-path")
    assert request.headers["content-encoding"] == "aes128gcm"
    assert request.headers["ttl"] == "3600"
    assert request.headers["urgency"] == "normal"
    assert SECRET_TEXT.encode() not in request.body
    assert at.browser.read(request.body) == data
    with pytest.raises(http_ece.ECEException):
        Browser().read(request.body)


@on_asyncio
async def test_the_service_learns_who_sends(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.push()
        (request,) = at.service.asked
        scheme, _, rest = request.headers["authorization"].partition(" ")
        told = dict(part.split("=", 1) for part in rest.split(", "))
        assert scheme == "vapid"
        assert base64.urlsafe_b64decode(told["k"] + "=") == _point(at.key)
        claims = jwt.decode(
            told["t"], at.key.public_key(), algorithms=["ES256"], audience=at.service.url, options={"verify_exp": False}
        )
    assert claims == {"aud": at.service.url, "exp": NOW_SECONDS + 12 * 3_600, "sub": CONTACT}


@on_asyncio
async def test_no_two_are_encrypted_alike(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.push()
        await at.push()
        first, second = at.service.asked
    assert first.body[:86] != second.body[:86]


@on_asyncio
async def test_the_longest_text_fits_and_no_longer_one_is_sent(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        rest = len(b'{"alert":""}')
        assert await at.push({"alert": "x" * (TEXT_BYTES_MAX - rest)}) == Sent()
        assert await at.push({"alert": "x" * (TEXT_BYTES_MAX - rest + 1)}) == Refused(
            "what is pushed has 3994 bytes, and push services take 3993"
        )
        (request,) = at.service.asked
    assert len(request.body) == BODY_BYTES_MAX


@on_asyncio
async def test_what_has_expired_is_kept_no_time(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.push(expires_at=Millis((NOW_SECONDS - 1) * 1_000))
        await at.push(expires_at=Millis((NOW_SECONDS + 90 * 86_400) * 1_000))
        assert [request.headers["ttl"] for request in at.service.asked] == ["0", "2419200"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Says(200), Sent()),
        (Says(202), Sent()),
        (Says(404), Dead("404")),
        (Says(410, b"gone"), Dead("410")),
        (Says(413), Refused("413")),
        (Says(400), Refused("400")),
        (Says(403), Refused("403: the browser has subscribed with another key than push.web_key_file")),
        (Says(429, b"", {"Retry-After": "7"}), Later("429", 7.0, whole=False)),
        (Says(500), Later("500", whole=False)),
        (Says(503), Later("503", whole=False)),
        (Says(301, b"", {"Location": "/elsewhere"}), Later("301", whole=False)),
        (Trouble.RESET, Later("the connection was cut", whole=False)),
        (Trouble.GARBAGE, Later("the answer is not HTTP", whole=False)),
        (Trouble.ENDLESS, Later("the answer is too long", whole=False)),
    ],
)
@on_asyncio
async def test_each_answer_has_its_outcome(tmp_path: Path, answer: Says | Trouble, outcome: Outcome) -> None:
    async with house(tmp_path) as at:
        at.service.answers(answer)
        assert await at.push() == outcome
        assert len(at.service.asked) == 1


@pytest.mark.parametrize("trouble", [Trouble.STALL, Trouble.DRIP])
@on_asyncio
async def test_what_does_not_answer_is_not_waited_for(tmp_path: Path, trouble: Trouble) -> None:
    async with house(tmp_path) as at:
        at.service.answers(trouble)
        begun = asyncio.get_running_loop().time()
        assert await at.push() == Later("no answer in time", whole=False)
        assert asyncio.get_running_loop().time() - begun == pytest.approx(DEADLINE_SECONDS, abs=0.1)


@on_asyncio
async def test_a_token_that_is_no_subscription_is_dead(tmp_path: Path) -> None:
    browser = Browser()
    whole = browser.subscription("https://push.example/x")
    tokens = [
        "x", "[]", "{}", '{"endpoint": "https://push.example/x"}', whole.replace("https://", "ftp://"),
        whole.replace("https://push.example", "https://"), whole.replace("https://", "https://a:b@"),
        whole.replace("push.example", "push.example:99999"),
        browser.subscription("https://push.example/x", auth="AAAA"),
        browser.subscription("https://push.example/x", auth="ä"),
        browser.subscription("https://push.example/x", p256dh=_text(bytes(65))),
        browser.subscription("https://push.example/x", p256dh=_text(b"\x04" + bytes(64))),
    ]  # fmt: skip
    async with house(tmp_path) as at:
        for token in tokens:
            outcome = await at.provider.send(pushed({"alert": "Hi"}), [device("web", token)])
            assert outcome == Dead("the token is not the JSON of a push subscription"), token
        assert at.service.asked == []


@on_asyncio
async def test_keys_may_have_their_padding(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        padded = base64.urlsafe_b64encode(_point(at.browser.key)).decode()
        token = at.browser.subscription(at.service.url, p256dh=padded)
        assert padded.endswith("=")
        assert await at.provider.send(pushed({"alert": "Hi"}), [device("web", token)]) == Sent()


def test_only_public_addresses_are_gone_to_and_only_with_tls(tmp_path: Path) -> None:
    asyncio.run(_tries_what_is_not_public(tmp_path))  # names are looked up in a thread, which takes real time


async def _tries_what_is_not_public(tmp_path: Path) -> None:
    p256_key(tmp_path / "vapid.pem")
    provider = web.provider(Push(web_key_file=str(tmp_path / "vapid.pem"), web_contact=CONTACT))
    assert provider is not None
    browser = Browser()
    async with LocalProvider() as service:
        port = service.url.rpartition(":")[2]
        hosts = dict.fromkeys(("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"), "the address is not public")
        for host, said in {**hosts, "2130706433": "the address is not a URL"}.items():
            token = browser.subscription(f"https://{host}:{port}/")
            outcome = await provider.send(pushed({"alert": "Hi"}), [device("web", token)])
            assert outcome == Refused(said), host
        token = browser.subscription(service.url)
        assert isinstance(await provider.send(pushed({"alert": "Hi"}), [device("web", token)]), Dead)
        await provider.close()
        assert service.connections == 0


@on_asyncio
async def test_no_secret_is_said_or_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with house(tmp_path) as at:
        for reply in (
            Says(201), Says(400, {"reason": SECRET_TEXT}), Says(410), Says(503), Trouble.GARBAGE, Trouble.RESET,
            Trouble.STALL, Trouble.ENDLESS,
        ):  # fmt: skip
            at.service.answers(reply)
            with capture_logs() as logs:
                told = f"{await at.push()} {logs} {caplog.text}"
            for secret in (SECRET_TEXT, "secret-path", "vapid t=", _text(at.browser.auth)):
                assert secret not in told


def test_it_carries_browsers_with_a_subscription(tmp_path: Path) -> None:
    p256_key(tmp_path / "vapid.pem")
    provider = WebPush(str(tmp_path / "vapid.pem"), CONTACT)
    assert provider.carries(device("web", "{}"))
    assert not provider.carries(device("web"))
    assert not provider.carries(device("ios", "{}"))


def test_without_a_key_there_is_no_provider() -> None:
    assert web.provider(Push()) is None


def test_key_and_contact_have_to_be_usable(tmp_path: Path) -> None:
    file = tmp_path / "vapid.pem"
    with pytest.raises(SettingsError, match=r"push\.web_key_file: .* cannot be read: No such file"):
        web.provider(Push(web_key_file=str(file), web_contact=CONTACT))
    file.write_bytes(b"secret")
    with pytest.raises(SettingsError, match=r"push\.web_key_file: .*vapid\.pem: no private key in PEM form"):
        web.provider(Push(web_key_file=str(file), web_contact=CONTACT))
    p256_key(file)
    for contact in ("", "ops@example.com"):
        with pytest.raises(SettingsError, match=r"push\.web_contact: .* mailto:\.\.\. or https://"):
            web.provider(Push(web_key_file=str(file), web_contact=contact))


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
