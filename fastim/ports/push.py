"""Push: whoever carries notifications to devices, and who may be told that there are some."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from fastim.core.installation import Installation
from fastim.core.push import Notification


class Sent(Struct, frozen=True):
    """The provider has taken it.

    Attributes:
        says: The provider's own words, for whoever tries it out: an id, or empty.
    """

    says: str = ""


class Later(Struct, frozen=True):
    """It could not be sent now: the provider cannot be reached, is out of order, or has too much to do.

    Attributes:
        after_seconds: How long the provider wants to be left alone; ``None``: it did not say.
        whole: Everything for this provider has to wait, not just this device.
    """

    says: str
    after_seconds: float | None = None
    whole: bool = True


class Dead(Struct, frozen=True):
    """The device's token is not valid any more: nothing will ever reach it."""

    says: str


class Refused(Struct, frozen=True):
    """The provider will not take this one, however often it is sent."""

    says: str


Outcome = Sent | Later | Dead | Refused


class PushProvider(Protocol):
    """One way to a device. It raises nothing: whatever happens is an outcome."""

    name: str
    """A few lower-case letters, for metrics and ``fastim push test``."""

    def carries(self, installation: Installation) -> bool:
        """Whether this is the way to that device."""
        ...

    async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
        """Send one; it takes no longer than the provider's own deadline. No secret is in what the outcome says.

        Args:
            devices: The one that it is for; of the plain webhook all that the client has, which may be none.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; what is under way fails."""
        ...


class Pusher(Protocol):
    """The outbox of one application, as those see it who fill it."""

    def wants(self, content: str) -> bool:
        """Whether anybody would hear of receivers who are offline: else no job has to be kept.

        Args:
            content: What the message's sender wants pushed, or empty.
        """
        ...

    def wake(self) -> None:
        """A job is on disk."""
        ...
