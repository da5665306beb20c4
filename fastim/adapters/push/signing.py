"""Signed tokens: what tells a provider who asks. It needs the extra ``push``, as everything that imports it."""

from typing import Any, Final, Literal

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from fastim.core.errors import SettingsError

Algorithm = Literal["ES256", "RS256"]


class SigningKey:
    """A private key.

    Args:
        pem: The key, unencrypted.
        algorithm: What it has to be good for.
        where: The setting and the file that it is from, for the error.

    Raises:
        SettingsError: It is not such a key.
    """

    def __init__(self, pem: bytes, algorithm: Algorithm, where: str) -> None:
        kind = "P-256" if algorithm == "ES256" else "RSA"
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SettingsError(f"{where}: no private key in PEM form without a password") from error
        if isinstance(key, ec.EllipticCurvePrivateKey):
            if algorithm != "ES256" or not isinstance(key.curve, ec.SECP256R1):
                raise SettingsError(f"{where}: not a {kind} key")
        elif not isinstance(key, rsa.RSAPrivateKey) or algorithm != "RS256":
            raise SettingsError(f"{where}: not a {kind} key")
        self._key: Final = key
        self._algorithm: Final = algorithm

    def sign(self, claims: dict[str, Any], headers: dict[str, Any] | None = None) -> str:
        """A JWT that says ``claims``."""
        return jwt.encode(claims, self._key, algorithm=self._algorithm, headers=headers)

    @property
    def public_point(self) -> bytes:
        """The public key of an ES256 key as browsers take it: 65 bytes. Source: RFC 8292, section 3.2."""
        return self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
