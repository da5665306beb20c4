"""The back office: what an application's own servers ask for, whichever door they come in by."""

from collections.abc import Callable

from fastim.core.application import Application
from fastim.ports.users import Users
from fastim.runtime.dispatch import Dispatcher
from fastim.runtime.spending import Allowance, Allowances, Spending
from fastim.runtime.words import LocalWords
from fastim.service.io import Io
from fastim.settings import Rest


class BackOffice:
    """The applications of this node, for those who have shown that they hold a key.

    Args:
        rules: How much the servers of an application may ask for.
        seconds: Since the epoch.
    """

    def __init__(
        self, dispatcher: Dispatcher, rules: Callable[[Application], Rest], seconds: Callable[[], float]
    ) -> None:
        self._dispatcher = dispatcher
        self._rules = rules
        self._allowances = Allowances(seconds)

    def application(self, application_id: str) -> Application | None:
        """The application of that id, or ``None``."""
        tenant = self._dispatcher.tenants.get(application_id)
        return None if tenant is None else tenant.application

    def io(self, application: Application) -> Io:
        """The application's ports: what use cases take."""
        return self._dispatcher.tenants[application.id].io

    def users(self, application: Application) -> Users | None:
        """Who knows the application's users; ``None`` when nobody does."""
        return self._dispatcher.tenants[application.id].users

    def words(self, application: Application) -> LocalWords:
        """The application's list of words, and what it has found."""
        return self._dispatcher.tenants[application.id].words

    async def stored_words(self, application: Application) -> bytes | None:
        """The list of words that was stored, as it came; ``None`` when there is none."""
        return await self.words(application).stored()

    async def save_words(self, application: Application, text: bytes | None) -> None:
        """Store a list of words and put it in force; ``None``: forget the stored one, so that the file's counts.

        Raises:
            WordListError: It has lines that cannot be used, or ``words.file`` is pinned; nothing was done.
        """
        await self.words(application).save(text)

    def spend(self, application: Application, spending: Spending) -> int:
        """Take one out of a quota. 0: it was there; else in how many seconds there will be some again."""
        return self._allowance(application).spend(spending)

    def give_back(self, application: Application, spending: Spending) -> None:
        """Put back what was taken for something that did not come about."""
        self._allowance(application).give_back(spending)

    async def holds_session(self, application: Application, client_id: str, token: str) -> bool:
        """Whether ``token`` is a session token of the client that still counts."""
        io = self.io(application)
        grant = await io.store.find_grant(client_id, token)
        return grant is not None and grant.expires_at > io.clock.now()

    def _allowance(self, application: Application) -> Allowance:
        return self._allowances.of(application.number, self._rules(application))
