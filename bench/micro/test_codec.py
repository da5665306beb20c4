"""Commands that most traffic consists of, as bytes and back: the codec, and beside it protobuf alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastim.core import commands
from fastim.core.conversation import Kind
from fastim.core.events import MessagePosted, MessagesReceipted
from fastim.core.message import Message
from fastim.core.replies import Acked, Echoed
from fastim.core.units import Millis
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec import Request, decode, encode_delivery, encode_receipts, encode_reply
from fastim.wire.codec.requests import decode_any
from tests.native import oracle_wire as oracle

CONVERSATION = "64a0b1c2d3e4f5a6b7c8d9e0"
MESSAGE_ID = "qNkRkFWOeSqP65S9fDyHJw"
TOKEN = "5d2b0c1e-5d0e-4c8e-9c5e-0f6a1f7b8c9d"
TEXT = b'{"_lctype":-1,"_lctext":"good morning, all of you"}'
AT = Millis(1_767_268_800_007)
RANGE = pb.AckCommand(cid=CONVERSATION, fromts=AT, tots=AT + 900)
SENT = pb.DirectCommand(cid=CONVERSATION, msg=TEXT, dt=TOKEN, r=True)
SOUND = {
    "send": pb.GenericCommand(cmd=pb.direct, i=-65_000, peerId="tom", directMessage=SENT),
    "acknowledgement": pb.GenericCommand(cmd=pb.ack, peerId="tom", ackMessage=RANGE),
    "echo": pb.GenericCommand(cmd=pb.echo, i=7),
    "another command": pb.GenericCommand(cmd=pb.conv, op=pb.count, i=7, convMessage=pb.ConvCommand(cid=CONVERSATION)),
}
POSTED = MessagePosted(CONVERSATION, Kind.CHAT_ROOM, Message(MESSAGE_ID, AT, 7, "tom", TEXT), (), origin=1)
READ = MessagesReceipted(CONVERSATION, "tom", (MESSAGE_ID,), "jerry", AT, AT, read=True)


@pytest.mark.parametrize("reader", [decode, decode_any], ids=["codec", "protobuf"])
@pytest.mark.parametrize("name", SOUND)
def test_decode(benchmark: BenchmarkFixture, name: str, reader: Callable[[bytes], Request]) -> None:
    body = SOUND[name].SerializeToString()
    assert type(benchmark(reader, body).command) in (
        commands.Send,
        commands.Acknowledge,
        commands.Echo,
        commands.CountMembers,
    )


def test_encode_ack(benchmark: BenchmarkFixture) -> None:
    assert benchmark(encode_reply, Acked(MESSAGE_ID, AT), 7, "tom") == protobuf_ack()


def test_encode_ack_by_protobuf(benchmark: BenchmarkFixture) -> None:
    benchmark(protobuf_ack)


def test_encode_echo(benchmark: BenchmarkFixture) -> None:
    assert benchmark(encode_reply, Echoed(), 7, None) == oracle.encode_echo(7, None)


def test_encode_echo_by_protobuf(benchmark: BenchmarkFixture) -> None:
    benchmark(oracle.encode_echo, 7, None)


def test_encode_delivery(benchmark: BenchmarkFixture) -> None:
    assert benchmark(encode_delivery, POSTED) == protobuf_delivery()


def test_encode_delivery_by_protobuf(benchmark: BenchmarkFixture) -> None:
    benchmark(protobuf_delivery)


def test_encode_receipt(benchmark: BenchmarkFixture) -> None:
    assert benchmark(encode_receipts, READ) == [protobuf_receipt()]


def test_encode_receipt_by_protobuf(benchmark: BenchmarkFixture) -> None:
    benchmark(protobuf_receipt)


def protobuf_ack() -> bytes:
    return oracle.encode_ack(MESSAGE_ID, AT, 7, "tom")


def protobuf_delivery() -> bytes:
    return oracle.encode_delivery(CONVERSATION, 2, MESSAGE_ID, "tom", AT, TEXT, False, (), False, 0)


def protobuf_receipt() -> bytes:
    return oracle.encode_receipt(CONVERSATION, MESSAGE_ID, "jerry", AT, True, AT)
