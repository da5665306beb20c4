"""The service back end: the operator's own server that speaks for service conversations."""

from collections.abc import Sequence
from typing import Protocol

from fastim.core.hooks import ServiceMessage


class ServiceBackEnd(Protocol):
    async def take(self, messages: Sequence[ServiceMessage]) -> None:
        """Hand over what clients have written, in the order in which they did.

        Raises:
            HookError: It could not be reached, or has not taken them; whether it has them all the same is not known.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; what is under way fails."""
        ...
