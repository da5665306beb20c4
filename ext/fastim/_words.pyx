# cython: language_level=3
# distutils: include_dirs = ext/fastim
# distutils: depends = ext/fastim/_folding.h
"""Words of a list, found in a text as they are or in disguise, and masked.

Mechanism only: which texts are filtered, and who is told, is decided in ``fastim.core``. A ``WordList`` never changes,
so several threads may read one, and whoever replaces a list replaces the object. It is made without the
interpreter's lock.

A text is folded in one pass: each character becomes a symbol (equal for characters that are taken for the same, 0 where
no word contains it), characters that are read over leave a mark, and equal neighbours become one run. Filters of the
symbols that words begin with leave few places, where a trie is walked. A place that matches by its symbols
is confirmed in the original text, by how long its runs are and what was read over.
Oracle: ``tests/native/oracle_words.py``.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy, memset

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    # Python's own over malloc: tracemalloc counts what they give. They need no lock.
    void* malloc "PyMem_RawMalloc" (size_t size) noexcept nogil
    void* calloc "PyMem_RawCalloc" (size_t count, size_t size) noexcept nogil
    void* realloc "PyMem_RawRealloc" (void* items, size_t size) noexcept nogil
    void free "PyMem_RawFree" (void* items) noexcept nogil

cdef enum:
    LONGEST_CHARACTERS = 64
    PAGE_CHARACTERS = 64
    PAGES = 0x4400  # for all 0x110000 code points
    MOST_SYMBOLS = 0xFFEF
    STACK_TEXT_BYTES = 1_024
    # Releasing the lock costs the loop's thread up to a switch interval when another thread wants it.
    UNLOCKED_TEXT_BYTES = 65_536
    LIMIT_BYTES = 0x40000000

cdef enum:
    # Symbols of what is read over: the low bits are the kind of gap it leaves.
    READ_OVER = 0xFFF0
    SPACE = 1
    SENTENCE = 2
    SYMBOL = 4
    A_WORD = 0xFFFF  # in place of a third symbol

cdef enum:
    # What two symbols may begin, in the filter of pairs.
    LONGER = 1
    SHORT = 2

cdef enum:
    NONE
    CAREFUL
    ANY

cdef enum:
    FINE
    NO_MEMORY
    NOT_UTF8
    TOO_LONG
    NOTHING_LEFT
    TOO_MANY_SYMBOLS

cdef uint32_t NOTHING = 0xFFFFFFFF
cdef tuple REASONS = (
    "",
    "",
    "is not UTF-8",
    "is longer than 64 characters",
    "has only characters that are read over",
    "brings the characters of the list to more than 65,519 different ones",
)
cdef object PARSED = object()  # stands for the words of a list that is made by `parse`
cdef dict SEPARATORS = {"none": NONE, "careful": CAREFUL, "any": ANY}


def fold(str text not None, *, bint width=True, bint case=True, bint traditional=True, bint zero_width=True,
         separators="careful"):
    """Return ``text`` as words are compared: folded, without what is read over."""
    cdef Folding folding
    cdef uint32_t code
    cdef list folded = []
    set_folding(&folding, width, case, traditional, zero_width, False, separators)
    for character in text:
        code = ord(character)
        if gap_kind(&folding, code) < 0:
            folded.append(chr(fold_code(&folding, code)))
    return "".join(folded)


@cython.final
cdef class WordList:
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

    def __cinit__(self, words, *, bint width=True, bint case=True, bint traditional=True, bint zero_width=True,
                  bint repeats=True, separators="careful"):
        cdef bytes word
        cdef list encoded = []
        cdef Py_ssize_t at = 0
        memset(&self.lexicon, 0, sizeof(Lexicon))
        self.tally = NULL
        set_folding(&self.lexicon.folding, width, case, traditional, zero_width, repeats, separators)
        if words is PARSED:
            return
        for given in words:
            word = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else given
            if len(word) >= LIMIT_BYTES - at:
                raise ValueError("list of 1 GiB or more")
            if add_source(&self.lexicon, <uint32_t>at, <uint32_t>len(word), <uint32_t>len(encoded)) != FINE:
                raise MemoryError
            encoded.append(word)
            at += len(word)
        self.text = b"".join(encoded)
        self.compile()
        for index, reason in self.problems:
            raise ValueError(f"word {index} {reason}: {encoded[index][:80]!r}")

    def __dealloc__(self):
        release(&self.lexicon)
        free(self.tally)

    @staticmethod
    def parse(bytes text not None, *, bint width=True, bint case=True, bint traditional=True, bint zero_width=True,
              bint repeats=True, separators="careful"):
        """Make a list of a file: UTF-8, one word per line; see the class for the switches.

        Spaces around a word, empty lines and lines that begin with ``#`` are left out. The interpreter's lock is
        free all the while. A line that cannot be used is left out and told in ``problems``.

        Raises:
            ValueError: The text has 1 GiB or more.
        """
        cdef WordList made = WordList.__new__(
            WordList, PARSED, width=width, case=case, traditional=traditional, zero_width=zero_width, repeats=repeats,
            separators=separators,
        )
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(text)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
        cdef int outcome
        if size >= LIMIT_BYTES:
            raise ValueError("list of 1 GiB or more")
        made.text = text
        with nogil:
            outcome = split_lines(&made.lexicon, at, <uint32_t>size)
        if outcome != FINE:
            raise MemoryError
        made.compile()
        return made

    cdef int compile(self) except -1:
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(self.text)
        cdef int outcome
        with nogil:
            outcome = compile_list(&self.lexicon, at)
            if outcome == FINE:
                self.tally = <uint64_t*>calloc(self.lexicon.source_count + 1, sizeof(uint64_t))
        if outcome != FINE or self.tally is NULL:
            raise MemoryError
        return 0

    def __len__(self):
        return self.lexicon.word_count

    @property
    def problem_count(self):
        """How many lines cannot be used."""
        return self.lexicon.problem_count

    @property
    def problems(self):
        """What cannot be used: pairs of line (from 1; of a list of words, the word's index) and reason, in order."""
        return self.first_problems(self.lexicon.problem_count)

    def first_problems(self, uint32_t most):
        """Return the first of ``problems``; all of a file that is no list may take a second, and hold the lock."""
        return [
            (self.lexicon.problems[i].line, REASONS[self.lexicon.problems[i].reason])
            for i in range(min(most, self.lexicon.problem_count))
        ]

    @property
    def memory_bytes(self):
        """Bytes taken, the words themselves included."""
        return memory_of(&self.lexicon) + PyBytes_GET_SIZE(self.text)

    def word(self, uint32_t index):
        """Return the word that hits name by ``index``, as it was given.

        Raises:
            IndexError: There is no such word.
        """
        if index >= self.lexicon.source_count:
            raise IndexError(f"no word {index}")
        cdef Source source = self.lexicon.sources[index]
        return self.text[source.at : source.at + source.size].decode("utf-8", "replace")

    def line(self, uint32_t index):
        """Return the line of the word, from 1; of a list of words, its index.

        Raises:
            IndexError: There is no such word.
        """
        if index >= self.lexicon.source_count:
            raise IndexError(f"no word {index}")
        return self.lexicon.sources[index].line

    def counts(self):
        """Return pairs of a word's index and how often ``mask`` met it, without the words it never met."""
        return [(i, self.tally[i]) for i in range(self.lexicon.source_count) if self.tally[i]]

    def mask(self, text not None):
        """Return ``text`` with ``***`` for every hit, or itself without one; what overlaps shares a mask.

        Args:
            text: ``str``, or bytes that should be UTF-8: those that are not match nothing and stay as they are.

        Raises:
            ValueError: 1 GiB or more.
        """
        cdef const char* at = NULL
        cdef Py_ssize_t size = 0
        cdef Hits hits
        cdef bytes kept = None
        cdef bint of_str = isinstance(text, str)
        if of_str:
            try:
                at = PyUnicode_AsUTF8AndSize(text, &size)
            except UnicodeEncodeError:  # a lone surrogate, which JSON can bring
                kept = text.encode("utf-8", "surrogatepass")
        else:
            kept = text
        if kept is not None:
            at = PyBytes_AS_STRING(kept)
            size = PyBytes_GET_SIZE(kept)
        memset(&hits, 0, sizeof(Hits))
        try:
            self.search(<const uint8_t*>at, size, &hits)
            if hits.count == 0:
                return text
            count_hits(self.tally, &hits)
            masked = masked_text(<const uint8_t*>at, size, &hits)
        finally:
            free(hits.items)
        return masked.decode("utf-8", "surrogatepass") if of_str else masked

    def find(self, text not None):
        """Return the hits in order, each as ``(start, end, index of the word)``; nothing is counted.

        Start and end are in the units of ``text``: bytes, or the characters of a ``str``.

        Raises:
            ValueError: 1 GiB or more.
        """
        cdef bytes encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(encoded)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(encoded)
        cdef Hits hits
        cdef Py_ssize_t i
        memset(&hits, 0, sizeof(Hits))
        try:
            self.search(at, size, &hits)
            found = [(hits.items[i].start, hits.items[i].end, hits.items[i].word) for i in range(hits.count)]
        finally:
            free(hits.items)
        return characters_of(encoded, found) if isinstance(text, str) else found

    cdef int search(self, const uint8_t* at, Py_ssize_t size, Hits* hits) except -1:
        """Gather the hits in order; the caller frees them, also after an exception."""
        cdef int outcome
        if size >= LIMIT_BYTES:
            raise ValueError("text of 1 GiB or more")
        if size < UNLOCKED_TEXT_BYTES:
            outcome = find_hits(&self.lexicon, at, size, hits)
        else:
            with nogil:
                outcome = find_hits(&self.lexicon, at, size, hits)
        if outcome != FINE:
            raise MemoryError
        return 0


cdef int set_folding(Folding* folding, bint width, bint case, bint traditional, bint zero_width, bint repeats,
                     separators) except -1:
    if separators not in SEPARATORS:
        raise ValueError(f"separators is none, careful or any, and not {separators!r}")
    folding.width = width
    folding.case = case
    folding.traditional = traditional
    folding.zero_width = zero_width
    folding.repeats = repeats
    folding.separators = SEPARATORS[separators]
    return 0


cdef list characters_of(bytes text, list found):
    """The hits of ``text`` with offsets in characters."""
    cdef Py_ssize_t i
    cdef uint32_t character = 0
    cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(text)
    cdef dict characters = {}
    cdef set wanted = {offset for start, end, _ in found for offset in (start, end)}
    for i in range(PyBytes_GET_SIZE(text) + 1):
        if at[i] & 0xC0 != 0x80:
            if i in wanted:
                characters[i] = character
            character += 1
    return [(characters[start], characters[end], word) for start, end, word in found]


cdef void count_hits(uint64_t* tally, Hits* hits) noexcept:
    cdef Py_ssize_t i
    for i in range(hits.count):
        tally[hits.items[i].word] += 1


cdef bytes masked_text(const uint8_t* at, Py_ssize_t size, Hits* hits):
    """A copy with three asterisks for each stretch of overlapping hits, which are in order."""
    cdef Py_ssize_t i, kept_from, room
    cdef Py_ssize_t stretches = 0, covered = 0
    cdef uint32_t end = 0
    cdef uint8_t* to
    cdef Hit hit
    for i in range(hits.count):
        hit = hits.items[i]
        if hit.start >= end:
            stretches += 1
            covered += hit.end - hit.start
            end = hit.end
        elif hit.end > end:
            covered += hit.end - end
            end = hit.end
    room = size - covered + 3 * stretches
    cdef bytes masked = PyBytes_FromStringAndSize(NULL, room)
    to = <uint8_t*>PyBytes_AS_STRING(masked)
    kept_from = 0
    end = 0
    for i in range(hits.count):
        hit = hits.items[i]
        if hit.start >= end:
            memcpy(to, at + kept_from, <size_t>(hit.start - kept_from))
            to += hit.start - kept_from
            memcpy(to, b"***", 3)
            to += 3
            end = hit.end
        elif hit.end > end:
            end = hit.end
        kept_from = end
    memcpy(to, at + kept_from, <size_t>(size - kept_from))
    return masked


# --- Folding ----------------------------------------------------------------------------------------------------------


cdef uint32_t folded_by(const FoldPair* table, uint32_t count, uint32_t code) noexcept nogil:
    cdef uint32_t low = 0, high = count, middle
    while low < high:
        middle = (low + high) >> 1
        if table[middle].from_ < code:
            low = middle + 1
        else:
            high = middle
    return table[low].to if low < count and table[low].from_ == code else code


cdef uint32_t fold_code(const Folding* folding, uint32_t code) noexcept nogil:
    if folding.width:
        code = folded_by(FOLD_WIDTH, FOLD_WIDTH_COUNT, code)
    if folding.case:
        code = folded_by(FOLD_CASE, FOLD_CASE_COUNT, code)
    if folding.traditional:
        code = folded_by(FOLD_TRADITIONAL, FOLD_TRADITIONAL_COUNT, code)
    return code


cdef const FoldRange* in_range(const FoldRange* table, uint32_t count, uint32_t code) noexcept nogil:
    cdef uint32_t low = 0, high = count, middle
    while low < high:
        middle = (low + high) >> 1
        if table[middle].last < code:
            low = middle + 1
        else:
            high = middle
    return &table[low] if low < count and table[low].first <= code else NULL


cdef int gap_kind(const Folding* folding, uint32_t code) noexcept nogil:
    """The kind of gap that the character leaves, 0 for zero width; -1: it is not read over."""
    cdef const FoldRange* found = NULL
    if folding.zero_width and in_range(FOLD_ZERO_WIDTH, FOLD_ZERO_WIDTH_COUNT, code) is not NULL:
        return 0
    if folding.separators != NONE:
        found = in_range(FOLD_SEPARATORS, FOLD_SEPARATORS_COUNT, code)
    return -1 if found is NULL else <int>found.kind


cdef bint is_letter(uint32_t code) noexcept nogil:
    """Whether it is a letter or digit of writing that sets words apart by spaces."""
    return in_range(FOLD_LETTERS, FOLD_LETTERS_COUNT, code) is not NULL


cdef int decode(const uint8_t* at, Py_ssize_t size, uint32_t* code) noexcept nogil:
    """Read one character and return its length; 0: what is there is not UTF-8 (RFC 3629)."""
    cdef uint8_t first = at[0]
    if first < 0x80:
        code[0] = first
        return 1
    if first < 0xE0:
        if first < 0xC2 or size < 2 or at[1] & 0xC0 != 0x80:
            return 0
        code[0] = <uint32_t>(first & 0x1F) << 6 | (at[1] & 0x3F)
        return 2
    if first < 0xF0:
        if size < 3 or at[1] & 0xC0 != 0x80 or at[2] & 0xC0 != 0x80:
            return 0
        code[0] = <uint32_t>(first & 0x0F) << 12 | <uint32_t>(at[1] & 0x3F) << 6 | (at[2] & 0x3F)
        return 3 if code[0] >= 0x800 and not 0xD800 <= code[0] < 0xE000 else 0
    if first > 0xF4 or size < 4 or at[1] & 0xC0 != 0x80 or at[2] & 0xC0 != 0x80 or at[3] & 0xC0 != 0x80:
        return 0
    code[0] = (
        <uint32_t>(first & 0x07) << 18 | <uint32_t>(at[1] & 0x3F) << 12 | <uint32_t>(at[2] & 0x3F) << 6 | (at[3] & 0x3F)
    )
    return 4 if 0x10000 <= code[0] < 0x110000 else 0


# --- Making a list ----------------------------------------------------------------------------------------------------


cdef void* grown(void* items, uint32_t needed, uint32_t* room, size_t item_bytes) noexcept nogil:
    """``items`` with room for ``needed``, at least doubled when it has to grow; NULL without memory, nothing freed."""
    cdef uint32_t wanted
    cdef void* larger
    if needed <= room[0]:
        return items
    wanted = needed if needed > 2 * room[0] else 2 * room[0]
    if wanted < 64:
        wanted = 64
    larger = realloc(items, wanted * item_bytes)
    if larger is not NULL:
        room[0] = wanted
    return larger


cdef int add_source(Lexicon* lexicon, uint32_t at, uint32_t size, uint32_t line) noexcept nogil:
    cdef void* items = grown(lexicon.sources, lexicon.source_count + 1, &lexicon.source_room, sizeof(Source))
    if items is NULL:
        return NO_MEMORY
    lexicon.sources = <Source*>items
    lexicon.sources[lexicon.source_count] = Source(at, size, line)
    lexicon.source_count += 1
    return FINE


cdef int add_problem(Lexicon* lexicon, uint32_t line, int reason) noexcept nogil:
    cdef void* items = grown(lexicon.problems, lexicon.problem_count + 1, &lexicon.problem_room, sizeof(Problem))
    if items is NULL:
        return NO_MEMORY
    lexicon.problems = <Problem*>items
    lexicon.problems[lexicon.problem_count] = Problem(line, <uint32_t>reason)
    lexicon.problem_count += 1
    return FINE


cdef bint is_blank(uint8_t byte) noexcept nogil:
    return byte == c" " or byte == c"\t"


cdef int split_lines(Lexicon* lexicon, const uint8_t* text, uint32_t size) noexcept nogil:
    """Make a source of each line that has a word."""
    cdef uint32_t at = 0, line = 0, end, first, last
    if size >= 3 and text[0] == 0xEF and text[1] == 0xBB and text[2] == 0xBF:
        at = 3
    while at < size:
        line += 1
        end = at
        while end < size and text[end] != c"\n" and text[end] != c"\r":
            end += 1
        first = at
        last = end
        while first < last and is_blank(text[first]):
            first += 1
        while first < last and is_blank(text[last - 1]):
            last -= 1
        if first < last and text[first] != c"#":
            if add_source(lexicon, first, last - first, line) != FINE:
                return NO_MEMORY
        if end + 1 < size and text[end] == c"\r" and text[end + 1] == c"\n":
            end += 1
        at = end + 1
    return FINE


cdef uint16_t symbol_of(const Lexicon* lexicon, uint32_t code) noexcept nogil:
    return lexicon.pages[<size_t>lexicon.page_of[code >> 6] * PAGE_CHARACTERS + (code & 63)]


cdef int set_symbol(Lexicon* lexicon, uint32_t code, uint16_t symbol) noexcept nogil:
    cdef void* items
    cdef uint32_t page = lexicon.page_of[code >> 6]
    if page == 0:
        page = lexicon.page_count
        items = grown(lexicon.pages, (page + 1) * PAGE_CHARACTERS, &lexicon.page_room, sizeof(uint16_t))
        if items is NULL:
            return NO_MEMORY
        lexicon.pages = <uint16_t*>items
        memset(lexicon.pages + <size_t>page * PAGE_CHARACTERS, 0, PAGE_CHARACTERS * sizeof(uint16_t))
        lexicon.page_of[code >> 6] = <uint16_t>page
        lexicon.page_count += 1
    lexicon.pages[<size_t>page * PAGE_CHARACTERS + (code & 63)] = symbol
    return FINE


cdef int set_ranges(Lexicon* lexicon, const FoldRange* table, int count) noexcept nogil:
    cdef uint32_t code
    cdef int i
    for i in range(count):
        code = table[i].first
        while code <= table[i].last:
            if set_symbol(lexicon, code, <uint16_t>(READ_OVER + table[i].kind)) != FINE:
                return NO_MEMORY
            code += 1
    return FINE


cdef int set_variants(Lexicon* lexicon, const FoldPair* table, int count) noexcept nogil:
    """Give every character that folds to one of a word's the symbol of that one."""
    cdef uint16_t symbol
    cdef int i
    for i in range(count):
        symbol = symbol_of(lexicon, fold_code(&lexicon.folding, table[i].from_))
        if 0 < symbol < READ_OVER and set_symbol(lexicon, table[i].from_, symbol) != FINE:
            return NO_MEMORY
    return FINE


cdef int compile_list(Lexicon* lexicon, const uint8_t* text) noexcept nogil:
    """Make everything from ``sources``, which point into ``text``."""
    cdef uint32_t i
    cdef int outcome
    lexicon.page_of = <uint16_t*>calloc(PAGES, sizeof(uint16_t))
    lexicon.pages = <uint16_t*>calloc(PAGE_CHARACTERS, sizeof(uint16_t))
    lexicon.words = <Word*>calloc(lexicon.source_count + 1, sizeof(Word))
    if lexicon.page_of is NULL or lexicon.pages is NULL or lexicon.words is NULL:
        return NO_MEMORY
    lexicon.page_count = 1
    lexicon.page_room = PAGE_CHARACTERS
    if lexicon.folding.separators != NONE:
        if set_ranges(lexicon, FOLD_SEPARATORS, FOLD_SEPARATORS_COUNT) != FINE:
            return NO_MEMORY
    if lexicon.folding.zero_width:
        if set_ranges(lexicon, FOLD_ZERO_WIDTH, FOLD_ZERO_WIDTH_COUNT) != FINE:
            return NO_MEMORY
    for i in range(lexicon.source_count):
        outcome = add_word(lexicon, text, i)
        if outcome == NO_MEMORY or (
            outcome != FINE and add_problem(lexicon, lexicon.sources[i].line, outcome) != FINE
        ):
            return NO_MEMORY
    if lexicon.folding.width and set_variants(lexicon, FOLD_WIDTH, FOLD_WIDTH_COUNT) != FINE:
        return NO_MEMORY
    if lexicon.folding.case and set_variants(lexicon, FOLD_CASE, FOLD_CASE_COUNT) != FINE:
        return NO_MEMORY
    if lexicon.folding.traditional and set_variants(lexicon, FOLD_TRADITIONAL, FOLD_TRADITIONAL_COUNT) != FINE:
        return NO_MEMORY
    for i in range(128):
        lexicon.ascii[i] = symbol_of(lexicon, i)
    if sort_words(lexicon) != FINE:
        return NO_MEMORY
    return plant(lexicon)


cdef int add_word(Lexicon* lexicon, const uint8_t* text, uint32_t index) noexcept nogil:
    """Fold one word into ``words``; anything but FINE: it is left out."""
    cdef Source source = lexicon.sources[index]
    cdef const uint8_t* at = text + source.at
    cdef uint32_t left = source.size, code, i, characters = 0, runs = 0
    cdef uint32_t folded[LONGEST_CHARACTERS]
    cdef uint32_t before[LONGEST_CHARACTERS]
    cdef uint32_t after[LONGEST_CHARACTERS]
    cdef uint32_t before_count = 0, after_count = 0
    cdef uint16_t symbol, previous = 0
    cdef uint64_t own_gaps = 0
    cdef int length, kind
    cdef void* items
    cdef Word* word
    while left:
        length = decode(at, left, &code)
        if length == 0:
            return NOT_UTF8
        at += length
        left -= <uint32_t>length
        kind = gap_kind(&lexicon.folding, code)
        if kind == 0:
            continue
        if kind > 0:
            if after_count == LONGEST_CHARACTERS:
                return TOO_LONG
            after[after_count] = fold_code(&lexicon.folding, code)
            after_count += 1
            continue
        if characters == LONGEST_CHARACTERS:
            return TOO_LONG
        if after_count:
            if characters:
                own_gaps |= <uint64_t>1 << characters
            else:
                memcpy(before, after, after_count * sizeof(uint32_t))
                before_count = after_count
            after_count = 0
        folded[characters] = fold_code(&lexicon.folding, code)
        characters += 1
    if characters == 0:
        return NOTHING_LEFT
    items = grown(lexicon.affixes, lexicon.affix_count + before_count + after_count, &lexicon.affix_room,
                  sizeof(uint32_t))
    if items is NULL and before_count + after_count:
        return NO_MEMORY
    if items is not NULL:
        lexicon.affixes = <uint32_t*>items
    if reserve_runs(lexicon, lexicon.run_count + LONGEST_CHARACTERS) != FINE:
        return NO_MEMORY
    for i in range(characters):
        symbol = symbol_of(lexicon, folded[i])
        if symbol == 0:
            if lexicon.symbol_count == MOST_SYMBOLS:
                return TOO_MANY_SYMBOLS
            lexicon.symbol_count += 1
            symbol = <uint16_t>lexicon.symbol_count
            if set_symbol(lexicon, folded[i], symbol) != FINE:
                return NO_MEMORY
        if symbol != previous:
            lexicon.symbols[lexicon.run_count + runs] = symbol
            lexicon.counts[lexicon.run_count + runs] = 0
            runs += 1
            previous = symbol
        lexicon.counts[lexicon.run_count + runs - 1] += 1
    word = &lexicon.words[lexicon.word_count]
    word.own_gaps = own_gaps
    word.at = lexicon.run_count
    word.index = index
    word.affix_at = lexicon.affix_count
    word.runs = <uint8_t>runs
    word.before = <uint8_t>before_count
    word.after = <uint8_t>after_count
    for i in range(before_count):
        lexicon.affixes[lexicon.affix_count + i] = before[i]
    for i in range(after_count):
        lexicon.affixes[lexicon.affix_count + before_count + i] = after[i]
    lexicon.affix_count += before_count + after_count
    lexicon.run_count += runs
    lexicon.word_count += 1
    return FINE


cdef int reserve_runs(Lexicon* lexicon, uint32_t needed) noexcept nogil:
    cdef uint32_t room = lexicon.run_room
    cdef void* items = grown(lexicon.symbols, needed, &room, sizeof(uint16_t))
    if items is NULL:
        return NO_MEMORY
    lexicon.symbols = <uint16_t*>items
    items = grown(lexicon.counts, needed, &lexicon.run_room, sizeof(uint8_t))
    if items is NULL:
        return NO_MEMORY
    lexicon.counts = <uint8_t*>items
    return FINE


cdef int compare(const Lexicon* lexicon, const Word* one, const Word* other) noexcept nogil:
    """Order by symbols, a beginning before what goes on."""
    cdef const uint16_t* symbols = lexicon.symbols + one.at
    cdef const uint16_t* others = lexicon.symbols + other.at
    cdef int i
    for i in range(min(one.runs, other.runs)):
        if symbols[i] != others[i]:
            return -1 if symbols[i] < others[i] else 1
    return <int>one.runs - <int>other.runs


cdef int sort_words(Lexicon* lexicon) noexcept nogil:
    """A merge sort: stable, so that equal words stay in the order of the list."""
    cdef uint32_t count = lexicon.word_count, width = 1, low, middle, high, i, j, to
    cdef Word* words = lexicon.words
    cdef Word* target = <Word*>malloc((<size_t>count + 1) * sizeof(Word))
    cdef Word* swapped
    if target is NULL:
        return NO_MEMORY
    while width < count:
        low = 0
        while low < count:
            middle = min(low + width, count)
            high = min(middle + width, count)
            i = low
            j = middle
            for to in range(low, high):
                if i < middle and (j == high or compare(lexicon, &words[i], &words[j]) <= 0):
                    target[to] = words[i]
                    i += 1
                else:
                    target[to] = words[j]
                    j += 1
            low = high
        swapped = words
        words = target
        target = swapped
        width *= 2
    free(target)
    lexicon.words = words
    for i in range(1, count):
        words[i - 1].same_as_next = compare(lexicon, &words[i - 1], &words[i]) == 0
    return FINE


@cython.overflowcheck(False)
cdef inline uint32_t pair_bit(uint32_t first, uint32_t second, uint32_t bits) noexcept nogil:
    return ((first << 16 | second) * <uint32_t>0x9E3779B1) >> (32 - bits)


@cython.overflowcheck(False)
cdef inline uint32_t key_bit(uint64_t key, uint32_t bits) noexcept nogil:
    return <uint32_t>((key * <uint64_t>0x9E3779B97F4A7C15) >> (64 - bits))


cdef inline uint64_t opening_key(uint64_t first, uint64_t second, uint64_t third) noexcept nogil:
    return first << 32 | second << 16 | third


cdef inline uint64_t node_key(uint64_t node, uint64_t symbol) noexcept nogil:
    return <uint64_t>1 << 48 | node << 16 | symbol


cdef int plant(Lexicon* lexicon) noexcept nogil:
    """Make the trie and the filters before it."""
    cdef uint32_t first = 0, after
    cdef const Word* word
    cdef const uint16_t* symbols
    cdef uint64_t key
    lexicon.entry_bits = 8
    lexicon.entries = empty_entries(lexicon.entry_bits)
    lexicon.single = <uint32_t*>malloc((<size_t>lexicon.symbol_count + 1) * sizeof(uint32_t))
    lexicon.filter_bits = 12
    while (<uint64_t>1 << lexicon.filter_bits) < <uint64_t>8 * lexicon.word_count and lexicon.filter_bits < 30:
        lexicon.filter_bits += 1
    lexicon.pairs = empty_filter(lexicon.filter_bits + 1)
    lexicon.openings = empty_filter(lexicon.filter_bits)
    if lexicon.entries is NULL or lexicon.single is NULL or lexicon.pairs is NULL or lexicon.openings is NULL:
        return NO_MEMORY
    memset(lexicon.single, 0xFF, (<size_t>lexicon.symbol_count + 1) * sizeof(uint32_t))
    while first < lexicon.word_count:
        word = &lexicon.words[first]
        symbols = lexicon.symbols + word.at
        after = first + 1
        if word.runs > 2:
            key = opening_key(symbols[0], symbols[1], symbols[2])
            while after < lexicon.word_count and begins_alike(lexicon, word, &lexicon.words[after]):
                after += 1
            set_pair(lexicon.pairs, pair_bit(symbols[0], symbols[1], lexicon.filter_bits), LONGER)
            set_bit(lexicon.openings, key_bit(key, lexicon.filter_bits))
            if add_group(lexicon, first, after, 3, key) != FINE:
                return NO_MEMORY
        else:
            while lexicon.words[after - 1].same_as_next:
                after += 1
            if word.runs == 1:
                lexicon.single[symbols[0]] = first
                lexicon.has_single = True
            else:
                set_pair(lexicon.pairs, pair_bit(symbols[0], symbols[1], lexicon.filter_bits), SHORT)
                if add_group(lexicon, first, after, 2, opening_key(symbols[0], symbols[1], A_WORD)) != FINE:
                    return NO_MEMORY
        first = after
    return FINE


cdef bint begins_alike(const Lexicon* lexicon, const Word* one, const Word* other) noexcept nogil:
    """Whether both have three symbols or more, and the first three are the same."""
    return other.runs > 2 and memcmp(lexicon.symbols + one.at, lexicon.symbols + other.at, 3 * sizeof(uint16_t)) == 0


cdef int add_group(Lexicon* lexicon, uint32_t low, uint32_t high, uint32_t depth, uint64_t key) noexcept nogil:
    """Make the entry ``key`` and all below it for words ``low`` to ``high``, which share ``depth`` symbols."""
    cdef uint32_t first = low, after, node
    cdef const Word* word = &lexicon.words[low]
    cdef uint16_t symbol
    if compare(lexicon, word, &lexicon.words[high - 1]) == 0:
        symbol = lexicon.symbols[word.at + depth] if word.runs > depth else <uint16_t>0
        return add_entry(lexicon, Entry(key, low, symbol, True))
    while lexicon.words[first].runs == depth:
        first += 1
    if add_node(lexicon, low if first > low else NOTHING, &node) != FINE:
        return NO_MEMORY
    if add_entry(lexicon, Entry(key, node, 0, False)) != FINE:
        return NO_MEMORY
    while first < high:
        symbol = lexicon.symbols[lexicon.words[first].at + depth]
        after = first + 1
        while after < high and lexicon.symbols[lexicon.words[after].at + depth] == symbol:
            after += 1
        if add_group(lexicon, first, after, depth + 1, node_key(node, symbol)) != FINE:
            return NO_MEMORY
        first = after
    return FINE


cdef int add_node(Lexicon* lexicon, uint32_t ending, uint32_t* node) noexcept nogil:
    cdef void* items = grown(lexicon.ending, lexicon.node_count + 1, &lexicon.node_room, sizeof(uint32_t))
    if items is NULL:
        return NO_MEMORY
    lexicon.ending = <uint32_t*>items
    lexicon.ending[lexicon.node_count] = ending
    node[0] = lexicon.node_count
    lexicon.node_count += 1
    return FINE


cdef uint64_t* empty_filter(uint32_t bits) noexcept nogil:
    return <uint64_t*>calloc(<size_t>1 << (bits - 6), sizeof(uint64_t))


cdef Entry* empty_entries(uint32_t bits) noexcept nogil:
    return <Entry*>calloc(<size_t>1 << bits, sizeof(Entry))


cdef void put_entry(Entry* entries, uint32_t bits, Entry entry) noexcept nogil:
    cdef uint32_t mask = (<uint32_t>1 << bits) - 1
    cdef uint32_t slot = key_bit(entry.key, bits)
    while entries[slot].key:
        slot = (slot + 1) & mask
    entries[slot] = entry


cdef int add_entry(Lexicon* lexicon, Entry entry) noexcept nogil:
    cdef Entry* larger
    cdef size_t i
    # At most two of three slots are taken.
    if <uint64_t>3 * lexicon.entry_count >= <uint64_t>2 << lexicon.entry_bits:
        larger = empty_entries(lexicon.entry_bits + 1)
        if larger is NULL:
            return NO_MEMORY
        for i in range(<size_t>1 << lexicon.entry_bits):
            if lexicon.entries[i].key:
                put_entry(larger, lexicon.entry_bits + 1, lexicon.entries[i])
        free(lexicon.entries)
        lexicon.entries = larger
        lexicon.entry_bits += 1
    put_entry(lexicon.entries, lexicon.entry_bits, entry)
    lexicon.entry_count += 1
    return FINE


cdef inline const Entry* entry_of(const Lexicon* lexicon, uint64_t key) noexcept nogil:
    """The entry of ``key``, or an empty one."""
    cdef uint32_t mask = (<uint32_t>1 << lexicon.entry_bits) - 1
    cdef uint32_t slot = key_bit(key, lexicon.entry_bits)
    while lexicon.entries[slot].key != key and lexicon.entries[slot].key:
        slot = (slot + 1) & mask
    return &lexicon.entries[slot]


cdef inline void set_bit(uint64_t* bitmap, uint32_t bit) noexcept nogil:
    bitmap[bit >> 6] |= <uint64_t>1 << (bit & 63)


cdef inline void set_pair(uint64_t* pairs, uint32_t pair, uint64_t kind) noexcept nogil:
    pairs[pair >> 5] |= kind << 2 * (pair & 31)


cdef inline uint32_t pair_of(const uint64_t* pairs, uint32_t pair) noexcept nogil:
    return <uint32_t>(pairs[pair >> 5] >> 2 * (pair & 31)) & 3


cdef inline uint32_t has_bit(const uint64_t* bitmap, uint32_t bit) noexcept nogil:
    return <uint32_t>(bitmap[bit >> 6] >> (bit & 63)) & 1


cdef void release(Lexicon* lexicon) noexcept:
    free(lexicon.page_of)
    free(lexicon.pages)
    free(lexicon.sources)
    free(lexicon.problems)
    free(lexicon.words)
    free(lexicon.symbols)
    free(lexicon.counts)
    free(lexicon.affixes)
    free(lexicon.single)
    free(lexicon.entries)
    free(lexicon.ending)
    free(lexicon.pairs)
    free(lexicon.openings)


cdef size_t memory_of(const Lexicon* lexicon) noexcept:
    return (
        sizeof(Lexicon)
        + PAGES * sizeof(uint16_t)
        + lexicon.page_room * sizeof(uint16_t)
        + lexicon.source_room * sizeof(Source)
        + lexicon.problem_room * sizeof(Problem)
        + (lexicon.source_count + 1) * (sizeof(Word) + sizeof(uint64_t))
        + lexicon.run_room * (sizeof(uint16_t) + sizeof(uint8_t))
        + lexicon.affix_room * sizeof(uint32_t)
        + (lexicon.symbol_count + 1) * sizeof(uint32_t)
        + (<size_t>1 << lexicon.entry_bits) * sizeof(Entry)
        + lexicon.node_room * sizeof(uint32_t)
        + (<size_t>3 << (lexicon.filter_bits - 3))
    )


# --- Searching --------------------------------------------------------------------------------------------------------


cdef enum:
    SCRATCH_BYTES = 19  # for each byte of text: at, gap, symbols, first, longer and shorter
    SCRATCH_ENDS = 4  # and for what stands behind the last run
    STACK_CELLS = 4_884  # (STACK_TEXT_BYTES + SCRATCH_ENDS) * SCRATCH_BYTES, in uint32_t


cdef int find_hits(const Lexicon* lexicon, const uint8_t* bytes, Py_ssize_t size, Hits* hits) noexcept nogil:
    """Gather the hits, ordered by start, end and word. NO_MEMORY: some may be missing."""
    cdef uint32_t scratch[STACK_CELLS]
    cdef uint32_t* room = scratch
    cdef Py_ssize_t cells = size + SCRATCH_ENDS
    cdef Text text
    cdef int outcome
    if size > STACK_TEXT_BYTES:
        room = <uint32_t*>malloc(<size_t>cells * SCRATCH_BYTES)
        if room is NULL:
            return NO_MEMORY
    text.bytes = bytes
    text.size = size
    text.at = room
    text.first = text.at + cells
    text.longer = text.first + cells
    text.shorter = text.longer + cells
    text.symbols = <uint16_t*>(text.shorter + cells)
    text.gap = <uint8_t*>(text.symbols + cells)
    fold_text(lexicon, &text)
    outcome = look_up(lexicon, &text, hits)
    if room is not scratch:
        free(room)
    if hits.count > 1:
        qsort(hits.items, <size_t>hits.count, sizeof(Hit), in_order)
    return outcome


cdef int in_order(const void* one, const void* other) noexcept nogil:
    cdef const Hit* hit = <const Hit*>one
    cdef const Hit* next_hit = <const Hit*>other
    if hit.start != next_hit.start:
        return -1 if hit.start < next_hit.start else 1
    if hit.end != next_hit.end:
        return -1 if hit.end < next_hit.end else 1
    if hit.word != next_hit.word:
        return -1 if hit.word < next_hit.word else 1
    return 0


cdef void fold_text(const Lexicon* lexicon, Text* text) noexcept nogil:
    """Fill in characters and runs. A byte that is not UTF-8 is a character of its own that no word contains."""
    cdef const uint8_t* bytes = text.bytes
    cdef const uint16_t* page_of = lexicon.page_of
    cdef const uint16_t* pages = lexicon.pages
    cdef uint32_t* at = text.at
    cdef uint8_t* gap = text.gap
    cdef uint16_t* symbols = text.symbols
    cdef uint32_t* first = text.first
    cdef Py_ssize_t i = 0, size = text.size
    cdef uint32_t characters = 0, runs = 0, code, page
    cdef uint32_t previous = 0x10000, symbol
    cdef uint8_t byte, pending = 0
    cdef int length
    while i < size:
        byte = bytes[i]
        if byte < 0x80:
            symbol = lexicon.ascii[byte]
            length = 1
        elif byte & 0xF0 == 0xE0 and size - i >= 3 and bytes[i + 1] & 0xC0 == 0x80 and bytes[i + 2] & 0xC0 == 0x80:
            page = <uint32_t>(byte & 0x0F) << 6 | (bytes[i + 1] & 0x3F)
            length = 3
            # Below are forms that are too long. Surrogates are in no word, so what they have there is never set.
            symbol = pages[<size_t>page_of[page] * PAGE_CHARACTERS + (bytes[i + 2] & 0x3F)]
            if page < 32:
                symbol = 0
                length = 1
        else:
            length = decode(bytes + i, size - i, &code)
            symbol = 0
            if length:
                symbol = symbol_of(lexicon, code)
            else:
                length = 1
        if symbol >= READ_OVER:
            pending |= symbol & 7
            i += length
            continue
        at[characters] = <uint32_t>i
        gap[characters] = pending
        pending = 0
        if symbol != previous:
            symbols[runs] = <uint16_t>symbol
            first[runs] = characters
            runs += 1
            previous = symbol
        characters += 1
        i += length
    text.characters = characters
    text.runs = runs
    first[runs] = characters
    symbols[runs] = 0
    symbols[runs + 1] = 0
    symbols[runs + 2] = 0


cdef int look_up(const Lexicon* lexicon, Text* text, Hits* hits) noexcept nogil:
    cdef const uint64_t* pairs = lexicon.pairs
    cdef const uint64_t* openings = lexicon.openings
    cdef const uint16_t* symbols = text.symbols
    cdef uint32_t* longer = text.longer
    cdef uint32_t* shorter = text.shorter
    cdef uint32_t bits = lexicon.filter_bits
    cdef uint32_t i, run, begins, found = 0, found_shorter = 0, left = 0
    cdef int outcome = FINE
    # No branch depends on what the filters say, which is too random to be predicted.
    for i in range(text.runs):
        begins = pair_of(pairs, pair_bit(symbols[i], symbols[i + 1], bits))
        longer[found] = i
        found += begins & LONGER
        shorter[found_shorter] = i
        found_shorter += begins >> 1
    for i in range(found):
        run = longer[i]
        longer[left] = run
        left += has_bit(openings, key_bit(opening_key(symbols[run], symbols[run + 1], symbols[run + 2]), bits))
    for i in range(left):
        run = longer[i]
        if walk(lexicon, text, run, opening_key(symbols[run], symbols[run + 1], symbols[run + 2]), 3, hits) != FINE:
            outcome = NO_MEMORY
    for i in range(found_shorter):
        run = shorter[i]
        if walk(lexicon, text, run, opening_key(symbols[run], symbols[run + 1], A_WORD), 2, hits) != FINE:
            outcome = NO_MEMORY
    if lexicon.has_single:
        for i in range(text.runs):
            if lexicon.single[symbols[i]] != NOTHING:
                if confirm_all(lexicon, text, lexicon.single[symbols[i]], i, hits) != FINE:
                    outcome = NO_MEMORY
    return outcome


cdef int walk(const Lexicon* lexicon, const Text* text, uint32_t run, uint64_t key, uint32_t depth,
              Hits* hits) noexcept nogil:
    """Confirm every word below ``key``, the first ``depth`` symbols from ``run`` on, whose symbols stand there."""
    # Past the last run stand zeros, which no key and no word has: nothing is ever read behind them.
    cdef const uint16_t* symbols = text.symbols + run
    cdef int outcome = FINE
    cdef const Entry* entry
    cdef const Word* word
    while True:
        entry = entry_of(lexicon, key)
        if entry.key == 0:
            return outcome
        if entry.leaf:
            if entry.next_symbol and entry.next_symbol != symbols[depth]:
                return outcome
            word = &lexicon.words[entry.value]
            if word.runs <= text.runs - run and memcmp(
                symbols + depth, lexicon.symbols + word.at + depth, (word.runs - depth) * sizeof(uint16_t)
            ) == 0:
                if confirm_all(lexicon, text, entry.value, run, hits) != FINE:
                    outcome = NO_MEMORY
            return outcome
        if lexicon.ending[entry.value] != NOTHING:
            if confirm_all(lexicon, text, lexicon.ending[entry.value], run, hits) != FINE:
                outcome = NO_MEMORY
        key = node_key(entry.value, symbols[depth])
        depth += 1


cdef int confirm_all(const Lexicon* lexicon, const Text* text, uint32_t word, uint32_t run, Hits* hits) noexcept nogil:
    """Confirm the words that have the same symbols, ``word`` the first of them."""
    cdef int outcome = FINE
    while True:
        if confirm(lexicon, text, &lexicon.words[word], run, hits) != FINE:
            outcome = NO_MEMORY
        if not lexicon.words[word].same_as_next:
            return outcome
        word += 1


cdef int confirm(const Lexicon* lexicon, const Text* text, const Word* word, uint32_t run, Hits* hits) noexcept nogil:
    """Add the hit or hits of a word whose symbols stand from ``run`` on, if it is more than symbols."""
    cdef const uint8_t* counts = lexicon.counts + word.at
    cdef const uint32_t* first = text.first + run
    cdef uint32_t last = <uint32_t>word.runs - 1, count, i
    cdef uint32_t from_character, to_character
    cdef bint all_longer = True, some_longer = False, slightly_longer = False
    cdef int outcome = FINE
    if last == 0:
        count = first[1] - first[0]
        if count < counts[0]:
            return FINE
        for i in range(first[0], first[1] - counts[0] + 1):
            if confirm_gaps(lexicon, text, word, run, i, i + counts[0] - 1, hits) != FINE:
                outcome = NO_MEMORY
        return outcome
    for i in range(last + 1):
        count = first[i + 1] - first[i]
        if count < counts[i]:
            return FINE
        if count == counts[i]:
            all_longer = False
        elif 0 < i < last:
            some_longer = True
            if count < 3:
                slightly_longer = True
    if some_longer and (not lexicon.folding.repeats or (slightly_longer and not all_longer)):
        return FINE
    from_character = first[1] - counts[0]
    to_character = first[last] + counts[last] - 1
    return confirm_gaps(lexicon, text, word, run, from_character, to_character, hits)


cdef int confirm_gaps(const Lexicon* lexicon, const Text* text, const Word* word, uint32_t run, uint32_t first,
                      uint32_t last, Hits* hits) noexcept nogil:
    """Add the hit, characters ``first`` to ``last``, if nothing in it was read over that should not be."""
    cdef uint8_t kinds = 0
    cdef uint32_t i
    for i in range(first + 1, last + 1):
        kinds |= text.gap[i]
    if kinds and lexicon.folding.separators == CAREFUL and not on_purpose(lexicon, text, word, run, first, last):
        return FINE
    return add_hit(lexicon, text, word, first, last, hits)


cdef bint on_purpose(const Lexicon* lexicon, const Text* text, const Word* word, uint32_t run, uint32_t first,
                     uint32_t last) noexcept nogil:
    """Whether separators seem to be there to hide the word, and not by chance; ``docs/words.md`` has the rule."""
    cdef const uint8_t* counts = lexicon.counts + word.at
    cdef uint32_t i, in_word = 0, pieces = 1
    cdef uint32_t step = 0  # run of the word that character i belongs to
    cdef uint8_t between_letters = 0, between_others = 0, mixed = 0, gap
    cdef bint spelled = True, own, letter, previous_letter, first_letter
    cdef bint starts, ends
    first_letter = previous_letter = is_letter(character_at(text, first))
    for i in range(first + 1, last + 1):
        letter = is_letter(character_at(text, i))
        gap = text.gap[i]
        if i == text.first[run + step + 1]:
            in_word += counts[step]
            step += 1
            own = word.own_gaps >> in_word & 1
            if gap == 0:
                spelled = False
        else:
            own = gap and word.own_gaps and gap_in_run(word, in_word, counts[step])
        if gap:
            pieces += 1
            if own:
                pass
            elif letter and previous_letter:
                between_letters |= gap
            elif letter or previous_letter:
                mixed |= gap
            else:
                between_others |= gap
        previous_letter = letter
    starts = first == 0 or text.gap[first] != 0
    ends = last + 1 == text.characters or text.gap[last + 1] != 0
    if between_letters:
        if first_letter and not starts and is_letter(character_at(text, first - 1)):
            return False
        if previous_letter and not ends and is_letter(character_at(text, last + 1)):
            return False
        if between_letters & (SPACE | SENTENCE) or word.runs < 4:
            if not spelled or pieces < 3:
                return False
    if between_others & SENTENCE:
        if not spelled or (pieces < 3 and not (starts and ends)):
            return False
    elif between_others & SPACE and word.runs < 3 and not (starts and ends):
        return False
    return not (mixed & SENTENCE and not spelled)


cdef bint gap_in_run(const Word* word, uint32_t start, uint32_t count) noexcept nogil:
    """Whether the word has a separator of its own within its characters ``start`` to ``start + count``."""
    cdef uint32_t i
    for i in range(start + 1, start + count):
        if word.own_gaps >> i & 1:
            return True
    return False


cdef uint32_t character_at(const Text* text, uint32_t character) noexcept nogil:
    """The code point; 0 for a byte that is not UTF-8."""
    cdef uint32_t code = 0
    if decode(text.bytes + text.at[character], text.size - text.at[character], &code) == 0:
        return 0
    return code


cdef int add_hit(const Lexicon* lexicon, const Text* text, const Word* word, uint32_t first, uint32_t last,
                 Hits* hits) noexcept nogil:
    """Add the hit if what the word begins and ends with is there, too."""
    cdef uint32_t start = text.at[first], code
    cdef uint32_t end = text.at[last]
    cdef Hit* items
    cdef Py_ssize_t room
    end += <uint32_t>decode(text.bytes + end, text.size - end, &code)
    if word.before and not affix_before(lexicon, text, lexicon.affixes + word.affix_at, word.before, &start):
        return FINE
    if word.after and not affix_after(lexicon, text, lexicon.affixes + word.affix_at + word.before, word.after, &end):
        return FINE
    if hits.count == hits.room:
        room = 16 if hits.room == 0 else 2 * hits.room
        items = <Hit*>realloc(hits.items, <size_t>room * sizeof(Hit))
        if items is NULL:
            return NO_MEMORY
        hits.items = items
        hits.room = room
    hits.items[hits.count] = Hit(start, end, word.index)
    hits.count += 1
    return FINE


cdef bint affix_after(const Lexicon* lexicon, const Text* text, const uint32_t* affix, uint32_t count,
                      uint32_t* end) noexcept nogil:
    """Whether ``affix`` stands at ``end``, which moves past it."""
    cdef Py_ssize_t at = end[0]
    cdef uint32_t code, met = 0
    cdef int length
    while met < count:
        if at >= text.size:
            return False
        length = decode(text.bytes + at, text.size - at, &code)
        if length == 0:
            return False
        at += length
        if gap_kind(&lexicon.folding, code) == 0:
            continue
        if fold_code(&lexicon.folding, code) != affix[met]:
            return False
        met += 1
    end[0] = <uint32_t>at
    return True


cdef bint affix_before(const Lexicon* lexicon, const Text* text, const uint32_t* affix, uint32_t count,
                       uint32_t* start) noexcept nogil:
    """Whether ``affix`` stands right before ``start``, which moves to its beginning."""
    cdef Py_ssize_t at = start[0], end
    cdef uint32_t code, left = count
    while left:
        if at == 0:
            return False
        end = at
        at -= 1
        while at > 0 and end - at < 4 and text.bytes[at] & 0xC0 == 0x80:
            at -= 1
        if decode(text.bytes + at, text.size - at, &code) != end - at:
            return False
        if gap_kind(&lexicon.folding, code) == 0:
            continue
        left -= 1
        if fold_code(&lexicon.folding, code) != affix[left]:
            return False
    start[0] = <uint32_t>at
    return True
