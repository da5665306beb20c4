"""Applications: the tenants of one server; nothing crosses from one to another."""

from typing import Any

from msgspec import Struct

from fastim.core.ids import AppNumber


class Application(Struct, frozen=True):
    """An application and its keys.

    Attributes:
        number: Opens every key in the store; given once, never reused.
        settings: What REST or the console stored of its settings, by ``table.name``.
    """

    number: AppNumber
    id: str
    key: str
    master_key: str
    hook_key: str
    settings: dict[str, Any] = {}
