"""Fuzzing runs on the server's loop."""

import pytest

from tests.fuzz import effort


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def pytest_report_header() -> str:
    return f"fuzz: FASTIM_FUZZ_SEED={effort.SEED} FASTIM_FUZZ_FRAMES={effort.FRAMES}"
