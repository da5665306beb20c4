"""Configuration: an application's settings and words, its hooks, and its pushes.

What is set up can be tried out here, too. Secrets come in and never go out: it is only said that there is one.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from fastim.core import hooks
from fastim.core.errors import SettingsError, WordListError
from fastim.core.hooks import CALLS as HOOKS
from fastim.core.hooks import Answer
from fastim.core.hooks import Call as HookCall
from fastim.core.ids import MESSAGE_ENTROPY_BYTES, message_id
from fastim.core.installation import Installation, is_installation_id
from fastim.core.push import Notification, Occasion, Payload, carried, chosen, whole
from fastim.core.units import Millis
from fastim.doors.http.console.calls import APPLICATION, Asked, BadRequest, Call, Nothing, NotThere, Problem
from fastim.doors.http.rest.values import ClientId
from fastim.doors.http.rest.words import HITS_MAX, LIST_BYTES_MAX, Text, WordFile
from fastim.ports.push import Dead, Later, Outcome, Refused, Sent
from fastim.runtime.dispatch import Tenant
from fastim.runtime.hooks import PastCall
from fastim.runtime.operators import NotPossible
from fastim.runtime.outbox import NOBODY, WEBHOOK
from fastim.runtime.words import Hit, WordStatistics
from fastim.service.io import Io
from fastim.settings import ApplicationSettings, Field, Loaded, describe

SETTINGS_MAX: Final = 200
TEXT_BYTES_MAX: Final = 16_384
"""Longest list of words that is shown."""
DEVICES_MAX: Final = 20
"""Devices of one client that a test is sent to, the newest."""
TEST_EXPIRY_MILLIS: Final = 3_600_000

_NO_CONVERSATION: Final = "0" * 24
_SOMEBODY: Final = "fastim-console"
_SOMEBODY_ELSE: Final = "fastim-console-2"


# --- Settings ---------------------------------------------------------------------------------------------------------


class Setting(Struct, frozen=True, omit_defaults=True):
    """A setting as it is now.

    Attributes:
        name: ``table.key``.
        kind: What its value is, in words.
        line: What it is for.
        value: The one in force; null where that is a secret.
        source: Who says so: nobody, the configuration file, what is stored for the application, or the environment or
            the command line, against which nothing can be stored.
        storable: Whether it can be set here: what names files of the server's, or where keys are sent, cannot.
        set: Of a secret: whether there is one.
        choices: Those that there are, where it is one of a few words.
    """

    name: str
    kind: str
    line: str
    type: str
    default: Any
    value: Any
    source: str
    storable: bool
    set: bool | None = None
    choices: tuple[str, ...] | None = None


class Settings(Struct, frozen=True):
    """All settings of an application, table by table."""

    settings: list[Setting]


async def _read_settings(asked: Asked[Nothing, Nothing]) -> Settings:
    return _settings(asked.console.loaded, asked.tenant.application.settings)


async def _change_settings(asked: Asked[Nothing, dict[str, Any]]) -> Settings:
    application = asked.tenant.application
    require_storable(asked.console.loaded, application.settings, asked.body)
    await asked.console.operators.change_settings(application.id, asked.body)
    tenant = asked.console.operators.tenant(application.id) or asked.tenant
    return _settings(asked.console.loaded, tenant.application.settings)


def require_storable(loaded: Loaded, stored: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Find out whether ``changes`` of what is stored can come into force, all of them.

    Raises:
        NotPossible: One cannot; its ``field`` says which.
    """
    if len(changes) > SETTINGS_MAX:
        raise NotPossible(f"that is more than {SETTINGS_MAX} settings")
    for name, value in changes.items():
        field = _field(name)
        if value is None:
            continue
        if field.why_not_stored:
            raise NotPossible(field.why_not_stored, name)
        if name in loaded.pins:
            raise NotPossible("it is pinned by the environment or the command line: nothing stored would count", name)
        _require_fit(name, value)
    after = {name: value for name, value in {**stored, **changes}.items() if value is not None}
    try:
        loaded.for_application(after)
    except SettingsError as error:
        raise NotPossible(str(error)) from error


def _require_fit(name: str, value: Any) -> None:
    try:
        _field(name).fit(value, name)
    except SettingsError as error:
        raise NotPossible(str(error), name) from error


def _settings(loaded: Loaded, stored: Mapping[str, Any]) -> Settings:
    values = msgspec.to_builtins(loaded.for_application(stored))
    told = []
    for field in _fields():
        table, _, key = field.name.partition(".")
        told.append(_setting(field, values[table][key], _source(field.name, loaded, stored)))
    return Settings(told)


def _fields() -> list[Field]:
    """Every setting that an application has."""
    return [field for field in describe() if field.table in ApplicationSettings.__struct_fields__]


def _field(name: str) -> Field:
    """One of these.

    Raises:
        NotPossible: There is none of that name.
    """
    found = next((field for field in _fields() if field.name == name), None)
    if found is None:
        raise NotPossible("there is no such setting of an application", name)
    return found


def _setting(field: Field, value: Any, source: str) -> Setting:
    base = get_args(field.type)[0]
    hidden = is_secret(field.name) or (_wants(field, "a URL") and _tells_secret(value))
    return Setting(
        name=field.name,
        kind=field.kind,
        line=field.line,
        type="secret" if hidden else _type(field, base),
        default=msgspec.to_builtins(field.default),
        value=None if hidden else value,
        source=source,
        storable=not field.why_not_stored,
        set=bool(value) if hidden else None,
        choices=get_args(base) if get_origin(base) is Literal else None,
    )


def _type(field: Field, base: Any) -> str:
    if get_origin(base) is tuple:
        return "list"
    if _wants(field, "a JSON object"):
        return "json"
    return {bool: "bool", int: "int", float: "float"}.get(base, "text")


def _wants(field: Field, form: str) -> bool:
    return field.form is not None and field.form.wants.startswith(form)


def is_secret(name: str) -> bool:
    """Whether the value of that setting is shown to nobody."""
    return name == "hooks.key" or (name.startswith("push.") and name.endswith(("_secret", "_key")))


def _tells_secret(url: str) -> bool:
    """Whether there is more in a URL than where something is."""
    parts = urlsplit(url)
    return "@" in parts.netloc or bool(parts.query)


def _source(name: str, loaded: Loaded, stored: Mapping[str, Any]) -> str:
    if name in loaded.pins:
        return "pinned"
    if name in stored:
        return "stored"
    return "file" if name in loaded.file else "default"


# --- Words ------------------------------------------------------------------------------------------------------------


class Words(Struct, frozen=True):
    """The list of words in force.

    Attributes:
        source: Where it came from; null: there is none.
        words: How many are listed.
        text: The stored list as it came, where it is short and UTF-8.
    """

    source: str | None
    words: int
    statistics: WordStatistics
    text: str | None


class Listed(Struct, frozen=True):
    """How many words are listed now."""

    words: int


class TriedWords(Struct, frozen=True):
    """What would become of a text; of many hits the first 1,000."""

    masked: str
    hits: list[Hit]


async def _read_words(asked: Asked[Nothing, Nothing]) -> Words:
    words = asked.tenant.words
    counted = words.statistics()
    return Words(counted.source, counted.words, counted, _shown(await words.stored()))


async def _save_words(asked: Asked[Nothing, WordFile]) -> Listed:
    if not asked.body.data.strip():  # a file that was forgotten must not switch the filter off
        raise BadRequest("there is no list")
    return await _store_words(asked.tenant, asked.body.data)


async def _forget_words(asked: Asked[Nothing, Nothing]) -> Listed:
    return await _store_words(asked.tenant, None)


async def _store_words(tenant: Tenant, text: bytes | None) -> Listed:
    try:
        await tenant.words.save(text)
    except WordListError as error:
        raise BadRequest(str(error)) from error
    return Listed(len(tenant.words))


async def _try_words(asked: Asked[Nothing, Text]) -> TriedWords:
    tested = asked.tenant.words.test(asked.body.text)
    return TriedWords(tested.masked, list(tested.hits[:HITS_MAX]))


def _shown(text: bytes | None) -> str | None:
    if text is None or len(text) > TEXT_BYTES_MAX:
        return None
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


# --- Hooks ------------------------------------------------------------------------------------------------------------


class Engine(Struct, frozen=True):
    """Where hooks run, and those that it has code for."""

    name: str
    defined: list[str]


class Hook(Struct, frozen=True):
    """A hook.

    Attributes:
        required: What it is asked about is refused when it fails.
        breaker_open: It has failed too often and is left alone for a while.
        calls: How many ended in which way.
    """

    name: str
    defined: bool
    required: bool
    breaker_open: bool
    calls: dict[str, int]


class Hooks(Struct, frozen=True):
    """How hooks do.

    Attributes:
        recent: The last calls, the newest first.
        notices_waiting: What they have not been told yet.
    """

    engines: list[Engine]
    hooks: list[Hook]
    recent: list[PastCall]
    notices_waiting: int


class HookTest(Struct, frozen=True):
    """Which hook is to be called."""

    hook: str


class HookTested(Struct, frozen=True, omit_defaults=True):
    """How it went.

    Attributes:
        problem: Why it failed.
        answer: What it answered, where it was asked; without what it left out.
    """

    engine: str
    milliseconds: float
    outcome: str
    problem: str = ""
    answer: dict[str, Any] | None = None


async def _read_hooks(asked: Asked[Nothing, Nothing]) -> Hooks:
    local = asked.tenant.hooks
    return Hooks(
        [Engine(one.name, [hook for hook, kind in HOOKS.items() if one.defines(kind)]) for one in local.engines],
        [
            Hook(
                line.hook,
                local.defines(HOOKS[line.hook]),
                line.required,
                line.breaker.open,
                {str(outcome): number for outcome, number in line.outcomes.items()},
            )
            for line in local.lines.values()
        ],
        list(reversed(local.recent)),
        local.notices_waiting,
    )


async def _test_hook(asked: Asked[Nothing, HookTest]) -> HookTested:
    if asked.body.hook not in HOOKS:
        raise Problem(400, "there is no such hook", field="hook")
    tried = await asked.tenant.hooks.try_out(example(asked.body.hook, asked.io.clock.now()))
    if tried is None:
        raise NotThere("nothing is defined for that hook")
    past, answer = tried
    return HookTested(past.engine, past.milliseconds, past.outcome, past.problem, _answered(answer))


def _answered(answer: Answer | None) -> dict[str, Any] | None:
    """What a hook said, without what it did not say; ``None``: it failed, or was only told something."""
    if answer is None or type(answer) is Answer:
        return None
    silent = msgspec.to_builtins(type(answer)())
    return {name: value for name, value in msgspec.to_builtins(answer).items() if value != silent[name]}


def example(hook: str, now: Millis) -> HookCall:
    """A call to try a hook with, about a conversation that there is not."""
    everything: dict[str, Any] = {
        "from_peer": _SOMEBODY,
        "init_by": _SOMEBODY,
        "peer_id": _SOMEBODY,
        "conversation_id": _NO_CONVERSATION,
        "to_peers": (_SOMEBODY_ELSE,),
        "offline_peers": (_SOMEBODY_ELSE,),
        "online_peers": (),
        "mention_offline_peers": (),
        "members": (_SOMEBODY_ELSE,),
        "message_id": message_id(now, bytes(MESSAGE_ENTROPY_BYTES)),
        "content": '{"_lctype":-1,"_lctext":"A message to try a hook with"}',
        "timestamp": now,
        "source_ip": "127.0.0.1",
        "tag": "",
        "reconnect": 0,
        "close_code": 1,
        "close_message": "the client closed it",
        "attr": {"name": "A conversation to try a hook with"},
        "user": {"objectId": _NO_CONVERSATION, "username": _SOMEBODY},
    }
    kind = HOOKS[hook]
    named = {name: everything.get(name, False) for name in kind.__struct_fields__}
    optional = {field.name for field in msgspec.structs.fields(kind) if not field.required}
    asked = {name: value for name, value in named.items() if name not in optional}
    if kind is hooks.ConversationUpdate:
        asked["attr"] = everything["attr"]
    return kind(**asked)


# --- Push -------------------------------------------------------------------------------------------------------------


class Provider(Struct, frozen=True):
    """A way to devices.

    Attributes:
        paused: It is left alone as a whole, or being tried after that.
        sent: Notifications that it has taken.
        failed: Tries in vain, and notifications that it refused.
        outcomes: How many came to what.
    """

    name: str
    paused: bool
    sent: int
    failed: int
    outcomes: dict[str, int]


class WaitingPushes(Struct, frozen=True):
    """What is in the outbox: messages, targets, and what waits for these."""

    jobs: int
    targets: int
    notifications: int


class Push(Struct, frozen=True):
    """How pushes do.

    Attributes:
        nobody: Notifications for devices to which there was no way, or not any more.
    """

    providers: list[Provider]
    waiting: WaitingPushes
    nobody: int


class PreviewOf(Struct, frozen=True):
    """What is pushed: what a message says itself, and the application's ``push.static``; null: as it is set."""

    text: Annotated[str, Meta(max_length=16_384)] = ""
    static: Annotated[str, Meta(max_length=16_384)] | None = None


class Preview(Struct, frozen=True):
    """What devices and the webhook would be sent; null: nothing."""

    ios: dict[str, Any] | None
    android: dict[str, Any] | None
    webhook: dict[str, Any] | None


class PushTest(Struct, frozen=True):
    """Whom to send something: one installation, or all devices of a client."""

    text: Annotated[str, Meta(min_length=1, max_length=1_000)]
    installation_id: str | None = None
    client_id: ClientId | None = None


class TriedDevice(Struct, frozen=True):
    """What came of it on one device.

    Attributes:
        installation_id: Empty: the webhook, which gets what is for a client.
        provider: Empty: there is no way to it.
    """

    installation_id: str
    type: str
    provider: str
    outcome: str
    says: str


class PushTested(Struct, frozen=True):
    """What came of it.

    Attributes:
        outcome: ``sent`` when any device was sent it; else what the first came to: ``later``, ``dead``, ``refused``;
            ``no_way``, when none has keys for it; ``no_device``.
        says: The same for people.
    """

    outcome: str
    says: str
    devices: list[TriedDevice]


async def _read_push(asked: Asked[Nothing, Nothing]) -> Push:
    outbox = asked.tenant.outbox
    of: dict[str, Counter[str]] = {name: Counter() for name in (*outbox.paused, NOBODY)}
    for (name, word), number in outbox.outcomes.items():
        of.setdefault(name, Counter())[word] += number
    providers = [
        Provider(name, paused, of[name]["sent"], _failed(of[name]), dict(of[name]))
        for name, paused in outbox.paused.items()
    ]
    waiting = outbox.waiting
    return Push(providers, WaitingPushes(waiting.jobs, waiting.targets, waiting.notifications), of[NOBODY].total())


def _failed(outcomes: Mapping[str, int]) -> int:
    return sum(outcomes[word] for word in ("later", "dead", "refused"))


async def _preview(asked: Asked[Nothing, PreviewOf]) -> Preview:
    static = asked.io.policy.push_static
    if asked.body.static is not None:
        static = asked.body.static
        _require_fit("push.static", static)
    content = chosen(None, asked.body.text, static, _occasion(asked.io))
    if content is None:
        return Preview(None, None, None)
    payloads = [carried(content, _device(kind, asked.io.clock.now())) for kind in ("ios", "android")]
    ios, android = (None if one is None else _object(one.data) for one in payloads)
    text = whole(content)
    return Preview(ios, android, _object(text) if text else None)


def _occasion(io: Io) -> Occasion:
    return Occasion(_NO_CONVERSATION, io.clock.now(), _SOMEBODY)


def _device(kind: str, now: Millis) -> Installation:
    return Installation(_NO_CONVERSATION, kind, now, now)


def _object(text: str) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any])


async def _test_push(asked: Asked[Nothing, PushTest]) -> PushTested:
    body, io = asked.body, asked.io
    if (body.installation_id is None) == (body.client_id is None):
        raise BadRequest("give installation_id or client_id")
    content = chosen(None, json.dumps({"alert": body.text}), "", _occasion(io))
    assert content is not None  # it has a text
    if body.client_id is None:
        devices = await _find_device(io, body.installation_id or "")
        tried = [_try_device(asked.tenant, device, carried(content, device), "") for device in devices]
    else:
        devices = await io.store.installations_of(body.client_id)
        newest = devices[-DEVICES_MAX:]
        tried = [_try_device(asked.tenant, one, carried(content, one), body.client_id) for one in newest]
        if io.policy.push_webhook:
            tried.append(_try_webhook(asked.tenant, devices, whole(content), body.client_id))
    return _summed_up(await asyncio.gather(*tried))


async def _find_device(io: Io, name: str) -> list[Installation]:
    """By its ``objectId`` or its ``installationId``: its token is nothing that should be passed around."""
    found = await io.store.find_installation(name) if is_installation_id(name) else None
    found = found or (await io.store.find_device(name) if name.isprintable() and name else None)
    if found is None or name not in (found.id, found.installation_id):
        raise NotThere("there is no such installation")
    return [found]


async def _try_device(tenant: Tenant, device: Installation, payload: Payload | None, client_id: str) -> TriedDevice:
    notification = _notification(tenant.io, client_id, device.id, "{}" if payload is None else payload.data)
    tried = await tenant.outbox.try_out(notification, (device,))
    if tried is None:
        says = f"there are no keys for {_described(device)}, or it has no token"
        return TriedDevice(device.id, device.kind, "", "no_way", says)
    name, outcome = tried
    word, says = _told(outcome)
    if not device.valid:
        says += "; the server itself sends it nothing, its token was found dead before"
    return TriedDevice(device.id, device.kind, name, word, says)


async def _try_webhook(tenant: Tenant, devices: Sequence[Installation], data: str, client_id: str) -> TriedDevice:
    notification = _notification(tenant.io, client_id, "", data)
    tried = await tenant.outbox.try_out(notification, [one for one in devices if one.valid])
    if tried is None:
        return TriedDevice("", "", WEBHOOK, "no_way", "there is no webhook")
    name, outcome = tried
    return TriedDevice("", "", name, *_told(outcome))


def _notification(io: Io, client_id: str, installation_id: str, data: str) -> Notification:
    now = io.clock.now()
    return Notification(
        target=installation_id or f"{WEBHOOK}/{client_id}",
        message_id=message_id(now, io.entropy(MESSAGE_ENTROPY_BYTES)),
        conversation_id="",
        client_id=client_id,
        installation_id=installation_id,
        data=data,
        expires_at=Millis(now + TEST_EXPIRY_MILLIS),
    )


def _described(device: Installation) -> str:
    return f"devices of the type {device.kind}{f' and the vendor {device.vendor}' if device.vendor else ''}"


def _told(outcome: Outcome) -> tuple[str, str]:
    """A word for an outcome, and what it means."""
    match outcome:
        case Sent(says):
            return "sent", f"taken{f': {says}' if says else ''}"
        case Dead(says):
            return "dead", f"the token is not valid any more: {says}"
        case Refused(says):
            return "refused", f"it will not be taken, however often it is sent: {says}"
        case Later(says, after_seconds):
            wait = "" if after_seconds is None else f"; it may be sent again in {after_seconds:.0f} s"
            return "later", f"it could not be sent now: {says}{wait}"


def _summed_up(tried: Sequence[TriedDevice]) -> PushTested:
    if not tried:
        return PushTested("no_device", "the client has no device that could be pushed to", [])
    best = next((one for one in tried if one.outcome == "sent"), tried[0])
    says = best.says
    if len(tried) > 1:
        sent = sum(one.outcome == "sent" for one in tried)
        says = f"{sent} of {len(tried)} devices; {says}"
    return PushTested(best.outcome, says, list(tried))


CALLS: tuple[Call[Any, Any], ...] = (
    Call("GET", f"{APPLICATION}/settings", _read_settings),
    Call(
        "PUT",
        f"{APPLICATION}/settings",
        _change_settings,
        body=dict[str, Any],
        what="settings changed",
        detail=lambda asked: ", ".join(sorted(asked.body)),
    ),
    Call("GET", f"{APPLICATION}/words", _read_words),
    Call(
        "PUT",
        f"{APPLICATION}/words",
        _save_words,
        body=WordFile,
        body_bytes=LIST_BYTES_MAX,
        what="words stored",
        detail=lambda asked: f"{len(asked.body.data)} bytes",
    ),
    Call("DELETE", f"{APPLICATION}/words", _forget_words, what="words forgotten"),
    Call("POST", f"{APPLICATION}/words/try", _try_words, body=Text),
    Call("GET", f"{APPLICATION}/hooks", _read_hooks),
    Call(
        "POST",
        f"{APPLICATION}/hooks/test",
        _test_hook,
        body=HookTest,
        what="hook tested",
        detail=lambda asked: asked.body.hook,
    ),
    Call("GET", f"{APPLICATION}/push", _read_push),
    Call("POST", f"{APPLICATION}/push/preview", _preview, body=PreviewOf),
    Call(
        "POST",
        f"{APPLICATION}/push/test",
        _test_push,
        body=PushTest,
        what="push tested",
        detail=lambda asked: asked.body.installation_id or asked.body.client_id or "",
    ),
)
