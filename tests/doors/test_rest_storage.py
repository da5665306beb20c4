"""Conversations as rows of a table. Source: REST reference, sections 7 and 8."""

from typing import Any

import pytest

from fastim.wire import messages2_pb2 as pb
from tests.doors.office import MASTER, Json, Office, id_of, office, opened

pytestmark = pytest.mark.anyio

TABLE = "/1.1/classes/_Conversation"
NOT_FOUND = {"code": 101, "error": "Object not found."}


async def row(rest: Office, **columns: Json) -> str:
    """The path of a new row."""
    return f"{TABLE}/{(await rest.post(TABLE, **columns))['objectId']}"


def operation(name: str, *objects: str) -> dict[str, Any]:
    return {"__op": name, "objects": list(objects)}


async def test_a_row_is_created_and_read_back_whole() -> None:
    async with office() as rest:
        created = await rest.post(TABLE, name="lunch", m=["tom", "jerry"], attr={"a": 1}, size=3)
        assert created.keys() == {"objectId", "createdAt"}
        found = await rest.get(f"{TABLE}/{created['objectId']}")
        assert found == {
            "objectId": created["objectId"],
            "name": "lunch",
            "m": ["tom", "jerry"],
            "mu": [],
            "muted": False,
            "c": "",
            "attr": {"a": 1},
            "size": 3,
            "conv_type": 1,
            "createdAt": created["createdAt"],
            "updatedAt": created["createdAt"],
        }
        assert found in (await rest.get(TABLE))["results"]
        for flag in ("fetchWhenSave", "new"):
            fetched = await rest.call("POST", f"{TABLE}?{flag}=true", {"name": "dinner"})
            assert fetched == await rest.get(f"{TABLE}/{fetched['objectId']}")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["tom", "tom", "jerry"], ["tom", "jerry"]),
        (operation("Add", "tom"), ["tom"]),
        (operation("AddUnique", "tom", "jerry"), ["tom", "jerry"]),
        (operation("Remove", "tom"), []),
        ({"__op": "Delete"}, []),
        (None, []),
    ],
)
async def test_members_may_be_operations_from_the_beginning(members: Json, expected: list[str]) -> None:
    async with office() as rest:
        assert (await rest.get(await row(rest, m=members)))["m"] == expected


@pytest.mark.parametrize(("flag", "family"), [("sys", "service-conversations"), ("tr", "chatrooms")])
async def test_a_row_may_be_of_another_type(flag: str, family: str) -> None:
    async with office() as rest:
        path = await row(rest, name="x", **{flag: True}, m=["tom"])
        found = await rest.get(path)
        assert (found[flag], found["m"]) == (True, [])
        assert [one["objectId"] for one in (await rest.get(f"/1.2/rtm/{family}"))["results"]] == [id_of(path)]
        assert await rest.refusal("POST", TABLE, {"sys": True, "tr": True}) == (400, 4308)


@pytest.mark.rule("1.4")
async def test_a_unique_row_is_found_again() -> None:
    async with office() as rest:
        path = await row(rest, unique=True, m=["tom", "jerry"])
        assert await row(rest, unique=True, m=operation("Add", "jerry", "tom")) == path
        assert await row(rest, m=["tom", "jerry"]) != path
        assert (await rest.get(path))["unique"] is True


@pytest.mark.parametrize(
    ("members", "expected", "told"),
    [
        (operation("Add", "jerry", "tom"), ["tom", "spike", "jerry"], [pb.members_joined]),
        (operation("AddUnique", "jerry"), ["tom", "spike", "jerry"], [pb.members_joined]),
        (operation("Remove", "spike", "nobody"), ["tom"], [pb.members_left]),
        (["tom", "jerry"], ["tom", "jerry"], [pb.members_left, pb.members_joined]),
        (["tom", "spike"], ["tom", "spike"], []),
        ({"__op": "Delete"}, [], [pb.left]),
    ],
)
async def test_a_change_of_members_is_told_like_any_other(members: Json, expected: list[str], told: list[int]) -> None:
    async with office() as rest:
        path = await row(rest, m=["tom", "spike"])
        tom = await opened(rest, "tom")
        saved = await rest.put(path, m=members)
        assert saved.keys() == {"objectId", "updatedAt"}
        assert [(await tom.receive()).op for _ in told] == told
        assert await tom.is_silent()
        found = await rest.get(path)
        assert found["m"] == expected
        assert found["updatedAt"] == saved["updatedAt"]


async def test_columns_and_members_change_together_or_not_at_all() -> None:
    async with office() as rest:
        path = await row(rest, m=["tom"], size=3)
        tom = await opened(rest, "tom")
        rest.node.clock.step(1000)
        body = {"size": {"__op": "Increment", "amount": 2}, "m": operation("Add", "jerry"), "__ignore_hooks": ["x"]}
        saved = await rest.call("PUT", f"{path}?fetchWhenSave=true", body)
        assert (saved["size"], saved["m"]) == (5, ["tom", "jerry"])
        assert saved == await rest.get(path)
        assert {(await tom.receive()).op for _ in range(2)} == {pb.members_joined, pb.updated}
        for refused in ({"tr": True}, {"name": 5}, {"size": operation("Add", "x")}):
            assert await rest.refusal("PUT", path, {**refused, "m": operation("Remove", "jerry")}) == (400, 4306)
        assert await rest.get(path) == saved


@pytest.mark.parametrize(
    "members", ["tom", [1], [""], ["x" * 65], {"__op": "Increment", "amount": 1}, {"objects": ["tom"]}, 5]
)
async def test_members_that_cannot_be_are_refused(members: Json) -> None:
    async with office() as rest:
        path = await row(rest, m=["tom"])
        for method, target in (("PUT", path), ("POST", TABLE)):
            assert await rest.refusal(method, target, {"m": members}) == (400, 400)
        assert (await rest.get(path))["m"] == ["tom"]


@pytest.mark.parametrize("body", [b'{"x":1e400}', b'{"x":1%s}' % (b"0" * 5000), b'{"x":"\\ud800"}', b'{"\\ud800":1}'])
async def test_columns_that_cannot_be_are_refused(body: bytes) -> None:
    async with office() as rest:
        path = await row(rest, m=["tom"])
        for method, target in (("PUT", path), ("POST", TABLE)):
            status, answer = await rest.ask(target, *MASTER, method=method, body=body)
            assert (status, answer["code"]) == (400, 400)


@pytest.mark.slow
@pytest.mark.parametrize("template", ['{"x":%s}', '{"name":%s}', '{"attr":{"x":%s}}', '{"m":%s}'])
async def test_columns_that_are_too_deep_are_refused_however_deep(template: str) -> None:
    async with office() as rest:
        path = await row(rest, m=["tom"])
        for depth in (40, *range(800, 1010, 3), 5000):
            body = template % ("[" * depth + "]" * depth)
            batch = f'{{"requests":[{{"method":"PUT","path":"{path}","body":{body}}}]}}'
            for method, target, text in (("PUT", path, body), ("POST", TABLE, body), ("POST", "/1.1/batch", batch)):
                status, answer = await rest.ask(target, *MASTER, method=method, body=text.encode())
                assert status == 400 or answer[0]["error"], (depth, answer)


@pytest.mark.slow
async def test_a_condition_that_is_too_deep_is_refused_however_deep() -> None:
    async with office() as rest:
        path = await row(rest, m=["tom"])
        for depth in (40, *range(800, 1010, 3)):
            where = '{"x":' * depth + "1" + "}" * depth
            for method, target in (("PUT", path), ("GET", TABLE), ("GET", "/1.2/rtm/all-conversations")):
                body = b"{}" if method == "PUT" else b""
                status, _ = await rest.ask(f"{target}?where={where}", *MASTER, method=method, body=body)
                assert status == 400, depth


@pytest.mark.rule("1.2")
async def test_who_is_blocked_is_left_out() -> None:
    async with office() as rest:
        path = await row(rest, m=["tom"])
        await rest.post(f"/1.2/rtm/conversations/{id_of(path)}/blacklists", client_ids=["spike"])
        await rest.put(path, m=operation("Add", "spike", "jerry"))
        assert (await rest.get(path))["m"] == ["tom", "jerry"]
        assert await rest.refusal("PUT", path, {"m": operation("Add", "spike")}) == (400, 4548)


async def test_a_change_with_a_condition_is_made_only_if_it_fits() -> None:
    async with office() as rest:
        path = await row(rest, size=3)
        no_effect = await rest.ask(f'{path}?where={{"size":4}}', *MASTER, method="PUT", body=b'{"size":5}')
        assert no_effect == (400, {"code": 305, "error": "No effect on updating/deleting a document."})
        await rest.call("PUT", f'{path}?where={{"size":3}}', {"size": 5})
        assert (await rest.get(path))["size"] == 5
        assert await rest.refusal("PUT", f"{path}?where=[", {"size": 6}) == (400, 400)
        assert await rest.refusal("PUT", f"{path}?where=[]", {"size": 6}) == (400, 4310)
        assert await rest.refusal("PUT", f"{path}?where={{}},{{}}", {"size": 6}) == (400, 400)


async def test_rows_are_found_chosen_from_and_counted() -> None:
    async with office() as rest:
        for size in (1, 2, 3):
            rest.node.clock.step(1000)
            await row(rest, size=size, name=f"n{size}", m=["tom"])
        rest.node.clock.step(1000)
        await rest.room()

        async def sizes(query: str) -> list[int | None]:
            return [one.get("size") for one in (await rest.get(f"{TABLE}?{query}"))["results"]]

        assert await sizes("") == [None, 3, 2, 1]
        assert await sizes('where={"m":"tom"}&order=size') == [1, 2, 3]
        assert await sizes('where={"size":{"$gt":1}}&order=-size&skip=1&limit=1') == [2]
        counted = await rest.get(f'{TABLE}?where={{"size":{{"$gt":1}}}}&limit=0&count=1')
        assert counted == {"results": [], "count": 2}
        assert (await rest.get(f"{TABLE}?count=1&limit=1&skip=1"))["count"] == 4
        assert "count" not in await rest.get(f"{TABLE}?count=0")
        (chosen,) = (await rest.get(f'{TABLE}?where={{"size":1}}&keys=name,attr.deep'))["results"]
        assert chosen.keys() == {"objectId", "createdAt", "updatedAt", "name"}
        (rest_of_it,) = (await rest.get(f'{TABLE}?where={{"size":1}}&keys=-name,-m'))["results"]
        assert "size" in rest_of_it
        assert rest_of_it.keys().isdisjoint({"name", "m"})
        one = await rest.get(f"{TABLE}/{chosen['objectId']}?keys=size")
        assert one.keys() == {"objectId", "createdAt", "updatedAt", "size"}


@pytest.mark.parametrize(
    ("query", "code"),
    [("where=[", 400), ("where=[]", 4310), ("limit=1001", 400), ("count=2", 400), ("order=,", 4310)],
)
async def test_a_query_that_is_none_is_refused(query: str, code: int) -> None:
    async with office() as rest:
        assert await rest.refusal("GET", f"{TABLE}?{query}") == (400, code)


async def test_what_is_not_there_is_not_found_whatever_is_asked_of_it() -> None:
    async with office() as rest:
        gone = await row(rest, name="gone")
        assert await rest.delete(gone) == {}
        temporary = await temporary_row(rest)
        for path in (gone, f"{TABLE}/nothing", temporary):
            for method in ("GET", "PUT", "DELETE"):
                status, answer = await rest.ask(path, *MASTER, method=method)
                assert (status, answer) == (404, NOT_FOUND)


async def temporary_row(rest: Office) -> str:
    """Where a temporary conversation would be if it were in the table."""
    tom = await opened(rest, "tom")
    start = pb.ConvCommand(m=["jerry"], tempConv=True)
    started = await tom.call(pb.GenericCommand(cmd=pb.conv, op=pb.start, i=5, convMessage=start))
    assert started.convMessage.cid.startswith("_tmp:")
    return f"{TABLE}/{started.convMessage.cid}"


@pytest.mark.parametrize("name", [5, {"__op": "Delete"}])
async def test_a_row_with_a_name_that_is_none_is_refused(name: Json) -> None:
    async with office() as rest:
        assert await rest.refusal("POST", TABLE, {"name": name}) == (400, 400)


@pytest.mark.parametrize("number", ["1e999", "9" * 5000])
async def test_a_row_with_a_number_that_cannot_be_is_refused(number: str) -> None:
    async with office() as rest:
        body = b'{"size": %b}' % number.encode()
        for method, target in (("POST", TABLE), ("PUT", await row(rest, name="x"))):
            status, answer = await rest.ask(target, *MASTER, method=method, body=body)
            assert (status, answer["code"]) == (400, 400)


@pytest.mark.slow
async def test_rows_as_deep_as_can_be_read_at_all_are_refused() -> None:
    """There is a depth that can still be read and, a few calls further in, not be written any more."""
    async with office() as rest:
        for target, begin, end in ((TABLE, "", ""), ("/1.1/batch", _BATCH_BEGIN, "}]}")):
            for levels in range(900, 1000):
                body = begin + '{"a":' + "[" * levels + "]" * levels + "}" + end
                status, answer = await rest.ask(target, *MASTER, body=body.encode())
                assert status == 400 or [*answer[0]] == ["error"], levels


_BATCH_BEGIN = '{"requests": [{"method": "POST", "path": "/1.1/classes/_Conversation", "body": '


async def test_several_requests_are_answered_one_by_one() -> None:
    async with office() as rest:
        path, other = await row(rest, name="one"), await row(rest, name="two")
        answers = await rest.post(
            "/1.1/batch",
            requests=[
                {"method": "POST", "path": TABLE, "body": {"name": "three", "m": operation("Add", "tom")}},
                {"method": "PUT", "path": path, "body": {"name": "first"}},
                {"method": "PUT", "path": f"{path}?fetchWhenSave=true", "body": {}},
                {"method": "PUT", "path": path, "body": {}, "params": {"fetchWhenSave": True}},
                {"method": "PUT", "path": path, "body": {"name": 5}},
                {"method": "PUT", "path": path, "body": {"m": 5}},
                {"method": "DELETE", "path": other, "body": {}},
                {"method": "DELETE", "path": other},
                {"method": "GET", "path": f"{path}?keys=name"},
                {"method": "GET", "path": TABLE},
                {"method": "POST", "path": path},
                {"method": "PUT", "path": "/1.1/classes/_User/1", "body": {}},
                {"method": "DELETE", "path": "//["},
            ],
        )
        created, changed, fetched, fetched_by_params, *failed = answers
        assert fetched_by_params == fetched
        assert created["success"].keys() == {"objectId", "createdAt"}
        assert changed["success"].keys() == {"objectId", "updatedAt"}
        assert fetched["success"] == await rest.get(path)
        assert fetched["success"]["name"] == "first"
        assert failed.pop(2) == {"success": {}}
        assert failed.pop(3)["success"].keys() == {"objectId", "createdAt", "updatedAt", "name"}
        assert [one["error"]["code"] for one in failed] == [4306, 400, 101, 404, 404, 404, 400]
        assert (await rest.get(TABLE))["results"] == [await rest.get(f"{TABLE}/{id_}") for id_ in await ids(rest)]


async def ids(rest: Office) -> list[str]:
    return [one["objectId"] for one in (await rest.get(TABLE))["results"]]


@pytest.mark.parametrize(
    "requests",
    [None, {}, [{}], [{"method": "PATCH", "path": TABLE}], [{"method": "POST", "path": TABLE, "body": []}], [{}] * 101],
)
async def test_a_batch_that_is_none_is_refused(requests: Json) -> None:
    async with office() as rest:
        assert await rest.refusal("POST", "/1.1/batch", {"requests": requests}) == (400, 400)
