"""From bytes to commands: what each field means, and what its absence means."""

from collections.abc import Callable

from google.protobuf.message import DecodeError
from msgspec import Struct

from fastim._wire import Decoder
from fastim.core import commands
from fastim.core.commands import Command, Page, ReadMark, Signature
from fastim.core.errors import WireError
from fastim.core.message import Position
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb


class Request(Struct, frozen=True):
    """A command with its envelope.

    Attributes:
        serial: ``i``, to be copied into the reply; ``None`` when absent: then it is a request that wants no reply, or
            whose reply has none either.
        client_id: ``peerId``, or ``None`` for the connection's first session.
    """

    command: Command
    serial: int | None
    client_id: str | None
    application_id: str | None


def decode(body: bytes) -> Request:
    """The command in ``body``.

    Raises:
        WireError: It is not a ``GenericCommand``, or a text that must be UTF-8 is not.
    """
    request = _FREQUENT.decode(body)
    return decode_any(body) if request is None else request


def decode_any(body: bytes) -> Request:
    """The same by protobuf's own reader alone, which reads every command in every form and takes ten times as long.

    Raises:
        WireError: As above.
    """
    try:
        generic = pb.GenericCommand.FromString(body)
    except DecodeError as error:
        raise WireError(str(error)) from error
    op = generic.op if generic.HasField("op") else None  # an absent one, or one of a later protocol, reads as `open`
    read = _READERS.get((generic.cmd, op)) or _READERS.get((generic.cmd, None))
    return Request(
        command=read(generic) if read is not None and generic.HasField("cmd") else _unknown(generic, op),
        serial=generic.i if generic.HasField("i") else None,
        client_id=generic.peerId if generic.HasField("peerId") else None,
        application_id=generic.appId if generic.HasField("appId") else None,
    )


_FREQUENT = Decoder(Request, commands.Send, commands.Acknowledge, commands.Echo())
"""For the commands that most traffic consists of; what it reads means the same as below, field by field."""


def _unknown(generic: pb.GenericCommand, op: int | None) -> Command:
    if not generic.HasField("cmd"):
        return commands.Unknown("cmd")
    return commands.Unknown(f"cmd {generic.cmd}" if op is None else f"cmd {generic.cmd} op {op}")


def _open_session(generic: pb.GenericCommand) -> Command:
    given = generic.sessionMessage
    return commands.OpenSession(
        reconnect=given.r,
        tag=given.tag,
        device=given.deviceToken or given.deviceId,
        token=given.st,
        config=given.configBitmap if given.HasField("configBitmap") else None,
        unread_since=Millis(given.lastUnreadNotifTime),
        patched_since=Millis(given.lastPatchTime),
        signature=_signature(given),
    )


def _refresh_token(generic: pb.GenericCommand) -> Command:
    given = generic.sessionMessage
    return commands.RefreshToken(token=given.st, signature=_signature(given))


def _query_online(generic: pb.GenericCommand) -> Command:
    return commands.QueryOnline(tuple(generic.sessionMessage.sessionPeerIds))


def _start_conversation(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.StartConversation(
        members=tuple(given.m),
        attributes=given.attr.data if given.HasField("attr") else None,
        unique=given.unique,
        chat_room=given.transient,
        temporary=given.tempConv,
        ttl_seconds=given.tempConvTTL if given.HasField("tempConvTTL") else None,
        signature=_signature(given),
    )


def _add_members(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.AddMembers(given.cid, tuple(given.m), _signature(given))


def _remove_members(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.RemoveMembers(given.cid, tuple(given.m), _signature(given))


_COMPACT, _WITH_LAST_MESSAGE = 1, 2


def _query_conversations(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.QueryConversations(
        where=given.where.data if given.HasField("where") else None,
        sort=given.sort or None,
        skip=given.skip,
        limit=given.limit if given.HasField("limit") else None,
        compact=bool(given.flag & _COMPACT),
        with_last_message=bool(given.flag & _WITH_LAST_MESSAGE),
        temporary_ids=tuple(given.tempConvIds),
    )


def _update_conversation(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.UpdateConversation(given.cid, given.attr.data if given.HasField("attr") else None)


def _mute(generic: pb.GenericCommand) -> Command:
    return commands.MuteConversation(generic.convMessage.cid, muted=generic.op == pb.mute)


def _count_members(generic: pb.GenericCommand) -> Command:
    return commands.CountMembers(generic.convMessage.cid)


def _check_membership(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.CheckMembership(tuple(given.cids) or ((given.cid,) if given.cid else ()))


def _send(generic: pb.GenericCommand) -> Command:
    given = generic.directMessage
    # Java sets an empty `msg` beside a binary body.
    binary = given.HasField("binaryMsg") and not given.msg
    return commands.Send(
        conversation_id=given.cid,
        body=given.binaryMsg if binary else given.msg,
        size_bytes=given.ByteSize(),
        binary=binary,
        token=given.dt,
        receipt=given.r,
        transient=given.transient,
        will=given.will,
        push_data=given.pushData,
        mentions=tuple(given.mentionPids),
        mention_all=given.mentionAll,
        priority=generic.priority if generic.HasField("priority") else 2,
    )


def _patch_message(generic: pb.GenericCommand) -> Command:
    patches = generic.patchMessage.patches
    if len(patches) != 1:
        return commands.Unknown(f"patch with {len(patches)} items")
    given = patches[0]
    body, binary = _patched_body(given)
    return commands.PatchMessage(
        conversation_id=given.cid,
        position=Position(Millis(given.timestamp), given.mid),
        recall=given.recall,
        body=body,
        binary=binary,
        mentions=tuple(given.mentionPids),
        mention_all=given.mentionAll,
        size_bytes=given.ByteSize(),
    )


def _patched_body(given: pb.PatchItem) -> tuple[bytes, bool]:
    """The new body and whether it is binary. Java sends a binary one as ``data``, where only text should be.

    Source: wire protocol, shapes that surprise.
    """
    if given.HasField("binaryMsg") and not given.data:
        return given.binaryMsg, True
    try:
        given.data.decode()
    except UnicodeDecodeError:
        return given.data, True
    return given.data, False


def _acknowledge(generic: pb.GenericCommand) -> Command:
    given = generic.ackMessage
    return commands.Acknowledge(
        conversation_id=given.cid,
        message_id=given.mid,
        since=Millis(given.fromts) if given.HasField("fromts") else None,
        until=Millis(given.tots) if given.HasField("tots") else None,
    )


def _mark_read(generic: pb.GenericCommand) -> Command:
    given = generic.readMessage
    marks = [
        ReadMark(one.cid, Position(Millis(one.timestamp), one.mid) if one.HasField("timestamp") else None)
        for one in given.convs
    ]
    marks += [ReadMark(conversation_id) for conversation_id in given.cids]
    if given.cid:
        marks.append(ReadMark(given.cid))
    return commands.MarkRead(tuple(marks))


def _read_history(generic: pb.GenericCommand) -> Command:
    given = generic.logsMessage
    limit = given.l if given.HasField("l") else given.limit if given.HasField("limit") else None
    return commands.ReadHistory(
        conversation_id=given.cid,
        start=Position(Millis(given.t), given.mid) if given.HasField("t") else None,
        end=Position(Millis(given.tt), given.tmid) if given.HasField("tt") else None,
        start_included=given.tIncluded,
        end_included=given.ttIncluded,
        newest_first=given.direction != pb.LogsCommand.NEW,
        limit=limit,
        message_type=given.lctype if given.HasField("lctype") else None,
    )


def _query_receipts(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.QueryReceipts(given.cid, all_members=given.queryAllMembers)


def _list_occupants(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.ListOccupants(given.cid, given.limit if given.HasField("limit") else None)


def _set_role(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.SetRole(given.cid, given.targetClientId or given.info.pid, given.info.role)


def _list_roles(generic: pb.GenericCommand) -> Command:
    return commands.ListRoles(generic.convMessage.cid)


def _change_silence(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.ChangeSilence(given.cid, tuple(given.m), silenced=generic.op == pb.add_shutup)


def _list_silenced(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.ListSilenced(given.cid, _page(given))


def _check_silenced(generic: pb.GenericCommand) -> Command:
    given = generic.convMessage
    return commands.CheckSilenced(given.cid, tuple(given.m))


def _change_blocks(generic: pb.GenericCommand) -> Command:
    given, blocked = generic.blacklistMessage, generic.op == pb.block
    if _is_askers_own(given):
        return commands.RefuseConversations(tuple(given.toCids), refused=blocked, signature=_signature(given))
    return commands.ChangeBlocks(given.srcCid, tuple(given.toPids), blocked=blocked, signature=_signature(given))


def _list_blocked(generic: pb.GenericCommand) -> Command:
    given = generic.blacklistMessage
    if _is_askers_own(given):
        return commands.ListRefused(_page(given))
    return commands.ListBlocked(given.srcCid, _page(given))


def _check_blocked(generic: pb.GenericCommand) -> Command:
    given = generic.blacklistMessage
    if _is_askers_own(given):
        return commands.CheckRefused(tuple(given.toCids))
    return commands.CheckBlocked(given.srcCid, tuple(given.toPids))


def _is_askers_own(given: pb.BlacklistCommand) -> bool:
    """Whether it is about a client's blacklist of conversations and not about a conversation's of clients.

    Whose it is says the session: ``srcPid`` is believed as little as a message's ``fromPeerId``.
    """
    return not given.srcCid and (given.HasField("srcPid") or len(given.toCids) > 0)


def _query_notices(generic: pb.GenericCommand) -> Command:
    return commands.QueryNotices(Millis(generic.nativeMessage.since))


def _watch(generic: pb.GenericCommand) -> Command:
    return commands.Watch(tuple(generic.presenceMessage.sessionPeerIds))


def _unwatch(generic: pb.GenericCommand) -> Command:
    return commands.Unwatch(tuple(generic.presenceMessage.sessionPeerIds))


def _login(generic: pb.GenericCommand) -> Command:
    return commands.Login(generic.installationId, generic.service if generic.HasField("service") else None)


def _report(generic: pb.GenericCommand) -> Command:
    return commands.ReportDevice(generic.reportMessage.data)


def _signature(given: pb.SessionCommand | pb.ConvCommand | pb.BlacklistCommand) -> Signature | None:
    return Signature(given.t, given.n, given.s) if given.HasField("s") else None


def _page(given: pb.ConvCommand | pb.BlacklistCommand) -> Page:
    return Page(given.next, given.limit if given.HasField("limit") else None)


_READERS: dict[tuple[int, int | None], Callable[[pb.GenericCommand], Command]] = {
    (pb.session, pb.open): _open_session,
    (pb.session, pb.refresh): _refresh_token,
    (pb.session, pb.close): lambda _: commands.CloseSession(),
    (pb.session, pb.query): _query_online,
    (pb.session, pb.notifications): _query_notices,
    (pb.conv, pb.start): _start_conversation,
    (pb.conv, pb.add): _add_members,
    (pb.conv, pb.remove): _remove_members,
    (pb.conv, pb.query): _query_conversations,
    (pb.conv, pb.update): _update_conversation,
    (pb.conv, pb.mute): _mute,
    (pb.conv, pb.unmute): _mute,
    (pb.conv, pb.count): _count_members,
    (pb.conv, pb.is_member): _check_membership,
    (pb.conv, pb.max_read): _query_receipts,
    (pb.conv, pb.members): _list_occupants,
    (pb.conv, pb.member_info_update): _set_role,
    (pb.conv, pb.member_infos): _list_roles,
    (pb.conv, pb.add_shutup): _change_silence,
    (pb.conv, pb.remove_shutup): _change_silence,
    (pb.conv, pb.query_shutup): _list_silenced,
    (pb.conv, pb.check_shutup): _check_silenced,
    (pb.blacklist, pb.block): _change_blocks,
    (pb.blacklist, pb.unblock): _change_blocks,
    (pb.blacklist, pb.query): _list_blocked,
    (pb.blacklist, pb.check_block): _check_blocked,
    (pb.direct, None): _send,
    (pb.patch, pb.modify): _patch_message,
    (pb.ack, None): _acknowledge,
    (pb.read, None): _mark_read,
    (pb.logs, None): _read_history,
    (pb.presence, pb.subscribe): _watch,
    (pb.presence, pb.unsubscribe): _unwatch,
    (pb.echo, None): lambda _: commands.Echo(),
    (pb.login, None): _login,
    (pb.report, pb.upload): _report,
}
"""By command and operation; ``None`` where the operation is not looked at (C# sends ``logs`` with one)."""
