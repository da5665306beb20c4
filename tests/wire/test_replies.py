import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core import commands, replies
from fastim.core.commands import Command
from fastim.core.errors import (
    CodedError,
    ConversationFull,
    ConversationNotFound,
    ConversationRejected,
    HookFailed,
    InvalidLogin,
    InvalidTarget,
    MessageNotOwned,
    MessageRejected,
    MessageTooLong,
    PatchRejected,
    RankTooLow,
    SessionRequired,
)
from fastim.core.message import Message, Position
from fastim.core.notice import Notice
from fastim.core.replies import MemberReceipt, PartialFailure, Reply, RoleRecord
from fastim.core.standing import Role
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec import Request, encode_error, encode_reply

Generic = pb.GenericCommand
Conv = pb.ConvCommand
Blacklist = pb.BlacklistCommand
Session = pb.SessionCommand
Json = pb.JsonObjectMessage

C = "64a0b1c2d3e4f5a6b7c8d9e0"
AT = Millis(1_767_268_800_007)
AT_ISO = "2026-01-01T12:00:00.007Z"

FAILED = (PartialFailure(("b", "c"), RankTooLow()),)
FAILED_PIDS = [pb.ErrorCommand(code=4320, reason="CONVERSATION_OPERATION_UNAUTHORIZED", pids=["b", "c"])]

REPLIES: list[tuple[Reply, pb.GenericCommand]] = [
    (
        replies.Opened("tom", "token", 3_600, AT),
        Generic(cmd=pb.session, op=pb.opened, serverTs=AT, sessionMessage=Session(st="token", stTtl=3_600)),
    ),
    (
        replies.Refreshed("token", 3_600),
        Generic(cmd=pb.session, op=pb.refreshed, sessionMessage=Session(st="token", stTtl=3_600)),
    ),
    (replies.Closed(), Generic(cmd=pb.session, op=pb.closed, sessionMessage=Session())),
    (
        replies.OnlineClients(("a", "b")),
        Generic(cmd=pb.session, op=pb.query_result, sessionMessage=Session(onlineSessionPeerIds=["a", "b"])),
    ),
    (replies.Started(C, AT), Generic(cmd=pb.conv, op=pb.started, convMessage=Conv(cid=C, cdate=AT_ISO))),
    (
        replies.Started(C, AT, existing=True, unique_key="u"),
        Generic(
            cmd=pb.conv,
            op=pb.started,
            convMessage=Conv(cid=C, cdate=AT_ISO, existing=True, uniqueId="u"),
        ),
    ),
    (
        replies.MembersChanged(added=True, allowed=("a",), updated_at=AT),
        Generic(cmd=pb.conv, op=pb.added, convMessage=Conv(allowedPids=["a"], udate=AT_ISO)),
    ),
    (
        replies.MembersChanged(added=False, allowed=("a",), updated_at=AT),
        Generic(cmd=pb.conv, op=pb.removed, convMessage=Conv(allowedPids=["a"], udate=AT_ISO)),
    ),
    (
        replies.Found(b'[{"name":"\xe8\x8c\xb6"}]'),
        Generic(cmd=pb.conv, op=pb.results, convMessage=Conv(results=Json(data='[{"name":"茶"}]'))),
    ),
    (
        replies.Updated(C, AT, asked=b'{"attr.a":1}', modified=b'{"attr":{"a":1}}'),
        Generic(
            cmd=pb.conv,
            op=pb.updated,
            convMessage=Conv(
                cid=C,
                udate=AT_ISO,
                attr=Json(data='{"attr.a":1}'),
                attrModified=Json(data='{"attr":{"a":1}}'),
            ),
        ),
    ),
    (replies.Muted(C, AT), Generic(cmd=pb.conv, op=pb.updated, convMessage=Conv(cid=C, udate=AT_ISO))),
    (
        replies.Started(C, AT, ttl_seconds=60),
        Generic(cmd=pb.conv, op=pb.started, convMessage=Conv(cid=C, cdate=AT_ISO, tempConvTTL=60)),
    ),
    (
        replies.Patched(AT),
        Generic(cmd=pb.patch, op=pb.modified, patchMessage=pb.PatchCommand(lastPatchTime=AT)),
    ),
    (
        replies.Receipts(C, delivered_at=Millis(6), read_at=Millis(5)),
        Generic(cmd=pb.conv, op=pb.max_read, convMessage=Conv(cid=C, maxAckTimestamp=6, maxReadTimestamp=5)),
    ),
    (
        replies.MemberReceipts(C, (MemberReceipt("a", Millis(6), Millis(5)),)),
        Generic(
            cmd=pb.conv,
            op=pb.max_read,
            convMessage=Conv(cid=C, maxReadTuples=[pb.MaxReadTuple(pid="a", maxAckTimestamp=6, maxReadTimestamp=5)]),
        ),
    ),
    (replies.Occupants(("a", "b")), Generic(cmd=pb.conv, op=pb.result, convMessage=Conv(m=["a", "b"]))),
    (replies.RoleSet(C), Generic(cmd=pb.conv, op=pb.member_info_updated, convMessage=Conv(cid=C))),
    (
        replies.Roles(C, (RoleRecord("1" * 24, "a", Role.MANAGER), RoleRecord("2" * 24, "b", Role.MEMBER))),
        Generic(
            cmd=pb.conv,
            op=pb.member_infos_result,
            convMessage=Conv(cid=C),
            nativeMessage=pb.NativeCommand(
                memberInfos=[
                    pb.ConvMemberInfo(pid="a", role="Manager", infoId="1" * 24),
                    pb.ConvMemberInfo(pid="b", role="Member", infoId="2" * 24),
                ]
            ),
        ),
    ),
    (
        replies.SilenceChanged(silenced=True, allowed=("a",), failed=FAILED),
        Generic(cmd=pb.conv, op=pb.shutup_added, convMessage=Conv(allowedPids=["a"], failedPids=FAILED_PIDS)),
    ),
    (
        replies.SilenceChanged(silenced=False, allowed=("a",)),
        Generic(cmd=pb.conv, op=pb.shutup_removed, convMessage=Conv(allowedPids=["a"])),
    ),
    (
        replies.SilencedPage(("a", "b"), "2"),
        Generic(cmd=pb.conv, op=pb.shutup_result, convMessage=Conv(m=["a", "b"], next="2")),
    ),
    (replies.SilencedPage(()), Generic(cmd=pb.conv, op=pb.shutup_result, convMessage=Conv())),
    (replies.SilencedAmong(("a",)), Generic(cmd=pb.conv, op=pb.check_result, convMessage=Conv(m=["a"]))),
    (
        replies.BlocksChanged(C, blocked=True, allowed=("a",), failed=FAILED),
        Generic(
            cmd=pb.blacklist,
            op=pb.blocked,
            blacklistMessage=Blacklist(srcCid=C, allowedPids=["a"], failedPids=FAILED_PIDS),
        ),
    ),
    (
        replies.BlocksChanged(C, blocked=False, allowed=("a",)),
        Generic(cmd=pb.blacklist, op=pb.unblocked, blacklistMessage=Blacklist(srcCid=C, allowedPids=["a"])),
    ),
    (
        replies.BlockedPage(C, ("a", "b"), "2"),
        Generic(
            cmd=pb.blacklist,
            op=pb.query_result,
            blacklistMessage=Blacklist(srcCid=C, blockedPids=["a", "b"], next="2"),
        ),
    ),
    (
        replies.BlockedAmong(C, ("a",)),
        Generic(cmd=pb.blacklist, op=pb.check_result, blacklistMessage=Blacklist(srcCid=C, blockedPids=["a"])),
    ),
    (
        replies.RefusalsChanged(refused=True, conversation_ids=(C,)),
        Generic(cmd=pb.blacklist, op=pb.blocked, blacklistMessage=Blacklist(toCids=[C], allowedPids=[C])),
    ),
    (
        replies.RefusalsChanged(refused=False, conversation_ids=(C,)),
        Generic(cmd=pb.blacklist, op=pb.unblocked, blacklistMessage=Blacklist(toCids=[C], allowedPids=[C])),
    ),
    (
        replies.RefusedPage((C,), "1"),
        Generic(cmd=pb.blacklist, op=pb.query_result, blacklistMessage=Blacklist(blockedCids=[C], next="1")),
    ),
    (
        replies.RefusedAmong((C,)),
        Generic(cmd=pb.blacklist, op=pb.check_result, blacklistMessage=Blacklist(blockedCids=[C])),
    ),
    (
        replies.Notices((), more=False),
        Generic(
            cmd=pb.session,
            op=pb.notifications_result,
            nativeMessage=pb.NativeCommand(notifications=b"[]", hasMore=False),
        ),
    ),
    (
        replies.Watching(("a", "b")),
        Generic(
            cmd=pb.presence,
            op=pb.subscribed,
            presenceMessage=pb.PresenceCommand(status=pb.on, sessionPeerIds=["a", "b"]),
        ),
    ),
    (replies.Unwatched(), Generic(cmd=pb.presence, op=pb.unsubscribed)),
    (replies.Counted(0), Generic(cmd=pb.conv, op=pb.result, convMessage=Conv(count=0))),
    (replies.Counted(3), Generic(cmd=pb.conv, op=pb.result, convMessage=Conv(count=3))),
    (
        replies.Memberships(b'{"c":true}'),
        Generic(cmd=pb.conv, op=pb.result, convMessage=Conv(results=Json(data='{"c":true}'))),
    ),
    (replies.Acked("m", AT), Generic(cmd=pb.ack, ackMessage=pb.AckCommand(uid="m", t=AT))),
    (replies.Echoed(), Generic(cmd=pb.echo)),
    (replies.DeviceReported(), Generic(cmd=pb.report, op=pb.uploaded)),
    (replies.History(C, 1, ()), Generic(cmd=pb.logs, logsMessage=pb.LogsCommand(cid=C))),
]


def answer(reply: Reply, serial: int | None = 1, client_id: str | None = "tom") -> pb.GenericCommand:
    return pb.GenericCommand.FromString(encode_reply(reply, serial, client_id))


def refusal(command: Command, error: CodedError, serial: int | None = 1) -> pb.GenericCommand:
    request = Request(command, serial, client_id="tom", application_id=None)
    return pb.GenericCommand.FromString(encode_error(request, error, "tom"))


class TestEveryKind:
    @pytest.mark.parametrize(("reply", "expected"), REPLIES)
    def test_says_this_and_nothing_more(self, reply: Reply, expected: pb.GenericCommand) -> None:
        expected.MergeFrom(Generic(i=1, peerId="tom", service=2))
        assert answer(reply) == expected

    def test_all_kinds_are_above(self) -> None:
        assert {type(reply) for reply, _ in REPLIES} | {replies.LoggedIn} == set(Reply.__subclasses__())


class TestWhatSdksStumbleOver:
    @pytest.mark.parametrize("reply", [replies.Opened("tom", "token", 1, AT), replies.Closed()])
    def test_a_session_reply_has_no_code(self, reply: Reply) -> None:
        """JS throws on a code, Java takes the session for closed by the server. Source: wire protocol, session."""
        assert not answer(reply).sessionMessage.HasField("code")
        assert answer(reply).HasField("sessionMessage")

    def test_an_ack_has_neither_code_nor_app_code(self) -> None:
        ack = answer(replies.Acked("m", AT)).ackMessage
        assert not ack.HasField("code")
        assert not ack.HasField("appCode")

    def test_nobody_counts_as_an_explicit_zero(self) -> None:
        assert answer(replies.Counted(0)).convMessage.HasField("count")

    @pytest.mark.parametrize(("delivered", "read"), [(0, 0), (6, 0), (0, 5)])
    def test_a_time_that_never_was_is_left_out(self, delivered: int, read: int) -> None:
        """JS takes what is there for a date, and leaves members out who have neither."""
        one = answer(replies.Receipts(C, Millis(delivered), Millis(read))).convMessage
        member = MemberReceipt("a", Millis(delivered), Millis(read))
        (of_many,) = answer(replies.MemberReceipts(C, (member,))).convMessage.maxReadTuples
        assert of_many.pid == "a"
        for told in (one, of_many):
            assert told.HasField("maxAckTimestamp") == (delivered > 0)
            assert told.HasField("maxReadTimestamp") == (read > 0)

    @pytest.mark.parametrize(
        "reply", [replies.SilencedPage(("a",)), replies.BlockedPage(C, ("a",)), replies.RefusedPage(("a",))]
    )
    def test_the_last_page_names_no_next_one(self, reply: Reply) -> None:
        generic = answer(reply)
        assert not generic.convMessage.HasField("next")
        assert not generic.blacklistMessage.HasField("next")

    def test_notices_are_json_in_the_shape_of_the_js_sdk(self) -> None:
        notice = Notice("members_joined", C, AT, "tom", ("spike",))
        native = answer(replies.Notices((notice,), more=True)).nativeMessage
        assert native.hasMore
        assert msgspec.json.decode(native.notifications) == [
            {
                "cmd": "conv",
                "op": "members_joined",
                "cid": C,
                "serverTs": AT,
                "notificationType": 1,
                "initBy": "tom",
                "m": ["spike"],
            }
        ]

    @given(st.none() | st.integers(-(2**31), 2**31 - 1))
    def test_the_serial_comes_back_as_it_was(self, serial: int | None) -> None:
        for generic in (
            answer(replies.Echoed(), serial),
            refusal(commands.Echo(), SessionRequired(), serial),
            refusal(commands.Send(C, b"", 0), InvalidTarget(), serial),
        ):
            assert generic.HasField("i") == (serial is not None)
            assert generic.i == (serial or 0)

    def test_without_a_session_there_is_no_peer_id(self) -> None:
        assert not answer(replies.Echoed(), client_id=None).HasField("peerId")

    @pytest.mark.parametrize(("millis", "text"), [(0, ".000Z"), (7, ".007Z"), (70, ".070Z"), (999, ".999Z")])
    def test_dates_have_three_fraction_digits(self, millis: int, text: str) -> None:
        at = Millis(1_767_268_800_000 + millis)
        assert answer(replies.Started(C, at)).convMessage.cdate == "2026-01-01T12:00:00" + text

    @pytest.mark.parametrize(("service", "told"), [(None, 0), (0, 0), (1, 1)])
    def test_a_login_is_answered_for_the_service_that_asked(self, service: int | None, told: int) -> None:
        generic = answer(replies.LoggedIn("phone", service), client_id=None)
        expected = Generic(cmd=pb.loggedin, i=1, service=told, installationId="phone")
        expected.loggedinMessage.pushDisabled = False
        assert generic == expected
        assert generic.loggedinMessage.HasField("pushDisabled")
        assert not answer(replies.LoggedIn("", None)).HasField("installationId")


class TestHistory:
    def items(self, *messages: Message) -> list[pb.LogItem]:
        return list(answer(replies.History(C, 1, messages)).logsMessage.logs)

    def test_a_text(self) -> None:
        assert self.items(Message("m", AT, 1, "tom", b'{"_lctype":-1}')) == [
            pb.LogItem(sender="tom", data=b'{"_lctype":-1}', timestamp=AT, msgId="m", convType=1)
        ]

    def test_a_binary_body_is_base64(self) -> None:
        assert self.items(Message("m", AT, 1, "tom", b"\x00\xff", binary=True)) == [
            pb.LogItem(sender="tom", data=b"AP8=", bin=True, timestamp=AT, msgId="m", convType=1)
        ]

    def test_mentions(self) -> None:
        (item,) = self.items(Message("m", AT, 1, "tom", b"", mention_all=True, mentions=("a", "b")))
        assert (item.mentionAll, list(item.mentionPids)) == (True, ["a", "b"])
        (item,) = self.items(Message("m", AT, 1, "tom", b""))
        assert not item.HasField("mentionAll")

    def test_their_order_stays(self) -> None:
        messages = [Message(f"m{n}", Millis(n), n, "tom", b"") for n in (1, 2, 3)]
        assert [item.msgId for item in self.items(*messages)] == ["m1", "m2", "m3"]

    def test_when_a_message_was_patched(self) -> None:
        (item,) = self.items(Message("m", AT, 1, "tom", b"", patched_at=Millis(AT + 1)))
        assert item.patchTimestamp == AT + 1
        (item,) = self.items(Message("m", AT, 1, "tom", b""))
        assert not item.HasField("patchTimestamp")


class TestHistoryOfTwo:
    PEER = MemberReceipt("jerry", delivered_at=Millis(7), read_at=Millis(5))

    def item(self, at: int, sender: str = "tom", receipt: MemberReceipt | None = PEER) -> pb.LogItem:
        history = replies.History(C, 1, (Message("m", Millis(at), 1, sender, b""),), receipt)
        (item,) = answer(history).logsMessage.logs
        return item

    @pytest.mark.parametrize(
        ("at", "delivered", "read"),
        [(4, True, True), (5, True, True), (6, True, False), (7, True, False), (8, False, False)],
    )
    def test_how_far_the_other_has_got(self, at: int, delivered: bool, read: bool) -> None:
        item = self.item(at)
        assert item == pb.LogItem(
            sender="tom",
            data=b"",
            timestamp=at,
            msgId="m",
            convType=1,
            ackAt=7 if delivered else None,
            readAt=5 if read else None,
        )

    def test_nobody_has_receipts_of_their_own(self) -> None:
        item = self.item(1, sender="jerry")
        assert not item.HasField("ackAt")
        assert not item.HasField("readAt")

    def test_in_larger_conversations_there_are_none(self) -> None:
        expected = pb.LogItem(sender="tom", data=b"", timestamp=1, msgId="m", convType=1)
        assert self.item(1, receipt=None) == expected


class TestErrors:
    def test_a_refused_patch_gets_an_error(self) -> None:
        patch = commands.PatchMessage(C, Position(AT, "m"), recall=True)
        assert refusal(patch, MessageNotOwned()) == Generic(
            cmd=pb.error,
            i=1,
            peerId="tom",
            service=2,
            errorMessage=pb.ErrorCommand(code=4403, reason="MESSAGE_OWNERSHIP_REQUIRED"),
        )

    def test_a_refused_command_gets_an_error(self) -> None:
        assert refusal(commands.CountMembers(C), ConversationNotFound()) == Generic(
            cmd=pb.error,
            i=1,
            peerId="tom",
            service=2,
            errorMessage=pb.ErrorCommand(code=4303, reason="CONVERSATION_NOT_FOUND"),
        )

    def test_a_detail_travels_beside_the_name(self) -> None:
        error = refusal(commands.CountMembers(C), ConversationFull("5 of 4")).errorMessage
        assert (error.code, error.reason, error.detail) == (4304, "CONVERSATION_FULL", "5 of 4")

    def test_a_refused_message_gets_an_ack_with_a_code(self) -> None:
        assert refusal(commands.Send(C, b"", 0), MessageTooLong("9 bytes of at most 5")) == Generic(
            cmd=pb.ack, i=1, peerId="tom", service=2, ackMessage=pb.AckCommand(code=4109, reason="FRAME_TOO_LONG")
        )

    def test_a_hook_that_refuses_a_message_has_its_say_in_the_ack(self) -> None:
        assert refusal(commands.Send(C, b"", 0), MessageRejected(77, "be nice")) == Generic(
            cmd=pb.ack,
            i=1,
            peerId="tom",
            service=2,
            ackMessage=pb.AckCommand(code=4402, reason="MESSAGE_REJECTED_BY_APP", appCode=77, appMsg="be nice"),
        )

    @pytest.mark.parametrize(
        ("error", "code", "reason"),
        [
            (ConversationRejected(-3, "no"), 4305, "CONVERSATION_REJECTED_BY_APP"),
            (PatchRejected(-3, "no"), 4405, "MESSAGE_UPDATE_REJECTED_BY_APP"),
        ],
    )
    def test_and_of_anything_else_in_the_error(self, error: CodedError, code: int, reason: str) -> None:
        told = refusal(commands.AddMembers(C, ("a",)), error).errorMessage
        assert told == pb.ErrorCommand(code=code, reason=reason, appCode=-3, appMsg="no")

    def test_a_hook_that_says_nothing_is_not_made_to_say_zero(self) -> None:
        """No optional field has a default written into it. Source: wire protocol, envelope rules."""
        ack = refusal(commands.Send(C, b"", 0), MessageRejected()).ackMessage
        error = refusal(commands.CountMembers(C), ConversationRejected()).errorMessage
        for told in (ack, error):
            assert not told.HasField("appCode")
            assert not told.HasField("appMsg")

    def test_a_hook_that_does_not_answer_is_an_error_of_the_servers(self) -> None:
        ack = refusal(commands.Send(C, b"", 0), HookFailed()).ackMessage
        assert (ack.code, ack.reason) == (4200, "INTERNAL_ERROR")

    def test_those_who_failed_are_grouped_by_the_reason(self) -> None:
        reply = replies.MembersChanged(
            added=True,
            allowed=("a",),
            updated_at=AT,
            failed=(PartialFailure(("b", "c"), ConversationFull()), PartialFailure(("",), InvalidLogin())),
        )
        assert list(answer(reply).convMessage.failedPids) == [
            pb.ErrorCommand(code=4304, reason="CONVERSATION_FULL", pids=["b", "c"]),
            pb.ErrorCommand(code=4103, reason="INVALID_LOGIN", pids=[""]),
        ]
