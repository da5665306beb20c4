from itertools import count, product
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound, MessageNotFound, Unavailable
from fastim.core.ids import MESSAGE_ID_LENGTH, personal_log
from fastim.core.message import Message, Position, Span, place
from fastim.core.policy import REJOIN_MILLIS, URGENT_KEPT_MILLIS
from fastim.core.retention import Retention
from fastim.core.session import Grant
from fastim.core.standing import Role, Standing
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership, MentionAll, Unread, unread
from fastim.core.will import Holder
from fastim.ports.store import Acknowledged, ApplicationStore, Arrival, DuePush, Joined, Stay, Store, Subscription
from tests.adapters.engines import (
    CONVERSATION,
    DAY,
    OTHER,
    T0,
    WEEK,
    Engine,
    application,
    broadcast,
    conversation,
    draft,
    fill,
    job,
    notice,
    notification,
    retire,
    service,
    settle,
    will,
)

pytestmark = pytest.mark.anyio

NOT_IDS = [
    "",
    "_tmp:",
    CONVERSATION[:-1],
    CONVERSATION + "0",
    CONVERSATION.upper(),
    "_tmp:_tmp:" + CONVERSATION,
    "_TMP:" + CONVERSATION,
    "x" * 24,
    "٣" * 24,
    "\ud800" * 24,
    " " + CONVERSATION[1:],
    "\0" * 24,
    "a" * 100_000,
]
NOT_CLIENTS = ["", "\ud800", "c" * 10_000]


async def unread_of(part: ApplicationStore, client_id: str, conversation_id: str = CONVERSATION) -> Unread:
    membership = await part.find_membership(conversation_id, client_id)
    assert membership is not None
    return unread(await part.find_head(conversation_id), membership, client_id)


async def everything(part: ApplicationStore, conversation_id: str = CONVERSATION) -> list[Message]:
    return await part.history(conversation_id, Span(limit=1_000_000))


async def scanned(part: ApplicationStore) -> list[Conversation]:
    return [one async for one in part.scan_conversations()]


def member_of(conversation: Conversation, *members: str, **changes: Any) -> Conversation:
    return replace(conversation, members=members, **changes)


class TestApplications:
    async def test_there_are_none_at_first(self, store: Store) -> None:
        assert await store.applications() == []

    async def test_one_is_found_as_it_was_saved(self, store: Store) -> None:
        saved = await store.save_application("a", "k", "m", "h", {"push.static": "{}", "limits.message_bytes": 2**70})
        assert await store.applications() == [saved]
        assert (saved.id, saved.key, saved.master_key, saved.hook_key) == ("a", "k", "m", "h")
        assert saved.settings == {"push.static": "{}", "limits.message_bytes": 2**70}

    async def test_its_number_stays_when_its_keys_are_replaced(self, store: Store) -> None:
        first = await store.save_application("a", "k", "m", "h")
        other = await store.save_application("b", "k", "m", "h")
        again = await store.save_application("a", "k2", "m2", "h2")
        assert again.number == first.number != other.number
        assert await store.applications() == [again, other]

    async def test_settings_are_kept_unless_given(self, store: Store) -> None:
        await store.save_application("a", "k", "m", "h", {"words.enabled": True})
        assert (await store.save_application("a", "k2", "m", "h")).settings == {"words.enabled": True}
        assert (await store.save_application("a", "k2", "m", "h", {})).settings == {}


class TestConversations:
    async def test_one_is_found_as_it_was_created(self, part: ApplicationStore) -> None:
        columns = {"name": "tea 茶", "attr": {"n": [1, -2.5, None, True, 2**70, {"deep": []}]}, "": "empty name"}
        created = conversation(CONVERSATION, "ann", "ben", muted=("ben",), columns=columns, unique_key="k")
        assert await part.create_conversation(created) == created
        assert await part.find_conversation(CONVERSATION) == created

    @pytest.mark.parametrize("conversation_id", [OTHER, "_tmp:" + CONVERSATION, *NOT_IDS])
    async def test_an_unknown_or_impossible_id_is_nothing(self, part: ApplicationStore, conversation_id: str) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        assert await part.find_conversation(conversation_id) is None
        assert await part.find_head(conversation_id) == Head()
        assert await part.history(conversation_id, Span()) == []
        assert await part.find_message(conversation_id, Position(T0)) is None
        assert await part.find_membership(conversation_id, "ann") is None
        assert await part.mark_read(conversation_id, "ann", None, T0) is None
        assert await part.acknowledge(conversation_id, "ann", Position(T0), T0) is None
        assert await part.messages_from(conversation_id, 1, 10) == []
        assert await part.patches_since(conversation_id, Millis(0), 10) == []
        assert await part.find_standing(conversation_id, "ann") == Standing()
        assert await part.standings(conversation_id) == {}
        assert await part.subscriptions(conversation_id, "", 10) == []
        assert await part.count_subscriptions(conversation_id) == 0
        assert not await part.delete_message(conversation_id, Position(T0))
        assert not await part.delete_conversation(conversation_id)
        with pytest.raises(ConversationNotFound):
            await part.append(conversation_id, draft(), T0)
        with pytest.raises(ConversationNotFound):
            await part.patch_message(conversation_id, place(draft(), "", T0, 1), T0)
        with pytest.raises(ConversationNotFound):
            await part.change_conversation(conversation(conversation_id, "ann"))

    @pytest.mark.parametrize("conversation_id", NOT_IDS)
    async def test_none_is_created_with_an_impossible_id(self, part: ApplicationStore, conversation_id: str) -> None:
        with pytest.raises(ValueError, match="conversation id"):
            part.create_conversation(conversation(conversation_id))

    @pytest.mark.parametrize("client_id", NOT_CLIENTS)
    async def test_an_impossible_client_is_member_of_nothing(self, part: ApplicationStore, client_id: str) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        assert await part.find_membership(CONVERSATION, client_id) is None
        assert await part.mark_read(CONVERSATION, client_id, None, T0) is None
        assert await part.conversation_ids_of(client_id) == []
        assert await part.joined_conversations(client_id) == []
        assert await part.find_grant(client_id, "t") is None
        assert await part.find_kick(client_id) == 0
        assert await part.acknowledge(CONVERSATION, client_id, Position(T0), T0) is None
        assert await part.find_standing(CONVERSATION, client_id) == Standing()
        assert await part.refused_conversations(client_id) == []
        assert await part.notices_for(client_id, Millis(0), 10) == ([], False)
        assert await part.take_will(client_id, None) is None
        assert await part.find_stay(client_id, "") is None

    @pytest.mark.parametrize("client_id", ["", "c" * 10_000])
    async def test_an_impossible_client_may_be_named(self, part: ApplicationStore, client_id: str) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        assert (await part.append(CONVERSATION, draft(client_id, mentions=(client_id, "ann")), T0)).fresh
        assert await unread_of(part, "ann") == Unread(1, True)

    async def test_the_longest_client_ids_are_told_apart(self, part: ApplicationStore) -> None:
        members = ("c" * 64, "c" * 63, "😀" * 64, "😀" * 63 + "😁", "c")
        await part.create_conversation(conversation(CONVERSATION, *members))
        for sent, member in enumerate(members):
            await settle(*[part.append(CONVERSATION, draft(member), T0) for _ in range(sent)])
        for sent, member in enumerate(members):
            membership = await part.find_membership(CONVERSATION, member)
            assert membership is not None
            assert membership.sent == sent
            assert await part.conversation_ids_of(member) == [CONVERSATION]

    async def test_a_taken_id_changes_nothing(self, part: ApplicationStore) -> None:
        first = await part.create_conversation(conversation(CONVERSATION, "ann"))
        with pytest.raises(Unavailable):
            await part.create_conversation(conversation(CONVERSATION, "ben", unique_key="k"))
        assert await part.find_conversation(CONVERSATION) == first
        assert await part.conversation_ids_of("ben") == []
        other = conversation(OTHER, "ben", unique_key="k")
        assert await part.create_conversation(other) == other

    async def test_a_unique_key_leads_to_the_first(self, part: ApplicationStore) -> None:
        first = await part.create_conversation(conversation(CONVERSATION, "ann", "ben", unique_key="k"))
        second = conversation(OTHER, "ann", "ben", unique_key="k", columns={"name": "second"})
        assert await part.create_conversation(second) == first
        assert await part.find_conversation(OTHER) is None
        assert await part.conversation_ids_of("ann") == [CONVERSATION]

    async def test_two_at_once_with_one_unique_key_are_one(self, part: ApplicationStore) -> None:
        ids = [f"{number:024x}" for number in range(20)]
        writes = [part.create_conversation(conversation(one, "ann", unique_key="k")) for one in ids]
        assert {(await write).id for write in writes} == {ids[0]}
        assert [one.id for one in await scanned(part)] == ids[:1]

    async def test_an_expired_one_gives_its_unique_key_up(self, part: ApplicationStore) -> None:
        def temporary(number: int, created_at: int) -> Conversation:
            made = conversation(f"_tmp:{number:024x}", "ann", kind=Kind.TEMPORARY, unique_key="k", ttl_seconds=60)
            return replace(made, created_at=Millis(created_at))

        first, later = temporary(1, T0), temporary(2, T0 + 59_999)
        assert await part.create_conversation(first) == first
        assert await part.create_conversation(later) == first
        second = temporary(3, T0 + 60_000)
        assert await part.create_conversation(second) == second
        assert await part.create_conversation(temporary(4, T0 + 60_001)) == second
        assert await part.find_conversation(first.id) == first
        await retire(part, T0 + 60_000)
        assert await part.find_conversation(first.id) is None
        assert await part.create_conversation(temporary(5, T0 + 60_002)) == second

    async def test_kinds_have_their_own_unique_keys(self, part: ApplicationStore) -> None:
        temporary = "_tmp:" + OTHER
        await part.create_conversation(conversation(CONVERSATION, "ann", unique_key="k"))
        made = await part.create_conversation(conversation(temporary, "ann", kind=Kind.TEMPORARY, unique_key="k"))
        assert made.id == temporary
        assert made.kind is Kind.TEMPORARY

    async def test_a_scan_goes_from_the_newest_to_the_oldest(self, part: ApplicationStore) -> None:
        ids = ["00" * 12, "0a" + "ff" * 11, "_tmp:" + "0b" * 12, "a0" * 12, "_tmp:" + "a0" * 12, "ff" * 12]
        for one in (3, 0, 5, 2, 4, 1):
            await part.create_conversation(conversation(ids[one]))
        assert [one.id for one in await scanned(part)] == ids[::-1]

    async def test_a_scan_lets_the_store_be_used_in_between(self, part: ApplicationStore) -> None:
        ids = [f"{number:024x}" for number in range(5)]
        await settle(*[part.create_conversation(conversation(one, "ann")) for one in ids])
        seen = []
        async for one in part.scan_conversations():
            await part.append(one.id, draft(), T0)
            seen.append((await part.history(one.id, Span()))[0].sequence)
        assert seen == [1] * 5


class TestMembers:
    async def test_those_of_a_new_conversation_have_read_nothing(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
        assert await part.find_membership(CONVERSATION, "ben") == Membership(joined_at=T0)
        assert await part.find_membership(CONVERSATION, "cat") is None
        assert await part.joined_conversations("ben") == [Joined(CONVERSATION, Membership(joined_at=T0), Head())]

    async def test_a_client_belongs_to_what_it_joined_and_did_not_leave(self, part: ApplicationStore) -> None:
        ids = [f"{number:024x}" for number in range(4)]
        made = [await part.create_conversation(conversation(one, "ann", "ben")) for one in ids]
        await part.change_conversation(member_of(made[1], "ann"), left=["ben"])
        await part.change_conversation(member_of(made[2], "ann", "ben", "cat"), joined=["cat"])
        assert sorted(await part.conversation_ids_of("ann")) == ids
        assert sorted(await part.conversation_ids_of("ben")) == [ids[0], ids[2], ids[3]]
        assert await part.conversation_ids_of("cat") == [ids[2]]
        assert await part.find_membership(ids[1], "ben") is None
        assert await part.find_conversation(ids[1]) == member_of(made[1], "ann")

    async def test_who_joins_has_read_what_is_there(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "ann"))
        await fill(part, "aaa")
        joining = member_of(made, "ann", "ben", updated_at=T0 + 9)
        await part.change_conversation(joining, joined=["ben"])
        assert await part.find_membership(CONVERSATION, "ben") == Membership(
            joined_at=Millis(T0 + 9), read=3, delivered=3
        )
        await part.append(CONVERSATION, draft("ann"), T0)
        assert await unread_of(part, "ben") == Unread(1, False)

    async def test_who_joins_twice_keeps_its_membership(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
        await fill(part, "xxx")
        await part.change_conversation(replace(made, updated_at=T0 + 9), joined=["ben"])
        assert await part.find_membership(CONVERSATION, "ben") == Membership(joined_at=T0)

    async def test_who_comes_back_starts_afresh(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
        await settle(*[part.append(CONVERSATION, draft(sender), T0) for sender in ("ben", "ann", "ben")])
        await part.append(CONVERSATION, draft("ann", mentions=("ben",)), T0)
        await part.change_conversation(member_of(made, "ann"), left=["ben"])
        await part.append(CONVERSATION, draft("ben"), T0)
        await part.change_conversation(member_of(made, "ann", "ben", updated_at=T0 + 9), joined=["ben"])
        assert await part.find_membership(CONVERSATION, "ben") == Membership(
            joined_at=Millis(T0 + 9), read=5, delivered=5
        )
        assert await unread_of(part, "ben") == Unread(0, False)
        await part.append(CONVERSATION, draft("ben"), T0)
        await part.append(CONVERSATION, draft("ann"), T0)
        assert await unread_of(part, "ben") == Unread(1, False)

    async def test_a_change_keeps_what_it_does_not_name(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "ann", "ben", unique_key="k"))
        await fill(part, "aab")
        await part.change_conversation(replace(made, columns={"name": "new"}, muted=("ann",)))
        assert (await part.find_head(CONVERSATION)).sequence == 3
        assert len(await everything(part)) == 3
        found = await part.find_conversation(CONVERSATION)
        assert found is not None
        assert (found.columns, found.muted) == ({"name": "new"}, ("ann",))
        assert await part.create_conversation(conversation(OTHER, unique_key="k")) == found

    @pytest.mark.parametrize("change", [{"kind": Kind.SYSTEM}, {"unique_key": "other"}, {"unique_key": None}])
    async def test_kind_and_unique_key_stay(self, part: ApplicationStore, change: dict[str, Any]) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "ann", unique_key="k"))
        with pytest.raises(ValueError, match="cannot change"):
            await part.change_conversation(replace(made, **change))
        assert await part.find_conversation(CONVERSATION) == made


class TestAppending:
    async def test_a_message_is_found_as_it_was_sent(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        sent = draft(
            "ann",
            bytes(range(256)),
            binary=True,
            receipt=True,
            mention_all=True,
            mentions=("ben", "cat"),
            address="::1",
        )
        appended = await part.append(CONVERSATION, sent, T0)
        message = appended.message
        assert appended.fresh
        assert (message.sequence, message.timestamp, len(message.id)) == (1, T0, MESSAGE_ID_LENGTH)
        assert (message.sender, message.body, message.binary) == ("ann", bytes(range(256)), True)
        assert (message.receipt, message.mention_all, message.mentions) == (True, True, ("ben", "cat"))
        assert (message.address, message.patched_at, message.recalled, message.deleted) == ("::1", 0, False, False)
        assert await part.find_message(CONVERSATION, message.position) == message
        assert await everything(part) == [message]
        head = Head(1, T0, message.id, (MentionAll(1, "ann"),), first=1, receipt=1)
        assert await part.find_head(CONVERSATION) == head

    async def test_the_head_knows_the_last_message_that_asked_for_receipts(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        for asked, last in [(False, 0), (True, 2), (False, 2), (True, 4)]:
            await part.append(CONVERSATION, draft(receipt=asked), T0)
            assert (await part.find_head(CONVERSATION)).receipt == last

    async def test_a_body_may_be_empty_or_large(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        bodies = [b"", b"x" * 3_000, b"y" * 1_000_000, b"z"]
        await settle(*[part.append(CONVERSATION, draft("ann", body), T0) for body in bodies])
        assert [message.body for message in await everything(part)] == bodies

    async def test_those_queued_together_stand_in_the_order_of_the_calls(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        writes = [part.append(CONVERSATION, draft("ann", str(n).encode()), T0) for n in range(200)]
        messages = [(await write).message for write in writes]
        assert [message.body for message in messages] == [str(n).encode() for n in range(200)]
        assert [message.sequence for message in messages] == list(range(1, 201))
        assert messages == sorted(messages, key=lambda message: message.position)
        assert messages == sorted(messages, key=lambda message: message.id)
        assert await everything(part) == messages

    async def test_timestamps_and_ids_grow_when_the_clock_steps_back(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        clock = [T0, T0 - 3_600_000, T0 - DAY, T0, T0 + 1, T0 + DAY, T0 + 2, 0]
        messages = [(await part.append(CONVERSATION, draft(), Millis(now))).message for now in clock]
        assert [message.timestamp - T0 for message in messages] == [0, 1, 2, 3, 4, DAY, DAY + 1, DAY + 2]
        assert [message.id for message in messages] == sorted({message.id for message in messages})

    async def test_conversations_count_for_themselves(self, part: ApplicationStore) -> None:
        for one in (CONVERSATION, OTHER, "_tmp:" + CONVERSATION):
            await part.create_conversation(conversation(one))
        await fill(part, "aaa")
        await fill(part, "bb", OTHER)
        await fill(part, "c", "_tmp:" + CONVERSATION)
        assert [len(await everything(part, one)) for one in (CONVERSATION, OTHER, "_tmp:" + CONVERSATION)] == [3, 2, 1]
        assert [message.sequence for message in await everything(part, OTHER)] == [1, 2]

    async def test_who_is_not_a_member_may_send_where_the_caller_allows(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, kind=Kind.CHAT_ROOM))
        assert (await part.append(CONVERSATION, draft("zoe", mentions=("yan",)), T0)).message.sequence == 1
        assert await part.conversation_ids_of("zoe") == []
        assert await part.conversation_ids_of("yan") == []

    async def test_a_failed_write_harms_no_other(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        first = part.append(CONVERSATION, draft(body=b"1"), T0)
        nowhere = part.append(OTHER, draft(), T0)
        taken = part.create_conversation(conversation(CONVERSATION, "ben"))
        last = part.append(CONVERSATION, draft(body=b"2"), T0)
        ends = await settle(first, nowhere, taken, last)
        assert isinstance(ends[1], ConversationNotFound)
        assert isinstance(ends[2], Unavailable)
        assert [message.body for message in await everything(part)] == [b"1", b"2"]
        assert [ends[0].message, ends[3].message] == await everything(part)


class TestTokens:
    async def test_the_same_token_is_the_same_message(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
        first = await part.append(CONVERSATION, draft("ann", b"1", token="t"), T0)
        again = await part.append(CONVERSATION, draft("ann", b"2", token="t", mentions=("ben",)), Millis(T0 + 5))
        assert (again.message, again.fresh) == (first.message, False)
        assert await everything(part) == [first.message]
        assert (await part.find_head(CONVERSATION)).sequence == 1
        assert await unread_of(part, "ben") == Unread(1, False)
        assert await unread_of(part, "ann") == Unread(0, False)

    async def test_it_is_when_both_are_queued_together(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        writes = [part.append(CONVERSATION, draft(token=f"t{n % 3}"), T0) for n in range(12)]
        appended = [await write for write in writes]
        assert [one.fresh for one in appended] == [True] * 3 + [False] * 9
        assert [one.message.sequence for one in appended] == [1, 2, 3] * 4

    async def test_senders_conversations_and_tokens_are_told_apart(self, part: ApplicationStore) -> None:
        for one in (CONVERSATION, OTHER):
            await part.create_conversation(conversation(one))
        for one, sender, token in product((CONVERSATION, OTHER), ("ann", "annt"), ("t", "tt", "\ud800")):
            assert (await part.append(one, draft(sender, token=token), T0)).fresh

    async def test_no_token_is_no_token(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        assert (await part.append(CONVERSATION, draft(), T0)).fresh
        assert (await part.append(CONVERSATION, draft(), T0)).fresh

    async def test_the_clock_does_not_bring_a_message_back(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        for number, now in enumerate([T0, T0 + DAY, T0 - DAY, T0 + 6 * DAY]):
            token = draft(token=str(number))
            assert (await part.append(CONVERSATION, token, Millis(now))).fresh
            for later in (T0 - WEEK, T0, T0 + 6 * DAY):
                assert not (await part.append(CONVERSATION, token, Millis(later))).fresh

    async def test_a_sweep_forgets_those_past_their_time_only(self, store: Store, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        for number in range(1_200):
            part.append(CONVERSATION, draft(token=str(number)), T0)
        await part.append(CONVERSATION, draft(token="young"), Millis(T0 + DAY))
        assert await store.sweep(Millis(T0 + WEEK - 3_600_000)) == 0
        swept: list[int] = []
        while swept[-1:] != [0]:
            swept.append(await store.sweep(Millis(T0 + WEEK + DAY - 3_600_000)))
        assert sum(swept) == 1_200
        now = Millis(T0 + WEEK + DAY)
        assert (await part.append(CONVERSATION, draft(token="17"), now)).fresh
        assert not (await part.append(CONVERSATION, draft(token="young"), now)).fresh


class TestHistory:
    async def test_the_management_api_s_examples(self, part: ApplicationStore) -> None:
        """Source: REST API, history query parameters."""
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "aaa")
        one, _, three = (message.position for message in await everything(part))

        async def found(**options: bool) -> list[int]:
            return [message.sequence for message in await part.history(CONVERSATION, Span(one, three, **options))]

        assert await found() == [2]
        assert await found(before_included=True) == [2, 3]
        assert await found(after_included=True) == [1, 2]
        assert await found(newest_first=False) == [2]
        assert await found(newest_first=False, after_included=True) == [1, 2]
        assert await found(newest_first=False, before_included=True) == [2, 3]

    async def test_every_span_is_a_slice_of_the_whole(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        for gap in (0, 5, 6, 20):
            await part.append(CONVERSATION, draft(), Millis(T0 + gap))
        whole = await everything(part)
        inside = [message.position for message in whole]
        edges = [Position(Millis(T0 + at), text) for at in (-1, 0, 5, 7, 30) for text in ("", "~")]
        places = [None, *inside, *edges, Position(Millis(-1)), Position(Millis(2**70), "\ud800")]
        for after, before in product(places, places):
            for after_included, before_included, newest_first in product((False, True), repeat=3):
                for limit in (1, 3, 100):
                    span = Span(after, before, after_included, before_included, newest_first, limit)
                    assert await part.history(CONVERSATION, span) == expected_of(whole, span), span

    @pytest.mark.parametrize("limit", [0, -1])
    async def test_nothing_is_found_when_nothing_is_asked_for(self, part: ApplicationStore, limit: int) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "aaa")
        assert await part.history(CONVERSATION, Span(limit=limit)) == []
        assert await part.history(CONVERSATION, Span(limit=limit), lambda message: True) == []

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("limit", [5, 300, 600, 5_000])
    async def test_unwanted_messages_do_not_count(self, part: ApplicationStore, newest_first: bool, limit: int) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "ab" * 600)
        whole = [message for message in await everything(part) if message.sender == "a"]
        assert len(whole) == 600
        span = Span(newest_first=newest_first, limit=limit)
        found = await part.history(CONVERSATION, span, lambda message: message.sender == "a")
        assert found == expected_of(whole, span)

    async def test_a_message_is_found_at_its_own_place_only(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "aaaaa")
        for message in await everything(part):
            assert await part.find_message(CONVERSATION, message.position) == message
            for elsewhere in (
                Position(message.timestamp),
                Position(message.timestamp, "x" * MESSAGE_ID_LENGTH),
                Position(Millis(message.timestamp + 100), message.id),
            ):
                assert await part.find_message(CONVERSATION, elsewhere) is None
        assert await part.find_message(OTHER, Position(T0)) is None


def expected_of(whole: list[Message], span: Span) -> list[Message]:
    """What the span means, said plainly."""
    within = [
        message
        for message in whole
        if (
            span.after is None
            or message.position > span.after
            or (span.after_included and message.position == span.after)
        )
        and (
            span.before is None
            or message.position < span.before
            or (span.before_included and message.position == span.before)
        )
    ]
    return within[-span.limit :] if span.newest_first else within[: span.limit]


class TestReading:
    async def test_own_messages_do_not_count(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b", "c"))
        await fill(part, "aabac")
        assert [await unread_of(part, one) for one in "abc"] == [Unread(2, False), Unread(4, False), Unread(4, False)]

    async def test_a_mention_lasts_until_it_is_read(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
        await part.append(CONVERSATION, draft("ann", mentions=("ben", "ann")), T0)
        await part.append(CONVERSATION, draft("ann"), T0)
        assert await unread_of(part, "ben") == Unread(2, True)
        assert await unread_of(part, "ann") == Unread(0, False)
        await part.mark_read(CONVERSATION, "ben", Position(T0), T0)
        assert await unread_of(part, "ben") == Unread(1, False)

    async def test_everybody_is_mentioned_but_the_sender(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
        await part.append(CONVERSATION, draft("ben", mention_all=True), T0)
        await part.append(CONVERSATION, draft("ann", mention_all=True), T0)
        await part.append(CONVERSATION, draft("ann"), T0)
        assert await unread_of(part, "ann") == Unread(1, True)
        assert await unread_of(part, "ben") == Unread(2, True)
        await part.mark_read(CONVERSATION, "ann", None, T0)
        assert await unread_of(part, "ann") == Unread(0, False)

    async def test_reading_to_the_head_leaves_nothing_unread(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "abaab")
        now = Millis(T0 + 99)
        read = Membership(T0, sent=2, read=5, sent_at_read=2, read_at=now, delivered=5, delivered_at=now)
        assert await part.mark_read(CONVERSATION, "b", None, now) == read
        assert await part.find_membership(CONVERSATION, "b") == read
        assert await unread_of(part, "b") == Unread(0, False)

    async def test_reading_an_empty_conversation_moves_nothing(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a"))
        assert await part.mark_read(CONVERSATION, "a", None, Millis(T0 + 9)) == Membership(T0)

    async def test_reading_stops_at_the_position(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "abaabba")
        whole = await everything(part)
        for upto, left in [(0, 3), (1, 3), (2, 2), (4, 1), (5, 1), (6, 0)]:
            await part.mark_read(CONVERSATION, "b", whole[upto].position, T0)
            assert await unread_of(part, "b") == Unread(left, False), upto

    async def test_a_position_without_an_id_covers_its_millisecond(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "aaaa")
        for at, read in [(-1, 0), (0, 1), (2, 3), (50, 4)]:
            membership = await part.mark_read(CONVERSATION, "b", Position(Millis(T0 + at)), T0)
            assert membership is not None
            assert membership.read == read

    async def test_a_position_between_messages_covers_those_before_it(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "aaaa")
        at = Millis(T0 + 2)
        for message_id, read in [("!", 2), ("~", 3)]:
            membership = await part.mark_read(CONVERSATION, "b", Position(at, message_id), T0)
            assert membership is not None
            assert membership.read == read

    async def test_a_position_never_moves_back(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "aabaa")
        whole = await everything(part)
        read = await part.mark_read(CONVERSATION, "b", whole[3].position, T0)
        for upto in (whole[3].position, whole[0].position, Position(Millis(0))):
            assert await part.mark_read(CONVERSATION, "b", upto, Millis(T0 + 9)) == read
            assert await part.find_membership(CONVERSATION, "b") == read

    async def test_who_is_not_a_member_reads_nothing(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a"))
        await fill(part, "aaa")
        assert await part.mark_read(CONVERSATION, "b", None, T0) is None
        assert await part.find_membership(CONVERSATION, "b") is None

    @pytest.mark.slow
    @pytest.mark.parametrize("upto", [1, 400, 3_000, 5_600, 5_999])
    async def test_a_long_way_is_counted_right_from_either_end(self, part: ApplicationStore, upto: int) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        senders = "abb" * 2_000
        await fill(part, senders)
        reading = part.mark_read(CONVERSATION, "b", Position(Millis(T0 + upto - 1)), T0)
        meanwhile = [part.append(CONVERSATION, draft(sender), Millis(T0 + 7_000)) for sender in "ba"]
        membership = await reading
        await settle(*meanwhile)
        assert membership is not None
        assert (membership.read, membership.sent_at_read) == (upto, senders[:upto].count("b"))
        assert await unread_of(part, "b") == Unread((senders[upto:] + "ba").count("a"), False)

    @pytest.mark.slow
    async def test_a_long_way_gives_way_to_a_later_reading(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "ab" * 3_000)
        half = part.mark_read(CONVERSATION, "b", Position(Millis(T0 + 3_000)), T0)
        whole = part.mark_read(CONVERSATION, "b", None, Millis(T0 + 1))
        await settle(half, whole)
        assert await unread_of(part, "b") == Unread(0, False)
        assert await whole == await part.find_membership(CONVERSATION, "b")

    async def test_joined_conversations_tell_what_the_counts_need(self, part: ApplicationStore) -> None:
        ids = [f"{number:024x}" for number in range(700)]
        await settle(*[part.create_conversation(conversation(one, "a", "b")) for one in ids])
        await fill(part, "aab", ids[3])
        joined = {one.conversation_id: one for one in await part.joined_conversations("b")}
        assert sorted(joined) == sorted(await part.conversation_ids_of("b")) == ids
        assert unread(joined[ids[3]].head, joined[ids[3]].membership, "b") == Unread(2, False)
        assert joined[ids[4]] == Joined(ids[4], Membership(T0), Head())


class TestDeletingConversations:
    async def test_nothing_of_it_is_found_any_more(self, part: ApplicationStore) -> None:
        made = conversation(CONVERSATION, "ann", "ben", unique_key="k", regulated=True)
        await part.create_conversation(made)
        await part.change_conversation(made, standings={"ben": Standing(Role.MANAGER)}, notices=[notice(None, T0 + 1)])
        message = (await part.append(CONVERSATION, draft("ann", token="t"), T0, urgent=True)).message
        await part.patch_message(CONVERSATION, message, T0)
        assert await part.delete_conversation(CONVERSATION)
        for _ in range(2):  # before and after what it left behind is taken away
            assert await part.find_conversation(CONVERSATION) is None
            assert await scanned(part) == []
            assert await part.conversation_ids_of("ann") == []
            assert await part.joined_conversations("ben") == []
            assert await part.find_membership(CONVERSATION, "ann") is None
            assert await part.find_head(CONVERSATION) == Head()
            assert await everything(part) == []
            assert await part.find_message(CONVERSATION, message.position) is None
            assert await part.messages_from(CONVERSATION, 1, 10) == []
            assert await part.patches_since(CONVERSATION, Millis(0), 10) == []
            assert await part.urgent_since(CONVERSATION, T0, T0, 10) == []
            assert await part.standings(CONVERSATION) == {}
            assert await part.find_standing(CONVERSATION, "ben") == Standing()
            assert await part.notices_for("ben", Millis(0), 10) == ([], False)
            assert await part.mark_read(CONVERSATION, "ann", None, T0) is None
            assert await part.acknowledge(CONVERSATION, "ann", message.position, T0) is None
            assert not await part.delete_message(CONVERSATION, message.position)
            assert not await part.delete_conversation(CONVERSATION)
            with pytest.raises(ConversationNotFound):
                await part.append(CONVERSATION, draft("ann", token="t"), T0)
            with pytest.raises(ConversationNotFound):
                await part.change_conversation(made, joined=["cat"])
            with pytest.raises(ConversationNotFound):
                await part.patch_message(CONVERSATION, message, T0)
            await retire(part, T0)

    async def test_its_unique_key_is_free(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann", unique_key="k"))
        await part.delete_conversation(CONVERSATION)
        second = conversation(OTHER, "ann", unique_key="k")
        assert await part.create_conversation(second) == second
        await retire(part, T0)
        assert await part.create_conversation(conversation(f"{1:024x}", unique_key="k")) == second

    async def test_a_service_conversation_takes_its_personal_logs_along(self, part: ApplicationStore) -> None:
        await part.create_conversation(service())
        await part.change_conversation(service(), joined=["ann", "ben"])
        log_id = personal_log(CONVERSATION, "ann")
        message = (await part.append(log_id, draft("office"), T0)).message
        await part.delete_conversation(CONVERSATION)
        for _ in range(2):
            assert await part.subscriptions(CONVERSATION, "", 10) == []
            assert await part.count_subscriptions(CONVERSATION) == 0
            assert await everything(part, log_id) == []
            assert await part.find_head(log_id) == Head()
            assert await part.find_message(log_id, message.position) is None
            assert await part.find_membership(log_id, "ann") is None
            assert await part.joined_conversations("ann") == []
            with pytest.raises(ConversationNotFound):
                await part.append(log_id, draft("ann"), T0)
            await retire(part, T0)

    async def test_others_stay_as_they_are(self, part: ApplicationStore) -> None:
        neighbours = [f"{number:024x}" for number in (0, 2)] + [f"_tmp:{1:024x}"]
        for one in (*neighbours, f"{1:024x}"):
            await part.create_conversation(conversation(one, "ann", "ben"))
            await fill(part, "aaa", one)
        await part.delete_conversation(f"{1:024x}")
        await retire(part, T0)
        assert sorted(await part.conversation_ids_of("ann")) == sorted(neighbours)
        assert sorted(one.id for one in await scanned(part)) == sorted(neighbours)
        for one in neighbours:
            assert len(await everything(part, one)) == 3
            assert await unread_of(part, "ben", one) == Unread(3, False)

    async def test_of_several_who_delete_it_one_did(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        ends = await settle(
            part.delete_conversation(CONVERSATION),
            part.append(CONVERSATION, draft(), T0),
            part.delete_conversation(CONVERSATION),
        )
        assert (ends[0], type(ends[1]), ends[2]) == (True, ConversationNotFound, False)

    @pytest.mark.slow
    async def test_much_is_taken_away_in_small_steps(self, part: ApplicationStore) -> None:
        members = [f"client {number}" for number in range(300)]
        await part.create_conversation(conversation(CONVERSATION, *members))
        await part.create_conversation(conversation(OTHER, *members[:3]))
        await fill(part, "ab" * 2_000)
        await fill(part, "ab" * 5, OTHER)
        await part.delete_conversation(CONVERSATION)
        assert max(await retire(part, T0)) < 1_000
        assert len(await everything(part, OTHER)) == 10
        assert await part.conversation_ids_of(members[2]) == [OTHER]
        assert await part.conversation_ids_of(members[3]) == []


class TestStandings:
    async def test_who_was_given_none_has_none(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
        assert await part.find_standing(CONVERSATION, "ann") == Standing()
        assert await part.standings(CONVERSATION) == {}

    async def test_each_is_found_as_it_was_given(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "ann", "ben", "cat"))
        given = {
            "ann": Standing(Role.OWNER),
            "ben": Standing(Role.MANAGER, silenced=True),
            "cat": Standing(silenced_until=Millis(T0 + 60_000)),
            "dan, who is no member": Standing(blocked=True),
        }
        await part.change_conversation(replace(made, regulated=True), standings=given)
        assert await part.standings(CONVERSATION) == given
        for client_id, standing in given.items():
            assert await part.find_standing(CONVERSATION, client_id) == standing
        found = await part.find_conversation(CONVERSATION)
        assert found is not None
        assert found.regulated

    async def test_they_come_in_the_order_of_utf_8(self, part: ApplicationStore) -> None:
        clients = ["b", "aa", "a", "é", "z", "\uffff", "😀", "Z", "c" * 64]
        made = await part.create_conversation(conversation(CONVERSATION))
        await part.change_conversation(made, standings=dict.fromkeys(clients, Standing(blocked=True)))
        assert list(await part.standings(CONVERSATION)) == sorted(clients, key=str.encode)

    async def test_a_plain_one_is_not_kept(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "ann"))
        await part.change_conversation(made, standings={"ann": Standing(silenced=True), "ben": Standing(blocked=True)})
        await part.change_conversation(made, standings={"ann": Standing(), "cat": Standing()})
        assert await part.standings(CONVERSATION) == {"ben": Standing(blocked=True)}
        assert await part.find_standing(CONVERSATION, "ann") == Standing()

    async def test_a_change_keeps_those_it_does_not_name(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
        blocked = {"ben": Standing(blocked=True)}
        await part.change_conversation(member_of(made, "ann"), left=["ben"], standings=blocked)
        assert await part.find_membership(CONVERSATION, "ben") is None
        await part.change_conversation(member_of(made, "ann", columns={"name": "new"}))
        await part.append(CONVERSATION, draft("ann"), T0)
        assert await part.standings(CONVERSATION) == blocked

    async def test_conversations_and_clients_are_told_apart(self, part: ApplicationStore) -> None:
        for number, one in enumerate((CONVERSATION, OTHER, "_tmp:" + CONVERSATION)):
            made = await part.create_conversation(conversation(one))
            until = {"a": Standing(silenced_until=Millis(number)), "aa": Standing(silenced_until=Millis(10 + number))}
            await part.change_conversation(made, standings={**until, "ab": Standing(Role.MANAGER)})
        found = await part.standings(OTHER)
        assert (found["a"].silenced_until, found["aa"].silenced_until, len(found)) == (1, 11, 3)

    async def test_nothing_is_given_in_a_change_that_fails(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION))
        failing = replace(made, kind=Kind.SYSTEM)
        with pytest.raises(ValueError, match="cannot change"):
            await part.change_conversation(
                failing, joined=["ann"], standings={"ann": Standing(blocked=True)}, notices=[notice("ann", T0)]
            )
        assert await part.standings(CONVERSATION) == {}
        assert await part.find_membership(CONVERSATION, "ann") is None
        assert await part.notices_for("ann", Millis(0), 10) == ([], False)


class TestSubscriptions:
    async def test_those_who_joined_are_counted_and_listed(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(service())
        assert (await part.count_subscriptions(CONVERSATION), await part.subscriptions(CONVERSATION, "", 9)) == (0, [])
        for later, client_id in enumerate(("cat", "ann", "ben")):
            await part.change_conversation(replace(made, updated_at=T0 + later), joined=[client_id])
        expected = [
            Subscription(CONVERSATION, one, Millis(T0 + at)) for one, at in [("ann", 1), ("ben", 2), ("cat", 0)]
        ]
        assert await part.subscriptions(CONVERSATION, "", 9) == expected
        assert await part.count_subscriptions(CONVERSATION) == 3
        assert await part.find_conversation(CONVERSATION) == replace(made, updated_at=T0 + 2)
        assert await part.conversation_ids_of("ann") == [CONVERSATION]

    async def test_joining_twice_and_leaving_twice_count_once(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(service())
        for joined, left, expected in [
            (["ann", "ben"], [], 2),
            (["ann", "ann"], [], 2),
            ([], ["ann", "zoe"], 1),
            ([], ["ann"], 1),
            (["ann"], ["ann"], 2),
            (["ann"], ["ben"], 1),
        ]:
            await part.change_conversation(made, joined=joined, left=left)
            assert await part.count_subscriptions(CONVERSATION) == expected
        assert [one.client_id for one in await part.subscriptions(CONVERSATION, "", 9)] == ["ann"]

    async def test_pages_follow_each_other_in_the_order_of_utf_8(self, part: ApplicationStore) -> None:
        clients = ["b", "aa", "a", "é", "z", "\uffff", "😀", "Z", "c" * 64, "😀" * 64]
        made = await part.create_conversation(service())
        await part.create_conversation(service(OTHER))
        await part.change_conversation(made, joined=clients)
        await part.change_conversation(service(OTHER), joined=["ab", "zz"])
        for limit in (1, 3, 100):
            found: list[str] = []
            after = ""
            while page := await part.subscriptions(CONVERSATION, after, limit):
                assert len(page) <= limit
                found += [one.client_id for one in page]
                after = found[-1]
            assert found == sorted(clients, key=str.encode)
        assert [one.client_id for one in await part.subscriptions(CONVERSATION, "x, not one of them", 1)] == ["z"]
        assert await part.subscriptions(CONVERSATION, "a" * 10_000, 1) == await part.subscriptions(
            CONVERSATION, "aa", 1
        )
        assert await part.subscriptions(CONVERSATION, "", 0) == []

    async def test_other_conversations_have_none(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        assert await part.subscriptions(CONVERSATION, "", 10) == []

    async def test_what_comes_after_subscribing_is_unread(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(service())
        await part.append(CONVERSATION, draft("office"), T0)
        await part.change_conversation(made, joined=["ann"])
        await part.append(CONVERSATION, draft("office", mention_all=True), T0)
        assert await unread_of(part, "ann") == Unread(1, True)

    @pytest.mark.slow
    async def test_thousands_are_subscribed_at_once(self, part: ApplicationStore) -> None:
        clients = [f"{number:05}" for number in range(3_000)]
        made = await part.create_conversation(service())
        await part.change_conversation(made, joined=clients)
        assert await part.count_subscriptions(CONVERSATION) == 3_000
        assert [one.client_id for one in await part.subscriptions(CONVERSATION, "00999", 1_000)] == clients[1_000:2_000]


class TestRefusedConversations:
    async def test_they_are_listed_in_the_order_of_their_keys(self, part: ApplicationStore) -> None:
        ids = ["00" * 12, "_tmp:" + "00" * 12, "0a" + "ff" * 11, "_tmp:" + "0b" * 12, "a0" * 12]
        await part.refuse_conversations("ann", [ids[3], ids[1], ids[4]], True, T0)
        await part.refuse_conversations("ann", [ids[0], ids[1], ids[2]], True, Millis(T0 + 1))
        await part.refuse_conversations("ben", [ids[2]], True, T0)
        assert await part.refused_conversations("ann") == ids
        await part.refuse_conversations("ann", [ids[2], OTHER], False, T0)
        assert await part.refused_conversations("ann") == [ids[0], ids[1], ids[3], ids[4]]
        assert await part.refused_conversations("ben") == [ids[2]]
        assert await part.refused_conversations("an") == []

    @pytest.mark.parametrize("refused", [True, False])
    async def test_what_is_not_an_id_is_passed_over(self, part: ApplicationStore, refused: bool) -> None:
        await part.refuse_conversations("ann", [CONVERSATION], True, T0)
        await part.refuse_conversations("ann", [*NOT_IDS, OTHER], refused, T0)
        assert await part.refused_conversations("ann") == [CONVERSATION, OTHER][: 1 + refused]


class TestPersonalLogs:
    async def test_what_goes_to_several_is_one_message_later_than_all_that_is_there(
        self, part: ApplicationStore
    ) -> None:
        await part.create_conversation(service())
        logs = [personal_log(CONVERSATION, client_id) for client_id in ("ann", "ben", "cat")]
        await part.append(logs[1], draft("ben"), Millis(T0 + 50))
        appended = await part.append_each(logs, draft("office", token="t"), T0)
        assert {(one.message.id, one.message.timestamp, one.fresh) for one in appended} == {
            (appended[0].message.id, T0 + 51, True)
        }
        assert [one.message.sequence for one in appended] == [1, 2, 1]
        for log_id, one in zip(logs, appended, strict=True):
            assert await part.find_message(log_id, one.message.position) == one.message
        again = await part.append_each(logs, draft("office", token="t"), Millis(T0 + 99))
        assert [(one.message, one.fresh) for one in again] == [(one.message, False) for one in appended]

    async def test_what_goes_to_several_goes_to_all_or_none(self, part: ApplicationStore) -> None:
        await part.create_conversation(service())
        logs = [personal_log(CONVERSATION, "ann"), personal_log(OTHER, "ann")]
        with pytest.raises(ConversationNotFound):
            await part.append_each(logs, draft("office"), T0)
        assert await part.find_head(logs[0]) == Head()
        with pytest.raises(ConversationNotFound):  # not even a log without messages was made
            await part.patch_message(logs[0], place(draft(), "", T0, 1), T0)
        assert await part.append_each([], draft("office"), T0) == []

    async def test_the_first_message_makes_its_client_a_member_of_it(self, part: ApplicationStore) -> None:
        await part.create_conversation(service())
        log_id = personal_log(CONVERSATION, "ann")
        assert await part.find_membership(log_id, "ann") is None
        assert await part.mark_read(log_id, "ann", None, T0) is None
        first = await part.append(log_id, draft("office", mentions=("ann",)), Millis(T0 + 5))
        assert (first.fresh, first.message.sequence) == (True, 1)
        membership = await part.find_membership(log_id, "ann")
        assert membership == Membership(Millis(T0 + 5), mentioned=1)
        assert await unread_of(part, "ann", log_id) == Unread(1, True)
        assert await part.joined_conversations("ann") == [Joined(log_id, membership, await part.find_head(log_id))]
        assert await part.conversation_ids_of("ann") == []
        assert await part.count_subscriptions(CONVERSATION) == 0

    async def test_what_the_client_sends_there_is_its_own(self, part: ApplicationStore) -> None:
        await part.create_conversation(service())
        log_id = personal_log(CONVERSATION, "ann")
        await part.append(log_id, draft("ann"), T0)
        await part.append(log_id, draft("office"), T0)
        await part.append(log_id, draft("ann"), T0)
        assert await unread_of(part, "ann", log_id) == Unread(1, False)
        assert await part.find_membership(log_id, "office") is None
        await part.mark_read(log_id, "ann", None, Millis(T0 + 9))
        assert await unread_of(part, "ann", log_id) == Unread(0, False)

    async def test_who_leaves_has_read_everything_in_it(self, part: ApplicationStore) -> None:
        subscribed = service()
        await part.create_conversation(subscribed)
        await part.change_conversation(subscribed, joined=["ann", "ben"])
        logs = {client_id: personal_log(CONVERSATION, client_id) for client_id in ("ann", "ben")}
        for client_id, log_id in logs.items():
            for sender in (client_id, "office", "office"):
                await part.append(log_id, draft(sender, mentions=("ann",)), T0)
        await part.change_conversation(replace(subscribed, updated_at=Millis(T0 + 9)), left=["ann", "zoe"])
        assert await unread_of(part, "ann", logs["ann"]) == Unread(0, False)
        assert await unread_of(part, "ben", logs["ben"]) == Unread(2, False)
        membership = await part.find_membership(logs["ann"], "ann")
        assert membership is not None
        assert (membership.read_at, membership.delivered_at, membership.delivered) == (T0 + 9, T0 + 9, 3)

    async def test_each_is_a_log_of_its_own(self, part: ApplicationStore) -> None:
        await part.create_conversation(service())
        await part.create_conversation(service(OTHER))
        clients = ["a", "aa", "a/b", "a/", "é", "c" * 64, "😀" * 64]
        logs = [CONVERSATION, OTHER, *(personal_log(one, c) for one in (CONVERSATION, OTHER) for c in clients)]
        for number, log_id in enumerate(logs):
            await settle(*[part.append(log_id, draft("office", b"%d" % number), T0) for _ in range(number + 1)])
        for number, log_id in enumerate(logs):
            bodies = [message.body for message in await everything(part, log_id)]
            assert bodies == [b"%d" % number] * (number + 1)
            assert (await part.find_head(log_id)).sequence == number + 1
        for client_id in clients:
            ids = sorted(one.conversation_id for one in await part.joined_conversations(client_id))
            assert ids == [personal_log(CONVERSATION, client_id), personal_log(OTHER, client_id)]

    async def test_it_does_all_that_a_log_does(self, part: ApplicationStore) -> None:
        await part.create_conversation(service())
        log_id = personal_log(CONVERSATION, "ann")
        first = (await part.append(log_id, draft("office", b"1", token="t"), T0)).message
        assert not (await part.append(log_id, draft("office", b"2", token="t"), T0)).fresh
        assert (await part.append(CONVERSATION, draft("office", b"2", token="t"), T0)).fresh
        second = (await part.append(log_id, draft("office", b"2"), T0)).message
        assert await part.find_message(log_id, first.position) == first
        assert await part.find_message(CONVERSATION, first.position) is None
        assert await part.history(log_id, Span(after=first.position)) == [second]
        assert await part.messages_from(log_id, 2, 9) == [second]
        assert await part.acknowledge(log_id, "ann", first.position, T0) == Acknowledged(0, 1)
        patched = await part.patch_message(log_id, replace(second, body=b"new"), T0)
        assert await part.patches_since(log_id, Millis(0), 9) == [patched]
        assert await part.patches_since(CONVERSATION, Millis(0), 9) == []
        assert await part.delete_message(log_id, first.position)
        assert await everything(part, log_id) == [patched]

    @pytest.mark.parametrize("kind", [Kind.NORMAL, Kind.CHAT_ROOM])
    async def test_other_conversations_have_none(self, part: ApplicationStore, kind: Kind) -> None:
        await part.create_conversation(conversation(CONVERSATION, kind=kind))
        for log_id in (personal_log(CONVERSATION, "ann"), personal_log(OTHER, "ann"), personal_log(CONVERSATION, "")):
            with pytest.raises(ConversationNotFound):
                await part.append(log_id, draft(), T0)
            assert await part.find_head(log_id) == Head()
            assert await everything(part, log_id) == []

    async def test_it_stays_when_its_client_unsubscribes(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(service())
        log_id = personal_log(CONVERSATION, "ann")
        await part.change_conversation(made, joined=["ann"])
        await part.append(log_id, draft("office"), T0)
        assert len(await part.joined_conversations("ann")) == 2
        await part.change_conversation(made, left=["ann"])
        assert [one.conversation_id for one in await part.joined_conversations("ann")] == [log_id]
        assert len(await everything(part, log_id)) == 1


class TestPatching:
    async def test_the_new_body_is_found_wherever_the_old_one_was(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "aba")
        one, two, three = await everything(part)
        patched = await part.patch_message(CONVERSATION, replace(two, body=b"gone", recalled=True), Millis(T0 + DAY))
        assert patched == replace(two, body=b"gone", recalled=True, patched_at=Millis(T0 + DAY))
        assert await everything(part) == [one, patched, three]
        assert await part.find_message(CONVERSATION, two.position) == patched
        assert await part.messages_from(CONVERSATION, 2, 1) == [patched]
        assert await part.patches_since(CONVERSATION, Millis(0), 10) == [patched]

    async def test_neither_the_head_nor_a_count_changes(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
        sent = draft("ann", receipt=True, mention_all=True, mentions=("ben",))
        message = (await part.append(CONVERSATION, sent, T0)).message
        before = (await part.find_head(CONVERSATION), await part.find_membership(CONVERSATION, "ben"))
        await part.patch_message(CONVERSATION, replace(message, body=b"new", mention_all=False, mentions=()), T0)
        assert (await part.find_head(CONVERSATION), await part.find_membership(CONVERSATION, "ben")) == before
        assert await unread_of(part, "ben") == Unread(1, True)

    async def test_each_is_later_than_its_message_and_every_patch_before(self, part: ApplicationStore) -> None:
        for one in (CONVERSATION, OTHER):
            await part.create_conversation(conversation(one))
            await part.append(one, draft(), T0)
        patched = []
        for one, now in [(CONVERSATION, T0 - DAY), (OTHER, 0), (OTHER, T0 + 9), (CONVERSATION, T0 + 9), (OTHER, T0)]:
            (message,) = await everything(part, one)
            patched.append((await part.patch_message(one, message, Millis(now))).patched_at - T0)
        assert patched == [1, 2, 9, 10, 11]

    async def test_a_patch_that_is_gone_still_lies_before_the_next(self, part: ApplicationStore) -> None:
        for one in (CONVERSATION, OTHER, f"{1:024x}"):
            await part.create_conversation(conversation(one))
            await part.append(one, draft(), T0)
        (first,), (second,), (third,) = [await everything(part, one) for one in (CONVERSATION, OTHER, f"{1:024x}")]
        await part.patch_message(CONVERSATION, first, Millis(T0 + DAY))
        await part.delete_message(CONVERSATION, first.position)
        await part.patch_message(OTHER, second, T0)
        await part.delete_conversation(OTHER)
        await retire(part, T0)
        assert (await part.patch_message(f"{1:024x}", third, T0)).patched_at == T0 + DAY + 2

    async def test_those_queued_together_are_all_told_apart(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "a" * 50)
        messages = await everything(part)
        writes = [part.patch_message(CONVERSATION, message, Millis(T0 + DAY)) for message in messages[::-1]]
        patched = [await write for write in writes]
        assert [one.patched_at - T0 - DAY for one in patched] == list(range(50))
        assert await part.patches_since(CONVERSATION, Millis(0), 100) == patched

    async def test_they_are_listed_in_the_order_of_patching(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "a" * 6)
        messages = await everything(part)
        patched = []
        for later, sequence in enumerate((4, 1, 6, 4, 2)):
            changed = replace(messages[sequence - 1], body=b"%d" % later)
            patched.append(await part.patch_message(CONVERSATION, changed, Millis(T0 + DAY + later)))

        async def found(since: int, limit: int = 10) -> list[Message]:
            return await part.patches_since(CONVERSATION, Millis(since), limit)

        assert await found(0) == [patched[one] for one in (1, 2, 3, 4)]
        assert await found(T0 + DAY + 2) == [patched[3], patched[4]]
        assert await found(0, 2) == [patched[1], patched[2]]
        assert await found(T0 + DAY + 4) == await found(0, 0) == []
        assert await found(-1) == await found(0)

    async def test_a_resent_message_is_answered_with_its_newest_body(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        first = (await part.append(CONVERSATION, draft(token="t"), T0)).message
        patched = await part.patch_message(CONVERSATION, replace(first, body=b"new"), T0)
        again = await part.append(CONVERSATION, draft(token="t"), T0)
        assert (again.message, again.fresh) == (patched, False)

    @pytest.mark.parametrize("sequence", [0, 1, 3])
    async def test_what_is_not_there_cannot_be_patched(self, part: ApplicationStore, sequence: int) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "aa")
        whole = await everything(part)
        await part.delete_message(CONVERSATION, whole[0].position)
        with pytest.raises(MessageNotFound):
            await part.patch_message(CONVERSATION, replace(whole[0], sequence=sequence), T0)
        assert await everything(part) == whole[1:]
        assert await part.patches_since(CONVERSATION, Millis(0), 10) == []

    async def test_bodies_may_grow_and_shrink(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "aaa")
        for body in (b"", b"x" * 1_000_000, b"y" * 3_000, b"z"):
            for message in await everything(part):
                await part.patch_message(CONVERSATION, replace(message, body=body), T0)
            assert [message.body for message in await everything(part)] == [body] * 3


class TestUrgentMessages:
    async def fill(self, part: ApplicationStore, priorities: str, log_id: str = CONVERSATION) -> list[Message]:
        """One message for each letter, a millisecond apart from ``T0`` on; the urgent ones are those of ``u``."""
        for number, priority in enumerate(priorities):
            message = draft("ann", str(number).encode())
            await part.append(log_id, message, Millis(T0 + number), urgent=priority == "u")
        return [one for one in await everything(part, log_id) if priorities[one.sequence - 1] == "u"]

    async def test_they_ascend_between_two_moments_and_both_are_included(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, kind=Kind.CHAT_ROOM))
        urgent = await self.fill(part, "u-uu--u")

        async def found(since: int, until: int, limit: int = 10) -> list[Message]:
            return await part.urgent_since(CONVERSATION, Millis(since), Millis(until), limit)

        assert len(urgent) == 4
        assert await found(T0, T0 + 6) == await found(0, T0 + WEEK) == await found(-1, 1 << 70) == urgent
        assert await found(T0 + 1, T0 + 5) == urgent[1:3]
        assert await found(T0 + 3, T0 + 3) == urgent[2:3]
        assert await found(T0, T0 + 6, 3) == urgent[:3]
        assert await found(T0 + 4, T0 + 5) == await found(T0 + 6, T0) == await found(T0, T0 + 6, 0) == []

    async def test_the_newest_begin_where_it_says(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, kind=Kind.CHAT_ROOM))
        await self.fill(part, "u-uu--uu")
        for since, until, limit, left in [
            (0, T0 + 7, 9, 5),
            (0, T0 + 7, 5, 5),
            (0, T0 + 7, 4, 4),
            (0, T0 + 7, 1, 1),
            (0, T0 + 7, 0, 0),
            (T0 + 3, T0 + 6, 1, 1),
            (T0 + 3, T0 + 6, 2, 2),
            (T0 + 8, T0 + 9, 1, 0),
        ]:
            start = await part.urgent_start(CONVERSATION, Millis(since), Millis(until), limit)
            assert start >= since
            assert len(await part.urgent_since(CONVERSATION, start, Millis(until), 10)) == left

    async def test_they_are_as_they_are_now(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, kind=Kind.CHAT_ROOM))
        first, second, third = await self.fill(part, "uuu")
        patched = await part.patch_message(CONVERSATION, replace(first, body=b"changed"), T0)
        await part.delete_message(CONVERSATION, second.position)
        assert await part.urgent_since(CONVERSATION, T0, Millis(T0 + 2), 2) == [patched, third]

    async def test_one_that_came_before_does_not_become_urgent(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, kind=Kind.CHAT_ROOM))
        await part.append(CONVERSATION, draft(token="t"), T0)
        again = await part.append(CONVERSATION, draft(token="t"), Millis(T0 + 1), urgent=True)
        assert not again.fresh
        assert await part.urgent_since(CONVERSATION, T0, Millis(T0 + DAY), 10) == []

    async def test_logs_and_applications_are_told_apart(self, store: Store, part: ApplicationStore) -> None:
        for one in (CONVERSATION, OTHER):
            await part.create_conversation(conversation(one, kind=Kind.CHAT_ROOM))
        other = await application(store, "app-2")
        await other.create_conversation(conversation(CONVERSATION, kind=Kind.CHAT_ROOM))
        urgent = await self.fill(part, "uu")
        for whose, log_id in ((part, OTHER), (other, CONVERSATION), (part, f"{7:024x}"), (part, "no id")):
            assert await whose.urgent_since(log_id, T0, Millis(T0 + DAY), 10) == []
            assert await whose.urgent_start(log_id, T0, Millis(T0 + DAY), 0) == T0
        assert await part.urgent_since(CONVERSATION, T0, Millis(T0 + DAY), 10) == urgent

    async def test_that_they_were_is_forgotten_when_nobody_can_come_back_any_more(self, part: ApplicationStore) -> None:
        for one in (CONVERSATION, OTHER):
            await part.create_conversation(conversation(one, kind=Kind.CHAT_ROOM))
        urgent, others = await self.fill(part, "uuu"), await self.fill(part, "u", OTHER)
        await retire(part, T0 + REJOIN_MILLIS + 2)
        assert await part.urgent_since(CONVERSATION, T0, Millis(T0 + DAY), 10) == urgent
        await retire(part, T0 + URGENT_KEPT_MILLIS + 1)
        assert await part.urgent_since(CONVERSATION, T0, Millis(T0 + DAY), 10) == urgent[1:]
        assert await part.urgent_since(OTHER, T0, Millis(T0 + DAY), 10) == []
        assert await everything(part, OTHER) == others
        await retire(part, T0 + URGENT_KEPT_MILLIS + 3)
        assert await part.urgent_since(CONVERSATION, T0, Millis(T0 + DAY), 10) == []

    async def test_retired_ones_are_left_out(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, kind=Kind.CHAT_ROOM))
        urgent = await self.fill(part, "uuu")
        await retire(part, T0 + 10_001, Retention(history=Millis(10_000)))
        assert await part.urgent_since(CONVERSATION, T0, Millis(T0 + DAY), 10) == urgent[1:]

    @pytest.mark.slow
    async def test_those_of_many_rooms_are_forgotten_in_small_steps(self, part: ApplicationStore) -> None:
        rooms = [f"{number:024x}" for number in range(30)]
        for room in rooms:
            await part.create_conversation(conversation(room, kind=Kind.CHAT_ROOM))
            writes = [part.append(room, draft(), Millis(T0 + number), urgent=True) for number in range(50)]
            await settle(*writes)
        await part.append(rooms[3], draft(), Millis(T0 + DAY), urgent=True)
        assert max(await retire(part, T0 + DAY)) < 1_000
        left = [len(await part.urgent_since(room, T0, Millis(T0 + WEEK), 99)) for room in rooms]
        assert left == [1 if number == 3 else 0 for number in range(30)]


class TestDeletingMessages:
    async def test_it_is_in_no_answer_any_more(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "abab")
        one, two, three, four = await everything(part)
        await part.patch_message(CONVERSATION, two, Millis(T0 + DAY))
        await part.patch_message(CONVERSATION, three, Millis(T0 + DAY))
        assert await part.delete_message(CONVERSATION, two.position)
        left = [one, replace(three, patched_at=Millis(T0 + DAY + 1)), four]
        assert await everything(part) == left
        assert await part.find_message(CONVERSATION, two.position) is None
        assert await part.messages_from(CONVERSATION, 1, 10) == left
        assert await part.patches_since(CONVERSATION, Millis(0), 10) == left[1:2]
        assert not await part.delete_message(CONVERSATION, two.position)

    async def test_only_the_one_at_exactly_that_place_goes(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "aaa")
        whole = await everything(part)
        middle = whole[1].position
        for position in (
            Position(middle.timestamp),
            Position(middle.timestamp, whole[0].id),
            Position(whole[0].timestamp, middle.message_id),
            Position(Millis(T0 + DAY), "~"),
            Position(Millis(0)),
        ):
            assert not await part.delete_message(CONVERSATION, position)
        assert await everything(part) == whole

    async def test_its_place_is_not_given_again(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "aa")
        head = await part.find_head(CONVERSATION)
        assert await part.delete_message(CONVERSATION, head.position)
        assert await part.find_head(CONVERSATION) == head
        assert (await part.append(CONVERSATION, draft("a"), T0)).message.sequence == 3

    async def test_it_does_not_come_back_when_it_is_sent_again(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        first = (await part.append(CONVERSATION, draft(token="t"), T0)).message
        await part.delete_message(CONVERSATION, first.position)
        again = await part.append(CONVERSATION, draft(token="t"), T0)
        assert (again.message.position, again.fresh) == (first.position, False)
        assert await everything(part) == []

    async def test_history_goes_on_past_deleted_ones(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "a" * 40)
        whole = await everything(part)
        for message in whole[5:35]:
            await part.delete_message(CONVERSATION, message.position)
        left = whole[:5] + whole[35:]
        for newest_first, limit in product((False, True), (1, 5, 7, 100)):
            span = Span(newest_first=newest_first, limit=limit)
            assert await part.history(CONVERSATION, span) == expected_of(left, span)
        span = Span(after=whole[10].position, before=whole[36].position, after_included=True)
        assert await part.history(CONVERSATION, span) == [whole[35]]
        assert await part.history(CONVERSATION, Span(), lambda message: message.deleted) == []

    async def test_counts_stay_right(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "abaabab")
        whole = await everything(part)
        for sequence in (2, 4, 5):
            await part.delete_message(CONVERSATION, whole[sequence - 1].position)
        for upto, left in [(1, 3), (2, 3), (4, 1), (5, 1), (7, 0)]:
            await part.mark_read(CONVERSATION, "b", whole[upto - 1].position, T0)
            assert await unread_of(part, "b") == Unread(left, False), upto


class TestMessagesFrom:
    async def test_they_ascend_from_the_sequence_on(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "a" * 10)
        whole = await everything(part)
        for sequence, limit in product((-5, 0, 1, 4, 10, 11, 99), (-1, 0, 1, 3, 100)):
            expected = whole[max(sequence, 1) - 1 :][: max(limit, 0)]
            assert await part.messages_from(CONVERSATION, sequence, limit) == expected, (sequence, limit)

    async def test_deleted_ones_count_all_the_same(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION))
        await fill(part, "a" * 6)
        whole = await everything(part)
        for sequence in (2, 3):
            await part.delete_message(CONVERSATION, whole[sequence - 1].position)
        assert await part.messages_from(CONVERSATION, 1, 4) == [whole[0], whole[3]]
        assert await part.messages_from(CONVERSATION, 2, 2) == []


class TestAcknowledging:
    async def test_it_moves_forward_only(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "aaaa")
        whole = await everything(part)
        for upto, now, before, after in [(1, 5, 0, 1), (3, 6, 1, 3), (2, 7, 3, 3), (3, 8, 3, 3), (4, 9, 3, 4)]:
            moved = await part.acknowledge(CONVERSATION, "b", whole[upto - 1].position, Millis(T0 + now))
            assert moved == Acknowledged(before, after)
        assert await part.find_membership(CONVERSATION, "b") == Membership(T0, delivered=4, delivered_at=Millis(T0 + 9))
        assert await unread_of(part, "b") == Unread(4, False)

    async def test_what_moves_nothing_stores_nothing(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "a")
        await part.acknowledge(CONVERSATION, "b", Position(Millis(T0 + DAY)), Millis(T0 + 5))
        await part.acknowledge(CONVERSATION, "b", Position(Millis(T0 + DAY)), Millis(T0 + 9))
        await part.acknowledge(CONVERSATION, "b", Position(Millis(0)), Millis(T0 + 9))
        assert await part.find_membership(CONVERSATION, "b") == Membership(T0, delivered=1, delivered_at=Millis(T0 + 5))

    async def test_positions_between_messages_are_meant_as_for_reading(self, part: ApplicationStore) -> None:
        for at, message_id, expected in [(-1, "", 0), (0, "", 1), (2, "", 3), (2, "!", 2), (2, "~", 3), (50, "", 4)]:
            one = f"{at + 1:02x}{ord(message_id or ' '):02x}" + "00" * 10
            await part.create_conversation(conversation(one, "a", "b"))
            await fill(part, "aaaa", one)
            upto = Position(Millis(T0 + at), message_id)
            assert await part.acknowledge(one, "b", upto, T0) == Acknowledged(0, expected)
            read = await part.mark_read(one, "a", upto, T0)
            assert read is not None
            assert read.read == expected

    async def test_who_is_not_a_member_acknowledges_nothing(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a"))
        await fill(part, "a")
        assert await part.acknowledge(CONVERSATION, "b", Position(T0), T0) is None
        assert await part.find_membership(CONVERSATION, "b") is None

    async def test_what_was_read_was_delivered(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "aaaa")
        whole = await everything(part)
        await part.acknowledge(CONVERSATION, "b", whole[1].position, Millis(T0 + 5))
        await part.mark_read(CONVERSATION, "b", whole[0].position, Millis(T0 + 6))
        behind = Membership(T0, read=1, read_at=Millis(T0 + 6), delivered=2, delivered_at=Millis(T0 + 5))
        assert await part.find_membership(CONVERSATION, "b") == behind
        await part.mark_read(CONVERSATION, "b", whole[2].position, Millis(T0 + 7))
        past = Membership(T0, read=3, read_at=Millis(T0 + 7), delivered=3, delivered_at=Millis(T0 + 7))
        assert await part.find_membership(CONVERSATION, "b") == past
        assert await part.acknowledge(CONVERSATION, "b", whole[1].position, T0) == Acknowledged(3, 3)


class TestNoticesOfProgress:
    async def test_they_are_stored_with_the_progress_they_tell_of(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "aa")
        one, two = await everything(part)
        await part.acknowledge(CONVERSATION, "b", one.position, T0, [notice("a", T0 + 1)])
        await part.mark_read(CONVERSATION, "b", two.position, T0, [notice("a", T0 + 2), notice(None, T0 + 3)])
        assert [told.at - T0 for told in (await part.notices_for("a", Millis(0), 9))[0]] == [1, 2, 3]

    async def test_without_progress_there_is_nothing_to_tell(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "aa")
        whole = await everything(part)
        await part.mark_read(CONVERSATION, "b", whole[0].position, T0)
        for client_id in ("b", "zoe"):
            await part.acknowledge(CONVERSATION, client_id, whole[0].position, T0, [notice("a", T0)])
            await part.mark_read(CONVERSATION, client_id, whole[0].position, T0, [notice("a", T0)])
        assert await part.notices_for("a", Millis(0), 9) == ([], False)


class TestNotices:
    async def test_each_is_found_by_those_it_is_for(self, part: ApplicationStore) -> None:
        mine, everybody_s, foreign = notice("ann", T0 + 1), notice(None, T0 + 2), notice("ben", T0 + 3)
        await part.create_conversation(conversation(CONVERSATION, "ann", "cat"))
        await part.add_notices([everybody_s, foreign, mine])
        found = {one: await part.notices_for(one, Millis(0), 10) for one in ("ann", "ben", "cat", "dan")}
        assert found == {
            "ann": ([mine.notice, everybody_s.notice], False),
            "ben": ([foreign.notice], False),
            "cat": ([everybody_s.notice], False),
            "dan": ([], False),
        }

    async def test_one_is_kept_as_it_was_given(self, part: ApplicationStore) -> None:
        fields = {"attr": {"name": "茶", "n": [1, -2.5, None, True]}, "t": T0, "read": True}
        given = replace(
            notice("ann", T0).notice, op="rcp", by="", clients=("ben", "cat"), fields=fields, permanent=False
        )
        await part.add_notices([replace(notice("ann", T0), notice=given)])
        assert await part.notices_for("ann", Millis(0), 10) == ([given], False)

    async def test_those_after_a_moment_come_in_order(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        await part.create_conversation(conversation(OTHER, "ann"))
        for at, client_id, one in [
            (5, None, OTHER), (1, "ann", OTHER), (4, "ann", OTHER), (2, None, CONVERSATION), (3, None, OTHER),
        ]:  # fmt: skip
            await part.add_notices([notice(client_id, T0 + at, one)])
        for since in range(-1, 6):
            found, more = await part.notices_for("ann", Millis(T0 + since), 10)
            assert [one.at - T0 for one in found] == list(range(max(since, 0) + 1, 6))
            assert not more

    async def test_all_of_one_millisecond_are_kept(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        await part.create_conversation(conversation(OTHER, "ann"))
        given = [
            notice(client_id, T0, one, op)
            for client_id, one, op in product(("ann", None), (CONVERSATION, OTHER), ("joined", "left", "joined"))
        ]
        await part.add_notices(given[:7])
        await part.add_notices(given[7:])
        found, more = await part.notices_for("ann", Millis(T0 - 1), 100)
        assert sorted(map(repr, found)) == sorted(repr(one.notice) for one in given)
        assert not more

    async def test_a_page_ends_with_a_millisecond(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        moments = [1, 2, 2, 2, 3, 4, 4]
        await part.add_notices([notice("ann" if n % 2 else None, T0 + at) for n, at in enumerate(moments)])
        for limit, size in [(1, 1), (2, 4), (3, 4), (4, 4), (5, 5), (6, 7), (7, 7), (8, 7)]:
            found, more = await part.notices_for("ann", Millis(0), limit)
            assert [one.at - T0 for one in found] == moments[:size]
            assert more == (size < 7)

    async def test_pages_follow_each_other(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        await part.add_notices([notice("ann" if n % 3 else None, T0 + n // 2) for n in range(41)])
        seen: list[int] = []
        since, more = Millis(0), True
        while more:
            found, more = await part.notices_for("ann", since, 5)
            seen += [one.at - T0 for one in found]
            since = found[-1].at
        assert seen == [n // 2 for n in range(41)]

    async def test_of_a_conversation_only_those_since_joining(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "ann"))
        await part.add_notices([notice(None, T0 + at) for at in (1, 2, 3, 4)])
        await part.change_conversation(member_of(made, "ann", "ben", updated_at=T0 + 3), joined=["ben"])
        assert [one.at - T0 for one in (await part.notices_for("ben", Millis(0), 9))[0]] == [3, 4]
        assert [one.at - T0 for one in (await part.notices_for("ann", Millis(0), 9))[0]] == [1, 2, 3, 4]
        await part.add_notices([notice("ben", T0 + 5, op="left")])
        await part.change_conversation(member_of(made, "ann", updated_at=T0 + 5), left=["ben"])
        assert [one.at - T0 for one in (await part.notices_for("ben", Millis(0), 9))[0]] == [5]

    async def test_they_are_stored_with_what_they_tell_of(self, part: ApplicationStore) -> None:
        made = conversation(CONVERSATION, "ann", "ben", unique_key="k")
        await part.create_conversation(made, [notice("ben", T0)])
        await part.create_conversation(
            conversation(OTHER, "ann", "ben", unique_key="k"), [notice("ben", T0 + 1, OTHER)]
        )
        await part.change_conversation(made, notices=[notice(None, T0 + 2)])
        with pytest.raises(ConversationNotFound):
            await part.change_conversation(conversation(OTHER), notices=[notice("ben", T0 + 3)])
        with pytest.raises(Unavailable):
            await part.create_conversation(conversation(CONVERSATION), [notice("ben", T0 + 4)])
        found, more = await part.notices_for("ben", Millis(0), 10)
        assert [one.at - T0 for one in found] == [0, 2]
        assert not more

    async def test_subscribers_find_those_of_a_service_conversation(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(service())
        await part.change_conversation(made, joined=["ann"])
        await part.add_notices([notice(None, T0 + 1)])
        await part.append(personal_log(CONVERSATION, "ben"), draft("office"), T0)
        assert (await part.notices_for("ann", Millis(0), 10))[0] != []
        assert (await part.notices_for("ben", Millis(0), 10))[0] == []


class TestWills:
    async def test_the_newest_is_the_client_s(self, part: ApplicationStore) -> None:
        await part.save_will(will("ann", 1))
        await part.save_will(will("ben", 2))
        await part.save_will(will("ann", 3, body=bytes(range(256))))
        assert sorted(await part.wills(), key=lambda one: one.client_id) == [
            will("ann", 3, body=bytes(range(256))),
            will("ben", 2),
        ]
        assert await part.take_will("ann", None) == will("ann", 3, body=bytes(range(256)))
        assert await part.wills() == [will("ben", 2)]

    async def test_one_is_kept_as_it_was_given(self, part: ApplicationStore) -> None:
        sent = draft("ann", b"\xff", binary=True, token="t", receipt=True, mentions=("ben",), address="::1")
        given = replace(will("ann"), draft=sent, priority=3, conversation_id="_tmp:" + CONVERSATION)
        await part.save_will(given)
        assert await part.wills() == [given]
        assert await part.take_will("ann", given.holder) == given

    async def test_looking_at_one_takes_nothing(self, part: ApplicationStore) -> None:
        await part.save_will(will("ann", 1))
        assert await part.find_will("ann") == await part.find_will("ann") == will("ann", 1)
        assert await part.find_will("ben") is None
        assert await part.take_will("ann", None) == will("ann", 1)
        assert await part.find_will("ann") is None

    async def test_only_its_holder_takes_it(self, part: ApplicationStore) -> None:
        await part.save_will(will("ann", 1, "phone"))
        for other in (Holder(2, T0, "phone"), Holder(1, Millis(T0 + 1), "phone"), Holder(1, T0, "tablet")):
            assert await part.take_will("ann", other) is None
        assert await part.take_will("ben", None) is None
        assert await part.take_will("ann", Holder(1, T0, "phone")) == will("ann", 1, "phone")
        assert await part.take_will("ann", None) is None

    async def test_of_many_one_takes_it(self, part: ApplicationStore) -> None:
        await part.save_will(will("ann"))
        takes = [part.take_will("ann", holder) for holder in (None, will("ann").holder, None)]
        assert [await take for take in takes] == [will("ann"), None, None]

    async def test_no_retiring_takes_it(self, part: ApplicationStore) -> None:
        await part.save_will(will("ann"))
        await retire(part, T0 + 1_000 * DAY, Retention(Millis(1), Millis(1), Millis(1)))
        assert await part.wills() == [will("ann")]


class TestStays:
    async def test_the_last_one_of_a_device_counts(self, part: ApplicationStore) -> None:
        stays = [
            Stay("ann", "phone", CONVERSATION),
            Stay("ann", "tablet", OTHER, left_at=T0),
            Stay("ann", "", CONVERSATION),
            Stay("ben", "phone", OTHER),
            Stay("ann", "phone", OTHER, left_at=Millis(T0 + 1)),
        ]
        for stay in stays:
            await part.save_stay(stay)
        assert await part.find_stay("ann", "phone") == stays[4]
        assert await part.find_stay("ann", "") == stays[2]
        assert await part.find_stay("ann", "pho") is None
        assert await part.find_stay("annp", "hone") is None
        assert sorted(map(repr, await part.stays())) == sorted(map(repr, stays[1:]))

    async def test_a_forgotten_one_is_gone(self, part: ApplicationStore) -> None:
        await part.save_stay(Stay("ann", "phone", CONVERSATION))
        await part.save_stay(Stay("ann", "tablet", CONVERSATION))
        await part.forget_stay("ann", "phone")
        await part.forget_stay("ann", "phone")
        assert await part.find_stay("ann", "phone") is None
        assert await part.stays() == [Stay("ann", "tablet", CONVERSATION)]

    @pytest.mark.parametrize("device", ["", "\ud800", "d" * 100_000])
    async def test_any_device_will_do(self, part: ApplicationStore, device: str) -> None:
        stay = Stay("ann", device, CONVERSATION)
        await part.save_stay(stay)
        assert await part.find_stay("ann", device) == stay
        await part.forget_stay("ann", device)
        assert await part.find_stay("ann", device) is None

    async def test_what_was_missed_is_kept_with_it(self, part: ApplicationStore) -> None:
        stay = Stay("ann", "phone", CONVERSATION, left_at=Millis(T0 + 9), missed_from=T0)
        await part.save_stay(stay)
        assert await part.find_stay("ann", "phone") == stay
        assert await part.stays() == [stay]

    async def test_one_that_nobody_can_come_back_to_is_taken_away(self, part: ApplicationStore) -> None:
        there = Stay("ann", "phone", CONVERSATION)
        back = Stay("ann", "tablet", CONVERSATION, left_at=Millis(T0 + 10))
        late = Stay("ben", "phone", CONVERSATION, left_at=T0)
        for stay in (there, back, late):
            await part.save_stay(stay)
        await retire(part, T0 + REJOIN_MILLIS + 5)
        assert sorted(map(repr, await part.stays())) == sorted(map(repr, [there, back]))


class TestDocuments:
    async def test_one_is_found_as_it_was_saved(self, part: ApplicationStore) -> None:
        assert await part.find_document("words") is None
        content = bytes(range(256)) * 10_000
        await part.save_document("words", content)
        await part.save_document("empty", b"")
        assert await part.find_document("words") == content
        assert await part.find_document("empty") == b""
        assert await part.find_document("word") is None

    async def test_one_takes_the_place_of_that_with_its_name(self, part: ApplicationStore) -> None:
        await part.save_document("words", b"much longer than what follows")
        await part.save_document("words", b"short")
        assert await part.find_document("words") == b"short"

    async def test_a_forgotten_one_is_gone(self, part: ApplicationStore) -> None:
        await part.save_document("words", b"a")
        await part.save_document("other", b"b")
        await part.save_document("words", None)
        await part.save_document("words", None)
        assert await part.find_document("words") is None
        assert await part.find_document("other") == b"b"


class TestBroadcasts:
    async def test_they_ascend_after_a_moment(self, part: ApplicationStore) -> None:
        for at in (3, 1, 2):
            await part.save_broadcast(broadcast(T0 + at))
        assert await part.broadcasts() == [broadcast(T0 + at) for at in (1, 2, 3)]
        assert await part.broadcasts(Millis(T0 + 1)) == [broadcast(T0 + 2), broadcast(T0 + 3)]
        assert await part.broadcasts(Millis(T0 + 3)) == []

    async def test_those_of_one_millisecond_are_all_kept(self, part: ApplicationStore) -> None:
        ids = ["a", "c", "b"]
        for one in ids:
            first = broadcast(T0)
            await part.save_broadcast(replace(first, message=replace(first.message, id=one)))
        assert [one.message.id for one in await part.broadcasts()] == ["a", "b", "c"]

    async def test_one_takes_the_place_of_that_with_its_id(self, part: ApplicationStore) -> None:
        await part.save_broadcast(broadcast(T0))
        changed = broadcast(T0, body=b"changed", valid_till=T0 + 5)
        await part.save_broadcast(changed)
        assert await part.broadcasts() == [changed]
        await retire(part, T0 + 5)
        assert await part.broadcasts() == []

    async def test_a_deleted_one_is_gone(self, part: ApplicationStore) -> None:
        await part.save_broadcast(broadcast(T0))
        await part.save_broadcast(broadcast(T0 + 1))
        assert await part.delete_broadcast(broadcast(T0).message.id)
        assert not await part.delete_broadcast(broadcast(T0).message.id)
        assert not await part.delete_broadcast("")
        assert await part.broadcasts() == [broadcast(T0 + 1)]

    async def test_expired_ones_go(self, part: ApplicationStore) -> None:
        for at in range(5):
            await part.save_broadcast(broadcast(T0 + at, valid_till=T0 + DAY - at))
        assert len(await part.broadcasts()) == 5
        await retire(part, T0 + DAY - 2)
        assert [one.message.timestamp - T0 for one in await part.broadcasts()] == [0, 1]


class TestLogins:
    async def test_only_the_first_is_the_first(self, part: ApplicationStore) -> None:
        grant = Grant("", "", 0, T0)
        await part.save_grant("ann", "t", grant)
        assert await part.log_in("ann", "t1", grant, T0) == Arrival(True, Millis(0))
        assert await part.log_in("ann", "t2", grant, Millis(T0 - DAY)) == Arrival(False, Millis(0))
        await part.kick("ann", T0)
        assert await part.log_in("ann", "t3", grant, T0) == Arrival(False, Millis(0))
        assert await part.log_in("an", "t", grant, T0) == Arrival(True, Millis(0))

    async def test_its_token_stands_for_what_was_given(self, part: ApplicationStore) -> None:
        grant = Grant("phone", "device", 0b1011, Millis(T0 + DAY))
        await part.log_in("ann", "t", grant, T0)
        assert await part.find_grant("ann", "t") == grant
        await part.kick("ann", T0)
        assert await part.find_grant("ann", "t") is None

    async def test_a_grant_of_a_login_is_swept_like_any_other(self, store: Store, part: ApplicationStore) -> None:
        await part.log_in("ann", "t", Grant("", "", 0, T0), T0)
        await part.log_in("ann", "t", Grant("", "", 0, Millis(T0 + 9)), T0)
        assert await store.sweep(Millis(T0 + 8)) == 0
        assert await store.sweep(Millis(T0 + 9)) == 1
        assert await part.find_grant("ann", "t") is None

    async def test_it_tells_how_far_the_broadcasts_were_seen(self, part: ApplicationStore) -> None:
        grant = Grant("", "", 0, T0)
        await part.log_in("ann", "t", grant, T0)
        for upto, seen in [(T0, T0), (T0 + 5, T0 + 5), (T0 + 2, T0 + 5)]:
            await part.saw_broadcasts("ann", Millis(upto))
            assert await part.log_in("ann", "t", grant, T0) == Arrival(False, Millis(seen))
        assert await part.log_in("ben", "t", grant, T0) == Arrival(True, Millis(0))

    async def test_each_client_counts_once_a_day(self, part: ApplicationStore) -> None:
        grant, today = Grant("", "", 0, T0), T0 // DAY
        for client_id, day in [("ann", -1), ("ben", -1), ("ann", 0), ("ann", 0), ("cat", 0), ("dan", 0), ("dan", -1)]:
            await part.log_in(client_id, "t", grant, Millis((today + day) * DAY + 7))
        assert [await part.count_users(today + day) for day in (-1, 0, 1)] == [3, 3, 0]

    async def test_midnight_is_in_utc(self, part: ApplicationStore) -> None:
        day = T0 // DAY
        await part.log_in("ann", "t", Grant("", "", 0, T0), Millis(day * DAY - 1))
        await part.log_in("ben", "t", Grant("", "", 0, T0), Millis(day * DAY))
        assert [await part.count_users(day - 1), await part.count_users(day)] == [1, 1]


class TestRetiring:
    async def test_what_is_kept_for_ever_stays(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "a", "b"), [notice("b", T0)])
        await fill(part, "ab")
        steps = await retire(part, T0 + 10_000 * DAY)
        assert steps[-1] == 0
        assert await part.find_conversation(CONVERSATION) == made
        assert len(await everything(part)) == 2
        assert (await part.notices_for("b", Millis(0), 9))[0] != []

    async def test_expired_temporary_conversations_go_with_all_they_have(self, part: ApplicationStore) -> None:
        ids = [f"_tmp:{number:024x}" for number in range(3)]
        for number, one in enumerate(ids):
            made = conversation(one, "a", "b", kind=Kind.TEMPORARY, ttl_seconds=60 * (number + 1))
            await part.create_conversation(made)
            await fill(part, "aab", one)
        await part.create_conversation(conversation(CONVERSATION, "a"))
        await retire(part, T0 + 60_000 - 1)
        assert len(await scanned(part)) == 4
        await retire(part, T0 + 120_000)
        assert [one.id for one in await scanned(part)] == [CONVERSATION, ids[2]]
        assert sorted(await part.conversation_ids_of("a")) == sorted([CONVERSATION, ids[2]])
        assert [len(await everything(part, one)) for one in ids] == [0, 0, 3]
        with pytest.raises(ConversationNotFound):
            await part.append(ids[0], draft(), T0)
        assert await unread_of(part, "b", ids[2]) == Unread(2, False)

    async def test_messages_older_than_the_history_go(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await part.create_conversation(service(OTHER))
        logs = (CONVERSATION, OTHER, personal_log(OTHER, "b"))
        for log_id in logs:
            await fill(part, "a" * 10, log_id)
        whole = {log_id: await everything(part, log_id) for log_id in logs}
        await part.patch_message(CONVERSATION, whole[CONVERSATION][2], T0)
        await part.delete_message(CONVERSATION, whole[CONVERSATION][1].position)
        await retire(part, T0 + DAY + 4, Retention(history=Millis(DAY)))
        for log_id in logs:
            assert await everything(part, log_id) == whole[log_id][4:]
            head = await part.find_head(log_id)
            assert (head.first, head.sequence) == (5, 10)
            assert await part.find_message(log_id, whole[log_id][3].position) is None
            assert await part.messages_from(log_id, 1, 3) == whole[log_id][4:7]
            assert not await part.delete_message(log_id, whole[log_id][0].position)
            with pytest.raises(MessageNotFound):
                await part.patch_message(log_id, whole[log_id][3], T0)
        assert await unread_of(part, "b") == await unread_of(part, "b", personal_log(OTHER, "b")) == Unread(6, False)
        assert await part.patches_since(CONVERSATION, Millis(0), 10) == []

    async def test_a_log_goes_on_after_all_its_messages_went(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "aba")
        before = await part.find_head(CONVERSATION)
        await retire(part, T0 + DAY, Retention(history=Millis(1)))
        assert await part.find_head(CONVERSATION) == replace(before, first=4)
        assert await everything(part) == await part.messages_from(CONVERSATION, 1, 9) == []
        assert [await unread_of(part, one) for one in "ab"] == [Unread(0, False)] * 2
        message = (await part.append(CONVERSATION, draft("a"), T0)).message
        assert (message.sequence, message.timestamp) == (4, T0 + 3)
        assert await everything(part) == await part.messages_from(CONVERSATION, 0, 9) == [message]
        assert [await unread_of(part, one) for one in "ab"] == [Unread(0, False), Unread(1, False)]
        assert await part.acknowledge(CONVERSATION, "b", message.position, T0) == Acknowledged(0, 4)

    @pytest.mark.parametrize("seed", range(6))
    async def test_unread_counts_are_of_what_is_kept(self, part: ApplicationStore, seed: int) -> None:
        chance, senders = Random(seed), ""
        read = {"a": 0, "b": 0, "c": 0}
        first = 1
        await part.create_conversation(conversation(CONVERSATION, *read))
        numbers = count()
        for _ in range(40):
            match chance.choice("ssssrt"):
                case "s":
                    sender = chance.choice("abcx")
                    senders += sender
                    await part.append(CONVERSATION, draft(sender), Millis(T0 + next(numbers)))
                case "r" if senders:
                    reader, upto = chance.choice("abc"), chance.randint(1, len(senders))
                    await part.mark_read(CONVERSATION, reader, Position(Millis(T0 + upto - 1)), T0)
                    read[reader] = max(read[reader], upto)
                case "t" if senders:
                    first = max(first, chance.randint(1, len(senders) + 1))
                    await retire(part, T0 + first - 1 + DAY, Retention(history=Millis(DAY)))
            for reader, position in read.items():
                kept = senders[max(position, first - 1) :]
                assert (await unread_of(part, reader)).count == len(kept) - kept.count(reader), (reader, senders)

    async def test_a_retired_message_may_be_sent_again(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a"))
        for at, token in enumerate(("t", "u")):
            await part.append(CONVERSATION, draft("a", token=token), Millis(T0 + at))
        await retire(part, T0 + DAY + 1, Retention(history=Millis(DAY)))
        again = await part.append(CONVERSATION, draft("a", token="t"), T0)
        assert (again.fresh, again.message.sequence) == (True, 3)
        assert not (await part.append(CONVERSATION, draft("a", token="t"), T0)).fresh
        assert not (await part.append(CONVERSATION, draft("a", token="u"), T0)).fresh

    async def test_idle_conversations_go(self, part: ApplicationStore) -> None:
        ids = {name: f"{number:024x}" for number, name in enumerate(("idle", "spoken", "changed", "room", "service"))}
        for name, one in ids.items():
            kind = {"room": Kind.CHAT_ROOM, "service": Kind.SYSTEM}.get(name, Kind.NORMAL)
            members = () if kind is Kind.SYSTEM else ("a",)
            await part.create_conversation(conversation(one, *members, kind=kind))
        made = await part.find_conversation(ids["changed"])
        assert made is not None
        await part.append(ids["spoken"], draft("a"), Millis(T0 + DAY))
        await part.append(ids["idle"], draft("a"), Millis(T0 + 5))
        await part.change_conversation(replace(made, updated_at=Millis(T0 + DAY)))
        rules = Retention(idle=Millis(WEEK))
        await retire(part, T0 + WEEK - 1, rules)
        assert len(await scanned(part)) == 5
        await retire(part, T0 + WEEK + 9, rules)
        assert [one.id for one in await scanned(part)] == [ids["service"], ids["changed"], ids["spoken"]]
        assert await everything(part, ids["idle"]) == []
        assert sorted(await part.conversation_ids_of("a")) == sorted([ids["spoken"], ids["changed"]])

    async def test_history_that_went_does_not_make_a_conversation_idle(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a"))
        await part.append(CONVERSATION, draft("a"), Millis(T0 + DAY))
        await retire(part, T0 + DAY + 10, Retention(history=Millis(1), idle=Millis(DAY)))
        assert await everything(part) == []
        assert await part.find_conversation(CONVERSATION) is not None

    async def test_old_notices_go(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        await part.add_notices([notice(one, T0 + at) for at in range(10) for one in ("ann", None, "ben")])
        await retire(part, T0 + DAY + 4, Retention(notices=Millis(DAY)))
        assert [one.at - T0 for one in (await part.notices_for("ann", Millis(0), 99))[0]] == [
            at for at in range(4, 10) for _ in range(2)
        ]
        assert [one.at - T0 for one in (await part.notices_for("ben", Millis(0), 99))[0]] == list(range(4, 10))

    async def test_kicks_grants_standings_and_documents_stay(self, part: ApplicationStore) -> None:
        made = await part.create_conversation(conversation(CONVERSATION, "ann"))
        await part.change_conversation(made, standings={"ann": Standing(silenced=True)})
        await part.log_in("ann", "t", Grant("", "", 0, T0), T0)
        await part.save_grant("ben", "t", Grant("", "", 0, T0))
        await part.kick("ann", T0)
        await part.refuse_conversations("ann", [OTHER], True, T0)
        await part.saw_broadcasts("ann", T0)
        await part.save_document("words", b"a")
        await retire(part, T0 + 1_000 * DAY, Retention(history=Millis(1), notices=Millis(1)))
        assert await part.find_document("words") == b"a"
        assert await part.find_standing(CONVERSATION, "ann") == Standing(silenced=True)
        assert await part.find_kick("ann") == T0
        assert await part.find_grant("ben", "t") is not None
        assert await part.refused_conversations("ann") == [OTHER]
        assert await part.log_in("ann", "t", Grant("", "", 0, T0), T0) == Arrival(False, T0)

    @pytest.mark.slow
    async def test_much_goes_in_small_steps_and_others_use_the_store_between(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "a", "b"))
        await fill(part, "ab" * 1_500)
        await part.add_notices([notice("a", T0 + n) for n in range(1_500)])
        rules, steps = Retention(history=Millis(DAY), notices=Millis(DAY)), [1]
        while steps[-1]:
            steps.append(await part.retire(rules, Millis(T0 + DAY + 2_900)))
            head = await part.find_head(CONVERSATION)
            kept = await part.messages_from(CONVERSATION, head.first, 2)
            assert kept[0].sequence == head.first
            assert await unread_of(part, "b") == Unread(sum(s % 2 for s in range(head.first, 3_001)), False)
        assert max(steps) < 1_000
        assert len(await everything(part)) == 100
        assert (await part.notices_for("a", Millis(0), 9))[0] == []


class TestGrants:
    async def test_a_token_stands_for_what_was_saved(self, part: ApplicationStore) -> None:
        grant = Grant("phone", "device", 0b1011, Millis(T0 + DAY))
        await part.save_grant("ann", "token", grant)
        assert await part.find_grant("ann", "token") == grant
        assert await part.find_grant("ann", "other") is None
        assert await part.find_grant("ben", "token") is None

    async def test_it_can_be_saved_anew(self, store: Store, part: ApplicationStore) -> None:
        await part.save_grant("ann", "token", Grant("", "", 0, T0))
        longer = Grant("", "", 1, Millis(T0 + DAY))
        await part.save_grant("ann", "token", longer)
        assert await store.sweep(Millis(T0 + 1)) == 0
        assert await part.find_grant("ann", "token") == longer

    async def test_a_kick_forgets_all_of_a_client_s(self, part: ApplicationStore) -> None:
        grant = Grant("", "", 0, T0)
        for client, token in product(("ann", "anna", "an"), ("t1", "t2")):
            await part.save_grant(client, token, grant)
        await part.kick("ann", T0)
        found = [await part.find_grant(client, token) for client, token in product(("ann", "anna", "an"), ("t1", "t2"))]
        assert found == [None, None, grant, grant, grant, grant]

    async def test_expired_ones_are_found_until_they_are_swept(self, store: Store, part: ApplicationStore) -> None:
        for number in range(1_200):
            part.save_grant("ann", str(number), Grant("", "", 0, Millis(T0 + number)))
        await part.save_grant("ann", "last", Grant("", "", 0, Millis(T0 + DAY)))
        assert await part.find_grant("ann", "0") is not None
        swept: list[int] = []
        while swept[-1:] != [0]:
            swept.append(await store.sweep(Millis(T0 + 1_099)))
        assert sum(swept) == 1_100
        assert max(swept) < 1_000
        assert await part.find_grant("ann", "1099") is None
        assert await part.find_grant("ann", "1100") is not None
        assert await part.find_grant("ann", "last") is not None


class TestKicks:
    async def test_who_never_was_has_no_moment(self, part: ApplicationStore) -> None:
        assert await part.find_kick("ann") == 0

    async def test_the_last_one_counts(self, part: ApplicationStore) -> None:
        await part.kick("ann", T0)
        await part.kick("ann", Millis(T0 + 5))
        assert [await part.find_kick(client) for client in ("ann", "anna", "an")] == [T0 + 5, 0, 0]

    async def test_one_after_the_clock_was_set_back_takes_nothing_back(self, part: ApplicationStore) -> None:
        await part.kick("ann", T0)
        await part.kick("ann", Millis(T0 - DAY))
        assert await part.find_kick("ann") == T0

    async def test_no_sweep_forgets_it(self, store: Store, part: ApplicationStore) -> None:
        await part.kick("ann", T0)
        assert await store.sweep(Millis(T0 + 1_000 * DAY)) == 0
        assert await part.find_kick("ann") == T0


class TestUses:
    async def test_the_first_is_the_only_one(self, part: ApplicationStore) -> None:
        assert await part.use_once("one", T0)
        assert not await part.use_once("one", Millis(T0 + DAY))
        assert await part.use_once("two", T0)

    async def test_of_several_at_once_too(self, part: ApplicationStore) -> None:
        uses = [part.use_once(name, T0) for name in ("one", "one", "two", "one")]
        assert [await use for use in uses] == [True, False, True, False]

    async def test_it_is_remembered_until_its_time_and_then_swept(self, store: Store, part: ApplicationStore) -> None:
        for number in range(1_200):
            part.use_once(str(number), Millis(T0 + number))
        assert not await part.use_once("0", T0)
        assert await store.sweep(Millis(T0 - 1)) == 0
        swept: list[int] = []
        while swept[-1:] != [0]:
            swept.append(await store.sweep(Millis(T0 + 1_099)))
        assert sum(swept) == 1_100
        assert max(swept) < 1_000
        assert await part.use_once("1099", T0)
        assert not await part.use_once("1100", T0)

    @pytest.mark.parametrize("name", ["", "\ud800", "n" * 100_000])
    async def test_any_name_will_do(self, part: ApplicationStore, name: str) -> None:
        assert [await part.use_once(name, T0), await part.use_once(name, T0)] == [True, False]


class TestIsolation:
    async def test_one_application_sees_nothing_of_another(self, store: Store, part: ApplicationStore) -> None:
        foreign = await application(store, "app-2")
        await part.create_conversation(conversation(CONVERSATION, "ann", unique_key="k"))
        await part.append(CONVERSATION, draft("ann", token="t"), T0)
        await part.save_grant("ann", "token", Grant("", "", 0, T0))
        assert await foreign.find_conversation(CONVERSATION) is None
        assert await scanned(foreign) == []
        assert await foreign.conversation_ids_of("ann") == []
        assert await foreign.joined_conversations("ann") == []
        assert await foreign.find_membership(CONVERSATION, "ann") is None
        assert await foreign.find_head(CONVERSATION) == Head()
        assert await everything(foreign) == []
        assert await foreign.find_grant("ann", "token") is None
        await part.kick("ann", T0)
        assert await foreign.find_kick("ann") == 0
        assert await part.use_once("signature", T0)
        assert await foreign.use_once("signature", T0)
        assert await foreign.mark_read(CONVERSATION, "ann", None, T0) is None
        await part.change_conversation(
            conversation(CONVERSATION, "ann", unique_key="k"), standings={"ann": Standing(Role.MANAGER)}
        )
        await part.create_conversation(service(OTHER))
        await part.change_conversation(service(OTHER), joined=["ann"])
        await part.append(personal_log(OTHER, "ann"), draft(), T0)
        await part.refuse_conversations("ann", [OTHER], True, T0)
        await part.add_notices([notice("ann", T0), notice(None, T0)])
        await part.save_will(will("ann"))
        await part.save_stay(Stay("ann", "phone", CONVERSATION))
        await part.save_broadcast(broadcast(T0))
        await part.save_document("words", b"a")
        await part.log_in("ann", "t", Grant("", "", 0, T0), T0)
        assert await foreign.find_document("words") is None
        assert await foreign.standings(CONVERSATION) == {}
        assert await foreign.find_standing(CONVERSATION, "ann") == Standing()
        assert await foreign.subscriptions(OTHER, "", 10) == []
        assert await foreign.count_subscriptions(OTHER) == 0
        assert await everything(foreign, personal_log(OTHER, "ann")) == []
        assert await foreign.refused_conversations("ann") == []
        assert await foreign.notices_for("ann", Millis(0), 10) == ([], False)
        assert await foreign.take_will("ann", None) is None
        assert await foreign.wills() == []
        assert await foreign.find_stay("ann", "phone") is None
        assert await foreign.stays() == []
        assert await foreign.broadcasts() == []
        assert not await foreign.delete_broadcast(broadcast(T0).message.id)
        assert await foreign.count_users(T0 // DAY) == 0
        assert not await foreign.delete_conversation(CONVERSATION)
        assert await retire(foreign, T0 + 1_000 * DAY, Retention(Millis(1), Millis(1), Millis(1))) == [0]
        assert len(await scanned(part)) == 2
        assert await part.take_will("ann", None) is not None
        with pytest.raises(ConversationNotFound):
            await foreign.append(CONVERSATION, draft(), T0)

    async def test_equal_names_mean_different_things(self, store: Store, part: ApplicationStore) -> None:
        foreign = await application(store, "app-2")
        for number, one in enumerate((part, foreign)):
            made = conversation(CONVERSATION, "ann", unique_key="k", columns={"n": number})
            assert await one.create_conversation(made) == made
            appended = await one.append(CONVERSATION, draft("ann", str(number).encode(), token="t"), T0)
            assert (appended.fresh, appended.message.sequence) == (True, 1)
            await one.save_grant("ann", "token", Grant(str(number), "", 0, T0))
        await foreign.kick("ann", T0)
        await foreign.mark_read(CONVERSATION, "ann", None, T0)
        assert await part.find_grant("ann", "token") == Grant("0", "", 0, T0)
        assert await foreign.find_grant("ann", "token") is None
        assert [message.body for message in await everything(part)] == [b"0"]
        assert [one.columns for one in await scanned(foreign)] == [{"n": 1}]


class TestClosing:
    async def test_what_is_queued_is_committed(self, engine: Engine, store: Store, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        writes = [part.append(CONVERSATION, draft(), T0) for _ in range(100)]
        await store.close()
        assert [(await write).message.sequence for write in writes] == list(range(1, 101))

    async def test_a_write_afterwards_is_refused(self, store: Store, part: ApplicationStore) -> None:
        await part.create_conversation(conversation(CONVERSATION, "ann"))
        await store.close()
        await store.close()
        for write in (
            part.append(CONVERSATION, draft(), T0),
            part.create_conversation(conversation(OTHER)),
            part.change_conversation(conversation(CONVERSATION)),
            part.mark_read(CONVERSATION, "ann", None, T0),
            part.save_grant("ann", "t", Grant("", "", 0, T0)),
            part.kick("ann", T0),
            part.use_once("signature", T0),
            part.delete_conversation(CONVERSATION),
            part.refuse_conversations("ann", [CONVERSATION], True, T0),
            part.patch_message(CONVERSATION, place(draft(), "", T0, 1), T0),
            part.delete_message(CONVERSATION, Position(T0)),
            part.acknowledge(CONVERSATION, "ann", Position(T0), T0),
            part.add_notices([notice("ann", T0)]),
            part.save_will(will("ann")),
            part.take_will("ann", None),
            part.save_stay(Stay("ann", "phone", CONVERSATION)),
            part.forget_stay("ann", "phone"),
            part.save_broadcast(broadcast(T0)),
            part.delete_broadcast("id"),
            part.saw_broadcasts("ann", T0),
            part.save_document("words", b"a"),
            part.log_in("ann", "t", Grant("", "", 0, T0), T0),
            part.append(CONVERSATION, draft(), T0, push=job()),
            part.append_each([CONVERSATION], draft(), T0, push=job()),
            part.queue_pushes(job(), [], {}, T0, done=True),
            part.settle_push(DuePush(T0, 0, notification("a", "1")), T0),
            part.postpone_push(DuePush(T0, 0, notification("a", "1")), T0),
            part.drop_pushes("a"),
            part.change_installation("a" * 24, lambda before: before),
            part.retire(Retention(), T0),
            store.save_application("a", "k", "m", "h"),
            store.sweep(T0),
        ):
            with pytest.raises(Unavailable):
                await write
