"""Every scenario against a real server, with small numbers; and what it leaves in the report."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fastim.bench.failures import BenchError
from fastim.bench.plot import draw
from fastim.bench.report import Report
from tests.bench.running import make_run, measured
from tests.bench.svg import texts_of
from tests.server_process import ServerProcess

pytestmark = pytest.mark.slow

QUICK = ("seconds=0.4", "warm_up_seconds=0.1")
SMALL = {
    "room": ("room.readers=30", "room.rate=100"),
    "many-rooms": ("rooms.rooms=5", "rooms.readers=4", "rooms.senders=3", "rooms.rate=100"),
    "one-to-one": ("pairs.conversations=10", "pairs.rate=100"),
    "group": ("groups.conversations=3", "groups.members=5", "groups.rate=50"),
    "join-storm": ("room.readers=40", "room.rate=50", "room.enter_seconds=0.3"),
    "reconnect-storm": ("room.readers=40", "room.rate=50", "room.reconnect_every_seconds=0.15"),
    "slow-readers": ("room.readers=20", "room.senders=5", "room.rate=100"),
    "idle": ("idle.clients=30", "idle.echo_seconds=0.3"),
    "history": ("history.conversations=4", "history.messages=50", "history.rate=100"),
    "mixed": (
        *("room.readers=10", "rooms.rooms=2", "pairs.conversations=3", "groups.conversations=1", "groups.members=4"),
        *("idle.clients=10", "idle.echo_seconds=0.3", "history.conversations=2", "history.messages=20"),
    ),
}
KEPT = {
    "room": {"delivery": 1200, "last reader": 40, "ack": 40},
    "many-rooms": {"delivery": 160, "last reader": 40, "ack": 40},
    "one-to-one": {"delivery": 40, "ack": 40},
    "group": {"delivery": 80, "last reader": 20, "ack": 20},
    "join-storm": {"ack": 20, "enter": 39},
    "reconnect-storm": {"ack": 20, "come back": 40},
    "slow-readers": {"delivery": 720, "last reader": 40, "ack": 40},
    "idle": {"echo": 40},
    "history": {"page": 40},
}
"""What is due in that time; of deliveries while readers come and go nobody can say."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    limits = [f"limits.{one}_per_minute=0" for one in ("sends", "operations", "history")]
    arguments = [word for limit in limits for word in ("--set", limit)]
    with ServerProcess(tmp_path_factory.mktemp("server"), *arguments) as process:
        yield process
        assert "Traceback" not in process.log, process.log


def small_run(server: ServerProcess, scenario: str, *settings: str) -> Report:
    host, port = server.tcp
    return make_run(scenario, host, port, server.app_id, *QUICK, *SMALL[scenario], *settings, http=server.http)


@pytest.mark.parametrize("scenario", [name for name in SMALL if name != "mixed"])
def test_a_scenario_measures_what_was_due_and_misses_nothing(server: ServerProcess, scenario: str) -> None:
    report = small_run(server, scenario)
    assert report.sound, (report.failures, report.ended)
    due = {one.name: one.due for one in report.measured}
    assert due | KEPT[scenario] == due
    assert all(one.came == one.due > 0 for one in report.measured)
    assert all(0 < one.latency_ms.p50 <= one.latency_ms.p99 <= one.latency_ms.max for one in report.measured)


def test_everything_goes_on_at_the_same_time_in_the_mixed_one_and_can_be_written_down(server: ServerProcess) -> None:
    report = small_run(server, "mixed")
    assert report.sound
    assert {one.part for one in report.measured} == {"room", "rooms", "pairs", "groups", "idle", "history"}
    assert all(one.came == one.due > 0 for one in report.measured)
    assert msgspec.json.decode(report.json(), type=Report, strict=True) == report
    texts = texts_of(draw(report))
    assert any(text.startswith("fastim bench test: some of everything") for text in texts)
    assert {f"{one.part}: {one.name}" for one in report.measured} <= set(texts)


@pytest.mark.parametrize("scenario", ["one-to-one", "reconnect-storm"])
def test_scenarios_run_over_websocket(server: ServerProcess, scenario: str) -> None:
    host, port = server.http
    settings = (*QUICK, *SMALL[scenario], "transport=websocket")
    report = make_run(scenario, host, port, server.app_id, *settings)
    assert report.sound
    assert all(one.came == one.due > 0 for one in report.measured)


def test_slow_readers_are_told_apart(server: ServerProcess) -> None:
    report = small_run(server, "slow-readers")
    figures = report.figures["room"]
    assert figures["slow readers"] == 2
    assert 0 < figures["deliveries to slow readers"] <= 100
    assert measured(report, "delivery").came == 18 * 40


def test_a_server_s_own_counters_are_in_the_report(server: ServerProcess) -> None:
    report = small_run(server, "room")
    grown = report.server.counters
    assert grown['fastim_room_deliveries_total{outcome="written",priority="normal"}'] == 1500
    assert grown['fastim_room_messages_total{priority="normal"}'] == 50


def test_limits_of_a_server_show_as_what_they_are(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--set", "limits.sends_per_minute=10") as server:
        host, port = server.tcp
        settings = (*QUICK, "room.readers=3", "room.senders=1", "room.rate=100")
        report = make_run("room", host, port, server.app_id, *settings)
    ack = measured(report, "ack")
    assert ack.refused > 0
    assert ack.missing == 0
    assert report.failures[0].code == 4116


def test_an_application_that_the_server_does_not_have_is_refused(server: ServerProcess) -> None:
    with pytest.raises(BenchError, match=r"opening sessions: the server says 4100 .*; is --app-id"):
        make_run("room", *server.tcp, "no-such-application", *QUICK, *SMALL["room"])
