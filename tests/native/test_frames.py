from __future__ import annotations

import gc
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame
from websockets.protocol import State
from websockets.uri import parse_uri

from fastim._frames import FrameError, TcpFrames, WebSocketFrames, encode_tcp, encode_websocket
from tests.native.oracle_frames import OracleError, TcpOracle, WebSocketOracle

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
LIMIT_BYTES = 400
KEY = b"\x11\x22\x83\xf4"

T = TypeVar("T")


def client_frame(
    opcode: int, payload: bytes = b"", *, final: bool = True, key: bytes = KEY, masked: bool = True, rsv: int = 0
) -> bytes:
    """One frame as a client sends it, or with one thing wrong."""
    size = len(payload)
    form = size if size < 126 else 126 if size < 65_536 else 127
    extended = {126: struct.pack(">Q", size)[6:], 127: struct.pack(">Q", size)}.get(form, b"")
    head = bytes([final << 7 | rsv << 4 | opcode, masked << 7 | form]) + extended
    if not masked:
        return head + payload
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack(">H", code) + reason


def drain(take: Callable[[], T | None]) -> list[T | int]:
    """All there is to take, ending with the close code if the stream turned out to be broken."""
    taken: list[T | int] = []
    try:
        while (item := take()) is not None:
            taken.append(item)
    except (FrameError, OracleError) as error:
        taken.append(error.close_code)
    return taken


def frames_of(data: bytes, limit_bytes: int = LIMIT_BYTES) -> list[bytes | int]:
    frames = TcpFrames(limit_bytes)
    frames.push(data)
    return drain(frames.next_frame)


def events_of(data: bytes, limit_bytes: int = LIMIT_BYTES) -> list[tuple[int, bytes] | int]:
    frames = WebSocketFrames(limit_bytes)
    frames.push(data)
    return drain(frames.next_event)


@contextmanager
def at_most_allocated(limit_bytes: int) -> Iterator[None]:
    """Fails if the block had more than ``limit_bytes`` allocated at any moment, or kept that."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= limit_bytes


# --- TCP --------------------------------------------------------------------------------------------------------------


def test_a_tcp_frame_is_its_length_and_its_body() -> None:
    assert encode_tcp(b"hello") == b"\0\0\0\x05hello"
    assert encode_tcp(b"") == b"\0\0\0\0"
    assert frames_of(b"\0\0\0\x05hello\0\0\0\0\0\0\0\x01!") == [b"hello", b"", b"!"]


def test_a_tcp_frame_of_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert frames_of(encode_tcp(bytes(10)), limit_bytes=10) == [bytes(10)]
    assert frames_of(encode_tcp(bytes(11)), limit_bytes=10) == [1009]
    assert frames_of(encode_tcp(b"") + encode_tcp(b"x"), limit_bytes=0) == [b"", 1009]


@pytest.mark.parametrize("claimed", [2**31 - 1, 2**31, 2**32 - 1])
def test_a_tcp_header_that_claims_gigabytes_fails_at_once(claimed: int) -> None:
    frames = TcpFrames(6_144)
    frames.push(struct.pack(">I", claimed)[:3])
    assert frames.next_frame() is None
    with at_most_allocated(4_096):
        frames.push(struct.pack(">I", claimed)[3:])
        with pytest.raises(FrameError, match="6144") as caught:
            frames.next_frame()
    assert caught.value.close_code == 1009


def test_a_broken_tcp_stream_stays_broken_and_keeps_nothing() -> None:
    frames = TcpFrames(8)
    frames.push(encode_tcp(b"before") + encode_tcp(b"too long for it"))
    assert drain(frames.next_frame) == [b"before", 1009]
    frames.push(encode_tcp(b"after"))
    assert frames.pending_bytes == 0
    assert drain(frames.next_frame) == [1009]


def test_pushing_again_before_reading_keeps_the_order() -> None:
    frames = TcpFrames(100)
    stream = b"".join(encode_tcp(b"%d" % n * n) for n in range(40))
    for at in range(0, len(stream), 7):
        frames.push(stream[at : at + 7])
    assert frames.pending_bytes == len(stream)
    assert drain(frames.next_frame) == [b"%d" % n * n for n in range(40)]
    assert frames.pending_bytes == 0


def test_what_waits_from_an_earlier_push_comes_first() -> None:
    frames = TcpFrames(100)
    frames.push(encode_tcp(b"first"))
    frames.push(encode_tcp(b"second"))
    assert frames.next_frame() == b"first"
    frames.push(encode_tcp(b"third"))
    assert drain(frames.next_frame) == [b"second", b"third"]


@pytest.mark.parametrize(
    "kind", [bytearray, memoryview, lambda data: memoryview(bytearray(data)), type("B", (bytes,), {})]
)
def test_every_kind_of_buffer_is_accepted(kind: Callable[[bytes], bytes]) -> None:
    tcp, web_socket = TcpFrames(10), WebSocketFrames(10)
    tcp.push(kind(encode_tcp(b"hello")))
    web_socket.push(kind(client_frame(BINARY, b"hello")))
    assert tcp.next_frame() == b"hello"
    assert web_socket.next_event() == (BINARY, b"hello")


def test_a_buffer_may_be_reused_as_soon_as_it_was_pushed() -> None:
    frames = TcpFrames(10)
    buffer = bytearray(encode_tcp(b"hello"))
    frames.push(memoryview(buffer))
    buffer[:] = bytes(20)
    assert frames.next_frame() == b"hello"


def test_pushed_bytes_are_never_written_to() -> None:
    data = client_frame(BINARY, b"hello") + client_frame(PING, b"you")
    copy = bytes(bytearray(data))
    assert events_of(data) == [(BINARY, b"hello"), (PING, b"you")]
    assert data == copy


@pytest.mark.parametrize("reader", [TcpFrames(10), WebSocketFrames(10)])
@pytest.mark.parametrize("data", [None, "text", 5, [1, 2]])
def test_only_buffers_can_be_pushed(reader: TcpFrames | WebSocketFrames, data: bytes) -> None:
    with pytest.raises(TypeError):
        reader.push(data)
    assert reader.pending_bytes == 0


def test_a_buffer_with_gaps_is_refused() -> None:
    with pytest.raises(BufferError):
        TcpFrames(10).push(memoryview(b"abcdef")[::2])


@pytest.mark.parametrize("kind", [TcpFrames, WebSocketFrames])
def test_a_negative_limit_is_refused(kind: type[TcpFrames] | type[WebSocketFrames]) -> None:
    with pytest.raises(ValueError, match="negative"):
        kind(-1)


def test_encoding_takes_bytes_only() -> None:
    for wrong in ("text", None, bytearray(b"x")):
        with pytest.raises(TypeError):
            encode_tcp(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            encode_websocket(BINARY, wrong)  # type: ignore[arg-type]


# --- WebSocket: what passes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 7, 8, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_comes_out_unmasked(opcode: int, size: int) -> None:
    payload = bytes(i % 127 for i in range(size))
    assert events_of(client_frame(opcode, payload), limit_bytes=65_536) == [(opcode, payload)]


def test_fragments_are_joined_and_control_frames_come_between() -> None:
    stream = [
        client_frame(TEXT, "he\u00e9".encode()[:3], final=False),
        client_frame(PING, b"there?"),
        client_frame(CONTINUATION, b"", final=False),
        client_frame(PONG),
        client_frame(CONTINUATION, "he\u00e9".encode()[3:] + b"!"),
        client_frame(BINARY, b"\xff"),
    ]
    assert events_of(b"".join(stream)) == [
        (PING, b"there?"),
        (PONG, b""),
        (TEXT, "he\u00e9!".encode()),
        (BINARY, b"\xff"),
    ]


@pytest.mark.parametrize("fragments", [1, 2, 5])
def test_an_empty_text_may_come_in_fragments(fragments: int) -> None:
    stream = [client_frame(TEXT if n == 0 else CONTINUATION, final=n == fragments - 1) for n in range(fragments)]
    assert events_of(b"".join(stream)) == [(TEXT, b"")]


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999])
def test_a_close_frame_is_the_last_event(code: int) -> None:
    payload = close_payload(code, "bye \u2603".encode())
    frames = WebSocketFrames(LIMIT_BYTES)
    frames.push(client_frame(CLOSE, payload) + b"what follows is not looked at")
    assert frames.next_event() == (CLOSE, payload)
    frames.push(client_frame(BINARY, b"nor this"))
    assert frames.next_event() is None
    assert frames.pending_bytes == 0


def test_a_close_frame_may_be_empty_and_may_cut_a_message() -> None:
    assert events_of(client_frame(TEXT, b"half", final=False) + client_frame(CLOSE)) == [(CLOSE, b"")]


def test_the_longest_control_frame_passes_whatever_the_limit_for_messages() -> None:
    assert events_of(client_frame(PING, bytes(125)), limit_bytes=3) == [(PING, bytes(125))]
    assert events_of(client_frame(TEXT, b"abc", final=False) + client_frame(PING, b"1234"), limit_bytes=3) == [
        (PING, b"1234")
    ]


# --- WebSocket: what does not -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(client_frame(BINARY, b"x", masked=False), id="not masked"),
        pytest.param(client_frame(BINARY, b"x", rsv=4), id="RSV1, as of an extension nobody agreed to"),
        pytest.param(client_frame(BINARY, b"x", rsv=2), id="RSV2"),
        pytest.param(client_frame(PING, b"x", rsv=1), id="RSV3"),
        *(
            pytest.param(client_frame(opcode), id=f"reserved opcode {opcode}")
            for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
        ),
        pytest.param(client_frame(PING, final=False), id="fragmented ping"),
        pytest.param(client_frame(CLOSE, final=False), id="fragmented close"),
        pytest.param(client_frame(PONG, bytes(126)), id="control frame over 125 bytes"),
        pytest.param(b"\x89\xff" + bytes(12), id="control frame with an eight-byte length"),
        pytest.param(b"\x82\xfe\0\x7d", id="two-byte length that fits into seven bits"),
        pytest.param(b"\x82\xff" + struct.pack(">Q", 65_535), id="eight-byte length that fits into two bytes"),
        pytest.param(b"\x82\xff" + struct.pack(">Q", 2**63), id="length with its top bit set"),
        pytest.param(client_frame(CONTINUATION, b"x"), id="continuation of nothing"),
        pytest.param(client_frame(CONTINUATION, b"x", final=False), id="continuation of nothing that goes on"),
        pytest.param(client_frame(CLOSE, b"\x03"), id="close of one byte"),
        *(
            pytest.param(client_frame(CLOSE, close_payload(code)), id=f"close code {code}")
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535)
        ),
    ],
)
def test_breaking_the_protocol_is_1002(broken: bytes) -> None:
    good = client_frame(TEXT, b"good")
    assert events_of(good + broken) == [(TEXT, b"good"), 1002]
    started = client_frame(TEXT, b"not ended", final=False)
    if broken[0] & 0x0F != CONTINUATION:
        assert events_of(started + broken) == [1002]


def test_a_new_message_before_the_last_one_is_finished_is_1002() -> None:
    assert events_of(client_frame(TEXT, b"a", final=False) + client_frame(TEXT, b"b")) == [1002]
    assert events_of(client_frame(BINARY, b"a", final=False) + client_frame(BINARY, b"b", final=False)) == [1002]
    finished = client_frame(TEXT, b"a", final=False) + client_frame(CONTINUATION, b"b")
    assert events_of(finished + client_frame(CONTINUATION, b"c")) == [(TEXT, b"ab"), 1002]


BAD_UTF8 = [
    b"\x80",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited",
    b"\xe2\x98",
    b"\xc3(",
    b"seven b\xc3sixteen bytes on",
]


@pytest.mark.parametrize("text", BAD_UTF8)
def test_text_that_is_not_utf8_is_1007(text: bytes) -> None:
    assert events_of(client_frame(TEXT, text)) == [1007]
    assert events_of(client_frame(CLOSE, close_payload(1000, text))) == [1007]
    assert events_of(client_frame(BINARY, text)) == [(BINARY, text)]
    fragments = [client_frame(CONTINUATION, text[i : i + 1], final=i == len(text) - 1) for i in range(len(text))]
    assert events_of(client_frame(TEXT, final=False) + b"".join(fragments)) == [1007]


def test_a_wrong_byte_of_text_is_noticed_when_it_comes() -> None:
    frames = WebSocketFrames(LIMIT_BYTES)
    wire = client_frame(TEXT, b"\xce\xba\xed" + b"\xa0" + b"fifty more bytes", final=False)
    wrong_at = 2 + 4 + 3
    frames.push(wire[:wrong_at])
    assert frames.next_event() is None
    frames.push(wire[wrong_at : wrong_at + 1])
    assert drain(frames.next_event) == [1007]


def test_the_limit_is_for_the_sum_of_the_fragments() -> None:
    first, second = client_frame(BINARY, bytes(6), final=False), client_frame(CONTINUATION, bytes(4))
    assert events_of(first + second, limit_bytes=10) == [(BINARY, bytes(10))]
    assert events_of(first + second, limit_bytes=9) == [1009]
    assert events_of((first + second) * 2, limit_bytes=10) == [(BINARY, bytes(10))] * 2
    assert events_of(client_frame(BINARY, bytes(11)), limit_bytes=10) == [1009]


@pytest.mark.parametrize("claimed", [401, 65_536, 2**31, 2**32, 2**63 - 1])
def test_a_websocket_header_that_claims_too_much_fails_at_once(claimed: int) -> None:
    header = b"\x82" + (
        b"\xfe" + struct.pack(">H", claimed) if claimed < 65_536 else b"\xff" + struct.pack(">Q", claimed)
    )
    frames = WebSocketFrames(LIMIT_BYTES)
    frames.push(header[:-1])
    assert frames.next_event() is None
    with at_most_allocated(4_096):
        frames.push(header[-1:])
        assert drain(frames.next_event) == [1009]


def test_a_broken_websocket_stream_stays_broken_and_keeps_nothing() -> None:
    frames = WebSocketFrames(LIMIT_BYTES)
    frames.push(client_frame(TEXT, b"held", final=False) + client_frame(TEXT) + b"more")
    for _ in range(3):
        with pytest.raises(FrameError, match="new message") as caught:
            frames.next_event()
        assert caught.value.close_code == 1002
        frames.push(client_frame(BINARY, b"after"))
        assert frames.pending_bytes == 0


# --- Memory -----------------------------------------------------------------------------------------------------------


def kept_bytes(push: Callable[[bytes], None], take: Callable[[], object], pieces: Sequence[bytes]) -> int:
    """How many bytes stay allocated once all pieces went in and everything was taken out after each."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for piece in pieces:
            push(piece)
            while take() is not None:
                pass
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


@pytest.mark.parametrize("cut", [b"", b"\0\0", b"\0\0\0\1"])
def test_an_idle_tcp_reader_is_small_and_holds_no_buffer(cut: bytes) -> None:
    frames = TcpFrames(65_536)
    data = encode_tcp(bytes(5_000)) * 3 + cut
    references = sys.getrefcount(data)
    assert kept_bytes(frames.push, frames.next_frame, [data]) < 256
    assert sys.getrefcount(data) == references
    assert frames.pending_bytes == len(cut)
    assert sys.getsizeof(frames) <= 150
    assert not gc.is_tracked(frames)


@pytest.mark.parametrize("cut", [b"", b"\x82", b"\x82\x81\0\0\0\0"])
def test_an_idle_websocket_reader_is_small_and_holds_no_buffer(cut: bytes) -> None:
    frames = WebSocketFrames(65_536)
    fragments = client_frame(TEXT, b"a", final=False) + client_frame(CONTINUATION, bytes(999))
    data = client_frame(BINARY, bytes(5_000)) + client_frame(PING, bytes(125)) + fragments + cut
    references = sys.getrefcount(data)
    assert kept_bytes(frames.push, frames.next_event, [data]) < 256
    assert sys.getrefcount(data) == references
    assert frames.pending_bytes <= len(cut)
    assert sys.getsizeof(frames) <= 150
    assert not gc.is_tracked(frames)


@pytest.mark.parametrize("came", [1, 100, 3_000])
@pytest.mark.parametrize("at_once", [True, False])
def test_memory_grows_with_what_came_not_with_what_was_promised(came: int, at_once: bool) -> None:
    promised = 65_536
    tcp, whole, fragmented = TcpFrames(promised), WebSocketFrames(promised), WebSocketFrames(promised)
    readers: list[tuple[Callable[[bytes], None], Callable[[], object], bytes]] = [
        (tcp.push, tcp.next_frame, encode_tcp(bytes(promised))),
        (whole.push, whole.next_event, client_frame(BINARY, bytes(promised))),
        (fragmented.push, fragmented.next_event, client_frame(BINARY, bytes(promised), final=False)),
    ]
    for push, take, wire in readers:
        start = wire[: len(wire) - promised + came]
        pieces = [start] if at_once else [start[at : at + 1] for at in range(len(start))]
        held = kept_bytes(push, take, pieces)
        assert came <= held <= 2 * came + 256


def test_a_reader_that_was_read_to_the_end_holds_at_most_one_frame() -> None:
    tcp, web_socket = TcpFrames(LIMIT_BYTES), WebSocketFrames(LIMIT_BYTES)
    tcp_wire = encode_tcp(bytes(LIMIT_BYTES)) * 3
    websocket_wire = (
        client_frame(BINARY, bytes(LIMIT_BYTES), final=False)
        + client_frame(PING, bytes(125))
        + client_frame(CONTINUATION)
    ) * 3
    for at in range(0, len(tcp_wire), 3):
        tcp.push(tcp_wire[at : at + 3])
        drain(tcp.next_frame)
        assert tcp.pending_bytes < 4 + LIMIT_BYTES
    for at in range(0, len(websocket_wire), 3):
        web_socket.push(websocket_wire[at : at + 3])
        drain(web_socket.next_event)
        assert web_socket.pending_bytes < 14 + 125 + LIMIT_BYTES


TINY_FRAGMENTS = client_frame(BINARY, final=False) + client_frame(CONTINUATION, b"x", final=False) * 4_095


@pytest.mark.parametrize(
    ("reader", "wire"),
    [
        pytest.param(TcpFrames(4_096), encode_tcp(bytes(4_096)), id="tcp"),
        pytest.param(WebSocketFrames(4_096), client_frame(BINARY, bytes(4_096)), id="websocket"),
        pytest.param(WebSocketFrames(4_096), TINY_FRAGMENTS, id="fragments of one byte"),
    ],
)
def test_memory_grows_in_few_steps_however_small_the_pieces(reader: TcpFrames | WebSocketFrames, wire: bytes) -> None:
    take: Callable[[], object] = reader.next_frame if isinstance(reader, TcpFrames) else reader.next_event
    pieces = [wire[at : at + 1] for at in range(len(wire) - 1)]
    steps = 0
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for piece in pieces:
            reader.push(piece)
            assert take() is None
            after, _ = tracemalloc.get_traced_memory()
            steps += after != before
            before = after
    finally:
        tracemalloc.stop()
    assert 1 < steps <= 50  # doubling takes 13, and a few are the interpreter's


def test_many_frames_in_one_read_cost_what_they_weigh() -> None:
    # Moving the rest down after every frame would copy 2.5 terabytes and run into the suite's timeout.
    frames = TcpFrames(10)
    frames.push(encode_tcp(b"x") * 1_000_000)
    for _ in range(1_000_000):
        assert frames.next_frame() == b"x"
    assert frames.pending_bytes == 0


# --- However the bytes are cut ----------------------------------------------------------------------------------------

keys = st.binary(min_size=4, max_size=4)
payloads = st.binary(max_size=40) | st.sampled_from([125, 126, 127, 300, LIMIT_BYTES, LIMIT_BYTES + 1]).map(bytes)
texts = st.text(max_size=12).map(str.encode) | st.sampled_from(BAD_UTF8)
closes = st.builds(close_payload, st.sampled_from([1000, 1005, 1008, 2999, 3000, 4109, 5000]), texts)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message in any number of fragments, with control frames between them."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(texts if opcode == TEXT else payloads)
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    frames: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True):
        first, last = not frames, len(frames) == len(cuts)
        fragment = client_frame(opcode if first else CONTINUATION, payload[start:end], final=last, key=draw(keys))
        frames.append(fragment + draw(st.just(b"") | controls))
    return b"".join(frames)


# Headers that make sense up to a point, so that random bytes get further than their first two.
random_heads = st.builds(
    lambda first, second, more: bytes([first, second]) + more,
    st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A]),
    st.integers(0x80, 0x88) | st.sampled_from([0xFD, 0xFE, 0xFF]),
    st.binary(max_size=16),
)
garbage = st.binary(max_size=20) | random_heads
controls = st.builds(client_frame, st.sampled_from([PING, PONG]), st.binary(max_size=5))
close_frames = closes.map(lambda payload: client_frame(CLOSE, payload)) | st.just(client_frame(CLOSE, b"!"))


@st.composite
def websocket_streams(draw: st.DrawFn) -> bytes:
    """What a client may send, what it may not, and at times one byte of it changed."""
    often = messages()
    wire = b"".join(draw(st.lists(often | often | often | controls | close_frames | garbage, max_size=6)))
    if wire and draw(st.booleans()):
        at = draw(st.integers(0, len(wire) - 1))
        wire = wire[:at] + bytes([wire[at] ^ draw(st.integers(1, 255))]) + wire[at + 1 :]
    return wire


tcp_streams = st.lists(payloads.map(encode_tcp) | payloads.map(encode_tcp) | st.binary(max_size=6), max_size=8).map(
    b"".join
)


@st.composite
def cut(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> list[bytes]:
    """A stream in pieces: a few of any size, or every byte by itself."""
    wire = draw(streams)
    cuts = st.lists(st.integers(0, len(wire)), max_size=8).map(sorted) | st.just(list(range(len(wire))))
    ends = draw(cuts)
    return [wire[start:end] for start, end in zip([0, *ends], [*ends, len(wire)], strict=True)]


@given(cut(tcp_streams))
def test_however_the_bytes_are_cut_the_same_tcp_frames_come_out(pieces: list[bytes]) -> None:
    native, oracle = TcpFrames(LIMIT_BYTES), TcpOracle(LIMIT_BYTES)
    together: list[bytes | int] = []
    for piece in pieces:
        native.push(piece)
        oracle.push(piece)
        taken = drain(native.next_frame)
        assert taken == drain(oracle.next_frame)
        assert native.pending_bytes == oracle.pending_bytes
        together += taken
    assert without_repeats(together) == frames_of(b"".join(pieces))


@pytest.mark.slow
@given(cut(websocket_streams()))
def test_however_the_bytes_are_cut_the_same_websocket_events_come_out(pieces: list[bytes]) -> None:
    native, oracle = WebSocketFrames(LIMIT_BYTES), WebSocketOracle(LIMIT_BYTES)
    together: list[tuple[int, bytes] | int] = []
    for piece in pieces:
        native.push(piece)
        oracle.push(piece)
        taken = drain(native.next_event)
        assert taken == drain(oracle.next_event)
        together += taken
    assert without_repeats(together) == events_of(b"".join(pieces))


def without_repeats(taken: list[T | int]) -> list[T | int]:
    """What was taken up to the first close code: a broken stream tells its code again after every piece."""
    broken_at = next((at for at, item in enumerate(taken) if isinstance(item, int)), len(taken))
    return taken[: broken_at + 1]


class TcpFramesMatchOracle(RuleBasedStateMachine):
    """Pushing and taking in any order, also several pushes before the first take."""

    def __init__(self) -> None:
        super().__init__()
        self.native, self.oracle = TcpFrames(LIMIT_BYTES), TcpOracle(LIMIT_BYTES)
        self.cut_off = b""

    @rule(stream=tcp_streams, keep_back=st.integers(0, 10), mutable=st.booleans())
    def push(self, stream: bytes, keep_back: int, mutable: bool) -> None:
        data = self.cut_off + stream
        end = max(0, len(data) - keep_back)
        self.cut_off = data[end:]
        self.native.push(bytearray(data[:end]) if mutable else data[:end])
        self.oracle.push(data[:end])

    @rule()
    def take(self) -> None:
        assert take_one(self.native.next_frame) == take_one(self.oracle.next_frame)

    @rule()
    def take_all(self) -> None:
        assert drain(self.native.next_frame) == drain(self.oracle.next_frame)

    @invariant()
    def counts_the_same_bytes(self) -> None:
        assert self.native.pending_bytes == self.oracle.pending_bytes


class WebSocketFramesMatchOracle(RuleBasedStateMachine):
    """Pushing and taking in any order, also several pushes before the first take."""

    def __init__(self) -> None:
        super().__init__()
        self.native, self.oracle = WebSocketFrames(LIMIT_BYTES), WebSocketOracle(LIMIT_BYTES)
        self.cut_off = b""
        self.pushed_bytes = 0

    @rule(stream=websocket_streams(), keep_back=st.integers(0, 10), mutable=st.booleans())
    def push(self, stream: bytes, keep_back: int, mutable: bool) -> None:
        data = self.cut_off + stream
        end = max(0, len(data) - keep_back)
        self.cut_off = data[end:]
        self.native.push(bytearray(data[:end]) if mutable else data[:end])
        self.oracle.push(data[:end])
        self.pushed_bytes += end

    @rule()
    def take(self) -> None:
        assert take_one(self.native.next_event) == take_one(self.oracle.next_event)

    @rule()
    def take_all(self) -> None:
        assert drain(self.native.next_event) == drain(self.oracle.next_event)
        assert self.native.pending_bytes < 14 + 125 + LIMIT_BYTES

    @invariant()
    def holds_no_more_than_it_was_given(self) -> None:
        assert 0 <= self.native.pending_bytes <= self.pushed_bytes


def take_one(take: Callable[[], T | None]) -> T | int | None:
    try:
        return take()
    except (FrameError, OracleError) as error:
        return error.close_code


TestTcpFramesMatchOracle = pytest.mark.slow(TcpFramesMatchOracle.TestCase)
TestWebSocketFramesMatchOracle = pytest.mark.slow(WebSocketFramesMatchOracle.TestCase)


@given(st.binary(max_size=600))
def test_any_bytes_at_all_give_what_the_oracle_says(data: bytes) -> None:
    tcp, web_socket = TcpOracle(LIMIT_BYTES), WebSocketOracle(LIMIT_BYTES)
    tcp.push(data)
    web_socket.push(data)
    assert frames_of(data) == drain(tcp.next_frame)
    assert events_of(data) == drain(web_socket.next_event)


@given(data=st.binary(max_size=40), pad=st.integers(0, 9))
@example(data="\U0010ffff\ud7ff".encode(), pad=0)
def test_text_is_accepted_exactly_when_python_decodes_it(data: bytes, pad: int) -> None:
    text = b"." * pad + data
    try:
        text.decode()
    except UnicodeDecodeError:
        assert events_of(client_frame(TEXT, text)) == [1007]
    else:
        assert events_of(client_frame(TEXT, text)) == [(TEXT, text)]


# --- Against the websockets package -----------------------------------------------------------------------------------


def websockets_client() -> ClientProtocol:
    return ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN)


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[int, list[bytes]]]:
    """Messages as lists of fragments, and control frames as a list of one."""
    text = st.tuples(st.just(TEXT), st.lists(st.text(max_size=30).map(str.encode), min_size=1, max_size=4))
    binary = st.tuples(st.just(BINARY), st.lists(payloads, min_size=1, max_size=4))
    control = st.tuples(st.sampled_from([PING, PONG]), st.lists(st.binary(max_size=125), min_size=1, max_size=1))
    return draw(st.lists(text | binary | control, max_size=6))


@pytest.mark.slow
@given(conversations(), st.integers(1, 50))
def test_what_the_websockets_package_sends_is_understood(said: list[tuple[int, list[bytes]]], piece_bytes: int) -> None:
    client = websockets_client()
    for opcode, fragments in said:
        if opcode == PING:
            client.send_ping(fragments[0])
        elif opcode == PONG:
            client.send_pong(fragments[0])
        else:
            send = client.send_text if opcode == TEXT else client.send_binary
            send(fragments[0], fin=len(fragments) == 1)
            for at, fragment in enumerate(fragments[1:], start=2):
                client.send_continuation(fragment, fin=at == len(fragments))
    client.send_close(1000, "done")
    wire = b"".join(client.data_to_send())

    frames = WebSocketFrames(10 * LIMIT_BYTES)
    heard: list[tuple[int, bytes] | int] = []
    for at in range(0, len(wire), piece_bytes):
        frames.push(wire[at : at + piece_bytes])
        heard += drain(frames.next_event)
    expected = [(opcode, b"".join(fragments)) for opcode, fragments in said]
    assert heard == [*expected, (CLOSE, close_payload(1000, b"done"))]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG])
def test_the_websockets_package_understands_what_is_encoded(opcode: int, size: int) -> None:
    if opcode >= CLOSE and size > 125:
        with pytest.raises(ValueError, match="at most 125"):
            encode_websocket(opcode, bytes(size))
        return
    client = websockets_client()
    client.receive_data(encode_websocket(opcode, bytes(size)))
    [frame] = client.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, frame.data, frame.fin) == (opcode, bytes(size), True)


def test_the_websockets_package_understands_a_close() -> None:
    client = websockets_client()
    client.receive_data(encode_websocket(CLOSE, close_payload(4110, b"not found")))
    [frame] = client.events_received()
    assert isinstance(frame, Frame)
    assert Close.parse(frame.data) == Close(4110, "not found")


@pytest.mark.parametrize(("size", "header"), [(125, "827d"), (126, "827e007e"), (65_536, "827f0000000000010000")])
def test_an_encoded_length_is_in_its_shortest_form(size: int, header: str) -> None:
    assert encode_websocket(BINARY, bytes(size)) == bytes.fromhex(header) + bytes(size)


@pytest.mark.parametrize("opcode", [-1, 0, 3, 7, 11, 16, 0x82])
def test_only_what_starts_a_frame_can_be_encoded(opcode: int) -> None:
    with pytest.raises(ValueError, match="starts no frame"):
        encode_websocket(opcode, b"")
