"""Listed words in what clients of a real server say."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

from fastim.client import Client, Conversation, MessageModified, MessageReceived
from tests.end_to_end.clients import Bell, bell_for, device, someone
from tests.end_to_end.rest import Rest
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio

LIST = Path(__file__).parents[2] / "examples" / "words.txt"
MASKED_CODE = -4408


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that masks the words of the sample list."""
    settings = ("--set", "words.enabled=true", "--set", f"words.file={LIST}")
    with ServerProcess(tmp_path_factory.mktemp("words") / "data", *settings) as process:
        yield process
        assert '"level": "error"' not in process.log, process.log
        assert "Traceback" not in process.log, process.log


class Three(NamedTuple):
    """Three who talk in a group, and who can tell when all has been said."""

    tom: Client
    jerry: Client
    group: Conversation
    bell: Bell


@asynccontextmanager
async def three(server: ServerProcess) -> AsyncIterator[Three]:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        device(server, tom) as one,
        device(server, jerry) as two,
        bell_for(server, tom, jerry) as bell,
    ):
        group = await one.create_conversation([jerry, spike])
        await bell.told(one, two)
        yield Three(one, two, group, bell)


async def test_a_listed_word_is_masked_for_everybody_and_its_sender_is_told_why(server: ServerProcess) -> None:
    async with three(server) as (tom, jerry, group, bell):
        sent = await group.send("Durian?", mentions=[jerry.id])
        to_tom, to_jerry = await bell.told(tom, jerry)
        (received,) = to_jerry
        assert isinstance(received, MessageReceived)
        assert (received.message.id, received.message.text) == (sent.id, "***?")
        assert received.message.mentions == (jerry.id,)
        (told,) = to_tom
        assert isinstance(told, MessageModified)
        assert (told.message.id, told.message.text, told.code) == (sent.id, "***?", MASKED_CODE)
        assert told.reason
        (kept,) = await group.history_page()
        assert kept.text == "***?"


async def test_history_never_has_the_word_and_an_innocent_message_is_told_to_nobody_twice(
    server: ServerProcess,
) -> None:
    async with three(server) as (tom, jerry, group, bell):
        await group.send("turnips")
        await bell.told(tom, jerry)
        await group.send("bread")
        to_tom, (received,) = await bell.told(tom, jerry)
        assert to_tom == []
        assert isinstance(received, MessageReceived)
        assert [message.text for message in await group.history_page()] == ["***s", "bread"]
        assert b"turnip" not in b"".join(path.read_bytes() for path in server.data.iterdir())


async def test_a_message_is_masked_when_it_is_modified(server: ServerProcess) -> None:
    async with three(server) as (tom, jerry, group, bell):
        sent = await group.send("tea")
        await bell.told(tom, jerry)
        await group.modify(sent, "kumquat tea")
        (to_tom,), (to_jerry,) = await bell.told(tom, jerry)
        assert isinstance(to_tom, MessageModified)
        assert isinstance(to_jerry, MessageModified)
        assert (to_tom.message.text, to_tom.code) == ("*** tea", MASKED_CODE)
        assert (to_jerry.message.text, to_jerry.code) == ("*** tea", None)


async def test_bytes_and_talk_between_two_are_left_alone(server: ServerProcess) -> None:
    async with three(server) as (tom, jerry, group, bell):
        await group.send(b"durian")
        pair = await tom.create_conversation([jerry.id], unique=False)
        await pair.send("durian")
        to_tom, to_jerry = await bell.told(tom, jerry)
        assert not any(isinstance(event, MessageModified) for event in to_tom)
        said = [event.message for event in to_jerry if isinstance(event, MessageReceived)]
        assert said[0].raw == b"durian"
        assert said[1].text == "durian"


@pytest.mark.slow
async def test_a_list_is_brought_and_taken_away_while_the_server_runs(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--set", "words.enabled=true") as server:
        rest = Rest(server)
        async with three(server) as (tom, jerry, group, bell):

            async def heard() -> str | None:
                await group.send("bread, durian")
                received = (await bell.told(tom, jerry))[1][0]
                assert isinstance(received, MessageReceived)
                return received.message.text

            assert await heard() == "bread, durian"
            assert await rest.ask("PUT", "/1.2/rtm/words", LIST.read_bytes()) == (200, {"words": 31})
            assert await heard() == "bread, ***"
            assert await rest.ask("PUT", "/1.2/rtm/words", b"bread") == (200, {"words": 1})
            assert await heard() == "***, durian"
            assert (await rest.ask("PUT", "/1.2/rtm/words", b"durian\n\xff"))[0] == 400
            assert await heard() == "***, durian"
        await anyio.to_thread.run_sync(server.restart)
        async with three(server) as (tom, jerry, group, bell):
            assert await heard() == "***, durian"
            await rest.delete("/1.2/rtm/words")
            assert await heard() == "bread, durian"
