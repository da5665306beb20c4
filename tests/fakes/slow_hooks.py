"""Hooks that take their time."""

from collections.abc import Awaitable
from typing import Any

import trio

from fastim.core.errors import HookFailed
from fastim.core.hooks import A, Answer, Question
from tests.fakes.hooks import PlainHooks


class SlowHooks(PlainHooks):
    """Fulfils the ``Hooks`` port; each question waits until it is answered by its number, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self._given: list[Answer | HookFailed | None] = []
        self._answered: list[trio.Event] = []

    def ask(self, question: Question[A]) -> Awaitable[A]:
        self.asked.append(question)
        self._given.append(None)
        self._answered.append(trio.Event())
        return self._wait(len(self.asked) - 1)

    def answer(self, number: int, answer: Answer | HookFailed) -> None:
        """Answer one question."""
        self._given[number] = answer
        self._answered[number].set()

    async def _wait(self, number: int) -> Any:
        await self._answered[number].wait()
        answer = self._given[number]
        if isinstance(answer, HookFailed):
            raise answer
        return answer
