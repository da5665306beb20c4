"""Who is online, as a real server tells those who watch, through the client library."""

import anyio
import pytest

from fastim.client import Disconnected, PresenceChanged, Reconnected, connect
from tests.client.line import line_to
from tests.end_to_end.clients import QUICK, bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def test_who_watches_is_told_within_two_seconds_who_comes_and_goes(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with device(server, tom) as watcher, device(server, jerry) as phone, bell_for(server, tom) as bell:
        await bell.told(watcher)
        assert await watcher.watch([jerry, spike]) == {jerry}
        async with device(server, spike):
            with anyio.fail_after(2):
                assert await told(watcher, PresenceChanged) == PresenceChanged((spike,), True)
            async with device(server, jerry):  # a second device is no news
                pass
        with anyio.fail_after(2):
            assert await told(watcher, PresenceChanged) == PresenceChanged((spike,), False)
        await watcher.unwatch([spike])
        async with device(server, spike):
            pass
        assert await bell.told(watcher) == [[]]
        await phone.close()
        assert await told(watcher, PresenceChanged) == PresenceChanged((jerry,), False)


async def test_after_a_reconnection_who_watches_is_told_what_has_changed_and_goes_on(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with (
        line_to(server.tcp.host, server.tcp.port) as line,
        connect(line.address, app_id=server.app_id, client_id=tom, timing=QUICK) as watcher,
        device(server, jerry) as phone,
    ):
        assert await watcher.watch([jerry, spike]) == {jerry}
        line.cut()
        await told(watcher, Disconnected)
        await phone.close()
        async with device(server, spike):
            line.mend()
            await told(watcher, Reconnected)
            changes = [await told(watcher, PresenceChanged), await told(watcher, PresenceChanged)]
            assert changes == [PresenceChanged((spike,), True), PresenceChanged((jerry,), False)]
        assert await told(watcher, PresenceChanged) == PresenceChanged((spike,), False)


async def test_500_can_be_watched_at_once(server: ServerProcess) -> None:
    names = [someone(f"{number:03}-{'x' * 40}") for number in range(500)]
    async with device(server, someone("tom")) as watcher, device(server, names[-1]):
        assert await watcher.watch(names) == {names[-1]}
        async with device(server, names[250]):
            assert await told(watcher, PresenceChanged) == PresenceChanged((names[250],), True)
        with pytest.raises(ValueError, match="500"):
            await watcher.watch([someone("one more")])
        await told(watcher, PresenceChanged)
        await watcher.unwatch(names)
        assert await watcher.watch([names[-1]]) == {names[-1]}
