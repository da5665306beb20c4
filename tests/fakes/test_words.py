"""The contract of word lists, for the real one and for the fake."""

from collections.abc import Callable

import anyio
import pytest

from fastim.adapters.memory import MemoryStore
from fastim.ports.words import Words
from fastim.runtime.words import LocalWords
from fastim.settings import Words as Settings
from tests.fakes.clock import SettableClock
from tests.fakes.words import PlainWords

Make = Callable[..., Words]


def listed(*words: str) -> LocalWords:
    """The real one, with these words in force."""

    async def make() -> LocalWords:
        store = MemoryStore()
        application = await store.save_application("app", "key", "master", "hook")
        made = LocalWords(application, Settings(enabled=True), store.of(application), SettableClock())
        if words:
            await made.load("\n".join(words).encode(), "stored")
        return made

    return anyio.run(make)


pytestmark = pytest.mark.parametrize("make", [listed, PlainWords])


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (b"bad", b"***"),
        (b"a bad day, a bad night", b"a *** day, a *** night"),
        ("去赌博吧".encode(), "去***吧".encode()),
        (b"\xff bad \xff", b"\xff *** \xff"),
    ],
)
def test_each_hit_is_masked_and_nothing_else(make: Make, text: bytes, masked: bytes) -> None:
    assert make("bad", "赌博").mask(text) == masked


@pytest.mark.parametrize("text", [b"", b"good", b"\xff\xe8\xb5"])
def test_what_has_no_hit_is_the_same_object(make: Make, text: bytes) -> None:
    assert make("bad", "赌博").mask(text) is text


def test_without_a_list_everything_is_the_same_object(make: Make) -> None:
    text = b"bad"
    assert make().mask(text) is text
