"""Hooks for tests, which misbehave when a message asks them to."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from fastim.hooks import (
    ClientOnline,
    ConversationAdd,
    ConversationAnswer,
    ConversationUpdate,
    MessageAnswer,
    MessageReceived,
    MessageUpdate,
    OfflineAnswer,
    ReceiversOffline,
    UpdateAnswer,
    client_online,
    conversation_add,
    conversation_update,
    drop,
    message_received,
    message_update,
    receivers_offline,
    reject,
)

gate = threading.Event()


@message_received
def behave(message: MessageReceived) -> Any:
    word, _, rest = message.content.partition(" ")
    return WAYS[word](rest)


@message_update
async def behave_on_the_loop(update: MessageUpdate) -> Any:
    word, _, rest = update.content.partition(" ")
    if word == "wait":
        await asyncio.Event().wait()
    return WAYS[word](rest)


@receivers_offline
async def tell_phones(receivers: ReceiversOffline) -> OfflineAnswer:
    await asyncio.sleep(0)
    return OfflineAnswer(offline_peers=receivers.offline_peers[:1], push_message='{"alert": "hey"}', force=True)


@conversation_add
def closed(added: ConversationAdd) -> ConversationAnswer | None:
    return reject(7, "closed") if "tyke" in added.members else None


@conversation_update
def keep(update: ConversationUpdate) -> UpdateAnswer:
    return UpdateAnswer(attr={"was": update.attr, "mute": update.mute})


@client_online
def greet(client: ClientOnline) -> None:
    print("hello,", client.peer_id)


def _fall(depth: str) -> None:
    raise ValueError(f"of {depth}")


def _print(text: str) -> MessageAnswer:
    print(text)
    sys.stdout.write(f"{text} again\n")
    os.write(1, f"{text} below\n".encode())
    subprocess.run(["sh", "-c", f"cat; echo {text} from a child"], check=True)
    return MessageAnswer()


def _leave_a_child(_: str) -> None:
    child = subprocess.Popen(["sh", "-c", "exec sleep 600"])
    sys.stderr.write(f"child {child.pid}\n")
    os.kill(os.getpid(), signal.SIGKILL)


def _sleep(_: str) -> None:
    print("asleep")
    time.sleep(3600)


def _spin(_: str) -> None:
    while True:
        pass


def _flood(count: str) -> None:
    for number in range(int(count)):
        sys.stderr.write(f"{number} {'x' * 100}\n")


def _pass_gate(_: str) -> MessageAnswer:
    gate.wait()
    return MessageAnswer(content="through")


def _open_gate(_: str) -> None:
    gate.set()


WAYS = {
    "nothing": lambda _: None,
    "drop": lambda detail: drop(3, detail),
    "say": lambda text: MessageAnswer(content=text),
    "peers": lambda count: MessageAnswer(to_peers=tuple(f"client {number}" for number in range(int(count)))),
    "number": lambda _: 5,
    "other": lambda _: OfflineAnswer(),
    "misfilled": lambda _: MessageAnswer(content=5),  # type: ignore[arg-type]
    "fall": _fall,
    "exit": lambda _: sys.exit("bye"),
    "interrupt": lambda _: signal.raise_signal(signal.SIGINT),
    "print": _print,
    "pid": lambda _: MessageAnswer(content=f"{os.getpid()} {os.getsid(0)}"),
    "environment": lambda name: MessageAnswer(content=os.environ.get(name, "-")),
    "input": lambda _: MessageAnswer(content=repr(sys.stdin.read())),
    "die": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "leave": _leave_a_child,
    "spin": _spin,
    "sleep": _sleep,
    "hog": lambda _: re.match("(a+)+b", "a" * 64),
    "flood": _flood,
    "gate": _pass_gate,
    "open": _open_gate,
}
