"""What keeps a run from being made, or from going on."""

from fastim.core.errors import FastimError


class BenchError(FastimError):
    """The run cannot be made; the message says in one line why, and what to do."""


class Interrupted(FastimError):
    """Somebody wants it to end now.

    Attributes:
        signal_number: How that was said.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}")
        self.signal_number = signal_number
