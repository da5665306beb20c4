import pytest

from fastim.wire import messages2_pb2 as pb
from tests.doors.office import id_of, office, opened
from tests.runtime.node import Line, message

pytestmark = pytest.mark.anyio


async def answer_to_sending(line: Line, room: str) -> int:
    """The code of the ack; 0 for a message that was taken."""
    return (await line.call(message(id_of(room)))).ackMessage.code


@pytest.mark.rule("4.9", "2.14")
async def test_a_client_is_silenced_for_a_time() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        tom = await opened(rest, "tom")
        assert await rest.post(f"{room}/temporary-silenceds", client_id="tom", ttl=60) == {}
        assert await answer_to_sending(tom, room) == 4315
        rest.node.clock.step(60_001)
        assert await answer_to_sending(tom, room) == 0


async def test_a_silence_is_lifted_before_its_time() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        tom = await opened(rest, "tom")
        await rest.post(f"{room}/temporary-silenceds", client_id="tom", ttl=60)
        assert await rest.delete(f"{room}/temporary-silenceds?client_id=tom") == {}
        assert await answer_to_sending(tom, room) == 0


@pytest.mark.parametrize(
    "body",
    [
        {"client_id": "tom"},
        {"ttl": 5},
        {"client_id": "tom", "ttl": 0},
        {"client_id": "tom", "ttl": 86_401},
        {"client_id": "", "ttl": 5},
    ],
)
async def test_a_silence_says_whose_and_for_how_long(body: dict[str, object]) -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        assert await rest.refusal("POST", f"{room}/temporary-silenceds", body) == (400, 400)
        assert await rest.refusal("DELETE", f"{room}/temporary-silenceds") == (400, 400)


@pytest.mark.rule("4.8", "4.14")
async def test_clients_are_silenced_for_good_and_listed_in_parts() -> None:
    async with office() as rest:
        members = [f"client-{number:02}" for number in range(12)]
        room = await rest.conversation(*members)
        first = await opened(rest, members[0])
        assert await rest.post(f"{room}/permanent-silenceds", client_ids=members) == {}
        assert (await first.receive()).op == pb.shutuped
        assert (await first.receive()).op == pb.members_shutuped
        assert await answer_to_sending(first, room) == 4563
        page = await rest.get(f"{room}/permanent-silenceds")
        assert page["client_ids"] == members[:10]
        assert await rest.get(f"{room}/permanent-silenceds?next={page['next']}") == {"client_ids": members[10:]}
        assert await rest.get(f"{room}/permanent-silenceds?limit=100") == {"client_ids": members}
        assert await rest.delete(f"{room}/permanent-silenceds", client_ids=members[:11]) == {}
        assert await rest.get(f"{room}/permanent-silenceds") == {"client_ids": members[11:]}


@pytest.mark.rule("4.10", "2.13")
async def test_who_is_blocked_is_a_member_no_longer_and_stays_out() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        jerry = await opened(rest, "jerry")
        assert await rest.post(f"{room}/blacklists", client_ids=["jerry", "spike"]) == {}
        assert {(await jerry.receive()).op, (await jerry.receive()).op} == {pb.blocked, pb.left}
        assert await rest.get(f"{room}/members") == {"result": ["tom"]}
        assert await rest.get(f"{room}/blacklists") == {"client_ids": ["jerry", "spike"]}
        assert await rest.get(f"{room}/blacklists?limit=1") == {"client_ids": ["jerry"], "next": "1"}
        assert await rest.delete(f"{room}/blacklists", client_ids=["jerry"]) == {}
        await rest.post(f"{room}/members", client_ids=["jerry"])
        assert await rest.get(f"{room}/members") == {"result": ["tom", "jerry"]}


@pytest.mark.parametrize("query", ["?limit=0", "?limit=-1", "?limit=1001", "?limit=x", "?next=x", "?next=-1"])
@pytest.mark.parametrize("path", ["permanent-silenceds", "blacklists"])
async def test_a_part_of_a_list_that_is_none_is_refused(path: str, query: str) -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        assert (await rest.refusal("GET", f"{room}/{path}{query}"))[0] == 400


@pytest.mark.rule("4.1", "4.4", "4.5")
async def test_roles_are_given_changed_listed_and_taken() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry", "spike")
        tom = await opened(rest, "tom")
        assert await rest.get(f"{room}/member-infos") == {"results": []}
        given = await rest.post(f"{room}/member-infos", clientId="jerry", role="Manager")
        assert (await tom.receive()).op == pb.member_info_changed
        item = {"clientId": "jerry", "objectId": given["objectId"], "role": "Manager"}
        assert await rest.get(f"{room}/member-infos") == {"results": [item]}
        assert await rest.get(f"{room}/member-infos?role=Owner") == {"results": []}
        assert await rest.get(f"{room}/member-infos?skip=1") == {"results": []}
        assert await rest.get(f"{room}/member-infos?limit=0") == {"results": []}
        changed = await rest.put(f"{room}/member-infos/{given['objectId']}", role="Owner")
        assert changed["objectId"] == given["objectId"]
        assert await rest.get(f"{room}/member-infos?role=Owner") == {"results": [{**item, "role": "Owner"}]}
        assert await rest.delete(f"{room}/member-infos/{given['objectId']}") == {}
        assert await rest.get(f"{room}/member-infos") == {"results": []}
        assert await rest.refusal("DELETE", f"{room}/member-infos/{given['objectId']}") == (404, 404)
        assert await rest.refusal("PUT", f"{room}/member-infos/x", {"role": "Member"}) == (404, 404)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"clientId": "jerry"}, 400),
        ({"clientId": "jerry", "role": "Boss"}, 400),
        ({"clientId": "", "role": "Member"}, 400),
        ({"clientId": "stranger", "role": "Member"}, 4317),
    ],
)
async def test_a_role_that_cannot_be_given_is_refused(body: dict[str, object], code: int) -> None:
    async with office() as rest:
        room = await rest.conversation("jerry")
        assert await rest.refusal("POST", f"{room}/member-infos", body) == (400, code)


@pytest.mark.rule("2.12")
async def test_a_chat_room_has_silence_blocks_and_roles_too() -> None:
    async with office() as rest:
        room = await rest.room()
        tom = await opened(rest, "tom")
        await rest.post(f"{room}/permanent-silenceds", client_ids=[f"client-{number}" for number in range(500)])
        await rest.post(f"{room}/permanent-silenceds", client_ids=["tom"])
        assert (await tom.receive()).op == pb.shutuped
        assert await answer_to_sending(tom, room) == 4563
        await rest.post(f"{room}/blacklists", client_ids=["tom"])
        assert await rest.get(f"{room}/blacklists") == {"client_ids": ["tom"]}
        given = await rest.post(f"{room}/member-infos", clientId="jerry", role="Manager")
        assert (await rest.get(f"{room}/member-infos"))["results"][0]["objectId"] == given["objectId"]
        await rest.post(f"{room}/temporary-silenceds", client_id="spike", ttl=5)


async def test_a_list_that_is_full_takes_nobody_else() -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        await rest.post(f"{room}/permanent-silenceds", client_ids=[f"client-{number}" for number in range(499)])
        done = await rest.post(f"{room}/permanent-silenceds", client_ids=["tom", "jerry"])
        assert [(one["client_ids"], one["code"]) for one in done["failed"]] == [(["jerry"], 4561)]


@pytest.mark.rule("4.9")
async def test_a_service_conversation_silences_for_a_time() -> None:
    async with office() as rest:
        news = await rest.service()
        tom = await opened(rest, "tom")
        await rest.post(f"{news}/temporary-silenceds", client_id="tom", ttl=5)
        assert await answer_to_sending(tom, news) == 4315
