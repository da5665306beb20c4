"""Dispatch: from a command's bytes to its use case, and from what that returns to the answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from contextlib import nullcontext
from typing import Any

import structlog
from msgspec import Struct

from fastim.core import commands
from fastim.core.application import Application
from fastim.core.commands import Command
from fastim.core.errors import (
    AppNotAvailable,
    Closure,
    CodedError,
    InternalError,
    LoginTimeout,
    SessionConflict,
    SessionRequired,
    WireError,
)
from fastim.core.permission import RULES, Who
from fastim.core.quota import Quota, quota_of
from fastim.core.replies import Echoed, LoggedIn, Reply
from fastim.core.session import Ending, OfflineMode, Session
from fastim.ports.store import Arrival
from fastim.ports.users import Users
from fastim.runtime.connection import NOBODY, Connection
from fastim.runtime.delivery import Delivery
from fastim.runtime.hooks import LocalHooks
from fastim.runtime.ingress import LocalIngress
from fastim.runtime.lanes import LocalLanes
from fastim.runtime.latencies import Latencies
from fastim.runtime.outbox import Outbox
from fastim.runtime.presence import Presence
from fastim.runtime.quotas import Quotas
from fastim.runtime.room_logs import RoomLogs
from fastim.runtime.service_hook import ServiceHook
from fastim.runtime.steps import Stepped
from fastim.runtime.story import Stories
from fastim.runtime.words import LocalWords
from fastim.service import (
    broadcasts,
    conversations,
    governance,
    members,
    messages,
    notifications,
    offline,
    patches,
    receipts,
    rooms,
    sessions,
    unread,
    wills,
)
from fastim.service.io import Io
from fastim.wire import codec
from fastim.wire.codec import Request

_log = structlog.get_logger(__name__)

UseCase = Callable[[Io, Session, Any], Awaitable[Reply | None]]

USE_CASES: dict[type[Command], UseCase] = {
    commands.RefreshToken: sessions.refresh_token,
    commands.CloseSession: sessions.close_session,
    commands.QueryOnline: sessions.query_online,
    commands.ReportDevice: sessions.report_device,
    commands.StartConversation: conversations.start_conversation,
    commands.QueryConversations: conversations.query_conversations,
    commands.UpdateConversation: conversations.update_conversation,
    commands.MuteConversation: conversations.mute_conversation,
    commands.CountMembers: conversations.count_members,
    commands.CheckMembership: conversations.check_membership,
    commands.AddMembers: members.add_members,
    commands.RemoveMembers: members.remove_members,
    commands.Send: messages.send_message,
    commands.ReadHistory: messages.read_history,
    commands.PatchMessage: patches.patch_message,
    commands.Acknowledge: receipts.acknowledge,
    commands.QueryReceipts: receipts.query_receipts,
    commands.MarkRead: unread.mark_read,
    commands.ListOccupants: rooms.list_occupants,
    commands.SetRole: governance.set_role,
    commands.ListRoles: governance.list_roles,
    commands.ChangeSilence: governance.change_silence,
    commands.ListSilenced: governance.list_silenced,
    commands.CheckSilenced: governance.check_silenced,
    commands.ChangeBlocks: governance.change_blocks,
    commands.ListBlocked: governance.list_blocked,
    commands.CheckBlocked: governance.check_blocked,
    commands.RefuseConversations: governance.refuse_conversations,
    commands.ListRefused: governance.list_refused,
    commands.CheckRefused: governance.check_refused,
    commands.QueryNotices: notifications.query_notices,
    commands.Watch: sessions.watch_clients,
    commands.Unwatch: sessions.unwatch_clients,
}
"""What a session can ask for."""


LARGE_ANSWERS = (commands.ReadHistory, commands.QueryConversations, commands.QueryNotices, commands.ListRoles)
"""Commands whose answers may be megabytes: one at a time for each connection, so many for all of them."""
LARGE_ANSWERS_MAX = 16
SEARCHES_MAX = 4
"""Of these, so many that look through a history for one type of message: that may take as long as there is history."""


STEPPED = (commands.Send, commands.Acknowledge)
"""Commands that come with every message: they do without a task. What they do never asks which task it runs in."""


class Tenant(Struct, frozen=True, eq=False):
    """One application as it runs on this node.

    Attributes:
        logs: Those of the rooms that ``io`` has.
        ingress: The same that ``io`` has, as are the words.
        hooks: The same that ``io`` has.
        services: Tells a back end what clients write to services.
        outbox: The same that ``io`` has as its pusher.
        users: Who knows its users; ``None`` when nobody does.
        stories: The same that ``io`` has; ``None``: no message is remembered.
    """

    application: Application
    io: Io
    presence: Presence
    delivery: Delivery
    logs: RoomLogs
    ingress: LocalIngress
    words: LocalWords
    hooks: LocalHooks
    services: ServiceHook
    outbox: Outbox
    users: Users | None = None
    stories: Stories | None = None


class Dispatcher:
    """Starts commands in the order in which they arrive; fulfils ``Receiver``.

    Args:
        quotas: ``None``: nobody can ask for too much.

    Attributes:
        tenants: The applications of this node, by id.
        stopping: Whether sessions end because the server does: their clients will be back.
        commands: Commands received, by type.
        refusals: Commands refused, by code.
        acks: From when a message has been read until its ack is queued, which is when it is on disk.
    """

    def __init__(self, quotas: Quotas | None = None) -> None:
        self._quotas = quotas
        self.tenants: dict[str, Tenant] = {}
        self.stopping = False
        self.commands: dict[str, int] = {}
        self.refusals: dict[int, int] = {}
        self.acks = Latencies(time.monotonic)
        self._running: set[asyncio.Task[None]] = set()
        self._unbegun = 0
        self._stepping = 0
        self._done: list[Connection] = []
        self._all_stepped = asyncio.Event()
        self._reading = LocalLanes()
        self._large_answers = asyncio.Semaphore(LARGE_ANSWERS_MAX)
        self._searches = asyncio.Semaphore(SEARCHES_MAX)

    def add(self, tenant: Tenant) -> None:
        """Serve one more application."""
        self.tenants[tenant.application.id] = tenant
        tenant.delivery.ended = lambda session, ending: self._end(tenant, session, ending)

    def fire_orphans(self) -> None:
        """Send the wills of sessions of an earlier run whose devices did not come back."""
        if not self.stopping:
            for tenant in self.tenants.values():
                self._start(wills.fire_orphans(tenant.io))

    def start(self, connection: Connection, body: bytes) -> None:
        try:
            request = codec.decode(body)
        except WireError as error:
            self._count_refusal(error)
            connection.close(error)
            return
        name = type(request.command).__name__
        self.commands[name] = self.commands.get(name, 0) + 1
        if not connection.link.sessions and RULES[type(request.command)].who is not Who.ANYBODY:
            self._refuse_stranger(connection, request)
            return
        match request.command:
            case commands.Echo():
                connection.send(codec.encode_reply(Echoed(), request.serial, None))
            case commands.Acknowledge() if not connection.link.sessions:
                pass
            case commands.Login(installation_id, service):
                connection.send(codec.encode_reply(LoggedIn(installation_id, service), request.serial, None))
            # What comes later must not overtake a task that has not begun.
            case command if isinstance(command, STEPPED) and not self._unbegun:
                self._step(connection, self._answer(connection, request))
            case _:
                self._run(connection, self._answer(connection, request))

    def _refuse_stranger(self, connection: Connection, request: Request) -> None:
        """Whoever has no session is told so, and sent away when it goes on and on."""
        self._refuse(connection, request, SessionRequired(), request.client_id)
        if not self._spend(_stranger(connection), Quota.OPERATIONS):
            connection.close(LoginTimeout())

    def drained(self, connection: Connection) -> None:
        """Tell the sessions that were behind what they have not read: the store is the queue.

        Who is not told unread counts has to come back to notice that something is missing.
        """
        tenant = self._tenant_of(connection)
        behind, connection.behind = connection.behind, NOBODY
        if connection.link.offline_mode is not OfflineMode.UNREAD:
            connection.shut()
            return
        for client_id in behind:
            session = connection.link.sessions.get(client_id)
            if tenant is not None and session is not None:
                self._run(connection, unread.tell_all_unread(tenant.io, session))

    def lost(self, connection: Connection) -> None:
        if self._quotas is not None:
            self._quotas.forget(_stranger(connection))
        tenant = self._tenant_of(connection)
        if tenant is not None:
            for attached in list(tenant.presence.on(connection)):
                tenant.presence.leave(attached.session)
                self._end(tenant, attached.session, Ending.LOST, connection.closure)

    async def finish(self) -> None:
        """Wait for everything that is under way."""
        while self._running or self._stepping:
            if self._stepping:
                self._all_stepped.clear()
                await self._all_stepped.wait()
            else:
                await asyncio.wait(self._running)

    def _end(self, tenant: Tenant, session: Session, ending: Ending, closure: Closure | None = None) -> None:
        """Do what is to be done when a session ends that its client did not close."""
        if not self.stopping:
            self._start(sessions.end_session(tenant.io, session, ending, closure))

    def _run(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        connection.began()
        self._start(work).add_done_callback(lambda task: connection.finished())

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        self._unbegun += 1
        loop.call_soon(self._begun)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _begun(self) -> None:
        """The task that was made before this was called for has taken its first step."""
        self._unbegun -= 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a command failed", exc_info=error)

    def _step(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        connection.began()
        self._stepping += 1
        Stepped(work, connection, self._stepped).go_on()

    def _stepped(self, connection: Connection, error: Exception | None) -> None:
        if error is not None:
            _log.error("a command failed", exc_info=error)
        # In the next turn only: or all that one read brought would be done in this one, however much it is.
        if not self._done:
            asyncio.get_running_loop().call_soon(self._release)
        self._done.append(connection)
        self._stepping -= 1
        if not self._stepping:
            self._all_stepped.set()

    def _release(self) -> None:
        """The connections whose commands are done may go on reading."""
        done, self._done = self._done, []
        for connection in done:
            connection.finished()

    async def _answer(self, connection: Connection, request: Request) -> None:
        """Do what is asked and reply to it, whatever comes of it."""
        client_id = request.client_id
        try:
            if isinstance(request.command, commands.OpenSession):
                await self._open(connection, request, request.command)
                return
            tenant, session = self._addressee(connection, request)
            client_id = session.client_id
            self._charge(tenant, client_id, request.command)
            use_case = USE_CASES.get(type(request.command))
            if use_case is None:
                raise InternalError(_describe(request.command))
            if isinstance(request.command, commands.Send):
                begun = self.acks.begin()
                self._reply(connection, request, client_id, await use_case(tenant.io, session, request.command))
                self.acks.end(begun)
                return
            if not isinstance(request.command, LARGE_ANSWERS):
                self._reply(connection, request, client_id, await use_case(tenant.io, session, request.command))
                return
            async with self._reading.hold(connection):
                await connection.ready()  # or two of them, asked for in one go, would be more than may pile up
                searches = self._searches if _is_search(request.command) else nullcontext()
                async with searches, self._large_answers:
                    if not connection.lost:
                        self._reply(connection, request, client_id, await use_case(tenant.io, session, request.command))
        except CodedError as error:
            self._refuse(connection, request, error, client_id)
        except Exception:
            _log.exception("a command failed", command=type(request.command).__name__)
            self._refuse(connection, request, InternalError(), client_id)

    def _reply(self, connection: Connection, request: Request, client_id: str, reply: Reply | None) -> None:
        if reply is not None:
            connection.send(codec.encode_reply(reply, request.serial, client_id))

    async def _open(self, connection: Connection, request: Request, command: commands.OpenSession) -> None:
        tenant = self.tenants.get(request.application_id or "")
        if tenant is None:
            raise AppNotAvailable
        connection.link.join(tenant.application)
        self._require_opening(tenant, connection, request.client_id)
        number = tenant.presence.reserve(connection)
        opening = sessions.Opening(number, request.client_id, connection.link.offline_mode, command, connection.address)
        try:
            session, opened, arrival = await sessions.open_session(tenant.io, opening)
        except CodedError:
            self._spend(_stranger(connection), Quota.OPERATIONS)
            raise
        finally:
            tenant.presence.release(number)
        for one in ((tenant.application.number, session.client_id), _stranger(connection)):
            self._spend(one, Quota.OPERATIONS)
        if len(connection.link.sessions) > 1:
            for attached in tenant.presence.on(connection):
                tenant.logs.name(attached.session)
        connection.send(codec.encode_reply(opened, request.serial, session.client_id))
        await self._welcome(tenant.io, session, command, arrival)

    async def _welcome(self, io: Io, session: Session, command: commands.OpenSession, arrival: Arrival) -> None:
        """Tell a session what it missed, in the order that SDKs expect. Source: wire protocol, after ``opened``."""
        try:
            await unread.tell_unread(io, session, command.unread_since)
            await offline.push_missed(io, session)
            await broadcasts.deliver_broadcasts(io, session, arrival)
            await rooms.replay_missed(io, session)
            if command.patched_since:
                await patches.replay_patches(io, session, command.patched_since)
        finally:
            io.rooms.release(session)  # or a session that one of these failed for would hear nothing of its room

    def _addressee(self, connection: Connection, request: Request) -> tuple[Tenant, Session]:
        """Whose command it is. What its client may do is decided in ``fastim.core.permission``."""
        session = connection.link.session(request.client_id)
        tenant = self._tenant_of(connection)
        if tenant is None or request.application_id not in (None, "", tenant.application.id):
            raise AppNotAvailable
        return tenant, session

    def _charge(self, tenant: Tenant, client_id: str, command: Command) -> None:
        """Take ``command`` out of its quota; raises when that is used up."""
        quota = quota_of(command)
        if quota is not None and not self._spend((tenant.application.number, client_id), quota):
            raise quota.refusal

    def _require_opening(self, tenant: Tenant, connection: Connection, client_id: str | None) -> None:
        """Raise when one more opening is too much.

        One that fails is the connection's: nobody may use up the quota of a client as whom they cannot come in.
        """
        client = (tenant.application.number, client_id)
        if self._quotas is not None and not all(
            self._quotas.allows(one, Quota.OPERATIONS) for one in (_stranger(connection), client)
        ):
            raise Quota.OPERATIONS.refusal

    def _spend(self, who: Hashable, quota: Quota) -> bool:
        return self._quotas is None or self._quotas.spend(who, quota)

    def _refuse(self, connection: Connection, request: Request, error: CodedError, client_id: str | None) -> None:
        self._count_refusal(error)
        opening = isinstance(request.command, commands.OpenSession)
        if request.serial is not None or (opening and not isinstance(error, SessionConflict)):
            connection.send(codec.encode_error(request, error, client_id))
        elif opening and client_id:
            # Java reopens with a token and without a serial; it learns of the conflict as of any other eviction.
            connection.send(codec.encode_eviction(error), codec.recipient(client_id))

    def _count_refusal(self, error: CodedError) -> None:
        self.refusals[error.code] = self.refusals.get(error.code, 0) + 1

    def _tenant_of(self, connection: Connection) -> Tenant | None:
        application = connection.link.application
        return None if application is None else self.tenants.get(application.id)


def _stranger(connection: Connection) -> Hashable:
    """The name under which a connection has a quota of its own."""
    return "connection", id(connection)


def _is_search(command: Command) -> bool:
    return isinstance(command, commands.ReadHistory) and command.message_type is not None


def _describe(command: Command) -> str:
    return f"not known here: {command.name}" if isinstance(command, commands.Unknown) else "not available"
