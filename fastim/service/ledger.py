"""The ledger of a chat room: what was refused at its door, and what became of the rest."""

from msgspec.structs import replace

from fastim.core.ledger import Counts, Ledger
from fastim.service.io import Io


def read_ledger(io: Io, conversation_id: str) -> Ledger:
    """What became of the room's messages since somebody was first in it; of one that is empty, what was refused."""
    refused = io.ingress.refused(conversation_id)
    return replace(
        io.rooms.ledger(conversation_id),
        refused_rate=Counts(*refused["rate"]),
        refused_governor=Counts(*refused["governor"]),
    )
