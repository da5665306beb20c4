"""What ``fastim words`` finds out: whether a list is sound, and what it would hit in a text and why.

Nothing is changed and no server is asked: a list is made as the server makes it, and looked at.
"""

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from fastim._words import WordList, fold
from fastim.core.errors import SettingsError
from fastim.settings import Words

AS_WRITTEN = "as written"


class Line(Struct, frozen=True):
    """A line of a list, from 1, and what there is to say about it."""

    number: int
    says: str


class Checked(Struct, frozen=True):
    """A list that was looked through.

    Attributes:
        word_count: Words that can be looked for.
        size_bytes: Of the file.
        memory_bytes: What the server takes for it.
        seconds: How long it took to make.
        problems: Lines that cannot be used.
        hints: Lines that say what an earlier one has said.
    """

    word_count: int
    size_bytes: int
    memory_bytes: int
    seconds: float
    problems: list[Line]
    hints: list[Line]


class Hit(Struct, frozen=True):
    """A place in a text that has a word.

    Attributes:
        original: What stands there.
        line: Where the word is in the list.
        why: ``as written``, or the switches without which it would not be a hit, with commas between them.
    """

    original: str
    word: str
    line: int
    why: str


class Explained(Struct, frozen=True):
    """What would become of a text.

    Attributes:
        problem_count: Lines of the list that cannot be used.
    """

    masked: str
    hits: list[Hit]
    problem_count: int


def read_list(path: Path) -> bytes:
    """The content of a file.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from error


def check(content: bytes, settings: Words) -> Checked:
    """Look through the content of a list.

    Raises:
        SettingsError: It is too long to be one.
    """
    began = time.perf_counter()
    made = make(content, settings)
    seconds = time.perf_counter() - began
    problems = [Line(number, says) for number, says in made.problems]
    hints = list(_repeated(made, settings))
    return Checked(len(made), len(content), made.memory_bytes, seconds, problems, hints)


def explain(text: str, content: bytes, settings: Words) -> Explained:
    """Look for the words of a list in ``text``, which came from a command line.

    Raises:
        SettingsError: The list is too long to be one.
    """
    made = make(content, settings)
    encoded = os.fsencode(text)
    hits = [_explained(encoded, hit, made, settings) for hit in made.find(encoded)]
    return Explained(made.mask(encoded).decode(errors="replace"), hits, made.problem_count)


def make(content: bytes, settings: Words) -> WordList:
    """The list as the server makes it.

    Raises:
        SettingsError: It is too long to be one.
    """
    try:
        return WordList.parse(content, **settings.switches)
    except ValueError as error:
        raise SettingsError(f"the list cannot be used: {error}") from error


def _repeated(made: WordList, settings: Words) -> Iterator[Line]:
    """The lines that bring nothing new."""
    folding: dict[str, Any] = {name: value for name, value in settings.switches.items() if name != "repeats"}
    useless = {number for number, _ in made.problems}
    first: dict[str, tuple[int, str]] = {}
    for line, word in _words(made):
        if line in useless:
            continue
        earlier_line, earlier = first.setdefault(fold(word, **folding), (line, word))
        if earlier_line != line:
            what = "again" if word == earlier else f"is taken for the same as {earlier}"
            yield Line(line, f"{word} {what}, line {earlier_line}")


def _words(made: WordList) -> Iterator[tuple[int, str]]:
    """Line and word of each line that has one, also where it cannot be used."""
    for index in itertools.count():
        try:
            yield made.line(index), made.word(index)
        except IndexError:
            return


def _explained(text: bytes, hit: tuple[int, int, int], made: WordList, settings: Words) -> Hit:
    start, end, index = hit
    word = made.word(index)
    original = text[start:end].decode(errors="replace")
    why = AS_WRITTEN if original == word else ", ".join(_needed(text, hit[:2], word, settings)) or "several switches"
    return Hit(original, word, made.line(index), why)


def _needed(text: bytes, place: tuple[int, int], word: str, settings: Words) -> Iterator[str]:
    """The switches that this hit would not be there without."""
    given: dict[str, Any] = {**settings.switches}
    for name in given:
        off: Any = "none" if name == "separators" else False
        found = WordList([word], **given | {name: off}).find(text)
        if place not in ((start, end) for start, end, _ in found):
            yield name
