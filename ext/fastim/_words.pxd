# cython: language_level=3
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "_folding.h":
    ctypedef struct FoldPair:
        uint32_t from_ "from"
        uint32_t to
    ctypedef struct FoldRange:
        uint32_t first
        uint32_t last
        uint32_t kind
    int FOLD_WIDTH_COUNT
    int FOLD_CASE_COUNT
    int FOLD_TRADITIONAL_COUNT
    int FOLD_LETTERS_COUNT
    int FOLD_ZERO_WIDTH_COUNT
    int FOLD_SEPARATORS_COUNT
    const FoldPair* FOLD_WIDTH
    const FoldPair* FOLD_CASE
    const FoldPair* FOLD_TRADITIONAL
    const FoldRange* FOLD_LETTERS
    const FoldRange* FOLD_ZERO_WIDTH
    const FoldRange* FOLD_SEPARATORS


cdef struct Folding:
    # The switches. `separators` is NONE, CAREFUL or ANY.
    bint width
    bint case
    bint traditional
    bint zero_width
    bint repeats
    uint8_t separators


cdef struct Source:
    # Where a word stands in the text that the list was made from, and in which line.
    uint32_t at
    uint32_t size
    uint32_t line


cdef struct Word:
    uint64_t own_gaps  # bit i: the word itself has a separator before its character i
    uint32_t at  # of its runs in `symbols` and `counts`
    uint32_t index  # into `sources`
    uint32_t affix_at  # in `affixes`: the separators that the word begins with, then those that it ends with
    uint8_t runs
    uint8_t before  # how many separators it begins with
    uint8_t after
    bint same_as_next  # the next word has the same symbols; its counts or separators may differ


cdef struct Entry:
    # What a key leads to; the slot is empty when the key is 0. Keys are the first three symbols of words, the two of a
    # word that has no more, or a node and the symbol after it.
    uint64_t key
    uint32_t value  # a node or, at a leaf, the first of the words below; they share the rest of their symbols
    uint16_t next_symbol  # the first of that rest, or 0
    uint16_t leaf


cdef struct Problem:
    uint32_t line
    uint32_t reason


cdef struct Lexicon:
    # Every pointer is owned by the WordList, and freed by `release`. Nothing changes once `compile_list` has returned.
    Folding folding

    # Symbols of characters by their code point, 64 to a page: 0 stands for all that no word contains.
    uint16_t* page_of  # [PAGES], 0 the page of zeros
    uint16_t* pages
    uint32_t page_count
    uint32_t page_room
    uint32_t symbol_count  # and the highest symbol
    uint16_t ascii[128]

    Source* sources
    uint32_t source_count
    uint32_t source_room
    Problem* problems
    uint32_t problem_count
    uint32_t problem_room

    Word* words  # sorted by symbols
    uint32_t word_count
    uint16_t* symbols  # of all words, equal neighbours only once
    uint8_t* counts  # how often each of `symbols` stands in its place
    uint32_t run_count
    uint32_t run_room
    uint32_t* affixes
    uint32_t affix_count
    uint32_t affix_room

    uint32_t* single  # by symbol: the first word that has no other, or NOTHING
    bint has_single
    Entry* entries  # an open-addressed table
    uint32_t entry_bits
    uint32_t entry_count
    uint32_t* ending  # by node: the first word that ends there, or NOTHING
    uint32_t node_count
    uint32_t node_room

    # Bloom filters.
    uint64_t* pairs  # two bits for two symbols: longer words may begin with them, and they may be a word
    uint64_t* openings  # three symbols that longer words may begin with
    uint32_t filter_bits


cdef struct Hit:
    uint32_t start
    uint32_t end
    uint32_t word


cdef struct Hits:
    Hit* items
    Py_ssize_t count
    Py_ssize_t room


cdef struct Text:
    # One text, folded. Characters are those not read over; runs are neighbours with the same symbol.
    const uint8_t* bytes
    Py_ssize_t size
    uint32_t* at  # by character: its first byte
    uint8_t* gap  # by character: kinds of separators right before it
    uint32_t characters
    uint16_t* symbols  # by run, and three zeros
    uint32_t* first  # by run: its first character; one more, for the end of the last
    uint32_t runs
    uint32_t* longer  # runs that a word of three symbols or more may begin at
    uint32_t* shorter  # runs that a word of two symbols may begin at


cdef class WordList:
    cdef Lexicon lexicon
    cdef bytes text  # what `sources` point into
    cdef uint64_t* tally  # by word: how often it was masked

    cdef int compile(self) except -1
    cdef int search(self, const uint8_t* at, Py_ssize_t size, Hits* hits) except -1
