"""What is past its time, and what was deleted: the server is killed while it takes it away."""

from pathlib import Path
from random import Random

import trio

from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.environment import open_beside, open_tables
from fastim.core.message import Span
from fastim.core.unread import unread
from fastim.wire import messages2_pb2 as pb
from tests.crash.feature_conversations import ids
from tests.crash.house import PATIENCE_SECONDS, House, conv, direct, logs
from tests.crash.wire import refusal_of
from tests.end_to_end.test_clock_steps import DAY, SteppingProcess
from tests.server_process import ServerFailed

EACH = 6
MESSAGES = 150
NEW_MESSAGES = 5
SWEPT = ("conversations", "messages", "notices")
"""Tables that get shorter when something is swept, at different times of a round; ``purges`` comes last."""
SWEEP_SECONDS = 20.0
RULES = ("--set", "messages.history_days=1", "--set", "messages.notices_days=1")


class Sweeping:
    """One data directory: conversations that have ended, were deleted, or only have old messages, and a few that stay.

    Attributes:
        faults: Everything that went wrong.
    """

    def __init__(self, server: SteppingProcess, chance: Random) -> None:
        self._server = server
        self._house = House(server)
        self._chance = chance
        self._owner, self._reader = "owner", "reader"
        self._ended: list[str] = []
        self._deleted: list[str] = []
        self._old: list[str] = []
        self._lasting = ""
        self.faults: list[str] = []

    async def prepare(self) -> None:
        """Make everything, and let two days pass; the server is stopped when nothing has been swept yet."""
        self._server.set_clock(0)
        await self._house.start()
        self._ended = [await self._temporary(f"third {number}") for number in range(EACH)]
        self._lasting = await self._temporary("somebody", tempConvTTL=30 * 86_400)
        self._deleted = await self._house.start_many(self._owner, EACH, [self._reader])
        self._old = await self._house.start_many(self._owner, EACH, [self._reader])
        for cid in (*self._ended, *self._deleted, *self._old, self._lasting):
            await self._fill(cid)
        for cid in self._deleted:
            await self._house.make(self._owner, conv(pb.add_shutup, cid=cid, m=[self._reader]))
            assert (await self._house.rest("DELETE", f"/1.2/rtm/conversations/{cid}"))[0] == 200
        self._server.set_clock(2 * DAY)
        for cid in (*self._old, self._lasting):
            await self._house.make(self._owner, *(direct(cid, b"new") for _ in range(NEW_MESSAGES)))
        self._house.kill()

    async def crash(self) -> None:
        """Start the server, kill it in the middle of its sweep, and look at what is left."""
        there, left = entries(self._server.data), self._left()
        going = [table for table in SWEPT if there[table] > left[table]] or ["purges"] * bool(there["purges"])
        if not going:  # the server was quicker than the kill before this one
            return
        table = self._chance.choice(going)
        most = left[table] + int((there[table] - left[table]) * self._chance.uniform(0.2, 0.95))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._start)
            with trio.fail_after(PATIENCE_SECONDS):
                while entries(self._server.data)[table] > most:
                    await trio.lowlevel.checkpoint()
            self._house.kill()

    async def finish(self) -> None:
        """Start the server, and let it take everything away."""
        await self._house.start()
        with trio.move_on_after(SWEEP_SECONDS):  # what is left then shows in ``trace``
            left = self._left()
            while any(entries(self._server.data)[table] > count for table, count in left.items()):
                await trio.lowlevel.checkpoint()
        await self._look()
        self._house.kill()

    def trace(self) -> dict[str, tuple[int, int]]:
        """The tables that have more or fewer records than they should when all is swept, and what they should have."""
        found = entries(self._server.data)
        return {table: (found[table], count) for table, count in self._left().items() if found[table] != count}

    async def check_store(self) -> None:
        """What the store of a stopped server says of those that stay, and of those that do not. Under asyncio."""
        store = LmdbStore.open(self._server.data)
        try:
            (application,) = await store.applications()
            part = store.of(application)
            for cid in self._deleted:
                if await part.find_conversation(cid) is not None:
                    self.faults.append(f"{cid} was deleted and is there")
            for cid in self._old:
                messages = await part.history(cid, Span(newest_first=False, limit=1 << 30))
                sequences = [message.sequence for message in messages]
                head, membership = await part.find_head(cid), await part.find_membership(cid, self._reader)
                if sequences != list(range(head.first, head.sequence + 1)):
                    self.faults.append(f"{cid}: {sequences[:3]}... of {head}")
                assert membership is not None
                expected = sum(one.sequence > membership.read and one.sender != self._reader for one in messages)
                if unread(head, membership, self._reader).count != expected:
                    self.faults.append(f"{cid}: {membership} of {head}, and {expected} are unread")
        finally:
            await store.close()

    def _left(self) -> dict[str, int]:
        """How many records there are of each kind when all is swept."""
        kept = len(self._old) + 1
        return {
            "conversations": kept,
            "heads": kept,
            "messages": kept * NEW_MESSAGES,
            "memberships": 2 * kept + 1,
            "conversation_expiries": 1,
            "uniques": 1,
            **dict.fromkeys(("patches", "standings", "notices", "notice_times", "purges"), 0),
        }

    async def _start(self) -> None:
        try:
            await self._house.start()
        except ServerFailed:
            if self._server.log.count("Traceback"):
                raise

    async def _temporary(self, third: str, **fields: int) -> str:
        (made,) = await self._house.make(self._owner, conv(pb.start, m=[self._reader, third], tempConv=True, **fields))
        return made.convMessage.cid

    async def _fill(self, conversation: str) -> None:
        """Messages by both, some read and some changed."""
        sent = await self._house.make(
            self._owner, *(direct(conversation, b"old", dt=f"o{number}") for number in range(MESSAGES))
        )
        await self._house.make(
            self._reader, *(direct(conversation, b"old", dt=f"r{number}") for number in range(MESSAGES // 10))
        )
        acks = [one.ackMessage for one in self._chance.sample(sent, 2)]
        mark = pb.ReadTuple(cid=conversation, timestamp=acks[0].t, mid=acks[0].uid)
        read = pb.GenericCommand(cmd=pb.read, readMessage=pb.ReadCommand(convs=[mark]))
        async with self._house.visit(self._reader) as visit:
            await visit.send(read)
            await visit.until(lambda told: any(one.cid == conversation for one in told.unreadMessage.convs))
        item = pb.PatchItem(cid=conversation, mid=acks[1].uid, timestamp=acks[1].t, recall=True)
        patch = pb.GenericCommand(cmd=pb.patch, op=pb.modify, patchMessage=pb.PatchCommand(patches=[item]))
        await self._house.make(self._owner, patch)

    async def _look(self) -> None:
        """What clients see when all is swept."""
        gone = [*self._ended, *self._deleted]
        stay = [*self._old, self._lasting]
        belongs = await self._house.belongs(self._reader, [*gone, *stay])
        if [cid for cid, member in belongs.items() if member] != stay:
            self.faults.append(f"belongs to {belongs}")
        if sorted(ids(await self._house.own(self._reader))) != sorted(self._old):
            self.faults.append("other conversations are its own")
        for answers, code in (
            (await self._house.ask(self._reader, *map(logs, self._ended)), "4303"),
            (await self._house.ask(self._reader, *(direct(cid, b"") for cid in self._ended)), "4303"),
            (await self._house.ask(self._reader, *map(logs, self._deleted)), "4303"),
            (await self._house.ask(self._reader, *(direct(cid, b"") for cid in self._deleted)), "4401"),
        ):
            self.faults += [f"{refusal_of(one)}" for one in answers if not refusal_of(one).startswith(code)]
        for one in await self._house.make(self._reader, *map(logs, stay)):
            if [bytes(item.data) for item in one.logsMessage.logs] != [b"new"] * NEW_MESSAGES:
                self.faults.append(f"history: {one.logsMessage}")
        async with self._house.visit(self._reader) as visit:
            with trio.move_on_after(SWEEP_SECONDS):
                await visit.until(lambda told: told.cmd == pb.unread)
        unread_now = {one.cid for told in visit.told for one in told.unreadMessage.convs}
        if unread_now != set(stay):
            self.faults.append(f"unread: {unread_now}")


def entries(data: Path) -> dict[str, int]:
    """How many records each table has, beside a server that may be starting."""
    environment = open_beside(data)
    try:
        opened = open_tables(environment)
        with environment.begin() as transaction:
            return {
                name: int(transaction.stat(table)["entries"])
                for name, table in zip(opened._fields, opened, strict=True)
            }
    finally:
        environment.close()
