"""Pushing: whose being offline is remembered with a message, and who is sent what when its turn comes.

In the send path a job is all there is: it names who was offline. What they are sent is worked out later, beside the
chat, where a hook may take its time. When that is, and what becomes of notifications, is the outbox's business.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from fastim.core.commands import Send
from fastim.core.conversation import Conversation, Kind
from fastim.core.hooked import content_of
from fastim.core.hooks import OfflineAnswer, ReceiversOffline
from fastim.core.ids import is_client_id, log_owner, personal_log
from fastim.core.message import Draft, Message, Position
from fastim.core.push import EXPIRY_MILLIS, Content, Job, Notification, Occasion, carried, chosen, whole
from fastim.core.units import Millis
from fastim.service.finding import find_living
from fastim.service.io import Io

DEVICES_MAX = 100
"""Devices that one client is pushed to, the newest: anybody can make up some more."""

PAGE = 1_000
"""Clients whom a hook is asked about at once, where they are not the members of one conversation."""

PART = 500
"""Notifications that are put into the outbox at once."""


NO_BADGES: Final[Mapping[str, int]] = MappingProxyType({})


class Part(Struct, frozen=True):
    """Some of what a message's receivers are to be sent.

    Attributes:
        job: As it is once this part is in the outbox, unless this is the last.
        badges: What the badge of these installations is then.
        last: Then the job is done.
    """

    job: Job
    notifications: tuple[Notification, ...] = ()
    badges: dict[str, int] = {}
    last: bool = True


def push_job(
    io: Io, conversation: Conversation, log_id: str, draft: Draft, command: Send, receivers: Sequence[str] | None = None
) -> Job | None:
    """What is to be kept with a message so that those receivers who are offline can be pushed it; ``None``: nothing.

    Who has a session on any device is online. Source: semantics, rule 10.1.

    Args:
        log_id: Where the message goes.
        receivers: Who gets it; ``None``: the members of a normal or temporary conversation, the owner of a personal
            log, all subscribers of a service conversation. Its sender is never among them.

    Returns:
        The job, without the message's id and timestamp.
    """
    if command.transient or command.will or conversation.kind is Kind.CHAT_ROOM:
        return None
    if not io.pusher.wants(command.push_data):
        return None
    owner = log_owner(log_id)[1]
    to_subscribers = receivers is None and conversation.kind is Kind.SYSTEM and not owner
    if receivers is None:
        receivers = (owner,) if owner else conversation.members
    offline = _offline(io, [one for one in dict.fromkeys(receivers) if one != draft.sender])
    if not offline and not to_subscribers:
        return None
    return Job("", conversation.id, log_id, Millis(0), offline, command.push_data, to_subscribers)


async def expand(io: Io, job: Job, badges: Mapping[str, int] = NO_BADGES) -> AsyncGenerator[Part, None]:
    """Who is sent what, a part at a time; each has to be in the outbox before the next is asked for.

    The last part says so; it may be empty. Nothing is sent when the message or its conversation is gone, or the message
    was recalled.

    Args:
        badges: What is on its way to the store, from parts of other jobs: the badge of these installations is this
            instead of what the store says.

    Raises:
        HookFailed: ``_receiversOffline`` has to be asked and does not answer; the job can be expanded again, from where
            its parts have got to.
    """
    conversation = await find_living(io, job.conversation_id)
    turn = None if conversation is None else await _turn(io, conversation, job)
    while conversation is not None and turn is not None:
        content, clients = await _decide(io, conversation, job, turn)
        made = _Made()
        if content is not None:
            to_webhook = whole(content) if io.policy.push_webhook else ""
            for client_id in clients:
                if len(made.notifications) >= PART:
                    yield made.part(job, last=False)
                await io.pace.breathe()
                await _notify(io, job, content, client_id, badges, made)
                if to_webhook:
                    made.notifications.append(_for_webhook(job, client_id, to_webhook))
        job = replace(job, reached=turn.reached)
        if turn.last:
            yield made.part(job, last=True)
            return
        if made.notifications:
            yield made.part(job, last=False)
        turn = await _turn(io, conversation, job)
    yield Part(job)


class _Turn(Struct, frozen=True):
    """Some of those who were offline.

    Attributes:
        reached: What the job has reached with it.
    """

    message: Message
    offline: tuple[str, ...]
    reached: str
    last: bool


class _Made:
    """What was made of a turn, and is not yet handed out.

    Attributes:
        seen: Devices that have had theirs: two clients may share one.
    """

    def __init__(self) -> None:
        self.notifications: list[Notification] = []
        self.badges: dict[str, int] = {}
        self.seen: set[str] = set()

    def part(self, job: Job, *, last: bool) -> Part:
        part = Part(job, tuple(self.notifications), dict(self.badges), last)
        self.notifications.clear()
        self.badges.clear()
        return part


def _offline(io: Io, client_ids: Sequence[str]) -> tuple[str, ...]:
    online = io.directory.online(client_ids)
    if len(online) == len(client_ids):
        return ()
    known = frozenset(online)
    return tuple([client_id for client_id in client_ids if client_id not in known])


async def _turn(io: Io, conversation: Conversation, job: Job) -> _Turn | None:
    """Who is next; ``None`` when nobody is to hear of it any more."""
    if log_owner(job.log_id)[1]:
        return await _personal_turn(io, job)
    message = await _find_message(io, job, job.log_id)
    if message is None:
        return None
    if job.to_subscribers:
        return await _subscribers_turn(io, job, message)
    if conversation.kind is not Kind.SYSTEM:
        members = frozenset(conversation.members)
        return _Turn(message, tuple([one for one in job.offline if one in members]), job.reached, last=True)
    return _Turn(message, job.offline, job.reached, last=True)


async def _personal_turn(io: Io, job: Job) -> _Turn | None:
    """Of what was written to some, each has a copy, which can be taken back by itself."""
    message: Message | None = None
    offline: list[str] = []
    for client_id in job.offline:
        found = await _find_message(io, job, personal_log(job.conversation_id, client_id))
        if found is not None:
            message = message or found
            offline.append(client_id)
    return None if message is None else _Turn(message, tuple(offline), job.reached, last=True)


async def _subscribers_turn(io: Io, job: Job, message: Message) -> _Turn:
    """The next of the subscribers, but for its sender.

    When they subscribed does not count: that time may run ahead of the clock, and whoever subscribed just before the
    message is not to miss it.
    """
    await io.pace.breathe()
    page = await io.store.subscriptions(job.conversation_id, job.reached, PAGE)
    meant = [one.client_id for one in page if one.client_id != message.sender]
    reached = page[-1].client_id if page else job.reached
    return _Turn(message, _offline(io, meant), reached, last=len(page) < PAGE)


async def _find_message(io: Io, job: Job, log_id: str) -> Message | None:
    """The message as it is now, unless it was recalled."""
    position = Position(job.timestamp, job.message_id)
    if job.sequence:
        found = await io.store.messages_from(log_id, job.sequence, 1)
        message = next((one for one in found if one.position == position and not one.deleted), None)
    else:
        message = await io.store.find_message(log_id, position)
    return None if message is None or message.recalled else message


async def _decide(io: Io, conversation: Conversation, job: Job, turn: _Turn) -> tuple[Content | None, Sequence[str]]:
    """What is pushed, and to whom. Source: semantics, rules 10.1, 10.2, 10.10 and 10.11."""
    answer = await _ask(io, conversation, turn)
    if answer.skip:
        return None, ()
    occasion = Occasion(conversation.id, turn.message.timestamp, turn.message.sender)
    content = chosen(answer.push_message, job.content, io.policy.push_static, occasion)
    if content is None:
        return None, ()
    clients: Sequence[str] = turn.offline
    if answer.offline_peers is not None:
        named = filter(is_client_id, dict.fromkeys(answer.offline_peers))
        clients = list(named)[: max(PAGE, len(turn.offline))]
    return content, clients if job.muted_too or answer.force else await _unmuted(io, conversation, clients)


_NO_ANSWER: Final = OfflineAnswer()


async def _ask(io: Io, conversation: Conversation, turn: _Turn) -> OfflineAnswer:
    """The hook's answer; it hears of everybody who is offline, with a device or without, whoever has muted it."""
    if not turn.offline or not io.hooks.defines(ReceiversOffline):
        return _NO_ANSWER
    message = turn.message
    mentioned = frozenset(() if message.mention_all else message.mentions)
    question = ReceiversOffline(
        from_peer=message.sender,
        conversation_id=conversation.id,
        offline_peers=turn.offline,
        content=content_of(message),
        timestamp=message.timestamp,
        mention_all=message.mention_all,
        mention_offline_peers=tuple(one for one in turn.offline if one in mentioned),
    )
    return await io.hooks.ask(question)


async def _unmuted(io: Io, conversation: Conversation, clients: Sequence[str]) -> list[str]:
    """Those of ``clients`` who want to be pushed what is said there."""
    if conversation.kind is not Kind.SYSTEM:
        muted = frozenset(conversation.muted)
        return [client_id for client_id in clients if client_id not in muted]
    if not conversation.regulated:
        return list(clients)
    unmuted = []
    for client_id in clients:
        await io.pace.breathe()
        if not (await io.store.find_standing(conversation.id, client_id)).muted:
            unmuted.append(client_id)
    return unmuted


async def _notify(io: Io, job: Job, content: Content, client_id: str, badges: Mapping[str, int], made: _Made) -> None:
    """One notification for each device of the client's that there is something for."""
    found = await io.store.installations_of(client_id)
    if not found:
        return
    devices = [device for device in found if device.valid]
    expires_at = Millis(job.timestamp + EXPIRY_MILLIS)
    for device in devices[-DEVICES_MAX:]:
        if device.id in made.seen:
            continue
        made.seen.add(device.id)
        badge = badges.get(device.id)
        payload = carried(content, device if badge is None else replace(device, badge=badge))
        if payload is None:
            continue
        made.notifications.append(
            Notification(
                device.id,
                job.message_id,
                job.conversation_id,
                client_id,
                device.id,
                payload.data,
                expires_at,
                content.profile,
                content.team_id,
            )
        )
        if payload.badge is not None:
            made.badges[device.id] = payload.badge


def _for_webhook(job: Job, client_id: str, data: str) -> Notification:
    expires_at = Millis(job.timestamp + EXPIRY_MILLIS)
    return Notification(f"webhook/{client_id}", job.message_id, job.conversation_id, client_id, "", data, expires_at)
