"""Protobuf to commands, and replies and events to protobuf.

A body is a ``GenericCommand`` without its frame. Nothing here decides anything; what a field means when it is absent is
read off the reference, field by field. Source: wire protocol, envelope rules and the sections on each command.
"""

from fastim.wire.codec.pushes import (
    encode_delivery,
    encode_eviction,
    encode_joined,
    encode_left,
    encode_members_joined,
    encode_members_left,
    encode_parting,
    encode_unread,
    encode_updated,
    recipient,
)
from fastim.wire.codec.replies import encode_error, encode_reply
from fastim.wire.codec.requests import Request, decode

__all__ = [
    "Request",
    "decode",
    "encode_delivery",
    "encode_error",
    "encode_eviction",
    "encode_joined",
    "encode_left",
    "encode_members_joined",
    "encode_members_left",
    "encode_parting",
    "encode_reply",
    "encode_unread",
    "encode_updated",
    "recipient",
]
