"""Protobuf of the commands that most traffic consists of: sends and their acks, deliveries, receipts and heartbeats.

Mechanism only: what is read is read as protobuf would, or left to it, and what is written is what protobuf would write,
byte for byte. How a fault is reported is decided in ``fastim.wire``.
"""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, final

_Request = TypeVar("_Request")

@final
class Decoder(Generic[_Request]):
    """Reads the commands that come most often, and leaves all others.

    Args:
        request: Called with a command, ``i``, ``peerId`` and ``appId``, each of these ``None`` when absent.
        send: Called with ``cid``, the body, the size of the ``DirectCommand`` in bytes, whether the body is binary,
            ``dt``, ``r``, ``transient``, ``will``, ``pushData``, ``mentionPids``, ``mentionAll`` and the priority.
        acknowledge: Called with ``cid``, ``mid``, and ``fromts`` and ``tots``, which are ``None`` when absent.
        echo: The command that a heartbeat is.

    Raises:
        TypeError: What is to be called cannot be.
    """

    def __new__(
        cls,
        request: Callable[[Any, int | None, str | None, str | None], _Request],
        send: Callable[[str, bytes, int, bool, str, bool, bool, bool, str, tuple[str, ...], bool, int], object],
        acknowledge: Callable[[str, str, Any, Any], object],
        echo: object,
    ) -> Self: ...
    def decode(self, body: bytes) -> _Request | None:
        """Return the request in ``body``; None when it is another command, or not in protobuf's own form.

        None is no verdict: such a body may be sound, and protobuf's own reader is to be asked.
        """

def encode_ack(message_id: str, timestamp: int, serial: int | None, client_id: str | None) -> bytes:
    """Return the answer to a send that was done.

    Args:
        message_id: Its ``uid``.
        timestamp: Its ``t``, milliseconds since the epoch.
        serial: ``i``; ``None``: none.
        client_id: ``peerId``; ``None`` or empty: none.

    Raises:
        OverflowError: A number does not fit into its field.
        UnicodeEncodeError: A text has surrogates.
    """

def encode_echo(serial: int | None, client_id: str | None) -> bytes:
    """Return the answer to a heartbeat; see ``encode_ack``."""

def encode_delivery(
    conversation_id: str,
    kind: int,
    message_id: str,
    sender: str,
    timestamp: int,
    body: bytes,
    binary: bool,
    mentions: tuple[str, ...],
    mention_all: bool,
    patched_at: int,
    transient: bool = False,
    offline: bool = False,
    more: bool = False,
) -> bytes:
    """Return a message as recipients get it, but for the ``peerId`` of each.

    Flags that are off are left out.

    Args:
        kind: ``convType``.
        timestamp: Milliseconds since the epoch.
        binary: Whether ``body`` is ``binaryMsg`` rather than ``msg``.
        patched_at: ``patchTimestamp``, milliseconds since the epoch; 0: it was never patched, and there is none.
        offline: It waited for the recipient.
        more: More follow; ``hasMore``.

    Raises:
        OverflowError: A number does not fit into its field.
        TypeError: A mention is no text.
        UnicodeEncodeError: A text has surrogates.
    """

def encode_receipt(conversation_id: str, message_id: str, by: str, upto: int, read: bool, at: int) -> bytes:
    """Return what the sender of a message is told when it was delivered to ``by``, or read, but for ``peerId``.

    Args:
        upto: ``t``, milliseconds since the epoch.
        read: Left out when it is false.
        at: ``serverTs``, milliseconds since the epoch.

    Raises:
        OverflowError: A number does not fit into its field.
        UnicodeEncodeError: A text has surrogates.
    """
