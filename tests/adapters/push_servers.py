"""Push providers on this machine: they answer as they are told, over HTTP/1.1, or over HTTP/2 as APNs does."""

import asyncio
import functools
import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fastim.core.installation import Installation
from fastim.core.push import Notification
from fastim.core.units import Millis

GARBAGE = b"\x00\xffHTTP\x00 is not spoken here, but %s is\r\n\r\n" * 4
GARBAGE_FRAME = b"\x00\x00\x05\x08\x00\x00\x00\x00\x01hello"
"""A WINDOW_UPDATE of five bytes. HTTP/2 has frames of four only."""
ENDLESS_BYTES = 400_000
NOW_SECONDS = 1_700_000_000
EXPIRES_AT = Millis((NOW_SECONDS + 3_600) * 1_000)


@dataclass(frozen=True)
class Request:
    """What a provider was asked.

    Attributes:
        headers: By name in lower case.
        connection: The number of the connection, from 1.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Says:
    """An answer. A body that is no bytes is sent as JSON."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Trouble(Enum):
    """What may come instead of an answer."""

    GARBAGE = auto()
    STALL = auto()
    DRIP = auto()
    """An answer that begins and never ends."""
    ENDLESS = auto()
    """A body that is much too long."""
    RESET = auto()
    RESET_IN_ANSWER = auto()
    RESET_STREAM = auto()
    """Over HTTP/2: the one question, not its connection."""
    GOAWAY = auto()
    """Over HTTP/2: the connection ends, and this question was not looked at."""
    GOAWAY_AFTER = auto()
    """Over HTTP/2: it is answered, and then the connection ends."""


Reply = Says | Trouble | Callable[[Request], Says | Trouble]


class LocalProvider:
    """Speaks HTTP/1.1, within ``async with``.

    Args:
        tls: The server's side; ``None``: none.

    Attributes:
        asked: All requests, as they came.
        connections: How many there were.
        url: Where it is.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Request] = []
        self.connections = 0
        self._tls = tls
        self._replies: dict[str, list[Reply]] = {}
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        scheme = "http" if self._tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    def answers(self, *replies: Reply, path: str = "") -> None:
        """From now on, in this order; the last one stays. Without a path: whatever has no replies of its own."""
        self._replies[path] = list(replies)

    def asked_at(self, path: str) -> list[Request]:
        return [request for request in self.asked if request.path == path]

    def hang_up(self) -> None:
        """Close all connections, as one does that have been idle for long."""
        for writer in self._open.values():
            writer.close()

    def _reply(self, request: Request) -> Says | Trouble:
        self.asked.append(request)
        replies = self._replies.get(request.path) or self._replies.get("") or [Says()]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        return reply(request) if callable(reply) else reply

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._converse(reader, writer, self.connections)
        finally:
            writer.transport.abort()
            del self._open[task]

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            match self._reply(Request(method, path, headers, body, number)):
                case Says() as says:
                    told = {**says.headers, "Content-Length": str(len(says.content))}
                    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
                    writer.write(f"HTTP/1.1 {says.status} Told\r\n{lines}\r\n".encode() + says.content)
                case Trouble.GARBAGE:
                    writer.write(GARBAGE)
                case Trouble.STALL:
                    await asyncio.Event().wait()
                case Trouble.DRIP:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                    while True:
                        writer.write(b" ")
                        await asyncio.sleep(1)
                case Trouble.ENDLESS:
                    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * ENDLESS_BYTES)
                    await writer.drain()
                    return
                case Trouble.RESET_IN_ANSWER:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
                    await writer.drain()
                    writer.close()
                    return
                case _:
                    return
            await writer.drain()


class LocalApns(LocalProvider):
    """Speaks HTTP/2.

    Args:
        tls: The server's side, with ``h2`` among its protocols; ``None``: none.
        streams: How many requests it takes at once, on one connection.
    """

    def __init__(self, tls: ssl.SSLContext | None, streams: int = 1_000) -> None:
        super().__init__(tls)
        self._streams = streams

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        tls = writer.get_extra_info("ssl_object")
        assert tls is None or tls.selected_alpn_protocol() == "h2"
        link = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        link.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self._streams}
        )
        link.initiate_connection()
        writer.write(link.data_to_send())
        heads: dict[int, dict[str, str]] = {}
        bodies: dict[int, bytes] = {}
        while data := await reader.read(65_536):
            for event in link.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    heads[event.stream_id] = {str(name): str(value) for name, value in event.headers}
                    bodies[event.stream_id] = b""
                elif isinstance(event, h2.events.DataReceived):
                    link.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    bodies[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    headers = heads.pop(event.stream_id)
                    method, path = headers[":method"], headers[":path"]
                    request = Request(method, path, headers, bodies.pop(event.stream_id), number)
                    if not self._answer(link, writer, event.stream_id, self._reply(request)):
                        writer.write(link.data_to_send())
                        await writer.drain()
                        writer.close()
                        return
            writer.write(link.data_to_send())
            await writer.drain()

    def _answer(
        self, link: h2.connection.H2Connection, writer: asyncio.StreamWriter, stream: int, reply: Says | Trouble
    ) -> bool:
        """Whether the connection goes on."""
        match reply:
            case Says() as says:
                link.send_headers(stream, [(":status", str(says.status)), *says.headers.items()])
                link.send_data(stream, says.content, end_stream=True)
            case Trouble.STALL:
                pass
            case Trouble.DRIP:
                link.send_headers(stream, [(":status", "200")])
            case Trouble.ENDLESS:
                link.send_headers(stream, [(":status", "200")])
                for _ in range(ENDLESS_BYTES // 16_000):
                    link.send_data(stream, b" " * 16_000)
            case Trouble.RESET_STREAM:
                link.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            case Trouble.RESET_IN_ANSWER:
                link.send_headers(stream, [(":status", "200")])
                link.send_data(stream, b"{")
                return False
            case Trouble.GARBAGE:
                writer.write(GARBAGE_FRAME + GARBAGE)
            case Trouble.GOAWAY:
                link.close_connection(last_stream_id=stream - 2 if stream > 1 else 0)
                return False
            case Trouble.GOAWAY_AFTER:
                link.send_headers(stream, [(":status", "200")], end_stream=True)
                link.close_connection(last_stream_id=stream)
                return False
            case _:
                writer.transport.abort()
                return False
        return True


def pushed(data: Any, **others: Any) -> Notification:
    """A notification for one device; ``data`` as text, or a value."""
    text = data if isinstance(data, str) else json.dumps(data)
    fields: dict[str, Any] = {
        "target": "i1", "message_id": "m1", "conversation_id": "c1", "client_id": "Tom", "installation_id": "i1",
        "expires_at": EXPIRES_AT,
    }  # fmt: skip
    return Notification(data=text, **(fields | others))


def device(kind: str, token: str = "", **others: Any) -> Installation:
    return Installation("i1", kind, Millis(1), Millis(1), token, **others)


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@functools.cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Always the same one: it takes long to make."""
    return rsa.generate_private_key(65_537, 2_048)


def p256_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """A new key, and its PEM in ``file``."""
    key = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(pem_of(key))
    return key


def service_account(file: Path, token_url: str, **others: Any) -> rsa.RSAPrivateKey:
    """A key, and Google's JSON with it in ``file``."""
    key = rsa_key()
    account = {
        "type": "service_account",
        "project_id": "example-app",
        "private_key_id": "k1",
        "private_key": pem_of(key).decode(),
        "client_email": "push@example-app.iam.gserviceaccount.com",
        "token_uri": token_url,
    }
    file.write_text(json.dumps(account | others))
    return key
