"""All ways to devices for which the settings hold keys."""

from collections.abc import Callable
from typing import Final

from fastim.adapters.push import apns, fcm, hms, honor, oppo, vivo, web, xiaomi
from fastim.ports.push import PushProvider
from fastim.settings import Push

_ALL: Final[tuple[Callable[[Push], PushProvider | None], ...]] = (
    apns.provider,
    fcm.provider,
    hms.provider,
    xiaomi.provider,
    oppo.provider,
    vivo.provider,
    honor.provider,
    web.provider,
)


def ways(settings: Push) -> list[PushProvider]:
    """The providers; no two carry the same device.

    Raises:
        SettingsError: Keys cannot be used, or packages are missing.
    """
    return [made for make in _ALL if (made := make(settings)) is not None]
