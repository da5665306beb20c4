"""The operators' office: what those who run the server change while it runs.

What is stored of an application is written here, one change after the other. How a change comes into force, with all
parts that an application has, is the business of whoever wired them: it is told.
"""

import asyncio
import re
import secrets
import string
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal

from msgspec.structs import replace

from fastim.core.application import Application
from fastim.core.errors import FastimError
from fastim.ports.store import Store
from fastim.runtime.dispatch import Dispatcher, Tenant

KEY_CHARACTERS = 24
ID_CHARACTERS_MIN = 9
"""Java and Swift take an application id's first 8 characters and break when there are no more."""
ID_CHARACTERS_MAX = 64

KeyName = Literal["key", "master_key", "hook_key"]

_ID = re.compile(r"[A-Za-z0-9_-]+")


class NotPossible(FastimError):
    """Something cannot be done or set as it was asked for; nothing was changed.

    Args:
        text: Why, in one line.
        field: What of it is to blame; a setting's name, where it is one.
    """

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class Operators:
    """The applications of this server, and what can be changed of them.

    Args:
        begin: Serves an application that was made just now or, raising ``NotPossible``, does not.
        renew: Stores an application's new keys and lets them count from now on, its sessions stay; or, raising
            ``NotPossible``, leaves the old ones.
        change: Stores and applies settings of the application with that id, by name, ``None``: the stored one is
            forgotten; all of them or, raising ``NotPossible``, none.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        store: Store,
        *,
        begin: Callable[[Application], Awaitable[None]],
        renew: Callable[[Application], Awaitable[None]],
        change: Callable[[str, Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        self._dispatcher = dispatcher
        self._store = store
        self._begin = begin
        self._renew = renew
        self._change = change
        self._turns = asyncio.Lock()

    @property
    def tenants(self) -> Iterable[Tenant]:
        """Every application as it runs."""
        return self._dispatcher.tenants.values()

    def tenant(self, application_id: str) -> Tenant | None:
        """The application of that id as it runs, or ``None``."""
        return self._dispatcher.tenants.get(application_id)

    async def create(self, application_id: str = "") -> Application:
        """Make an application and serve it.

        Args:
            application_id: Empty: one is made up.

        Raises:
            NotPossible: There is one with that id, or none can be called that; or its parts do not work.
        """
        if application_id:
            _require_usable(application_id)
        async with self._turns:
            new_id = application_id or random_key()
            # One that is stored and not served could not be begun: it may be tried again.
            if self.tenant(new_id) is not None:
                raise NotPossible("there is an application with that id", "id")
            application = await self._store.save_application(new_id, random_key(), random_key(), random_key())
            await self._begin(application)
            return application

    async def rotate(self, application_id: str, which: KeyName) -> Application:
        """Give an application another key; the old one is worth nothing from then on.

        Raises:
            NotPossible: There is no such application, or what shows its keys cannot be made anew; the old ones stay.
        """
        async with self._turns:
            tenant = self.tenant(application_id)
            if tenant is None:
                raise NotPossible("there is no such application", "app")
            after = replace(tenant.application, **{which: random_key()})
            await self._renew(after)
            return after

    async def change_settings(self, application_id: str, changes: Mapping[str, Any]) -> None:
        """Store settings of an application and put them in force at once: all of them or none.

        Args:
            changes: By name, ``table.key``; ``None``: what is stored is forgotten.

        Raises:
            NotPossible: One cannot be set like this; its ``field`` says which.
        """
        async with self._turns:
            await self._change(application_id, changes)


def random_key() -> str:
    """A new key, or an id."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(KEY_CHARACTERS))


def _require_usable(application_id: str) -> None:
    if not ID_CHARACTERS_MIN <= len(application_id) <= ID_CHARACTERS_MAX:
        raise NotPossible(f"an id has {ID_CHARACTERS_MIN} to {ID_CHARACTERS_MAX} characters", "id")
    if _ID.fullmatch(application_id) is None:
        raise NotPossible("an id has letters, digits, - and _ only", "id")
