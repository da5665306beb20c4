"""What ``fastim._words`` must do: every word looked for by itself, with a regular expression over the folded text."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from fastim._words import fold

Separators = Literal["none", "careful", "any"]
Hit = tuple[int, int, int]

SENTENCE = set(",!?;:'\n\r\"()，。！？；：、…「」『』（）《》【】“”‘’")


@dataclass(frozen=True)
class Switches:
    width: bool = True
    case: bool = True
    traditional: bool = True
    zero_width: bool = True
    repeats: bool = True
    separators: Separators = "careful"

    def fold(self, text: str) -> str:
        return fold(
            text,
            width=self.width,
            case=self.case,
            traditional=self.traditional,
            zero_width=self.zero_width,
            separators=self.separators,
        )

    def is_separator(self, character: str) -> bool:
        skin_tone = "\U0001f3fb" <= character <= "\U0001f3ff"
        unseen = unicodedata.category(character) in ("Mn", "Me", "Cc", "Cf") and not character.isspace()
        if self.separators == "none" or skin_tone or unseen or character in "\u2800\U0001d159":
            return False
        return not self.fold(character)


PLAIN = Switches(False, False, False, False, False, "none")


class Folded:
    """A text without what is read over, where each character stood, and which separators stood before it."""

    def __init__(self, text: str, switches: Switches) -> None:
        self.characters = ""
        self.original: list[str] = []
        self.at: list[int] = []
        self.gaps: list[set[str]] = []
        gap: set[str] = set()
        for index, character in enumerate(text):
            folded = switches.fold(character)
            if folded:
                self.characters += folded
                self.original.append(character)
                self.at.append(index)
                self.gaps.append(gap)
                gap = set()
            elif switches.is_separator(character):
                gap = gap | {kind_of(character)}


def kind_of(separator: str) -> str:
    if separator in SENTENCE:
        return "sentence"
    return "space" if separator.isspace() else "symbol"


def find(words: list[str], text: str, switches: Switches) -> list[Hit]:
    """All hits, in characters, as ``WordList.find`` returns them."""
    folded = Folded(text, switches)
    hits: list[Hit] = []
    for index, word in enumerate(words):
        before, after = affixes(word, switches)
        own = Folded(word, switches)
        for first, last in occurrences(own.characters, folded.characters, switches):
            if switches.separators == "careful" and not on_purpose(own, folded, first, last):
                continue
            start, end = folded.at[first], folded.at[last] + 1
            visible = "" if not before else visible_end(text[:start], len(before), switches)
            if before and visible and same(visible, before, switches):
                start -= len(visible)
            elif before:
                continue
            if after:
                visible = visible_start(text[end:], len(after), switches)
                if not same(visible, after, switches):
                    continue
                end += len(visible)
            hits.append((start, end, index))
    return sorted(hits)


def occurrences(word: str, text: str, switches: Switches) -> list[tuple[int, int]]:
    """First and last character of each place in ``text`` where ``word`` stands, or a longer form of it."""
    if not switches.repeats:
        return plain_occurrences(word, text)
    runs = [(re.escape(character), len(list(run))) for character, run in groupby(word)]
    (first, first_size), (last, last_size) = runs[0], runs[-1]
    if len(runs) == 1:
        return plain_occurrences(word, text)
    inner = "".join(f"(?:{c}{{{n}}}|{c}{{{max(n, 3)},}})" for c, n in runs[1:-1])
    doubled = "".join(f"{c}{{{n + 1},}}" for c, n in runs[1:-1])
    start, end = f"{first}{{{first_size}}}", f"{last}{{{last_size}}}"
    found: set[tuple[int, int]] = set()
    for pattern in (f"(?=({start}{inner}{end}))", f"(?<={first})(?=({start}{doubled}{end}){last})"):
        found |= {(match.start(1), match.end(1) - 1) for match in re.finditer(pattern, text)}
    return sorted(found)


def plain_occurrences(word: str, text: str) -> list[tuple[int, int]]:
    at = range(len(text) - len(word) + 1)
    return [(i, i + len(word) - 1) for i in at if text.startswith(word, i)]


def affixes(word: str, switches: Switches) -> tuple[str, str]:
    """The separators that the word begins and ends with."""
    visible = "".join(c for c in word if switches.is_separator(c) or switches.fold(c))
    core = visible.lstrip("".join(c for c in visible if switches.is_separator(c)))
    before = visible[: len(visible) - len(core)]
    after = core[len(core.rstrip("".join(c for c in core if switches.is_separator(c)))) :]
    return before, after


def visible_start(text: str, count: int, switches: Switches) -> str:
    """As much of the text as it takes to see ``count`` characters."""
    for end in range(1, len(text) + 1):
        if len(see(text[:end], switches)) == count:
            return text[:end]
    return text


def visible_end(text: str, count: int, switches: Switches) -> str:
    return visible_start(text[::-1], count, switches)[::-1]


def see(text: str, switches: Switches) -> str:
    return "".join(c for c in text if switches.is_separator(c) or switches.fold(c))


def same(text: str, affix: str, switches: Switches) -> bool:
    """Whether what is seen of ``text`` are these separators; they fold as if they were not read over."""
    bare = Switches(switches.width, switches.case, switches.traditional, False, False, "none")
    return bare.fold(see(text, switches)) == bare.fold(affix)


def on_purpose(word: Folded, text: Folded, first: int, last: int) -> bool:
    """The rule of ``careful`` in ``docs/words.md``."""
    runs = runs_of(word.characters)
    hit_runs = runs_of(text.characters[first : last + 1])
    starts = {first + start: word_start for (start, _), (word_start, _) in zip(hit_runs, runs, strict=True)}
    gaps: dict[str, set[str]] = {"letters": set(), "others": set(), "mixed": set()}
    pieces = 1
    spelled = True
    for i in range(first + 1, last + 1):
        gap = text.gaps[i]
        pieces += bool(gap)
        if i in starts:
            spelled = spelled and bool(gap)
            own = bool(word.gaps[starts[i]])
        else:
            start, size = next(
                run for run, (at, length) in zip(runs, hit_runs, strict=True) if first + at < i < first + at + length
            )
            own = any(word.gaps[start + 1 : start + size])
        if gap and not own:
            sides = {sets_words_apart(text.original[i - 1]), sets_words_apart(text.original[i])}
            gaps["mixed" if len(sides) == 2 else "letters" if True in sides else "others"] |= gap
    begins = first == 0 or bool(text.gaps[first])
    ends = last + 1 == len(text.original) or bool(text.gaps[last + 1])
    return (
        letters_on_purpose(gaps["letters"], word, text, first, last, spelled and pieces >= 3)
        and others_on_purpose(gaps["others"], len(runs), spelled, pieces, begins and ends)
        and (spelled or "sentence" not in gaps["mixed"])
    )


def letters_on_purpose(gaps: set[str], word: Folded, text: Folded, first: int, last: int, spelled: bool) -> bool:
    if not gaps:
        return True
    attached_before = first > 0 and not text.gaps[first] and both_letters(text, first - 1, first)
    attached_after = last + 1 < len(text.at) and not text.gaps[last + 1] and both_letters(text, last, last + 1)
    if attached_before or attached_after:
        return False
    return spelled or (gaps == {"symbol"} and len(runs_of(word.characters)) >= 4)


def others_on_purpose(gaps: set[str], runs: int, spelled: bool, pieces: int, alone: bool) -> bool:
    if "sentence" in gaps:
        return spelled and (pieces >= 3 or alone)
    return "space" not in gaps or runs >= 3 or alone


def both_letters(text: Folded, one: int, other: int) -> bool:
    return sets_words_apart(text.original[one]) and sets_words_apart(text.original[other])


def sets_words_apart(character: str) -> bool:
    """Whether it is a letter or digit of writing that puts spaces between words."""
    if unicodedata.category(character)[0] not in "LN":
        return False
    unspaced = ("CJK", "KANGXI", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO", "IDEOGRAPHIC")
    return not unicodedata.name(character).startswith(unspaced)


def runs_of(text: str) -> list[tuple[int, int]]:
    """Start and length of each run of equal characters."""
    runs = []
    start = 0
    for _, run in groupby(text):
        length = len(list(run))
        runs.append((start, length))
        start += length
    return runs


def mask(text: str, hits: list[Hit]) -> str:
    """``text`` with three asterisks for each stretch of overlapping hits."""
    masked = ""
    kept_from = 0
    for start, end, _ in sorted(hits):
        if start >= kept_from:
            masked += text[kept_from:start] + "***"
            kept_from = end
        else:
            kept_from = max(kept_from, end)
    return masked + text[kept_from:]
