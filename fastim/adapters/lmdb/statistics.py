"""What the writer counts; whoever shows metrics reads it when asked."""

from bisect import bisect_left

COMMIT_SECONDS_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


class Statistics:
    """Counters since the store was opened. The writer's thread writes them, anybody may read them.

    Attributes:
        commits: Transactions that are on disk.
        records: Writes that they held.
        failures: Writes that came back as ``Unavailable``.
        growths: Times the map was made larger.
        queued: Writes that wait for a transaction.
        last_commit_seconds: From the beginning of the last transaction until it was on disk.
        commit_seconds: The same, all transactions together.
        commit_seconds_counts: How many took at most each of ``COMMIT_SECONDS_BOUNDS``, and, last, longer; not
            cumulative.
        map_bytes: What the map has room for.
        used_bytes: How far into it the data reaches, pages free for reuse included; measured every so many commits, and
            more often the fuller the map is.
    """

    def __init__(self) -> None:
        self.commits = 0
        self.records = 0
        self.failures = 0
        self.growths = 0
        self.queued = 0
        self.last_commit_seconds = 0.0
        self.commit_seconds = 0.0
        self.commit_seconds_counts = [0] * (len(COMMIT_SECONDS_BOUNDS) + 1)
        self.map_bytes = 0
        self.used_bytes = 0

    def count_commit(self, records: int, seconds: float) -> None:
        self.commits += 1
        self.records += records
        self.last_commit_seconds = seconds
        self.commit_seconds += seconds
        self.commit_seconds_counts[bisect_left(COMMIT_SECONDS_BOUNDS, seconds)] += 1
