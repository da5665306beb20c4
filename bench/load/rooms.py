"""A server with one chat room, everything switched on that a room passes through, and what its ledger says."""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from msgspec import Struct

from bench.load.audience import HOLE, Audience
from bench.load.clients import CONFIG, enter_room, open_clients, start_room
from bench.load.server import Server, running_server
from bench.load.transports import Tcp, needed_descriptors
from bench.words_corpus import Corpus
from fastim._words import WordList
from fastim.core.session import Config

LISTED_WORDS = 10_000
LIMITS_ON = tuple(
    argument
    for limit in ("sends_per_minute", "operations_per_minute", "room_sends_per_second")
    for argument in ("--set", f"limits.{limit}=1000000000")
)
"""Every bucket is looked into, and none of them ever runs dry."""
SDK_CONFIG = CONFIG | int(Config.PATCHES | Config.OMIT_PEER_ID)
"""What current SDKs say: each frame carries the reader's ``peerId``."""
OWN_CONFIG = SDK_CONFIG | int(Config.GAP_NOTICES)
"""What clients of our own say, which need none when they are alone on their connection."""

DELIVERIES = ("fastim_room_deliveries_total", "outcome")
WAITING = ("fastim_room_deliveries_waiting", "state")
SHED = ("fastim_room_shed_total", "reason")
"""Metrics with the ledger of all rooms, and the label that says what became of the deliveries counted."""
OWED, WRITTEN, PENDING = "owed", "written", "pending"
PRIORITIES = ("high", "normal", "low")


@contextmanager
def room_server(checkout: Path | None, *arguments: str) -> Iterator[Server]:
    """A server on its own core: the word filter has ``LISTED_WORDS`` words, all limits are counted, none bites.

    Args:
        checkout: Built sources to run instead of these.
        arguments: More of ``fastim serve``.
    """
    with tempfile.TemporaryDirectory(prefix="fastim-bench-") as directory:
        file = Path(directory) / "words.txt"
        file.write_text("\n".join(Corpus(LISTED_WORDS).words), encoding="utf-8")
        words = ("--set", "words.enabled=true", "--set", f"words.file={file}")
        with running_server(checkout, arguments=(*LIMITS_ON, *words, *arguments)) as server:
            yield server


def checkout_option(parser: argparse.ArgumentParser) -> None:
    """``--server``, as each of these benchmarks has it."""
    parser.add_argument("--server", type=Path, help="another built checkout, whose server is measured")


def text_of(size_bytes: int) -> bytes:
    """A chat line without a listed word, such that the whole message has about ``size_bytes``."""
    corpus = Corpus(LISTED_WORDS)
    words = WordList.parse("\n".join(corpus.words).encode())
    wanted = max(size_bytes - len(HOLE), 1)
    for line in corpus.lines(200):
        text = " " + line.replace("@", "").replace("~", "")
        while len(text.encode()) > wanted:
            text = text[:-1]
        if len(text.encode()) >= wanted - 8 and words.mask(HOLE + text.encode()) == HOLE + text.encode():
            return text.encode()
    raise ValueError(f"no line of {size_bytes} bytes is free of listed words")


def open_audience(
    server: Server,
    readers: int,
    senders: int,
    text: bytes,
    *,
    messages: int,
    priorities: Sequence[int] = (2,),
    own: bool = False,
) -> Audience:
    """Readers inside one room, and senders that are not: each on a connection of its own, over TCP.

    Args:
        own: Whether the readers are clients of our own, which need no ``peerId`` in their frames.
    """
    needed_descriptors(readers + senders)
    tcp, app_id = server.process.tcp, server.process.app_id
    config = OWN_CONFIG if own else SDK_CONFIG
    inside = open_clients([f"reader-{n}" for n in range(readers)], Tcp(), tcp.host, tcp.port, app_id, config)
    outside = open_clients([f"sender-{n}" for n in range(senders)], Tcp(), tcp.host, tcp.port, app_id, config)
    room = start_room(inside[0])
    enter_room(inside[1:], room)
    return Audience(inside, outside, room, text, tcp.port, messages=messages, priorities=priorities)


class Ledger(Struct, frozen=True):
    """What a server says became of the deliveries in its rooms.

    Attributes:
        sums: By outcome, for each of ``PRIORITIES``; empty when the server keeps no ledger.
        shed: Of what was shed, or refused at the door, the same by reason.
    """

    sums: dict[str, tuple[int, ...]]
    shed: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> Self:
        sums = _by_label(metrics, *DELIVERIES) | _by_label(metrics, *WAITING)
        return cls(sums, {reason: counts for reason, counts in _by_label(metrics, *SHED).items() if any(counts)})

    @property
    def imbalance(self) -> int:
        """Deliveries that were owed and of which nobody knows what became, or the other way round; 0 is right."""
        [owed, *terms] = [self.sums[OWED], *(counts for outcome, counts in self.sums.items() if outcome != OWED)]
        return sum(abs(one - sum(parts)) for one, *parts in zip(owed, *terms, strict=True))

    def total(self, outcome: str) -> int:
        return sum(self.sums[outcome])

    def __str__(self) -> str:
        if not self.sums:
            return "the server keeps no ledger"
        parts = [f"{name} {'/'.join(f'{count:,}' for count in counts)}" for name, counts in self.sums.items()]
        reasons = [f"{name} {'/'.join(f'{count:,}' for count in counts)}" for name, counts in self.shed.items()]
        return f"ledger ({'/'.join(PRIORITIES)}), off by {self.imbalance}: {', '.join(parts)}; shed: " + (
            ", ".join(reasons) or "nothing"
        )


def _by_label(metrics: Mapping[str, float], metric: str, label: str) -> dict[str, tuple[int, ...]]:
    sums: dict[str, list[int]] = {}
    for name, value in metrics.items():
        family, _, rest = name.partition("{")
        if family == metric:
            labels = dict(pair.split("=", 1) for pair in rest.rstrip("}").split(","))
            of_label = sums.setdefault(labels[label].strip('"'), [0] * len(PRIORITIES))
            of_label[PRIORITIES.index(labels["priority"].strip('"'))] += int(value)
    return {name: tuple(counts) for name, counts in sums.items()}
