"""Broadcasts: messages of a service conversation to everybody, whoever logs in before they expire."""

from msgspec import Struct

from fastim.core.message import Message
from fastim.core.units import Millis


class Broadcast(Struct, frozen=True, array_like=True):
    """A message to everybody. It is in no conversation's history. Source: semantics, rules 1.15 and 7.10."""

    conversation_id: str
    message: Message
    valid_till: Millis
