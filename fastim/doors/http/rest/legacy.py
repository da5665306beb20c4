"""REST 1.1: the calls of 1.2 as older back ends and the Python SDK make them. Source: REST reference, section 7.

What differs: a message is transient unless it says otherwise, and of high priority; conversations are named in the body
or the query and may be of any type; and where a ``DELETE`` says what in its body, it may say so in the query.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from fastim.core.commands import CountMembers, PatchMessage, QueryOnline
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ChatRoomRequired, ConversationNotFound, SystemConversationRequired
from fastim.core.message import Message, Position
from fastim.core.policy import HISTORY_LIMIT_MAX, ONLINE_QUERY_MAX, SILENCE_TTL_MAX_SECONDS
from fastim.core.session import office
from fastim.core.units import Millis
from fastim.doors.http.rest import broadcasts
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.broadcasts import Broadcasted, BroadcastQuery, NewBroadcast
from fastim.doors.http.rest.calls import NOTHING, AnyCall, Asked, BadRequest, Call, Nothing
from fastim.doors.http.rest.clients import SPOKEN_IN, Online, kick
from fastim.doors.http.rest.history import span_of, tell, tell_kept
from fastim.doors.http.rest.sending import (
    NewBody,
    NewMessage,
    Priority,
    PushData,
    compose,
    modification,
    recall,
    sent,
    speaker,
)
from fastim.doors.http.rest.service_conversations import (
    Addressees,
    find_patchable,
    patch_announcement,
    subscribe,
    unsubscribe,
)
from fastim.doors.http.rest.values import (
    LIMIT_DEFAULT,
    ClientId,
    Count,
    HistoryQuery,
    Logged,
    Mentions,
    Moment,
    Number,
    Sent,
)
from fastim.runtime.spending import Spending
from fastim.service.archive import search_archive
from fastim.service.broadcasts import delete_broadcast, send_to_clients, send_to_subscribers
from fastim.service.conversations import count_members
from fastim.service.deletion import delete_message
from fastim.service.finding import find_living
from fastim.service.governance import silence_for_a_time
from fastim.service.io import Io
from fastim.service.messages import send_message
from fastim.service.patches import patch_message
from fastim.service.sessions import query_online
from fastim.service.statistics import count_unread

_TAG = "REST 1.1"

OptionalClientId = Annotated[str, Meta(max_length=64)]


class OldMessage(Struct, frozen=True):
    """A message.

    Attributes:
        from_peer: In whose name it is sent; whether that client may send it is not asked.
        transient: Only for those who are online now; it is not stored.
        to_peers: Of a service conversation, those who get it; without it all who subscribe.
        no_sync: The devices of ``from_peer`` do not get it.
    """

    from_peer: ClientId
    conv_id: str
    message: str
    transient: bool = True
    to_peers: Addressees | None = None
    no_sync: bool = False
    push_data: PushData | None = None
    priority: Priority = "high"
    mention_all: bool = False
    mention_client_ids: Mentions = []


class OldAnnouncement(Struct, frozen=True):
    """A message to all subscribers; ``push`` or ``push_data`` is what those get as offline push who are not online."""

    from_peer: ClientId
    conv_id: str
    message: str
    push: PushData | None = None
    push_data: PushData | None = None


class OldBroadcast(OldAnnouncement, frozen=True, kw_only=True):
    """A message to everybody.

    Attributes:
        push: Taken and not used: what is said to everybody is pushed to nobody.
        push_data: The same.
        valid_till: Who logs in later does not get it; at most 30 days from now, which is the default.
        transient: Only those who are online now get it.
    """

    valid_till: Moment | None = None
    transient: bool = False


class OldHistoryQuery(Struct, frozen=True, rename={"sender": "from"}):
    """Which messages: of the conversation ``convid``, by the client ``from``, or all.

    Attributes:
        max_ts: Where to begin, without that moment itself; else now, or with ``reversed`` at the oldest message.
        msgid: With ``max_ts``: the message there, without it.
        reversed: Oldest first.
        signature: Of a client that may read it, with ``peerid``, ``nonce`` and ``signature_ts``; it is not looked at,
            the master key being wanted anyway.
    """

    convid: str = ""
    sender: OptionalClientId = ""
    max_ts: Moment | None = None
    msgid: str = ""
    reversed: bool = False
    limit: Annotated[int, Meta(ge=0, le=HISTORY_LIMIT_MAX)] = LIMIT_DEFAULT
    peerid: str = ""
    nonce: str = ""
    signature_ts: int | None = None
    signature: str = ""

    @property
    def as_query(self) -> HistoryQuery:
        return HistoryQuery(timestamp=self.max_ts, msgid=self.msgid, reversed=self.reversed, limit=self.limit)


class OldPlace(Struct, frozen=True, rename={"sender": "from"}):
    """A message, who sent it, and when; all have to be right."""

    convid: str
    msgid: str
    timestamp: Moment
    sender: ClientId


class OldEdit(OldPlace, frozen=True, kw_only=True, rename={"sender": "from"}):
    """A message and what it is to say from now on; who sent it, and when, have to be right.

    Attributes:
        data: The same as ``message``.
        to_peers: Of a service conversation, those who alone got it.
    """

    message: str | None = None
    data: str | None = None
    to_peers: Addressees | None = None


class OldPatch(Struct, frozen=True):
    """A message and what it is to say from now on; who sent it, and when, have to be right.

    Attributes:
        recall: Take it back; ``message`` does not count then.
        to_peers: Of a service conversation, those who alone got it.
    """

    from_peer: ClientId
    conv_id: str
    msg_id: str
    timestamp: Moment
    message: str | None = None
    recall: bool = False
    to_peers: Addressees | None = None


class OldBroadcastPlace(Struct, frozen=True):
    """The id of a message to everybody."""

    mid: str


class OldSubscription(Struct, frozen=True):
    """A client and a service conversation."""

    conv_id: str
    client_id: ClientId


class SomeSubscription(Struct, frozen=True):
    """A client and a conversation, here or in the other place where they may stand."""

    conv_id: str = ""
    client_id: OptionalClientId = ""


class OldSilence(Struct, frozen=True):
    """Whom to silence where, and for how many seconds."""

    conv_id: str
    client_id: ClientId
    ttl: Annotated[int, Meta(ge=1, le=SILENCE_TTL_MAX_SECONDS)]


class OldKick(Struct, frozen=True):
    """Whose sessions end, and why; the client is told."""

    client_id: str
    reason: Annotated[str, Meta(max_length=20)] = ""


class Peers(Struct, frozen=True):
    """Clients that are asked about."""

    peers: Annotated[list[ClientId], Meta(max_length=ONLINE_QUERY_MAX)]


class RoomQuery(Struct, frozen=True):
    """The id of a chat room."""

    gid: str


async def _find(io: Io, conversation_id: str) -> Conversation:
    conversation = await find_living(io, conversation_id)
    if conversation is None:
        raise ConversationNotFound
    return conversation


async def _service(io: Io, conversation_id: str) -> Conversation:
    conversation = await _find(io, conversation_id)
    if conversation.kind is not Kind.SYSTEM:
        raise SystemConversationRequired
    return conversation


async def _send(asked: Asked[Nothing, OldMessage]) -> Sent:
    body = asked.body
    conversation = await _find(asked.io, body.conv_id)
    message = NewMessage(
        from_client=body.from_peer,
        message=body.message,
        transient=body.transient,
        no_sync=body.no_sync,
        push_data=body.push_data,
        priority=body.priority,
        mention_all=body.mention_all,
        mention_client_ids=body.mention_client_ids,
    )
    command, session = compose(conversation.id, message), speaker(body.from_peer, asked.address)
    if body.to_peers is not None:
        return sent(await send_to_clients(asked.io, session, command, body.to_peers))
    return sent(await send_message(asked.io, session, command))


async def _announce(asked: Asked[Nothing, OldAnnouncement]) -> Sent:
    body = asked.body
    message = NewMessage(body.from_peer, body.message, push_data=_push(body))
    session = speaker(body.from_peer, asked.address)
    conversation = await _service(asked.io, body.conv_id)
    return sent(await send_to_subscribers(asked.io, session, compose(conversation.id, message)))


async def _broadcast(asked: Asked[Nothing, OldBroadcast]) -> Sent:
    body = asked.body
    new = NewBroadcast(body.from_peer, body.conv_id, body.message, body.valid_till, _push(body), body.transient)
    return await broadcasts.send(asked.io, new, asked.address)


def _push(body: OldAnnouncement) -> PushData | None:
    return body.push_data if body.push is None else body.push


async def _list_broadcasts(asked: Asked[BroadcastQuery, Nothing]) -> list[Broadcasted]:
    return await broadcasts.current(asked.io, asked.query)


async def _delete_broadcast(asked: Asked[OldBroadcastPlace, Nothing]) -> Nothing:
    await delete_broadcast(asked.io, asked.query.mid)
    return NOTHING


async def _read(asked: Asked[OldHistoryQuery, Nothing]) -> list[Logged]:
    query, sender = asked.query.as_query, asked.query.sender
    if not asked.query.convid:
        kept = await search_archive(asked.io, span_of(query), sender or None, SPOKEN_IN if sender else frozenset(Kind))
        return tell_kept(kept, query)

    def wanted(message: Message) -> bool:
        return message.sender == sender

    conversation = await _find(asked.io, asked.query.convid)
    messages = await asked.io.store.history(conversation.id, span_of(query), wanted if sender else None)
    return await tell(asked.io, conversation, messages, query)


async def _edit(asked: Asked[Nothing, OldEdit]) -> Nothing:
    body = asked.body
    message = body.data if body.message is None else body.message
    new = OldPatch(body.sender, body.convid, body.msgid, body.timestamp, message, to_peers=body.to_peers)
    return await _patch_message(asked, new)


async def _patch(asked: Asked[Nothing, OldPatch]) -> Nothing:
    return await _patch_message(asked, asked.body)


async def _patch_message(asked: Asked[Any, Any], new: OldPatch) -> Nothing:
    conversation = await _find(asked.io, new.conv_id)
    session = speaker(new.from_peer, asked.address)
    command = await _patch_command(asked.io, conversation, new)
    if conversation.kind is Kind.SYSTEM:
        await patch_announcement(asked.io, session, command, new.to_peers)
    elif new.to_peers is not None:
        raise SystemConversationRequired
    else:
        await patch_message(asked.io, session, command)
    return NOTHING


async def _patch_command(io: Io, conversation: Conversation, new: OldPatch) -> PatchMessage:
    if new.recall:
        return recall(conversation.id, new.msg_id, new.timestamp)
    if new.message is None:
        raise BadRequest("message is missing: what is it to say?")
    position = Position(Millis(new.timestamp), new.msg_id)
    before = await find_patchable(io, conversation.id, position, new.to_peers)
    return modification(conversation.id, new.msg_id, NewBody(new.from_peer, new.message, new.timestamp), before)


async def _delete(asked: Asked[OldPlace, Nothing]) -> Nothing:
    conversation = await _find(asked.io, asked.query.convid)
    position = Position(Millis(asked.query.timestamp), asked.query.msgid)
    await delete_message(asked.io, speaker(asked.query.sender, asked.address), conversation.id, position)
    return NOTHING


async def _subscribe(asked: Asked[Nothing, OldSubscription]) -> Nothing:
    await subscribe(asked.io, (await _service(asked.io, asked.body.conv_id)).id, asked.body.client_id)
    return NOTHING


async def _unsubscribe(asked: Asked[SomeSubscription, SomeSubscription]) -> Nothing:
    one = _whole(asked)
    await unsubscribe(asked.io, (await _service(asked.io, one.conv_id)).id, one.client_id)
    return NOTHING


async def _silence(asked: Asked[Nothing, OldSilence]) -> Nothing:
    conversation = await _find(asked.io, asked.body.conv_id)
    await silence_for_a_time(asked.io, office(), conversation.id, asked.body.client_id, asked.body.ttl)
    return NOTHING


async def _end_silence(asked: Asked[SomeSubscription, SomeSubscription]) -> Nothing:
    one = _whole(asked)
    conversation = await _find(asked.io, one.conv_id)
    await silence_for_a_time(asked.io, office(), conversation.id, one.client_id, 0)
    return NOTHING


def _whole(asked: Asked[SomeSubscription, SomeSubscription]) -> SomeSubscription:
    """What the query or the body names.

    Raises:
        BadRequest: Neither names a conversation and a client.
    """
    for one in (asked.query, asked.body):
        if one.conv_id and one.client_id:
            return one
    raise BadRequest("conv_id and client_id are needed, in the query or in the body")


async def _count_unread(asked: Asked[Nothing, Nothing]) -> Count:
    return Count(await count_unread(asked.io, asked.path["client_id"], asked.path.get("conversation_id")))


async def _count_occupants(asked: Asked[RoomQuery, Nothing]) -> Number:
    conversation = await _find(asked.io, asked.query.gid)
    if conversation.kind is not Kind.CHAT_ROOM:
        raise ChatRoomRequired
    return Number((await count_members(asked.io, office(), CountMembers(conversation.id))).count)


async def _check_online(asked: Asked[Nothing, Peers]) -> Online:
    return Online(list((await query_online(asked.io, office(), QueryOnline(tuple(asked.body.peers)))).client_ids))


async def _kick(asked: Asked[Nothing, OldKick]) -> Nothing:
    return await kick(asked.io, asked.body.client_id, asked.body.reason)


CALLS: tuple[AnyCall, ...] = (
    Call(
        "POST",
        "/1.1/rtm/messages",
        Access.MASTER,
        "Send a message to a conversation of any type in a client's name.",
        _TAG,
        _send,
        body=OldMessage,
        reply=Sent,
        spending=Spending.SENDS,
    ),
    Call(
        "GET",
        "/1.1/rtm/messages/history",
        Access.MASTER,
        "The messages of a conversation, of a client, or of all, newest first.",
        _TAG,
        _read,
        query=OldHistoryQuery,
        reply=list[Logged],
    ),
    Call(
        "GET",
        "/1.1/rtm/messages/logs",
        Access.MASTER,
        "The messages of a conversation, of a client, or of all, newest first.",
        _TAG,
        _read,
        query=OldHistoryQuery,
        reply=list[Logged],
    ),
    Call(
        "PUT",
        "/1.1/rtm/messages/logs",
        Access.MASTER,
        "Change what a message says; all devices are told.",
        _TAG,
        _edit,
        body=OldEdit,
        spending=Spending.SENDS,
    ),
    Call(
        "DELETE",
        "/1.1/rtm/messages/logs",
        Access.MASTER,
        "Delete a message here; devices keep what they have.",
        _TAG,
        _delete,
        query=OldPlace,
    ),
    Call(
        "PUT",
        "/1.1/rtm/patch/message",
        Access.MASTER,
        "Change what a message says, or take it back; all devices are told.",
        _TAG,
        _patch,
        body=OldPatch,
        spending=Spending.SENDS,
    ),
    Call(
        "GET",
        "/1.1/rtm/messages/unread/{client_id}",
        Access.APPLICATION,
        "How many messages a client has not read.",
        _TAG,
        _count_unread,
        reply=Count,
    ),
    Call(
        "GET",
        "/1.1/rtm/messages/unread/{client_id}/{conversation_id}",
        Access.APPLICATION,
        "How many messages of a conversation a client has not read.",
        _TAG,
        _count_unread,
        reply=Count,
    ),
    Call(
        "POST",
        "/1.1/rtm/broadcast",
        Access.MASTER,
        "Write to everybody: to who is online now, and to who logs in before it expires.",
        _TAG,
        _broadcast,
        body=OldBroadcast,
        reply=Sent,
        spending=Spending.BROADCASTS,
    ),
    Call(
        "GET",
        "/1.1/rtm/broadcast",
        Access.MASTER,
        "What a service conversation says to everybody and has not expired.",
        _TAG,
        _list_broadcasts,
        query=BroadcastQuery,
        reply=list[Broadcasted],
    ),
    Call(
        "DELETE",
        "/1.1/rtm/broadcast",
        Access.MASTER,
        "Who has not got a message to everybody does not get it any more.",
        _TAG,
        _delete_broadcast,
        query=OldBroadcastPlace,
    ),
    Call(
        "POST",
        "/1.1/rtm/broadcast/subscriber",
        Access.MASTER,
        "Write to all subscribers.",
        _TAG,
        _announce,
        body=OldAnnouncement,
        reply=Sent,
        spending=Spending.SUBSCRIBER_BROADCASTS,
    ),
    Call(
        "POST",
        "/1.1/rtm/conversation/subscription",
        Access.APPLICATION,
        "Make a client a subscriber.",
        _TAG,
        _subscribe,
        body=OldSubscription,
    ),
    Call(
        "DELETE",
        "/1.1/rtm/conversation/subscription",
        Access.APPLICATION,
        "Make a client a subscriber no longer.",
        _TAG,
        _unsubscribe,
        query=SomeSubscription,
        body=SomeSubscription,
    ),
    Call(
        "POST",
        "/1.1/rtm/conversation/blacklist",
        Access.MASTER,
        "Keep a client from sending for some seconds.",
        _TAG,
        _silence,
        body=OldSilence,
    ),
    Call(
        "DELETE",
        "/1.1/rtm/conversation/blacklist",
        Access.MASTER,
        "Let it send again before they have passed.",
        _TAG,
        _end_silence,
        query=SomeSubscription,
        body=SomeSubscription,
    ),
    Call(
        "GET",
        "/1.1/rtm/transient_group/onlines",
        Access.MASTER,
        "How many are in the chat room now.",
        _TAG,
        _count_occupants,
        query=RoomQuery,
        reply=Number,
    ),
    Call(
        "POST",
        "/1.1/rtm/online",
        Access.MASTER,
        "Which of these clients are online.",
        _TAG,
        _check_online,
        body=Peers,
        reply=Online,
    ),
    Call(
        "POST",
        "/1.1/rtm/client/kick",
        Access.MASTER,
        "End all sessions of a client; its session tokens are void.",
        _TAG,
        _kick,
        body=OldKick,
    ),
)
