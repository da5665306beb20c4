"""Roles, silence and blocks that are given while the server is killed."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable
from typing import Any

from fastim.wire import messages2_pb2 as pb
from tests.crash.feature_conversations import ids
from tests.crash.house import Call, Feature, House, Task, blacklist, conv, direct
from tests.crash.ledger import Views
from tests.crash.wire import refusal_of

OWNERS = 2
GUESTS = 3
EACH = 8
LIST_MAX = 100


class Governing(Feature):
    """Something that owners do to all the others in their conversations."""

    async def prepare(self, house: House) -> None:
        self.guests = self.names("guest", GUESTS)
        self.rooms = {owner: await house.start_many(owner, EACH, self.guests) for owner in self.names("owner", OWNERS)}
        self.conversations = [cid for several in self.rooms.values() for cid in several]
        for owner, conversations in self.rooms.items():
            tasks = [Task((cid, guest), self.command(cid, guest)) for cid in conversations for guest in self.guests]
            self.chance.shuffle(tasks)
            self.tasks[owner] = tasks

    @abstractmethod
    def command(self, conversation: str, guest: str) -> pb.GenericCommand:
        """What an owner asks for, of one guest in one conversation."""

    async def ask_owners(self, house: House, command: Any) -> dict[str, pb.GenericCommand]:
        """What owners are answered to a command about each conversation."""
        answers: dict[str, pb.GenericCommand] = {}
        for owner, conversations in self.rooms.items():
            replies = await house.make(owner, *(command(cid) for cid in conversations))
            answers |= dict(zip(conversations, replies, strict=True))
        return answers

    async def refused(self, house: House, command: Any, code: int) -> dict[Hashable, int]:
        """The guests who are refused something with that code; who is refused it with another is not counted as one."""
        found: dict[Hashable, int] = {}
        for guest in self.guests:
            replies = await house.ask(guest, *(command(cid, guest) for cid in self.conversations))
            for cid, reply in zip(self.conversations, replies, strict=True):
                refusal = refusal_of(reply)
                found[cid, guest] = int(refusal.split()[0]) if refusal else 0
        return {key: {0: 0, code: 1}.get(number, number) for key, number in found.items()}

    async def notified(self, house: House, op: str) -> Counter[Hashable]:
        told = Counter[Hashable]()
        for guest in self.guests:
            for one in await house.notices(guest):
                if one["op"] == op and one.get("info", {"pid": guest})["pid"] == guest:
                    told[one["cid"], guest] += 1
        return told

    async def others_notified(self, house: House, op: str) -> Counter[Hashable]:
        told = Counter[Hashable]()
        for owner in self.rooms:
            for one in await house.notices(owner):
                if one["op"] == op:
                    told.update((one["cid"], guest) for guest in one.get("m") or [one["info"]["pid"]])
        return told


class Roles(Governing):
    """Members who are made managers."""

    def command(self, conversation: str, guest: str) -> pb.GenericCommand:
        info = pb.ConvMemberInfo(pid=guest, role="Manager")
        return conv(pb.member_info_update, cid=conversation, targetClientId=guest, info=info)

    async def look(self, house: House) -> Views:
        listed = await self.ask_owners(house, lambda cid: conv(pb.member_infos, cid=cid))
        # A manager may silence, and here it silences nobody.
        powerless = await self.refused(house, lambda cid, guest: conv(pb.add_shutup, cid=cid), 4320)
        return {
            "listed": Counter(
                (cid, info.pid)
                for cid, reply in listed.items()
                for info in reply.nativeMessage.memberInfos
                if info.role == "Manager"
            ),
            "in force": {key: 1 - number for key, number in powerless.items()},
            "told": await self.notified(house, "member_info_changed"),
            "told others": await self.others_notified(house, "member_info_changed"),
        }


class Silences(Governing):
    """Members who are silenced."""

    def command(self, conversation: str, guest: str) -> pb.GenericCommand:
        return conv(pb.add_shutup, cid=conversation, m=[guest])

    async def look(self, house: House) -> Views:
        listed = await self.ask_owners(house, lambda cid: conv(pb.query_shutup, cid=cid, limit=LIST_MAX))
        checked = await self.ask_owners(house, lambda cid: conv(pb.check_shutup, cid=cid, m=self.guests))
        return {
            "listed": pairs(listed),
            "checked": pairs(checked),
            "in force": await self.refused(house, lambda cid, guest: direct(cid, b"let me", transient=True), 4563),
            "told": await self.notified(house, "shutuped"),
            "told others": await self.others_notified(house, "members_shutuped"),
        }


class Releases(Silences):
    """Members who may speak again."""

    async def prepare(self, house: House) -> None:
        await super().prepare(house)
        for owner, conversations in self.rooms.items():
            await house.make(owner, *(conv(pb.add_shutup, cid=cid, m=self.guests) for cid in conversations))

    def command(self, conversation: str, guest: str) -> pb.GenericCommand:
        return conv(pb.remove_shutup, cid=conversation, m=[guest])

    async def look(self, house: House) -> Views:
        there = await super().look(house)
        views = {f"not {name}": self._others(there[name]) for name in ("listed", "checked", "in force")}
        views["told"] = await self.notified(house, "unshutuped")
        views["told others"] = await self.others_notified(house, "members_unshutuped")
        return views

    def _others(self, there: Any) -> dict[Hashable, int]:
        return {(cid, guest): 1 - there.get((cid, guest), 0) for cid in self.conversations for guest in self.guests}


class Blocks(Governing):
    """Members who are blocked, and are members no longer."""

    def command(self, conversation: str, guest: str) -> pb.GenericCommand:
        return blacklist(pb.block, srcCid=conversation, toPids=[guest])

    async def look(self, house: House) -> Views:
        listed = await self.ask_owners(house, lambda cid: blacklist(pb.query, srcCid=cid, limit=LIST_MAX))
        members = {
            (columns["objectId"], guest)
            for owner, conversations in self.rooms.items()
            for columns in await house.found(owner, {"objectId": {"$in": conversations}})
            for guest in columns["m"]
        }
        belongs, own = set[Hashable](), set[Hashable]()
        kept_out = Counter[Hashable]()
        for guest in self.guests:
            found = await house.belongs(guest, self.conversations)
            belongs.update((cid, guest) for cid, member in found.items() if member)
            own.update((cid, guest) for cid in ids(await house.own(guest)))
            joins = (conv(pb.add, cid=cid, m=[guest]) for cid in self.conversations)
            for cid, reply in zip(self.conversations, await house.ask(guest, *joins), strict=True):
                kept_out[cid, guest] = int(guest in reply.convMessage.failedPids[0].pids) if refusal_of(reply) else 0
        everything = {(cid, guest) for cid in self.conversations for guest in self.guests}
        return {
            "listed": Counter(
                (cid, guest) for cid, reply in listed.items() for guest in reply.blacklistMessage.blockedPids
            ),
            "not a member": Counter(everything - members),
            "does not belong": Counter(everything - belongs),
            "not its own": Counter(everything - own),
            "kept out": kept_out,
            "told": await self.notified(house, "blocked"),
            "told that it left": await self.notified(house, "left"),
            "told others": await self.others_notified(house, "members_blocked"),
            "told others that it left": await self.others_notified(house, "members_left"),
        }


class Refusals(Feature):
    """Clients who do not want to be added to conversations."""

    async def prepare(self, house: House) -> None:
        self.owner, self.clients = self.name("owner"), self.names("client", GUESTS)
        self.conversations = await house.start_many(self.owner, 2 * EACH, [])
        for client in self.clients:
            self.tasks[client] = [Task((cid, client), self._refuse(cid, client)) for cid in self.conversations]

    def _refuse(self, conversation: str, client: str) -> pb.GenericCommand:
        return blacklist(pb.block, srcPid=client, toCids=[conversation])

    async def look(self, house: House) -> Views:
        listed, kept_out = Counter[Hashable](), Counter[Hashable]()
        for client in self.clients:
            (reply,) = await house.make(client, blacklist(pb.query, srcPid=client, limit=LIST_MAX))
            listed.update((cid, client) for cid in reply.blacklistMessage.blockedCids)
        for cid in self.conversations:
            (reply,) = await house.ask(self.owner, conv(pb.add, cid=cid, m=self.clients))
            kept_out.update((cid, client) for one in reply.convMessage.failedPids for client in one.pids)
        return {"listed": listed, "kept out": kept_out}


class SilencesForATime(Governing):
    """Members whom the application silences for an hour."""

    async def prepare(self, house: House) -> None:
        await super().prepare(house)
        for tasks in self.tasks.values():
            tasks.clear()
        self.calls = [
            Call(
                (cid, guest),
                "POST",
                f"/1.2/rtm/conversations/{cid}/temporary-silenceds",
                {"client_id": guest, "ttl": 3_600},
            )
            for cid in self.conversations
            for guest in self.guests
        ]

    def command(self, conversation: str, guest: str) -> pb.GenericCommand:
        return pb.GenericCommand()

    async def look(self, house: House) -> Views:
        return {"in force": await self.refused(house, lambda cid, guest: direct(cid, b"", transient=True), 4315)}


def pairs(replies: dict[str, pb.GenericCommand]) -> Counter[Hashable]:
    """Conversations and the clients that are named in the answers about them."""
    return Counter((cid, guest) for cid, reply in replies.items() for guest in reply.convMessage.m)
