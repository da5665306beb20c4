"""Hooks that fail, in every way and each of them, at a real server: what becomes of what they were asked about.

Commands go on, or are refused where the hook is required, within the deadline whatever the back end does. Source:
semantics, section 14.
"""

import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import cache
from typing import Any

import pytest
from anyio import create_task_group, fail_after

from fastim.core.hooks import NOTICES, QUESTIONS
from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.clients import someone
from tests.end_to_end.hook_back_end import (
    PATIENCE_SECONDS,
    SESSION_TOKEN,
    Act,
    HookBackEnd,
    drip,
    hooked_server,
    no_http,
    reset,
    reset_within,
    saying,
)
from tests.end_to_end.hook_clients import Scene, person, refusal, scene
from tests.end_to_end.rest import Rest
from tests.end_to_end.scrape import get, metric
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DEADLINE_SECONDS = 0.4
SLACK_SECONDS = 1.5
"""For everything else that a command takes, on a machine that has other things to do."""
BREAKER_FAILURES = 10
BREAKER_SECONDS = 1.5
SIGN = f"/1.2/rtm/clients/sign?session_token={SESSION_TOKEN}"

LONG = b'{"result": {"detail": "' + b"x" * 10_000_000 + b'"}}'

HTTP_FAULTS: dict[str, Act | None] = {
    "no answer": None,
    "500": saying({"result": {"drop": True, "reject": True}}, 500),
    "503": saying(b"<html>down</html>", 503),
    "reset": reset,
    "reset within the answer": reset_within,
    "slow drip": drip,
    "10 MB": saying(LONG),
    "redirect": saying({"result": {"drop": True, "reject": True}}, 307, Location="/elsewhere"),
    "another protocol": no_http,
    "no JSON": saying(b"\x00\xff<html>"),
    "another shape": saying({"result": ["drop"]}),
}
"""By name; ``None``: the back end keeps silent."""

PYTHON_FAULTS: dict[str, Act | None] = {
    "no answer": None,
    "exception": saying({"do": "raise"}),
    "exit": saying({"do": "exit"}),
    "recursion": saying({"do": "recurse"}),
    "10 MB": saying({"do": "give 10 MB"}),
    "another type": saying({"do": "give something else"}),
    "no JSON": saying({"do": "give what cannot be written"}),
}

Mode = tuple[str, bool]
"""Where the hooks run, and whether they are required."""

FAULTS = {"http": HTTP_FAULTS, "python": PYTHON_FAULTS}
MODES = [(engine, required) for engine in FAULTS for required in (False, True)]
CASES = [(mode, fault) for mode in MODES for fault in FAULTS[mode[0]]]


def name_of(case: object) -> str:
    return str(case) if isinstance(case, str) else f"{case[0]} {'required' if case[1] else 'optional'}"  # type: ignore[index]


each_fault = pytest.mark.parametrize(("mode", "fault"), CASES, ids=name_of)
each_fault_of_notices = pytest.mark.parametrize(
    ("mode", "fault"), [(mode, fault) for mode, fault in CASES if not mode[1]], ids=name_of
)
"""Nothing is refused for them, so nothing is required of them."""
some_modes = pytest.mark.parametrize("mode", [("http", False), ("python", True)], ids=name_of)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "trio"


@pytest.fixture(scope="module")
def house() -> Iterator[HookBackEnd]:
    with HookBackEnd() as back_end:
        yield back_end


@pytest.fixture
def back_end(house: HookBackEnd) -> Iterator[HookBackEnd]:
    yield house
    house.reset()


Scenes = dict["Deed", Scene]
"""One for each deed."""

ServerOf = Callable[[Mode], ServerProcess]


@pytest.fixture(scope="module")
def server_of(
    house: HookBackEnd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Mode], ServerProcess]]:
    """The one server of each mode."""
    settings = {
        "hooks__deadline_milliseconds": round(1_000 * DEADLINE_SECONDS),
        "hooks__notice_deadline_milliseconds": round(1_000 * DEADLINE_SECONDS),
        "hooks__at_once": 16,
        "hooks__breaker_failures": BREAKER_FAILURES,
        "hooks__breaker_seconds": BREAKER_SECONDS,
        "push__retry_first_seconds": 0.05,
        "push__retry_most_seconds": 0.2,
        "messages__modify_enabled": True,
    }
    with ExitStack() as stack:

        @cache
        def start(mode: Mode) -> ServerProcess:
            engine, required = mode
            data = tmp_path_factory.mktemp("data")
            own = {**settings, "hooks__required": '["all"]' if required else "[]"}
            return stack.enter_context(hooked_server(data, house, engine, **own))

        yield start


@pytest.fixture(scope="module")
async def scenes_at(server_of: ServerOf) -> AsyncIterator[Callable[[Mode], Awaitable[Scenes]]]:
    """The scenes at each mode's server."""
    at: dict[Mode, Scenes] = {}
    async with AsyncExitStack() as stack:

        async def begin(mode: Mode) -> Scenes:
            if mode not in at:
                server = server_of(mode)
                at[mode] = {deed: await stack.enter_async_context(scene(server)) for deed, _, _ in DEEDS}
            return at[mode]

        yield begin


@pytest.fixture
def server(mode: Mode, server_of: ServerOf) -> ServerProcess:
    return server_of(mode)


@pytest.fixture
async def scenes(mode: Mode, scenes_at: Callable[[Mode], Awaitable[Scenes]]) -> Scenes:
    return await scenes_at(mode)


@pytest.fixture
def required(mode: Mode) -> bool:
    return mode[1]


def act_of(mode: Mode, fault: str, back_end: HookBackEnd) -> Act:
    return FAULTS[mode[0]][fault] or back_end.silence


# --- What hooks are asked about ---------------------------------------------------------------------------------------

Deed = Callable[[Scene], Awaitable[int]]
"""Does what a hook is asked about, again and again; the code that it is refused with, 0 when it was done."""


async def send(s: Scene) -> int:
    return refusal(await s.tom.send(s.conversation_id))[0]


async def send_transient(s: Scene) -> int:
    return refusal(await s.tom.send(s.conversation_id, transient=True))[0]


async def modify(s: Scene) -> int:
    return refusal(await s.tom.patch(s.conversation_id, s.ack, data=someone("better").encode()))[0]


async def sent(s: Scene) -> pb.GenericCommand:
    """The ack of a message; a machine that has other things to do may let the hook take too long for the first one."""
    ack = await s.tom.send(s.conversation_id)
    return ack if refusal(ack)[0] == 0 else await s.tom.send(s.conversation_id)


async def recall(s: Scene) -> int:
    return refusal(await s.tom.patch(s.conversation_id, s.acks.pop(), recall=True))[0]


async def start(s: Scene) -> int:
    return refusal(await s.tom.conv(pb.start, m=[s.tom.id, s.jerry.id]))[0]


async def add(s: Scene) -> int:
    return refusal(await s.tom.conv(pb.add, s.conversation_id, m=[someone("spike")]))[0]


async def remove(s: Scene) -> int:
    return refusal(await s.tom.conv(pb.remove, s.conversation_id, m=[s.tyke]))[0]


async def update(s: Scene) -> int:
    return refusal(await s.tom.update(s.conversation_id, name=someone("kitchen")))[0]


async def mute(s: Scene) -> int:
    return refusal(await s.tom.conv(pb.mute, s.conversation_id))[0]


async def sign(s: Scene) -> int:
    status, said = await Rest(s.server, s.server.app_key).ask("GET", SIGN)
    return 0 if status == 200 else int(said["code"])


DEEDS: list[tuple[Deed, str, int]] = [
    (send, "_messageReceived", 4402),
    (send_transient, "_messageReceived", 4402),
    (modify, "_messageUpdate", 4405),
    (recall, "_messageUpdate", 4405),
    (start, "_conversationStart", 4305),
    (add, "_conversationAdd", 4305),
    (remove, "_conversationRemove", 4305),
    (update, "_conversationUpdate", 4305),
    (mute, "_conversationUpdate", 4305),
    (sign, "_rtmClientSign", 4102),
]
"""With the hook that is asked, and the code with which it refuses."""


def test_every_question_that_a_command_waits_for_is_asked_here() -> None:
    assert {hook for _, hook, _ in DEEDS} == {kind.hook for kind in QUESTIONS} - {"_receiversOffline"}


def refuse(back_end: HookBackEnd, hook: str) -> None:
    """Have the hook refuse everything from now on."""
    if hook == "_rtmClientSign":
        back_end.answer(hook, result=False, error="no")
    else:
        back_end.answer(hook, drop=True, reject=True)


# --- What hooks are told ----------------------------------------------------------------------------------------------

Event = Callable[[Scene], Awaitable[dict[str, Any]]]
"""Makes something happen that a hook is told of; by which parameters the telling is known."""


async def message(s: Scene) -> dict[str, Any]:
    return {"msgId": (await s.tom.send(s.conversation_id)).ackMessage.uid}


async def beginning(s: Scene) -> dict[str, Any]:
    return {"convId": await s.tom.start(s.tom.id, s.jerry.id)}


async def addition(s: Scene) -> dict[str, Any]:
    newcomer = someone("spike")
    assert (await s.tom.conv(pb.add, s.conversation_id, m=[newcomer])).op == pb.added
    return {"members": [newcomer]}


async def removal(s: Scene) -> dict[str, Any]:
    added = await addition(s)
    assert (await s.tom.conv(pb.remove, s.conversation_id, m=added["members"])).op == pb.removed
    return added


async def visit(s: Scene) -> dict[str, Any]:
    async with person(s.server) as one:
        return {"peerId": one.id}


EVENTS: dict[str, Event] = {
    "_messageSent": message,
    "_conversationStarted": beginning,
    "_conversationAdded": addition,
    "_conversationRemoved": removal,
    "_clientOnline": visit,
    "_clientOffline": visit,
}


def test_every_notice_is_told_here() -> None:
    assert set(EVENTS) == {kind.hook for kind in NOTICES}


@contextmanager
def in_time() -> Iterator[None]:
    """What is done takes the deadline at most."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < DEADLINE_SECONDS + SLACK_SECONDS


# --- Each fault of each hook ------------------------------------------------------------------------------------------


@each_fault
async def test_a_command_whose_hook_fails_ends_in_time_and_the_next_is_asked_about_again(
    scenes: Scenes, back_end: HookBackEnd, mode: Mode, required: bool, fault: str
) -> None:
    failed = 4200 if required else 0

    async def end_in_time(deed: Deed, hook: str, s: Scene) -> None:
        with in_time():
            assert await deed(s) == failed, deed

    scenes[recall].acks = [await sent(scenes[recall]) for _ in range(3)]
    scenes[remove].tyke = (await addition(scenes[remove]))["members"][0]
    hooks = Counter(hook for _, hook, _ in DEEDS)
    asked = {hook: len(back_end.calls(hook)) for hook in hooks}
    back_end.acts |= dict.fromkeys(hooks, act_of(mode, fault, back_end))
    async with create_task_group() as tasks:
        for deed, hook, _ in DEEDS:
            tasks.start_soon(end_in_time, deed, hook, scenes[deed])
    # A worker with 10 MB to make may pass a call on after its deadline only.
    await back_end.until(lambda: all(len(back_end.calls(hook)) >= asked[hook] + hooks[hook] for hook in hooks))
    back_end.reset()
    for deed, hook, code in DEEDS:
        refuse(back_end, hook)
        ended = await deed(scenes[deed])
        if ended == failed:  # a machine that has other things to do may be too slow once
            ended = await deed(scenes[deed])
        assert ended == code, deed
    assert back_end.calls("elsewhere") == []


@each_fault
async def test_a_hook_that_fails_over_who_is_offline_is_no_senders_business(
    server: ServerProcess, back_end: HookBackEnd, mode: Mode, required: bool, fault: str
) -> None:
    hook, data = "_receiversOffline", '{"alert":"the message\'s"}'
    async with scene(server) as s:
        await back_end.asked(hook, convId=s.conversation_id)
        back_end.acts[hook] = act_of(mode, fault, back_end)
        with in_time():
            ack = await s.tom.send(s.conversation_id, "are you there?", pushData=data)
        assert refusal(ack)[0] == 0
        if required:
            # It is asked again, and nothing is pushed without its word.
            await back_end.asked(hook, 2, convId=s.conversation_id, content="are you there?")
            assert back_end.calls("push", msg_id=ack.ackMessage.uid) == []
            back_end.reset()
            back_end.answer(hook, pushMessage='{"alert":"the hook\'s"}')
        (pushed,) = await back_end.asked("push", msg_id=ack.ackMessage.uid)
        assert pushed.said["client_id"] == s.tyke
        assert pushed.said["data"] == {"alert": "the hook's" if required else "the message's"}
        assert back_end.calls(hook, convId=s.conversation_id, content="are you there?")
        back_end.reset()
        back_end.answer(hook, pushMessage='{"alert":"again"}')
        ack = await s.tom.send(s.conversation_id, "and now?", pushData=data)
        (pushed,) = await back_end.asked("push", msg_id=ack.ackMessage.uid)
        assert pushed.said["data"] == {"alert": "again"}
    assert back_end.calls("elsewhere") == []


@each_fault_of_notices
async def test_nobody_waits_for_a_notice_that_fails_and_the_next_is_told_again(
    server: ServerProcess, back_end: HookBackEnd, mode: Mode, fault: str
) -> None:
    async with scene(server) as s:
        for hook, event in EVENTS.items():
            back_end.acts[hook] = act_of(mode, fault, back_end)
            with in_time():
                told = await event(s)
            await back_end.asked(hook, **told)
            back_end.acts.pop(hook)
            await back_end.asked(hook, **await event(s))
    assert back_end.calls("elsewhere") == []


@some_modes
async def test_a_silent_hook_costs_many_commands_at_once_no_more_than_one(
    server: ServerProcess, back_end: HookBackEnd, required: bool
) -> None:
    bodies = [b"%d" % number for number in range(300)]
    async with scene(server) as s:
        back_end.acts["_messageReceived"] = back_end.silence
        with in_time():
            numbers = [
                await s.tom.begin(cmd=pb.direct, directMessage=pb.DirectCommand(cid=s.conversation_id, msg=body))
                for body in bodies
            ]
            codes = {refusal(await s.tom.reply(number))[0] for number in numbers}
        assert codes == {4200 if required else 0}
        assert await s.jerry.messages() == ([] if required else bodies)
        back_end.reset()
        with fail_after(PATIENCE_SECONDS):
            while await is_open(server, "_messageReceived"):
                await send(s)


# --- The breaker ------------------------------------------------------------------------------------------------------


@some_modes
async def test_the_breaker_of_each_question_opens_in_time_and_closes_again(
    server: ServerProcess,
    scenes: Scenes,
    back_end: HookBackEnd,
    mode: Mode,
    required: bool,
) -> None:
    one_of_each = {hook: (deed, code) for deed, hook, code in reversed(DEEDS)}
    failing = act_of(mode, "500" if mode[0] == "http" else "exception", back_end)

    async def break_and_mend(hook: str, deed: Deed, code: int, s: Scene) -> None:
        asked = len(back_end.calls(hook))
        back_end.acts[hook] = failing
        for _ in range(BREAKER_FAILURES + 1):
            with in_time():
                assert await deed(s) == (4200 if required else 0)
        assert len(back_end.calls(hook)) == asked + BREAKER_FAILURES
        assert await is_open(server, hook)
        refuse(back_end, hook)
        with fail_after(PATIENCE_SECONDS):
            while await deed(s) != code:
                assert len(back_end.calls(hook)) == asked + BREAKER_FAILURES
        assert not await is_open(server, hook)
        assert await deed(s) == code
        assert len(back_end.calls(hook)) == asked + BREAKER_FAILURES + 2

    async with create_task_group() as tasks:
        for hook, (deed, code) in one_of_each.items():
            tasks.start_soon(break_and_mend, hook, deed, code, scenes[deed])


@some_modes
async def test_the_breaker_of_each_notice_opens_in_time_and_closes_again(
    server: ServerProcess, back_end: HookBackEnd, mode: Mode
) -> None:
    failing = act_of(mode, "500" if mode[0] == "http" else "exception", back_end)
    events = EVENTS | {"_receiversOffline": message}
    async with scene(server) as s:
        for hook, event in events.items():
            before, asked = await outcomes(server, hook), len(back_end.calls(hook))
            back_end.acts[hook] = failing
            # What is left of the tests before may be among its failures: it opens within so many, not at the last.
            for number in range(1, BREAKER_FAILURES + 1):
                if number > 1 and await is_open(server, hook):
                    break
                await event(s)
                await until_counted(server, hook, "failed", before["failed"] + number)
            await event(s)
            await until_counted(server, hook, "refused_by_breaker", before["refused_by_breaker"] + 1)
            assert asked < len(back_end.calls(hook)) <= asked + BREAKER_FAILURES
            assert await is_open(server, hook)
        back_end.reset()
        for hook, event in events.items():
            with fail_after(PATIENCE_SECONDS):
                while await is_open(server, hook):
                    await event(s)
            worked = (await outcomes(server, hook))["ok"]
            await event(s)
            await until_counted(server, hook, "ok", worked + 1)


# --- Hooks in Python --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [("python", True)], ids=name_of)
async def test_a_hook_that_ends_its_process_fails_and_is_back_soon(
    server: ServerProcess, back_end: HookBackEnd
) -> None:
    async with scene(server) as s:
        back_end.acts["_messageReceived"] = saying({"do": "die"})
        with in_time():
            assert await send(s) == 4200
        back_end.reset()
        with fail_after(PATIENCE_SECONDS):
            while await send(s) != 0:
                pass


async def outcomes(server: ServerProcess, hook: str) -> Counter[str]:
    """What became of the hook's calls."""
    _, body = await get(server, "/metrics")
    found = re.findall(rf'^fastim_hook_calls_total{{hook="{hook}",outcome="(\w+)"}} (\S+)$', body, re.MULTILINE)
    return Counter({outcome: int(float(number)) for outcome, number in found})


async def until_counted(server: ServerProcess, hook: str, outcome: str, number: int) -> None:
    """Wait until so many calls have come to that."""
    with fail_after(PATIENCE_SECONDS):
        while (await outcomes(server, hook))[outcome] < number:
            pass


async def is_open(server: ServerProcess, hook: str) -> bool:
    """Whether its breaker is."""
    return await metric(server, "fastim_hook_breaker_open", hook=hook) == 1
