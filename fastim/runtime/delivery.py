"""Delivery: from an event to the sessions that are concerned, each body encoded once."""

from collections.abc import Callable, Iterable
from typing import Any

from fastim.core.errors import KickedByApp, SessionConflict
from fastim.core.events import (
    ClientKicked,
    ConversationStarted,
    ConversationUpdated,
    Event,
    MembersAdded,
    MembersRemoved,
    MessagePosted,
    SessionEvicted,
    UnreadChanged,
)
from fastim.runtime.presence import Presence
from fastim.wire import codec


class Delivery:
    """Delivers one application's events to the sessions of this node.

    Attributes:
        delivered: Messages handed to a session since the start.
        withheld: Messages left out for a session that was behind; it is told its unread counts instead.
    """

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self.delivered = 0
        self.withheld = 0
        self._ways: dict[type[Event], Callable[[Any], None]] = {
            MessagePosted: self._message,
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
        for client_id in event.recipients:
            for attached in self._presence.of(client_id):
                if attached.session.number == event.origin:
                    continue
                body = body or codec.encode_delivery(event)
                if attached.connection.offer(body + attached.suffix, client_id):
                    self.delivered += 1
                else:
                    self.withheld += 1

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
        self._tell(event.members, codec.encode_updated(event), but=event.origin)

    def _unread(self, event: UnreadChanged) -> None:
        body = codec.encode_unread(event)
        if not event.session:
            self._tell((event.client_id,), body)
            return
        attached = self._presence.find(event.client_id, event.session)
        if attached is not None:
            attached.connection.send(body + attached.suffix)

    def _evicted(self, event: SessionEvicted) -> None:
        attached = self._presence.find(event.client_id, event.session)
        if attached is None:
            return
        self._presence.leave(attached.session)
        if not event.silently:
            attached.connection.send(codec.encode_eviction(SessionConflict()) + attached.suffix)
        elif not attached.connection.link.sessions:
            attached.connection.shut()

    def _kicked(self, event: ClientKicked) -> None:
        body = codec.encode_eviction(KickedByApp(), event.reason)
        for attached in list(self._presence.of(event.client_id)):
            if attached.session.opened_at <= event.at:
                self._presence.leave(attached.session)
                attached.connection.send(body + attached.suffix)

    def _tell(self, client_ids: Iterable[str], body: bytes, but: int = 0) -> None:
        for client_id in client_ids:
            for attached in self._presence.of(client_id):
                if attached.session.number != but:
                    attached.connection.send(body + attached.suffix)
