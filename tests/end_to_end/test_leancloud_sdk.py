"""The official Python SDK, as PyPI has it, as the back end of an application; its clients use ours.

It is installed for Python 3.11 alone: it wants an older gevent that is not built for newer ones.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import anyio.to_thread
import leancloud
import pytest

from fastim.client import ConversationUpdated, Joined, Left, MembersJoined, MessageReceived, ServiceConversation
from tests.end_to_end.clients import bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio

Result = TypeVar("Result")
Conversation = leancloud.Conversation
Message = leancloud.Message
Installation = leancloud.Installation
NOT_FOUND = 101


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that only the SDK speaks to, so that all messages of the application are known."""
    unlimited = ("--set", "rest.broadcasts_per_minute=0", "--set", "rest.broadcasts_per_day=0")
    with ServerProcess(tmp_path_factory.mktemp("sdk") / "data", *unlimited) as process:
        yield process
        assert '"level": "error"' not in process.log, process.log
        assert "Traceback" not in process.log, process.log


@pytest.fixture(autouse=True)
def _set_up(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LEANCLOUD_API_SERVER", server.http_url)
    leancloud.init(server.app_id, app_key=server.app_key, master_key=server.master_key)
    yield
    leancloud.use_master_key()
    leancloud.client.session.close()


async def do(call: Callable[..., Result], *args: Any, **named: Any) -> Result:
    """What the SDK returns; it blocks."""
    return await anyio.to_thread.run_sync(partial(call, *args, **named))


async def saved(**options: Any) -> Any:
    """A new conversation. ``members`` and ``columns`` are set, the rest is the SDK's own."""
    members, columns = options.pop("members", ()), options.pop("columns", {})
    conversation = Conversation(**options)
    for member in members:
        conversation.add_member(member)
    for name, value in columns.items():
        conversation.set(name, value)
    await do(conversation.save)
    return conversation


async def fetched(conversation: Any) -> Any:
    """The conversation as the server has it."""
    return await do(Conversation.query.get, conversation.id)


async def say(conversation: Any, sender: str, text: str) -> None:
    """Send a message later than all before it: of those of one millisecond in several conversations none is first."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == now:
        pass
    await do(conversation.send, sender, text)


async def failure(call: Callable[..., Any], *args: Any, **named: Any) -> int:
    """The code with which the SDK says that a call failed."""
    with pytest.raises(leancloud.LeanCloudError) as caught:
        await do(call, *args, **named)
    code: int = caught.value.code
    return code


async def test_a_conversation_is_created_and_has_all_columns() -> None:
    tom, jerry = someone("tom"), someone("jerry")
    before = datetime.now(UTC) - timedelta(seconds=5)
    created = await saved(name="lunch", members=[tom, jerry], columns={"attr": {"place": "park"}, "size": 3, "c": tom})
    assert before < created.created_at < before + timedelta(seconds=60)
    found = await fetched(created)
    assert (found.name, found.creator, found.members, found.muted_members) == ("lunch", tom, [tom, jerry], [])
    assert (found.get("attr"), found.get("size")) == ({"place": "park"}, 3)
    assert (found.is_system, found.is_transient, found.is_unique) == (None, None, None)
    assert found.last_message_read_at is None
    assert found.created_at == created.created_at
    assert found.updated_at == created.created_at


async def test_a_unique_conversation_is_found_again() -> None:
    members = [someone("tom"), someone("jerry")]
    one = await saved(members=members, is_unique=True)
    other = await saved(members=members[::-1], is_unique=True)
    assert other.id == one.id
    assert (await fetched(one)).is_unique is True
    assert (await saved(members=members, is_unique=False)).id != one.id


async def test_a_chat_room_and_a_service_conversation_are_created(server: ServerProcess) -> None:
    tom = someone("tom")
    room, news = await saved(name="hall", is_transient=True), await saved(name="news", is_system=True)
    assert (await fetched(room)).is_transient is True
    assert (await fetched(news)).is_system is True
    async with device(server, tom) as client:
        await client.room(room.id).join()
        assert await client.room(room.id).count_online() == 1
        assert isinstance(await client.get_conversation(news.id), ServiceConversation)


async def test_members_who_are_added_and_removed_are_told(server: ServerProcess) -> None:
    tom, jerry, spike = someone("tom"), someone("jerry"), someone("spike")
    async with device(server, tom) as one, device(server, jerry) as two:
        conversation = await saved(name="lunch", members=[tom])
        assert (await told(one, Joined)).conversation_id == conversation.id
        assert (await told(one, MembersJoined)).members == (tom,)
        conversation.add_member(jerry)
        await do(conversation.save)
        assert (await told(two, Joined)).conversation_id == conversation.id
        assert set((await told(one, MembersJoined)).members) == {jerry}
        conversation.add_unique("m", spike)
        await do(conversation.save, fetch_when_save=True)
        assert conversation.members == [tom, jerry, spike]
        assert (await told(one, MembersJoined)).members == (spike,)
        conversation.remove("m", jerry)
        await do(conversation.save)
        await told(two, MembersJoined)
        await told(two, MembersJoined)
        assert (await told(two, Left)).conversation_id == conversation.id
    assert (await fetched(conversation)).members == [tom, spike]
    conversation.set("m", [jerry, tom])
    await do(conversation.save)
    assert sorted((await fetched(conversation)).members) == sorted([tom, jerry])


async def test_columns_are_changed_and_the_members_told(server: ServerProcess) -> None:
    tom = someone("tom")
    conversation = await saved(name="lunch", members=[tom], columns={"size": 3, "tags": ["a"], "old": 1})
    async with device(server, tom) as client:
        conversation.set("name", "dinner").increment("size").add("tags", "b").unset("old")
        await do(conversation.save)
        changed = await told(client, ConversationUpdated)
        assert changed.conversation_id == conversation.id
    found = await fetched(conversation)
    assert (found.name, found.get("size"), found.get("tags"), found.get("old")) == ("dinner", 4, ["a", "b"], None)
    assert found.updated_at == conversation.updated_at > found.created_at


async def test_a_change_can_have_a_condition() -> None:
    conversation = await saved(name="lunch", columns={"size": 3})
    conversation.set("size", 4)
    assert await failure(conversation.save, where=Conversation.query.equal_to("size", 5)) == 305
    await do(conversation.save, where=Conversation.query.equal_to("size", 3))
    assert (await fetched(conversation)).get("size") == 4


async def test_what_only_the_server_writes_cannot_be_changed() -> None:
    conversation = await saved(name="lunch", members=[someone("tom")])
    conversation.set("tr", True)
    conversation.add_member(someone("jerry"))
    assert await failure(conversation.save) == 4306
    assert len((await fetched(conversation)).members) == 1


async def test_conversations_are_found() -> None:
    label, tom = someone("label"), someone("tom")
    for size in (1, 2, 3):
        await saved(name=f"{label} {size}", members=[tom], columns={"label": label, "size": size})
    query = Conversation.query.equal_to("label", label)
    assert [one.get("size") for one in await do(query.find)] == [3, 2, 1]
    assert [one.get("size") for one in await do(query.ascending("size").skip(1).limit(1).find)] == [2]
    assert await do(Conversation.query.equal_to("label", label).limit(1).count) == 3
    assert (await do(Conversation.query.equal_to("label", label).less_than("size", 2).first)).name == f"{label} 1"
    assert len(await do(Conversation.query.equal_to("m", tom).find)) == 3
    assert len(await do(Conversation.query.startswith("name", label).contained_in("size", [1, 3]).find)) == 2
    (chosen,) = await do(Conversation.query.equal_to("label", label).equal_to("size", 3).select("name").find)
    assert (chosen.name, chosen.get("size"), chosen.members) == (f"{label} 3", None, None)
    assert chosen.id
    assert await failure(Conversation.query.equal_to("label", someone("nothing")).first) == NOT_FOUND


async def test_a_conversation_that_is_destroyed_is_gone() -> None:
    conversation = await saved(name="lunch")
    await do(conversation.destroy)
    assert await failure(conversation.fetch) == NOT_FOUND
    assert await failure(conversation.destroy) == NOT_FOUND
    conversation.set("name", "dinner")
    assert await failure(conversation.save) == NOT_FOUND


async def test_several_conversations_are_saved_and_destroyed_at_once() -> None:
    conversations = [Conversation(name=f"number {number}") for number in range(3)]
    await do(Conversation.save_all, conversations)
    assert len({one.id for one in conversations}) == 3
    assert all(one.created_at for one in conversations)
    conversations[0].set("name", "first").add_member(someone("tom"))
    conversations[1].set("name", 5)
    assert await failure(Conversation.save_all, conversations[:2]) == 4306
    assert [(await fetched(one)).name for one in conversations] == ["first", "number 1", "number 2"]
    await do(Conversation.destroy_all, conversations[1:])
    assert [await failure(one.fetch) for one in conversations[1:]] == [NOT_FOUND] * 2
    assert await failure(Conversation.destroy_all, conversations) == NOT_FOUND
    assert await failure(conversations[0].fetch) == NOT_FOUND


async def test_a_message_arrives_and_stays(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    conversation = await saved(members=[tom, jerry])
    async with device(server, tom) as one, device(server, jerry) as two:
        await do(conversation.send, tom, "hello")
        body = {"_lctype": -1, "_lctext": "hi"}
        await do(conversation.send, tom, body, push_data={"alert": "new message"})
        for client in (one, two):  # the devices of who is named as the sender get it, too
            first = (await told(client, MessageReceived)).message
            second = (await told(client, MessageReceived)).message
            assert (first.text, first.sender, first.transient) == ("hello", tom, False)
            assert json.loads(second.text) == body
    kept = await do(Message.find_by_conversation, conversation.id)
    assert [one.message_id for one in kept] == [second.id, first.id]
    assert (await fetched(conversation)).last_message_read_at.timestamp() == pytest.approx(second.timestamp / 1000)


async def test_what_is_pushed_counts_into_the_size_of_a_message() -> None:
    conversation = await saved(members=[someone("tom")])
    assert await failure(conversation.send, someone("tom"), "x", push_data={"alert": "x" * 6000}) == 4109


async def test_a_transient_message_arrives_and_is_not_kept(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    conversation = await saved(members=[tom, jerry])
    async with device(server, jerry) as client:
        await do(conversation.send, tom, "typing", transient=True)
        message = (await told(client, MessageReceived)).message
        assert (message.text, message.transient) == ("typing", True)
    assert await do(Message.find_by_conversation, conversation.id) == []


async def test_a_message_to_a_chat_room_reaches_who_is_in_it(server: ServerProcess) -> None:
    room = await saved(is_transient=True)
    tom = someone("tom")
    async with device(server, tom) as client:
        await client.room(room.id).join()
        await do(room.send, someone("jerry"), "welcome")
        assert (await told(client, MessageReceived)).message.text == "welcome"
    (kept,) = await do(Message.find_by_conversation, room.id)
    assert (kept.data, kept.is_room, kept.is_conversation) == ("welcome", True, True)


async def test_a_service_conversation_writes_to_some_or_to_all_who_subscribe(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    news = await saved(name="news", is_system=True)
    async with device(server, tom) as one, device(server, jerry) as two, bell_for(server, jerry) as bell:
        await one.service(news.id).subscribe()
        await bell.told(two)
        await do(news.send, someone("editor"), "for tom", to_clients=[tom])
        assert (await told(one, MessageReceived)).message.text == "for tom"
        await do(news.send, someone("editor"), "for all")
        assert (await told(one, MessageReceived)).message.text == "for all"
        assert await bell.told(two) == [[]]
    conversation = await saved(members=[tom])
    assert await failure(conversation.send, tom, "not for all", to_clients=[tom]) == 4313


async def test_a_broadcast_reaches_everybody_now_and_later(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    news = await saved(name="news", is_system=True)
    later = round(time.time() * 1000) + 60_000
    async with device(server, tom) as client:
        await do(news.broadcast, someone("editor"), {"_lctext": "first"}, later, {"alert": "first"})
        assert json.loads((await told(client, MessageReceived)).message.text) == {"_lctext": "first"}
    async with device(server, jerry) as client:
        assert json.loads((await told(client, MessageReceived)).message.text) == {"_lctext": "first"}
    assert await failure(news.broadcast, someone("editor"), "late", valid_till=1) == 4308
    assert await failure((await saved()).broadcast, someone("editor"), "nobody's") == 4313


async def test_the_history_of_a_conversation_is_read_in_both_directions() -> None:
    tom = someone("tom")
    conversation = await saved(members=[tom])
    for number in range(5):
        await do(conversation.send, tom, str(number))

    async def read(**query: Any) -> list[str]:
        return [one.data for one in await do(Message.find_by_conversation, conversation.id, **query)]

    newest = await do(Message.find_by_conversation, conversation.id)
    third = newest[2]
    assert [one.data for one in newest] == ["4", "3", "2", "1", "0"]
    assert (third.conversation_id, third.to, third.from_client, third.from_ip) == (
        conversation.id,
        conversation.id,
        tom,
        "127.0.0.1",
    )
    assert (third.bin, third.is_conversation, third.is_room) == (False, True, False)
    assert await read(limit=2) == ["4", "3"]
    assert await read(reversed=True) == ["0", "1", "2", "3", "4"]
    assert await read(reversed=True, limit=2) == ["0", "1"]
    assert await read(reversed=False, limit=1) == ["4"]
    assert await read(before_time=third.timestamp) == ["1", "0"]
    assert await read(before_time=datetime.fromtimestamp(third.timestamp, UTC)) == ["1", "0"]
    assert await read(before_time=third.timestamp, before_message_id=third.message_id) == ["1", "0"]
    assert await read(before_time=third.timestamp, reversed=True) == ["3", "4"]
    assert await read(before_time=third.timestamp, before_message_id=third.message_id, reversed=True) == ["3", "4"]
    assert await read(before_time=third.timestamp, limit=1) == ["1"]
    assert await failure(Message.find_by_conversation, "no such conversation") == 4303


async def test_what_a_client_sent_is_found_in_all_conversations() -> None:
    tom, jerry = someone("tom"), someone("jerry")
    one, other = await saved(members=[tom, jerry]), await saved(is_transient=True)
    await say(one, tom, "a")
    await say(other, tom, "b")
    await say(one, jerry, "not tom's")
    await say(one, tom, "c")
    found = await do(Message.find_by_client, tom)
    assert [(message.data, message.conversation_id) for message in found] == [
        ("c", one.id),
        ("b", other.id),
        ("a", one.id),
    ]

    async def read(**query: Any) -> list[str]:
        return [message.data for message in await do(Message.find_by_client, tom, **query)]

    assert await read(limit=2) == ["c", "b"]
    assert await read(before_time=found[1].timestamp) == ["a"]
    assert await read(before_time=found[0].timestamp, before_message_id=found[0].message_id, limit=1) == ["b"]
    assert await do(Message.find_by_client, someone("nobody")) == []


async def test_all_messages_of_the_application_are_found() -> None:
    tom = someone("tom")
    conversations = [await saved(members=[tom]) for _ in range(2)]
    for number in range(4):
        await say(conversations[number % 2], tom, str(number))
    found = await do(Message.find_all, limit=4)
    assert [(message.data, message.from_client) for message in found] == [(data, tom) for data in ("3", "2", "1", "0")]

    async def read(**query: Any) -> list[str]:
        return [message.data for message in await do(Message.find_all, **query)]

    assert (await read())[:4] == ["3", "2", "1", "0"]
    assert (await read(before_time=found[1].timestamp))[:2] == ["1", "0"]
    assert await read(before_time=found[1].timestamp, before_message_id=found[1].message_id, limit=1) == ["1"]


async def test_the_time_is_told_before_it_is_known_who_asks() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert before <= await do(leancloud.client.get_server_time) <= datetime.now(UTC)


async def test_none_of_it_is_for_who_has_the_key_that_clients_know() -> None:
    conversation = await saved(members=[someone("tom")])
    leancloud.use_master_key(False)
    unauthorized = [
        await failure(conversation.send, "tom", "hello"),
        await failure(conversation.broadcast, "tom", "hello"),
        await failure(conversation.fetch),
        await failure(conversation.destroy),
        await failure(conversation.set("name", "mine").save),
        await failure(Conversation(name="mine").save),
        await failure(Conversation.query.find),
        await failure(Conversation.save_all, [Conversation(name="mine")]),
        await failure(Message.find_all),
    ]
    assert unauthorized == [401] * 9


def phone(**columns: Any) -> Any:
    """A device that has not registered yet."""
    return Installation(deviceType="ios", deviceToken=someone("token"), apnsTopic="com.example", **columns)


async def test_a_device_registers_and_changes_itself_with_the_key_that_clients_know() -> None:
    leancloud.use_master_key(False)
    device_itself = phone(channels=["public"], badge=2)
    await do(device_itself.save)
    assert device_itself.id
    assert device_itself.created_at
    device_itself.add_unique("channels", "tom").increment("badge").set("seats", {"row": 5})
    await do(device_itself.save, fetch_when_save=True)
    assert (device_itself.get("channels"), device_itself.get("badge")) == (["public", "tom"], 3)
    found = await do(Installation.query.equal_to("deviceToken", device_itself.get("deviceToken")).first)
    assert (found.id, found.get("seats"), found.get("valid")) == (device_itself.id, {"row": 5}, True)
    assert (found.created_at, found.updated_at) == (device_itself.created_at, device_itself.updated_at)
    found.remove("channels", "public").unset("seats")
    await do(Installation.save_all, [found, phone()])
    changed = await do(Installation.query.get, device_itself.id)
    assert (changed.get("channels"), changed.get("seats")) == (["tom"], None)


async def test_a_device_that_registers_again_is_the_same() -> None:
    leancloud.use_master_key(False)
    one = phone(channels=["public"])
    await do(one.save)
    other = Installation(deviceType="ios", deviceToken=one.get("deviceToken"))
    await do(other.save)
    assert other.id == one.id
    await do(other.fetch)
    assert other.get("channels") == ["public"]


async def test_a_device_that_says_too_little_is_told_so() -> None:
    assert await failure(Installation(deviceType="ios").save) == 135
    assert await failure(Installation(deviceToken="x").save) == 135
    assert await failure(phone(channels=5).save) == 400


async def test_only_the_application_finds_and_forgets_devices_of_others() -> None:
    label = someone("label")
    devices = [phone(channels=[label], size=size) for size in (1, 2, 3)]
    await do(Installation.save_all, devices)
    query = Installation.query.equal_to("channels", label)
    assert [one.get("size") for one in await do(query.ascending("size").find)] == [1, 2, 3]
    assert await do(Installation.query.equal_to("channels", label).greater_than("size", 1).count) == 2
    await do(devices[0].destroy)
    await do(Installation.destroy_all, devices[1:2])
    assert [one.id for one in await do(query.find)] == [devices[2].id]
    leancloud.use_master_key(False)
    assert await failure(query.find) == 403
    assert await failure(devices[2].destroy) == 401
    assert await failure(Installation.destroy_all, devices[2:]) == 401
    await do(devices[2].fetch)
