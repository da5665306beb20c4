"""A hook engine that does what a test lets it."""

from collections.abc import Awaitable, Callable, Iterable

from fastim.core.errors import HookError, SettingsError
from fastim.core.hooks import CALLS, QUESTIONS, Answer, Call, Question

Act = Callable[[Call], Awaitable[Answer]]


class ScriptedEngine:
    """Fulfils the ``HookEngine`` port.

    Attributes:
        act: What it does when it is called.
        defined: The kinds that it has code for.
        called: Every call, in the order in which they were begun.
        under_way: How many are now.
        most: How many were, at the most.
        running: Whether it was started and not closed.
        reloads: How often it was reloaded.
        unusable: What is wrong with what it would take up at a reload, or empty.
    """

    def __init__(self, act: Act | None = None, defined: Iterable[type[Call]] | None = None, name: str = "act") -> None:
        self.name = name
        self.act: Act = act or fine
        self.defined: set[type[Call]] = set(CALLS.values() if defined is None else defined)
        self.called: list[Call] = []
        self.under_way = self.most = 0
        self.running = False
        self.reloads = 0
        self.unusable = ""

    def defines(self, kind: type[Call]) -> bool:
        return kind in self.defined

    async def start(self) -> None:
        self.running = True

    async def reload(self) -> None:
        if self.unusable:
            raise SettingsError(self.unusable)
        self.reloads += 1

    async def call(self, call: Call) -> Answer:
        self.called.append(call)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await self.act(call)
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        self.running = False


async def fine(call: Call) -> Answer:
    """Answers nothing in particular."""
    return QUESTIONS[type(call)]() if isinstance(call, Question) else Answer()


async def broken(_: Call) -> Answer:
    """Fails."""
    raise HookError("status 500")
