"""The compatibility page says what the tests show, and the tests show what the page says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "compatibility.md"
PROVEN = ("same", "choice")
WORDS = (*PROVEN, "different", "not yet")


def rows() -> dict[str, tuple[str, str]]:
    """What the page says of each rule: its word, and the rest."""
    found = re.findall(r"^\| (\d+\.\d+a?) \| ([a-z ]+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert len({number for number, _, _ in found}) == len(found), "a rule stands twice on the page"
    return {number: (word, what) for number, word, what in found}


def named() -> dict[str, list[str]]:
    """The rules that tests name, and where."""
    places: dict[str, list[str]] = {}
    for number, place in (*in_python(), *in_scripts()):
        places.setdefault(number, []).append(place)
    return places


def in_python() -> Iterator[tuple[str, str]]:
    for path in sorted(TESTS.rglob("test_*.py")):
        if "node_modules" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.rule":
                for argument in node.args:
                    yield ast.literal_eval(argument), f"{path.relative_to(TESTS)}:{node.lineno}"


def in_scripts() -> Iterator[tuple[str, str]]:
    for path in sorted((TESTS / "sdk").glob("*/*.js")):
        for line in re.findall(r"Rules: ([\d.a, ]+)", path.read_text()):
            for number in re.findall(r"\d+\.\d+a?", line):
                yield number, str(path.relative_to(TESTS))


def test_every_row_has_one_of_the_known_words() -> None:
    assert {number: word for number, (word, _) in rows().items() if word not in WORDS} == {}


def test_what_the_page_says_is_proven() -> None:
    proven = named()
    assert [number for number, (word, _) in rows().items() if word in PROVEN and number not in proven] == []


def test_what_the_tests_prove_is_on_the_page() -> None:
    page = rows()
    assert {number: places for number, places in named().items() if number not in page} == {}


def test_nothing_that_is_not_there_yet_is_proven() -> None:
    page = rows()
    assert {number: places for number, places in named().items() if page[number][0] == "not yet"} == {}


@pytest.mark.parametrize("number", [number for number, (word, _) in rows().items() if word not in PROVEN])
def test_what_is_different_says_why(number: str) -> None:
    assert len(rows()[number][1]) >= len("Comes with a later version") or "with that" in rows()[number][1].lower()
