import pytest

from fastim.core.policy import Policy
from fastim.wire import messages2_pb2 as pb
from tests.doors.office import enter, id_of, office, opened
from tests.runtime.node import message

pytestmark = pytest.mark.anyio


@pytest.mark.rule("3.2")
async def test_members_who_are_added_are_told_and_so_are_the_others() -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        rest.node.clock.step(1000)
        added = await rest.post(f"{room}/members", client_ids=["jerry", "tom"])
        assert added == {"updatedAt": "2026-01-01T12:00:01.000Z", "objectId": id_of(room)}
        assert [(await jerry.receive()).op, (await jerry.receive()).op] == [pb.joined, pb.members_joined]
        told = await tom.receive()
        assert (told.op, list(told.convMessage.m), told.convMessage.initBy) == (pb.members_joined, ["jerry"], "")
        assert await rest.get(f"{room}/members") == {"result": ["tom", "jerry"]}


@pytest.mark.rule("3.5")
async def test_members_who_are_removed_are_told_and_so_are_the_others() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry")
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        removed = await rest.delete(f"{room}/members", client_ids=["jerry", "nobody"])
        assert removed["objectId"] == id_of(room)
        assert (await jerry.receive()).op == pb.left
        assert (await tom.receive()).op == pb.members_left
        assert await jerry.is_silent()
        assert await rest.get(f"{room}/members") == {"result": ["tom"]}


@pytest.mark.rule("4.10")
async def test_who_cannot_be_added_is_named_and_why() -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        await rest.post(f"{room}/blacklists", client_ids=["spike"])
        added = await rest.post(f"{room}/members", client_ids=["jerry", "spike"])
        assert added["failed"] == [{"client_ids": ["spike"], "code": 4548, "reason": "BLOCKED_BY_CONV"}]
        assert await rest.get(f"{room}/members") == {"result": ["tom", "jerry"]}
        assert await rest.refusal("POST", f"{room}/members", {"client_ids": ["spike"]}) == (400, 4548)


@pytest.mark.parametrize(
    "body", [{}, {"client_ids": []}, {"client_ids": "tom"}, {"client_ids": [""]}, {"client_ids": [1]}]
)
async def test_members_have_to_be_named(body: dict[str, object]) -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        for method in ("POST", "DELETE"):
            assert await rest.refusal(method, f"{room}/members", body) == (400, 400)


@pytest.mark.rule("11.1", "11.3")
async def test_members_are_muted_and_unmuted() -> None:
    async with office() as rest:
        room = await rest.conversation("tom", "jerry", "spike")
        rest.node.clock.step(1000)
        muted = await rest.post(f"{room}/mutes", client_ids=["jerry", "tom", "stranger"])
        assert muted == {"updatedAt": "2026-01-01T12:00:01.000Z", "objectId": id_of(room)}
        assert await rest.get(f"{room}/mutes") == {"result": ["jerry", "tom"]}
        await rest.delete(f"{room}/mutes", client_ids=["jerry", "spike"])
        assert await rest.get(f"{room}/mutes") == {"result": ["tom"]}


async def test_nothing_changes_when_nobody_is_muted_anew() -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        first = await rest.post(f"{room}/mutes", client_ids=["tom"])
        rest.node.clock.step(1000)
        assert await rest.post(f"{room}/mutes", client_ids=["tom"]) == first


@pytest.mark.rule("1.8", "1.11")
async def test_those_in_a_chat_room_are_listed_and_counted() -> None:
    async with office() as rest:
        room = await rest.room()
        assert await rest.get(f"{room}/members") == {"result": []}
        assert await rest.get(f"{room}/members/online-count") == {"result": 0}
        tom = await opened(rest, "tom")
        await enter(tom, room, "tom")
        assert await rest.get(f"{room}/members") == {"result": ["tom"]}
        assert await rest.get(f"{room}/members/online-count") == {"result": 1}


async def test_a_chat_room_that_is_deleted_is_empty() -> None:
    async with office() as rest:
        room = await rest.room()
        tom = await opened(rest, "tom")
        await enter(tom, room, "tom")
        await rest.delete(room)
        refused = await tom.call(message(id_of(room)))
        assert refused.ackMessage.code == 4401


async def test_where_clients_need_signatures_the_application_needs_none() -> None:
    async with office() as rest:
        rest.set_policy(Policy(signature_required=True))
        room = await rest.conversation("tom", unique=True)
        await rest.post(f"{room}/members", client_ids=["jerry"])
        await rest.post(f"{room}/blacklists", client_ids=["jerry"])
        await rest.say(room, "hello")
        assert len(await rest.get(f"{room}/messages?client_id=tom&nonce=n&signature_ts=1&signature=wrong")) == 1
        assert await rest.get(f"{room}/members") == {"result": ["tom"]}


@pytest.mark.rule("4.7")
async def test_there_are_features_that_an_application_does_without() -> None:
    async with office() as rest:
        rest.set_policy(Policy(roles_enabled=False, blacklist_enabled=False))
        room = await rest.conversation("tom")
        given = {"clientId": "tom", "role": "Manager"}
        assert await rest.refusal("POST", f"{room}/member-infos", given) == (400, 4325)
        assert await rest.refusal("POST", f"{room}/blacklists", {"client_ids": ["tom"]}) == (400, 4544)
