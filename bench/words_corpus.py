"""Word lists and texts for timing the word filter: made up from a seed, skewed as writing is.

Characters are the 3,755 common ones of GB 2312, in texts drawn by Zipf's law, in lists more evenly: lists are not made
of the particles that every sentence has. So texts often begin a word of the list and seldom go on with it. One chat
line in fifty is given a word of the list; with 100,000 words, one in five has one by chance.
"""

from __future__ import annotations

import random
from itertools import accumulate

LETTERS = "etaoinshrdlcumwfgypbvkjxqz"
PUNCTUATION = ["，", "。", "！", "？", " ", "…", "😀", "哈哈", "~", "."]


class Corpus:
    """Words and texts of one seed.

    Args:
        word_count: Different words in the list.
    """

    def __init__(self, word_count: int, seed: int = 1) -> None:
        self._random = random.Random(f"{seed} {word_count}")
        common = [bytes([row, cell]).decode("gb2312") for row in range(0xB0, 0xD7) for cell in range(0xA1, 0xFA)]
        random.Random(seed).shuffle(common)
        self._characters = common
        self._weights = list(accumulate(1 / (rank + 8) for rank in range(len(common))))
        self._list_weights = list(accumulate(1 / (rank + 400) for rank in range(len(common))))
        self._letter_weights = list(accumulate(1 / (rank + 4) for rank in range(26)))
        words: dict[str, None] = {}
        while len(words) < word_count:
            words[self._word()] = None
        self.words = list(words)

    def _word(self) -> str:
        kind = self._random.random()
        hanzi = "".join(self._random.choices(self._characters, cum_weights=self._list_weights, k=6))
        if kind < 0.8:
            return hanzi[: self._random.choice([2, 2, 3, 3, 4, 4, 5, 6])]
        if kind < 0.95:
            return "".join(self._random.choices(LETTERS, k=self._random.randint(4, 10)))
        return hanzi[: self._random.randint(1, 2)] + self._latin(self._random.randint(1, 3)) + hanzi[2]

    def _hanzi(self, count: int) -> str:
        return "".join(self._random.choices(self._characters, cum_weights=self._weights, k=count))

    def _latin(self, count: int) -> str:
        return "".join(self._random.choices(LETTERS, cum_weights=self._letter_weights, k=count))

    def lines(self, count: int) -> list[str]:
        """Chat lines of 20 to 60 characters."""
        return [self._line(self._random.randint(20, 60)) for _ in range(count)]

    def _line(self, size: int) -> str:
        parts: list[str] = []
        length = 0
        planted = self._random.random() >= 0.02
        while length < size:
            kind = self._random.random()
            if kind < 0.7:
                part = self._hanzi(self._random.randint(1, 8))
            elif kind < 0.8:
                part = " " + self._latin(self._random.randint(2, 8)) + " "
            else:
                part = self._random.choice(PUNCTUATION)
            if not planted and length > size // 3:
                part, planted = self._random.choice(self.words), True
            parts.append(part)
            length += len(part)
        return "".join(parts)[:size]

    def text(self, size_bytes: int) -> str:
        """One long text without anything planted."""
        parts: list[str] = []
        size = 0
        while size < size_bytes:
            parts.append(self._line(60))
            size += len(parts[-1].encode())
        return "".join(parts).encode()[:size_bytes].decode("utf-8", "ignore")

    def hostile(self, size_bytes: int) -> str:
        """Near-matches everywhere: words of the list, each without its last character."""
        parts: list[str] = []
        size = 0
        while size < size_bytes:
            parts.append(self._random.choice(self.words)[:-1])
            size += len(parts[-1].encode())
        return "".join(parts).encode()[:size_bytes].decode("utf-8", "ignore")
