"""Lists of words as a real server reads them: at the start, and again while messages flow."""

import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from fastim.client import Conversation, MessageReceived
from tests.end_to_end.clients import PATIENCE_SECONDS, bell_for, device, someone
from tests.end_to_end.scrape import metric
from tests.server_process import ServerFailed, ServerProcess

MANY = 100_000
ON = ("--set", "words.enabled=true", "--set", "limits.sends_per_minute=0")


def words_of(number: int) -> bytes:
    """So many words, and ``pear``."""
    return b"pear\n" + b"".join(b"w%dx\n" % one for one in range(1, number))


async def send_until(group: Conversation, come: Callable[[], bool]) -> int:
    """Send one message after the other; how many it took."""
    sent = 0
    with anyio.fail_after(PATIENCE_SECONDS):
        while not come():
            await group.send("a plum")
            sent += 1
    return sent


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_large_list_is_put_in_force_while_messages_flow_and_a_broken_one_is_not(tmp_path: Path) -> None:
    file = anyio.Path(tmp_path / "words.txt")
    await file.write_bytes(b"plum\n")
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    with ServerProcess(tmp_path / "data", *ON, "--set", f"words.file={file}") as server:
        async with (
            device(server, tom) as one,
            device(server, jerry) as two,
            bell_for(server, tom, jerry) as bell,
        ):
            group = await one.create_conversation([jerry, spike])
            await bell.told(two)

            async def reload(content: bytes, says: str) -> list[str]:
                """What was heard while the server read the list, and once it had."""
                await file.write_bytes(content)
                before = server.log.count(says)
                server.process.send_signal(signal.SIGHUP)
                sent = await send_until(group, lambda: server.log.count(says) > before)
                await group.send("a pear and a plum")
                (events,) = await bell.told(two)
                heard = [event.message.text or "" for event in events if isinstance(event, MessageReceived)]
                assert len(heard) == sent + 1
                return heard

            *meanwhile, after = await reload(words_of(MANY), "the list of words was reloaded")
            assert after == "a *** and a plum"
            assert meanwhile == sorted(meanwhile), "the old list, and then the new one"
            assert set(meanwhile) <= {"a ***", "a plum"}
            assert await metric(server, "fastim_words_listed") == MANY

            *meanwhile, after = await reload(b"plum\npear\n\xff\n" + b"x" * 65, "the list of words was not reloaded")
            assert after == "a *** and a plum"
            assert set(meanwhile) == {"a plum"}
            assert "line 3" in server.log
            assert "line 4" in server.log
            assert await metric(server, "fastim_words_listed") == MANY

            *_, after = await reload(b"plum\n", "the list of words was reloaded")
            assert after == "a pear and a ***"
            assert await metric(server, "fastim_words_listed") == 1
            assert await metric(server, "fastim_words_masked_total") >= 3


@pytest.mark.slow
@pytest.mark.anyio
async def test_two_are_filtered_when_that_is_asked_for(tmp_path: Path) -> None:
    await anyio.Path(tmp_path / "words.txt").write_bytes(b"plum\n")
    config = tmp_path / "fastim.toml"
    await anyio.Path(config).write_text(f'[words]\nenabled = true\ntwo_enabled = true\nfile = "{tmp_path}/words.txt"\n')
    tom, jerry = someone("tom"), someone("jerry")
    with ServerProcess(tmp_path / "data", "--config", str(config)) as server:
        async with device(server, tom) as one, device(server, jerry):
            pair = await one.create_conversation([jerry])
            await pair.send("a plum")
            assert [message.text for message in await pair.history_page()] == ["a ***"]


@pytest.mark.slow
@pytest.mark.parametrize(("content", "says"), [(b"plum\n\xff\n", "line 2"), (None, "cannot be read")])
def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "words.txt"
    if content is not None:
        file.write_bytes(content)
    server = ServerProcess(tmp_path / "data", *ON, "--set", f"words.file={file}")
    with closing(server), pytest.raises(ServerFailed) as failed:
        server.start()
    last = str(failed.value).splitlines()[-1]
    assert last.startswith(f"fastim: words.file: {file}")
    assert says in last
    assert "Traceback" not in str(failed.value)
