"""The state of one connection: which application it belongs to, and which sessions are open on it."""

from fastim.core.application import Application
from fastim.core.errors import AppNotAvailable, InvalidLogin, SessionRequired
from fastim.core.session import OfflineMode, Session

SESSIONS_MAX = 256
"""Of one connection: an SDK has as many as there are accounts on the device, a bot host opens more connections."""


class Link:
    """One connection's protocol state; it may carry several sessions of one application.

    Args:
        offline_mode: What the connection's handshake chose.
    """

    __slots__ = ("application", "offline_mode", "sessions")

    def __init__(self, offline_mode: OfflineMode) -> None:
        self.offline_mode = offline_mode
        self.application: Application | None = None
        self.sessions: dict[str, Session] = {}

    def join(self, application: Application) -> None:
        """Bind the connection to ``application``, for good, before one more session is opened.

        Raises:
            AppNotAvailable: It belongs to another one already.
            InvalidLogin: It has as many sessions as it may have.
        """
        if self.application is not None and self.application.number != application.number:
            raise AppNotAvailable("this connection belongs to another application")
        if len(self.sessions) >= SESSIONS_MAX:
            raise InvalidLogin(f"a connection has at most {SESSIONS_MAX} sessions")
        self.application = application

    def session(self, client_id: str | None) -> Session:
        """The session that a command is for; without a client id, the first that was opened and still is.

        Raises:
            SessionRequired: There is none.

        Source: wire protocol, several clients on one connection.
        """
        if client_id:
            session = self.sessions.get(client_id)
        else:
            session = next(iter(self.sessions.values()), None)
        if session is None:
            raise SessionRequired
        return session

    def opened(self, session: Session) -> None:
        """Note an opening; a client id that reopens keeps its place in the order."""
        self.sessions[session.client_id] = session

    def closed(self, session: Session) -> bool:
        """Note an end. False: the client id has opened another session here since, which stays."""
        current = self.sessions.get(session.client_id)
        if current is None or current.number != session.number:
            return False
        del self.sessions[session.client_id]
        return True
