"""Delivery: from an event to the sessions that are concerned, each body encoded once.

What happens in a chat room goes into its log, from which everybody there is served; all else is put on the wires of
those concerned.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from fastim.core.conversation import Kind
from fastim.core.errors import KickedByApp, SessionConflict
from fastim.core.events import (
    BlocksChanged,
    ClientKicked,
    ConversationStarted,
    ConversationUpdated,
    Event,
    MembersAdded,
    MembersRemoved,
    MessagePatched,
    MessagePosted,
    MessagesMissed,
    MessagesQueued,
    MessagesReceipted,
    PatchesMissed,
    RoleChanged,
    SessionEvicted,
    SilenceChanged,
    UnreadChanged,
)
from fastim.core.session import Config, Ending, Session
from fastim.runtime.presence import Attached, Presence
from fastim.runtime.room_logs import RoomLogs
from fastim.wire import codec


class Delivery:
    """Delivers one application's events to the sessions of this node.

    Attributes:
        delivered: Messages handed to a session since the start, those of chat rooms aside: their logs count them.
        withheld: Messages left out for a session that was behind; it is told its unread counts instead.
        replayed: Messages of chat rooms that the store had for a session that came back.
        ended: Called with a session that has been ended here, though its client did not close it.
    """

    def __init__(self, presence: Presence, logs: RoomLogs) -> None:
        self._presence = presence
        self._logs = logs
        self.ended: Callable[[Session, Ending], None] = _nothing
        self.delivered = 0
        self.withheld = 0
        self.replayed = 0
        self._ways: dict[type[Event], Callable[[Any], None]] = {
            MessagePosted: self._message,
            MessagePatched: self._patched,
            PatchesMissed: self._patches_missed,
            MessagesQueued: self._queued,
            MessagesMissed: self._missed,
            MessagesReceipted: self._receipted,
            RoleChanged: self._role_changed,
            SilenceChanged: self._silence_changed,
            BlocksChanged: self._blocks_changed,
            ConversationStarted: self._started,
            MembersAdded: self._added,
            MembersRemoved: self._removed,
            ConversationUpdated: self._updated,
            UnreadChanged: self._unread,
            SessionEvicted: self._evicted,
            ClientKicked: self._kicked,
        }

    def deliver(self, event: Event) -> None:
        """Hand ``event`` to every session concerned."""
        self._ways[type(event)](event)

    def _message(self, event: MessagePosted) -> None:
        if event.kind is Kind.CHAT_ROOM:
            self._message_in_room(event)
            return
        body = b""
        for attached in self._sessions(event.kind, event.recipients):
            session = attached.session
            if session.number == event.origin or (session.client_id == event.message.sender and not event.sync):
                continue
            body = body or codec.encode_delivery(event)
            if attached.connection.offer(body, session.client_id, attached.suffix):
                self.delivered += 1
            else:
                self.withheld += 1

    def _message_in_room(self, event: MessagePosted) -> None:
        without = {event.origin}
        if not event.sync:
            without.update(attached.session.number for attached in self._presence.of(event.message.sender))
        self._logs.post(event, partial(codec.encode_delivery, event), without)

    def _patched(self, event: MessagePatched) -> None:
        if event.only:
            attached = self._presence.find(event.message.sender, event.only)
            readers: Iterable[Attached] = () if attached is None else (attached,)
        elif event.kind is Kind.CHAT_ROOM:
            self._logs.announce(event.conversation_id, codec.encode_patched(event), event.origin, patch=True)
            return
        else:
            readers = self._sessions(event.kind, event.recipients)
        body = b""
        for attached in readers:
            if attached.session.number != event.origin and Config.PATCHES in attached.session.config:
                body = body or codec.encode_patched(event)
                attached.connection.send(body, attached.suffix)

    def _patches_missed(self, event: PatchesMissed) -> None:
        self._tell_session(event.client_id, event.session, codec.encode_missed_patches(event))

    def _queued(self, event: MessagesQueued) -> None:
        self._tell_session(event.client_id, event.session, codec.encode_queued(event))

    def _missed(self, event: MessagesMissed) -> None:
        self.replayed += len(event.messages)
        self._tell_session(event.client_id, event.session, codec.encode_missed(event))

    def _receipted(self, event: MessagesReceipted) -> None:
        for body in codec.encode_receipts(event):
            self._tell((event.client_id,), body)

    def _role_changed(self, event: RoleChanged) -> None:
        self._tell(event.members, codec.encode_role_changed(event))

    def _silence_changed(self, event: SilenceChanged) -> None:
        self._tell(event.clients, codec.encode_silenced(event))
        self._tell(event.members, codec.encode_members_silenced(event))

    def _blocks_changed(self, event: BlocksChanged) -> None:
        self._tell(event.clients, codec.encode_blocked(event))
        self._tell(event.members, codec.encode_members_blocked(event))

    def _started(self, event: ConversationStarted) -> None:
        self._tell(event.members, codec.encode_joined(event))
        self._tell(event.members, codec.encode_members_joined(event))

    def _added(self, event: MembersAdded) -> None:
        self._tell(event.added, codec.encode_joined(event))
        self._tell(event.members, codec.encode_members_joined(event))

    def _removed(self, event: MembersRemoved) -> None:
        self._tell(event.removed, codec.encode_left(event))
        self._tell(event.members, codec.encode_members_left(event))

    def _updated(self, event: ConversationUpdated) -> None:
        body = codec.encode_updated(event)
        if event.kind is Kind.CHAT_ROOM:
            self._logs.announce(event.conversation_id, body, event.origin, patch=False)
            return
        for attached in self._sessions(event.kind, event.members):
            if attached.session.number != event.origin:
                attached.connection.send(body, attached.suffix)

    def _unread(self, event: UnreadChanged) -> None:
        body = codec.encode_unread(event)
        if event.session:
            self._tell_session(event.client_id, event.session, [body])
        else:
            self._tell((event.client_id,), body)

    def _evicted(self, event: SessionEvicted) -> None:
        attached = self._presence.find(event.client_id, event.session)
        if attached is None:
            return
        self._put_out(attached.session, Ending.LOST if event.silently else Ending.CONFLICT)
        if not event.silently:
            attached.connection.send(codec.encode_eviction(SessionConflict()), attached.suffix)
        elif not attached.connection.link.sessions:
            attached.connection.shut()

    def _kicked(self, event: ClientKicked) -> None:
        body = codec.encode_eviction(KickedByApp(), event.reason)
        for attached in list(self._presence.of(event.client_id)):
            if attached.session.opened_at <= event.at:
                self._put_out(attached.session, Ending.KICKED)
                attached.connection.send(body, attached.suffix)

    def _put_out(self, session: Session, ending: Ending) -> None:
        self._presence.leave(session)
        self._logs.silence(session)
        self.ended(session, ending)

    def _sessions(self, kind: Kind, client_ids: Iterable[str]) -> Iterator[Attached]:
        """The sessions of ``client_ids`` that know such conversations."""
        for client_id in client_ids:
            for attached in self._presence.of(client_id):
                if kind is not Kind.TEMPORARY or Config.TEMPORARY_CONVERSATIONS in attached.session.config:
                    yield attached

    def _tell_session(self, client_id: str, number: int, bodies: Iterable[bytes]) -> None:
        attached = self._presence.find(client_id, number)
        if attached is not None:
            for body in bodies:
                attached.connection.send(body, attached.suffix)

    def _tell(self, client_ids: Iterable[str], body: bytes) -> None:
        for client_id in client_ids:
            for attached in self._presence.of(client_id):
                attached.connection.send(body, attached.suffix)


def _nothing(session: Session, ending: Ending) -> None:
    """What is called before anybody wants to know."""
