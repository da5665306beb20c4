"""Signatures: an application's own server vouches for a client with the master key.

What is signed, and how leniently it is compared, is what SDKs and the documented samples do. Source: wire protocol,
signatures.
"""

import hmac
from collections.abc import Iterable, Sequence

from fastim.core.commands import (
    AddMembers,
    ChangeBlocks,
    Command,
    OpenSession,
    RefreshToken,
    RefuseConversations,
    RemoveMembers,
    Signature,
    StartConversation,
)
from fastim.core.units import Millis

SignedCommand = (
    OpenSession | RefreshToken | StartConversation | AddMembers | RemoveMembers | ChangeBlocks | RefuseConversations
)

VALID = Millis(6 * 3_600_000)
"""How long a signature can be used. Source: guide, senior."""
AHEAD = Millis(600_000)
"""How far ahead of ours the signer's clock may be."""
STEP_BACK = Millis(24 * 3_600_000)
"""By how much our clock may be set back without a used signature counting again."""
NONCE_MAX_CHARACTERS = 256
_SECONDS_BELOW = 100_000_000_000
"""A timestamp below this is in seconds: in milliseconds it would lie before 1974."""


def signature_wanted(command: Command, client_id: str) -> bool:
    """Whether a command of ``client_id`` needs a signature where the application requires them.

    A token takes its place at an opening, the open session at a refresh: there one need not be given, and has to count
    if it is. Nobody needs leave to go, and Java does not sign it. Source: wire protocol, signatures.
    """
    match command:
        case OpenSession():
            return not command.token
        case RefreshToken():
            return command.signature is not None
        case RemoveMembers():
            return set(command.members) != {client_id}
        case _:
            return isinstance(command, StartConversation | AddMembers | ChangeBlocks | RefuseConversations)


def named(command: SignedCommand) -> tuple[str, ...]:
    """The clients that ``command`` names besides the one that gives it."""
    match command:
        case StartConversation() | AddMembers() | RemoveMembers():
            return command.members
        case ChangeBlocks():
            return command.client_ids
        case _:
            return ()


def signed_texts(application_id: str, client_id: str, command: SignedCommand, signature: Signature) -> list[str]:
    """What may be signed for ``command``."""
    match command:
        case StartConversation():
            return start_texts(application_id, client_id, command.members, signature)
        case AddMembers() | RemoveMembers():
            action = "invite" if isinstance(command, AddMembers) else "kick"
            return member_texts(application_id, client_id, command.conversation_id, command.members, action, signature)
        case ChangeBlocks():
            action = "conversation-block-clients" if command.blocked else "conversation-unblock-clients"
            return member_texts(
                application_id, client_id, command.conversation_id, command.client_ids, action, signature
            )
        case RefuseConversations():
            action = "client-block-conversations" if command.refused else "client-unblock-conversations"
            return refusal_texts(application_id, client_id, command.conversation_ids, action, signature)
        case _:
            return login_texts(application_id, client_id, signature)


def login_texts(application_id: str, client_id: str, signature: Signature) -> list[str]:
    """What may be signed to open or refresh a session."""
    return [f"{application_id}:{client_id}::{signature.timestamp}:{signature.nonce}"]


def start_texts(application_id: str, client_id: str, members: Iterable[str], signature: Signature) -> list[str]:
    """What may be signed to start a conversation: samples differ on whether its creator is among the members."""
    given = sorted(set(members))
    ending = f"{signature.timestamp}:{signature.nonce}"
    lists = ([*given], sorted({*given, client_id}), [one for one in given if one != client_id])
    return [f"{application_id}:{client_id}:{':'.join(one)}:{ending}" for one in lists]


def member_texts(
    application_id: str,
    client_id: str,
    conversation_id: str,
    members: Iterable[str],
    action: str,
    signature: Signature,
) -> list[str]:
    """What may be signed to change members or blocks; ``action`` is ``invite``, ``kick``, ..."""
    given = ":".join(sorted(set(members)))
    ending = f"{signature.timestamp}:{signature.nonce}:{action}"
    return [f"{application_id}:{client_id}:{conversation_id}:{given}:{ending}"]


def refusal_texts(
    application_id: str, client_id: str, conversation_ids: Iterable[str], action: str, signature: Signature
) -> list[str]:
    """What may be signed for a client that refuses conversations; of several, their ids ascend as members do."""
    given = ":".join(sorted(set(conversation_ids)))
    return [f"{application_id}:{client_id}:{given}::{signature.timestamp}:{signature.nonce}:{action}"]


def digest(text: str, master_key: str) -> str:
    """``text`` signed with ``master_key``: HMAC-SHA1, in lower-case hex."""
    return hmac.digest(master_key.encode(), text.encode(), "sha1").hex()


def vouches(
    signature: Signature, texts: Sequence[str], master_key: str, now: Millis, void_before: Millis = Millis(0)
) -> bool:
    """Whether ``signature`` is one of ``texts`` signed with ``master_key``, and counts now.

    Letter case of the digest does not matter. The timestamp may be in milliseconds or seconds.

    Args:
        void_before: Signatures made up to this moment no longer count, ``0`` for none: the client was kicked then.
    """
    made_at = signature.timestamp if signature.timestamp >= _SECONDS_BELOW else signature.timestamp * 1000
    if not now - VALID <= made_at <= now + AHEAD or made_at <= void_before:
        return False
    # With a colon in it, what was signed for one thing could be read as another.
    if not 0 < len(signature.nonce) <= NONCE_MAX_CHARACTERS or ":" in signature.nonce:
        return False
    given = signature.digest.lower().encode(errors="replace")
    matches = [hmac.compare_digest(digest(text, master_key).encode(), given) for text in texts]
    return any(matches)


def used_until(signature: Signature, now: Millis) -> tuple[str, Millis]:
    """The name under which a signature's use is remembered, and until when it has to be."""
    return signature.digest.lower(), Millis(now + VALID + AHEAD + STEP_BACK)
