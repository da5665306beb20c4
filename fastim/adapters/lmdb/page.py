"""One answer's notices, gathered from where they are kept: the client's own, and those of its conversations."""

from __future__ import annotations

import lmdb

from fastim.adapters.lmdb.environment import Tables
from fastim.adapters.lmdb.keys import APPLICATION_BYTES, MOMENT_BYTES, after_application, application_key, moment_key
from fastim.adapters.lmdb.records import decode_notice
from fastim.core.ids import AppNumber
from fastim.core.notice import Notice
from fastim.core.units import Millis


class NoticePage:
    """The oldest notices after a moment: at most ``limit`` of them, then the rest of the last one's millisecond.

    What is written while it is gathered, in one slice after another, is later than what there was at the beginning, and
    is left to the next page: else this one could reach past a notice that was not there when its place was looked at.

    Args:
        number: The application's.
        since: Only later ones are wanted.
    """

    def __init__(self, number: AppNumber, since: Millis, limit: int) -> None:
        self._application = application_key(number)
        self._behind = after_application(number)
        self._start = moment_key(since + 1)
        self._limit = limit
        self._gathered: list[tuple[bytes, bytes]] = []
        self._end = b""
        self._more = False

    def begin(self, transaction: lmdb.Transaction[bytes], tables: Tables, owner: bytes) -> None:
        """Gather those of ``owner``, the client."""
        cursor = transaction.cursor(tables.notice_times)
        found = cursor.prev() if cursor.set_range(self._behind) else cursor.last()
        if found and cursor.key().startswith(self._application) and self._limit > 0:
            self._end = cursor.key()[APPLICATION_BYTES : APPLICATION_BYTES + MOMENT_BYTES]
        self.gather(transaction, tables, owner, Millis(0))

    def gather(self, transaction: lmdb.Transaction[bytes], tables: Tables, owner: bytes, from_moment: Millis) -> None:
        """Gather those of ``owner`` from a moment on, as far as there is room for them."""
        prefix = self._application + owner
        start = max(self._start, moment_key(from_moment))
        cursor = transaction.cursor(tables.notices)
        more = cursor.set_range(prefix + start)
        gathered = 0
        last = b""
        while more and cursor.key().startswith(prefix):
            moment = cursor.key()[len(prefix) : len(prefix) + MOMENT_BYTES]
            if moment > self._end or (gathered >= self._limit and moment != last):
                self._more = True
                break
            self._gathered.append((moment, cursor.value()))
            gathered, last = gathered + 1, moment
            more = cursor.next()
        if len(self._gathered) > 2 * self._limit:
            self._trim()

    def finish(self) -> tuple[list[Notice], bool]:
        """The notices, and whether there are more."""
        self._trim()
        return [decode_notice(record) for _, record in self._gathered], self._more

    def _trim(self) -> None:
        """Leave out what is behind the last one's millisecond."""
        self._gathered.sort(key=lambda one: one[0])
        if len(self._gathered) > self._limit > 0:
            self._end = self._gathered[self._limit - 1][0]
            kept = [one for one in self._gathered if one[0] <= self._end]
            self._more = self._more or len(kept) < len(self._gathered)
            self._gathered = kept
