"""Fuzzing runs on the server's loop."""

import gc
from collections.abc import Iterator

import pytest

from tests.fuzz import effort


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def pytest_report_header() -> str:
    return f"fuzz: FASTIM_FUZZ_SEED={effort.SEED} FASTIM_FUZZ_FRAMES={effort.FRAMES}"


@pytest.fixture
def _apart() -> Iterator[None]:
    """Sets aside what there was before, so that only what a test leaves is found, and quickly."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
