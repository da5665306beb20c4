"""Tenants: the parts of each application, wired; and those that its settings concern, made anew when these change.

What holds people together stays as it is when settings change: sessions, rooms, lanes. What is made anew takes the
place of what there was in one assignment: commands that have begun are finished with the old parts, which are let go of
once nothing can be under way in them any more.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from fastim._fanout import Fanout
from fastim.adapters.hooks_http import HttpEngine
from fastim.adapters.hooks_python import PythonEngine
from fastim.adapters.inprocess import InProcessBus
from fastim.adapters.push.ways import ways
from fastim.adapters.push.webhook import WebhookProvider
from fastim.adapters.service_http import HttpServiceBackEnd
from fastim.adapters.users_http import DEADLINE_SECONDS as USERS_DEADLINE_SECONDS
from fastim.adapters.users_http import HttpUsers
from fastim.core.application import Application
from fastim.core.errors import SettingsError, WordListError
from fastim.core.policy import Policy
from fastim.core.retention import Retention
from fastim.core.units import Millis
from fastim.ports.hooks import HookEngine
from fastim.ports.pace import Pace
from fastim.ports.push import PushProvider
from fastim.ports.store import Store
from fastim.ports.users import Users
from fastim.runtime.clock import SystemClock
from fastim.runtime.delivery import Delivery
from fastim.runtime.dispatch import Dispatcher, Tenant
from fastim.runtime.hooks import LocalHooks
from fastim.runtime.ingress import Governor, LocalIngress
from fastim.runtime.lanes import LocalLanes
from fastim.runtime.limits import LimitCounters
from fastim.runtime.operators import NotPossible
from fastim.runtime.outbox import Outbox
from fastim.runtime.pace import SharedPace
from fastim.runtime.presence import Presence
from fastim.runtime.room_logs import RoomLogs
from fastim.runtime.rooms import LocalRooms
from fastim.runtime.service_hook import ServiceHook
from fastim.runtime.story import Stories
from fastim.runtime.words import LocalWords
from fastim.service import rooms
from fastim.service.io import Io
from fastim.settings import ApplicationSettings, Hooks, Loaded, Push

DAY_MILLIS = 24 * 3_600_000
MESSAGES_REMEMBERED = 2_000
"""Of each application, a kilobyte each as a rule, for operators who ask what became of one."""
LETTING_GO_SECONDS = 10.0
"""For what parts that were replaced have still to say."""

_log = structlog.get_logger(__name__)


class Shared(Struct, frozen=True):
    """What all applications of a loop have together."""

    loaded: Loaded
    store: Store
    fanout: Fanout
    counters: LimitCounters
    governor: Governor
    pace: Pace = field(default_factory=SharedPace)


class Tenants:
    """The applications of a node, as they come and change."""

    def __init__(self, shared: Shared, dispatcher: Dispatcher) -> None:
        self._shared = shared
        self._dispatcher = dispatcher
        self._letting_go: set[asyncio.Task[None]] = set()
        self._outboxes = asyncio.Lock()
        self._closing = asyncio.Event()

    def add(self, application: Application) -> Tenant:
        """Wire an application's parts. ``prepare`` has to come before anybody can ask for it.

        Raises:
            SettingsError: Its parts cannot be made as they are set up.
        """
        tenant = _tenant(self._usable(application), self._shared)
        self._dispatcher.add(tenant)
        return tenant

    async def prepare(self, tenant: Tenant) -> None:
        """Deal with what an earlier run left behind, and start what runs by itself.

        Raises:
            SettingsError: A list of words, or hooks, cannot be used.
        """
        await tenant.words.start()
        await tenant.hooks.start()
        await rooms.mark_stays(tenant.io)
        tenant.outbox.start(tenant.io)

    async def begin(self, application: Application) -> None:
        """Serve an application that was made just now, once all its parts work.

        Raises:
            NotPossible: They do not, and it is not served.
        """
        tenant = _tenant(self._usable(application), self._shared)
        try:
            await self.prepare(tenant)
        except BaseException as error:
            await _end(tenant)
            if isinstance(error, SettingsError):
                raise NotPossible(str(error)) from error
            raise
        self._dispatcher.add(tenant)

    async def renew(self, application: Application) -> None:
        """Store an application's new keys and let them count; its sessions stay.

        Raises:
            NotPossible: Its hooks cannot be started anew; the old keys stay.
            Unavailable: They could not be stored; likewise.
        """
        before = self._dispatcher.tenants[application.id]
        after = self._replacing(before, replace(application, settings=before.application.settings))
        try:
            if after.hooks is not before.hooks:
                await after.hooks.start()
            await self._shared.store.save_application(application.id, *_keys(application))
        except BaseException as error:
            if after.hooks is not before.hooks:
                await after.hooks.close()
            if isinstance(error, SettingsError):
                raise NotPossible(str(error)) from error
            raise
        self._replace(before, after)

    async def change(self, application_id: str, changes: Mapping[str, Any]) -> None:
        """Store settings and put them in force, all of them or none; ``None``: what is stored is forgotten.

        Raises:
            NotPossible: One cannot be set like this.
            Unavailable: They could not be stored.
        """
        before = self._dispatcher.tenants[application_id]
        self._require_fit(changes)
        merged = {**before.application.settings, **changes}
        stored = {name: value for name, value in merged.items() if value is not None}
        words_before, words = (
            self._shared.loaded.for_application(one).words for one in (before.application.settings, stored)
        )
        after = before
        try:
            after = self._replacing(before, replace(before.application, settings=stored))
            if after.hooks is not before.hooks:
                await after.hooks.start()
            await before.words.change(words)
            await self._shared.store.save_application(application_id, *_keys(before.application), stored)
        except BaseException as error:
            if after.hooks is not before.hooks:
                await after.hooks.close()
            await before.words.change(words_before)
            if isinstance(error, SettingsError | WordListError):
                raise NotPossible(str(error), _blamed(str(error), changes)) from error
            raise
        self._replace(before, after)

    async def close(self) -> None:
        """Let go of everything; what is not sent stays in the store."""
        self._closing.set()
        await asyncio.gather(*self._letting_go)
        await asyncio.gather(*map(_end, self._dispatcher.tenants.values()))

    def _require_fit(self, changes: Mapping[str, Any]) -> None:
        """Raise ``NotPossible`` for the first that could not be stored whatever else there is."""
        for name, value in changes.items():
            if name in self._shared.loaded.pinned:
                raise NotPossible(f"{name} is pinned by the environment or the command line", name)
            try:
                if value is not None:
                    self._shared.loaded.for_application({name: value})
            except SettingsError as error:
                raise NotPossible(str(error), name) from error

    def _usable(self, application: Application) -> Application:
        """``application`` without stored settings that do not fit: they must not keep a server from starting.

        Raises:
            SettingsError: Its parts cannot be made, and that is not for what is stored.
        """
        loaded = self._shared.loaded
        stored = dict(application.settings)
        for name, value in application.settings.items():
            try:
                loaded.for_application({name: value})
            except SettingsError as error:
                del stored[name]
                _log.error("a stored setting is left out", application=application.id, reason=str(error))
        makers: dict[str, Callable[[Application, ApplicationSettings], object]] = {
            "hooks.": lambda one, settings: hook_engines(one, settings.hooks, loaded),
            "push.": lambda one, settings: push_providers(one, settings.push, loaded),
        }
        for table, make in makers.items():
            usable = replace(application, settings=stored)
            try:
                make(usable, loaded.for_application(stored))
            except SettingsError as error:
                rest = {name: value for name, value in stored.items() if not name.startswith(table)}
                if len(rest) == len(stored):
                    raise
                _log.error("stored settings are left out", application=application.id, reason=str(error))
                stored = rest
                make(replace(application, settings=stored), loaded.for_application(stored))
        return replace(application, settings=stored)

    def _replacing(self, before: Tenant, application: Application) -> Tenant:
        """The application's parts from now on: those that have to be are new, and nothing of them has begun.

        Raises:
            SettingsError: They cannot be made.
        """
        loaded = self._shared.loaded
        settings = loaded.for_application(application.settings)
        rekeyed = _keys(application) != _keys(before.application)

        def changed(table: str) -> bool:
            """Whether it is another, or the same by another's word: what is stored may lead to fewer places."""
            return _stored(application, table) != _stored(before.application, table)

        hooks, services, outbox, users = before.hooks, before.services, before.outbox, before.users
        if rekeyed or changed("hooks"):
            hooks = LocalHooks(hook_engines(application, settings.hooks, loaded), settings.hooks)
            _go_on_counting_calls(before.hooks, hooks)
            services = ServiceHook(service_back_end(application, settings.hooks, loaded))
            services.told, services.lost = before.services.told, before.services.lost
        if hooks is not before.hooks or changed("push"):
            outbox = Outbox(push_providers(application, settings.push, loaded), settings.push, hooks)
            _go_on_counting_pushes(before.outbox, outbox)
            if before.stories is not None:
                outbox.on_word = before.stories.hear_word
        if rekeyed or changed("users"):
            users = users_of(application, settings, loaded)
        io = replace(
            before.io,
            application=application,
            policy=policy(settings, loaded),
            bus=_bus(before.delivery, services, before.stories),
            hooks=hooks,
            pusher=outbox,
        )
        return replace(
            before, application=application, io=io, hooks=hooks, services=services, outbox=outbox, users=users
        )

    def _replace(self, before: Tenant, after: Tenant) -> None:
        self._dispatcher.add(after)
        task = asyncio.create_task(self._let_go(before, after))
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    async def _let_go(self, before: Tenant, after: Tenant) -> None:
        """End the parts that were replaced. Two outboxes must not run at a time, or pushes would go out twice."""
        if after.outbox is not before.outbox:
            async with self._outboxes:
                await before.outbox.close()
                current = self._dispatcher.tenants[after.application.id]
                if current.outbox is after.outbox and not self._closing.is_set():
                    after.outbox.start(current.io)
        if after.services is not before.services:
            await before.services.close(LETTING_GO_SECONDS)
        if after.hooks is not before.hooks:
            await self._wait_for(before.hooks.finish())
            await before.hooks.close()
        if before.users is not None and after.users is not before.users:
            await self._wait_for(asyncio.sleep(USERS_DEADLINE_SECONDS))  # what is asked is answered by then
            await before.users.close()

    async def _wait_for(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for something, but no longer than the server runs."""
        tasks = [asyncio.ensure_future(one) for one in (waiting, self._closing.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tenant(application: Application, shared: Shared) -> Tenant:
    """The parts that ``application`` has to itself."""
    loaded, clock = shared.loaded, SystemClock()
    settings = loaded.for_application(application.settings)
    presence = Presence()
    logs = RoomLogs(shared.fanout, presence, clock, loaded.settings.delivery.room_window_bytes)
    delivery = Delivery(presence, logs)
    local_rooms = LocalRooms(logs)
    stories = Stories(clock, delivery, local_rooms, MESSAGES_REMEMBERED)
    part = shared.store.of(application)
    words = LocalWords(application, settings.words, part, clock, pinned="words.file" in loaded.pinned)
    ingress = LocalIngress(loaded.settings.limits, shared.counters, shared.governor, time.monotonic)
    hooks = LocalHooks(hook_engines(application, settings.hooks, loaded), settings.hooks)
    services = ServiceHook(service_back_end(application, settings.hooks, loaded))
    outbox = Outbox(push_providers(application, settings.push, loaded), settings.push, hooks)
    outbox.on_word = stories.hear_word
    io = Io(
        application=application,
        policy=policy(settings, loaded),
        store=part,
        lanes=LocalLanes(),
        bus=_bus(delivery, services, stories),
        directory=presence,
        rooms=local_rooms,
        clock=clock,
        pace=shared.pace,
        words=words,
        ingress=ingress,
        hooks=hooks,
        pusher=outbox,
        entropy=os.urandom,
        story=stories,
    )
    users = users_of(application, settings, loaded)
    return Tenant(application, io, presence, delivery, logs, ingress, words, hooks, services, outbox, users, stories)


def users_of(application: Application, settings: ApplicationSettings, loaded: Loaded) -> Users | None:
    """Who knows the application's users, if anybody."""
    url = settings.users.verify_url
    guarded = not loaded.is_the_operators("users.verify_url", application.settings)
    return HttpUsers(url, application, guarded=guarded) if url else None


def _stored(application: Application, table: str) -> dict[str, Any]:
    """What is stored of one table of its settings; what is not does not change while the server runs."""
    return {name: value for name, value in application.settings.items() if name.startswith(f"{table}.")}


def _keys(application: Application) -> tuple[str, str, str]:
    return application.key, application.master_key, application.hook_key


async def _end(tenant: Tenant) -> None:
    """Let go of what runs by itself, and of connections; hooks last, since the others may ask them."""
    await asyncio.gather(tenant.outbox.close(), tenant.services.close(LETTING_GO_SECONDS))
    await tenant.hooks.close()
    if tenant.users is not None:
        await tenant.users.close()


def _bus(delivery: Delivery, services: ServiceHook, stories: Stories | None) -> InProcessBus:
    hearers = [delivery.deliver, services.hear]
    return InProcessBus(*hearers if stories is None else (*hearers, stories.hear))


def _go_on_counting_calls(before: LocalHooks, after: LocalHooks) -> None:
    """Counters that went back would look like a server that was started anew."""
    after.recent.extend(before.recent)
    for hook, line in before.lines.items():
        into = after.lines[hook]
        into.outcomes.update(line.outcomes)
        into.seconds = line.seconds
        into.seconds_counts[:] = line.seconds_counts


def _go_on_counting_pushes(before: Outbox, after: Outbox) -> None:
    after.outcomes.update(before.outcomes)
    after.jobs.update(before.jobs)
    after.sent_seconds_counts[:] = before.sent_seconds_counts
    after.sent_seconds = before.sent_seconds


def _blamed(problem: str, changes: Mapping[str, Any]) -> str:
    """The changed setting that ``problem`` speaks of, or the only one there is; empty when it cannot be told."""
    named = [name for name in changes if name in problem]
    return named[0] if named else next(iter(changes)) if len(changes) == 1 else ""


def hook_engines(application: Application, settings: Hooks, loaded: Loaded) -> list[HookEngine]:
    """Where the application's hooks run: those in Python go before those of a back end.

    Raises:
        SettingsError: Some have to be there, and there is nowhere that they could be.
    """
    engines: list[HookEngine] = []
    if settings.python:
        engines.append(PythonEngine(settings))
    if settings.url:
        guarded = not loaded.is_the_operators("hooks.url", application.settings)
        key = hook_key("hooks.url", application, settings, loaded)
        engines.append(HttpEngine(replace(settings, key=key), application, guarded=guarded))
    if settings.required and not engines:
        raise SettingsError("hooks.required: there are no hooks without hooks.url or hooks.python")
    return engines


def service_back_end(application: Application, settings: Hooks, loaded: Loaded) -> HttpServiceBackEnd | None:
    """Who is told what clients write to services, if anybody."""
    if not settings.service_url:
        return None
    guarded = not loaded.is_the_operators("hooks.service_url", application.settings)
    key = hook_key("hooks.service_url", application, settings, loaded)
    return HttpServiceBackEnd(settings.service_url, application, key, guarded=guarded)


def hook_key(url: str, application: Application, settings: Hooks, loaded: Loaded) -> str:
    """What shows a back end who calls. The operator's own key is for addresses of the operator's alone.

    Args:
        url: The setting that has the address.
    """
    stored = application.settings
    if loaded.is_the_operators("hooks.key", stored) and not loaded.is_the_operators(url, stored):
        return application.hook_key
    return settings.key or application.hook_key


def push_providers(application: Application, settings: Push, loaded: Loaded) -> list[PushProvider]:
    """The ways to devices for which there are keys, and the plain webhook.

    Raises:
        SettingsError: Keys cannot be used.
    """
    providers = ways(settings)
    if settings.webhook:
        guarded = not loaded.is_the_operators("push.webhook", application.settings)
        providers.append(WebhookProvider(settings.webhook, guarded=guarded))
    return providers


def policy(settings: ApplicationSettings, loaded: Loaded) -> Policy:
    """The application's rules as they are set."""
    return Policy(
        message_bytes=loaded.settings.limits.message_bytes,
        members=settings.conversations.members,
        unread_cap=settings.messages.unread_cap,
        unread_conversations=settings.messages.unread_conversations,
        token_ttl_seconds=loaded.settings.sessions.token_ttl_seconds,
        signature_required=settings.security.require_signature,
        modify_enabled=settings.messages.modify_enabled,
        recall_enabled=settings.messages.recall_enabled,
        roles_enabled=settings.conversations.roles_enabled,
        blacklist_enabled=settings.conversations.blacklist_enabled,
        filters_two=settings.words.two_enabled,
        push_static=settings.push.static,
        push_webhook=bool(settings.push.webhook),
    )


def retention(application: Application, loaded: Loaded) -> Retention:
    """How long what is kept of the application."""
    settings = loaded.for_application(application.settings)
    return Retention(
        history=Millis(settings.messages.history_days * DAY_MILLIS),
        idle=Millis(settings.conversations.idle_days * DAY_MILLIS),
        notices=Millis(settings.messages.notices_days * DAY_MILLIS),
    )
