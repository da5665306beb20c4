"""The service back end over HTTP: one POST of a JSON array for each batch. Source: semantics, service web hook."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from fastim.adapters.egress import connector
from fastim.adapters.http_client import HttpClient, NoAnswer
from fastim.core.application import Application
from fastim.core.errors import HookError
from fastim.core.hooks import ServiceMessage

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
            body = msgspec.json.encode(messages)
            answer = await self._client.post(self._url, body, self._headers, body_counts=False)
        except NoAnswer as error:
            raise HookError(str(error)) from error
        if not 200 <= answer.status < 300:
            raise HookError(f"status {answer.status}")

    async def close(self) -> None:
        await self._client.close()
