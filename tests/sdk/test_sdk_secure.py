"""The official JavaScript SDKs where it matters who one is: TLS, tags, kicks and signatures."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.end_to_end.raw import refusal_of, wire
from tests.sdk.scenario import play
from tests.server_process import ServerProcess

SCENARIOS = Path(__file__).parent / "secure"
VERSIONS = ("4.3.1", "5.0.0-rc.8")

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("version", VERSIONS)]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def signed_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that wants signatures."""
    with ServerProcess(tmp_path / "data", "--set", "security.require_signature=true") as server:
        yield server


class UserService(BaseHTTPRequestHandler):
    """Where an application keeps its users: ``token-of-ID`` is the session token of the user ``ID``."""

    def do_GET(self) -> None:
        word, _, user_id = self.headers.get("X-LC-Session", "").partition("-of-")
        known = self.path == "/1.1/users/me" and word == "token"
        body = json.dumps({"objectId": user_id, "username": user_id} if known else {"code": 211, "error": "nobody"})
        self.send_response(200 if known else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def user_service() -> Iterator[str]:
    """Give the address at which it answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), UserService) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{service.server_port}/1.1/users/me"
        finally:
            service.shutdown()
            thread.join()


def test_an_sdk_chats_over_tls_while_the_certificate_is_renewed(
    node: str, tmp_path: Path, authority: Authority, version: str
) -> None:
    pair = authority.issue("first")
    with ServerProcess(tmp_path / "data", "--https", "127.0.0.1:0", *pair.settings) as server:

        def renew() -> None:
            pair.become(authority.issue("second"))
            server.process.send_signal(signal.SIGHUP)

        script = SCENARIOS / "chat_goes_over_tls.js"
        play(node, server, script, version, "binary", trusted=authority.root, answers={"renew": renew})
        assert server.terminate() == 0
        assert "Traceback" not in server.log, server.log


def test_an_sdk_does_not_talk_to_a_stranger(node: str, tmp_path: Path, authority: Authority, version: str) -> None:
    (tmp_path / "other").mkdir()
    strangers = Authority(tmp_path / "other")
    with ServerProcess(tmp_path / "data", "--https", "127.0.0.1:0", *authority.issue("first").settings) as server:
        script = SCENARIOS / "a_stranger_is_not_talked_to.js"
        said = play(node, server, script, version, "binary", trusted=strangers.root)
        assert "unable to verify" in said or "UNABLE_TO_VERIFY" in said, said


def test_a_tag_is_held_by_one_device(node: str, shared_server: ServerProcess, version: str) -> None:
    play(node, shared_server, SCENARIOS / "a_tag_is_held_by_one_device.js", version, "binary")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_kick_ends_every_session_and_voids_its_tokens(
    node: str, shared_server: ServerProcess, version: str
) -> None:
    seen = play(node, shared_server, SCENARIOS / "a_kick_ends_every_session.js", version, "binary")
    for token in seen["kicked"]["tokens"]:
        async with wire(shared_server) as line:
            reply = await line.open(seen["kicked"]["id"], r=True, st=token)
            assert refusal_of(reply) == (4112, "SESSION_TOKEN_EXPIRED")
    async with wire(shared_server) as line:
        (token,) = seen["spared"]["tokens"]
        assert (await line.open(seen["spared"]["id"], r=True, st=token)).sessionMessage.st == token


def test_signatures_are_required(node: str, signed_server: ServerProcess, version: str) -> None:
    play(node, signed_server, SCENARIOS / "signatures_are_required.js", version, "binary")


def test_users_log_in_with_their_session_tokens(node: str, tmp_path: Path, authority: Authority, version: str) -> None:
    tls = ("--https", "127.0.0.1:0", *authority.issue("server").settings)
    with user_service() as url:
        users = ("--set", "security.require_signature=true", "--set", f"users.verify_url={url}")
        with ServerProcess(tmp_path / "data", *tls, *users) as server:
            play(node, server, SCENARIOS / "users_log_in.js", version, "binary", trusted=authority.root)
