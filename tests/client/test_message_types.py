"""Typed messages: how they travel, and how they are read back."""

from typing import Any

import msgspec
import pytest

from fastim.client import (
    Audio,
    Coordinates,
    File,
    FileInfo,
    Image,
    Location,
    Message,
    MessageTypes,
    Millis,
    Recalled,
    Text,
    TypedMessage,
    Video,
)
from fastim.wire import messages2_pb2 as pb
from tests.client.fake_server import Peer, acked, reply
from tests.client.scripts import talking


class BusinessCard(TypedMessage, frozen=True, kw_only=True, tag=1):
    name: str
    company: str = ""


class RedPacket(TypedMessage, frozen=True, kw_only=True, tag=2):
    cents: int


def message(body: bytes, *, binary: bool = False) -> Message:
    return Message("m1", "c1", "jerry", Millis(1), body, binary=binary)


@pytest.mark.anyio
async def test_a_typed_message_travels_as_json_with_its_number() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(pb.direct)
        assert msgspec.json.decode(request.directMessage.msg) == {
            "_lctype": 1,
            "_lctext": "[card]",
            "_lcattrs": {"vip": True},
            "name": "Jerry",
            "company": "",
        }
        await peer.send(acked(request))
        request = await peer.expect(pb.logs)
        assert request.logsMessage.lctype == 1
        await peer.send(reply(request, cmd=pb.logs, logsMessage=pb.LogsCommand(cid="c1")))

    card = BusinessCard(name="Jerry", text="[card]", attributes={"vip": True})
    async with talking(script) as tom:
        room = tom.conversation("c1")
        sent = await room.send(card)
        assert sent.type == 1
        assert MessageTypes(BusinessCard).read(sent) == card
        assert [one async for one in room.history(message_type=BusinessCard)] == []


def test_messages_are_read_as_what_they_are_and_others_as_none() -> None:
    types: MessageTypes[BusinessCard | RedPacket] = MessageTypes(BusinessCard, RedPacket)
    assert types.read(message(b'{"_lctype":1,"name":"Jerry","new":[]}')) == BusinessCard(name="Jerry")
    assert types.read(message(b'{"_lctype":2,"cents":5}')) == RedPacket(cents=5)
    for body in (b'{"_lctype":-1,"_lctext":"hi"}', b"hi", b"[1]", b'{"_lctype":"1"}', b"", b"[" * 100_000):
        assert types.read(message(body)) is None
    assert types.read(message(b'{"_lctype":2,"cents":5}', binary=True)) is None
    with pytest.raises(ValueError, match="cents"):
        types.read(message(b'{"_lctype":2,"cents":"five"}'))


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (Text(text="hi"), {"_lctype": -1, "_lctext": "hi", "_lcattrs": {}}),
        (
            Image(file=FileInfo("http://x/y.png", {"width": 5}, "f1"), text=""),
            {
                "_lctype": -2,
                "_lctext": "",
                "_lcattrs": {},
                "_lcfile": {"url": "http://x/y.png", "metaData": {"width": 5}, "objId": "f1"},
            },
        ),
        (
            Location(location=Coordinates(116.3, 39.9), text="Beijing"),
            {
                "_lctype": -5,
                "_lctext": "Beijing",
                "_lcattrs": {},
                "_lcloc": {"longitude": 116.3, "latitude": 39.9},
            },
        ),
        (Recalled(), {"_lctype": -127, "_lctext": "", "_lcattrs": {}}),
    ],
)
def test_the_platform_s_own_types_are_what_sdks_send(value: TypedMessage, wire: dict[str, Any]) -> None:
    encoded = msgspec.json.encode(value)
    assert msgspec.json.decode(encoded) == wire
    assert MessageTypes(Text, Image, Audio, Video, Location, File, Recalled).read(message(encoded)) == value


def test_the_numbers_are_those_of_the_platform() -> None:
    numbers = {one: one.number() for one in (Text, Image, Audio, Video, Location, File, Recalled)}
    assert list(numbers.values()) == [-1, -2, -3, -4, -5, -6, -127]


def test_types_without_a_number_or_with_the_same_are_an_error() -> None:
    class Nameless(TypedMessage, frozen=True):
        pass

    class Other(TypedMessage, frozen=True, tag=1):
        pass

    with pytest.raises(TypeError, match="Nameless has no number"):
        MessageTypes(Nameless)
    with pytest.raises(TypeError, match="Other has the number"):
        MessageTypes(BusinessCard, Other)
