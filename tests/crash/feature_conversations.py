"""Conversations that are started, joined, left and deleted while the server is killed."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from fastim.wire import messages2_pb2 as pb
from tests.crash.house import Call, Feature, House, Task, conv, direct, logs
from tests.crash.ledger import Views
from tests.crash.wire import json_object, refusal_of

CREATORS = 3
OWNERS = 2
GUESTS = 4
EACH = 12


class Starts(Feature):
    """Conversations of no particular kind."""

    async def prepare(self, house: House) -> None:
        self.creators = self.names("creator", CREATORS)
        self.guests = self.names("guest", 2)
        self.names_of: dict[str, Hashable] = {}
        for creator in self.creators:
            self.tasks[creator] = [self._start(f"{creator}-{number}") for number in range(EACH)]

    def _start(self, name: str) -> Task:
        command = conv(pb.start, m=self.guests, attr=json_object({"name": name}))
        return Task(name, command, noted=lambda reply: self.names_of.update({reply.convMessage.cid: name}))

    async def look(self, house: House) -> Views:
        found = await house.found(self.creators[0], {"name": {"$regex": f"^{self.label}"}})
        self.names_of |= {columns["objectId"]: columns["name"] for columns in found}
        everybody = {*self.creators, *self.guests}
        views = {
            "found by name": Counter(columns["name"] for columns in found),
            "with all members": Counter(one["name"] for one in found if {one["c"], *self.guests} == set(one["m"])),
            "its creator's": self._named([cid for one in self.creators for cid in ids(await house.own(one))]),
        }
        for guest in self.guests:
            notices = await house.notices(guest)
            belongs = await house.belongs(guest, list(self.names_of))
            views |= {
                f"{guest}'s": self._named(ids(await house.own(guest))),
                f"{guest} belongs": self._named(cid for cid, member in belongs.items() if member),
                f"{guest} was told": self._named(one["cid"] for one in notices if one["op"] == "joined"),
                f"{guest} was told who": self._named(
                    one["cid"]
                    for one in notices
                    if one["op"] == "members_joined" and len(everybody & {*one["m"]}) == 1 + len(self.guests)
                ),
            }
        return views

    def _named(self, conversations: Iterable[str]) -> Counter[Hashable]:
        return Counter(self.names_of.get(cid, cid) for cid in conversations)


class UniqueStarts(Feature):
    """Unique conversations, each asked for by two of its members at once."""

    unique = True

    async def prepare(self, house: House) -> None:
        self.pair = self.names("one", 2)
        self.thirds = self.names("third", EACH)
        self.answered: dict[str, set[str]] = {}
        for creator in self.pair:
            self.tasks[creator] = [self._task(third) for third in self.thirds]

    def command(self, third: str) -> pb.GenericCommand:
        return conv(pb.start, m=[*self.pair, third], unique=True)

    async def conversations(self, house: House) -> dict[str, list[str]]:
        """What there is, by third member."""
        found: dict[str, list[str]] = {}
        for columns in await house.own(self.pair[0]):
            (third,) = set(columns["m"]) - set(self.pair)
            found.setdefault(third, []).append(columns["objectId"])
        return found

    def _task(self, third: str) -> Task:
        answered = self.answered.setdefault(third, set())
        return Task(third, self.command(third), noted=lambda reply: answered.add(reply.convMessage.cid))

    async def look(self, house: House) -> Views:
        found = await self.conversations(house)
        told = {third: sum(one["op"] == "joined" for one in await house.notices(third)) for third in self.thirds}
        again = await house.make(self.pair[1], *map(self.command, self.thirds))
        existing = {third: int(reply.convMessage.existing) for third, reply in zip(self.thirds, again, strict=True)}
        same = {
            third: 2 - int({reply.convMessage.cid} | self.answered[third] == {*found[third]})
            for third, reply in zip(self.thirds, again, strict=True)
            if third in found
        }
        return {
            "how many": {third: len(several) for third, several in found.items()},
            "the one that was answered": same,
            "told": told,
            "found by its members": existing,
        }


class TemporaryStarts(UniqueStarts):
    """The same of temporary ones, which only their ids find."""

    def command(self, third: str) -> pb.GenericCommand:
        return conv(pb.start, m=[*self.pair, third], tempConv=True, tempConvTTL=3_600)

    async def conversations(self, house: House) -> dict[str, list[str]]:
        told = [one["cid"] for one in await house.notices(self.pair[0]) if one["op"] == "joined"]
        answered = [cid for several in self.answered.values() for cid in several]
        known = list(dict.fromkeys([*told, *answered]))
        if not known:
            return {}
        found: dict[str, list[str]] = {}
        for columns in await house.found(self.pair[0], {}, tempConvIds=known):
            (third,) = set(columns["m"]) - set(self.pair)
            found.setdefault(third, []).append(columns["objectId"])
        return found


class RoomStarts(Feature):
    """Chat rooms, by clients, and service conversations, by REST."""

    async def prepare(self, house: House) -> None:
        self.creators = self.names("creator", CREATORS)
        self.given: dict[str, str] = {}
        for creator in self.creators:
            self.tasks[creator] = [self._start(f"{creator}-{number}") for number in range(EACH)]
        names = self.names("service", EACH)
        self.calls = [Call(name, "POST", "/1.2/rtm/service-conversations", {"name": name}) for name in names]

    def _start(self, name: str) -> Task:
        command = conv(pb.start, transient=True, attr=json_object({"name": name}))
        return Task(name, command, noted=lambda reply: self.given.update({reply.convMessage.cid: name}))

    async def look(self, house: House) -> Views:
        found = await house.found(self.creators[0], {"name": {"$regex": f"^{self.label}"}})
        by_rest = []
        for path in ("chatrooms", "service-conversations"):
            _, listed = await house.rest("GET", f"/1.2/rtm/{path}?limit={1_000}")
            by_rest += [one["name"] for one in listed["results"] if one.get("name", "").startswith(self.label)]
        known = self.given | {columns["objectId"]: columns["name"] for columns in found}
        visitor = self.name("visitor")
        joined = await house.ask(visitor, *(conv(pb.add, cid=cid, m=[visitor]) for cid in known))
        return {
            "found by name": Counter(columns["name"] for columns in found),
            "found by REST": Counter(by_rest),
            "can be joined": Counter(
                name for name, reply in zip(known.values(), joined, strict=True) if not refusal_of(reply)
            ),
        }


class Joins(Feature):
    """Clients who are added to conversations, or join them."""

    async def prepare(self, house: House) -> None:
        self.owners, self.guests = self.names("owner", OWNERS), self.names("guest", GUESTS)
        self.rooms = {owner: await house.start_many(owner, EACH, self.at_first(owner)) for owner in self.owners}
        self.conversations = [cid for several in self.rooms.values() for cid in several]
        for owner, conversations in self.rooms.items():
            await house.make(owner, *(direct(cid, b"something to miss") for cid in conversations))
            for cid in conversations:
                for guest in self.guests:
                    doer = self.chance.choice((owner, guest))
                    self.tasks.setdefault(doer, []).append(Task((cid, guest), self.command(cid, guest)))
        for tasks in self.tasks.values():
            self.chance.shuffle(tasks)

    def at_first(self, owner: str) -> list[str]:
        return []

    def command(self, conversation: str, guest: str) -> pb.GenericCommand:
        return conv(pb.add, cid=conversation, m=[guest])

    async def look(self, house: House) -> Views:
        views: dict[str, Counter[Hashable]] = {
            name: Counter() for name in ("listed", "belongs", "its own", "told", "told others")
        }
        for owner, conversations in self.rooms.items():
            columns = await house.found(owner, {"objectId": {"$in": conversations}})
            views["listed"].update((one["objectId"], guest) for one in columns for guest in one["m"] if guest != owner)
            views["told others"].update(
                (one["cid"], guest)
                for one in await house.notices(owner)
                if one["op"] == "members_joined"
                for guest in one["m"]
                if guest != owner
            )
        for guest in self.guests:
            belongs = await house.belongs(guest, self.conversations)
            views["belongs"].update((cid, guest) for cid, member in belongs.items() if member)
            views["its own"].update((cid, guest) for cid in ids(await house.own(guest)))
            views["told"].update((one["cid"], guest) for one in await house.notices(guest) if one["op"] == "joined")
        return views


class Leaves(Joins):
    """Clients who are removed from conversations, or leave them; what they had not read goes with that."""

    def at_first(self, owner: str) -> list[str]:
        return self.guests

    def command(self, conversation: str, guest: str) -> pb.GenericCommand:
        return conv(pb.remove, cid=conversation, m=[guest])

    async def look(self, house: House) -> Views:
        there = await super().look(house)
        everything = {(cid, guest) for cid in self.conversations for guest in self.guests}
        views: dict[str, Counter[tuple[str, str]]] = {
            f"not {name}": Counter(everything - set(there[name])) for name in ("listed", "belongs", "its own")
        }
        views |= {name: Counter() for name in ("told", "told others", "nothing unread")}
        for owner in self.owners:
            views["told others"].update(
                (one["cid"], guest)
                for one in await house.notices(owner)
                if one["op"] == "members_left"
                for guest in one["m"]
            )
        still = self.name("still")
        for guest in self.guests:
            notices = await house.notices(guest)
            views["told"].update((one["cid"], guest) for one in notices if one["op"] == "left")
            unread = await unread_of(house, guest, still)
            views["nothing unread"].update((cid, guest) for cid in self.conversations if cid not in unread)
        return views


class Subscriptions(Feature):
    """Clients who subscribe to service conversations, and, of others, cancel."""

    async def prepare(self, house: House) -> None:
        self.clients = self.names("client", GUESTS)
        self.services: list[str] = []
        for name in self.names("service", EACH):
            _, made = await house.rest("POST", "/1.2/rtm/service-conversations", {"name": name})
            self.services.append(made["objectId"])
        self.at_first = set(self.services[: EACH // 2])
        for client in self.clients:
            await house.make(client, *(conv(pb.add, cid=cid, m=[client]) for cid in self.at_first))
            # What the service has answered each of them alone is unread, and goes when it cancels.
            for cid in self.at_first:
                letter = {"from_client": "service", "to_clients": [client], "message": "hello"}
                await house.rest("POST", f"/1.2/rtm/service-conversations/{cid}/messages", letter)
            self.tasks[client] = [self._task(cid, client) for cid in self.services]

    def _task(self, service: str, client: str) -> Task:
        op = pb.remove if service in self.at_first else pb.add
        return Task((service, client), conv(op, cid=service, m=[client]))

    async def look(self, house: House) -> Views:
        belongs, shown, listed, unread = (Counter[tuple[str, str]]() for _ in range(4))
        for client in self.clients:
            found = await house.belongs(client, self.services)
            belongs.update((cid, client) for cid, member in found.items() if member)
            columns = await house.found(client, {"objectId": {"$in": self.services}})
            shown.update((one["objectId"], client) for one in columns if one["joined"])
            unread.update((cid, client) for cid in await unread_of(house, client, self.name("still")))
        miscounted = {}
        for cid in self.services:
            _, names = await house.rest("GET", f"/1.2/rtm/service-conversations/{cid}/subscribers")
            listed.update((cid, one["subscriber"]) for one in names)
            (reply,) = await house.make(self.clients[0], conv(pb.count, cid=cid))
            if reply.convMessage.count != sum(one == cid for one, _ in listed):
                miscounted[f"count of {cid}"] = 1
        # Nothing was said in the others.
        unread.update(pair for pair in belongs if pair[0] not in self.at_first)
        views = {"belongs": belongs, "shown": shown, "listed": listed, "unread": unread}
        return {name: self._changed(view) | miscounted for name, view in views.items()}

    def _changed(self, there: Mapping[tuple[str, str], int]) -> dict[Hashable, int]:
        return {
            (cid, client): int(((cid, client) in there) != (cid in self.at_first))
            for cid in self.services
            for client in self.clients
        }


class Deletions(Feature):
    """Conversations that the application deletes."""

    async def prepare(self, house: House) -> None:
        self.owner, self.guest = self.name("owner"), self.name("guest")
        self.conversations = await house.start_many(self.owner, EACH, [self.guest])
        await house.make(self.owner, *(direct(cid, b"last words") for cid in self.conversations))
        for cid in self.conversations:
            self.calls.append(Call(cid, "DELETE", f"/1.2/rtm/conversations/{cid}", {}))

    async def look(self, house: House) -> Views:
        everything = set(self.conversations)
        unread = await unread_of(house, self.guest, self.name("still"))
        there = {"own": set(ids(await house.own(self.guest))), "unread": unread & everything}
        there["own"] &= everything
        found = await house.found(self.owner, {"objectId": {"$in": self.conversations}})
        there["found"] = set(ids(found))
        there["belongs"] = {
            cid for cid, member in (await house.belongs(self.guest, self.conversations)).items() if member
        }
        for name, commands in {
            "read": map(logs, self.conversations),
            "send": (direct(cid, b"anybody there?") for cid in self.conversations),
            "join": (conv(pb.add, cid=cid, m=[self.guest]) for cid in self.conversations),
        }.items():
            replies = await house.ask(self.guest, *commands)
            there[name] = {cid for cid, reply in zip(self.conversations, replies, strict=True) if not refusal_of(reply)}
        return {name: dict.fromkeys(everything - left, 1) for name, left in there.items()}


async def unread_of(house: House, client_id: str, other: str) -> set[str]:
    """The conversations in which something is unread for the client; ``other`` writes so that there is one at least."""
    (still,) = await house.start_many(other, 1, [client_id])
    await house.make(other, direct(still, b"to be there"))
    async with house.visit(client_id) as visit:
        await visit.until(lambda command: command.cmd == pb.unread)
        convs = [one for told in visit.told if told.cmd == pb.unread for one in told.unreadMessage.convs]
    unread = {one.cid for one in convs if one.unread}
    assert still in unread
    return unread - {still}


def ids(found: Iterable[Mapping[str, Any]]) -> list[str]:
    return [columns["objectId"] for columns in found]
