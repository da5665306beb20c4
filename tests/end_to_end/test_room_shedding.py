"""Chat rooms of a real server with readers that lag, at every door: who gets what, and what the ledger says of it."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from msgspec.structs import asdict

from fastim.core.ledger import Counts, Ledger
from fastim.wire import messages2_pb2 as pb
from tests.authority import Authority
from tests.end_to_end.room_readers import (
    DOORS,
    HIGH,
    LOW,
    NORMAL,
    PRIORITIES,
    SHED,
    House,
    Reader,
    counted,
    house,
    room_metrics,
    sums,
)
from tests.end_to_end.scrape import memory_of
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MIB = 2**20
WINDOW_BYTES = 131_072
SETTINGS = (
    *("--set", f"delivery.room_window_bytes={WINDOW_BYTES}", "--set", "delivery.room_low_milliseconds=0"),
    *("--set", "delivery.room_gather_milliseconds=0"),
    *("--set", "limits.sends_per_minute=0", "--set", "limits.message_bytes=16384"),
    *("--set", "limits.operations_per_minute=0"),
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
    with ServerProcess(directory / "data", *doors, *SETTINGS) as server:
        yield Site(server, authority)
        assert '"level": "error"' not in server.log, server.log
        assert "Traceback" not in server.log, server.log


def mixed(number: int, seed: int) -> list[int]:
    """So many priorities, of which one in ten is high and six in ten are low."""
    return random.Random(seed).choices((HIGH, NORMAL, LOW), (1, 3, 6), k=number)


async def caught_up(reader: Reader, last: int, owed: Counter[int]) -> None:
    """Wait until ``reader`` has heard the last message and been told of those that it did not get."""
    await reader.until_heard(last)
    if reader.ours:
        await reader.until(lambda: Counter(one.priority for one in reader.heard) + reader.gaps == owed)
    await reader.echo()


@pytest.mark.rule("5.32", "5.33", "5.34")
async def test_a_fifth_of_a_crowd_stops_reading_and_the_others_hear_everything(site: Site) -> None:
    before = await room_metrics(site.server)
    async with house(site.server, site.authority.trusting("http/1.1")) as opened:
        ways = list(product(DOORS, (False, True))) * 5
        readers = [await opened.reader(door, ours=ours, small=number < 10) for number, (door, ours) in enumerate(ways)]
        slow, healthy = readers[:10], readers[10:]
        for reader in slow:
            reader.stop()
        for step in range(8):
            last = await opened.write(mixed(100, step))
            await opened.ledger()
        for reader in healthy:
            await reader.until_heard(last)
            assert reader.numbers() == opened.numbers()
        ledger = await opened.ledger()
        assert ledger.pending.high > 0
        assert ledger.torn != Counts()
        for reader in slow:
            reader.go_on()
        last = await opened.write([HIGH])
        owed = Counter(priority for _, priority in opened.posted)
        for reader in readers:
            await caught_up(reader, last, owed)

        for reader in slow:
            numbers = reader.numbers()
            assert numbers == sorted(set(numbers)), "in order, none twice"
            assert {(one.number, one.priority) for one in reader.heard} <= set(opened.posted)
            assert reader.numbers(HIGH) == opened.numbers(HIGH)
            shed = owed - Counter(one.priority for one in reader.heard)
            assert shed[LOW] > 0
            assert reader.gaps == (shed if reader.ours else Counter())
        for reader in readers:
            named = "" if reader.ours else reader.client_id
            assert {one.session for one in reader.heard} == {named}
            assert not reader.told

        ledger = await opened.settled()
        heard = counted(one.priority for reader in readers for one in reader.heard)
        assert asdict(ledger.messages) == counted(owed.elements())
        assert asdict(ledger.owed) == {name: len(readers) * n for name, n in counted(owed.elements()).items()}
        assert asdict(ledger.written) == heard
        assert sums(ledger, *SHED) == {name: n - heard[name] for name, n in asdict(ledger.owed).items()}
        assert ledger.closed == Counts()
        assert metrics_of(ledger) == +(await room_metrics(site.server) - before)


def metrics_of(ledger: Ledger) -> Counter[str]:
    """The same as metrics say it."""
    rows = {name: one for name, one in asdict(ledger).items() if isinstance(one, Counts)}
    said = Counter({f"{name}.{priority}": n for name, one in rows.items() for priority, n in asdict(one).items()})
    said.update({f"shed.{priority}": n for priority, n in sums(ledger, *SHED).items()})
    return +said


@pytest.mark.rule("5.34")
@pytest.mark.parametrize("door", ["tcp", "websocket_base64", "https"])
async def test_low_goes_first_then_all_normal_but_a_sample_of_each_sender(site: Site, door: str) -> None:
    async with house(site.server, site.authority.trusting("http/1.1")) as opened:
        slow = await opened.reader(door, ours=True)
        last = await opened.write([LOW])
        await slow.until_heard(last)
        body_bytes = slow.body_bytes

        # A third of the window behind, everything but low messages.
        await opened.lag(slow, priorities=[HIGH, NORMAL, LOW], frames=WINDOW_BYTES // 3 // body_bytes)
        ledger = await opened.ledger()
        assert ledger.owed.low > 30
        slow.go_on()
        last = await opened.write([NORMAL])
        await caught_up(slow, last, Counter(priority for _, priority in opened.posted))
        assert slow.numbers(HIGH, NORMAL) == opened.numbers(HIGH, NORMAL)
        assert slow.gaps[LOW] > 0
        ledger = await opened.settled()
        assert sums(ledger, *SHED) == sums(ledger, "shed_age") == {"high": 0, "normal": 0, "low": slow.gaps[LOW]}

        # Three quarters of it, of each of those who write the first normal one in a second.
        await opened.lag(slow, priorities=[NORMAL], frames=1)
        first = await opened.write([NORMAL] * 6, *(f"quiet-{number}" for number in range(6))) - 5
        await opened.lag(slow, priorities=[NORMAL, NORMAL, NORMAL, HIGH], frames=WINDOW_BYTES * 3 // 4 // body_bytes)
        slow.go_on()
        last = await opened.write([LOW])
        await slow.until(lambda: slow.numbers(HIGH) == opened.numbers(HIGH))
        last = await opened.write([LOW])
        await caught_up(slow, last, Counter(priority for _, priority in opened.posted))
        assert slow.numbers(HIGH) == opened.numbers(HIGH)
        assert set(range(first, first + 6)) <= set(slow.numbers(NORMAL))
        ledger = await opened.settled()
        assert ledger.shed_sample.normal == slow.gaps[NORMAL] > 0
        assert ledger.shed_overrun == Counts()


async def test_memory_does_not_grow_with_readers_that_have_stopped(site: Site) -> None:
    slow, messages, size = 60, 600, 8_000
    async with house(site.server, site.authority.trusting("http/1.1")) as opened:
        readers = [await opened.reader("tcps" if number % 6 == 0 else "tcp") for number in range(slow)]
        for reader in readers:
            reader.stop()
        await opened.write([NORMAL] * 20, padding="y" * size)
        before = memory_of(site.server)
        await opened.write([LOW, NORMAL] * (messages // 2), padding="y" * size)
        grown = memory_of(site.server) - before
        # Each of them is owed 4.8 MB.
        assert grown < 16 * MIB < slow * messages * size / 10
        ledger = await opened.ledger()
        assert sum(asdict(ledger.written).values()) < slow * messages / 10
        for reader in readers:
            await reader.vanish()
        await opened.until_readers(0)


@pytest.mark.parametrize("door", DOORS)
async def test_recalls_changes_and_attributes_come_behind_what_they_concern(site: Site, door: str) -> None:
    async with house(site.server, site.authority.trusting("http/1.1")) as opened:
        slow, healthy = await opened.reader(door), await opened.reader(door, small=False)
        slow.stop()
        last = await opened.write([HIGH, LOW, NORMAL] * 100)
        sender = f"writer-{opened.room}"
        path = f"/1.2/rtm/chatrooms/{opened.room}"
        changed = await opened.rest.get(f"{path}/messages?limit=1")
        at = {"from_client": sender, "timestamp": changed[0]["timestamp"]}
        assert changed[0]["msg-id"] == opened.ids[last]
        await opened.rest.put(f"{path}/messages/{opened.ids[last]}", **at, message="changed")
        await opened.rest.put(path, name="renamed")
        await opened.rest.put(f"{path}/messages/{opened.ids[last]}/recall", **at)
        end = await opened.write([HIGH])
        slow.go_on()
        for reader in (healthy, slow):
            await reader.until_heard(end)
            await reader.echo()
            kinds = [(one.cmd, one.op) for one in reader.told]
            assert kinds == [(pb.patch, pb.modify), (pb.conv, pb.updated), (pb.patch, pb.modify)]
            assert [one.patchMessage.patches[0].recall for one in reader.told if one.cmd == pb.patch] == [False, True]
            assert [one.peerId for one in reader.told] == [reader.client_id] * 3
        assert healthy.numbers() == opened.numbers()
        assert slow.numbers(HIGH) == opened.numbers(HIGH)


async def test_who_takes_nothing_is_cut_off_and_who_takes_little_is_not(tmp_path: Path) -> None:
    settings = (*SETTINGS, "--set", "limits.write_timeout_seconds=1")
    with ServerProcess(tmp_path / "data", *settings) as server:
        async with house(server) as opened:
            deaf, slow = await opened.reader("tcp"), await opened.reader("websocket")
            for reader in (deaf, slow):
                reader.stop()
            await opened.write([HIGH] * 600)
            with anyio.fail_after(20):
                # A little at a time: what it has not read is far more than its socket takes.
                while (await opened.ledger()).readers > 1:
                    slow.go_on()
                    await anyio.lowlevel.checkpoint()
                    slow.stop()
            ledger = await opened.ledger()
            assert ledger.closed.high > 0
            slow.go_on()
            await slow.until_heard(len(opened.posted) - 1)
            assert slow.numbers() == opened.numbers()
            deaf.go_on()
            await deaf.until_ended()
            assert deaf.numbers() == opened.numbers()[: len(deaf.heard)]
        assert "Traceback" not in server.log, server.log


class TestAtTheDoor:
    async def test_a_room_takes_so_many_of_each_priority_in_a_second(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data", *SETTINGS, "--set", "limits.room_sends_per_second=5") as server:
            for priority in PRIORITIES:
                async with house(server) as opened:
                    await is_held_to_five(opened, priority)

    async def test_a_server_that_is_late_takes_no_low_ones(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data", *SETTINGS, "--set", "limits.governor_lag_milliseconds=50") as server:
            async with house(server) as opened:
                reader = await opened.reader()
                assert not (await say(opened, reader, LOW)).ackMessage.code
                await opened.hold_up(0.3)
                with anyio.fail_after(10):
                    while not (refused := await say(opened, reader, LOW)).ackMessage.code:
                        pass
                    assert refused.ackMessage.code == 4116
                    for priority in (NORMAL, HIGH):
                        assert not (await say(opened, reader, priority)).ackMessage.code
                    while (await say(opened, reader, LOW)).ackMessage.code:
                        pass
                ledger = await opened.ledger()
                assert ledger.refused_governor.low > 0
                assert (ledger.refused_governor.high, ledger.refused_governor.normal) == (0, 0)


async def is_held_to_five(opened: House, priority: int) -> None:
    reader = await opened.reader()
    replies = [await say(opened, reader, one) for one in [priority] * 30]
    refused = [reply for reply in replies if reply.ackMessage.code]
    assert 0 < len(refused) < 30
    for reply in refused:
        assert reply.ackMessage.code == 4116
        assert not reply.ackMessage.uid
    for one in PRIORITIES:
        if one != priority:
            assert not (await say(opened, reader, one)).ackMessage.code
    ledger = await opened.ledger()
    assert asdict(ledger.refused_rate) == counted([priority] * len(refused))
    assert ledger.refused_governor == Counts()
    history = await opened.rest.get(f"/1.2/rtm/chatrooms/{opened.room}/messages?limit=100")
    assert len(history) == sum(asdict(ledger.messages).values()) == 32 - len(refused)


async def say(opened: House, reader: Reader, priority: int) -> pb.GenericCommand:
    """The answer to a message that somebody in the room writes."""
    direct = pb.DirectCommand(cid=opened.room, msg=b"%d 0 x" % priority)
    return await reader.ask(cmd=pb.direct, directMessage=direct, priority=priority)
