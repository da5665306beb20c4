"""What clients write to a service conversation, told its back end by a real server, in batches.

Source: semantics, section 14, the last paragraph.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio.to_thread
import pytest

from tests.client.service import Service, found_service
from tests.end_to_end.clients import someone
from tests.end_to_end.hook_back_end import HOOK_KEY, Act, Asked, HookBackEnd, hooked_server, no_http, reset, saying
from tests.end_to_end.hook_clients import Person, person
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "trio"


@pytest.fixture(scope="module")
def house() -> Iterator[HookBackEnd]:
    with HookBackEnd() as back_end:
        yield back_end


@pytest.fixture
def back_end(house: HookBackEnd) -> Iterator[HookBackEnd]:
    yield house
    house.reset()


@pytest.fixture(scope="module")
def server(house: HookBackEnd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    house.functions = []
    with hooked_server(
        tmp_path_factory.mktemp("data"), house, "http", hooks__service_url=f"{house.url}/service"
    ) as one:
        yield one


def batches(back_end: HookBackEnd, service: Service) -> list[Asked]:
    """What was posted of this service."""
    own = [
        one._replace(said=[message for message in one.said if message["conv"]["objectId"] == service.id])
        for one in back_end.calls("service")
    ]
    return [one for one in own if one.said]


def bodies(asked: list[Asked]) -> list[list[str]]:
    return [[message["data"] for message in one.said] for one in asked]


async def until_told(back_end: HookBackEnd, service: Service, number: int) -> list[Asked]:
    """Wait until there were so many posts."""
    await back_end.until(lambda: len(batches(back_end, service)) >= number)
    return batches(back_end, service)


async def test_what_a_client_writes_is_told_in_full(server: ServerProcess, back_end: HookBackEnd) -> None:
    service = await found_service(server, someone("news"))
    async with person(server) as tom:
        ack = (await tom.send(service.id, "dear editor")).ackMessage
    (told,) = await until_told(back_end, service, 1)
    sent_at = datetime.fromtimestamp(ack.t / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert told.said == [
        {
            "msgId": ack.uid,
            "conv": {"__type": "Pointer", "className": "_Conversation", "objectId": service.id},
            "from": tom.id,
            "bin": False,
            "data": "dear editor",
            "fromIp": "127.0.0.1",
            "createdAt": sent_at,
            "updatedAt": sent_at,
        }
    ]
    expected = {"X-LC-Id": server.app_id, "X-LC-Key": server.app_key, "X-LC-Hook-Key": HOOK_KEY}
    assert {name: told.headers[name] for name in expected} == expected
    assert told.headers["Content-Type"] == "application/json"


async def test_what_is_written_meanwhile_goes_together_and_in_order(
    server: ServerProcess, back_end: HookBackEnd
) -> None:
    service = await found_service(server, someone("news"))
    let_go = back_end.hold("service")
    async with person(server) as tom:
        await tom.send(service.id, "first")
        await until_told(back_end, service, 1)
        texts = [f"{number}" for number in range(120)]
        for text in texts:
            await tom.send(service.id, text)
        assert len(batches(back_end, service)) == 1
        let_go()
        assert bodies(await until_told(back_end, service, 3)) == [["first"], texts[:100], texts[100:]]


async def test_only_what_clients_write_to_services_to_be_kept_is_told(
    server: ServerProcess, back_end: HookBackEnd
) -> None:
    service = await found_service(server, someone("news"))
    async with person(server) as tom:
        await tom.send(await tom.start(tom.id, someone("jerry")), "to a friend")
        await tom.send(service.id, "typing", transient=True)
        await service.tell("dear readers")
        await service.tell("dear tom", tom.id)
        await tom.send(service.id, binaryMsg=b"\x00\xff")
    (told,) = await until_told(back_end, service, 1)
    assert [(one["bin"], one["data"]) for one in told.said] == [(True, b64encode(b"\x00\xff").decode())]
    said = json.dumps([one.said for one in back_end.calls("service")])
    assert not any(text in said for text in ("to a friend", "typing", "dear readers", "dear tom"))


@pytest.mark.parametrize(
    "fault",
    [
        saying(b"", 500),
        saying(b"", 404),
        saying(b"", 307, Location="/elsewhere"),
        reset,
        no_http,
    ],
    ids=["500", "404", "redirect", "reset", "another protocol"],
)
async def test_a_batch_that_is_not_taken_is_told_again_before_any_other(
    server: ServerProcess, back_end: HookBackEnd, fault: Act
) -> None:
    service = await found_service(server, someone("news"))
    back_end.acts["service"] = fault
    async with person(server) as tom:
        await tom.send(service.id, "first")
        await until_told(back_end, service, 1)
        await tom.send(service.id, "second")
        back_end.acts.clear()
        assert bodies(await until_told(back_end, service, 3)) == [["first"], ["first"], ["second"]]
    assert back_end.calls("elsewhere") == []


@pytest.mark.parametrize(
    "answer",
    [saying(b"", 201), saying(b"", 204), saying(b"\x00<html>"), saying(b"x" * 10_000_000)],
    ids=["201", "204", "no JSON", "10 MB"],
)
async def test_any_2xx_takes_a_batch_whatever_comes_with_it(
    server: ServerProcess, back_end: HookBackEnd, answer: Act
) -> None:
    service = await found_service(server, someone("news"))
    back_end.acts["service"] = answer
    async with person(server) as tom:
        await tom.send(service.id, "first")
        await until_told(back_end, service, 1)
        await tom.send(service.id, "second")
        assert bodies(await until_told(back_end, service, 2)) == [["first"], ["second"]]


async def test_nobody_waits_for_the_back_end(server: ServerProcess, back_end: HookBackEnd) -> None:
    service = await found_service(server, someone("news"))
    let_go = back_end.hold("service")
    async with person(server) as tom:
        for number in range(5):
            assert (await tom.send(service.id, f"{number}")).ackMessage.uid
        assert len(await tom.history(service.id)) == 5
        let_go()
        await back_end.until(lambda: sum(len(one.said) for one in batches(back_end, service)) == 5)


async def test_a_server_that_is_stopped_tells_what_waits(house: HookBackEnd, tmp_path: Path) -> None:
    settings = {"hooks__service_url": f"{house.url}/service"}
    with hooked_server(tmp_path, house, "http", **settings) as server:
        service = await found_service(server, someone("news"))
        let_go = house.hold("service")
        async with person(server) as tom:
            await write_until_held(tom, service, house)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, partial(stop, server))
                assert (await tom.line.receive()).errorMessage.code == 1001
                await tom.line.close()
                let_go()
        assert [text for one in bodies(batches(house, service)) for text in one] == ["first", "second", "third"]
    house.reset()


async def write_until_held(tom: Person, service: Service, back_end: HookBackEnd) -> None:
    await tom.send(service.id, "first")
    await until_told(back_end, service, 1)
    await tom.send(service.id, "second")
    await tom.send(service.id, "third")


def stop(server: ServerProcess) -> None:
    assert server.terminate() == 0
