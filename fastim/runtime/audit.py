"""The audit trail: what operators did, one line of JSON each, the newest last.

When the file is full it takes the place of the one before, so there are never more than two.
"""

import asyncio
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from fastim.core.units import Millis

NAME = "audit.jsonl"
OLD_NAME = "audit.1.jsonl"
FILE_BYTES = 16_777_216
DETAIL_CHARACTERS = 500
"""More than any operator reads in a line."""
_BLOCK_BYTES = 65_536


class Entry(Struct, frozen=True):
    """Something that was done.

    Attributes:
        address: Where it was asked for from, or empty.
        application: Its id; empty when it was about none.
        detail: Never a secret.
    """

    at: Millis
    address: str
    what: str
    application: str = ""
    detail: str = ""


class Audit:
    """The audit trail of one server.

    Args:
        directory: Where its files are; it is there.
        file_bytes: A file of so many bytes is full.
    """

    def __init__(self, directory: Path, file_bytes: int = FILE_BYTES) -> None:
        self._path = directory / NAME
        self._old_path = directory / OLD_NAME
        self._file_bytes = file_bytes
        self._turns = asyncio.Lock()

    async def write(self, entry: Entry) -> None:
        """Add ``entry``; it is on disk when this returns.

        Raises:
            OSError: It could not be written.
        """
        short = msgspec.structs.replace(entry, detail=entry.detail[:DETAIL_CHARACTERS])
        async with self._turns:
            await asyncio.to_thread(self._append, msgspec.json.encode(short) + b"\n")

    async def newest(self, limit: int) -> list[Entry]:
        """At most ``limit`` entries, the newest first.

        Raises:
            OSError: They could not be read.
        """
        async with self._turns:
            return await asyncio.to_thread(self._read, limit)

    def _append(self, line: bytes) -> None:
        if self._size() >= self._file_bytes:
            os.replace(self._path, self._old_path)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with open(descriptor, "r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":  # the machine went down in the middle of a line
                    line = b"\n" + line
            file.write(line)
            os.fsync(file.fileno())

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _read(self, limit: int) -> list[Entry]:
        return list(islice(self._entries(), limit))

    def _entries(self) -> Iterator[Entry]:
        for path in (self._path, self._old_path):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                continue
            with file:
                for line in _lines_backwards(file):
                    try:
                        yield msgspec.json.decode(line, type=Entry)
                    except msgspec.DecodeError:  # half a line, see above
                        continue


def _lines_backwards(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, the last one first; empty ones are left out."""
    place = file.seek(0, os.SEEK_END)
    rest = b""
    while place:
        size = min(_BLOCK_BYTES, place)
        place -= size
        file.seek(place)
        first, *lines = (file.read(size) + rest).split(b"\n")
        yield from filter(None, reversed(lines))
        rest = first
    if rest:
        yield rest
