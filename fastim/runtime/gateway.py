"""The gateway: where a door brings what it has accepted."""

import asyncio

from fastim.core.session import OfflineMode
from fastim.runtime.connection import Connection, Receiver
from fastim.runtime.deadlines import Deadlines
from fastim.settings import Delivery, Limits
from fastim.wire.framing import Framing


class Gateway:
    """Makes connections out of accepted transports, and knows all of them.

    Attributes:
        connections: Those that are open.
        accepting: Whether new ones are welcome; not while the server stops.
    """

    def __init__(self, receiver: Receiver, deadlines: Deadlines, limits: Limits, delivery: Delivery) -> None:
        self._receiver = receiver
        self._delivery = delivery
        self.deadlines = deadlines
        self.limits = limits
        self.connections: set[Connection] = set()
        self.accepting = True
        self._emptied = asyncio.Event()

    def connect(
        self, transport: asyncio.Transport, framing: Framing, offline_mode: OfflineMode, *, door: str
    ) -> Connection:
        """A connection over ``transport``; the door has to call ``disconnect`` when the transport is gone."""
        connection = Connection(
            transport,
            framing,
            offline_mode,
            door=door,
            receiver=self._receiver,
            deadlines=self.deadlines,
            limits=self.limits,
            delivery=self._delivery,
        )
        self.connections.add(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The transport of ``connection`` is gone."""
        self.connections.discard(connection)
        connection.connection_lost()
        if not self.connections:
            self._emptied.set()

    async def emptied(self) -> None:
        """Wait until no connection is open."""
        while self.connections:
            self._emptied.clear()
            await self._emptied.wait()
