"""Retention: how long what is kept."""

from msgspec import Struct

from fastim.core.units import Millis


class Retention(Struct, frozen=True):
    """One application's rules; 0 keeps for ever.

    Attributes:
        history: Messages older than that go, in milliseconds.
        idle: Conversations without a message or a change for that long go with their history, in milliseconds. Service
            conversations stay.
        notices: Notices older than that go, in milliseconds.
    """

    history: Millis = Millis(0)
    idle: Millis = Millis(0)
    notices: Millis = Millis(0)
