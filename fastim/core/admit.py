"""Admission: may this message be sent, and what becomes of what was asked for with it?"""

from fastim.core.commands import Send
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import MessageTooLong, SendingNotAllowed, Silenced, SilencedForATime
from fastim.core.ids import personal_log
from fastim.core.message import Draft
from fastim.core.permission import Asker, permitted
from fastim.core.policy import Policy
from fastim.core.session import Config
from fastim.core.units import Millis

HIGH_PRIORITY = 1
NORMAL_PRIORITY = 2
LOW_PRIORITY = 3

_PRIORITIES = (HIGH_PRIORITY, NORMAL_PRIORITY, LOW_PRIORITY)
_RECEIPTS_WITHIN = 2
"""Members of a conversation in which receipts can be asked for. Source: semantics, rule 6.1."""


def admit(
    conversation: Conversation | None,
    asker: Asker,
    command: Send,
    policy: Policy,
    now: Millis,
    address: str = "",
    config: Config = Config(0),
) -> tuple[Conversation, Draft]:
    """What ``asker`` may send, and where.

    What was asked for and cannot be had is left out, never refused: SDKs send one set of options everywhere. So a
    transient message is neither receipted nor pushed, whatever it says. Source: semantics, rules 6.1 and 5.31, and the
    last row of section 16.

    Args:
        address: The IP address that it came from, or empty.
        config: What the sender's device can do.

    Raises:
        MessageTooLong: The message, with all that travels with it, is over the limit.
        InvalidTarget: There is no such conversation, or ``asker`` is not a member.
        Silenced: It may not speak there; ``SilencedForATime``: for now.
        Blocked: It is blocked there.
        SendingNotAllowed: The application itself would leave a will, but has no session that could be lost.
    """
    require_size(command.size_bytes, policy)
    target = permitted(conversation, asker, command)
    require_voice(asker, now)
    if command.will and asker.privileged:
        raise SendingNotAllowed("only a session can leave a will")
    return target, Draft(
        sender=asker.client_id,
        body=command.body,
        binary=command.binary,
        token=command.token,
        receipt=_receipted(target, command, config),
        mention_all=command.mention_all,
        mentions=tuple(dict.fromkeys(command.mentions)),
        address=address,
    )


def require_size(size_bytes: int, policy: Policy) -> None:
    """Raise ``MessageTooLong`` for a message, or what takes its place, of more than it may have."""
    if size_bytes > policy.message_bytes:
        raise MessageTooLong(f"{size_bytes} bytes of at most {policy.message_bytes}")


def require_voice(asker: Asker, now: Millis) -> None:
    """Raise ``Silenced`` or ``SilencedForATime`` for whom they concern."""
    if asker.privileged:
        return
    if asker.standing.silenced:
        raise Silenced
    if asker.standing.silenced_until > now:
        raise SilencedForATime


def priority(conversation: Conversation, command: Send) -> int:
    """The message's priority: as asked for in a chat room, normal elsewhere. Source: semantics, rules 5.30 and 5.31."""
    if conversation.kind is Kind.CHAT_ROOM and command.priority in _PRIORITIES:
        return command.priority
    return NORMAL_PRIORITY


def home(conversation: Conversation, asker: Asker) -> str:
    """The log that ``asker``'s messages go to.

    What a client tells a service is for the service alone; what the application says there is for every subscriber.
    Source: semantics, rules 1.14 and 1.16.
    """
    if conversation.kind is Kind.SYSTEM and not asker.privileged:
        return personal_log(conversation.id, asker.client_id)
    return conversation.id


def _receipted(conversation: Conversation, command: Send, config: Config) -> bool:
    if not command.receipt or command.transient or command.will:
        return False
    if conversation.kind not in (Kind.NORMAL, Kind.TEMPORARY):
        return False
    return len(conversation.members) <= _RECEIPTS_WITHIN or Config.GROUP_RECEIPTS in config
