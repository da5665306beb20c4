import pytest

from fastim.wire import messages2_pb2 as pb
from tests.doors.office import KEY, id_of, office, opened

pytestmark = pytest.mark.anyio

CLIENTS = "/1.2/rtm/clients"


@pytest.mark.rule("13.1", "13.2", "2.10")
async def test_those_with_an_open_session_are_online() -> None:
    async with office() as rest:
        await opened(rest, "tom")
        await opened(rest, "spike")
        asked = ["nobody", "spike", "tom"]
        assert await rest.post(f"{CLIENTS}/check-online", client_ids=asked) == {"results": ["spike", "tom"]}
        assert await rest.post(f"{CLIENTS}/check-online", client_ids=[]) == {"results": []}
        many = {"client_ids": [f"client-{number}" for number in range(21)]}
        assert await rest.refusal("POST", f"{CLIENTS}/check-online", many) == (400, 400)


async def test_unread_messages_are_counted_in_one_conversation_and_in_all() -> None:
    async with office() as rest:
        room, other = await rest.conversation("tom", "jerry"), await rest.conversation("tom", "jerry")
        news = await rest.service()
        await rest.post(f"{news}/subscribers", client_id="jerry")
        for conversation in (room, room, other):
            await rest.say(conversation, "x")
        await rest.say(room, "own", by="jerry")
        await rest.post(f"{news}/broadcasts", from_client="editor", message="x")
        await rest.post(f"{news}/messages", from_client="editor", message="x", to_clients=["jerry"])
        count = f"{CLIENTS}/jerry/unread-count"
        assert await rest.call("GET", count, fields=KEY) == {"count": 5}
        for conversation, unread in ((room, 2), (other, 1), (news, 2)):
            assert await rest.get(f"{count}?conv_id={id_of(conversation)}") == {"count": unread}
        assert await rest.get(f"{count}?conv_id={'0' * 24}") == {"count": 0}
        assert await rest.get(f"{count}?conv_id=x") == {"count": 0}
        assert await rest.get(f"{CLIENTS}/nobody/unread-count") == {"count": 0}
        jerry = await opened(rest, "jerry")
        read = pb.ReadCommand(convs=[pb.ReadTuple(cid=id_of(room))])
        await jerry.send(pb.GenericCommand(cmd=pb.read, i=5, readMessage=read))
        while not (await jerry.receive()).HasField("unreadMessage"):
            pass
        assert await rest.get(f"{count}?conv_id={id_of(room)}") == {"count": 0}


async def test_the_subscriptions_of_a_client_are_listed_both_ways_in_parts() -> None:
    async with office() as rest:
        services = []
        for _ in range(3):
            services.append(await rest.service())
            rest.node.clock.step(1000)
            await rest.post(f"{services[-1]}/subscribers", client_id="tom")
        await rest.conversation("tom")
        path = f"{CLIENTS}/tom/service-conversations"
        ids = [id_of(one) for one in services]
        listed = await rest.get(path)
        assert [one["conv_id"] for one in listed] == ids
        assert {one["subscriber"] for one in listed} == {"tom"}
        assert [one["conv_id"] for one in await rest.get(f"{path}?direction=old")] == ids[::-1]
        assert [one["conv_id"] for one in await rest.get(f"{path}?limit=2")] == ids[:2]
        place = f"timestamp={listed[1]['timestamp']}&conv_id={ids[1]}"
        assert [one["conv_id"] for one in await rest.get(f"{path}?{place}")] == ids[2:]
        assert [one["conv_id"] for one in await rest.get(f"{path}?{place}&direction=old")] == ids[:1]
        assert await rest.get(f"{CLIENTS}/nobody/service-conversations") == []
        assert await rest.refusal("GET", f"{path}?direction=up") == (400, 400)


async def test_clients_are_counted() -> None:
    async with office() as rest:
        assert await rest.get("/1.2/rtm/stats") == {"result": {"online_user_count": 0, "user_count_today": 0}}
        tom = await opened(rest, "tom")
        await opened(rest, "jerry")
        assert await rest.get("/1.2/rtm/stats") == {"result": {"online_user_count": 2, "user_count_today": 2}}
        await tom.call(pb.GenericCommand(cmd=pb.session, op=pb.close, i=2, sessionMessage=pb.SessionCommand()))
        assert await rest.get("/1.2/rtm/stats") == {"result": {"online_user_count": 1, "user_count_today": 2}}
        rest.node.clock.step(86_400_000)
        assert await rest.get("/1.2/rtm/stats") == {"result": {"online_user_count": 1, "user_count_today": 0}}


@pytest.mark.parametrize("path", ["unread-count", "service-conversations", "messages"])
async def test_no_client_can_be_called_that(path: str) -> None:
    async with office() as rest:
        assert await rest.refusal("GET", f"{CLIENTS}/{'x' * 65}/{path}") == (400, 4103)
