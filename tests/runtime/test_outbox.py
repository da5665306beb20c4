import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count, pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import HookFailed, Unavailable
from fastim.core.hooks import A, OfflineAnswer, Question, ReceiversOffline
from fastim.core.ids import conversation_id, message_id
from fastim.core.installation import Installation
from fastim.core.message import Draft
from fastim.core.policy import Policy
from fastim.core.push import EXPIRY_MILLIS, Job, Notification
from fastim.core.units import Millis
from fastim.ports.push import Dead, Later, Outcome, PushProvider, Refused, Sent
from fastim.ports.store import ApplicationStore, Waiting
from fastim.runtime import outbox as module
from fastim.runtime.metrics import Metrics, OutboxCollector
from fastim.runtime.outbox import (
    FAILURES_MOST,
    HELD_FAILURES,
    NOBODY,
    PLAIN_MOST,
    PUT_OFF_SECONDS,
    SEND_SECONDS_MAX,
    Outbox,
)
from fastim.service.io import Io
from fastim.settings import Push
from tests.fakes.clock import NOON
from tests.fakes.hooks import PlainHooks
from tests.fakes.running import explored, on_asyncio
from tests.runtime.node import running_node

HOUR_SECONDS = 3_600
PATIENCE_SECONDS = 4 * HOUR_SECONDS
STATIC = '{"alert":"hello","badge":"Increment"}'
NOTHING = Waiting(0, 0, 0)

Answer = Callable[[Notification], Outcome]


class LoopClock:
    """Shows the loop's time, which jumps."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    def now(self) -> Millis:
        return Millis(NOON + round((self._loop.time() - self._began) * 1000))


class Carrier:
    """A provider that answers what a test lets it.

    Args:
        kind: Of the devices that it carries to.
        seconds: How long an answer takes.

    Attributes:
        answer: What it says.
        tried: When each was sent, in seconds from the carrier's making, and what it was.
        sent: What it took.
        most: How many were under way at once.
    """

    def __init__(self, answer: Answer | None = None, *, name: str = "apns", kind: str = "ios", seconds: float = 0.05):
        self.name = name
        self.answer = answer or (lambda _: Sent())
        self.seconds = seconds
        self.tried: list[tuple[float, Notification]] = []
        self.sent: list[Notification] = []
        self.most = 0
        self.closed = False
        self._kind = kind
        self._began = asyncio.get_running_loop().time()
        self._under_way: Counter[str] = Counter()

    @property
    def moments(self) -> list[float]:
        return [moment for moment, _ in self.tried]

    def carries(self, installation: Installation) -> bool:
        return installation.kind == self._kind

    async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
        self.tried.append((asyncio.get_running_loop().time() - self._began, notification))
        assert not self._under_way[notification.target], "two at once for one target"
        self._under_way[notification.target] += 1
        self.most = max(self.most, self._under_way.total())
        try:
            if self.seconds:
                await asyncio.sleep(self.seconds)
            outcome = self.answer(notification)
        finally:
            self._under_way[notification.target] -= 1
        if isinstance(outcome, Sent):
            self.sent.append(notification)
        return outcome

    async def close(self) -> None:
        self.closed = True


class Moody:
    """A store that cannot be used while ``failing`` says so of the name of what is called."""

    def __init__(self, store: ApplicationStore) -> None:
        self._store = store
        self.failing: Callable[[str], bool] = lambda _: False

    def __getattr__(self, name: str) -> Any:
        begin = getattr(self._store, name)

        async def fail(*_: object, **__: object) -> None:
            raise Unavailable

        return fail if self.failing(name) else begin


class Office:
    """An outbox on a store in memory, with devices and conversations.

    Attributes:
        kept: What was put into the outbox by hand, all of it.
    """

    def __init__(self, io: Io, hooks: PlainHooks) -> None:
        self.io = io
        self.hooks = hooks
        self.kept: list[Notification] = []
        self._numbers = count(1)
        self._random = random.Random(3)
        self._opened: list[Outbox] = []

    @property
    def store(self) -> ApplicationStore:
        return self.io.store

    def open(self, *providers: PushProvider, luck: Callable[[], float] = lambda: 0.0, **settings: Any) -> Outbox:
        outbox = Outbox(providers, Push(**settings), self.hooks, luck)
        self._opened.append(outbox)
        outbox.start(self.io)
        return outbox

    async def close(self) -> None:
        for outbox in self._opened:
            await outbox.close()

    async def device(self, *channels: str, kind: str = "ios", **fields: Any) -> Installation:
        name = f"{next(self._numbers):024x}"
        now = self.io.clock.now()
        device = Installation(name, kind, now, now, token=f"token of {name}", channels=channels, **fields)
        await self.store.change_installation(name, lambda _: device)
        return device

    async def devices(self, number: int, kind: str = "ios") -> list[Installation]:
        return [await self.device("ben", kind=kind) for _ in range(number)]

    async def keep(self, *devices: Installation, expires_in: float = EXPIRY_MILLIS / 1000, data: str = "{}") -> None:
        """Put a notification of one message for each of the devices into the outbox."""
        now = self.io.clock.now()
        name = message_id(now, self._random.randbytes(10))
        expires_at = Millis(now + round(expires_in * 1000))
        made = [Notification(one.id, name, "c", "ben", one.id, data, expires_at) for one in devices]
        await self.store.queue_pushes(Job("", "c", "c", now, ()), made, {}, now, done=True)
        self.kept += made

    async def conversation(self, *members: str) -> str:
        now = self.io.clock.now()
        name = conversation_id(now, self._random.randbytes(7))
        made = Conversation(name, Kind.NORMAL, "tom", now, now, members=("tom", *members))
        await self.store.create_conversation(made)
        return name

    async def say(self, conversation: str, *offline: str, content: str = "") -> str:
        """The id of a message for which these clients were offline."""
        await asyncio.sleep(0.01)  # so that each has a time of its own
        job = Job("", conversation, conversation, Millis(0), offline, content)
        appended = await self.store.append(conversation, Draft("tom", b"hi"), self.io.clock.now(), push=job)
        return appended.message.id

    async def emptied(self) -> None:
        """Wait until nothing is in the store any more.

        Time that is not a real one never ends, and whoever interrupts a test may hit the outbox alone.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_SECONDS
        while (left := await self.store.count_pushes()) != NOTHING:
            assert loop.time() < until, f"the outbox does not empty: {left}"
            await asyncio.sleep(0.1)


@asynccontextmanager
async def office(static: str = "", **policy: Any) -> AsyncIterator[Office]:
    async with running_node() as node:
        hooks = PlainHooks()
        io = replace(
            node.tenant.io,
            clock=LoopClock(),
            hooks=hooks,
            policy=Policy(push_static=static, **policy),
            store=cast(ApplicationStore, Moody(node.tenant.io.store)),
        )
        made = Office(io, hooks)
        try:
            yield made
        finally:
            await made.close()


def moody(office: Office) -> Moody:
    return cast(Moody, office.store)


def in_order(notifications: Sequence[Notification]) -> dict[str, list[str]]:
    """The messages of each target, in the order in which they came."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for notification in notifications:
        found[notification.target].append(notification.message_id)
    return found


def down(_: Notification) -> Outcome:
    return Later("out of order")


# --- Sending ----------------------------------------------------------------------------------------------------------


@on_asyncio
async def test_a_message_reaches_the_devices_of_who_is_offline() -> None:
    async with office(STATIC) as place:
        carrier = Carrier()
        outbox = place.open(carrier)
        await place.device("ben")
        await place.device("ben")
        await place.device("cal")
        message = await place.say(await place.conversation("ben", "dan"), "ben", "dan")
        outbox.wake()
        await place.emptied()
        assert [(one.message_id, one.client_id) for one in carrier.sent] == [(message, "ben")] * 2
        assert len({one.target for one in carrier.sent}) == 2
        assert outbox.outcomes["apns", "sent"] == 2
        assert outbox.jobs == {"done": 1, "failed": 0, "expired": 0}
        assert outbox.sent_seconds < 1
        assert sum(outbox.sent_seconds_counts) == 2


@on_asyncio
async def test_what_an_earlier_run_left_is_sent() -> None:
    async with office(STATIC) as place:
        (device,) = await place.devices(1)
        await place.keep(device)
        await place.say(await place.conversation("ben"), "ben")
        carrier = Carrier()
        place.open(carrier)
        await place.emptied()
        assert len(carrier.sent) == 2


@on_asyncio
async def test_a_device_is_sent_one_at_a_time_in_the_order_of_messages() -> None:
    async with office() as place:
        devices = await place.devices(3)
        for _ in range(20):
            await place.keep(*devices)
        carrier = Carrier()
        place.open(carrier)
        await place.emptied()
        assert in_order(carrier.sent) == in_order(place.kept)


@on_asyncio
async def test_a_device_with_a_backlog_is_sent_it_in_a_hurry() -> None:
    async with office() as place:
        devices = await place.devices(2)
        for _ in range(200):
            await place.keep(*devices)
        carrier = Carrier(seconds=0.005)
        place.open(carrier)
        await place.emptied()
        assert in_order(carrier.sent) == in_order(place.kept)
        assert carrier.moments[-1] < 200 * (0.005 + 0.01)


@on_asyncio
async def test_what_comes_while_a_provider_is_left_alone_is_not_looked_at_before() -> None:
    async with office(STATIC) as place:
        carrier = Carrier(lambda _: Later("too much", 100))
        outbox = place.open(carrier)
        await place.keep(*await place.devices(1))
        await asyncio.sleep(1)
        called: Counter[str] = Counter()
        moody(place).failing = lambda name: called.update((name,)) is not None
        clients = [f"client{number}" for number in range(50)]
        for client in clients:
            await place.device(client)
        said = await place.say(await place.conversation(*clients), *clients)
        outbox.wake()
        await asyncio.sleep(90)
        assert await place.store.count_pushes() == Waiting(0, 51, 51)
        assert called["queue_pushes"] == 1
        assert called["postpone_push"] == 0
        carrier.answer = lambda _: Sent()
        await place.emptied()
        assert sum(one.message_id == said for one in carrier.sent) == 50


@pytest.mark.slow
@on_asyncio
async def test_only_so_many_are_under_way_at_once_and_that_many_are() -> None:
    async with office() as place:
        await place.keep(*await place.devices(1_000))
        carrier = Carrier()
        place.open(carrier, at_once=7)
        await place.emptied()
        assert carrier.most == 7
        assert len(carrier.sent) == 1_000
        least_seconds = 1_000 * carrier.seconds / 7
        assert carrier.moments[-1] < 1.5 * least_seconds + PUT_OFF_SECONDS


@on_asyncio
async def test_a_provider_that_is_down_for_an_hour_is_not_hammered_and_then_everything_arrives_once() -> None:
    async with office() as place:
        carrier = Carrier(down)
        outbox = place.open(carrier, retry_first_seconds=5, retry_most_seconds=600)
        devices = await place.devices(300)
        for _ in range(3):
            await place.keep(*devices)
        await place.keep(*devices[:50], expires_in=HOUR_SECONDS - 100)
        expired = place.kept[-50:]
        lasting = place.kept[:-50]
        await asyncio.sleep(HOUR_SECONDS)
        assert outbox.paused == {"apns": True}
        assert carrier.sent == []

        # What was under way when it broke down, then one at a time after 5, 10, 20, ... 600 seconds.
        first = [moment for moment in carrier.moments if moment < 1]
        probes = [0.0, *(moment for moment in carrier.moments if moment >= 1)]
        assert len(first) <= 32 + FAILURES_MOST
        waits = [later - earlier for earlier, later in pairwise(probes)]
        planned = [min(5 * 2**number, 600) for number in range(len(waits))]
        assert len(waits) == 11
        for wait, plan in zip(waits, planned, strict=True):
            assert plan <= wait <= plan + 2
        assert len({one.target for moment, one in carrier.tried if moment >= 1}) > 10, "always the same one is tried"

        carrier.answer = lambda _: Sent()
        await place.emptied()
        assert in_order(carrier.sent) == in_order(lasting)
        assert outbox.outcomes["apns", "sent"] == len(lasting)
        assert outbox.outcomes["apns", "expired"] == len(expired)
        assert outbox.outcomes["apns", "later"] == len(carrier.tried) - len(lasting)
        assert outbox.paused == {"apns": False}
        assert carrier.moments[-1] <= HOUR_SECONDS + 600 + 60


@on_asyncio
async def test_a_provider_that_says_when_is_left_alone_until_then() -> None:
    async with office() as place:
        carrier = Carrier(lambda _: Later("too much", 100))
        place.open(carrier)
        await place.keep(*await place.devices(40))
        await asyncio.sleep(99)
        assert len(carrier.tried) <= 32
        carrier.answer = lambda _: Sent()
        before = len(carrier.tried)
        await place.emptied()
        assert 100 <= carrier.moments[before] <= 103
        assert carrier.moments[before + 1] > carrier.moments[before], "one finds out first"
        assert len(carrier.sent) == 40


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -5.0, 1e300])
@on_asyncio
async def test_nonsense_about_when_does_no_harm(nonsense: float) -> None:
    async with office() as place:
        carrier = Carrier(lambda _: Later("?", nonsense, whole=False))
        place.open(carrier)
        await place.keep(*await place.devices(1))
        await asyncio.sleep(1)
        carrier.answer = lambda _: Sent()
        await asyncio.sleep(90_000)
        assert len(carrier.sent) == 1


@on_asyncio
async def test_a_device_that_has_to_wait_holds_up_no_other() -> None:
    async with office() as place:
        slow, *others = await place.devices(20)
        for _ in range(3):
            await place.keep(slow, *others)
        carrier = Carrier(lambda one: Later("not now", whole=False) if one.target == slow.id else Sent())
        outbox = place.open(carrier)
        await asyncio.sleep(200)
        tries = [moment for moment, one in carrier.tried if one.target == slow.id]
        waits = [later - earlier for earlier, later in pairwise(tries)]
        assert waits == [pytest.approx(plan, abs=0.5) for plan in (5, 10, 20, 40, 80)]
        assert len(carrier.sent) == 3 * 19
        assert outbox.paused == {"apns": False}
        carrier.answer = lambda _: Sent()
        await place.emptied()
        assert in_order(carrier.sent) == in_order(place.kept)


@on_asyncio
async def test_one_notification_that_always_fails_does_not_stop_the_others() -> None:
    async with office() as place:
        devices = await place.devices(200)
        for _ in range(5):
            await place.keep(*devices)
        poison = devices[0].id
        carrier = Carrier(lambda one: Later("status 500") if one.target == poison else Sent())
        place.open(carrier)
        await asyncio.sleep(60)
        assert len(carrier.sent) == 199 * 5
        await asyncio.sleep(HOUR_SECONDS)
        assert sum(one.target == poison for _, one in carrier.tried) < 20


@pytest.mark.slow
@pytest.mark.parametrize("outcome", [Sent(), Later("out of order")], ids=["slow", "down"])
@on_asyncio
async def test_a_provider_in_trouble_does_not_hold_up_another(outcome: Outcome) -> None:
    async with office() as place:
        troubled = Carrier(lambda _: outcome, seconds=10)
        well = Carrier(name="fcm", kind="android")
        await place.keep(*await place.devices(1_000))
        outbox = place.open(troubled, well)
        await place.device("cal", kind="android")
        conversation = await place.conversation("cal")
        for number in range(40):
            await asyncio.sleep(7.7)
            await place.say(conversation, "cal", content="hello")
            outbox.wake()
            await asyncio.sleep(1)
            assert len(well.sent) == number + 1


@on_asyncio
async def test_a_dead_token_is_not_sent_to_again() -> None:
    async with office() as place:
        dead, well = await place.devices(2)
        for _ in range(3):
            await place.keep(dead, well)
        carrier = Carrier(lambda one: Dead("unregistered") if one.target == dead.id else Sent())
        outbox = place.open(carrier)
        await place.emptied()
        assert sum(one.target == dead.id for _, one in carrier.tried) == 1
        assert len(carrier.sent) == 3
        after = await place.store.find_installation(dead.id)
        assert after is not None
        assert not after.valid
        assert outbox.outcomes["apns", "dead"] == 1


@on_asyncio
async def test_a_device_that_came_with_another_token_meanwhile_is_sent_to() -> None:
    async with office() as place:
        (device,) = await place.devices(1)
        renewed = replace(device, token="another")
        await place.keep(device)
        await place.keep(device)

        class Tardy(Carrier):
            async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
                outcome = await super().send(notification, devices)
                if isinstance(outcome, Dead):
                    await place.store.change_installation(device.id, lambda _: renewed)
                return outcome

        carrier = Tardy()
        carrier.answer = lambda _: Dead("unregistered") if len(carrier.tried) == 1 else Sent()
        place.open(carrier)
        await place.emptied()
        assert in_order(carrier.sent) == in_order(place.kept)
        assert await place.store.find_installation(device.id) == renewed


@on_asyncio
async def test_what_is_refused_is_not_tried_again_and_the_log_names_no_secret() -> None:
    async with office() as place:
        devices = await place.devices(5)
        await place.keep(*devices, data='{"alert":"quite private"}')
        await place.keep(*devices)
        first = {one.message_id for one in place.kept[:5]}
        carrier = Carrier(lambda one: Refused("too long") if one.message_id in first else Sent())
        with capture_logs() as logs:
            outbox = place.open(carrier)
            await place.emptied()
            await asyncio.sleep(1)
        assert len(carrier.tried) == 10
        assert len(carrier.sent) == 5
        assert outbox.outcomes["apns", "refused"] == 5
        assert [(entry["event"], entry["says"]) for entry in logs] == [
            ("a push was refused, and more may be", "too long")
        ]
        assert not any("private" in str(entry) or "token" in str(entry) for entry in logs)


@on_asyncio
async def test_a_device_that_is_gone_or_that_the_client_has_left_is_sent_nothing() -> None:
    async with office() as place:
        gone, invalid, left, kept = await place.devices(4)
        await place.keep(gone, invalid, left, kept)
        await place.keep(gone, invalid, left, kept)
        await place.store.change_installation(gone.id, lambda _: None)
        await place.store.change_installation(invalid.id, lambda _: replace(invalid, valid=False))
        await place.store.change_installation(left.id, lambda _: replace(left, channels=("cal",)))
        carrier = Carrier()
        outbox = place.open(carrier)
        await place.emptied()
        assert {one.target for one in carrier.sent} == {kept.id}
        assert len(carrier.tried) == 2
        assert outbox.outcomes[NOBODY, "gone"] == 6


@on_asyncio
async def test_a_device_that_nobody_carries_to_is_no_obstacle() -> None:
    async with office() as place:
        (other,) = await place.devices(1, "wp")
        await place.keep(other)
        carrier = Carrier()
        outbox = place.open(carrier)
        await place.emptied()
        assert carrier.tried == []
        assert outbox.outcomes[NOBODY, "gone"] == 1


@on_asyncio
async def test_what_has_expired_is_not_sent() -> None:
    async with office() as place:
        devices = await place.devices(3)
        await place.keep(*devices, expires_in=0)
        await place.keep(*devices)
        carrier = Carrier()
        outbox = place.open(carrier)
        await place.emptied()
        assert carrier.sent == place.kept[3:]
        assert outbox.outcomes["apns", "expired"] == 3


@on_asyncio
async def test_the_plain_webhook_gets_what_is_for_clients_with_their_valid_devices() -> None:
    async with office(STATIC, push_webhook=True) as place:
        heard: list[tuple[str, tuple[str, ...]]] = []

        class Webhook(Carrier):
            async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
                heard.append((notification.client_id, tuple(one.id for one in devices)))
                return await super().send(notification, devices)

        first = await place.device("ben", kind="android")
        await place.device("ben", kind="android", valid=False)
        second = await place.device("ben", kind="ios")
        await place.say(await place.conversation("ben", "cal"), "ben", "cal")
        place.open(Webhook(name="webhook", kind=""))
        await place.emptied()
        assert sorted(heard) == [("ben", (first.id, second.id)), ("cal", ())]


@on_asyncio
async def test_a_provider_that_breaks_or_never_answers_is_a_provider_in_trouble() -> None:
    async with office() as place:
        broken, silent, well = await place.devices(3)
        gate = asyncio.Event()

        class Odd(Carrier):
            async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
                if notification.target == silent.id:
                    await gate.wait()
                if notification.target == broken.id and len(self.sent) < 1:
                    raise KeyError(notification.target)
                return await super().send(notification, devices)

        await place.keep(broken, silent, well)
        odd = Odd()
        with capture_logs() as logs:
            place.open(odd)
            await asyncio.sleep(SEND_SECONDS_MAX + 1)
            gate.set()
            await place.emptied()
        assert {one.target for one in odd.sent} == {broken.id, silent.id, well.id}
        assert [entry["event"] for entry in logs] == ["a push provider has failed"]


@on_asyncio
async def test_a_device_that_a_provider_chokes_on_holds_up_no_other() -> None:
    async with office() as place:
        odd, well = await place.devices(2)

        class Choking(Carrier):
            def carries(self, installation: Installation) -> bool:
                if installation.id == odd.id and choking:
                    raise KeyError(installation.id)
                return super().carries(installation)

        choking = True
        await place.keep(odd, well)
        carrier = Choking()
        with capture_logs() as logs:
            place.open(carrier)
            await asyncio.sleep(20)
            assert [one.target for one in carrier.sent] == [well.id]
            assert 1 < len(logs) < 5
            choking = False
            await place.emptied()
        assert [one.target for one in carrier.sent] == [well.id, odd.id]


@on_asyncio
async def test_while_the_store_cannot_be_used_nothing_is_lost_and_nothing_is_sent_twice() -> None:
    async with office() as place:
        devices = await place.devices(10)
        carrier = Carrier(seconds=1)
        place.open(carrier)
        for _ in range(3):
            await place.keep(*devices)
        moody(place).failing = lambda name: name in ("settle_push", "due_pushes")
        await asyncio.sleep(300)
        moody(place).failing = lambda _: False
        await place.emptied()
        moody(place).failing = lambda name: name == "find_installation"
        for _ in range(3):
            await place.keep(*devices)
        await asyncio.sleep(300)
        moody(place).failing = lambda _: False
        await place.emptied()
        assert in_order(carrier.sent) == in_order(place.kept)


@on_asyncio
async def test_the_server_stops_while_something_is_under_way() -> None:
    async with office() as place:
        quick, slow = Carrier(seconds=2), Carrier(name="fcm", kind="android", seconds=30)
        outbox = place.open(quick, slow)
        await place.keep(*await place.devices(5), *await place.devices(5, "android"))
        await asyncio.sleep(1)
        await outbox.close()
        assert len(quick.sent) == 5, "what ends in time is waited for"
        assert slow.sent == []
        assert quick.closed
        assert slow.closed
        assert await place.store.count_pushes() == Waiting(0, 5, 5)

        again = Carrier(name="fcm", kind="android")
        place.open(again)
        await place.emptied()
        assert len(again.sent) == 5


@on_asyncio
async def test_a_crash_sends_once_more_what_was_under_way_and_loses_nothing() -> None:
    async with office() as place:
        devices = await place.devices(20)
        for _ in range(10):
            await place.keep(*devices)
        before = Carrier()
        outbox = place.open(before, at_once=8)
        for _ in range(10_000):
            if len(before.sent) >= 60:
                break
            await asyncio.sleep(0.001)
        assert 60 <= len(before.sent) < 200
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "CLOSE_SECONDS", 0.0)
            await outbox.close()
        after = Carrier()
        place.open(after)
        await place.emptied()
        twice = Counter((one.target, one.message_id) for one in (*before.sent, *after.sent))
        assert set(twice) == {(one.target, one.message_id) for one in place.kept}
        assert max(Counter(target for (target, _), times in twice.items() if times > 1).values(), default=0) <= 1
        assert max(twice.values()) <= 2


@pytest.mark.slow
@explored
@given(st.integers(0, 2**32))
def test_whatever_providers_say_each_arrives_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)

    @on_asyncio
    async def run() -> None:
        outcomes: list[Outcome] = [
            Sent(),
            Later("down"),
            Later("down", 7),
            Later("device", whole=False),
            Later("device", 3, whole=False),
        ]

        def answer(_: Notification) -> Outcome:
            return chance.choice(outcomes) if asyncio.get_running_loop().time() < until else Sent()

        until = asyncio.get_running_loop().time() + 500
        async with office() as place:
            carriers = [Carrier(answer, seconds=chance.random()), Carrier(answer, name="fcm", kind="android")]
            place.open(*carriers, luck=chance.random, at_once=chance.randint(1, 8))
            devices = [*await place.devices(5), *await place.devices(5, "android")]
            for _ in range(20):
                await place.keep(*chance.sample(devices, chance.randint(1, 10)))
                await asyncio.sleep(chance.choice((0, 0.1, 30)))
            await place.emptied()
            assert in_order([one for carrier in carriers for one in carrier.sent]) == in_order(place.kept)

    run()


# --- Working out who is sent what -------------------------------------------------------------------------------------


class SlowHooks(PlainHooks):
    """Hooks that take their time.

    Attributes:
        seconds: How long, by the question's conversation; it may raise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answers[ReceiversOffline] = OfflineAnswer()
        self.delay: Callable[[Any], float] = lambda _: 0.0
        self.under_way = self.most = 0

    def ask(self, question: Question[A]) -> Awaitable[A]:
        return self._ask_slowly(question)

    async def _ask_slowly(self, question: Question[A]) -> A:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.delay(question))
        finally:
            self.under_way -= 1
        return await super().ask(question)


def hook_into(place: Office) -> SlowHooks:
    place.hooks = SlowHooks()
    place.io = replace(place.io, hooks=place.hooks)
    return place.hooks


@on_asyncio
async def test_several_messages_wait_for_the_hook_side_by_side_and_are_queued_in_order() -> None:
    async with office(STATIC) as place:
        hooks = hook_into(place)
        delays = random.Random(5)
        hooks.delay = lambda _: 3 * delays.random()
        await place.device("ben")
        conversation = await place.conversation("ben")
        said = [await place.say(conversation, "ben") for _ in range(60)]
        carrier = Carrier()
        began = asyncio.get_running_loop().time()
        place.open(carrier)
        await place.emptied()
        assert [one.message_id for one in carrier.sent] == said
        assert hooks.most > 8
        assert asyncio.get_running_loop().time() - began < 60


@pytest.mark.parametrize("with_hook", [False, True])
@on_asyncio
async def test_a_badge_counts_every_message_whatever_conversations_they_are_of(with_hook: bool) -> None:
    async with office(STATIC) as place:
        if with_hook:
            delays = random.Random(6)
            hook_into(place).delay = lambda _: delays.random()
        device = await place.device("ben")
        conversations = [await place.conversation("ben") for _ in range(8)]
        for number in range(40):
            await place.say(conversations[number % 8], "ben")
        carrier = Carrier()
        place.open(carrier)
        await place.emptied()
        assert len(carrier.sent) == 40
        assert sorted(int(one.data.partition('"badge":')[2].rstrip("}")) for one in carrier.sent) == list(range(1, 41))
        after = await place.store.find_installation(device.id)
        assert after is not None
        assert after.badge == 40


@pytest.mark.parametrize("clients", [1, PLAIN_MOST, PLAIN_MOST + 1])
@on_asyncio
async def test_messages_are_queued_in_their_order_whether_for_few_or_many(clients: int) -> None:
    async with office(STATIC) as place:
        names = [f"client{number}" for number in range(clients)]
        for name in names:
            await place.device(name)
        conversation = await place.conversation(*names)
        said = [await place.say(conversation, *(names if number % 3 else names[:1])) for number in range(30)]
        carrier = Carrier()
        place.open(carrier)
        await place.emptied()
        assert [one.message_id for one in carrier.sent if one.client_id == "client0"] == said
        assert len(carrier.sent) == 10 + 20 * clients


@on_asyncio
async def test_many_messages_are_queued_without_waiting_for_a_commit_each() -> None:
    async with office(STATIC) as place:
        await place.device("ben")
        conversations = [await place.conversation("ben") for _ in range(4)]
        said = [await place.say(conversations[number % 4], "ben") for number in range(40)]
        tardy = Tardy(place.store)
        place.io = replace(place.io, store=cast(ApplicationStore, tardy))
        carrier = Carrier()
        began = asyncio.get_running_loop().time()
        outbox = place.open(carrier)
        while outbox.jobs["done"] < 40:
            assert asyncio.get_running_loop().time() < began + 10 * tardy.seconds
            await asyncio.sleep(0.1)
        assert tardy.most > 10
        await place.emptied()
        assert [one.message_id for one in carrier.sent] == said
        badges = [int(one.data.partition('"badge":')[2].rstrip("}")) for one in carrier.sent]
        assert badges == list(range(1, 41)), "each counts on from the one whose commit is awaited"


class Tardy:
    """A store whose commits take their time.

    Attributes:
        most: How many messages' notifications waited for it at once.
    """

    seconds = 5.0

    def __init__(self, store: ApplicationStore) -> None:
        self._store = store
        self._under_way = self.most = 0
        self._last: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def queue_pushes(self, *arguments: Any, **options: Any) -> Awaitable[None]:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        self._last = asyncio.create_task(self._queue(self._last, *arguments, **options))
        return self._last

    async def _queue(self, before: asyncio.Task[None] | None, *arguments: Any, **options: Any) -> None:
        await asyncio.sleep(self.seconds)
        if before is not None:
            await before
        self._under_way -= 1
        await self._store.queue_pushes(*arguments, **options)


@on_asyncio
async def test_a_message_that_cannot_be_worked_out_holds_up_its_own_conversation_only() -> None:
    async with office(STATIC) as place:
        await place.device("ben")
        await place.device("cal")
        troubled, other = await place.conversation("ben"), await place.conversation("cal")
        held = [await place.say(troubled, "ben") for _ in range(3)]
        beside = [await place.say(other, "cal") for _ in range(3)]
        faulty = Faulty(place.store, troubled)
        place.io = replace(place.io, store=cast(ApplicationStore, faulty))
        carrier = Carrier()
        outbox = place.open(carrier)
        await asyncio.sleep(4)
        assert [one.message_id for one in carrier.sent] == beside
        assert outbox.jobs["done"] == 3
        faulty.conversation = ""
        await place.emptied()
        assert [one.message_id for one in carrier.sent] == [*beside, *held]


class Faulty:
    """A store that cannot be asked for one conversation."""

    def __init__(self, store: ApplicationStore, conversation: str) -> None:
        self.conversation = conversation
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def find_conversation(self, conversation_id: str) -> Conversation | None:
        if conversation_id == self.conversation:
            raise Unavailable
        return await self._store.find_conversation(conversation_id)


@on_asyncio
async def test_a_message_whose_hook_fails_holds_up_its_own_conversation_only_and_that_not_for_ever() -> None:
    async with office(STATIC) as place:
        hooks = hook_into(place)
        await place.device("ben")
        await place.device("cal")
        troubled, other = await place.conversation("ben"), await place.conversation("cal")
        bad = await place.say(troubled, "ben")
        behind = await place.say(troubled, "ben")
        beside = await place.say(other, "cal")
        bad_at = (await place.store.push_jobs(1))[0].timestamp

        def delay(question: ReceiversOffline) -> float:
            if question.timestamp == bad_at and failing:
                raise HookFailed
            return 0.1

        failing = True
        hooks.delay = delay
        carrier = Carrier()
        outbox = place.open(carrier)
        await asyncio.sleep(4)
        assert [one.message_id for one in carrier.sent] == [beside]
        await asyncio.sleep(60)
        assert [one.message_id for one in carrier.sent] == [beside, behind], "it waits no longer"
        assert outbox.jobs["failed"] > HELD_FAILURES
        failing = False
        await place.emptied()
        assert [one.message_id for one in carrier.sent] == [beside, behind, bad]


@on_asyncio
async def test_a_hook_that_fails_for_a_moment_does_not_change_the_order() -> None:
    async with office(STATIC) as place:
        hooks = hook_into(place)
        hooks.answers[ReceiversOffline] = HookFailed()
        delays = random.Random(8)
        hooks.delay = lambda _: delays.random()
        await place.device("ben")
        conversation = await place.conversation("ben")
        said = [await place.say(conversation, "ben") for _ in range(30)]
        carrier = Carrier()
        place.open(carrier)
        await asyncio.sleep(3)
        assert carrier.tried == []
        hooks.answers[ReceiversOffline] = OfflineAnswer()
        await place.emptied()
        assert [one.message_id for one in carrier.sent] == said


@pytest.mark.slow
@on_asyncio
async def test_hundreds_of_messages_that_fail_are_tried_seldom_and_all_come_in_the_end() -> None:
    async with office(STATIC) as place:
        hooks = hook_into(place)
        hooks.answers[ReceiversOffline] = HookFailed()
        await place.device("ben")
        for _ in range(600):
            await place.say(await place.conversation("ben"), "ben")
        carrier = Carrier()
        place.open(carrier)
        await asyncio.sleep(HOUR_SECONDS)
        assert len(hooks.asked) < 256 * 20
        hooks.answers[ReceiversOffline] = OfflineAnswer()
        await place.emptied()
        assert len(carrier.sent) == 600


@on_asyncio
async def test_a_fault_in_one_message_is_logged_once_and_stops_nothing() -> None:
    async with office(STATIC) as place:
        hooks = hook_into(place)
        await place.device("ben")
        first = await place.say(await place.conversation("ben"), "ben")
        at = (await place.store.push_jobs(1))[0].timestamp

        def delay(question: ReceiversOffline) -> float:
            if question.timestamp == at:
                raise ZeroDivisionError
            return 0.0

        hooks.delay = delay
        carrier = Carrier()
        with capture_logs() as logs:
            place.open(carrier)
            second = await place.say(await place.conversation("ben"), "ben")
            await asyncio.sleep(100)
        assert [one.message_id for one in carrier.sent] == [second]
        assert [(entry["event"], entry["message"]) for entry in logs] == [
            ("a message's pushes could not be worked out", first)
        ]


@on_asyncio
async def test_a_message_that_is_too_old_is_dropped_and_nobody_asked() -> None:
    async with office(STATIC) as place:
        await place.device("ben")
        await place.say(await place.conversation("ben"), "ben")
        hooks = hook_into(place)
        await asyncio.sleep(EXPIRY_MILLIS / 1000)
        carrier = Carrier()
        outbox = place.open(carrier)
        await place.emptied()
        assert (carrier.tried, hooks.asked) == ([], [])
        assert outbox.jobs == {"done": 0, "failed": 0, "expired": 1}


@pytest.mark.slow
@on_asyncio
async def test_messages_to_thousands_of_subscribers_and_to_one_client_do_not_wait_for_each_other() -> None:
    async with office(STATIC) as place:
        now = place.io.clock.now()
        service = conversation_id(now, b"service")
        await place.store.create_conversation(Conversation(service, Kind.SYSTEM, "office", now, now))
        made = await place.store.find_conversation(service)
        assert made is not None
        names = [f"client{number:04}" for number in range(2_500)]
        await place.store.change_conversation(made, joined=names)
        for name in names:
            await place.device(name)
        await place.device("ben")
        await asyncio.sleep(1)
        everyone = Job("", service, service, Millis(0), (), to_subscribers=True)
        await place.store.append(service, Draft("office", b"news"), place.io.clock.now(), push=everyone)
        said = await place.say(await place.conversation("ben"), "ben")
        carrier = Carrier()
        outbox = place.open(carrier, at_once=1_000)
        await place.emptied()
        assert Counter(one.client_id for one in carrier.sent) == dict.fromkeys([*names, "ben"], 1)
        assert [one.message_id for one in carrier.sent].index(said) < 2_000
        assert outbox.jobs["done"] == 2


@on_asyncio
async def test_while_the_store_cannot_be_used_messages_wait() -> None:
    async with office(STATIC) as place:
        await place.device("ben")
        conversation = await place.conversation("ben")
        said = [await place.say(conversation, "ben") for _ in range(5)]
        moody(place).failing = lambda name: name in ("push_jobs", "queue_pushes")
        carrier = Carrier()
        outbox = place.open(carrier)
        await asyncio.sleep(100)
        moody(place).failing = lambda name: name == "queue_pushes"
        await asyncio.sleep(100)
        assert carrier.tried == []
        moody(place).failing = lambda _: False
        await place.emptied()
        assert [one.message_id for one in carrier.sent] == said
        assert outbox.jobs["done"] == 5


# --- What others ask of it --------------------------------------------------------------------------------------------


@on_asyncio
async def test_a_message_is_remembered_only_if_somebody_would_hear_of_it() -> None:
    nobody, asked = PlainHooks(), PlainHooks()
    asked.answers[ReceiversOffline] = OfflineAnswer()
    carrier = Carrier()

    def wants(content: str, hooks: PlainHooks, static: str, *providers: PushProvider) -> bool:
        return Outbox(providers, Push(static=static), hooks).wants(content)

    assert wants("", asked, "")
    assert wants("own", nobody, "", carrier)
    assert wants("", nobody, STATIC, carrier)
    assert not wants("", nobody, "", carrier)
    assert not wants("own", nobody, STATIC)


@on_asyncio
async def test_the_outbox_can_be_scraped() -> None:
    async with running_node() as node:
        carrier = Carrier(down)
        hooks = PlainHooks()
        outbox = Outbox((carrier,), Push(), hooks)
        tenant = replace(node.tenant, outbox=outbox)
        node.dispatcher.add(tenant)
        metrics = Metrics(OutboxCollector(node.dispatcher))
        io = replace(node.tenant.io, clock=LoopClock(), hooks=hooks)
        place = Office(io, hooks)
        await place.keep(*await place.devices(5))
        await place.keep(*await place.devices(2))

        outbox.start(io)
        await asyncio.sleep(2)
        seen = scraped(metrics)
        assert seen["fastim_push_total", "later", "apns"] == len(carrier.tried) > 0
        assert seen["fastim_push_total", "sent", "apns"] == 0
        assert seen["fastim_push_paused", "apns"] == 1
        assert seen["fastim_push_waiting", "jobs"] == 0
        assert seen["fastim_push_waiting", "targets"] == 7
        assert seen["fastim_push_waiting", "notifications"] == 7
        carrier.answer = lambda _: Sent()
        await place.emptied()
        await asyncio.sleep(2)
        seen = scraped(metrics)
        assert seen["fastim_push_total", "sent", "apns"] == 7
        assert seen["fastim_push_paused", "apns"] == 0
        assert seen["fastim_push_waiting", "notifications"] == 0
        assert seen["fastim_push_jobs_total", "done"] == 0
        assert seen["fastim_push_sent_seconds_count",] == 7
        await outbox.close()


def scraped(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample, by name and the values of its labels in the order of their names."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }
