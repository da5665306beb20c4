"""Words of a list, found in a text as they are or in disguise, and masked.

Mechanism only: which texts are filtered, and who is told, is decided in ``fastim.core``. A ``WordList`` never changes,
so several threads may read one, and whoever replaces a list replaces the object. It is made without the
interpreter's lock.
"""

from collections.abc import Iterable
from typing import Literal, Self, TypeVar, final

_Text = TypeVar("_Text", str, bytes)
_Separators = Literal["none", "careful", "any"]

def fold(
    text: str,
    *,
    width: bool = True,
    case: bool = True,
    traditional: bool = True,
    zero_width: bool = True,
    separators: _Separators = "careful",
) -> str:
    """Return ``text`` as words are compared: folded, without what is read over."""

@final
class WordList:
    """A list of words to look for. All counts: every occurrence of every word, within other words too.

    Args:
        words: Words as ``str`` or UTF-8, at most 64 characters each.
        width: Full and half width, circled and styled letters, radicals and compatibility ideographs are the same.
        case: Letters of either case are the same (Unicode's simple case folding).
        traditional: Traditional characters are the simplified ones (OpenCC, by character).
        zero_width: Zero-width characters and combining marks are read over.
        repeats: A character of a word may stand there three times or more, or each of them twice or more.
        separators: What stands between the characters of a word (spaces, punctuation, symbols) is read over: ``none``,
            ``any``, or ``careful``, which leaves out what is likely to be chance; ``docs/words.md`` has the rule.

    Raises:
        ValueError: A word cannot be looked for.
    """

    def __new__(
        cls,
        words: Iterable[str | bytes],
        *,
        width: bool = True,
        case: bool = True,
        traditional: bool = True,
        zero_width: bool = True,
        repeats: bool = True,
        separators: _Separators = "careful",
    ) -> Self: ...
    @staticmethod
    def parse(
        text: bytes,
        *,
        width: bool = True,
        case: bool = True,
        traditional: bool = True,
        zero_width: bool = True,
        repeats: bool = True,
        separators: _Separators = "careful",
    ) -> WordList:
        """Make a list of a file: UTF-8, one word per line; see the class for the switches.

        Spaces around a word, empty lines and lines that begin with ``#`` are left out. The interpreter's lock is
        free all the while. A line that cannot be used is left out and told in ``problems``.

        Raises:
            ValueError: The text has 1 GiB or more.
        """

    def __len__(self) -> int: ...
    @property
    def problem_count(self) -> int:
        """How many lines cannot be used."""

    @property
    def problems(self) -> list[tuple[int, str]]:
        """What cannot be used: pairs of line (from 1; of a list of words, the word's index) and reason, in order."""

    def first_problems(self, most: int) -> list[tuple[int, str]]:
        """Return the first of ``problems``; all of a file that is no list may take a second, and hold the lock."""

    @property
    def memory_bytes(self) -> int:
        """Bytes taken, the words themselves included."""

    def word(self, index: int) -> str:
        """Return the word that hits name by ``index``, as it was given.

        Raises:
            IndexError: There is no such word.
        """

    def line(self, index: int) -> int:
        """Return the line of the word, from 1; of a list of words, its index.

        Raises:
            IndexError: There is no such word.
        """

    def counts(self) -> list[tuple[int, int]]:
        """Return pairs of a word's index and how often ``mask`` met it, without the words it never met."""

    def mask(self, text: _Text) -> _Text:
        """Return ``text`` with ``***`` for every hit, or itself without one; what overlaps shares a mask.

        Args:
            text: ``str``, or bytes that should be UTF-8: those that are not match nothing and stay as they are.

        Raises:
            ValueError: 1 GiB or more.
        """

    def find(self, text: str | bytes) -> list[tuple[int, int, int]]:
        """Return the hits in order, each as ``(start, end, index of the word)``; nothing is counted.

        Start and end are in the units of ``text``: bytes, or the characters of a ``str``.

        Raises:
            ValueError: 1 GiB or more.
        """
