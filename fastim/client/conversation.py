"""A conversation, as seen by one client: who is in it, what is said in it, how far it has been read."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any
from uuid import uuid4

import msgspec

from fastim.client import decoding
from fastim.client.errors import Refused, UnexpectedReply
from fastim.client.history import History
from fastim.client.session import Session
from fastim.client.values import Body, ConversationInfo, MemberChanges, Message, Place, Priority, position
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1000
"""Source: wire protocol, history."""


class Conversation:
    """What a client can do with one conversation; made by ``Client``, at no cost. Equal when the ids are.

    Attributes:
        id: Its conversation id.
        info: As a query last found it; ``None`` if none has yet.
    """

    def __init__(self, session: Session, conversation_id: str, info: ConversationInfo | None = None) -> None:
        self._session = session
        self.id = conversation_id
        self.info = info

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Conversation) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Conversation({self.id!r})"

    # -- messages --------------------------------------------------------------------------------------------------

    async def send(
        self,
        body: Body,
        *,
        mentions: Iterable[str] = (),
        mention_all: bool = False,
        receipt: bool = False,
        transient: bool = False,
        priority: Priority = Priority.NORMAL,
        token: str | None = None,
    ) -> Message:
        """Send a message and return it as stored.

        It is on the server's disk when this returns. If the connection breaks first, it is sent again on the next one,
        with the same token, so it is stored once; whoever does not want to wait for that puts a timeout around the
        call, and may send the same later with the same ``token``. A transient message is not sent again.

        Args:
            receipt: Ask for a ``Receipt`` when it is delivered and when it is read; for two members only.
            transient: Only for those who are online now; not stored.
            priority: Counts in chat rooms only.
            token: Names the message among all that this client sends to this conversation; made when ``None``.

        Raises:
            Refused: Not a member (4401), too long (4109), too fast (4116), ...
            ConnectionLost: A transient message may or may not have been sent.
        """
        mentions = tuple(mentions)
        direct = pb.DirectCommand(cid=self.id, dt=token or uuid4().hex, mentionPids=mentions)
        binary = isinstance(body, bytes)
        if isinstance(body, bytes):
            raw = direct.binaryMsg = body
        else:
            raw = direct.msg = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
        # A field that is not meant is left out: its presence alone means something to some.
        if mention_all:
            direct.mentionAll = True
        if receipt:
            direct.r = True
        if transient:
            direct.transient = True
        command = pb.GenericCommand(cmd=pb.direct, priority=priority, directMessage=direct)
        reply = await self._session.call(command, (pb.ack, None), repeatable=not transient)
        return Message(
            id=reply.ackMessage.uid,
            conversation_id=self.id,
            sender=self._session.client_id,
            timestamp=Millis(reply.ackMessage.t),
            raw=raw,
            binary=binary,
            mentions=mentions,
            mention_all=mention_all,
            transient=transient,
            receipt=receipt,
        )

    async def mark_read(self, upto: Place | None = None) -> None:
        """Move this client's read position, on all its devices, to ``upto``, or past all that there is.

        The server has it when this returns; an ``UnreadChanged`` says what it made of it.

        Raises:
            ClientError: The client is over.
        """
        mark = pb.ReadTuple(cid=self.id)
        if upto is not None:
            place = position(upto)
            mark.timestamp = place.timestamp
            if place.message_id:
                mark.mid = place.message_id
        read = pb.GenericCommand(cmd=pb.read, readMessage=pb.ReadCommand(convs=[mark]))
        # `read` has no reply; that of an echo sent right behind it proves that it has arrived.
        await self._session.call(pb.GenericCommand(cmd=pb.echo), (pb.echo, None), repeatable=True, ahead=read)

    async def history_page(
        self,
        *,
        after: Place | None = None,
        before: Place | None = None,
        after_included: bool = False,
        before_included: bool = False,
        newest_first: bool | None = None,
        limit: int = 20,
        message_type: int | None = None,
    ) -> list[Message]:
        """Up to ``limit`` messages between two places, in ascending order whichever end they are counted from.

        Args:
            after: The older end; ``None``: the beginning.
            before: The newer end; ``None``: now.
            after_included: Whether ``after`` itself belongs to it. A bare time stands for its whole millisecond.
            newest_first: Count from the newer end; ``None``: unless ``after`` is given.
            limit: 0 to 1000.
            message_type: Only messages whose JSON body has this ``_lctype``.

        Raises:
            Refused: Not a member (4312), too often (4318), ...
        """
        if newest_first is None:
            newest_first = after is None
        start, end = (before, after) if newest_first else (after, before)
        start_included, end_included = (
            (before_included, after_included) if newest_first else (after_included, before_included)
        )
        logs = pb.LogsCommand(
            cid=self.id, limit=limit, direction=pb.LogsCommand.OLD if newest_first else pb.LogsCommand.NEW
        )
        if start is not None:
            place = position(start)
            logs.t, logs.tIncluded = place.timestamp, start_included
            if place.message_id:
                logs.mid = place.message_id
        if end is not None:
            place = position(end)
            logs.tt, logs.ttIncluded = place.timestamp, end_included
            if place.message_id:
                logs.tmid = place.message_id
        if message_type is not None:
            logs.lctype = message_type
        command = pb.GenericCommand(cmd=pb.logs, logsMessage=logs)
        reply = await self._session.call(command, (pb.logs, None), repeatable=True)
        try:
            return [decoding.history_message(item, self.id) for item in reply.logsMessage.logs]
        except ValueError as error:
            raise UnexpectedReply(str(error)) from error

    def history(
        self,
        *,
        after: Place | None = None,
        before: Place | None = None,
        newest_first: bool | None = None,
        message_type: int | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[Message]:
        """All messages between two places, both left out, fetched a page at a time as they are asked for.

        ``history()`` goes back from the newest message; ``history(after=last_seen)`` goes forward from there to the
        end, which is how to catch up after an absence. Iterating raises what ``history_page`` raises.

        Args:
            newest_first: Also the order in which they come; ``None``: unless ``after`` is given.
            page_size: Messages fetched at once, 1 to 1000.

        Raises:
            ValueError: ``page_size`` cannot be.
        """
        if not 1 <= page_size <= PAGE_SIZE_MAX:
            raise ValueError(f"page_size is not 1 to {PAGE_SIZE_MAX}")
        backwards = after is None if newest_first is None else newest_first

        async def fetch(after: Place | None, before: Place | None) -> list[Message]:
            return await self.history_page(
                after=after, before=before, newest_first=backwards, limit=page_size, message_type=message_type
            )

        return History(fetch, after, before, newest_first=backwards, page_size=page_size)

    # -- members ---------------------------------------------------------------------------------------------------

    async def join(self) -> None:
        """Become a member.

        Raises:
            Refused: It is not there (4303), is full (4304), ...
            ConnectionLost: It may or may not have been done.
        """
        await self._change_self(pb.add, pb.added)

    async def leave(self) -> None:
        """Be a member no longer.

        Raises:
            Refused: It is not there (4303), ...
            ConnectionLost: It may or may not have been done.
        """
        await self._change_self(pb.remove, pb.removed)

    async def add(self, members: Iterable[str]) -> MemberChanges:
        """Make others members.

        Raises:
            Refused: This client is not a member (4317), ... What fails for some only is in what is returned.
            ConnectionLost: It may or may not have been done.
        """
        return await self._change_members(pb.add, pb.added, members)

    async def remove(self, members: Iterable[str]) -> MemberChanges:
        """End the membership of others.

        Raises:
            Refused: This client is not a member (4317), ... What fails for some only is in what is returned.
            ConnectionLost: It may or may not have been done.
        """
        return await self._change_members(pb.remove, pb.removed, members)

    async def count_members(self) -> int:
        """How many members it has."""
        reply = await ask(self._session, pb.count, pb.result, pb.ConvCommand(cid=self.id), repeatable=True)
        return reply.count

    async def is_member(self) -> bool:
        """Whether this client is a member."""
        reply = await ask(self._session, pb.is_member, pb.result, pb.ConvCommand(cids=[self.id]), repeatable=True)
        return decoding.memberships(reply.results.data).get(self.id, False)

    # -- the conversation itself -----------------------------------------------------------------------------------

    async def fetch(self, *, with_last_message: bool = False) -> ConversationInfo:
        """Ask for ``info`` anew and return it.

        Raises:
            LookupError: There is no such conversation.
        """
        infos = await find(self._session, {"objectId": self.id}, limit=1, with_last_message=with_last_message)
        if not infos:
            raise LookupError(f"there is no conversation {self.id}")
        self.info = infos[0]
        return self.info

    async def update(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change attributes and return what the named ones are now, nested; deleted ones are missing.

        Args:
            changes: Keys are columns (``name``, ``attr``, any of your own) or dotted paths into them; values are new
                values or operations: ``{"__op": "Increment", "amount": 1}``, ``{"__op": "Delete"}``, ...

        Raises:
            Refused: Not a member (4309), not to be done in this way (4306), ...
            ConnectionLost: It may or may not have been done.
        """
        attributes = pb.JsonObjectMessage(data=msgspec.json.encode(changes).decode())
        conv = pb.ConvCommand(cid=self.id, attr=attributes)
        reply = await ask(self._session, pb.update, pb.updated, conv, repeatable=False)
        try:
            return decoding.columns(reply.attrModified.data)
        except ValueError as error:
            raise UnexpectedReply(str(error)) from error

    async def mute(self) -> None:
        """Switch this client's offline push from it off.

        Raises:
            Refused: Not a member (4317), ...
        """
        await ask(self._session, pb.mute, pb.updated, pb.ConvCommand(cid=self.id), repeatable=True)

    async def unmute(self) -> None:
        """Switch this client's offline push from it on again.

        Raises:
            Refused: Not a member (4317), ...
        """
        await ask(self._session, pb.unmute, pb.updated, pb.ConvCommand(cid=self.id), repeatable=True)

    async def _change_members(self, operation: pb.OpType, answer: pb.OpType, members: Iterable[str]) -> MemberChanges:
        conv = pb.ConvCommand(cid=self.id, m=list(members))
        reply = await ask(self._session, operation, answer, conv, repeatable=False)
        failed = {client_id: decoding.failure(part) for part in reply.failedPids for client_id in part.pids}
        return MemberChanges(tuple(reply.allowedPids), failed)

    async def _change_self(self, operation: pb.OpType, answer: pb.OpType) -> None:
        client_id = self._session.client_id
        changes = await self._change_members(operation, answer, [client_id])
        refused: Refused | None = changes.failed.get(client_id)
        if refused is not None:
            raise refused


async def ask(
    session: Session, operation: pb.OpType, answer: pb.OpType, conv: pb.ConvCommand, *, repeatable: bool
) -> pb.ConvCommand:
    """Make a request about conversations; see ``Session.call``."""
    command = pb.GenericCommand(cmd=pb.conv, op=operation, convMessage=conv)
    reply = await session.call(command, (pb.conv, answer), repeatable=repeatable)
    return reply.convMessage


_COMPACT, _WITH_LAST_MESSAGE = 1, 2


async def find(
    session: Session,
    where: Mapping[str, Any] | None = None,
    *,
    sort: Iterable[str] = (),
    skip: int = 0,
    limit: int | None = None,
    compact: bool = False,
    with_last_message: bool = False,
) -> list[ConversationInfo]:
    """Query conversations; see ``Client.query``."""
    conv = pb.ConvCommand(flag=_COMPACT * compact | _WITH_LAST_MESSAGE * with_last_message)
    if where is not None:
        conv.where.data = msgspec.json.encode(where).decode()
    if keys := ",".join(sort):
        conv.sort = keys
    if skip:
        conv.skip = skip
    if limit is not None:
        conv.limit = limit
    reply = await ask(session, pb.query, pb.results, conv, repeatable=True)
    return decoding.conversation_infos(reply.results.data)
