"""Encryption for one browser. Source: RFC 8291. It needs the extra ``push``, as everything that imports it."""

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec

AUTH_BYTES = 16


class NotAKey(ValueError):
    """The browser's keys are none."""


def encrypt(text: bytes, p256dh: bytes, auth: bytes, record_bytes: int) -> bytes:
    """``text`` in the form ``aes128gcm``, which only the browser can read.

    Args:
        p256dh: The browser's public key, an uncompressed point.
        auth: Its secret.
        record_bytes: At most this long a record; ``text`` fits into one.

    Raises:
        NotAKey: ``p256dh`` or ``auth`` is not what it should be.
    """
    if len(auth) != AUTH_BYTES:
        raise NotAKey
    try:
        browser = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
    except ValueError as error:
        raise NotAKey from error
    once = ec.generate_private_key(ec.SECP256R1())
    sealed: bytes = http_ece.encrypt(
        text, private_key=once, dh=browser, auth_secret=auth, rs=record_bytes, version="aes128gcm"
    )
    return sealed
