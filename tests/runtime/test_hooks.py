import asyncio
import re
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from fastim.core.errors import HookFailed
from fastim.core.hooks import (
    Answer,
    Call,
    ClientOnline,
    ConversationAdd,
    ConversationAdded,
    ConversationAnswer,
    ConversationRemove,
    ConversationStarted,
    MessageAnswer,
    UpdateAnswer,
)
from fastim.runtime import hooks as runtime
from fastim.runtime.hooks import SECONDS_BOUNDS, Breaker, LocalHooks, Outcome
from fastim.runtime.metrics import HookCollector, Metrics
from fastim.runtime.steps import Stepped
from fastim.settings import Hooks
from tests.fakes.clock import NOON, SettableClock
from tests.fakes.engine import Act, ScriptedEngine, broken, fine
from tests.fakes.running import idle, on_asyncio
from tests.runtime.node import running_node

ADD = ConversationAdd(init_by="tom", members=("ann",), conversation_id="c")
ADDED = ConversationAdded(init_by="tom", members=("ann",), conversation_id="c")
NO = ConversationAnswer(reject=True, code=7, detail="no")

REQUIRED = Hooks(required=("_conversationAdd",))


def now() -> float:
    return asyncio.get_running_loop().time()


def answering(answer: Answer) -> Act:
    async def act(_: Call) -> Answer:
        return answer

    return act


async def silent(_: Call) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


async def deaf(_: Call) -> Answer:
    """Lets go of nothing for a minute."""
    until = now() + 60
    while now() < until:
        try:
            await asyncio.sleep(until - now())
        except asyncio.CancelledError:
            continue
    return Answer()


class Gate:
    """Calls stay inside until it opens."""

    def __init__(self) -> None:
        self._open = asyncio.Event()

    async def __call__(self, call: Call) -> Answer:
        await self._open.wait()
        return await fine(call)

    def open(self) -> None:
        self._open.set()


# --- Who is asked -----------------------------------------------------------------------------------------------------


@on_asyncio
async def test_a_question_is_answered_by_the_hook() -> None:
    hooks = LocalHooks([ScriptedEngine(answering(NO))], Hooks())
    assert await hooks.ask(ADD) == NO
    assert hooks.lines["_conversationAdd"].outcomes["ok"] == 1


@on_asyncio
async def test_the_first_engine_that_defines_a_hook_gets_its_calls() -> None:
    first = ScriptedEngine(defined=[ConversationAdded], name="first")
    second = ScriptedEngine(answering(NO), name="second")
    third = ScriptedEngine(name="third")
    hooks = LocalHooks([first, second, third], Hooks())
    assert await hooks.ask(ADD) == NO
    hooks.tell(ADDED)
    await idle()
    assert (first.called, second.called, third.called) == ([ADDED], [ADD], [])


@on_asyncio
async def test_what_nobody_defines_is_answered_with_nothing_and_is_no_failure() -> None:
    engine = ScriptedEngine(broken, defined=[])
    for engines in ([], [engine]):
        hooks = LocalHooks(engines, Hooks(required=("all",)))
        assert not hooks.defines(ConversationAdd)
        assert await hooks.ask(ADD) == ConversationAnswer()
        hooks.tell(ADDED)
        await idle()
        assert not any(sum(line.outcomes.values()) for line in hooks.lines.values())
    assert engine.called == []


@on_asyncio
async def test_what_is_defined_may_change() -> None:
    engine = ScriptedEngine(defined=[])
    hooks = LocalHooks([ScriptedEngine(defined=[]), engine], Hooks())
    assert not hooks.defines(ConversationAdd)
    engine.defined.add(ConversationAdd)
    assert hooks.defines(ConversationAdd)
    assert not hooks.defines(ConversationAdded)


@on_asyncio
async def test_a_question_is_on_its_way_before_anybody_waits() -> None:
    engine = ScriptedEngine(answering(NO))
    hooks = LocalHooks([engine], Hooks())
    answers = [hooks.ask(ADD), hooks.ask(ADD)]
    await idle()
    assert engine.called == [ADD, ADD]
    assert [await answer for answer in answers] == [NO, NO]


@on_asyncio
async def test_work_without_a_task_may_wait_for_an_answer() -> None:
    ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def work(hooks: LocalHooks) -> None:
        try:
            ended.set_result(await hooks.ask(ADD))
        except HookFailed as error:
            ended.set_result(error)

    for act, settings, expected in (
        (answering(NO), Hooks(), NO),
        (silent, Hooks(), ConversationAnswer()),
        (broken, REQUIRED, HookFailed),
    ):
        ended = asyncio.get_running_loop().create_future()
        Stepped(work(LocalHooks([ScriptedEngine(act)], settings)), None, lambda *_: None).go_on()
        found = await ended
        assert found == expected or type(found) is expected


@on_asyncio
async def test_engines_are_started_and_let_go_of() -> None:
    engines = [ScriptedEngine(), ScriptedEngine()]
    hooks = LocalHooks(engines, Hooks())
    await hooks.start()
    assert [engine.running for engine in engines] == [True, True]
    await hooks.close()
    assert [engine.running for engine in engines] == [False, False]


# --- Failures ---------------------------------------------------------------------------------------------------------


async def _bug(_: Call) -> Answer:
    raise ZeroDivisionError


FAILURES = [
    broken,
    _bug,
    answering(MessageAnswer()),
    answering(UpdateAnswer(reject=True, code=2**31)),
    cast(Act, lambda _: asyncio.sleep(0, None)),
]


@pytest.mark.rule("14.3")
@pytest.mark.parametrize("act", FAILURES)
@on_asyncio
async def test_it_goes_on_without_a_hook_that_fails(act: Act) -> None:
    hooks = LocalHooks([ScriptedEngine(act)], Hooks(required=("_messageReceived",)))
    assert await hooks.ask(ADD) == ConversationAnswer()
    assert hooks.lines["_conversationAdd"].outcomes["failed"] == 1


@pytest.mark.rule("14.3")
@pytest.mark.parametrize("required", ["_conversationAdd", "all"])
@pytest.mark.parametrize("act", FAILURES)
@on_asyncio
async def test_nothing_goes_on_without_a_hook_that_is_required(act: Act, required: str) -> None:
    hooks = LocalHooks([ScriptedEngine(act)], Hooks(required=(required,)))
    with pytest.raises(HookFailed):
        await hooks.ask(ADD)


@pytest.mark.parametrize("act", [silent, deaf])
@on_asyncio
async def test_no_answer_is_waited_for_beyond_the_deadline(act: Act) -> None:
    engine = ScriptedEngine(act)
    begun = now()
    assert await LocalHooks([engine], Hooks(deadline_milliseconds=250)).ask(ADD) == ConversationAnswer()
    assert now() - begun == pytest.approx(0.25)
    with pytest.raises(HookFailed):
        await LocalHooks([engine], REQUIRED).ask(ADD)
    assert now() - begun == pytest.approx(0.25 + 3)


@on_asyncio
async def test_the_call_is_given_up_at_the_deadline() -> None:
    engine = ScriptedEngine(silent)
    hooks = LocalHooks([engine], Hooks())
    await hooks.ask(ADD)
    await idle()
    assert engine.under_way == 0
    assert hooks.lines["_conversationAdd"].outcomes["timeout"] == 1


@on_asyncio
async def test_a_failure_that_nobody_waits_for_is_no_news_to_the_loop() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    hooks = LocalHooks([ScriptedEngine(broken)], Hooks(required=("all",), breaker_failures=1))
    hooks.ask(ADD)
    await idle()
    hooks.ask(ADD)
    await idle()
    assert hooks.lines["_conversationAdd"].outcomes["refused_by_breaker"] == 1
    assert told == []


@on_asyncio
async def test_who_asks_may_go() -> None:
    engine = ScriptedEngine(silent)
    hooks = LocalHooks([engine], Hooks())
    asking = asyncio.ensure_future(hooks.ask(ADD))
    await idle()
    asking.cancel()
    await idle()
    assert engine.under_way == 0
    assert hooks.lines["_conversationAdd"].outcomes["abandoned"] == 1
    asking = asyncio.ensure_future(hooks.ask(ADD))
    asking.cancel()  # before it begins
    await idle()
    engine.act = answering(NO)
    assert await hooks.ask(ADD) == NO


# --- Turns ------------------------------------------------------------------------------------------------------------


@on_asyncio
async def test_only_so_many_questions_are_under_way_at_once() -> None:
    gate = Gate()
    engine = ScriptedEngine(gate)
    hooks = LocalHooks([engine], Hooks(at_once=3))
    asked = [asyncio.ensure_future(hooks.ask(ADD)) for _ in range(8)]
    await idle()
    assert engine.under_way == 3
    gate.open()
    await asyncio.gather(*asked)
    assert (engine.most, len(engine.called)) == (3, 8)


@on_asyncio
async def test_the_wait_for_a_turn_counts_and_says_nothing_about_the_hook() -> None:
    hooks = LocalHooks([ScriptedEngine(deaf)], Hooks(at_once=1, deadline_milliseconds=500, breaker_failures=1))
    hooks.ask(ConversationRemove(init_by="tom", members=(), conversation_id="c"))
    await idle()
    begun = now()
    for _ in range(3):
        assert await hooks.ask(ADD) == ConversationAnswer()
    assert now() - begun == pytest.approx(1.5)
    line = hooks.lines["_conversationAdd"]
    assert (line.outcomes["no_slot"], line.breaker.open) == (3, False)


@on_asyncio
async def test_notices_do_not_take_the_turns_of_questions() -> None:
    async def act(call: Call) -> Answer:
        return await (silent(call) if isinstance(call, ConversationAdded) else fine(call))

    hooks = LocalHooks([ScriptedEngine(act)], Hooks(at_once=2))
    for _ in range(10):
        hooks.tell(ADDED)
    await idle()
    begun = now()
    assert await hooks.ask(ADD) == ConversationAnswer()
    assert now() == begun


# --- Notices ----------------------------------------------------------------------------------------------------------


def started(number: int) -> ConversationStarted:
    return ConversationStarted(conversation_id=str(number))


@on_asyncio
async def test_notices_are_begun_in_order_and_only_so_many_at_once() -> None:
    async def act(call: Call) -> Answer:
        await asyncio.sleep(0.01 * (int(cast(ConversationStarted, call).conversation_id) % 3))
        return Answer()

    engine = ScriptedEngine(act)
    hooks = LocalHooks([engine], Hooks(at_once=4))
    notices = [started(number) for number in range(50)]
    for notice in notices[:30]:
        hooks.tell(notice)
    await idle()
    for notice in notices[30:]:
        hooks.tell(notice)
    assert hooks.notices_waiting > 0
    await hooks.close()
    assert engine.called == notices
    assert engine.most == 4
    assert hooks.lines["_conversationStarted"].outcomes["ok"] == 50


@on_asyncio
async def test_a_notice_has_a_deadline_of_its_own() -> None:
    engine = ScriptedEngine(silent)
    hooks = LocalHooks([engine], Hooks(notice_deadline_milliseconds=700, at_once=1))
    begun = now()
    hooks.tell(ADDED)
    hooks.tell(started(1))
    await asyncio.sleep(0.699)
    assert engine.called == [ADDED]
    await asyncio.sleep(0.002)
    assert engine.called == [ADDED, started(1)]
    await hooks.close()
    assert now() - begun == pytest.approx(1.4, abs=0.01)


@on_asyncio
async def test_notices_beyond_what_may_wait_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "NOTICES_WAITING_MAX", 5)
    gate = Gate()
    engine = ScriptedEngine(gate)
    hooks = LocalHooks([engine], Hooks(at_once=1))
    with capture_logs() as logs:
        for number in range(9):
            hooks.tell(started(number))
    assert hooks.lines["_conversationStarted"].outcomes["dropped"] == 4
    assert [entry["event"] for entry in logs] == ["hooks are not told everything"]
    gate.open()
    await hooks.close()
    assert engine.called == [started(number) for number in range(5)]


@on_asyncio
async def test_the_end_waits_for_notices_but_not_for_ever() -> None:
    engine = ScriptedEngine(silent)
    hooks = LocalHooks([engine], Hooks(at_once=2, notice_deadline_milliseconds=600_000))
    await hooks.start()
    for number in range(5):
        hooks.tell(started(number))
    await idle()
    begun = now()
    with capture_logs() as logs:
        await hooks.close()
    assert now() - begun == pytest.approx(5, abs=0.1)
    assert (engine.under_way, engine.running, hooks.notices_waiting) == (0, False, 0)
    outcomes = hooks.lines["_conversationStarted"].outcomes
    assert (outcomes["abandoned"], outcomes["dropped"]) == (2, 3)
    assert [entry["event"] for entry in logs] == ["hooks were not told everything before the end"]
    hooks.tell(started(6))
    assert outcomes["dropped"] == 4


@on_asyncio
async def test_a_question_at_the_end_is_not_left_open_and_nothing_is_done_unasked() -> None:
    for settings in (Hooks(), REQUIRED):
        hooks = LocalHooks([ScriptedEngine(silent)], settings)
        asking = asyncio.ensure_future(hooks.ask(ADD))
        await idle()
        begun = now()
        with capture_logs() as logs:
            await hooks.close()
        assert now() - begun < 0.1
        with pytest.raises(HookFailed):
            await asking
        assert logs == []
        assert hooks.lines["_conversationAdd"].outcomes["abandoned"] == 1


@on_asyncio
async def test_a_required_hook_that_is_not_defined_is_said_once() -> None:
    engine = ScriptedEngine()
    for settings in (REQUIRED, Hooks(), Hooks(required=("all",))):
        hooks = LocalHooks([engine], settings)
        with capture_logs() as logs:
            assert hooks.defines(ConversationAdd)
            engine.defined.clear()
            for kind in (ConversationAdd, ConversationRemove, ConversationAdd):
                assert not hooks.defines(kind)
        engine.defined.add(ConversationAdd)
        said = [(entry["log_level"], entry["hook"]) for entry in logs]
        assert said == ([("warning", "_conversationAdd")] if settings is REQUIRED else [])


# --- The breaker ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [1, 5, 10])
@on_asyncio
async def test_a_hook_that_fails_too_often_in_a_row_is_left_alone(failures: int) -> None:
    engine = ScriptedEngine(silent)
    hooks = LocalHooks([engine], Hooks(breaker_failures=failures, breaker_seconds=20, deadline_milliseconds=100))
    for _ in range(failures):
        await hooks.ask(ADD)
    begun = now()
    for _ in range(3):
        assert await hooks.ask(ADD) == ConversationAnswer()
    assert now() == begun
    assert len(engine.called) == failures
    assert hooks.lines["_conversationAdd"].outcomes["refused_by_breaker"] == 3
    assert hooks.defines(ConversationAdd)


@on_asyncio
async def test_while_it_is_left_alone_what_requires_it_is_refused_at_once() -> None:
    hooks = LocalHooks([ScriptedEngine(broken)], Hooks(required=("all",), breaker_failures=1))
    for _ in range(3):
        with pytest.raises(HookFailed):
            await hooks.ask(ADD)
    assert hooks.lines["_conversationAdd"].outcomes["refused_by_breaker"] == 2


@on_asyncio
async def test_only_failures_in_a_row_count() -> None:
    engine = ScriptedEngine(broken)
    hooks = LocalHooks([engine], Hooks(breaker_failures=3))
    for act in (broken, broken, fine, broken, broken, fine):
        engine.act = act
        await hooks.ask(ADD)
    assert not hooks.lines["_conversationAdd"].breaker.open


@on_asyncio
async def test_one_hook_is_not_left_alone_for_another() -> None:
    async def act(call: Call) -> Answer:
        return await (broken(call) if isinstance(call, ConversationAdd) else fine(call))

    engine = ScriptedEngine(act)
    hooks = LocalHooks([engine], Hooks(breaker_failures=1))
    await hooks.ask(ADD)
    hooks.tell(ADDED)
    await idle()
    assert hooks.lines["_conversationAdd"].breaker.open
    assert hooks.lines["_conversationAdded"].outcomes["ok"] == 1


@on_asyncio
async def test_one_call_finds_out_whether_it_is_back() -> None:
    gate = Gate()
    engine = ScriptedEngine(broken)
    hooks = LocalHooks([engine], Hooks(breaker_failures=2, breaker_seconds=10))
    for _ in range(2):
        await hooks.ask(ADD)
    await asyncio.sleep(10)
    engine.act = gate
    trial = asyncio.ensure_future(hooks.ask(ADD))
    others = [asyncio.ensure_future(hooks.ask(ADD)) for _ in range(5)]
    await idle()
    others += [asyncio.ensure_future(hooks.ask(ADD)) for _ in range(5)]
    await asyncio.gather(*others)
    assert (len(engine.called), trial.done()) == (3, False)
    gate.open()
    await trial
    assert not hooks.lines["_conversationAdd"].breaker.open
    await asyncio.gather(*(hooks.ask(ADD) for _ in range(4)))
    assert len(engine.called) == 7


@on_asyncio
async def test_a_trial_that_fails_leaves_it_alone_for_as_long_again() -> None:
    engine = ScriptedEngine(broken)
    hooks = LocalHooks([engine], Hooks(breaker_failures=2, breaker_seconds=10))
    for _ in range(2):
        await hooks.ask(ADD)
    for trials in (3, 4):
        await asyncio.sleep(9.99)
        await hooks.ask(ADD)
        assert len(engine.called) == trials - 1
        await asyncio.sleep(0.02)
        await hooks.ask(ADD)
        await hooks.ask(ADD)
        assert len(engine.called) == trials


@on_asyncio
async def test_when_whoever_tries_is_gone_the_next_one_tries() -> None:
    engine = ScriptedEngine(broken)
    hooks = LocalHooks([engine], Hooks(breaker_failures=1, breaker_seconds=10))
    await hooks.ask(ADD)
    await asyncio.sleep(10)
    engine.act = silent
    trial = asyncio.ensure_future(hooks.ask(ADD))
    await idle()
    trial.cancel()
    await idle()
    engine.act = answering(NO)
    assert await hooks.ask(ADD) == NO
    assert not hooks.lines["_conversationAdd"].breaker.open


@on_asyncio
async def test_calls_from_before_have_no_say_in_the_trial() -> None:
    gate, second = Gate(), Gate()
    engine = ScriptedEngine(gate)
    hooks = LocalHooks([engine], Hooks(breaker_failures=1, breaker_seconds=1))
    early = asyncio.ensure_future(hooks.ask(ADD))
    await idle()
    engine.act = broken
    await hooks.ask(ADD)
    await asyncio.sleep(1)
    engine.act = second
    trial = asyncio.ensure_future(hooks.ask(ADD))
    await idle()
    gate.open()
    await early
    assert hooks.lines["_conversationAdd"].breaker.open
    second.open()
    await trial
    assert not hooks.lines["_conversationAdd"].breaker.open


@given(
    failures=st.integers(1, 10),
    steps=st.lists(st.tuples(st.sampled_from(["enter", "worked", "failed", "leave"]), st.floats(0, 20)), max_size=60),
)
def test_an_open_breaker_lets_one_call_through_at_a_time(failures: int, steps: list[tuple[str, float]]) -> None:
    breaker = Breaker(failures, 10)
    moment = 0.0
    tickets: list[tuple[int, bool]] = []
    for act, pause in steps:
        moment += pause
        was_open, alone = breaker.open, breaker.leaves_alone(moment)
        if act == "enter":
            ticket = breaker.enter(moment)
            assert (ticket is None) == alone
            if ticket is not None:
                tickets.append((ticket, was_open))
                if was_open:
                    assert breaker.leaves_alone(moment + 1_000)
        elif tickets:
            ticket, trial = tickets.pop(0)
            if act == "worked":
                breaker.worked(ticket)
                assert breaker.open == (was_open and not trial)
            elif act == "failed":
                breaker.failed(ticket, moment)
                assert breaker.open or not (was_open or trial)
            else:
                breaker.leave(ticket)
                assert breaker.open == was_open


# --- What is said of it -----------------------------------------------------------------------------------------------


@on_asyncio
async def test_the_log_says_once_that_a_hook_fails_and_that_it_works_again() -> None:
    engine = ScriptedEngine(broken, name="http")
    hooks = LocalHooks([engine], Hooks(breaker_failures=2, breaker_seconds=1, required=("_conversationAdd",)))
    with capture_logs() as logs:
        for _ in range(4):
            with pytest.raises(HookFailed):
                await hooks.ask(ADD)
        await asyncio.sleep(1)
        with pytest.raises(HookFailed):
            await hooks.ask(ADD)
        await asyncio.sleep(1)
        engine.act = fine
        for _ in range(2):
            await hooks.ask(ADD)
        engine.act = broken
        with pytest.raises(HookFailed):
            await hooks.ask(ADD)
    said = {"hook": "_conversationAdd", "engine": "http"}
    fails = {"event": "a hook fails", "log_level": "warning", **said, "problem": "status 500", "required": True}
    assert logs == [
        fails,
        {"event": "a hook is left alone", "log_level": "warning", **said, "seconds": 1},
        {"event": "a hook works again", "log_level": "info", **said},
        fails,
    ]


@on_asyncio
async def test_a_bug_in_an_engine_is_logged_with_its_traceback() -> None:
    with capture_logs() as logs:
        await LocalHooks([ScriptedEngine(_bug)], Hooks()).ask(ADD)
    assert isinstance(logs[0]["exc_info"], ZeroDivisionError)
    assert (logs[1]["event"], logs[1]["problem"]) == ("a hook fails", "ZeroDivisionError")


@on_asyncio
async def test_slow_calls_are_logged_now_and_then() -> None:
    async def slow(call: Call) -> Answer:
        await asyncio.sleep(0.3)
        return await fine(call)

    hooks = LocalHooks([ScriptedEngine(slow)], Hooks(slow_milliseconds=250))
    with capture_logs() as logs:
        await asyncio.gather(*(hooks.ask(ADD) for _ in range(5)))
        await hooks.ask(ADD)
        await asyncio.sleep(10)
        await hooks.ask(ADD)
    assert [(entry["event"], entry["milliseconds"], entry["calls"]) for entry in logs] == [
        ("a hook is slow", 300, 1),
        ("a hook is slow", 300, 6),
    ]
    with capture_logs() as logs:
        await LocalHooks([ScriptedEngine(slow)], Hooks(slow_milliseconds=350)).ask(ADD)
    assert logs == []


@on_asyncio
async def test_the_last_calls_are_remembered_without_what_was_said() -> None:
    engine = ScriptedEngine(name="http")
    hooks = LocalHooks([engine], Hooks(), SettableClock())
    for _ in range(150):
        await hooks.ask(ADD)
    engine.act = broken
    await hooks.ask(ADD)
    engine.act = silent
    hooks.tell(ClientOnline(peer_id="tom", source_ip="203.0.113.7", tag="", reconnect=0))
    await asyncio.sleep(6)
    engine.act = fine
    for _ in range(58):
        await hooks.ask(ADD)
    assert len(hooks.recent) == 200
    failed, late = hooks.recent[140], hooks.recent[141]
    assert (failed.at, failed.hook, failed.engine) == (NOON, "_conversationAdd", "http")
    assert (failed.outcome, failed.problem) == ("failed", "status 500")
    assert (late.hook, late.outcome) == ("_clientOnline", "timeout")
    assert late.milliseconds == pytest.approx(5_000)
    assert "tom" not in repr(hooks.recent)


@on_asyncio
async def test_calls_are_measured() -> None:
    async def takes_a_while(call: Call) -> Answer:
        await asyncio.sleep(0.2)
        return await fine(call)

    engine = ScriptedEngine(takes_a_while)
    hooks = LocalHooks([engine], Hooks())
    await hooks.ask(ADD)
    engine.act = silent
    await hooks.ask(ADD)
    line = hooks.lines["_conversationAdd"]
    assert line.seconds == pytest.approx(3.2)
    upper = [*SECONDS_BOUNDS, float("inf")]
    assert {bound for bound, count in zip(upper, line.seconds_counts, strict=True) if count} == {0.25, 5.0}


@on_asyncio
async def test_what_became_of_calls_can_be_scraped() -> None:
    async with running_node() as node:
        engine = ScriptedEngine(broken)
        hooks = LocalHooks([engine], Hooks(breaker_failures=1))
        await hooks.ask(ADD)
        await hooks.ask(ADD)
        node.dispatcher.add(replace(node.tenant, hooks=hooks))
        scraped = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(Metrics(HookCollector(node.dispatcher)).exposition().decode())
            for sample in family.samples
        }
    add = "_conversationAdd"
    assert scraped["fastim_hook_calls_total", add, "failed"] == 1
    assert scraped["fastim_hook_calls_total", add, "refused_by_breaker"] == 1
    assert scraped["fastim_hook_calls_total", add, "ok"] == 0
    assert scraped["fastim_hook_seconds_count", add] == 1
    assert scraped["fastim_hook_seconds_bucket", add, "0.002"] == 1
    assert scraped["fastim_hook_breaker_open", add] == 1
    assert scraped["fastim_hook_notices_waiting",] == 0
    assert not any("_clientOnline" in labels for labels in scraped)


def test_each_outcome_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    table = page.partition("## Outcomes of hooks")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) - {"outcome"} == set(get_args(Outcome))


def test_hooks_that_cannot_be_used_leave_what_there_was_and_hold_nobody_else_up() -> None:
    async def check() -> None:
        wrong, right = ScriptedEngine(name="wrong"), ScriptedEngine(name="right")
        hooks = LocalHooks([wrong, right], Hooks())
        await hooks.start()
        wrong.unusable = "hooks.python: line 3: it is not Python"
        with capture_logs() as logs:
            await hooks.reload()
        assert (wrong.reloads, right.reloads) == (0, 1)
        (error,) = [one for one in logs if one["log_level"] == "error"]
        assert error["reason"] == "hooks.python: line 3: it is not Python"
        assert hooks.is_anywhere
        await hooks.close()

    asyncio.run(check())
