"""An outbox that nothing leaves."""


class PlainPusher:
    """Fulfils the ``Pusher`` port.

    Attributes:
        wanted: Whether jobs are to be kept.
        woken: How often it was told of one.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.woken = 0

    def wants(self, content: str) -> bool:
        return self.wanted

    def wake(self) -> None:
        self.woken += 1
