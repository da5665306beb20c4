"""The store's metrics, read off the writer's counters when somebody asks."""

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from fastim.adapters.lmdb.statistics import COMMIT_SECONDS_BOUNDS, Statistics


class StoreCollector(Collector):
    """Statistics as Prometheus has them.

    Args:
        read: The current statistics.
    """

    def __init__(self, read: Callable[[], Statistics]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        statistics = self._read()
        bounds = [*map(str, COMMIT_SECONDS_BOUNDS), "+Inf"]
        counts = accumulate(statistics.commit_seconds_counts)
        yield HistogramMetricFamily(
            "fastim_store_commit_seconds",
            "From the beginning of a transaction until it is on disk.",
            buckets=list(zip(bounds, counts, strict=True)),
            sum_value=statistics.commit_seconds,
        )
        yield CounterMetricFamily("fastim_store_writes", "Writes that are on disk.", value=statistics.records)
        yield CounterMetricFamily("fastim_store_failures", "Writes that could not be done.", value=statistics.failures)
        yield GaugeMetricFamily("fastim_store_queue_writes", "Writes that wait for a transaction.", statistics.queued)
        yield GaugeMetricFamily("fastim_store_map_bytes", "What the map has room for.", statistics.map_bytes)
        yield GaugeMetricFamily("fastim_store_used_bytes", "How far into the map data reaches.", statistics.used_bytes)
