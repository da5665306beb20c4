"""What the server and the process with the hooks say to each other.

Each message is JSON, as what hooks are told came and what they answer goes on to be, behind its length. The process is
started with what it is to run, says ``Ready`` or ``Unusable``, and from then on answers what it is asked, in any order.
"""

import struct

import msgspec
from msgspec import Raw, Struct

LENGTH = struct.Struct(">I")
"""Of what follows, in bytes."""
ANSWER_BYTES_MAX = 1_048_576
FRAME_BYTES_MAX = ANSWER_BYTES_MAX + 65_536
"""Of what the process with the hooks says."""


class Asked(Struct, frozen=True, array_like=True, tag="asked"):
    """A hook is to be called.

    Attributes:
        number: The server's, and no other call's.
    """

    number: int
    hook: str
    call: Raw


class GivenUp(Struct, frozen=True, array_like=True, tag="given up"):
    """Nobody waits for that call any more."""

    number: int


class Doubted(Struct, frozen=True, array_like=True, tag="doubted"):
    """Whether there is still somebody who could answer; to be answered with ``Alive``."""


class Ready(Struct, frozen=True, array_like=True, tag="ready"):
    """The module is imported and defines these hooks."""

    hooks: tuple[str, ...]


class Unusable(Struct, frozen=True, array_like=True, tag="unusable"):
    """The module cannot be used; the process ends."""

    problem: str


class Answered(Struct, frozen=True, array_like=True, tag="answered"):
    """What a hook has answered; ``{}`` for a notice's."""

    number: int
    answer: Raw


class Failed(Struct, frozen=True, array_like=True, tag="failed"):
    """A hook has not answered as it should; the problem quotes nothing that the hook was told."""

    number: int
    problem: str


class Alive(Struct, frozen=True, array_like=True, tag="alive"):
    """The loop turns, and there is a thread left for one more hook."""


ToHooks = Asked | GivenUp | Doubted
FromHooks = Ready | Unusable | Answered | Failed | Alive


def framed(message: ToHooks | FromHooks) -> bytes:
    """The message as it travels."""
    body = msgspec.json.encode(message)
    return LENGTH.pack(len(body)) + body
