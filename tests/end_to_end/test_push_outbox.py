"""Pushes through a real server to a webhook that is down for a while, and what a crash of the server does to them."""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from fastim.client import Conversation
from tests.end_to_end.clients import device
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PATIENCE_SECONDS = 30.0
SENDERS = 4
OFFLINE = tuple(f"away-{number}" for number in range(10))
MESSAGES = 25
"""Of each sender."""
SECRET = "a-secret-of-the-webhook"


@pytest.fixture
def anyio_backend() -> str:
    """What is tested is the server; once is enough."""
    return "trio"


class Webhook:
    """Somebody's webhook, which may be out of order.

    Attributes:
        up: Whether it takes what it is posted.
        asked: How often it was posted something.
        taken: Client and message of each notification that it took.
    """

    def __init__(self) -> None:
        house = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                pushed = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(house.answer(pushed))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_: Any) -> None:
                """Nothing is said on stderr."""

        self.up = True
        self.asked = 0
        self.taken: list[tuple[str, str]] = []
        self.contents: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/push?key={SECRET}"

    def answer(self, pushed: dict[str, Any]) -> int:
        with self._changed:
            self.asked += 1
            if self.up:
                self.taken.append((pushed["client_id"], pushed["msg_id"]))
                self.contents[json.dumps(pushed["data"])] += 1
            self._changed.notify_all()
            return 200 if self.up else 503

    def turn(self, *, up: bool) -> None:
        with self._changed:
            self.up = up

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until what it was posted makes it so."""
        assert await to_thread.run_sync(self._until, reached), (self.asked, len(self.taken))

    def _until(self, reached: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(reached, PATIENCE_SECONDS)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.close()


@pytest.fixture
def pushing_server(webhook: Webhook, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that tries again in a hurry."""
    settings = {
        "push.static": '{"alert":"from ${fromClientId}"}',
        "push.webhook": webhook.url,
        "push.retry_first_seconds": "0.05",
        "push.retry_most_seconds": "1",
        "limits.sends_per_minute": "0",
        "log.level": "debug",
    }
    arguments = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    with ServerProcess(tmp_path, *arguments) as process:
        yield process
        assert '"level": "error"' not in process.log, process.log
        assert "Traceback" not in process.log, process.log
        assert SECRET not in process.log


class Load:
    """Clients that talk to others who are offline.

    Attributes:
        sent: The messages that were acked, by conversation, in order.
    """

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.sent: defaultdict[str, list[str]] = defaultdict(list)

    @property
    def due(self) -> set[tuple[str, str]]:
        """What has to arrive."""
        return {(client_id, message) for sent in self.sent.values() for message in sent for client_id in OFFLINE}

    async def run(self) -> None:
        """Send everything; ends when all of it is acked."""
        async with anyio.create_task_group() as senders:
            for number in range(SENDERS):
                senders.start_soon(self._talk, f"tom-{number}")

    async def _talk(self, client_id: str) -> None:
        async with device(self._server, client_id, events_max=0) as client:
            room: Conversation = await client.create_conversation(OFFLINE)
            for number in range(MESSAGES):
                self.sent[room.id].append((await room.send(f"{number}")).id)

    def check_order(self, taken: list[tuple[str, str]]) -> None:
        """Each client was pushed the messages of each conversation in their order."""
        places = {message: (room, place) for room, sent in self.sent.items() for place, message in enumerate(sent)}
        heard: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for client_id, message in dict.fromkeys(taken):
            room, place = places[message]
            heard[client_id, room].append(place)
        for found in heard.values():
            assert found == sorted(found)


async def test_a_webhook_that_was_down_gets_everything_once_and_in_order(
    webhook: Webhook, pushing_server: ServerProcess
) -> None:
    webhook.turn(up=False)
    load = Load(pushing_server)
    with anyio.fail_after(PATIENCE_SECONDS):
        await load.run()
    await webhook.until(lambda: webhook.asked > 14)
    assert webhook.taken == []
    webhook.turn(up=True)
    await webhook.until(lambda: len(webhook.taken) >= len(load.due))
    assert pushing_server.terminate() == 0
    assert Counter(webhook.taken) == dict.fromkeys(load.due, 1)
    load.check_order(webhook.taken)
    assert set(webhook.contents) == {json.dumps({"alert": f"from tom-{number}"}) for number in range(SENDERS)}
    assert pushing_server.log.count("is left alone") >= 1


async def test_a_crash_while_the_webhook_is_down_loses_nothing(webhook: Webhook, pushing_server: ServerProcess) -> None:
    webhook.turn(up=False)
    load = Load(pushing_server)
    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load.run)
            await webhook.until(lambda: webhook.asked > 10)
            await to_thread.run_sync(lambda: pushing_server.restart(crash=True))
    await to_thread.run_sync(lambda: pushing_server.restart(crash=True))
    webhook.turn(up=True)
    await webhook.until(lambda: len(webhook.taken) >= len(load.due))
    assert pushing_server.terminate() == 0
    assert Counter(webhook.taken) == dict.fromkeys(load.due, 1)
    load.check_order(webhook.taken)


async def test_a_crash_under_way_sends_each_client_one_notification_twice_at_most(
    webhook: Webhook, pushing_server: ServerProcess
) -> None:
    load = Load(pushing_server)
    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load.run)
            await webhook.until(lambda: len(webhook.taken) > 100)
            await to_thread.run_sync(lambda: pushing_server.restart(crash=True))
    await webhook.until(lambda: load.due <= set(webhook.taken))
    assert pushing_server.terminate() == 0
    times = Counter(webhook.taken)
    assert set(times) == load.due
    assert max(times.values()) <= 2
    twice = Counter(client_id for (client_id, _), number in times.items() if number > 1)
    assert max(twice.values(), default=0) <= 1
    load.check_order(webhook.taken)
