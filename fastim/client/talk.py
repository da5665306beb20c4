"""What is said in a conversation: sending, changing, receipts, reading, history."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from fastim.client import decoding
from fastim.client.bodies import Body, TypedMessage, encoded
from fastim.client.drafts import draft
from fastim.client.errors import UnexpectedReply
from fastim.client.history import History
from fastim.client.requests import ask
from fastim.client.sending import send
from fastim.client.session import Session
from fastim.client.values import Message, Place, Priority, ReceiptTimes, position
from fastim.core.patch import RECALLED_BODY
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1000
"""Source: wire protocol, history."""


class Talk:
    """The calls of a conversation that are about its messages."""

    id: str
    _session: Session

    async def send(
        self,
        body: Body,
        *,
        mentions: Iterable[str] = (),
        mention_all: bool = False,
        receipt: bool = False,
        transient: bool = False,
        will: bool = False,
        priority: Priority = Priority.NORMAL,
        push_data: Mapping[str, Any] | None = None,
        token: str | None = None,
    ) -> Message:
        """Send a message and return it as stored.

        It is on the server's disk when this returns. If the connection breaks first, it is sent again on the next one,
        with the same token, so it is stored once; whoever does not want to wait for that puts a timeout around the
        call. A message of which nobody knows in the end whether it was sent is kept in ``Client.failed``, to be sent
        again from there, or with the same ``token``. A transient message is not sent again, and not kept.

        An option that does not go with the others, or not with this kind of conversation, has no effect.

        Args:
            receipt: Ask for a ``Receipt`` when it is delivered and when it is read; for two members only, and not for a
                transient message or a will.
            transient: Only for those who are online now; not stored.
            will: Keep it back until this session is lost, and forget it when the client says goodbye. A later will, of
                whatever conversation, takes its place. It is not stored, and kept nowhere else.
            priority: Counts in chat rooms only.
            push_data: What the offline push says, instead of what it usually says; counts into the message's length.
            token: Names the message among all that this client sends to this conversation; made when ``None``.

        Raises:
            Refused: Not a member (4401), silenced (4563), too long (4109), too fast (4116), ...
            ConnectionLost: It may or may not have been sent.
        """
        wanted = draft(
            self.id,
            body,
            mentions=mentions,
            mention_all=mention_all,
            receipt=receipt,
            transient=transient,
            will=will,
            priority=priority,
            push_data=push_data,
            token=token,
        )
        return await send(self._session, wanted)

    async def modify(
        self, message: Message, body: Body, *, mentions: Iterable[str] = (), mention_all: bool = False
    ) -> Message:
        """Give one of this client's own messages another body, and return the message as it is now.

        If the connection breaks, it is asked for again.

        Raises:
            Refused: It is somebody else's (4403), is not there (4404), a hook is against it (4405), modifying is off
                in this application (4406), ...
        """
        raw, binary = encoded(body), isinstance(body, bytes)
        item = pb.PatchItem(mentionPids=list(mentions))
        if binary:
            item.binaryMsg = raw
        else:
            item.data = raw
        if mention_all:
            item.mentionAll = True
        patched_at = await self._patch(message, item)
        return replace(
            message,
            raw=raw,
            binary=binary,
            mentions=tuple(dict.fromkeys(item.mentionPids)),
            mention_all=mention_all,
            patched_at=patched_at,
        )

    async def recall(self, message: Message) -> Message:
        """Take one of this client's own messages back, and return what is left of it.

        If the connection breaks, it is asked for again.

        Raises:
            Refused: It is somebody else's (4403), is not there (4404), a hook is against it (4405), recalling is off in
                this application (4407), ...
        """
        patched_at = await self._patch(message, pb.PatchItem(recall=True))
        return replace(
            message,
            raw=RECALLED_BODY,
            binary=False,
            mentions=(),
            mention_all=False,
            patched_at=patched_at,
            recalled=True,
        )

    async def _patch(self, message: Message, item: pb.PatchItem) -> Millis:
        item.cid, item.mid, item.timestamp = self.id, message.id, message.timestamp

        def take_note(reply: pb.GenericCommand) -> None:
            # What this device did itself is no news to it after a reconnection.
            at = Millis(reply.patchMessage.lastPatchTime)
            self._session.resumption.patches.is_new((self.id, message.id, at), at)

        command = pb.GenericCommand(cmd=pb.patch, op=pb.modify, patchMessage=pb.PatchCommand(patches=[item]))
        reply = await self._session.call(command, (pb.patch, pb.modified), repeatable=True, on_success=take_note)
        return Millis(reply.patchMessage.lastPatchTime)

    async def receipt_times(self) -> ReceiptTimes:
        """How far the one other member of a conversation of two has got."""
        reply = await ask(self._session, pb.max_read, pb.max_read, pb.ConvCommand(cid=self.id), repeatable=True)
        return decoding.receipt_times(reply)

    async def receipt_times_of_members(self) -> dict[str, ReceiptTimes]:
        """How far each of the other members has got."""
        conv = pb.ConvCommand(cid=self.id, queryAllMembers=True)
        reply = await ask(self._session, pb.max_read, pb.max_read, conv, repeatable=True)
        return {times.pid: decoding.receipt_times(times) for times in reply.maxReadTuples}

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
        message_type: int | type[TypedMessage] | None = None,
    ) -> list[Message]:
        """Up to ``limit`` messages between two places, in ascending order whichever end they are counted from.

        Args:
            after: The older end; ``None``: the beginning.
            before: The newer end; ``None``: now.
            after_included: Whether ``after`` itself belongs to it. A bare time stands for its whole millisecond.
            newest_first: Count from the newer end; ``None``: unless ``after`` is given.
            limit: 0 to 1000.
            message_type: Only messages of this type, or whose JSON body has this ``_lctype``.

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
            logs.lctype = message_type if isinstance(message_type, int) else message_type.number()
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
        message_type: int | type[TypedMessage] | None = None,
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
