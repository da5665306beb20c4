"""Certificate files that can be used, and those that cannot: each fault is named in one line."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from fastim.certificates import check, server_context
from fastim.core.errors import SettingsError
from fastim.doors.tls import Certificate
from fastim.settings import Tls
from tests.authority import Authority, Pair

Fault = Callable[[Pair, Pair], object]
"""Spoils a pair; the other one is as good as new."""


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Authority(tmp_path).issue("server")


def refusal(pair: Pair) -> str:
    with pytest.raises(SettingsError) as refused:
        check(str(pair.certificate), str(pair.key))
    assert str(refused.value).isprintable()
    return str(refused.value)


def with_password(pair: Pair) -> None:
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.TraditionalOpenSSL
    pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))


def break_the_chain(pair: Pair) -> None:
    with pair.certificate.open("a") as file:
        file.write("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")


def make_a_directory_of(file: Path) -> None:
    file.unlink()
    file.mkdir()


FAULTS: dict[str, tuple[Fault, str]] = {
    "no certificate": (
        lambda one, _: one.certificate.unlink(),
        "tls.certificate: {certificate} cannot be read: No such file or directory",
    ),
    "a directory": (
        lambda one, _: make_a_directory_of(one.certificate),
        "tls.certificate: {certificate} cannot be read: Is a directory",
    ),
    "empty certificate": (
        lambda one, _: one.certificate.write_text(""),
        "tls.certificate: {certificate}: no certificate in PEM form",
    ),
    "binary certificate": (
        lambda one, _: one.certificate.write_bytes(bytes(range(256))),
        "tls.certificate: {certificate}: no certificate in PEM form",
    ),
    "a key for a certificate": (
        lambda one, _: one.certificate.write_bytes(one.key.read_bytes()),
        "tls.certificate: {certificate}: no certificate in PEM form",
    ),
    "broken chain": (
        lambda one, _: break_the_chain(one),
        "tls.certificate: {certificate}: not all certificates in it are whole",
    ),
    "no key": (lambda one, _: one.key.unlink(), "tls.key: {key} cannot be read: No such"),
    "empty key": (lambda one, _: one.key.write_text(""), "tls.key: {key}: no private key in PEM form"),
    "a certificate for a key": (
        lambda one, _: one.key.write_bytes(one.certificate.read_bytes()),
        "tls.key: {key}: no private key in PEM form",
    ),
    "key cut short": (
        lambda one, _: one.key.write_bytes(one.key.read_bytes()[:90]),
        "tls.key: {key}: no private key in PEM form",
    ),
    "key of another": (
        lambda one, other: one.key.write_bytes(other.key.read_bytes()),
        "tls.key: {key}: the key does not belong to the certificate in {certificate}",
    ),
    "key with a password": (
        lambda one, _: with_password(one),
        "tls.key: {key}: the key has a password; the server needs one without",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_files_that_cannot_be_used_are_refused_with_the_reason(tmp_path: Path, fault: str) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    spoil, says = FAULTS[fault]
    spoil(one, other)
    assert refusal(one).startswith(says.format(certificate=one.certificate, key=one.key))


def test_key_and_certificate_may_be_in_one_file(pair: Pair) -> None:
    pair.certificate.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    check(str(pair.certificate), "")


def test_without_a_key_the_certificate_s_file_has_to_have_it(pair: Pair) -> None:
    with pytest.raises(SettingsError, match=f"^tls.key: {pair.certificate}: no private key in PEM form$"):
        check(str(pair.certificate), "")


def test_a_context_speaks_tls_1_2_and_above_and_does_not_renegotiate(pair: Pair) -> None:
    context = server_context(str(pair.certificate), str(pair.key))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("starts", "ends", "level", "says"),
    [
        (1999, 2001, "warning", "the certificate has expired"),
        (NOW.year + 2, NOW.year + 3, "warning", "the certificate does not hold yet"),
        (NOW.year - 1, NOW.year + 2, "info", "certificate loaded"),
    ],
)
def test_a_certificate_out_of_its_time_is_used_with_a_warning(
    tmp_path: Path, starts: int, ends: int, level: str, says: str
) -> None:
    pair = Authority(tmp_path).issue("server", datetime(starts, 1, 2, tzinfo=UTC), datetime(ends, 1, 2, tzinfo=UTC))
    with capture_logs() as logs:
        certificate = Certificate(Tls(str(pair.certificate), str(pair.key)))
    assert certificate.context("tcps") is not certificate.context("https")
    (entry,) = logs
    assert entry["log_level"] == level
    assert entry["event"].startswith(says)
    assert entry["holds_from"] == f"{starts}-01-02 00:00 UTC"
    assert entry["holds_until"] == f"{ends}-01-02 00:00 UTC"
