"""The official JavaScript SDKs, as npm delivers them, against a server in a process of its own.

What is checked is in the scripts: ``scenarios/`` share one server, ``over_tls/`` as well, for there version 4 asks REST
over https alone, and those in ``restarts/`` stop theirs on the way. A script's first comment names the rules that it
checks.
"""

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.sdk.conftest import TlsServer
from tests.sdk.scenario import play
from tests.server_process import ServerProcess

HERE = Path(__file__).parent
OLD, NEW = "4.3.1", "5.0.0-rc.8"
ALL_WAYS = list(itertools.product((OLD, NEW), ("binary", "base64")))
BOTH = [(OLD, "base64"), (NEW, "binary")]
"""Enough where it matters what the server keeps and not what its frames look like."""
ONLY_IN = {"offline_messages_are_pushed": OLD, "devices_register_for_push": NEW}
"""Scenarios about what one version alone has, or neither."""

pytestmark = pytest.mark.slow


def names(folder: str) -> list[str]:
    return sorted(path.stem for path in (HERE / folder).glob("*.js"))


def cases(folder: str, ways: Sequence[tuple[str, str]] = ALL_WAYS) -> list[tuple[str, str, str]]:
    return [
        (version, mode, name)
        for name in names(folder)
        for version, mode in ways
        if ONLY_IN.get(name, version) == version
    ]


@pytest.mark.parametrize(("version", "mode", "scenario"), cases("scenarios"))
def test_an_unmodified_sdk_finds(
    node: str, shared_server: ServerProcess, version: str, mode: str, scenario: str
) -> None:
    play(node, shared_server, HERE / "scenarios" / f"{scenario}.js", version, mode)


@pytest.mark.parametrize(("version", "mode", "scenario"), cases("over_tls", BOTH))
def test_an_unmodified_sdk_finds_over_tls(
    node: str, shared_tls_server: TlsServer, version: str, mode: str, scenario: str
) -> None:
    server, root = shared_tls_server
    play(node, server, HERE / "over_tls" / f"{scenario}.js", version, mode, trusted=root)


@pytest.mark.parametrize("how", ["restart", "crash"])
@pytest.mark.parametrize(("version", "mode", "scenario"), cases("restarts", BOTH))
def test_an_unmodified_sdk_finds_after_a(
    node: str, own_server: ServerProcess, version: str, mode: str, scenario: str, how: str
) -> None:
    play(node, own_server, HERE / "restarts" / f"{scenario}.js", version, mode, how)


def test_the_script_in_the_readme_exchanges_messages(node: str, shared_server: ServerProcess, tmp_path: Path) -> None:
    script = Path(shutil.copy(HERE / "readme_example.js", tmp_path / "chat.js"))
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "leancloud-realtime").symlink_to(HERE / "node_modules" / "leancloud-realtime-5")
    keys = {"SERVER": shared_server.http_url, "APP_ID": shared_server.app_id, "APP_KEY": shared_server.app_key}
    done = subprocess.run([node, script], env={**os.environ, **keys}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Jerry reads: Where are you?", "Tom reads: Catch me!"]


def test_the_script_in_the_readme_is_this_one() -> None:
    assert (HERE / "readme_example.js").read_text() in (HERE.parent.parent / "README.md").read_text()
