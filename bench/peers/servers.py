"""The servers that fastim is compared with: where they are found, how they are started, what their clients say.

Each is set up for the least work that it can do: nothing is stored, nobody has to say who they are, nothing is logged,
and what would cut a slow or a silent client off is out of the way. What is said here is what their documentation says.
"""

import getpass
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from bench.peers.places import BUILT, CHECKOUT, DEBIAN, NODE, VENV

NATS, OLD_NATS, REDIS = "nats-server", "nats-server, Debian's", "redis"
C, CONTROL = "C", "C again"
ROOM = b"room"
_UNPACKED = (DEBIAN / "usr" / "bin", DEBIAN / "usr" / "sbin")
_MOST_CLIENTS = 15_000
_HERE = Path(__file__).parent
_UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Absent(Exception):
    """This server cannot be had here; the message says why."""


class Peer(Protocol):
    """A server that fans out."""

    name: str

    def version(self) -> str:
        """What it is.

        Raises:
            Absent: It is not there.
        """
        ...

    def command(self, port: int, directory: Path) -> list[str]:
        """What starts it; ``directory`` is empty and for its files."""
        ...

    def hello(self, number: int | None) -> bytes:
        """What a reader says first; ``None``: what the publisher says."""
        ...

    def welcomed(self, number: int | None, answer: bytes) -> bool:
        """Whether that is the whole answer to ``hello``."""
        ...

    def publication(self, payload: bytes) -> bytes:
        """A message as the publisher sends it."""
        ...

    def delivery(self, payload: bytes) -> bytes:
        """The same as a reader is sent it."""
        ...


class Nats:
    """NATS, of which there are two: releases differ much.

    Args:
        places: Where it is looked for.
    """

    def __init__(self, name: str, *places: Path) -> None:
        self.name = name
        self._places = places

    def version(self) -> str:
        return _told([_program("nats-server", *self._places), "--version"]).removeprefix("nats-server: ")

    def command(self, port: int, directory: Path) -> list[str]:
        file = directory / "nats.conf"
        file.write_text(f'max_connections: {_MOST_CLIENTS}\nping_interval: "1h"\nwrite_deadline: "60s"\n')
        program = _program("nats-server", *self._places)
        return [program, "-a", "127.0.0.1", "-p", str(port), "-c", str(file), "-l", os.devnull]

    def hello(self, number: int | None) -> bytes:
        subscribe = b"" if number is None else b"SUB " + ROOM + b" 1\r\n"
        return b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\n' + subscribe + b"PING\r\n"

    def welcomed(self, number: int | None, answer: bytes) -> bool:
        return answer.startswith(b"INFO ") and b"PONG\r\n" in answer

    def publication(self, payload: bytes) -> bytes:
        return b"PUB %b %d\r\n%b\r\n" % (ROOM, len(payload), payload)

    def delivery(self, payload: bytes) -> bytes:
        return b"MSG %b 1 %d\r\n%b\r\n" % (ROOM, len(payload), payload)


class Redis:
    name = REDIS

    def version(self) -> str:
        words = _told([_program("redis-server"), "--version"]).split()
        return next(word.removeprefix("v=") for word in words if word.startswith("v="))

    def command(self, port: int, directory: Path) -> list[str]:
        return [
            *(_program("redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)),
            *("--save", "", "--appendonly", "no", "--maxclients", str(_MOST_CLIENTS), "--loglevel", "warning"),
            # The load has several addresses, of which redis would take one only for this machine's.
            *("--client-output-buffer-limit", "pubsub 0 0 0", "--protected-mode", "no"),
        ]

    def hello(self, number: int | None) -> bytes:
        return _resp(b"PING") if number is None else _resp(b"SUBSCRIBE", ROOM)

    def welcomed(self, number: int | None, answer: bytes) -> bool:
        return answer == (b"+PONG\r\n" if number is None else b"*3\r\n$9\r\nsubscribe\r\n$4\r\n%b\r\n:1\r\n" % ROOM)

    def publication(self, payload: bytes) -> bytes:
        return _resp(b"PUBLISH", ROOM, payload)

    def delivery(self, payload: bytes) -> bytes:
        return _resp(b"message", ROOM, payload)


class Mosquitto:
    name = "mosquitto"

    def version(self) -> str:
        return _told([_program("mosquitto"), "-h"]).splitlines()[0].removeprefix("mosquitto version ")

    def command(self, port: int, directory: Path) -> list[str]:
        file = directory / "mosquitto.conf"
        file.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\n"
            f"sys_interval 0\nlog_dest none\nuser {getpass.getuser()}\n"
        )
        return [_program("mosquitto"), "-c", str(file)]

    def hello(self, number: int | None) -> bytes:
        name = b"publisher" if number is None else b"reader-%d" % number
        connect = _mqtt(0x10, _text(b"MQTT") + b"\x04\x02\x00\x00" + _text(name))
        return connect if number is None else connect + _mqtt(0x82, b"\x00\x01" + _text(ROOM) + b"\x00")

    def welcomed(self, number: int | None, answer: bytes) -> bool:
        return answer == b"\x20\x02\x00\x00" + (b"" if number is None else b"\x90\x03\x00\x01\x00")

    def publication(self, payload: bytes) -> bytes:
        return _mqtt(0x30, _text(ROOM) + payload)

    def delivery(self, payload: bytes) -> bytes:
        return self.publication(payload)


class _WebSockets:
    """What both servers of WebSockets share."""

    def hello(self, number: int | None) -> bytes:
        return _UPGRADE % (b"/publish" if number is None else b"/")

    def welcomed(self, number: int | None, answer: bytes) -> bool:
        return answer.startswith(b"HTTP/1.1 101") and answer.endswith(b"\r\n\r\n")

    def publication(self, payload: bytes) -> bytes:
        # A mask of zeros.
        return b"\x82\xfe" + len(payload).to_bytes(2) + bytes(4) + payload

    def delivery(self, payload: bytes) -> bytes:
        return b"\x82\x7e" + len(payload).to_bytes(2) + payload


class Ws(_WebSockets):
    name = "node ws"

    def version(self) -> str:
        package = NODE / "node_modules" / "ws" / "package.json"
        if not package.exists():
            raise Absent("it is not installed")
        return f"{json.loads(package.read_text())['version']}, node {_told([_program('node'), '--version'])}"

    def command(self, port: int, directory: Path) -> list[str]:
        return [_program("node"), str(_HERE / "ws_server.js"), str(port)]


class Picows(_WebSockets):
    name = "picows"

    def version(self) -> str:
        python = VENV / "bin" / "python"
        if not python.exists():
            raise Absent("it is not installed")
        ask = "from importlib.metadata import version as v; print(v('picows') + ', uvloop ' + v('uvloop'))"
        return _told([str(python), "-c", ask])

    def command(self, port: int, directory: Path) -> list[str]:
        return [str(VENV / "bin" / "python"), str(_HERE / "picows_server.py"), str(port)]


class Reference:
    """``bench/native/reference.c``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def version(self) -> str:
        return _told([_program(os.environ.get("CC", "cc")), "--version"]).splitlines()[0]

    def command(self, port: int, directory: Path) -> list[str]:
        return [sys.executable, "-m", "bench.peers.reference_server", str(port)]

    def hello(self, number: int | None) -> bytes:
        return b"P" if number is None else b"R"

    def welcomed(self, number: int | None, answer: bytes) -> bool:
        return answer == (b"" if number is None else b"k")

    def publication(self, payload: bytes) -> bytes:
        return payload

    def delivery(self, payload: bytes) -> bytes:
        return payload


PEERS: tuple[Peer, ...] = (
    Nats(NATS, BUILT / "bin", VENV / "bin"),
    Nats(OLD_NATS, *_UNPACKED),
    Redis(),
    Mosquitto(),
    Ws(),
    Picows(),
    Reference(C),
    Reference(CONTROL),
)


def version_of_fastim() -> str:
    """Its version and the commit, as far as that is known."""
    words = ["git", "describe", "--always", "--dirty=, changed"]
    try:
        commit = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return version("fastim")
    return f"{version('fastim')} ({commit}), Python {platform.python_version()}, uvloop {version('uvloop')}"


def environment() -> Mapping[str, str]:
    """For the programs that were unpacked, and those that are run from the checkout."""
    libraries = [str(path) for path in (DEBIAN / "usr" / "lib").glob("*-linux-gnu*")]
    found = {"NODE_PATH": str(NODE / "node_modules"), "PYTHONPATH": str(CHECKOUT)}
    if libraries:
        found["LD_LIBRARY_PATH"] = ":".join((*libraries, *os.environ.get("LD_LIBRARY_PATH", "").split(":"))).rstrip(":")
    return {**os.environ, **found}


def _program(name: str, *places: Path) -> str:
    """Where it is; unless told, what was unpacked, or else what the system has."""
    system = [Path(place) for place in (*os.environ.get("PATH", os.defpath).split(":"), "/usr/sbin", "/sbin")]
    found = shutil.which(name, path=":".join(map(str, places or (*_UNPACKED, *system))))
    if found is None:
        raise Absent("it is not installed")
    return found


def _told(words: list[str]) -> str:
    """What a program says of itself; some of them fail when they are asked."""
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), stdin=subprocess.DEVNULL)
    if not done.stdout.strip():
        raise Absent(f"it does not run: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


def _resp(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2) + text


def _mqtt(kind: int, rest: bytes) -> bytes:
    size, length = len(rest), b""
    while size > 127:
        length += bytes((128 | size & 127,))
        size >>= 7
    return bytes((kind,)) + length + bytes((size,)) + rest
