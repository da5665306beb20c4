"""What SDKs send: any command, and an encoder of its own for each kind of it."""

from typing import TypeVar

from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core import commands
from fastim.core.commands import Command, Page, ReadMark, Signature
from fastim.core.message import Position
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb

Signed = TypeVar("Signed", pb.SessionCommand, pb.ConvCommand, pb.BlacklistCommand)

texts = st.text(max_size=20)
filled = st.text(min_size=1, max_size=20)
ids = st.lists(texts, max_size=3).map(tuple)
moments = st.integers(0, 2**63 - 1).map(Millis)
numbers = st.integers(-(2**31), 2**31 - 1)
signatures = st.none() | st.builds(Signature, st.integers(-(2**63), 2**63 - 1), texts, texts)
positions = st.none() | st.builds(Position, st.integers(-(2**63), 2**63 - 1).map(Millis), texts)

sends = st.builds(
    commands.Send,
    conversation_id=texts,
    body=st.binary(min_size=1, max_size=40),
    size_bytes=st.just(0),
    binary=st.booleans(),
    token=texts,
    receipt=st.booleans(),
    transient=st.booleans(),
    will=st.booleans(),
    push_data=texts,
    mentions=ids,
    mention_all=st.booleans(),
    priority=st.integers(1, 3),
)

patches = st.builds(
    commands.PatchMessage,
    conversation_id=texts,
    position=st.builds(Position, st.integers(-(2**63), 2**63 - 1).map(Millis), texts),
    recall=st.booleans(),
    body=texts.map(str.encode),
    mentions=ids,
    mention_all=st.booleans(),
) | st.builds(
    commands.PatchMessage,
    conversation_id=texts,
    position=st.builds(Position, moments, texts),
    body=st.binary(max_size=40),
    binary=st.just(True),
)

pages = st.builds(Page, texts, st.none() | numbers)

commands_of_sdks: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        commands.OpenSession,
        reconnect=st.booleans(),
        tag=texts,
        device=texts,
        token=texts,
        config=st.none() | st.integers(-(2**63), 2**63 - 1),
        unread_since=moments,
        patched_since=moments,
        signature=signatures,
    ),
    st.builds(commands.RefreshToken, texts, signatures),
    st.just(commands.CloseSession()),
    st.builds(commands.QueryOnline, ids),
    st.builds(
        commands.StartConversation,
        ids,
        st.none() | texts,
        unique=st.booleans(),
        chat_room=st.booleans(),
        temporary=st.booleans(),
        ttl_seconds=st.none() | numbers,
        signature=signatures,
    ),
    st.builds(commands.AddMembers, texts, ids, signatures),
    st.builds(commands.RemoveMembers, texts, ids, signatures),
    st.builds(
        commands.QueryConversations,
        where=st.none() | texts,
        sort=st.none() | filled,
        skip=numbers,
        limit=st.none() | numbers,
        compact=st.booleans(),
        with_last_message=st.booleans(),
        temporary_ids=ids,
    ),
    st.builds(commands.UpdateConversation, texts, st.none() | texts),
    st.builds(commands.MuteConversation, texts, st.booleans()),
    st.builds(commands.CountMembers, texts),
    st.builds(commands.CheckMembership, st.lists(texts, min_size=1, max_size=3).map(tuple)),
    sends.map(lambda send: replace(send, size_bytes=_direct(send).ByteSize())),
    patches.map(lambda patch: replace(patch, size_bytes=_patch_item(patch).ByteSize())),
    st.builds(commands.QueryReceipts, texts, st.booleans()),
    st.builds(commands.ListOccupants, texts, st.none() | numbers),
    st.builds(commands.SetRole, texts, texts, texts),
    st.builds(commands.ListRoles, texts),
    st.builds(commands.ChangeSilence, texts, ids, st.booleans()),
    st.builds(commands.ListSilenced, texts, pages),
    st.builds(commands.CheckSilenced, texts, ids),
    st.builds(commands.ChangeBlocks, texts, ids, st.booleans(), signatures),
    st.builds(commands.ListBlocked, texts, pages),
    st.builds(commands.CheckBlocked, texts, ids),
    st.builds(commands.RefuseConversations, ids, st.booleans(), signatures),
    st.builds(commands.ListRefused, pages),
    st.builds(commands.CheckRefused, ids),
    st.builds(commands.QueryNotices, moments),
    st.builds(commands.Watch, ids),
    st.builds(commands.Unwatch, ids),
    st.builds(commands.Acknowledge, texts, texts, st.none() | moments, st.none() | moments),
    st.builds(commands.MarkRead, st.lists(st.builds(ReadMark, texts, positions), max_size=3).map(tuple)),
    st.builds(
        commands.ReadHistory,
        texts,
        positions,
        positions,
        start_included=st.booleans(),
        end_included=st.booleans(),
        newest_first=st.booleans(),
        limit=st.none() | numbers,
        message_type=st.none() | numbers,
    ),
    st.just(commands.Echo()),
    st.builds(commands.Login, texts, st.none() | numbers),
    st.builds(commands.ReportDevice, texts),
)
"""Any command that protobuf can say."""


def command_bytes(command: Command) -> bytes:
    """``command`` as an SDK would send it."""
    return bytes(_generic(command).SerializeToString())


def _generic(command: Command) -> pb.GenericCommand:
    match command:
        case commands.OpenSession():
            session = pb.SessionCommand(
                r=command.reconnect,
                tag=command.tag,
                deviceId=command.device,
                st=command.token,
                lastUnreadNotifTime=command.unread_since,
                lastPatchTime=command.patched_since,
                configBitmap=command.config,
            )
            return pb.GenericCommand(cmd=pb.session, op=pb.open, sessionMessage=_signed(session, command.signature))
        case commands.RefreshToken():
            session = pb.SessionCommand(st=command.token)
            return pb.GenericCommand(cmd=pb.session, op=pb.refresh, sessionMessage=_signed(session, command.signature))
        case commands.CloseSession():
            return pb.GenericCommand(cmd=pb.session, op=pb.close)
        case commands.QueryOnline():
            session = pb.SessionCommand(sessionPeerIds=command.client_ids)
            return pb.GenericCommand(cmd=pb.session, op=pb.query, sessionMessage=session)
        case commands.Send():
            return pb.GenericCommand(cmd=pb.direct, priority=command.priority, directMessage=_direct(command))
        case commands.PatchMessage():
            patch = pb.PatchCommand(patches=[_patch_item(command)])
            return pb.GenericCommand(cmd=pb.patch, op=pb.modify, patchMessage=patch)
        case commands.QueryNotices(since):
            native = pb.NativeCommand(since=since)
            return pb.GenericCommand(cmd=pb.session, op=pb.notifications, nativeMessage=native)
        case commands.Watch(client_ids):
            presence = pb.PresenceCommand(sessionPeerIds=client_ids)
            return pb.GenericCommand(cmd=pb.presence, op=pb.subscribe, presenceMessage=presence)
        case commands.Unwatch(client_ids):
            presence = pb.PresenceCommand(sessionPeerIds=client_ids)
            return pb.GenericCommand(cmd=pb.presence, op=pb.unsubscribe, presenceMessage=presence)
        case commands.Acknowledge():
            ack = pb.AckCommand(
                cid=command.conversation_id, mid=command.message_id, fromts=command.since, tots=command.until
            )
            return pb.GenericCommand(cmd=pb.ack, ackMessage=ack)
        case commands.MarkRead():
            return pb.GenericCommand(cmd=pb.read, readMessage=pb.ReadCommand(convs=map(_mark, command.marks)))
        case commands.ReadHistory():
            return pb.GenericCommand(cmd=pb.logs, logsMessage=_logs(command))
        case commands.Echo():
            return pb.GenericCommand(cmd=pb.echo)
        case commands.Login():
            return pb.GenericCommand(cmd=pb.login, installationId=command.installation_id, service=command.service)
        case commands.ReportDevice():
            report = pb.ReportCommand(initiative=True, type="token", data=command.device)
            return pb.GenericCommand(cmd=pb.report, op=pb.upload, reportMessage=report)
        case _ if type(command) in BLACKLISTS:
            op, blacklist = _blacklist(command)
            return pb.GenericCommand(cmd=pb.blacklist, op=op, blacklistMessage=blacklist)
        case _:
            op, conv = _conv(command)
            return pb.GenericCommand(cmd=pb.conv, op=op, convMessage=conv)


def _conv(command: Command) -> tuple[pb.OpType, pb.ConvCommand]:
    match command:
        case commands.StartConversation():
            start = pb.ConvCommand(
                m=command.members,
                attr=_json(command.attributes),
                unique=command.unique,
                transient=command.chat_room,
                tempConv=command.temporary,
                tempConvTTL=command.ttl_seconds,
            )
            return pb.start, _signed(start, command.signature)
        case commands.AddMembers(conversation_id, members, signature):
            return pb.add, _signed(pb.ConvCommand(cid=conversation_id, m=members), signature)
        case commands.RemoveMembers(conversation_id, members, signature):
            return pb.remove, _signed(pb.ConvCommand(cid=conversation_id, m=members), signature)
        case commands.QueryConversations():
            return pb.query, pb.ConvCommand(
                where=_json(command.where),
                sort=command.sort,
                skip=command.skip,
                limit=command.limit,
                flag=command.compact * 1 + command.with_last_message * 2,
                tempConvIds=command.temporary_ids,
            )
        case commands.UpdateConversation(conversation_id, attributes):
            return pb.update, pb.ConvCommand(cid=conversation_id, attr=_json(attributes))
        case commands.MuteConversation(conversation_id, muted):
            return pb.mute if muted else pb.unmute, pb.ConvCommand(cid=conversation_id)
        case commands.CountMembers(conversation_id):
            return pb.count, pb.ConvCommand(cid=conversation_id)
        case commands.CheckMembership(conversation_ids):
            return pb.is_member, pb.ConvCommand(cids=conversation_ids)
        case commands.QueryReceipts(conversation_id, all_members):
            return pb.max_read, pb.ConvCommand(cid=conversation_id, queryAllMembers=all_members)
        case commands.ListOccupants(conversation_id, limit):
            return pb.members, pb.ConvCommand(cid=conversation_id, limit=limit)
        case commands.SetRole(conversation_id, client_id, role):
            info = pb.ConvMemberInfo(pid=client_id, role=role)
            return pb.member_info_update, pb.ConvCommand(cid=conversation_id, targetClientId=client_id, info=info)
        case commands.ListRoles(conversation_id):
            return pb.member_infos, pb.ConvCommand(cid=conversation_id)
        case commands.ChangeSilence(conversation_id, client_ids, silenced):
            return pb.add_shutup if silenced else pb.remove_shutup, pb.ConvCommand(cid=conversation_id, m=client_ids)
        case commands.ListSilenced(conversation_id, page):
            return pb.query_shutup, pb.ConvCommand(cid=conversation_id, limit=page.limit, next=page.cursor or None)
        case commands.CheckSilenced(conversation_id, client_ids):
            return pb.check_shutup, pb.ConvCommand(cid=conversation_id, m=client_ids)
        case _:
            raise AssertionError(f"no SDK sends {command}")


BLACKLISTS = {
    *(commands.ChangeBlocks, commands.ListBlocked, commands.CheckBlocked),
    *(commands.RefuseConversations, commands.ListRefused, commands.CheckRefused),
}


def _blacklist(command: Command) -> tuple[pb.OpType, pb.BlacklistCommand]:
    match command:
        case commands.ChangeBlocks(conversation_id, client_ids, blocked, signature):
            blacklist = pb.BlacklistCommand(srcCid=conversation_id, toPids=client_ids)
            return pb.block if blocked else pb.unblock, _signed(blacklist, signature)
        case commands.ListBlocked(conversation_id, page):
            return pb.query, pb.BlacklistCommand(srcCid=conversation_id, limit=page.limit, next=page.cursor or None)
        case commands.CheckBlocked(conversation_id, client_ids):
            return pb.check_block, pb.BlacklistCommand(srcCid=conversation_id, toPids=client_ids)
        case commands.RefuseConversations(conversation_ids, refused, signature):
            blacklist = pb.BlacklistCommand(srcPid="tom", toCids=conversation_ids)
            return pb.block if refused else pb.unblock, _signed(blacklist, signature)
        case commands.ListRefused(page):
            return pb.query, pb.BlacklistCommand(srcPid="tom", limit=page.limit, next=page.cursor or None)
        case commands.CheckRefused(conversation_ids):
            return pb.check_block, pb.BlacklistCommand(srcPid="tom", toCids=conversation_ids)
        case _:
            raise AssertionError(f"no SDK sends {command}")


def _direct(command: commands.Send) -> pb.DirectCommand:
    return pb.DirectCommand(
        cid=command.conversation_id,
        msg=None if command.binary else command.body,
        binaryMsg=command.body if command.binary else None,
        dt=command.token,
        r=command.receipt,
        transient=command.transient,
        will=command.will,
        pushData=command.push_data,
        mentionPids=command.mentions,
        mentionAll=command.mention_all,
    )


def _patch_item(command: commands.PatchMessage) -> pb.PatchItem:
    return pb.PatchItem(
        cid=command.conversation_id,
        mid=command.position.message_id,
        timestamp=command.position.timestamp,
        recall=command.recall,
        data=None if command.binary else command.body,
        binaryMsg=command.body if command.binary else None,
        mentionPids=command.mentions,
        mentionAll=command.mention_all,
    )


def _logs(command: commands.ReadHistory) -> pb.LogsCommand:
    logs = pb.LogsCommand(
        cid=command.conversation_id,
        tIncluded=command.start_included,
        ttIncluded=command.end_included,
        direction=pb.LogsCommand.OLD if command.newest_first else pb.LogsCommand.NEW,
        limit=command.limit,
        lctype=command.message_type,
    )
    if command.start is not None:
        logs.t, logs.mid = command.start.timestamp, command.start.message_id
    if command.end is not None:
        logs.tt, logs.tmid = command.end.timestamp, command.end.message_id
    return logs


def _mark(mark: ReadMark) -> pb.ReadTuple:
    if mark.upto is None:
        return pb.ReadTuple(cid=mark.conversation_id)
    return pb.ReadTuple(cid=mark.conversation_id, timestamp=mark.upto.timestamp, mid=mark.upto.message_id)


def _json(text: str | None) -> pb.JsonObjectMessage | None:
    return None if text is None else pb.JsonObjectMessage(data=text)


def _signed(message: Signed, signature: Signature | None) -> Signed:
    if signature is not None:
        message.t, message.n, message.s = signature.timestamp, signature.nonce, signature.digest
    return message
