"""The store's values: how each is written and read back.

MessagePack for what is written with every message. JSON for what holds a client's own columns: they came as JSON, whose
numbers may have any size.
"""

import msgspec
from msgspec import Struct

from fastim.core.application import Application
from fastim.core.conversation import Conversation
from fastim.core.message import Message
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership

FORMAT = 2
"""The version of tables, keys and values; a store that has a higher one is not opened."""


class Stamp(Struct, frozen=True, array_like=True):
    """The beginning of a ``Message`` record, all that finding a place in time needs."""

    id: str
    timestamp: Millis


class Origin(Struct, frozen=True, array_like=True):
    """A ``Message`` record as far as its sender."""

    id: str
    timestamp: Millis
    sequence: int
    sender: str


encode_packed = msgspec.msgpack.Encoder().encode
decode_message = msgspec.msgpack.Decoder(Message).decode
decode_stamp = msgspec.msgpack.Decoder(Stamp).decode
decode_origin = msgspec.msgpack.Decoder(Origin).decode
decode_head = msgspec.msgpack.Decoder(Head).decode
decode_membership = msgspec.msgpack.Decoder(Membership).decode
decode_grant = msgspec.msgpack.Decoder(Grant).decode
decode_moment = msgspec.msgpack.Decoder(Millis).decode
decode_number = msgspec.msgpack.Decoder(int).decode

encode_json = msgspec.json.Encoder().encode
decode_conversation = msgspec.json.Decoder(Conversation).decode
decode_application = msgspec.json.Decoder(Application).decode
