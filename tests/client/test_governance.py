"""Roles, silence and blacklists: what is asked, what is made of the answers, and the events, on a scripted server."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fastim.client import (
    Blocked,
    Conversation,
    Disconnected,
    Event,
    MembersBlocked,
    MembersSilenced,
    MembersUnblocked,
    MembersUnsilenced,
    Millis,
    Reconnected,
    Refused,
    Role,
    RoleChanged,
    Silenced,
    Unblocked,
    UnexpectedReply,
    Unsilenced,
)
from fastim.wire import messages2_pb2 as pb
from tests.client.fake_server import SERVER_TIME, FakeServer, Peer, answered, refused, reply
from tests.client.scripts import connected, scripted, take, talking

pytestmark = pytest.mark.anyio

FULL = pb.ErrorCommand(code=4561, reason="SILIENCED_MEMBER_LIST_FULL", pids=["spike"])


def blacklisted(request: pb.GenericCommand, op: pb.OpType, **fields: Any) -> pb.GenericCommand:
    return reply(request, cmd=pb.blacklist, op=op, blacklistMessage=pb.BlacklistCommand(**fields))


def infos(request: pb.GenericCommand, *given: tuple[str, str]) -> pb.GenericCommand:
    told = pb.NativeCommand(memberInfos=[pb.ConvMemberInfo(pid=pid, role=role) for pid, role in given])
    return reply(request, cmd=pb.conv, op=pb.member_infos_result, nativeMessage=told)


async def test_roles_are_given_and_listed() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.member_info_update)
        conv = request.convMessage
        assert (conv.cid, conv.targetClientId, conv.info.pid, conv.info.role) == ("c1", "jerry", "jerry", "Manager")
        await peer.send(answered(request, pb.member_info_updated, pb.ConvCommand(cid="c1")))
        request = await peer.expect(pb.conv, pb.member_infos)
        assert request.convMessage.cid == "c1"
        await peer.send(infos(request, ("jerry", "Manager"), ("spike", "Member")))
        await peer.send(infos(await peer.expect(pb.conv, pb.member_infos), ("jerry", "Emperor")))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        await room.set_role("jerry", Role.MANAGER)
        assert await room.roles() == {"jerry": Role.MANAGER, "spike": Role.MEMBER}
        with pytest.raises(UnexpectedReply, match="Emperor"):
            await room.roles()


async def test_members_are_silenced_and_may_speak_again() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.add_shutup)
        assert (request.convMessage.cid, list(request.convMessage.m)) == ("c1", ["jerry", "spike"])
        answer = pb.ConvCommand(cid="c1", allowedPids=["jerry"], failedPids=[FULL])
        await peer.send(answered(request, pb.shutup_added, answer))
        request = await peer.expect(pb.conv, pb.remove_shutup)
        await peer.send(answered(request, pb.shutup_removed, pb.ConvCommand(cid="c1", allowedPids=["jerry"])))
        request = await peer.expect(pb.conv, pb.check_shutup)
        assert list(request.convMessage.m) == ["jerry", "butch"]
        await peer.send(answered(request, pb.check_result, pb.ConvCommand(cid="c1", m=["butch"])))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        changes = await room.silence(["jerry", "spike"])
        assert (changes.allowed, changes.failed["spike"].code) == (("jerry",), 4561)
        assert (await room.unsilence(["jerry"])).allowed == ("jerry",)
        assert await room.silenced_among(["jerry", "butch"]) == {"butch"}


async def test_those_who_are_silenced_or_blocked_are_listed_page_by_page() -> None:
    async def script(peer: Peer) -> None:
        for start, next_page in (("", "2"), ("2", "3"), ("3", "")):
            request = await peer.expect(pb.conv, pb.query_shutup)
            assert (request.convMessage.next, request.convMessage.limit) == (start, 100)
            answer = pb.ConvCommand(m=[f"client {start}"])
            if next_page:
                answer.next = next_page
            await peer.send(answered(request, pb.shutup_result, answer))
        for start, next_page in (("", "2"), ("2", "")):
            request = await peer.expect(pb.blacklist, pb.query)
            assert (request.blacklistMessage.srcCid, request.blacklistMessage.next) == ("c1", start)
            more = {"next": next_page} if next_page else {}
            await peer.send(blacklisted(request, pb.query_result, blockedPids=[f"client {start}"], **more))
        # A page with nothing on it is the last, whatever it says.
        request = await peer.expect(pb.blacklist, pb.query)
        assert request.blacklistMessage.srcPid == "tom"
        await peer.send(blacklisted(request, pb.query_result, blockedCids=["c1"], next="1"))
        await peer.send(blacklisted(await peer.expect(pb.blacklist, pb.query), pb.query_result, next="2"))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        assert await room.silenced() == ["client ", "client 2", "client 3"]
        assert await room.blocked() == ["client ", "client 2"]
        assert await tom.blocked_conversations() == ["c1"]


async def test_clients_and_conversations_are_blocked_and_unblocked() -> None:
    async def script(peer: Peer) -> None:
        for op, done in ((pb.block, pb.blocked), (pb.unblock, pb.unblocked)):
            request = await peer.expect(pb.blacklist, op)
            assert (request.blacklistMessage.srcCid, list(request.blacklistMessage.toPids)) == ("c1", ["jerry"])
            await peer.send(blacklisted(request, done, srcCid="c1", allowedPids=["jerry"]))
        request = await peer.expect(pb.blacklist, pb.check_block)
        await peer.send(blacklisted(request, pb.check_result, srcCid="c1", blockedPids=["spike"]))
        for op, done in ((pb.block, pb.blocked), (pb.unblock, pb.unblocked)):
            request = await peer.expect(pb.blacklist, op)
            assert (request.blacklistMessage.srcPid, list(request.blacklistMessage.toCids)) == ("tom", ["c1", "c2"])
            assert not request.blacklistMessage.HasField("srcCid")
            await peer.send(blacklisted(request, done, srcPid="tom", blockedCids=["c1", "c2"]))

    async with talking(script) as tom:
        room = tom.conversation("c1")
        assert (await room.block(["jerry"])).allowed == ("jerry",)
        assert (await room.unblock(["jerry"])).allowed == ("jerry",)
        assert await room.blocked_among(["jerry", "spike"]) == {"spike"}
        await tom.block_conversations(["c1", "c2"])
        await tom.unblock_conversations(["c1", "c2"])


CALLS: list[Callable[[Conversation], Coroutine[Any, Any, object]]] = [
    lambda room: room.set_role("jerry", Role.MANAGER),
    lambda room: room.roles(),
    lambda room: room.silence(["jerry"]),
    lambda room: room.silenced(),
    lambda room: room.block(["jerry"]),
    lambda room: room.blocked_among(["jerry"]),
]


@pytest.mark.parametrize("call", CALLS)
async def test_each_is_asked_again_when_the_connection_breaks_and_raises_what_the_server_has_against_it(
    call: Callable[[Conversation], Coroutine[Any, Any, object]],
) -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        first = await peer.receive()
        await peer.cut()
        peer = await server.accept_session()
        second = await peer.receive()
        assert (second.cmd, second.op) == (first.cmd, first.op)
        await peer.send(refused(second, 4320, "CONVERSATION_OPERATION_UNAUTHORIZED"))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server) as tom:
        with pytest.raises(Refused, match="4320"):
            await call(tom.conversation("c1"))
        assert [type(event) for event in await take(tom, 2)] == [Disconnected, Reconnected]


def told(op: pb.OpType, **fields: Any) -> pb.GenericCommand:
    conv = pb.ConvCommand(cid="c1", initBy="jerry", **fields)
    return pb.GenericCommand(
        cmd=pb.conv, op=op, service=2, peerId="tom", serverTs=SERVER_TIME, notificationType=1, convMessage=conv
    )


async def test_what_happens_to_oneself_and_to_others_is_told() -> None:
    at = Millis(SERVER_TIME)

    async def script(peer: Peer) -> None:
        info = pb.ConvMemberInfo(pid="spike", role="Owner")
        await peer.send(
            told(pb.member_info_changed, info=info),
            told(pb.shutuped),
            told(pb.unshutuped),
            told(pb.members_shutuped, m=["tom", "spike"]),
            told(pb.members_unshutuped, m=["tom"]),
            told(pb.blocked),
            told(pb.unblocked),
            told(pb.members_blocked, m=["spike"]),
            told(pb.members_unblocked, m=["spike"]),
        )

    expected: list[Event] = [
        RoleChanged("c1", "spike", Role.OWNER, "jerry", at),
        Silenced("c1", "jerry", at),
        Unsilenced("c1", "jerry", at),
        MembersSilenced("c1", ("tom", "spike"), "jerry", at),
        MembersUnsilenced("c1", ("tom",), "jerry", at),
        Blocked("c1", "jerry", at),
        Unblocked("c1", "jerry", at),
        MembersBlocked("c1", ("spike",), "jerry", at),
        MembersUnblocked("c1", ("spike",), "jerry", at),
    ]
    async with talking(script) as tom:
        assert await take(tom, len(expected)) == expected
