"""Hooks: an application's own code, wherever it runs."""

from collections.abc import Awaitable
from typing import Protocol

from fastim.core.hooks import A, Answer, Call, Notice, Question


class Hooks(Protocol):
    def defines(self, kind: type[Call]) -> bool:
        """Whether there is code for it; cheap, and worth asking before a call is put together.

        It may be so and not be so from one call to the next: what is defined is looked up again now and then.
        """
        ...

    def ask(self, question: Question[A]) -> Awaitable[A]:
        """Ask the hook. The question is on its way when this returns; await what it returned for the answer.

        The answer is the empty one, which changes nothing, where nothing is defined, and where the hook fails and the
        application is set up to go on without it. It never takes longer than the application's deadline.

        Raises:
            HookFailed: From the awaitable: the hook fails, and the application is set up to refuse then.
        """
        ...

    def tell(self, notice: Notice) -> None:
        """Tell the hook, which nobody waits for; it is not told when too many such notices are under way already."""
        ...


class HookEngine(Protocol):
    """Where hooks run. When to call it, for how long and what then is not its business."""

    name: str
    """A few lower-case letters, for metrics and logs."""

    def defines(self, kind: type[Call]) -> bool:
        """Whether it has code for that hook, as far as is known."""
        ...

    async def start(self) -> None:
        """Find out what it defines, and keep finding out. An engine that cannot be reached yet is no error.

        Raises:
            SettingsError: It can never work as it is set up.
        """
        ...

    async def reload(self) -> None:
        """Take up what the hooks are now; calls under way are finished as they were begun.

        Raises:
            SettingsError: They cannot be used; what there was goes on.
        """
        ...

    async def call(self, call: Call) -> Answer:
        """Call the hook; the empty answer to a notice. It may be cancelled, and then lets go of everything.

        Raises:
            HookError: It could not be called, or has not answered as it should.
        """
        ...

    async def close(self) -> None:
        """Let go of everything; what is under way fails."""
        ...
