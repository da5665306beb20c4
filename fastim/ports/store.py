"""The store: what outlives the process.

Reads are coroutines that see everything committed. Writes are plain calls: by the time one returns it is queued, in the
order of the calls; awaiting what it returned waits until it is on disk. So a use case can leave its lane between the
two. Those who await appends and changes of conversations go on in the order of the calls, too: that is what keeps
events in the order of messages.

Every write is one transaction: all of it is on disk or none. A write that fails raises ``Unavailable`` from its
awaitable and has changed nothing.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from fastim.core.application import Application
from fastim.core.conversation import Conversation
from fastim.core.message import Draft, Message, Position, Span
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership


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


class ApplicationStore(Protocol):
    """One application's part of the store."""

    async def find_conversation(self, conversation_id: str) -> Conversation | None:
        """The conversation, or ``None`` when there is none or the id has not the shape of one."""
        ...

    def scan_conversations(self) -> AsyncGenerator[Conversation, None]:
        """Every conversation, newest id first. A long scan lets others run and may see changes made meanwhile."""
        ...

    async def conversation_ids_of(self, client_id: str) -> list[str]:
        """The conversations that ``client_id`` is a member of, in no particular order."""
        ...

    def create_conversation(self, conversation: Conversation) -> Awaitable[Conversation]:
        """Store a new conversation and its members' memberships.

        With a ``unique_key`` that a conversation of the same kind already has, that one is returned and nothing is
        stored; so the caller compares ids to learn whether its own was created.
        """
        ...

    def change_conversation(
        self, conversation: Conversation, *, joined: Iterable[str] = (), left: Iterable[str] = ()
    ) -> Awaitable[None]:
        """Replace the stored conversation of that id; give ``joined`` fresh memberships, drop those of ``left``.

        A fresh membership has read everything up to the conversation's head, and ``joined_at`` is ``updated_at``. A
        client in ``joined`` that has a membership keeps it. The caller holds the conversation's lane until it is
        committed.
        """
        ...

    def append(self, conversation_id: str, draft: Draft, now: Millis) -> Awaitable[Appended]:
        """Give ``draft`` the conversation's next place and store it.

        In the same commit: the head advances, the sender's membership counts one more sent, the memberships of
        ``mentions`` (other than the sender) point to it, the token is remembered. A token seen before for that sender
        and conversation changes nothing and returns the first message. Timestamps follow ``next_timestamp``, sequences
        are dense.
        """
        ...

    async def find_message(self, conversation_id: str, position: Position) -> Message | None:
        """The message with exactly that timestamp and id."""
        ...

    async def history(
        self, conversation_id: str, span: Span, wanted: Callable[[Message], bool] | None = None
    ) -> list[Message]:
        """At most ``span.limit`` messages, ascending; only those for which ``wanted`` is true.

        Empty for a conversation without messages, or one that does not exist.
        """
        ...

    async def find_head(self, conversation_id: str) -> Head:
        """Where the conversation's messages have got to; ``Head()`` when it has none."""
        ...

    async def find_membership(self, conversation_id: str, client_id: str) -> Membership | None: ...

    async def joined_conversations(self, client_id: str) -> list[Joined]:
        """Everything that the unread counts of ``client_id`` are made from, in no particular order."""
        ...

    def mark_read(
        self, conversation_id: str, client_id: str, upto: Position | None, now: Millis
    ) -> Awaitable[Membership | None]:
        """Move a member's read position to the newest message at or before ``upto`` (``None``: to the head).

        An ``upto`` with an empty id covers its whole millisecond. A position never moves back: then nothing is stored
        and the membership is returned as it is. ``None`` when the client is not a member.
        """
        ...

    def save_grant(self, client_id: str, token: str, grant: Grant) -> Awaitable[None]:
        """Remember what ``token`` stands for; only a hash of it is stored."""
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
