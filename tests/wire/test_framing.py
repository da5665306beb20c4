from base64 import b64decode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from fastim._frames import TcpFrames
from fastim.core.errors import Closure, FrameTooLong, ServerStopping
from fastim.core.session import OfflineMode
from fastim.wire import messages2_pb2 as pb
from fastim.wire.framing import SUBPROTOCOLS, TCP, WEBSOCKET, WEBSOCKET_BASE64, Framing

bodies = st.binary(max_size=300) | st.sampled_from([125, 126, 65_535, 65_536]).map(bytes)
CLOSURES = [kind() for kind in Closure.__subclasses__()]


def tcp_bodies(data: bytes) -> list[bytes]:
    frames = TcpFrames(1_000_000)
    frames.push(data)
    bodies = list(iter(frames.next_frame, None))
    assert frames.pending_bytes == 0
    return bodies


def websocket_frames(data: bytes) -> list[Frame]:
    """As a client of another library reads them."""
    client = ClientProtocol(parse_uri("ws://server"), state=State.OPEN)
    client.receive_data(data)
    return [event for event in client.events_received() if isinstance(event, Frame)]


@given(st.lists(bodies, max_size=5))
def test_over_tcp_commands_come_out_as_they_went_in(commands: list[bytes]) -> None:
    assert tcp_bodies(b"".join(map(TCP.frame, commands))) == commands


@given(st.lists(bodies, max_size=5))
@example([b""])
def test_over_websocket_each_command_is_one_message(commands: list[bytes]) -> None:
    received = websocket_frames(b"".join(map(WEBSOCKET.frame, commands)))
    assert [(frame.opcode, frame.data, frame.fin) for frame in received] == [
        (Opcode.BINARY, command, True) for command in commands
    ]


@given(st.lists(bodies, max_size=5))
def test_in_base64_each_command_is_one_text(commands: list[bytes]) -> None:
    received = websocket_frames(b"".join(map(WEBSOCKET_BASE64.frame, commands)))
    assert all(frame.opcode is Opcode.TEXT for frame in received)
    assert [b64decode(frame.data, validate=True) for frame in received] == commands


@pytest.mark.parametrize("closure", CLOSURES)
def test_the_last_command_over_tcp_says_why(closure: Closure) -> None:
    (body,) = tcp_bodies(TCP.farewell(closure))
    farewell = pb.GenericCommand.FromString(body)
    assert farewell.cmd == pb.error
    assert (farewell.errorMessage.code, farewell.errorMessage.reason) == (closure.code, closure.reason)


@pytest.mark.parametrize("framing", [WEBSOCKET, WEBSOCKET_BASE64])
@pytest.mark.parametrize("closure", CLOSURES)
def test_a_websocket_closes_with_the_code(framing: Framing, closure: Closure) -> None:
    (frame,) = websocket_frames(framing.farewell(closure))
    assert frame.opcode is Opcode.CLOSE
    assert Close.parse(frame.data) == Close(closure.code, closure.reason)


def test_the_reasons_to_close() -> None:
    assert {type(closure) for closure in CLOSURES} >= {FrameTooLong, ServerStopping}


def test_what_each_subprotocol_stands_for() -> None:
    assert {name: (framing.name, mode) for name, (framing, mode) in SUBPROTOCOLS.items()} == {
        "lc.protobuf2.3": ("websocket", OfflineMode.UNREAD),
        "lc.protobuf2.1": ("websocket", OfflineMode.PUSH),
        "lc.proto2base64.3": ("websocket_base64", OfflineMode.UNREAD),
        "lc.proto2base64.1": ("websocket_base64", OfflineMode.PUSH),
    }
