"""A private certificate authority, and servers' certificates of it in files."""

import ssl
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import trustme

NAMES = ("localhost", "127.0.0.1", "::1")


class Pair(NamedTuple):
    """Where a certificate and its key are."""

    certificate: Path
    key: Path

    @property
    def settings(self) -> tuple[str, ...]:
        """Words of the command line that set them."""
        return ("--set", f"tls.certificate={self.certificate}", "--set", f"tls.key={self.key}")

    def become(self, other: "Pair") -> None:
        """Put the contents of ``other`` in the place of these, as a renewal does."""
        self.certificate.write_bytes(other.certificate.read_bytes())
        self.key.write_bytes(other.key.read_bytes())


class Authority:
    """Writes to a directory.

    Attributes:
        root: File of its own certificate, for clients that are told whom to trust.
    """

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self._directory = directory
        self.root = directory / "root.pem"
        self._authority.cert_pem.write_to_path(self.root)

    def issue(self, name: str, not_before: datetime | None = None, not_after: datetime | None = None) -> Pair:
        """A certificate for this machine, in files that start with ``name``."""
        issued = self._authority.issue_cert(*NAMES, common_name=name, not_before=not_before, not_after=not_after)
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(pair.key)
        return pair

    def trusting(self, *alpn: str) -> ssl.SSLContext:
        """A client's context that trusts nobody else."""
        context = ssl.create_default_context(cafile=self.root)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context
