import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fastim.core.errors import Unavailable
from fastim.doors.http.rest.openapi import document
from fastim.doors.http.rest.words import CALLS, HITS_MAX, LIST_BYTES_MAX
from fastim.runtime.words import LocalWords
from fastim.settings import Words
from tests.doors.office import KEY, MASTER, UNAUTHORIZED, Office, office

pytestmark = pytest.mark.anyio

WORDS = "/1.2/rtm/words"
DRINKS = "# 饮料\r\n茶叶\r\n\r\ncoffee \r\n".encode()


async def put(rest: Office, content: bytes) -> tuple[int, Any]:
    return await rest.ask(WORDS, *MASTER, "Content-Type: text/plain", method="PUT", body=content)


async def heard(rest: Office, text: str) -> str:
    """What is in the history of a group when somebody has said ``text`` there."""
    room = await rest.conversation("tom", "jerry", "spike")
    await rest.say(room, text)
    ((_, body),) = [(one["from"], one["data"]) for one in await rest.get(f"{room}/messages")]
    return str(body)


@pytest.mark.rule("9.4", "9.6")
async def test_a_list_that_is_stored_is_in_force_and_comes_back_as_it_was() -> None:
    async with office() as rest:
        assert await heard(rest, "茶葉 and coffee") == "茶葉 and coffee"
        assert await put(rest, DRINKS) == (200, {"words": 2})
        assert await heard(rest, "茶葉 and coffee") == "*** and ***"
        assert await rest.get(WORDS) == DRINKS.decode()
        assert rest.header["content-type"] == "text/plain; charset=utf-8"
        assert await put(rest, b"milk") == (200, {"words": 1})
        assert await heard(rest, "coffee, milk") == "coffee, ***"


async def test_a_list_is_forgotten() -> None:
    async with office() as rest:
        assert await rest.refusal("GET", WORDS) == (404, 404)
        assert await rest.delete(WORDS) == {"words": 0}
        await put(rest, DRINKS)
        assert await rest.delete(WORDS) == {"words": 0}
        assert await rest.refusal("GET", WORDS) == (404, 404)
        assert await heard(rest, "coffee") == "coffee"


async def test_a_list_without_words_masks_nothing() -> None:
    async with office() as rest:
        await put(rest, DRINKS)
        assert await put(rest, b"# none\n") == (200, {"words": 0})
        assert await heard(rest, "coffee") == "coffee"
        assert await rest.get(WORDS) == "# none\n"


async def test_an_upload_without_a_list_is_refused_and_the_old_one_stays() -> None:
    async with office() as rest:
        await put(rest, DRINKS)
        status, answer = await put(rest, b"")
        assert (status, answer["code"]) == (400, 400)
        assert "DELETE" in answer["error"]
        assert await heard(rest, "coffee") == "***"


async def test_lines_that_cannot_be_used_are_all_named_and_the_old_list_stays() -> None:
    async with office() as rest:
        await put(rest, DRINKS)
        status, answer = await put(rest, b"milk\n\xff\nwater\n" + b"x" * 65 + b"\n...\n")
        assert (status, answer["code"]) == (400, 400)
        assert answer["error"] == (
            "line 2 is not UTF-8; line 4 is longer than 64 characters; line 5 has only characters that are read over"
        )
        assert await rest.get(WORDS) == DRINKS.decode()
        assert await heard(rest, "milk, coffee") == "milk, ***"


async def test_of_very_many_bad_lines_the_first_twenty_are_named() -> None:
    async with office() as rest:
        _, answer = await put(rest, b"\xff\n" * 1_000)
        assert answer["error"].count("is not UTF-8") == 20
        assert answer["error"].endswith("; line 20 is not UTF-8; and 980 more lines")


async def test_nothing_is_stored_beside_a_file_that_is_pinned(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"milk")
    async with office() as rest:
        tenant = rest.node.tenant
        settings = Words(enabled=True, file=str(tmp_path / "list.txt"))
        pinned = LocalWords(tenant.application, settings, tenant.io.store, tenant.io.clock, pinned=True)
        await pinned.start()
        rest.node.dispatcher.add(replace(tenant, io=replace(tenant.io, words=pinned), words=pinned))
        for method in ("PUT", "DELETE"):
            status, answer = await rest.ask(WORDS, *MASTER, method=method, body=b"coffee" if method == "PUT" else b"")
            assert (status, answer["code"]) == (400, 400)
            assert "words.file is pinned" in answer["error"]
        status, answer = await rest.ask(WORDS, *MASTER, method="GET")
        assert (status, answer["code"]) == (404, 404)
        assert "words.file" in answer["error"]
        assert await heard(rest, "coffee, milk") == "coffee, ***"


@pytest.mark.slow
async def test_a_hundred_thousand_long_words_are_no_trouble() -> None:
    content = "\n".join(f"{'长' * 48}{number:06}" for number in range(100_000)).encode()
    assert 14_000_000 < len(content) <= LIST_BYTES_MAX
    async with office() as rest:
        assert await put(rest, content) == (200, {"words": 100_000})
        assert await rest.get(WORDS) == content.decode()


@pytest.mark.slow
async def test_a_list_without_end_is_not_read_to_its_end() -> None:
    async with office() as rest:
        await put(rest, DRINKS)
        status, answer = await put(rest, b"# \n" * (LIST_BYTES_MAX // 3 + 1))
        assert (status, answer["code"]) == (413, 413)
    async with office() as rest:
        assert await rest.refusal("GET", WORDS) == (404, 404)


async def test_other_calls_take_no_more_than_before() -> None:
    async with office() as rest:
        body = json.dumps({"text": "x" * 1_048_576}).encode()
        status, _ = await rest.ask(f"{WORDS}/test", *MASTER, body=body)
        assert status == 413


async def test_nobody_reads_what_comes_from_a_stranger() -> None:
    async with office() as rest:
        assert await rest.ask(WORDS, *KEY, method="PUT", body=b"x" * 10_000) == UNAUTHORIZED
        assert await rest.refusal("GET", WORDS) == (404, 404)


async def test_a_text_is_tried_without_being_counted() -> None:
    async with office() as rest:
        await put(rest, DRINKS)
        assert await rest.post(f"{WORDS}/test", text="🍵 茶 葉, Coffee!") == {
            "masked": "🍵 ***, ***!",
            "hits": [
                {"start": 2, "end": 5, "word": "茶叶", "line": 2},
                {"start": 7, "end": 13, "word": "coffee", "line": 4},
            ],
        }
        assert await rest.post(f"{WORDS}/test", text="water") == {"masked": "water", "hits": []}
        counted = await rest.get(f"{WORDS}/statistics")
        assert (counted["texts"], counted["masked"], counted["hits"]) == (0, 0, [])


async def test_of_very_many_hits_the_first_are_told() -> None:
    async with office() as rest:
        await put(rest, b"a\naa\naaa\n")
        tried = await rest.post(f"{WORDS}/test", text="a" * 8_192)
        assert tried["masked"] == "***"
        assert len(tried["hits"]) == HITS_MAX
        assert await rest.refusal("POST", f"{WORDS}/test", {"text": "a" * 8_193}) == (400, 400)


async def test_hits_are_counted_by_word_from_when_the_list_was_put_in_force() -> None:
    async with office() as rest:
        assert await rest.get(f"{WORDS}/statistics") == {
            "enabled": True,
            "words": 0,
            "source": None,
            "loaded_at": 0,
            "texts": 0,
            "masked": 0,
            "hits": [],
        }
        await put(rest, DRINKS)
        loaded_at = rest.node.clock.now()
        for text in ("coffee", "water", "Coffee, 茶叶"):
            await heard(rest, text)
        coffee, tea = ({"word": "coffee", "line": 4, "count": 2}, {"word": "茶叶", "line": 2, "count": 1})
        counted = await rest.get(f"{WORDS}/statistics")
        assert counted == {
            "enabled": True,
            "words": 2,
            "source": "stored",
            "loaded_at": loaded_at,
            "texts": 3,
            "masked": 2,
            "hits": [coffee, tea],
        }
        assert (await rest.get(f"{WORDS}/statistics?limit=1"))["hits"] == [coffee]
        assert (await rest.get(f"{WORDS}/statistics?limit=0"))["hits"] == []
        await put(rest, DRINKS)
        assert (await rest.get(f"{WORDS}/statistics"))["hits"] == []


async def test_a_store_that_cannot_write_leaves_the_old_list() -> None:
    async with office() as rest:
        await put(rest, DRINKS)
        await rest.node.memory.close()
        status, answer = await put(rest, b"milk")
        assert (status, answer["code"]) == (503, Unavailable.code)
        assert (await rest.post(f"{WORDS}/test", text="milk, coffee"))["masked"] == "milk, ***"


def test_texts_are_described_as_texts() -> None:
    paths = document(CALLS, "1")["paths"]
    (described,) = paths[WORDS]["put"]["requestBody"]["content"].items()
    assert described[0] == "text/plain"
    assert described[1]["schema"]["type"] == "string"
    assert paths[WORDS]["put"]["requestBody"]["required"] is True
    (answered,) = paths[WORDS]["get"]["responses"]["200"]["content"].items()
    assert (answered[0], answered[1]["schema"]["type"]) == ("text/plain", "string")
    assert list(paths[WORDS]["put"]["responses"]["200"]["content"]) == ["application/json"]
