import json
from urllib.parse import quote

import pytest

from fastim.wire import messages2_pb2 as pb
from tests.doors.office import KEY, MASTER, Office, id_of, office

pytestmark = pytest.mark.anyio

ALL = "/1.2/rtm/all-conversations"
CONVERSATIONS = "/1.2/rtm/conversations"
ROOMS = "/1.2/rtm/chatrooms"
SERVICES = "/1.2/rtm/service-conversations"


def where(**condition: object) -> str:
    return f"?where={quote(json.dumps(condition))}"


async def found(rest: Office, target: str) -> list[str]:
    """The names of what a query finds."""
    return [one["name"] for one in (await rest.get(target))["results"]]


async def test_a_conversation_is_created_with_its_members_and_any_columns() -> None:
    async with office() as rest:
        created = await rest.post(CONVERSATIONS, name="Tea", m=["tom", "jerry", "tom"], attr={"cups": 2}, sort=1)
        assert created["createdAt"] == created["updatedAt"] == "2026-01-01T12:00:00.000Z"
        assert (created["name"], created["m"], created["unique"]) == ("Tea", ["tom", "jerry"], False)
        assert "uniqueId" not in created
        (stored,) = (await rest.get(f"{CONVERSATIONS}{where(objectId=created['objectId'])}"))["results"]
        assert (stored["attr"], stored["sort"], stored["c"]) == ({"cups": 2}, 1, "")


@pytest.mark.rule("1.4")
async def test_a_unique_conversation_with_the_same_members_is_found_again() -> None:
    async with office() as rest:
        first = await rest.post(CONVERSATIONS, m=["tom", "jerry"], unique=True, name="first")
        again = await rest.post(CONVERSATIONS, m=["jerry", "tom", "tom"], unique=True, name="again")
        assert again == first
        assert first["unique"]
        assert len(first["uniqueId"]) == 32
        other = await rest.post(CONVERSATIONS, m=["tom"], unique=True)
        assert other["uniqueId"] != first["uniqueId"]


@pytest.mark.rule("1.2")
async def test_of_too_many_members_the_first_count() -> None:
    async with office() as rest:
        members = [f"client-{number}" for number in range(501)]
        assert (await rest.post(CONVERSATIONS, m=members))["m"] == members[:500]


@pytest.mark.rule("3.1")
async def test_members_of_a_new_conversation_are_told_by_nobody() -> None:
    async with office() as rest:
        tom = await rest.node.line()
        await tom.open("tom")
        created = await rest.post(CONVERSATIONS, m=["tom", "jerry"])
        joined, members_joined = await tom.receive(), await tom.receive()
        assert (joined.op, joined.convMessage.cid, joined.convMessage.initBy) == (pb.joined, created["objectId"], "")
        assert (members_joined.op, list(members_joined.convMessage.m)) == (pb.members_joined, ["tom", "jerry"])
        assert await tom.is_silent()


async def test_who_is_named_as_creator_is_the_owner() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry", c="tom")
        tom = await rest.node.line()
        await tom.open("tom")
        await rest.post(f"{room}/member-infos", clientId="jerry", role="Manager")
        assert (await tom.receive()).op == pb.member_info_changed
        refused = await rest.refusal("POST", f"{room}/member-infos", {"clientId": "tom", "role": "Member"})
        assert refused == (400, 4324)


@pytest.mark.parametrize(
    "body",
    [
        {"m": "tom"},
        {"m": [""]},
        {"m": ["x" * 65]},
        {"m": [5]},
        {"m": ["a\nb"]},
        {"unique": "yes"},
        {"name": 5},
        {"c": ""},
        {"attr": [1]},
        {"a..b": 1},
    ],
)
async def test_a_conversation_that_cannot_be_is_refused(body: dict[str, object]) -> None:
    async with office() as rest:
        status, _ = await rest.refusal("POST", CONVERSATIONS, body)
        assert status == 400
        assert await found(rest, ALL) == []


@pytest.mark.parametrize("path", [ROOMS, SERVICES])
@pytest.mark.parametrize("body", [{"m": "tom"}, {"m": [5]}, {"unique": "yes"}, {"c": 5}])
async def test_what_only_conversations_have_is_looked_at_in_rooms_and_services_too(
    path: str, body: dict[str, object]
) -> None:
    async with office() as rest:
        assert await rest.refusal("POST", path, body) == (400, 400)
        assert await found(rest, ALL) == []


async def test_each_path_finds_conversations_of_its_own_type() -> None:
    async with office() as rest:
        for path in (CONVERSATIONS, ROOMS, SERVICES):
            assert (await rest.post(path, name=path)).keys() >= {"objectId", "createdAt"}
        for path in (CONVERSATIONS, ROOMS, SERVICES):
            assert await found(rest, path) == [path]
            assert await found(rest, f"{path}{where(name=path)}") == [path]
            assert await found(rest, f"{path}{where(name='none')}") == []
        assert set(await found(rest, ALL)) == {CONVERSATIONS, ROOMS, SERVICES}


async def test_a_temporary_conversation_is_not_among_them_but_can_be_reached() -> None:
    async with office() as rest:
        tom = await rest.node.line()
        await tom.open("tom")
        temporary = pb.ConvCommand(m=["tom", "jerry"], tempConv=True)
        await tom.send(pb.GenericCommand(cmd=pb.conv, op=pb.start, i=2, convMessage=temporary))
        started = await tom.receive()
        while started.op != pb.started:
            started = await tom.receive()
        path = f"{CONVERSATIONS}/{started.convMessage.cid}"
        assert await found(rest, ALL) == []
        await rest.say(path, "hello", by="jerry")
        assert [one["data"] for one in await rest.get(f"{path}/messages")] == ["hello"]
        assert (await rest.get(f"{path}/members"))["result"] == ["tom", "jerry"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?order=name", ["a", "b", "c"]),
        ("?order=-name", ["c", "b", "a"]),
        ("?order=name&skip=1", ["b", "c"]),
        ("?order=name&limit=2", ["a", "b"]),
        ("?order=name&skip=1&limit=1", ["b"]),
        ("?limit=0", []),
        (f"{where(name={'$gte': 'b'})}&order=name", ["b", "c"]),
        (f"{where(m='jerry')}&order=name", ["b", "c"]),
        (f"{where(**{'$or': [{'name': 'a'}, {'name': 'c'}]})}&order=name", ["a", "c"]),
    ],
)
async def test_a_query_is_that_of_the_sdks(query: str, names: list[str]) -> None:
    async with office() as rest:
        for name, members in (("b", ["tom", "jerry"]), ("a", ["tom"]), ("c", ["jerry"])):
            await rest.post(CONVERSATIONS, name=name, m=members)
        assert await found(rest, f"{CONVERSATIONS}{query}") == names


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?where=%5B%5D", 4310),
        ("?where=%7B", 400),
        ("?where=%22a%22", 4310),
        ("?where=%7B%22a%22%3A%7B%22%24oops%22%3A1%7D%7D", 4310),
        ("?limit=-1", 400),
        ("?limit=1001", 400),
        ("?limit=many", 400),
        ("?skip=10001", 400),
    ],
)
async def test_a_query_that_is_none_is_refused(query: str, code: int) -> None:
    async with office() as rest:
        assert await rest.refusal("GET", f"{CONVERSATIONS}{query}") == (400, code)


@pytest.mark.parametrize("where", ["5", "%5B%5D", "null", "%22a%22"])
async def test_a_condition_that_is_no_object_is_called_so(where: str) -> None:
    async with office() as rest:
        _, answer = await rest.ask(f"{CONVERSATIONS}?where={where}", *MASTER, method="GET")
        assert answer == {"code": 4310, "error": "where is not a JSON object"}


async def test_columns_are_changed_and_the_members_told() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry", name="Tea", attr={"cups": 2, "milk": True})
        tom = await rest.node.line()
        await tom.open("tom")
        rest.node.clock.step(1000)
        changed = await rest.put(
            room, name="Coffee", **{"attr.cups": {"__op": "Increment", "amount": 3}, "attr.milk": {"__op": "Delete"}}
        )
        assert changed == {"updatedAt": "2026-01-01T12:00:01.000Z", "objectId": id_of(room)}
        told = (await tom.receive()).convMessage
        assert (told.cid, told.initBy) == (id_of(room), "")
        assert json.loads(told.attrModified.data) == {"name": "Coffee", "attr": {"cups": 5}}
        (stored,) = (await rest.get(CONVERSATIONS))["results"]
        assert (stored["name"], stored["attr"]) == ("Coffee", {"cups": 5})


@pytest.mark.parametrize("body", [{"m": ["tom"]}, {"objectId": "x"}, {"lm": 1}, {"name": 5}])
async def test_columns_that_are_not_to_be_written_are_refused(body: dict[str, object]) -> None:
    async with office() as rest:
        room = await rest.conversation("tom", name="Tea")
        assert await rest.refusal("PUT", room, body) == (400, 4306)
        assert await found(rest, CONVERSATIONS) == ["Tea"]


@pytest.mark.parametrize("path", [CONVERSATIONS, ROOMS, SERVICES])
async def test_a_conversation_that_is_deleted_is_gone(path: str) -> None:
    async with office() as rest:
        one = f"{path}/{(await rest.post(path, name='x'))['objectId']}"
        assert await rest.delete(one) == {}
        assert await found(rest, ALL) == []
        assert await rest.refusal("DELETE", one) == (404, 4303)
        assert await rest.refusal("PUT", one, {"name": "y"}) == (404, 4303)


async def test_a_conversation_under_another_path_is_not_found_and_the_answer_says_where() -> None:
    async with office() as rest:
        room = await rest.room()
        status, answer = await rest.ask(
            f"{CONVERSATIONS}/{id_of(room)}", "X-LC-Id: app", "X-LC-Key: master,master", method="DELETE"
        )
        assert (status, answer["code"]) == (404, 4303)
        assert ROOMS in answer["error"]
        await rest.delete(room)


async def test_only_the_applications_servers_start_service_conversations() -> None:
    async with office() as rest:
        assert await rest.refusal("POST", SERVICES, {"name": "x"}, KEY) == (401, 401)
        await rest.service()
        assert await found(rest, SERVICES) == ["news"]
