"""Words: which messages are filtered, and which part of them. Source: semantics, word filter.

What counts as a hit is decided by the list, see ``fastim._words``.
"""

import json
import re
from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fastim.core.conversation import Conversation, Kind
from fastim.core.message import Message
from fastim.core.policy import Policy
from fastim.core.units import Millis

MASKED_CODE = -4408
"""Tells the sender why its message reads otherwise than it was sent: negative for what is built in."""
MASKED_REASON = "MESSAGE_MODIFIED_BY_CENSORSHIP"


def is_filtered(conversation: Conversation, policy: Policy) -> bool:
    """Whether what is said there is filtered: not among two, unless the application says so. Source: rule 9.1."""
    if conversation.kind in (Kind.CHAT_ROOM, Kind.SYSTEM):
        return True
    return policy.filters_two or len(conversation.members) > 2


def corrected(message: Message) -> Message:
    """``message``, which was masked, as a patch of what its sender has: later than all that the sender knows of it.

    What is stored is no patch. Source: wire protocol, modify and recall.
    """
    return replace(message, patched_at=Millis(max(message.timestamp, message.patched_at) + 1))


def masked(body: bytes, mask: Callable[[bytes], bytes]) -> bytes:
    """``body``, which is not binary, with its hits masked; the same object when there are none.

    Of a typed message only ``_lctext`` is looked at, of any other all of it; of one that is JSON to some and not to
    others, both. All else stays as it is, to the byte. Source: rule 9.3.
    """
    try:
        typed = _typed.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return mask(_with_text_masked(body, mask)) if body.lstrip().startswith(b"{") else mask(body)
    if typed.type is None:
        return mask(body)
    if typed.text is None:
        return body
    text = typed.text.encode()
    changed = mask(text)
    return body if changed is text else _with_text(body, changed)


class _Typed(Struct):
    type: int | None = msgspec.field(default=None, name="_lctype")
    text: str | None = msgspec.field(default=None, name="_lctext")


_typed: msgspec.json.Decoder[_Typed] = msgspec.json.Decoder(_Typed)

_TEXT = "_lctext"
_MARK = re.compile(r'["{}\[\]]')
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_COLON = re.compile(r"[ \t\r\n]*:")


def _with_text(body: bytes, text: bytes) -> bytes:
    """``body``, a JSON object, with ``text`` for its ``_lctext``."""
    document = body.decode(errors="surrogateescape")
    place = _place_of_text(document)
    assert place is not None  # it was read from there
    return _spliced(document, place, text)


def _with_text_masked(body: bytes, mask: Callable[[bytes], bytes]) -> bytes:
    """The same, with its own text masked, as far as one can be found."""
    document = body.decode(errors="surrogateescape")
    place = _place_of_text(document)
    found = None if place is None else _decoded(document[place])
    if place is None or found is None:
        return body
    text = found.encode(errors="surrogatepass")
    changed = mask(text)
    return body if changed is text else _spliced(document, place, changed)


def _spliced(document: str, place: slice, text: bytes) -> bytes:
    plain = text.decode(errors="surrogatepass")
    # Half of a character has no UTF-8: it goes as it came, escaped.
    value = json.dumps(plain, ensure_ascii=any("\ud800" <= letter <= "\udfff" for letter in plain))
    return f"{document[: place.start]}{value}{document[place.stop :]}".encode(errors="surrogateescape")


def _place_of_text(document: str) -> slice | None:
    """Where the value of ``_lctext`` is; of several the last, which is the one that counts. ``None``: it is no text.

    It looks at each letter once and calls itself for nothing: it is given what decoders gave up.
    """
    found, name, depth, place = None, None, 0, 0
    while (mark := _MARK.search(document, place)) is not None:
        place = mark.end()
        if mark[0] != '"':
            depth += 1 if mark[0] in "{[" else -1
            if not depth:
                break
            continue
        string = _STRING.match(document, mark.start())
        if string is None:
            break
        place = string.end()
        if depth != 1:
            continue
        if _COLON.match(document, place):
            name = _decoded(string[0]) if "\\" in string[0] else string[0][1:-1]
            found = None if name == _TEXT else found
        elif name == _TEXT:
            found, name = slice(string.start(), string.end()), None
    return found


def _decoded(string: str) -> str | None:
    """What a JSON string says, or ``None`` when it cannot be told."""
    try:
        decoded = json.loads(string, strict=False)
    except ValueError:
        return None
    return decoded if isinstance(decoded, str) else None
