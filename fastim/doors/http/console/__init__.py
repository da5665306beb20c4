"""The console: pages for those who run the server, and the calls behind them."""

from typing import Any

from aiohttp import web

from fastim.doors.http.console import applications, configuration, conversations, live, signing, stories, trial
from fastim.doors.http.console.assets import Asset, add_assets, built_assets
from fastim.doors.http.console.calls import Call, Console, add_calls
from fastim.doors.http.console.entrance import Entrance

__all__ = ["CALLS", "Console", "Entrance", "add_console"]

CALLS: tuple[Call[Any, Any], ...] = (
    *signing.CALLS,
    *live.CALLS,
    *applications.CALLS,
    *conversations.CALLS,
    *stories.CALLS,
    *configuration.CALLS,
    *trial.CALLS,
)
"""Every call of the console."""


def add_console(application: web.Application, console: Console, assets: dict[str, Asset] | None = None) -> None:
    """Add the console to the routes of a door.

    Args:
        assets: Its pages; ``None``: those that came with the package.
    """
    add_assets(application, built_assets() if assets is None else assets)
    add_calls(application, console, CALLS)
