"""What a session takes up again when it is reopened: its chat room, whom it watches, and the news that it missed."""

from collections.abc import Awaitable, Callable, Hashable
from functools import partial

import anyio
import msgspec

from fastim.client import decoding
from fastim.client.connection import Connection
from fastim.client.cursor import Cursor
from fastim.client.errors import ConnectionLost, SigningFailed
from fastim.client.events import Event, MessageModified, MessageRecalled, Receipt, RoomLost
from fastim.client.inbox import Inbox
from fastim.client.presence import Presence, portions, subscription
from fastim.client.signing import Action, Signing
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb

RELIABLE = 1
"""The ``notificationType`` of what the server keeps for those who are away."""


class Resumption:
    """The state that outlives a connection, and how it is restored on the next.

    Patches need no request: the server tells of those since the time in the opening.

    Args:
        retry_seconds: Pause before the server is asked again for what it has refused and must not.
        notices_since: ``Client.notices_since`` of an earlier run, or 0.
        patches_since: ``Client.patches_since`` of an earlier run, or 0.

    Attributes:
        room_id: The chat room that the client is in, or empty.
    """

    def __init__(
        self, inbox: Inbox, signing: Signing, retry_seconds: float, *, notices_since: int, patches_since: int
    ) -> None:
        self._inbox = inbox
        self._retry_seconds = retry_seconds
        self._signing = signing
        self._notices = Cursor(notices_since)
        # From when on notices have still to be asked for; what is told meanwhile must not hide them.
        self._behind: Millis | None = Millis(notices_since) if notices_since else None
        self.patches = Cursor(patches_since)
        self.presence = Presence()
        self.room_id = ""

    @property
    def notices_since(self) -> Millis:
        """Until when everything that happened has been told."""
        return self._notices.newest if self._behind is None else self._behind

    def begin(self, now: Millis, *, again: bool) -> None:
        """The session is open, for the first time in this run or ``again``; nothing was told since."""
        self.patches.start(now)
        self._notices.start(now)
        if again:
            if self._behind is None:
                self._behind = self._notices.since
            self._notices.resume(self._behind)
            self.patches.resume(self.patches.since)

    def hear(self, push: pb.GenericCommand) -> list[Event]:
        """What a push, or a notice of something missed, tells that is not known yet.

        Raises:
            ValueError: It is malformed.
        """
        if push.cmd == pb.presence:
            return list(self.presence.hear(push.presenceMessage))
        told = list(decoding.told(push))
        if push.notificationType == RELIABLE and push.HasField("serverTs"):
            at = Millis(push.serverTs)
            return [event for event in told if self._notices.is_new(_key(event), at)]
        return [event for event in told if not _patched(event) or self._is_new(event)]

    async def restore(self, connection: Connection, client_id: str) -> None:
        """Be again what the client was before the connection was lost, and hear what it missed."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_try, connection, partial(self._return_to_room, connection, client_id))
            tasks.start_soon(_try, connection, partial(self._watch_again, connection))
            tasks.start_soon(_try, connection, partial(self._hear_what_was_missed, connection))

    async def _return_to_room(self, connection: Connection, client_id: str) -> None:
        """The server takes back who was not away for long; who asks is in the room in any case.

        Whether it has done so cannot be asked: a client is in a room when any of its devices is.
        """
        room_id = self.room_id
        if not room_id:
            return
        wish = pb.GenericCommand(cmd=pb.conv, op=pb.add, convMessage=pb.ConvCommand(cid=room_id, m=[client_id]))
        await self._signing.sign(wish.convMessage, Action.INVITE, client_id, room_id, [client_id])
        if room_id != self.room_id:
            return
        reply = await connection.request(wish)
        refused = decoding.refusal(reply) or decoding.member_changes(reply.convMessage).failed.get(client_id)
        if refused is not None and room_id == self.room_id:
            self.room_id = ""
            self._inbox.put(RoomLost(room_id, refused.code, refused.reason, refused.detail))

    async def _watch_again(self, connection: Connection) -> None:
        """Until the server does it: whoever watches relies on it."""
        for portion in portions(self.presence.watched):
            reply = await connection.request(subscription(pb.subscribe, portion))
            while decoding.refusal(reply) is not None:
                await anyio.sleep(self._retry_seconds)
                reply = await connection.request(subscription(pb.subscribe, portion))
            for event in self.presence.hear_again(portion, set(reply.presenceMessage.sessionPeerIds)):
                self._inbox.put(event)

    async def _hear_what_was_missed(self, connection: Connection) -> None:
        if not self._inbox.keeps:
            self._behind = None
        while self._behind is not None:
            await self._inbox.room()
            question = pb.NativeCommand(since=self._behind)
            command = pb.GenericCommand(cmd=pb.session, op=pb.notifications, nativeMessage=question)
            reply = await connection.request(command)
            if decoding.refusal(reply) is not None:
                return
            notices = decoding.notices(reply.nativeMessage.notifications)
            for notice in notices:
                for event in self.hear(notice):
                    self._inbox.put(event)
            newest = max((Millis(notice.serverTs) for notice in notices), default=self._behind)
            # A server that says there is more and sends nothing newer would be asked for ever.
            done = not reply.nativeMessage.hasMore or newest <= self._behind
            self._behind = None if done else newest

    def _is_new(self, event: Event) -> bool:
        assert isinstance(event, MessageModified | MessageRecalled)
        message = event.message
        at = message.patched_at or Millis(0)
        return self.patches.is_new((message.conversation_id, message.id, at), at)


async def _try(connection: Connection, part: Callable[[], Awaitable[None]]) -> None:
    try:
        await part()
    except ConnectionLost:
        return
    except SigningFailed as error:
        connection.drop(str(error))
    except ValueError:
        connection.drop("what the server sent is malformed")


def _patched(event: Event) -> bool:
    return isinstance(event, MessageModified | MessageRecalled)


def _key(event: Event) -> Hashable:
    # Of delivering and of reading a message there is one receipt each, whatever time it gives.
    if isinstance(event, Receipt):
        return Receipt, event.conversation_id, event.message_id, event.by, event.read
    return type(event), msgspec.json.encode(event)
