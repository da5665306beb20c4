from __future__ import annotations

import threading
import time
import tracemalloc
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import ahocorasick
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastim._words import WordList, fold
from tests.native import oracle_words as oracle
from tests.native.oracle_words import PLAIN, Hit, Switches

CORPORA = Path(__file__).parent / "words"
DEFAULTS = Switches()


def list_of(words: list[str], switches: Switches = DEFAULTS) -> WordList:
    return WordList(words, **asdict(switches))


def rows(name: str) -> list[list[str]]:
    lines = (CORPORA / name).read_text("utf-8").splitlines()
    return [line.encode("latin-1", "backslashreplace").decode("unicode-escape").split("\t") for line in lines[1:]]


EVASION = rows("evasion.tsv")
INNOCENT = rows("innocent.tsv")


# --- Against the oracles ----------------------------------------------------------------------------------------------

# Few characters, so that words overlap, repeat and nearly match; of one to four bytes, in several disguises.
BASIC = "abAB 1.，中国國發发é\u0301e\u0308\u200b😀👍🏽ａＢ가я"
DISGUISED = BASIC + "αΑςΣßẞİıⓐ𝐚ｱア⼀一-*\ufe0f\n!々㊥豈岂\u00ad"
plain_words = st.lists(st.text(BASIC, min_size=1, max_size=4), min_size=1, max_size=12, unique=True)
plain_texts = st.text(BASIC, max_size=40)
any_text = st.text(st.characters(codec="utf-8"), max_size=20)


@given(plain_words | st.lists(any_text.filter(len), min_size=1, max_size=5, unique=True), plain_texts | any_text)
def test_without_folding_the_hits_are_those_of_plain_search(words: list[str], text: str) -> None:
    expected = sorted(
        (at, at + len(word), index)
        for index, word in enumerate(words)
        for at in range(len(text))
        if text.startswith(word, at)
    )
    found = list_of(words, PLAIN)
    assert found.find(text) == expected == oracle.find(words, text, PLAIN)
    assert found.mask(text) == oracle.mask(text, expected)


@given(plain_words, plain_texts)
def test_without_folding_the_hits_are_those_of_pyahocorasick(words: list[str], text: str) -> None:
    automaton = ahocorasick.Automaton()
    for index, word in enumerate(words):
        automaton.add_word(word, (index, len(word)))
    automaton.make_automaton()
    expected = sorted((last + 1 - length, last + 1, index) for last, (index, length) in automaton.iter(text))
    assert list_of(words, PLAIN).find(text) == expected


def searchable(words: list[str], switches: Switches) -> list[str]:
    return [word for word in words if switches.fold(word)]


switches_of = st.builds(
    Switches,
    *[st.booleans()] * 5,
    st.sampled_from(["none", "careful", "any"]),
)


@settings(max_examples=400)
@given(
    st.lists(st.text(DISGUISED, min_size=1, max_size=5), min_size=1, max_size=8, unique=True),
    st.lists(st.text(DISGUISED, max_size=6) | st.sampled_from(["。", " ", ".", "* *"]), max_size=8),
    st.data(),
    switches_of,
)
def test_with_folding_the_hits_are_those_of_the_folded_text(
    words: list[str], parts: list[str], data: st.DataObject, switches: Switches
) -> None:
    words = searchable(words, switches)
    for _ in range(3 if words else 0):
        # Random text rarely has a word in disguise, so some are put there.
        word = data.draw(st.sampled_from(words))
        between = data.draw(st.lists(st.sampled_from(["", "", " ", ".", "，", "\u200b", "*"]), min_size=5, max_size=5))
        times = data.draw(st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=5, max_size=5))
        disguised = "".join(c * n + gap for c, n, gap in zip(word, times, between, strict=False))
        parts = [*parts, disguised, *data.draw(st.lists(st.sampled_from(["a", " ", "国", "。"]), max_size=2))]
    text = "".join(parts)
    expected = oracle.find(words, text, switches)
    found = list_of(words, switches)
    assert found.find(text) == expected
    assert found.mask(text) == oracle.mask(text, expected)


def test_letters_that_are_equal_once_folded_are_two_when_they_are_parted() -> None:
    words = ["11aⓐ"]
    for text in ("11a ⓐ11", "11a ⓐ", "11aⓐ 11a.ⓐ1", "11a,ⓐ", "ⓐa ⓐ"):
        assert list_of(words, Switches()).find(text) == oracle.find(words, text, Switches())


@given(plain_words, plain_texts, switches_of)
def test_bytes_and_text_have_the_same_hits(words: list[str], text: str, switches: Switches) -> None:
    found = list_of(searchable(words, switches), switches)
    in_bytes = [(len(text[:start].encode()), len(text[:end].encode()), word) for start, end, word in found.find(text)]
    assert found.find(text.encode()) == in_bytes
    assert found.mask(text.encode()) == found.mask(text).encode()


@given(st.lists(st.binary(max_size=6) | plain_texts.map(str.encode), max_size=8).map(b"".join))
@example(b"\xe0\x81\xa1\xe0\x81\xa2")
@example(b"\xc1\xa1\xc1\xa2")
@example(b"\xf0\x80\x81\xa1")
@example(b"\xed\xa0\x80\xed\xb0\x80")
@example(b"\xe4\xb8ab\xad")
@example(b"***")
def test_bytes_that_are_no_utf8_match_nothing_and_stay(text: bytes) -> None:
    words = ["ab", "国", "中国", "a", "\u0800", "ﾀ"]
    found = list_of(words, PLAIN)
    expected = sorted(
        (at, at + len(word.encode()), index)
        for index, word in enumerate(words)
        for at in range(len(text))
        if text.startswith(word.encode(), at)
    )
    assert found.find(text) == expected
    kept = list_of(words).mask(text)
    left = b"".join(without_hits(text, list_of(words).find(text)))
    assert kept.replace(b"***", b"") == left.replace(b"***", b"")


def without_hits(text: bytes, hits: list[Hit]) -> list[bytes]:
    hit = {at for start, end, _ in hits for at in range(start, end)}
    return [text[at : at + 1] for at in range(len(text)) if at not in hit]


@given(st.lists(st.text("ab中国c", min_size=3, max_size=64), min_size=1, max_size=30, unique=True), st.data())
def test_long_words_that_begin_alike_are_told_apart(words: list[str], data: st.DataObject) -> None:
    text = "".join(data.draw(st.lists(st.sampled_from(words), min_size=1, max_size=3)))[data.draw(st.integers(0, 3)) :]
    assert list_of(words, PLAIN).find(text) == oracle.find(words, text, PLAIN)


# --- What counts as a hit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("way", "word", "text"), EVASION)
def test_a_disguised_word_is_found_by_default(way: str, word: str, text: str) -> None:
    found = WordList([word])
    assert [index for _, _, index in found.find(text)] == [0]


@pytest.mark.parametrize(("way", "word", "text"), [row for row in EVASION if row[0] != "together"])
def test_a_disguise_is_seen_through_by_its_own_switch(way: str, word: str, text: str) -> None:
    off = switched(DEFAULTS, way.replace("-", "_"), False)
    assert list_of([word], off).find(text) == oracle.find([word], text, off)
    only = switched(PLAIN, way.replace("-", "_"), True)
    assert list_of([word], only).find(text)


def switched(switches: Switches, switch: str, on: bool) -> Switches:
    if switch == "separators":
        return replace(switches, separators="any" if on else "none")
    return Switches(**asdict(switches) | {switch: on})


# The rates in docs/words.md are these.
INNOCENT_HITS = {"none": 0, "careful": 2, "any": 72}


@pytest.mark.parametrize("separators", ["none", "careful", "any"])
def test_the_innocent_corpus_has_as_many_wrong_hits_as_documented(separators: oracle.Separators) -> None:
    switches = replace(DEFAULTS, separators=separators)
    wrong = [(word, text) for word, text in INNOCENT if list_of([word], switches).find(text)]
    assert len(wrong) == INNOCENT_HITS[separators], wrong


def test_every_occurrence_counts_and_overlapping_ones_share_a_mask() -> None:
    found = WordList(["abc", "bcd", "b", "cdcd"])
    assert found.find("xabcdcdx") == [(1, 4, 0), (2, 3, 2), (2, 5, 1), (3, 7, 3)]
    assert found.mask("xabcdcdx") == "x***x"
    assert found.mask("abcabc") == "******"
    assert WordList(["aa"]).find("aaaa") == [(0, 2, 0), (1, 3, 0), (2, 4, 0)]


def test_a_text_without_a_hit_is_returned_as_it_is() -> None:
    found = WordList(["casino"])
    for text in ("nothing to see", ""):
        assert found.mask(text) is text
    for encoded in (b"nothing to see", b"", b"\xff\xfe"):
        assert found.mask(encoded) is encoded


@pytest.mark.parametrize("size", [1_023, 1_024, 1_025, 65_535, 65_536, 200_000])
def test_texts_of_every_length_are_searched_to_their_end(size: int) -> None:
    found = WordList(["casino", "赌博"])
    for word in ("casino", "赌博"):
        filler = "x" * (size - len(word.encode()) * 2)
        assert found.mask(word + filler + word) == "***" + filler + "***"


def test_a_word_keeps_the_separators_that_it_begins_and_ends_with() -> None:
    found = WordList(["18+", "#tag", "c++"])
    assert found.mask("18+, #tag and C＋＋") == "***, *** and ***"
    assert found.mask("18, tag and c") == "18, tag and c"


def test_separators_of_the_word_itself_may_be_there_or_not() -> None:
    found = WordList(["free money"])
    assert found.mask("freemoney, free money, unfree   moneys") == "***, ***, un***s"


def test_a_lone_surrogate_stays_and_hides_nothing() -> None:
    assert WordList(["casino"]).mask("\ud800casino\udfff") == "\ud800***\udfff"
    assert WordList(["casino"]).find("\ud800casino") == [(1, 7, 0)]


def test_words_that_fold_to_the_same_are_all_hit() -> None:
    assert WordList(["發票", "发票", "发-票"]).find("发票") == [(0, 2, 0), (0, 2, 1), (0, 2, 2)]


def test_one_of_two_doubled_letters_is_ordinary_spelling() -> None:
    found = WordList(["god", "good"])
    assert [found.word(word) for _, _, word in found.find("god good goood ggoodd")] == [
        "god", "good", "god", "good", "god", "good",
    ]  # fmt: skip


# --- Folding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＣＡＳＩＮＯ　１８", "casino18"),
        ("𝓒𝓪𝓼𝓲𝓷𝓸 Ⓒⓐⓢⓘⓝⓞ ℂ", "casinocasinoc"),
        ("ΣΑΣ σας Straße ẞ İ", "σασσασstraßeßi"),
        ("體驗憂鬱的臺灣烏龜", "体验忧郁的台湾乌龟"),
        ("乾隆發髮后後", "干隆发发后后"),
        ("⼈⺟豈更", "人母岂更"),
        ("ｶｼﾞﾉ", "カシ\u3099ノ"),
        ("e\u0301\u200b\u2060\ufe0fx", "ex"),
        ("🄲🅰🆂🅘ⁿₒ ㊙", "casino秘"),
        ("a\x00b\x1bc\x7fd\x9de\u2800f\ufff9g\u0489h\u302ai\U0001d173j", "abcdefghij"),
        ("👨‍👩‍👧 👍🏽", "👨👩👧👍"),
    ],
)
def test_characters_that_look_or_read_the_same_fold_to_one(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize("switch", ["width", "case", "traditional", "zero_width"])
def test_a_switch_folds_its_own_characters_alone(switch: str) -> None:
    samples = {"width": "ａ", "case": "A", "traditional": "國", "zero_width": "\u200b"}
    only = switched(PLAIN, switch, True)
    assert {name for name, sample in samples.items() if only.fold(sample) != sample} == {switch}


@given(st.text(st.characters(codec="utf-8")), switches_of)
def test_folding_twice_is_folding_once(text: str, switches: Switches) -> None:
    assert switches.fold(switches.fold(text)) == switches.fold(text)


# --- Lists ------------------------------------------------------------------------------------------------------------


def test_a_file_has_a_word_per_line_and_comments() -> None:
    found = WordList.parse("\ufeff# comment\r\n赌博\r\n\r\n  free money \t\n#casino\ncasino".encode())
    assert [(found.word(i), found.line(i)) for i in range(len(found))] == [
        ("赌博", 2),
        ("free money", 4),
        ("casino", 6),
    ]
    assert found.problems == []
    assert found.mask("casino FREE MONEY 賭博") == "*** *** ***"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_on_any_system(end: str) -> None:
    found = WordList.parse(f"casino{end}{end} 赌博 {end}# no{end}...{end}x".encode())
    assert [(found.word(i), found.line(i)) for i in (0, 1, 3)] == [("casino", 1), ("赌博", 3), ("x", 6)]
    assert [line for line, _ in found.problems] == [5]


def test_bad_lines_are_told_by_number_and_left_out() -> None:
    lines = [b"good", b"\xff\xfe", b"x" * 65, b"...", "\u200b".encode(), b"y" * 64, b"caf\xe9"]
    found = WordList.parse(b"\n".join(lines))
    assert found.problems == [
        (2, "is not UTF-8"),
        (3, "is longer than 64 characters"),
        (4, "has only characters that are read over"),
        (5, "has only characters that are read over"),
        (7, "is not UTF-8"),
    ]
    assert (found.problem_count, found.first_problems(2), found.first_problems(9)) == (
        5,
        found.problems[:2],
        found.problems,
    )
    assert len(found) == 2
    assert found.mask("good" + "y" * 64 + "x" * 65) == "******" + "x" * 65


@pytest.mark.parametrize(
    ("word", "reason"),
    [("中" * 65, "longer than 64"), ("", "only characters"), ("!", "only characters"), (b"\xc0\x80", "UTF-8")],
)
def test_a_word_that_cannot_be_looked_for_is_refused(word: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"word 1 .*{reason}"):
        WordList(["good", word])


def test_a_list_takes_words_and_switches_of_the_right_kind_only() -> None:
    for wrong in (None, 5, [5], [None]):
        with pytest.raises(TypeError):
            WordList(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        WordList.parse("text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="careful"):
        WordList([], separators="some")  # type: ignore[arg-type]
    for wrong_text in (None, 5, bytearray(b"x")):
        with pytest.raises(TypeError):
            WordList([]).mask(wrong_text)  # type: ignore[type-var]
        with pytest.raises(TypeError):
            WordList([]).find(wrong_text)  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        WordList(["a"]).word(1)
    with pytest.raises(IndexError):
        WordList(["a"]).line(1)


def test_an_empty_list_hits_nothing() -> None:
    for found in (WordList([]), WordList.parse(b""), WordList.parse(b"# nothing\n")):
        assert len(found) == 0
        assert found.find("anything at all, 什么都") == []


def test_a_list_of_very_many_characters_says_where_it_is_full() -> None:
    every = [chr(code) for code in range(0x3400, 0x9FFF)] + [chr(code) for code in range(0x20000, 0x2A6D0)]
    crowded = WordList.parse("\n".join(every).encode(), **asdict(PLAIN))
    assert {reason for _, reason in crowded.problems} == {
        "brings the characters of the list to more than 65,519 different ones"
    }
    assert len(crowded) == 65_519
    assert crowded.find(every[65_518] + every[65_519]) == [(0, 1, 65_518)]


def test_masking_counts_the_hits_of_each_word_and_finding_does_not() -> None:
    found = WordList(["赌博", "casino", "unused"])
    for text in ("赌博 casino", "CASINO", "nothing"):
        found.mask(text)
        found.find(text)
    assert found.counts() == [(0, 1), (1, 2)]


def test_a_list_tells_its_memory_and_gives_it_back() -> None:
    words = "\n".join(f"word{n}中{n}" for n in range(2_000)).encode()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        found = WordList.parse(words)
        for _ in range(10):
            found.mask("word1中1 " * 1_000)
        taken = tracemalloc.get_traced_memory()[0] - before
        assert abs(taken + len(words) - found.memory_bytes) < 2_000
        del found
        assert tracemalloc.get_traced_memory()[0] - before < 2_000
    finally:
        tracemalloc.stop()


def test_other_threads_run_while_a_list_is_made() -> None:
    words = "\n".join(f"{n:x}中国{n * 7919:x}" for n in range(60_000)).encode()
    spent = []

    def make() -> None:
        begun = time.thread_time()
        WordList.parse(words)
        spent.append(time.thread_time() - begun)

    # Of the processor, and not by the clock: on a busy machine everybody waits.
    begun = time.thread_time()
    maker = threading.Thread(target=make)
    maker.start()
    while maker.is_alive():
        pass
    assert time.thread_time() - begun > spent[0] / 4


# --- Bounded work -----------------------------------------------------------------------------------------------------


def test_many_words_in_one_text_are_all_found() -> None:
    words = [f"w{n:05}" for n in range(5_000)]
    found = WordList(words)
    text = " ".join(words)
    assert Counter(word for _, _, word in found.find(text)) == Counter(range(5_000))
    assert found.mask(text) == " ".join(["***"] * 5_000)


def test_near_matches_everywhere_cost_at_most_ten_times_ordinary_text() -> None:
    common = "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    words = [one + other + common[n % 40] + "赌" for one in common for n, other in enumerate(common)]
    words += ["赌博" * 16 + "网", "ab" * 31 + "c"]
    found = WordList(words)
    ordinary = ("".join(common[(n * n + n // 7) % len(common)] for n in range(3_000))).encode()
    quickest = fastest(found, ordinary)
    for hostile in ("".join(word[:-1] for word in words[:1_000]), "赌博" * 1_500, "ab" * 4_500):
        encoded = hostile.encode()
        assert found.find(encoded) == []
        assert fastest(found, encoded) / len(encoded) < 10 * quickest / len(ordinary)


def fastest(found: WordList, text: bytes) -> float:
    spent = []
    for _ in range(20):
        begun = time.perf_counter()
        found.mask(text)
        spent.append(time.perf_counter() - begun)
    return min(spent)
