"""REST calls to a real server."""

import http.client
import json
from typing import Any

import anyio

from tests.server_process import ServerProcess

PATIENCE_SECONDS = 20.0


class Rest:
    """A caller with the master key.

    Args:
        key: Shown instead.
    """

    def __init__(self, server: ServerProcess, key: str = "") -> None:
        self._server = server
        self._fields = {
            "X-LC-Id": server.app_id,
            "X-LC-Key": key or f"{server.master_key},master",
        }

    async def ask(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer. Bytes are a text, and go as they are; a text comes as it is."""
        return await anyio.to_thread.run_sync(self._ask, method, target, body)

    async def call(self, method: str, target: str, body: Any = None) -> Any:
        """The answer of a call that succeeds."""
        status, answer = await self.ask(method, target, body)
        assert status in (200, 201), answer
        return answer

    async def get(self, target: str) -> Any:
        return await self.call("GET", target)

    async def post(self, target: str, **body: Any) -> Any:
        return await self.call("POST", target, body)

    async def put(self, target: str, **body: Any) -> Any:
        return await self.call("PUT", target, body)

    async def delete(self, target: str, **body: Any) -> Any:
        return await self.call("DELETE", target, body or None)

    def _ask(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        kind = "text/plain" if isinstance(body, bytes) else "application/json;charset=utf-8"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        address = self._server.http
        connection = http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, target, data, {**self._fields, "Content-Type": kind})
            response = connection.getresponse()
            answer = response.read()
            is_text = response.headers["Content-Type"].startswith("text/plain")
            return response.status, answer.decode() if is_text else json.loads(answer)
        finally:
            connection.close()
