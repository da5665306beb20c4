"""An application's settings, words, hooks and pushes in the console."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from fastim.core.errors import HookError
from fastim.core.hooks import CALLS, Answer, Call, MessageAnswer, MessageReceived, MessageSent
from fastim.core.installation import Installation
from fastim.core.push import Notification
from fastim.doors.http.console.configuration import example, is_secret
from fastim.ports.push import Dead, Later, Outcome, PushProvider, Refused, Sent
from fastim.runtime.hooks import LocalHooks
from fastim.runtime.outbox import Outbox
from fastim.settings import ApplicationSettings, Hooks, Push, describe, load
from tests.doors.desk import Desk, desk
from tests.fakes.clock import NOON
from tests.fakes.engine import Act, ScriptedEngine, broken

pytestmark = pytest.mark.anyio

APP = "/applications/app"
DRINKS = "# 饮料\n茶叶\ncoffee\n"
PHONE, TABLET = "a" * 24, "b" * 24
TOKEN = "0123456789abcdef-token"
Json = Any


async def settings_of(one: Desk) -> dict[str, Json]:
    return {setting["name"]: setting for setting in (await one.get(f"{APP}/settings"))["settings"]}


async def put(one: Desk, **changes: Json) -> tuple[int, Json]:
    """Settings with a ``__`` for the dot."""
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return await one.call("PUT", f"{APP}/settings", named)


async def put_words(one: Desk, content: bytes) -> tuple[int, Json]:
    return await one.ask(
        "PUT", f"/console/api{APP}/words", "X-Fastim-Console: 1", body=content, of="text/plain; charset=utf-8"
    )


def hook(one: Desk, act: Act | None, *defined: type[Call], **settings: Any) -> ScriptedEngine:
    """Have an engine run the application's hooks."""
    engine = ScriptedEngine(act, defined)
    hooks = LocalHooks([engine], Hooks(**settings))
    tenant = one.node.dispatcher.tenants["app"]
    one.node.dispatcher.add(replace(tenant, io=replace(tenant.io, hooks=hooks), hooks=hooks))
    return engine


class Carrier:
    """A provider that answers what a test lets it.

    Attributes:
        sent: What came, and for which devices.
    """

    def __init__(self, name: str, kind: str, answer: Callable[[Notification], Outcome] | None = None) -> None:
        self.name = name
        self.sent: list[tuple[Notification, Sequence[Installation]]] = []
        self._kind = kind
        self._answer = answer or (lambda _: Sent("id 7"))

    def carries(self, installation: Installation) -> bool:
        return installation.kind == self._kind

    async def send(self, notification: Notification, devices: Sequence[Installation]) -> Outcome:
        self.sent.append((notification, devices))
        return self._answer(notification)

    async def close(self) -> None: ...


def carry(one: Desk, *providers: PushProvider, static: str = "", webhook: bool = False) -> Outbox:
    """Have these carry the application's pushes."""
    tenant = one.node.dispatcher.tenants["app"]
    outbox = Outbox(providers, Push(static=static), tenant.hooks)
    policy = replace(tenant.io.policy, push_static=static, push_webhook=webhook)
    one.node.dispatcher.add(replace(tenant, io=replace(tenant.io, pusher=outbox, policy=policy), outbox=outbox))
    return outbox


async def keep(one: Desk, key: str, kind: str, **fields: Any) -> None:
    """Keep a device of jerry's."""
    device = Installation(key, kind, NOON, NOON, token=TOKEN + key, channels=("jerry",), **fields)
    await one.node.store.change_installation(key, lambda _: device)


class TestSettings:
    async def test_every_setting_of_an_application_is_there_with_what_it_is_for(self) -> None:
        async with desk() as one:
            settings = await settings_of(one)
            fields = [field for field in describe() if field.table in ApplicationSettings.__struct_fields__]
            assert list(settings) == [field.name for field in fields]
            assert all(setting["line"] and setting["kind"] for setting in settings.values())
            assert {setting["type"] for setting in settings.values()} == {
                "bool", "int", "float", "text", "secret", "json", "list",
            }  # fmt: skip
            assert settings["messages.recall_enabled"] == {
                "name": "messages.recall_enabled",
                "kind": "true or false",
                "line": "Whether senders may recall a message",
                "type": "bool",
                "default": True,
                "value": True,
                "source": "default",
                "storable": True,
            }
            assert settings["words.separators"]["choices"] == ["none", "careful", "any"]
            fixed = {name for name, setting in settings.items() if not setting["storable"]}
            assert fixed == {field.name for field in fields if field.why_not_stored}
            assert fixed >= {"words.file", "hooks.python", "push.apns", "push.fcm_account_file", "push.apns_url"}

    async def test_a_setting_is_stored_and_comes_into_force(self) -> None:
        async with desk() as one:
            status, answer = await put(
                one, messages__recall_enabled=False, push__static='{"alert":"hi"}', rest__sends_per_minute=7
            )
            assert status == 200
            changed = {
                setting["name"]: setting["value"] for setting in answer["settings"] if setting["source"] == "stored"
            }
            assert changed == {
                "messages.recall_enabled": False,
                "push.static": '{"alert":"hi"}',
                "rest.sends_per_minute": 7,
            }
            assert one.changes == [("app", changed)]
            assert (await settings_of(one))["messages.recall_enabled"]["value"] is False
            assert (
                "settings changed",
                "app",
                "messages.recall_enabled, push.static, rest.sends_per_minute",
            ) in await one.audited()

    async def test_what_is_stored_is_forgotten(self) -> None:
        async with desk() as one:
            await put(one, messages__recall_enabled=False, hooks__required=["all"])
            assert (await settings_of(one))["hooks.required"]["value"] == ["all"]
            assert (await put(one, messages__recall_enabled=None))[0] == 200
            settings = await settings_of(one)
            assert (settings["messages.recall_enabled"]["value"], settings["messages.recall_enabled"]["source"]) == (
                True,
                "default",
            )
            assert settings["hooks.required"]["source"] == "stored"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("messages.recall_enabled", 1),
            ("messages.recall_enabled", "true"),
            ("messages.history_days", -1),
            ("push.static", "[1]"),
            ("hooks.url", "ftp://back.end"),
            ("hooks.url", ["http://back.end"]),
            ("hooks.required", ["_nothing"]),
            ("words.separators", "some"),
            ("words.file", "/etc/passwd"),
            ("hooks.python", "hooks.py"),
            ("push.apns", []),
            ("push.web_key_file", "key.pem"),
            ("push.fcm_url", "http://127.0.0.1/"),
            ("server.data", "elsewhere"),
            ("no.such", 1),
            ("no.such", None),
            ("hooks.key", "line\nbreak"),
        ],
    )  # fmt: skip
    async def test_one_that_does_not_fit_changes_nothing(self, name: str, value: Json) -> None:
        async with desk() as one:
            wanted = {"messages.modify_enabled": False, name: value}
            assert await one.refusal("PUT", f"{APP}/settings", wanted) == (400, name)
            assert one.changes == []
            assert (await settings_of(one))["messages.modify_enabled"]["source"] == "default"
            assert "settings changed" not in [what for what, *_ in await one.audited()]

    @pytest.mark.parametrize("body", [b"[]", b"7", b"{", b"null", b'{"a":' * 2_000, b'{"push.static":"\\ud800"}'])
    async def test_what_is_no_object_is_refused(self, body: bytes) -> None:
        async with desk() as one:
            status, answer = await one.ask("PUT", f"/console/api{APP}/settings", "X-Fastim-Console: 1", body=body)
            assert (status, one.changes) == (400, [])
            assert answer["error"]

    async def test_it_says_where_a_value_comes_from_and_what_is_pinned(self, tmp_path: Any) -> None:
        file = tmp_path / "fastim.toml"
        file.write_text("[messages]\nmodify_enabled = false\nunread_cap = 5\n[push]\nstatic = '{}'\n")
        loaded = load(file, {"FASTIM_CONVERSATIONS__MEMBERS": "7"}, ["messages.unread_cap=9"])
        async with desk(loaded=loaded) as one:
            await put(one, push__static='{"alert":"hi"}')
            settings = await settings_of(one)
            expected = {
                "messages.modify_enabled": (False, "file"),
                "messages.unread_cap": (9, "pinned"),
                "conversations.members": (7, "pinned"),
                "push.static": ('{"alert":"hi"}', "stored"),
                "push.at_once": (32, "default"),
            }
            assert {name: (settings[name]["value"], settings[name]["source"]) for name in expected} == expected
            assert await one.refusal("PUT", f"{APP}/settings", {"messages.unread_cap": 3}) == (
                400,
                "messages.unread_cap",
            )
            assert (await put(one, messages__unread_cap=None))[0] == 200

    def test_keys_and_secrets_are_secret(self) -> None:
        assert {field.name for field in describe() if is_secret(field.name)} == {
            "hooks.key",
            "push.hms_app_secret",
            "push.xiaomi_app_secret",
            "push.oppo_app_key",
            "push.oppo_master_secret",
            "push.vivo_app_key",
            "push.vivo_app_secret",
            "push.honor_client_secret",
        }

    async def test_secrets_go_in_and_never_come_out(self) -> None:
        async with desk() as one:
            before = (await settings_of(one))["hooks.key"]
            assert (before["type"], before["value"], before["set"]) == ("secret", None, False)
            status, answer = await put(
                one,
                hooks__key="open sesame",
                push__oppo_master_secret="open sesame",
                push__webhook="https://me:open%20sesame@push.example/",
                hooks__url="https://hooks.example/?key=open%20sesame",
                users__verify_url="https://users.example/me",
            )
            assert status == 200
            told = {setting["name"]: setting for setting in answer["settings"] if setting["source"] == "stored"}
            for name in ("hooks.key", "push.oppo_master_secret", "push.webhook", "hooks.url"):
                assert (told[name]["type"], told[name]["value"], told[name]["set"]) == ("secret", None, True)
            assert told["users.verify_url"]["value"] == "https://users.example/me"
            assert "sesame" not in json.dumps([answer, await settings_of(one), await one.get("/audit")])

    async def test_a_secret_that_does_not_fit_is_not_repeated(self) -> None:
        async with desk() as one:
            status, answer = await put(one, push__oppo_master_secret="open\nsesame")
            assert status == 400
            assert "sesame" not in json.dumps(answer)


class TestWords:
    async def test_a_list_is_stored_tried_out_and_forgotten(self) -> None:
        async with desk() as one:
            assert (await one.get(f"{APP}/words"))["source"] is None
            assert await put_words(one, DRINKS.encode()) == (200, {"words": 2})
            told = await one.get(f"{APP}/words")
            assert (told["source"], told["words"], told["text"]) == ("stored", 2, DRINKS)
            assert await one.post(f"{APP}/words/try", text="a coffee, 茶葉") == {
                "masked": "a ***, ***",
                "hits": [
                    {"start": 2, "end": 8, "word": "coffee", "line": 3},
                    {"start": 10, "end": 12, "word": "茶叶", "line": 2},
                ],
            }
            assert (await one.call("DELETE", f"{APP}/words"))[1] == {"words": 0}
            assert (await one.get(f"{APP}/words"))["text"] is None
            assert (await one.audited())[:2] == [
                ("words forgotten", "app", ""),
                ("words stored", "app", f"{len(DRINKS.encode())} bytes"),
            ]

    async def test_statistics_say_what_was_hit(self) -> None:
        async with desk() as one:
            await put_words(one, DRINKS.encode())
            one.node.tenant.words.mask(b"coffee, coffee")
            one.node.tenant.words.mask(b"milk")
            counted = (await one.get(f"{APP}/words"))["statistics"]
            assert (counted["texts"], counted["masked"]) == (2, 1)
            assert counted["hits"] == [{"word": "coffee", "line": 3, "count": 2}]

    @pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", b"good\n\x00"])
    async def test_a_list_that_cannot_be_used_changes_nothing(self, content: bytes) -> None:
        async with desk() as one:
            await put_words(one, DRINKS.encode())
            status, answer = await put_words(one, content)
            assert status == 400
            assert answer["error"]
            assert (await one.get(f"{APP}/words"))["words"] == 2

    async def test_trying_out_counts_nothing(self) -> None:
        async with desk() as one:
            await put_words(one, DRINKS.encode())
            await one.post(f"{APP}/words/try", text="coffee")
            assert (await one.get(f"{APP}/words"))["statistics"]["texts"] == 0


class TestHooks:
    async def test_it_says_which_are_defined_and_how_they_do(self) -> None:
        async with desk() as one:
            hook(one, broken, MessageReceived, MessageSent, breaker_failures=1, required=("_messageReceived",))
            await one.post(f"{APP}/hooks/test", hook="_messageReceived")
            told = await one.get(f"{APP}/hooks")
            assert told["engines"] == [{"name": "act", "defined": ["_messageReceived", "_messageSent"]}]
            hooks = {one["name"]: one for one in told["hooks"]}
            assert list(hooks) == list(CALLS)
            asked = hooks["_messageReceived"]
            assert (asked["defined"], asked["required"], asked["breaker_open"]) == (True, True, True)
            assert asked["calls"]["failed"] == 1
            assert not hooks["_clientOnline"]["defined"]
            (recent,) = told["recent"]
            assert (recent["hook"], recent["engine"], recent["outcome"]) == ("_messageReceived", "act", "failed")
            assert recent["problem"] == "status 500"

    async def test_one_is_called_with_an_example_and_its_answer_is_shown(self) -> None:
        async def act(_: Call) -> Answer:
            return MessageAnswer(content="<b>polite</b>", code=7)

        async with desk() as one:
            engine = hook(one, act, MessageReceived)
            told = await one.post(f"{APP}/hooks/test", hook="_messageReceived")
            assert (told["engine"], told["outcome"]) == ("act", "ok")
            assert told["answer"] == {"content": "<b>polite</b>", "code": 7}
            assert told["milliseconds"] >= 0
            (called,) = engine.called
            assert isinstance(called, MessageReceived)
            assert (called.to_peers, called.transient, called.timestamp) == (("fastim-console-2",), False, NOON)
            assert (await one.audited())[0] == ("hook tested", "app", "_messageReceived")

    async def test_one_that_is_only_told_something_answers_nothing(self) -> None:
        async with desk() as one:
            engine = hook(one, None, MessageSent)
            told = await one.post(f"{APP}/hooks/test", hook="_messageSent")
            assert told["outcome"] == "ok"
            assert "answer" not in told
            assert [type(call) for call in engine.called] == [MessageSent]

    async def test_one_that_does_not_answer_is_given_up(self) -> None:
        async def never(_: Call) -> Answer:
            await asyncio.get_running_loop().create_future()
            raise HookError("it was let go")

        async with desk() as one:
            hook(one, never, MessageReceived, deadline_milliseconds=10)
            told = await one.post(f"{APP}/hooks/test", hook="_messageReceived")
            assert (told["outcome"], told["problem"]) == ("timeout", "no answer by the deadline")
            assert "answer" not in told

    async def test_one_that_is_left_alone_is_not_called(self) -> None:
        async with desk() as one:
            engine = hook(one, broken, MessageReceived, breaker_failures=1)
            outcomes = [(await one.post(f"{APP}/hooks/test", hook="_messageReceived"))["outcome"] for _ in range(2)]
            assert outcomes == ["failed", "refused_by_breaker"]
            assert len(engine.called) == 1

    async def test_there_has_to_be_such_a_hook_and_code_for_it(self) -> None:
        async with desk() as one:
            assert await one.refusal("POST", f"{APP}/hooks/test", {"hook": "_nothing"}) == (400, "hook")
            assert await one.refusal("POST", f"{APP}/hooks/test", {"hook": "_messageSent"}) == (404, None)

    @pytest.mark.parametrize("name", CALLS)
    async def test_there_is_an_example_for_each(self, name: str) -> None:
        async with desk() as one:
            engine = hook(one, None, CALLS[name])
            assert (await one.post(f"{APP}/hooks/test", hook=name))["outcome"] == "ok"
            assert engine.called == [example(name, NOON)]
            assert type(engine.called[0]) is CALLS[name]


class TestPush:
    async def test_it_says_how_providers_do(self) -> None:
        async with desk() as one:
            outbox = carry(one, Carrier("apns", "ios"), Carrier("web", "web"))
            outbox.outcomes["apns", "sent"] += 3
            outbox.outcomes["apns", "later"] += 2
            outbox.outcomes["apns", "dead"] += 1
            outbox.outcomes["none", "gone"] += 4
            told = await one.get(f"{APP}/push")
            assert [(way["name"], way["paused"], way["sent"], way["failed"]) for way in told["providers"]] == [
                ("apns", False, 3, 3),
                ("web", False, 0, 0),
            ]
            assert told["nobody"] == 4
            assert told["waiting"] == {"jobs": 0, "targets": 0, "notifications": 0}

    async def test_a_preview_shows_what_each_kind_of_device_gets(self) -> None:
        static = (
            '{"alert":"${fromClientId} wrote","ios":{"badge":"Increment"},"android":{"silent":true},"_profile":"dev"}'
        )
        async with desk() as one:
            shown = await one.post(f"{APP}/push/preview", static=static)
            assert shown == {
                "ios": {"alert": "fastim-console wrote", "badge": 1},
                "android": {"alert": "fastim-console wrote", "silent": True},
                "webhook": {
                    "alert": "fastim-console wrote",
                    "ios": {"badge": "Increment"},
                    "android": {"silent": True},
                },
            }
            shown = await one.post(f"{APP}/push/preview", text="hello", static=static)
            assert shown["ios"] == shown["android"] == shown["webhook"] == {"alert": "hello"}

    async def test_a_preview_without_anything_is_of_what_is_set(self) -> None:
        async with desk() as one:
            assert await one.post(f"{APP}/push/preview") == {"ios": None, "android": None, "webhook": None}
            carry(one, static='{"alert":"set"}')
            assert (await one.post(f"{APP}/push/preview"))["ios"] == {"alert": "set"}
            assert (await one.post(f"{APP}/push/preview", static=""))["ios"] is None

    @pytest.mark.parametrize("static", ["[]", "{", "text"])
    async def test_a_preview_of_what_could_not_be_set_is_refused(self, static: str) -> None:
        async with desk() as one:
            assert await one.refusal("POST", f"{APP}/push/preview", {"static": static}) == (400, "push.static")

    async def test_a_device_is_sent_something(self) -> None:
        async with desk() as one:
            ios = Carrier("apns", "ios")
            outbox = carry(one, ios)
            await keep(one, PHONE, "ios", installation_id="phone-1")
            for name in (PHONE, "phone-1"):
                told = await one.post(f"{APP}/push/test", installation_id=name, text="héllo")
                assert (told["outcome"], told["says"]) == ("sent", "taken: id 7")
                assert [(tried["installation_id"], tried["provider"]) for tried in told["devices"]] == [(PHONE, "apns")]
            notification, devices = ios.sent[0]
            assert json.loads(notification.data) == {"alert": "héllo"}
            assert [device.id for device in devices] == [PHONE]
            assert sum(outbox.outcomes.values()) == 0
            assert ("push tested", "app", "phone-1") in await one.audited()
            assert TOKEN not in json.dumps([told, await one.get("/audit")])

    async def test_all_devices_of_a_client_and_the_webhook_are_sent_something(self) -> None:
        async with desk() as one:
            ios = Carrier("apns", "ios", lambda _: Later("no connection", 30.0))
            webhook = Carrier("webhook", "none")
            carry(one, ios, webhook, webhook=True)
            await keep(one, PHONE, "ios")
            await keep(one, TABLET, "android", vendor="HMS")
            told = await one.post(f"{APP}/push/test", client_id="jerry", text="hello")
            assert [(tried["provider"], tried["outcome"]) for tried in told["devices"]] == [
                ("apns", "later"),
                ("", "no_way"),
                ("webhook", "sent"),
            ]
            assert told["outcome"] == "sent"
            assert told["says"].startswith("1 of 3 ")
            assert told["devices"][0]["says"] == "it could not be sent now: no connection; it may be sent again in 30 s"
            assert "HMS" in told["devices"][1]["says"]
            ((notification, devices),) = webhook.sent
            assert (notification.client_id, notification.installation_id, len(devices)) == ("jerry", "", 2)
            assert TOKEN not in json.dumps(told)

    @pytest.mark.parametrize(
        ("outcome", "word"), [(Dead("BadDeviceToken"), "dead"), (Refused("status 400"), "refused")]
    )  # fmt: skip
    async def test_what_came_of_it_is_explained_and_the_device_stays(self, outcome: Outcome, word: str) -> None:
        async with desk() as one:
            carry(one, Carrier("apns", "ios", lambda _: outcome))
            await keep(one, PHONE, "ios")
            told = await one.post(f"{APP}/push/test", installation_id=PHONE, text="hello")
            assert told["outcome"] == word
            assert told["says"].endswith(outcome.says)
            kept = await one.node.store.find_installation(PHONE)
            assert kept is not None
            assert kept.valid

    async def test_a_client_without_devices_is_said_to_have_none(self) -> None:
        async with desk() as one:
            told = await one.post(f"{APP}/push/test", client_id="jerry", text="hello")
            assert (told["outcome"], told["devices"]) == ("no_device", [])

    async def test_a_device_has_to_be_named_and_not_by_its_token(self) -> None:
        async with desk() as one:
            await keep(one, PHONE, "ios")
            for name in (TABLET, TOKEN + PHONE, "", "\0"):
                assert (await one.refusal("POST", f"{APP}/push/test", {"installation_id": name, "text": "x"}))[0] == 404
            both = {"installation_id": PHONE, "client_id": "jerry", "text": "x"}
            for body in ({"text": "x"}, both, {"installation_id": PHONE}, {"installation_id": PHONE, "text": ""}):
                assert (await one.refusal("POST", f"{APP}/push/test", body))[0] == 400
            assert "push tested" not in [what for what, *_ in await one.audited()]
