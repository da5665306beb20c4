"""Delivery: from an event to the sessions that are concerned, each body encoded once."""

from collections.abc import Callable, Iterable, Iterator
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
    MessagesQueued,
    MessagesReceipted,
    PatchesMissed,
    RoleChanged,
    SessionEvicted,
    SilenceChanged,
    UnreadChanged,
)
from fastim.core.session import Config, Session
from fastim.runtime.presence import Attached, Presence
from fastim.runtime.rooms import LocalRooms
from fastim.wire import codec


class Delivery:
    """Delivers one application's events to the sessions of this node.

    Attributes:
        delivered: Messages handed to a session since the start.
        withheld: Messages left out for a session that was behind; it is told its unread counts instead.
        ended: Called with a session that has been ended here, though its client did not close it.
    """

    def __init__(self, presence: Presence, rooms: LocalRooms) -> None:
        self._presence = presence
        self._rooms = rooms
        self.ended: Callable[[Session], None] = _nothing
        self.delivered = 0
        self.withheld = 0
        self._ways: dict[type[Event], Callable[[Any], None]] = {
            MessagePosted: self._message,
            MessagePatched: self._patched,
            PatchesMissed: self._patches_missed,
            MessagesQueued: self._queued,
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
        body = b""
        for attached in self._audience(event.kind, event.conversation_id, event.recipients):
            session = attached.session
            if session.number == event.origin or (session.client_id == event.message.sender and not event.sync):
                continue
            body = body or codec.encode_delivery(event)
            if attached.connection.offer(body + attached.suffix, session.client_id):
                self.delivered += 1
            else:
                self.withheld += 1

    def _patched(self, event: MessagePatched) -> None:
        body = b""
        for attached in self._readers(event):
            if attached.session.number != event.origin and Config.PATCHES in attached.session.config:
                body = body or codec.encode_patched(event)
                attached.connection.send(body + attached.suffix)

    def _readers(self, event: MessagePatched) -> Iterable[Attached]:
        if not event.only:
            return self._audience(event.kind, event.conversation_id, event.recipients)
        attached = self._presence.find(event.message.sender, event.only)
        return () if attached is None else (attached,)

    def _patches_missed(self, event: PatchesMissed) -> None:
        self._tell_session(event.client_id, event.session, codec.encode_missed_patches(event))

    def _queued(self, event: MessagesQueued) -> None:
        self._tell_session(event.client_id, event.session, codec.encode_queued(event))

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
        for attached in self._audience(event.kind, event.conversation_id, event.members):
            if attached.session.number != event.origin:
                attached.connection.send(body + attached.suffix)

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
        self._presence.leave(attached.session)
        self.ended(attached.session)
        if not event.silently:
            attached.connection.send(codec.encode_eviction(SessionConflict()) + attached.suffix)
        elif not attached.connection.link.sessions:
            attached.connection.shut()

    def _kicked(self, event: ClientKicked) -> None:
        body = codec.encode_eviction(KickedByApp(), event.reason)
        for attached in list(self._presence.of(event.client_id)):
            if attached.session.opened_at <= event.at:
                self._presence.leave(attached.session)
                self.ended(attached.session)
                attached.connection.send(body + attached.suffix)

    def _audience(self, kind: Kind, conversation_id: str, client_ids: Iterable[str]) -> Iterator[Attached]:
        """The sessions inside a chat room; elsewhere those of ``client_ids`` that know such conversations."""
        if kind is Kind.CHAT_ROOM:
            for session in list(self._rooms.occupants(conversation_id)):
                attached = self._presence.find(session.client_id, session.number)
                if attached is not None:
                    yield attached
            return
        for client_id in client_ids:
            for attached in self._presence.of(client_id):
                if kind is not Kind.TEMPORARY or Config.TEMPORARY_CONVERSATIONS in attached.session.config:
                    yield attached

    def _tell_session(self, client_id: str, number: int, bodies: Iterable[bytes]) -> None:
        attached = self._presence.find(client_id, number)
        if attached is not None:
            for body in bodies:
                attached.connection.send(body + attached.suffix)

    def _tell(self, client_ids: Iterable[str], body: bytes) -> None:
        for client_id in client_ids:
            for attached in self._presence.of(client_id):
                attached.connection.send(body + attached.suffix)


def _nothing(session: Session) -> None:
    """What is called before anybody wants to know."""
