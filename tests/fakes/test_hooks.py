"""What every ``Hooks`` does, and so the fake."""

from collections.abc import Callable

import pytest

from fastim.core.errors import HookFailed
from fastim.core.hooks import (
    Answer,
    Call,
    ConversationAdd,
    ConversationAdded,
    ConversationAnswer,
    ConversationRemove,
    ConversationRemoved,
)
from fastim.ports.hooks import Hooks
from fastim.runtime.hooks import LocalHooks
from fastim.settings import Hooks as Settings
from tests.fakes.engine import ScriptedEngine, broken
from tests.fakes.hooks import PlainHooks
from tests.fakes.running import idle, on_asyncio

ADD = ConversationAdd(init_by="tom", members=("ann",), conversation_id="c")
REMOVE = ConversationRemove(init_by="tom", members=("ann",), conversation_id="c")
ADDED = ConversationAdded(init_by="tom", members=("ann",), conversation_id="c")
REMOVED = ConversationRemoved(init_by="tom", members=("ann",), conversation_id="c")
NO = ConversationAnswer(reject=True)

Made = tuple[Hooks, Callable[[], list[Call]]]


def fake(answer: ConversationAnswer | HookFailed) -> Made:
    """The fake, which defines a question and a notice, and what it was told."""
    hooks = PlainHooks()
    hooks.answers[ConversationAdd] = answer
    hooks.noticed.add(ConversationAdded)
    return hooks, lambda: list(hooks.told)


def real(answer: ConversationAnswer | HookFailed) -> Made:
    """The same of the real one."""

    async def act(call: Call) -> Answer:
        if isinstance(call, ConversationAdded):
            return Answer()
        return await broken(call) if isinstance(answer, HookFailed) else answer

    engine = ScriptedEngine(act, [ConversationAdd, ConversationAdded])

    def told() -> list[Call]:
        return [call for call in engine.called if isinstance(call, ConversationAdded)]

    return LocalHooks([engine], Settings(required=("all",))), told


both = pytest.mark.parametrize("made", [fake, real])
Maker = Callable[[ConversationAnswer | HookFailed], Made]


@both
@on_asyncio
async def test_what_is_defined_is_answered(made: Maker) -> None:
    hooks, _ = made(NO)
    assert hooks.defines(ConversationAdd)
    assert await hooks.ask(ADD) == NO


@both
@on_asyncio
async def test_what_is_not_defined_is_answered_with_nothing(made: Maker) -> None:
    hooks, _ = made(NO)
    assert not hooks.defines(ConversationRemove)
    assert await hooks.ask(REMOVE) == ConversationAnswer()


@both
@on_asyncio
async def test_a_failure_comes_from_what_is_awaited(made: Maker) -> None:
    hooks, _ = made(HookFailed())
    answer = hooks.ask(ADD)
    with pytest.raises(HookFailed):
        await answer


@both
@on_asyncio
async def test_only_what_is_defined_is_told(made: Maker) -> None:
    hooks, told = made(NO)
    assert hooks.defines(ConversationAdded)
    assert not hooks.defines(ConversationRemoved)
    hooks.tell(REMOVED)
    hooks.tell(ADDED)
    await idle()
    assert told() == [ADDED]
