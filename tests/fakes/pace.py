"""A pace without haste."""

import trio


class TrioPace:
    """Fulfils the ``Pace`` port: others run at every step."""

    async def breathe(self) -> None:
        await trio.lowlevel.checkpoint()
