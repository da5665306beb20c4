"""What no log may have, at any level: keys, tokens, what people write, and what they are pushed.

A server does everything that touches a secret, and fails at it: its neighbours throw what they are told back at it.
"""

import json
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from aiohttp import web

from fastim.core.hooks import CALLS
from fastim.wire import messages2_pb2 as pb
from tests.adapters.push_servers import p256_key, service_account
from tests.client.service import call, found_service
from tests.end_to_end.clients import someone
from tests.end_to_end.hook_back_end import HOOK_KEY, SESSION_TOKEN, HookBackEnd, hooked_server
from tests.end_to_end.hook_clients import Person, person
from tests.end_to_end.raw import wire
from tests.end_to_end.rest import Rest
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MASTER_KEY, APP_KEY = "hidden-master-key", "hidden-app-key"
BODY = "hidden words"
PUSHED = "hidden notification"
URL_SECRET = "hidden-in-an-address"
WRONG = "hidden-and-wrong"
DEVICE_TOKEN = "hidden-token-of"
PHONES = ("mi", "hms", "oppo", "vivo", "honor", "fcm", "xiaomi")
PROVIDER_SECRETS = {
    name: f"hidden-{name}"
    for name in (
        *("hms_app_id", "hms_app_secret", "xiaomi_app_secret", "oppo_app_key", "oppo_master_secret", "vivo_app_id"),
        *("vivo_app_key", "vivo_app_secret", "honor_app_id", "honor_client_id", "honor_client_secret"),
    )
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
def back_end() -> Iterator[HookBackEnd]:
    with HookBackEnd() as house:
        yield house


async def echo(request: web.Request) -> web.StreamResponse:
    """What somebody says who does not want it, and quotes it all."""
    quoted = f"{request.url} {dict(request.headers)} {(await request.read()).decode(errors='replace')}"
    body = dict.fromkeys(("error", "reason", "message", "msg", "description", "desc", "code", "result"), quoted)
    location = {"Location": f"{request.url}?{URL_SECRET}"}
    return web.json_response(body, status=400, reason=re.sub(r"[^ -~]", "?", quoted)[:500], headers=location)


async def failing_echo(request: web.Request) -> web.StreamResponse:
    """The same from somebody who is out of order."""
    answer = await echo(request)
    answer.set_status(500)
    return answer


async def garbled_echo(request: web.Request) -> web.StreamResponse:
    """The same as an answer of a wrong shape."""
    answer = await echo(request)
    answer.set_status(200)
    return answer


def hidden_in(data: Path) -> dict[str, Any]:
    """Settings with all the secrets that an operator can have."""
    data.mkdir()
    account, apple, browser = data / "account.json", data / "apple.p8", data / "browser.pem"
    service_account(account, "http://127.0.0.1:9/token")
    p256_key(apple)
    p256_key(browser)
    team = {"team_id": "TEAM", "key_id": "hidden-key-id", "key_file": str(apple), "topic": "com.example"}
    teams = ", ".join(f'{name} = "{value}"' for name, value in team.items())
    return {
        "push__apns": f"[{{{teams}}}]",
        "push__fcm_account_file": account,
        "push__web_key_file": browser,
        "push__web_contact": "mailto:hidden@example.com",
        "push__xiaomi_package": "com.example",
        **{f"push__{name}": value for name, value in PROVIDER_SECRETS.items()},
    }


@pytest.mark.parametrize(("engine", "act"), [("http", echo), ("http", garbled_echo), ("python", failing_echo)])
async def test_no_log_has_a_secret(back_end: HookBackEnd, tmp_path: Path, engine: str, act: Any) -> None:
    address = back_end.url.replace("http://", f"http://hidden-user:{URL_SECRET}@")
    providers = ("apns", "fcm", "hms", "xiaomi", "oppo", "vivo", "honor")
    settings = {
        **hidden_in(tmp_path / "keys"),
        **{f"push__{name}_url": f"{back_end.url}/{URL_SECRET}" for name in providers},
        "push__webhook": f"{address}/push?key={URL_SECRET}",
        "push__retry_first_seconds": 0.05,
        "push__retry_most_seconds": 0.1,
        "users__verify_url": f"{address}/users/me?key={URL_SECRET}",
        "hooks__url": address,
        "hooks__service_url": f"{address}/service?key={URL_SECRET}",
        "hooks__slow_milliseconds": 1,
        "hooks__breaker_failures": 3,
        "log__level": "debug",
        "messages__modify_enabled": True,
    }
    with hooked_server(tmp_path / "data", back_end, engine, **settings) as server:
        server.kill()
        server.master_key, server.app_key = MASTER_KEY, APP_KEY
        await anyio.to_thread.run_sync(server.start)
        tokens = await live(server, back_end, act)
        server.process.send_signal(signal.SIGHUP)
        back_end.acts.clear()  # or it would be told for as long as a stop may take
        assert await anyio.to_thread.run_sync(server.terminate) == 0
        log = server.log

    for words in ("a hook fails", "a hook is left alone", "a hook is slow", "draining", "stopped"):
        assert words in log
    found = {secret for secret in (*secrets(tmp_path / "keys"), *tokens) if secret in log}
    assert not found, [line for line in log.splitlines() if any(secret in line for secret in found)][:5]
    assert "hidden" not in log, [line for line in log.splitlines() if "hidden" in line][:5]


def secrets(keys: Path) -> list[str]:
    """What must not be said by anybody."""
    lines = [line for file in keys.iterdir() for line in file.read_text().replace("\\n", "\n").splitlines()]
    pem = [line for line in lines if re.fullmatch(r"[A-Za-z0-9+/=]{32,}", line)]
    assert len(pem) > 3
    given = [
        MASTER_KEY,
        APP_KEY,
        HOOK_KEY,
        SESSION_TOKEN,
        BODY,
        PUSHED,
        URL_SECRET,
        WRONG,
        DEVICE_TOKEN,
        DEVICE_TOKEN.encode().hex(),
    ]
    return [*given, *PROVIDER_SECRETS.values(), *pem]


async def live(server: ServerProcess, back_end: HookBackEnd, act: Any) -> list[str]:
    """Do all that has to do with secrets; the sessions' tokens."""
    rest, device = Rest(server), Rest(server, server.app_key)
    tyke = someone("tyke")
    await register(device, tyke)
    service = await found_service(server, someone("news"))
    async with person(server) as tom, person(server) as jerry:
        conversation_id = await tom.start(tom.id, jerry.id, tyke)
        for way in (None, act):
            back_end.acts = {} if way is None else dict.fromkeys((*CALLS, "push", "service", "send", "token"), way)
            await talk(tom, conversation_id, service.id)
            await rest.ask("GET", f"/1.2/rtm/clients/sign?session_token={SESSION_TOKEN}")
            await device.ask("GET", f"/1.2/rtm/clients/sign?session_token={SESSION_TOKEN}")
            await device.ask("GET", f"/1.2/rtm/clients/sign?session_token={WRONG}")
        await back_end.asked("push")
        await back_end.asked("service")
        broadcast = {"from_client": "editor", "message": BODY, "push": {"alert": PUSHED}}
        await call(server, "POST", f"service-conversations/{service.id}/broadcasts", broadcast)
        await rest.ask("POST", f"/1.2/rtm/conversations/{conversation_id}/messages", {"from_client": tom.id})
        await Rest(server, f"{WRONG},master").ask("GET", "/1.2/rtm/conversations")
        await Rest(server, WRONG).ask("POST", "/1.1/installations", {"deviceToken": f"{DEVICE_TOKEN}-x"})
        await rest.ask("POST", "/1.1/installations", f"{{{BODY}".encode())
        tokens = [await token_of(server), await token_of(server)]
        await refused_logins(server)
        # Xiaomi is sent the token at once; others are asked for one of theirs first, in vain.
        for secret in (f"{DEVICE_TOKEN}-mi", *(PROVIDER_SECRETS[name] for name in ("hms_app_secret", "vivo_app_id"))):
            await back_end.until(partial(back_end.heard, secret))
    return tokens


async def register(device: Rest, client_id: str) -> None:
    """Devices of all makes."""
    for vendor in PHONES:
        token = f"{DEVICE_TOKEN}-{vendor}"
        columns = {"deviceType": "android", "vendor": vendor, "registrationId": token, "installationId": token}
        await device.post("/1.1/installations", **columns, channels=[client_id])
    await device.post(
        "/1.1/installations",
        deviceType="ios",
        deviceToken=f"{DEVICE_TOKEN}-iphone".encode().hex(),
        channels=[client_id],
    )


async def talk(tom: Person, conversation_id: str, service_id: str) -> None:
    """Say what is nobody else's business, in each way."""
    for number in range(4):
        ack = await tom.send(conversation_id, f"{BODY} {number}", pushData=json.dumps({"alert": PUSHED}))
        await tom.patch(conversation_id, ack, data=BODY.encode())
    await tom.patch(conversation_id, ack, recall=True)
    await tom.send(conversation_id, BODY, transient=True)
    await tom.send(conversation_id, BODY, will=True)
    await tom.send(conversation_id, BODY * 1_000)
    await tom.send(conversation_id, pushData=f"{{{PUSHED}")
    await tom.send(service_id, BODY)
    await tom.send(BODY, BODY)
    await tom.update(conversation_id, name=BODY)
    await tom.start(tom.id, attr=pb.JsonObjectMessage(data=json.dumps({"name": BODY})))
    await tom.conv(pb.query, where=pb.JsonObjectMessage(data=f'{{"name": {{"$regex": "({BODY}"}}}}'))


async def token_of(server: ServerProcess) -> str:
    """The token of a session, which is used once."""
    client_id = someone("tom")
    async with wire(server) as line:
        token: str = (await line.open(client_id)).sessionMessage.st
    async with wire(server) as line:
        await line.open(client_id, st=token, r=True)
    return token


async def refused_logins(server: ServerProcess) -> None:
    """Logins and bytes that are not taken."""
    async with wire(server) as line:
        await line.open(someone("tom"), st=WRONG)
        await line.open(someone("tom"), s=WRONG, n=WRONG, t=1)
    async with wire(server) as line:
        await line.send_frame(b"\xff" + BODY.encode())
        assert await line.parting()
    async with await anyio.connect_tcp(server.http.host, server.http.port) as stream:
        await stream.send(f"GET /{URL_SECRET}\x01 HTTP/1.1\r\nX-LC-Key: {WRONG}\r\nbad\r\n\r\n".encode())
        assert await stream.receive()
