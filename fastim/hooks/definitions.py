"""The decorators, and which functions they were put on."""

import inspect
import typing
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar, overload

from fastim.core.hooks import (
    QUESTIONS,
    Answer,
    Call,
    ClientOffline,
    ClientOnline,
    ClientSign,
    ConversationAdd,
    ConversationAdded,
    ConversationAnswer,
    ConversationRemove,
    ConversationRemoved,
    ConversationStart,
    ConversationStarted,
    ConversationUpdate,
    MessageAnswer,
    MessageReceived,
    MessageSent,
    MessageUpdate,
    OfflineAnswer,
    Question,
    ReceiversOffline,
    SignAnswer,
    UpdateAnswer,
)

Function = Callable[[Any], Any]

C = TypeVar("C", bound=Call)
R = TypeVar("R", bound=Answer | None)

defined: dict[type[Call], Function] = {}
"""The functions of this process, by what they are called with."""


class Decorator(Generic[C, R]):
    """Makes a function the hook for one kind of call.

    Args:
        kind: What the function takes.
        functions: Where it is kept.

    Raises:
        TypeError: When it is put on something that cannot be the hook, or on a second function.
    """

    def __init__(self, kind: type[C], functions: dict[type[Call], Function] = defined) -> None:
        self._kind: Final = kind
        self._functions: Final = functions

    @overload
    def __call__(self, function: Callable[[C], Coroutine[Any, Any, R]]) -> Callable[[C], Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[[C], R]) -> Callable[[C], R]: ...
    def __call__(self, function: Function) -> Function:
        kind = self._kind
        if not callable(function):
            raise TypeError(f"the hook {kind.hook} has to be a function, not {function!r}")
        if kind in self._functions:
            raise TypeError(
                f"{name_of(function)} cannot be the hook {kind.hook}: {name_of(self._functions[kind])} is it already"
            )
        _check_parameters(kind, function)
        self._functions[kind] = function
        return function


message_received: Final = Decorator[MessageReceived, MessageAnswer | None](MessageReceived)
receivers_offline: Final = Decorator[ReceiversOffline, OfflineAnswer | None](ReceiversOffline)
message_sent: Final = Decorator[MessageSent, None](MessageSent)
message_update: Final = Decorator[MessageUpdate, MessageAnswer | None](MessageUpdate)
conversation_start: Final = Decorator[ConversationStart, ConversationAnswer | None](ConversationStart)
conversation_started: Final = Decorator[ConversationStarted, None](ConversationStarted)
conversation_add: Final = Decorator[ConversationAdd, ConversationAnswer | None](ConversationAdd)
conversation_added: Final = Decorator[ConversationAdded, None](ConversationAdded)
conversation_remove: Final = Decorator[ConversationRemove, ConversationAnswer | None](ConversationRemove)
conversation_removed: Final = Decorator[ConversationRemoved, None](ConversationRemoved)
conversation_update: Final = Decorator[ConversationUpdate, UpdateAnswer | None](ConversationUpdate)
client_online: Final = Decorator[ClientOnline, None](ClientOnline)
client_offline: Final = Decorator[ClientOffline, None](ClientOffline)
client_sign: Final = Decorator[ClientSign, SignAnswer | None](ClientSign)


def checked(kind: type[Call], function: Function, answer: object) -> Answer:
    """What ``function`` has answered; the empty answer for ``None``, and for whatever a notice's hook gives back.

    Raises:
        TypeError: It is no answer to that kind of call; the text says what is wanted.
    """
    if not issubclass(kind, Question):
        return Answer()
    wanted = QUESTIONS[kind]
    if answer is None:
        return wanted()
    if isinstance(answer, wanted):
        return answer
    if inspect.iscoroutine(answer):
        answer.close()
    raise TypeError(f"{name_of(function)} has to return {_a(wanted)} or None, not {_a(type(answer))}")


def name_of(function: Function) -> str:
    """How a function is called in what is said about it."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _check_parameters(kind: type[Call], function: Function) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # made in C, some of which cannot say
        return
    try:
        (name,) = signature.bind(None).arguments
    except (TypeError, ValueError):
        parameters = signature.replace(return_annotation=inspect.Signature.empty)
        raise TypeError(
            f"{name_of(function)}{parameters} cannot be the hook {kind.hook}: it has to take one argument, {_a(kind)}"
        ) from None
    try:
        hint = typing.get_type_hints(function).get(name)
    except Exception:  # hints may name what exists for type checkers only
        return
    if isinstance(hint, type) and issubclass(hint, Call) and not issubclass(kind, hint):
        raise TypeError(f"{name_of(function)} cannot be the hook {kind.hook}: it takes {_a(hint)}, not {_a(kind)}")


def _a(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOaeio' else 'a'} {kind.__name__}"
