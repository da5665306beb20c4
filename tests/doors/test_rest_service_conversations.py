import pytest

from fastim.wire import messages2_pb2 as pb
from tests.doors.office import KEY, Office, first_of, id_of, office, opened
from tests.runtime.node import message

pytestmark = pytest.mark.anyio


async def log_of(rest: Office, news: str, client_id: str, query: str = "") -> list[str]:
    return [one["data"] for one in await rest.get(f"{news}/subscribers/{client_id}/messages{query}")]


async def write(rest: Office, news: str, text: str, *clients: str) -> dict[str, object]:
    rest.node.clock.step(1000)
    answer: dict[str, object] = await rest.post(
        f"{news}/messages", from_client="editor", message=text, to_clients=clients
    )
    return answer


async def announce(rest: Office, news: str, text: str) -> dict[str, object]:
    rest.node.clock.step(1000)
    answer: dict[str, object] = await rest.post(f"{news}/broadcasts", from_client="editor", message=text)
    return answer


def said(sent: dict[str, object], **more: object) -> dict[str, object]:
    return {"from_client": "editor", "timestamp": sent["timestamp"], **more}


@pytest.mark.rule("1.13")
async def test_clients_subscribe_and_are_listed_in_parts() -> None:
    async with office() as rest:
        news = await rest.service()
        for client in ("b", "c", "a"):
            rest.node.clock.step(1000)
            body = {"client_id": client}
            assert await rest.call("POST", f"{news}/subscribers", body, KEY) == {}
            assert await rest.call("POST", f"{news}/subscribers", body, KEY) == {}
        listed = await rest.get(f"{news}/subscribers")
        assert [one["subscriber"] for one in listed] == ["a", "b", "c"]
        assert {one["conv_id"] for one in listed} == {id_of(news)}
        assert listed[1]["timestamp"] == 1_767_268_801_000
        assert [one["subscriber"] for one in await rest.get(f"{news}/subscribers?limit=2")] == ["a", "b"]
        assert [one["subscriber"] for one in await rest.get(f"{news}/subscribers?client_id=b")] == ["c"]
        assert await rest.get(f"{news}/subscribers/count") == {"count": 3}
        assert await rest.call("DELETE", f"{news}/subscribers/b", fields=KEY) == {}
        assert await rest.call("DELETE", f"{news}/subscribers/b", fields=KEY) == {}
        assert await rest.get(f"{news}/subscribers/count") == {"count": 2}


@pytest.mark.parametrize("query", ["limit=0", "limit=51", "limit=x"])
async def test_subscribers_come_at_most_fifty_at_a_time(query: str) -> None:
    async with office() as rest:
        assert await rest.refusal("GET", f"{await rest.service()}/subscribers?{query}") == (400, 400)


async def test_a_client_that_is_blocked_by_name_cannot_subscribe() -> None:
    async with office() as rest:
        news = await rest.service()
        assert await rest.refusal("POST", f"{news}/subscribers", {"client_id": "a\nb"}) == (400, 4103)
        assert await rest.refusal("POST", f"{news}/subscribers", {"client_id": ""}) == (400, 400)


@pytest.mark.rule("1.15", "1.16")
async def test_what_is_written_to_some_clients_only_they_get() -> None:
    async with office() as rest:
        news = await rest.service()
        tom, jerry, spike = await opened(rest, "tom"), await opened(rest, "jerry"), await opened(rest, "spike")
        await rest.post(f"{news}/subscribers", client_id="spike")
        sent = await write(rest, news, "for you", "tom", "jerry")
        for line in (tom, jerry):
            direct = (await line.receive()).directMessage
            assert (direct.msg, direct.id, direct.fromPeerId) == (b"for you", sent["msg-id"], "editor")
        assert await spike.is_silent()
        assert await log_of(rest, news, "tom") == await log_of(rest, news, "jerry") == ["for you"]
        assert await log_of(rest, news, "spike") == []


@pytest.mark.parametrize("to_clients", [[], ["tom"] * 21, [""], "tom", None])
async def test_somebody_has_to_be_written_to_and_not_too_many(to_clients: object) -> None:
    async with office() as rest:
        body = {"from_client": "editor", "message": "x", "to_clients": to_clients}
        assert await rest.refusal("POST", f"{await rest.service()}/messages", body) == (400, 400)


@pytest.mark.rule("1.15")
async def test_what_is_written_to_all_subscribers_is_in_the_log_of_each() -> None:
    async with office() as rest:
        news = await rest.service()
        tom, jerry = await opened(rest, "tom"), await opened(rest, "jerry")
        await rest.post(f"{news}/subscribers", client_id="tom")
        await announce(rest, news, "to all")
        assert (await tom.receive()).directMessage.msg == b"to all"
        assert await jerry.is_silent()
        await write(rest, news, "to you", "tom")
        assert await log_of(rest, news, "tom") == ["to you", "to all"]


@pytest.mark.rule("1.14", "1.16")
async def test_the_log_of_a_subscriber_has_both_sides() -> None:
    async with office() as rest:
        news = await rest.service()
        tom = await opened(rest, "tom")
        await tom.call(message(id_of(news), b"question"))
        await write(rest, news, "answer", "tom")
        await announce(rest, news, "to all")
        assert await log_of(rest, news, "tom") == ["to all", "answer", "question"]
        assert await log_of(rest, news, "tom", "?reversed=true&limit=2") == ["question", "answer"]
        assert await log_of(rest, news, "tom", "?limit=1") == ["to all"]
        assert await log_of(rest, news, "jerry") == ["to all"]


async def test_what_was_written_to_some_is_modified_and_recalled_for_them() -> None:
    async with office() as rest:
        news = await rest.service()
        sent = await write(rest, news, "hello", "tom", "jerry")
        tom = await opened(rest, "tom")
        path = f"{news}/messages/{sent['msg-id']}"
        assert await rest.put(path, **said(sent, message="goodbye", to_clients=["tom", "jerry"])) == {}
        assert (await tom.receive()).patchMessage.patches[0].data == b"goodbye"
        assert await log_of(rest, news, "tom") == await log_of(rest, news, "jerry") == ["goodbye"]
        assert await rest.put(f"{path}/recall", **said(sent, to_clients=["tom"])) == {}
        assert (await tom.receive()).patchMessage.patches[0].recall
        assert await log_of(rest, news, "tom") == ['{"_lctype":-127}']
        assert await log_of(rest, news, "jerry") == ["goodbye"]
        assert await rest.refusal("PUT", f"{path}/recall", said(sent, to_clients=["spike"])) == (404, 4404)
        assert await rest.refusal("PUT", f"{path}/recall", said(sent)) == (404, 4404)


async def test_what_was_written_to_all_subscribers_is_modified_and_recalled() -> None:
    async with office() as rest:
        news = await rest.service()
        await rest.post(f"{news}/subscribers", client_id="tom")
        sent = await announce(rest, news, "hello")
        tom = await opened(rest, "tom")
        path = f"{news}/messages/{sent['msg-id']}"
        await rest.put(path, **said(sent, message="goodbye"))
        assert (await tom.receive()).patchMessage.patches[0].data == b"goodbye"
        await rest.put(f"{path}/recall", **said(sent))
        assert (await tom.receive()).patchMessage.patches[0].recall
        assert await rest.refusal("PUT", f"{path}/recall", {**said(sent), "from_client": "tom"}) == (400, 4403)


@pytest.mark.rule("8.8")
async def test_what_was_written_to_one_is_deleted_for_it_alone() -> None:
    async with office() as rest:
        news = await rest.service()
        sent = await write(rest, news, "hello", "tom", "jerry")
        target = f"{news}/subscribers/tom/messages/{sent['msg-id']}?from_client=editor&timestamp={sent['timestamp']}"
        assert await rest.delete(target) == {}
        assert await log_of(rest, news, "tom") == []
        assert await log_of(rest, news, "jerry") == ["hello"]
        assert await rest.refusal("DELETE", target) == (404, 4404)


@pytest.mark.rule("7.10")
async def test_a_broadcast_reaches_who_is_online_and_who_logs_in_later() -> None:
    async with office() as rest:
        news = await rest.service()
        tom = await opened(rest, "tom")
        body = {"from_client": "editor", "conv_id": id_of(news), "message": "to everybody"}
        sent = await rest.post("/1.2/rtm/broadcasts", **body)
        assert (await tom.receive()).directMessage.msg == b"to everybody"
        jerry = await rest.node.line()
        await jerry.open("jerry")
        assert (await first_of(jerry, pb.direct)).directMessage.id == sent["msg-id"]
        assert await log_of(rest, news, "tom") == []


@pytest.mark.rule("2.17")
async def test_broadcasts_are_listed_until_they_expire_or_are_deleted() -> None:
    async with office() as rest:
        news = await rest.service()
        broadcasts, current = "/1.2/rtm/broadcasts", f"/1.2/rtm/broadcasts?conv_id={id_of(news)}"
        body = {"from_client": "editor", "conv_id": id_of(news)}
        now = rest.node.clock.now()
        first = await rest.post(broadcasts, **body, message="first", valid_till=now + 60_000)
        rest.node.clock.step(1000)
        second = await rest.post(broadcasts, **body, message="second", push={"alert": "x"})
        month = 30 * 86_400_000
        assert await rest.get(current) == [
            {
                "timestamp": sent["timestamp"],
                "conv-id": id_of(news),
                "data": text,
                "from": "editor",
                "msg-id": sent["msg-id"],
                "from-ip": "127.0.0.1",
                "valid-till": till,
            }
            for sent, text, till in (
                (second, "second", second["timestamp"] + month),
                (first, "first", now + 60_000),
            )
        ]
        assert [one["data"] for one in await rest.get(f"{current}&limit=1&skip=1")] == ["first"]
        rest.node.clock.step(60_000)
        assert [one["data"] for one in await rest.get(current)] == ["second"]
        assert await rest.delete(f"{broadcasts}/{second['msg-id']}") == {}
        assert await rest.get(current) == []
        assert await rest.refusal("DELETE", f"{broadcasts}/{second['msg-id']}") == (404, 4404)


async def test_a_broadcast_is_modified_for_those_who_have_not_had_it() -> None:
    async with office() as rest:
        news = await rest.service()
        tom = await opened(rest, "tom")
        body = {"from_client": "editor", "conv_id": id_of(news), "message": "wrong"}
        sent = await rest.post("/1.2/rtm/broadcasts", **body)
        await tom.receive()
        await rest.put(f"{news}/messages/{sent['msg-id']}", **said(sent, message="right"))
        assert await tom.is_silent()
        jerry = await rest.node.line()
        await jerry.open("jerry")
        assert (await first_of(jerry, pb.direct)).directMessage.msg == b"right"


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({"valid_till": 1}, (400, 4308)),
        ({"valid_till": "later"}, (400, 400)),
        ({"conv_id": "0" * 24}, (404, 4303)),
        ({"message": "x" * 5121}, (400, 4109)),
        ({"from_client": ""}, (400, 400)),
    ],
)
async def test_a_broadcast_that_cannot_be_is_refused(more: dict[str, object], answer: tuple[int, int]) -> None:
    async with office() as rest:
        news = await rest.service()
        body = {"from_client": "editor", "conv_id": id_of(news), "message": "x", **more}
        assert await rest.refusal("POST", "/1.2/rtm/broadcasts", body) == answer


async def test_only_a_service_conversation_speaks_to_everybody() -> None:
    async with office() as rest:
        room = await rest.conversation("tom")
        body = {"from_client": "editor", "conv_id": id_of(room), "message": "x"}
        assert await rest.refusal("POST", "/1.2/rtm/broadcasts", body) == (400, 4313)
        assert await rest.refusal("GET", f"/1.2/rtm/broadcasts?conv_id={id_of(room)}") == (400, 4313)
        assert await rest.refusal("GET", "/1.2/rtm/broadcasts") == (400, 400)
