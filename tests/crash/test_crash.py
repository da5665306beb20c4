"""``kill -9`` at random moments: what was acked is kept, once and in order, and nothing else is there."""

import asyncio
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.crash.checker import Kind, Record, check, count, summary
from tests.crash.load import ARGUMENTS, stored_history, wage
from tests.crash.plan import PLAN, Moment, Point, points
from tests.server_process import ServerProcess

EARLY_ACK = Path(__file__).parent / "early_ack.py"
EARLY_ACK_CRASHES_MAX = 5
LOG_CHARACTERS = 4_000
REFUSALS_SHOWN = 20


class HastyServer(ServerProcess):
    """A server that acks before it commits."""

    def command(self) -> list[str]:
        python, module, name, *rest = super().command()
        assert (module, name) == ("-m", "fastim")
        return [python, "-P", str(EARLY_ACK), *rest]


def run(server: ServerProcess, crashes: list[Point], name: str) -> Record:
    record = Record()
    try:
        trio.run(wage, server, crashes, PLAN.chance(f"{name}: load"), record)
    except Exception as error:
        refusals = "\n".join(record.refusals[:REFUSALS_SHOWN])
        error.add_note(f"{PLAN}, {name}\n{refusals}\n{server.log[-LOG_CHARACTERS:]}")
        raise
    record.history = asyncio.run(stored_history(server))
    return record


@pytest.mark.slow
@pytest.mark.parametrize(("number", "size"), list(enumerate(PLAN.campaigns(), 1)))
def test_a_killed_server_has_lost_nothing_that_it_acked(
    number: int, size: int, tmp_path: Path, seen: Counter[str]
) -> None:
    name = f"campaign {number}"
    crashes = points(size, PLAN.chance(name))
    with closing(ServerProcess(tmp_path / "data", *ARGUMENTS)) as server:
        record = run(server, crashes, name)
        log = server.log
    faults = check(record)
    assert not faults, f"{PLAN}, {name}: {len(faults)} faults\n{summary(faults)}\n{log[-LOG_CHARACTERS:]}"
    counts = count(record)
    assert counts["acked"], "there was nothing to lose"
    seen.update({"crashes": size, **counts})


@pytest.mark.slow
def test_acking_before_the_commit_is_found_out(tmp_path: Path) -> None:
    for attempt in range(EARLY_ACK_CRASHES_MAX):
        name = f"early ack {attempt}"
        share = PLAN.chance(name).uniform(0, 0.4)
        with closing(HastyServer(tmp_path / str(attempt), *ARGUMENTS)) as server:
            faults = check(run(server, [Point(Moment.LOAD, share, delay_seconds=0.01)], name))
        if any(fault.kind is Kind.LOST for fault in faults):
            return
    pytest.fail(f"{EARLY_ACK_CRASHES_MAX} crashes of a server that acks too early, and nothing was missed")
