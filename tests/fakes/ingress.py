"""A door of chat rooms that counts whom it lets in."""

from fastim.core.errors import SendQuotaExceeded
from fastim.ports.ingress import Reason


class CountingIngress:
    """Fulfils the ``Ingress`` port.

    Attributes:
        most: So many messages of each priority a room takes, ever; ``None``: any number.
        let_in: Room and priority of every message that was let in.
        turned_away: The same of those that were not.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.let_in: list[tuple[str, int]] = []
        self.turned_away: list[tuple[str, int]] = []

    def admit(self, conversation_id: str, priority: int) -> None:
        message = conversation_id, priority
        if self.most is not None and self.let_in.count(message) >= self.most:
            self.turned_away.append(message)
            raise SendQuotaExceeded("the room is full of messages")
        self.let_in.append(message)

    def refused(self, conversation_id: str) -> dict[Reason, tuple[int, int, int]]:
        high, normal, low = (self.turned_away.count((conversation_id, priority)) for priority in (1, 2, 3))
        return {"rate": (high, normal, low), "governor": (0, 0, 0)}
