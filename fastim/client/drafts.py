"""Messages on their way out: what is said, to which conversation, and with what options."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct

from fastim.client.bodies import Body, encoded
from fastim.client.values import Message, Priority
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb


class Draft(Struct, frozen=True, kw_only=True):
    """A message before it is sent.

    Attributes:
        token: Names it among all that its sender sends to the conversation: with the same token it is the same message.
        push_data: JSON text, or empty.
    """

    conversation_id: str
    token: str
    raw: bytes
    binary: bool = False
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    receipt: bool = False
    transient: bool = False
    will: bool = False
    priority: Priority = Priority.NORMAL
    push_data: str = ""

    def command(self) -> pb.GenericCommand:
        """What the server is sent."""
        # A field that is not meant is left out: its presence alone means something to some.
        direct = pb.DirectCommand(cid=self.conversation_id, dt=self.token, mentionPids=self.mentions)
        if self.binary:
            direct.binaryMsg = self.raw
        else:
            direct.msg = self.raw
        if self.mention_all:
            direct.mentionAll = True
        if self.receipt:
            direct.r = True
        if self.transient:
            direct.transient = True
        if self.will:
            direct.will = True
        if self.push_data:
            direct.pushData = self.push_data
        return pb.GenericCommand(cmd=pb.direct, priority=self.priority, directMessage=direct)

    def stored(self, ack: pb.AckCommand, sender: str) -> Message:
        """The message as which the server took it."""
        return Message(
            id=ack.uid,
            conversation_id=self.conversation_id,
            sender=sender,
            timestamp=Millis(ack.t),
            raw=self.raw,
            binary=self.binary,
            mentions=self.mentions,
            mention_all=self.mention_all,
            transient=self.transient,
            receipt=self.receipt,
        )


def draft(
    conversation_id: str,
    body: Body,
    *,
    mentions: Iterable[str],
    mention_all: bool,
    receipt: bool,
    transient: bool,
    will: bool,
    priority: Priority,
    push_data: Mapping[str, Any] | None,
    token: str | None,
) -> Draft:
    """A draft of what ``Conversation.send`` was called with."""
    return Draft(
        conversation_id=conversation_id,
        token=token or uuid4().hex,
        raw=encoded(body),
        binary=isinstance(body, bytes),
        mentions=tuple(mentions),
        mention_all=mention_all,
        receipt=receipt,
        transient=transient,
        will=will,
        priority=priority,
        push_data="" if push_data is None else msgspec.json.encode(push_data).decode(),
    )
