"""Every setting: its name, unit, default and one line of documentation, and where its value comes from.

Server settings: built-in default < TOML file < environment < command line. Application settings have one more layer,
what REST or the console stored for that application, between the file and the environment. What the environment or the
command line says is *pinned*: nothing stored can change it.

Names are ``table.key``; in the environment ``FASTIM_TABLE__KEY``, on the command line ``--set table.key=value``. What a
setting does is decided by the part that receives its section. ``docs/settings.md`` and the file of ``fastim init`` are
made here, from the types.
"""

import difflib
import functools
import ipaddress
import itertools
import json
import re
import tomllib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypedDict, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from fastim.core.errors import SettingsError
from fastim.core.hooks import CALLS

SHORTHANDS = {
    "--data": "server.data",
    "--tcp": "server.tcp",
    "--http": "server.http",
    "--tcps": "server.tcps",
    "--https": "server.https",
}
"""Flags that stand for a setting; ``load`` takes ``--tcp=VALUE`` where it takes ``server.tcp=VALUE``."""

Part = TypeVar("Part", bound=Struct)


class Address(Struct, frozen=True):
    """Where to listen.

    Attributes:
        host: A name or an IP address, IPv6 without its brackets.
        port: 0 to 65535; 0 asks the kernel for one.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address that ``HOST:PORT`` or ``[IPV6]:PORT`` names.

        Raises:
            ValueError: It is neither.
        """
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.-]+)):([0-9]{1,5})", text, re.ASCII)
        if found is None or int(found[3]) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT")
        if found[1] is not None:
            ipaddress.IPv6Address(found[1])
        return cls(found[1] or found[2], int(found[3]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Form:
    """What a text must look like, where a type cannot say it.

    Attributes:
        wants: The form in words, as the end of "give ...".
        holds: Whether a value has it.
    """

    wants: str
    holds: Callable[[Any], bool]


def _parses(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def holds(text: Any) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return holds


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not re.search(r"[\s\0]", text)
        )
    except ValueError:
        return False


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (ValueError, RecursionError):
        return False


def _or_empty(form: Form) -> Form:
    return Form(f"{form.wants}, or empty", lambda text: text == "" or form.holds(text))


HostPort = Annotated[str, _or_empty(Form("HOST:PORT such as 127.0.0.1:0 or [::1]:0", _parses(Address.parse)))]
Networks = Annotated[
    tuple[str, ...],
    Form(
        'a list of networks such as "10.0.0.0/8"',
        lambda networks: all(map(_parses(ipaddress.ip_network), networks)),
    ),
]
Filled = Annotated[str, Form("a path", lambda text: text != "" and "\0" not in text)]
FilePath = Annotated[str, Form("a path, or empty", lambda text: "\0" not in text)]
Url = Annotated[str, _or_empty(Form("a URL that starts with http:// or https://", _is_url))]
JsonObject = Annotated[str, _or_empty(Form("a JSON object as text", _is_json_object))]
Secret = Annotated[str, Form("printable characters, or empty", lambda text: text.isprintable() and len(text) <= 1_024)]


class ApnsTeam(Struct, frozen=True, forbid_unknown_fields=True):
    """A team's key for APNs, as Apple's developer pages give it out.

    Attributes:
        team_id: 10 characters.
        key_id: 10 characters.
        key_file: PEM file, ``.p8``.
        topic: The app's bundle id, for devices that do not say their own.
    """

    team_id: str
    key_id: str
    key_file: str
    topic: str


ApnsTeams = Annotated[
    tuple[ApnsTeam, ...],
    Form(
        "a list of tables with team_id, key_id, key_file and topic, none of them empty",
        lambda teams: all(all(msgspec.structs.astuple(team)) for team in teams),
    ),
]
HookNames = Annotated[
    tuple[str, ...],
    Form(
        'a list of hooks such as "_messageReceived", or "all"',
        lambda names: all(name == "all" or name in CALLS for name in names),
    ),
]
HeaderValue = Annotated[
    str, Form("printable ASCII characters, or empty", lambda text: text.isascii() and text.isprintable())
]
PerMinute = Annotated[int, Meta(ge=0, le=1_000_000_000)]
PerDay = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


# --- Of the server ----------------------------------------------------------------------------------------------------


class Server(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the server listens and keeps its data."""

    data: Annotated[Filled, "Directory of the store, made when missing"] = "./data"
    tcp: Annotated[HostPort, "Where to listen for length-prefixed protobuf; empty: nowhere"] = "127.0.0.1:4567"
    http: Annotated[HostPort, "Where to listen for WebSocket, REST, console and metrics; empty: nowhere"] = (
        "127.0.0.1:4568"
    )
    tcps: Annotated[HostPort, "As server.tcp, over TLS; empty: nowhere"] = ""
    https: Annotated[HostPort, "As server.http, over TLS; empty: nowhere"] = ""


class Tls(Struct, frozen=True, forbid_unknown_fields=True):
    """What the TLS listeners show; read at the start and again at SIGHUP."""

    certificate: Annotated[FilePath, "PEM file: the certificate, then those that lead to its root"] = ""
    key: Annotated[
        FilePath, "PEM file: the certificate's private key, without a password; empty: it is in the certificate's file"
    ] = ""


class Http(Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP port."""

    trusted_proxies: Annotated[
        Networks, "Peers whose X-Forwarded-* headers count; from anybody else they are ignored"
    ] = ()
    head_bytes: Annotated[
        int, Meta(ge=1_024, le=1_048_576), "Longest head of a request, the WebSocket handshake included"
    ] = 16_384


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What one client, connection or room may ask for."""

    message_bytes: Annotated[
        int, Meta(ge=64, le=16_777_216), "Longest message, with all that travels with it; above it a send gets 4109"
    ] = 5_120
    frame_bytes: Annotated[
        int, Meta(ge=1_024, le=67_108_864), "Longest frame that is read at all; above it the connection is closed"
    ] = 65_536
    sends_per_minute: Annotated[PerMinute, "Messages of one client; above it a send gets 4116; 0: no limit"] = 600
    history_per_minute: Annotated[
        PerMinute, "History queries of one client; above it an error command; 0: no limit"
    ] = 600
    operations_per_minute: Annotated[
        PerMinute, "All other commands of one client; above it an error command; 0: no limit"
    ] = 600
    room_sends_per_second: Annotated[
        int,
        Meta(ge=0, le=1_000_000_000),
        "Messages taken by one chat room in each priority; above it a send gets 4116; 0: no limit",
    ] = 0
    governor_lag_milliseconds: Annotated[
        int,
        Meta(ge=0, le=60_000),
        "Lag of the event loop at which chat rooms take no more messages of low priority, which get 4116, until it is"
        " half of that; 0: none",
    ] = 250
    handshake_seconds: Annotated[
        Seconds, "Time for a TLS handshake, and then for an HTTP head, a WebSocket handshake or the first TCP frame"
    ] = 10
    login_seconds: Annotated[Seconds, "Time for a connection to open its first session"] = 60
    read_timeout_seconds: Annotated[
        Seconds, "Silence after which a connection is closed; SDKs say something every 180 s"
    ] = 360
    write_timeout_seconds: Annotated[
        Seconds, "How long a peer may take nothing of what waits for it before its connection is closed"
    ] = 60
    commands_in_flight: Annotated[
        int, Meta(ge=1, le=65_536), "Commands of one connection under way at once; above it reading pauses"
    ] = 64
    connections: Annotated[
        int, Meta(ge=0, le=100_000_000), "Connections at once; 0: as many as the descriptor limit allows"
    ] = 0
    memory_bytes: Annotated[
        int,
        Meta(ge=0, le=70_368_744_177_664),
        "Memory of the server, the store's map aside; above it no connection is let in; 0: half of the machine's",
    ] = 0


class Sessions(Struct, frozen=True, forbid_unknown_fields=True):
    """Sessions and their tokens."""

    token_ttl_seconds: Annotated[
        int, Meta(ge=1, le=31_536_000), "How long a session token opens its session again; SDKs refresh it in time"
    ] = 172_800
    will_grace_seconds: Annotated[
        int,
        Meta(ge=1, le=3_600),
        "After a start of the server, how long devices may come back before the wills are sent that they had left",
    ] = 20


class Delivery(Struct, frozen=True, forbid_unknown_fields=True):
    """What waits for slow readers, and what a chat room's readers that lag are spared."""

    outbox_bytes: Annotated[
        int,
        Meta(ge=65_536, le=1_073_741_824),
        "Held for one session; above it the session has to resync from the store",
    ] = 1_048_576
    room_window_bytes: Annotated[
        int,
        Meta(ge=16_384, le=1_073_741_824),
        "Kept of one chat room for readers that lag; older messages are shed, but for those of high priority",
    ] = 262_144
    room_window_messages: Annotated[
        int,
        Meta(ge=64, le=1_048_576),
        "The same in messages, whatever their size; it bounds the work for one that lags",
    ] = 8_192
    room_low_milliseconds: Annotated[
        int, Meta(ge=0, le=3_600_000), "Age at which a message of low priority is shed for a reader that lags"
    ] = 2_000
    room_normal_milliseconds: Annotated[
        int, Meta(ge=0, le=3_600_000), "Age at which one of normal priority is shed for a reader that lags far"
    ] = 10_000
    room_sampled_senders: Annotated[
        int,
        Meta(ge=1, le=4_096),
        "Senders in each second of whom a reader that lags far still gets a message of normal priority",
    ] = 32
    room_high_bytes: Annotated[
        int,
        Meta(ge=16_384, le=1_073_741_824),
        "Kept of one chat room's messages of high priority beyond the window; a reader that lags further has to come"
        " back for them",
    ] = 1_048_576
    room_high_messages: Annotated[int, Meta(ge=64, le=1_048_576), "The same in messages, whatever their size"] = 4_096
    room_gather_milliseconds: Annotated[
        int,
        Meta(ge=0, le=1_000),
        "Least time between two passes over one chat room, in which messages gather; an idle room waits for nothing",
    ] = 5
    turn_microseconds: Annotated[
        int, Meta(ge=100, le=1_000_000), "Longest time for sending at a stretch; then others have their turn"
    ] = 2_000
    turn_handovers: Annotated[
        int, Meta(ge=4, le=65_536), "Most connections in such a time whose socket is found full and left to the loop"
    ] = 64


class Store(Struct, frozen=True, forbid_unknown_fields=True):
    """The store on disk."""

    map_bytes: Annotated[
        int, Meta(ge=1_048_576, le=70_368_744_177_664), "Address space set aside at first; grows before it is full"
    ] = 1_073_741_824
    dedupe_days: Annotated[
        int, Meta(ge=1, le=365), "How long a message sent again under the same token is known for the same message"
    ] = 7


class Console(Struct, frozen=True, forbid_unknown_fields=True):
    """The web console, on the HTTP port."""

    try_enabled: Annotated[
        bool,
        "Whether /console/try shows the server at work, in an application of its own, to whoever is on this machine",
    ] = True


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """Logs, on stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], "The least that is logged"] = "info"
    format: Annotated[Literal["auto", "json", "console"], "auto: for people on a terminal, JSON lines elsewhere"] = (
        "auto"
    )


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the server, one attribute per table."""

    server: Server = Server()
    tls: Tls = Tls()
    http: Http = Http()
    limits: Limits = Limits()
    sessions: Sessions = Sessions()
    delivery: Delivery = Delivery()
    store: Store = Store()
    console: Console = Console()
    log: Log = Log()


# --- Of an application ------------------------------------------------------------------------------------------------


class Switches(TypedDict):
    """What a list of words takes for the same, see ``Words``."""

    width: bool
    case: bool
    traditional: bool
    zero_width: bool
    repeats: bool
    separators: Literal["none", "careful", "any"]


class Messages(Struct, frozen=True, forbid_unknown_fields=True):
    """Messages after they were sent, and what is unread."""

    recall_enabled: Annotated[bool, "Whether senders may recall a message"] = True
    modify_enabled: Annotated[bool, "Whether senders may change a message"] = True
    unread_cap: Annotated[
        int, Meta(ge=0, le=1_000_000_000), "Highest unread count of a conversation that is told; 0: the exact one"
    ] = 0
    unread_conversations: Annotated[int, Meta(ge=1, le=10_000), "Conversations in the unread notification at login"] = (
        50
    )
    history_days: Annotated[
        int, Meta(ge=0, le=36_500), "How long messages are kept; older ones are swept away; 0: for ever"
    ] = 0
    notices_days: Annotated[
        int, Meta(ge=1, le=365), "How long what happened is kept for those who were away, who ask for it when back"
    ] = 30


class Conversations(Struct, frozen=True, forbid_unknown_fields=True):
    """Conversations and who may be in them."""

    members: Annotated[
        int, Meta(ge=1, le=1_000_000), "Most members of a normal conversation; above it adding gets 4304"
    ] = 500
    roles_enabled: Annotated[bool, "Whether owners and managers have rights that members lack"] = True
    blacklist_enabled: Annotated[bool, "Whether conversations can block clients"] = True
    idle_days: Annotated[
        int,
        Meta(ge=0, le=36_500),
        "Conversations without a message or a change for so long go with their history; 0: never; service"
        " conversations stay",
    ] = 0


class Security(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may do what."""

    require_signature: Annotated[
        bool, "Whether login and changes of members need a signature made with the master key"
    ] = False


class Users(Struct, frozen=True, forbid_unknown_fields=True):
    """Logged-in users of the application's own."""

    verify_url: Annotated[Url, "Where a user's session token is checked before a login is signed; empty: nowhere"] = ""


class Rest(Struct, frozen=True, forbid_unknown_fields=True):
    """What the application's servers may ask of REST; above it they get 429."""

    sends_per_minute: Annotated[PerMinute, "Messages sent, modified and recalled; 0: no limit"] = 1_800
    subscriber_broadcasts_per_minute: Annotated[PerMinute, "Messages to all subscribers; 0: no limit"] = 30
    subscriber_broadcasts_per_day: Annotated[PerDay, "The same in a day, which begins at 0:00 UTC; 0: no limit"] = 1_000
    broadcasts_per_minute: Annotated[PerMinute, "Messages to everybody; 0: no limit"] = 10
    broadcasts_per_day: Annotated[PerDay, "The same in a day, which begins at 0:00 UTC; 0: no limit"] = 30
    installations_per_minute: Annotated[
        PerMinute, "Devices that register for push with the key that clients know; 0: no limit"
    ] = 6_000


class Words(Struct, frozen=True, forbid_unknown_fields=True):
    """The word filter: listed words in messages of groups, chat rooms and services are masked."""

    enabled: Annotated[bool, "Whether messages are searched for listed words, which are then masked"] = False
    file: Annotated[
        FilePath,
        "The list: one word per line, UTF-8; read at the start and again at SIGHUP. A list uploaded by REST goes before"
        " one named in the TOML file, and after one that is pinned",
    ] = ""
    two_enabled: Annotated[bool, "Whether conversations between two are searched, too"] = False
    width: Annotated[
        bool, "Whether full and half width, circled and styled letters, radicals and compatibility forms are the same"
    ] = True
    case: Annotated[bool, "Whether letters of either case are the same"] = True
    traditional: Annotated[bool, "Whether traditional characters are the simplified ones"] = True
    zero_width: Annotated[bool, "Whether zero-width characters and combining marks are read over"] = True
    repeats: Annotated[bool, "Whether a character of a word may stand there several times"] = True
    separators: Annotated[
        Literal["none", "careful", "any"],
        "What between the characters of a word is read over: nothing, what is hardly chance, or all",
    ] = "careful"

    @property
    def switches(self) -> Switches:
        """What is taken for the same, in the terms of a list."""
        return Switches(
            width=self.width,
            case=self.case,
            traditional=self.traditional,
            zero_width=self.zero_width,
            repeats=self.repeats,
            separators=self.separators,
        )


class Push(Struct, frozen=True, forbid_unknown_fields=True):
    """Notifications for members who are offline. A provider without its keys is not used."""

    static: Annotated[JsonObject, "What is pushed when neither a hook nor the message says it"] = ""
    webhook: Annotated[Url, "Gets one POST for each offline member and message"] = ""
    retry_first_seconds: Annotated[
        Seconds, "Wait after a first failure; each further one doubles it, and a provider that says when is believed"
    ] = 5
    retry_most_seconds: Annotated[Seconds, "The longest wait between two tries"] = 600
    at_once: Annotated[int, Meta(ge=1, le=1_000), "Notifications of one provider that are under way at once"] = 32
    apns: Annotated[
        ApnsTeams,
        "Keys for Apple's devices: a list of {team_id, key_id, key_file, topic}; the first is for those that"
        " name no team",
    ] = ()
    apns_url: Annotated[Url, "Instead of Apple's two addresses, a gateway of one's own; empty: Apple's"] = ""
    fcm_account_file: Annotated[FilePath, "Google's service account, JSON; empty: no FCM"] = ""
    fcm_url: Annotated[Url, "Instead of Google's address; empty: Google's"] = ""
    hms_app_id: Annotated[Secret, "Huawei's id of the app; empty: no HMS"] = ""
    hms_app_secret: Annotated[Secret, "Goes with it"] = ""
    hms_url: Annotated[Url, "Instead of Huawei's addresses; empty: Huawei's"] = ""
    xiaomi_app_secret: Annotated[Secret, "Xiaomi's secret of the app; empty: no Xiaomi"] = ""
    xiaomi_package: Annotated[Secret, "The app's package name, which Xiaomi wants to know"] = ""
    xiaomi_channel: Annotated[Secret, "The notification channel that Xiaomi has approved; empty: none"] = ""
    xiaomi_url: Annotated[Url, "Instead of Xiaomi's address; empty: Xiaomi's"] = ""
    oppo_app_key: Annotated[Secret, "OPPO's key of the app; empty: no OPPO"] = ""
    oppo_master_secret: Annotated[Secret, "Goes with it"] = ""
    oppo_channel: Annotated[Secret, "The notification channel that OPPO has approved; empty: none"] = ""
    oppo_url: Annotated[Url, "Instead of OPPO's address; empty: OPPO's"] = ""
    vivo_app_id: Annotated[Secret, "vivo's id of the app; empty: no vivo"] = ""
    vivo_app_key: Annotated[Secret, "Goes with it"] = ""
    vivo_app_secret: Annotated[Secret, "Goes with it"] = ""
    vivo_url: Annotated[Url, "Instead of vivo's address; empty: vivo's"] = ""
    honor_app_id: Annotated[Secret, "Honor's id of the app; empty: no Honor"] = ""
    honor_client_id: Annotated[Secret, "Goes with it"] = ""
    honor_client_secret: Annotated[Secret, "Goes with it"] = ""
    honor_url: Annotated[Url, "Instead of Honor's addresses; empty: Honor's"] = ""
    web_key_file: Annotated[FilePath, "VAPID private key for browsers, PEM; empty: no web push"] = ""
    web_contact: Annotated[Secret, "Whom a browser's push service writes to: mailto:... or https://..."] = ""


class Hooks(Struct, frozen=True, forbid_unknown_fields=True):
    """Code of the operator's that may look, change or refuse."""

    url: Annotated[Url, "Base to which /1.1/functions/NAME is added"] = ""
    key: Annotated[HeaderValue, "Sent with every call, so that the hook knows who calls; empty: the application's"] = ""
    python: Annotated[
        FilePath, "Python module or file with the hooks, run in a process of its own; goes before hooks.url"
    ] = ""
    deadline_milliseconds: Annotated[
        int, Meta(ge=10, le=60_000), "How long a client's command waits for a hook, however it goes"
    ] = 3_000
    notice_deadline_milliseconds: Annotated[
        int, Meta(ge=10, le=600_000), "How long a call may take that nobody waits for"
    ] = 5_000
    at_once: Annotated[
        int, Meta(ge=1, le=10_000), "Calls under way at once, of questions and of notices each; more have to wait"
    ] = 64
    required: Annotated[
        HookNames,
        'Hooks whose failure refuses what they are asked about, a list such as ["_messageReceived"], or ["all"]; when'
        " others fail it goes on without them",
    ] = ()
    slow_milliseconds: Annotated[int, Meta(ge=1, le=600_000), "Calls that take longer are logged"] = 1_000
    breaker_failures: Annotated[
        int, Meta(ge=1, le=10), "Failures in a row after which a hook is left alone for a while, and counts as failing"
    ] = 5
    breaker_seconds: Annotated[Seconds, "How long it is left alone; then one call finds out"] = 10
    refresh_seconds: Annotated[Seconds, "How often hooks.url is asked which hooks it defines"] = 30
    service_url: Annotated[
        Url, "Gets what clients write to service conversations, in batches; nothing is sent while it is empty"
    ] = ""


class ApplicationSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of one application, one attribute per table."""

    messages: Messages = Messages()
    conversations: Conversations = Conversations()
    security: Security = Security()
    users: Users = Users()
    rest: Rest = Rest()
    words: Words = Words()
    push: Push = Push()
    hooks: Hooks = Hooks()


class GivenApplication(Struct, frozen=True):
    """An application named on the command line, to be made or updated.

    Raises:
        SettingsError: An id or key that no SDK or header could carry, or both keys the same.
    """

    id: str
    key: str
    master_key: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", self.id):
            raise SettingsError("--app-id: give 1 to 64 letters, digits, dots, dashes and underscores")
        for flag, key in (("--app-key", self.key), ("--master-key", self.master_key)):
            # A comma ends the key in X-LC-Key and X-LC-Sign.
            if not re.fullmatch(r"[!-+\--~]{1,128}", key):
                raise SettingsError(f"{flag}: give 1 to 128 printable ASCII characters, no space and no comma")
        if self.key == self.master_key:
            raise SettingsError("--master-key: give another than --app-key, which every client knows")


# --- Loading ----------------------------------------------------------------------------------------------------------


class Loaded(Struct, frozen=True):
    """Settings from all sources.

    Attributes:
        settings: Those of the server.
        pinned: Names that the environment or the command line gave, of the server and of applications.
        file: Application settings of the TOML file, by name.
        pins: Application settings that are pinned, by name.
    """

    settings: Settings
    pinned: frozenset[str]
    file: Mapping[str, Any] = {}
    pins: Mapping[str, Any] = {}

    def for_application(self, stored: Mapping[str, Any]) -> ApplicationSettings:
        """Settings of the application for which REST or the console stored ``stored``, by ``table.key``.

        Raises:
            SettingsError: ``stored`` has an unknown name, a name of the server's, or a value that does not fit. A value
                is judged even when it does not count because the name is pinned.
        """
        values = dict(self.file)
        for name, value in stored.items():
            field = _field(name, f"stored setting {name}", str)
            if field.table not in ApplicationSettings.__struct_fields__:
                raise _error(f"stored setting {name}", "it is the server's; an application cannot have its own")
            if field.why_not_stored:
                raise _error(f"stored setting {name}", field.why_not_stored)
            values[name] = field.fit(value, f"stored setting {name}")
        return _build(ApplicationSettings, values | dict(self.pins))

    def is_the_operators(self, name: str, stored: Mapping[str, Any]) -> bool:
        """Whether the value of that setting is the operator's own, and not one that REST or the console stored."""
        return name in self.pins or name not in stored


def load(config: Path | None, environ: Mapping[str, str], overrides: Sequence[str]) -> Loaded:
    """Settings from a file, the environment and the command line, each stronger than the one before it.

    Args:
        config: TOML file; None: there is none.
        environ: The environment. Only names with ``FASTIM_`` at the start and ``__`` after it are settings.
        overrides: ``table.key=value``, or a flag of ``SHORTHANDS`` as ``--flag=value``; of two for one name the later
            one counts.

    Raises:
        SettingsError: A file that cannot be read, an unknown name, a value that does not fit, or two that exclude each
            other.
    """
    file: dict[str, Any] = {}
    pins: dict[str, Any] = {}
    told_by: dict[str, str] = {}
    for field, value, source in _from_file(config) if config is not None else ():
        file[field.name], told_by[field.name] = value, source
    for field, value, source in (*_from_environment(environ), *_from_overrides(overrides)):
        pins[field.name], told_by[field.name] = value, source
    settings = _build(Settings, _only(Settings, file) | _only(Settings, pins))
    _check(settings, told_by)
    return Loaded(settings, frozenset(pins), _only(ApplicationSettings, file), _only(ApplicationSettings, pins))


def _check(settings: Settings, told_by: Mapping[str, str]) -> None:
    server = settings.server
    listeners = {f"server.{door}": getattr(server, door) for door in ("tcp", "http", "tcps", "https")}
    if not any(listeners.values()):
        raise SettingsError("server.tcp and server.http are both empty, and so are the other two: give one HOST:PORT")
    for one, other in itertools.combinations(listeners, 2):
        address = listeners[one]
        if address and address == listeners[other] and Address.parse(address).port != 0:
            raise SettingsError(f"{one} and {other} are both {address}: give one of them another port")
    for name in ("server.tcps", "server.https"):
        if listeners[name] and not settings.tls.certificate:
            raise _error(told_by[name], "there is no TLS without tls.certificate and tls.key")
    limits = settings.limits
    if limits.frame_bytes < limits.message_bytes:
        raise SettingsError(
            f"limits.frame_bytes ({limits.frame_bytes}) is less than limits.message_bytes ({limits.message_bytes}): "
            "no such message could be read"
        )


def _from_file(path: Path) -> Iterator[tuple["Field", Any, str]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _error(str(path), f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _error(str(path), f"is not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise _error(str(path), f"is not TOML: {error}") from error
    for table, keys in tables.items():
        if not isinstance(keys, dict):
            raise _error(f"{path}: {table}", f"settings live in tables; {_nearest(table, str)}")
        if table not in _tables():
            known = difflib.get_close_matches(table, _tables(), n=1, cutoff=0)[0]
            raise _error(f"{path}: [{table}]", f"no such table; the nearest is [{known}]")
        for key, value in keys.items():
            source = f"{path}: {table}.{key}"
            field = _field(f"{table}.{key}", source, str)
            yield field, field.fit(value, source), source


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple["Field", Any, str]]:
    for variable, text in environ.items():
        prefix, _, rest = variable.partition("_")
        if prefix == "FASTIM" and "__" in rest:
            field = _field(rest.lower().replace("__", ".", 1), variable, _variable)
            if variable != _variable(field.name):
                raise _error(variable, f"no such setting; the nearest is {_variable(field.name)}")
            yield field, field.fit_text(text, variable), variable


def _from_overrides(overrides: Sequence[str]) -> Iterator[tuple["Field", Any, str]]:
    for override in overrides:
        name, equals, text = override.partition("=")
        if name in SHORTHANDS:
            field = _fields()[SHORTHANDS[name]]
            yield field, field.fit(text, name), name
        elif not equals:
            raise _error(f"--set {override}", "write it as TABLE.KEY=VALUE")
        else:
            name = name.strip()
            field = _field(name, f"--set {name}", str)
            yield field, field.fit_text(text, f"--set {name}"), f"--set {name}"


def _variable(name: str) -> str:
    return "FASTIM_" + name.upper().replace(".", "__")


def _only(kind: type[Struct], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name.partition(".")[0] in kind.__struct_fields__}


def _build(kind: type[Part], values: Mapping[str, Any]) -> Part:
    tables: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        table, _, key = name.partition(".")
        tables.setdefault(table, {})[key] = value
    return msgspec.convert(tables, kind)


def _error(source: str, problem: str) -> SettingsError:
    line = " ".join(f"{source}: {problem}".split())
    return SettingsError("".join(letter if letter.isprintable() else "?" for letter in line))


# --- The fields -------------------------------------------------------------------------------------------------------


class Field(Struct, frozen=True):
    """One setting.

    Attributes:
        name: ``table.key``.
        kind: What its value is, with the unit and the bounds.
        default: The built-in one.
        line: What it is for.
        type: Its annotated type.
        form: What its text must look like besides.
    """

    name: str
    kind: str
    default: Any
    line: str
    type: Any
    form: Form | None

    @property
    def is_path(self) -> bool:
        """Whether it names a file of the server's."""
        return self.form is not None and "a path" in self.form.wants

    @property
    def why_not_stored(self) -> str:
        """Why REST and the console cannot store it for an application; empty where they can.

        An address in the place of a provider's is sent the provider's keys, which may be the operator's, and may lead
        into the operator's network.
        """
        if self.is_path or self.name == "push.apns":
            return "what names files of the server can only be set where it is started"
        if self.table == "push" and self.name.endswith("_url"):
            return "where a provider's keys are sent can only be set where the server is started"
        return ""

    @property
    def table(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    def fit(self, value: Any, source: str) -> Any:
        """``value`` as this field's type; ``source`` says where it is from.

        Raises:
            SettingsError: It does not fit.
        """
        return self._convert(value, source, value, strict=True)

    def fit_text(self, text: str, source: str) -> Any:
        """What ``text`` means as a TOML value, when it is one that fits, else what it means as it is.

        Raises:
            SettingsError: It does not fit either way.
        """
        try:
            parsed = tomllib.loads(f"value = {text}")
            if parsed.keys() == {"value"}:
                return self.fit(parsed["value"], source)
        except (ValueError, RecursionError, SettingsError):
            pass
        several = isinstance(self.default, tuple)
        value = [part.strip() for part in text.split(",") if part.strip()] if several else text
        return self._convert(value, source, text, strict=False)

    def _convert(self, value: Any, source: str, given: Any, *, strict: bool) -> Any:
        try:
            converted = msgspec.convert(value, self.type, strict=strict)
        except (msgspec.ValidationError, UnicodeError):
            converted = None
        # NaN passes every bound.
        if converted is None or converted != converted or (self.form is not None and not self.form.holds(converted)):
            # Keys and addresses with passwords in them stay out of terminals and logs.
            shown = "the value" if self.table in ("hooks", "push", "users") else _shorten(repr(given))
            raise _error(source, f"{shown} does not fit; give {self.kind}")
        return converted


def describe() -> list[Field]:
    """Every setting, the server's first, in the order of the tables."""
    return list(_fields().values())


def template() -> str:
    """A configuration file that says every setting with its default, all commented out."""
    lines = [
        "# Configuration of fastim. Every setting is here with its default: remove the # before one to change it.",
        "# FASTIM_TABLE__KEY in the environment and --set table.key=value on the command line override this file.",
    ]
    for part in (Settings, ApplicationSettings):
        if part is ApplicationSettings:
            lines += ["", "# --- What follows holds for every application that has nothing else stored. ---"]
        for table, kind in _sections(part):
            lines += ["", f"# {_first_line(kind)}", f"[{table}]"]
            for field in (field for field in describe() if field.table == table):
                key = field.name.partition(".")[2]
                lines += [f"# {field.line} ({field.kind})", f"#{key} = {_literal(field.default)}"]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The page ``docs/settings.md``."""
    lines = [
        "# Settings",
        "",
        "This page is made from `fastim/settings.py`. `fastim init` writes the same as a commented file.",
        "",
        "A setting has a name, `table.key`. It is given as `key` under `[table]` in the TOML file that `--config` or",
        "`FASTIM_CONFIG` names, as `FASTIM_TABLE__KEY` in the environment, or as `--set table.key=value`. In the last",
        "two a value is read as TOML when it is TOML that fits, else as it stands. An unknown name stops the start.",
        "",
        "## The server's",
        "",
        "Built-in default < TOML file < environment < `--set`. `--data`, `--tcp`, `--http`, `--tcps` and `--https` are",
        "short for `--set server.data=...` and so on. Paths are relative to the directory in which the server starts.",
    ]
    for part in (Settings, ApplicationSettings):
        if part is ApplicationSettings:
            lines += [
                "",
                "## An application's",
                "",
                "Built-in default < TOML file < what REST or the console stored for the application < environment <",
                "`--set`. The last two are pinned: they hold for every application, and nothing stored changes them.",
            ]
        for table, kind in _sections(part):
            lines += ["", f"### [{table}]", "", _first_line(kind), ""]
            lines += ["| name | value | default | what it is for |", "|---|---|---|---|"]
            lines += [
                f"| `{field.name}` | {field.kind} | `{_literal(field.default)}` | {field.line} |"
                for field in describe()
                if field.table == table
            ]
    return "\n".join(lines) + "\n"


@functools.cache
def _fields() -> dict[str, Field]:
    return {
        f"{table}.{field.name}": _describe(f"{table}.{field.name}", field)
        for part in (Settings, ApplicationSettings)
        for table, kind in _sections(part)
        for field in msgspec.structs.fields(kind)
    }


@functools.cache
def _tables() -> list[str]:
    return [table for part in (Settings, ApplicationSettings) for table, _ in _sections(part)]


def _sections(part: type[Struct]) -> Iterator[tuple[str, type[Struct]]]:
    for field in msgspec.structs.fields(part):
        yield field.name, field.type


def _describe(name: str, field: msgspec.structs.FieldInfo) -> Field:
    base, *notes = typing.get_args(field.type)
    form = next((note for note in notes if isinstance(note, Form)), None)
    metas = [note for note in notes if isinstance(note, Meta)]
    line = next(note for note in notes if isinstance(note, str))
    return Field(name, form.wants if form else _kind(name, base, metas), field.default, line, field.type, form)


def _kind(name: str, base: Any, metas: Sequence[Meta]) -> str:
    if base is bool:
        return "true or false"
    if base is str:
        return "text"
    if typing.get_origin(base) is Literal:
        return "one of " + ", ".join(typing.get_args(base))
    units = {"_bytes": " of bytes", "_seconds": " of seconds", "_days": " of days"}
    units |= {"_milliseconds": " of milliseconds", "_microseconds": " of microseconds"}
    units |= {"_per_minute": " per minute", "_per_second": " per second", "_per_day": " per day"}
    unit = next((words for end, words in units.items() if name.endswith(end)), "")
    above = [f"above {meta.gt:g}" for meta in metas if meta.gt is not None]
    least = [f"from {meta.ge}" for meta in metas if meta.ge is not None]
    most = next(f"to {meta.le}" for meta in metas if meta.le is not None)
    return f"a {'whole ' if base is int else ''}number{unit} {(above + least)[0]} {most}"


def _field(name: str, source: str, spell: Callable[[str], str]) -> Field:
    found = _fields().get(name)
    if found is None:
        raise _error(source, f"no such setting; {_nearest(name, spell)}")
    return found


def _nearest(name: str, spell: Callable[[str], str]) -> str:
    """Points to the known name that was most likely meant; a right key in the wrong table counts as near."""
    table, _, key = name.rpartition(".")

    def likeness(known: str) -> float:
        known_table, _, known_key = known.partition(".")
        return 2 * _alike(key, known_key) + _alike(table, known_table)

    return f"the nearest is {spell(max(_fields(), key=likeness))}"


def _alike(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _first_line(kind: type[Struct]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _literal(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
