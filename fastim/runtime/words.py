"""An application's listed words: the list in force, where it came from, and what it has found.

A list is made beside the loop and put in force in one assignment, so that nobody waits for one and nobody meets half of
one. Of these the first that there is counts: the file that is pinned, the list that REST stored, the file that the
configuration names.
"""

import asyncio
import heapq
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import structlog
from msgspec import Struct

from fastim._words import WordList
from fastim.core.application import Application
from fastim.core.errors import SettingsError, WordListError
from fastim.core.units import Millis
from fastim.ports.clock import Clock
from fastim.ports.store import ApplicationStore
from fastim.settings import Switches, Words

_log = structlog.get_logger(__name__)

Source = Literal["file", "stored"]

MASK = "***"
TOP = 20
_DOCUMENT = "words"


class WordHits(Struct, frozen=True):
    """How often a word was met.

    Attributes:
        line: Where it is in the list, from 1.
    """

    word: str
    line: int
    count: int


class WordStatistics(Struct, frozen=True):
    """What the list in force has done.

    Attributes:
        enabled: Whether anything is masked at all.
        words: How many are listed.
        source: Where the list came from; ``None``: there is none.
        loaded_at: When it was put in force; 0: there is none.
        texts: Looked at since then.
        masked: Of these, those with a hit.
        hits: The words met most often, that one first.
    """

    enabled: bool
    words: int
    source: Source | None
    loaded_at: Millis
    texts: int
    masked: int
    hits: tuple[WordHits, ...]


class Hit(Struct, frozen=True):
    """A place in a text that has a listed word.

    Attributes:
        start: Its first character, counted from 0 in code points.
        end: The one past its last.
        line: Where the word is in the list, from 1.
    """

    start: int
    end: int
    word: str
    line: int


class Tested(Struct, frozen=True):
    """What would become of a text."""

    masked: str
    hits: tuple[Hit, ...]


class LocalWords:
    """Fulfils the ``Words`` port for one application.

    Args:
        settings: The application's.
        pinned: Whether ``words.file`` stands above what is stored.

    Attributes:
        texts: Looked at since the start.
        masked: Of these, those with a hit.
    """

    def __init__(
        self, application: Application, settings: Words, store: ApplicationStore, clock: Clock, *, pinned: bool = False
    ) -> None:
        self._application = application
        self._settings = settings
        self._store = store
        self._clock = clock
        self._pinned = pinned and settings.file != ""
        self._changing = asyncio.Lock()
        self._list: WordList | None = None
        self._source: Source | None = None
        self._loaded_at = Millis(0)
        self._before = (0, 0)
        self.texts = 0
        self.masked = 0

    def __len__(self) -> int:
        """How many words are listed."""
        return 0 if self._list is None else len(self._list)

    @property
    def is_of_a_file(self) -> bool:
        """Whether the list is read again from a file when there is a reload."""
        return self._settings.file != "" and self._source != "stored"

    @property
    def active(self) -> bool:
        return self._settings.enabled and self._list is not None

    def mask(self, text: bytes) -> bytes:
        if self._list is None or not self._settings.enabled:
            return text
        self.texts += 1
        masked = self._list.mask(text)
        if masked is not text:
            self.masked += 1
        return masked

    def test(self, text: str) -> Tested:
        """What the list in force, switched on or not, would make of ``text``; nothing is counted."""
        words = self._list
        if words is None:
            return Tested(text, ())
        found = words.find(text)
        hits = tuple(Hit(start, end, words.word(index), words.line(index)) for start, end, index in found)
        return Tested(_without(text, hits), hits)

    def statistics(self, top: int = TOP) -> WordStatistics:
        """What the list in force has done, with the ``top`` words that were met most often."""
        words = self._list
        hits: tuple[WordHits, ...] = ()
        if words is not None:
            most = heapq.nlargest(top, words.counts(), key=lambda one: one[1])
            hits = tuple(WordHits(words.word(index), words.line(index), count) for index, count in most)
        texts, masked = self._before
        return WordStatistics(
            self._settings.enabled,
            len(self),
            self._source,
            self._loaded_at,
            self.texts - texts,
            self.masked - masked,
            hits,
        )

    async def start(self) -> None:
        """Put the list in force that the server starts with. A stored one that cannot be used is left out.

        Raises:
            SettingsError: The file cannot be used.
        """
        stored = None if self._pinned else await self.stored()
        if stored is not None:
            try:
                await self.load(stored, "stored")
                return
            except WordListError as error:
                self._tell("the stored list of words cannot be used and is left out", error)
        try:
            self._switch(await self._read_file(), "file")
        except WordListError as error:
            raise SettingsError(f"words.file: {error}") from error

    async def load(self, text: bytes, source: Source) -> None:
        """Put a list in force.

        Raises:
            WordListError: It has lines that cannot be used; the old one stays in force.
        """
        self._switch(await _make(text, self._settings.switches), source)

    async def reload(self) -> None:
        """Read the file again, where the list is a file's. When it cannot be used the old list stays in force."""
        async with self._changing:
            if not self.is_of_a_file:
                return
            try:
                self._switch(await self._read_file(), "file")
            except WordListError as error:
                self._tell("the list of words was not reloaded, the old one stays in force", error)
                return
        _log.info("the list of words was reloaded", application=self._application.id, words=len(self))

    async def change(self, settings: Words) -> None:
        """Go by other settings from now on; with other switches the list is made anew first.

        Raises:
            WordListError: The list cannot be used with them; nothing was done.
        """
        async with self._changing:
            if settings.switches != self._settings.switches and self._list is not None:
                text = await self.stored() if self._source == "stored" else None
                words = await (self._read_file(settings) if text is None else _make(text, settings.switches))
                self._switch(words, self._source or "file")
            self._settings = settings

    async def save(self, text: bytes | None) -> None:
        """Store a list and put it in force; ``None``: forget the stored one, so that the file's counts, if any.

        Raises:
            WordListError: It has lines that cannot be used, or ``words.file`` is pinned; nothing was done.
        """
        if self._pinned:
            raise WordListError("words.file is pinned by the environment or the command line: no list can be stored")
        async with self._changing:
            words = await (self._read_file() if text is None else _make(text, self._settings.switches))
            await self._store.save_document(_DOCUMENT, text)
            self._switch(words, "file" if text is None else "stored")

    async def stored(self) -> bytes | None:
        """The list that was stored, as it came; ``None`` when there is none."""
        return await self._store.find_document(_DOCUMENT)

    async def _read_file(self, settings: Words | None = None) -> WordList | None:
        settings = settings or self._settings
        path = Path(settings.file)
        if not settings.file:
            return None
        try:
            text = await asyncio.to_thread(_content, path)
        except OSError as error:
            raise WordListError(f"{path} cannot be read: {error.strerror or error}") from error
        return await _make(text, settings.switches, f"{path}: ")

    def _switch(self, words: WordList | None, source: Source) -> None:
        self._list = words
        self._source = None if words is None else source
        self._loaded_at = Millis(0) if words is None else self._clock.now()
        self._before = (self.texts, self.masked)

    def _tell(self, event: str, error: WordListError) -> None:
        _log.error(event, application=self._application.id, reason=str(error))


def _content(path: Path) -> bytes:
    # A pipe would be waited for, and every later change of the list with it.
    if not stat.S_ISREG(path.stat().st_mode):
        raise WordListError(f"{path} cannot be read: it is no ordinary file")
    return path.read_bytes()


async def _make(text: bytes, switches: Switches, name: str = "") -> WordList:
    """The list that ``text`` is, made in another thread.

    Raises:
        WordListError: Lines cannot be used; ``name`` comes before them.
    """

    def make() -> WordList:
        try:
            words = WordList.parse(text, **switches)
        except ValueError as error:
            raise WordListError(f"{name}{error}") from error
        if words.problem_count:
            raise WordListError(name, words.first_problems(WordListError.TOLD), words.problem_count)
        return words

    return await asyncio.to_thread(make)


def _without(text: str, hits: Iterable[Hit]) -> str:
    """``text`` with its hits, which are in order, masked; those that overlap share a mask."""
    pieces: list[str] = []
    end = 0
    for hit in hits:
        if hit.start >= end:
            pieces += (text[end : hit.start], MASK)
        end = max(end, hit.end)
    return "".join((*pieces, text[end:]))
