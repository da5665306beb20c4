"""The audit trail: nothing is lost, nothing grows without end."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastim.core.units import Millis
from fastim.runtime.audit import DETAIL_CHARACTERS, NAME, OLD_NAME, Audit, Entry

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def entry(number: int, detail: str = "") -> Entry:
    return Entry(Millis(number), "192.0.2.1", "key rotated", "app", detail)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


async def test_the_newest_come_first_and_only_so_many(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    assert await audit.newest(10) == []
    for number in range(5):
        await audit.write(entry(number))
    assert await audit.newest(3) == [entry(4), entry(3), entry(2)]
    assert await audit.newest(10) == [entry(number) for number in (4, 3, 2, 1, 0)]


async def test_a_line_is_a_json_object_and_the_file_is_the_servers_alone(tmp_path: Path) -> None:
    await Audit(tmp_path).write(entry(7, "line\nbreak \u2028 <b>"))
    path = tmp_path / NAME
    assert json.loads(path.read_text().removesuffix("\n")) == {
        "at": 7,
        "address": "192.0.2.1",
        "what": "key rotated",
        "application": "app",
        "detail": "line\nbreak \u2028 <b>",
    }
    assert path.read_bytes().count(b"\n") == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_an_earlier_run_wrote_is_still_there(tmp_path: Path) -> None:
    await Audit(tmp_path).write(entry(1))
    await Audit(tmp_path).write(entry(2))
    assert await Audit(tmp_path).newest(10) == [entry(2), entry(1)]


async def test_a_full_file_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    audit = Audit(tmp_path, file_bytes=300)
    for number in range(40):
        await audit.write(entry(number))
    assert {path.name for path in tmp_path.iterdir()} == {NAME, OLD_NAME}  # noqa: ASYNC240 - a test may wait
    assert all(path.stat().st_size < 400 for path in tmp_path.iterdir())  # noqa: ASYNC240
    found = await audit.newest(100)
    assert found == [entry(39 - back) for back in range(len(found))]
    assert len(found) > 3


async def test_half_a_line_costs_no_other(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    await audit.write(entry(1))
    append(tmp_path / NAME, b'{"at": 2, "addre')
    await audit.write(entry(3))
    assert await audit.newest(10) == [entry(3), entry(1)]


async def test_what_is_too_long_is_cut(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    await audit.write(entry(1, "x" * 100_000))
    assert (await audit.newest(1))[0].detail == "x" * DETAIL_CHARACTERS


async def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        await Audit(tmp_path / "gone").write(entry(1))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    details=st.lists(st.text(max_size=400), max_size=12), file_bytes=st.integers(1, 3_000), block=st.integers(1, 200)
)
async def test_entries_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, details: list[str], file_bytes: int, block: int
) -> None:
    directory = tmp_path_factory.mktemp("audit")
    audit = Audit(directory, file_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastim.runtime.audit._BLOCK_BYTES", block)
        for number, detail in enumerate(details):
            await audit.write(entry(number, detail))
        found = await audit.newest(len(details) + 1)
    written = [entry(number, detail) for number, detail in enumerate(details)]
    assert found == written[::-1][: len(found)]
    assert len(found) >= min(len(details), 1)
