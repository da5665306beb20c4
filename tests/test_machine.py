import mmap
import os
import sys
from pathlib import Path

import pytest

from fastim.machine import give_back, machine_bytes, private_bytes

INSTALLED = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MIB = 2**20
ELSEWHERE = sys.platform != "linux"
"""Where the system does not say what a process uses."""


def measured() -> int:
    used_bytes = private_bytes()
    assert (used_bytes is None) is ELSEWHERE
    return used_bytes or 0


def system(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A machine's files, as far as control groups are concerned."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
    return root


@pytest.mark.parametrize(
    ("groups", "files", "allowed"),
    [
        pytest.param("0::/\n", {"sys/fs/cgroup/memory.max": "33554432\n"}, 32 * MIB, id="container"),
        pytest.param("0::/a/b\n", {"sys/fs/cgroup/a/b/memory.max": "33554432\n"}, 32 * MIB, id="service"),
        pytest.param(
            "0::/a/b\n",
            {"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "33554432\n"},
            32 * MIB,
            id="slice",
        ),
        pytest.param("0::/a\n", {"sys/fs/cgroup/memory.max": "33554432\n"}, 32 * MIB, id="seen from inside"),
        pytest.param("0::/a\n", {"sys/fs/cgroup/a/memory.max": "max\n"}, INSTALLED, id="no limit"),
        pytest.param(
            "4:memory:/a\n1:cpu:/\n", {"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "33554432\n"}, 32 * MIB, id="v1"
        ),
        pytest.param(
            "4:memory:/a\n",
            {"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n"},
            INSTALLED,
            id="v1 without a limit",
        ),
        pytest.param("\nnonsense\n", {"sys/fs/cgroup/memory.max": "much\n"}, INSTALLED, id="nonsense"),
    ],
)
def test_a_container_s_memory_is_what_counts(tmp_path: Path, groups: str, files: dict[str, str], allowed: int) -> None:
    assert machine_bytes(system(tmp_path, groups, files)) == allowed


def test_without_control_groups_it_is_the_machine_s(tmp_path: Path) -> None:
    assert machine_bytes(tmp_path) == INSTALLED


def test_what_a_process_has_to_itself_grows_and_falls_with_what_it_keeps() -> None:
    before = measured()
    kept = bytearray(os.urandom(32 * MIB))
    assert 30 * MIB < measured() - before < 40 * MIB or ELSEWHERE
    del kept
    give_back()
    assert measured() - before < 8 * MIB


def test_what_it_has_mapped_of_a_file_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "map").write_bytes(bytes(32 * MIB))
    before = measured()
    with (tmp_path / "map").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        assert sum(mapped[::4096]) == 0
        assert measured() - before < 8 * MIB
