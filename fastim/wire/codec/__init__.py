"""Protobuf to commands, and replies and events to protobuf.

A body is a ``GenericCommand`` without its frame. Nothing here decides anything; what a field means when it is absent is
read off the reference, field by field. Source: wire protocol, envelope rules and the sections on each command.
"""

from fastim.wire.codec.gaps import encode_gap
from fastim.wire.codec.notices import notices_of_js, notices_of_swift
from fastim.wire.codec.pushes import (
    encode_blocked,
    encode_delivery,
    encode_eviction,
    encode_joined,
    encode_left,
    encode_members_blocked,
    encode_members_joined,
    encode_members_left,
    encode_members_silenced,
    encode_missed,
    encode_missed_patches,
    encode_parting,
    encode_patched,
    encode_presence,
    encode_queued,
    encode_receipts,
    encode_role_changed,
    encode_silenced,
    encode_unread,
    encode_updated,
    recipient,
)
from fastim.wire.codec.replies import encode_error, encode_reply
from fastim.wire.codec.requests import Request, decode

__all__ = [
    "Request",
    "decode",
    "encode_blocked",
    "encode_delivery",
    "encode_error",
    "encode_eviction",
    "encode_gap",
    "encode_joined",
    "encode_left",
    "encode_members_blocked",
    "encode_members_joined",
    "encode_members_left",
    "encode_members_silenced",
    "encode_missed",
    "encode_missed_patches",
    "encode_parting",
    "encode_patched",
    "encode_presence",
    "encode_queued",
    "encode_receipts",
    "encode_reply",
    "encode_role_changed",
    "encode_silenced",
    "encode_unread",
    "encode_updated",
    "notices_of_js",
    "notices_of_swift",
    "recipient",
]
