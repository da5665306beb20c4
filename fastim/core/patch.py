"""Patches: a sender changes a message that it has sent, or takes it back."""

from msgspec.structs import replace

from fastim.core.admit import require_size, require_voice
from fastim.core.commands import PatchMessage
from fastim.core.errors import MessageNotFound, MessageNotOwned, ModifyDisabled, RecallDisabled
from fastim.core.message import Message
from fastim.core.permission import Asker
from fastim.core.policy import Policy
from fastim.core.units import Millis

RECALLED_BODY = b'{"_lctype":-127}'
"""What is left of a message that was recalled. JS knows it by the type, Java and C# parse it.

Source: wire protocol, modify and recall.
"""


def patch(message: Message | None, asker: Asker, command: PatchMessage, policy: Policy, now: Millis) -> Message:
    """``message`` as members see it from now on; when it is to be patched is the store's to say.

    Recalling twice equals recalling once, so a resent command is harmless: then it is ``message`` itself.
    The application may do in a client's name what its own switches keep clients from. Source: semantics, rule 8.7.

    Raises:
        MessageNotFound: There is none there; or it was recalled, and there is nothing left to modify.
        MessageNotOwned: ``asker`` did not send it.
        RecallDisabled, ModifyDisabled: The application does not let clients do that.
        MessageTooLong: The new body, with what comes with it, is over the limit.
        Silenced, SilencedForATime: ``asker`` may not speak there, and a new body is speech. It may recall.
    """
    if message is None:
        raise MessageNotFound
    if message.sender != asker.client_id:
        raise MessageNotOwned
    return _recalled(message, asker, policy) if command.recall else _modified(message, asker, command, policy, now)


def _recalled(message: Message, asker: Asker, policy: Policy) -> Message:
    if not asker.privileged and not policy.recall_enabled:
        raise RecallDisabled
    if message.recalled:
        return message
    return replace(message, body=RECALLED_BODY, binary=False, mention_all=False, mentions=(), recalled=True)


def _modified(message: Message, asker: Asker, command: PatchMessage, policy: Policy, now: Millis) -> Message:
    if not asker.privileged and not policy.modify_enabled:
        raise ModifyDisabled
    require_size(command.size_bytes, policy)
    require_voice(asker, now)
    if message.recalled:
        raise MessageNotFound("it was recalled")
    return replace(
        message,
        body=command.body,
        binary=command.binary,
        mention_all=command.mention_all,
        mentions=tuple(dict.fromkeys(command.mentions)),
    )
