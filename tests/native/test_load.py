"""The native part of the load: its histogram beside sorted lists, its connections beside sockets that say anything."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from time import monotonic_ns

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim._frames import TcpFrames, encode_tcp, encode_websocket
from fastim._load import (
    ANSWERED,
    ENDED,
    REFUSED,
    RELIEVED,
    SERIAL_FIRST,
    TCP,
    WEBSOCKET,
    Fleet,
    Histogram,
    Template,
)
from fastim.bench import commands
from fastim.wire import messages2_pb2 as pb
from tests.native.oracle_load import percentile

READ, WRITE = 1, 4
ACK, EACH, LAST = 1, 2, 3
BINARY, PING = 2, 9
nanoseconds = st.integers(0, 2**62)

# --- Histogram --------------------------------------------------------------------------------------------------------


def filled(values: Sequence[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.note(value)
    return histogram


@given(st.lists(nanoseconds, min_size=1), st.floats(0, 1))
def test_a_percentile_is_within_1_6_percent_of_that_of_a_sorted_list(values: list[int], share: float) -> None:
    histogram = filled(values)
    assert histogram.at(share) == pytest.approx(percentile(values, share), rel=0.016, abs=0.5)
    assert histogram.at(1) == histogram.max_ns == max(values)
    assert histogram.count == len(values)
    assert histogram.mean_ns == pytest.approx(sum(values) / len(values))


@given(st.lists(nanoseconds), st.lists(nanoseconds))
def test_what_came_since_is_what_was_noted_since(before: list[int], after: list[int]) -> None:
    histogram = filled(before)
    earlier = histogram.copy()
    for value in after:
        histogram.note(value)
    since = histogram.since(earlier)
    assert since.buckets() == filled(after).buckets()
    assert since.max_ns == pytest.approx(max(after, default=0), rel=0.016, abs=0.5)
    earlier.add(since)
    assert earlier.buckets() == histogram.buckets()


def test_a_histogram_of_nothing_says_zero_and_no_share_is_beyond_one() -> None:
    histogram = Histogram()
    assert (histogram.at(0.99), histogram.max_ns, histogram.mean_ns, histogram.buckets()) == (0, 0, 0.0, [])
    with pytest.raises(ValueError, match="no share"):
        histogram.at(1.01)
    with pytest.raises(ValueError, match="not an earlier state"):
        histogram.since(filled([1]))


# --- Connections ------------------------------------------------------------------------------------------------------


class Pair:
    """A fleet of two connections, the first of which is this test's."""

    def __init__(self, framing: int = TCP) -> None:
        self.fleet = Fleet(2, 4)
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.descriptor = ours.detach()
        self.fleet.attach(0, self.descriptor, framing)
        self.websocket = framing == WEBSOCKET
        self.frames = TcpFrames(1 << 20)
        self.peer.settimeout(10)
        self.told = self.fleet.serve([(self.descriptor, WRITE)])

    def template(self, command: pb.GenericCommand) -> Template:
        return commands.template(command, websocket=self.websocket)

    def hear(self) -> pb.GenericCommand:
        while (body := self.frames.next_frame()) is None:
            data = self.peer.recv(65_536)
            assert data
            self.frames.push(data)
        return pb.GenericCommand.FromString(body)

    def say(self, command: pb.GenericCommand) -> list[tuple[int, int, int, bytes]]:
        body = command.SerializeToString()
        return self.push(encode_websocket(BINARY, body) if self.websocket else encode_tcp(body))

    def push(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        self.peer.sendall(data)
        return self.fleet.serve([(self.descriptor, READ)])

    def close(self) -> None:
        self.fleet.close(0)
        self.peer.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


MESSAGE = commands.message("tom", "a" * 24, commands.body_of(64))


def delivery(ordinal: int, timestamp: int = 5) -> pb.GenericCommand:
    body = b"a@b @12 @%010d c" % ordinal
    return pb.GenericCommand(
        cmd=pb.direct, directMessage=pb.DirectCommand(msg=body, cid="a" * 24, timestamp=timestamp, fromPeerId="tom")
    )


def posted(pair: Pair, expected: int) -> pb.GenericCommand:
    pair.fleet.post(0, pair.template(MESSAGE), ACK, monotonic_ns(), each=EACH, last=LAST, expected=expected)
    return pair.hear()


def test_a_message_carries_its_serial_its_ordinal_and_a_token_of_its_own(pair: Pair) -> None:
    first, second = posted(pair, 1), posted(pair, 1)
    assert (first.i, second.i) == (SERIAL_FIRST, SERIAL_FIRST + 1)
    assert first.directMessage.msg.startswith(b"@0000000000")
    assert second.directMessage.msg.startswith(b"@0000000001")
    assert first.directMessage.dt != second.directMessage.dt
    assert len(first.directMessage.msg) == 64


def test_a_delivery_is_known_again_and_the_last_one_makes_the_message_complete(pair: Pair) -> None:
    posted(pair, 2)
    each, last = pair.fleet.meter(EACH), pair.fleet.meter(LAST)
    pair.say(delivery(0))
    assert (each.due, each.came, last.due, last.came) == (2, 1, 1, 0)
    pair.say(delivery(0))
    assert (each.came, each.missing, last.came) == (2, 0, 1)
    pair.say(delivery(0))
    assert (each.came, each.repeated) == (2, 1)
    pair.say(delivery(7))
    assert pair.fleet.unmarked == 1


def test_of_a_message_whose_readers_nobody_can_count_none_is_missing(pair: Pair) -> None:
    posted(pair, 0)
    pair.say(delivery(0))
    pair.say(delivery(0))
    each = pair.fleet.meter(EACH)
    assert (each.due, each.came, each.missing, each.repeated) == (2, 2, 0, 0)


def test_a_slow_connection_takes_part_in_nothing(pair: Pair) -> None:
    posted(pair, 1)
    pair.fleet.slow(0)
    pair.say(delivery(0))
    assert (pair.fleet.slow_came, pair.fleet.meter(EACH).came) == (1, 0)


def test_a_latency_counts_from_when_it_was_due_and_lateness_is_kept_apart(pair: Pair) -> None:
    second = 1_000_000_000
    pair.fleet.post(0, pair.template(commands.echo()), ACK, monotonic_ns() - second)
    pair.say(pb.GenericCommand(cmd=pb.echo, i=pair.hear().i))
    meter = pair.fleet.meter(ACK)
    assert second <= meter.late.max_ns <= meter.histogram.max_ns < 11 * second


def test_only_answers_with_a_tag_are_told_and_only_to_the_first_who_answers(pair: Pair) -> None:
    pair.fleet.post(0, pair.template(commands.echo()), ACK, monotonic_ns(), 3)
    pair.fleet.post(0, pair.template(commands.echo()), ACK, monotonic_ns())
    first, second = pair.hear(), pair.hear()
    answer = pb.GenericCommand(cmd=pb.echo, i=first.i)
    assert pair.fleet.unanswered == 2
    assert pair.say(answer) == [(ANSWERED, 0, 3, answer.SerializeToString())]
    assert pair.say(answer) == []
    assert pair.say(pb.GenericCommand(cmd=pb.echo, i=second.i)) == []
    assert pair.say(pb.GenericCommand(cmd=pb.echo, i=9)) == []
    assert (pair.fleet.meter(ACK).came, pair.fleet.unanswered) == (2, 0)


@pytest.mark.parametrize(
    "no",
    [
        pb.GenericCommand(cmd=pb.error, errorMessage=pb.ErrorCommand(code=1, reason="NO")),
        pb.GenericCommand(cmd=pb.ack, ackMessage=pb.AckCommand(code=4116, reason="NO")),
        pb.GenericCommand(cmd=pb.ack, ackMessage=pb.AckCommand(code=0)),
    ],
)
def test_an_error_and_an_ack_with_a_code_are_refusals(pair: Pair, no: pb.GenericCommand) -> None:
    answer = pb.GenericCommand(i=posted(pair, 1).i)
    answer.MergeFrom(no)
    assert pair.say(answer) == [(REFUSED, 0, -1, answer.SerializeToString())]
    meter = pair.fleet.meter(ACK)
    assert (meter.came, meter.refused, meter.missing) == (0, 1, 0)


def test_an_ack_without_a_code_is_an_answer(pair: Pair) -> None:
    answer = pb.GenericCommand(cmd=pb.ack, i=posted(pair, 1).i, ackMessage=pb.AckCommand(mid="m", t=1))
    assert pair.say(answer) == []
    assert pair.fleet.meter(ACK).came == 1


def test_what_the_server_complains_of_unasked_is_told(pair: Pair) -> None:
    kicked = pb.GenericCommand(cmd=pb.session, op=pb.closed, sessionMessage=pb.SessionCommand(code=4111))
    assert pair.say(kicked) == [(REFUSED, 0, -1, kicked.SerializeToString())]
    assert pair.push(encode_tcp(b"\xff\xff")) == [(REFUSED, 0, -1, b"")]


def test_one_ack_tells_of_all_messages_that_came_with_a_read(pair: Pair) -> None:
    pair.fleet.acks(0, b"c" * 24)
    stamps = (1_790_000_000_123, 1_790_000_000_120, 1_790_000_000_125)
    pair.push(b"".join(encode_tcp(delivery(n, at).SerializeToString()) for n, at in enumerate(stamps)))
    ack = pair.hear()
    assert (ack.cmd, ack.HasField("i")) == (pb.ack, False)
    assert ack.ackMessage == pb.AckCommand(cid="c" * 24, fromts=min(stamps), tots=max(stamps))


def test_the_end_of_a_connection_is_told_and_what_waits_for_it_is_missing(pair: Pair) -> None:
    posted(pair, 1)
    pair.peer.close()
    assert pair.fleet.serve([(pair.descriptor, READ)]) == [(ENDED, 0, -1, b"")]
    assert pair.fleet.fd(0) == pair.descriptor
    # Found ready by the same look: it is none any more.
    assert pair.fleet.serve([(pair.descriptor, READ | WRITE)]) == []
    pair.fleet.close(0)
    assert pair.fleet.fd(0) == -1
    assert not pair.fleet.post(0, pair.template(commands.echo()), ACK, monotonic_ns())
    assert (pair.fleet.meter(ACK).missing, pair.fleet.unanswered) == (2, 0)


def test_a_full_socket_is_told_once_and_everything_arrives_in_order(pair: Pair) -> None:
    template = pair.template(MESSAGE)
    count = blocked = 0
    while not blocked:
        blocked += pair.fleet.post(0, template, ACK, monotonic_ns())
        count += 1
    for _ in range(100):
        blocked += pair.fleet.post(0, template, ACK, monotonic_ns())
    assert blocked == 1
    told: list[tuple[int, int, int, bytes]] = []
    seen: list[int] = []
    while len(seen) < count + 100:
        seen.append(pair.hear().i)
        if not told:
            told += pair.fleet.serve([(pair.descriptor, WRITE)])
    assert seen == list(range(SERIAL_FIRST, SERIAL_FIRST + count + 100))
    assert told == [(RELIEVED, 0, -1, b"")]


def test_a_frame_that_is_too_long_ends_the_connection(pair: Pair) -> None:
    [(what, number, _, why)] = pair.push(b"\xff\xff\xff\xff")
    assert (what, number, why) == (ENDED, 0, b"what it sent is no frame")


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.lists(st.floats(0, 1), max_size=6))
@pytest.mark.parametrize("framing", [TCP, WEBSOCKET])
def test_however_the_bytes_are_cut_the_same_commands_come_out(
    framing: int, ordinals: list[int], shares: list[float]
) -> None:
    with closing(Pair(framing)) as pair:
        if framing == WEBSOCKET:
            pair.peer.recv(65_536)
            pair.push(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        for _ in range(3):
            pair.fleet.post(0, pair.template(MESSAGE), ACK, monotonic_ns(), each=EACH)
        # The longest has another header over WebSocket.
        long = pb.DirectCommand(msg=b"@0000000001" + bytes(70_000))
        said = [pb.GenericCommand(cmd=pb.direct, directMessage=long), *(delivery(ordinal) for ordinal in ordinals)]
        bodies = [command.SerializeToString() for command in said]
        stream = b"".join(encode_tcp(body) if framing == TCP else encode_websocket(BINARY, body) for body in bodies)
        cuts = sorted(int(share * len(stream)) for share in shares)
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            if start != end:
                pair.push(stream[start:end])
        assert pair.fleet.meter(EACH).came == pair.fleet.frames == len(said)
        assert pair.fleet.unmarked == 0


# --- WebSocket --------------------------------------------------------------------------------------------------------


def test_a_websocket_shakes_hands_and_what_was_posted_meanwhile_follows() -> None:
    pair = Pair(WEBSOCKET)
    asked = pair.peer.recv(65_536)
    assert asked.startswith(b"GET / HTTP/1.1\r\n")
    assert b"Sec-WebSocket-Protocol: lc.protobuf2.3\r\n" in asked
    assert asked.endswith(b"\r\n\r\n")
    assert pair.told == [(RELIEVED, 0, -1, b"")]
    pair.fleet.post(0, pair.template(commands.echo()), ACK, monotonic_ns())
    assert pair.push(b"HTTP/1.1 101 Swit") == []
    assert pair.push(b"ching Protocols\r\nA: b\r\n\r\n" + encode_websocket(PING, b"")) == []
    came = pair.peer.recv(65_536)
    assert came[0] == 0x82
    assert came.endswith(b"\x8a\x80\x00\x00\x00\x00")
    pair.close()


def test_a_handshake_that_is_declined_ends_the_connection_with_the_reason() -> None:
    pair = Pair(WEBSOCKET)
    assert pair.push(b"HTTP/1.1 404 Not Found\r\n\r\n") == [(ENDED, 0, -1, b"no WebSocket: HTTP/1.1 404 Not Found")]
    pair.close()


def test_acks_over_websocket_are_frames_of_a_client() -> None:
    pair = Pair(WEBSOCKET)
    pair.peer.recv(65_536)
    pair.push(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    for size in (24, 100):
        pair.fleet.acks(0, b"c" * size)
        pair.say(delivery(0, 1_790_000_000_123))
        frame = pair.peer.recv(65_536)
        body = frame[6:] if frame[1] < 0xFE else frame[8:]
        assert frame[:2] == bytes((0x82, 0x80 | len(body))) or frame[:4] == b"\x82\xfe" + len(body).to_bytes(2)
        assert pb.GenericCommand.FromString(body).ackMessage.cid == "c" * size
    pair.close()


# --- What is asked of it wrongly --------------------------------------------------------------------------------------


def test_what_cannot_be_is_refused(pair: Pair) -> None:
    template = pair.template(commands.echo())
    with pytest.raises(IndexError, match="no connection 2"):
        pair.fleet.post(2, template, ACK, 0)
    for meters in ({"meter": 4}, {"meter": -1}, {"meter": 0, "each": 4}, {"meter": 0, "last": -2}):
        with pytest.raises(IndexError, match="no such meter"):
            pair.fleet.post(0, template, due_ns=0, **meters)
    with pytest.raises(IndexError):
        pair.fleet.owe(4)
    with pytest.raises(ValueError, match="has a socket"):
        pair.fleet.attach(0, 1, TCP)
    with pytest.raises(ValueError, match="no such socket or framing"):
        pair.fleet.attach(1, 1, 2)
    with pytest.raises(ValueError, match="of no connection"):
        pair.fleet.serve([(100_000, READ)])
    with pytest.raises(ValueError, match="no conversation id"):
        pair.fleet.acks(0, b"c" * 101)
    with pytest.raises(ValueError, match="there has to be"):
        Fleet(0, 1)
    for holes in ((-1,), (1,), (0, 0), (0, -1, 0)):
        with pytest.raises(ValueError, match="in the frame"):
            Template(b"1234", *holes)


def test_what_was_never_sent_can_be_owed(pair: Pair) -> None:
    pair.fleet.owe(ACK)
    assert pair.fleet.meter(ACK).missing == 1


def test_a_connection_that_cannot_be_made_ends_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    dialled = socket.socket()
    dialled.setblocking(False)
    dialled.connect_ex(("127.0.0.1", port))
    fleet = Fleet(1, 1)
    descriptor = dialled.detach()
    fleet.attach(0, descriptor, TCP)
    [(what, _, _, why)] = fleet.serve([(descriptor, READ | WRITE)])
    assert (what, why) == (ENDED, b"Connection refused")
