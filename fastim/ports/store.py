"""The store: what outlives the process.

Reads are coroutines that see everything committed. Writes are plain calls: by the time one returns it is queued, in the
order of the calls; awaiting what it returned waits until it is on disk. So a use case can leave its lane between the
two. Those who await appends and changes of conversations go on in the order of the calls, too: that is what keeps
events in the order of messages.

Every write is one transaction: all of it is on disk or none. A write that fails raises ``Unavailable`` from its
awaitable and has changed nothing.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from fastim.core.application import Application
from fastim.core.broadcast import Broadcast
from fastim.core.conversation import Conversation
from fastim.core.installation import SUBSCRIBED_MAX, Installation
from fastim.core.message import Draft, Message, Position, Span
from fastim.core.notice import Addressed, Notice
from fastim.core.push import Job, Notification
from fastim.core.retention import Retention
from fastim.core.session import Grant
from fastim.core.standing import Standing
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership
from fastim.core.will import Holder, Will


class Appended(Struct, frozen=True):
    """A message that is on disk.

    Attributes:
        fresh: Whether this call stored it; ``False`` when an earlier one with the same token had.
    """

    message: Message
    fresh: bool


class Joined(Struct, frozen=True):
    """A conversation that a client belongs to, as its unread counts need it."""

    conversation_id: str
    membership: Membership
    head: Head


class Arrival(Struct, frozen=True):
    """What the store knew of a client when it logged in.

    Attributes:
        first: It had never logged in before.
        broadcasts_seen: The time of the last broadcast to everybody that it was sent; 0 for none.
    """

    first: bool
    broadcasts_seen: Millis


class Subscription(Struct, frozen=True):
    """A client's subscription to a service conversation."""

    conversation_id: str
    client_id: str
    since: Millis


class Stay(Struct, frozen=True):
    """A device's place in a chat room, which it comes back to.

    Attributes:
        left_at: When its connection was lost; 0 while it is there.
        missed_from: Messages of high priority from this time on did not reach it; 0 while it is there, and where that
            is not known.
    """

    client_id: str
    device: str
    conversation_id: str
    left_at: Millis = Millis(0)
    missed_from: Millis = Millis(0)


class DuePush(Struct, frozen=True):
    """A notification whose turn has come: the oldest one of its target.

    Attributes:
        due: When it was to be sent.
        attempts: How often it was tried in vain.
    """

    due: Millis
    attempts: int
    notification: Notification


class Waiting(Struct, frozen=True):
    """What is in the outbox.

    Attributes:
        jobs: Messages for which it is not yet worked out who is sent what.
        targets: Targets for which something waits.
        notifications: What waits for them.
    """

    jobs: int
    targets: int
    notifications: int


class Acknowledged(Struct, frozen=True):
    """How an acknowledgement moved what was delivered to a member.

    Attributes:
        before: Sequence up to which everything was delivered.
        after: The same now; equal when nothing moved.
    """

    before: int
    after: int


class ApplicationStore(Protocol):
    """One application's part of the store.

    Messages live in *logs*. A conversation's log has its id. In a service conversation each client has a log of its
    own besides, ``ids.personal_log(conversation_id, client_id)``, and a membership in it from its first message on.
    Wherever a method says ``log_id`` it takes either; a personal log is there as long as its conversation is.
    """

    async def find_conversation(self, conversation_id: str) -> Conversation | None:
        """The conversation, or ``None`` when there is none or the id has not the shape of one."""
        ...

    def scan_conversations(self) -> AsyncGenerator[Conversation, None]:
        """Every conversation, newest id first. A long scan lets others run and may see changes made meanwhile."""
        ...

    async def conversation_ids_of(self, client_id: str) -> list[str]:
        """The conversations that ``client_id`` is a member of, in no particular order."""
        ...

    def create_conversation(
        self, conversation: Conversation, notices: Sequence[Addressed] = ()
    ) -> Awaitable[Conversation]:
        """Store a new conversation, its members' memberships and what is to be told those who are away.

        With a ``unique_key`` that a conversation of the same kind already has, that one is returned and nothing is
        stored; so the caller compares ids to learn whether its own was created. One that had expired when the new one
        was created does not count: the new one takes its key.
        """
        ...

    def change_conversation(
        self,
        conversation: Conversation,
        *,
        joined: Iterable[str] = (),
        left: Iterable[str] = (),
        standings: Mapping[str, Standing] = {},
        notices: Sequence[Addressed] = (),
    ) -> Awaitable[None]:
        """Replace the stored conversation of that id; give ``joined`` fresh memberships, drop those of ``left``.

        Who leaves a service conversation keeps its own log, and has read everything in it.

        A fresh membership has read everything up to the conversation's head, and ``joined_at`` is ``updated_at``. A
        client in ``joined`` that has a membership keeps it. Clients in ``standings`` have that standing from now on;
        ``Standing()`` is not kept. The caller holds the conversation's lane until it is committed.
        """
        ...

    def delete_conversation(self, conversation_id: str) -> Awaitable[bool]:
        """Forget a conversation: at once it is not found any more; what it leaves behind, ``retire`` takes away.

        Returns:
            Whether there was one.
        """
        ...

    async def find_standing(self, conversation_id: str, client_id: str) -> Standing:
        """``Standing()`` when none was given."""
        ...

    async def standings(self, conversation_id: str) -> dict[str, Standing]:
        """Every standing that was given in it, by client id, in the order of the ids' UTF-8."""
        ...

    async def subscriptions(self, conversation_id: str, after: str, limit: int) -> list[Subscription]:
        """At most ``limit`` members of a service conversation whose client ids come after ``after`` in UTF-8's order.

        Of other conversations it knows nothing: their members are in their record.
        """
        ...

    async def count_subscriptions(self, conversation_id: str) -> int:
        """How many members a service conversation has; as cheap for a million as for one."""
        ...

    def refuse_conversations(
        self, client_id: str, conversation_ids: Iterable[str], refused: bool, now: Millis
    ) -> Awaitable[None]:
        """Remember, or forget, that the client refuses to be added to these conversations."""
        ...

    async def refused_conversations(self, client_id: str) -> list[str]:
        """The conversations that the client refuses to be added to, in the order of their keys."""
        ...

    def append(
        self, log_id: str, draft: Draft, now: Millis, *, urgent: bool = False, push: Job | None = None
    ) -> Awaitable[Appended]:
        """Give ``draft`` the log's next place and store it. In a personal log its client is given a membership.

        In the same commit: the head advances, the sender's membership counts one more sent, the memberships of
        ``mentions`` (other than the sender) point to it, the token is remembered. A token seen before for that sender
        and conversation changes nothing and returns the first message. Timestamps follow ``next_timestamp``, sequences
        are dense.

        Args:
            urgent: ``urgent_since`` finds it for ``URGENT_KEPT_MILLIS`` at least.
            push: Kept in the same commit, with the message's id and timestamp in the place of its own; not kept when
                nothing is stored.
        """
        ...

    def append_each(
        self, log_ids: Sequence[str], draft: Draft, now: Millis, *, push: Job | None = None
    ) -> Awaitable[list[Appended]]:
        """Store ``draft`` in each of these logs in one commit, with one id and one time; ``push`` as in ``append``."""
        ...

    def patch_message(self, log_id: str, message: Message, now: Millis) -> Awaitable[Message]:
        """Put ``message`` in the place of the one with its sequence, and remember that it was patched.

        ``patched_at`` is set: to ``now`` or later, later than the message and than every patch of the application
        before it. The caller holds the conversation's lane until it is committed.

        Returns:
            The message as it is stored now.
        """
        ...

    async def patches_since(self, log_id: str, moment: Millis, limit: int) -> list[Message]:
        """At most ``limit`` messages that were patched after ``moment``, as they are now, in the order of patching."""
        ...

    def delete_message(self, log_id: str, position: Position) -> Awaitable[bool]:
        """Leave nothing of a message but its place: it is neither found nor in any history any more.

        Returns:
            Whether there was one with exactly that timestamp and id.
        """
        ...

    async def find_message(self, log_id: str, position: Position) -> Message | None:
        """The message with exactly that timestamp and id."""
        ...

    async def messages_from(self, log_id: str, sequence: int, limit: int) -> list[Message]:
        """At most ``limit`` messages from the one with that sequence on, ascending; deleted ones are left out.

        They count towards ``limit`` all the same.
        """
        ...

    async def history(self, log_id: str, span: Span, wanted: Callable[[Message], bool] | None = None) -> list[Message]:
        """At most ``span.limit`` messages, ascending; only those for which ``wanted`` is true.

        Empty for a conversation without messages, or one that does not exist.
        """
        ...

    async def urgent_since(self, log_id: str, since: Millis, until: Millis, limit: int) -> list[Message]:
        """At most ``limit`` urgent messages from ``since`` to ``until``, both included, ascending and as they are now.

        Deleted ones are left out, and retired ones.
        """
        ...

    async def urgent_start(self, log_id: str, since: Millis, until: Millis, limit: int) -> Millis:
        """The time, ``since`` or later, from which on there are at most ``limit`` urgent messages until ``until``.

        Deleted ones count.
        """
        ...

    async def find_head(self, log_id: str) -> Head:
        """Where the log's messages have got to; ``Head()`` when it has none."""
        ...

    async def find_membership(self, log_id: str, client_id: str) -> Membership | None: ...

    async def joined_conversations(self, client_id: str) -> list[Joined]:
        """Everything that the unread counts of ``client_id`` are made from, in no particular order.

        A personal log is named by its own id, ``conversation_id/client_id``.
        """
        ...

    def acknowledge(
        self, log_id: str, client_id: str, upto: Position, now: Millis, notices: Sequence[Addressed] = ()
    ) -> Awaitable[Acknowledged | None]:
        """Move what was delivered to a member to the newest message at or before ``upto``, as ``mark_read`` does.

        ``None`` when the client is not a member.
        """
        ...

    def mark_read(
        self,
        log_id: str,
        client_id: str,
        upto: Position | None,
        now: Millis,
        notices: Sequence[Addressed] = (),
    ) -> Awaitable[Membership | None]:
        """Move a member's read position to the newest message at or before ``upto`` (``None``: to the head).

        ``notices`` are kept in the same commit, if it moves.

        An ``upto`` with an empty id covers its whole millisecond. A position never moves back: then nothing is stored
        and the membership is returned as it is. What was read was delivered: ``delivered`` moves with it. ``None`` when
        the client is not a member.
        """
        ...

    def add_notices(self, notices: Sequence[Addressed]) -> Awaitable[None]:
        """Keep notices that go with no other write."""
        ...

    async def notices_for(self, client_id: str, since: Millis, limit: int) -> tuple[list[Notice], bool]:
        """Notices after ``since`` for the client: those addressed to it, and those to the members of its conversations.

        Ascending by ``at``. Of a conversation only those from when it became a member on. At most ``limit``, and then
        the rest of the last one's millisecond.

        Returns:
            The notices, and whether there are more.
        """
        ...

    def save_will(self, will: Will) -> Awaitable[None]:
        """Keep ``will``; its client's older one is forgotten."""
        ...

    def take_will(self, client_id: str, holder: Holder | None) -> Awaitable[Will | None]:
        """Forget the client's will and return it; ``None`` when there is none, or ``holder`` is given and not its own.

        Of many who take it one gets it, whatever happens.
        """
        ...

    async def find_will(self, client_id: str) -> Will | None:
        """The client's will, which stays; ``None`` when there is none."""
        ...

    async def wills(self) -> list[Will]:
        """All wills."""
        ...

    def save_stay(self, stay: Stay) -> Awaitable[None]:
        """Remember in which chat room a device is or was; it takes the place of what was known of that device."""
        ...

    def forget_stay(self, client_id: str, device: str) -> Awaitable[None]:
        """The device is in no chat room, and has none to come back to."""
        ...

    async def find_stay(self, client_id: str, device: str) -> Stay | None:
        """What is remembered of that device, or ``None``."""
        ...

    async def stays(self) -> list[Stay]:
        """Every device that is remembered to be in a chat room."""
        ...

    def save_broadcast(self, broadcast: Broadcast) -> Awaitable[None]:
        """Keep a message to everybody, or put it in the place of the one with its id."""
        ...

    async def broadcasts(self, since: Millis = Millis(0)) -> list[Broadcast]:
        """Messages to everybody that were sent after ``since``, ascending; expired ones may be among them."""
        ...

    def delete_broadcast(self, message_id: str) -> Awaitable[bool]:
        """Forget a message to everybody; whether there was one."""
        ...

    def saw_broadcasts(self, client_id: str, upto: Millis) -> Awaitable[None]:
        """Remember up to which message to everybody the client has got them."""
        ...

    async def count_users(self, day: int) -> int:
        """How many clients logged in on that day, in days since the epoch (UTC); known for today and yesterday."""
        ...

    def save_grant(self, client_id: str, token: str, grant: Grant) -> Awaitable[None]:
        """Remember what ``token`` stands for; only a hash of it is stored."""
        ...

    def log_in(self, client_id: str, token: str, grant: Grant, now: Millis) -> Awaitable[Arrival]:
        """The same, and note that the client was here."""
        ...

    async def find_grant(self, client_id: str, token: str) -> Grant | None:
        """What the token stands for, expired or not; ``None`` when it is unknown or another client's."""
        ...

    def kick(self, client_id: str, at: Millis) -> Awaitable[None]:
        """Forget every token of the client and remember the moment; an earlier one that lies later stays."""
        ...

    async def find_kick(self, client_id: str) -> Millis:
        """When the client was last kicked; 0 if it never was."""
        ...

    def use_once(self, name: str, until: Millis) -> Awaitable[bool]:
        """Whether this is the first use of something that can be used once.

        Args:
            name: Different for different things.
            until: How long the use is remembered at least.
        """
        ...

    def save_document(self, name: str, content: bytes | None) -> Awaitable[None]:
        """Keep a document of the application's under that name, in the place of an older one; ``None``: forget it.

        Args:
            name: One of ours, a few letters.
        """
        ...

    async def find_document(self, name: str) -> bytes | None:
        """The document of that name, or ``None``."""
        ...

    # --- Push ---------------------------------------------------------------------------------------------------------

    async def push_jobs(self, limit: int) -> list[Job]:
        """At most ``limit`` jobs, the oldest first."""
        ...

    def queue_pushes(
        self, job: Job, notifications: Sequence[Notification], badges: Mapping[str, int], now: Millis, *, done: bool
    ) -> Awaitable[None]:
        """Put a job's notifications into the outbox, each behind those its target already has.

        One commit does it all, so no notification is made twice: one that its target has already from that message is
        left out.

        Args:
            job: It stays as it is here, which says how far it has got, unless it is ``done``; one that is gone stays
                gone.
            badges: What the badge of these installations is from now on; one that is gone stays gone.
            done: The job goes.
        """
        ...

    async def due_pushes(self, now: Millis, limit: int, besides: Collection[str] = ()) -> list[DuePush]:
        """At most ``limit`` notifications that are due, the longest waiting first; one for each target.

        Args:
            besides: Targets that are left out.
        """
        ...

    async def next_push_due(self) -> Millis | None:
        """When the first of all that waits is due; ``None`` when nothing waits."""
        ...

    def settle_push(self, push: DuePush, now: Millis) -> Awaitable[None]:
        """It was sent, or given up: it goes, and the next one of its target is due now. Again is harmless."""
        ...

    def postpone_push(self, push: DuePush, due: Millis, *, tried: bool = True) -> Awaitable[None]:
        """It is due then: it was tried in vain, which is one more attempt; or not ``tried``, since others go first."""
        ...

    def drop_pushes(self, target: str) -> Awaitable[int]:
        """Nothing of what waits for ``target`` will be sent; returns how many went."""
        ...

    async def count_pushes(self) -> Waiting:
        """What is in the outbox, as cheap for a million as for one."""
        ...

    async def find_installation(self, installation_id: str) -> Installation | None:
        """The installation with that ``objectId``."""
        ...

    async def find_device(self, name: str) -> Installation | None:
        """The installation whose ``installation_id``, or else whose ``token``, is ``name``; never an empty one's."""
        ...

    async def installations_of(self, channel: str, most: int = SUBSCRIBED_MAX) -> list[Installation]:
        """Those subscribed to ``channel``, oldest first by their ids, the invalid ones too.

        Args:
            most: Where there are more, only so many: the newest.
        """
        ...

    def scan_installations(self) -> AsyncGenerator[Installation, None]:
        """All of them, oldest first by their ids. A long scan lets others run and may see changes made meanwhile."""
        ...

    def change_installation(
        self, installation_id: str, change: Callable[[Installation | None], Installation | None]
    ) -> Awaitable[Installation | None]:
        """Put what ``change`` makes of an installation in its place; ``None`` forgets it.

        The change is made where no other write comes between. An installation takes its token, its ``installation_id``
        and its registration id from older ones that have the same: these go. Only a hash of a name is a key.

        Args:
            change: Gets ``None`` when there is none of that id. It may run in any thread, and again if what was to be
                committed with it failed. What it raises, the awaitable raises, and nothing has changed.

        Returns:
            What ``change`` returned.

        Raises:
            ValueError: The id is empty or has more than 64 bytes; from the awaitable: ``change`` gave it another.
        """
        ...

    def retire(self, rules: Retention, now: Millis) -> Awaitable[int]:
        """Take away some of what is past its time, in a step too small to be felt.

        That is: temporary conversations that have expired, what deleted conversations left behind, messages, idle
        conversations and notices as ``rules`` say, expired broadcasts, stays that nobody can come back to any more,
        that messages were urgent for those who could have, and what ``drop_pushes`` left behind.

        Returns:
            How many records went or were looked at; 0 when this round is over.
        """
        ...


class Store(Protocol):
    """The whole store."""

    async def applications(self) -> list[Application]: ...

    def save_application(
        self, application_id: str, key: str, master_key: str, hook_key: str, settings: Mapping[str, Any] | None = None
    ) -> Awaitable[Application]:
        """Create the application or replace its keys (and, unless ``None``, its settings); its number never changes."""
        ...

    def of(self, application: Application) -> ApplicationStore: ...

    def sweep(self, now: Millis) -> Awaitable[int]:
        """Forget some dedupe tokens, grants and uses that are past their time, in a step too small to be felt.

        Returns:
            How many records went; 0 when nothing is left to sweep.
        """
        ...

    async def close(self) -> None:
        """Commit what is queued, then let go of everything. Writes after this raise ``Unavailable``."""
        ...
