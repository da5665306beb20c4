"""The examples in the documentation, run as they are printed there."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

import fastim.client
from fastim.client import PresenceChanged, Role, Signature, SignatureRequest, signed
from tests.client.service import found_service
from tests.end_to_end.clients import device, told
from tests.server_process import ServerProcess

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


def examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_first_example_of_the_client_page_runs(server: ServerProcess, backend: str) -> None:
    code = examples()[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    for placeholder, value in (
        ('"127.0.0.1:4567"', f'"{server.tcp}"'),
        ('"YOUR_APP_ID"', f'"{server.app_id}"'),
        ("anyio.run(main)", f'anyio.run(main, backend="{backend}")'),
    ):
        assert placeholder in code
        code = code.replace(placeholder, value)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (run.stdout, run.returncode) == ("tom says Hello, Jerry!\n", 0), run.stderr


async def run(number: int, **names: Any) -> dict[str, Any]:
    """Run an example from top to bottom, with these names and those of the package; return all names after it."""
    known: dict[str, Any] = {name: getattr(fastim.client, name) for name in fastim.client.__all__}
    known |= names
    running = eval(compile(examples()[number], str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), known)
    if inspect.iscoroutine(running):
        await running
    return known


@pytest.mark.anyio
async def test_the_overview_of_calls_runs_from_top_to_bottom(own_server: ServerProcess) -> None:
    async with device(own_server, "tom") as tom:
        names = await run(1, tom=tom)
        found = [message async for message in names["room"].history()]
    assert [message.text for message in found if not message.recalled] == ["hey", "text"]
    assert len(found) == 3


@pytest.mark.anyio
async def test_the_business_card_and_the_red_packet_arrive(own_server: ServerProcess) -> None:
    async with device(own_server, "tom") as tom, device(own_server, "jerry") as jerry:
        names = await run(2)
        room = await tom.create_conversation(["jerry"])
        packets = await names["be_generous"](room)
        assert packets == ["8.80 with the words 'good luck'"]
        found = [names["describe"](message) async for message in jerry.conversation(room.id).history()]
    assert found == ["something else", "hello", *packets, "the card of Tom from House of Mice"]


@pytest.mark.anyio
async def test_rooms_services_and_temporary_conversations_are_used_as_shown(own_server: ServerProcess) -> None:
    service = await found_service(own_server, "news")
    async with device(own_server, "tom") as tom:
        names = await run(3, tom=tom, service_id=service.id)
        assert names["rooms"] == [names["lobby"]]
        assert await names["lobby"].count_online() == 0
        assert [message.text for message in await names["lobby"].history_page()] == ["important"]
        assert not await names["news"].is_subscribed()


@pytest.mark.anyio
async def test_who_may_do_what_is_managed_as_shown(own_server: ServerProcess) -> None:
    async with device(own_server, "tom") as tom:
        room = await tom.create_conversation(["jerry", "spike"])
        await run(4, tom=tom, room=room, other_id=room.id)
        assert await room.roles() == {"jerry": Role.MANAGER}
        assert await room.silenced() == await room.blocked() == await tom.blocked_conversations() == []
        assert set((await room.fetch()).members) == {"tom", "jerry"}


@pytest.mark.anyio
async def test_others_are_watched_as_shown(own_server: ServerProcess) -> None:
    async with device(own_server, "tom") as tom:
        await run(5, tom=tom)
        async with device(own_server, "spike"), device(own_server, "jerry"):
            assert await told(tom, PresenceChanged) == PresenceChanged(("jerry",), online=True)


@pytest.mark.anyio
async def test_missed_messages_are_caught_up_with_as_shown(own_server: ServerProcess) -> None:
    names = await run(6)
    async with device(own_server, "tom") as tom:
        room = await tom.create_conversation(["jerry"])
        seen = await room.send("seen")
        missed = [await room.send("missed"), await room.send("that, too")]
        async with device(own_server, "jerry") as jerry:
            assert await names["catch_up"](jerry, seen) == missed


@pytest.mark.anyio
async def test_failed_messages_are_sent_again_as_shown(own_server: ServerProcess) -> None:
    async with device(own_server, "tom") as tom, device(own_server, "jerry") as jerry:
        ours, theirs = await tom.create_conversation([]), await jerry.create_conversation([])
        for room in (ours, tom.conversation(theirs.id)):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await room.send("hello")
        assert len(tom.failed) == 2
        names = await run(7, tom=tom)
        assert [message.text for message in names["outcome"].sent] == ["hello"]
        assert len(names["outcome"].refused) == 1
        assert len(tom.failed) == 0


@pytest.mark.anyio
async def test_the_signer_signs_as_shown(own_server: ServerProcess) -> None:
    async def ask_my_server(request: SignatureRequest) -> Signature:
        return signed(request, own_server.master_key)

    names = await run(8, ask_my_server=ask_my_server)
    async with device(own_server, "tom", signer=names["signer"]) as tom:
        assert tom.token


def test_there_is_no_other_example() -> None:
    assert len(examples()) == 9
