"""The examples in the documentation, run as they are printed there."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastim.client import connect
from tests.server_process import ServerProcess

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


def examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_first_example_of_the_client_page_runs(server: ServerProcess, backend: str) -> None:
    code = examples()[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    for placeholder, value in (
        ('"127.0.0.1:4567"', f'"{server.tcp}"'),
        ('"YOUR_APP_ID"', f'"{server.app_id}"'),
        ("anyio.run(main)", f'anyio.run(main, backend="{backend}")'),
    ):
        assert placeholder in code
        code = code.replace(placeholder, value)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (run.stdout, run.returncode) == ("tom says Hello, Jerry!\n", 0), run.stderr


@pytest.mark.anyio
async def test_the_overview_of_calls_runs_from_top_to_bottom(own_server: ServerProcess) -> None:
    overview = compile(examples()[1], str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with connect(str(own_server.tcp), app_id=own_server.app_id, client_id="tom") as tom:
        names: dict[str, Any] = {"tom": tom}
        running = eval(overview, names)
        assert inspect.iscoroutine(running)
        await running
        assert [message.text async for message in names["room"].history()] == ["hey", "text"]
