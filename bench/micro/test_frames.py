"""Frames of a 128-byte send, the usual size of a command: 1,000 in one read, and 1,000 reads of one."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastim._frames import TcpFrames, WebSocketFrames, encode_tcp, encode_websocket

BODY = bytes(range(128))
FRAMES = 1_000
TCP_FRAME = encode_tcp(BODY)
WEBSOCKET_FRAME = b"\x82\xfe\x00\x80" + b"mask" + bytes(byte ^ b"mask"[i % 4] for i, byte in enumerate(BODY))

many_or_one = pytest.mark.parametrize("frames_per_read", [FRAMES, 1])


@many_or_one
def test_tcp_frames(benchmark: BenchmarkFixture, frames_per_read: int) -> None:
    def read() -> int:
        frames = TcpFrames(6_144)
        count = 0
        for _ in range(FRAMES // frames_per_read):
            frames.push(data)
            while frames.next_frame() is not None:
                count += 1
        return count

    data = TCP_FRAME * frames_per_read
    assert benchmark(read) == FRAMES


@many_or_one
def test_websocket_frames(benchmark: BenchmarkFixture, frames_per_read: int) -> None:
    def read() -> int:
        frames = WebSocketFrames(6_144)
        count = 0
        for _ in range(FRAMES // frames_per_read):
            frames.push(data)
            while frames.next_event() is not None:
                count += 1
        return count

    data = WEBSOCKET_FRAME * frames_per_read
    assert benchmark(read) == FRAMES


def test_unmasking_a_large_message(benchmark: BenchmarkFixture) -> None:
    size = 1_000_000
    wire = b"\x82\xff" + size.to_bytes(8, "big") + b"mask" + bytes(size)

    def read() -> tuple[int, bytes] | None:
        frames = WebSocketFrames(size)
        frames.push(wire)
        return frames.next_event()

    event = benchmark(read)
    assert event is not None
    assert event[1] == b"mask" * (size // 4)


def test_encode_tcp(benchmark: BenchmarkFixture) -> None:
    assert benchmark(encode_tcp, BODY) == TCP_FRAME


def test_encode_websocket(benchmark: BenchmarkFixture) -> None:
    assert benchmark(encode_websocket, 2, BODY)[-128:] == BODY
