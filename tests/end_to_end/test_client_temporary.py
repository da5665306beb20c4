"""Temporary conversations of a real server, through the client library."""

from pathlib import Path

import pytest

from fastim.client import Joined, MessageReceived, Refused, TemporaryConversation, UnreadChanged
from tests.end_to_end.clients import bell_for, device, someone, told
from tests.end_to_end.test_clock_steps import SteppingProcess
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def test_the_same_members_get_the_same_conversation_with_its_first_end(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one, device(server, jerry) as two:
        made = await one.create_temporary([jerry], ttl_seconds=600)
        again = await two.create_temporary([tom], ttl_seconds=60)
        assert (again.id, again.expires_at) == (made.id, made.expires_at)
        info = await two.conversation(made.id).fetch()
        assert (info.ttl_seconds, info.expires_at, set(info.members)) == (600, made.expires_at, {tom, jerry})
        lasting = await one.create_temporary([someone("spike")])
        assert lasting.expires_at is not None
        assert (await lasting.fetch()).ttl_seconds == 86_400
        found = await one.get_conversation(made.id)
        assert isinstance(found, TemporaryConversation)


async def test_everything_else_is_as_in_others(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as one, bell_for(server, tom, jerry) as bell:
        async with device(server, jerry) as two:
            made = await one.create_temporary([jerry])
            joined, _ = (await bell.told(two))[0]
            assert isinstance(joined, Joined)
            assert joined.conversation_id == made.id
            sent = await made.send("hello")
            assert await bell.told(two) == [[MessageReceived(sent)]]
            assert await two.conversation(made.id).is_member()
            assert await made.count_members() == 2
        missed = await made.send("missed")
        modified = await made.modify(sent, "hello, hello")
        async with device(server, jerry) as two:
            notice = await told(two, UnreadChanged)
            assert (notice.conversation_id, notice.count, notice.last_message) == (made.id, 2, missed)
            found = await two.conversation(made.id).history_page()
            assert [message.text for message in found] == [modified.text, missed.text]


async def test_who_is_in_it_and_how_long_it_lasts_is_settled(server: ServerProcess) -> None:
    async with device(server, someone("tom")) as tom:
        made = await tom.create_temporary([someone("jerry")])
        spike = someone("spike")
        for change in (lambda: made.add([spike]), made.leave, lambda: made.update({"name": "x"}), made.mute):
            with pytest.raises(Refused):
                await change()
        with pytest.raises(Refused, match="4304"):
            await tom.create_temporary([someone(f"{number}") for number in range(10)])
        assert await made.count_members() == 2


@pytest.mark.slow
async def test_after_its_end_it_is_one_that_does_not_exist(tmp_path: Path) -> None:
    with SteppingProcess(tmp_path / "data") as server:
        async with device(server, "tom") as tom:
            made = await tom.create_temporary(["jerry"], ttl_seconds=3600)
            await made.send("quick")
            server.set_clock(3_599_000)
            assert await made.count_members() == 2
            server.set_clock(3_600_000)
            for call in (lambda: made.send("late"), made.history_page, made.count_members):
                with pytest.raises(Refused, match="4303"):
                    await call()
            with pytest.raises(LookupError):
                await made.fetch()
            other = await tom.create_temporary(["jerry"], ttl_seconds=60)
            assert other.id != made.id
