"""``kill -9`` in the middle of everything that clients can do: each thing is done everywhere afterwards, or nowhere."""

import asyncio
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
import trio

from fastim.adapters.lmdb.verify import verify
from tests.crash.feature_conversations import (
    Deletions,
    Joins,
    Leaves,
    RoomStarts,
    Starts,
    Subscriptions,
    TemporaryStarts,
    UniqueStarts,
)
from tests.crash.feature_governance import Blocks, Refusals, Releases, Roles, Silences, SilencesForATime
from tests.crash.feature_messages import Patches, Reads, Receptions, Stays
from tests.crash.house import Feature, House
from tests.crash.ledger import Ledger, Views
from tests.crash.plan import PLAN
from tests.crash.sweeping import RULES, Sweeping
from tests.crash.wills import Legacies
from tests.end_to_end.test_clock_steps import SteppingProcess
from tests.server_process import ServerProcess

FEATURES: tuple[type[Feature], ...] = (
    *(Starts, UniqueStarts, TemporaryStarts, RoomStarts, Joins, Leaves, Subscriptions, Deletions),
    *(Patches, Reads, Receptions, Stays),
    *(Roles, Silences, Releases, SilencesForATime, Blocks, Refusals),
)
POINTS_A_ROUND = 2
"""Every round kills the server under all features."""
POINTS_A_SWEEP = 10
"""Every one kills it once more while it sweeps one data directory."""
POINTS_A_WILL = 12
"""Of these rounds each kills it twice, and waits for wills to be sent."""
ARGUMENTS = (
    *("--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0"),
    *("--set", "limits.sends_per_minute=0"),
    *("--set", "limits.history_per_minute=0"),
    *("--set", "limits.operations_per_minute=0"),
    *("--set", "messages.unread_conversations=1000"),
    *("--set", "sessions.will_grace_seconds=2"),
)
DELAY_SECONDS_MAX = 0.02
LOG_CHARACTERS = 4_000
FAULTS_SHOWN = 20


async def crash_under_all(house: House, label: str, chance: Random, seen: Counter[str]) -> list[str]:
    """One round: everything is wrong that is returned."""
    features = [kind(label, Random(chance.random())) for kind in FEATURES]
    await house.start()
    for feature in features:
        await feature.prepare(house)
    focus = chance.choice(features)
    most = len(focus.calls) + sum(map(len, focus.tasks.values()))
    await house.run(features, focus, chance.randint(1, most * 3 // 4), chance.uniform(0, DELAY_SECONDS_MAX))
    faults = [f"verify: {problem}" for problem in verify(house.server.data).problems]
    await house.start()
    for feature in features:
        faults += [f"{type(feature).__name__}: {fault}" for fault in feature.ledger.faults(await feature.look(house))]
    house.kill()
    owed = sum(feature.ledger.owed for feature in features)
    assert owed, "nothing was under way"
    seen.update({"crashes": 1, "things asked for": sum(len(one.ledger) for one in features), "not answered": owed})
    return faults


@pytest.mark.slow
@pytest.mark.parametrize("number", range(max(1, PLAN.points // POINTS_A_ROUND)))
def test_everything_is_done_everywhere_or_nowhere(number: int, tmp_path: Path, seen: Counter[str]) -> None:
    name = f"features {number}"
    with closing(ServerProcess(tmp_path / "data", *ARGUMENTS)) as server:
        house = House(server)
        faults = trio.run(crash_under_all, house, f"r{number}", PLAN.chance(name), seen) + house.faults
        assert not faults, "\n".join(
            (f"{PLAN}, {name}: {len(faults)} faults", *faults[:FAULTS_SHOWN], server.log[-LOG_CHARACTERS:])
        )


@pytest.mark.slow
@pytest.mark.parametrize("number", range(max(1, PLAN.points // POINTS_A_WILL)))
def test_a_will_is_sent_once_unless_its_client_comes_back(number: int, tmp_path: Path) -> None:
    name = f"wills {number}"
    with closing(ServerProcess(tmp_path / "data", *ARGUMENTS)) as server:
        wills = Legacies(House(server), f"r{number}", PLAN.chance(name))
        trio.run(wills.wage)
        report = verify(server.data)
        assert not [*wills.faults, *report.problems], f"{PLAN}, {name}\n{server.log[-LOG_CHARACTERS:]}"
        assert report.counts["wills"] == 0


async def sweep(sweeping: Sweeping, server: ServerProcess, crashes: int) -> None:
    await sweeping.prepare()
    for _ in range(crashes):
        await sweeping.crash()
        sweeping.faults += verify(server.data).problems
        await trio.to_thread.run_sync(asyncio.run, sweeping.check_store())
    await sweeping.finish()


@pytest.mark.slow
def test_a_sweep_that_is_cut_short_leaves_nothing_behind(tmp_path: Path) -> None:
    name = "sweeping"
    with closing(SteppingProcess(tmp_path / "data", *ARGUMENTS, *RULES)) as server:
        sweeping = Sweeping(server, PLAN.chance(name))
        trio.run(sweep, sweeping, server, max(1, PLAN.points // POINTS_A_SWEEP))
        assert not [*sweeping.faults, *verify(server.data).problems], f"{PLAN}\n{server.log[-LOG_CHARACTERS:]}"
        assert sweeping.trace() == {}


def test_what_is_half_done_lost_doubled_or_uncalled_for_is_found() -> None:
    ledger = Ledger()
    for key in ("done", "asked"):
        ledger.ask(key)
    ledger.answer("done")
    assert ledger.faults({"here": {"done": 1}, "there": {"done": 1}}) == []
    assert ledger.faults({"here": {"done": 1, "asked": 1}, "there": {"done": 1, "asked": 1}}) == []
    views: list[Views] = [
        {"here": {"done": 1, "asked": 1}, "there": {"done": 1}},
        {"here": {}, "there": {}},
        {"here": {"done": 2}, "there": {"done": 2}},
        {"here": {"done": 1, "other": 1}, "there": {"done": 1, "other": 1}},
    ]
    for broken in views:
        assert len(ledger.faults(broken)) == 1
