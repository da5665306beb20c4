"""The examples of the REST reference against a real server, and what its clients see of them."""

import anyio
import pytest

from fastim.client import Client, Joined, MembersJoined, MessageModified, MessageRecalled, MessageReceived
from tests.end_to_end.clients import PATIENCE_SECONDS, AnyEvent, device, someone
from tests.end_to_end.rest import Rest
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio

CONVERSATIONS = "/1.2/rtm/conversations"


async def told(client: Client, kind: type[AnyEvent]) -> AnyEvent:
    """The next event of this kind; others are passed over."""
    with anyio.fail_after(PATIENCE_SECONDS):
        async for event in client.events():
            if isinstance(event, kind):
                return event
    raise AssertionError("the client ended")


async def three_messages(rest: Rest) -> tuple[str, list[dict[str, int]]]:
    """The path of a conversation's messages, and three of them."""
    created = await rest.post(CONVERSATIONS, m=[someone("tom"), someone("jerry")])
    path = f"{CONVERSATIONS}/{created['objectId']}/messages"
    return path, [await rest.post(path, from_client="tom", message=text) for text in ("1", "2", "3")]


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ("timestamp={3}&till_timestamp={1}", "2"),
        ("timestamp={3}&till_timestamp={1}&include_start=true", "32"),
        ("timestamp={3}&till_timestamp={1}&include_stop=true", "21"),
        ("timestamp={1}&till_timestamp={3}&reversed=true", "2"),
        ("timestamp={1}&till_timestamp={3}&reversed=true&include_start=true", "12"),
        ("timestamp={1}&till_timestamp={3}&reversed=true&include_stop=true", "23"),
        ("", "321"),
        ("reversed=true", "123"),
        ("limit=1", "3"),
        ("limit=1&reversed=true", "1"),
    ],
)
async def test_the_table_of_history_queries(server: ServerProcess, query: str, texts: str) -> None:
    rest = Rest(server)
    path, sent = await three_messages(rest)
    moments = [one["timestamp"] for one in sent]
    assert moments == sorted(set(moments))
    found = await rest.get(f"{path}?{query.format(0, *moments)}")
    assert "".join(one["data"] for one in found) == texts


async def test_a_message_in_a_history_is_as_the_reference_shows_it(server: ServerProcess) -> None:
    rest = Rest(server)
    path, sent = await three_messages(rest)
    (item,) = await rest.get(f"{path}?limit=1")
    conversation_id = path.split("/")[4]
    assert item == {
        "timestamp": sent[2]["timestamp"],
        "conv-id": conversation_id,
        "data": "3",
        "from": "tom",
        "msg-id": sent[2]["msg-id"],
        "is-conv": True,
        "is-room": False,
        "to": conversation_id,
        "bin": False,
        "from-ip": "127.0.0.1",
    }


async def test_clients_see_what_an_application_does_with_its_conversations(server: ServerProcess) -> None:
    rest = Rest(server)
    tom, jerry = someone("tom"), someone("jerry")
    async with device(server, tom) as tom_s, device(server, jerry) as jerry_s:
        created = await rest.post(CONVERSATIONS, name="Tea", m=[tom], unique=False)
        assert created.keys() == {"objectId", "createdAt", "updatedAt", "name", "m", "unique"}
        path = f"{CONVERSATIONS}/{created['objectId']}"
        await told(tom_s, Joined)
        await told(tom_s, MembersJoined)
        assert (await rest.post(f"{path}/members", client_ids=[jerry])).keys() == {"updatedAt", "objectId"}
        await told(jerry_s, Joined)
        assert (await told(tom_s, MembersJoined)).members == (jerry,)
        sent = await rest.post(f"{path}/messages", from_client=tom, message="hello")
        for client in (tom_s, jerry_s):
            assert (await told(client, MessageReceived)).message.id == sent["msg-id"]
        place = {"from_client": tom, "timestamp": sent["timestamp"]}
        await rest.put(f"{path}/messages/{sent['msg-id']}", **place, message="goodbye")
        assert (await told(jerry_s, MessageModified)).message.text == "goodbye"
        await rest.put(f"{path}/messages/{sent['msg-id']}/recall", **place)
        assert (await told(jerry_s, MessageRecalled)).message.id == sent["msg-id"]
        await rest.delete(f"{path}/members", client_ids=[jerry])
        assert await rest.get(f"{path}/members") == {"result": [tom]}
        assert await rest.delete(path) == {}
        assert (await rest.ask("GET", f"{path}/members"))[0] == 404


async def test_who_is_online_and_how_many(server: ServerProcess) -> None:
    rest = Rest(server)
    tom = someone("tom")
    async with device(server, tom):
        found = await rest.post("/1.2/rtm/clients/check-online", client_ids=[someone("nobody"), tom])
        assert found == {"results": [tom]}
        stats = (await rest.get("/1.2/rtm/stats"))["result"]
        assert stats["online_user_count"] >= 1
        assert stats["user_count_today"] >= 1


async def test_an_application_that_is_unknown_or_shows_a_wrong_key_is_told_so(server: ServerProcess) -> None:
    status, answer = await Rest(server, "wrong").ask("GET", "/1.2/rtm/stats")
    assert (status, answer) == (401, {"code": 401, "error": "Unauthorized."})
    status, answer = await Rest(server, server.app_key).ask("GET", "/1.2/rtm/stats")
    assert (status, answer) == (401, {"code": 401, "error": "Unauthorized."})


@pytest.mark.slow
async def test_what_was_sent_and_silenced_survives_a_kill(own_server: ServerProcess) -> None:
    rest = Rest(own_server)
    path, sent = await three_messages(rest)
    conversation = path.removesuffix("/messages")
    news = f"/1.2/rtm/service-conversations/{(await rest.post('/1.2/rtm/service-conversations'))['objectId']}"
    await rest.post(f"{news}/subscribers", client_id="tom")
    await rest.post(f"{news}/messages", from_client="editor", message="for you", to_clients=["tom"])
    await rest.post(f"{conversation}/permanent-silenceds", client_ids=["tom"])
    await rest.put(f"{path}/{sent[1]['msg-id']}/recall", from_client="tom", timestamp=sent[1]["timestamp"])
    await rest.delete(f"{path}/{sent[0]['msg-id']}?from_client=tom&timestamp={sent[0]['timestamp']}")
    await anyio.to_thread.run_sync(own_server.kill)
    await anyio.to_thread.run_sync(own_server.start)
    assert [one["data"] for one in await rest.get(path)] == ["3", '{"_lctype":-127}']
    assert await rest.get(f"{conversation}/permanent-silenceds") == {"client_ids": ["tom"]}
    assert await rest.get(f"{news}/subscribers/count") == {"count": 1}
    assert [one["data"] for one in await rest.get(f"{news}/subscribers/tom/messages")] == ["for you"]
