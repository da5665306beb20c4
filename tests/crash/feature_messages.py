"""Messages that are changed, read and received, and places in chat rooms, while the server is killed."""

import json
from collections import Counter
from collections.abc import Hashable
from typing import Any

from fastim.wire import messages2_pb2 as pb
from tests.crash.feature_conversations import unread_of
from tests.crash.house import Feature, House, Task, conv, direct, logs
from tests.crash.ledger import Views

SENDERS = 3
READERS = 4
EACH = 12
ROOMS = 3
MOVES = 15
OTHER = 2
"""What is neither as before nor as it should be."""


class Patches(Feature):
    """Messages that are modified or recalled."""

    async def prepare(self, house: House) -> None:
        self.senders, self.reader = self.names("sender", SENDERS), self.name("reader")
        self.messages: dict[str, tuple[str, pb.AckCommand]] = {}
        self.recalled: set[str] = set()
        async with house.visit(self.reader) as visit:
            replies = await visit.ask_all([pb.GenericCommand(cmd=pb.session, op=pb.refresh)])
            assert replies[0].op == pb.refreshed
        for sender in self.senders:
            conversations = await house.start_many(sender, EACH, [self.reader])
            sent = await house.make(sender, *(direct(cid, b"as it was") for cid in conversations))
            acks = [reply.ackMessage for reply in sent]
            self.messages |= {cid: (sender, ack) for cid, ack in zip(conversations, acks, strict=True)}
            self.recalled |= {cid for cid in conversations if self.chance.random() < 0.5}
            self.tasks[sender] = [Task(cid, self._patch(cid, recall=cid in self.recalled)) for cid in conversations]

    def _patch(self, conversation: str, *, recall: bool) -> pb.GenericCommand:
        _, ack = self.messages[conversation]
        item = pb.PatchItem(cid=conversation, mid=ack.uid, timestamp=ack.t, recall=recall, data=b"as it is")
        return pb.GenericCommand(cmd=pb.patch, op=pb.modify, patchMessage=pb.PatchCommand(patches=[item]))

    async def look(self, house: House) -> Views:
        conversations = list(self.messages)
        histories = await house.make(self.reader, *map(logs, conversations))
        columns = await house.found(self.reader, {"objectId": {"$in": conversations}}, flag=2)
        views: dict[str, dict[Hashable, int]] = {
            "history": {
                reply.logsMessage.cid: self._number(reply.logsMessage.cid, bytes(item.data), item.patchTimestamp)
                for reply in histories
                for item in reply.logsMessage.logs
            },
            "last message": {
                one["objectId"]: self._number(one["objectId"], one["msg"].encode(), one.get("patch_timestamp", 0))
                for one in columns
            },
        }
        # The last patch is the last to be replayed.
        sender = self.senders[0]
        end = await house.start_many(sender, 1, [self.reader])
        sent = await house.make(sender, direct(end[0], b"as it was"))
        self.messages[end[0]] = sender, sent[0].ackMessage
        await house.make(sender, self._patch(end[0], recall=False))
        async with house.visit(self.reader, lastPatchTime=1) as visit:
            await visit.until(lambda told: any(item.cid == end[0] for item in told.patchMessage.patches))
            told = visit.told
        unread = [one for command in told for one in command.unreadMessage.convs if one.cid in conversations]
        replayed = [item for command in told for item in command.patchMessage.patches if item.cid in conversations]
        views["unread"] = {one.cid: self._number(one.cid, one.data, one.patchTimestamp) for one in unread}
        views["replayed"] = Counter(one.cid for one in replayed)
        views["replayed as it is"] = {one.cid: self._number(one.cid, one.data, one.patchTimestamp) for one in replayed}
        return views

    def _number(self, conversation: str, body: bytes, patched_at: int) -> int:
        if body == b"as it was" and not patched_at:
            return 0
        right = b"-127" in body if conversation in self.recalled else body == b"as it is"
        return 1 if right and patched_at else OTHER


class Reads(Feature):
    """Messages that are marked as read: their senders want to know."""

    read = True

    async def prepare(self, house: House) -> None:
        self.sender, self.readers = self.name("sender"), self.names("reader", READERS)
        self.listeners = [self.sender]
        self.last: dict[str, pb.AckCommand] = {}
        self.reader_of: dict[str, str] = {}
        for reader in self.readers:
            conversations = await house.start_many(self.sender, EACH, [reader])
            for _ in range(2):
                sent = await house.make(self.sender, *(direct(cid, b"read me", r=True) for cid in conversations))
                self.last |= {cid: reply.ackMessage for cid, reply in zip(conversations, sent, strict=True)}
            self.reader_of |= dict.fromkeys(conversations, reader)
            self.tasks[reader] = [Task(cid, self.command(cid), quiet=True) for cid in conversations]

    def command(self, conversation: str) -> pb.GenericCommand:
        last = self.last[conversation]
        mark = pb.ReadTuple(cid=conversation, timestamp=last.t, mid=last.uid)
        return pb.GenericCommand(cmd=pb.read, readMessage=pb.ReadCommand(convs=[mark]))

    def told(self, command: pb.GenericCommand) -> Hashable | None:
        if command.cmd != pb.unread:
            return None
        done = [one.cid for one in command.unreadMessage.convs if not one.unread]
        return done[0] if done else None

    async def look(self, house: House) -> Views:
        conversations = list(self.last)
        asked = [conv(pb.max_read, cid=cid) for cid in conversations]
        reached = {
            cid: reply.convMessage
            for cid, reply in zip(conversations, await house.make(self.sender, *asked), strict=True)
        }
        histories = [reply.logsMessage for reply in await house.make(self.sender, *map(logs, conversations))]
        notices = await house.notices(self.sender)
        unread = {cid for reader in self.readers for cid in await unread_of(house, reader, self.name("still"))}
        receipts = [one for one in notices if one["cmd"] == "rcp"]
        last_ids = {cid: last.uid for cid, last in self.last.items()}
        return {
            "read": {cid: int(cid not in unread) for cid in conversations},
            "max read": {cid: int(reached[cid].maxReadTimestamp > 0) for cid in conversations},
            "in history": {one.cid: int(all(item.readAt for item in one.logs)) for one in histories},
            "delivered": {cid: int(reached[cid].maxAckTimestamp > 0) for cid in conversations},
            "told": Counter(one["cid"] for one in receipts if one.get("read") and one["id"] == last_ids[one["cid"]]),
            "told of delivery": halves(Counter(one["cid"] for one in receipts if not one.get("read"))),
        }


class Receptions(Feature):
    """Messages that devices acknowledge: their senders want to know."""

    async def prepare(self, house: House) -> None:
        self.sender, self.readers = self.name("sender"), self.names("reader", READERS)
        self.listeners = [self.sender]
        self.conversations: list[str] = []
        for reader in self.readers:
            conversations = await house.start_many(self.sender, EACH, [reader])
            sent = await house.make(self.sender, *(direct(cid, b"take me", r=True) for cid in conversations))
            self.tasks[reader] = [
                Task(cid, self._acknowledge(cid, reply.ackMessage.uid), quiet=True)
                for cid, reply in zip(conversations, sent, strict=True)
            ]
            self.conversations += conversations

    def _acknowledge(self, conversation: str, message_id: str) -> pb.GenericCommand:
        return pb.GenericCommand(cmd=pb.ack, ackMessage=pb.AckCommand(cid=conversation, mid=message_id))

    def told(self, command: pb.GenericCommand) -> Hashable | None:
        return command.rcpMessage.cid if command.cmd == pb.rcp else None

    async def look(self, house: House) -> Views:
        asked = [conv(pb.max_read, cid=cid) for cid in self.conversations]
        reached = await house.make(self.sender, *asked)
        histories = [reply.logsMessage for reply in await house.make(self.sender, *map(logs, self.conversations))]
        notices = await house.notices(self.sender)
        return {
            "max ack": {one.convMessage.cid: int(one.convMessage.maxAckTimestamp > 0) for one in reached},
            "in history": {one.cid: int(all(item.ackAt for item in one.logs)) for one in histories},
            "told": Counter(one["cid"] for one in notices if one["cmd"] == "rcp"),
        }


class Stays(Feature):
    """Clients who go from chat room to chat room: each comes back to the one that it was in."""

    depth = 1

    async def prepare(self, house: House) -> None:
        creator = self.name("creator")
        made = await house.make(creator, *(conv(pb.start, transient=True) for _ in range(ROOMS)))
        self.rooms = [one.convMessage.cid for one in made]
        for client in self.names("client", 2 * READERS):
            self.tasks[client] = self._moves(client)

    def _moves(self, client: str) -> list[Task]:
        tasks, at = [], 0
        for _ in range(MOVES):
            left = at
            at = self.chance.choice([number for number in range(ROOMS + 1) if number != at])
            room = self.rooms[(at or left) - 1]
            tasks.append(Task(client, conv(pb.add if at else pb.remove, cid=room, m=[client]), at))
        return tasks

    async def look(self, house: House) -> Views:
        views: dict[str, dict[Hashable, int]] = {"is in": {}, "is listed": {}}
        for client in self.tasks:
            async with house.visit(client, "worker") as visit:
                asked = [conv(pb.is_member, cids=self.rooms), *(conv(pb.members, cid=cid) for cid in self.rooms)]
                belongs, *listed = await visit.ask_all(asked)
                inside: dict[str, Any] = json_of(belongs)
                views["is in"][client] = which([inside[cid] for cid in self.rooms])
                views["is listed"][client] = which([client in reply.convMessage.m for reply in listed])
        return views


def which(held: list[bool]) -> int:
    """The number of the only one that holds, from 1; 0 for none, and something impossible for several."""
    numbers = [number for number, holds in enumerate(held, 1) if holds]
    return sum(numbers) if len(numbers) < 2 else -1


def halves(counts: Counter[str]) -> dict[Hashable, int]:
    """Of what comes in twos, how often it came; -1 for an odd one."""
    return {key: count // 2 if count % 2 == 0 else -1 for key, count in counts.items()}


def json_of(reply: pb.GenericCommand) -> dict[str, Any]:
    return dict(json.loads(reply.convMessage.results.data))
