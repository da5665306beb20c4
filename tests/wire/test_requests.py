import random
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core import commands
from fastim.core.commands import Command, Page, ReadMark, Signature
from fastim.core.errors import WireError
from fastim.core.message import Position
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec import decode
from tests.wire.sdk import command_bytes, commands_of_sdks

Generic = pb.GenericCommand
Conv = pb.ConvCommand
Session = pb.SessionCommand
Direct = pb.DirectCommand
Logs = pb.LogsCommand
Json = pb.JsonObjectMessage

C = "64a0b1c2d3e4f5a6b7c8d9e0"


def command_of(generic: pb.GenericCommand) -> Command:
    return decode(generic.SerializeToString()).command


def conv(op: pb.OpType, **fields: object) -> pb.GenericCommand:
    return Generic(cmd=pb.conv, op=op, convMessage=Conv(**fields))  # type: ignore[arg-type]


def blacklist(op: pb.OpType, **fields: object) -> pb.GenericCommand:
    return Generic(cmd=pb.blacklist, op=op, blacklistMessage=pb.BlacklistCommand(**fields))  # type: ignore[arg-type]


def direct(**fields: object) -> pb.GenericCommand:
    return Generic(cmd=pb.direct, directMessage=Direct(cid=C, **fields))  # type: ignore[arg-type]


class TestEveryKind:
    @pytest.mark.parametrize(
        ("generic", "command"),
        [
            (
                Generic(
                    cmd=pb.session,
                    op=pb.open,
                    sessionMessage=Session(
                        ua="js/4.3.1", r=True, st="token", lastUnreadNotifTime=12, lastPatchTime=34, configBitmap=59
                    ),
                ),
                commands.OpenSession(
                    reconnect=True, token="token", config=59, unread_since=Millis(12), patched_since=Millis(34)
                ),
            ),
            (
                Generic(cmd=pb.session, op=pb.open, sessionMessage=Session(deviceId="d", tag="web", t=1, n="n", s="5")),
                commands.OpenSession(tag="web", device="d", signature=Signature(1, "n", "5")),
            ),
            (Generic(cmd=pb.session, op=pb.open), commands.OpenSession()),
            (Generic(cmd=pb.session, op=pb.refresh, sessionMessage=Session(st="s")), commands.RefreshToken("s")),
            (Generic(cmd=pb.session, op=pb.refresh), commands.RefreshToken()),
            (Generic(cmd=pb.session, op=pb.close, sessionMessage=Session(deviceId="d")), commands.CloseSession()),
            (Generic(cmd=pb.session, op=pb.close), commands.CloseSession()),
            (
                Generic(cmd=pb.session, op=pb.query, sessionMessage=Session(sessionPeerIds=["a", "b"])),
                commands.QueryOnline(("a", "b")),
            ),
            (
                conv(pb.start, m=["tom", "jerry"], attr=Json(data='{"name":"tea"}'), unique=True, t=1, n="n", s="5"),
                commands.StartConversation(
                    ("tom", "jerry"), '{"name":"tea"}', unique=True, signature=Signature(1, "n", "5")
                ),
            ),
            (conv(pb.start, transient=True), commands.StartConversation(chat_room=True)),
            (
                conv(pb.start, m=["a"], tempConv=True, tempConvTTL=60),
                commands.StartConversation(("a",), temporary=True, ttl_seconds=60),
            ),
            (conv(pb.add, cid=C, m=["a"], s="5"), commands.AddMembers(C, ("a",), Signature(0, "", "5"))),
            (conv(pb.remove, cid=C, m=["a"]), commands.RemoveMembers(C, ("a",))),
            (
                conv(pb.query, where=Json(data='{"m":"tom"}'), sort="-lm", skip=5, limit=7, flag=3),
                commands.QueryConversations('{"m":"tom"}', "-lm", 5, 7, compact=True, with_last_message=True),
            ),
            (conv(pb.query, tempConvIds=["_tmp:1"]), commands.QueryConversations(temporary_ids=("_tmp:1",))),
            (conv(pb.update, cid=C, attr=Json(data="{}")), commands.UpdateConversation(C, "{}")),
            (conv(pb.update, cid=C), commands.UpdateConversation(C, None)),
            (conv(pb.mute, cid=C), commands.MuteConversation(C, muted=True)),
            (conv(pb.unmute, cid=C), commands.MuteConversation(C, muted=False)),
            (conv(pb.count, cid=C), commands.CountMembers(C)),
            (conv(pb.is_member, cids=["a", "b"]), commands.CheckMembership(("a", "b"))),
            (conv(pb.max_read, cid=C), commands.QueryReceipts(C)),
            (conv(pb.max_read, cid=C, queryAllMembers=True), commands.QueryReceipts(C, all_members=True)),
            (conv(pb.members, cid=C), commands.ListOccupants(C)),
            (conv(pb.members, cid=C, limit=0), commands.ListOccupants(C, limit=0)),
            (conv(pb.member_infos, cid=C), commands.ListRoles(C)),
            (conv(pb.add_shutup, cid=C, m=["a", "b"]), commands.ChangeSilence(C, ("a", "b"), silenced=True)),
            (conv(pb.remove_shutup, cid=C, m=["a"]), commands.ChangeSilence(C, ("a",), silenced=False)),
            (conv(pb.query_shutup, cid=C), commands.ListSilenced(C)),
            (conv(pb.query_shutup, cid=C, limit=5, next="10"), commands.ListSilenced(C, Page("10", 5))),
            (conv(pb.check_shutup, cid=C, m=["a"]), commands.CheckSilenced(C, ("a",))),
            (
                blacklist(pb.block, srcCid=C, toPids=["a"], t=1, n="n", s="5"),
                commands.ChangeBlocks(C, ("a",), blocked=True, signature=Signature(1, "n", "5")),
            ),
            (blacklist(pb.unblock, srcCid=C, toPids=["a"]), commands.ChangeBlocks(C, ("a",), blocked=False)),
            (blacklist(pb.query, srcCid=C), commands.ListBlocked(C)),
            (blacklist(pb.query, srcCid=C, limit=5, next="10"), commands.ListBlocked(C, Page("10", 5))),
            (blacklist(pb.check_block, srcCid=C, toPids=["a"]), commands.CheckBlocked(C, ("a",))),
            (
                blacklist(pb.block, srcPid="tom", toCids=[C], t=1, n="n", s="5"),
                commands.RefuseConversations((C,), refused=True, signature=Signature(1, "n", "5")),
            ),
            (blacklist(pb.unblock, srcPid="tom", toCids=[C]), commands.RefuseConversations((C,), refused=False)),
            (blacklist(pb.query, srcPid="tom", limit=5), commands.ListRefused(Page(limit=5))),
            (blacklist(pb.check_block, srcPid="tom", toCids=[C]), commands.CheckRefused((C,))),
            (
                Generic(cmd=pb.session, op=pb.notifications, nativeMessage=pb.NativeCommand(since=12)),
                commands.QueryNotices(Millis(12)),
            ),
            (
                Generic(
                    cmd=pb.presence, op=pb.subscribe, presenceMessage=pb.PresenceCommand(sessionPeerIds=["a", "b"])
                ),
                commands.Watch(("a", "b")),
            ),
            (
                Generic(cmd=pb.presence, op=pb.unsubscribe, presenceMessage=pb.PresenceCommand(sessionPeerIds=["a"])),
                commands.Unwatch(("a",)),
            ),
            (
                Generic(cmd=pb.ack, ackMessage=pb.AckCommand(cid=C, mid="m")),
                commands.Acknowledge(C, message_id="m"),
            ),
            (
                Generic(cmd=pb.ack, ackMessage=pb.AckCommand(cid=C, fromts=1, tots=2)),
                commands.Acknowledge(C, since=Millis(1), until=Millis(2)),
            ),
            (Generic(cmd=pb.ack, ackMessage=pb.AckCommand(cid=C, tots=2)), commands.Acknowledge(C, until=Millis(2))),
            (Generic(cmd=pb.ack, ackMessage=pb.AckCommand(ids=["x"])), commands.Acknowledge("")),
            (Generic(cmd=pb.echo), commands.Echo()),
            (
                Generic(cmd=pb.login, installationId="phone", loginMessage=pb.LoginCommand()),
                commands.Login("phone", None),
            ),
            (Generic(cmd=pb.login, installationId="live", service=1), commands.Login("live", 1)),
            (
                Generic(
                    cmd=pb.report,
                    op=pb.upload,
                    reportMessage=pb.ReportCommand(initiative=True, type="token", data="apns"),
                ),
                commands.ReportDevice("apns"),
            ),
        ],
    )
    def test_becomes_its_command(self, generic: pb.GenericCommand, command: Command) -> None:
        assert command_of(generic) == command

    @given(commands_of_sdks)
    def test_comes_back_as_it_was_meant(self, command: Command) -> None:
        assert decode(command_bytes(command)).command == command


class TestTheEnvelope:
    @pytest.mark.parametrize("serial", [None, 0, 1, -1, -65_535, 2**31 - 1, -(2**31)])
    def test_a_serial_is_present_or_absent_but_never_judged(self, serial: int | None) -> None:
        """Java's serials are negative and pass through 0. Source: wire protocol, envelope rules."""
        assert decode(Generic(cmd=pb.echo, i=serial).SerializeToString()).serial == serial

    def test_a_negative_serial_takes_ten_bytes(self) -> None:
        body = b"\x08\x0e\x28" + b"\x81\x80\xfc\xff\xff\xff\xff\xff\xff\x01"
        assert decode(body).serial == -65_535

    def test_ids_that_are_not_there_are_none(self) -> None:
        request = decode(Generic(cmd=pb.echo).SerializeToString())
        assert (request.client_id, request.application_id) == (None, None)
        request = decode(Generic(cmd=pb.echo, peerId="", appId="").SerializeToString())
        assert (request.client_id, request.application_id) == ("", "")
        request = decode(Generic(cmd=pb.echo, peerId="tom", appId="app").SerializeToString())
        assert (request.client_id, request.application_id) == ("tom", "app")

    def test_the_first_frame_of_the_js_sdk(self) -> None:
        """As 5.0.0-rc.8 sends it: ``cmd`` 0 is written out. Source: wire protocol, observed JS handshake."""
        device = b"0e6d1f4c-7f5e-4c0e-9f31-3a3e0f7c9b52"
        session = (
            b"\x22\x0djs/5.0.0-rc.8\x28\x00\x32\x03web\x3a\x24"
            + device
            + b"\x90\x01\x80\xd0\x95\xff\xbc\x31\x98\x01\xbb\x01"
        )
        body = b"\x08\x00\x10\x01\x1a\x18" + b"a" * 24 + b"\x22\x03Tom\x28\x01\xb2\x06\x48" + session
        assert len(body) == 112

        request = decode(body)

        assert (request.application_id, request.client_id, request.serial) == ("a" * 24, "Tom", 1)
        assert request.command == commands.OpenSession(
            tag="web", device=device.decode(), config=187, patched_since=Millis(1_700_000_000_000)
        )

    def test_fields_that_nobody_knows_are_passed_over(self) -> None:
        assert decode(b"\x08\x0e\xca\x3e\x03abc").command == commands.Echo()


class TestPresence:
    """What a field that is not there means, beside one that says its default."""

    def test_a_config_of_zero_is_a_config(self) -> None:
        without = Generic(cmd=pb.session, op=pb.open, sessionMessage=Session(r=False))
        zero = Generic(cmd=pb.session, op=pb.open, sessionMessage=Session(configBitmap=0))
        assert command_of(without) == commands.OpenSession(config=None)
        assert command_of(zero) == commands.OpenSession(config=0)

    def test_what_is_said_to_be_false_is_false(self) -> None:
        said = direct(msg=b"hi", mentionAll=False, transient=False, will=False, r=False)
        unsaid = command_of(direct(msg=b"hi"))
        heard = command_of(said)
        assert isinstance(unsaid, commands.Send)
        assert isinstance(heard, commands.Send)
        for one in (unsaid, heard):
            assert (one.mention_all, one.transient, one.will, one.receipt) == (False, False, False, False)

    def test_swift_names_its_device_by_its_push_token(self) -> None:
        given_both = Generic(cmd=pb.session, op=pb.open, sessionMessage=Session(deviceToken="apns", deviceId="d"))
        given_token = Generic(cmd=pb.session, op=pb.open, sessionMessage=Session(deviceToken="apns"))
        assert command_of(given_both) == command_of(given_token) == commands.OpenSession(device="apns")

    def test_a_limit_of_zero_is_a_limit(self) -> None:
        assert command_of(conv(pb.query)) == commands.QueryConversations(limit=None)
        assert command_of(conv(pb.query, limit=0)) == commands.QueryConversations(limit=0)

    @pytest.mark.parametrize(("flag", "compact", "last"), [(0, False, False), (1, True, False), (2, False, True)])
    def test_query_flags(self, flag: int, compact: bool, last: bool) -> None:
        expected = commands.QueryConversations(compact=compact, with_last_message=last)
        assert command_of(conv(pb.query, flag=flag)) == expected

    def test_membership_is_also_asked_about_a_single_conversation(self) -> None:
        assert command_of(conv(pb.is_member, cid=C)) == commands.CheckMembership((C,))
        assert command_of(conv(pb.is_member)) == commands.CheckMembership(())

    @pytest.mark.parametrize("chosen", [1, 2, 3])
    def test_priority_travels_outside_of_the_message(self, chosen: int) -> None:
        generic = direct(msg=b"hi")
        assert command_of(generic).priority == 2  # type: ignore[attr-defined]
        generic.priority = chosen
        assert command_of(generic).priority == chosen  # type: ignore[attr-defined]


class TestMessages:
    def test_everything_that_can_be_said_of_one(self) -> None:
        generic = direct(
            msg=b"hi",
            dt="token",
            r=True,
            pushData="{}",
            mentionPids=["a", "b"],
            mentionAll=True,
            fromPeerId="not looked at",
        )
        assert command_of(generic) == commands.Send(
            C,
            b"hi",
            generic.directMessage.ByteSize(),
            token="token",
            receipt=True,
            push_data="{}",
            mentions=("a", "b"),
            mention_all=True,
        )

    def test_its_size_is_all_that_travels_with_it(self) -> None:
        plain, loaded = direct(msg=b"x" * 100), direct(msg=b"x" * 100, pushData="p" * 1_000)
        assert command_of(loaded).size_bytes - command_of(plain).size_bytes >= 1_000  # type: ignore[attr-defined]

    def test_java_sends_an_empty_text_beside_a_binary_body(self) -> None:
        sent = command_of(direct(msg=b"", binaryMsg=b"\x00\xff"))
        assert isinstance(sent, commands.Send)
        assert (sent.body, sent.binary) == (b"\x00\xff", True)

    def test_a_binary_body_may_be_empty(self) -> None:
        sent = command_of(direct(binaryMsg=b""))
        assert isinstance(sent, commands.Send)
        assert (sent.body, sent.binary) == (b"", True)

    def test_a_message_without_any_body_is_an_empty_text(self) -> None:
        sent = command_of(direct())
        assert isinstance(sent, commands.Send)
        assert (sent.body, sent.binary) == (b"", False)

    def test_a_text_body_that_is_not_utf8_passes_as_it_is(self) -> None:
        sent = command_of(direct(msg=b"\xff\xfe"))
        assert isinstance(sent, commands.Send)
        assert (sent.body, sent.binary) == (b"\xff\xfe", False)


class TestPatches:
    def patch(self, **fields: object) -> Command:
        item = pb.PatchItem(cid=C, mid="m", timestamp=5, **fields)  # type: ignore[arg-type]
        return command_of(Generic(cmd=pb.patch, op=pb.modify, patchMessage=pb.PatchCommand(patches=[item])))

    def test_a_modified_text(self) -> None:
        item = pb.PatchItem(cid=C, mid="m", timestamp=5, data=b"hi", mentionPids=["a"], mentionAll=True)
        given = Generic(cmd=pb.patch, op=pb.modify, patchMessage=pb.PatchCommand(patches=[item], lastPatchTime=4))
        assert command_of(given) == commands.PatchMessage(
            C,
            Position(Millis(5), "m"),
            body=b"hi",
            mentions=("a",),
            mention_all=True,
            size_bytes=item.ByteSize(),
        )

    def test_js_recalls_without_any_body(self) -> None:
        recalled = self.patch(recall=True)
        assert isinstance(recalled, commands.PatchMessage)
        assert (recalled.recall, recalled.body, recalled.binary) == (True, b"", False)

    def test_csharp_names_sender_and_time_which_nobody_believes(self) -> None:
        told, untold = self.patch(data=b"hi", sender="jerry", patchTimestamp=9), self.patch(data=b"hi")
        assert isinstance(told, commands.PatchMessage)
        assert isinstance(untold, commands.PatchMessage)
        assert replace(told, size_bytes=untold.size_bytes) == untold

    @pytest.mark.parametrize(
        ("fields", "binary"),
        [
            ({"binaryMsg": b"\x00\xff"}, True),
            ({"binaryMsg": b"\x00\xff", "data": b""}, True),
            ({"binaryMsg": b""}, True),
            ({"data": b"\x00\xff"}, True),  # Java
            ({"data": "\u597d".encode()}, False),
            ({"data": b""}, False),
        ],
    )
    def test_which_bodies_are_binary(self, fields: dict[str, bytes], binary: bool) -> None:
        patched = self.patch(**fields)
        assert isinstance(patched, commands.PatchMessage)
        assert (patched.body, patched.binary) == (max(fields.values()), binary)

    @pytest.mark.parametrize("count", [0, 2, 3])
    def test_only_one_goes_in_a_command(self, count: int) -> None:
        patches = [pb.PatchItem(cid=C, mid="m", timestamp=5, recall=True)] * count
        given = Generic(cmd=pb.patch, op=pb.modify, i=7, patchMessage=pb.PatchCommand(patches=patches))
        request = decode(given.SerializeToString())
        assert (request.command, request.serial) == (commands.Unknown(f"patch with {count} items"), 7)


class TestRoles:
    def test_the_member_is_named_in_one_place_or_in_both(self) -> None:
        both = conv(
            pb.member_info_update,
            cid=C,
            targetClientId="jerry",
            info=pb.ConvMemberInfo(pid="jerry", role="Manager", infoId="not looked at"),
        )
        inside = conv(pb.member_info_update, cid=C, info=pb.ConvMemberInfo(pid="jerry", role="Manager"))
        outside = conv(pb.member_info_update, cid=C, targetClientId="jerry", info=pb.ConvMemberInfo(role="Manager"))
        for generic in (both, inside, outside):
            assert command_of(generic) == commands.SetRole(C, "jerry", "Manager")

    def test_a_role_is_taken_as_it_is_spelled(self) -> None:
        assert command_of(
            conv(pb.member_info_update, cid=C, info=pb.ConvMemberInfo(pid="a", role="manager"))
        ) == commands.SetRole(C, "a", "manager")


class TestBlacklists:
    @pytest.mark.parametrize("op", [pb.block, pb.unblock, pb.query, pb.check_block])
    def test_a_conversation_that_is_named_is_the_one_meant(self, op: pb.OpType) -> None:
        both = blacklist(op, srcCid=C, srcPid="tom", toPids=["a"], toCids=["b"])
        assert command_of(both) == command_of(blacklist(op, srcCid=C, toPids=["a"]))

    @pytest.mark.parametrize("op", [pb.block, pb.unblock, pb.check_block])
    def test_conversations_alone_say_whose_it_is(self, op: pb.OpType) -> None:
        assert command_of(blacklist(op, toCids=[C])) == command_of(blacklist(op, srcPid="tom", toCids=[C]))

    @pytest.mark.parametrize("op", [pb.block, pb.unblock, pb.query, pb.check_block])
    def test_nobody_changes_anothers(self, op: pb.OpType) -> None:
        assert command_of(blacklist(op, srcPid="jerry", toCids=[C])) == command_of(
            blacklist(op, srcPid="tom", toCids=[C])
        )

    def test_without_any_name_it_is_a_conversation_that_is_missing(self) -> None:
        assert command_of(blacklist(pb.block)) == commands.ChangeBlocks("", (), blocked=True)
        assert command_of(blacklist(pb.query)) == commands.ListBlocked("")
        assert command_of(blacklist(pb.check_block)) == commands.CheckBlocked("", ())


class TestHistory:
    def ask(self, op: pb.OpType | None = None, **fields: object) -> Command:
        return command_of(Generic(cmd=pb.logs, op=op, logsMessage=Logs(cid=C, **fields)))  # type: ignore[arg-type]

    def test_without_options_all_is_left_to_the_rules(self) -> None:
        assert self.ask() == commands.ReadHistory(C)

    def test_both_names_of_the_limit(self) -> None:
        assert self.ask(l=5) == self.ask(limit=5) == commands.ReadHistory(C, limit=5)
        assert self.ask(l=0) == self.ask(limit=0) == commands.ReadHistory(C, limit=0)

    def test_a_bound_is_a_time_with_or_without_an_id(self) -> None:
        bounds = self.ask(t=9, mid="m", tIncluded=True, tt=1)
        assert bounds == commands.ReadHistory(
            C, Position(Millis(9), "m"), Position(Millis(1)), start_included=True, end_included=False
        )

    def test_an_id_without_its_time_bounds_nothing(self) -> None:
        assert self.ask(mid="m", tmid="n") == commands.ReadHistory(C)

    def test_a_time_of_zero_is_a_time(self) -> None:
        assert self.ask(t=0) == commands.ReadHistory(C, Position(Millis(0)))

    def test_directions(self) -> None:
        assert self.ask(direction=Logs.OLD) == commands.ReadHistory(C, newest_first=True)
        assert self.ask(direction=Logs.NEW) == commands.ReadHistory(C, newest_first=False)

    def test_types_are_positive_negative_or_zero(self) -> None:
        for wanted in (-1, 0, 7):
            assert self.ask(lctype=wanted) == commands.ReadHistory(C, message_type=wanted)

    def test_csharp_sends_an_operation_with_it(self) -> None:
        assert self.ask(op=pb.open) == commands.ReadHistory(C)


class TestReading:
    def marks(self, **fields: object) -> tuple[ReadMark, ...]:
        command = command_of(Generic(cmd=pb.read, readMessage=pb.ReadCommand(**fields)))  # type: ignore[arg-type]
        assert isinstance(command, commands.MarkRead)
        return command.marks

    def test_up_to_a_message_or_a_time(self) -> None:
        convs = [pb.ReadTuple(cid="a", timestamp=5, mid="m"), pb.ReadTuple(cid="b", timestamp=6)]
        assert self.marks(convs=convs) == (
            ReadMark("a", Position(Millis(5), "m")),
            ReadMark("b", Position(Millis(6))),
        )

    def test_csharp_may_say_neither_and_means_everything(self) -> None:
        assert self.marks(convs=[pb.ReadTuple(cid="a")]) == (ReadMark("a", None),)

    def test_the_legacy_forms(self) -> None:
        assert self.marks(cid="a") == (ReadMark("a"),)
        assert self.marks(cids=["a", "b"]) == (ReadMark("a"), ReadMark("b"))


class TestWhatIsNotACommand:
    @pytest.mark.parametrize(
        "body",
        [
            b"\xff",
            b"\x08",
            b"\x22\x05Tom",
            b"garbage",
            b"\x22\x01\xff",  # peerId is not UTF-8
            b"\x1a\x02\xc3\x28",  # nor is appId
            Generic(cmd=pb.logs).SerializeToString() + b"\xea\x06\x04\x0a\x02\xff\xfe",  # nor a conversation's id
        ],
    )
    def test_is_a_wire_error(self, body: bytes) -> None:
        with pytest.raises(WireError) as caught:
            decode(body)
        assert caught.value.code == 4114

    def test_a_part_without_what_it_should_hold_counts_as_empty(self) -> None:
        assert decode(b"\x08\x0b\xda\x06\x02\x1a\x00").command == commands.MarkRead((ReadMark(""),))
        where_without_data = b"\x08\x01\x10\x07\xf2\x06\x03\xaa\x06\x00"
        assert decode(where_without_data).command == commands.QueryConversations(where="")

    @pytest.mark.parametrize(
        "generic",
        [
            Generic(),
            Generic(i=3, peerId="tom"),
            Generic(cmd=pb.goaway),
            Generic(cmd=pb.conv, op=pb.members_joined),
            Generic(cmd=pb.blacklist),
            Generic(cmd=pb.blacklist, op=pb.blocked),
            Generic(cmd=pb.presence),
            Generic(cmd=pb.rcp),
            Generic(cmd=pb.conv, op=pb.opened),
            Generic(cmd=pb.conv),
            Generic(cmd=pb.session, op=pb.opened),
            Generic(cmd=pb.session),
            Generic(cmd=pb.report),
            Generic(cmd=pb.patch, op=pb.modify),
        ],
    )
    def test_or_unknown_here(self, generic: pb.GenericCommand) -> None:
        assert isinstance(command_of(generic), commands.Unknown)

    @pytest.mark.parametrize("body", [b"", b"\x08\x63", b"\x08\x00\x10\x63", b"\x08\x01\x10\x63", b"\x10\x01"])
    def test_numbers_from_a_later_protocol_are_unknown_too(self, body: bytes) -> None:
        assert isinstance(decode(body).command, commands.Unknown)

    def test_what_is_unknown_keeps_its_serial(self) -> None:
        assert decode(Generic(cmd=pb.goaway, i=-7, peerId="tom").SerializeToString()).serial == -7
        assert decode(b"\x08\x63\x28\x05").serial == 5

    @given(st.binary(max_size=200))
    def test_noise_ends_as_a_command_or_a_wire_error(self, body: bytes) -> None:
        with suppress(WireError):
            decode(body)

    @given(commands_of_sdks, st.randoms(use_true_random=False), st.integers(1, 4))
    @example(commands.Echo(), random.Random(1), 1)
    def test_so_does_a_damaged_command(self, command: Command, chance: random.Random, damages: int) -> None:
        body = bytearray(command_bytes(command))
        for _ in range(damages):
            body[chance.randrange(len(body))] = chance.randrange(256)
        with suppress(WireError):
            decode(bytes(body))

    @given(commands_of_sdks, st.data())
    def test_so_does_one_that_was_cut_short(self, command: Command, data: st.DataObject) -> None:
        body = command_bytes(command)
        with suppress(WireError):
            decode(body[: data.draw(st.integers(0, len(body)))])
