"""One session, kept open: connecting, opening, heartbeats, reconnecting, and requests that may have to be made again.

A request is made on the connection of the moment, or on the next one while there is none. When the connection breaks
before the reply, a request that can be repeated without harm is made again; for any other the caller is told. Source of
the opening: wire protocol, session; of the codes that end a session: error codes.
"""

import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import anyio
from anyio.abc import ByteStream
from msgspec import Struct

from fastim.client import decoding
from fastim.client.connection import Connection
from fastim.client.errors import (
    ClientClosed,
    ClientError,
    ConnectionLost,
    Refused,
    SessionEnded,
    SigningFailed,
    UnexpectedReply,
)
from fastim.client.events import Disconnected, Ended, MessageReceived, Reconnected
from fastim.client.inbox import Inbox
from fastim.client.kept import Kept
from fastim.client.resumption import Resumption
from fastim.client.signing import Action, Signing
from fastim.client.values import Message, Timing
from fastim.core.conversation import Kind
from fastim.core.errors import FrameTooLong, SessionTokenExpired, WireError
from fastim.core.session import Config
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb

CAPABILITIES = (
    Config.TEMPORARY_CONVERSATIONS
    | Config.TRANSIENT_ACKS
    | Config.PARTIAL_FAILURE
    | Config.OMIT_PEER_ID
    | Config.GAP_NOTICES
)
"""What this client understands. A connection of its has one session, so whose a command is needs no saying."""
LISTENING = Config.PATCHES | Config.KEEP_NOTIFICATIONS
"""What only who reads its events has a use for: the server keeps them for those who are away."""
ATTEMPTS_MAX = 5
"""Connections on which one request is made. A request may be what breaks them, and must not break them for ever."""

_FINAL = frozenset((4100, 4102, 4103, 4106, 4110, 4111, 4113, 4115))
"""Codes that no reconnecting mends: application, signature, client id, ban, origin, conflict, quota, kick."""
_BREAKING = frozenset((FrameTooLong.code, WireError.code))
"""Codes with which a server closes the connection over something in it: told to whoever waits, not repeated."""

_ACKNOWLEDGED = frozenset((0, Kind.NORMAL, Kind.TEMPORARY))
"""Conversations whose messages are acknowledged; 0 where the server does not say."""

Answer = tuple[pb.CommandType, pb.OpType | None]
"""What a reply has to be; ``None`` where the operation says nothing."""

_OPENED: Answer = (pb.session, pb.opened)


class Opening(Struct, frozen=True):
    """Who opens which session.

    Attributes:
        client_id: Empty: the server makes one up.
        reconnect: The first opening must not push another device with the same tag out; later ones never do.
        token: Of an earlier session of this device, or empty.
        unread_since: Time of the last unread notification seen, milliseconds, or 0: all that is unread.
        notices_since: Time of the last notice seen, or 0: none from before.
        patches_since: Time of the last patch seen, or 0: none from before.
    """

    app_id: str
    client_id: str
    tag: str
    device: str
    reconnect: bool
    token: str
    unread_since: int
    notices_since: int
    patches_since: int


class Session:
    """A session that comes back by itself, until it is closed or the server ends it.

    Args:
        host: Of the server's TCP door.
        signing: Signs what the client does.
        kept: Where messages go that could not be sent.
        events_max: See ``Inbox``.

    Attributes:
        client_id: Empty before the first opening if the server makes one up.
        token: The session token, empty before the first opening.
        unread_since: When the server last told of unread messages, milliseconds since the epoch, or 0.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        opening: Opening,
        timing: Timing,
        signing: Signing,
        kept: Kept,
        events_max: int,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._opening = opening
        self._timing = timing
        self._connection: Connection | None = None
        self._changed = anyio.Event()
        self._was_open = False
        self._end: ClientError | None = None
        self.signing = signing
        self.kept = kept
        self.inbox = Inbox(events_max)
        self.resumption = Resumption(
            self.inbox,
            signing,
            timing.retry_seconds_max,
            notices_since=opening.notices_since,
            patches_since=opening.patches_since,
        )
        self.client_id = opening.client_id
        self.token = opening.token
        self.unread_since = opening.unread_since

    async def run(self) -> None:
        """Keep the session open until its end."""
        failures = 0
        while True:
            began = anyio.current_time()
            why = await self._live()
            if not self._was_open:
                self._finish(ConnectionLost(why))
            if self._end is not None:
                return
            lasted_seconds = anyio.current_time() - began
            failures = 0 if lasted_seconds > self._timing.retry_seconds_max else failures + 1
            await anyio.sleep(self._pause_seconds(failures))

    async def opened(self) -> None:
        """Wait for the first opening.

        Raises:
            ClientError: It failed.
        """
        while not self._was_open:
            if self._end is not None:
                raise self._end
            await self._changed.wait()

    async def ready(self) -> Connection:
        """The connection of the moment, or the next one.

        Raises:
            ClientError: The session is over.
        """
        while True:
            if self._end is not None:
                raise self._end.with_traceback(None)
            if self._connection is not None and self._connection.usable:
                return self._connection
            await self._changed.wait()

    async def call(
        self,
        command: pb.GenericCommand,
        answer: Answer,
        *,
        repeatable: bool,
        ahead: pb.GenericCommand | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
        on_success: Callable[[pb.GenericCommand], None] | None = None,
    ) -> pb.GenericCommand:
        """Make a request and return its reply.

        Args:
            answer: What the reply has to be.
            repeatable: Making it twice does no harm, so it is made again when the connection breaks.
            ahead: A command without a reply that is sent right before it, each time.
            prepare: Awaited before it, each time: a signature counts once.
            on_success: Called with the reply, if it is what it has to be, before anything that came after it is
                looked at.

        Raises:
            Refused: The server will not do it.
            ConnectionLost: It cannot be repeated, or has been for too often.
            ClientError: The session is over.
        """
        attempt = 0
        heard = None if on_success is None else partial(_heard, on_success, answer)
        while True:
            if prepare is not None:
                await prepare()
            connection = await self.ready()
            attempt += 1
            if ahead is not None:
                connection.post(ahead)
            try:
                reply = await connection.request(command, heard)
            except ConnectionLost:
                if connection.parting is not None and connection.parting.code in _BREAKING:
                    raise connection.parting.with_traceback(None) from None
                if not repeatable or attempt == ATTEMPTS_MAX:
                    raise
            else:
                return _checked(reply, answer)

    async def close(self) -> None:
        """Say goodbye if there is a connection to say it on, and end. Harmless when all is over already."""
        connection = self._connection
        if self._end is None:
            self._end = ClientClosed("the client is closed")
            if connection is not None and connection.usable:
                goodbye = pb.GenericCommand(cmd=pb.session, op=pb.close, sessionMessage=pb.SessionCommand())
                with anyio.move_on_after(self._timing.close_seconds, shield=True), suppress(ConnectionLost):
                    await connection.request(goodbye)
        if connection is not None:
            connection.drop("the client is closed")
        self.inbox.end()
        self._announce()

    # -- one connection after the other ----------------------------------------------------------------------------

    async def _live(self) -> str:
        """Connect, open the session and carry commands until the connection is lost; return why."""
        try:
            with anyio.fail_after(self._timing.reply_seconds):
                stream = await self._dial()
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            return f"cannot connect to {self._host} port {self._port}: {str(error) or 'no answer'}"
        connection = Connection(stream, self._hear, self.inbox, self._timing.reply_seconds)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._use, connection)
            await connection.run()
            tasks.cancel_scope.cancel()
        why = connection.loss or ""
        if connection is self._connection and self._end is None:
            self.inbox.put(Disconnected(why))
        return why

    async def _dial(self) -> ByteStream:
        if self._tls is None:
            return await anyio.connect_tcp(self._host, self._port)
        # Frames say how long they are, so an end without TLS's own farewell hides nothing.
        return await anyio.connect_tcp(
            self._host, self._port, tls=True, ssl_context=self._tls, tls_standard_compatible=False
        )

    async def _use(self, connection: Connection) -> None:
        """Open the session on ``connection`` and keep both ends sure of each other."""
        try:
            await self._open(connection)
        except ConnectionLost:
            return
        except (Refused, UnexpectedReply, SigningFailed) as error:
            self._turned_away(error)
            connection.drop(str(error))
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.resumption.restore, connection, self.client_id)
            tasks.start_soon(self._beat, connection)

    async def _beat(self, connection: Connection) -> None:
        echo = pb.GenericCommand(cmd=pb.echo)
        with suppress(ConnectionLost):
            while True:
                await anyio.sleep(self._timing.heartbeat_seconds)
                await connection.request(echo)

    async def _open(self, connection: Connection) -> None:
        opening = self._opening
        wanted = pb.SessionCommand(
            ua="fastim-python",
            r=opening.reconnect or self._was_open,
            deviceId=opening.device,
            configBitmap=CAPABILITIES | LISTENING if self.inbox.keeps else CAPABILITIES,
        )
        if opening.tag:
            wanted.tag = opening.tag
        if self.unread_since:
            wanted.lastUnreadNotifTime = self.unread_since
        if self.resumption.patches.since:
            wanted.lastPatchTime = self.resumption.patches.since
        if self.token:
            wanted.st = self.token
        else:
            await self.signing.sign(wanted, Action.OPEN, self.client_id)
        command = pb.GenericCommand(cmd=pb.session, op=pb.open, appId=opening.app_id, sessionMessage=wanted)
        if self.client_id:
            command.peerId = self.client_id
        begin = partial(self._begin, connection)
        reply = await connection.request(command, begin)
        refused = decoding.refusal(reply)
        if refused is not None and refused.code == SessionTokenExpired.code and self.token:
            self.token = ""
            command.sessionMessage.ClearField("st")
            await self.signing.sign(command.sessionMessage, Action.OPEN, self.client_id)
            reply = await connection.request(command, begin)
        _checked(reply, _OPENED)

    def _begin(self, connection: Connection, reply: pb.GenericCommand) -> None:
        # What comes right behind the reply has to find the session open.
        if decoding.refusal(reply) is not None or (reply.cmd, reply.op) != _OPENED:
            return
        self.token = reply.sessionMessage.st
        self.client_id = reply.peerId or self.client_id
        self.resumption.begin(Millis(reply.serverTs), again=self._was_open)
        if self._was_open:
            self.inbox.put(Reconnected())
        self._was_open = True
        self._connection = connection
        self._announce()

    def _turned_away(self, error: Refused | UnexpectedReply | SigningFailed) -> None:
        if not self._was_open:
            self._finish(error)
        elif isinstance(error, Refused) and error.code in _FINAL:
            self._finish(SessionEnded(error.code, error.reason, error.detail))

    def _pause_seconds(self, failures: int) -> float:
        bound = min(self._timing.retry_seconds * 2 ** min(failures, 32), self._timing.retry_seconds_max)
        return random.uniform(0, bound)

    # -- what the server says unasked ------------------------------------------------------------------------------

    def _hear(self, connection: Connection, push: pb.GenericCommand) -> None:
        if push.cmd == pb.session and push.op == pb.closed:
            ending = push.sessionMessage
            ended = SessionEnded(ending.code, ending.reason, ending.detail)
            self._finish(ended)
            connection.drop(str(ended))
        elif push.cmd == pb.error:
            parting = decoding.failure(push.errorMessage)
            self._turned_away(parting)
            connection.drop(str(parting), parting)
        elif push.cmd == pb.goaway:
            connection.retire()
        else:
            self._tell(connection, push)

    def _tell(self, connection: Connection, push: pb.GenericCommand) -> None:
        try:
            told = self.resumption.hear(push)
        except ValueError:
            connection.drop("what the server sent is malformed")
            return
        for event in told:
            self.inbox.put(event)
            if isinstance(event, MessageReceived):
                self._acknowledge(connection, event.message, push.directMessage.convType)
        if push.cmd == pb.unread and push.unreadMessage.HasField("notifTime"):
            self.unread_since = push.unreadMessage.notifTime

    def _acknowledge(self, connection: Connection, message: Message, kind: int) -> None:
        own = message.sender == self.client_id
        if self.inbox.keeps and not message.transient and not own and kind in _ACKNOWLEDGED:
            connection.acknowledge(message.conversation_id, message.timestamp)

    # -- the end ---------------------------------------------------------------------------------------------------

    def _finish(self, error: ClientError) -> None:
        if self._end is not None:
            return
        self._end = error
        if isinstance(error, SessionEnded):
            self.inbox.put(Ended(error.code, error.reason, error.detail))
        self.inbox.end()
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _heard(on_success: Callable[[pb.GenericCommand], None], answer: Answer, reply: pb.GenericCommand) -> None:
    if decoding.refusal(reply) is None and _answers(reply, answer):
        on_success(reply)


def _answers(reply: pb.GenericCommand, answer: Answer) -> bool:
    command, operation = answer
    return reply.cmd == command and operation in (None, reply.op)


def _checked(reply: pb.GenericCommand, answer: Answer) -> pb.GenericCommand:
    refused = decoding.refusal(reply)
    if refused is not None:
        raise refused
    if not _answers(reply, answer):
        raise UnexpectedReply(f"cmd {reply.cmd} op {reply.op} is no answer to what was asked")
    return reply
