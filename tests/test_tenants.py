"""An application's parts: settings and keys that change while it runs, and stored settings that do not fit."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace
from structlog.testing import capture_logs

from fastim.adapters.memory import MemoryStore
from fastim.core.application import Application
from fastim.core.errors import Unavailable
from fastim.core.hooks import MessageReceived
from fastim.core.ids import AppNumber
from fastim.runtime.dispatch import Dispatcher, Tenant
from fastim.runtime.ingress import Governor
from fastim.runtime.limits import LimitCounters
from fastim.runtime.operators import NotPossible, Operators
from fastim.runtime.outbound import fanout_of
from fastim.runtime.trial import Trial
from fastim.settings import Delivery, Loaded, load
from fastim.tenants import Shared, Tenants, hook_key

ID = "an-application"


class Town:
    """A node's applications on a store in memory."""

    def __init__(self, *overrides: str) -> None:
        self.store = MemoryStore()
        self.dispatcher = Dispatcher()
        shared = Shared(load(None, {}, overrides), self.store, fanout_of(Delivery()), LimitCounters(), Governor(0))
        self.tenants = Tenants(shared, self.dispatcher)
        self.operators = Operators(
            self.dispatcher,
            self.store,
            begin=self.tenants.begin,
            renew=self.tenants.renew,
            change=self.tenants.change,
        )
        self.trial = Trial(self.operators, shared.loaded.pins)

    async def begin(self, **stored: Any) -> None:
        settings = {name.replace("__", "."): value for name, value in stored.items()}
        await self.tenants.begin(await self.store.save_application(ID, "k", "m", "h", settings))

    @property
    def tenant(self) -> Tenant:
        return self.dispatcher.tenants[ID]

    async def stored(self) -> Application:
        (application,) = await self.store.applications()
        return application


@asynccontextmanager
async def town(*overrides: str, **stored: Any) -> AsyncIterator[Town]:
    made = Town(*overrides)
    await made.begin(**stored)
    try:
        yield made
    finally:
        await made.tenants.close()
        await made.store.close()


@asynccontextmanager
async def back_end() -> AsyncIterator[tuple[str, list[str]]]:
    """A site that has every hook, and the keys that it was shown."""
    keys: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        keys.append(request.headers["X-LC-Key"])
        return web.json_response({"result": [MessageReceived.hook]})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}", keys
    finally:
        await runner.cleanup()


def of_a_file(url: str) -> Loaded:
    """Settings of a file that names the back end."""
    with NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(f'[hooks]\nurl = "{url}"\n')
        file.flush()
        return load(Path(file.name), {}, [])


def run(check: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(check())


def test_a_setting_counts_at_once_and_what_holds_people_stays() -> None:
    async def check() -> None:
        async with town() as one:
            before = one.tenant
            await one.tenants.change(ID, {"messages.recall_enabled": False, "conversations.members": 7})
            after = one.tenant
            assert (after.io.policy.recall_enabled, after.io.policy.members) == (False, 7)
            assert after.presence is before.presence
            assert after.io.lanes is before.io.lanes
            assert after.hooks is before.hooks
            assert after.outbox is before.outbox
            assert (await one.stored()).settings == {"messages.recall_enabled": False, "conversations.members": 7}

    run(check)


def test_a_setting_that_is_forgotten_is_what_it_was() -> None:
    async def check() -> None:
        async with town("conversations.members=9", messages__unread_cap=3) as one:
            await one.tenants.change(ID, {"messages.unread_cap": None})
            assert one.tenant.io.policy.unread_cap == 0
            assert (await one.stored()).settings == {}

    run(check)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"messages.recall_enabled": False, "messages.unread_cap": -1}, "messages.unread_cap"),
        ({"messages.recal_enabled": False}, "messages.recal_enabled"),
        ({"limits.message_bytes": 9_999}, "limits.message_bytes"),
        ({"hooks.python": "os"}, "hooks.python"),
        ({"conversations.members": 5}, "conversations.members"),  # pinned
        ({"push.hms_app_id": "1"}, "push.hms_app_id"),  # without its secret
        ({"hooks.required": ["all"]}, "hooks.required"),  # without any hooks
    ],
)
def test_what_cannot_be_changes_nothing(changes: dict[str, Any], field: str) -> None:
    async def check() -> None:
        async with town("conversations.members=9") as one:
            before = one.tenant
            with pytest.raises(NotPossible) as refused:
                await one.tenants.change(ID, changes)
            assert refused.value.field == field
            assert one.tenant is before
            assert (await one.stored()).settings == {}

    run(check)


def test_hooks_of_another_address_take_over_and_their_calls_count_on() -> None:
    async def check() -> None:
        async with back_end() as (url, _), town() as one:
            one.tenant.hooks.lines[MessageReceived.hook].count("ok")
            assert not one.tenant.io.hooks.defines(MessageReceived)
            # An address that an operator's file names may be anywhere; one that is stored may not be on this machine.
            await one.tenants.change(ID, {"hooks.url": url})
            assert not one.tenant.io.hooks.defines(MessageReceived)
            assert one.tenant.hooks.lines[MessageReceived.hook].outcomes["ok"] == 1

    run(check)


def test_new_keys_are_shown_to_the_back_end_from_then_on() -> None:
    async def check() -> None:
        async with back_end() as (url, keys), town(f"hooks.url={url}") as one:
            assert one.tenant.io.hooks.defines(MessageReceived)
            assert keys == ["m,master"]
            await one.tenants.renew(replace(one.tenant.application, key="k2", master_key="m2", hook_key="h2"))
            assert one.tenant.application.master_key == "m2"
            assert keys == ["m,master", "m2,master"]

    run(check)


@pytest.mark.parametrize("table", ["hooks", "users"])
def test_what_was_stored_leads_to_public_addresses_only(table: str) -> None:
    async def check() -> None:
        async with back_end() as (url, asked), town() as made:
            await made.tenants.change(ID, {"hooks.url": url} if table == "hooks" else {"users.verify_url": url})
            if made.tenant.users is not None:
                with pytest.raises(Unavailable):
                    await made.tenant.users.verify("token")
            assert asked == []

    asyncio.run(check())


@pytest.mark.parametrize(
    ("stored", "key"),
    [
        ({}, "ours"),
        ({"hooks.url": "https://example.com"}, "h"),
        ({"hooks.url": "https://example.com", "hooks.key": "theirs"}, "theirs"),
        ({"hooks.key": "theirs"}, "theirs"),
    ],
)
def test_the_operators_key_goes_to_the_operators_back_end_only(
    stored: dict[str, str], key: str, tmp_path: Path
) -> None:
    (tmp_path / "fastim.toml").write_text('[hooks]\nurl = "http://127.0.0.1:1"\nkey = "ours"\n')
    loaded = load(tmp_path / "fastim.toml", {}, [])
    settings = loaded.for_application(stored).hooks
    assert hook_key("hooks.url", Application(AppNumber(1), ID, "k", "m", "h", stored), settings, loaded) == key


def test_a_list_of_words_goes_by_the_new_switches() -> None:
    async def check() -> None:
        async with town(words__enabled=True) as one:
            await one.tenant.words.save(b"plum\n")
            assert one.tenant.words.mask(b"PLUM") == b"***"
            await one.tenants.change(ID, {"words.case": False})
            assert one.tenant.words.mask(b"PLUM") == b"PLUM"
            assert one.tenant.words.mask(b"plum") == b"***"

    run(check)


@pytest.mark.parametrize(
    "stored",
    [
        {"push__hms_app_id": "1"},
        {"messages__unread_cap": "many"},
        {"messages__gone_in_this_version": 1},
        {"hooks__required": ["all"]},
    ],
)
def test_a_stored_setting_that_does_not_fit_does_not_keep_the_server_from_starting(stored: dict[str, Any]) -> None:
    async def check() -> None:
        with capture_logs() as logs:
            async with town(conversations__members=7, **stored) as one:
                assert one.tenant.io.policy.members == 7
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] != []

    run(check)


def test_an_address_that_is_stored_is_guarded_even_where_it_is_the_operators_own() -> None:
    async def check() -> None:
        async with back_end() as (url, keys), town() as one:
            operators = of_a_file(url)
            assert operators.is_the_operators("hooks.url", {})
            shared = Shared(operators, one.store, fanout_of(Delivery()), LimitCounters(), Governor(0))
            tenants = Tenants(shared, one.dispatcher)
            await tenants.renew(replace(one.tenant.application, key="k2", master_key="m2", hook_key="h2"))
            assert one.tenant.io.hooks.defines(MessageReceived)
            await tenants.change(ID, {"hooks.url": url})
            assert not one.tenant.io.hooks.defines(MessageReceived)
            assert len(keys) == 1
            await tenants.close()

    run(check)


HOOK = "from fastim.hooks import message_received\n\n\n@message_received\ndef f(message):\n    return None\n"


@pytest.mark.slow
def test_keys_stay_where_hooks_cannot_be_started_anew_to_show_them(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks.py"
    hooks.write_text(HOOK)

    async def check() -> None:
        async with town(f"hooks.python={hooks}") as one:
            before = one.tenant
            hooks.write_text("def (")
            with pytest.raises(NotPossible, match=r"hooks\.python"):
                await one.operators.rotate(ID, "master_key")
            assert one.tenant is before
            assert (await one.stored()).master_key == "m"
            assert before.hooks.defines(MessageReceived)

    run(check)


@pytest.mark.slow
def test_an_application_whose_parts_do_not_work_is_not_served_and_may_be_tried_again(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks.py"
    hooks.write_text(HOOK)

    async def check() -> None:
        async with town(f"hooks.python={hooks}") as one:
            hooks.write_text("def (")
            with pytest.raises(NotPossible, match=r"hooks\.python"):
                await one.operators.create("another-application")
            assert one.operators.tenant("another-application") is None
            hooks.write_text(HOOK)
            made = await one.operators.create("another-application")
            served = one.operators.tenant("another-application")
            assert served is not None
            assert served.application == made

    run(check)


@pytest.mark.parametrize("pinned", ["words.enabled=true", "words.two_enabled=false", "words.file={file}"])
def test_the_server_can_be_tried_whatever_is_pinned(pinned: str, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("casino\nplum\n")

    async def check() -> None:
        async with town(pinned.format(file=tmp_path / "words.txt")) as one:
            ground = await one.trial.open()
            assert await one.trial.open() == ground
            assert "casino" in ground.words
            assert ("jackpot" in ground.words) is not pinned.startswith("words.file")

    run(check)
