"""What is signed, when, and what happens when the signer fails."""

import hmac
from typing import Any

import pytest

from fastim.client import Action, Disconnected, Reconnected, Signature, SignatureRequest, SigningFailed, connect, signed
from fastim.wire import messages2_pb2 as pb
from tests.client.fake_server import FakeServer, Peer, acked, answered, opened, refused, reply
from tests.client.scripts import connected, scripted, take, talking

pytestmark = pytest.mark.anyio


class Clerk:
    """A signer that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[SignatureRequest] = []

    async def __call__(self, request: SignatureRequest) -> Signature:
        self.asked.append(request)
        return Signature(f"digest {len(self.asked)}", 1000 + len(self.asked), f"nonce {len(self.asked)}")


def signature_in(command: Any) -> tuple[str, int, str]:
    return command.s, command.t, command.n


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (SignatureRequest(Action.OPEN, "app", "tom"), "app:tom::5:n"),
        (SignatureRequest(Action.START, "app", "tom", "", ("jerry", "tom")), "app:tom:jerry:tom:5:n"),
        (SignatureRequest(Action.INVITE, "app", "tom", "c1", ("a", "b")), "app:tom:c1:a:b:5:n:invite"),
        (SignatureRequest(Action.KICK, "app", "tom", "c1", ("a",)), "app:tom:c1:a:5:n:kick"),
        (
            SignatureRequest(Action.BLOCK, "app", "tom", "c1", ("a",)),
            "app:tom:c1:a:5:n:conversation-block-clients",
        ),
        (
            SignatureRequest(Action.UNBLOCK_CONVERSATIONS, "app", "tom", "c1"),
            "app:tom:c1::5:n:client-unblock-conversations",
        ),
    ],
)
def test_the_text_to_sign_is_the_documented_one(request_: SignatureRequest, text: str) -> None:
    assert request_.text(5, "n") == text


def test_a_signature_is_fresh_and_made_with_the_master_key() -> None:
    request = SignatureRequest(Action.OPEN, "app", "tom")
    one, two = signed(request, "key"), signed(request, "key")
    assert one.nonce != two.nonce
    assert ":" not in one.nonce
    expected = hmac.digest(b"key", request.text(one.timestamp, one.nonce).encode(), "sha1").hex()
    assert one.digest == expected


async def test_openings_are_signed_unless_there_is_a_token() -> None:
    clerk = Clerk()

    async def script(server: FakeServer) -> None:
        peer = await server.accept()
        request = await peer.open()
        assert signature_in(request.sessionMessage) == ("digest 1", 1001, "nonce 1")
        await peer.cut()
        peer = await server.accept()
        request = await peer.expect(pb.session, pb.open)
        assert not request.sessionMessage.HasField("s")
        await peer.send(refused(request, 4112, "SESSION_TOKEN_EXPIRED"))
        request = await peer.expect(pb.session, pb.open)
        assert signature_in(request.sessionMessage) == ("digest 2", 1002, "nonce 2")
        await peer.send(opened(request))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server, signer=clerk) as tom:
        assert [type(event) for event in await take(tom, 2)] == [Disconnected, Reconnected]
    assert clerk.asked == [SignatureRequest(Action.OPEN, "app-under-test", "tom")] * 2


async def test_what_changes_members_is_signed_and_going_is_not() -> None:
    clerk = Clerk()

    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.conv, pb.start)
        assert signature_in(request.convMessage) == ("digest 2", 1002, "nonce 2")
        await peer.send(answered(request, pb.started, pb.ConvCommand(cid="c1")))
        for op, done in ((pb.add, pb.added), (pb.remove, pb.removed), (pb.add, pb.added)):
            request = await peer.expect(pb.conv, op)
            assert request.convMessage.s
            await peer.send(answered(request, done, pb.ConvCommand()))
        request = await peer.expect(pb.conv, pb.remove)
        assert not request.convMessage.HasField("s")
        await peer.send(answered(request, pb.removed, pb.ConvCommand()))
        for op, done in ((pb.block, pb.blocked), (pb.unblock, pb.unblocked), (pb.block, pb.blocked)):
            request = await peer.expect(pb.blacklist, op)
            assert request.blacklistMessage.s
            await peer.send(reply(request, cmd=pb.blacklist, op=done, blacklistMessage=pb.BlacklistCommand()))

    async with talking(script, signer=clerk) as tom:
        room = await tom.create_conversation(["jerry", "jerry"])
        await room.add(["spike", "butch"])
        await room.remove(["spike"])
        await room.join()
        await room.leave()
        await room.block(["spike"])
        await room.unblock(["spike"])
        await tom.block_conversations(["c2"])
    assert [(one.action, one.conversation_id, one.members) for one in clerk.asked[1:]] == [
        (Action.START, "", ("jerry", "tom")),
        (Action.INVITE, "c1", ("butch", "spike")),
        (Action.KICK, "c1", ("spike",)),
        (Action.INVITE, "c1", ("tom",)),
        (Action.BLOCK, "c1", ("spike",)),
        (Action.UNBLOCK, "c1", ("spike",)),
        (Action.BLOCK_CONVERSATIONS, "c2", ()),
    ]


async def test_what_is_asked_again_is_signed_again() -> None:
    async def script(server: FakeServer) -> None:
        peer = await server.accept_session()
        first = await peer.expect(pb.conv, pb.start)
        await peer.cut()
        peer = await server.accept_session()
        second = await peer.expect(pb.conv, pb.start)
        assert signature_in(first.convMessage) != signature_in(second.convMessage)
        await peer.send(answered(second, pb.started, pb.ConvCommand(cid="c1")))
        await peer.say_goodbye()

    async with scripted(script) as server, connected(server, signer=Clerk()) as tom:
        await tom.create_conversation(["jerry"], unique=True)


async def test_a_signer_that_fails_at_first_fails_the_opening() -> None:
    async def signer(request: SignatureRequest) -> Signature:
        raise PermissionError("tom is banned")

    async def script(server: FakeServer) -> None:
        await (await server.accept()).see_it_go()

    async with scripted(script) as server:
        with pytest.raises(SigningFailed, match="tom is banned") as caught:
            async with connect(server.address, app_id="app-under-test", client_id="tom", signer=signer):
                pass
    assert isinstance(caught.value.__cause__, PermissionError)


async def test_a_signer_that_fails_later_fails_the_call_and_delays_the_reopening() -> None:
    answers = iter([True, False, False, True])

    async def signer(request: SignatureRequest) -> Signature:
        if next(answers):
            return signed(request, "key")
        raise ConnectionError("the application's server is away")

    async def script(server: FakeServer) -> None:
        peer = await server.accept_session(token="")
        await peer.send(acked(await peer.expect(pb.direct)))
        await peer.cut()
        await (await server.accept()).see_it_go()
        await (await server.accept_session()).say_goodbye()

    async with scripted(script) as server, connected(server, signer=signer) as tom:
        room = tom.conversation("c1")
        with pytest.raises(SigningFailed, match="away"):
            await room.add(["jerry"])
        await room.send("hello")
        assert [type(event) for event in await take(tom, 2)] == [Disconnected, Reconnected]
