"""Hooks that answer what a test lets them."""

from collections.abc import Awaitable
from typing import Any

from fastim.core.errors import HookFailed
from fastim.core.hooks import QUESTIONS, A, Answer, Call, Notice, Question


class PlainHooks:
    """Fulfils the ``Hooks`` port.

    Attributes:
        answers: What is answered to a kind of question; a kind that is not here is not defined. An error is raised.
        noticed: The kinds of notices that are defined.
        asked: Every question, in the order in which it was asked.
        told: Every notice.
    """

    def __init__(self) -> None:
        self.answers: dict[type[Question[Any]], Answer | HookFailed] = {}
        self.noticed: set[type[Notice]] = set()
        self.asked: list[Question[Any]] = []
        self.told: list[Notice] = []

    def defines(self, kind: type[Call]) -> bool:
        return kind in self.answers or kind in self.noticed

    def ask(self, question: Question[A]) -> Awaitable[A]:
        self.asked.append(question)
        return self._answer(question)

    def tell(self, notice: Notice) -> None:
        if type(notice) in self.noticed:
            self.told.append(notice)

    async def _answer(self, question: Question[A]) -> Any:
        answer = self.answers.get(type(question), QUESTIONS[type(question)]())
        if isinstance(answer, HookFailed):
            raise answer
        return answer
