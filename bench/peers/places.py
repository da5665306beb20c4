"""Where the servers that fastim is compared with are kept."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
BUILT = CHECKOUT / "build" / "peers"
DEBIAN = BUILT / "debian"
"""Unpacked packages."""
NODE = BUILT / "node"
VENV = BUILT / "venv"
