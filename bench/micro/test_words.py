"""The word filter with everything folded; ``python -m bench.words_peers`` compares it with other libraries."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.words_corpus import Corpus
from fastim._words import WordList

LINES = 1_000
TEXT_BYTES = 10_240

sizes = pytest.mark.parametrize("word_count", [1_000, 10_000, 100_000])


@pytest.fixture(scope="module")
def corpora() -> dict[int, Corpus]:
    return {}


def prepare(corpora: dict[int, Corpus], word_count: int) -> tuple[Corpus, WordList]:
    corpus = corpora.setdefault(word_count, Corpus(word_count))
    return corpus, WordList.parse("\n".join(corpus.words).encode())


@sizes
def test_a_thousand_chat_lines(benchmark: BenchmarkFixture, corpora: dict[int, Corpus], word_count: int) -> None:
    corpus, words = prepare(corpora, word_count)
    lines = [line.encode() for line in corpus.lines(LINES)]

    def mask() -> int:
        masked = 0
        for line in lines:
            masked += words.mask(line) is not line
        return masked

    assert benchmark(mask) >= LINES // 100


@sizes
def test_a_long_text(benchmark: BenchmarkFixture, corpora: dict[int, Corpus], word_count: int) -> None:
    corpus, words = prepare(corpora, word_count)
    benchmark(words.mask, corpus.text(TEXT_BYTES).encode())


@sizes
def test_a_hostile_text(benchmark: BenchmarkFixture, corpora: dict[int, Corpus], word_count: int) -> None:
    corpus, words = prepare(corpora, word_count)
    benchmark(words.mask, corpus.hostile(TEXT_BYTES).encode())


@sizes
def test_making_a_list(benchmark: BenchmarkFixture, corpora: dict[int, Corpus], word_count: int) -> None:
    corpus, _ = prepare(corpora, word_count)
    text = "\n".join(corpus.words).encode()
    assert len(benchmark(WordList.parse, text)) == word_count
