"""Whom a client watches, and who of them is online as far as it knows."""

from collections.abc import Collection, Iterable, Iterator

from fastim.client.events import PresenceChanged
from fastim.wire import messages2_pb2 as pb

WATCHED_MAX = 500
"""Clients that one session can watch."""
WATCH_BYTES = 3_500
"""Of client ids in one request: a server takes commands of some 5 KB."""


class Presence:
    """What the server has told of those who are watched."""

    def __init__(self) -> None:
        self._online: dict[str, bool] = {}

    @property
    def watched(self) -> list[str]:
        """Whose coming and going is told."""
        return list(self._online)

    def begin(self, watched: Iterable[str], online: Iterable[str]) -> None:
        """From now on these are watched; some of them are online now."""
        self._online |= dict.fromkeys(watched, False)
        self._online |= dict.fromkeys(online, True)

    def end(self, client_ids: Iterable[str]) -> None:
        """These are not watched any more."""
        for client_id in client_ids:
            self._online.pop(client_id, None)

    def hear(self, presence: pb.PresenceCommand) -> Iterator[PresenceChanged]:
        """What a push changes."""
        yield from self._learn(presence.sessionPeerIds, online=presence.status == pb.on)

    def hear_again(self, asked: Iterable[str], online: Collection[str]) -> Iterator[PresenceChanged]:
        """What has changed while nobody could tell."""
        asked = list(asked)
        yield from self._learn((one for one in asked if one in online), online=True)
        yield from self._learn((one for one in asked if one not in online), online=False)

    def _learn(self, client_ids: Iterable[str], *, online: bool) -> Iterator[PresenceChanged]:
        changed = tuple(one for one in client_ids if self._online.get(one, online) != online)
        if changed:
            self._online |= dict.fromkeys(changed, online)
            yield PresenceChanged(changed, online)


def subscription(operation: pb.OpType, client_ids: Iterable[str]) -> pb.GenericCommand:
    """The request to watch clients, or to watch them no longer."""
    return pb.GenericCommand(
        cmd=pb.presence, op=operation, presenceMessage=pb.PresenceCommand(sessionPeerIds=client_ids)
    )


def portions(client_ids: Iterable[str]) -> Iterator[list[str]]:
    """Client ids without doubles, so many at a time that a request holds them."""
    portion: list[str] = []
    room = WATCH_BYTES
    for client_id in dict.fromkeys(client_ids):
        size = len(client_id.encode()) + 3
        if portion and size > room:
            yield portion
            portion, room = [], WATCH_BYTES
        portion.append(client_id)
        room -= size
    if portion:
        yield portion
