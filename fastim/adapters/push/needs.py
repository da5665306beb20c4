"""What the providers need beside fastim: the packages of the extra ``push``, and files of the operator's."""

import importlib
from pathlib import Path

from fastim.core.errors import SettingsError

_PACKAGES = ("cryptography", "h2", "http_ece", "httpx2", "jwt")


def check_installed(setting: str) -> None:
    """Find out whether the extra ``push`` is installed, before a module is imported that needs it.

    Args:
        setting: What asks for it.

    Raises:
        SettingsError: It is not.
    """
    try:
        for package in _PACKAGES:
            importlib.import_module(package)
    except ImportError as error:
        raise SettingsError(f"{setting}: this needs more packages: pip install 'fastim[push]'") from error


def read(setting: str, path: str) -> bytes:
    """A file that a setting names.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting}: {path} cannot be read: {error.strerror or error}") from error
