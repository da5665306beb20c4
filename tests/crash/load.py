"""A campaign: one data directory, clients at work on it, and the server killed again and again.

What comes of it is a record; whether that is as it should be is decided in ``checker``.
"""

import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import trio

from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.verify import verify
from fastim.core.message import Message, Span
from fastim.wire import messages2_pb2 as pb
from tests.crash.checker import Record, Seen, Stored
from tests.crash.clients import (
    Client,
    Observer,
    Organiser,
    Sender,
    Stage,
    read_backward,
    read_forward,
    start_conversation,
)
from tests.crash.plan import Moment, Point
from tests.crash.wire import Gone, Refused, Wire, connected, metrics
from tests.server_process import ServerProcess

SENDERS = [f"sender-{number}" for number in range(6)]
OBSERVERS = [f"observer-{number}" for number in range(2)]
ORGANISERS = [f"organiser-{number}" for number in range(2)]
EVERYBODY = [*SENDERS, *OBSERVERS, *ORGANISERS]
CONVERSATIONS = 3

ARGUMENTS = (
    # A port is asked for at every start: while the server is down, somebody else may take the one it had.
    *("--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0"),
    *("--set", "store.map_bytes=1048576"),  # the least there is: the map has to grow at every start and in between
    *("--set", "limits.sends_per_minute=0"),
    *("--set", "limits.history_per_minute=0"),
    *("--set", "limits.operations_per_minute=0"),
)

ACKS_MAX = 3_000
"""Acks since the start at which a crash under load comes, at most."""
START_SECONDS_MAX = 0.5
"""The latest that a server is killed that is not ready yet."""
FULL_MIN, FULL_MAX = 0.55, 0.75
"""How full the map is when a crash comes that is to meet its growth; above 3/4 it grows."""
PATIENCE_SECONDS = 60.0
"""How long anything may take before the campaign is given up."""
PAGE_MIN, PAGE_MAX = 20, 1_000
"""Messages on one page of history."""


async def wage(server: ServerProcess, points: Sequence[Point], chance: Random, record: Record) -> None:
    """Kill the server at all the points, let the clients come to an end, and read everything back.

    The server is left stopped, and its store is still to be read.

    Args:
        record: What is seen goes here.

    Raises:
        trio.TooSlowError: Something hangs.
        ServerFailed: The server did not start or stop, or ended by itself.
    """
    stage = Stage(server.app_id, await _prepare(server), record)
    senders, organisers, others = _cast(stage, chance)
    async with trio.open_nursery() as nursery:
        for client in (*senders, *organisers, *others):
            nursery.start_soon(client.run)
        for point in points:
            with trio.fail_after(PATIENCE_SECONDS):
                await _crash(server, stage, point)
            record.problems += verify(server.data).problems
        await trio.to_thread.run_sync(server.start)
        stage.ending = True
        stage.rise(server.tcp)
        with trio.move_on_after(PATIENCE_SECONDS):
            for sender in senders:
                await sender.done.wait()
        nursery.cancel_scope.cancel()
    with trio.fail_after(PATIENCE_SECONDS):
        await _read_back(server, stage, organisers, chance)
    status = await trio.to_thread.run_sync(server.terminate)
    if status:
        record.problems.append(f"exit status {status} after SIGTERM")
    record.problems += verify(server.data).problems


async def stored_history(server: ServerProcess) -> dict[str, list[Stored]]:
    """Every conversation in the store of a server that has stopped, by sequence. Under asyncio."""
    store = LmdbStore.open(server.data)
    try:
        (application,) = await store.applications()
        part = store.of(application)
        everything = Span(newest_first=False, limit=1 << 62)
        return {
            conversation.id: [_stored(message) for message in await part.history(conversation.id, everything)]
            async for conversation in part.scan_conversations()
        }
    finally:
        await store.close()


def _stored(message: Message) -> Stored:
    return Stored(message.sequence, Seen(message.id, message.timestamp, message.sender, message.body))


async def _prepare(server: ServerProcess) -> list[str]:
    """Start the conversations that everybody is in, and crash for the first time: they were answered."""
    await trio.to_thread.run_sync(server.start)
    with trio.fail_after(PATIENCE_SECONDS):
        async with _visiting(server, ORGANISERS[0]) as wire:
            conversations = [
                await start_conversation(wire, EVERYBODY, f"hall {number}", _ignore) for number in range(CONVERSATIONS)
            ]
    server.kill()
    return conversations


def _cast(stage: Stage, chance: Random) -> tuple[list[Sender], list[Organiser], list[Client]]:
    """The clients: those that come to an end by themselves, those that can look at what they did, and the others."""
    senders = [Sender(stage, name, _own(chance)) for name in SENDERS]
    organisers = [
        Organiser(stage, name, _own(chance), conversation=conversation, members=EVERYBODY, fellow=fellow)
        for name, fellow, conversation in zip(ORGANISERS, reversed(ORGANISERS), stage.conversations, strict=False)
    ]
    others = [Client(stage, SENDERS[0], _own(chance), device="tablet")]
    others += [Observer(stage, name, _own(chance)) for name in OBSERVERS]
    return senders, organisers, others


def _own(chance: Random) -> Random:
    """A source of its own for each client, or what one draws would depend on how fast the others are."""
    return Random(chance.random())


async def _crash(server: ServerProcess, stage: Stage, point: Point) -> None:
    """Start the server, wait for the moment, and kill it."""
    if point.moment is Moment.STARTING:
        await trio.to_thread.run_sync(_kill_starting, server, START_SECONDS_MAX * point.share)
        return
    await trio.to_thread.run_sync(server.start)
    acked, reopened = stage.acked.count, stage.reopened.count
    stage.heavy = point.moment is Moment.GROWING
    stage.rise(server.tcp)
    match point.moment:
        case Moment.LOAD:
            await stage.acked.reach(acked + 1 + int(ACKS_MAX * point.share**2))
        case Moment.STORM:
            await stage.reopened.reach(reopened + 1 + int(len(EVERYBODY) * point.share))
        case Moment.GROWING:
            await _fill_map(server, FULL_MIN + (FULL_MAX - FULL_MIN) * point.share)
    await trio.sleep(point.delay_seconds)
    stage.fall()
    if (status := server.process.poll()) is not None:
        raise AssertionError(f"the server ended by itself with status {status}\n{server.log}")
    server.kill()


def _kill_starting(server: ServerProcess, delay_seconds: float) -> None:
    """Start the server and kill it after so long, ready or not."""
    with subprocess.Popen(server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _, log = process.communicate(timeout=delay_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return
    raise AssertionError(f"the server ended by itself with status {process.returncode}\n{log.decode()}")


async def _fill_map(server: ServerProcess, full: float) -> None:
    """Wait until that share of the store's map is used, or until it has grown."""
    first = 0.0
    while True:
        try:
            now = await metrics(server.http)
        except Gone:
            raise AssertionError(f"the server does not show its metrics\n{server.log}") from None
        room, used = now["fastim_store_map_bytes"], now["fastim_store_used_bytes"]
        first = first or room
        if used >= full * room or room > first:
            return


async def _read_back(server: ServerProcess, stage: Stage, organisers: Sequence[Organiser], chance: Random) -> None:
    """Ask for all histories, both ways, and for everything that was changed or started."""
    record = stage.record
    async with _visiting(server, OBSERVERS[0]) as wire:
        for conversation in (*stage.conversations, *stage.created):
            page = chance.randint(PAGE_MIN, PAGE_MAX)
            try:
                record.forward[conversation] = await read_forward(wire, conversation, page, _ignore)
                record.backward[conversation] = await read_backward(wire, conversation, page, _ignore)
            except Refused as refusal:
                record.refusals.append(f"history of {conversation}: {refusal}")
    for organiser in organisers:
        async with _visiting(server, organiser.client_id) as wire:
            await organiser.look_at_all(wire)


@asynccontextmanager
async def _visiting(server: ServerProcess, client_id: str) -> AsyncIterator[Wire]:
    """A session of its own, beside those that the client may have."""
    async with connected(server.tcp, server.app_id, client_id) as wire:
        await wire.ask(pb.GenericCommand(cmd=pb.session, op=pb.open, sessionMessage=pb.SessionCommand()), _ignore)
        yield wire


def _ignore(command: pb.GenericCommand) -> None:
    """What a visitor is sent without having asked."""
