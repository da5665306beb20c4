"""Looking up a device in a store, beside a live server or on a copy."""

from pathlib import Path

import lmdb

from fastim.adapters.lmdb.changes import installations
from fastim.adapters.lmdb.environment import open_beside, open_tables, require_current
from fastim.adapters.lmdb.keys import application_key, installation_key
from fastim.adapters.lmdb.records import decode_application, decode_installation
from fastim.core.application import Application
from fastim.core.errors import SettingsError
from fastim.core.installation import Installation


def find_devices(path: Path | str, name: str) -> list[tuple[Application, Installation]]:
    """The installations with that ``objectId``, or else ``installationId``, one of each application at most.

    Not from within a server's process that has the store open.

    Raises:
        SettingsError: There is no store, or it cannot be read; the text says what to do, in one line.
    """
    path = Path(path)
    environment = open_beside(path)
    try:
        require_current(environment, path)
        tables = open_tables(environment)
        found: list[tuple[Application, Installation]] = []
        with environment.begin() as transaction:
            for record in transaction.cursor(tables.applications).iternext(keys=False):
                application = decode_application(record)
                own = application_key(application.number)
                named = installations.name_key(own, installations.INSTALLATION, name)
                for key in (installation_key(name), transaction.get(named, db=tables.installation_names)):
                    stored = None if key is None else transaction.get(own + key, db=tables.installations)
                    if stored is not None:
                        found.append((application, decode_installation(stored)))
                        break
        return found
    except lmdb.Error as error:
        raise SettingsError(f"the store in {path} cannot be read ({error}): restore a backup") from error
    finally:
        environment.close()
