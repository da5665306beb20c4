"""Whatever is read is what protobuf reads, whatever is written what it writes; what is left to it may be anything."""

from __future__ import annotations

import gc
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastim._wire import Decoder, encode_ack, encode_delivery, encode_echo, encode_receipt
from fastim.wire import messages2_pb2 as pb
from tests.native import oracle_wire as oracle
from tests.native.oracle_wire import ECHO, Acknowledged, Requested, Sent, fields_of, number, number_field, piece_field

Generic, Direct, Ack = pb.GenericCommand, pb.DirectCommand, pb.AckCommand

C = "64a0b1c2d3e4f5a6b7c8d9e0"
AT = 1_767_268_800_007
DIRECT_FIELD, ACK_FIELD = 104, 105
DECODER = Decoder(Requested, Sent, Acknowledged, ECHO)

texts = st.text(max_size=20)
long_texts = texts | st.integers(126, 130).map("x".__mul__) | st.integers(16_381, 16_386).map("x".__mul__)
int32s = st.integers(-(2**31), 2**31 - 1)
int64s = st.integers(-(2**63), 2**63 - 1)
bodies = st.binary(max_size=40) | long_texts.map(str.encode)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


directs = optional(
    **dict.fromkeys(("timestamp", "patchTimestamp"), int64s),
    **dict.fromkeys(("uid", "fromPeerId", "id", "roomId", "dt", "pushData", "cid"), texts),
    **{name: st.booleans() for name in ("offline", "hasMore", "r", "transient", "will", "mentionAll")},
    **{name: st.lists(texts, max_size=3) for name in ("toPeerIds", "mentionPids")},
    **dict.fromkeys(("msg", "binaryMsg"), bodies),
    convType=int32s,
)
acks = optional(cid=texts, mid=texts, fromts=int64s, tots=int64s)
envelopes = optional(
    **dict.fromkeys(("i", "priority", "service", "notificationType"), int32s),
    **dict.fromkeys(("serverTs", "clientTs"), int64s),
    **dict.fromkeys(("appId", "peerId", "installationId"), texts),
    op=st.sampled_from(sorted(pb.OpType.values())),
)


def frequent(envelope: dict[str, Any], direct: dict[str, Any] | None, ack: dict[str, Any] | None) -> bytes:
    """A send, or else an acknowledgement, or else a heartbeat."""
    generic = Generic(**envelope)
    if direct is not None:
        generic.cmd = pb.direct
        generic.directMessage.CopyFrom(Direct(**direct))
    elif ack is not None:
        generic.cmd = pb.ack
        generic.ackMessage.CopyFrom(Ack(**ack))
    else:
        generic.cmd = pb.echo
    return bytes(generic.SerializeToString())


frequents = st.builds(frequent, envelopes, directs, st.none()) | st.builds(
    frequent, envelopes, st.none(), acks | st.none()
)


def read_as_protobuf_does(body: bytes) -> Requested | None:
    read = DECODER.decode(body)
    if read is not None:
        expected = oracle.decode(body)
        assert read == expected
        assert repr(read) == repr(expected), "a flag or a number is of another type"
    return read


def send(**fields: Any) -> bytes:
    return frequent({"i": 1}, {"cid": C, "msg": b"hello", **fields}, None)


def with_direct(direct: bytes) -> bytes:
    return number_field(1, pb.direct) + piece_field(DIRECT_FIELD, direct)


def with_ack(ack: bytes) -> bytes:
    return number_field(1, pb.ack) + piece_field(ACK_FIELD, ack)


class TestReading:
    @pytest.mark.parametrize(
        "generic",
        [
            Generic(cmd=pb.direct, i=7, peerId="tom", directMessage=Direct(cid=C, msg=b"{}", dt="uuid", r=False)),
            Generic(cmd=pb.direct, i=-65_535, peerId="tom", directMessage=Direct(cid=C, msg=b"", binaryMsg=b"\xff\0")),
            Generic(cmd=pb.direct, i=0, directMessage=Direct(cid=C, msg=b"{}", mentionPids=["\u6c64", ""])),
            Generic(
                cmd=pb.direct,
                op=pb.open,
                appId="app",
                i=1,
                priority=3,
                directMessage=Direct(cid=C, msg=b"{}", fromPeerId="tom", will=True),
            ),
            Generic(cmd=pb.ack, ackMessage=Ack(cid=C, fromts=AT, tots=AT + 1)),
            Generic(cmd=pb.ack, peerId="tom", ackMessage=Ack(cid=C, mid="m")),
            Generic(cmd=pb.ack, peerId="tom", ackMessage=Ack(cid=C, tots=AT)),
            Generic(cmd=pb.echo),
            Generic(cmd=pb.echo, i=1, peerId="tom"),
        ],
        ids=["js", "java-binary", "mentions", "c-sharp", "js-acks", "swift-acks", "java-acks", "echo", "echo-of-one"],
    )
    def test_what_sdks_send(self, generic: pb.GenericCommand) -> None:
        assert read_as_protobuf_does(generic.SerializeToString()) is not None

    @given(frequents)
    def test_whatever_field_is_there_or_not(self, body: bytes) -> None:
        assert read_as_protobuf_does(body) is not None

    @given(frequents, st.randoms(use_true_random=False))
    def test_fields_may_come_in_any_order(self, body: bytes, dice: random.Random) -> None:
        shuffled = []
        for field, written in fields_of(body):
            if field in (DIRECT_FIELD, ACK_FIELD):
                parts = [part for _, part in fields_of(written[2 + _length_of(written) :])]
                dice.shuffle(parts)
                shuffled.append(piece_field(field, b"".join(parts)))
            else:
                shuffled.append(written)
        dice.shuffle(shuffled)
        assert read_as_protobuf_does(b"".join(shuffled)) is not None

    def test_a_text_that_is_not_utf8_is_still_a_body(self) -> None:
        read = read_as_protobuf_does(send(msg=b"\xff\xfe"))
        assert read is not None
        assert isinstance(read.command, Sent)
        assert read.command.body == b"\xff\xfe"

    def test_a_long_body(self) -> None:
        assert read_as_protobuf_does(send(msg=b"x" * 3_000_000)) is not None

    def test_what_it_is_given_may_fail(self) -> None:
        def fail(*_: object) -> Sent:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            Decoder(Requested, fail, Acknowledged, ECHO).decode(send())
        with pytest.raises(ZeroDivisionError):
            Decoder(fail, Sent, Acknowledged, ECHO).decode(send())

    @pytest.mark.parametrize("body", [bytearray(send()), memoryview(send()), "text", None])
    def test_only_bytes_are_read(self, body: Any) -> None:
        with pytest.raises(TypeError):
            DECODER.decode(body)

    def test_makers_have_to_be_callable(self) -> None:
        for place in range(3):
            makers: list[Any] = [Requested, Sent, Acknowledged]
            makers[place] = None
            with pytest.raises(TypeError, match="None cannot be called"):
                Decoder(makers[0], makers[1], makers[2], ECHO)

    def test_nothing_is_kept(self) -> None:
        sound = send(mentionPids=["a", "b"], dt="token")
        wrong = [sound[:-1], send() + b"\x22\x01\xff", with_direct(piece_field(20, b"a") + piece_field(20, b"\xff"))]

        def read() -> None:
            for body in (sound, *wrong):
                DECODER.decode(body)

        read()
        gc.collect()
        tracemalloc.start()
        try:
            read()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(200):
                read()
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - before < 2_000
        finally:
            tracemalloc.stop()


class TestLeavingToProtobuf:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            Generic(cmd=pb.session, op=pb.open).SerializeToString(),
            Generic(cmd=pb.logs, i=1, logsMessage=pb.LogsCommand(cid=C)).SerializeToString(),
            Generic(i=1, directMessage=Direct(cid=C)).SerializeToString(),
            Generic(cmd=pb.direct).SerializeToString(),
            Generic(cmd=pb.ack).SerializeToString(),
            Generic(cmd=pb.ack, directMessage=Direct(cid=C)).SerializeToString(),
            Generic(cmd=pb.direct, ackMessage=Ack(cid=C)).SerializeToString(),
            Generic(cmd=pb.echo, ackMessage=Ack(cid=C)).SerializeToString(),
            Generic(cmd=pb.echo, convMessage=pb.ConvCommand()).SerializeToString(),
            Generic(cmd=pb.ack, ackMessage=Ack(cid=C, ids=["a"])).SerializeToString(),
            Generic(cmd=pb.ack, ackMessage=Ack(cid=C, code=1)).SerializeToString(),
        ],
    )
    def test_other_commands_and_shapes(self, body: bytes) -> None:
        assert DECODER.decode(body) is None

    @pytest.mark.parametrize(
        "field",
        [
            number_field(12, 1),
            number_field(1_001, 1),
            number_field(2**29 - 1, 1),
            piece_field(500, b"five!"),
            number(500 << 3 | 1) + bytes(8),
            number(500 << 3 | 5) + bytes(4),
            number(500 << 3 | 3) + number(500 << 3 | 4),
            number(500 << 3 | 3),
            number(500 << 3 | 4),
            number(500 << 3 | 6),
            number(500 << 3 | 7),
            number_field(0, 0),
            number_field(2**29, 1),
            number(2**63 | 5 << 3) + b"\x01",
        ],
    )
    @pytest.mark.parametrize("place", ["envelope", "direct", "ack"])
    def test_fields_it_does_not_know(self, field: bytes, place: str) -> None:
        match place:
            case "envelope":
                body = send() + field
            case "direct":
                body = with_direct(piece_field(11, b"c") + field)
            case _:
                body = with_ack(piece_field(4, b"c") + field)
        assert DECODER.decode(body) is None

    @pytest.mark.parametrize(
        "direct",
        [
            number_field(1, 1),  # a number where a piece belongs
            piece_field(4, b""),  # and the other way round
            piece_field(10, b"\x01"),
            number(11 << 3 | 5) + bytes(4),
            number_field(10, 2),  # a flag that is neither
            number_field(13, 2**64 - 1),
            number_field(22, 2**31),  # more than 32 bits
            number_field(22, 2**32 + 1),
            piece_field(11, b"c") * 2,  # twice
            number_field(10, 1) * 2,
            piece_field(19, b"") * 2,
            number(10 << 3, longer=1) + b"\x01",  # longer than need be
            number(10 << 3) + number(1, longer=1),
            number(4 << 3) + number(2**63, longer=1),
            number(4 << 3) + b"\xff" * 9 + b"\x02",  # more than 64 bits
            number(4 << 3) + b"\xff" * 10,
            number(11 << 3 | 2) + number(1, longer=1) + b"c",
            number(11 << 3 | 2) + number(2) + b"c",  # longer than what there is
            number(11 << 3 | 2) + number(2**63) + b"c",
            number(11 << 3 | 2) + number(2**64 - 1) + b"c",
            number(11 << 3 | 2),
            number(11 << 3),
            b"\x80",
        ],
        ids=lambda direct: direct.hex(),
    )
    def test_forms_that_protobuf_would_not_write(self, direct: bytes) -> None:
        assert DECODER.decode(with_direct(direct)) is None

    @pytest.mark.parametrize("field", [2, 3, 7, 11, 12, 14, 15, 16, 20])
    def test_text_of_a_send_that_is_not_utf8(self, field: int) -> None:
        for wrong in (b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"):
            body = with_direct(piece_field(field, wrong))
            assert DECODER.decode(body) is None
            assert oracle.decode(body) is None
        assert read_as_protobuf_does(with_direct(piece_field(field, b"\xf4\x8f\xbf\xbf"))) is not None

    @pytest.mark.parametrize("field", [3, 4, 6])
    def test_text_of_the_envelope_that_is_not_utf8(self, field: int) -> None:
        assert DECODER.decode(number_field(1, pb.echo) + piece_field(field, b"\xff")) is None

    @pytest.mark.parametrize("field", [3, 4])
    def test_text_of_an_acknowledgement_that_is_not_utf8(self, field: int) -> None:
        assert DECODER.decode(with_ack(piece_field(field, b"\xff"))) is None

    @pytest.mark.parametrize("field", [1, 2, 5, 7, 8, 9, 10, 11])
    def test_an_envelope_that_says_something_twice(self, field: int) -> None:
        body = send() if field == 5 else send() + number_field(field, 2)
        assert DECODER.decode(body + number_field(field, 2)) is None

    def test_two_parts_that_protobuf_would_merge(self) -> None:
        assert DECODER.decode(send() + piece_field(DIRECT_FIELD, b"")) is None
        assert DECODER.decode(send() + piece_field(ACK_FIELD, b"")) is None

    @pytest.mark.parametrize("value", [2**31, 2**32 + 1, 2**63, 2**64 - 2**31 - 1])
    def test_a_serial_or_priority_of_more_than_32_bits(self, value: int) -> None:
        for field in (5, 7):
            assert DECODER.decode(number_field(1, pb.echo) + number_field(field, value)) is None

    def test_a_cut_at_any_place(self) -> None:
        body = send(mentionPids=["a", "b"], dt="token", timestamp=-1, r=True)
        read = [read_as_protobuf_does(body[:size]) for size in range(len(body))]
        assert not any(read)

    @given(frequents, st.data())
    def test_bytes_that_were_changed(self, body: bytes, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(start + 3, len(body))))
        read_as_protobuf_does(body[:start] + data.draw(st.binary(max_size=3)) + body[end:])

    @given(st.binary(max_size=60))
    @example(b"\xff" * 20)
    def test_any_bytes(self, noise: bytes) -> None:
        read_as_protobuf_does(noise)
        read_as_protobuf_does(with_direct(noise))
        read_as_protobuf_does(with_ack(noise))


class TestWriting:
    @given(long_texts, int64s, int32s | st.none(), texts | st.none())
    @example("m", AT, -65_535, "tom")
    @example("", 0, 0, "")
    def test_an_ack(self, message_id: str, timestamp: int, serial: int | None, client_id: str | None) -> None:
        given_values = message_id, timestamp, serial, client_id
        assert encode_ack(*given_values) == oracle.encode_ack(*given_values)

    @given(int32s | st.none(), long_texts | st.none())
    def test_an_echo(self, serial: int | None, client_id: str | None) -> None:
        assert encode_echo(serial, client_id) == oracle.encode_echo(serial, client_id)

    @given(
        st.tuples(
            *(texts, int32s, texts, long_texts, int64s, bodies, st.booleans(), st.lists(texts, max_size=4).map(tuple)),
            *(st.booleans(), st.just(0) | int64s, st.booleans(), st.booleans(), st.booleans()),
        )
    )
    @example((C, 1, "m", "tom", AT, b"x" * 127, False, (), False, 0, False, False, False))
    @example((C, -1, "m", "\u6c64", -1, b"", True, ("x" * 128, ""), True, -1, True, True, True))
    def test_a_delivery(self, message: tuple[Any, ...]) -> None:
        assert encode_delivery(*message) == oracle.encode_delivery(*message)

    @given(st.tuples(texts, long_texts, texts, int64s, st.booleans(), int64s))
    def test_a_receipt(self, receipt: tuple[Any, ...]) -> None:
        assert encode_receipt(*receipt) == oracle.encode_receipt(*receipt)

    @pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
    def test_lengths_at_which_a_number_grows(self, size: int) -> None:
        values = (C, 1, "m", "tom", AT, bytes(size), False, (), False, 0)
        assert encode_delivery(*values) == oracle.encode_delivery(*values)

    @pytest.mark.parametrize("wrong", [2**31, -(2**31) - 1, 2**63])
    def test_a_serial_or_kind_that_does_not_fit(self, wrong: int) -> None:
        with pytest.raises(OverflowError):
            encode_ack("m", AT, wrong, None)
        with pytest.raises(OverflowError):
            encode_echo(wrong, None)
        with pytest.raises(OverflowError):
            encode_delivery(C, wrong, "m", "tom", AT, b"", False, (), False, 0)

    @pytest.mark.parametrize("wrong", [2**63, -(2**63) - 1])
    def test_a_moment_that_does_not_fit(self, wrong: int) -> None:
        with pytest.raises(OverflowError):
            encode_ack("m", wrong, 1, None)
        with pytest.raises(OverflowError):
            encode_delivery(C, 1, "m", "tom", wrong, b"", False, (), False, 0)
        with pytest.raises(OverflowError):
            encode_delivery(C, 1, "m", "tom", AT, b"", False, (), False, wrong)
        with pytest.raises(OverflowError):
            encode_receipt(C, "m", "tom", wrong, False, AT)
        with pytest.raises(OverflowError):
            encode_receipt(C, "m", "tom", AT, False, wrong)

    @pytest.mark.parametrize(
        ("place", "wrong"),
        [
            *((place, wrong) for place in (0, 2, 3) for wrong in (None, b"bytes", 1)),
            *((place, wrong) for place in (1, 4, 9) for wrong in (None, "1", 1.5)),
            *((5, wrong) for wrong in (None, "text", bytearray(b"b"))),
            *((7, wrong) for wrong in (None, ["a"], (None,), (b"a",))),
        ],
    )
    def test_an_argument_of_another_type(self, place: int, wrong: Any) -> None:
        values: list[Any] = [C, 1, "m", "tom", AT, b"", False, (), False, 0]
        values[place] = wrong
        with pytest.raises(TypeError):
            encode_delivery(*values)

    def test_a_text_with_surrogates(self) -> None:
        for client_id, mention in (("\ud800", "a"), ("a", "\udfff")):
            with pytest.raises(UnicodeEncodeError):
                encode_delivery(C, 1, "m", client_id, AT, b"", False, (mention,), False, 0)
        with pytest.raises(UnicodeEncodeError):
            encode_echo(1, "\ud800")


def _length_of(written: bytes) -> int:
    """How many bytes say how long the piece is, its tag having two."""
    return next(size for size, byte in enumerate(written[2:], 1) if byte < 128)
