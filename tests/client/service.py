"""The service behind a service conversation, as far as clients need one: it speaks REST with the master key."""

import json
from typing import Any
from urllib.request import Request, urlopen

from anyio import to_thread

from tests.server_process import ServerProcess


class Service:
    """One service conversation, from behind."""

    def __init__(self, server: ServerProcess, conversation_id: str) -> None:
        self._server = server
        self.id = conversation_id

    async def tell(self, text: str, *client_ids: str) -> str:
        """Tell these clients, or all subscribers if there are none, and return the message's id."""
        body: dict[str, Any] = {"from_client": "editor", "message": text}
        if client_ids:
            body["to_clients"] = client_ids
        way = "messages" if client_ids else "broadcasts"
        answer = await call(self._server, "POST", f"service-conversations/{self.id}/{way}", body)
        return str(answer["msg-id"])


async def call(server: ServerProcess, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """One REST call, which has to succeed."""
    request = Request(
        f"{server.http_url}/1.2/rtm/{path}",
        data=json.dumps(body).encode(),
        method=method,
        headers={
            "Content-Type": "application/json",
            "X-LC-Id": server.app_id,
            "X-LC-Key": f"{server.master_key},master",
        },
    )

    def fetch() -> dict[str, Any]:
        with urlopen(request, timeout=20) as answer:
            found = json.load(answer)
        assert isinstance(found, dict)
        return found

    return await to_thread.run_sync(fetch)


async def found_service(server: ServerProcess, name: str) -> Service:
    """A new service conversation."""
    made = await call(server, "POST", "service-conversations", {"name": name})
    return Service(server, made["objectId"])
