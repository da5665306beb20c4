"""The LMDB environment: opening, the map's size, read transactions, and coming back after a failed commit.

What is in the tables is decided elsewhere.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import lmdb
import structlog

from fastim.adapters.lmdb.migration import bring_up
from fastim.adapters.lmdb.records import FORMAT, decode_number, encode_packed
from fastim.adapters.lmdb.tables import Tables as Tables
from fastim.core.errors import SettingsError, Unavailable

_log = structlog.get_logger(__name__)

DATA_FILE = "data.mdb"
_LOCK_FILES = frozenset({"fastim.lock", "lock.mdb"})
_OURS = _LOCK_FILES | {DATA_FILE}
_UNTOUCHED = frozenset({"lost+found"})
_MAX_READERS = 126
_SPARE_READS = 2
_FORMAT_KEY = b"format"
_V0_9 = 0  # py-lmdb's name for the engine of the 0.9 data format


class Reading:
    """A read transaction for one ``with`` block that does not await; what it yields must not leave the block.

    Raises:
        Unavailable: LMDB cannot read.
    """

    __slots__ = ("_environment", "_transaction")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __enter__(self) -> lmdb.Transaction[bytes]:
        self._environment.gate.acquire()
        try:
            self._transaction = self._environment.lmdb.begin()
        except BaseException as error:
            self._environment.gate.release()
            if isinstance(error, lmdb.Error):
                raise Unavailable from error
            raise
        return self._transaction

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transaction.abort()
        self._environment.gate.release()
        if isinstance(error, lmdb.Error):
            raise Unavailable from error


class Environment:
    """The environment of a running server, created when the directory holds none.

    Args:
        map_bytes: Room in the map to begin with; it grows by doubling.

    Attributes:
        gate: Held for every read transaction. The map is only moved, and the environment only reopened, by who holds
            it.
        lmdb: Replaced by ``reopen``; reach for it, and for ``tables``, anew in each transaction.

    Raises:
        SettingsError: The directory cannot be used; the text says what to do.
    """

    def __init__(self, path: Path, map_bytes: int) -> None:
        self.gate = threading.Lock()
        self._path: Final = path
        with _explained(path):
            self.lmdb = _open(path, map_bytes)
        try:
            with _explained(path):
                version = check_format(self.lmdb, path)
                if version == 0:
                    _create_tables(self.lmdb, version)
                    _sync_directory(path)
                elif version < FORMAT:
                    _bring_up(self.lmdb, path, version)
                self.tables = open_tables(self.lmdb)
                self.lmdb.reader_check()  # a reader that was killed would keep old pages from being reused
                self._page_bytes = self.lmdb.stat()["psize"]
        except BaseException:
            self.lmdb.close()
            raise

    def reading(self) -> Reading:
        return Reading(self)

    def map_use(self) -> tuple[int, int]:
        """Bytes that the map has room for, and how far into it the data reaches."""
        info = self.lmdb.info()
        return info["map_size"], (info["last_pgno"] + 1) * self._page_bytes

    def grow(self) -> None:
        """Double the map. Only the writer's thread, outside a transaction.

        Raises:
            lmdb.Error: The process cannot have that much address space.
        """
        with self.gate:
            wanted = 2 * self.lmdb.info()["map_size"]
            # LMDB unmaps before it maps again and is left without a map if that fails: ask for the room first.
            try:
                mmap.mmap(-1, wanted, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON, prot=mmap.PROT_READ).close()
            except (OSError, OverflowError, ValueError) as error:
                raise lmdb.MemoryError(f"no address space for a map of {wanted} bytes: {error}") from error
            self.lmdb.set_mapsize(wanted)

    def mend(self) -> None:
        """Make write transactions possible again after a failed commit. Only the writer's thread.

        A commit that failed half-way through its last page makes LMDB refuse every further transaction until the
        environment is opened anew.

        Raises:
            lmdb.Error: It cannot be opened; to be tried again.
        """
        try:
            self.lmdb.begin(write=True).abort()
        except lmdb.Error:
            self.reopen()

    def reopen(self) -> None:
        """Close and open the environment. Only the writer's thread, outside a transaction.

        Raises:
            lmdb.Error: It cannot be opened.
        """
        with self.gate:
            try:
                map_bytes = self.lmdb.info()["map_size"]
            except lmdb.Error:  # an earlier attempt has closed it and got no further
                map_bytes = 0
            self.lmdb.close()
            try:
                self.lmdb = _open(self._path, max(map_bytes, 2 * (self._path / DATA_FILE).stat().st_size))
                self.tables = open_tables(self.lmdb)
            except OSError as error:
                raise lmdb.DiskError(str(error)) from error

    def forget_dead_readers(self) -> None:
        """Let pages be reused that a reader holds whose process was killed."""
        with self.gate:
            self.lmdb.reader_check()

    def close(self) -> None:
        with self.gate:
            self.lmdb.close()


class DirectoryLock:
    """The data directory held for one server; let go by ``release`` or by the process's end.

    Raises:
        SettingsError: The directory cannot be used or another server holds it; the text says what to do.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            foreign = _foreign_entry(path)
            if foreign is not None:
                raise SettingsError(
                    f"{path} holds {foreign!r} but no fastim data: name an empty or a new directory with --data"
                )
            self._descriptor = os.open(path / "fastim.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise SettingsError(
                    f"another fastim server (process {holder or 'unknown'}) uses {path}: stop it, or name another "
                    "directory with --data"
                ) from None
            raise _unusable(path, error) from error

    def release(self) -> None:
        os.close(self._descriptor)


def open_beside(path: Path) -> lmdb.Environment:
    """The environment for reading, next to a live server if there is one. Not in a process that has it open.

    Its format may be an older one.

    Raises:
        SettingsError: There is no store, or one that this version cannot read; the text says so.
    """
    try:
        size = (path / DATA_FILE).stat().st_size
    except OSError as error:
        raise SettingsError(f"{path} holds no fastim data: {error.strerror}") from error
    # The server may write on between opening and reading: leave room for that, it is only address space.
    with _explained(path):
        environment = _open(path, 2 * size + (1 << 30), readonly=True)
    try:
        if check_format(environment, path) == 0:
            raise SettingsError(f"{path} holds no fastim data")
    except BaseException:
        environment.close()
        raise
    return environment


def require_current(environment: lmdb.Environment, path: Path) -> None:
    """Have this version's format.

    Raises:
        SettingsError: It is an older one.
    """
    version = check_format(environment, path)
    if version < FORMAT:
        raise SettingsError(
            f"the data in {path} has format {version} and this version's is {FORMAT}: start the server on it once"
        )


def open_tables(environment: lmdb.Environment) -> Tables:
    """Handles of the tables, all of which are there."""
    return Tables(*(environment.open_db(name.encode(), create=False) for name in Tables._fields))


def check_format(environment: lmdb.Environment, path: Path) -> int:
    """The format of the store that the environment holds; 0 when it holds nothing at all.

    Raises:
        SettingsError: It holds something else, or a store of a newer version.
    """
    with environment.begin() as transaction:
        if transaction.stat()["entries"] == 0:
            return 0
    try:
        meta = environment.open_db(b"meta", create=False)
    except lmdb.NotFoundError:
        raise _not_ours(path) from None
    with environment.begin(db=meta) as transaction:
        stored = transaction.get(_FORMAT_KEY)
    try:
        version = decode_number(stored or b"")
    except ValueError:
        raise _not_ours(path) from None
    if version < 1:
        raise _not_ours(path)
    if version > FORMAT:
        raise SettingsError(
            f"the data in {path} has format {version}, this version of fastim reads up to {FORMAT}: install a newer one"
        )
    return version


def _create_tables(environment: lmdb.Environment, version: int) -> None:
    """Make the tables that are missing, what is in the others of this format, and say which it is."""
    with environment.begin(write=True) as transaction:
        tables = Tables(*(environment.open_db(name.encode(), txn=transaction) for name in Tables._fields))
        if version:
            bring_up(transaction, tables, version)
        transaction.put(_FORMAT_KEY, encode_packed(FORMAT), db=tables.meta)


def _bring_up(environment: lmdb.Environment, path: Path, version: int) -> None:
    """Make a store of format ``version`` one of this format, and leave a copy of it as it was."""
    copy = path / f"format-{version}.mdb"
    unfinished = path / f".{copy.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)  # of an earlier start that was killed
    unfinished.mkdir(mode=0o700)
    try:
        environment.copy(str(unfinished), compact=True)
        (unfinished / DATA_FILE).chmod(0o600)
        sync_file(unfinished / DATA_FILE)
        os.replace(unfinished / DATA_FILE, copy)
        sync_file(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _grown_until_done(environment, version)
    _log.info("the store was brought up to date", format=FORMAT, copy=str(copy))


def _grown_until_done(environment: lmdb.Environment, version: int) -> None:
    """Rewriting records takes room for both their old and their new pages."""
    while True:
        try:
            _create_tables(environment, version)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


def _open(path: Path, map_bytes: int, *, readonly: bool = False) -> lmdb.Environment:
    return lmdb.open(
        str(path),
        map_size=map_bytes,
        max_dbs=len(Tables._fields),
        max_readers=_MAX_READERS,
        max_spare_txns=_SPARE_READS,
        mode=0o600,
        readahead=False,
        readonly=readonly,
        create=not readonly,
        lib_version=_V0_9,
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say what is wrong with the directory where LMDB fails."""
    try:
        yield
    except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError, lmdb.NotFoundError):
        raise _not_ours(path) from None
    except (lmdb.Error, OSError) as error:
        raise _unusable(path, error) from error


def _foreign_entry(path: Path) -> str | None:
    """Something in the directory that shows it to be somebody else's, or ``None``."""
    names = set(os.listdir(path))
    if DATA_FILE in names:
        return None
    return min(_visible(names), default=None)


def _visible(names: set[str]) -> Iterator[str]:
    # A mount point has lost+found, and a configuration may be written before the first start.
    for name in names - _OURS - _UNTOUCHED:
        if not name.startswith(".") and not name.endswith(".toml"):
            yield name


def _not_ours(path: Path) -> SettingsError:
    return SettingsError(
        f"{path / DATA_FILE} was not written by fastim, or is damaged: restore a backup, or name another directory "
        "with --data"
    )


def _unusable(path: Path, error: Exception) -> SettingsError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SettingsError(f"cannot use {path} as the data directory ({reason}): mend it, or name another with --data")


def _sync_directory(path: Path) -> None:
    """Make the names in ``path``, and its own name, outlive a power cut."""
    for directory in (path, path.absolute().parent):
        sync_file(directory)


def sync_file(path: Path) -> None:
    """Bring a file's content, or a directory's names, to disk; what may not be opened is left to the system."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
