"""What ``fastim doctor`` looks at: whether this machine, as it is set up, can run the server, and how well.

It changes nothing that counts: what it writes in the data directory is gone when it returns, but for the lock file in
one that holds something already, and it binds ports without listening.
A finding is a *failure* when a start would fail, a *warning* when it would succeed and disappoint, *unknown* when it
cannot be told from here.
"""

import contextlib
import ctypes
import errno
import fcntl
import importlib
import importlib.metadata
import os
import platform
import re
import resource
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from msgspec import Struct

from fastim import certificates
from fastim.core.errors import SettingsError
from fastim.descriptors import connections_for
from fastim.machine import machine_bytes
from fastim.settings import Address, Limits, Server, Settings, Store, Tls

PROBE_BYTES = 4096
PROBES = 50
PROBE_SECONDS = 5
SLOW_SYNC_MILLIS = 20
VOLATILE = {"tmpfs": "memory, gone after a restart", "ramfs": "memory, gone after a restart"}
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "afs")
CERTIFICATE_NOTICE = timedelta(days=30)

State = Literal["ok", "warning", "failure", "unknown"]


class Finding(Struct, frozen=True):
    """What one look at the machine found.

    Attributes:
        about: What was looked at.
        state: How it stands.
        says: What there is, and what to do when it is not well.
    """

    about: str
    state: State
    says: str


def examine(settings: Settings) -> list[Finding]:
    """Everything that was found, in the order in which it is shown; takes a few seconds at most."""
    clocks = time.time() - time.monotonic()
    return [
        *programs(),
        descriptors(settings.limits),
        memory(settings.limits),
        *data_directory(settings.server, settings.store),
        *store(settings.server),
        *ports(settings.server),
        *certificate(settings.tls, settings.server, datetime.now(UTC)),
        clock(clocks),
    ]


def programs() -> Iterator[Finding]:
    """The interpreter, the libraries that matter most, and our own native modules."""
    python = f"{platform.python_implementation()} {platform.python_version()} on {platform.platform(terse=True)}"
    yield Finding("python", "ok" if sys.version_info >= (3, 11) else "failure", python)
    for library in ("uvloop", "lmdb"):
        try:
            yield Finding(library, "ok", importlib.metadata.version(library))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(library, "failure", "not installed; install fastim with its dependencies")
    modules = [f"fastim.{stub.stem}" for stub in sorted(Path(__file__).parent.glob("_*.pyi"))]
    missing = []
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            missing.append(f"{module} ({error})")
    if missing:
        yield Finding("native modules", "failure", f"cannot be loaded: {', '.join(missing)}; run make build")
    else:
        yield Finding("native modules", "ok", ", ".join(modules))


def descriptors(limits: Limits) -> Finding:
    """The limit on open files, as the shell or the service manager set it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return Finding("descriptors", "ok", "no limit")
    allowed = connections_for(hard)
    says = f"hard limit {hard}, to which the server raises its own: {allowed} connections"
    if limits.connections > allowed:
        advice = f"limits.connections asks for {limits.connections}; raise the limit (ulimit -n, LimitNOFILE=)"
        return Finding("descriptors", "warning", f"{says}, but {advice}")
    if allowed < 1000:
        return Finding("descriptors", "warning", f"{says}; raise the limit (ulimit -n, LimitNOFILE=)")
    return Finding("descriptors", "ok", says)


def memory(limits: Limits) -> Finding:
    """The memory that there is, and how much of it the server may have."""
    there = machine_bytes()
    budget = limits.memory_bytes or there // 2
    says = f"{_size(there)}, of which the server may use {_size(budget)} before it lets nobody in any more"
    if budget > there:
        return Finding("memory", "warning", f"{says}; lower limits.memory_bytes, or it is never reached")
    return Finding("memory", "ok", says)


def data_directory(server: Server, store: Store) -> Iterator[Finding]:
    """Whether the data directory can be used, what keeps it, what a commit costs there, and the room that is left."""
    wanted = Path(server.data).absolute()
    try:
        directory = next(place for place in (wanted, *wanted.parents) if place.exists())
        if not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a directory")
        times = _sync_times(directory)
    except OSError as error:
        yield Finding(
            "data directory", "failure", f"{wanted}: {_reason(error)}; set server.data to another, or its rights"
        )
        return
    kind = _file_system(directory)
    where = f"{wanted}{f' on {kind}' if kind else ''}"
    if kind in VOLATILE:
        yield Finding("data directory", "warning", f"{where}: {VOLATILE[kind]}")
    elif kind in REMOTE:
        yield Finding("data directory", "warning", f"{where}: LMDB is not safe on a file system of another machine")
    elif kind == "overlay":
        yield Finding(
            "data directory", "warning", f"{where}: if this is a container, the data go when it goes; mount a volume"
        )
    else:
        yield Finding("data directory", "ok", where if directory == wanted else f"{where}, will be made")
    median, worst = statistics.median(times) * 1000, times[int(len(times) * 0.99)] * 1000
    cost = f"median {median:.2f} ms, p99 {worst:.2f} ms, of {len(times)} writes of {PROBE_BYTES} bytes"
    if median > SLOW_SYNC_MILLIS:
        yield Finding("cost of a commit", "warning", f"{cost}; no ack of a message can be faster than this disk")
    else:
        yield Finding("cost of a commit", "ok", cost)
    yield _room(directory, wanted, store)


def store(server: Server) -> Iterator[Finding]:
    """Whether what is in the data directory is a store that this version can open, and nobody else has open."""
    directory = Path(server.data)
    try:
        if not directory.is_dir() or not any(directory.iterdir()):
            return
        # Here, so that everything else can be looked at without lmdb.
        from fastim.adapters.lmdb.environment import DATA_FILE, DirectoryLock, open_beside

        DirectoryLock(directory).release()
        if (directory / DATA_FILE).exists():
            open_beside(directory).close()
            yield Finding("store", "ok", "there, and of a format that this version reads")
    except (SettingsError, OSError, ImportError) as error:
        yield Finding("store", "failure", _reason(error))


def ports(server: Server) -> Iterator[Finding]:
    """Whether each address can be listened on."""
    for name in ("tcp", "http", "tcps", "https"):
        text: str = getattr(server, name)
        if text:
            yield _port(f"port {name}", Address.parse(text))


def certificate(tls: Tls, server: Server, now: datetime) -> Iterator[Finding]:
    """Whether the certificate can be read, fits its key, and until when it holds; nothing when none is set."""
    if not tls.certificate:
        return
    try:
        starts, ends = certificates.check(tls.certificate, tls.key)
    except SettingsError as error:
        yield Finding("certificate", "failure" if server.tcps or server.https else "warning", str(error))
        return
    if ends <= now:
        yield Finding("certificate", "warning", f"expired on {ends:%Y-%m-%d %H:%M} UTC; no client will accept it")
    elif starts > now:
        yield Finding("certificate", "warning", f"holds from {starts:%Y-%m-%d %H:%M} UTC only; is the clock right?")
    elif ends - now < CERTIFICATE_NOTICE:
        yield Finding("certificate", "warning", f"expires on {ends:%Y-%m-%d %H:%M} UTC, in {(ends - now).days} days")
    else:
        yield Finding("certificate", "ok", f"holds until {ends:%Y-%m-%d %H:%M} UTC")


def clock(earlier: float) -> Finding:
    """Whether something keeps the clock right.

    Args:
        earlier: Wall clock minus monotonic clock a while ago, in seconds.
    """
    now = datetime.now(UTC)
    stepped_millis = (time.time() - time.monotonic() - earlier) * 1000
    if now.year < 2026:
        return Finding("clock", "warning", f"says {now:%Y-%m-%d}; set it: message ids and timestamps come from it")
    if abs(stepped_millis) > 50:
        return Finding("clock", "warning", f"was set by {stepped_millis:.0f} ms while it was watched")
    kept = _kept_by_kernel()
    if kept is None:
        return Finding("clock", "unknown", "whether a time service keeps it right cannot be told from here")
    synchronised, error_millis = kept
    if not synchronised:
        return Finding(
            "clock",
            "warning",
            "no time service that the kernel knows of keeps it right; run one (chrony, ntpd), here or on the host",
        )
    return Finding("clock", "ok", f"kept right by a time service, to within {error_millis:.0f} ms at worst")


# --- The data directory -----------------------------------------------------------------------------------------------


def _sync_times(directory: Path) -> list[float]:
    """Seconds that one write and its way to the disk took, sorted."""
    times = []
    # A file that has its size already, as the store's has: its growth is not what is measured.
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        file.write(bytes(PROBES * PROBE_BYTES))
        _sync(file.fileno())
        begun = time.perf_counter()
        for probe in range(PROBES):
            before = time.perf_counter()
            os.pwrite(file.fileno(), os.urandom(PROBE_BYTES), probe * PROBE_BYTES)
            _sync(file.fileno())
            times.append(time.perf_counter() - before)
            if time.perf_counter() - begun > PROBE_SECONDS:
                break
    return sorted(times)


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync does not reach the disk there
    else:
        os.fdatasync(descriptor)


def _room(directory: Path, wanted: Path, store: Store) -> Finding:
    free = shutil.disk_usage(directory).free
    held = 0
    for file in wanted.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # a running server may have removed it by now
            held += file.stat().st_blocks * 512
    says = f"map of {_size(store.map_bytes)} at first, {_size(held)} in use, {_size(free)} free on the disk"
    if store.map_bytes > sys.maxsize // 2:
        return Finding("map size", "failure", f"{says}; more than this machine can address, lower store.map_bytes")
    if held + free < store.map_bytes:
        return Finding("map size", "warning", f"{says}; the disk will be full before the map is")
    return Finding("map size", "ok", says)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _size(count: int) -> str:
    size, units = float(count), iter(("bytes", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while size >= 1024 and unit != "TiB":
        size, unit = size / 1024, next(units)
    return f"{size:.4g} {unit}"


def _file_system(directory: Path) -> str | None:
    """The type of the file system that holds ``directory``; None where the system does not say."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    best, kind = -1, None
    for mount in mounts.splitlines():
        place, _, system = mount.partition(" - ")
        # The kernel writes blanks in octal.
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place.split()[4]))
        if directory.resolve().is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), system.split()[0]
    return kind


# --- Ports ------------------------------------------------------------------------------------------------------------


def _port(about: str, address: Address) -> Finding:
    try:
        places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in places:
            _bind(family, kind, protocol, place)
    except (socket.gaierror, UnicodeError) as error:
        return Finding(about, "failure", f"{address}: {_reason(error)}; give an address of this machine")
    except OSError as error:
        return Finding(about, "failure", f"{address}: {_advice(error, address)}")
    return Finding(about, "ok", f"{address} {'can be had' if address.port else '(the kernel picks the port)'}")


def _bind(family: int, kind: int, protocol: int, place: tuple[object, ...]) -> None:
    with socket.socket(family, kind, protocol) as probe:
        # As the server's own listeners do.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(place)


def _advice(error: OSError, address: Address) -> str:
    if error.errno == errno.EADDRINUSE:
        holder = _holder(address.port) or f"`lsof -iTCP:{address.port} -sTCP:LISTEN` says by whom"
        return f"in use ({holder}); stop that, or give another port"
    if error.errno == errno.EACCES:
        return "ports below 1024 need rights that this user lacks; give another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "not an address of this machine; give one that is"
    return _reason(error)


def _holder(port: int) -> str | None:
    """Which process listens on ``port``; None where that cannot be seen."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for row in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                columns = row.split()
                if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{columns[9]}]")
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in sockets:
                    return f"by {(process / 'comm').read_text(encoding='utf-8').strip()}, process {process.name}"
    return None


# --- The clock --------------------------------------------------------------------------------------------------------


class _Timex(ctypes.Structure):
    """The head of the kernel's ``struct timex``; the rest is room for it to write in."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def _kept_by_kernel() -> tuple[bool, float] | None:
    """Whether the kernel's clock is synchronised, and its largest error in milliseconds; None where it does not say."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    answer = _Timex()
    state: int = adjtimex(ctypes.byref(answer))
    unsynchronised, bad = 0x40, 5  # STA_UNSYNC, TIME_ERROR
    if state < 0:
        return None
    return state != bad and not answer.status & unsynchronised, answer.maxerror / 1000
