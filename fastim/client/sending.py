"""Sending a message, and what becomes of it when that fails; see ``Conversation.send``."""

from contextlib import suppress

import anyio

from fastim.client.drafts import Draft
from fastim.client.errors import ClientError, Refused, UnexpectedReply
from fastim.client.session import Session
from fastim.client.values import Message
from fastim.wire import messages2_pb2 as pb


async def send(session: Session, draft: Draft) -> Message:
    """Send ``draft``, and keep it if nobody knows whether it was sent.

    Transient messages and wills are not kept: they belong to a moment, or to a session, that is over.

    Raises:
        Refused: The server does not take it.
        ClientError: The connection was lost, or the client is over.
    """
    lasting = not (draft.transient or draft.will)
    try:
        reply = await session.call(draft.command(), (pb.ack, None), repeatable=not draft.transient)
    except (Refused, UnexpectedReply):
        raise
    except (ClientError, anyio.get_cancelled_exc_class()) as error:
        if lasting:
            await _keep(session, draft, error)
        raise
    # A message that stays in the file although it was sent does no harm: its token is known to the server.
    with suppress(OSError):
        await session.kept.forget(draft)
    return draft.stored(reply.ackMessage, session.client_id)


async def _keep(session: Session, draft: Draft, error: BaseException) -> None:
    why = str(error) if isinstance(error, ClientError) else "it was given up"
    try:
        await session.kept.keep(draft, why)
    except OSError as fault:
        error.add_note(f"the message is kept in memory only: {fault}")
