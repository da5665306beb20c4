"""The back office: what an application's own servers ask for, whichever door they come in by."""

from fastim.core.application import Application
from fastim.runtime.dispatch import Dispatcher, Tenant
from fastim.service import sessions


class BackOffice:
    """The applications of this node, for those who have shown that they hold a key."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def application(self, application_id: str) -> Application | None:
        """The application of that id, or ``None``."""
        tenant = self._dispatcher.tenants.get(application_id)
        return None if tenant is None else tenant.application

    async def kick_client(self, application: Application, client_id: str, reason: str) -> None:
        """End the client's sessions; see ``fastim.service.sessions.kick_client``."""
        await sessions.kick_client(self._tenant(application).io, client_id, reason)

    def _tenant(self, application: Application) -> Tenant:
        return self._dispatcher.tenants[application.id]
