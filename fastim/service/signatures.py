"""Signatures: where the application requires them, each counts once."""

from fastim.core.commands import (
    ChangeBlocks,
    OpenSession,
    RefreshToken,
    RefuseConversations,
    Signature,
)
from fastim.core.errors import (
    BlacklistSignatureFailed,
    ConversationSignatureFailed,
    Refusal,
    SignatureFailed,
)
from fastim.core.session import Session
from fastim.core.signature import (
    SignedCommand,
    named,
    signature_wanted,
    signed_texts,
    used_until,
    vouches,
)
from fastim.service.io import Io


async def required_signature(io: Io, asker: Session | str, command: SignedCommand) -> Signature | None:
    """The signature that ``command`` came with, to be handed to ``use``; ``None`` where it needs none.

    Args:
        asker: Who gives the command: its session, or its client id where there is no session yet. The application
            itself needs nobody to vouch for it.

    Raises:
        SignatureFailed: There is none, or it does not count; at an opening and a refresh.
        BlacklistSignatureFailed: The same for blocking and refusing.
        ConversationSignatureFailed: The same elsewhere.
    """
    client_id = asker if isinstance(asker, str) else asker.client_id
    if not isinstance(asker, str) and asker.privileged:
        return None
    if not io.policy.signature_required or not signature_wanted(command, client_id):
        return None
    given = command.signature
    if given is None:
        raise _refusal(command)("a signature is required")
    if ":" in client_id or any(":" in member for member in named(command)):
        raise _refusal(command)("a colon in an id would make what is signed ambiguous")
    texts = signed_texts(io.application.id, client_id, command, given)
    kicked_at = await io.store.find_kick(client_id)
    if not vouches(given, texts, io.application.master_key, io.clock.now(), void_before=kicked_at):
        raise _refusal(command)("the signature is wrong, too old, or void")
    return given


async def use(io: Io, signature: Signature | None, command: SignedCommand) -> None:
    """Use up what ``required_signature`` returned, once nothing else stands in the way of the command.

    Raises:
        SignatureFailed: It was used before; at an opening and a refresh.
        BlacklistSignatureFailed: The same for blocking and refusing.
        ConversationSignatureFailed: The same elsewhere.
    """
    if signature is not None and not await io.store.use_once(*used_until(signature, io.clock.now())):
        raise _refusal(command)("the signature was used before")


def _refusal(command: SignedCommand) -> type[Refusal]:
    match command:
        case OpenSession() | RefreshToken():
            return SignatureFailed
        case ChangeBlocks() | RefuseConversations():
            return BlacklistSignatureFailed
        case _:
            return ConversationSignatureFailed
