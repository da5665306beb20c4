"""Durable appends through ``LmdbStore`` beside bare LMDB group commit of the same records in the same batch sizes.

Each round first runs asyncio writers that wait for every ack, then replays what they stored through py-lmdb alone: the
same keys and values in the same order, committed after the same writes. The ratio is bare time by store time; rounds
alternate in one run, since disks and machines are moody.

    python bench/durable.py --clients 64 --messages 20000
"""

import argparse
import asyncio
import gc
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, time
from typing import NamedTuple

import lmdb
import msgspec
import uvloop

from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.environment import Tables, open_beside, open_tables
from fastim.adapters.lmdb.keys import TOKEN_KEY_BYTES, client_key
from fastim.core.conversation import Conversation, Kind
from fastim.core.message import Draft
from fastim.core.units import Millis

Put = tuple[int, bytes, bytes]
"""Which table, key, value."""

MAP_BYTES = 1 << 32


class Load(NamedTuple):
    """What is written in a round."""

    clients: int
    conversations: int
    messages: int
    body_bytes: int


async def run_store(path: Path, load: Load) -> tuple[float, list[float]]:
    """Seconds for all appends, and for each of them."""
    store = LmdbStore.open(path, map_bytes=MAP_BYTES)
    part = store.of(await store.save_application("bench", "key", "master", "hook"))
    clients = [f"client-{number}" for number in range(load.clients)]
    ids = [f"{number:024x}" for number in range(load.conversations)]
    for place, conversation_id in enumerate(ids):
        members = tuple(clients[place :: load.conversations])
        await part.create_conversation(
            Conversation(conversation_id, Kind.NORMAL, members[0], Millis(0), Millis(0), members=members)
        )
    body = b"x" * load.body_bytes
    waits: list[float] = []

    async def send(number: int) -> None:
        conversation_id = ids[number % load.conversations]
        for count in range(load.messages // load.clients):
            draft = Draft(clients[number], body, token=f"token-{number}-{count}")
            started = perf_counter()
            await part.append(conversation_id, draft, Millis(int(time() * 1000)))
            waits.append(perf_counter() - started)

    gc.collect()
    started = perf_counter()
    await asyncio.gather(*map(send, range(load.clients)))
    seconds = perf_counter() - started
    await store.close()
    return seconds, waits


def stored_batches(path: Path) -> list[list[Put]]:
    """What each commit of the run has put: the hour index has a record for each commit that names its tokens."""
    environment = open_beside(path)
    table = {name: number for number, name in enumerate(Tables._fields)}
    tables = open_tables(environment)
    batches = []
    with environment.begin() as transaction:
        for hour, tokens in transaction.cursor(tables.token_hours):
            puts: list[Put] = []
            touched: dict[tuple[int, bytes], Put] = {}
            for start in range(0, len(tokens), TOKEN_KEY_BYTES):
                token = tokens[start : start + TOKEN_KEY_BYTES]
                scope, value = token[:17], transaction.get(token, b"", db=tables.tokens)
                message = transaction.get(scope + value[:8], b"", db=tables.messages)
                member = scope[:4] + (client_key(msgspec.msgpack.decode(message)[3]) or b"") + scope[4:]
                puts += [(table["tokens"], token, value), (table["messages"], scope + value[:8], message)]
                for name, key in (("heads", scope), ("memberships", member)):
                    value = transaction.get(key, b"", db=getattr(tables, name))
                    touched[table[name], key] = (table[name], key, value)
            batches.append([*puts, *sorted(touched.values()), (table["token_hours"], hour, tokens)])
    environment.close()
    return batches


def run_bare(path: Path, batches: list[list[Put]]) -> float:
    """Seconds for the same puts and commits with nothing around them."""
    environment = lmdb.open(str(path), map_size=MAP_BYTES, max_dbs=len(Tables._fields), readahead=False)
    tables = [environment.open_db(name.encode()) for name in Tables._fields]
    gc.collect()
    started = perf_counter()
    for batch in batches:
        transaction = environment.begin(write=True)
        put = transaction.put
        for table, key, value in batch:
            put(key, value, db=tables[table])
        transaction.commit()
    seconds = perf_counter() - started
    environment.close()
    return seconds


@contextmanager
def scratch(parent: str | None) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--conversations", type=int, default=16)
    parser.add_argument("--messages", type=int, default=20_000, help="in each round")
    parser.add_argument("--body", type=int, default=128, help="bytes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", help="on the disk to measure; the system's temporary one unless given")
    options = parser.parse_args()
    load = Load(options.clients, options.conversations, options.messages, options.body)
    print(f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, lmdb {lmdb.__version__}")
    print(f"{load.clients} clients, {load.conversations} conversations, {load.body_bytes} bytes")
    ratios, rates, bare_rates = [], [], []
    for number in range(options.rounds):
        with scratch(options.directory) as path:
            seconds, waits = uvloop.run(run_store(path / "store", load))
            batches = stored_batches(path / "store")
            (path / "bare").mkdir()
            bare = run_bare(path / "bare", batches)
        count = len(waits)
        waits.sort()
        ratios.append(bare / seconds)
        rates.append(count / seconds)
        bare_rates.append(count / bare)
        print(
            f"round {number + 1}: {count / seconds:,.0f}/s, bare {count / bare:,.0f}/s, ratio {bare / seconds:.2f}, "
            f"batch {count / len(batches):.1f}, ack p50 {waits[count // 2] * 1e3:.2f} ms, "
            f"p99 {waits[count * 99 // 100] * 1e3:.2f} ms"
        )
    print(f"median: {median(rates):,.0f}/s, bare {median(bare_rates):,.0f}/s, ratio {median(ratios):.2f}")


if __name__ == "__main__":
    main()
