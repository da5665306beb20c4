"""The entrance: the password, who has signed in with it, and who has tried too often.

While there is no password, one can be set with a token that was made at the start and is shown to whoever started the
server. The password's hash is in ``console.json`` in the data directory: without that file the server starts as if none
had ever been set. Who has signed in is known in memory only, by the hash of what the browser holds.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from msgspec import Struct

from fastim.core.errors import FastimError, SettingsError
from fastim.runtime.pulse import Meter

NAME = "console.json"
PASSWORD_CHARACTERS_MIN = 10
PASSWORD_CHARACTERS_MAX = 1_024
PASS_SECONDS = 12 * 3_600
IDLE_SECONDS = 2 * 3_600
PASSES_MAX = 64
"""Beyond so many the one that was used longest ago ends."""
WINDOW_SECONDS = 15 * 60
WRONG_MAX = 5
"""Wrong passwords from one address in that time; then it has to wait."""
WRONG_EVERYWHERE = 30
"""Wrong passwords from anywhere in that time; then all who are not known have to take turns."""
TURN_SECONDS = 3
"""How far these are apart."""
WAITING_MAX = 8
"""So many may wait until their password is looked at."""
REMEMBERED_MAX = 10_000
"""Addresses of which it is known how often they were wrong."""
KNOWN_MAX = 256
"""Addresses from which somebody has signed in: those who try from elsewhere do not hold them up."""
TOKEN_BYTES = 32

HASHER: Final = PasswordHasher(time_cost=3, memory_cost=32_768, parallelism=1)
"""Argon2id with 32 MiB: about 50 ms of one core."""


class WrongPassword(FastimError):
    """That is not the password."""


class WrongToken(FastimError):
    """That is not the token with which a password may be set, or it was used."""


class UnfitPassword(FastimError):
    """That cannot be a password; the text says why."""


class LockedOut(FastimError):
    """It was wrong too often, or too many try at once.

    Args:
        wait: Seconds until it may be tried again.
    """

    def __init__(self, wait: int) -> None:
        super().__init__("too many attempts: wait before the next one")
        self.wait = wait


class Pass:
    """Somebody who has signed in.

    Attributes:
        expires_at: Seconds on the entrance's clock.
        used_at: The same: when it was last shown.
    """

    __slots__ = ("expires_at", "name", "used_at")

    def __init__(self, name: bytes, now: float) -> None:
        self.name = name
        self.expires_at = now + PASS_SECONDS
        self.used_at = now


class Kept(Struct, frozen=True):
    """What is in the file."""

    password: str


class Entrance:
    """The entrance of one server's console.

    Args:
        directory: Where the password's hash is; it is there.
        meter: Where the processor time goes that hashing takes.
        seconds: A clock that nobody sets.

    Raises:
        SettingsError: The file is there and cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        meter: Meter,
        seconds: Callable[[], float] = time.monotonic,
        hasher: PasswordHasher = HASHER,
    ) -> None:
        self._path = directory / NAME
        self._meter = meter
        self._seconds = seconds
        self._hasher = hasher
        self._passes: dict[bytes, Pass] = {}
        self._attempts = Attempts(seconds)
        self._turns = asyncio.Lock()
        self._waiting = 0
        self._hash = _read(self._path)
        self._token = "" if self._hash else secrets.token_urlsafe(TOKEN_BYTES)

    @property
    def is_set_up(self) -> bool:
        """Whether there is a password."""
        return self._hash != ""

    @property
    def setup_link(self) -> str:
        """Where a password can be set, below the server's own address; empty when there is one."""
        return f"/console#/setup/{self._token}" if self._token and not self.is_set_up else ""

    async def set_up(self, token: str, password: str) -> str:
        """Set the first password, and sign in whoever did.

        Returns:
            What the browser is to keep.

        Raises:
            WrongToken: That is not the token, or there is a password.
            UnfitPassword: The password is too short or too long; the token is as good as before.
            OSError: It could not be stored; likewise.
        """
        async with self._turns:
            if self.is_set_up or not self._token or not _same(token, self._token):
                raise WrongToken("this link is not valid any more")
            await self._keep(password)
            self._token = ""
            return self._admit()

    async def sign_in(self, address: str, password: str) -> str:
        """Sign in.

        Returns:
            What the browser is to keep.

        Raises:
            WrongPassword: That is not it.
            LockedOut: It was wrong too often.
        """
        attempt = self._attempts.begin(address)
        await self._require(password)
        self._attempts.forgive(address, attempt)
        return self._admit()

    async def change_password(self, address: str, old: str, new: str, mine: Pass) -> None:
        """Set another password; everybody but ``mine`` has to sign in again.

        Raises:
            WrongPassword: ``old`` is not the password.
            LockedOut: It was wrong too often.
            UnfitPassword: ``new`` is too short or too long.
            OSError: It could not be stored.
        """
        _require_fit(new)
        attempt = self._attempts.begin(address)
        await self._require(old)
        self._attempts.forgive(address, attempt)
        async with self._turns:
            await self._keep(new)
            self._passes = {name: one for name, one in self._passes.items() if one is mine}

    def find(self, secret: str, *, used: bool = True) -> Pass | None:
        """Who holds ``secret``; ``None`` when nobody does, or not any more.

        Args:
            used: Somebody is there who uses it: only a page that is open asks otherwise.
        """
        if not secret:
            return None
        name = _name(secret)
        found = self._passes.get(name)
        if found is None:
            return None
        now = self._seconds()
        if now >= found.expires_at or now - found.used_at >= IDLE_SECONDS:
            del self._passes[name]
            return None
        if used:
            found.used_at = now
        return found

    def is_locked_out(self, address: str) -> bool:
        """Whether it was wrong too often from there."""
        return self._attempts.is_locked_out(address)

    def seconds_left(self, one: Pass) -> float:
        """How long it is good for at most, even when it is used."""
        return one.expires_at - self._seconds()

    def sign_out(self, one: Pass) -> None:
        """It is worth nothing any more."""
        self._passes.pop(one.name, None)

    def _admit(self) -> str:
        secret = secrets.token_urlsafe(TOKEN_BYTES)
        one = Pass(_name(secret), self._seconds())
        self._passes[one.name] = one
        if len(self._passes) > PASSES_MAX:
            del self._passes[min(self._passes.values(), key=lambda other: other.used_at).name]
        return secret

    async def _require(self, password: str) -> None:
        if self._waiting >= WAITING_MAX:
            raise LockedOut(1)
        self._waiting += 1
        try:
            async with self._turns:
                if not await self._meter.in_thread(lambda: self._fits(password)):
                    raise WrongPassword("that is not the password")
        finally:
            self._waiting -= 1

    def _fits(self, password: str) -> bool:
        if len(password) > PASSWORD_CHARACTERS_MAX:
            return False
        try:
            return self._hasher.verify(self._hash, _encoded(password))
        except VerifyMismatchError:
            return False

    async def _keep(self, password: str) -> None:
        _require_fit(password)
        self._hash = await self._meter.in_thread(lambda: _write(self._path, self._hasher.hash(_encoded(password))))


class Attempts:
    """Who was wrong how often lately. A network of IPv6 that one customer gets counts as one address."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._wrong: dict[str, deque[float]] = {}
        self._everywhere: deque[float] = deque(maxlen=WRONG_EVERYWHERE)
        self._last_turn = -float(TURN_SECONDS)
        self._known: dict[str, None] = {}

    def begin(self, address: str) -> float:
        """Note an attempt, which counts as wrong until it is forgiven: of many at once no more than so many are made.

        Raises:
            LockedOut: It cannot be made now.
        """
        now, party = self._seconds(), _party(address)
        wrong = self._wrong_of(party)
        if len(wrong) >= WRONG_MAX:
            raise LockedOut(_up(wrong[0] + WINDOW_SECONDS - now))
        crowded = len(self._everywhere) == WRONG_EVERYWHERE and self._everywhere[0] > now - WINDOW_SECONDS
        if crowded and party not in self._known:
            if now < self._last_turn + TURN_SECONDS:
                raise LockedOut(_up(self._last_turn + TURN_SECONDS - now))
            self._last_turn = now
        wrong.append(now)
        self._everywhere.append(now)
        self._wrong.pop(party, None)
        self._wrong[party] = wrong  # as the last one
        if len(self._wrong) > REMEMBERED_MAX:
            del self._wrong[next(iter(self._wrong))]
        return now

    def is_locked_out(self, address: str) -> bool:
        """Whether it was wrong too often from there."""
        return len(self._wrong_of(_party(address))) >= WRONG_MAX

    def forgive(self, address: str, attempt: float) -> None:
        """It was right, so those before it were slips."""
        party = _party(address)
        self._wrong.pop(party, None)
        if attempt in self._everywhere:
            self._everywhere.remove(attempt)
        self._known.pop(party, None)
        self._known[party] = None
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def _wrong_of(self, party: str) -> deque[float]:
        """When it was wrong from there, without what is long past."""
        wrong = self._wrong.get(party, deque[float]())
        while wrong and wrong[0] <= self._seconds() - WINDOW_SECONDS:
            wrong.popleft()
        return wrong


def _party(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped is not None else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _up(seconds: float) -> int:
    return max(1, int(-(-seconds // 1)))


def _name(secret: str) -> bytes:
    return hashlib.sha256(_encoded(secret)).digest()


def _same(given: str, expected: str) -> bool:
    """Compare without telling by the time it takes how much of it is right."""
    return hmac.compare_digest(_encoded(given), expected.encode())


def _encoded(text: str) -> bytes:
    """As bytes, also where JSON has let half of a character through."""
    return text.encode(errors="surrogatepass")


def _require_fit(password: str) -> None:
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise UnfitPassword(f"a password has at least {PASSWORD_CHARACTERS_MIN} characters")
    if len(password) > PASSWORD_CHARACTERS_MAX:
        raise UnfitPassword(f"a password has at most {PASSWORD_CHARACTERS_MAX} characters")


def _read(path: Path) -> str:
    """The password's hash; empty when there is none."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Kept).password
        HASHER.check_needs_rehash(found)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeError, InvalidHashError, VerificationError) as error:
        raise SettingsError(f"{path} does not hold a password; delete it to set a new one") from error
    return found


def _write(path: Path, hashed: str) -> str:
    """Store the password's hash, all of it or nothing, and return it."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.encode(Kept(hashed)))
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return hashed
