from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import ConversationNotFound, Unavailable
from fastim.core.ids import MESSAGE_ID_LENGTH
from fastim.core.message import Message, Position, Span
from fastim.core.session import Grant
from fastim.core.units import Millis
from fastim.core.unread import Head, Membership, MentionAll, Unread, unread
from fastim.ports.store import ApplicationStore, Joined, Store
from tests.adapters.engines import (
    CONVERSATION,
    DAY,
    OTHER,
    T0,
    WEEK,
    Engine,
    application,
    conversation,
    draft,
    fill,
    settle,
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
        with pytest.raises(ConversationNotFound):
            await part.append(conversation_id, draft(), T0)
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
        assert await part.find_membership(CONVERSATION, "ben") == Membership(joined_at=Millis(T0 + 9), read=3)
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
        assert await part.find_membership(CONVERSATION, "ben") == Membership(joined_at=Millis(T0 + 9), read=5)
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
        sent = draft("ann", bytes(range(256)), binary=True, receipt=True, mention_all=True, mentions=("ben", "cat"))
        appended = await part.append(CONVERSATION, sent, T0)
        message = appended.message
        assert appended.fresh
        assert (message.sequence, message.timestamp, len(message.id)) == (1, T0, MESSAGE_ID_LENGTH)
        assert (message.sender, message.body, message.binary) == ("ann", bytes(range(256)), True)
        assert (message.receipt, message.mention_all, message.mentions) == (True, True, ("ben", "cat"))
        assert await part.find_message(CONVERSATION, message.position) == message
        assert await everything(part) == [message]
        head = Head(1, T0, message.id, (MentionAll(1, "ann"),))
        assert await part.find_head(CONVERSATION) == head

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
            for place in (
                Position(message.timestamp),
                Position(message.timestamp, "x" * MESSAGE_ID_LENGTH),
                Position(Millis(message.timestamp + 100), message.id),
            ):
                assert await part.find_message(CONVERSATION, place) is None
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
        read = Membership(T0, sent=2, read=5, sent_at_read=2, read_at=now)
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
            store.save_application("a", "k", "m", "h"),
            store.sweep(T0),
        ):
            with pytest.raises(Unavailable):
                await write
