"""What a run says of itself: its plan before it, and afterwards how much there was to check."""

from collections import Counter

import pytest

from tests.crash.plan import PLAN

SEEN = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SEEN] = Counter()


def pytest_report_header() -> str:
    return f"crash: {PLAN}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts = ", ".join(f"{number:,} {what}" for what, number in config.stash[SEEN].items())
    terminalreporter.write_line(f"crash: {PLAN}; {counts}")


@pytest.fixture
def seen(pytestconfig: pytest.Config) -> Counter[str]:
    """What the campaigns of this run have seen; each adds its own."""
    return pytestconfig.stash[SEEN]
