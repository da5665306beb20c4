import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from fastim.adapters.push import hms, honor, oppo, vivo, xiaomi
from fastim.adapters.push.hms import Hms
from fastim.adapters.push.honor import Honor
from fastim.adapters.push.http import DEADLINE_SECONDS
from fastim.adapters.push.makers import PhoneMaker, cut
from fastim.adapters.push.oppo import Oppo
from fastim.adapters.push.vivo import Vivo
from fastim.adapters.push.ways import ways
from fastim.adapters.push.xiaomi import Xiaomi
from fastim.core.errors import SettingsError
from fastim.ports.push import Dead, Later, Outcome, Refused, Sent
from fastim.settings import Push
from tests.adapters.push_servers import (
    NOW_SECONDS,
    LocalProvider,
    Reply,
    Request,
    Says,
    Trouble,
    device,
    pushed,
)
from tests.fakes.running import on_asyncio

TOKEN = "IQAAAACy0kYwAADWFzT6d-registration_id"
SECRET_TEXT = "meet me at nine"
SECRETS = {"id": "10012345", "key": "k3yOfTheApp", "secret": "s3cretOfTheApp"}


def now() -> float:
    return NOW_SECONDS


def form_of(request: Request) -> dict[str, str]:
    return {key: value for key, (value,) in parse_qs(request.body.decode(), strict_parsing=True).items()}


@dataclass(frozen=True)
class Case:
    """One maker.

    Attributes:
        vendors: Spellings that are carried.
        token_path: Where access tokens are asked for, or empty.
        gives: Its answer there.
        taken: Its answer to a notification, and what is made of it.
        dead: Codes, or whole answers, for a token that is not valid.
        refused: And for a notification.
        busy: And for coming back later.
        quota: And for a day that is over; empty: there is no such thing.
        turned_down: And for an access token that is not valid; empty: there is none.
        keys: And for keys that are wrong.
        settings: What it takes, and what it cannot do without.
    """

    name: str
    vendors: tuple[str, ...]
    make: Callable[[str], PhoneMaker]
    send_path: str
    taken: Says
    taken_id: str
    says: Callable[[str], Says]
    dead: tuple[str | Says, ...]
    refused: tuple[str, ...]
    busy: tuple[str, ...]
    keys: tuple[str | Says, ...]
    settings: Mapping[str, str]
    quota: tuple[str | Says, ...] = ()
    turned_down: tuple[str, ...] = ()
    token_path: str = ""
    gives: Callable[[str], Any] = lambda text: {"access_token": text, "expires_in": 3_600, "token_type": "Bearer"}
    no_keys: tuple[Says, ...] = ()

    def answer(self, what: str | Says) -> Says:
        return what if isinstance(what, Says) else self.says(what)


CASES = (
    Case(
        name="hms",
        vendors=("HMS", "hms", "huawei", "HUAWEI"),
        make=lambda url: Hms(SECRETS["id"], SECRETS["secret"], url, now=now),
        token_path="/oauth2/v3/token",
        send_path=f"/v1/{SECRETS['id']}/messages:send",
        taken=Says(200, {"code": "80000000", "msg": "Success", "requestId": "157000006"}),
        taken_id="157000006",
        says=lambda code: Says(200, {"code": code, "msg": f"about {TOKEN}", "requestId": "1"}),
        dead=(
            "80300007",
            Says(400, {"code": "80300007", "msg": "All the tokens are invalid"}),
            Says(200, {"code": "80100000", "msg": json.dumps({"success": 0, "failure": 1, "illegal_tokens": [TOKEN]})}),
        ),
        refused=("80100001", "80100003", "80300008", "80300028", "80100016", "89999999"),
        busy=("81000001",),
        turned_down=("80200001", "80200003"),
        keys=("80600003",),
        no_keys=(
            Says(400, {"error": 1101, "sub_error": 20304, "error_description": f"invalid {SECRETS['secret']}"}),
            Says(401, {"error": "invalid_client"}),
        ),
        settings={"hms_app_id": SECRETS["id"], "hms_app_secret": SECRETS["secret"]},
    ),
    Case(
        name="xiaomi",
        vendors=("mi", "MI", "xiaomi", "Xiaomi"),
        make=lambda url: Xiaomi(SECRETS["secret"], "org.example.app", "high_1", url, now=now),
        send_path="/v3/message/regid",
        taken=Says(200, {"result": "ok", "trace_id": "X1", "code": 0, "data": {"id": "slm001"}, "description": "成功"}),
        taken_id="slm001",
        says=lambda code: Says(200, {"result": "error", "code": int(code), "reason": f"about {TOKEN}"}),
        dead=(
            Says(200, {"result": "error", "code": 20301, "reason": "No valid targets!", "description": "发送消息失败"}),
            Says(200, {"result": "error", "code": 20301, "reason": "Invalid registration id"}),
            "10029",
        ),
        refused=("10017", "20301", "10018", "99999"),
        busy=("10002", "10009", "10022", "10027"),
        quota=(
            Says(200, {"result": "error", "code": 200001, "reason": "the daily quota is used up"}),
            Says(200, {"result": "error", "code": 20301, "description": "超过每日推送数量"}),
        ),
        keys=("21301", "22022", "10026", Says(401, b"<html>unauthorized")),
        settings={"xiaomi_app_secret": SECRETS["secret"], "xiaomi_package": "org.example.app"},
    ),
    Case(
        name="oppo",
        vendors=("oppo", "OPPO"),
        make=lambda url: Oppo(SECRETS["key"], SECRETS["secret"], "OPPO PUSH", url, now=now),
        token_path="/server/v1/auth",
        gives=lambda text: {"code": 0, "message": "success", "data": {"auth_token": text, "create_time": 1}},
        send_path="/server/v1/message/notification/unicast",
        taken=Says(200, {"code": 0, "message": "success", "data": {"messageId": "5b0f6b4e"}}),
        taken_id="5b0f6b4e",
        says=lambda code: Says(200, {"code": int(code), "message": f"about {TOKEN}"}),
        dead=("10000",),
        refused=("41", "40", "10007"),
        busy=("-1", "-2", "13", "55"),
        quota=("33",),
        turned_down=("11", "29"),
        keys=("14", "26", "28", "30"),
        no_keys=(Says(200, {"code": 16, "message": f"Invalid {SECRETS['secret']}"}), Says(200, {"code": 14})),
        settings={"oppo_app_key": SECRETS["key"], "oppo_master_secret": SECRETS["secret"]},
    ),
    Case(
        name="vivo",
        vendors=("vivo", "VIVO"),
        make=lambda url: Vivo(SECRETS["id"], SECRETS["key"], SECRETS["secret"], url, now=now),
        token_path="/message/auth",
        gives=lambda text: {"result": 0, "desc": "请求成功", "authToken": text},
        send_path="/message/send",
        taken=Says(200, {"result": 0, "desc": "请求成功", "taskId": "342982232646209536"}),
        taken_id="342982232646209536",
        says=lambda code: Says(200, {"result": int(code), "desc": f"about {TOKEN}"}),
        dead=(
            "10302",
            Says(200, {"result": 0, "desc": "请求成功", "taskId": "1", "invalidUser": {"status": 1, "userid": TOKEN}}),
        ),
        refused=("10055", "10104"),
        busy=("10040", "10072"),
        quota=("10070", "10073"),
        turned_down=("10000",),
        keys=("10094",),
        no_keys=(Says(200, {"result": 10203, "desc": f"sign {SECRETS['secret']}"}),),
        settings={
            "vivo_app_id": SECRETS["id"], "vivo_app_key": SECRETS["key"], "vivo_app_secret": SECRETS["secret"],
        },
    ),
    Case(
        name="honor",
        vendors=("honor", "HONOR"),
        make=lambda url: Honor(SECRETS["id"], SECRETS["key"], SECRETS["secret"], url, now=now),
        token_path="/auth/token",
        send_path=f"/api/v1/{SECRETS['id']}/sendMessage",
        taken=Says(200, {"code": 200, "message": "Success", "data": {"sendResult": True, "requestId": "104410638-f"}}),
        taken_id="104410638-f",
        says=lambda code: Says(200, {"code": int(code), "message": f"about {TOKEN}"}),
        dead=(
            "80300007",
            Says(200, {"code": 200, "data": {"sendResult": False, "expireTokens": [TOKEN], "failTokens": []}}),
        ),
        refused=("80100003", "80300008"),
        busy=("81000001",),
        turned_down=("80200001", "80200003"),
        keys=("80600003",),
        no_keys=(Says(401, {"error": "unauthorized_client", "error_description": f"Invalid {SECRETS['secret']}"}),),
        settings={
            "honor_app_id": SECRETS["id"], "honor_client_id": SECRETS["key"],
            "honor_client_secret": SECRETS["secret"],
        },
    ),
)  # fmt: skip
WITH_TOKENS = tuple(case for case in CASES if case.token_path)


def each(cases: tuple[Case, ...] = CASES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def each_answer(which: Callable[[Case], tuple[str | Says, ...]]) -> pytest.MarkDecorator:
    rows = [
        pytest.param(case, what, id=f"{case.name}-{what if isinstance(what, str) else number}")
        for case in CASES
        for number, what in enumerate(which(case))
    ]
    return pytest.mark.parametrize(("case", "what"), rows)


@dataclass
class House:
    case: Case
    provider: PhoneMaker
    maker: LocalProvider

    async def push(self, data: Any = None, token: str = TOKEN, **others: Any) -> Outcome:
        told = {"alert": SECRET_TEXT} if data is None else data
        phone = device("android", vendor=self.case.vendors[0], registration_id=token)
        return await self.provider.send(pushed(told, **others), [phone])

    async def sent_with(self, data: Any, **others: Any) -> Request:
        assert isinstance(await self.push(data, **others), Sent)
        return self.sent[-1]

    @property
    def sent(self) -> list[Request]:
        return self.maker.asked_at(self.case.send_path)

    @property
    def asked_for_tokens(self) -> list[Request]:
        return self.maker.asked_at(self.case.token_path) if self.case.token_path else []


@asynccontextmanager
async def house(case: Case, *replies: Reply, token: Reply | None = None) -> AsyncIterator[House]:
    """The maker's access tokens are called ``access1``, ``access2``, ..., unless ``token`` says something else."""
    async with LocalProvider() as maker:

        def give(_: Request) -> Says:
            return Says(200, case.gives(f"access{len(maker.asked_at(case.token_path))}"))

        if case.token_path:
            maker.answers(token or give, path=case.token_path)
        maker.answers(*(replies or (case.taken,)), path=case.send_path)
        provider = case.make(maker.url)
        try:
            yield House(case, provider, maker)
        finally:
            await provider.close()


def the(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


# --- What is sent -----------------------------------------------------------------------------------------------------

FULL = {"alert": "Hi", "title": "T", "action": "org.example.OPEN", "id": 7, "more": {"a": [1]}}
AS_TEXTS = {"alert": "Hi", "title": "T", "action": "org.example.OPEN", "id": "7", "more": '{"a":[1]}'}


@on_asyncio
async def test_huawei_gets_what_it_wants() -> None:
    async with house(the("hms")) as at:
        sent = await at.sent_with(FULL)
    (asked,) = at.asked_for_tokens
    assert form_of(asked) == {
        "grant_type": "client_credentials", "client_id": SECRETS["id"], "client_secret": SECRETS["secret"],
    }  # fmt: skip
    assert sent.headers["authorization"] == "Bearer access1"
    told = sent.json()
    assert json.loads(told["message"].pop("data")) == AS_TEXTS
    assert told == {
        "validate_only": False,
        "message": {
            "notification": {"title": "T", "body": "Hi"},
            "android": {"ttl": "3600s", "notification": {"title": "T", "body": "Hi", "click_action": {"type": 3}}},
            "token": [TOKEN],
        },
    }


@on_asyncio
async def test_honor_gets_what_it_wants() -> None:
    async with house(the("honor")) as at:
        sent = await at.sent_with(FULL)
    (asked,) = at.asked_for_tokens
    assert form_of(asked) == {
        "grant_type": "client_credentials", "client_id": SECRETS["key"], "client_secret": SECRETS["secret"],
    }  # fmt: skip
    assert sent.headers["authorization"] == "Bearer access1"
    assert sent.headers["timestamp"] == str(NOW_SECONDS * 1_000)
    told = sent.json()
    assert json.loads(told.pop("data")) == AS_TEXTS
    assert told == {
        "notification": {"title": "T", "body": "Hi"},
        "android": {
            "ttl": "3600s",
            "notification": {"title": "T", "body": "Hi", "clickAction": {"type": 3}, "importance": "NORMAL"},
        },
        "token": [TOKEN],
    }


@on_asyncio
async def test_xiaomi_gets_what_it_wants() -> None:
    async with house(the("xiaomi")) as at:
        sent = await at.sent_with(FULL)
    assert sent.headers["authorization"] == f"key={SECRETS['secret']}"
    form = form_of(sent)
    assert json.loads(form.pop("payload")) == FULL
    assert form == {
        "registration_id": TOKEN,
        "restricted_package_name": "org.example.app",
        "title": "T",
        "description": "Hi",
        "pass_through": "0",
        "notify_type": "-1",
        "time_to_live": "3600000",
        "extra.channel_id": "high_1",
        "extra.notify_effect": "1",
    }


@on_asyncio
async def test_oppo_gets_what_it_wants() -> None:
    async with house(the("oppo")) as at:
        sent = await at.sent_with(FULL)
        again = await at.sent_with(FULL)
        other = await at.sent_with(FULL, message_id="m2")
    (asked,) = at.asked_for_tokens
    moment = str(NOW_SECONDS * 1_000)
    sign = hashlib.sha256(f"{SECRETS['key']}{moment}{SECRETS['secret']}".encode()).hexdigest()
    assert form_of(asked) == {"app_key": SECRETS["key"], "timestamp": moment, "sign": sign}
    form = form_of(sent)
    assert form["auth_token"] == "access1"
    told = json.loads(form["message"])
    name = told["notification"].pop("app_message_id")
    assert json.loads(told["notification"].pop("action_parameters")) == AS_TEXTS
    assert told == {
        "target_type": 2,
        "target_value": TOKEN,
        "notification": {
            "style": 1, "title": "T", "content": "Hi", "click_action_type": 0, "off_line": True, "off_line_ttl": 3_600,
            "channel_id": "OPPO PUSH",
        },
    }  # fmt: skip
    assert json.loads(form_of(again)["message"])["notification"]["app_message_id"] == name
    assert json.loads(form_of(other)["message"])["notification"]["app_message_id"] != name


@on_asyncio
async def test_vivo_gets_what_it_wants() -> None:
    async with house(the("vivo")) as at:
        sent = await at.sent_with(FULL)
    (asked,) = at.asked_for_tokens
    moment = NOW_SECONDS * 1_000
    signed = f"{SECRETS['id']}{SECRETS['key']}{moment}{SECRETS['secret']}".encode()
    assert asked.json() == {
        "appId": int(SECRETS["id"]), "appKey": SECRETS["key"], "timestamp": moment,
        "sign": hashlib.md5(signed, usedforsecurity=False).hexdigest(),
    }  # fmt: skip
    assert sent.headers["authtoken"] == "access1"
    told = sent.json()
    assert 0 < len(told.pop("requestId")) <= 64
    assert told == {
        "appId": int(SECRETS["id"]), "regId": TOKEN, "notifyType": 4, "title": "T", "content": "Hi",
        "timeToLive": 3_600, "skipType": 1, "networkType": -1, "classification": 1, "category": "IM",
        "clientCustomMap": {"action": "org.example.OPEN", "id": "7", "more": '{"a":[1]}'},
    }  # fmt: skip


def shown(case: Case, request: Request) -> tuple[str, str]:
    """Title and text, as the maker is told them."""
    match case.name:
        case "hms":
            found = request.json()["message"]["android"]["notification"]
        case "honor":
            found = request.json()["android"]["notification"]
        case "xiaomi":
            found = form_of(request)
        case "oppo":
            found = json.loads(form_of(request)["message"])["notification"]
        case _:
            found = request.json()
    text = next(found[key] for key in ("body", "description", "content") if key in found)
    return found["title"], text


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ({"alert": {"title": "T", "body": "Hi"}}, ("T", "Hi")),
        ({"alert": "Hi"}, ("Hi", "Hi")),
        ({"title": "T"}, ("T", "T")),
        ({"title": " ", "alert": " Hi "}, ("Hi", "Hi")),
    ],
)
@each()
@on_asyncio
async def test_both_lines_are_always_there(case: Case, data: Any, lines: tuple[str, str]) -> None:
    async with house(case) as at:
        assert shown(case, await at.sent_with(data)) == lines


@pytest.mark.parametrize("data", [{"alert": "Hi", "silent": True, "id": 7}, {"id": 7}, {"alert": {"loc-key": "NEW"}}])
@each()
@on_asyncio
async def test_what_the_app_is_to_show_itself_is_data_or_refused(case: Case, data: Any) -> None:
    async with house(case) as at:
        outcome = await at.push(data)
        if case.name in ("oppo", "vivo"):
            assert isinstance(outcome, Refused)
            assert "shows notifications only" in outcome.says
            assert at.sent == []
            return
        assert outcome == Sent(case.taken_id)
        (sent,) = at.sent
    if case.name == "xiaomi":
        form = form_of(sent)
        assert (form["pass_through"], json.loads(form["payload"])) == ("1", data)
        assert "title" not in form
    else:
        message = sent.json()["message"] if case.name == "hms" else sent.json()
        assert json.loads(message["data"]) == data
        assert "notification" not in message
        assert "notification" not in message["android"]


@pytest.mark.parametrize(("name", "widths"), [("xiaomi", (49, 127)), ("oppo", (50, 128)), ("vivo", (21, 51))])
@on_asyncio
async def test_lines_are_cut_to_what_a_maker_takes(name: str, widths: tuple[int, int]) -> None:
    async with house(the(name)) as at:
        title, text = shown(at.case, await at.sent_with({"title": "汉" * 300, "alert": "字" * 300}))
    assert title.endswith("...")
    assert text.endswith("...")
    assert (len(title), len(text)) == widths


@given(st.text(), st.integers(3, 60), st.sampled_from((1, 2)))
def test_what_is_cut_fits(text: str, most: int, wide: int) -> None:
    left = cut(text, most, wide=wide)
    assert sum(1 if character.isascii() else wide for character in left) <= most
    assert left == text or text.startswith(left[:-3].rstrip())


@on_asyncio
async def test_times_to_live_are_within_what_makers_take() -> None:
    long_ago, far_ahead = (NOW_SECONDS - 5) * 1_000, (NOW_SECONDS + 10**8) * 1_000
    for name, least, most in (
        ("hms", "1s", "1296000s"), ("honor", "1s", "1296000s"), ("xiaomi", "1000", "1209600000"),
        ("oppo", 3_600, 864_000), ("vivo", 900, 604_800),
    ):  # fmt: skip
        for expires_at, expected in ((long_ago, least), (far_ahead, most)):
            async with house(the(name)) as at:
                sent = await at.sent_with({"alert": "Hi"}, expires_at=expires_at)
            match name:
                case "hms":
                    found = sent.json()["message"]["android"]["ttl"]
                case "honor":
                    found = sent.json()["android"]["ttl"]
                case "xiaomi":
                    found = form_of(sent)["time_to_live"]
                case "oppo":
                    found = json.loads(form_of(sent)["message"])["notification"]["off_line_ttl"]
                case _:
                    found = sent.json()["timeToLive"]
            assert found == expected


@pytest.mark.parametrize("data", ["", "[1]", "{", '{"a": "\\ud800"}'])
@each()
@on_asyncio
async def test_what_is_no_object_is_not_sent(case: Case, data: str) -> None:
    async with house(case) as at:
        assert await at.push(data) == Refused("what is pushed is not a JSON object")
        assert at.maker.asked == []


@pytest.mark.parametrize("token", ["one,two", "one;two", "with space", "x" * 5_000, "ü"])
@each()
@on_asyncio
async def test_a_token_that_would_be_several_is_none(case: Case, token: str) -> None:
    async with house(case) as at:
        assert await at.push(token=token) == Dead("not a registration id")
        assert at.maker.asked == []


# --- Whose devices ----------------------------------------------------------------------------------------------------


@each()
def test_each_maker_carries_its_own_phones(case: Case) -> None:
    provider = case.make("")
    for vendor in case.vendors:
        assert provider.carries(device("android", vendor=vendor, registration_id=TOKEN))
        assert provider.carries(device("android", TOKEN, vendor=vendor))
        assert not provider.carries(device("android", vendor=vendor))
        assert not provider.carries(device("android", "1f0e", installation_id="1f0e", vendor=vendor))
        assert not provider.carries(device("ios", TOKEN, vendor=vendor))
    others = {vendor for other in CASES if other is not case for vendor in other.vendors} | {"", "fcm", "meizu"}
    for vendor in others:
        assert not provider.carries(device("android", TOKEN, vendor=vendor))


# --- What is answered -------------------------------------------------------------------------------------------------


@each()
@on_asyncio
async def test_what_is_taken_is_sent(case: Case) -> None:
    async with house(case) as at:
        assert await at.push() == Sent(case.taken_id)
        assert len(at.sent) == 1


@each_answer(lambda case: case.dead)
@on_asyncio
async def test_a_token_that_is_not_valid_is_dead(case: Case, what: str | Says) -> None:
    async with house(case, case.answer(what)) as at:
        outcome = await at.push()
    assert isinstance(outcome, Dead)
    assert TOKEN not in outcome.says


@each_answer(lambda case: case.refused)
@on_asyncio
async def test_what_would_never_be_taken_is_refused(case: Case, what: str | Says) -> None:
    async with house(case, case.answer(what)) as at:
        outcome = await at.push()
    assert isinstance(outcome, Refused)
    assert outcome.says.startswith(f"{what}: ")


@each_answer(lambda case: case.busy)
@on_asyncio
async def test_a_maker_that_is_busy_is_left_alone_as_long_as_it_says(case: Case, what: str | Says) -> None:
    answer = case.answer(what)
    async with house(case, replace(answer, headers={"Retry-After": "30"}), answer) as at:
        first, second = await at.push(), await at.push()
    assert isinstance(first, Later)
    assert isinstance(second, Later)
    assert (first.after_seconds, second.after_seconds) == (30.0, None)
    assert first.whole
    assert first.says.startswith(f"{what}: ")


@each_answer(lambda case: case.quota)
@on_asyncio
async def test_when_a_days_quota_is_used_up_it_goes_on_the_next_day(case: Case, what: str | Says) -> None:
    async with house(case, case.answer(what)) as at:
        outcome = await at.push()
    assert isinstance(outcome, Later)
    assert outcome.after_seconds == 64_000
    assert outcome.whole
    assert "quota" in outcome.says


@each_answer(lambda case: case.keys)
@on_asyncio
async def test_keys_that_are_not_taken_are_said_once_until_they_are(case: Case, what: str | Says) -> None:
    wrong = case.answer(what)
    async with house(case, wrong, wrong, case.taken, wrong) as at:
        with capture_logs() as logs:
            for _ in range(2):
                outcome = await at.push()
                assert isinstance(outcome, Later)
                assert outcome.whole
            assert [entry["provider"] for entry in logs] == [case.name]
            assert await at.push() == Sent(case.taken_id)
            await at.push()
    assert [entry["event"] for entry in logs] == ["a phone maker does not take the keys for push"] * 2


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Says(200, b"garbage"), Later("the answer makes no sense")),
        (Says(200, b"[]"), Later("the answer makes no sense")),
        (Says(200, {"code": [1], "result": {}}), Later("the answer makes no sense")),
        (Says(429, b"slow down", {"Retry-After": "30"}), Later("429", 30.0)),
        (Says(500, b"Internet server error!"), Later("500")),
        (Says(502, b"<html>bad gateway"), Later("502")),
        (Says(503, b"", {"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT"}), Later("503", 60.0)),
        (Says(404, b"<html>"), Later("404")),
        (Says(302, b"", {"Location": "/elsewhere"}), Later("302")),
        (Trouble.RESET, Later("the connection was cut")),
        (Trouble.RESET_IN_ANSWER, Later("the connection was cut")),
        (Trouble.GARBAGE, Later("the answer is not HTTP")),
        (Trouble.ENDLESS, Later("the answer is too long")),
    ],
)
@each()
@on_asyncio
async def test_what_is_not_the_makers_own_answer_passes(case: Case, answer: Says | Trouble, outcome: Outcome) -> None:
    async with house(case, answer) as at:
        assert await at.push() == outcome
        at.maker.answers(case.taken, path=case.send_path)
        assert await at.push() == Sent(case.taken_id)


@pytest.mark.parametrize("trouble", [Trouble.STALL, Trouble.DRIP])
@each()
@on_asyncio
async def test_what_does_not_answer_is_not_waited_for(case: Case, trouble: Trouble) -> None:
    async with house(case, trouble) as at:
        begun = asyncio.get_running_loop().time()
        assert await at.push() == Later("no answer in time")
        assert asyncio.get_running_loop().time() - begun == pytest.approx(DEADLINE_SECONDS, abs=0.1)


@each()
@on_asyncio
async def test_nobody_need_be_there(case: Case) -> None:
    async with LocalProvider() as maker:
        provider = case.make(maker.url)
    assert await provider.send(pushed({"alert": "Hi"}), [device("android", TOKEN)]) == Later("no connection")
    await provider.close()


@on_asyncio
async def test_answers_that_only_one_maker_gives() -> None:
    async with house(the("hms"), Says(200, {"code": "80100000", "msg": "{}", "requestId": "7"})) as at:
        assert await at.push() == Sent("7")
    async with house(the("hms"), the("hms").says("80300002")) as at:
        outcome = await at.push()
        assert isinstance(outcome, Later)
        assert not outcome.whole
    async with house(
        the("honor"), Says(200, {"code": 200, "data": {"sendResult": False, "failTokens": [TOKEN]}})
    ) as at:
        assert await at.push() == Refused("200: it was not sent, and no reason is given")
    invalid = {"result": 0, "invalidUser": {"status": 2, "userid": TOKEN}}
    async with house(the("vivo"), Says(200, invalid)) as at:
        assert isinstance(await at.push(), Refused)
    async with house(the("vivo"), the("vivo").says("10071")) as at:
        outcome = await at.push()
        assert isinstance(outcome, Later)
        assert not outcome.whole


# --- Access tokens ----------------------------------------------------------------------------------------------------


@each(WITH_TOKENS)
@on_asyncio
async def test_one_token_is_asked_for_however_many_wait_for_it(case: Case) -> None:
    async with house(case) as at:
        outcomes = await asyncio.gather(*(at.push() for _ in range(20)))
        assert {type(outcome) for outcome in outcomes} == {Sent}
        assert len(at.asked_for_tokens) == 1


def shows(request: Request, access_token: str) -> bool:
    return access_token in f"{request.headers} {request.body!r}"


@each_answer(lambda case: (*case.turned_down, *((Says(401, b""),) if case.turned_down else ())))
@on_asyncio
async def test_a_token_that_is_turned_down_is_replaced_once(case: Case, what: str | Says) -> None:
    turned_down = case.answer(what)
    async with house(case, turned_down, case.taken) as at:
        assert await at.push() == Sent(case.taken_id)
        first, second = at.sent
        assert shows(first, "access1")
        assert shows(second, "access2")
        at.maker.answers(turned_down, path=case.send_path)
        with capture_logs() as logs:
            for _ in range(2):
                assert isinstance(await at.push(), Later)
        assert len(at.sent) == 6
    assert len(logs) == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Says(503, b"busy", {"Retry-After": "9"}), Later("no access token: 503", 9.0)),
        (Says(200, b"garbage"), Later("no access token: the answer holds none")),
        (Says(302, b"", {"Location": "/elsewhere"}), Later("no access token: 302")),
        (Trouble.RESET, Later("the connection was cut")),
        (Trouble.GARBAGE, Later("the answer is not HTTP")),
        (Trouble.STALL, Later("no answer in time")),
    ],
)
@each(WITH_TOKENS)
@on_asyncio
async def test_without_a_token_nothing_is_sent_and_all_share_the_failure(
    case: Case, answer: Says | Trouble, outcome: Outcome
) -> None:
    async with house(case, token=answer) as at:
        assert await asyncio.gather(*(at.push() for _ in range(5))) == [outcome] * 5
        assert len(at.maker.asked) == 1
        at.maker.answers(Says(200, case.gives("a")), path=case.token_path)
        assert await at.push() == Sent(case.taken_id)


@each(WITH_TOKENS)
@on_asyncio
async def test_a_token_that_fits_into_no_header_is_none(case: Case) -> None:
    async with house(case, token=Says(200, case.gives("a\r\nb"))) as at:
        assert await at.push() == Later("no access token: it is not one")


@each_answer(lambda case: case.no_keys)
@on_asyncio
async def test_keys_that_open_nothing_are_said_once(case: Case, what: Says) -> None:
    async with house(case, token=what) as at:
        with capture_logs() as logs:
            for _ in range(2):
                outcome = await at.push()
                assert isinstance(outcome, Later)
                assert outcome.says.startswith("no access token: ")
        assert at.sent == []
    assert [entry["provider"] for entry in logs] == [case.name]


@each(WITH_TOKENS)
@on_asyncio
async def test_closing_fails_what_waits_for_a_token(case: Case) -> None:
    async with house(case) as at:
        asked = asyncio.Event()

        def answer(_: Request) -> Trouble:
            asked.set()
            return Trouble.STALL

        at.maker.answers(answer, path=case.token_path)
        pushing = asyncio.create_task(at.push())
        await asked.wait()
        await at.provider.close()
        assert await pushing == Later("closed")
        assert await at.push() == Later("closed")


# --- What is not told -------------------------------------------------------------------------------------------------


@each()
@on_asyncio
async def test_no_secret_is_said_or_logged(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    everything = " ".join((TOKEN, SECRET_TEXT, "access1", *SECRETS.values()))
    repeated = {
        "code": everything, "msg": everything, "message": everything, "result": everything, "desc": everything,
        "reason": everything, "error": everything, "error_description": everything, "requestId": everything,
        "data": {"id": everything, "messageId": everything, "requestId": everything}, "taskId": everything,
    }  # fmt: skip
    taken = case.taken.body | {
        key: repeated[key]
        for key in ("requestId", "data", "taskId", "msg", "message", "desc")
        if key in case.taken.body
    }
    replies: tuple[Reply, ...] = (
        Says(200, repeated), Says(400, repeated), Says(401, repeated), Says(500, repeated), Says(200, taken),
        *(case.answer(what) for what in (*case.dead, *case.refused, *case.busy, *case.keys, *case.quota)),
        *case.no_keys, Trouble.GARBAGE, Trouble.RESET, Trouble.STALL, Trouble.ENDLESS,
    )  # fmt: skip
    for path in (case.token_path, case.send_path):
        for reply in replies if path else ():
            async with house(case) as at:
                at.maker.answers(reply, path=path)
                with capture_logs() as logs:
                    told = f"{await at.push()} {logs} {caplog.text}"
                for secret in (TOKEN, SECRET_TEXT, "access1", *SECRETS.values()):
                    assert secret not in told


# --- Setting up -------------------------------------------------------------------------------------------------------

PROVIDERS = {"hms": hms, "honor": honor, "xiaomi": xiaomi, "oppo": oppo, "vivo": vivo}


@each()
def test_a_maker_is_used_when_all_its_keys_are_there(case: Case) -> None:
    make: Callable[[Push], PhoneMaker | None] = PROVIDERS[case.name].provider
    assert make(Push()) is None
    made = make(Push(**case.settings))  # type: ignore[arg-type]
    assert made is not None
    assert made.name == case.name
    assert [way.name for way in ways(Push(**case.settings))] == [case.name]  # type: ignore[arg-type]
    first, *others = case.settings
    for missing in others:
        with pytest.raises(SettingsError) as caught:
            make(Push(**{**case.settings, missing: ""}))  # type: ignore[arg-type]
        assert str(caught.value) == f"push.{missing}: it goes with push.{first}, and is empty"


def test_without_keys_there_are_no_ways() -> None:
    assert ways(Push()) == []
