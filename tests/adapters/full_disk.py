"""A store whose disk fills up: run as a process of its own, since the limit that plays the full disk is the process's.

Prints what it saw as JSON.
"""

import asyncio
import json
import resource
import sys
from pathlib import Path

from fastim.adapters.lmdb import LmdbStore
from fastim.core.errors import Unavailable
from fastim.core.message import Span
from tests.adapters.engines import CONVERSATION, T0, application, conversation, draft, job, notification, settle


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def main(path: Path) -> None:
    store = LmdbStore.open(path)
    part = await application(store)
    made = await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
    acked: list[str] = []
    refused: list[str] = []

    async def send(phase: str, count: int) -> list[object]:
        """Messages of two pages each, queued together."""
        names = [f"{phase}-{number}" for number in range(count)]
        writes = [
            part.append(CONVERSATION, draft("ann", name.encode() + bytes(8_000), token=name, mentions=("ben",)), T0)
            for name in names
        ]
        ends = await settle(*writes)
        for name, end in zip(names, ends, strict=True):
            (refused if isinstance(end, Unavailable) else acked).append(name)
        return ends

    async def push(phase: str, count: int) -> list[object]:
        """The same of notifications, and what each queueing ended with."""
        made = [notification("phone", f"{phase}-{number}", "x" * 8_000) for number in range(count)]
        return await settle(*[part.queue_pushes(job(), [one], {}, T0, done=False) for one in made])

    async def names() -> list[str]:
        found = await part.history(CONVERSATION, Span(limit=10_000))
        return [message.body.rstrip(b"\0").decode() for message in found]

    await send("before", 20)
    await push("before", 20)
    limit_files((path / "data.mdb").stat().st_size + 20_000)
    full = [type(end).__name__ for turn in range(5) for end in await send(f"full{turn}", 10)]
    pushes_full = [type(end).__name__ for end in await push("push", 20)]
    waiting_while_full = (await part.count_pushes()).notifications
    seen_while_full = await names() == acked
    found_while_full = await part.find_conversation(CONVERSATION) == made
    failures = store.statistics.failures
    limit_files(resource.RLIM_INFINITY)
    await send("after", 20)
    await push("push", 20)
    again = await settle(
        *[part.append(CONVERSATION, draft("ann", name.encode(), token=name), T0) for name in refused + acked]
    )
    report = {
        "full": full,
        "pushes full": pushes_full,
        "waiting while full": waiting_while_full,
        "waiting after": (await part.count_pushes()).notifications,
        "seen while full": seen_while_full,
        "found while full": found_while_full,
        "failures": failures,
        "acked after": sum(name.startswith("after") for name in acked),
        "resent": [end.fresh for end in again] == [True] * len(refused) + [False] * len(acked),
        "whole": await names() == acked + refused,
    }
    await store.close()
    print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
