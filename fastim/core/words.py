"""Words: which messages are filtered, and which part of them. Source: semantics, word filter.

What counts as a hit is decided by the list, see ``fastim._words``.
"""

import json
import re
from collections.abc import Callable, Iterator

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

    Of a typed message only ``_lctext`` is looked at, of any other all of it; of one that is typed to some and not to
    others, both. All else stays as it is, to the byte. Source: rule 9.3.
    """
    try:
        typed = _typed.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return mask(_with_texts_masked(body, mask)) if b"{" in body else mask(body)
    if typed.type is None:
        return mask(body if typed.text is None else _with_texts_masked(body, mask))
    if body.count(_NAME) > 1 or _ESCAPED_ASCII in body:  # it may have several texts, and some clients show the first
        return _with_texts_masked(body, mask)
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
_NAME = _TEXT.encode()
_ESCAPED_ASCII = b"\\u00"
_MARK = re.compile(r'["{}\[\]]')
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_COLON = re.compile(r"[ \t\r\n]*:")


def _with_text(body: bytes, text: bytes) -> bytes:
    """``body``, a JSON object, with ``text`` for its one ``_lctext``."""
    document = body.decode(errors="surrogateescape")
    (place,) = _places_of_text(document)
    return f"{document[: place.start]}{_written(text)}{document[place.stop :]}".encode(errors="surrogateescape")


def _with_texts_masked(body: bytes, mask: Callable[[bytes], bytes]) -> bytes:
    """``body`` with its own texts masked, as far as any can be found."""
    document = body.decode(errors="surrogateescape")
    pieces: list[str] = []
    end = 0
    for place in _places_of_text(document):
        found = _decoded(document[place])
        text = b"" if found is None else found.encode(errors="surrogatepass")
        changed = mask(text)
        if changed is not text:
            pieces += (document[end : place.start], _written(changed))
            end = place.stop
    return "".join((*pieces, document[end:])).encode(errors="surrogateescape") if pieces else body


def _written(text: bytes) -> str:
    plain = text.decode(errors="surrogatepass")
    # Half of a character has no UTF-8: it goes as it came, escaped.
    return json.dumps(plain, ensure_ascii=any("\ud800" <= letter <= "\udfff" for letter in plain))


def _places_of_text(document: str) -> Iterator[slice]:
    """Where each value of ``_lctext`` is that is a text.

    It looks at each letter once and calls itself for nothing: it is given what decoders gave up.
    """
    name, depth, place = None, 0, 0
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
        elif name == _TEXT:
            yield slice(string.start(), string.end())
            name = None


def _decoded(string: str) -> str | None:
    """What a JSON string says, or ``None`` when it cannot be told."""
    try:
        decoded = json.loads(string, strict=False)
    except ValueError:
        return None
    return decoded if isinstance(decoded, str) else None
