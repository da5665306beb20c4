"""What a server says of itself over HTTP, and what the system says of its process."""

import os
import re
from pathlib import Path

import anyio

from tests.server_process import ServerProcess

PATIENCE_SECONDS = 20.0


async def get(server: ServerProcess, path: str) -> tuple[int, str]:
    """Status and body."""
    with anyio.fail_after(PATIENCE_SECONDS):
        async with await anyio.connect_tcp(server.http.host, server.http.port) as stream:
            await stream.send(f"GET {path} HTTP/1.0\r\nHost: {server.http}\r\n\r\n".encode())
            response = b"".join([piece async for piece in stream])
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


async def metric(server: ServerProcess, name: str, **labels: str) -> float:
    """The value of one metric."""
    wanted = "".join(f'{label}="{value}"' for label, value in labels.items())
    _, body = await get(server, "/metrics")
    found = re.search(rf"^{name}{re.escape(f'{{{wanted}}}') if wanted else ''} (\S+)$", body, re.MULTILINE)
    assert found is not None, body
    return float(found[1])


async def bites(server: ServerProcess) -> dict[str, int]:
    """The limits that bit."""
    _, body = await get(server, "/metrics")
    counted = re.findall(r'^fastim_limits_total\{limit="(\w+)"\} (\S+)$', body, re.MULTILINE)
    return {limit: int(float(number)) for limit, number in counted if float(number)}


async def until_bitten(server: ServerProcess, limit: str) -> None:
    """Wait until a limit has bitten."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while limit not in await bites(server):
            pass


async def until_ready(server: ServerProcess, status: int = 200) -> str:
    """Wait until ``/readyz`` answers with ``status``; the body."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while (said := await get(server, "/readyz"))[0] != status:
            pass
    return said[1]


def memory_of(server: ServerProcess) -> int:
    """What the process has to itself, in bytes; 0 where the system does not say."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{server.process.pid}/statm").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
