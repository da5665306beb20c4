"""Metrics: read from counters that the parts keep anyway, when somebody asks; nothing is done per message.

Names, units and meanings are explained in ``docs/metrics.md``.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import get_args

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from fastim._fanout import Fanout
from fastim.core.hooks import CALLS
from fastim.ports.ingress import Reason
from fastim.ports.store import Waiting
from fastim.runtime.dispatch import Dispatcher
from fastim.runtime.gateway import Gateway
from fastim.runtime.hooks import SECONDS_BOUNDS
from fastim.runtime.ingress import Governor
from fastim.runtime.lag import LoopLag
from fastim.runtime.memory import MemoryBudget
from fastim.runtime.outbox import JOB_WORDS, SENT_SECONDS_BOUNDS

PRIORITIES = ("high", "normal", "low")
REFUSAL_REASONS: tuple[Reason, ...] = get_args(Reason)
SHED_REASONS = ("age", "distance", "sample", "overrun")


class ServerCollector(Collector):
    """What the runtime knows of itself."""

    def __init__(self, gateway: Gateway, dispatcher: Dispatcher, lag: LoopLag) -> None:
        self._gateway = gateway
        self._dispatcher = dispatcher
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        connections = GaugeMetricFamily("fastim_connections", "Open connections.", labels=["door"])
        doors = {"tcp": 0, "websocket": 0}
        for connection in self._gateway.connections:
            doors[connection.door] = doors.get(connection.door, 0) + 1
        for door, number in doors.items():
            connections.add_metric([door], number)
        yield connections

        tenants = self._dispatcher.tenants.values()
        yield GaugeMetricFamily(
            "fastim_sessions", "Open sessions.", value=sum(len(tenant.presence) for tenant in tenants)
        )
        yield CounterMetricFamily(
            "fastim_deliveries",
            "Messages handed to a session, those of chat rooms aside.",
            value=sum(one.delivery.delivered for one in tenants),
        )
        yield CounterMetricFamily(
            "fastim_deliveries_withheld",
            "Messages left out for a session that was behind; it is told its unread counts instead.",
            value=sum(one.delivery.withheld for one in tenants),
        )
        commands = CounterMetricFamily("fastim_commands", "Commands received.", labels=["kind"])
        for kind, number in self._dispatcher.commands.items():
            commands.add_metric([kind], number)
        yield commands
        refusals = CounterMetricFamily("fastim_refusals", "Commands refused.", labels=["code"])
        for code, number in self._dispatcher.refusals.items():
            refusals.add_metric([str(code)], number)
        yield refusals
        limits = CounterMetricFamily("fastim_limits", "How often each limit bit.", labels=["limit"])
        for limit, number in self._gateway.counters.bites.items():
            limits.add_metric([limit], number)
        yield limits
        yield CounterMetricFamily(
            "fastim_words_texts", "Texts in which words were looked for.", value=sum(one.words.texts for one in tenants)
        )
        yield CounterMetricFamily(
            "fastim_words_masked",
            "Of these, those in which words were masked.",
            value=sum(one.words.masked for one in tenants),
        )
        yield GaugeMetricFamily(
            "fastim_words_listed", "Words that are looked for.", value=sum(len(one.words) for one in tenants)
        )
        yield GaugeMetricFamily(
            "fastim_accepting",
            "1 while connections are let in; 0 while the server stops or is short of memory.",
            value=not self._gateway.obstacle,
        )
        yield GaugeMetricFamily(
            "fastim_loop_lag_seconds", "How late the event loop's last timer was.", value=self._lag.last_seconds
        )
        yield GaugeMetricFamily(
            "fastim_loop_lag_max_seconds",
            "How late its latest timer was in the last minute or so.",
            value=self._lag.worst_seconds,
        )
        yield GaugeMetricFamily(
            "fastim_loop_lag_p99_seconds",
            "What one in a hundred of the last minute's timers was later than.",
            value=self._lag.p99_seconds,
        )


class RoomCollector(Collector):
    """The ledger of all chat rooms together; see ``fastim.core.ledger``."""

    def __init__(self, fanout: Fanout, dispatcher: Dispatcher, governor: Governor) -> None:
        self._fanout = fanout
        self._dispatcher = dispatcher
        self._governor = governor

    def collect(self) -> Iterator[Metric]:
        ledger = self._fanout.ledger()
        tenants = self._dispatcher.tenants.values()
        yield GaugeMetricFamily(
            "fastim_rooms", "Chat rooms with somebody in them.", value=sum(len(one.logs) for one in tenants)
        )
        messages = CounterMetricFamily("fastim_room_messages", "Messages that chat rooms took.", labels=["priority"])
        _add(messages, ledger["admitted"])
        yield messages
        deliveries = CounterMetricFamily(
            "fastim_room_deliveries",
            "Messages owed to sessions, and what became of them.",
            labels=["priority", "outcome"],
        )
        for outcome in ("owed", "written", "closed"):
            _add(deliveries, ledger[outcome], outcome)
        _add(deliveries, _sums(*(ledger[f"shed_{reason}"] for reason in SHED_REASONS)), "shed")
        yield deliveries
        waiting = GaugeMetricFamily(
            "fastim_room_deliveries_waiting", "Of these, those that are under way.", labels=["priority", "state"]
        )
        for state in ("pending", "torn"):
            _add(waiting, ledger[state], state)
        yield waiting
        shed = CounterMetricFamily(
            "fastim_room_shed",
            "Messages refused at the door, and left out for sessions that lagged.",
            labels=["priority", "stage", "reason"],
        )
        for refusal in REFUSAL_REASONS:
            refused = [one.ingress.refused_in_all[refusal] for one in tenants]
            _add(shed, _sums((0, 0, 0), *refused), "door", refusal)
        for reason in SHED_REASONS:
            _add(shed, ledger[f"shed_{reason}"], "delivery", reason)
        yield shed
        rejoined = CounterMetricFamily(
            "fastim_room_rejoined", "Messages owed again to sessions that came back.", labels=["priority"]
        )
        _add(rejoined, ledger["rejoined"])
        yield rejoined
        yield CounterMetricFamily(
            "fastim_room_replayed",
            "Messages of high priority that the store had for sessions that came back.",
            value=sum(one.delivery.replayed for one in tenants),
        )
        yield CounterMetricFamily("fastim_sends", "System calls that sent something.", value=self._fanout.sends)
        yield CounterMetricFamily("fastim_handovers", "How often a socket was full.", value=self._fanout.handed_over)
        yield GaugeMetricFamily(
            "fastim_governor",
            "1 while messages of low priority are refused because the loop is late.",
            value=self._governor.active,
        )


def _sums(*numbers: Sequence[int]) -> list[int]:
    return [sum(ones) for ones in zip(*numbers, strict=True)]


def _add(family: CounterMetricFamily | GaugeMetricFamily, numbers: Iterable[float], *labels: str) -> None:
    """One sample for each priority."""
    for priority, number in zip(PRIORITIES, numbers, strict=True):
        family.add_metric([priority, *labels], number)


class HookCollector(Collector):
    """What became of the calls of hooks, of all applications; a hook is named once it was called."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily("fastim_hook_calls", "Calls of hooks.", labels=["hook", "outcome"])
        seconds = HistogramMetricFamily("fastim_hook_seconds", "How long calls of hooks took.", labels=["hook"])
        breakers = GaugeMetricFamily(
            "fastim_hook_breaker_open",
            "Applications for which the hook is left alone because it failed too often.",
            labels=["hook"],
        )
        bounds = [*map(str, SECONDS_BOUNDS), "+Inf"]
        for hook in CALLS:
            lines = [one.hooks.lines[hook] for one in self._dispatcher.tenants.values()]
            if not any(number for line in lines for number in line.outcomes.values()):
                continue
            for outcome in lines[0].outcomes:
                calls.add_metric([hook, outcome], sum(line.outcomes[outcome] for line in lines))
            counts = accumulate(_sums(*(line.seconds_counts for line in lines)))
            seconds.add_metric([hook], list(zip(bounds, counts, strict=True)), sum(line.seconds for line in lines))
            breakers.add_metric([hook], sum(line.breaker.open for line in lines))
        yield calls
        yield seconds
        yield breakers
        yield GaugeMetricFamily(
            "fastim_hook_notices_waiting",
            "Notices to hooks whose turn has not come.",
            value=sum(one.hooks.notices_waiting for one in self._dispatcher.tenants.values()),
        )


class OutboxCollector(Collector):
    """The outboxes of pushes, of all applications together."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def collect(self) -> Iterator[Metric]:
        outboxes = [one.outbox for one in self._dispatcher.tenants.values()]
        pushes = CounterMetricFamily(
            "fastim_push", "What became of notifications, and tries in vain.", labels=["provider", "outcome"]
        )
        outcomes: Counter[tuple[str, str]] = Counter()
        for outbox in outboxes:
            outcomes.update(outbox.outcomes)
        for (provider, outcome), number in outcomes.items():
            pushes.add_metric([provider, outcome], number)
        yield pushes
        jobs = CounterMetricFamily(
            "fastim_push_jobs", "Messages for which it was to be worked out who is pushed what.", labels=["outcome"]
        )
        for word in JOB_WORDS:
            jobs.add_metric([word], sum(outbox.jobs[word] for outbox in outboxes))
        yield jobs
        waiting = GaugeMetricFamily("fastim_push_waiting", "What is in the outbox.", labels=["kind"])
        for kind in Waiting.__struct_fields__:
            waiting.add_metric([kind], sum(getattr(outbox.waiting, kind) for outbox in outboxes))
        yield waiting
        paused = GaugeMetricFamily(
            "fastim_push_paused", "1 while a provider is left alone because it does not work.", labels=["provider"]
        )
        states: dict[str, bool] = {}
        for outbox in outboxes:
            states |= {name: state or states.get(name, False) for name, state in outbox.paused.items()}
        for name, state in states.items():
            paused.add_metric([name], state)
        yield paused
        counts = _sums([0] * (len(SENT_SECONDS_BOUNDS) + 1), *(outbox.sent_seconds_counts for outbox in outboxes))
        yield HistogramMetricFamily(
            "fastim_push_sent_seconds",
            "From a message until a provider has taken a notification of it.",
            buckets=list(zip([*map(str, SENT_SECONDS_BOUNDS), "+Inf"], accumulate(counts), strict=True)),
            sum_value=sum(outbox.sent_seconds for outbox in outboxes),
        )


class MemoryCollector(Collector):
    """The memory budget and how much of it is used."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "fastim_memory_bytes",
            "Memory that the process has to itself; the store's map is not in it.",
            value=self._budget.used_bytes,
        )
        yield GaugeMetricFamily(
            "fastim_memory_limit_bytes",
            "The budget: above it no connection is let in.",
            value=self._budget.limit_bytes,
        )


class Metrics:
    """Everything that can be scraped.

    Args:
        collectors: Asked at each scrape.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, *collectors: Collector) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        for collector in collectors:
            self._registry.register(collector)

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
