"""Whatever bytes come: a command, or the one error that says they are none."""

from collections import Counter

from fastim.core.errors import InternalError, WireError
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec import decode, encode_error
from tests.fuzz import effort
from tests.fuzz.bodies import KINDS, Names, broken, decodes, sound

NAMES = Names(["app"], ["tom", "\u6c64\u59c6"], ["64a0b1c2d3e4f5a6b7c8d9e0", "_tmp:1"], ["msg-1"], ["token"])


def test_any_bytes_are_a_command_or_a_wire_error() -> None:
    seen: Counter[str] = Counter()
    for number in effort.numbers(2):
        dice = effort.dice("decoding", number)
        body = sound(dice, NAMES, number % 2**31, KINDS[number % len(KINDS)]).SerializeToString()
        assert attempt(body, seen), effort.rerun(number)
        mutated = broken(dice, body)
        assert attempt(mutated, seen) == decodes(mutated), effort.rerun(number)
    if effort.ONLY is None:
        assert len(seen) > 15
        assert 0 < seen["WireError"] < 0.6 * seen.total()


def attempt(body: bytes, seen: Counter[str]) -> bool:
    """Whether ``body`` was decoded; then it can also be refused, with its serial."""
    try:
        request = decode(body)
    except WireError:
        seen["WireError"] += 1
        return False
    seen[type(request.command).__name__] += 1
    answer = pb.GenericCommand.FromString(encode_error(request, InternalError("no"), request.client_id or None))
    assert (answer.i if answer.HasField("i") else None) == request.serial
    return True
