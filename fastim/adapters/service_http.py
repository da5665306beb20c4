"""The service back end over HTTP: one POST of a JSON array for each batch. Source: semantics, service web hook."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from fastim.adapters.egress import connector
from fastim.adapters.push.http import HttpClient, NotSent
from fastim.core.application import Application
from fastim.core.errors import HookError
from fastim.core.hooks import ServiceMessage
from fastim.ports.push import Later, Refused

DEADLINE_SECONDS = 5.0


class HttpServiceBackEnd:
    """Fulfils the ``ServiceBackEnd`` port for one application.

    Args:
        url: ``hooks.service_url``.
        key: Shows the back end who calls.
        guarded: The URL is not from the operator's own settings: only public addresses are connected to.
    """

    def __init__(
        self, url: str, application: Application, key: str, *, guarded: bool, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._url: Final = url
        self._headers: Final = {
            "Content-Type": "application/json",
            "X-LC-Id": application.id,
            "X-LC-Key": application.key,
            "X-LC-Hook-Key": key,
        }
        self._client: Final = HttpClient(
            deadline_seconds=deadline_seconds, connector=partial(connector, guarded=guarded, limit=2)
        )

    async def take(self, messages: Sequence[ServiceMessage]) -> None:
        try:
            answer = await self._client.post(self._url, msgspec.json.encode(messages), self._headers)
        except NotSent as error:
            outcome = error.outcome
            says = outcome.says if isinstance(outcome, Later | Refused) else "it was not taken"
            raise HookError(says) from error
        if not 200 <= answer.status < 300:
            raise HookError(f"status {answer.status}")

    async def close(self) -> None:
        await self._client.close()
