"""Time the word filter, everything folded, against libraries that find the words as they are.

``python -m bench.words_peers [WORDS ...]`` needs ``pip install pyahocorasick ahocorasick-rs daachorse hyperscan``; a
library that is not installed is named and left out. The libraries get what they are best at (``str`` or bytes), find
every occurrence, fold nothing and mask nothing; fastim folds, confirms, masks and counts. Contenders take turns in
shuffled order, the medians of all rounds count, and fastim stands in the list twice as the control: where the two
differ by more than a tenth, the run is void.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import random
import re
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.words_corpus import Corpus
from fastim._words import WordList

ROUNDS = 9
LINES = 400
TEXT_BYTES = 10_240

Search = Callable[[Any], object]
Contender = tuple[Callable[[list[str]], Search], bool]


def fastim(words: list[str]) -> Search:
    return WordList.parse("\n".join(words).encode()).mask


def fastim_plain(words: list[str]) -> Search:
    folding = {"width": False, "case": False, "traditional": False, "zero_width": False, "repeats": False}
    return WordList(words, separators="none", **folding).mask


def pyahocorasick(words: list[str]) -> Search:
    automaton = importlib.import_module("ahocorasick").Automaton()
    for index, word in enumerate(words):
        automaton.add_word(word, (index, word))
    automaton.make_automaton()
    return lambda text: list(automaton.iter(text))


def ahocorasick_rs(words: list[str]) -> Search:
    automaton = importlib.import_module("ahocorasick_rs").AhoCorasick(words)
    return lambda text: automaton.find_matches_as_indexes(text, overlapping=True)


def daachorse(words: list[str]) -> Search:
    find: Search = importlib.import_module("daachorse").CharwiseDoubleArrayAhoCorasick(words).find_overlapping
    return find


def hyperscan(words: list[str]) -> Search:
    module = importlib.import_module("hyperscan")
    database = module.Database()
    database.compile(
        expressions=[re.escape(word).encode() for word in words],
        ids=list(range(len(words))),
        elements=len(words),
        flags=0,
    )
    scratch = module.Scratch(database)
    database.scratch = scratch

    def search(text: bytes) -> object:
        found: list[tuple[int, int]] = []
        database.scan(text, match_event_handler=lambda index, start, end, flags, context: found.append((index, end)))
        return found

    return search


# What each is called, and whether it is given bytes.
CONTENDERS: dict[str, Contender] = {
    "fastim": (fastim, True),
    "fastim (control)": (fastim, True),
    "fastim, nothing folded": (fastim_plain, True),
    "pyahocorasick": (pyahocorasick, False),
    "ahocorasick-rs": (ahocorasick_rs, False),
    "daachorse": (daachorse, False),
    "hyperscan": (hyperscan, True),
}


def main() -> None:
    for word_count in [int(given) for given in sys.argv[1:]] or [1_000, 10_000, 100_000]:
        compare(word_count)


def compare(word_count: int) -> None:
    corpus = Corpus(word_count)
    texts = {
        "line": corpus.lines(LINES),
        "10 KB": [corpus.text(TEXT_BYTES) for _ in range(4)],
        "hostile": [corpus.hostile(TEXT_BYTES) for _ in range(4)],
    }
    loads: dict[str, dict[bool, list[Any]]] = {
        name: {False: given, True: [text.encode() for text in given]} for name, given in texts.items()
    }
    searches: dict[str, Search] = {}
    print(f"\n{word_count:,} words{'':16} build ms  memory MB   line ns   10 KB us  hostile us")
    built = {name: measure_build(name, corpus.words) for name in CONTENDERS}
    for name in CONTENDERS:
        if built[name] is not None:
            searches[name] = CONTENDERS[name][0](corpus.words)
    times: dict[tuple[str, str], list[float]] = {}
    gc.disable()
    for _ in range(ROUNDS):
        for load in loads:
            for name in random.sample(list(searches), len(searches)):
                given = loads[load][CONTENDERS[name][1]]
                times.setdefault((name, load), []).append(time_each(searches[name], given))
    gc.enable()
    for name in CONTENDERS:
        if name not in searches:
            print(f"{name:26} not installed")
            continue
        line, long, hostile = (statistics.median(times[name, load]) for load in loads)
        build_ms, memory_mb = built[name] or (0, 0)
        print(f"{name:26} {build_ms:11,.0f} {memory_mb:10.1f} {line:9,.0f} {long / 1e3:10,.1f} {hostile / 1e3:11,.1f}")


def time_each(search: Search, texts: list[Any]) -> float:
    """Nanoseconds for each of the texts, all searched in turn for at least 20 ms."""
    searched = 0
    begun = time.perf_counter_ns()
    while (spent := time.perf_counter_ns() - begun) < 20_000_000:
        for text in texts:
            search(text)
        searched += len(texts)
    return spent / searched


def measure_build(name: str, words: list[str]) -> tuple[float, float] | None:
    """Milliseconds to build, and megabytes that stay, in a process of its own; None without the library."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(build_apart, (name, words))


def build_apart(name: str, words: list[str]) -> tuple[float, float] | None:
    build = CONTENDERS[name][0]
    try:
        build(["warm", "up"])
    except ModuleNotFoundError:
        return None
    before = resident_bytes()
    begun = time.perf_counter()
    search = build(words)
    spent = time.perf_counter() - begun
    grown = resident_bytes() - before
    search(b"" if CONTENDERS[name][1] else "")
    return spent * 1e3, grown / 1e6


def resident_bytes() -> int:
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4_096


if __name__ == "__main__":
    main()
