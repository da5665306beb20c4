"""Installations, as devices save them and the application's servers find them. Source: REST reference."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from fastim.core.session import Config
from fastim.settings import Rest
from fastim.wire import messages2_pb2 as pb
from tests.doors.office import KEY, MASTER, UNAUTHORIZED, Json, Office, office

pytestmark = pytest.mark.anyio

INSTALLATIONS, TABLE = "/1.1/installations", "/1.1/classes/_Installation"
IPHONE = {"deviceType": "ios", "deviceToken": "a1b2", "apnsTeamId": "TEAM", "apnsTopic": "com.example"}
ANDROID = {"deviceType": "android", "installationId": "i1", "timeZone": "Asia/Shanghai"}
NOT_FOUND = (404, {"code": 101, "error": "Object not found."})


async def device(rest: Office, method: str, target: str, body: Json = None) -> Json:
    """What a device is answered, which has no other key than all of them."""
    return await rest.call(method, target, body, KEY)


async def registered(rest: Office, columns: dict[str, Any], table: str = INSTALLATIONS) -> str:
    """The path of a device that has registered."""
    return f"{table}/{(await device(rest, 'POST', table, columns))['objectId']}"


def condition(where: str) -> str:
    return f"where={quote(where)}"


@pytest.mark.parametrize("table", [INSTALLATIONS, TABLE])
async def test_a_device_registers_reads_and_changes_itself(table: str) -> None:
    async with office() as rest:
        columns = {**IPHONE, "channels": ["public"], "seats": {"row": 5}}
        created = await device(rest, "POST", table, columns)
        assert created.keys() == {"objectId", "createdAt"}
        path = f"{table}/{created['objectId']}"
        times = {"createdAt": created["createdAt"], "updatedAt": created["createdAt"]}
        expected = {**columns, **times, "objectId": created["objectId"], "valid": True}
        assert await device(rest, "GET", path) == expected
        rest.node.clock.step(1000)
        change = {"badge": 3, "channels": {"__op": "AddUnique", "objects": ["tom"]}, "seats": {"__op": "Delete"}}
        changed = await device(rest, "PUT", path, change)
        assert changed.keys() == {"objectId", "updatedAt"}
        assert changed["updatedAt"] > created["createdAt"]
        expected |= {"badge": 3, "channels": ["public", "tom"], "updatedAt": changed["updatedAt"]}
        del expected["seats"]
        assert await device(rest, "GET", path) == expected
        other_path = f"{TABLE if table == INSTALLATIONS else INSTALLATIONS}/{created['objectId']}"
        assert await device(rest, "GET", other_path) == expected


async def test_what_is_new_is_answered_with_its_place_and_what_is_known_is_not() -> None:
    async with office() as rest:
        body = b'{"deviceType": "ios", "deviceToken": "a1b2"}'
        status, created = await rest.ask(INSTALLATIONS, *KEY, body=body)
        assert (status, rest.header["location"]) == (201, f"{INSTALLATIONS}/{created['objectId']}")
        status, known = await rest.ask(TABLE, *KEY, body=body)
        assert (status, known.keys()) == (200, {"objectId", "createdAt", "updatedAt"})
        assert known["objectId"] == created["objectId"]
        assert "location" not in rest.header


async def test_java_saves_everything_each_time_and_is_answered_with_everything() -> None:
    """Source: its ``LCInstallation``, which keeps what it was answered and sends it all back."""
    async with office() as rest:
        local = {**ANDROID, "vendor": "fcm", "registrationId": "r1"}
        local |= await device(rest, "POST", f"{INSTALLATIONS}?fetchWhenSave=true", local)
        path = f"{INSTALLATIONS}/{local['objectId']}"
        assert local == await device(rest, "GET", path)
        sent = {key: value for key, value in local.items() if key not in ("objectId", "createdAt", "updatedAt")}
        rest.node.clock.step(1000)
        answer = await device(rest, "PUT", f"{path}?fetchWhenSave=true", {**sent, "registrationId": "r2"})
        assert answer == {**local, "registrationId": "r2", "updatedAt": answer["updatedAt"]}


async def test_java_goes_on_with_an_id_that_another_server_gave_it() -> None:
    async with office() as rest:
        path = f"{INSTALLATIONS}/51ff1808e4b074ac5c34d7fd"
        assert await rest.ask(path, *KEY, method="PUT", body=b'{"badge": 0}') == NOT_FOUND
        await device(rest, "PUT", f"{path}?fetchWhenSave=true", ANDROID)
        assert (await device(rest, "GET", path))["installationId"] == "i1"


async def test_ios_registers_by_a_batch_of_one() -> None:
    """Source: Swift's ``LCInstallation``, and the one of Objective-C: everything each time, to one path."""
    async with office() as rest:
        body: dict[str, Any] = {**IPHONE, "channels": ["tom"], "__internalId": "6F9619FF"}
        request = {"method": "POST", "path": INSTALLATIONS, "body": body}
        answer = await device(rest, "POST", "/1.1/batch/save", {"requests": [request]})
        assert answer.keys() == {"6F9619FF"}
        assert answer["6F9619FF"].keys() == {"objectId", "createdAt"}
        id_ = answer["6F9619FF"]["objectId"]
        body |= {"objectId": id_, "__internalId": id_, "badge": 0, "channels": ["tom", "news"]}
        again = await device(rest, "POST", "/1.1/batch/save", {"requests": [request]})
        assert again.keys() == {id_}
        assert again[id_].keys() == {"objectId", "createdAt", "updatedAt"}
        fetch = {"method": "GET", "path": f"{INSTALLATIONS}/{id_}", "body": {}}
        (fetched,) = await device(rest, "POST", "/1.1/batch", {"requests": [fetch]})
        assert fetched["success"] == await device(rest, "GET", f"{INSTALLATIONS}/{id_}")
        assert fetched["success"]["channels"] == ["tom", "news"]


async def test_a_batch_of_savings_ends_with_the_first_that_fails() -> None:
    async with office() as rest:
        right = [{"method": "POST", "path": TABLE, "body": {**IPHONE, "deviceToken": name}} for name in ("t1", "t2")]
        wrong = {"method": "POST", "path": TABLE, "body": {"deviceType": "ios"}}
        answer = await rest.ask("/1.1/batch/save", *KEY, body=_json({"requests": [right[0], wrong, right[1]]}))
        assert answer == (400, {"code": 135, "error": "an installation needs a deviceToken or an installationId"})
        assert [row["deviceToken"] for row in (await rest.get(TABLE))["results"]] == ["t1"]
        nowhere = {"method": "POST", "path": "/1.1/classes/_User", "body": {}}
        assert await rest.refusal("POST", "/1.1/batch/save", {"requests": [nowhere]}) == (404, 404)


async def test_rows_of_both_tables_are_saved_together() -> None:
    async with office() as rest:
        requests = [
            {"method": "POST", "path": "/1.1/classes/_Conversation", "body": {"name": "x", "__internalId": "a"}},
            {"method": "POST", "path": INSTALLATIONS, "body": IPHONE},
        ]
        answer = await rest.post("/1.1/batch/save", requests=requests)
        (installation,) = (await rest.get(INSTALLATIONS))["results"]
        assert answer.keys() == {"a", installation["objectId"]}
        assert (await rest.get(f"/1.1/classes/_Conversation/{answer['a']['objectId']}"))["name"] == "x"


@pytest.mark.parametrize("batch", ["/1.1/batch", "/1.1/batch/save"])
async def test_a_batch_is_refused_whole_to_who_may_not_do_all_of_it(batch: str) -> None:
    async with office() as rest:
        path = await registered(rest, IPHONE)
        for forbidden in (
            {"method": "DELETE", "path": path},
            {"method": "POST", "path": "/1.1/classes/_Conversation"},
            {"method": "GET", "path": f"/1.1/classes/_Conversation/{'0' * 24}"},
        ):
            change = {"method": "PUT", "path": path, "body": {"badge": 5}}
            body = _json({"requests": [change, {"method": "PUT", "path": "//["}, forbidden]})
            assert await rest.ask(batch, *KEY, body=body) == UNAUTHORIZED
        assert "badge" not in await rest.get(path)


async def test_each_of_a_batch_fails_by_itself() -> None:
    async with office() as rest:
        path = await registered(rest, IPHONE)
        requests = [
            {"method": "PUT", "path": path, "body": {"badge": 1}},
            {"method": "PUT", "path": path, "body": {"badge": "x"}},
            {"method": "GET", "path": f"{path}?keys=badge"},
            {"method": "GET", "path": INSTALLATIONS},
            {"method": "PUT", "path": f"{TABLE}/nothing", "body": {"badge": 1}},
            {"method": "DELETE", "path": path},
            {"method": "DELETE", "path": path},
        ]
        saved, wrong, fetched, *others = await rest.post("/1.1/batch", requests=requests)
        assert saved["success"].keys() == {"objectId", "updatedAt"}
        assert wrong["error"]["code"] == 111
        assert fetched["success"]["badge"] == 1
        assert others.pop(2) == {"success": {}}
        assert [one["error"]["code"] for one in others] == [404, 101, 101]


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({}, 135),
        ({"deviceType": "ios"}, 135),
        ({"deviceToken": "a"}, 135),
        ({"deviceType": "", "deviceToken": "a"}, 135),
        ({"deviceType": 5, "deviceToken": "a"}, 400),
        ({**IPHONE, "deviceToken": ["a"]}, 400),
        ({**IPHONE, "channels": "tom"}, 400),
        ({**IPHONE, "channels": ["x"] * 1001}, 400),
        ({**IPHONE, "channels": {"__op": "Nothing"}}, 400),
        ({**IPHONE, "badge": -1}, 400),
        ({**IPHONE, "seats": {"__op": "Nothing"}}, 111),
        ({**IPHONE, "seats": "x" * 16_384}, 116),
    ],
)
async def test_what_is_no_installation_is_refused(columns: Json, code: int) -> None:
    async with office() as rest:
        for table in (INSTALLATIONS, TABLE):
            assert await rest.refusal("POST", table, columns, KEY) == (400, code)
        assert (await rest.get(INSTALLATIONS))["results"] == []


async def test_why_it_is_refused_does_not_show_the_token() -> None:
    async with office() as rest:
        for token in ("secret\n", ["secret"], "secret" * 1000, {"__op": "secret"}):
            _, answer = await rest.ask(INSTALLATIONS, *KEY, body=_json({**IPHONE, "deviceToken": token}))
            assert answer["code"] in (111, 116, 400)
            assert token == {"__op": "secret"} or "secret" not in answer["error"]


async def test_a_change_with_a_condition_is_made_only_if_it_fits() -> None:
    async with office() as rest:
        path = await registered(rest, {**IPHONE, "badge": 3})
        assert await rest.refusal("PUT", path + "?" + condition('{"badge":4}'), {"badge": 0}, KEY) == (400, 305)
        await device(rest, "PUT", path + "?" + condition('{"badge":3}'), {"badge": 5})
        assert (await rest.get(path))["badge"] == 5
        assert await rest.refusal("PUT", f"{path}?where=[", {"badge": 0}, KEY) == (400, 4310)


async def test_what_is_not_there_is_not_found_whatever_is_asked_of_it() -> None:
    async with office() as rest:
        gone = await registered(rest, IPHONE)
        assert await rest.delete(gone) == {}
        for path in (gone, f"{TABLE}/nothing"):
            for method in ("GET", "PUT", "DELETE"):
                assert await rest.ask(path, *MASTER, method=method) == NOT_FOUND


async def test_a_device_cannot_forget_any() -> None:
    async with office() as rest:
        path = await registered(rest, IPHONE)
        assert await rest.ask(path, *KEY, method="DELETE") == UNAUTHORIZED
        await rest.get(path)


async def test_the_application_finds_chooses_and_counts_devices() -> None:
    async with office() as rest:
        for number in range(3):
            rest.node.clock.step(1000)
            channels = ["all", f"c{number % 2}"]
            await registered(rest, {**IPHONE, "deviceToken": f"t{number}", "channels": channels, "size": number})

        async def sizes(query: str) -> list[int]:
            return [row["size"] for row in (await rest.get(f"{TABLE}?{query}"))["results"]]

        assert await sizes("") == [2, 1, 0]
        assert await sizes("order=size&skip=1&limit=1") == [1]
        assert await sizes(condition('{"channels": "c0"}')) == [2, 0]
        assert await sizes(condition('{"size": {"$lt": 2}}') + "&order=-size") == [1, 0]
        counted = await rest.get(INSTALLATIONS + "?" + condition('{"channels": "all"}') + "&limit=0&count=1")
        assert counted == {"results": [], "count": 3}
        (chosen,) = (await rest.get(INSTALLATIONS + "?" + condition('{"size": 1}') + "&keys=size"))["results"]
        assert chosen.keys() == {"objectId", "createdAt", "updatedAt", "size"}
        assert (await rest.get(f"{TABLE}/{chosen['objectId']}?keys=deviceToken"))["deviceToken"] == "t1"


@pytest.mark.parametrize("query", ["where=[", "where=[]", "order=,"])
async def test_a_query_that_is_none_is_refused(query: str) -> None:
    async with office() as rest:
        assert await rest.refusal("GET", f"{TABLE}?{query}") == (400, 4310)


async def test_a_device_finds_itself_by_what_it_knows_and_no_other() -> None:
    async with office() as rest:
        path = await registered(rest, {**ANDROID, "deviceToken": "t1", "channels": ["tom"]})
        id_ = path.rpartition("/")[2]
        await registered(rest, IPHONE)
        for where in (
            '{"installationId": "i1"}',
            '{"deviceToken": "t1"}',
            '{"deviceToken": "t1", "installationId": "i1"}',
            f'{{"objectId": "{id_}"}}',
        ):
            (row,) = (await device(rest, "GET", f"{TABLE}?{condition(where)}&limit=1"))["results"]
            assert row["objectId"] == id_
        assert await device(rest, "GET", TABLE + "?" + condition('{"deviceToken": "t2"}')) == {"results": []}
        for where in (
            "",
            "{}",
            "[]",
            "{",
            '{"channels": "tom"}',
            '{"installationId": "i1", "channels": "tom"}',
            '{"installationId": {"$exists": true}}',
            '{"installationId": {"$regex": "."}}',
            '{"installationId": ""}',
            '{"$or": [{"installationId": "i1"}]}',
        ):
            assert await rest.refusal("GET", f"{TABLE}?{condition(where)}", fields=KEY) == (400, 403), where


async def test_so_many_devices_register_in_a_minute_and_no_more() -> None:
    now = [0.0]
    async with office(Rest(installations_per_minute=2), lambda: now[0]) as rest:
        await registered(rest, IPHONE)
        assert await rest.refusal("POST", INSTALLATIONS, {"deviceType": "ios"}, KEY) == (400, 135)
        await registered(rest, ANDROID)
        one_more = {**IPHONE, "deviceToken": "t3"}
        assert await rest.refusal("POST", INSTALLATIONS, one_more, KEY) == (429, 429)
        assert rest.header["retry-after"] == "61"
        anew = f"{TABLE}/{'0' * 24}"
        assert await rest.refusal("PUT", anew, one_more, KEY) == (429, 429)
        request = {"method": "POST", "path": TABLE, "body": one_more}
        assert await rest.refusal("POST", "/1.1/batch/save", {"requests": [request]}, KEY) == (429, 429)
        (outcome,) = await device(rest, "POST", "/1.1/batch", {"requests": [request]})
        assert outcome["error"]["code"] == 429
        path = await registered(rest, {**IPHONE, "badge": 1})
        await device(rest, "PUT", path, {"badge": 2})
        await rest.post(INSTALLATIONS, **one_more)
        now[0] = 61
        await registered(rest, {**IPHONE, "deviceToken": "t4"})


@pytest.mark.rule("10.8")
async def test_who_logs_in_stays_linked_when_the_device_saves_old_channels() -> None:
    async with office() as rest:
        path = await registered(rest, {**ANDROID, "channels": ["public"]})
        line = await rest.node.line()
        opened = await line.open("tom", deviceId="i1", configBitmap=int(Config.BIND_INSTALLATION))
        assert opened.op == pb.opened
        await device(rest, "PUT", path, {"channels": ["public", "tom"]})
        await device(rest, "PUT", path, {"channels": ["news"]})
        assert (await rest.get(path))["channels"] == ["news", "tom"]


def _json(body: Json) -> bytes:
    return json.dumps(body).encode()
