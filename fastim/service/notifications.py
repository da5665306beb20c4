"""Notifications: what happened to a client, and in its conversations, while it was away."""

from msgspec import Struct

from fastim.core.commands import QueryNotices
from fastim.core.notice import Notice, told_once
from fastim.core.policy import NOTICES_PAGE
from fastim.core.replies import Notices
from fastim.core.session import Session
from fastim.core.units import Millis
from fastim.service.io import Io

PERMANENT_MAX = 10_000
"""Notices about the client itself in one answer that is to have them all; its next question has the rest."""
DROPPABLE_MAX = 2_000
"""Other notices in such an answer: where there are more, loading the conversations anew is less work for a client."""


class Missed(Struct, frozen=True):
    """Everything that happened, oldest first.

    Attributes:
        forgotten: There was so much that only what is permanent is here.
    """

    notices: tuple[Notice, ...]
    forgotten: bool


async def query_notices(io: Io, session: Session, command: QueryNotices) -> Notices:
    """A page of what happened after a moment."""
    return await notices_since(io, session.client_id, command.since)


async def notices_since(io: Io, client_id: str, since: Millis) -> Notices:
    """A page of what happened to ``client_id``, and in its conversations, after ``since``.

    There is more only after something: JS goes on from the last notice of a page, and would ask for ever without one.
    Source: wire protocol, reliable notifications.
    """
    while True:
        found, more = await io.store.notices_for(client_id, since, NOTICES_PAGE)
        page = told_once(found, client_id)
        if page or not (more and found):
            return Notices(tuple(page), more and bool(page))
        since = found[-1].at
        await io.pace.breathe()


async def all_notices_since(io: Io, client_id: str, since: Millis) -> Missed:
    """Everything at once: Swift reads one answer only. Source: wire protocol, reliable notifications."""
    notices: list[Notice] = []
    permanent = 0
    forgotten = False
    more = True
    while more and permanent < PERMANENT_MAX:
        page = await notices_since(io, client_id, since)
        notices.extend(notice for notice in page.notices if notice.permanent or not forgotten)
        permanent += sum(notice.permanent for notice in page.notices)
        if not forgotten and len(notices) - permanent > DROPPABLE_MAX:
            forgotten = True
            notices = [notice for notice in notices if notice.permanent]
        more = page.more
        since = page.notices[-1].at if page.notices else since
        await io.pace.breathe()
    return Missed(tuple(notices), forgotten)
