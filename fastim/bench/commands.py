"""What clients of the load say, and where a frame of it has holes to be filled in."""

from fastim._frames import encode_tcp
from fastim._load import DIGITS, MARKER, Template
from fastim.core.session import Config
from fastim.wire import messages2_pb2 as pb

CONFIG = int(
    Config.PATCHES
    | Config.TEMPORARY_CONVERSATIONS
    | Config.TRANSIENT_ACKS
    | Config.PARTIAL_FAILURE
    | Config.OMIT_PEER_ID
)
"""What current SDKs say."""
HIGH, NORMAL, LOW = 1, 2, 3
HOLE = MARKER + b"0" * DIGITS
_TOKEN_HOLE = b"~" * DIGITS
_SERIAL_HOLE = b"\xaa\xaa\xaa\x2a"
_SERIAL = sum((byte & 127) << 7 * n for n, byte in enumerate(_SERIAL_HOLE))
_LINE = "the quick brown fox jumps over the lazy dog "


def opening(client_id: str, app_id: str, token: str = "") -> pb.GenericCommand:
    """Open a session, or with its token the same one again."""
    session = pb.SessionCommand(ua="fastim-bench/1", deviceId=f"device of {client_id}", configBitmap=CONFIG)
    if token:
        session.st = token
        session.r = True
    return pb.GenericCommand(cmd=pb.session, op=pb.open, appId=app_id, peerId=client_id, sessionMessage=session)


def start(client_id: str, members: list[str], *, room: bool = False) -> pb.GenericCommand:
    """Start a conversation, or a chat room that only the starter is in."""
    conversation = pb.ConvCommand(m=members)
    if room:
        conversation.transient = True
    return pb.GenericCommand(cmd=pb.conv, op=pb.start, peerId=client_id, convMessage=conversation)


def enter(client_id: str, room: str) -> pb.GenericCommand:
    """Enter a chat room."""
    return pb.GenericCommand(
        cmd=pb.conv, op=pb.add, peerId=client_id, convMessage=pb.ConvCommand(cid=room, m=[client_id])
    )


def message(client_id: str, conversation_id: str, body: bytes, priority: int = 0) -> pb.GenericCommand:
    """Send a message that says which one it is, see ``body_of``."""
    direct = pb.DirectCommand(cid=conversation_id, msg=body, dt=_TOKEN_HOLE.decode())
    command = pb.GenericCommand(cmd=pb.direct, peerId=client_id, directMessage=direct)
    if priority:
        command.priority = priority
    return command


def echo() -> pb.GenericCommand:
    """Say that one is still there; it is the connection that says so, whoever is on it."""
    return pb.GenericCommand(cmd=pb.echo)


def page(conversation_id: str, limit: int, before: tuple[int, str] | None) -> pb.GenericCommand:
    """Ask for the page of history before a message, given its time and id; ``None``: for the newest."""
    logs = pb.LogsCommand(cid=conversation_id, limit=limit, direction=pb.LogsCommand.OLD)
    if before is not None:
        logs.t, logs.mid = before
    return pb.GenericCommand(cmd=pb.logs, logsMessage=logs)


def body_of(size_bytes: int) -> bytes:
    """A message's body with room for its ordinal, at least as long as that takes."""
    wanted = max(size_bytes - len(HOLE), 0)
    return HOLE + (_LINE * (wanted // len(_LINE) + 1))[:wanted].encode()


def template(command: pb.GenericCommand, *, websocket: bool) -> Template:
    """The frame of a command, whose serial and, if it is a message, ordinal and token are filled in natively."""
    command.i = _SERIAL
    body = command.SerializeToString()
    frame = _websocket(body) if websocket else encode_tcp(body)
    is_message = command.HasField("directMessage")
    ordinal_at = _only(frame, HOLE) + len(MARKER) if is_message else -1
    token_at = _only(frame, _TOKEN_HOLE) if is_message else -1
    return Template(frame, _only(frame, _SERIAL_HOLE), ordinal_at, token_at)


def _websocket(body: bytes) -> bytes:
    """A client's frame. Its mask is zeros: the server undoes it like any other, and here it costs nothing."""
    size = len(body)
    if size < 126:
        head = bytes((0x82, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x82, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((0x82, 0x80 | 127)) + size.to_bytes(8)
    return head + bytes(4) + body


def _only(frame: bytes, hole: bytes) -> int:
    if frame.count(hole) != 1:
        raise ValueError(f"{hole!r} has to stand in a frame once")
    return frame.index(hole)
