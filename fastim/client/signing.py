"""Signatures: where an application requires them, its own server has to vouch for what a client does.

The client asks a callback of the application's for each signature; with ``signed`` the other end of that callback can
be written in Python, too. Source: wire protocol, signatures.
"""

import hmac
import time
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from secrets import token_hex
from typing import Protocol

from msgspec import Struct

from fastim.client.errors import SigningFailed


class Action(StrEnum):
    """What is to be signed."""

    OPEN = "open"
    START = "start"
    INVITE = "invite"
    KICK = "kick"
    BLOCK = "conversation-block-clients"
    UNBLOCK = "conversation-unblock-clients"
    BLOCK_CONVERSATIONS = "client-block-conversations"
    UNBLOCK_CONVERSATIONS = "client-unblock-conversations"


class SignatureRequest(Struct, frozen=True):
    """What a client is about to do, for the application's server to decide on.

    Attributes:
        conversation_id: Empty for ``OPEN`` and ``START``.
        members: Whom it is done to, in ascending order, without doubles; of a start everybody, the creator included.
    """

    action: Action
    app_id: str
    client_id: str
    conversation_id: str = ""
    members: tuple[str, ...] = ()

    def text(self, timestamp: int, nonce: str) -> str:
        """What has to be signed."""
        members = ":".join(self.members)
        match self.action:
            case Action.OPEN | Action.START:
                return f"{self.app_id}:{self.client_id}:{members}:{timestamp}:{nonce}"
            case _:
                place = f"{self.app_id}:{self.client_id}:{self.conversation_id}:{members}"
                return f"{place}:{timestamp}:{nonce}:{self.action}"


class Signature(Struct, frozen=True):
    """A signature; it can be used once.

    Attributes:
        digest: HMAC-SHA1 of the text with the application's master key, in hexadecimal.
        timestamp: When it was made, milliseconds since the epoch.
        nonce: Different for each signature, without colons.
    """

    digest: str
    timestamp: int
    nonce: str


Signer = Callable[[SignatureRequest], Awaitable[Signature]]
"""Gets a signature from the application's server; raises when that server says no."""


def signed(request: SignatureRequest, master_key: str) -> Signature:
    """Sign what is asked for. For an application's server: the master key is nothing to give to clients."""
    timestamp, nonce = time.time_ns() // 1_000_000, token_hex(8)
    digest = hmac.digest(master_key.encode(), request.text(timestamp, nonce).encode(), "sha1")
    return Signature(digest.hex(), timestamp, nonce)


class Signable(Protocol):
    """A command with room for a signature."""

    t: int
    n: str
    s: str


class Signing:
    """Signs a client's commands, if it has a signer."""

    def __init__(self, app_id: str, signer: Signer | None) -> None:
        self._app_id = app_id
        self._signer = signer

    async def sign(
        self,
        command: Signable,
        action: Action,
        client_id: str,
        conversation_id: str = "",
        members: Iterable[str] = (),
    ) -> None:
        """Put a fresh signature into ``command``.

        Raises:
            SigningFailed: The signer raised.
        """
        if self._signer is None:
            return
        names = tuple(sorted(set(members)))
        request = SignatureRequest(action, self._app_id, client_id, conversation_id, names)
        try:
            signature = await self._signer(request)
        except Exception as error:
            raise SigningFailed(f"no signature to {action}: {error!r}") from error
        command.t, command.n, command.s = signature.timestamp, signature.nonce, signature.digest
