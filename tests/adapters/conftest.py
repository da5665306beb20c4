"""Every test that takes ``store`` or ``part`` runs against each store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastim.ports.store import ApplicationStore, Store
from tests.adapters.engines import ENGINES, Backend, Engine, application


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    assert isinstance(request.param, Engine)
    return request.param


@pytest.fixture
def anyio_backend(engine: Engine) -> Backend:
    return engine.backend


@pytest.fixture
async def store(engine: Engine, tmp_path: Path) -> AsyncIterator[Store]:
    store = engine.open(tmp_path / "data")
    yield store
    await store.close()


@pytest.fixture
async def part(store: Store) -> ApplicationStore:
    return await application(store)
