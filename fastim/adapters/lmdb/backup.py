"""Copying a live store: one moment of it, whole, in a directory of its own that a server can start from."""

import os
import shutil
from pathlib import Path
from tempfile import mkdtemp

import lmdb

from fastim.adapters.lmdb.environment import DATA_FILE, open_beside, sync_file
from fastim.core.errors import SettingsError


def backup(path: Path | str, target: Path | str) -> int:
    """Copy the store of a data directory, which a server may be using; not from within that server's process.

    The copy is complete and on disk when it gets its name, so a ``target`` that is there is a good one. Applications
    and their keys are in the store, so it is all that a server needs.

    Args:
        target: Where the copy goes: a directory that does not exist, or an empty one.

    Returns:
        The size of the copy in bytes.

    Raises:
        SettingsError: There is no store, or ``target`` cannot be written; the text says what to do, in one line.
    """
    path, target = Path(path), Path(target)
    environment = open_beside(path)
    try:
        return _copy(environment, target)
    except lmdb.Error as error:
        raise SettingsError(
            f"the backup to {target} failed ({error}): free some space, or name another place"
        ) from error
    except OSError as error:
        raise SettingsError(f"the backup to {target} failed ({error.strerror}): name another place") from error
    finally:
        environment.close()


def _copy(environment: lmdb.Environment, target: Path) -> int:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SettingsError(f"{target} is not empty: name a new directory for the backup")
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(mkdtemp(prefix=f".{target.name}-", dir=target.absolute().parent))
    try:
        environment.copy(str(unfinished), compact=True)
        copy = unfinished / DATA_FILE
        copy.chmod(0o600)
        size = copy.stat().st_size
        sync_file(copy)
        sync_file(unfinished)
        os.rename(unfinished, target)
        sync_file(target.absolute().parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return size
