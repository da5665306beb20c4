"""A client: one client id on one device, and the way in to conversations."""

import os
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import msgspec

from fastim.client import decoding
from fastim.client.conversation import Conversation
from fastim.client.events import Event
from fastim.client.failed import FailedMessages
from fastim.client.kept import Kept
from fastim.client.kinds import ChatRoom, ServiceConversation, TemporaryConversation, conversation
from fastim.client.presence import WATCHED_MAX, portions, subscription
from fastim.client.requests import ask, ask_blacklist, find
from fastim.client.session import Opening, Session
from fastim.client.signing import Action, Signer, Signing
from fastim.client.values import MemberChanges, Timing
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb

ONLINE_QUERY_MAX = 20
"""Client ids in one question. Source: wire protocol, session/query."""
EVENTS_MAX = 1000
BLOCKED_PORTION = 100
DEFAULT_TIMING = Timing()


@asynccontextmanager
async def connect(
    address: str,
    *,
    app_id: str,
    client_id: str,
    tag: str = "",
    device: str | None = None,
    reconnect: bool = False,
    token: str = "",
    unread_since: int = 0,
    notices_since: int = 0,
    patches_since: int = 0,
    events_max: int = EVENTS_MAX,
    failed_messages: str | os.PathLike[str] | None = None,
    signer: Signer | None = None,
    timing: Timing = DEFAULT_TIMING,
    tls: ssl.SSLContext | None = None,
) -> "AsyncIterator[Client]":
    """Connect to a server, open a session, and close it at the end of the ``async with`` block.

    Inside the block the client reconnects by itself whenever the connection breaks.

    Args:
        address: ``HOST:PORT`` of the server's TCP door; IPv6 as ``[HOST]:PORT``.
        client_id: Who this is, 1 to 64 characters; empty: the server makes an id up.
        tag: Of all devices of a client with the same tag only one can be online: opening here ends the session of the
            other. Empty: any number.
        device: What tells this device from others, kept from one start of the program to the next if there is a tag;
            ``None``: a new one.
        reconnect: Do not push another device with the same tag out: fail instead (4111).
        token: ``Client.token`` of an earlier session of this device. One that is too old does no harm.
        unread_since: ``Client.unread_since`` of an earlier session: be told of later unread messages only.
        notices_since: ``Client.notices_since`` of an earlier session: be told of what happened after that. 0: of
            nothing that happened before.
        patches_since: ``Client.patches_since`` of an earlier session: be told of messages that were modified or
            recalled after that. 0: of none from before.
        events_max: Events kept until they are read. When there are so many, the socket is not read any more, except
            while a request waits for its reply. 0 throws all events away, for a client that only sends.
        failed_messages: File in which ``Client.failed`` is kept from one start of the program to the next, of this
            client only; it is made when there is something to keep. ``None``: they are lost with the program.
        signer: Gets the signatures that the application requires from its server; called once for each.
        tls: For a server's TLS door, and whom to trust: ``ssl.create_default_context()`` for certificates that the
            system trusts. ``None``: in clear.

    Raises:
        ValueError: ``address`` or ``events_max`` cannot be, or ``failed_messages`` is another client's.
        ConnectionLost: There is no server at ``address``, it cannot be trusted, or it broke the connection.
        Refused: The application is unknown (4100), the client id cannot be (4103), ...
        SigningFailed: ``signer`` raised.
        FailedMessagesDamaged: The file cannot be read.
    """
    if events_max < 0:
        raise ValueError("events_max is negative")
    opening = Opening(
        app_id=app_id,
        client_id=client_id,
        tag=tag,
        device=device if device is not None else uuid4().hex,
        reconnect=reconnect,
        token=token,
        unread_since=unread_since,
        notices_since=notices_since,
        patches_since=patches_since,
    )
    host, port = _parsed(address)
    kept = await Kept.load(app_id, client_id, None if failed_messages is None else Path(failed_messages))
    session = Session(host, port, tls, opening, timing, Signing(app_id, signer), kept, events_max)
    # Shielded, or a block that is cancelled could not say goodbye.
    scope = anyio.CancelScope(shield=True)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run, session, scope)
        try:
            await session.opened()
            yield Client(session)
        except Exception as error:
            failure = error  # raised below: from inside the task group it would come wrapped in an ExceptionGroup
        finally:
            await session.close()
            scope.cancel()
    if failure is not None:
        raise failure


class Client:
    """One client id with an open session; made by ``connect``. Its calls may be made from several tasks at once.

    A call that finds no connection waits for the next; a timeout around it bounds that.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.failed = FailedMessages(session)
        """The messages that could not be sent."""

    @property
    def id(self) -> str:
        """The client id."""
        return self._session.client_id

    @property
    def token(self) -> str:
        """The session token: for REST calls, and for ``connect`` later on."""
        return self._session.token

    @property
    def unread_since(self) -> int:
        """When the server last told of unread messages, milliseconds, or 0: for ``connect`` later on."""
        return self._session.unread_since

    @property
    def notices_since(self) -> Millis:
        """Until when this client has been told what happened, milliseconds: for ``connect`` later on."""
        return self._session.resumption.notices_since

    @property
    def patches_since(self) -> Millis:
        """Until when it has been told of modified and recalled messages, milliseconds: for ``connect`` later on."""
        return self._session.resumption.patches.newest

    def events(self) -> AsyncIterator[Event]:
        """What the client is told, as it comes; ends when the client is closed, or after ``Ended``.

        There is one queue: each event is handed out once, whoever iterates.
        """
        return self._session.inbox

    async def create_conversation(
        self,
        members: Iterable[str],
        *,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        columns: Mapping[str, Any] | None = None,
        unique: bool = False,
    ) -> Conversation:
        """Create a conversation of ``members`` and this client.

        Args:
            attributes: What goes into the column ``attr``.
            columns: Further columns.
            unique: Return the conversation that has exactly these members, if there is one; it keeps its attributes.

        Raises:
            Refused: Too many members (4304), ...
            ConnectionLost: It may or may not have been created; not if ``unique``, which is asked for again.
        """
        conv = pb.ConvCommand(m=sorted({self.id, *members}), unique=unique)
        _describe(conv, name, attributes, columns)
        reply = await ask(self._session, pb.start, pb.started, conv, repeatable=unique, sign=Action.START)
        return Conversation(self._session, reply.cid)

    async def create_room(
        self,
        *,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> ChatRoom:
        """Create a chat room, and enter it. The arguments are those of ``create_conversation``.

        Raises:
            Refused: Too often (4116), ...
            ConnectionLost: It may or may not have been created.
        """
        conv = pb.ConvCommand(m=[self.id], transient=True)
        _describe(conv, name, attributes, columns)
        reply = await ask(self._session, pb.start, pb.started, conv, repeatable=False, sign=Action.START)
        self._session.resumption.room_id = reply.cid
        return ChatRoom(self._session, reply.cid)

    async def create_temporary(
        self, members: Iterable[str], *, ttl_seconds: int | None = None
    ) -> TemporaryConversation:
        """Create a conversation of ``members`` and this client that ends after a while.

        As long as it lasts, the same members get the same conversation, with its first end, whoever of them asks.

        Args:
            members: At most 10, this client included.
            ttl_seconds: ``None``: a day. At most 30 days.

        Raises:
            Refused: Too many members (4304), ...
        """
        conv = pb.ConvCommand(m=sorted({self.id, *members}), tempConv=True)
        if ttl_seconds is not None:
            conv.tempConvTTL = ttl_seconds
        reply = await ask(self._session, pb.start, pb.started, conv, repeatable=True, sign=Action.START)
        created = TemporaryConversation(self._session, reply.cid)
        created.expires_at = Millis(decoding.moment(reply.cdate) + 1000 * reply.tempConvTTL)
        return created

    def conversation(self, conversation_id: str) -> Conversation:
        """The conversation with that id, without asking the server whether there is one.

        For a chat room or a service conversation, use ``room`` and ``service``.
        """
        return conversation(self._session, conversation_id)

    def room(self, conversation_id: str) -> ChatRoom:
        """The chat room with that id, without asking the server whether there is one."""
        return ChatRoom(self._session, conversation_id)

    def service(self, conversation_id: str) -> ServiceConversation:
        """The service conversation with that id, without asking the server whether there is one."""
        return ServiceConversation(self._session, conversation_id)

    async def get_conversation(self, conversation_id: str) -> Conversation:
        """The conversation with that id, and its ``info``; a ``ChatRoom`` and the like if it is one.

        Raises:
            LookupError: There is none.
        """
        info = await conversation(self._session, conversation_id).fetch()
        return conversation(self._session, conversation_id, info.kind, info)

    async def query(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        sort: Iterable[str] = (),
        skip: int = 0,
        limit: int | None = None,
        compact: bool = False,
        with_last_message: bool = False,
    ) -> list[Conversation]:
        """Find conversations.

        Args:
            where: Condition in the query language: ``{"attr.type": "private", "m": {"$all": ["tom"]}}``. ``None`` or
                empty: those that this client is in. Anything else also finds conversations that it is not in:
                ``{"tr": True}`` chat rooms, ``{"sys": True}`` service conversations. Nothing finds temporary ones.
            sort: Columns, ``-`` before one for descending: ``["-lm", "name"]``.
            limit: ``None``: 10. At most 1000.
            compact: Without members.
            with_last_message: With each conversation's last message.

        Raises:
            Refused: The query is malformed or asks too much (4310), ...
        """
        infos = await find(
            self._session,
            where,
            sort=sort,
            skip=skip,
            limit=limit,
            compact=compact,
            with_last_message=with_last_message,
        )
        return [conversation(self._session, info.id, info.kind, info) for info in infos]

    async def memberships(self, conversation_ids: Iterable[str]) -> dict[str, bool]:
        """Whether this client is a member of each of these conversations."""
        conv = pb.ConvCommand(cids=list(conversation_ids))
        reply = await ask(self._session, pb.is_member, pb.result, conv, repeatable=True)
        return decoding.memberships(reply.results.data)

    async def online(self, client_ids: Iterable[str]) -> set[str]:
        """Those of these clients who have a session open now."""
        wanted: Sequence[str] = list(dict.fromkeys(client_ids))
        found: set[str] = set()
        for start in range(0, len(wanted), ONLINE_QUERY_MAX):
            asked = pb.SessionCommand(sessionPeerIds=wanted[start : start + ONLINE_QUERY_MAX])
            command = pb.GenericCommand(cmd=pb.session, op=pb.query, sessionMessage=asked)
            reply = await self._session.call(command, (pb.session, pb.query_result), repeatable=True)
            found.update(reply.sessionMessage.onlineSessionPeerIds)
        return found

    async def watch(self, client_ids: Iterable[str]) -> set[str]:
        """Be told in ``PresenceChanged`` when these clients come online and when they go; return who is online now.

        It lasts until ``unwatch``, reconnections included. "Online" is having a session open, on whatever device.

        Args:
            client_ids: Together with those that are watched already at most 500.

        Raises:
            ValueError: They are more.
        """
        wanted = list(dict.fromkeys(client_ids))
        presence = self._session.resumption.presence
        if len({*presence.watched, *wanted}) > WATCHED_MAX:
            raise ValueError(f"a client can watch {WATCHED_MAX} others")
        online: set[str] = set()

        def begin(portion: list[str], reply: pb.GenericCommand) -> None:
            presence.begin(portion, reply.presenceMessage.sessionPeerIds)
            online.update(reply.presenceMessage.sessionPeerIds)

        for portion in portions(wanted):
            await self._session.call(
                subscription(pb.subscribe, portion),
                (pb.presence, pb.subscribed),
                repeatable=True,
                on_success=partial(begin, portion),
            )
        return online

    async def unwatch(self, client_ids: Iterable[str]) -> None:
        """Be told of these clients no longer."""
        unwanted = list(dict.fromkeys(client_ids))
        self._session.resumption.presence.end(unwanted)
        for portion in portions(unwanted):
            await self._session.call(
                subscription(pb.unsubscribe, portion), (pb.presence, pb.unsubscribed), repeatable=True
            )

    async def block_conversations(self, conversation_ids: Iterable[str]) -> MemberChanges:
        """Let nobody add this client to these conversations; for a member of one nothing changes.

        Raises:
            Refused: Blacklists are off in this application (4544), ...
        """
        return await self._change_blocks(pb.block, pb.blocked, conversation_ids, Action.BLOCK_CONVERSATIONS)

    async def unblock_conversations(self, conversation_ids: Iterable[str]) -> MemberChanges:
        """Let others add this client to these conversations again.

        Raises:
            Refused: Blacklists are off in this application (4544), ...
        """
        return await self._change_blocks(pb.unblock, pb.unblocked, conversation_ids, Action.UNBLOCK_CONVERSATIONS)

    async def blocked_conversations(self) -> list[str]:
        """The conversations to which nobody can add this client."""
        found: list[str] = []
        wanted = pb.BlacklistCommand(srcPid=self.id, limit=BLOCKED_PORTION)
        while True:
            reply = await ask_blacklist(self._session, pb.query, pb.query_result, wanted)
            found += reply.blockedCids
            if not reply.next or not reply.blockedCids:
                return found
            wanted.next = reply.next

    async def refresh_token(self) -> str:
        """Ask for a new session token and return it; the old one may have expired."""
        held = pb.SessionCommand(st=self.token)
        command = pb.GenericCommand(cmd=pb.session, op=pb.refresh, sessionMessage=held)
        reply = await self._session.call(command, (pb.session, pb.refreshed), repeatable=True)
        self._session.token = reply.sessionMessage.st
        return self.token

    async def close(self) -> None:
        """End the session on purpose; the end of the ``async with`` block does the same."""
        await self._session.close()

    async def _change_blocks(
        self, operation: pb.OpType, answer: pb.OpType, conversation_ids: Iterable[str], sign: Action
    ) -> MemberChanges:
        wanted = pb.BlacklistCommand(srcPid=self.id, toCids=list(conversation_ids))
        return decoding.member_changes(await ask_blacklist(self._session, operation, answer, wanted, sign=sign))


_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[^:\[\]\s]+)):(?P<port>\d{1,5})")


def _describe(
    conv: pb.ConvCommand, name: str | None, attributes: Mapping[str, Any] | None, columns: Mapping[str, Any] | None
) -> None:
    written = {**(columns or {})}
    if name is not None:
        written["name"] = name
    if attributes is not None:
        written["attr"] = attributes
    if written:
        conv.attr.data = msgspec.json.encode(written).decode()


async def _run(session: Session, scope: anyio.CancelScope) -> None:
    with scope:
        await session.run()


def _parsed(address: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ValueError(f"{address!r} is not HOST:PORT")
    return found["ipv6"] or found["host"], int(found["port"])
