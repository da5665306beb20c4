"""Notices as SDKs read them: the JSON of ``/rtm/notifications``, in each of its two shapes.

Both SDKs are given what happened to the client and what happened in its conversations; which of it is kept for how long
is decided elsewhere. Source: wire protocol, reliable notifications over REST.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from fastim.core.notice import Notice
from fastim.core.replies import Notices
from fastim.wire.codec.parts import RELIABLE

RECEIPT = "rcp"


def notices_of_js(page: Notices) -> dict[str, Any]:
    """A page as JS asks for it, with ``notification_type=permanent``; our own client reads the same items.

    JS makes a command of each item, so operations are spelled as in the protocol and attributes are JSON in JSON.
    ``hasMore`` needs an item to go on from: without one JS would ask again for ever.
    """
    return {
        "notifications": [_js_item(notice) for notice in page.notices],
        "hasMore": page.more and len(page.notices) > 0,
    }


def notices_of_swift(notices: Iterable[Notice], *, forgotten: bool = False) -> dict[str, Any]:
    """Everything as Swift asks for it, without a type; it reads one answer only, so there is never more.

    Args:
        notices: Oldest first.
        forgotten: Some that were not permanent are gone: what Swift holds of conversations is to be loaded again.
    """
    permanent: list[dict[str, Any]] = []
    droppable: list[dict[str, Any]] = []
    for notice in notices:
        (permanent if notice.permanent else droppable).append(_swift_item(notice))
    rest: dict[str, Any] = {"invalidLocalConvCache": True} if forgotten else {"notifications": droppable}
    return {"permanent": {"notifications": permanent, "hasMore": False}, "droppable": rest}


def _js_item(notice: Notice) -> dict[str, Any]:
    item = _item(notice, notice.op)
    item["notificationType"] = RELIABLE
    for key in ("attr", "attrModified"):
        if key in item:
            item[key] = {"data": msgspec.json.encode(item[key]).decode()}
    return item


def _swift_item(notice: Notice) -> dict[str, Any]:
    return _item(notice, notice.op.replace("_", "-"))


def _item(notice: Notice, op: str) -> dict[str, Any]:
    item: dict[str, Any] = {**notice.fields, "cid": notice.conversation_id, "serverTs": notice.at}
    if notice.op == RECEIPT:
        item["cmd"] = "rcp"
        if notice.by:
            item.setdefault("from", notice.by)
        return item
    item["cmd"], item["op"] = "conv", op
    if notice.by:
        item["initBy"] = notice.by
    if notice.clients:
        item["m"] = list(notice.clients)
    return item
