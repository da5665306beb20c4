"""The same bytes to ``fastim._frames`` and to the ``websockets`` package: the same messages, and the same end."""

import asyncio
import codecs
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple, cast

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from fastim._frames import FrameError, WebSocketFrames
from fastim.core.errors import FrameTooLong
from tests.conformance.echo_server import echo_server
from tests.fuzz import effort
from tests.fuzz.streams import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, cut, stream

LIMITS = [*(0, 1, 100), *(400,) * 20, *(70_000,) * 3]
PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1002, 1007, 1009
SOCKET_LIMIT_BYTES = 2_000
FRAMES_PER_STREAM = 5
PATIENCE_SECONDS = 20.0
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: im.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Outcome(NamedTuple):
    """What came out of a stream.

    Attributes:
        code: The close code that ended it; ``None`` while nothing is wrong, or after a close frame, the last event.
    """

    events: list[tuple[int, bytes]]
    code: int | None


class Quirk(Enum):
    """Where ``websockets`` is known to judge differently, and what the RFC has to say."""

    LENGTH_NOT_MINIMAL = "it reads lengths in a longer form than needed; section 5.2 has: MUST be the minimal number"
    LENGTH_TOP_BIT = "it reads lengths of 2^63 and more as such, hence 1009; section 5.2 has: the bit MUST be 0"
    CONTROL_COUNTED = "it counts a control frame towards the limit on messages; to the RFC it is none of them"
    CLOSE_INSIDE_MESSAGE = "it takes a close between fragments for an error; section 5.4 lets control frames in there"


class Departure(NamedTuple):
    """The first frame that is wrong or judged differently, or that closes.

    Attributes:
        before: Events that come before it.
        codes: The close codes that fit what is wrong with it: which of several faults is found first is not fixed.
        end: Where the next frame would begin.
    """

    before: int
    codes: set[int]
    quirk: Quirk | None
    end: int


def test_both_make_the_same_of_the_same_bytes() -> None:
    seen: Counter[str] = Counter()
    for number in effort.numbers(FRAMES_PER_STREAM):
        dice = effort.dice("differential", number)
        limit_bytes = dice.choice(LIMITS)
        # What follows completes any frame that may begin; nobody is left waiting.
        data = stream(dice, limit_bytes) + bytes(limit_bytes + 200)
        ours = read(cut(dice, data), limit_bytes)
        theirs = read_with_websockets(cut(dice, data), limit_bytes)
        if ours != theirs:
            departure = depart(data, limit_bytes)
            assert is_accepted(ours, theirs, departure), (effort.rerun(number), limit_bytes, data, ours, theirs)
            seen[departure.quirk.name if departure.quirk else "several faults"] += 1
        seen[str(ours.code)] += 1
    if effort.FRAMES >= 2_000 and effort.ONLY is None:
        assert all(seen[end] for end in ("None", "1002", "1007", "1009"))
        assert 0 < sum(seen[quirk.name] for quirk in Quirk) < effort.FRAMES / FRAMES_PER_STREAM / 5


def test_how_the_bytes_were_cut_does_not_matter() -> None:
    for number in effort.numbers(FRAMES_PER_STREAM):
        dice = effort.dice("cutting", number)
        limit_bytes = dice.choice(LIMITS)
        data = stream(dice, limit_bytes)
        whole = read([data], limit_bytes)
        assert read(cut(dice, data), limit_bytes) == whole, (effort.rerun(number), data)


@pytest.mark.anyio
async def test_the_door_answers_over_a_socket_as_it_should() -> None:
    async with echo_server(SOCKET_LIMIT_BYTES) as address:
        host, _, port = address.rpartition(":")
        for number in effort.numbers(10 * FRAMES_PER_STREAM):
            dice = effort.dice("echo", number)
            data = stream(dice, SOCKET_LIMIT_BYTES) + bytes(SOCKET_LIMIT_BYTES + 200)
            departure = depart(data, SOCKET_LIMIT_BYTES)
            if departure.quirk or len(departure.codes) > 1:
                continue
            if not departure.codes:
                data = data[: departure.end]  # a close: who goes on sending may find the connection reset
            expected = answers(read_with_websockets([data], SOCKET_LIMIT_BYTES))
            async with asyncio.timeout(PATIENCE_SECONDS):
                answered = await exchange(host, int(port), list(cut(dice, data)))
            # A pong may overtake what was said before its ping; section 5.5.2 has it sent as soon as is practical.
            assert sorted(answered, key=is_pong) == sorted(expected, key=is_pong), (effort.rerun(number), data)


def answers(outcome: Outcome) -> list[tuple[int, bytes]]:
    """What an echo server sends back, of a close frame the code alone."""
    sent = [(PONG if opcode == PING else opcode, payload) for opcode, payload in outcome.events if opcode != PONG]
    if sent and sent[-1][0] == CLOSE:
        sent[-1] = CLOSE, sent[-1][1][:2]
    if outcome.code is not None:
        # SDKs know this one by LeanCloud's code.
        sent.append((CLOSE, (FrameTooLong.code if outcome.code == TOO_BIG else outcome.code).to_bytes(2)))
    return sent


def is_pong(frame: tuple[int, bytes]) -> bool:
    return frame[0] == PONG


async def exchange(host: str, port: int, pieces: list[bytes]) -> list[tuple[int, bytes]]:
    """Everything that the server says to these bytes until it closes; no close frame is all there is behind it."""
    reader, writer = await asyncio.open_connection(host, port)
    for piece in (HANDSHAKE, *pieces):
        if not writer.transport.is_closing():
            writer.write(piece)
            await asyncio.sleep(0)
    if not writer.transport.is_closing():
        writer.write_eof()
    client = ClientProtocol(parse_uri("ws://localhost"), state=State.OPEN, max_size=None)
    _, _, answered = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    client.receive_data(answered)
    assert client.parser_exc is None
    frames = [(int(frame.opcode), bytes(frame.data)) for frame in client.events_received() if isinstance(frame, Frame)]
    if frames and frames[-1][0] == CLOSE:
        frames[-1] = CLOSE, frames[-1][1][:2]
    return frames


def read(pieces: Iterable[bytes], limit_bytes: int) -> Outcome:
    frames = WebSocketFrames(limit_bytes)
    events: list[tuple[int, bytes]] = []
    try:
        for piece in pieces:
            frames.push(piece)
            while (event := frames.next_event()) is not None:
                events.append(event)
    except FrameError as error:
        assert frames.pending_bytes == 0
        return Outcome(events, error.close_code)
    return Outcome(events, None)


def read_with_websockets(pieces: Iterable[bytes], limit_bytes: int) -> Outcome:
    """Fragments are joined and text is decoded here, as the package's own connections do it above its protocol."""
    protocol = ServerProtocol(state=State.OPEN, max_size=limit_bytes)
    events: list[tuple[int, bytes]] = []
    opcode, parts, decoder = CONTINUATION, b"", codecs.getincrementaldecoder("utf-8")()
    for piece in pieces:
        protocol.receive_data(piece)
        for frame in cast(list[Frame], protocol.events_received()):
            if frame.opcode >= Opcode.CLOSE:
                events.append((int(frame.opcode), bytes(frame.data)))
                if frame.opcode == Opcode.CLOSE:
                    return Outcome(events, None)
                continue
            opcode = int(frame.opcode) or opcode
            parts += bytes(frame.data)
            if opcode == TEXT:
                try:
                    decoder.decode(bytes(frame.data), final=frame.fin)
                except UnicodeDecodeError:
                    return Outcome(events, NOT_UTF8)
            if frame.fin:
                events.append((opcode, parts))
                opcode, parts, decoder = CONTINUATION, b"", codecs.getincrementaldecoder("utf-8")()
        if protocol.parser_exc is not None:
            assert protocol.close_sent is not None
            return Outcome(events, int(protocol.close_sent.code))
    return Outcome(events, None)


def is_accepted(ours: Outcome, theirs: Outcome, departure: Departure) -> bool:
    """Whether the two may differ in this way."""
    if ours.events[: departure.before] != theirs.events[: departure.before]:
        return False
    stopped = len(ours.events) == departure.before and ours.code in departure.codes
    match departure.quirk:
        case None:
            return stopped and len(theirs.events) == departure.before and theirs.code in departure.codes
        case Quirk.LENGTH_NOT_MINIMAL:
            return stopped
        case Quirk.LENGTH_TOP_BIT:
            return stopped and theirs.code == TOO_BIG
        case Quirk.CONTROL_COUNTED:
            went_on = len(ours.events) > departure.before and not departure.codes
            return (went_on or stopped) and theirs.code in {TOO_BIG, *departure.codes}
        case Quirk.CLOSE_INSIDE_MESSAGE:
            closed = len(ours.events) == departure.before + 1 and ours.events[-1][0] == CLOSE and ours.code is None
            return closed and theirs.code == PROTOCOL_ERROR


def depart(data: bytes, limit_bytes: int) -> Departure:
    """Find it in ``data``, where there has to be one."""
    at, events, opcode, size, decoder = 0, 0, CONTINUATION, 0, codecs.getincrementaldecoder("utf-8")()
    while len(data) - at >= 2:
        codes: set[int] = set()
        quirk = None
        first, second = data[at], data[at + 1]
        final, kind, masked, length = first >= 128, first & 15, second >= 128, second & 127
        is_control = kind >= CLOSE
        form = {126: 2, 127: 8}.get(length, 0)
        start = at + 2 + form + 4
        out_of_place = not is_control and (kind == CONTINUATION) == (opcode == CONTINUATION)
        if first & 0x70 or kind > PONG or BINARY < kind < CLOSE or not masked or out_of_place:
            codes.add(PROTOCOL_ERROR)
        if is_control and (not final or length > 125):
            codes.add(PROTOCOL_ERROR)
        if form:
            length = int.from_bytes(data[at + 2 : at + 2 + form])
        if form and length < (126 if form == 2 else 65_536):
            codes.add(PROTOCOL_ERROR)
            quirk = Quirk.LENGTH_NOT_MINIMAL
        if length >= 2**63:
            codes.add(PROTOCOL_ERROR)
            quirk = Quirk.LENGTH_TOP_BIT
        if size + length > limit_bytes:
            if not is_control:
                codes.add(TOO_BIG)
            elif quirk is None:
                quirk = Quirk.CONTROL_COUNTED
        key = data[start - 4 : start]
        masked_payload = data[start : start + min(length, limit_bytes + 125)]
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(masked_payload))
        if kind == CLOSE:
            codes |= faults_of_close(payload)
            if opcode and not codes and quirk is None:
                quirk = Quirk.CLOSE_INSIDE_MESSAGE
        opcode_now = kind or opcode
        if opcode_now == TEXT and not is_control and not is_text(decoder, payload, final):
            codes.add(NOT_UTF8)
        if codes or quirk or kind == CLOSE:
            return Departure(events, codes, quirk, start + length)
        if is_control:
            events += 1
        elif final:
            events, opcode, size, decoder = events + 1, CONTINUATION, 0, codecs.getincrementaldecoder("utf-8")()
        else:
            opcode, size = opcode_now, size + length
        at = start + length
    raise AssertionError("a stream without an end")


def faults_of_close(payload: bytes) -> set[int]:
    if not payload:
        return set()
    codes = set() if is_text(codecs.getincrementaldecoder("utf-8")(), payload[2:], True) else {NOT_UTF8}
    code = int.from_bytes(payload[:2])
    defined = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
    if len(payload) == 1 or not (code in defined or 3000 <= code < 5000):
        codes.add(PROTOCOL_ERROR)
    return codes


def is_text(decoder: codecs.IncrementalDecoder, data: bytes, final: bool) -> bool:
    try:
        decoder.decode(data, final=final)
    except UnicodeDecodeError:
        return False
    return True
