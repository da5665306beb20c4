"""Applications in the console, and how the server fares."""

import pytest

from fastim.runtime.operators import NotPossible
from fastim.wire import messages2_pb2 as pb
from tests.doors.desk import desk
from tests.runtime.node import message as saying
from tests.runtime.node import starting

pytestmark = pytest.mark.anyio


async def test_applications_are_listed_without_their_master_keys() -> None:
    async with desk() as one:
        line = await one.node.line()
        await line.open("tom")
        assert await one.get("/applications") == [
            {"id": "app", "key": "key", "master_key_hint": "ster", "sessions": 1, "settings_stored": 0}
        ]


async def test_keys_are_shown_to_who_asks_for_them_and_that_is_noted() -> None:
    async with desk() as one:
        assert await one.get("/applications/app/keys") == {"key": "key", "master_key": "master", "hook_key": "hook"}
        assert (await one.audited())[0] == ("keys shown", "app", "")


async def test_an_application_is_created_and_served_at_once() -> None:
    async with desk() as one:
        made = await one.post("/applications", id="second-application")
        assert made.keys() == {"id", "key", "master_key", "hook_key"}
        assert len({*made.values()}) == 4
        keys = await one.get("/applications/second-application/keys")
        assert keys == {name: value for name, value in made.items() if name != "id"}
        assert [app["id"] for app in await one.get("/applications")] == ["app", "second-application"]
        stored = await one.node.memory.applications()
        assert {app.id: app.master_key for app in stored}["second-application"] == made["master_key"]
        assert ("application created", "", "second-application") in await one.audited()


async def test_an_application_without_a_name_gets_one() -> None:
    async with desk() as one:
        made = await one.post("/applications")
        assert len(made["id"]) == 24
        assert ("application created", "", made["id"]) in await one.audited()


@pytest.mark.parametrize("name", ["app", "short", "with spaces in it", "x" * 64 + "y", "ünicode-name"])
async def test_an_id_that_is_taken_or_that_sdks_cannot_use_is_refused(name: str) -> None:
    async with desk() as one:
        status, _ = await one.refusal("POST", "/applications", {"id": name})
        assert status == 400
        assert len(await one.get("/applications")) == 1


@pytest.mark.parametrize("which", ["key", "master_key", "hook_key"])
async def test_a_key_is_rotated_and_the_others_stay(which: str) -> None:
    async with desk() as one:
        before = await one.get("/applications/app/keys")
        after = await one.post("/applications/app/keys", which=which)
        assert {name for name in before if before[name] != after[name]} == {which}
        assert await one.get("/applications/app/keys") == after
        assert ("key rotated", "app", which) in await one.audited()
        assert all(after[which] not in detail for *_, detail in await one.audited())


async def test_there_is_no_other_key_to_rotate() -> None:
    async with desk() as one:
        assert (await one.refusal("POST", "/applications/app/keys", {"which": "number"}))[0] == 400


async def test_settings_are_handed_to_whoever_puts_them_in_force() -> None:
    async with desk() as one:
        await one.console.operators.change_settings("app", {"messages.recall_enabled": False})
        assert one.changes == [("app", {"messages.recall_enabled": False})]
        with pytest.raises(NotPossible) as caught:
            await one.console.operators.change_settings("app", {"no.such": 1})
        assert caught.value.field == "no.such"


async def test_live_figures_count_what_clients_do() -> None:
    async with desk() as one:
        line = await one.node.line()
        await line.open("tom")
        started = await line.call(starting("tom", "jerry"))
        while started.op != pb.started:  # what members are told may come before
            started = await line.receive()
        before = await one.get("/live")
        for _ in range(8):
            await line.call(saying(started.convMessage.cid))
        one.seconds.now += 1
        after = await one.get("/live")
        assert after["totals"]["sends"] - before["totals"]["sends"] == 8
        assert after["connections"] == {"tcp": 1, "websocket": 0}
        assert after["sessions"] == 1
        assert after["ack_ms"]["count"] == 8
        assert 0 < after["ack_ms"]["p50"] <= after["ack_ms"]["p99"]
        assert after["memory_bytes"] >= 0
        assert 0 < after["console_cpu_share"] < 1
        assert after["since"] <= after["at"]
