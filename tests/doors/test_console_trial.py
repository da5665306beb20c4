"""Trying the server out: who may, what there is, and that nobody else's application is shown."""

import asyncio
import json
from typing import Any

import pytest

from fastim.core.session import office
from fastim.doors.http.console.entrance import IDLE_SECONDS
from fastim.runtime.trial import APPLICATION_ID, SETTINGS, WORDS
from fastim.service.conversations import delete_conversation
from tests.doors.desk import Desk, desk

pytestmark = pytest.mark.anyio

BY_NAME = "localhost:4568"


async def ask(one: Desk, target: str = "/try", *fields: str, host: str = BY_NAME) -> tuple[int, Any]:
    """What a browser is told that found the server as ``host``."""
    lines = [f"GET /console/api{target} HTTP/1.1", f"Host: {host}", *fields]
    if one.cookie:
        lines.append(f"Cookie: fastim_console={one.cookie}")
    await one.socket.write("\r\n".join((*lines, "\r\n")).encode())
    status, _, answer = await one.socket.read_response()
    return status, json.loads(answer)


async def test_on_this_machine_it_works_before_there_is_a_password() -> None:
    async with desk(signed_in=False) as one:
        status, ground = await ask(one)
        assert status == 200
        made = one.node.dispatcher.tenants[APPLICATION_ID].application
        assert ground["application"] == {"id": made.id, "key": made.key}
        assert ground["server"] == f"ws://{BY_NAME}"
        assert ground["words"] == list(WORDS)


async def test_the_master_key_is_not_told() -> None:
    async with desk(signed_in=False) as one:
        _, ground = await ask(one)
        made = one.node.dispatcher.tenants[APPLICATION_ID].application
        assert made.master_key not in json.dumps(ground)
        assert made.hook_key not in json.dumps(ground)


async def test_its_words_are_listed_and_masked_between_two_as_well() -> None:
    async with desk(signed_in=False) as one:
        await ask(one)
        assert (APPLICATION_ID, dict(SETTINGS)) in one.changes
        tenant = one.node.dispatcher.tenants[APPLICATION_ID]
        assert tenant.words.test("spare me the s.p.o.i.l.e.r").masked == "spare me the ***"
        assert len(tenant.words) == len(WORDS)


async def test_there_is_one_application_with_one_room_however_often_and_at_once_it_is_asked_for() -> None:
    async with desk(signed_in=False) as one:
        trial = one.console.trial
        assert trial is not None
        first, *others = await asyncio.gather(*(trial.open() for _ in range(5)))
        assert others == [first] * 4
        assert len(one.node.dispatcher.tenants) == 2


async def test_a_room_that_was_deleted_is_made_again() -> None:
    async with desk(signed_in=False) as one:
        _, before = await ask(one)
        await delete_conversation(one.node.dispatcher.tenants[APPLICATION_ID].io, before["room"])
        _, after = await ask(one)
        assert after["room"] != before["room"]
        assert after["application"] == before["application"]


async def test_the_ledger_is_that_of_the_room() -> None:
    async with desk(signed_in=False) as one:
        _, ground = await ask(one)
        io = one.node.dispatcher.tenants[APPLICATION_ID].io
        io.rooms.enter(ground["room"], office("tom"))
        status, ledger = await ask(one, "/try/ledger")
        assert status == 200
        assert ledger["owed"] == {"high": 0, "normal": 0, "low": 0}
        assert {"readers", "messages", "written", "shed_age", "shed_distance", "shed_sample", "shed_overrun"} <= set(
            ledger
        )


@pytest.mark.parametrize("target", ["/try", "/try/ledger"])
async def test_who_is_elsewhere_has_to_sign_in(target: str) -> None:
    async with desk(signed_in=False) as one:
        status, answer = await ask(one, target, "X-Forwarded-For: 192.0.2.1")
        assert status == 401
        assert answer["error"]
        assert APPLICATION_ID not in one.node.dispatcher.tenants


@pytest.mark.parametrize("target", ["/try", "/try/ledger"])
@pytest.mark.parametrize(
    "host", ["rebound.example.com", "rebound.example.com:4568", "192.0.2.1", "localhost.example.com"]
)
async def test_a_name_that_somebody_made_lead_here_does_not_count_as_this_machine(target: str, host: str) -> None:
    async with desk(signed_in=False) as one:
        assert (await ask(one, target, host=host))[0] == 401


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:4568", "127.0.0.2", "[::1]:4568", "[::1]"])
async def test_this_machine_goes_by_several_names(host: str) -> None:
    async with desk(signed_in=False) as one:
        status, ground = await ask(one, host=host)
        assert (status, ground.get("server")) == (200, f"ws://{host}")


async def test_who_has_signed_in_may_try_it_from_anywhere() -> None:
    async with desk() as one:
        status, ground = await ask(
            one, "/try", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", host="chat.example.com"
        )
        assert (status, ground.get("server")) == (200, "wss://chat.example.com")


async def test_an_application_of_that_id_that_was_there_before_is_not_shown() -> None:
    async with desk() as one:
        await one.post("/applications", id=APPLICATION_ID)
        key = one.node.dispatcher.tenants[APPLICATION_ID].application.key
        status, answer = await ask(one)
        assert status == 400
        assert key not in json.dumps(answer)
        assert (await ask(one, "/try/ledger"))[0] == 400


@pytest.mark.parametrize("target", ["/try", "/try/ledger"])
async def test_it_can_be_switched_off(target: str) -> None:
    async with desk(trial=False) as one:
        assert (await ask(one, target))[0] == 404
        assert APPLICATION_ID not in one.node.dispatcher.tenants


async def test_a_page_that_is_left_open_does_not_keep_anybody_signed_in() -> None:
    async with desk() as one:
        one.seconds.now += IDLE_SECONDS - 1
        assert (await ask(one, "/try/ledger"))[0] == 200
        one.seconds.now += 1
        assert (await ask(one, "/session"))[1]["signed_in"] is False
