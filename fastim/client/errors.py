"""What a client's calls raise.

``Refused``: the server said no, and the client goes on. ``ConnectionLost``: the answer never came. ``SessionEnded`` and
``ClientClosed``: the client is over, and every call says so. Source of codes and reasons: wire protocol, error codes.
"""

from fastim.core.errors import FastimError


class ClientError(FastimError):
    """What all errors of the client library have in common."""


class Refused(ClientError):
    """The server understood a request and will not do it.

    Attributes:
        code: For programs: 4401, 4303, ...
        reason: Its name: ``INVALID_MESSAGING_TARGET``, ``CONVERSATION_NOT_FOUND``, ...
        detail: Free text for people, often empty.
        app_code: Code chosen by a hook of the application, 0 for none.
        app_message: What that hook had to say.
    """

    def __init__(self, code: int, reason: str, detail: str = "", app_code: int = 0, app_message: str = "") -> None:
        super().__init__(code, reason, detail, app_code, app_message)
        self.code = code
        self.reason = reason
        self.detail = detail
        self.app_code = app_code
        self.app_message = app_message

    def __str__(self) -> str:
        more = "; ".join(part for part in (self.detail, self.app_message) if part)
        return f"{self.code} {self.reason}" + (f": {more}" if more else "")


class ConnectionLost(ClientError):
    """The connection broke before the answer came, so whether the request was carried out is not known.

    Raised for requests that would do harm when made twice; the others are made again on the next connection. The client
    itself goes on and reconnects, except that ``connect`` raises this when the first connection cannot be made.
    """


class SigningFailed(ClientError):
    """The application's signer raised, so what it was asked for was not done; the cause is what it raised."""


class FailedMessagesDamaged(ClientError):
    """The file in which failed messages are kept cannot be read as such; the text says which, and what is wrong."""


class UnexpectedReply(ClientError):
    """The server's answer is none to this request: it speaks another protocol, or there is a bug."""


class SessionEnded(ClientError):
    """The server ended the session for good: another device took it over (4111), it was kicked (4115), and the like.

    Attributes:
        code: 0 when the server gave none.
        reason: The code's name, or what the server had to say.
    """

    def __init__(self, code: int, reason: str, detail: str = "") -> None:
        super().__init__(code, reason, detail)
        self.code = code
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code} {self.reason}" + (f": {self.detail}" if self.detail else "")


class ClientClosed(ClientError):
    """The client was used after ``close``, or outside its ``async with``."""
