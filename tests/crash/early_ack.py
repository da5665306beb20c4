"""``fastim serve`` with a promise broken on purpose: a message is acked before its commit, which takes its time.

Run in place of ``python -m fastim``, to show that the checker notices.
"""

from collections.abc import Mapping
from time import sleep

import fastim.adapters.lmdb.store
import fastim.adapters.lmdb.writer
from fastim.__main__ import main
from fastim.adapters.lmdb.batch import Batch
from fastim.adapters.lmdb.writer import Outcome, Write, Writer
from fastim.ports.store import Appended

COMMIT_SECONDS = 0.05
"""A slow disk's: no ack waits for it, so it does not slow the load down, but there is always something to lose."""


class SlowBatch(Batch):
    """A transaction that takes long to commit."""

    def commit(self) -> None:
        sleep(COMMIT_SECONDS)
        super().commit()


class EarlyWriter(Writer):
    """Lets go of a message as soon as it has its place."""

    def _run_write(self, write: Write, broken: Mapping[Write, Exception]) -> Outcome:
        outcome = super()._run_write(write, dict(broken))
        if isinstance(outcome.result, Appended):
            self._call_in_loop(self._resolve, [outcome], {})
        return outcome


fastim.adapters.lmdb.writer.Batch = SlowBatch  # type: ignore[attr-defined]
fastim.adapters.lmdb.store.Writer = EarlyWriter  # type: ignore[attr-defined]

if __name__ == "__main__":
    main()
