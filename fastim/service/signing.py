"""Signing: a login signature for a user whom the application's own users' store knows.

Source: REST reference, clients and global; guide, login with a user object.
"""

from msgspec import Struct

from fastim.core.commands import Signature
from fastim.core.errors import InvalidLogin, SigningRejected
from fastim.core.hooks import ClientSign
from fastim.core.ids import is_client_id
from fastim.core.signature import digest, login_texts
from fastim.core.units import Millis
from fastim.ports.users import UserIdentity
from fastim.service.io import Io

NONCE_ENTROPY_BYTES = 12


class SignedClient(Struct, frozen=True):
    """What a client needs to open a session.

    Attributes:
        timestamp: When it was signed.
    """

    client_id: str
    signature: str
    nonce: str
    timestamp: Millis


async def sign_client(io: Io, user: UserIdentity) -> SignedClient:
    """Vouch for a user, whose id is the client's, each time anew: a signature opens one session.

    A hook that is defined for it is asked first.

    Raises:
        InvalidLogin: No client can be called that, or nobody can vouch for it, see ``required_signature``.
        SigningRejected: The hook does not want it.
    """
    client_id = user.id
    if not is_client_id(client_id) or ":" in client_id:
        raise InvalidLogin
    if io.hooks.defines(ClientSign):
        answer = await io.hooks.ask(ClientSign(user=user.fields))
        if not answer.result:
            raise SigningRejected(answer.error)
    # The clock may have been set back since a kick, which makes void what was signed before it.
    at = Millis(max(io.clock.now(), await io.store.find_kick(client_id) + 1))
    nonce = io.entropy(NONCE_ENTROPY_BYTES).hex()
    (text,) = login_texts(io.application.id, client_id, Signature(at, nonce, ""))
    return SignedClient(client_id, digest(text, io.application.master_key), nonce, at)
