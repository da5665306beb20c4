"""The README in two languages: what is not prose is the same in both, so that neither falls behind."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGLISH = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"


def blocks(text: str) -> list[str]:
    """Its code blocks, fences included."""
    return re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """All but its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """Where its links go, in their order, but for the one to the other language."""
    targets = re.findall(r"\]\(([^)]+)\)", prose(text))
    return [target for target in targets if target not in (ENGLISH.name, CHINESE.name)]


def shapes(text: str) -> list[str]:
    """The level of each heading, and each item and row, in their order."""
    return re.findall(r"^(#+|-|\|)(?= ?\S)", prose(text), re.MULTILINE)


def code(text: str) -> list[str]:
    """What stands in backticks; in one place or another of a sentence, as the language wants it."""
    return sorted(re.findall(r"`([^`\n]+)`", prose(text)))


@pytest.mark.parametrize("part", [blocks, links, shapes, code])
def test_both_readmes_have_the_same_code_links_and_structure(part: object) -> None:
    assert callable(part)
    english, chinese = part(ENGLISH.read_text(encoding="utf-8")), part(CHINESE.read_text(encoding="utf-8"))
    assert english
    assert chinese == english


def test_each_readme_names_the_other_at_its_top() -> None:
    assert f"]({CHINESE.name})" in ENGLISH.read_text(encoding="utf-8").splitlines()[2]
    assert f"]({ENGLISH.name})" in CHINESE.read_text(encoding="utf-8").splitlines()[2]


@pytest.mark.parametrize("readme", [ENGLISH, CHINESE])
def test_what_a_readme_links_to_is_there(readme: Path) -> None:
    local = [link for link in links(readme.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in local if not (ROOT / link.partition("#")[0]).exists()] == []
