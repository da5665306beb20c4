"""The way out, as the settings have it: one fan-out for all connections and rooms of a loop."""

import asyncio

from fastim._fanout import Fanout
from fastim.settings import Delivery


def fanout_of(settings: Delivery) -> Fanout:
    """A fan-out on the running loop."""
    loop = asyncio.get_running_loop()
    return Fanout(
        loop.call_soon,
        loop.call_later,
        window_bytes=settings.room_window_bytes,
        window_messages=settings.room_window_messages,
        low_milliseconds=settings.room_low_milliseconds,
        normal_milliseconds=settings.room_normal_milliseconds,
        sampled_senders=settings.room_sampled_senders,
        high_bytes=settings.room_high_bytes,
        high_messages=settings.room_high_messages,
        gather_milliseconds=settings.room_gather_milliseconds,
        turn_microseconds=settings.turn_microseconds,
        handovers=settings.turn_handovers,
    )
