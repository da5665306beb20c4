"""The ledger: what became of a chat room's messages, by priority."""

from msgspec import Struct


class Counts(Struct, frozen=True):
    """One number for each priority."""

    high: int = 0
    normal: int = 0
    low: int = 0


class Ledger(Struct, frozen=True):
    """Of one chat room, since somebody was first in it.

    A message is counted once when it is taken, and from then on once for each session that it is owed: ``owed`` is at
    every instant the sum of ``written``, all that was shed, ``closed``, ``torn`` and ``pending``.

    Attributes:
        readers: Sessions in the room.
        messages: Messages taken.
        refused_rate: Messages refused because the room took more in a second than it may; with
            ``refused_governor`` the only ones that are in no history.
        refused_governor: Messages refused because the server was busy.
        owed: Deliveries.
        written: Those that the system has taken for its peer.
        shed_age: Left out for a session that lagged, because they were too old by then.
        shed_distance: Because they were low, and it lagged far.
        shed_sample: Because it lagged far, and they were not in the sample that it still got of each sender.
        shed_overrun: Because the room's window had gone past them.
        closed: Still owed when the session left, or its connection was lost.
        torn: Cut in the middle by a full socket; the rest goes first when there is room.
        pending: Not sent yet.
        rejoined: How many of ``owed`` were owed before to a session that came back.
    """

    readers: int = 0
    messages: Counts = Counts()
    refused_rate: Counts = Counts()
    refused_governor: Counts = Counts()
    owed: Counts = Counts()
    written: Counts = Counts()
    shed_age: Counts = Counts()
    shed_distance: Counts = Counts()
    shed_sample: Counts = Counts()
    shed_overrun: Counts = Counts()
    closed: Counts = Counts()
    torn: Counts = Counts()
    pending: Counts = Counts()
    rejoined: Counts = Counts()
