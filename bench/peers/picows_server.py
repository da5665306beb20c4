"""A broadcast by picows on uvloop: whatever comes to /publish goes to everybody else. Arguments: the port.

Runs in an environment of its own, see ``install``.
"""

import asyncio
import importlib
import sys
from typing import Any

picows: Any = importlib.import_module("picows")
uvloop: Any = importlib.import_module("uvloop")

readers: set[Any] = set()


class Reader(picows.WSListener):  # type: ignore[misc]
    def on_ws_connected(self, transport: Any) -> None:
        readers.add(transport)

    def on_ws_disconnected(self, transport: Any) -> None:
        readers.discard(transport)


class Publisher(picows.WSListener):  # type: ignore[misc]
    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        message = frame.get_payload_as_bytes()
        for reader in readers:
            reader.send(picows.WSMsgType.BINARY, message)


async def main(port: int) -> None:
    def listener(request: Any) -> Any:
        return Publisher() if request.path == b"/publish" else Reader()

    server = await picows.ws_create_server(listener, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
