import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.conversation import Kind
from fastim.core.errors import ReadTimeout, SessionConflict, WireError
from fastim.core.events import (
    BlocksChanged,
    ConversationStarted,
    ConversationUpdated,
    MembersAdded,
    MembersRemoved,
    MessagePatched,
    MessagePosted,
    MessagesQueued,
    MessagesReceipted,
    MissedPatch,
    PatchesMissed,
    RoleChanged,
    SilenceChanged,
    UnreadChanged,
    UnreadNotice,
)
from fastim.core.message import Message
from fastim.core.standing import Role
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
PAIR = ("tom", "jerry")
ROLE = RoleChanged(C, "jerry", Role.MANAGER, PAIR, by="tom", at=AT)
SILENCED = SilenceChanged(C, ("jerry", "spike"), silenced=True, members=PAIR, by="tom", at=AT)
HEARD = SilenceChanged(C, ("jerry",), silenced=False, members=PAIR, by="tom", at=AT)
BLOCKED = BlocksChanged(C, ("jerry", "spike"), blocked=True, members=("tom",), by="tom", at=AT)
UNBLOCKED = BlocksChanged(C, ("jerry",), blocked=False, members=("tom",), by="tom", at=AT)


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

    def test_when_it_was_patched_before_it_came(self) -> None:
        assert posted(Message("m", AT, 1, "tom", b"", patched_at=Millis(AT + 1))).directMessage.patchTimestamp == AT + 1
        assert not posted(Message("m", AT, 1, "tom", b"")).directMessage.HasField("patchTimestamp")

    @pytest.mark.parametrize("kind", list(Kind))
    def test_the_type_of_the_conversation(self, kind: Kind) -> None:
        assert posted(Message("m", AT, 1, "tom", b""), kind).directMessage.convType == kind


class TestQueued:
    def directs(self, count: int, *, more: bool) -> list[pb.DirectCommand]:
        messages = tuple(Message(f"m{n}", Millis(n), n, "jerry", b"hi") for n in range(1, count + 1))
        bodies = codec.encode_queued(MessagesQueued("tom", 1, C, Kind.SYSTEM, messages, more))
        pushes = [parsed(body) for body in bodies]
        assert all((push.cmd, push.service) == (pb.direct, 2) for push in pushes)
        return [push.directMessage for push in pushes]

    def test_each_is_a_delivery_that_says_it_waited(self) -> None:
        assert self.directs(1, more=False) == [
            pb.DirectCommand(cid=C, id="m1", fromPeerId="jerry", timestamp=1, msg=b"hi", convType=3, offline=True)
        ]

    def test_the_last_says_when_there_are_more(self) -> None:
        assert [direct.hasMore for direct in self.directs(3, more=True)] == [False, False, True]
        assert not any(direct.HasField("hasMore") for direct in self.directs(3, more=False))

    def test_none_are_none(self) -> None:
        assert self.directs(0, more=True) == []


class TestPatches:
    def patched(self, message: Message, code: int = 0, detail: str = "") -> pb.PatchItem:
        event = MessagePatched(C, Kind.NORMAL, message, PAIR, origin=1, code=code, detail=detail)
        push = parsed(codec.encode_patched(event))
        (item,) = push.patchMessage.patches
        assert push == Generic(cmd=pb.patch, op=pb.modify, service=2, patchMessage=pb.PatchCommand(patches=[item]))
        return item

    def test_a_modified_text(self) -> None:
        message = Message("m", AT, 7, "tom", b"new", mentions=("a",), mention_all=True, patched_at=Millis(AT + 1))
        assert self.patched(message) == pb.PatchItem(
            cid=C,
            mid="m",
            timestamp=AT,
            sender="tom",
            data=b"new",
            patchTimestamp=AT + 1,
            mentionPids=["a"],
            mentionAll=True,
        )

    def test_a_recalled_one_has_the_body_that_says_so(self) -> None:
        """JS makes a ``RecalledMessage`` of the body, C# reads it whatever ``recall`` says."""
        message = Message("m", AT, 7, "tom", b'{"_lctype":-127}', patched_at=Millis(AT + 1), recalled=True)
        item = self.patched(message)
        assert (item.recall, item.data) == (True, b'{"_lctype":-127}')

    def test_what_does_not_apply_is_left_out(self) -> None:
        """JS takes any ``patchCode`` for a reason, 0 too."""
        item = self.patched(Message("m", AT, 7, "tom", b"new", patched_at=Millis(AT + 1)), detail="for nothing")
        for field in ("recall", "mentionAll", "patchCode", "patchReason", "binaryMsg"):
            assert not item.HasField(field)

    def test_a_binary_body(self) -> None:
        item = self.patched(Message("m", AT, 7, "tom", b"\x00\xff", binary=True, patched_at=Millis(AT + 1)))
        assert item.binaryMsg == b"\x00\xff"
        assert not item.HasField("data")

    @pytest.mark.parametrize("code", [-4408, 12])
    def test_why_somebody_else_did_it(self, code: int) -> None:
        item = self.patched(Message("m", AT, 7, "tom", b"***", patched_at=Millis(AT + 1)), code, "a word")
        assert (item.patchCode, item.patchReason) == (code, "a word")

    def test_what_was_missed_comes_one_by_one(self) -> None:
        """ObjC keeps only the last item of a conversation in a frame."""
        missed = tuple(
            MissedPatch(C, Message(f"m{n}", Millis(n), n, "tom", b"", patched_at=Millis(n + 9))) for n in (1, 2, 3)
        )
        pushes = [parsed(body) for body in codec.encode_missed_patches(PatchesMissed("tom", 1, missed))]
        assert [[item.mid for item in push.patchMessage.patches] for push in pushes] == [["m1"], ["m2"], ["m3"]]
        assert [push.patchMessage.patches[0].patchTimestamp for push in pushes] == [10, 11, 12]


class TestReceipts:
    def receipts(self, *, read: bool) -> list[pb.GenericCommand]:
        event = MessagesReceipted(C, "tom", ("m1", "m2"), by="jerry", at=AT, upto=Millis(AT - 9), read=read)
        return [parsed(body) for body in codec.encode_receipts(event)]

    def test_of_each_message_that_was_read(self) -> None:
        assert self.receipts(read=True) == [
            Generic(
                cmd=pb.rcp,
                service=2,
                serverTs=AT,
                notificationType=1,
                rcpMessage=pb.RcpCommand(id=message_id, cid=C, t=AT - 9, read=True, sender="jerry"),
            )
            for message_id in ("m1", "m2")
        ]

    def test_java_is_not_told_that_a_delivered_one_is_unread(self) -> None:
        assert [push.rcpMessage for push in self.receipts(read=False)] == [
            pb.RcpCommand(id=message_id, cid=C, t=AT - 9, sender="jerry") for message_id in ("m1", "m2")
        ]


class TestPresence:
    @pytest.mark.parametrize(("online", "status"), [(True, pb.on), (False, pb.off)])
    def test_who_came_or_went(self, online: bool, status: pb.StatusType) -> None:
        assert parsed(codec.encode_presence(["a", "b"], online=online)) == Generic(
            cmd=pb.presence,
            op=pb.status,
            service=2,
            presenceMessage=pb.PresenceCommand(status=status, sessionPeerIds=["a", "b"]),
        )


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
            (
                codec.encode_role_changed(ROLE),
                pb.member_info_changed,
                Conv(cid=C, initBy="tom", info=pb.ConvMemberInfo(pid="jerry", role="Manager")),
            ),
            (codec.encode_silenced(SILENCED), pb.shutuped, Conv(cid=C, initBy="tom")),
            (codec.encode_silenced(HEARD), pb.unshutuped, Conv(cid=C, initBy="tom")),
            (
                codec.encode_members_silenced(SILENCED),
                pb.members_shutuped,
                Conv(cid=C, initBy="tom", m=["jerry", "spike"]),
            ),
            (codec.encode_members_silenced(HEARD), pb.members_unshutuped, Conv(cid=C, initBy="tom", m=["jerry"])),
            (codec.encode_blocked(BLOCKED), pb.blocked, Conv(cid=C, initBy="tom")),
            (codec.encode_blocked(UNBLOCKED), pb.unblocked, Conv(cid=C, initBy="tom")),
            (
                codec.encode_members_blocked(BLOCKED),
                pb.members_blocked,
                Conv(cid=C, initBy="tom", m=["jerry", "spike"]),
            ),
            (codec.encode_members_blocked(UNBLOCKED), pb.members_unblocked, Conv(cid=C, initBy="tom", m=["jerry"])),
        ],
    )
    def test_is_a_reliable_notification_with_its_time(self, body: bytes, op: pb.OpType, conv: pb.ConvCommand) -> None:
        assert parsed(body) == Generic(cmd=pb.conv, op=op, service=2, serverTs=AT, notificationType=1, convMessage=conv)

    def test_java_is_told_when_the_conversation_is_temporary(self) -> None:
        started = ConversationStarted("_tmp:" + C, Kind.TEMPORARY, ("tom",), by="tom", at=AT, ttl_seconds=60)
        for body in (codec.encode_joined(started), codec.encode_members_joined(started)):
            conv = parsed(body).convMessage
            assert (conv.tempConv, conv.tempConvTTL) == (True, 60)

    def test_others_are_not_temporary(self) -> None:
        conv = parsed(codec.encode_joined(STARTED)).convMessage
        assert not conv.HasField("tempConv")
        assert not conv.HasField("tempConvTTL")

    @pytest.mark.parametrize(
        "body",
        [
            codec.encode_joined(replace(STARTED, by="")),
            codec.encode_members_joined(replace(ADDED, by="")),
            codec.encode_left(replace(REMOVED, by="")),
            codec.encode_members_left(replace(REMOVED, by="")),
            codec.encode_updated(replace(UPDATED, by="")),
            codec.encode_role_changed(replace(ROLE, by="")),
            codec.encode_silenced(replace(SILENCED, by="")),
            codec.encode_members_silenced(replace(SILENCED, by="")),
            codec.encode_blocked(replace(BLOCKED, by="")),
            codec.encode_members_blocked(replace(BLOCKED, by="")),
        ],
    )
    def test_what_the_application_does_is_in_nobodys_name(self, body: bytes) -> None:
        assert not parsed(body).convMessage.HasField("initBy")


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

    def test_a_last_message_that_was_patched(self) -> None:
        last = Message("m", AT, 7, "jerry", b"new", patched_at=Millis(AT + 1))
        entry = told(UnreadNotice(C, Kind.SYSTEM, count=1, mentioned=False, last=last))
        assert (entry.patchTimestamp, entry.convType) == (AT + 1, 3)


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
            codec.encode_role_changed(ROLE),
            codec.encode_presence(["jerry"], online=True),
            codec.encode_patched(MessagePatched(C, Kind.NORMAL, Message("m", AT, 1, "tom", b"hi"), (), 1)),
            *codec.encode_missed_patches(PatchesMissed("tom", 1, (MissedPatch(C, Message("m", AT, 1, "tom", b"hi")),))),
            *codec.encode_queued(
                MessagesQueued("tom", 1, C, Kind.NORMAL, (Message("m", AT, 1, "tom", b"hi"),), more=True)
            ),
            *codec.encode_receipts(MessagesReceipted(C, "tom", ("m",), by="jerry", at=AT, upto=AT, read=True)),
            codec.encode_unread(UnreadChanged("tom", (), AT)),
            codec.encode_eviction(SessionConflict()),
        ],
    )
    def test_a_push_has_no_serial_and_is_for_messaging(self, body: bytes) -> None:
        """Swift and ObjC drop a push with another service. Source: wire protocol, envelope rules."""
        push = parsed(body + codec.recipient("tom"))
        assert not push.HasField("i")
        assert (push.service, push.peerId) == (2, "tom")
