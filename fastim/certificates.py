"""TLS certificates: whether their files can be used, until when, and the context that shows one."""

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fastim.core.errors import SettingsError


def check(certificate: str, key: str) -> tuple[datetime, datetime]:
    """From when until when a certificate holds, once it has been found that its files can be used.

    Args:
        certificate: Path of a PEM file: the certificate, then those that lead to its root.
        key: Path of a PEM file with its private key; empty: that is in the certificate's file.

    Raises:
        SettingsError: A file cannot be read, is not what it should be, or the two do not belong together.
    """
    pem = _read("tls.certificate", certificate)
    try:
        holds = validity(pem)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except ssl.SSLError as error:
        raise SettingsError(f"tls.certificate: {certificate}: not all certificates in it are whole") from error
    except ValueError as error:
        raise SettingsError(f"tls.certificate: {certificate}: {error}") from error
    if key:
        _read("tls.key", key)
    server_context(certificate, key)
    return holds


def server_context(certificate: str, key: str, *alpn: str) -> ssl.SSLContext:
    """A context that shows a certificate: TLS 1.2 and above, the standard library's ciphers.

    Args:
        certificate: See ``check``, as for ``key``.
        alpn: The protocols that are spoken inside, for clients that ask.

    Raises:
        SettingsError: Certificate and key cannot be used together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that renegotiates makes the server work for nothing.
    context.options |= ssl.OP_NO_RENEGOTIATION
    if alpn:
        context.set_alpn_protocols(list(alpn))
    key = key or certificate
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"the key does not belong to the certificate in {certificate}"
        elif error.reason is None or error.reason.startswith(("NO_START_LINE", "BAD_", "UNSUPPORTED")):
            problem = "no private key in PEM form"
        else:
            problem = f"cannot be used: {error.reason.replace('_', ' ').lower()}"
        raise SettingsError(f"tls.key: {key}: {problem}") from error
    except (OSError, ValueError) as error:
        raise SettingsError(f"tls.key: {key}: {error}") from error
    return context


def validity(pem: str) -> tuple[datetime, datetime]:
    """From when until when the first certificate in ``pem`` holds.

    The standard library shows a certificate's dates only once a handshake has trusted it, so they are read from the
    DER here. Source: RFC 5280, section 4.1.

    Raises:
        ValueError: There is no certificate in it.
    """
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.DOTALL)
    if found is None:
        raise ValueError("no certificate in PEM form")
    try:
        fields = list(_elements(_first(_first(ssl.PEM_cert_to_DER_cert(found[0])))))
        if fields[0][0] == 0xA0:  # version is optional
            del fields[0]
        (start_tag, start), (end_tag, end) = _elements(fields[3][1])  # after serial number, signature and issuer
        return _moment(start_tag, start), _moment(end_tag, end)
    except (ValueError, IndexError) as error:
        raise ValueError("not a certificate") from error


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise SettingsError(f"{name}: {path} cannot be read: {error.strerror or error}") from error


def _no_password() -> str:
    # Without this OpenSSL would ask for one on the terminal.
    raise ValueError("the key has a password; the server needs one without")


def _first(der: bytes) -> bytes:
    return next(_elements(der), (0, b""))[1]


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the content of each element in ``der``."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size])
            at += size
        if at + length > len(der):
            raise ValueError("cut short")
        yield tag, der[at : at + length]
        at += length


def _moment(tag: int, text: bytes) -> datetime:
    digits = text.decode("ascii")
    if tag == 0x17:  # UTCTime, two digits of the year: 50 and above are of the last century
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
