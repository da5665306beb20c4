"""A store whose map cannot grow: run as a process of its own, since the limit on address space is the process's.

Prints what it saw as JSON.
"""

import asyncio
import json
import mmap
import resource
import sys
from pathlib import Path

from fastim.adapters.lmdb import LmdbStore
from fastim.core.errors import Unavailable
from fastim.core.message import Span
from fastim.ports.store import ApplicationStore
from tests.adapters.engines import CONVERSATION, T0, application, conversation, draft

MAP_BYTES = 1 << 26


async def main(path: Path) -> None:
    store = LmdbStore.open(path, map_bytes=MAP_BYTES)
    part = await application(store)
    await part.create_conversation(conversation(CONVERSATION))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + MAP_BYTES, hard))
    ends = [await send(part) for _ in range(80)]
    acked = [end for end in ends if end]
    seen = (await part.find_head(CONVERSATION)).sequence, len(await part.history(CONVERSATION, Span(limit=2)))
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    after = [await send(part) for _ in range(30)]
    report = {
        "acked": len(acked),
        "refused": len(ends) - len(acked),
        "seen": seen,
        "sequences": acked + after == list(range(1, len(acked) + 31)),
        "growths": store.statistics.growths,
    }
    await store.close()
    print(json.dumps(report))


async def send(part: ApplicationStore) -> int:
    """The sequence of a message of a megabyte, or 0 when it is refused."""
    try:
        return (await part.append(CONVERSATION, draft(body=bytes(1_000_000)), T0)).message.sequence
    except Unavailable:
        return 0


def address_space() -> int:
    """Bytes of address space that this process has taken; a limit just above it leaves room for little more."""
    low, high = 0, 1 << 47
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    while high - low > 1 << 20:
        middle = (low + high) // 2
        resource.setrlimit(resource.RLIMIT_AS, (middle, hard))
        try:
            mmap.mmap(-1, mmap.PAGESIZE).close()
        except OSError:
            low = middle
        else:
            high = middle
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    return high


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
