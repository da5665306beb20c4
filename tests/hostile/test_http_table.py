"""Nothing in the table is accepted at the HTTP port; all is answered as documented, and nobody is touched by it."""

import json

import pytest

from tests.hostile.http_table import CALLS, CUT, FRAMES, SHAKES, UPGRADE, Call, Frame, Shake
from tests.hostile.stage import Stage, staged
from tests.hostile.table import Server
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


def named(row: Call | Shake | Frame) -> str:
    return row.name.replace(" ", "_")


@pytest.mark.parametrize("call", CALLS, ids=named)
async def test_kicks_nobody(servers: dict[Server, ServerProcess], call: Call) -> None:
    async with staged(servers[Server.LENIENT]) as stage:
        head = call.head(stage)
        if not any(field.startswith(("Content-Length", "Transfer-Encoding")) for field in head):
            head.append(f"Content-Length: {len(call.body)}")
        first = f"{call.method} {call.target.replace('{tom}', stage.tom)} HTTP/1.1"
        request = "\r\n".join([first, "Host: a", "Connection: close", *head, "\r\n"]).encode("latin-1") + call.body
        answer = await stage.http(request)
        assert status_of(answer) == call.status
        if call.status != CUT:
            problem = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert problem.keys() == {"code", "error"}
            assert problem["code"] == call.code
            if call.status == 401:
                assert problem["error"] == "Unauthorized."
        await is_well(stage)


@pytest.mark.parametrize("shake", SHAKES, ids=named)
async def test_opens_no_websocket(servers: dict[Server, ServerProcess], shake: Shake) -> None:
    async with staged(servers[Server.LENIENT]) as stage:
        fields = "".join(f"{name}: {value}\r\n" for name, value in {**UPGRADE, **shake.changed}.items() if value)
        answer = await stage.http(f"{shake.first}\r\n{fields}{shake.more}\r\n".encode("latin-1"))
        assert status_of(answer) == shake.status
        await is_well(stage)


@pytest.mark.parametrize("row", FRAMES, ids=named)
async def test_closes_the_websocket(servers: dict[Server, ServerProcess], row: Frame) -> None:
    async with staged(servers[Server.LENIENT]) as stage:
        fields = {**UPGRADE, "Sec-WebSocket-Protocol": row.subprotocol}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        answer = await stage.http(f"GET / HTTP/1.1\r\n{head}\r\n".encode() + row.data)
        assert status_of(answer) == 101
        last = answer.partition(b"\r\n\r\n")[2]
        assert last[0] == 0x88, last
        assert last[1] == len(last) - 2
        assert int.from_bytes(last[2:4]) == row.code
        await is_well(stage)


async def is_well(stage: Stage) -> None:
    assert await stage.is_untouched()
    assert await stage.is_online(stage.tom)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else CUT
