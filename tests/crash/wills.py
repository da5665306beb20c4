"""Wills: of sessions that are lost with the server, that come back, that say goodbye, and that were lost before."""

from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from random import Random

import trio

from fastim.wire import messages2_pb2 as pb
from tests.crash.clients import Tally
from tests.crash.house import EVERY_BIT, PATIENCE_SECONDS, House, conv, direct, logs
from tests.crash.ledger import Ledger
from tests.crash.wire import Gone, Wire, connected

EACH = 5
WILLS = 6
"""How often each client changes its mind."""
IN_FLIGHT_MAX = 2
"""Wills that may be lost when the server is killed while it sends them: taken, so that nobody sends them again."""
TWICE, CHANGED = -2, -3


class Legacies:
    """One round: clients leave wills, and the server is killed while they do, and again while it sends them.

    Attributes:
        faults: Everything that went wrong.
    """

    def __init__(self, house: House, label: str, chance: Random) -> None:
        self._house = house
        self._chance = chance
        self._witness = f"{label}-witness"
        self._lost, self._returning, self._closing, self._dropping = (
            [f"{label}-{kind}-{number}" for number in range(EACH)]
            for kind in ("lost", "returning", "closing", "dropping")
        )
        # Wills are sent in the order of their clients' ids, short ones first.
        self._last = f"{label}-the-last-of-all-to-be-sent"
        self._hall = ""
        self._ledger = Ledger()
        self._acked: dict[tuple[str, int], str] = {}
        self._told: Counter[tuple[str, int, str]] = Counter()
        self._acks, self._arrivals, self._ended = Tally(), Tally(), trio.Event()
        self._killed = False
        self.faults: list[str] = []

    async def wage(self) -> None:
        await self._house.start()
        everybody = [*self._lost, *self._returning, *self._closing, *self._dropping, self._last]
        (made,) = await self._house.make(self._witness, conv(pb.start, m=everybody))
        self._hall = made.convMessage.cid
        await self._leave_wills()
        await self._crash_again(self._chance.randint(1, EACH - IN_FLIGHT_MAX))
        await self._end()
        self._check(await self._house.make(self._witness, logs(self._hall)))
        self._house.kill()

    async def _leave_wills(self) -> None:
        async with trio.open_nursery() as nursery:
            self._killed = False
            nursery.start_soon(self._listen)
            nursery.start_soon(self._stay, self._last, 1)
            with trio.fail_after(PATIENCE_SECONDS):
                await self._acks.reach(1)
            for client in (*self._lost, *self._returning):
                nursery.start_soon(self._stay, client, WILLS)
            for client in (*self._closing, *self._dropping):
                nursery.start_soon(self._go, client, self._chance.randint(1, WILLS), client in self._closing)
            with trio.fail_after(PATIENCE_SECONDS):
                await self._acks.reach(self._chance.randint(2 * EACH, 2 * EACH * WILLS))
            self._killed = True
            self._house.kill()

    async def _crash_again(self, arrivals: int) -> None:
        """Start the server, and kill it when so many wills have been sent."""
        await self._house.start()
        async with trio.open_nursery() as nursery:
            self._killed = False
            nursery.start_soon(self._listen)
            for client in self._returning:
                nursery.start_soon(self._come_back, client)
            with trio.fail_after(PATIENCE_SECONDS):
                await self._arrivals.reach(self._arrivals.count + arrivals)
            self._killed = True
            self._house.kill()

    async def _end(self) -> None:
        """Start the server, and let those who have come back say goodbye when all wills have been sent."""
        await self._house.start()
        async with trio.open_nursery() as nursery:
            self._killed = False
            nursery.start_soon(self._listen)
            for client in self._returning:
                nursery.start_soon(self._come_back, client)
            with trio.fail_after(PATIENCE_SECONDS):
                await self._ended.wait()
                self._killed = True  # from here on a lost connection is one that another took the place of
                for client in self._returning:
                    async with self._session(client) as wire:
                        await wire.ask(pb.GenericCommand(cmd=pb.session, op=pb.close), lambda command: None)
            nursery.cancel_scope.cancel()

    async def _listen(self) -> None:
        async with self._session(self._witness) as wire:
            while True:
                command = await wire.receive()
                if command.cmd == pb.direct:
                    client, number = command.directMessage.msg.decode().split("|")
                    self._told[client, int(number), command.directMessage.id] += 1
                    self._arrivals.add()
                    if client == self._last:
                        self._ended.set()

    async def _stay(self, client: str, wills: int) -> None:
        async with self._session(client) as wire:
            await self._leave(wire, client, wills)
            while True:
                await wire.receive()

    async def _go(self, client: str, wills: int, politely: bool) -> None:
        """Leave wills, and then go: with a goodbye, which drops the will, or without one."""
        async with self._session(client) as wire:
            await self._leave(wire, client, wills)
            self._ledger.ask(client, 0)
            if politely:
                await wire.ask(pb.GenericCommand(cmd=pb.session, op=pb.close), lambda command: None)
                self._ledger.answer(client, 0)

    async def _come_back(self, client: str) -> None:
        """The device is there again, and so its will is not sent."""
        async with self._session(client) as wire:
            self._ledger.answer(client, 0)
            while True:
                await wire.receive()

    async def _leave(self, wire: Wire, client: str, wills: int) -> None:
        for number in range(1, wills + 1):
            self._ledger.ask(client, number)
            reply = await wire.ask(direct(self._hall, f"{client}|{number}".encode(), will=True), lambda command: None)
            self._ledger.answer(client, number)
            self._acked[client, number] = reply.ackMessage.uid
            self._acks.add()

    def _check(self, histories: list[pb.GenericCommand]) -> None:
        seen: dict[Hashable, int] = {}
        for (client, number, message_id), times in self._told.items():
            acked = self._acked.get((client, number), message_id)
            right = times == 1 and client not in seen
            seen[client] = (number if acked == message_id else CHANGED) if right else TWICE
        untold = [client for client in self._lost if not seen.get(client)]
        if len(untold) <= IN_FLIGHT_MAX:
            for client in untold:
                self._ledger.ask(client, 0)
        self.faults += self._ledger.faults({"told": seen})
        self.faults += [
            f"a will is in the history: {item.data!r}" for one in histories for item in one.logsMessage.logs
        ]

    @asynccontextmanager
    async def _session(self, client: str) -> AsyncIterator[Wire]:
        """A session until the server is killed; it may not be lost before."""
        server = self._house.server
        try:
            async with connected(server.tcp, server.app_id, client) as wire:
                session = pb.SessionCommand(deviceId=client, configBitmap=EVERY_BIT)
                opening = pb.GenericCommand(cmd=pb.session, op=pb.open, sessionMessage=session)
                await wire.ask(opening, lambda command: None)
                yield wire
        except Gone:
            if not self._killed:
                self.faults.append(f"{client} lost its connection to a server that was running")
