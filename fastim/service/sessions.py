"""Sessions: open, refresh, close, lose, kick, who is online, and who is told of it."""

from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable

from msgspec import Struct

from fastim.core.commands import (
    CloseSession,
    OpenSession,
    QueryOnline,
    RefreshToken,
    ReportDevice,
    Unwatch,
    Watch,
)
from fastim.core.errors import (
    CodedError,
    InvalidLogin,
    SessionConflict,
    SessionRequired,
    SessionTokenExpired,
)
from fastim.core.events import ClientKicked, SessionEvicted
from fastim.core.hooks import ClientOffline, ClientOnline
from fastim.core.ids import is_client_id
from fastim.core.policy import ONLINE_QUERY_MAX
from fastim.core.replies import Closed, DeviceReported, OnlineClients, Opened, Refreshed, Unwatched, Watching
from fastim.core.session import (
    CONFIG_UNSAID,
    DEFAULT_TAG,
    LABEL_MAX_CHARACTERS,
    Config,
    Ending,
    Grant,
    OfflineMode,
    Session,
    in_conflict,
    replaces,
)
from fastim.core.units import Millis
from fastim.ports.store import Arrival
from fastim.service.installations import link_device, unlink_device
from fastim.service.io import Io
from fastim.service.offline import forget_missed
from fastim.service.rooms import come_back, give_up_place, keep_place, lose_place, rename_place
from fastim.service.signatures import required_signature, use
from fastim.service.wills import adopt_will, drop_will, fire_will, opening_lane

TOKEN_ENTROPY_BYTES = 24
GENERATED_ID_ENTROPY_BYTES = 12

_ENDINGS = {
    Ending.CLOSED: "closed by the client",
    Ending.LOST: "connection lost",
    Ending.CONFLICT: "another device has the tag",
    Ending.KICKED: "ended by the application",
}


class Opening(Struct, frozen=True):
    """What is known of a session before it is open.

    Attributes:
        number: The session's number to be.
        client_id: ``None``: one is to be made up.
        address: The IP address that it comes from, or empty.
    """

    number: int
    client_id: str | None
    offline_mode: OfflineMode
    command: OpenSession
    address: str = ""


async def open_session(io: Io, opening: Opening) -> tuple[Session, Opened, Arrival]:
    """Open the session, or reopen it with what its token stands for.

    One client's openings take turns, so of two with one tag exactly one stays. A device that was cut off in a chat room
    is in it again, and what is pushed to the client is pushed to it, if it wants that.
    """
    client_id = opening.client_id
    if client_id is None:
        client_id = io.entropy(GENERATED_ID_ENTROPY_BYTES).hex()
    if not is_client_id(client_id):
        raise InvalidLogin
    if max(len(opening.command.tag), len(opening.command.device)) > LABEL_MAX_CHARACTERS:
        raise InvalidLogin(f"a tag or device has at most {LABEL_MAX_CHARACTERS} characters")
    async with io.lanes.hold(opening_lane(client_id)):
        now = io.clock.now()
        signature = await required_signature(io, client_id, opening.command)
        others = io.directory.sessions(client_id)
        grant = await _grant(io, client_id, opening.command, others, now)
        session = Session(
            number=opening.number,
            client_id=client_id,
            tag=grant.tag,
            device=grant.device,
            config=Config(grant.config),
            offline_mode=opening.offline_mode,
            opened_at=Millis(max(now, await io.store.find_kick(client_id) + 1)),
            address=opening.address,
        )
        rivals = [other for other in others if in_conflict(other, session.tag, session.device)]
        if rivals and opening.command.reconnect:
            raise SessionConflict
        await use(io, signature, opening.command)
        token = opening.command.token or _new_token(io)
        arrival = await io.store.log_in(client_id, token, grant, now)
        await adopt_will(io, session)  # before the session that left it is put out
        stay = await keep_place(io, session)
        for other in others:
            if other in rivals or replaces(other, session.device):
                await io.bus.publish(SessionEvicted(other.number, client_id, silently=other not in rivals))
        io.directory.enter(session)
        _announce(io, session, opening.command)
        if stay is not None:
            await come_back(io, session, others, stay)
        await _end_displaced(io, (*others, session), rivals)
        await link_device(io, session)
        return session, Opened(client_id, token, io.policy.token_ttl_seconds, now), arrival


async def refresh_token(io: Io, session: Session, command: RefreshToken) -> Refreshed:
    """A new token for an open session. Source: wire protocol, session token."""
    async with io.lanes.hold(opening_lane(session.client_id)):
        if session.opened_at <= await io.store.find_kick(session.client_id):
            raise SessionRequired
        await use(io, await required_signature(io, session.client_id, command), command)
        token = _new_token(io)
        expires_at = Millis(io.clock.now() + 1000 * io.policy.token_ttl_seconds)
        grant = Grant(session.tag, session.device, int(session.config), expires_at)
        await io.store.save_grant(session.client_id, token, grant)
        return Refreshed(token, io.policy.token_ttl_seconds)


async def kick_client(io: Io, client_id: str, reason: str) -> None:
    """End every session of the client, and make its tokens and the signatures it holds worthless.

    Args:
        reason: What its sessions are told; empty for the name of the code.

    Raises:
        InvalidLogin: No client can be called that.
    """
    if not is_client_id(client_id):
        raise InvalidLogin
    async with io.lanes.hold(opening_lane(client_id)):
        opened = (session.opened_at for session in io.directory.sessions(client_id))
        at = max((io.clock.now(), *opened))  # the clock may have been set back since
        await io.store.kick(client_id, at)
        await io.bus.publish(ClientKicked(client_id, reason, at))


async def close_session(io: Io, session: Session, command: CloseSession) -> Closed:
    """The client says goodbye. Its tokens stay: an SDK may reopen what its application closed.

    Raises:
        UnbindFailed: The session is closed, but its device may still be pushed what is for the client.
    """
    io.directory.leave(session)
    _announce_end(io, session, Ending.CLOSED, None)
    forget_missed(io, session)
    await give_up_place(io, session)
    await drop_will(io, session)
    await unlink_device(io, session)
    return Closed()


async def end_session(
    io: Io, session: Session, ending: Ending = Ending.LOST, closure: CodedError | None = None
) -> None:
    """The session has ended, however it did, and its client has not closed it: its will is sent.

    When the server stops, no session ends in this way: its client will be back, and no hook is told that it was gone.

    Args:
        closure: What its connection was closed with, if it was the server who did; else ``None``.
    """
    io.directory.leave(session)
    _announce_end(io, session, ending, closure)
    forget_missed(io, session)
    await lose_place(io, session)
    await fire_will(io, session)


async def query_online(io: Io, session: Session, command: QueryOnline) -> OnlineClients:
    """Which clients have an open session. SDKs promise that those beyond the most that may be asked are ignored."""
    return OnlineClients(tuple(io.directory.online(dict.fromkeys(command.client_ids[:ONLINE_QUERY_MAX]))))


async def watch_clients(io: Io, session: Session, command: Watch) -> Watching:
    """Tell the session from now on when these clients come and go, and at once which are there.

    Raises:
        QueryFailed: It would watch too many.
    """
    wanted = tuple(dict.fromkeys(command.client_ids))
    io.directory.watch(session, wanted)
    return Watching(tuple(io.directory.online(wanted)))


async def unwatch_clients(io: Io, session: Session, command: Unwatch) -> Unwatched:
    """Tell it of these no longer."""
    io.directory.unwatch(session, dict.fromkeys(command.client_ids))
    return Unwatched()


async def report_device(io: Io, session: Session, command: ReportDevice) -> DeviceReported:
    """The device goes by another token from now on; one without a name keeps the one it has."""
    if len(command.device) > LABEL_MAX_CHARACTERS:
        raise InvalidLogin(f"a device has at most {LABEL_MAX_CHARACTERS} characters")
    if command.device:
        renamed = session.on_device(command.device)
        io.directory.enter(renamed)
        await rename_place(io, session, renamed)
        await adopt_will(io, renamed)
        await link_device(io, renamed)
    return DeviceReported()


async def _grant(io: Io, client_id: str, command: OpenSession, others: list[Session], now: Millis) -> Grant:
    """What the session is opened with: what the command says, and for the rest what its token stands for.

    A device that does not name itself gets a name, which its token brings back.
    Without a token the device's older session, if it is still open, says what its client can do: C# does not repeat it.
    """
    config = next((other.config for other in others if replaces(other, command.device)), CONFIG_UNSAID)
    known = Grant("", "", int(config), now)
    if command.token:
        found = await io.store.find_grant(client_id, command.token)
        if found is None or found.expires_at <= now:
            raise SessionTokenExpired
        known = found
    return Grant(
        tag=command.tag or known.tag,
        device=command.device or known.device or io.entropy(GENERATED_ID_ENTROPY_BYTES).hex(),
        config=known.config if command.config is None else command.config,
        expires_at=Millis(now + 1000 * io.policy.token_ttl_seconds),
    )


def _announce(io: Io, session: Session, command: OpenSession) -> None:
    """Tell the hook that the client is here, unless its connection was lost before."""
    if not (io.hooks.defines(ClientOnline) or io.hooks.defines(ClientOffline)):
        return
    if all(one.number != session.number for one in io.directory.sessions(session.client_id)):
        return
    io.announced.add(session.number)
    if io.hooks.defines(ClientOnline):
        io.hooks.tell(
            ClientOnline(
                peer_id=session.client_id,
                source_ip=session.address,
                tag=session.tag or DEFAULT_TAG,
                reconnect=int(command.reconnect),
            )
        )


def _announce_end(io: Io, session: Session, ending: Ending, closure: CodedError | None) -> None:
    """Tell the hook that the client is gone, once, however often its session ends."""
    if session.number not in io.announced:
        return
    io.announced.discard(session.number)
    if io.hooks.defines(ClientOffline):
        io.hooks.tell(
            ClientOffline(
                peer_id=session.client_id,
                close_code=ending.value,
                close_message=_ENDINGS[ending],
                tag=session.tag or DEFAULT_TAG,
                source_ip=None if ending is Ending.LOST else session.address,
                error_code=None if closure is None else closure.code,
                error_message=None if closure is None else closure.reason,
            )
        )


async def _end_displaced(io: Io, sessions: Iterable[Session], rivals: Collection[Session]) -> None:
    """End those of ``sessions`` that are not there any more.

    An older one had to make room on a connection that it shared with the one that opened, or the connection of the one
    that opened was lost before it could enter. To end what has ended already is harmless.

    Args:
        rivals: Those that had to go because of their tag.
    """
    for session in sessions:
        if all(one.number != session.number for one in io.directory.sessions(session.client_id)):
            await end_session(io, session, Ending.CONFLICT if session in rivals else Ending.LOST)


def _new_token(io: Io) -> str:
    return urlsafe_b64encode(io.entropy(TOKEN_ENTROPY_BYTES)).decode()
