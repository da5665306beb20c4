import re
from pathlib import Path
from typing import get_args

from fastim.runtime.limits import Limit, LimitCounters


def test_each_limit_is_there_from_the_beginning_and_counted_apart() -> None:
    counters = LimitCounters()
    assert set(counters.bites.values()) == {0}
    counters.bit("frame")
    counters.bit("frame")
    counters.bit("login")
    assert {limit: number for limit, number in counters.bites.items() if number} == {"frame": 2, "login": 1}


def test_each_limit_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    table = page.partition("## Limits that bite")[2]
    explained = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert explained - {"limit"} == set(get_args(Limit))
