"""Wills: a message kept back until its sender's session is lost. Source: semantics, will messages."""

from msgspec import Struct

from fastim.core.message import Draft
from fastim.core.units import Millis


class Holder(Struct, frozen=True, array_like=True):
    """The session that a will belongs to, told apart from those of other runs of the server.

    Attributes:
        number: Of the session, on its node.
        opened_at: When it was opened.
        device: The device's identity: when it comes back after the server was gone, the will is its again.
    """

    number: int
    opened_at: Millis
    device: str


class Will(Struct, frozen=True, array_like=True):
    """A client's will; a newer one takes its place.

    Attributes:
        message_id: As it was acked; the message has it when it is sent.
    """

    client_id: str
    conversation_id: str
    message_id: str
    draft: Draft
    priority: int
    holder: Holder
