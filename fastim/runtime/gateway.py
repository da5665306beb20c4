"""The gateway: where a door brings what it has accepted."""

import asyncio

from fastim._fanout import Fanout
from fastim.core.session import OfflineMode
from fastim.runtime.connection import Connection, Receiver
from fastim.runtime.deadlines import Deadlines
from fastim.runtime.limits import LimitCounters
from fastim.settings import Delivery, Limits
from fastim.wire.framing import Framing


class Gateway:
    """Makes connections out of accepted transports, and knows all of them.

    Attributes:
        connections: Those that are open.
        by_door: How many these are, by the door they came in by.
        accepting: Whether new ones are welcome; not while the server stops.
        short_of_memory: Whether new ones have to wait until there is memory for them.
        counters: The limits that bit.
    """

    def __init__(
        self,
        receiver: Receiver,
        deadlines: Deadlines,
        limits: Limits,
        delivery: Delivery,
        fanout: Fanout,
        counters: LimitCounters | None = None,
    ) -> None:
        self._fanout = fanout
        self._receiver = receiver
        self._delivery = delivery
        self.deadlines = deadlines
        self.limits = limits
        self.counters = counters or LimitCounters()
        self.connections: set[Connection] = set()
        self.by_door: dict[str, int] = {}
        self.accepting = True
        self.short_of_memory = False
        self._emptied = asyncio.Event()

    @property
    def obstacle(self) -> str:
        """Why nobody is let in at the moment; empty when that is not so."""
        if not self.accepting:
            return "stopping"
        return "short of memory" if self.short_of_memory else ""

    def connect(
        self,
        transport: asyncio.Transport,
        framing: Framing,
        offline_mode: OfflineMode,
        *,
        door: str,
        shaken: bool = True,
        address: str | None = None,
    ) -> Connection:
        """A connection over ``transport``; the door has to call ``disconnect`` when the transport is gone.

        Args:
            shaken: Whether there was a handshake; else the first whole frame is taken for it.
            address: The client's IP address, or empty; ``None``: the transport's peer is the client.
        """
        connection = Connection(
            transport,
            framing,
            offline_mode,
            door=door,
            fanout=self._fanout,
            receiver=self._receiver,
            deadlines=self.deadlines,
            limits=self.limits,
            delivery=self._delivery,
            counters=self.counters,
            shaken=shaken,
            address=address,
        )
        self.connections.add(connection)
        self.by_door[door] = self.by_door.get(door, 0) + 1
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The transport of ``connection`` is gone."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.by_door[connection.door] -= 1
        connection.connection_lost()
        if not self.connections:
            self._emptied.set()

    async def emptied(self) -> None:
        """Wait until no connection is open."""
        while self.connections:
            self._emptied.clear()
            await self._emptied.wait()
