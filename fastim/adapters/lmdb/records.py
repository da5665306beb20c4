"""The store's values: how each is written and read back.

MessagePack for what is written with every message. JSON for what holds a client's own columns, notices among it: they
came as JSON, whose numbers may have any size.
"""

import msgspec
from msgspec import Struct

from fastim.core.application import Application
from fastim.core.broadcast import Broadcast
from fastim.core.conversation import Conversation
from fastim.core.installation import Installation
from fastim.core.message import Message
from fastim.core.notice import Notice
from fastim.core.push import Job, Notification
from fastim.core.session import Grant
from fastim.core.standing import Standing
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership
from fastim.core.will import Will

FORMAT = 6
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


class Staying(Struct, frozen=True, array_like=True):
    """A ``Stay``; the device is whatever a client calls itself, not always text that has a UTF-8."""

    client_id: str
    device: bytes
    conversation_id: str
    left_at: Millis
    missed_from: Millis = Millis(0)


class Visitor(Struct, frozen=True, array_like=True):
    """What is kept of a client.

    Attributes:
        first_at: When it logged in for the first time; 0 if it never did.
        counts: Numbers of the counts that it is in, of those that are kept.
        broadcasts_seen: The time of the last message to everybody that it got; 0 for none.
    """

    first_at: Millis = Millis(0)
    counts: tuple[int, ...] = ()
    broadcasts_seen: Millis = Millis(0)


class UserCount(Struct, frozen=True, array_like=True):
    """How many clients logged in on one day.

    Attributes:
        number: Never given twice: the day can be, when the clock is set back over several.
    """

    day: int
    number: int
    clients: int = 0


class Users(Struct, frozen=True, array_like=True):
    """An application's counts, of two days unless the clock has stepped.

    Attributes:
        last_number: The last one that was given to a count.
    """

    counts: tuple[UserCount, ...] = ()
    last_number: int = 0


class Target(Struct, frozen=True, array_like=True):
    """Something that is sent notifications, while some wait for it.

    Attributes:
        queue: Where they are.
        due: When the first of them is to be sent.
        attempts: How often that was tried in vain.
        next_number: What the next one in the queue gets.
        waiting: How many they are.
    """

    queue: int
    due: Millis
    attempts: int = 0
    next_number: int = 0
    waiting: int = 0


class PushCounts(Struct, frozen=True, array_like=True):
    """What is in an application's outbox.

    Attributes:
        last_queue: The last number that was given to a queue.
    """

    jobs: int = 0
    targets: int = 0
    notifications: int = 0
    last_queue: int = 0


class Place(Struct, frozen=True, array_like=True):
    """How far a round of retiring has got.

    Attributes:
        stage: The kind of work.
        after: The last key that it has done with, empty when it is about to begin.
    """

    stage: int
    after: bytes = b""


encode_packed = msgspec.msgpack.Encoder().encode
decode_message = msgspec.msgpack.Decoder(Message).decode
decode_stamp = msgspec.msgpack.Decoder(Stamp).decode
decode_origin = msgspec.msgpack.Decoder(Origin).decode
decode_head = msgspec.msgpack.Decoder(Head).decode
decode_membership = msgspec.msgpack.Decoder(Membership).decode
decode_grant = msgspec.msgpack.Decoder(Grant).decode
decode_standing = msgspec.msgpack.Decoder(Standing).decode
decode_will = msgspec.msgpack.Decoder(Will).decode
decode_broadcast = msgspec.msgpack.Decoder(Broadcast).decode
decode_staying = msgspec.msgpack.Decoder(Staying).decode
decode_users = msgspec.msgpack.Decoder(Users).decode
decode_visitor = msgspec.msgpack.Decoder(Visitor).decode
decode_moment = msgspec.msgpack.Decoder(Millis).decode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_notification = msgspec.msgpack.Decoder(Notification).decode
decode_target = msgspec.msgpack.Decoder(Target).decode
decode_push_counts = msgspec.msgpack.Decoder(PushCounts).decode
decode_number = msgspec.msgpack.Decoder(int).decode

encode_json = msgspec.json.Encoder().encode
decode_conversation = msgspec.json.Decoder(Conversation).decode
decode_installation = msgspec.json.Decoder(Installation).decode
decode_notice = msgspec.json.Decoder(Notice).decode
decode_application = msgspec.json.Decoder(Application).decode
