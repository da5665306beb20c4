"""The stores under test, and the values that the tests put into them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.memory import MemoryStore
from fastim.core.broadcast import Broadcast
from fastim.core.conversation import Conversation, Kind
from fastim.core.ids import message_id
from fastim.core.installation import Installation
from fastim.core.message import Draft, place
from fastim.core.notice import Addressed, Notice
from fastim.core.push import Job, Notification
from fastim.core.retention import Retention
from fastim.core.units import Millis
from fastim.core.will import Holder, Will
from fastim.ports.store import ApplicationStore, Store

T0 = Millis(1_763_800_000_000)
DAY = 24 * 3_600_000
WEEK = 7 * DAY
CONVERSATION = "69216a40" + "c0" * 8
OTHER = "69216a41" + "c0" * 8
FOR_EVER = Retention()

Backend = tuple[str, dict[str, Any]]


class Engine(NamedTuple):
    """A store and the event loop it is tested on."""

    name: str
    backend: Backend
    open: Callable[[Path], Store]


ENGINES = [
    Engine("memory", ("trio", {}), lambda path: MemoryStore()),
    Engine("lmdb", ("asyncio", {"use_uvloop": True}), LmdbStore.open),
]


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[tuple[LmdbStore, ApplicationStore]]:
    """A store in LMDB and an application in it, closed at the end."""
    store = LmdbStore.open(path, **options)
    try:
        yield store, await application(store)
    finally:
        await store.close()


async def application(store: Store, name: str = "app-1") -> ApplicationStore:
    return store.of(await store.save_application(name, "key", "master", "hook"))


def conversation(conversation_id: str = CONVERSATION, *members: str, **fields: Any) -> Conversation:
    return Conversation(conversation_id, fields.pop("kind", Kind.NORMAL), "ann", T0, T0, members=members, **fields)


def draft(sender: str = "ann", body: bytes = b"hello", **fields: Any) -> Draft:
    return Draft(sender, body, **fields)


def service(conversation_id: str = CONVERSATION, **fields: Any) -> Conversation:
    return conversation(conversation_id, kind=Kind.SYSTEM, **fields)


def notice(client_id: str | None, at: int, conversation_id: str = CONVERSATION, op: str = "joined") -> Addressed:
    """A notice to one client, or (``None``) to all members."""
    return Addressed(client_id, Notice(op, conversation_id, Millis(at), by="ann", fields={"attr": {"n": [1, None]}}))


def will(client_id: str, number: int = 1, device: str = "phone", body: bytes = b"farewell") -> Will:
    """A will of the client's session with that number."""
    holder = Holder(number, T0, device)
    return Will(client_id, CONVERSATION, message_id(T0, b"%10d" % number), draft(client_id, body), 1, holder)


def broadcast(at: int, valid_till: int = T0 + WEEK, body: bytes = b"all") -> Broadcast:
    """A message to everybody that was sent at that moment; its id follows from it."""
    moment = Millis(at)
    message = place(draft("office", body), message_id(moment, b"0123456789"), moment, 0)
    return Broadcast(CONVERSATION, message, Millis(valid_till))


def job(message_id: str = "", *offline: str, **fields: Any) -> Job:
    """A message of the conversation that these clients were offline for."""
    return Job(message_id, CONVERSATION, CONVERSATION, T0, offline, **fields)


def notification(target: str, message_id: str, data: str = "{}") -> Notification:
    """What the target is to be sent of that message."""
    return Notification(target, message_id, CONVERSATION, "ben", target, data, Millis(T0 + WEEK))


def installation(letter: str, **fields: Any) -> Installation:
    """An iOS device; the letter, a hex digit, is its id 24 times."""
    return Installation(letter * 24, "ios", T0, T0, **fields)


async def install(part: ApplicationStore, *installations: Installation) -> None:
    """Put each in its place, in this order."""
    for one in installations:
        await part.change_installation(one.id, partial(_instead, one))


def _instead(installation: Installation, before: Installation | None) -> Installation:
    return installation


async def retire(part: ApplicationStore, now: int, rules: Retention = FOR_EVER) -> list[int]:
    """Take away all that is past its time; what each step returned."""
    steps: list[int] = []
    while steps[-1:] != [0]:
        assert len(steps) < 10_000, "it does not come to an end"
        steps.append(await part.retire(rules, Millis(now)))
    return steps


async def fill(part: ApplicationStore, senders: str, conversation_id: str = CONVERSATION) -> None:
    """One message for each letter of ``senders``, a millisecond apart from ``T0`` on; the letter sends it."""
    writes = [
        part.append(conversation_id, draft(sender, str(number).encode()), Millis(T0 + number))
        for number, sender in enumerate(senders)
    ]
    await settle(*writes)


async def settle(*writes: Awaitable[Any]) -> list[Any]:
    """What the writes ended with, in their order: a result or an error."""
    ends: list[Any] = []
    for write in writes:
        try:
            ends.append(await write)
        except Exception as error:
            ends.append(error)
    return ends
