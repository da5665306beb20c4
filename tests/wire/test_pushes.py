import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastim.core.conversation import Kind
from fastim.core.errors import ReadTimeout, SessionConflict, WireError
from fastim.core.events import (
    ConversationStarted,
    ConversationUpdated,
    MembersAdded,
    MembersRemoved,
    MessagePosted,
    UnreadChanged,
    UnreadNotice,
)
from fastim.core.message import Message
from fastim.core.units import Millis
from fastim.wire import codec
from fastim.wire import messages2_pb2 as pb

Generic = pb.GenericCommand
Conv = pb.ConvCommand

C = "64a0b1c2d3e4f5a6b7c8d9e0"
AT = Millis(1_767_268_800_007)
AT_ISO = "2026-01-01T12:00:00.007Z"

STARTED = ConversationStarted(C, Kind.NORMAL, ("tom", "jerry"), by="tom", at=AT)
ADDED = MembersAdded(C, Kind.NORMAL, added=("spike",), members=("tom", "jerry", "spike"), by="tom", at=AT)
REMOVED = MembersRemoved(C, Kind.NORMAL, removed=("jerry",), members=("tom",), by="tom", at=AT)
UPDATED = ConversationUpdated(
    C, ("tom", "jerry"), by="tom", origin=1, at=AT, asked=b'{"attr.a":1}', modified=b'{"attr":{"a":1}}'
)


def parsed(body: bytes) -> pb.GenericCommand:
    return pb.GenericCommand.FromString(body)


def posted(message: Message, kind: Kind = Kind.NORMAL, *, transient: bool = False) -> pb.GenericCommand:
    return parsed(codec.encode_delivery(MessagePosted(C, kind, message, ("tom",), origin=1, transient=transient)))


def told(notice: UnreadNotice) -> pb.UnreadTuple:
    (entry,) = parsed(codec.encode_unread(UnreadChanged("tom", (notice,), AT))).unreadMessage.convs
    return entry


class TestDelivery:
    def test_a_text(self) -> None:
        message = Message("m", AT, 7, "tom", b"\xff not UTF-8", receipt=True)
        assert posted(message) == Generic(
            cmd=pb.direct,
            service=2,
            directMessage=pb.DirectCommand(
                cid=C, id="m", fromPeerId="tom", timestamp=AT, msg=b"\xff not UTF-8", convType=1
            ),
        )

    def test_a_binary_body(self) -> None:
        direct = posted(Message("m", AT, 7, "tom", b"\x00\xff", binary=True)).directMessage
        assert direct.binaryMsg == b"\x00\xff"
        assert not direct.HasField("msg")

    def test_an_empty_text_is_still_a_text(self) -> None:
        assert posted(Message("m", AT, 7, "tom", b"")).directMessage.HasField("msg")

    def test_mentions(self) -> None:
        direct = posted(Message("m", AT, 7, "tom", b"", mention_all=True, mentions=("a", "b"))).directMessage
        assert (direct.mentionAll, list(direct.mentionPids)) == (True, ["a", "b"])
        assert not posted(Message("m", AT, 7, "tom", b"")).directMessage.HasField("mentionAll")

    def test_a_transient_one_says_so_that_nobody_acks_it(self) -> None:
        assert posted(Message("m", AT, 0, "tom", b""), transient=True).directMessage.transient
        assert not posted(Message("m", AT, 1, "tom", b"")).directMessage.HasField("transient")

    @pytest.mark.parametrize("kind", list(Kind))
    def test_the_type_of_the_conversation(self, kind: Kind) -> None:
        assert posted(Message("m", AT, 1, "tom", b""), kind).directMessage.convType == kind


class TestMembership:
    @pytest.mark.parametrize(
        ("body", "op", "conv"),
        [
            (codec.encode_joined(STARTED), pb.joined, Conv(cid=C, initBy="tom", udate=AT_ISO)),
            (
                codec.encode_members_joined(STARTED),
                pb.members_joined,
                Conv(cid=C, initBy="tom", m=["tom", "jerry"], udate=AT_ISO),
            ),
            (codec.encode_joined(ADDED), pb.joined, Conv(cid=C, initBy="tom", udate=AT_ISO)),
            (
                codec.encode_members_joined(ADDED),
                pb.members_joined,
                Conv(cid=C, initBy="tom", m=["spike"], udate=AT_ISO),
            ),
            (codec.encode_left(REMOVED), pb.left, Conv(cid=C, initBy="tom", udate=AT_ISO)),
            (
                codec.encode_members_left(REMOVED),
                pb.members_left,
                Conv(cid=C, initBy="tom", m=["jerry"], udate=AT_ISO),
            ),
            (
                codec.encode_updated(UPDATED),
                pb.updated,
                Conv(
                    cid=C,
                    initBy="tom",
                    udate=AT_ISO,
                    attr=pb.JsonObjectMessage(data='{"attr.a":1}'),
                    attrModified=pb.JsonObjectMessage(data='{"attr":{"a":1}}'),
                ),
            ),
        ],
    )
    def test_is_a_reliable_notification_with_its_time(self, body: bytes, op: pb.OpType, conv: pb.ConvCommand) -> None:
        assert parsed(body) == Generic(cmd=pb.conv, op=op, service=2, serverTs=AT, notificationType=1, convMessage=conv)

    def test_java_is_told_when_the_conversation_is_temporary(self) -> None:
        started = ConversationStarted("_tmp:" + C, Kind.TEMPORARY, ("tom",), by="tom", at=AT)
        assert parsed(codec.encode_joined(started)).convMessage.tempConv
        assert parsed(codec.encode_members_joined(started)).convMessage.tempConv


class TestUnread:
    def test_the_last_message_travels_with_the_count(self) -> None:
        last = Message("m", AT, 7, "jerry", b"hi")
        notice = UnreadNotice(C, Kind.NORMAL, count=3, mentioned=True, last=last)
        assert parsed(codec.encode_unread(UnreadChanged("tom", (notice,), AT))) == Generic(
            cmd=pb.unread,
            service=2,
            unreadMessage=pb.UnreadCommand(
                notifTime=AT,
                convs=[
                    pb.UnreadTuple(
                        cid=C,
                        unread=3,
                        mentioned=True,
                        mid="m",
                        timestamp=AT,
                        sender="jerry",
                        data=b"hi",
                        convType=1,
                    )
                ],
            ),
        )

    def test_nothing_unread_and_not_mentioned_are_said_aloud(self) -> None:
        """Swift lowers its counter only when it is told 0, and tells false from absent."""
        entry = told(UnreadNotice(C, Kind.NORMAL, count=0, mentioned=False, last=None))
        assert entry == pb.UnreadTuple(cid=C, unread=0, mentioned=False, convType=1)
        assert entry.HasField("mentioned")

    def test_a_binary_last_message(self) -> None:
        last = Message("m", AT, 7, "jerry", b"\x00\xff", binary=True)
        entry = told(UnreadNotice(C, Kind.NORMAL, count=1, mentioned=False, last=last))
        assert entry.binaryMsg == b"\x00\xff"
        assert not entry.HasField("data")


class TestEndings:
    def test_an_evicted_session_is_told_the_code(self) -> None:
        assert parsed(codec.encode_eviction(SessionConflict())) == Generic(
            cmd=pb.session,
            op=pb.closed,
            service=2,
            sessionMessage=pb.SessionCommand(code=4111, reason="SESSION_CONFLICT"),
        )

    def test_a_connection_that_ends_is_told_the_code(self) -> None:
        assert parsed(codec.encode_parting(ReadTimeout())) == Generic(
            cmd=pb.error, service=2, errorMessage=pb.ErrorCommand(code=4107, reason="READ_TIMEOUT")
        )
        assert parsed(codec.encode_parting(WireError("not a command"))).errorMessage.detail == "not a command"


class TestRecipient:
    @given(st.text(min_size=1, max_size=64))
    @example("t" * 64)
    @example("😀" * 31 + "abc")  # 127 bytes
    @example("😀" * 32)  # 128 bytes
    @example("😀" * 64)
    def test_completes_a_push_as_protobuf_itself_would(self, client_id: str) -> None:
        body = codec.encode_joined(STARTED)
        expected = parsed(body)
        expected.peerId = client_id
        assert parsed(body + codec.recipient(client_id)) == expected
        assert codec.recipient(client_id) == Generic(peerId=client_id).SerializeToString()

    @pytest.mark.parametrize(
        "body",
        [
            codec.encode_delivery(MessagePosted(C, Kind.NORMAL, Message("m", AT, 1, "tom", b"hi"), (), 1)),
            codec.encode_joined(STARTED),
            codec.encode_updated(UPDATED),
            codec.encode_unread(UnreadChanged("tom", (), AT)),
            codec.encode_eviction(SessionConflict()),
        ],
    )
    def test_a_push_has_no_serial_and_is_for_messaging(self, body: bytes) -> None:
        """Swift and ObjC drop a push with another service. Source: wire protocol, envelope rules."""
        push = parsed(body + codec.recipient("tom"))
        assert not push.HasField("i")
        assert (push.service, push.peerId) == (2, "tom")
