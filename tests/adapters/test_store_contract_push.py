"""What every store promises of push: the outbox and installations."""

from typing import Any

import pytest
from msgspec.structs import replace

from fastim.core.errors import ConversationNotFound
from fastim.core.ids import MESSAGE_ID_LENGTH, personal_log
from fastim.core.installation import Installation
from fastim.core.push import Job
from fastim.core.retention import Retention
from fastim.core.units import Millis
from fastim.ports.store import ApplicationStore, DuePush, Store, Waiting
from tests.adapters.engines import (
    CONVERSATION,
    DAY,
    OTHER,
    T0,
    application,
    conversation,
    draft,
    install,
    installation,
    job,
    notification,
    retire,
    service,
    settle,
)

pytestmark = pytest.mark.anyio

NOTHING = Waiting(0, 0, 0)
LATER = Millis(T0 + 1_000)


async def queue(part: ApplicationStore, *wanted: str, now: int = T0) -> None:
    """Notifications for the targets before the slashes, of the messages behind them."""
    made = [notification(*one.split("/")) for one in wanted]
    await part.queue_pushes(job("none"), made, {}, Millis(now), done=False)


async def due(part: ApplicationStore, now: int = LATER, limit: int = 100, besides: tuple[str, ...] = ()) -> list[str]:
    """What is due, as ``queue`` takes it."""
    return [named(one) for one in await part.due_pushes(Millis(now), limit, besides)]


async def first(part: ApplicationStore) -> DuePush:
    """What has been due for the longest."""
    return (await part.due_pushes(LATER, 1))[0]


async def drained(part: ApplicationStore) -> list[str]:
    """All that waits, in the order in which it would be sent."""
    found = []
    while pushes := await part.due_pushes(Millis(T0 + 1_000 * DAY), 1):
        found.append(named(pushes[0]))
        await part.settle_push(pushes[0], LATER)
    return found


def named(push: DuePush) -> str:
    return f"{push.notification.target}/{push.notification.message_id}"


class TestJobs:
    async def test_one_is_kept_with_its_message(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation())
        given = job("", "ben", "cid", content="{}", muted_too=True)
        sent = (await part.append(CONVERSATION, draft(), Millis(T0 + 7), push=given)).message
        kept = replace(given, message_id=sent.id, timestamp=sent.timestamp, sequence=sent.sequence)
        assert await part.push_jobs(9) == [kept]
        assert await part.count_pushes() == Waiting(1, 0, 0)

    async def test_the_oldest_come_first(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation())
        sent = [
            (await part.append(CONVERSATION, draft(), Millis(T0 + n), push=job("", str(n)))).message for n in range(5)
        ]
        found = await part.push_jobs(3)
        assert [one.message_id for one in found] == [one.id for one in sent[:3]]
        assert [one.offline for one in found] == [("0",), ("1",), ("2",)]
        assert await part.push_jobs(0) == []

    async def test_none_is_kept_of_what_is_not_stored(self, part: ApplicationStore) -> None:
        with pytest.raises(ConversationNotFound):
            await part.append(CONVERSATION, draft(), T0, push=job())
        with pytest.raises(ConversationNotFound):
            await part.append_each([CONVERSATION], draft(), T0, push=job())
        await part.create_conversation(conversation())
        await part.append(CONVERSATION, draft(token="t"), T0)
        assert not (await part.append(CONVERSATION, draft(token="t"), T0, push=job())).fresh
        assert await part.append_each([], draft(), T0, push=job()) == []
        assert await part.push_jobs(9) == []
        assert await part.count_pushes() == NOTHING

    async def test_of_several_logs_there_is_one(self, part: ApplicationStore) -> None:
        await part.create_conversation(service())
        logs = [personal_log(CONVERSATION, client) for client in ("ann", "ben", "cid")]
        await part.append(logs[0], draft(token="t"), T0)
        sent = await part.append_each(logs, draft(token="t"), T0, push=job("", "ben", "cid"))
        assert [one.fresh for one in sent] == [False, True, True]
        message = sent[1].message
        assert await part.push_jobs(9) == [replace(job(message.id, "ben", "cid"), timestamp=message.timestamp)]
        assert len(message.id) == MESSAGE_ID_LENGTH

    async def test_one_goes_when_it_is_done(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation())
        await part.append(CONVERSATION, draft(), T0, push=job("", "ben"))
        (made,) = await part.push_jobs(9)
        await part.queue_pushes(made, [notification("a", made.message_id)], {}, T0, done=False)
        assert await part.push_jobs(9) == [made]
        for _ in range(2):
            await part.queue_pushes(made, [notification("b", made.message_id)], {}, T0, done=True)
            assert await part.push_jobs(9) == []
            assert await part.count_pushes() == Waiting(0, 2, 2)

    async def test_one_that_is_not_done_is_kept_as_it_is_then(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation())
        await part.append(CONVERSATION, draft(), T0, push=job("", to_subscribers=True))
        (made,) = await part.push_jobs(9)
        further = replace(made, reached="ben")
        await part.queue_pushes(further, [], {}, T0, done=False)
        assert await part.push_jobs(9) == [further]
        assert await part.count_pushes() == Waiting(1, 0, 0)
        await part.queue_pushes(further, [], {}, T0, done=True)
        await part.queue_pushes(made, [], {}, T0, done=False)
        assert await part.push_jobs(9) == []
        assert await part.count_pushes() == NOTHING

    async def test_one_stays_when_its_conversation_goes(self, part: ApplicationStore) -> None:
        await part.create_conversation(conversation())
        await part.append(CONVERSATION, draft(), T0, push=job("", "ben"))
        await queue(part, "a/1")
        await part.delete_conversation(CONVERSATION)
        await retire(part, T0 + 1_000 * DAY, Retention(Millis(1), Millis(1), Millis(1)))
        assert len(await part.push_jobs(9)) == 1
        assert await part.count_pushes() == Waiting(1, 1, 1)


class TestOutbox:
    async def test_each_target_waits_for_its_first(self, part: ApplicationStore) -> None:
        await queue(part, "a/2", "a/1", "b/1", "a/3")
        assert sorted(await due(part)) == ["a/2", "b/1"]
        assert await part.count_pushes() == Waiting(0, 2, 4)
        found = await first(part)
        assert (found.due, found.attempts) == (T0, 0)

    async def test_what_is_queued_comes_back_as_it_was(self, part: ApplicationStore) -> None:
        given = replace(notification("ß" * 300, "m", '{"alert": "\u00df"}'), profile="dev", team_id="team")
        await part.queue_pushes(job("m"), [given], {}, T0, done=False)
        assert await part.due_pushes(T0, 9) == [DuePush(T0, 0, given)]

    async def test_they_go_out_in_the_order_of_coming(self, part: ApplicationStore) -> None:
        wanted = [f"a/{number}" for number in (5, 3, 8, 1)]
        for one in wanted:
            await queue(part, one)
        assert await drained(part) == wanted
        assert await part.count_pushes() == NOTHING
        assert await part.next_push_due() is None

    async def test_one_message_is_queued_once_for_a_target(self, part: ApplicationStore) -> None:
        await queue(part, "a/1", "a/1", "b/1")
        await queue(part, "a/2", "a/1", "b/2", "c/1")
        assert await part.count_pushes() == Waiting(0, 3, 5)
        given = replace(notification("a", "1"), data="other")
        await part.queue_pushes(job("1"), [given], {}, LATER, done=False)
        assert sorted(await drained(part)) == ["a/1", "a/2", "b/1", "b/2", "c/1"]

    async def test_what_has_been_due_for_longest_comes_first(self, part: ApplicationStore) -> None:
        for number, target in enumerate("dbca"):
            await queue(part, f"{target}/1", now=T0 + number)
        assert await due(part, T0 + 2) == ["d/1", "b/1", "c/1"]
        assert await due(part, limit=2) == ["d/1", "b/1"]
        assert await due(part, T0 - 1) == await due(part, limit=0) == []
        assert await part.next_push_due() == T0

    async def test_those_under_way_are_left_out_and_do_not_count(self, part: ApplicationStore) -> None:
        for number, target in enumerate("abcde"):
            await queue(part, f"{target}/1", f"{target}/2", now=T0 + number)
        assert await due(part, limit=2, besides=("a", "b", "d", "nobody")) == ["c/1", "e/1"]

    async def test_another_for_a_waiting_target_moves_nothing(self, part: ApplicationStore) -> None:
        await queue(part, "a/1")
        await part.postpone_push(await first(part), LATER)
        await queue(part, "a/2")
        assert await due(part, LATER - 1) == []
        assert await part.next_push_due() == LATER

    async def test_the_next_one_is_due_when_one_is_settled(self, part: ApplicationStore) -> None:
        await queue(part, "a/1", "a/2")
        await part.postpone_push(await first(part), Millis(T0 + 5))
        await part.settle_push(await first(part), Millis(T0 + 9))
        assert await part.due_pushes(LATER, 9) == [DuePush(Millis(T0 + 9), 0, notification("a", "2"))]
        assert await part.count_pushes() == Waiting(0, 1, 1)

    async def test_settling_again_is_harmless(self, part: ApplicationStore) -> None:
        await queue(part, "a/1", "a/2", "a/3")
        pushed = await first(part)
        for _ in range(3):
            await part.settle_push(pushed, LATER)
            assert await due(part) == ["a/2"]
        await part.settle_push(replace(pushed, notification=notification("nobody", "1")), LATER)
        assert await drained(part) == ["a/2", "a/3"]
        await part.settle_push(pushed, LATER)
        assert await part.count_pushes() == NOTHING

    async def test_one_that_was_postponed_meanwhile_is_settled_too(self, part: ApplicationStore) -> None:
        await queue(part, "a/1")
        pushed = await first(part)
        await part.postpone_push(pushed, LATER)
        await part.settle_push(pushed, LATER)
        assert await part.count_pushes() == NOTHING

    async def test_one_that_is_not_the_first_is_settled_alone(self, part: ApplicationStore) -> None:
        await queue(part, "a/1")
        pushed = await first(part)
        await part.drop_pushes("a")
        await queue(part, "a/0", "a/1", "a/2", now=T0 + 5)
        await part.settle_push(pushed, LATER)
        assert await part.due_pushes(LATER, 9) == [DuePush(Millis(T0 + 5), 0, notification("a", "0"))]
        assert await drained(part) == ["a/0", "a/2"]

    async def test_each_attempt_in_vain_counts_once(self, part: ApplicationStore) -> None:
        await queue(part, "a/1", "a/2")
        pushed = await first(part)
        for _ in range(2):
            await part.postpone_push(pushed, LATER)
            assert await part.due_pushes(LATER, 9) == [DuePush(LATER, 1, notification("a", "1"))]
        await part.postpone_push(await first(part), LATER)
        assert await part.due_pushes(LATER, 9) == [DuePush(LATER, 2, notification("a", "1"))]
        await part.settle_push(await first(part), LATER)
        await part.postpone_push(pushed, LATER)
        await part.postpone_push(replace(pushed, notification=notification("nobody", "1")), LATER)
        assert await part.due_pushes(LATER, 9) == [DuePush(LATER, 0, notification("a", "2"))]

    async def test_one_that_was_not_tried_has_no_more_attempts(self, part: ApplicationStore) -> None:
        await queue(part, "a/1")
        pushed = await first(part)
        for _ in range(2):
            await part.postpone_push(pushed, LATER, tried=False)
            assert await part.due_pushes(LATER, 9) == [DuePush(LATER, 0, notification("a", "1"))]

    async def test_a_dropped_target_has_nothing_and_may_have_something_anew(self, part: ApplicationStore) -> None:
        await queue(part, "a/1", "a/2", "b/1", "a/3")
        assert [await part.drop_pushes("a"), await part.drop_pushes("a"), await part.drop_pushes("")] == [3, 0, 0]
        assert await due(part) == ["b/1"]
        assert await part.count_pushes() == Waiting(0, 1, 1)
        await queue(part, "a/2", now=T0 + 1)
        assert await due(part) == ["b/1", "a/2"]
        await retire(part, T0)
        assert await drained(part) == ["b/1", "a/2"]

    async def test_writes_that_queue_together_are_done_in_their_order(self, part: ApplicationStore) -> None:
        made = [notification("a", str(number)) for number in range(4)]
        ends = await settle(
            part.queue_pushes(job(), made[:2], {}, T0, done=False),
            part.settle_push(DuePush(T0, 0, made[0]), LATER),
            part.drop_pushes("a"),
            part.queue_pushes(job(), made[1:3], {}, T0, done=False),
            part.postpone_push(DuePush(T0, 0, made[1]), LATER),
            part.queue_pushes(job(), made[1:], {}, T0, done=False),
        )
        assert ends == [None, None, 1, None, None, None]
        assert await part.due_pushes(LATER, 9) == [DuePush(LATER, 1, made[1])]
        assert await part.count_pushes() == Waiting(0, 1, 3)

    async def test_any_target_will_do(self, part: ApplicationStore) -> None:
        targets = ["", "x" * 100_000, "a\0b", "ß"]
        await queue(part, *(f"{target}/{number}" for target in targets for number in range(2)))
        assert sorted(await due(part)) == sorted(f"{target}/0" for target in targets)
        assert [await part.drop_pushes(target) for target in targets] == [2, 2, 2, 2]


class TestBadges:
    async def test_they_are_set_with_the_notifications(self, part: ApplicationStore) -> None:
        before = installation("a", token="t", channels=("ann",), columns={"n": 1}, badge=3)
        await install(part, before, installation("b"))
        badges = {before.id: 4, "c" * 24: 5, "": 6, "x" * 1_000: 7}
        await part.queue_pushes(job(), [], badges, LATER, done=True)
        assert await part.find_installation(before.id) == replace(before, badge=4)
        assert await part.find_device("t") == replace(before, badge=4)
        assert await part.installations_of("ann") == [replace(before, badge=4)]
        assert await listed(part) == [replace(before, badge=4), installation("b")]


class TestInstallations:
    async def test_one_is_found_as_it_was_stored(self, part: ApplicationStore) -> None:
        whole = installation(
            "a", token="t", installation_id="i", vendor="mi", registration_id="r", profile="dev", team_id="team",
            topic="com.example", channels=("ann", "news"), badge=7, valid=False,
            columns={"timeZone": "Asia/Shanghai", "big": 1 << 80, "deep": {"list": [1.5, None, "ß"]}},
        )  # fmt: skip
        await install(part, whole)
        assert await part.find_installation(whole.id) == whole
        assert await part.find_installation("b" * 24) is None
        for name in ("", "x" * 1_000, "\ud800"):
            assert await part.find_installation(name) is None

    async def test_a_change_gets_what_is_there(self, part: ApplicationStore) -> None:
        seen: list[Installation | None] = []

        def note(before: Installation | None) -> Installation:
            seen.append(before)
            return installation("a", badge=0 if before is None else before.badge + 1)

        changes = [part.change_installation("a" * 24, note) for _ in range(3)]
        assert await settle(*changes) == [installation("a", badge=badge) for badge in range(3)]
        assert seen == [None, installation("a"), installation("a", badge=1)]

    async def test_one_is_forgotten_with_all_that_it_was_found_by(self, part: ApplicationStore) -> None:
        await install(part, installation("a", token="t", installation_id="i", registration_id="r", channels=("c",)))
        for _ in range(2):
            assert await part.change_installation("a" * 24, lambda before: None) is None
        assert await part.find_installation("a" * 24) is None
        assert [await part.find_device(name) for name in "tir"] == [None, None, None]
        assert await part.installations_of("c") == await listed(part) == []

    async def test_a_device_is_found_by_its_own_name_or_else_its_token(self, part: ApplicationStore) -> None:
        first, second = installation("a", token="x"), installation("b", installation_id="x", token="y")
        await install(part, first)
        assert await part.find_device("x") == first
        await install(part, second, installation("c"))
        assert [await part.find_device(name) for name in ("x", "y", "z", "")] == [second, second, None, None]
        await install(part, replace(second, installation_id=""))
        assert [await part.find_device(name) for name in "xy"] == [first, replace(second, installation_id="")]

    @pytest.mark.parametrize("name", ["token", "installation_id", "registration_id"])
    async def test_who_has_a_name_last_takes_the_place_of_the_others(self, part: ApplicationStore, name: str) -> None:
        fields: dict[str, Any] = {name: "same"}
        first = installation("a", **{"token": "own", **fields}, channels=("c",))
        second = installation("b", **fields, channels=("c",))
        await install(part, first, installation("d"), second, second)
        assert await listed(part) == [second, installation("d")]
        assert await part.installations_of("c") == [second]
        assert await part.find_device("own") is None

    async def test_one_may_take_the_place_of_several(self, part: ApplicationStore) -> None:
        await install(part, *(installation(letter, token=letter) for letter in "abc"), installation("d", vendor="mi"))
        await install(part, installation("e", registration_id="a"), installation("f", installation_id="b"))
        assert len(await listed(part)) == 6  # names of different kinds are different names
        last = installation("0", token="c", registration_id="a", installation_id="b")
        await install(part, last)
        assert [one.id[0] for one in await listed(part)] == ["0", "a", "b", "d"]

    async def test_a_name_that_was_given_up_is_anybody_s(self, part: ApplicationStore) -> None:
        await install(part, installation("a", token="t"), installation("a", token="u"), installation("b", token="t"))
        assert [one.id[0] for one in await listed(part)] == ["a", "b"]
        assert await part.find_device("t") == installation("b", token="t")

    async def test_those_of_a_channel_are_found_oldest_first(self, part: ApplicationStore) -> None:
        await install(
            part,
            installation("c", channels=("ann", "ann")),
            installation("a", channels=("ben", "ann"), valid=False),
            installation("b", channels=("ben", "an")),
        )
        assert [one.id[0] for one in await part.installations_of("ann")] == ["a", "c"]
        assert [one.id[0] for one in await part.installations_of("ben")] == ["a", "b"]
        assert [one.id[0] for one in await part.installations_of("ann", 1)] == ["c"]
        assert await part.installations_of("ann", 0) == []
        await install(part, installation("a", channels=("cid",)))
        assert [one.id[0] for one in await part.installations_of("ann")] == ["c"]
        assert [one.id[0] for one in await part.installations_of("cid")] == ["a"]
        assert await part.installations_of("") == await part.installations_of("x" * 10_000) == []

    async def test_a_scan_may_see_changes(self, part: ApplicationStore) -> None:
        await install(part, *(installation(letter) for letter in "cab"))
        assert [one.id[0] for one in await listed(part)] == ["a", "b", "c"]
        scan = part.scan_installations()
        assert (await anext(scan)).id == "a" * 24
        await part.change_installation("c" * 24, lambda before: None)
        assert {one.id[0] async for one in scan} in ({"b"}, {"b", "c"})

    async def test_a_change_that_fails_changes_nothing(self, part: ApplicationStore) -> None:
        await install(part, installation("a"))

        def refuse(before: Installation | None) -> Installation:
            raise ConversationNotFound

        def fail(before: Installation | None) -> Installation:
            raise KeyError("broken")

        ends = await settle(
            part.change_installation("a" * 24, refuse),
            part.change_installation("b" * 24, lambda before: installation("b")),
            part.change_installation("a" * 24, fail),
            part.change_installation("a" * 24, lambda before: installation("c")),
            part.change_installation("a" * 24, lambda before: installation("a", badge=1)),
        )
        assert [type(end) for end in ends] == [ConversationNotFound, Installation, KeyError, ValueError, Installation]
        assert await listed(part) == [installation("a", badge=1), installation("b")]

    @pytest.mark.parametrize("installation_id", ["", "x" * 65])
    async def test_what_can_be_no_id_is_refused(self, part: ApplicationStore, installation_id: str) -> None:
        with pytest.raises(ValueError, match="is not an installation's id"):
            part.change_installation(installation_id, lambda before: None)

    async def test_no_retiring_takes_one(self, part: ApplicationStore) -> None:
        await install(part, installation("a"))
        await retire(part, T0 + 10_000 * DAY, Retention(Millis(1), Millis(1), Millis(1)))
        assert await listed(part) == [installation("a")]


async def listed(part: ApplicationStore) -> list[Installation]:
    return [one async for one in part.scan_installations()]


class TestIsolation:
    async def test_one_application_sees_nothing_of_another(self, store: Store, part: ApplicationStore) -> None:
        foreign = await application(store, "app-2")
        await part.create_conversation(conversation())
        await part.append(CONVERSATION, draft(), T0, push=job("", "ben"))
        (kept,) = await part.push_jobs(9)
        await queue(part, "a/1")
        await install(part, installation("a", token="t", channels=("c",)))
        pushed = await first(part)
        assert await foreign.push_jobs(9) == []
        assert await foreign.due_pushes(LATER, 9) == []
        assert await foreign.next_push_due() is None
        assert await foreign.count_pushes() == NOTHING
        assert await foreign.drop_pushes("a") == 0
        await foreign.settle_push(pushed, LATER)
        await foreign.postpone_push(pushed, LATER)
        await foreign.queue_pushes(kept, [], {"a" * 24: 9}, T0, done=True)
        assert await foreign.find_installation("a" * 24) is None
        assert await foreign.find_device("t") is None
        assert await foreign.installations_of("c") == await listed(foreign) == []
        await install(foreign, installation("b", token="t"))
        await foreign.create_conversation(conversation(OTHER))
        await foreign.append(OTHER, draft(), T0, push=job("", "cid"))
        await queue(foreign, "a/7")
        assert await part.push_jobs(9) == [kept]
        assert await due(part) == ["a/1"]
        assert await part.find_device("t") == installation("a", token="t", channels=("c",))
        assert [type(one) for one in await foreign.push_jobs(9)] == [Job]
        assert await part.count_pushes() == await foreign.count_pushes() == Waiting(1, 1, 1)
