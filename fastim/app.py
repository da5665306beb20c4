"""The one place that wires parts together, and the server's life from start to stop."""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
import uvloop
from msgspec.structs import replace

from fastim._fanout import Fanout
from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.metrics import StoreCollector
from fastim.adapters.lmdb.statistics import COMMIT_SECONDS_BOUNDS
from fastim.core.application import Application
from fastim.core.errors import ServerStopping, SettingsError, Unavailable
from fastim.core.retention import Retention
from fastim.core.units import Millis
from fastim.descriptors import connections_for, raise_limit
from fastim.doors.http.console import Console, Entrance, add_console
from fastim.doors.http.rest import CALLS, add_rest
from fastim.doors.http.routes import web_application
from fastim.doors.listen import Listener, listen_http, listen_tcp
from fastim.doors.tls import Certificate
from fastim.logs import set_up_logs
from fastim.machine import machine_bytes
from fastim.ports.store import ApplicationStore, Store
from fastim.runtime.audit import Audit
from fastim.runtime.back_office import BackOffice
from fastim.runtime.clock import SystemClock
from fastim.runtime.deadlines import Deadlines
from fastim.runtime.dispatch import Dispatcher
from fastim.runtime.gateway import Gateway
from fastim.runtime.hooks import LocalHooks
from fastim.runtime.ingress import Governor
from fastim.runtime.lag import LoopLag
from fastim.runtime.limits import LimitCounters
from fastim.runtime.memory import MemoryBudget
from fastim.runtime.metrics import (
    HookCollector,
    MemoryCollector,
    Metrics,
    OutboxCollector,
    RoomCollector,
    ServerCollector,
)
from fastim.runtime.operators import ID_CHARACTERS_MIN, Operators, random_key
from fastim.runtime.outbound import fanout_of
from fastim.runtime.pulse import Commits, Pulse
from fastim.runtime.quotas import Quotas
from fastim.runtime.trial import Trial
from fastim.runtime.words import LocalWords
from fastim.service import rooms
from fastim.settings import Address, GivenApplication, Loaded
from fastim.tenants import Shared, Tenants, retention

_log = structlog.get_logger(__name__)

SWEEP_SECONDS = 60.0
"""Between two looks for records past their time."""
SWEEP_PAUSE_SECONDS = 0.02
"""Between two steps: a long sweep must not take more than a small part of the store's time."""
DRAIN_SECONDS = 10.0
"""How long commands under way, and then what is buffered for clients, may take when the server stops."""


def serve(loaded: Loaded, given: GivenApplication | None, *, show_keys: bool = False) -> int:
    """Run the server until it is told to stop.

    Args:
        given: The application to make or update; ``None``: the one that is there, or a new one on a first start.
        show_keys: Print the application's keys on stderr at every start, not only when they were made.

    Returns:
        The process's exit code.

    Raises:
        SettingsError: It cannot start as it is set up.
    """
    set_up_logs(loaded.settings.log)
    loaded = _within_descriptors(loaded, raise_limit())
    uvloop.run(_serve(loaded, given, show_keys=show_keys))
    return 0


async def _serve(loaded: Loaded, given: GivenApplication | None, *, show_keys: bool) -> None:
    settings = loaded.settings
    stopping = _stop_signal()
    store = LmdbStore.open(
        settings.server.data,
        map_bytes=settings.store.map_bytes,
        tokens_kept=Millis(settings.store.dedupe_days * 24 * 3_600_000),
    )
    try:
        applications, generated = await _applications(store, given)
        node = Node(loaded, store, applications)
        try:
            await node.prepare()
            await node.listen()
            _collect_rarely()
            # Until now there was nothing to reload, and the signal was only kept from ending the process.
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, node.reload)
            if generated or show_keys:
                _show_keys(applications[0], node)
            _show_console(node, always=show_keys)
            sys.stdout.write(f"{node.ready_line}\n")
            sys.stdout.flush()
            _log.info("ready", **node.addresses)
            await stopping.wait()
            _log.info("draining", connections=len(node.gateway.connections))
        finally:
            await node.stop()
    finally:
        await store.close()
    _log.info("stopped")


def _collect_rarely() -> None:
    """Keep the cyclic collector away from what lives as long as the server or a session.

    A full collection walks over every session: with 4,500 idle ones, sends had a p99 of 81 ms at the defaults and of
    5.6 ms so (measured with ``bench/inbound.py``'s load).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)


def _within_descriptors(loaded: Loaded, descriptor_limit: int) -> Loaded:
    """``loaded`` with as many connections as the process can have, when the settings leave that open."""
    limits = loaded.settings.limits
    if limits.connections:
        return loaded
    limits = replace(limits, connections=connections_for(descriptor_limit))
    return replace(loaded, settings=replace(loaded.settings, limits=limits))


class Node:
    """One server process: its parts, wired.

    Attributes:
        addresses: What it listens on, by door.
    """

    def __init__(self, loaded: Loaded, store: LmdbStore, applications: list[Application]) -> None:
        settings = loaded.settings
        server = settings.server
        self._settings = settings
        self._store = store
        # First, because it is what may fail.
        self._certificate = Certificate(settings.tls) if server.tcps or server.https else None
        counters = LimitCounters()
        loop = asyncio.get_running_loop()
        self._dispatcher = Dispatcher(Quotas(settings.limits, counters, loop.time))
        self._deadlines = Deadlines(asyncio.get_running_loop())
        governor = Governor(settings.limits.governor_lag_milliseconds)
        self._lag = LoopLag(governor.hear)
        self._listeners: list[Listener] = []
        self._reloading: set[asyncio.Task[None]] = set()
        fanout = fanout_of(settings.delivery)
        self.gateway = Gateway(self._dispatcher, self._deadlines, settings.limits, settings.delivery, fanout, counters)
        self.addresses: dict[str, str] = {}
        self._memory = MemoryBudget(self.gateway, settings.limits.memory_bytes or machine_bytes() // 2)
        self._metrics = Metrics(
            ServerCollector(self.gateway, self._dispatcher, self._lag),
            RoomCollector(fanout, self._dispatcher, governor),
            HookCollector(self._dispatcher),
            OutboxCollector(self._dispatcher),
            MemoryCollector(self._memory),
            StoreCollector(lambda: store.statistics),
        )
        self._office = BackOffice(
            self._dispatcher, lambda application: loaded.for_application(application.settings).rest, time.time
        )
        self._tenants = Tenants(Shared(loaded, store, fanout, counters, governor), self._dispatcher)
        for application in applications:
            self._tenants.add(application)
        self._console = self._make_console(loaded, fanout)
        self._sweeping = asyncio.create_task(_sweep(store, self._dispatcher, loaded))

    def _make_console(self, loaded: Loaded, fanout: Fanout) -> Console:
        data = Path(self._settings.server.data)
        clock = SystemClock()

        def commits() -> Commits:
            return Commits(COMMIT_SECONDS_BOUNDS, self._store.statistics.commit_seconds_counts)

        pulse = Pulse(self.gateway, self._dispatcher, self._lag, fanout, self._memory, commits, clock=clock.now)
        operators = Operators(
            self._dispatcher,
            self._store,
            begin=self._tenants.begin,
            renew=self._tenants.renew,
            change=self._tenants.change,
        )
        trial = Trial(operators, loaded.pins) if self._settings.console.try_enabled else None
        return Console(operators, Entrance(data, pulse.meter), pulse, Audit(data), clock.now, loaded, trial)

    async def prepare(self) -> None:
        """Deal with what an earlier run left behind: its sessions are over, and their devices may come back.

        Raises:
            SettingsError: A list of words cannot be used.
        """
        for tenant in self._dispatcher.tenants.values():
            await self._tenants.prepare(tenant)
        grace_seconds = self._settings.sessions.will_grace_seconds
        asyncio.get_running_loop().call_later(grace_seconds, self._dispatcher.fire_orphans)

    async def listen(self) -> None:
        """Open the doors that the settings name.

        Raises:
            SettingsError: One cannot be opened, or the memory that is allowed is not enough.
        """
        self._memory.start()
        server = self._settings.server
        await self._listen_tcp("tcp", server.tcp)
        await self._listen_http("http", server.http)
        await self._listen_tcp("tcps", server.tcps, self._certificate)
        await self._listen_http("https", server.https, self._certificate)

    async def _listen_tcp(self, door: str, address: str, certificate: Certificate | None = None) -> None:
        if address:
            self._opened(door, await listen_tcp(Address.parse(address), self.gateway, certificate))

    async def _listen_http(self, door: str, address: str, certificate: Certificate | None = None) -> None:
        if not address:
            return
        routes = web_application(
            knows=self._dispatcher.tenants.__contains__,
            obstacle=lambda: self.gateway.obstacle,
            metrics=lambda: (self._metrics.exposition(), self._metrics.content_type),
            settings=self._settings.http,
        )
        add_rest(routes, self._office, CALLS)
        add_console(routes, self._console)
        settings = self._settings.http
        self._opened(door, await listen_http(Address.parse(address), self.gateway, routes, settings, certificate))

    def _opened(self, door: str, listener: Listener) -> None:
        self._listeners.append(listener)
        self.addresses[door] = listener.address

    def reload(self) -> None:
        """Read the certificate's files, the lists of words and the hooks again; all but the first beside the loop.

        Open connections go on with the certificate that they have.
        """
        tenants = self._dispatcher.tenants.values()
        lists = [one.words for one in tenants if one.words.is_of_a_file]
        hooks = [one.hooks for one in tenants if one.hooks.is_anywhere]
        if self._certificate is None and not lists and not hooks:
            _log.info("nothing to reload")
            return
        if self._certificate is not None:
            self._reload_certificate(self._certificate)
        task = asyncio.get_running_loop().create_task(_reload([*lists, *hooks]))
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    @staticmethod
    def _reload_certificate(certificate: Certificate) -> None:
        try:
            certificate.load()
        except SettingsError as error:
            _log.error("the certificate was not reloaded, the old one stays in force", reason=str(error))

    @property
    def setup_link(self) -> str:
        """Where the console's password can be set, without the site; empty once it is."""
        return self._console.entrance.setup_link

    @property
    def can_be_tried(self) -> bool:
        """Whether there is a page to try the server on."""
        return self._console.trial is not None

    @property
    def ready_line(self) -> str:
        """The one line on stdout that says where the server listens."""
        return " ".join(("fastim ready", *(f"{door}={address}" for door, address in self.addresses.items())))

    async def stop(self) -> None:
        """Take no more, finish what is under way, and tell every client to come back later."""
        self.gateway.accepting = False
        for listener in self._listeners:
            await listener.close()
        self._sweeping.cancel()
        for task in self._reloading:
            task.cancel()
        self._memory.stop()
        for connection in self.gateway.connections:
            connection.hurry()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._dispatcher.finish()
        except TimeoutError:
            _log.warning("commands were still under way")
        self._dispatcher.stopping = True
        lost = [
            rooms.lose_place(tenant.io, attached.session, stopping=True)
            for tenant in self._dispatcher.tenants.values()
            for connection in self.gateway.connections
            for attached in tenant.presence.on(connection)
        ]
        for connection in list(self.gateway.connections):
            connection.close(ServerStopping())
        try:
            await asyncio.gather(*lost)
        except Unavailable:
            _log.warning("what devices had not been sent in their chat rooms could not be stored")
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.gateway.emptied()
        except TimeoutError:
            for connection in list(self.gateway.connections):
                connection.abort()
        await self._tenants.close()
        self._deadlines.stop()
        self._lag.stop()


async def _reload(parts: Sequence[LocalWords | LocalHooks]) -> None:
    for one in parts:
        await one.reload()


async def _applications(store: Store, given: GivenApplication | None) -> tuple[list[Application], bool]:
    """All applications, the one to show first, and whether it was made up just now."""
    known = {application.id: application for application in await store.applications()}
    if given is None and known:
        return list(known.values()), False
    if given is None:
        first = await store.save_application(random_key(), random_key(), random_key(), random_key())
        return [first], True
    if len(given.id) < ID_CHARACTERS_MIN:
        _log.warning("Java and Swift SDKs need a longer application id", least=ID_CHARACTERS_MIN)
    before = known.pop(given.id, None)
    hook_key = random_key() if before is None else before.hook_key
    first = await store.save_application(given.id, given.key, given.master_key, hook_key)
    return [first, *known.values()], False


def _show_keys(application: Application, node: Node) -> None:
    addresses = "".join(f"  {door:<11} {address}\n" for door, address in node.addresses.items())
    sys.stderr.write(
        f"\n  fastim\n{addresses}"
        f"  app id      {application.id}\n"
        f"  app key     {application.key}\n"
        f"  master key  {application.master_key}   (for your servers only)\n\n"
    )
    sys.stderr.flush()


def _show_console(node: Node, *, always: bool) -> None:
    """Say where the console is, and as long as it has no password the link by which one is set, once and from here."""
    door = "http" if "http" in node.addresses else "https"
    if door not in node.addresses or not (always or node.setup_link):
        return
    site = f"{door}://{node.addresses[door]}"
    lines = [f"console     {site}{node.setup_link or '/console'}"]
    if node.setup_link:
        lines[0] += "   (sets the password; works once, on this machine)"
    if node.can_be_tried:
        lines.append(f"try it      {site}/console/try")
    sys.stderr.write("".join(f"  {line}\n" for line in lines) + "\n")
    sys.stderr.flush()


async def _sweep(store: Store, dispatcher: Dispatcher, loaded: Loaded) -> None:
    clock = SystemClock()
    while True:
        try:
            while await store.sweep(clock.now()):
                pass
            for application in [one.application for one in dispatcher.tenants.values()]:
                await _retire(store.of(application), retention(application, loaded), clock)
        except Unavailable as error:
            _log.warning("sweeping has to wait", reason=str(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def _retire(part: ApplicationStore, rules: Retention, clock: SystemClock) -> None:
    """Take away what is past its time, in steps with room between them for everybody else."""
    more = True
    while more:
        more = await part.retire(rules, clock.now()) > 0
        await asyncio.sleep(SWEEP_PAUSE_SECONDS)


def _stop_signal() -> asyncio.Event:
    """Set by SIGTERM or Ctrl-C; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    # It must not end the process while this starts.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    return stopping
