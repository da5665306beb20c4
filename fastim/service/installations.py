"""Installations: save, find, forget, and their link to the clients that use them.

A device is linked to a client by a channel with the client's id. Source: semantics, rule 10.8. One that is saved for
the first time while a session of its is open already is linked when that session is opened again: nobody can tell
sessions by their devices as cheaply as that is rare.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from fastim.core.errors import FastimError, QueryFailed, Unavailable, UnbindFailed
from fastim.core.ids import CONVERSATION_ENTROPY_BYTES, conversation_id
from fastim.core.installation import (
    NO_EFFECT,
    Installation,
    InvalidInstallation,
    device_names,
    has_token_of,
    is_installation_id,
    is_whole,
    link,
    record,
    save,
    unlink,
)
from fastim.core.policy import QUERY_LIMIT_MAX, QUERY_RESULTS_BYTES_MAX, QUERY_SKIP_MAX
from fastim.core.session import Config, Session
from fastim.core.units import Millis
from fastim.core.where import Best, Budget, Where, compile_where
from fastim.service.io import Io

_log = structlog.get_logger(__name__)


class Saving(Struct, frozen=True):
    """What is to be saved.

    Attributes:
        id: Of the installation, as whoever saves it knows it; empty for a new one.
        columns: Columns and values, which may be operations.
        where: Change it only if this fits it, a condition as JSON; empty: in any case.
        privileged: It is the application itself that saves it.
    """

    id: str
    columns: Mapping[str, Any]
    where: str = ""
    privileged: bool = False


async def find_installation(io: Io, installation_id: str) -> Installation | None:
    """The installation with that ``objectId``."""
    return await io.store.find_installation(installation_id) if is_installation_id(installation_id) else None


async def find_saved(io: Io, saving: Saving) -> Installation | None:
    """The installation that ``saving`` is about; ``None`` when it would be a new one.

    It is known by its id, by its ``installationId``, or by its token: one with another ``installationId`` is another
    one, to which the token has come, and the older one goes.
    """
    known = await find_installation(io, saving.id)
    name, token = device_names(saving.columns)
    if known is None and name:
        known = await io.store.find_device(name)
        known = known if known and known.installation_id == name else None
    if known is None and token:
        known = await io.store.find_device(token)
        known = known if known and known.token == token and name in ("", known.installation_id or name) else None
    return known


async def save_installation(io: Io, saving: Saving) -> tuple[Installation, bool] | None:
    """Save an installation, a new one or one that is there. Clients whose sessions are open on it stay linked to it.

    One that is not there any more is made anew, and keeps its id, if all that it takes is said: Java never lets go of
    an id, and always says everything.

    Returns:
        The installation, and whether it is new; ``None`` when there is none of that id.

    Raises:
        InvalidInstallation: There can be no such installation, or the condition does not fit it.
        QueryFailed: The condition is none.
    """
    condition = compile_where(saving.where) if saving.where else None
    name, token = device_names(saving.columns)
    async with io.lanes.hold(f"installation/{name or token or saving.id}"):
        known = await find_saved(io, saving)
        if known is None and saving.id and not is_whole(saving.columns):
            return None
        change = _Change(_new_id(io, saving.id) if known is None else known.id, saving, condition, io.clock.now())
        saved = await io.store.change_installation(change.id, change)
    if change.failure is not None:
        raise change.failure
    if saved is None:
        return None
    dropped = set(change.before.channels) - set(saved.channels) if change.before else set[str]()
    return await _keep_links(io, saved, dropped), change.before is None


async def delete_installation(io: Io, installation_id: str) -> bool:
    """Forget an installation, so that nothing is pushed to it any more; whether there was one."""
    if await find_installation(io, installation_id) is None:
        return False
    await io.store.change_installation(installation_id, lambda before: None)
    return True


async def query_installations(io: Io, where: str | None, order: str, skip: int, limit: int) -> bytes:
    """The installations on a page of those that fit a condition, as the JSON text of an array.

    Raises:
        QueryFailed: The condition is none, or it looks at too much.
    """
    condition = compile_where(where)
    best: Best[str] = Best(order, min(skip, QUERY_SKIP_MAX), min(limit, QUERY_LIMIT_MAX))
    budget = Budget()
    if limit:
        async with aclosing(_fitting(io, condition, where, budget)) as fitting:
            async for one, columns in fitting:
                best.offer(columns, one, budget)
    return await _page(io, best)


async def count_installations(io: Io, where: str | None) -> int:
    """How many installations fit a condition."""
    number = 0
    async with aclosing(_fitting(io, compile_where(where), where, Budget())) as fitting:
        async for _ in fitting:
            number += 1
    return number


async def link_device(io: Io, session: Session) -> None:
    """Subscribe the session's device to what is pushed to its client, if the session wants that.

    Whatever happens to the store, the session is open all the same: what fails is logged.
    """
    if Config.BIND_INSTALLATION not in session.config:
        return
    try:
        await _change_device(io, session, lambda device, now: link(device, session.client_id, now))
    except Unavailable:
        _log.warning("a device could not be linked to its client", session=session.number)


async def unlink_device(io: Io, session: Session) -> None:
    """The client has closed the session: nothing of its is pushed to that device any more.

    Raises:
        UnbindFailed: The store cannot take it now.
    """
    if Config.BIND_INSTALLATION not in session.config or _is_in_use(io, session.client_id, session.device):
        return
    try:
        await _change_device(io, session, lambda device, now: unlink(device, session.client_id, now))
    except Unavailable as error:
        raise UnbindFailed from error


async def retire_token(io: Io, installation_id: str, tried: Installation | None = None) -> None:
    """A provider has declared the installation's token dead: nothing is sent to it until it comes with another one.

    Args:
        tried: As it was when it was sent to; if it has another token by now, that one is not meant.
    """

    def retire(before: Installation | None) -> Installation | None:
        return replace(before, valid=False) if before and (not tried or has_token_of(before, tried)) else before

    await io.store.change_installation(installation_id, retire)


class _Change:
    """What is done where no other write comes between. It raises nothing there: what has failed is asked for after."""

    def __init__(self, new_id: str, saving: Saving, condition: Where | None, now: Millis) -> None:
        self.id = new_id
        self.before: Installation | None = None
        self.failure: FastimError | None = None
        self._saving = saving
        self._condition = condition
        self._now = now

    def __call__(self, before: Installation | None) -> Installation | None:
        saving = self._saving
        self.before = before
        if before is None and saving.id and not is_whole(saving.columns):  # it has gone just now
            return None
        try:
            if self._condition is not None and not (before and self._condition.matches(record(before))):
                raise InvalidInstallation("No effect on updating/deleting a document.", NO_EFFECT)
            return save(before, self.id, saving.columns, self._now, privileged=saving.privileged)
        except (InvalidInstallation, QueryFailed) as error:
            self.failure = error
            return before


def _new_id(io: Io, wanted: str) -> str:
    """The one that whoever saves it knows it by, if it can be one; else a new one, as conversations have them."""
    if is_installation_id(wanted):
        return wanted
    return conversation_id(io.clock.now(), io.entropy(CONVERSATION_ENTROPY_BYTES))


async def _keep_links(io: Io, saved: Installation, dropped: Collection[str]) -> Installation:
    """Link again those clients whose sessions are open on the device: whoever saved it may not have known of them."""
    clients = [one for one in dropped if _is_in_use(io, one, saved.installation_id, saved.token)]
    if not clients:
        return saved

    def relink(before: Installation | None) -> Installation | None:
        for client_id in clients:
            before = before and link(before, client_id, before.updated_at)
        return before

    return await io.store.change_installation(saved.id, relink) or saved


def _is_in_use(io: Io, client_id: str, *devices: str) -> bool:
    """Whether a session of the client that is linked to its device is open on one of these."""
    return any(
        Config.BIND_INSTALLATION in one.config and one.device and one.device in devices
        for one in io.directory.sessions(client_id)
    )


async def _change_device(io: Io, session: Session, change: Callable[[Installation, Millis], Installation]) -> None:
    """Change the installation that is the session's device, if there is one and it makes a difference."""
    now = io.clock.now()
    device = await io.store.find_device(session.device) if session.device else None
    if device is None or change(device, now) == device:
        return

    def change_it(before: Installation | None) -> Installation | None:
        return change(before, now) if before and before.goes_by(session.device) else before

    await io.store.change_installation(device.id, change_it)


async def _fitting(
    io: Io, condition: Where, where: str | None, budget: Budget
) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """The ids of the installations for which the condition holds, each with its columns."""
    seen = 0
    async with aclosing(_candidates(io, condition, where)) as candidates:
        async for installation in candidates:
            await io.pace.breathe()
            seen += 1
            if seen > io.policy.query_scan:
                raise QueryFailed("the query looks at too much: narrow it by objectId, installationId or channels")
            columns = record(installation)
            budget.begin(len(msgspec.json.encode(columns)))
            if condition.matches(columns, budget):
                yield installation.id, columns


async def _candidates(io: Io, condition: Where, where: str | None) -> AsyncGenerator[Installation, None]:
    """What the condition could fit, by the narrowest way there is; the condition itself is still to be checked."""
    ids = condition.ids()
    names: dict[str, Any] = msgspec.json.decode(where) if where else {}
    device = next((names[key] for key in ("installationId", "deviceToken") if isinstance(names.get(key), str)), "")
    channel = names.get("channels")
    if ids is not None:
        for one in dict.fromkeys(ids):
            await io.pace.breathe()
            installation = await find_installation(io, one)
            if installation is not None:
                yield installation
    elif device:
        installation = await io.store.find_device(device)
        if installation is not None:
            yield installation
    elif isinstance(channel, str):
        for one_of_it in await io.store.installations_of(channel, io.policy.query_scan + 1):
            yield one_of_it
    else:
        async with aclosing(io.store.scan_installations()) as scan:
            async for one_of_all in scan:
                yield one_of_all


async def _page(io: Io, best: Best[str]) -> bytes:
    """The answer. Its installations are read again: holding all that could be on it would take too much memory."""
    page: list[bytes] = []
    size_bytes = 0
    for one in best.take_last():
        await io.pace.breathe()
        installation = await find_installation(io, one)
        if installation is None:  # it has gone meanwhile
            continue
        page.append(msgspec.json.encode(record(installation)))
        size_bytes += len(page[-1]) + 1
        if size_bytes > QUERY_RESULTS_BYTES_MAX:
            raise QueryFailed(f"the answer has more than {QUERY_RESULTS_BYTES_MAX} bytes: ask for fewer")
    return b"[%b]" % b",".join(reversed(page))
