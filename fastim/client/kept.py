"""Where failed messages are kept: in memory, and in a file if there is one.

The file is replaced as a whole, so whatever happens it holds either what it held before or what it should now.
"""

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

import anyio
import msgspec
from anyio import to_thread
from msgspec import Struct

from fastim.client.drafts import Draft
from fastim.client.errors import FailedMessagesDamaged
from fastim.core.units import Millis

KEPT_MAX = 1000
"""Messages kept; when there are more, the oldest goes."""
VERSION = 1


class FailedMessage(Draft, frozen=True, kw_only=True):
    """A message of which this client does not know that it was sent.

    Attributes:
        failed_at: When it failed last, by the clock of this machine.
        why: What happened, for people.
    """

    failed_at: Millis
    why: str


class Kept:
    """The failed messages of one client.

    Args:
        path: ``None``: only in memory.
        messages: As they were found there.
    """

    def __init__(self, app_id: str, client_id: str, path: Path | None, messages: Sequence[FailedMessage] = ()) -> None:
        self._app_id = app_id
        self._client_id = client_id
        self._path = path
        self._messages = {_key(message): message for message in messages}
        self._changes = 0
        self._saved = 0
        self._saving = anyio.Lock()

    @classmethod
    async def load(cls, app_id: str, client_id: str, path: Path | None) -> Self:
        """What is kept in ``path``; nothing if there is no such file.

        Raises:
            FailedMessagesDamaged: It is something else, or it cannot be read.
            ValueError: It is another client's.
        """
        if path is None:
            return cls(app_id, client_id, path)
        if not client_id:
            raise ValueError("failed messages are kept in a file for a client with an id only")
        try:
            content = await to_thread.run_sync(path.read_bytes)
        except FileNotFoundError:
            return cls(app_id, client_id, path)
        except OSError as error:
            raise FailedMessagesDamaged(f"the failed messages in {path} cannot be read: {error}") from error
        try:
            found = msgspec.json.decode(content, type=_Content)
        except ValueError as error:
            raise FailedMessagesDamaged(
                f"{path} does not hold failed messages: {error}; move it away to start without"
            ) from error
        if (found.app_id, found.client_id) != (app_id, client_id):
            raise ValueError(f"{path} keeps the messages of {found.client_id} in {found.app_id}")
        return cls(app_id, client_id, path, found.messages)

    @property
    def messages(self) -> list[FailedMessage]:
        """All, oldest first."""
        return list(self._messages.values())

    async def keep(self, draft: Draft, why: str) -> None:
        """Add a message, or tell anew why it failed.

        Raises:
            OSError: It is kept in memory only.
        """
        fields = {name: getattr(draft, name) for name in Draft.__struct_fields__}
        message = FailedMessage(**fields, failed_at=Millis(time.time_ns() // 1_000_000), why=why)
        self._messages[_key(message)] = message
        while len(self._messages) > KEPT_MAX:
            del self._messages[next(iter(self._messages))]
        await self._save()

    async def forget(self, draft: Draft) -> None:
        """Remove a message; harmless when it is not there.

        Raises:
            OSError: It is gone from memory only.
        """
        if self._messages.pop(_key(draft), None) is not None:
            await self._save()

    async def _save(self) -> None:
        """Have the file say what there is now. Those who wait for a write share the next one."""
        if self._path is None:
            return
        self._changes += 1
        wanted = self._changes
        with anyio.CancelScope(shield=True):
            async with self._saving:
                if self._saved >= wanted:
                    return
                writing = self._changes
                content = _Content(VERSION, self._app_id, self._client_id, self.messages)
                await to_thread.run_sync(partial(_replace, self._path, msgspec.json.encode(content)))
                self._saved = writing


class _Content(Struct, frozen=True):
    version: int
    app_id: str
    client_id: str
    messages: list[FailedMessage]

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"it is of version {self.version}, not {VERSION}")


def _key(draft: Draft) -> tuple[str, str]:
    return draft.conversation_id, draft.token


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.new")
    # What people have written is nobody else's to read.
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
