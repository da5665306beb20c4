"""Governance: roles, silence and blocks: what of a request is done, and for whom.

Who may ask for it at all is decided in ``fastim.core.permission``; here, whether the asker is above whom it is done to.
The application itself is above everybody. Source: semantics, section 4.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from fastim.core.commands import ChangeBlocks, ChangeSilence, Page, SetRole
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import (
    BlacklistDisabled,
    BlacklistFull,
    InvalidLogin,
    MembershipRequired,
    NormalConversationRequired,
    OwnerNeeded,
    QueryFailed,
    RankTooLow,
    RolesDisabled,
    SilencedListFull,
    UnknownRole,
)
from fastim.core.ids import is_client_id
from fastim.core.members import failures, remove
from fastim.core.permission import Asker, rank
from fastim.core.policy import (
    LIST_LIMIT_DEFAULT,
    LIST_LIMIT_MAX,
    LISTED_IN_ROOM_MAX,
    LISTED_MAX,
    SILENCE_TTL_MAX_SECONDS,
    Policy,
)
from fastim.core.replies import PartialFailure, RoleRecord
from fastim.core.standing import UNREMARKABLE, Role, Standing, departed, lapsed
from fastim.core.units import Millis


class Verdict(Struct, frozen=True):
    """A change of standings.

    Attributes:
        conversation: As it is afterwards.
        standings: Those that are different afterwards.
        clients: Those whom it changed; empty when nothing did.
        removed: Those who are members no longer because of it.
        allowed: Those for whom the request holds now, changed or not.
        failed: Those for whom it was refused.
    """

    conversation: Conversation
    standings: dict[str, Standing]
    clients: tuple[str, ...]
    allowed: tuple[str, ...]
    removed: tuple[str, ...] = ()
    failed: tuple[PartialFailure, ...] = ()


def give_role(
    conversation: Conversation, asker: Asker, command: SetRole, standing: Standing, policy: Policy
) -> Verdict:
    """The member has the role that the command names, and its record says so, even of an ordinary member.

    Only the application itself makes owners: a conversation that it creates has none.

    Args:
        standing: The member's, before.

    Raises:
        RolesDisabled: The application does without roles.
        UnknownRole: There is no such role, or a client would make an owner.
        MembershipRequired: The client is not a member; in a chat room it need not be.
        RankTooLow: The asker is not above it.
        OwnerNeeded: It created the conversation, and is its owner for good.
    """
    if not policy.roles_enabled:
        raise RolesDisabled
    role = Role.named(command.role)
    if role is None or (role is Role.OWNER and not asker.privileged):
        raise UnknownRole(f"{command.role[:20]!r} cannot be given")
    if not is_client_id(command.client_id):
        raise InvalidLogin
    if conversation.kind is Kind.NORMAL and not conversation.has_member(command.client_id):
        raise MembershipRequired("only a member has a role")
    return _with_role(conversation, asker, command.client_id, standing, role)


def take_role(conversation: Conversation, asker: Asker, client_id: str, standing: Standing) -> Verdict:
    """The client's record is gone: it is an ordinary member.

    Raises:
        RankTooLow: The asker is not above it.
        OwnerNeeded: It created the conversation, and is its owner for good.
    """
    return _with_role(conversation, asker, client_id, standing, None)


def change_silence(
    conversation: Conversation, asker: Asker, command: ChangeSilence, standings: Mapping[str, Standing], now: Millis
) -> Verdict:
    """Clients may not send any more, or may again. Who is silenced stays so when it leaves and comes back.

    Args:
        standings: All that were given in the conversation.

    Raises:
        RankTooLow: The asker is not above all of them: then it is done to none.
    """
    invalid, valid = _sorted_out(command.client_ids)
    _require_above(conversation, asker, valid, standings)
    before = _current(standings, now)
    failed = failures(InvalidLogin(), invalid)
    if command.silenced and conversation.kind is Kind.NORMAL and not asker.privileged:
        strangers = tuple(one for one in valid if not conversation.has_member(one))
        failed += failures(MembershipRequired(), strangers)
        valid = tuple(one for one in valid if one not in strangers)
    held = sum(one.silenced for one in before.values()) if command.silenced else 0
    changing = [one for one in valid if before.get(one, UNREMARKABLE).silenced != command.silenced]
    clients, surplus = _within(conversation, changing, held, command.silenced)
    after = {one: replace(before.get(one, UNREMARKABLE), silenced=command.silenced) for one in clients}
    return Verdict(
        replace(conversation, regulated=True) if clients else conversation,
        _different(standings, before | after) if clients else {},
        clients,
        allowed=tuple(one for one in valid if one not in surplus),
        failed=failed + failures(SilencedListFull(), surplus),
    )


def change_blocks(
    conversation: Conversation,
    asker: Asker,
    command: ChangeBlocks,
    standings: Mapping[str, Standing],
    policy: Policy,
    now: Millis,
) -> Verdict:
    """Clients may not be members any more, and are none; or they may come back.

    Args:
        standings: All that were given in the conversation.

    Raises:
        BlacklistDisabled: The application does without blacklists.
        RankTooLow: The asker is not above all of them: then it is done to none.
    """
    if not policy.blacklist_enabled:
        raise BlacklistDisabled
    invalid, valid = _sorted_out(command.client_ids)
    _require_above(conversation, asker, valid, standings)
    before = _current(standings, now)
    held = sum(one.blocked for one in before.values()) if command.blocked else 0
    changing = [one for one in valid if before.get(one, UNREMARKABLE).blocked != command.blocked]
    clients, surplus = _within(conversation, changing, held, command.blocked)
    removed = tuple(one for one in clients if command.blocked and conversation.has_member(one))
    after = {one: _blocked(before.get(one, UNREMARKABLE), command.blocked) for one in clients}
    governed = replace(remove(conversation, removed, now).conversation if removed else conversation, regulated=True)
    return Verdict(
        governed if clients else conversation,
        _different(standings, before | after) if clients else {},
        clients,
        allowed=tuple(one for one in valid if one not in surplus),
        removed=removed,
        failed=failures(InvalidLogin(), invalid) + failures(BlacklistFull(), surplus),
    )


def silence_for_a_time(
    conversation: Conversation, client_id: str, standings: Mapping[str, Standing], ttl_seconds: int, now: Millis
) -> Verdict:
    """The client may not send for so long; 0: it may again. Source: semantics, rule 4.9.

    Raises:
        NormalConversationRequired: It is a temporary one.
        QueryFailed: So long is less than nothing, or too long.
        InvalidLogin: No client can be called that.
    """
    if conversation.kind is Kind.TEMPORARY:
        raise NormalConversationRequired
    if not 0 <= ttl_seconds <= SILENCE_TTL_MAX_SECONDS:
        raise QueryFailed(f"a silence has at most {SILENCE_TTL_MAX_SECONDS} seconds")
    if not is_client_id(client_id):
        raise InvalidLogin
    before = _current(standings, now)
    until = Millis(now + 1000 * ttl_seconds if ttl_seconds else 0)
    after = {client_id: replace(before.get(client_id, UNREMARKABLE), silenced_until=until)}
    changed = _different(standings, before | after)
    if not changed:
        return Verdict(conversation, {}, (), (client_id,))
    return Verdict(replace(conversation, regulated=True), changed, (client_id,), (client_id,))


def outranks(conversation: Conversation, asker: Asker, client_id: str, standing: Standing) -> bool:
    """Whether the asker is above the client, whose standing it is."""
    return asker.privileged or (
        rank(conversation, asker.client_id, asker.standing) > rank(conversation, client_id, standing)
    )


def records(conversation_id: str, standings: Mapping[str, Standing]) -> tuple[RoleRecord, ...]:
    """The roles that were given. Who created the conversation has none by that."""
    return tuple(
        RoleRecord(record_id(conversation_id, client_id), client_id, standing.role)
        for client_id, standing in standings.items()
        if standing.role is not None
    )


def record_id(conversation_id: str, client_id: str) -> str:
    """The id of the record of a client's role in a conversation: 24 hex digits."""
    named = hashlib.blake2b(digest_size=12)
    for part in (conversation_id, client_id):
        encoded = part.encode(errors="surrogatepass")
        named.update(len(encoded).to_bytes(4) + encoded)
    return named.hexdigest()


def cut(listed: Sequence[str], page: Page) -> tuple[tuple[str, ...], str]:
    """The part of ``listed`` that is asked for, and the cursor of the next one, empty after the last.

    The cursor is a decimal offset, because Java counts on by itself. Source: wire protocol, requests and replies.

    Raises:
        QueryFailed: The cursor or the limit is none.
    """
    limit = LIST_LIMIT_DEFAULT if page.limit is None else min(page.limit, LIST_LIMIT_MAX)
    if limit < 1:
        raise QueryFailed("the limit is less than 1")
    if len(page.cursor) > _CURSOR_DIGITS_MAX or not (page.cursor or "0").isdecimal() or not page.cursor.isascii():
        raise QueryFailed("next is not where a page of this list ended")
    begin = int(page.cursor or "0")
    end = begin + limit
    return tuple(listed[begin:end]), str(end) if end < len(listed) else ""


_CURSOR_DIGITS_MAX = 9


def _with_role(
    conversation: Conversation, asker: Asker, client_id: str, standing: Standing, role: Role | None
) -> Verdict:
    if not outranks(conversation, asker, client_id, standing):
        raise RankTooLow
    if client_id == conversation.creator:
        raise OwnerNeeded("who created the conversation is its owner")
    if standing.role is role:
        return Verdict(conversation, {}, (), (client_id,))
    after = replace(conversation, regulated=True, roles_given=True)
    return Verdict(after, {client_id: replace(standing, role=role)}, (client_id,), (client_id,))


def _require_above(
    conversation: Conversation, asker: Asker, clients: Iterable[str], standings: Mapping[str, Standing]
) -> None:
    for client_id in clients:
        if not outranks(conversation, asker, client_id, standings.get(client_id, UNREMARKABLE)):
            raise RankTooLow


def _sorted_out(client_ids: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that no client can be called, and the others; each once."""
    wanted = dict.fromkeys(client_ids)
    return tuple(one for one in wanted if not is_client_id(one)), tuple(one for one in wanted if is_client_id(one))


def _within(
    conversation: Conversation, changing: Sequence[str], held: int, growing: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of ``changing`` that there is room for on a list with ``held`` on it, and the rest."""
    if not growing:
        return tuple(changing), ()
    most = LISTED_IN_ROOM_MAX if conversation.kind is Kind.CHAT_ROOM else LISTED_MAX
    room = max(most - held, 0)
    return tuple(changing[:room]), tuple(changing[room:])


def _blocked(standing: Standing, blocked: bool) -> Standing:
    return replace(departed(standing) if blocked else standing, blocked=blocked)


def _current(standings: Mapping[str, Standing], now: Millis) -> dict[str, Standing]:
    """``standings`` as they are ``now``; those that have lapsed would be kept for ever."""
    return {client_id: lapsed(standing, now) for client_id, standing in standings.items()}


def _different(before: Mapping[str, Standing], after: Mapping[str, Standing]) -> dict[str, Standing]:
    return {
        client_id: standing for client_id, standing in after.items() if standing != before.get(client_id, UNREMARKABLE)
    }
