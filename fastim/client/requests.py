"""Requests about conversations, as the calls of the library make them."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from fastim.client import decoding
from fastim.client.session import Session
from fastim.client.signing import Action
from fastim.client.values import ConversationInfo
from fastim.wire import messages2_pb2 as pb

_COMPACT, _WITH_LAST_MESSAGE = 1, 2


async def ask(
    session: Session,
    operation: pb.OpType,
    answer: pb.OpType,
    conv: pb.ConvCommand,
    *,
    repeatable: bool,
    sign: Action | None = None,
) -> pb.ConvCommand:
    """Make a request about conversations; see ``Session.call``.

    Args:
        sign: What it is for a signer, if it has to be signed.
    """
    command = pb.GenericCommand(cmd=pb.conv, op=operation, convMessage=conv)
    prepare = None
    if sign is not None:
        prepare = partial(session.signing.sign, command.convMessage, sign, session.client_id, conv.cid, conv.m)
    reply = await session.call(command, (pb.conv, answer), repeatable=repeatable, prepare=prepare)
    return reply.convMessage


async def ask_blacklist(
    session: Session,
    operation: pb.OpType,
    answer: pb.OpType,
    blacklist: pb.BlacklistCommand,
    *,
    sign: Action | None = None,
) -> pb.BlacklistCommand:
    """Make a request about who is blocked where; all of them can be repeated."""
    command = pb.GenericCommand(cmd=pb.blacklist, op=operation, blacklistMessage=blacklist)
    prepare = None
    if sign is not None:
        place = blacklist.srcCid or ":".join(sorted(set(blacklist.toCids)))
        prepare = partial(
            session.signing.sign, command.blacklistMessage, sign, session.client_id, place, blacklist.toPids
        )
    reply = await session.call(command, (pb.blacklist, answer), repeatable=True, prepare=prepare)
    return reply.blacklistMessage


async def find(
    session: Session,
    where: Mapping[str, Any] | None = None,
    *,
    temporary_ids: Iterable[str] = (),
    sort: Iterable[str] = (),
    skip: int = 0,
    limit: int | None = None,
    compact: bool = False,
    with_last_message: bool = False,
) -> list[ConversationInfo]:
    """Query conversations; see ``Client.query``.

    Args:
        temporary_ids: Find these temporary conversations, which no ``where`` finds.
    """
    conv = pb.ConvCommand(
        flag=_COMPACT * compact | _WITH_LAST_MESSAGE * with_last_message, tempConvIds=list(temporary_ids)
    )
    if where is not None:
        conv.where.data = msgspec.json.encode(where).decode()
    if keys := ",".join(sort):
        conv.sort = keys
    if skip:
        conv.skip = skip
    if limit is not None:
        conv.limit = limit
    reply = await ask(session, pb.query, pb.results, conv, repeatable=True)
    return decoding.conversation_infos(reply.results.data)
