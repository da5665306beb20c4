"""``fastim`` on a clock that a test sets: as far from the machine's, in milliseconds, as a file says.

Run in place of ``python -m fastim``.
"""

import os
from pathlib import Path

import fastim.app
import fastim.tenants
from fastim.__main__ import main
from fastim.core.units import Millis
from fastim.runtime.clock import SystemClock

STEP_FILE = "FASTIM_TEST_STEP_FILE"


class SteppingClock(SystemClock):
    """The machine's clock, set forward or back."""

    def __init__(self) -> None:
        self._step = Path(os.environ[STEP_FILE])

    def now(self) -> Millis:
        return Millis(super().now() + int(self._step.read_text()))


if __name__ == "__main__":
    fastim.app.SystemClock = fastim.tenants.SystemClock = SteppingClock  # type: ignore[attr-defined]
    main()
