"""A message's story: what is remembered of it, and what the store knows."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from fastim.core.ids import made_at
from fastim.doors.http.console.calls import APPLICATION, Asked, BadRequest, Call, Nothing
from fastim.doors.http.console.conversations import KIND_NAMES, KindName, said
from fastim.runtime.story import Step
from fastim.service.io import Io
from fastim.service.stories import Found, find_message, reached, search_message, waiting_pushes


class Query(Struct, frozen=True):
    """Where the message is: its conversation, or ``CONVERSATION/CLIENT``; empty: that has to be found out."""

    conversation_id: Annotated[str, Meta(max_length=120)] = ""


class Story(Struct, frozen=True):
    """What became of a message.

    Attributes:
        found: Whether anything is known of it.
        remembered: Whether it is one of the last messages; else only the store can say something.
        conversation_id: Empty when it is not known.
        durable: What the store knows: the message; among its members, how far it has got; what waits to be pushed of
            it. ``None``: it is not stored, or not any more.
        steps: In the order in which they happened.
        left_out: Steps that there were too many of.
    """

    id: str
    found: bool
    remembered: bool
    conversation_id: str
    kind: KindName | None
    made_at: int
    durable: dict[str, Any] | None
    steps: tuple[Step, ...]
    left_out: int


async def _tell(asked: Asked[Query, Nothing]) -> Story:
    message_id = asked.path["mid"]
    made = made_at(message_id)
    if made is None:
        raise BadRequest("that is no message id: it has 22 letters, digits, - and _")
    stories = asked.tenant.stories
    told = None if stories is None else stories.tell(message_id)
    found = None
    if asked.query.conversation_id:
        found = await find_message(asked.io, message_id, asked.query.conversation_id)
    if found is None and told is not None:
        found = await find_message(asked.io, message_id, told.log_id)
    elif found is None and not asked.query.conversation_id:
        found = await search_message(asked.io, message_id)
    kind = told.kind if told is not None else None
    if found is not None:
        kind = found.conversation.kind
    return Story(
        id=message_id,
        found=told is not None or found is not None,
        remembered=told is not None,
        conversation_id=told.conversation_id if told else found.conversation.id if found else "",
        kind=None if kind is None else KIND_NAMES[kind],
        made_at=made,
        durable=None if found is None else await _durable(asked.io, found),
        steps=told.steps if told else (),
        left_out=told.left_out if told else 0,
    )


async def _durable(io: Io, found: Found) -> dict[str, Any]:
    """What the store knows, each fact by its name, and nothing that is not so.

    Whom it was delivered to is only noted of messages whose senders want to know.
    """
    members = await reached(io, found)
    waiting = await waiting_pushes(io, found.message.id)
    facts = {
        "conversation_id": found.conversation.id,
        "kind": KIND_NAMES[found.conversation.kind],
        "sequence": found.message.sequence,
        "members": len(found.conversation.members) or None,
        "delivered_to": [one.client_id for one in members if one.delivered] if found.message.receipt else None,
        "read_by": [one.client_id for one in members if one.read] if members else None,
        "pushes_to_work_out": waiting.job or None,
        "pushes_waiting": waiting.pushes or None,
    }
    return {
        **msgspec.to_builtins(said(found.message)),
        **{name: fact for name, fact in facts.items() if fact is not None},
    }


CALLS: tuple[Call[Any, Any], ...] = (Call("GET", f"{APPLICATION}/messages/{{mid}}/story", _tell, query=Query),)
