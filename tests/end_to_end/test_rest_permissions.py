"""The REST part of the permission matrix: every call with every kind of credential, at a real server.

Every call is made about things that there are, by everybody who may not make it; afterwards nothing has changed and
nobody was told anything.
"""

import hashlib
import http.client
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import anyio
import pytest

from fastim.doors.http.rest import CALLS
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import AnyCall, is_plain
from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.clients import someone
from tests.end_to_end.raw import Wire, wire
from tests.end_to_end.test_clock_steps import SteppingProcess
from tests.neighbours import NEIGHBOUR, NEIGHBOUR_KEY, NEIGHBOUR_MASTER_KEY
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Headers = dict[str, str]
UNAUTHORIZED = {"code": 401, "error": "Unauthorized."}
SESSION_TOKEN = "X-LC-IM-Session-Token"
WORDS = "/1.2/rtm/words"
INSTALLATIONS = "/1.1/installations"
PLAIN = "text/plain; charset=utf-8"
LONG_AGO_MILLIS = -30 * 86_400_000


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


class Tokens(NamedTuple):
    """Session tokens: of tom's, one that has expired, of another client, and of tom at the neighbour's."""

    right: str
    expired: str
    of_another: str
    elsewhere: str


class House:
    """A server with things in it that nobody may touch who has not shown that they may.

    Attributes:
        tom: Who watches; a member of each conversation.
        known: A conversation, a message and so on, by each of the names that calls have for it.
    """

    def __init__(self, server: ServerProcess, tom: str, tokens: Tokens) -> None:
        self.server = server
        self.tom = tom
        self.tokens = tokens
        self.master = identity(server.app_id, f"{server.master_key},master")
        self.known: dict[str, Any] = {}

    def furnish(self) -> None:
        """Make a list of words, a device, and a normal conversation with a message and a role in it."""
        conversation_id = self.ask("POST", "/1.2/rtm/conversations", self.master, {"m": [self.tom, "jerry"]})[1][
            "objectId"
        ]
        path = f"/1.2/rtm/conversations/{conversation_id}"
        said = {"from_client": self.tom, "message": "secret"}
        message = self.ask("POST", f"{path}/messages", self.master, said)[1]
        role = {"clientId": "jerry", "role": "Manager"}
        self.ask("PUT", WORDS, self.master, b"unspeakable")
        record = self.ask("POST", f"{path}/member-infos", self.master, role)[1]
        self.known = dict.fromkeys(("conversation_id", "conv_id", "convid", "gid", "cid"), conversation_id)
        self.known |= dict.fromkeys(("client_id", "clientId", "from_client", "from_peer", "from"), self.tom)
        self.known |= dict.fromkeys(("message_id", "msgid", "msg_id", "mid"), message["msg-id"])
        self.known |= {"info_id": record["objectId"], "timestamp": message["timestamp"], "message": "mine", "name": "x"}
        phone = {"deviceType": "ios", "deviceToken": self.tom}
        self.known |= {**phone, "installation_id": self.ask("POST", INSTALLATIONS, self.master, phone)[1]["objectId"]}
        self.known |= {"client_ids": ["spike"], "m": ["spike"], "role": "Member", "ttl": 60, "session_token": "x"}

    def attempt(self, call: AnyCall, headers: Headers) -> tuple[int, Any]:
        """Make a call about what there is, with these credentials."""
        path = re.sub(r"{(\w+)}", lambda named: str(self.known[named[1]]), call.path)
        query = "&".join(f"{name}={self.known[name]}" for name in ("client_id", "from_client", "timestamp", "cid"))
        if is_plain(call.body):
            return self.ask(call.method, path, headers, b"mine")
        return self.ask(call.method, f"{path}?{query}", headers, self.known)

    def ask(self, method: str, target: str, headers: Headers, body: Any = None) -> tuple[int, Any]:
        address = self.server.http
        connection = http.client.HTTPConnection(address.host, address.port, timeout=20)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            kind = "text/plain" if isinstance(body, bytes) else "application/json"
            connection.request(method, target, data, {"Content-Type": kind, **headers})
            response = connection.getresponse()
            answer = response.read()
            return response.status, answer if response.headers["Content-Type"] == PLAIN else json.loads(answer)
        finally:
            connection.close()

    def look(self) -> list[Any]:
        """All that can be changed."""
        one = f"/1.2/rtm/conversations/{self.known['conversation_id']}"
        lists = ("members", "mutes", "permanent-silenceds", "blacklists", "member-infos", "messages")
        tables = ("/1.1/classes/_Conversation", INSTALLATIONS)
        targets = (WORDS, *tables, "/1.2/rtm/messages", *(f"{one}/{name}" for name in lists))
        return [self.ask("GET", target, self.master) for target in targets]


def identity(app_id: str, key: str) -> Headers:
    return {"X-LC-Id": app_id, "X-LC-Key": key}


def sign(key: str) -> str:
    return f"{hashlib.md5(f'1453014943466{key}'.encode()).hexdigest()},1453014943466"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    data = tmp_path_factory.mktemp("house") / "data"
    with ServerProcess(data, app_id=NEIGHBOUR, app_key=NEIGHBOUR_KEY, master_key=NEIGHBOUR_MASTER_KEY) as process:
        process.terminate()
    with SteppingProcess(data) as server:
        tom = someone("tom")
        opened = House(server, tom, anyio.run(collect, server, tom, backend="trio"))
        opened.furnish()
        yield opened
        assert "Traceback" not in server.log, server.log


async def collect(server: SteppingProcess, tom: str) -> Tokens:
    """Log in to get tokens, once long ago."""

    async def token(client_id: str, app_id: str = server.app_id) -> str:
        async with await anyio.connect_tcp(server.tcp.host, server.tcp.port) as stream:
            opened = await Wire(stream, app_id).open(client_id)
            assert opened.op == pb.opened, opened
            return opened.sessionMessage.st

    server.set_clock(LONG_AGO_MILLIS)
    expired = await token(tom)
    server.set_clock(0)
    return Tokens(await token(tom), expired, await token(someone("jerry")), await token(tom, NEIGHBOUR))


def as_application(key: Callable[[ServerProcess], str]) -> Callable[[House], Headers]:
    return lambda house: identity(house.server.app_id, key(house.server))


def signed(digest: Callable[[ServerProcess], str]) -> Callable[[House], Headers]:
    return lambda house: {"X-LC-Id": house.server.app_id, "X-LC-Sign": digest(house.server)}


INSUFFICIENT: dict[str, Callable[[House], Headers]] = {
    "nothing": lambda house: {},
    "the id alone": lambda house: {"X-LC-Id": house.server.app_id},
    "a key alone": lambda house: {"X-LC-Key": house.master["X-LC-Key"]},
    "a wrong key": as_application(lambda server: "wrong"),
    "a wrong master key": as_application(lambda server: "wrong,master"),
    "the key as a master key": as_application(lambda server: f"{server.app_key},master"),
    "the master key as a key": as_application(lambda server: server.master_key),
    "another application's master key": as_application(lambda server: f"{NEIGHBOUR_MASTER_KEY},master"),
    "a sign with a wrong key": signed(lambda server: f"{sign('wrong')},master"),
    "the key's sign as the master key's": signed(lambda server: f"{sign(server.app_key)},master"),
    "a right key and a wrong sign": lambda house: {**house.master, "X-LC-Sign": sign("wrong")},
    "no such application": lambda house: identity("no-such-application", house.master["X-LC-Key"]),
    "a session token alone": lambda house: {"X-LC-Id": house.server.app_id, SESSION_TOKEN: house.tokens.right},
}
"""Credentials that open nothing."""


def ordinary(house: House, token: str | None = None) -> Headers:
    """What every client has, and a session token."""
    shown = identity(house.server.app_id, house.server.app_key)
    return shown if token is None else {**shown, SESSION_TOKEN: token}


def calls(*access: Access) -> list[AnyCall]:
    return [call for call in CALLS if call.access in access]


async def refused(house: House, made: list[AnyCall], headers: Headers) -> None:
    """All these calls are refused with these credentials, and it is as if nobody had made them."""
    assert made
    async with wire(house.server) as watcher:
        await watcher.open(house.tom)
        before = await anyio.to_thread.run_sync(house.look)
        for call in made:
            answer = await anyio.to_thread.run_sync(house.attempt, call, headers)
            assert answer == (401, UNAUTHORIZED), call
        assert await anyio.to_thread.run_sync(house.look) == before
        assert before[-1][1][-1]["data"] == "secret"
        await watcher.send(cmd=pb.echo, i=5)
        while (told := await watcher.receive()).cmd != pb.echo:
            assert told.cmd == pb.unread, told  # which it is told at login


@pytest.mark.parametrize("name", INSUFFICIENT)
async def test_nobody_may_without_the_right_credentials(house: House, name: str) -> None:
    await refused(house, calls(Access.APPLICATION, Access.CLIENT, Access.MASTER), INSUFFICIENT[name](house))


async def test_with_the_key_that_clients_know_nobody_may_what_is_for_servers_or_for_one_client(house: House) -> None:
    await refused(house, calls(Access.CLIENT, Access.MASTER), ordinary(house))
    await refused(house, calls(Access.MASTER), ordinary(house, house.tokens.right))
    by_sign = signed(lambda server: sign(server.app_key))(house)
    await refused(house, calls(Access.CLIENT, Access.MASTER), by_sign)


@pytest.mark.parametrize("whose", ["expired", "of_another", "elsewhere", "made up", "empty"])
async def test_a_client_may_not_with_a_session_token_that_is_not_its_own(house: House, whose: str) -> None:
    token = {"made up": "x" * 32, "empty": ""}.get(whose) or getattr(house.tokens, whose, "")
    await refused(house, calls(Access.CLIENT), ordinary(house, token))


async def test_a_client_may_with_its_own(house: House) -> None:
    for call in calls(Access.CLIENT):
        status, answer = house.attempt(call, ordinary(house, house.tokens.right))
        assert status == 200, (call, answer)


async def test_with_the_key_that_clients_know_everybody_may_the_rest(house: House) -> None:
    assert len(calls(Access.APPLICATION)) >= 4
    for call in calls(Access.APPLICATION):
        status, _ = house.attempt(call, ordinary(house))
        assert status in (200, 400, 404), call


async def test_anybody_may_ask_for_the_time(house: House) -> None:
    (call,) = calls(Access.ANYBODY)
    for headers in (*INSUFFICIENT.values(), ordinary):
        assert house.attempt(call, headers(house))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        lambda house: house.master,
        signed(lambda server: f"{sign(server.master_key)},master"),
        lambda house: {
            "X-AVOSCloud-Application-Id": house.server.app_id,
            "X-AVOSCloud-Master-Key": house.server.master_key,
        },
        lambda house: {**house.master, SESSION_TOKEN: "wrong"},
    ],
    ids=["the master key", "its sign", "the master key under its old name", "the master key and a session token"],
)
async def test_the_master_key_may_everything(house: House, headers: Callable[[House], Headers]) -> None:
    house.furnish()
    ends_last = sorted(CALLS, key=lambda call: call.method == "DELETE")
    answers = {f"{call.method} {call.path}": house.attempt(call, headers(house))[0] for call in ends_last}
    assert len(answers) == len(CALLS)
    assert {call: status for call, status in answers.items() if status not in (200, 400, 404)} == {}
    # Those that are not about a conversation like this one find nothing, or do not understand; the others do it.
    assert sum(status == 200 for status in answers.values()) > len(CALLS) / 3, answers
