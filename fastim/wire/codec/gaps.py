"""Gap notices: what only clients are told that set bit 32 of ``configBitmap``."""

from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec.parts import INSTANT_MESSAGING


def encode_gap(conversation_id: str, shed: tuple[int, int, int]) -> bytes:
    """How many of a chat room's messages were left out for a session, but for ``recipient``.

    It travels as ``pubsub``, which no SDK has a use for: one that got it all the same would take it for nothing else.

    Args:
        shed: Of high, normal and low priority.
    """
    high, normal, low = (number or None for number in shed)
    gap = pb.GapNotice(cid=conversation_id, high=high, normal=normal, low=low)
    native = pb.NativeCommand(gap=gap)
    generic = pb.GenericCommand(cmd=pb.pubsub, op=pb.gap, service=INSTANT_MESSAGING, nativeMessage=native)
    return bytes(generic.SerializeToString())
