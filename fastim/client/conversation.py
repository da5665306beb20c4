"""A conversation, as seen by one client: who is in it, and what it is; its messages are in ``Talk``."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fastim.client import decoding
from fastim.client.errors import Refused, UnexpectedReply
from fastim.client.governance import Governance
from fastim.client.requests import ask, find
from fastim.client.session import Session
from fastim.client.signing import Action
from fastim.client.talk import Talk
from fastim.client.values import ConversationInfo, MemberChanges, Message
from fastim.wire import messages2_pb2 as pb


class Conversation(Talk, Governance):
    """What a client can do with one conversation; made by ``Client``, at no cost. Equal when the ids are.

    Attributes:
        id: Its conversation id.
        info: As a query last found it; ``None`` if none has yet.
    """

    def __init__(self, session: Session, conversation_id: str, info: ConversationInfo | None = None) -> None:
        self._session = session
        self.id = conversation_id
        self.info = info

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Conversation) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    # -- members ---------------------------------------------------------------------------------------------------

    async def join(self, *, recent: int = 0) -> list[Message]:
        """Become a member, and return some of what was said last.

        Args:
            recent: How many messages, 0 to 1000; they come in ascending order.

        Raises:
            Refused: It is not there (4303), is full (4304), does not want this client (4548), ...
            ConnectionLost: It may or may not have been done.
        """
        await self._change_self(pb.add, pb.added, Action.INVITE)
        return await self.history_page(limit=recent) if recent else []

    async def leave(self) -> None:
        """Be a member no longer.

        Raises:
            Refused: It is not there (4303), ...
            ConnectionLost: It may or may not have been done.
        """
        await self._change_self(pb.remove, pb.removed, None)

    async def add(self, members: Iterable[str]) -> MemberChanges:
        """Make others members.

        Raises:
            Refused: This client is not a member (4317), ... What fails for some only is in what is returned.
            ConnectionLost: It may or may not have been done.
        """
        return await self._change_members(pb.add, pb.added, members, Action.INVITE)

    async def remove(self, members: Iterable[str]) -> MemberChanges:
        """End the membership of others.

        Raises:
            Refused: This client is not a member (4317), ... What fails for some only is in what is returned.
            ConnectionLost: It may or may not have been done.
        """
        return await self._change_members(pb.remove, pb.removed, members, Action.KICK)

    async def count_members(self) -> int:
        """How many members it has."""
        reply = await ask(self._session, pb.count, pb.result, pb.ConvCommand(cid=self.id), repeatable=True)
        return reply.count

    async def is_member(self) -> bool:
        """Whether this client is a member."""
        reply = await ask(self._session, pb.is_member, pb.result, pb.ConvCommand(cids=[self.id]), repeatable=True)
        return decoding.memberships(reply.results.data).get(self.id, False)

    # -- the conversation itself -----------------------------------------------------------------------------------

    async def fetch(self, *, with_last_message: bool = False) -> ConversationInfo:
        """Ask for ``info`` anew and return it.

        Raises:
            LookupError: There is no such conversation.
        """
        infos = await self._found(with_last_message=with_last_message)
        if not infos:
            raise LookupError(f"there is no conversation {self.id}")
        self.info = infos[0]
        return self.info

    async def update(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change attributes and return what the named ones are now, nested; deleted ones are missing.

        Args:
            changes: Keys are columns (``name``, ``attr``, any of your own) or dotted paths into them; values are new
                values or operations: ``{"__op": "Increment", "amount": 1}``, ``{"__op": "Delete"}``, ...

        Raises:
            Refused: Not a member (4309), not to be done in this way (4306), ...
            ConnectionLost: It may or may not have been done.
        """
        attributes = pb.JsonObjectMessage(data=msgspec.json.encode(changes).decode())
        conv = pb.ConvCommand(cid=self.id, attr=attributes)
        reply = await ask(self._session, pb.update, pb.updated, conv, repeatable=False)
        try:
            return decoding.columns(reply.attrModified.data)
        except ValueError as error:
            raise UnexpectedReply(str(error)) from error

    async def mute(self) -> None:
        """Switch this client's offline push from it off.

        Raises:
            Refused: Not a member (4317), ...
        """
        await ask(self._session, pb.mute, pb.updated, pb.ConvCommand(cid=self.id), repeatable=True)

    async def unmute(self) -> None:
        """Switch this client's offline push from it on again.

        Raises:
            Refused: Not a member (4317), ...
        """
        await ask(self._session, pb.unmute, pb.updated, pb.ConvCommand(cid=self.id), repeatable=True)

    async def _found(self, *, with_last_message: bool) -> list[ConversationInfo]:
        return await find(self._session, {"objectId": self.id}, limit=1, with_last_message=with_last_message)

    async def _change_members(
        self,
        operation: pb.OpType,
        answer: pb.OpType,
        members: Iterable[str],
        sign: Action | None,
        *,
        repeatable: bool = False,
    ) -> MemberChanges:
        conv = pb.ConvCommand(cid=self.id, m=list(members))
        return decoding.member_changes(
            await ask(self._session, operation, answer, conv, repeatable=repeatable, sign=sign)
        )

    async def _change_self(
        self, operation: pb.OpType, answer: pb.OpType, sign: Action | None, *, repeatable: bool = False
    ) -> None:
        client_id = self._session.client_id
        changes = await self._change_members(operation, answer, [client_id], sign, repeatable=repeatable)
        refused: Refused | None = changes.failed.get(client_id)
        if refused is not None:
            raise refused
