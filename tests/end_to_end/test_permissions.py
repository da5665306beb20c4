"""Who may do what: every command, by everybody who is not a member, and by one who is.

Source: wire protocol, error codes; semantics, rules 1.3, 1.24 and 3.8; wire protocol, result objects of conv/query.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import anyio
import pytest

from fastim.core.commands import Command
from fastim.core.permission import RULES, Who
from fastim.wire import codec
from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.clients import someone
from tests.end_to_end.raw import Wire
from tests.neighbours import NEIGHBOUR, NEIGHBOUR_MASTER_KEY, shared_server
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio

NOWHERE = "0" * 24
OK = "done"
SILENCE = "silence"
NO = pb.JsonObjectMessage(data='{"name": "taken over"}')

Answer = int | str
Fields = dict[str, Any]


def conv(op: pb.OpType, **fields: Any) -> Fields:
    return {"cmd": pb.conv, "op": op, "convMessage": pb.ConvCommand(**fields)}


class Row(NamedTuple):
    """A command and what comes of it.

    Attributes:
        build: Its fields for a conversation's id, the asker's id and that of a member.
        member: What a member is answered: a code, or a word of the above.
        stranger: What one is answered who is not a member, or is not any more.
        nowhere: What is answered where there is no such conversation, or it is another application's.
        unopened: What is answered to who has no session.
    """

    build: Callable[[str, str, str], Fields]
    member: Answer = OK
    stranger: Answer = OK
    nowhere: Answer = OK
    unopened: Answer = 4105


def about(op: pb.OpType, refused: Answer, **fields: Any) -> Row:
    """A command about one conversation."""
    return Row(lambda cid, me, other: conv(op, cid=cid, **fields), stranger=refused, nowhere=4303)


def direct(**fields: Any) -> Row:
    return Row(
        lambda cid, me, other: {"cmd": pb.direct, "directMessage": pb.DirectCommand(cid=cid, msg=b"hi", **fields)},
        stranger=4401,
        nowhere=4401,
    )


def patch(**fields: Any) -> Row:
    """A change to a message that is not there: who may not change any is not told that."""
    item = {"mid": "m", "timestamp": 1, **fields}
    return Row(
        lambda cid, me, other: {
            "cmd": pb.patch,
            "op": pb.modify,
            "patchMessage": pb.PatchCommand(patches=[pb.PatchItem(cid=cid, **item)]),
        },
        *(4404, 4317, 4303),
    )


def governing(op: pb.OpType) -> Row:
    """What takes an owner or manager."""
    return Row(lambda cid, me, other: conv(op, cid=cid, m=[other]), 4320, 4320, 4303)


def blacklist(op: pb.OpType, member: Answer, stranger: Answer) -> Row:
    return Row(
        lambda cid, me, other: {
            "cmd": pb.blacklist,
            "op": op,
            "blacklistMessage": pb.BlacklistCommand(srcCid=cid, toPids=[other]),
        },
        *(member, stranger, 4303),
    )


def own_blacklist(op: pb.OpType, nowhere: Answer = OK) -> Row:
    return Row(
        lambda cid, me, other: {
            "cmd": pb.blacklist,
            "op": op,
            "blacklistMessage": pb.BlacklistCommand(srcPid=me, toCids=[cid]),
        },
        nowhere=nowhere,
    )


def watching(op: pb.OpType, client_id: str) -> Fields:
    return {"cmd": pb.presence, "op": op, "presenceMessage": pb.PresenceCommand(sessionPeerIds=[client_id])}


ROWS: dict[str, Row] = {
    "send": direct(),
    "send what is not stored": direct(transient=True),
    "read history": Row(
        lambda cid, me, other: {"cmd": pb.logs, "logsMessage": pb.LogsCommand(cid=cid)}, stranger=4312, nowhere=4303
    ),
    "change attributes": about(pb.update, 4309, attr=NO),
    "mute": about(pb.mute, 4317),
    "unmute": about(pb.unmute, 4317),
    "count members": about(pb.count, OK),
    "invite": about(pb.add, 4317, m=["tyke"]),
    "invite and join at once": Row(
        lambda cid, me, other: conv(pb.add, cid=cid, m=[me, "tyke"]), stranger=4317, nowhere=4303
    ),
    "join": Row(lambda cid, me, other: conv(pb.add, cid=cid, m=[me]), nowhere=4303),
    "remove another": Row(lambda cid, me, other: conv(pb.remove, cid=cid, m=[other]), stranger=4317, nowhere=4303),
    "remove another and leave at once": Row(
        lambda cid, me, other: conv(pb.remove, cid=cid, m=[me, other]), stranger=4317, nowhere=4303
    ),
    "remove nobody": about(pb.remove, 4317),
    "leave": Row(lambda cid, me, other: conv(pb.remove, cid=cid, m=[me]), nowhere=4303),
    # SDKs look conversations up that they have just been removed from, or are about to join.
    "look up": Row(lambda cid, me, other: conv(pb.query, where=pb.JsonObjectMessage(data=f'{{"objectId": "{cid}"}}'))),
    "ask for membership": Row(lambda cid, me, other: conv(pb.is_member, cids=[cid])),
    "mark as read": Row(
        lambda cid, me, other: {"cmd": pb.read, "readMessage": pb.ReadCommand(convs=[pb.ReadTuple(cid=cid)])},
        member=SILENCE,
        stranger=SILENCE,
        nowhere=SILENCE,
    ),
    "modify": patch(data=b"changed"),
    "recall": patch(recall=True),
    "ask how far others have read": about(pb.max_read, 4317),
    "ask how far each has read": about(pb.max_read, 4317, queryAllMembers=True),
    "list occupants": Row(lambda cid, me, other: conv(pb.members, cid=cid), 4316, 4316, 4303),
    "give a role": Row(
        lambda cid, me, other: conv(
            pb.member_info_update,
            cid=cid,
            targetClientId=other,
            info=pb.ConvMemberInfo(pid=other, role="Manager"),
        ),
        *(4320, 4320, 4303),
    ),
    "list roles": about(pb.member_infos, 4317),
    "silence": governing(pb.add_shutup),
    "let speak": governing(pb.remove_shutup),
    "list the silenced": about(pb.query_shutup, 4317),
    "ask who is silenced": about(pb.check_shutup, 4317, m=["tyke"]),
    "block": blacklist(pb.block, 4320, 4320),
    "unblock": blacklist(pb.unblock, 4320, 4320),
    "list the blocked": blacklist(pb.query, OK, 4317),
    "ask who is blocked": blacklist(pb.check_block, OK, 4317),
    "refuse to be added": own_blacklist(pb.block, nowhere=4303),
    "refuse no longer": own_blacklist(pb.unblock),
    "list what one refuses": own_blacklist(pb.query),
    "ask what one refuses": own_blacklist(pb.check_block),
    "ask what was missed": Row(
        lambda cid, me, other: {
            "cmd": pb.session,
            "op": pb.notifications,
            "nativeMessage": pb.NativeCommand(since=1),
        }
    ),
    "watch": Row(lambda cid, me, other: watching(pb.subscribe, other)),
    "watch no longer": Row(lambda cid, me, other: watching(pb.unsubscribe, other)),
    "acknowledge": Row(
        lambda cid, me, other: {"cmd": pb.ack, "ackMessage": pb.AckCommand(cid=cid, mid="m")},
        member=SILENCE,
        stranger=SILENCE,
        nowhere=SILENCE,
        unopened=SILENCE,
    ),
    "start": Row(lambda cid, me, other: conv(pb.start, m=["tyke"])),
    "ask who is online": Row(
        lambda cid, me, other: {
            "cmd": pb.session,
            "op": pb.query,
            "sessionMessage": pb.SessionCommand(sessionPeerIds=[other]),
        }
    ),
    "refresh": Row(lambda cid, me, other: {"cmd": pb.session, "op": pb.refresh}),
    "report a device": Row(
        lambda cid, me, other: {"cmd": pb.report, "op": pb.upload, "reportMessage": pb.ReportCommand(data="device")}
    ),
    "close": Row(lambda cid, me, other: {"cmd": pb.session, "op": pb.close}),
    "what nobody knows": Row(lambda cid, me, other: {"cmd": pb.pubsub}, 4200, 4200, 4200),
    "echo": Row(lambda cid, me, other: {"cmd": pb.echo}, unopened=OK),
    "log in": Row(lambda cid, me, other: {"cmd": pb.login}, unopened=OK),
}

CHANGING = {
    *("join", "leave", "mark as read", "start", "refresh", "report a device", "close"),
    *("refuse to be added", "refuse no longer", "watch", "watch no longer"),
}
"""What a stranger may do that changes something, if only for itself."""


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with shared_server(tmp_path_factory.mktemp("shared") / "data") as process:
        yield process
        assert "Traceback" not in process.log, process.log


class Scene:
    """A conversation with two members: one who watches, and ``other``."""

    def __init__(self, watcher: Wire, watcher_id: str, cid: str, other: str) -> None:
        self.watcher, self.watcher_id, self.cid, self.other = watcher, watcher_id, cid, other
        self.before: Fields = {}

    async def look(self) -> Fields:
        """Everything about it that the watcher can see."""
        where = pb.JsonObjectMessage(data=json.dumps({"objectId": self.cid}))
        found = await self.watcher.ask(**conv(pb.query, where=where, flag=2), i=900)
        logs = await self.watcher.ask(cmd=pb.logs, logsMessage=pb.LogsCommand(cid=self.cid), i=901)
        return {"record": found.convMessage.results.data, "messages": str(logs.logsMessage)}

    async def is_untouched(self) -> bool:
        """Whether nothing has changed and nobody was told anything; everything the watcher is told is an answer."""
        return await self.watcher.is_quiet() and await self.look() == self.before


@asynccontextmanager
async def connected(server: ServerProcess, app_id: str) -> AsyncIterator[Wire]:
    async with await anyio.connect_tcp(server.tcp.host, server.tcp.port) as stream:
        yield Wire(stream, app_id)


class House:
    """Everything that a test opens, until it ends."""

    def __init__(self, server: ServerProcess, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack

    async def line(self, app_id: str = "") -> Wire:
        return await self._stack.enter_async_context(connected(self._server, app_id or self._server.app_id))

    async def client(self, client_id: str, app_id: str = "") -> Wire:
        line = await self.line(app_id)
        assert (await line.open(client_id)).op == pb.opened
        return line

    async def scene(self, *more: str) -> Scene:
        """A conversation with a message in it; ``more`` were members and left again."""
        watcher_id, other = someone("watcher"), someone("other")
        watcher = await self.client(watcher_id)
        cid = await watcher.start(other, *more)
        for _ in range(2):
            await watcher.receive()
        sent = await watcher.ask(cmd=pb.direct, i=899, directMessage=pb.DirectCommand(cid=cid, msg=b"secret"))
        assert sent.ackMessage.uid
        if more:
            assert (await watcher.ask(**conv(pb.remove, cid=cid, m=more), i=898)).op == pb.removed
            assert (await watcher.receive()).op == pb.members_left
        scene = Scene(watcher, watcher_id, cid, other)
        scene.before = await scene.look()
        return scene


@asynccontextmanager
async def house(server: ServerProcess) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        yield House(server, stack)


async def answer(line: Wire, fields: Fields) -> pb.GenericCommand | None:
    """What is answered, or ``None`` for silence: what is asked next and has to wait for the disk is answered first."""
    await line.send(**fields, i=5)
    await line.send(cmd=pb.session, op=pb.refresh, i=6)
    first: pb.GenericCommand | None = None
    while (received := await line.receive()).i != 6:
        if received.i == 5:
            first = received
    return first


def summary(reply: pb.GenericCommand | None) -> Answer:
    if reply is None:
        return SILENCE
    if reply.cmd == pb.error:
        return reply.errorMessage.code
    return reply.ackMessage.code if reply.ackMessage.HasField("code") else OK


@pytest.mark.parametrize("name", ROWS)
async def test_a_member_may(shared: ServerProcess, name: str) -> None:
    async with house(shared) as opened:
        scene = await opened.scene()
        line = await opened.client(scene.other)
        reply = await answer(line, ROWS[name].build(scene.cid, scene.other, scene.watcher_id))
        assert summary(reply) == ROWS[name].member


@pytest.mark.parametrize("former", [False, True], ids=["a stranger", "who left"])
@pytest.mark.parametrize("name", ROWS)
async def test_to_others_is_answered(shared: ServerProcess, name: str, former: bool) -> None:
    async with house(shared) as opened:
        spike = someone("spike")
        scene = await opened.scene(*([spike] if former else []))
        line = await opened.client(spike)
        reply = await answer(line, ROWS[name].build(scene.cid, spike, scene.other))
        assert summary(reply) == ROWS[name].stranger
        assert b"secret" not in (b"" if reply is None else reply.SerializeToString())
        if name not in CHANGING:
            assert await scene.is_untouched()


@pytest.mark.parametrize("name", ROWS)
async def test_to_another_application_everything_is_as_if_it_were_not_there(shared: ServerProcess, name: str) -> None:
    async with house(shared) as opened:
        scene = await opened.scene()
        # By the same name as a member: names are an application's own.
        line = await opened.client(scene.other, NEIGHBOUR)
        reply = await answer(line, ROWS[name].build(scene.cid, scene.other, scene.watcher_id))
        assert summary(reply) == ROWS[name].nowhere
        assert await scene.is_untouched()

        nowhere = await opened.client(someone("other"), NEIGHBOUR)
        same = await answer(nowhere, ROWS[name].build(NOWHERE, scene.other, someone("nobody")))
        if name not in ("start", "refresh"):  # what they make is new each time
            assert said(reply, scene.cid) == said(same, NOWHERE)


@pytest.mark.parametrize("name", ROWS)
async def test_before_a_session_is_open(shared: ServerProcess, name: str) -> None:
    async with house(shared) as opened:
        scene = await opened.scene()
        line = await opened.line()
        reply = await answer(line, ROWS[name].build(scene.cid, scene.other, scene.watcher_id))
        assert summary(reply) == ROWS[name].unopened
        assert await scene.is_untouched()


STANDINGS = ("owner", "manager", "silenced", "hushed", "blocked")
"""Who is more, or less, than a member where roles were given; ``hushed`` is silenced by REST, for a time."""

SPEAKING: dict[str, Answer] = {"silenced": 4563, "hushed": 4315, "blocked": 4548}
RANKED: dict[str, Answer] = {"owner": OK, "manager": OK}
REMOVING: dict[str, Answer] = {"silenced": 4320, "hushed": 4320, **RANKED}
ROWS_OF_STANDINGS: dict[str, dict[str, Answer]] = {
    "send": SPEAKING,
    "send what is not stored": SPEAKING,
    # Whoever is blocked is told that before anything about the message.
    "modify": {"blocked": 4548},
    "recall": {"blocked": 4548},
    "join": {"blocked": 4548},
    "leave": {"owner": 4324},
    "remove another": REMOVING,
    "remove nobody": REMOVING,
    "remove another and leave at once": {**REMOVING, "owner": 4324},
    "give a role": RANKED,
    "silence": RANKED,
    "let speak": RANKED,
    "block": RANKED,
    "unblock": RANKED,
}
"""What is answered differently than to a plain member, or to a stranger when blocked; by row of ``ROWS``."""


class Ranks:
    """A conversation in which roles were given: its owner, a manager, and two plain members.

    Attributes:
        line: The session of the client that is tried, which has said something.
    """

    def __init__(self, opened: House, server: ServerProcess) -> None:
        self._opened = opened
        self._server = server
        self.ids = {name: someone(name) for name in ("owner", "manager", "peer", "member", "tried")}
        self.cid = ""
        self.said = pb.AckCommand()

    async def found(self) -> None:
        self.owner = await self._opened.client(self.ids["owner"])
        self.cid = await self.owner.start(*(one for name, one in self.ids.items() if name != "owner"))
        for name in ("manager", "peer"):
            await self.give_role(name)

    async def give_role(self, name: str) -> None:
        await self.govern(**ROWS["give a role"].build(self.cid, "", self.ids[name]))

    async def line(self, standing: str) -> Wire:
        """The session of a client with that standing, which has said something before it came to it."""
        line = await self._opened.client(self.ids[self.name_of(standing)])
        direct = pb.DirectCommand(cid=self.cid, msg=b"said")
        reply = await answer(line, {"cmd": pb.direct, "directMessage": direct})
        assert reply is not None
        self.said = reply.ackMessage
        match standing:
            case "silenced":
                await self.govern(**ROWS["silence"].build(self.cid, "", self.ids["tried"]))
            case "blocked":
                await self.govern(**ROWS["block"].build(self.cid, "", self.ids["tried"]))
            case "hushed":
                await anyio.to_thread.run_sync(hush, self._server, self.cid, self.ids["tried"])
        return line

    def name_of(self, standing: str) -> str:
        """The client that has it."""
        return standing if standing in self.ids else "tried"

    async def govern(self, **fields: Any) -> None:
        assert outcome(await answer(self.owner, fields)) == OK


@asynccontextmanager
async def ranks(server: ServerProcess) -> AsyncIterator[Ranks]:
    async with house(server) as opened:
        founded = Ranks(opened, server)
        await founded.found()
        yield founded


def outcome(reply: pb.GenericCommand | None) -> Answer:
    """As ``summary`` has it, or the code with which it failed for somebody."""
    failed = [] if reply is None else [*reply.convMessage.failedPids, *reply.blacklistMessage.failedPids]
    return failed[0].code if failed else summary(reply)


@pytest.mark.rule("4.2", "4.3", "4.6", "4.8", "4.9", "4.10", "4.13")
@pytest.mark.parametrize("standing", STANDINGS)
@pytest.mark.parametrize("name", ROWS)
async def test_who_is_more_or_less_than_a_member_is_answered(shared: ServerProcess, name: str, standing: str) -> None:
    async with ranks(shared) as scene:
        line = await scene.line(standing)
        me, other = scene.ids[scene.name_of(standing)], scene.ids["member"]
        reply = await answer(line, ROWS[name].build(scene.cid, me, other))
        usual = ROWS[name].stranger if standing == "blocked" else ROWS[name].member
        assert outcome(reply) == ROWS_OF_STANDINGS.get(name, {}).get(standing, usual)


@pytest.mark.rule("4.2")
@pytest.mark.parametrize("name", [name for name, row in ROWS_OF_STANDINGS.items() if row is REMOVING])
async def test_where_roles_were_given_members_remove_nobody(shared: ServerProcess, name: str) -> None:
    async with ranks(shared) as scene:
        line = await scene.line("tried")
        reply = await answer(line, ROWS[name].build(scene.cid, scene.ids["tried"], scene.ids["member"]))
        assert outcome(reply) == 4320


@pytest.mark.rule("4.8", "4.9", "4.10")
@pytest.mark.parametrize(
    ("standing", "modified", "recalled"),
    [("tried", OK, OK), ("silenced", 4563, OK), ("hushed", 4315, OK), ("blocked", 4548, 4548)],
)
async def test_a_new_body_is_speech_and_taking_it_back_is_not(
    shared: ServerProcess, standing: str, modified: Answer, recalled: Answer
) -> None:
    async with ranks(shared) as scene:
        line = await scene.line(standing)
        for fields, expected in (({"data": b"changed"}, modified), ({"recall": True}, recalled)):
            item = pb.PatchItem(cid=scene.cid, mid=scene.said.uid, timestamp=scene.said.t, **fields)
            command = {"cmd": pb.patch, "op": pb.modify, "patchMessage": pb.PatchCommand(patches=[item])}
            assert outcome(await answer(line, command)) == expected


GOVERNING = ("give a role", "silence", "let speak", "block", "unblock", "remove another")
OUTRANKED: dict[tuple[str, str], Answer] = {
    ("owner", "manager"): OK,
    ("owner", "member"): OK,
    ("owner", "owner"): 4320,
    ("manager", "member"): OK,
    ("manager", "peer"): 4320,
    ("manager", "manager"): 4320,
    ("manager", "owner"): 4320,
    ("tried", "member"): 4320,
    ("tried", "tried"): 4320,
    ("tried", "manager"): 4320,
    ("tried", "owner"): 4320,
    ("silenced", "tried"): 4320,
    ("blocked", "tried"): 4320,
}
"""Who does something to whom; ``peer`` is another manager."""


@pytest.mark.rule("4.1", "4.2", "4.3", "4.6")
@pytest.mark.parametrize(("standing", "target"), OUTRANKED)
@pytest.mark.parametrize("name", GOVERNING)
async def test_nobody_does_anything_to_who_is_not_below(
    shared: ServerProcess, name: str, standing: str, target: str
) -> None:
    async with ranks(shared) as scene:
        line = await scene.line(standing)
        expected = OUTRANKED[standing, target]
        if name == "remove another" and scene.name_of(standing) == target:
            expected = 4324 if target == "owner" else OK  # it leaves
        elif name == "remove another" and (standing, target) == ("manager", "owner"):
            expected = 4324
        reply = await answer(line, ROWS[name].build(scene.cid, scene.ids[scene.name_of(standing)], scene.ids[target]))
        assert outcome(reply) == expected


@pytest.mark.rule("4.3")
@pytest.mark.parametrize("name", ["silence", "let speak", "block", "unblock"])
async def test_of_several_all_have_to_be_below(shared: ServerProcess, name: str) -> None:
    async with ranks(shared) as scene:
        line = await scene.line("manager")
        fields = ROWS[name].build(scene.cid, scene.ids["manager"], scene.ids["member"])
        named = fields["convMessage"].m if "convMessage" in fields else fields["blacklistMessage"].toPids
        named.append(scene.ids["peer"])
        assert outcome(await answer(line, fields)) == 4320
        for rows in ("list the silenced", "list the blocked"):
            listed = await answer(line, ROWS[rows].build(scene.cid, "", ""))
            assert listed is not None
            assert not [*listed.convMessage.m, *listed.blacklistMessage.blockedPids]


def hush(server: ServerProcess, conversation_id: str, client_id: str) -> None:
    """Silence a client for a minute, as only the application does it."""
    headers = {
        "X-LC-Id": server.app_id,
        "X-LC-Key": f"{server.master_key},master",
        "Content-Type": "application/json",
    }
    url = f"{server.http_url}/1.2/rtm/conversations/{conversation_id}/temporary-silenceds"
    body = json.dumps({"client_id": client_id, "ttl": 60}).encode()
    with urlopen(Request(url, body, headers, method="POST"), timeout=10) as reply:
        assert reply.status == 200


async def test_sessions_of_one_connection_do_not_answer_for_each_other(shared: ServerProcess) -> None:
    async with house(shared) as opened:
        scene = await opened.scene()
        spike = someone("spike")
        line = await opened.client(spike)
        assert (await line.open(scene.other, i=2)).op == pb.opened
        for name in ("send", "read history", "change attributes", "mute", "invite", "remove another"):
            fields = ROWS[name].build(scene.cid, spike, scene.watcher_id)
            assert summary(await answer(line, {**fields, "peerId": spike})) == ROWS[name].stranger, name
            assert summary(await answer(line, {**fields, "peerId": someone("nobody")})) == 4105, name
        assert await scene.is_untouched()


@pytest.mark.parametrize("claim", [NEIGHBOUR, "no-such-application"])
async def test_a_command_cannot_name_another_application(shared: ServerProcess, claim: str) -> None:
    async with house(shared) as opened:
        scene = await opened.scene()
        for name, row in ROWS.items():
            fields = row.build(scene.cid, scene.watcher_id, scene.other)
            if name not in ("echo", "log in", "acknowledge"):
                expected: Answer = 4100
                assert summary(await answer(scene.watcher, {**fields, "appId": claim})) == expected, name
        assert await scene.is_untouched()


async def test_applications_share_names_and_nothing_else(shared: ServerProcess) -> None:
    async with house(shared) as opened:
        tom, jerry = someone("tom"), someone("jerry")
        lines, conversations, acks, tokens = {}, {}, {}, {}
        for app_id in (shared.app_id, NEIGHBOUR):
            line = lines[app_id] = await opened.line(app_id)
            tokens[app_id] = (await line.open(tom, tag="phone", deviceId=app_id)).sessionMessage.st
            started = await line.ask(**conv(pb.start, m=[jerry], unique=True), i=1)
            assert not started.convMessage.existing
            conversations[app_id] = started.convMessage.cid
            for _ in range(2):
                await line.receive()
            message = pb.DirectCommand(cid=conversations[app_id], msg=app_id.encode(), dt="the same token")
            acks[app_id] = (await line.ask(cmd=pb.direct, i=2, directMessage=message)).ackMessage
        ours, theirs = lines[shared.app_id], lines[NEIGHBOUR]
        # Neither the tag of one was a conflict to the other, nor its member set or dedupe token known there.
        assert await ours.is_quiet()
        assert conversations[shared.app_id] != conversations[NEIGHBOUR]
        assert acks[shared.app_id].uid != acks[NEIGHBOUR].uid
        for app_id, line in lines.items():
            logs = (await line.ask(cmd=pb.logs, i=3, logsMessage=pb.LogsCommand(cid=conversations[app_id]))).logsMessage
            assert [(item.msgId, item.data) for item in logs.logs] == [(acks[app_id].uid, app_id.encode())]
            everything = pb.JsonObjectMessage(data='{"objectId": {"$exists": true}}')
            found = await line.ask(**conv(pb.query, where=everything, limit=1_000), i=4)
            others = conversations.keys() - {app_id}
            assert conversations[app_id] in found.convMessage.results.data
            assert not any(conversations[other] in found.convMessage.results.data for other in others)

        await opened.client(jerry, NEIGHBOUR)
        online = pb.SessionCommand(sessionPeerIds=[jerry])
        asked: Fields = {"cmd": pb.session, "op": pb.query, "sessionMessage": online}
        assert list((await theirs.ask(**asked, i=5)).sessionMessage.onlineSessionPeerIds) == [jerry]
        assert not (await ours.ask(**asked, i=5)).sessionMessage.onlineSessionPeerIds

        stranger = await opened.line(NEIGHBOUR)
        assert (await stranger.open(tom, st=tokens[shared.app_id], r=True)).errorMessage.code == 4112
        await anyio.to_thread.run_sync(kick, shared, NEIGHBOUR, NEIGHBOUR_MASTER_KEY, tom)
        assert (await theirs.receive()).sessionMessage.code == 4115
        assert (await stranger.open(tom, st=tokens[NEIGHBOUR], r=True)).errorMessage.code == 4112
        assert await ours.is_quiet()
        assert (await ours.ask(cmd=pb.session, op=pb.refresh, i=6)).op == pb.refreshed


def kick(server: ServerProcess, app_id: str, master_key: str, client_id: str) -> None:
    """As the application's own server does it."""
    headers = {"X-LC-Id": app_id, "X-LC-Key": f"{master_key},master"}
    call = Request(f"{server.http_url}/1.2/rtm/clients/{client_id}/kick", b"{}", headers, method="POST")
    with urlopen(call, timeout=10) as answer:
        assert answer.read() == b"{}"


def test_every_command_is_in_the_matrix() -> None:
    tried: set[type[Command]] = set()
    for row in ROWS.values():
        request = pb.GenericCommand(**row.build(NOWHERE, "me", "other"))
        tried.add(type(codec.decode(request.SerializeToString()).command))
    assert tried == RULES.keys() - {kind for kind in RULES if kind.__name__ == "OpenSession"}
    assert {kind for kind, rule in RULES.items() if rule.who is not Who.ANYBODY} <= tried


def said(reply: pb.GenericCommand | None, conversation_id: str) -> bytes:
    """A reply without what names the asker and the asked."""
    if reply is None:
        return b""
    reply.ClearField("peerId")
    return reply.SerializeToString().replace(conversation_id.encode(), NOWHERE.encode())
