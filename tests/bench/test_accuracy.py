"""The load's own accuracy: what a server is known to do wrong is what it reports."""

import pytest

from fastim.bench.failures import BenchError
from fastim.bench.report import Report
from tests.bench.running import make_run, measured
from tests.bench.stub_server import APP_ID, stub_server

pytestmark = pytest.mark.slow

ROOM = """
seconds = 0.5
warm_up_seconds = 0
drain_seconds = 0.5
[parts.room]
kind = "rooms"
readers = 10
senders = 2
rate = 200
"""
GROUPS = """
seconds = 0.5
warm_up_seconds = 0
[parts.groups]
kind = "conversations"
conversations = 2
members = 3
rate = 40
"""
IDLE = """
seconds = 0.5
warm_up_seconds = 0
drain_seconds = 1
[parts.idle]
kind = "idle"
clients = 10
echo_seconds = 0.1
"""


def report_of(text: str, *flaws: str, settings: tuple[str, ...] = ()) -> Report:
    with stub_server(*flaws) as stub:
        return make_run(text, "127.0.0.1", stub.port, APP_ID, *settings)


def test_a_server_without_flaws_gets_a_clean_bill() -> None:
    report = report_of(ROOM)
    assert report.sound
    delivery, last, ack = (measured(report, name) for name in ("delivery", "last reader", "ack"))
    assert (delivery.due, delivery.came, delivery.repeated) == (1000, 1000, 0)
    assert (last.due, last.came) == (ack.due, ack.came) == (100, 100)
    assert sum(count for _, count in delivery.histogram) == 1000
    assert delivery.per_second == pytest.approx(2000, rel=0.1)
    assert delivery.latency_ms.p50 <= last.latency_ms.p50 <= last.latency_ms.max == delivery.latency_ms.max


def test_a_delay_is_found_to_a_few_milliseconds_and_where_it_is() -> None:
    report = report_of(ROOM, "--delay-ms", "60", "--ack-delay-ms", "20")
    delivery, ack = measured(report, "delivery").latency_ms, measured(report, "ack").latency_ms
    # The stub's own loop is what can be late, and the machine; nothing can be early.
    assert 59 < delivery.p50 < 75
    assert 19 < ack.p50 < 35


def test_deliveries_that_never_come_are_missing_and_in_no_latency() -> None:
    report = report_of(ROOM, "--drop-every", "20")
    delivery, last = measured(report, "delivery"), measured(report, "last reader")
    assert (delivery.due, delivery.came, delivery.missing) == (1000, 950, 50)
    # Every second message lost one of its ten readers.
    assert (last.due, last.came, last.missing) == (100, 50, 50)
    assert not report.sound


def test_deliveries_that_come_twice_are_told_and_counted_once() -> None:
    delivery = measured(report_of(ROOM, "--repeat-every", "10"), "delivery")
    assert (delivery.came, delivery.repeated, delivery.missing) == (1000, 100, 0)


def test_a_stall_shows_in_all_that_was_due_meanwhile() -> None:
    # 200 messages a second, of which 40 are due during the stall: waiting for answers would have hidden all but one or
    # two of them.
    report = report_of(ROOM, "--stall-at", "30", "--stall-ms", "200")
    ack = measured(report, "ack")
    delayed = sum(count for nanoseconds, count in ack.histogram if nanoseconds > 20_000_000)
    assert delayed >= 30
    assert 180 < ack.latency_ms.p99 < 300
    assert 120 < ack.latency_ms.p90 < 220
    assert 180 < max(one.max_ms for moment in report.series for one in moment.measured) < 300
    assert not report.load.bottleneck


def test_refused_messages_are_counted_by_code_and_in_no_latency() -> None:
    report = report_of(ROOM, "--refuse-every", "10")
    ack = measured(report, "ack")
    assert (ack.came, ack.refused, ack.missing) == (90, 10, 0)
    [failure] = report.failures
    assert (failure.code, failure.reason, failure.count) == (4116, "MESSAGE_SENT_QUOTA_EXCEEDED", 10)
    delivery = measured(report, "delivery")
    assert (delivery.came, delivery.refused, delivery.missing) == (900, 100, 0)
    assert not report.sound


def test_a_connection_that_the_server_ends_is_told_and_what_it_should_have_done_is_missing() -> None:
    report = report_of(ROOM, "--hang-up-at", "51")
    ack = measured(report, "ack")
    # Every second message is the lost sender's: the 51st, and 24 after it.
    assert (report.ended, ack.due, ack.came, ack.missing) == (1, 100, 75, 25)


def test_where_everybody_is_slow_nobody_is_waited_for() -> None:
    report = report_of(ROOM, settings=("room.slow_percent=100",))
    assert report.sound
    assert {one.name: one.due for one in report.measured} == {"delivery": 0, "ack": 100}
    assert report.figures["room"]["deliveries to slow readers"] == 1000


def test_a_share_of_few_readers_is_one_at_least() -> None:
    assert report_of(ROOM, settings=("room.slow_percent=1",)).figures["room"]["slow readers"] == 1
    storm = report_of(ROOM, settings=("room.reconnect_percent=1", "room.reconnect_every_seconds=0.2"))
    assert (measured(storm, "come back").due, measured(storm, "come back").came) == (2, 2)


def test_losses_that_come_faster_than_readers_come_back_cost_each_reader_the_time_since_its_own() -> None:
    # So many that those of a loss are still there at the next one.
    storm = ("room.readers=600", "room.rate=1", "room.reconnect_percent=100", "room.reconnect_every_seconds=0.0005")
    report = report_of(ROOM, settings=(*storm, "seconds=0.0015", "drain_seconds=5"))
    back = measured(report, "come back")
    # Nobody is lost who is not there.
    assert 600 <= back.due <= 1200
    assert back.came >= 600
    assert report.ended == 0


def test_echoes_of_idle_clients_are_measured() -> None:
    report = report_of(IDLE, "--delay-ms", "30")
    echo = measured(report, "echo")
    assert (echo.due, echo.came) == (50, 50)
    assert 29 < echo.latency_ms.p50 < 45


def test_what_is_due_after_measuring_or_before_it_is_not_measured() -> None:
    with stub_server() as stub:
        report = make_run(ROOM, "127.0.0.1", stub.port, APP_ID, "warm_up_seconds=0.2", "seconds=0.3")
    assert measured(report, "ack").due == 60
    assert stub.counted["messages"] == 100


def test_members_acknowledge_what_came() -> None:
    with stub_server() as stub:
        report = make_run(GROUPS, "127.0.0.1", stub.port, APP_ID)
    assert measured(report, "delivery").came == 40
    acked = stub.counted["acked"]
    assert {one["cid"] for one in acked} == {f"{1:024x}", f"{2:024x}"}
    # One read may bring several messages, which one ack is for.
    assert 0 < len(acked) <= 40
    assert all(0 < one["from"] <= one["to"] for one in acked)


def test_members_that_are_told_not_to_acknowledge_do_not() -> None:
    with stub_server() as stub:
        make_run(GROUPS, "127.0.0.1", stub.port, APP_ID, "groups.acks=false")
    assert stub.counted["acked"] == []


def test_a_load_that_cannot_keep_up_says_so_and_counts_what_it_could_not_send() -> None:
    # More echoes than any one thread sends, Python or not.
    report = report_of(IDLE, settings=("seconds=0.2", "idle.echo_seconds=0.00001"))
    echo = measured(report, "echo")
    assert report.load.bottleneck
    assert report.load.late_ms.p99 > 5
    # Sending went on after the time was up, and what was due counts as due.
    assert echo.due > 20_000


def test_an_unknown_application_is_refused_before_the_run() -> None:
    with stub_server() as stub, pytest.raises(BenchError, match="4100 APP_NOT_AVAILABLE; is --app-id"):
        make_run(ROOM, "127.0.0.1", stub.port, "another")
