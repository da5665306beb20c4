"""Admission: may this message be sent?"""

from fastim.core.commands import Send
from fastim.core.conversation import Conversation
from fastim.core.errors import InternalError, MessageTooLong
from fastim.core.message import Draft
from fastim.core.permission import permitted
from fastim.core.policy import Policy


def admit(conversation: Conversation | None, sender: str, command: Send, policy: Policy) -> tuple[Conversation, Draft]:
    """What ``sender`` may send, and where.

    Raises:
        MessageTooLong: The message, with all that travels with it, is over the limit.
        InvalidTarget: There is no such conversation, or ``sender`` is not a member.
        InternalError: It is a will, which this version does not keep.
    """
    if command.size_bytes > policy.message_bytes:
        raise MessageTooLong(f"{command.size_bytes} bytes of at most {policy.message_bytes}")
    target = permitted(conversation, sender, command)
    if command.will:
        raise InternalError("will messages are not available")
    return target, Draft(
        sender=sender,
        body=command.body,
        binary=command.binary,
        token=command.token,
        receipt=command.receipt and not command.transient,
        mention_all=command.mention_all,
        mentions=tuple(dict.fromkeys(command.mentions)),
    )
