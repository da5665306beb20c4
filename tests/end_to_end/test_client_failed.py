"""Messages that a client of a real server could not send, and how they get there in the end."""

from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from fastim.client import ClientClosed, Disconnected, MessageReceived, connect
from tests.client.line import line_to
from tests.end_to_end.clients import QUICK, bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def test_a_message_that_was_given_up_is_stored_and_delivered_once(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    async with (
        line_to(server.tcp.host, server.tcp.port) as line,
        device(server, jerry) as two,
        connect(line.address, app_id=server.app_id, client_id=tom, timing=QUICK) as one,
        bell_for(server, jerry) as bell,
    ):
        room = await one.create_conversation([jerry])
        arrived = await room.send("did you get this?", token="known")
        await bell.told(two)
        line.cut()
        while not isinstance(await anext(one.events()), Disconnected):
            pass
        for text, token in (("did you get this?", "known"), ("are you there?", "new")):
            with anyio.move_on_after(0.01):
                await room.send(text, token=token)
        assert [message.token for message in one.failed] == ["known", "new"]
        line.mend()
        outcome = await one.failed.resend_all()
        assert outcome.refused == ()
        assert outcome.sent[0].id == arrived.id
        assert [message.text for message in await room.history_page()] == ["did you get this?", "are you there?"]
        assert await bell.told(two) == [[MessageReceived(outcome.sent[1])]]
        assert len(one.failed) == 0


@pytest.mark.slow
async def test_what_could_not_be_sent_before_the_program_ended_is_sent_by_its_next_run(
    own_server: ServerProcess, tmp_path: Path
) -> None:
    path = tmp_path / "failed.json"
    async with device(own_server, "tom", failed_messages=path) as tom:
        room = await tom.create_conversation(["jerry"])
        await to_thread.run_sync(own_server.kill)
        while not isinstance(await anext(tom.events()), Disconnected):
            pass
        async with anyio.create_task_group() as tasks:

            async def send(text: str) -> None:
                with pytest.raises(ClientClosed):
                    await room.send(text)

            for text in ("one", "two"):
                tasks.start_soon(send, text)
            await anyio.wait_all_tasks_blocked()
            await tom.close()
        assert len(tom.failed) == 2
    await to_thread.run_sync(own_server.start)
    async with device(own_server, "tom", failed_messages=path) as tom, device(own_server, "jerry") as jerry:
        outcome = await tom.failed.resend_all()
        assert sorted(message.text for message in outcome.sent) == ["one", "two"]
        assert [(await told(jerry, MessageReceived)).message for _ in range(2)] == list(outcome.sent)
    async with device(own_server, "tom", failed_messages=path) as tom:
        assert len(tom.failed) == 0
