import pytest
from msgspec.structs import replace

from fastim.runtime.ingress import Governor, LocalIngress
from fastim.runtime.limits import LimitCounters
from fastim.settings import Limits
from tests.doors.office import MASTER, Office, enter, office, opened

pytestmark = pytest.mark.anyio


def limit(rest: Office, per_second: int, governor: Governor | None = None) -> None:
    """Let each chat room take so much and no more, in a second that does not end."""
    tenant = rest.node.tenant
    limits = Limits(room_sends_per_second=per_second)
    ingress = LocalIngress(limits, LimitCounters(), governor or Governor(0), lambda: 1_000.0)
    rest.node.dispatcher.add(replace(tenant, io=replace(tenant.io, ingress=ingress)))


async def test_what_a_room_does_not_take_is_refused_in_words_and_reaches_nobody() -> None:
    async with office() as rest:
        limit(rest, 1)
        room = await rest.room()
        jerry = await opened(rest, "jerry")
        await enter(jerry, room, "jerry")
        body = b'{"from_client": "tom", "message": "hello"}'
        assert (await rest.ask(f"{room}/messages", *MASTER, body=body))[0] == 200
        status, answer = await rest.ask(f"{room}/messages", *MASTER, body=body)
        assert (status, answer) == (
            429,
            {"code": 4116, "error": "this chat room takes 1 messages of this priority a second"},
        )
        await rest.say(room, "hello", priority="high")
        assert [(await jerry.receive()).directMessage.msg for _ in range(2)] == [b"hello"] * 2
        assert await jerry.is_silent()
        assert len(await rest.get(f"{room}/messages")) == 2


async def test_a_busy_server_says_so() -> None:
    governor = Governor(250)
    async with office() as rest:
        limit(rest, 0, governor)
        room = await rest.room()
        governor.hear(0.3)
        body = b'{"from_client": "tom", "message": "hello", "priority": "low", "transient": true}'
        status, answer = await rest.ask(f"{room}/messages", *MASTER, body=body)
        assert (status, answer["code"]) == (429, 4116)
        assert answer["error"] == "the server is busy; messages of low priority are not taken"
        await rest.say(room, "hello")
