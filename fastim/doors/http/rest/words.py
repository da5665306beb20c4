"""Words: the list of words that are masked, as an application's own servers bring and look at it.

LeanCloud has such a list in its console only, so these calls are fastim's own. Source: semantics, rule 9.4.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from fastim.core.errors import WordListError
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import Asked, BadRequest, Call, Nothing, NotThere, Plain
from fastim.runtime.words import Hit, WordHits

LIST_BYTES_MAX = 16_777_216
"""Longest list: each of 100,000 words may have 167 bytes, which is 55 Chinese characters."""
TEXT_CHARACTERS_MAX = 8_192
"""Longest text to try: the loop waits for it, and each of its characters may be in many hits."""
HITS_MAX = 1_000

_TAG = "Words"
_PATH = "/1.2/rtm/words"


class WordFile(Plain, frozen=True):
    """The list: UTF-8, one word per line; empty lines and those that begin with `#` are left out. At most 16 MiB."""


class Listed(Struct, frozen=True):
    """How many words are listed now."""

    words: int


class Text(Struct, frozen=True):
    """What somebody might say."""

    text: Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]


class Tested(Struct, frozen=True):
    """What would become of a text; of many hits the first 1,000."""

    masked: str
    hits: list[Hit]


class StatisticsQuery(Struct, frozen=True):
    """How much of it.

    Attributes:
        limit: Words, those that were met most often.
    """

    limit: Annotated[int, Meta(ge=0, le=1_000)] = 20


class Statistics(Struct, frozen=True):
    """What the list in force has done since it was put in force.

    Attributes:
        enabled: Whether anything is masked at all.
        words: How many are listed.
        source: Where the list came from: a file of the server's, or this API; null when there is none.
        loaded_at: When it was put in force, in milliseconds since the epoch; 0 when there is none.
        texts: Looked at.
        masked: Of these, those with a hit.
        hits: The words met most often, that one first.
    """

    enabled: bool
    words: int
    source: Literal["file", "stored"] | None
    loaded_at: int
    texts: int
    masked: int
    hits: list[WordHits]


async def _replace(asked: Asked[Nothing, WordFile]) -> Listed:
    if not asked.body.data:  # a file that was forgotten must not switch the filter off
        raise BadRequest("body: there is no list; DELETE takes away the one that is stored")
    return await _save(asked, asked.body.data)


async def _download(asked: Asked[Nothing, Nothing]) -> WordFile:
    content = await asked.office.stored_words(asked.application)
    if content is None:
        raise NotThere("no list is stored; words.file of the settings names the one in force, if any")
    return WordFile(content)


async def _forget(asked: Asked[Nothing, Nothing]) -> Listed:
    return await _save(asked, None)


async def _save(asked: Asked[Any, Any], content: bytes | None) -> Listed:
    try:
        await asked.office.save_words(asked.application, content)
    except WordListError as error:
        raise BadRequest(str(error)) from error
    return Listed(len(asked.office.words(asked.application)))


async def _test(asked: Asked[Nothing, Text]) -> Tested:
    tested = asked.office.words(asked.application).test(asked.body.text)
    return Tested(tested.masked, list(tested.hits[:HITS_MAX]))


async def _count(asked: Asked[StatisticsQuery, Nothing]) -> Statistics:
    counted = asked.office.words(asked.application).statistics(asked.query.limit)
    return Statistics(
        counted.enabled,
        counted.words,
        counted.source,
        counted.loaded_at,
        counted.texts,
        counted.masked,
        list(counted.hits),
    )


CALLS: tuple[Call[Any, Any, Any], ...] = (
    Call(
        "PUT",
        _PATH,
        Access.MASTER,
        "Store a list and put it in force; one with lines that cannot be used changes nothing.",
        _TAG,
        _replace,
        body=WordFile,
        reply=Listed,
        body_bytes=LIST_BYTES_MAX,
    ),
    Call(
        "GET",
        _PATH,
        Access.MASTER,
        "The stored list, as it came.",
        _TAG,
        _download,
        reply=WordFile,
    ),
    Call(
        "DELETE",
        _PATH,
        Access.MASTER,
        "Forget the stored list; that of the settings is in force again, if there is one.",
        _TAG,
        _forget,
        reply=Listed,
    ),
    Call(
        "POST",
        f"{_PATH}/test",
        Access.MASTER,
        "What the list in force finds in a text, be it switched on or not; nothing is counted.",
        _TAG,
        _test,
        body=Text,
        reply=Tested,
    ),
    Call(
        "GET",
        f"{_PATH}/statistics",
        Access.MASTER,
        "What the list in force has done.",
        _TAG,
        _count,
        query=StatisticsQuery,
        reply=Statistics,
    ),
)
