"""Who is cut off while it lags in a chat room of a real server, and what it is sent when it comes back."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from anyio import to_thread
from msgspec.structs import asdict

from fastim.wire import messages2_pb2 as pb
from tests.authority import Authority
from tests.end_to_end.room_readers import DOORS, HIGH, LOW, NORMAL, House, Reader, counted, house
from tests.end_to_end.scrape import bites
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FELL_BEHIND = 1013
NARROW = (
    *("--set", "delivery.room_window_bytes=65536", "--set", "delivery.room_high_bytes=65536"),
    *("--set", "delivery.room_high_messages=128", "--set", "delivery.room_gather_milliseconds=0"),
    *("--set", "limits.sends_per_minute=0", "--set", "limits.operations_per_minute=0"),
)


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


class Site(NamedTuple):
    server: ServerProcess
    authority: Authority


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("rooms")
    authority = Authority(directory)
    doors = ("--tcps", "127.0.0.1:0", "--https", "127.0.0.1:0", *authority.issue("server").settings)
    with ServerProcess(directory / "data", *doors, *NARROW) as server:
        yield Site(server, authority)
        assert '"level": "error"' not in server.log, server.log
        assert "Traceback" not in server.log, server.log


async def came_back(opened: House, lost: Reader, door: str, *, ours: bool = False, **session: Any) -> Reader:
    """The same device on a new connection; it does not ask for its room."""
    again = await opened.dial(door, lost.client_id, ours=ours)
    await again.open(deviceId="phone", **session)
    return again


def heard_once(opened: House, *readers: Reader) -> None:
    """Assert that one after the other they heard all that is high, in order; once, but for one that was cut."""
    numbers = [number for reader in readers for number in reader.numbers(HIGH)]
    assert list(dict.fromkeys(numbers)) == opened.numbers(HIGH)
    twice = [number for number, times in Counter(numbers).items() if times > 1]
    assert len(twice) < len(readers)
    for before, after in pairwise(readers):
        assert set(before.numbers(HIGH)) & set(after.numbers(HIGH)) <= set(before.numbers(HIGH)[-1:])


@pytest.mark.rule("5.32", "1.10")
@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("door", DOORS)
async def test_who_cannot_be_kept_all_that_is_high_is_closed_and_gets_it_when_it_comes_back(
    site: Site, door: str, ours: bool
) -> None:
    async with house(site.server, site.authority.trusting("http/1.1")) as opened:
        slow = await opened.reader(door, ours=ours, deviceId="phone")
        healthy = await opened.reader(small=False)
        before = (await bites(site.server)).get("overrun", 0)
        slow.stop()
        with anyio.fail_after(20):
            while (ledger := await opened.ledger()).readers > 1:
                await opened.write([HIGH, HIGH, LOW, NORMAL] * 25)
        assert (await bites(site.server))["overrun"] == before + 1
        assert ledger.closed.high > 0
        slow.go_on()
        await slow.until_ended()
        assert slow.farewell == FELL_BEHIND
        assert slow.numbers() == sorted(set(slow.numbers()))

        again = await came_back(opened, slow, door, ours=ours)
        await again.until_heard(opened.numbers(HIGH)[-1])
        heard_once(opened, slow, again)
        assert not again.numbers(LOW, NORMAL)
        last = await opened.write([LOW, NORMAL, HIGH])
        for reader in (again, healthy):
            await reader.until_heard(last)
            await reader.echo()
        assert again.numbers()[-3:] == opened.numbers()[-3:]
        assert healthy.numbers() == opened.numbers()
        heard_once(opened, slow, again)
        await opened.settled(readers=2)


@pytest.mark.rule("1.10", "5.32")
@pytest.mark.parametrize("how", ["vanished", "hung up"])
@pytest.mark.parametrize("door", ["tcp", "websocket_base64", "tcps"])
async def test_who_was_cut_off_is_sent_from_memory_what_is_high_with_nothing_else(
    site: Site, door: str, how: str
) -> None:
    async with house(site.server, site.authority.trusting()) as opened:
        lost = await opened.reader(door, deviceId="phone")
        witness = await opened.reader(small=False)
        await lost.until_heard(await opened.write([HIGH, LOW]))
        await (lost.vanish() if how == "vanished" else lost.hang_up())
        await opened.until_readers(1)
        await opened.write([HIGH, NORMAL, LOW] * 20)
        again = await came_back(opened, lost, door)
        last = await opened.write([NORMAL])
        for reader in (again, witness):
            await reader.until_heard(last)
            await reader.echo()
        heard_once(opened, lost, again)
        assert set(lost.numbers(HIGH)) & set(again.numbers(HIGH)) == set()
        assert again.numbers(LOW, NORMAL) == [last]
        assert witness.numbers() == opened.numbers()
        ledger = await opened.settled(readers=2)
        assert asdict(ledger.rejoined) == {"high": 20, "normal": 0, "low": 0}
        everybody = counted(one.priority for reader in (lost, again, witness) for one in reader.heard)
        assert asdict(ledger.written) == everybody


@pytest.mark.parametrize("stalls", ["reads", "stalls"])
async def test_what_it_missed_is_read_from_the_store_page_by_page(site: Site, stalls: str) -> None:
    """More than memory keeps, and more than the second connection takes at once."""
    async with house(site.server) as opened:
        lost = await opened.reader("tcp", deviceId="phone")
        witness = await opened.reader(small=False)
        await lost.vanish()
        await opened.until_readers(1)
        await opened.write([HIGH] * 500)
        again = await came_back(opened, lost, "tcp")
        if stalls == "stalls":
            again.stop()
        await opened.write([NORMAL])
        await witness.until_heard(await opened.write([HIGH]))
        again.go_on()
        await again.until_heard(500)
        last = await opened.write([LOW])
        await again.until_heard(last)
        assert again.numbers(HIGH) == opened.numbers(HIGH)
        assert len(again.numbers(HIGH)) == 501
        await opened.settled(readers=2)


async def test_who_is_cut_off_again_and_again_on_the_way_misses_nothing(site: Site) -> None:
    async with house(site.server) as opened:
        visits = [await opened.reader("tcp", deviceId="phone")]
        for number in range(6):
            visits[-1].stop()
            await opened.write([HIGH, LOW] * 60)
            # What is on its way is read: of a peer that resets nobody can know whether it has.
            await visits[-1].finish()
            visits.append(await came_back(opened, visits[-1], ("tcp", "websocket")[number % 2]))
        last = await opened.write([HIGH])
        await visits[-1].until_heard(last)
        numbers = [number for visit in visits for number in visit.numbers(HIGH)]
        assert list(dict.fromkeys(numbers)) == opened.numbers(HIGH)
        await opened.settled(readers=1)


@pytest.mark.rule("1.10")
@pytest.mark.parametrize("door", ["tcp", "websocket"])
async def test_a_device_that_comes_back_while_its_old_connection_lingers(site: Site, door: str) -> None:
    """The old one is put out, silently; what it was still owed the new one gets."""
    async with house(site.server) as opened:
        old, _ = await opened.reader(door, deviceId="phone"), await opened.reader(small=False)
        old.stop()
        await opened.write([HIGH, LOW, NORMAL] * 100)
        assert (await opened.ledger()).pending.high > 0
        again = await came_back(opened, old, door)
        last = await opened.write([HIGH])
        await again.until_heard(last)
        old.go_on()
        await old.until_ended()
        ledger = await opened.settled(readers=2)
        assert ledger.closed.high > 0
        heard_once(opened, old, again)


@pytest.mark.rule("1.10")
async def test_a_lagging_device_is_sent_what_it_missed_after_a_restart_of_the_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", *NARROW) as server:
        async with house(server) as opened:
            slow = await opened.reader("tcp", deviceId="phone")
            healthy = await opened.reader("tcp", small=False, deviceId="phone")
            away = await opened.reader("websocket", deviceId="phone")
            await away.hang_up()
            await opened.until_readers(2)
            slow.stop()
            last = await opened.write([HIGH, LOW, NORMAL] * 50)
            await healthy.until_heard(last)
            assert (await opened.ledger()).pending.high > 0
            await opened.put_down_the_pen()
            async with anyio.create_task_group() as group:
                group.start_soon(to_thread.run_sync, partial(server.restart))
                # It may lag, and still the server does not wait for it for ever.
                await healthy.until_ended()
                slow.go_on()
            await slow.until_ended()
            visits = []
            for one, door in ((slow, "websocket"), (healthy, "tcp"), (away, "tcp")):
                visits.append(await came_back(opened, one, door))
            last = await opened.write([HIGH, LOW])
            for before, after in zip((slow, healthy, away), visits, strict=True):
                await after.until_heard(last)
                heard_once(opened, before, after)
            assert healthy.numbers() + visits[1].numbers() == opened.numbers()
            assert visits[2].numbers(HIGH) == opened.numbers(HIGH)
            for after in visits:
                assert after.numbers(LOW) == [last]
        assert "Traceback" not in server.log, server.log


@pytest.mark.rule("1.10")
async def test_after_a_crash_of_the_server_a_device_is_in_its_room_and_misses_nothing_from_then_on(
    tmp_path: Path,
) -> None:
    with ServerProcess(tmp_path / "data", *NARROW) as server:
        async with house(server) as opened:
            reader = await opened.reader("tcp", deviceId="phone")
            await reader.until_heard(await opened.write([HIGH] * 3))
            await opened.put_down_the_pen()
            await to_thread.run_sync(partial(server.restart, crash=True))
            await reader.until_ended()
            await opened.write([HIGH, LOW, HIGH])
            again = await came_back(opened, reader, "tcp")
            await again.until_heard(await opened.write([LOW]))
            heard_once(opened, reader, again)
            assert again.numbers() == [3, 5, 6]


async def test_what_a_client_wrote_itself_it_is_not_sent_when_it_comes_back(site: Site) -> None:
    async with house(site.server) as opened:
        writer = f"writer-{opened.room}"
        lost = await opened.reader("tcp", writer, deviceId="phone")
        await lost.vanish()
        await opened.until_readers(0)
        await opened.write([HIGH] * 3)
        again = await came_back(opened, lost, "tcp")
        last = await opened.write([HIGH], "somebody")
        await again.until_heard(last)
        assert again.numbers() == [last]


async def test_a_device_that_left_its_room_or_closed_gets_nothing_when_it_comes_back(site: Site) -> None:
    async with house(site.server) as opened:
        await opened.reader(small=False)
        gone = [await opened.reader("tcp", deviceId="phone") for _ in range(2)]
        for one in gone:
            one.stop()
        await opened.write([HIGH, LOW] * 100)
        leaving = pb.ConvCommand(cid=opened.room, m=[gone[0].client_id])
        await gone[0].send(cmd=pb.conv, op=pb.remove, convMessage=leaving)
        await gone[1].send(cmd=pb.session, op=pb.close)
        ledger = await opened.until_readers(1)
        assert ledger.closed.high > 0
        for one in gone:
            one.go_on()
            await one.hang_up()
        visits = [await came_back(opened, one, "tcp") for one in gone]
        await opened.write([HIGH])
        for one in visits:
            await one.echo()
            assert not one.heard
