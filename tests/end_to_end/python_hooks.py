"""Hooks in Python that do what the back end of a test says; a server runs them, told by ``hooks.python``."""

import http.client
import json
import os
import signal
from typing import Any
from urllib.parse import urlsplit

import msgspec

from fastim import hooks
from fastim.core.hooks import QUESTIONS
from fastim.hooks import ClientSign


def ask(call: Any) -> Any:
    parameters = call.user if isinstance(call, ClientSign) else call
    connection = http.client.HTTPConnection(urlsplit(os.environ["HOOK_BACK_END"]).netloc)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", f"/python/{call.hook}", msgspec.json.encode(parameters), headers)
    said = json.loads(connection.getresponse().read())
    connection.close()
    match said.get("do"):
        case "raise":
            raise ValueError(said)
        case "exit":
            raise SystemExit(said)
        case "recurse":
            return ask_again(call)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "give something else":
            return said
        case "give 10 MB":
            return filled(call, "x" * 10_000_000)
        case "give what cannot be written":
            return filled(call, "\ud800")
        case _ if type(call) in QUESTIONS:
            result = said["result"]
            return msgspec.convert(said if isinstance(result, bool) else result, QUESTIONS[type(call)])
    return None


def filled(call: Any, text: str) -> Any:
    """An answer with that text in it, where there is one to be given."""
    if type(call) not in QUESTIONS:
        return text
    kind = QUESTIONS[type(call)]
    return kind(**{field: text for field in ("detail", "push_message", "error") if field in kind.__struct_fields__})


def ask_again(call: Any) -> Any:
    return ask_again(call)


decorators: Any = (
    hooks.message_received,
    hooks.receivers_offline,
    hooks.message_sent,
    hooks.message_update,
    hooks.conversation_start,
    hooks.conversation_started,
    hooks.conversation_add,
    hooks.conversation_added,
    hooks.conversation_remove,
    hooks.conversation_removed,
    hooks.conversation_update,
    hooks.client_online,
    hooks.client_offline,
    hooks.client_sign,
)
for decorator in decorators:
    decorator(ask)
