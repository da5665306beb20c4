import hashlib

import pytest

from fastim.core.errors import Unavailable
from fastim.wire import messages2_pb2 as pb
from tests.doors.office import MASTER, UNAUTHORIZED, Office, office

pytestmark = pytest.mark.anyio

KICK = "/1.2/rtm/clients/tom/kick"


def sign(key: str, timestamp: str = "1453014943466") -> str:
    return f"{hashlib.md5((timestamp + key).encode()).hexdigest()},{timestamp}"


async def kicked(rest: Office) -> bool:
    """Whether tom ever was."""
    return await rest.node.store.find_kick("tom") > 0


@pytest.mark.parametrize(
    "fields",
    [
        list(MASTER),
        ["x-lc-id: app", "x-lc-key: master,master"],
        ["X-LC-Id: app", f"X-LC-Sign: {sign('master')},master"],
        ["X-LC-Id: app", f"X-LC-Sign: {sign('master').upper()},master"],
        ["X-AVOSCloud-Application-Id: app", "X-AVOSCloud-Application-Key: master,master"],
        ["X-AVOSCloud-Application-Id: app", "X-AVOSCloud-Master-Key: master"],
        ["X-AVOSCloud-Application-Id: app", f"X-AVOSCloud-Request-Sign: {sign('master')},master"],
        ["X-Uluru-Application-Id: app", "X-Uluru-Master-Key: master"],
        ["X-LC-Id: app", "X-LC-Key: key", "X-AVOSCloud-Master-Key: master"],
        ["X-LC-Id: app", "X-AVOSCloud-Application-Id: app", f"X-LC-Sign: {sign('master')},master"],
    ],
)
async def test_a_master_key_opens_in_every_form_that_sdks_have(fields: list[str]) -> None:
    async with office() as rest:
        assert await rest.ask(KICK, *fields) == (200, {})
        assert await kicked(rest)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["X-LC-Id: app"],
        ["X-LC-Key: master,master"],
        ["X-LC-Id: other", "X-LC-Key: master,master"],
        ["X-LC-Id: ", "X-LC-Key: master,master"],
        ["X-LC-Id: app", "X-LC-Id: other", "X-LC-Key: master,master"],
        ["X-LC-Id: app", "X-AVOSCloud-Application-Id: other", "X-LC-Key: master,master"],
        ["X-LC-Id: app", "X-LC-Key: "],
        ["X-LC-Id: app", "X-LC-Key: key"],
        ["X-LC-Id: app", "X-LC-Key: master"],
        ["X-LC-Id: app", "X-LC-Key: key,master"],
        ["X-LC-Id: app", "X-LC-Key: hook,master"],
        ["X-LC-Id: app", "X-LC-Key: ,master"],
        ["X-LC-Id: app", "X-LC-Key: master,Master"],
        ["X-LC-Id: app", "X-LC-Key: master,hook"],
        ["X-LC-Id: app", "X-LC-Key: master,master,master"],
        ["X-LC-Id: app", "X-LC-Key: MASTER,master"],
        ["X-LC-Id: app", "X-LC-Key: master\xff,master"],
        ["X-LC-Id: app", "X-LC-Key: master,master", "X-LC-Key: wrong,master"],
        ["X-LC-Id: app", "X-LC-Key: master,master", f"X-LC-Sign: {sign('wrong')},master"],
        ["X-LC-Id: app", f"X-LC-Sign: {sign('master')}"],
        ["X-LC-Id: app", f"X-LC-Sign: {sign('key')}"],
        ["X-LC-Id: app", f"X-LC-Sign: {sign('key')},master"],
        ["X-LC-Id: app", f"X-LC-Sign: {sign('master')}0,master"],
        ["X-LC-Id: app", f"X-LC-Sign: {sign('master')},master,master"],
        ["X-LC-Id: app", f"X-LC-Sign: {sign('master', '')},master"],
        ["X-LC-Id: app", f"X-LC-Sign: {sign('master', 'now')},master"],
        ["X-LC-Id: app", f"X-LC-Sign: {sign('master').split(',')[0]}"],
        ["X-LC-Id: app", "X-LC-Sign: ,,"],
        ["X-LC-Id: app", "X-AVOSCloud-Master-Key: key"],
        ["X-LC-Id: app", "X-AVOSCloud-Master-Key: "],
    ],
)
async def test_anything_less_is_refused_with_the_same_words(fields: list[str]) -> None:
    async with office() as rest:
        assert await rest.ask(KICK, *fields) == UNAUTHORIZED
        assert not await kicked(rest)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "KICKED_BY_APP"),
        (b"{}", "KICKED_BY_APP"),
        (b'{"reason": ""}', "KICKED_BY_APP"),
        (b'{"reason": "spamming", "more": [1]}', "spamming"),
        ('{"reason": "' + "骂" * 20 + '"}', "骂" * 20),
    ],
)
async def test_a_client_that_is_kicked_is_told_so_and_why(body: bytes | str, reason: str) -> None:
    async with office() as rest:
        tom, jerry = await rest.node.line(), await rest.node.line()
        opened = await tom.open("tom")
        await jerry.open("jerry")
        sent = body.encode() if isinstance(body, str) else body
        assert await rest.ask(KICK, *MASTER, "Content-Type: application/json;charset=utf-8", body=sent) == (200, {})
        ending = await tom.receive()
        assert (ending.cmd, ending.op, ending.peerId, ending.service) == (pb.session, pb.closed, "tom", 2)
        assert (ending.sessionMessage.code, ending.sessionMessage.reason) == (4115, reason)
        assert not ending.HasField("i")
        refused = await tom.call(pb.GenericCommand(cmd=pb.conv, op=pb.query, i=4))
        assert refused.errorMessage.code == 4105
        assert (await tom.open("tom", st=opened.sessionMessage.st, r=True)).errorMessage.code == 4112
        assert await jerry.is_silent()
        assert (await tom.open("tom")).op == pb.opened


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'"reason"',
        b"{",
        b"\xff",
        b'{"reason": 5}',
        b'{"reason": null}',
        b'{"reason": "' + b"x" * 21 + b'"}',
        b'{"reason": "\xff"}',
        b'{"reason": "\\ud800"}',
        b'{"reason": ' + b"[" * 50_000,
        b'{"more": ' + b"[" * 50_000,
    ],
)
async def test_a_body_that_says_something_else_kicks_nobody(body: bytes) -> None:
    async with office() as rest:
        status, problem = await rest.ask(KICK, *MASTER, body=body)
        assert (status, problem["code"]) == (400, 400)
        assert problem["error"]
        assert not await kicked(rest)
        assert await rest.ask(KICK, *MASTER) == (200, {})


async def test_a_body_without_end_is_not_read_to_its_end() -> None:
    async with office() as rest:
        status, problem = await rest.ask(KICK, *MASTER, body=b'{"reason": "' + b"x" * 2_000_000)
        assert (status, problem["code"]) == (413, 413)
        assert not await kicked(rest)


@pytest.mark.parametrize("client_id", ["x" * 65, "a%00b", "%0A", "%7F"])
async def test_no_client_can_be_called_that(client_id: str) -> None:
    async with office() as rest:
        status, problem = await rest.ask(f"/1.2/rtm/clients/{client_id}/kick", *MASTER)
        assert (status, problem["code"]) == (400, 4103)


@pytest.mark.parametrize("client_id", ["%E9%AA%82", "a%2Fb", "a%20b", "..%2F.."])
async def test_an_id_in_the_path_may_have_any_character(client_id: str) -> None:
    async with office() as rest:
        assert await rest.ask(f"/1.2/rtm/clients/{client_id}/kick", *MASTER) == (200, {})


@pytest.mark.parametrize(("method", "status"), [("GET", 405), ("DELETE", 405), ("PUT", 405)])
async def test_another_method_is_not_the_call(method: str, status: int) -> None:
    async with office() as rest:
        assert (await rest.ask(KICK, *MASTER, method=method))[0] == status
        assert not await kicked(rest)


async def test_while_the_store_cannot_write_the_call_is_to_be_made_again() -> None:
    async with office() as rest:
        await rest.node.memory.close()
        status, problem = await rest.ask(KICK, *MASTER)
        assert (status, problem["code"]) == (503, Unavailable.code)
