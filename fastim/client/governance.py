"""Who may do what in a conversation: roles, silence, and who is kept out."""

from collections.abc import Iterable

from fastim.client import decoding
from fastim.client.errors import UnexpectedReply
from fastim.client.requests import ask, ask_blacklist
from fastim.client.session import Session
from fastim.client.signing import Action
from fastim.client.values import MemberChanges
from fastim.core.standing import Role
from fastim.wire import messages2_pb2 as pb

PORTION = 100
"""Client ids asked for at once, of a list."""


class Governance:
    """The calls of a conversation that its owner and its managers have a use for.

    What is asked for twice is the same as what is asked for once, so all of it is asked for again when the connection
    breaks. To change anything about somebody takes a higher role than that somebody has (4320); reading is open to
    every member.
    """

    id: str
    _session: Session

    # -- roles -----------------------------------------------------------------------------------------------------

    async def set_role(self, member: str, role: Role) -> None:
        """Make a member a manager, or an ordinary member again.

        Raises:
            Refused: Somebody's role is too low for that (4320), nobody can be made owner (4321), ...
        """
        info = pb.ConvMemberInfo(pid=member, role=role.wire_name)
        conv = pb.ConvCommand(cid=self.id, targetClientId=member, info=info)
        await ask(self._session, pb.member_info_update, pb.member_info_updated, conv, repeatable=True)

    async def roles(self) -> dict[str, Role]:
        """Those members who were given a role, and which; the owner is the creator, and is not among them.

        Raises:
            Refused: Roles are off in this application (4325), ...
        """
        command = pb.GenericCommand(cmd=pb.conv, op=pb.member_infos, convMessage=pb.ConvCommand(cid=self.id))
        reply = await self._session.call(command, (pb.conv, pb.member_infos_result), repeatable=True)
        try:
            return {info.pid: decoding.role(info.role) for info in reply.nativeMessage.memberInfos}
        except ValueError as error:
            raise UnexpectedReply(str(error)) from error

    # -- silence ---------------------------------------------------------------------------------------------------

    async def silence(self, members: Iterable[str]) -> MemberChanges:
        """Let members read but not send, until that is lifted.

        Raises:
            Refused: This client's role is too low (4320), ... What fails for some only is in what is returned.
        """
        return await self._change_silence(pb.add_shutup, pb.shutup_added, members)

    async def unsilence(self, members: Iterable[str]) -> MemberChanges:
        """Let members send again.

        Raises:
            Refused: This client's role is too low (4320), ... What fails for some only is in what is returned.
        """
        return await self._change_silence(pb.remove_shutup, pb.shutup_removed, members)

    async def silenced(self) -> list[str]:
        """Everybody who is silenced."""
        found: list[str] = []
        conv = pb.ConvCommand(cid=self.id, limit=PORTION)
        while True:
            reply = await ask(self._session, pb.query_shutup, pb.shutup_result, conv, repeatable=True)
            found += reply.m
            if not reply.next or not reply.m:
                return found
            conv.next = reply.next

    async def silenced_among(self, members: Iterable[str]) -> set[str]:
        """Those of these clients who are silenced."""
        conv = pb.ConvCommand(cid=self.id, m=list(members))
        reply = await ask(self._session, pb.check_shutup, pb.check_result, conv, repeatable=True)
        return set(reply.m)

    async def _change_silence(self, operation: pb.OpType, answer: pb.OpType, members: Iterable[str]) -> MemberChanges:
        conv = pb.ConvCommand(cid=self.id, m=list(members))
        return decoding.member_changes(await ask(self._session, operation, answer, conv, repeatable=True))

    # -- who is kept out -------------------------------------------------------------------------------------------

    async def block(self, client_ids: Iterable[str]) -> MemberChanges:
        """Keep clients out: those who are members are removed, and none of them can come back until it is lifted.

        Raises:
            Refused: This client's role is too low (4320), blacklists are off (4544), ... What fails for some only is in
                what is returned.
        """
        return await self._change_blocks(pb.block, pb.blocked, client_ids, Action.BLOCK)

    async def unblock(self, client_ids: Iterable[str]) -> MemberChanges:
        """Let clients be members again, if they are added or join.

        Raises:
            Refused: This client's role is too low (4320), ... What fails for some only is in what is returned.
        """
        return await self._change_blocks(pb.unblock, pb.unblocked, client_ids, Action.UNBLOCK)

    async def blocked(self) -> list[str]:
        """Everybody who is kept out."""
        found: list[str] = []
        wanted = pb.BlacklistCommand(srcCid=self.id, limit=PORTION)
        while True:
            reply = await ask_blacklist(self._session, pb.query, pb.query_result, wanted)
            found += reply.blockedPids
            if not reply.next or not reply.blockedPids:
                return found
            wanted.next = reply.next

    async def blocked_among(self, client_ids: Iterable[str]) -> set[str]:
        """Those of these clients who are kept out."""
        wanted = pb.BlacklistCommand(srcCid=self.id, toPids=list(client_ids))
        reply = await ask_blacklist(self._session, pb.check_block, pb.check_result, wanted)
        return set(reply.blockedPids)

    async def _change_blocks(
        self, operation: pb.OpType, answer: pb.OpType, client_ids: Iterable[str], sign: Action
    ) -> MemberChanges:
        wanted = pb.BlacklistCommand(srcCid=self.id, toPids=list(client_ids))
        return decoding.member_changes(await ask_blacklist(self._session, operation, answer, wanted, sign=sign))
