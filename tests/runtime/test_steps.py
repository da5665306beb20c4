import asyncio
import gc
from collections.abc import Awaitable

from fastim.runtime.steps import Stepped
from tests.fakes.running import idle, on_asyncio


class Diary:
    """What became of several pieces of work, in order."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def begin(self, name: str, *waits_for: Awaitable[object]) -> None:
        Stepped(self._work(name, waits_for), name, self._ended).go_on()

    async def _work(self, name: str, waits_for: tuple[Awaitable[object], ...]) -> None:
        self.entries.append(f"{name} begins")
        for one in waits_for:
            self.entries.append(f"{name} has {await one}")

    def _ended(self, name: str, error: Exception | None) -> None:
        self.entries.append(f"{name} ends" if error is None else f"{name} fails: {error}")


@on_asyncio
async def test_work_that_never_waits_is_done_on_the_spot() -> None:
    diary = Diary()
    diary.begin("a")
    assert diary.entries == ["a begins", "a ends"]


@on_asyncio
async def test_work_goes_on_in_the_order_in_which_what_it_waits_for_is_done() -> None:
    diary = Diary()
    tea, milk = asyncio.Future[str](), asyncio.Future[str]()
    diary.begin("a", tea)
    diary.begin("b", milk)
    diary.begin("c", milk)
    milk.set_result("milk")
    tea.set_result("tea")
    assert diary.entries == ["a begins", "b begins", "c begins"]
    await idle()
    assert diary.entries[3:] == ["b has milk", "b ends", "c has milk", "c ends", "a has tea", "a ends"]


@on_asyncio
async def test_work_waits_for_one_thing_after_the_other() -> None:
    diary = Diary()
    tea, milk = asyncio.Future[str](), asyncio.Future[str]()
    diary.begin("a", tea, milk)
    tea.set_result("tea")
    await idle()
    assert diary.entries == ["a begins", "a has tea"]
    milk.set_result("milk")
    await idle()
    assert diary.entries[2:] == ["a has milk", "a ends"]


@on_asyncio
async def test_what_goes_wrong_with_what_is_waited_for_goes_wrong_in_the_work_alone() -> None:
    diary = Diary()
    tea, milk = asyncio.Future[str](), asyncio.Future[str]()
    diary.begin("a", tea)
    diary.begin("b", milk)
    tea.set_exception(ValueError("no tea"))
    milk.set_result("milk")
    await idle()
    assert diary.entries[2:] == ["a fails: no tea", "b has milk", "b ends"]


@on_asyncio
async def test_work_ends_with_a_future_that_is_cancelled() -> None:
    diary = Diary()
    tea = asyncio.Future[str]()
    diary.begin("a", tea)
    tea.cancel()
    await idle()
    assert diary.entries == ["a begins", "a ends"]


@on_asyncio
async def test_work_that_only_lets_others_go_first_goes_on_after_them() -> None:
    diary = Diary()
    asyncio.get_running_loop().call_soon(diary.entries.append, "another")
    diary.begin("a", asyncio.sleep(0, "a turn"))
    assert diary.entries == ["a begins"]
    await idle()
    assert diary.entries[1:] == ["another", "a has a turn", "a ends"]


@on_asyncio
async def test_work_lives_as_long_as_what_it_waits_for() -> None:
    diary = Diary()
    tea = asyncio.Future[str]()
    diary.begin("a", tea)
    gc.collect()
    tea.set_result("tea")
    await idle()
    assert diary.entries[1:] == ["a has tea", "a ends"]
