"""Every hook through a real server, with each answer that it may give: over HTTP, and in Python.

Source: semantics, section 14.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from fastim.wire import messages2_pb2 as pb
from tests.client.service import found_service
from tests.end_to_end.clients import someone
from tests.end_to_end.hook_back_end import HOOK_KEY, SESSION_TOKEN, USER, HookBackEnd, hooked_server, saying
from tests.end_to_end.hook_clients import person, refusal, scene
from tests.end_to_end.rest import Rest
from tests.server_process import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LOCAL = "127.0.0.1"
PRESENT: Any = object()
"""Stands for a value that is there and is not known before."""
SIGN = f"/1.2/rtm/clients/sign?session_token={SESSION_TOKEN}"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "trio"


@pytest.fixture(scope="module")
def house() -> Iterator[HookBackEnd]:
    with HookBackEnd() as back_end:
        yield back_end


@pytest.fixture
def back_end(house: HookBackEnd) -> Iterator[HookBackEnd]:
    yield house
    house.reset()


@pytest.fixture(scope="module", params=["http", "python"])
def server(
    house: HookBackEnd, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server that shows an engine's answers."""
    settings = {"hooks__refresh_seconds": 0.1, "messages__modify_enabled": True, "push__retry_first_seconds": 0.05}
    with hooked_server(tmp_path_factory.mktemp("data"), house, request.param, **settings) as process:
        yield process


def fits(said: dict[str, Any], **expected: Any) -> None:
    """Exactly these fields are there, with these values, or any where it is not known."""
    assert said.keys() == expected.keys(), said
    assert {name: value for name, value in said.items() if expected[name] is not PRESENT} == {
        name: value for name, value in expected.items() if value is not PRESENT
    }


# --- _messageReceived -------------------------------------------------------------------------------------------------


async def test_a_message_is_asked_about_in_full(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s:
        assert refusal(await s.tom.send(s.conversation_id, "good morning")) == (0, None, None)
        (asked,) = back_end.calls("_messageReceived", content="good morning", convId=s.conversation_id)
        fits(
            asked.said,
            fromPeer=s.tom.id,
            convId=s.conversation_id,
            toPeers=[s.jerry.id, s.tyke],
            transient=False,
            bin=False,
            content="good morning",
            receipt=False,
            timestamp=PRESENT,
            system=False,
            sourceIP=LOCAL,
            groupId=None,
        )
        assert await s.jerry.messages() == [b"good morning"]
        assert await s.tom.news() == []
        if asked.headers:
            assert asked.headers["X-LC-Id"] == server.app_id
            assert asked.headers["X-LC-Key"] == server.app_key
            assert asked.headers["X-LC-Hook-Key"] == HOOK_KEY
            assert asked.headers["Content-Type"] == "application/json"


async def test_what_is_said_of_a_message_depends_on_what_it_is(server: ServerProcess, back_end: HookBackEnd) -> None:
    service = await found_service(server, someone("news"))
    async with scene(server) as s:
        await s.tom.send(s.conversation_id, binaryMsg=b"\x00\xff", transient=True)
        (asked,) = back_end.calls("_messageReceived", convId=s.conversation_id, transient=True)
        assert (asked.said["bin"], asked.said["content"]) == (True, b64encode(b"\x00\xff").decode())

        duo = await s.tom.start(s.tom.id, s.jerry.id)
        await s.tom.send(duo, r=True)
        (asked,) = back_end.calls("_messageReceived", convId=duo)
        assert (asked.said["toPeers"], asked.said["receipt"]) == ([s.jerry.id], True)

        room = await s.tom.start(transient=True)
        await s.tom.send(room)
        (asked,) = back_end.calls("_messageReceived", convId=room)
        assert (asked.said["toPeers"], asked.said["system"], asked.said["transient"]) == ([], False, False)

        await s.tom.send(service.id)
        (asked,) = back_end.calls("_messageReceived", convId=service.id)
        assert (asked.said["toPeers"], asked.said["system"], asked.said["transient"]) == ([], True, False)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"drop": True}, (4402, None, None)),
        ({"drop": True, "code": 1001, "detail": "no advertising"}, (4402, 1001, "no advertising")),
        ({"drop": True, "code": -7, "detail": "", "content": "else"}, (4402, -7, None)),
    ],
)
@pytest.mark.parametrize("transient", [False, True])
async def test_a_dropped_message_is_refused_with_the_hooks_words_and_reaches_nobody(
    server: ServerProcess,
    back_end: HookBackEnd,
    answer: dict[str, Any],
    told: tuple[int, int | None, str | None],
    transient: bool,
) -> None:
    async with scene(server) as s:
        back_end.answer("_messageReceived", **answer)
        reply = await s.tom.send(s.conversation_id, "casino", transient=transient)
        assert reply.cmd == pb.ack
        assert reply.ackMessage.reason == "MESSAGE_REJECTED_BY_APP"
        assert refusal(reply) == told
        assert await s.jerry.news() == []
        assert await s.tom.history(s.conversation_id) == [b"to begin with"]


@pytest.mark.parametrize("transient", [False, True])
async def test_replaced_content_is_what_everybody_has_and_its_sender_is_told_why(
    server: ServerProcess, back_end: HookBackEnd, transient: bool
) -> None:
    async with scene(server) as s:
        back_end.answer("_messageReceived", content="d***", code=9, detail="mind your language")
        ack = (await s.tom.send(s.conversation_id, "damn", transient=transient)).ackMessage
        (patch,) = await s.tom.patches()
        assert (patch.mid, patch.data, patch.patchCode, patch.patchReason) == (
            ack.uid,
            b"d***",
            9,
            "mind your language",
        )
        assert await s.jerry.messages() == [b"d***"]
        kept = [] if transient else [b"d***"]
        assert await s.jerry.history(s.conversation_id) == [b"to begin with", *kept]


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        ({"content": b64encode(b"\x01\xfe").decode(), "bin": True}, b"\x01\xfe"),
        ({"content": "", "bin": False}, b""),
        ({"content": "hello"}, b"hello"),
        ({"content": "no Base64!", "bin": True}, b"hello"),
        ({"content": "x" * 6_000}, b"hello"),
    ],
)
async def test_content_may_become_binary_and_is_left_when_it_cannot_be(
    server: ServerProcess, back_end: HookBackEnd, answer: dict[str, Any], body: bytes
) -> None:
    async with scene(server) as s:
        back_end.answer("_messageReceived", **answer)
        await s.tom.send(s.conversation_id, "hello")
        assert await s.jerry.messages() == [body]
        assert len(await s.tom.patches()) == (body != b"hello")


async def test_a_negative_code_for_replaced_content_is_not_told(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s:
        back_end.answer("_messageReceived", content="else", code=-4408, detail="built in?")
        await s.tom.send(s.conversation_id)
        (patch,) = await s.tom.patches()
        assert patch.data == b"else"
        assert not patch.patchCode
        assert not patch.patchReason


async def test_chosen_receivers_are_all_that_get_it_live(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s, person(server) as spike, person(server, s.tom.id) as toms_other:
        await s.tom.conv(pb.add, s.conversation_id, m=[spike.id])
        for one in (s.tom, s.jerry, spike, toms_other):
            await one.news()
        back_end.answer("_messageReceived", toPeers=[spike.id, "a stranger"])
        await s.tom.send(s.conversation_id, "for spike")
        assert await s.jerry.messages() == []
        assert await spike.messages() == [b"for spike"]
        assert await toms_other.messages() == [b"for spike"]
        back_end.answer("_messageReceived", toPeers=[])
        await s.tom.send(s.conversation_id, "for nobody")
        assert await s.jerry.messages() == await spike.messages() == []
        assert await s.jerry.history(s.conversation_id) == [b"to begin with", b"for spike", b"for nobody"]


async def test_an_answer_of_nothing_changes_nothing(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s:
        await s.tom.send(s.conversation_id, "as it is")
        assert await s.jerry.messages() == [b"as it is"]
        assert await s.tom.news() == []


@pytest.mark.parametrize(("answer", "delivered"), [({}, b"alas"), ({"content": "oh"}, b"oh"), ({"drop": True}, None)])
async def test_a_will_is_asked_about_when_it_is_sent(
    server: ServerProcess, back_end: HookBackEnd, answer: dict[str, Any], delivered: bytes | None
) -> None:
    async with scene(server) as s:
        async with person(server) as spike:
            await s.tom.conv(pb.add, s.conversation_id, m=[spike.id])
            await spike.send(s.conversation_id, "alas", will=True)
            assert back_end.calls("_messageReceived", content="alas", fromPeer=spike.id) == []
            back_end.answer("_messageReceived", **answer)
        await back_end.asked("_messageReceived", content="alas", fromPeer=spike.id)
        back_end.acts.clear()
        # What is asked about only then is delivered only then.
        await s.tom.send(s.conversation_id, "goodbye")
        assert await s.jerry.messages() == ([] if delivered is None else [delivered]) + [b"goodbye"]


async def test_what_the_application_sends_itself_is_not_asked_about_but_told(
    server: ServerProcess, back_end: HookBackEnd
) -> None:
    async with scene(server) as s:
        back_end.answer("_messageReceived", drop=True)
        await Rest(server).post(
            f"/1.2/rtm/conversations/{s.conversation_id}/messages", from_client=s.tom.id, message="by REST"
        )
        # It is answered before it is delivered, and this is told of after both.
        await back_end.asked("_messageSent", content="by REST")
        assert await s.jerry.messages() == [b"by REST"]
        assert back_end.calls("_messageReceived", content="by REST") == []


# --- _messageSent -----------------------------------------------------------------------------------------------------


async def test_the_hook_is_told_who_was_there_when_a_message_was_sent(
    server: ServerProcess, back_end: HookBackEnd
) -> None:
    async with scene(server) as s:
        back_end.answer("_messageReceived", content="hi")
        ack = (await s.tom.send(s.conversation_id, "hello")).ackMessage
        (told,) = await back_end.asked("_messageSent", msgId=ack.uid)
        fits(
            told.said,
            fromPeer=s.tom.id,
            convId=s.conversation_id,
            msgId=ack.uid,
            onlinePeers=[s.jerry.id],
            offlinePeers=[s.tyke],
            transient=False,
            system=False,
            bin=False,
            content="hi",
            receipt=False,
            timestamp=ack.t,
            sourceIP=LOCAL,
        )


# --- _receiversOffline ------------------------------------------------------------------------------------------------


async def test_the_hook_is_asked_about_those_who_are_offline(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s:
        ack = await s.tom.send(s.conversation_id, "where are you?", mentionPids=[s.tyke, s.jerry.id])
        (asked,) = await back_end.asked("_receiversOffline", content="where are you?", convId=s.conversation_id)
        fits(
            asked.said,
            fromPeer=s.tom.id,
            convId=s.conversation_id,
            offlinePeers=[s.tyke],
            content="where are you?",
            timestamp=ack.ackMessage.t,
            mentionAll=False,
            mentionOfflinePeers=[s.tyke],
        )
        await s.tom.send(s.conversation_id, "all of you?", mentionAll=True)
        (asked,) = await back_end.asked("_receiversOffline", content="all of you?", convId=s.conversation_id)
        assert (asked.said["mentionAll"], asked.said["mentionOfflinePeers"]) == (True, [])


async def test_the_hook_is_not_asked_where_nobody_is_offline_nor_in_chat_rooms(
    server: ServerProcess, back_end: HookBackEnd
) -> None:
    async with scene(server) as s:
        room, duo = await s.tom.start(transient=True), await s.tom.start(s.tom.id, s.jerry.id)
        for conversation_id in (room, duo, s.conversation_id):
            await s.tom.send(conversation_id, "to everybody who is here")
        await s.tom.send(s.conversation_id, "not stored", transient=True)
        await s.tom.send(s.conversation_id, "the last")
        await back_end.asked("_receiversOffline", convId=s.conversation_id, content="the last")
        # Jobs are worked out in the order of their conversation only, but there is none at all for the others.
        assert back_end.calls("_receiversOffline", convId=room) == []
        assert back_end.calls("_receiversOffline", convId=duo) == []
        assert back_end.calls("_receiversOffline", content="not stored") == []


@pytest.mark.parametrize(
    ("answer", "to_tyke", "to_jerry"),
    [
        ({}, "the message's", None),
        ({"pushMessage": '{"alert":"the hook\'s"}'}, "the hook's", None),
        ({"offlinePeers": ["jerry"]}, None, "the message's"),
        ({"offlinePeers": ["jerry", "tyke"], "pushMessage": '{"alert":"the hook\'s"}'}, "the hook's", "the hook's"),
        ({"skip": True, "force": True}, None, None),
        ({"offlinePeers": []}, None, None),
    ],
)
async def test_the_hook_decides_who_is_pushed_what(
    server: ServerProcess, back_end: HookBackEnd, answer: dict[str, Any], to_tyke: str | None, to_jerry: str | None
) -> None:
    async with scene(server) as s:
        people = {"jerry": s.jerry.id, "tyke": s.tyke}
        named = {name: [people[one] for one in value] for name, value in answer.items() if name == "offlinePeers"}
        back_end.answer("_receiversOffline", **answer | named)
        push_data = '{"alert":"the message\'s"}'
        first = (await s.tom.send(s.conversation_id, pushData=push_data)).ackMessage.uid
        await back_end.asked("_receiversOffline", number=2, convId=s.conversation_id)
        expected = {people["tyke"]: to_tyke, people["jerry"]: to_jerry}
        due = {client_id: alert for client_id, alert in expected.items() if alert}
        # A client gets its notifications in their order, and the second message reaches both.
        back_end.answer("_receiversOffline", offlinePeers=list(people.values()))
        second = (await s.tom.send(s.conversation_id, pushData=push_data)).ackMessage.uid
        await back_end.asked("push", number=2, msg_id=second)
        pushed = [one.said for one in back_end.calls("push", msg_id=first)]
        assert {one["client_id"]: one["data"]["alert"] for one in pushed} == due
        assert len(pushed) == len(due)


@pytest.mark.parametrize("force", [False, True])
async def test_force_reaches_those_who_muted_the_conversation(
    server: ServerProcess, back_end: HookBackEnd, force: bool
) -> None:
    async with scene(server) as s:
        async with person(server, s.tyke) as tyke:
            await tyke.conv(pb.mute, s.conversation_id)
        await back_end.asked("_clientOffline", peerId=s.tyke)
        back_end.answer("_receiversOffline", force=force, pushMessage='{"alert":"wake up"}')
        first = (await s.tom.send(s.conversation_id, "quietly?")).ackMessage.uid
        await back_end.asked("_receiversOffline", content="quietly?", convId=s.conversation_id)
        back_end.answer("_receiversOffline", force=True, pushMessage='{"alert":"wake up"}')
        second = (await s.tom.send(s.conversation_id)).ackMessage.uid
        await back_end.asked("push", msg_id=second, client_id=s.tyke)
        assert len(back_end.calls("push", msg_id=first, client_id=s.tyke)) == force


# --- _messageUpdate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recall", [False, True])
async def test_a_patch_is_asked_about_in_full(server: ServerProcess, back_end: HookBackEnd, recall: bool) -> None:
    async with scene(server) as s:
        change: dict[str, Any] = {"recall": True} if recall else {"data": b"better"}
        assert (await s.tom.patch(s.conversation_id, s.ack, **change)).op == pb.modified
        (asked,) = back_end.calls("_messageUpdate", msgId=s.ack.ackMessage.uid)
        content = asked.said["content"]
        fits(
            asked.said,
            fromPeer=s.tom.id,
            convId=s.conversation_id,
            toPeers=[s.jerry.id, s.tyke],
            bin=False,
            content=PRESENT,
            timestamp=s.ack.ackMessage.t,
            msgId=s.ack.ackMessage.uid,
            sourceIP=LOCAL,
            recall=recall,
            system=False,
        )
        if not recall:
            assert content == "better"
        (patch,) = await s.jerry.patches()
        assert (patch.mid, patch.recall) == (s.ack.ackMessage.uid, recall)
        assert await s.tom.news() == []


@pytest.mark.parametrize("change", [{"recall": True}, {"data": b"better"}], ids=["recall", "modify"])
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"drop": True}, (4405, None, None)),
        ({"drop": True, "code": 55, "detail": "too late", "content": "x"}, (4405, 55, "too late")),
    ],
)
async def test_a_dropped_patch_is_refused_and_changes_nothing(
    server: ServerProcess,
    back_end: HookBackEnd,
    change: dict[str, Any],
    answer: dict[str, Any],
    told: tuple[int, int | None, str | None],
) -> None:
    async with scene(server) as s:
        back_end.answer("_messageUpdate", **answer)
        reply = await s.tom.patch(s.conversation_id, s.ack, **change)
        assert reply.errorMessage.reason == "MESSAGE_UPDATE_REJECTED_BY_APP"
        assert refusal(reply) == told
        assert await s.jerry.news() == []
        assert await s.tom.history(s.conversation_id) == [b"to begin with"]


async def test_a_modified_message_reads_as_the_hook_wants(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s:
        back_end.answer("_messageUpdate", content="b*****", code=3, detail="really")
        assert (await s.tom.patch(s.conversation_id, s.ack, data=b"better")).op == pb.modified
        (heard,) = await s.jerry.patches()
        assert heard.data == b"b*****"
        (told,) = await s.tom.patches()
        assert (told.mid, told.data, told.patchCode, told.patchReason) == (
            s.ack.ackMessage.uid,
            b"b*****",
            3,
            "really",
        )
        assert await s.tom.history(s.conversation_id) == [b"b*****"]


async def test_a_modified_message_may_become_binary(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s:
        back_end.answer("_messageUpdate", content=b64encode(b"\x00\x01").decode(), bin=True)
        await s.tom.patch(s.conversation_id, s.ack, data=b"better")
        (heard,) = await s.jerry.patches()
        assert heard.binaryMsg == b"\x00\x01"


async def test_of_a_recalled_message_nothing_is_changed(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s:
        back_end.answer("_messageUpdate", content="still here", code=3)
        assert (await s.tom.patch(s.conversation_id, s.ack, recall=True)).op == pb.modified
        (heard,) = await s.jerry.patches()
        assert heard.recall
        assert b"still here" not in heard.data
        assert await s.tom.news() == []


async def test_a_patch_is_told_to_the_chosen_receivers_only(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s, person(server) as spike:
        await s.tom.conv(pb.add, s.conversation_id, m=[spike.id])
        await spike.news()
        await s.jerry.news()
        back_end.answer("_messageUpdate", toPeers=[spike.id])
        await s.tom.patch(s.conversation_id, s.ack, data=b"better")
        assert await s.jerry.patches() == []
        assert [item.data for item in await spike.patches()] == [b"better"]
        assert await s.jerry.history(s.conversation_id) == [b"better"]


# --- _conversationStart, _conversationStarted ------------------------------------------------------------------------


async def test_a_conversation_is_asked_about_and_told_of(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with person(server) as tom:
        jerry = someone("jerry")
        attr = pb.JsonObjectMessage(data='{"name": "kitchen", "attr": {"colour": "blue"}}')
        conversation_id = await tom.start(tom.id, jerry, attr=attr)
        (asked,) = back_end.calls("_conversationStart", initBy=tom.id)
        assert sorted(asked.said.pop("members")) == sorted((tom.id, jerry))
        assert asked.said == {"initBy": tom.id, "attr": {"name": "kitchen", "attr": {"colour": "blue"}}}
        (told,) = await back_end.asked("_conversationStarted", convId=conversation_id)
        assert told.said == {"convId": conversation_id}
        assert back_end.calls("_conversationAdd", initBy=tom.id) == []


REJECTIONS: list[tuple[dict[str, Any], tuple[int, int | None, str | None]]] = [
    ({"reject": True}, (4305, None, None)),
    ({"reject": True, "code": 1002, "detail": "too many"}, (4305, 1002, "too many")),
    ({"reject": True, "code": -1, "detail": "ü"}, (4305, -1, "ü")),
    ({"reject": False, "code": 1002, "detail": "never mind"}, (0, None, None)),
]

rejections = pytest.mark.parametrize(("answer", "told"), REJECTIONS, ids=["bare", "coded", "negative", "allowed"])


@rejections
@pytest.mark.parametrize("kind", [{}, {"transient": True}, {"tempConv": True}], ids=["normal", "room", "temporary"])
async def test_a_rejected_conversation_is_not_there(
    server: ServerProcess,
    back_end: HookBackEnd,
    answer: dict[str, Any],
    told: tuple[int, int | None, str | None],
    kind: dict[str, Any],
) -> None:
    async with person(server) as tom, person(server) as jerry:
        back_end.answer("_conversationStart", **answer)
        members = [] if "transient" in kind else [tom.id, jerry.id]
        reply = await tom.conv(pb.start, m=members, **kind)
        assert refusal(reply) == told
        news = await jerry.news()
        if answer["reject"]:
            assert reply.errorMessage.reason == "CONVERSATION_REJECTED_BY_APP"
            assert news == []
        else:
            assert [one.op for one in news] == ([pb.joined, pb.members_joined] if members else [])


# --- _conversationAdd, _conversationAdded ----------------------------------------------------------------------------


async def test_inviting_and_joining_are_asked_about_and_told_of(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s, person(server) as spike:
        for asker, newcomer in ((s.tom, someone("butch")), (spike, spike.id)):
            assert (await asker.conv(pb.add, s.conversation_id, m=[newcomer])).op == pb.added
            expected = {"initBy": asker.id, "convId": s.conversation_id, "members": [newcomer]}
            (asked,) = back_end.calls("_conversationAdd", initBy=asker.id)
            assert asked.said == expected
            (told,) = await back_end.asked("_conversationAdded", initBy=asker.id)
            assert told.said == expected


@rejections
@pytest.mark.parametrize("joins", [False, True])
async def test_a_rejected_addition_adds_nobody(
    server: ServerProcess,
    back_end: HookBackEnd,
    answer: dict[str, Any],
    told: tuple[int, int | None, str | None],
    joins: bool,
) -> None:
    async with scene(server) as s, person(server) as spike:
        back_end.answer("_conversationAdd", **answer)
        asker = spike if joins else s.tom
        assert refusal(await asker.conv(pb.add, s.conversation_id, m=[spike.id])) == told
        members = (await s.tom.look_up(s.conversation_id))["m"]
        assert (spike.id in members) == (not answer["reject"])
        assert bool(await s.jerry.news()) == (not answer["reject"])


# --- _conversationRemove, _conversationRemoved -----------------------------------------------------------------------


async def test_removing_is_asked_about_and_leaving_only_told_of(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s:
        assert (await s.tom.conv(pb.remove, s.conversation_id, m=[s.tyke])).op == pb.removed
        expected = {"initBy": s.tom.id, "convId": s.conversation_id, "members": [s.tyke]}
        (asked,) = back_end.calls("_conversationRemove", convId=s.conversation_id)
        assert asked.said == expected
        (told,) = await back_end.asked("_conversationRemoved", initBy=s.tom.id)
        assert told.said == expected

        back_end.answer("_conversationRemove", reject=True)
        assert (await s.jerry.conv(pb.remove, s.conversation_id, m=[s.jerry.id])).op == pb.removed
        (told,) = await back_end.asked("_conversationRemoved", initBy=s.jerry.id)
        assert told.said == {"initBy": s.jerry.id, "convId": s.conversation_id, "members": [s.jerry.id]}
        assert len(back_end.calls("_conversationRemove", convId=s.conversation_id)) == 1


@rejections
async def test_a_rejected_removal_removes_nobody(
    server: ServerProcess, back_end: HookBackEnd, answer: dict[str, Any], told: tuple[int, int | None, str | None]
) -> None:
    async with scene(server) as s:
        back_end.answer("_conversationRemove", **answer)
        assert refusal(await s.tom.conv(pb.remove, s.conversation_id, m=[s.tyke])) == told
        assert (s.tyke in (await s.tom.look_up(s.conversation_id))["m"]) == answer["reject"]


# --- _conversationUpdate ----------------------------------------------------------------------------------------------


async def test_attributes_and_mutes_are_asked_about_each_by_itself(
    server: ServerProcess, back_end: HookBackEnd
) -> None:
    async with scene(server) as s:
        assert (await s.tom.update(s.conversation_id, name="kitchen", **{"attr.colour": "blue"})).op == pb.updated
        await s.tom.conv(pb.mute, s.conversation_id)
        await s.tom.conv(pb.unmute, s.conversation_id)
        asked = back_end.calls("_conversationUpdate", convId=s.conversation_id)
        both = {"initBy": s.tom.id, "convId": s.conversation_id}
        assert [one.said for one in asked] == [
            {**both, "attr": {"name": "kitchen", "attr.colour": "blue"}},
            {**both, "mute": True},
            {**both, "mute": False},
        ]


@rejections
async def test_a_rejected_update_changes_nothing(
    server: ServerProcess, back_end: HookBackEnd, answer: dict[str, Any], told: tuple[int, int | None, str | None]
) -> None:
    async with scene(server) as s:
        back_end.answer("_conversationUpdate", **answer)
        assert refusal(await s.tom.update(s.conversation_id, name="kitchen")) == told
        assert refusal(await s.tom.conv(pb.mute, s.conversation_id)) == told
        stored = await s.tom.look_up(s.conversation_id)
        assert (stored.get("name") == "kitchen") == (not answer["reject"])
        assert (s.tom.id in stored.get("mu", [])) == (not answer["reject"])
        assert bool(await s.jerry.news()) == (not answer["reject"])


async def test_attributes_are_what_the_hook_wants_instead(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with scene(server) as s:
        back_end.answer("_conversationUpdate", attr={"name": "cellar", "attr": {"floor": -1}}, mute=True)
        reply = await s.tom.update(s.conversation_id, name="kitchen")
        assert reply.op == pb.updated
        stored = await s.tom.look_up(s.conversation_id)
        assert (stored["name"], stored["attr"], stored.get("mu", [])) == ("cellar", {"floor": -1}, [])
        (event,) = await s.jerry.news()
        assert "kitchen" not in str(event)
        assert json.loads(event.convMessage.attrModified.data)["name"] == "cellar"


@pytest.mark.parametrize("instead", [False, True])
async def test_a_mute_is_what_the_hook_wants_instead(
    server: ServerProcess, back_end: HookBackEnd, instead: bool
) -> None:
    async with scene(server) as s:
        await s.tom.conv(pb.unmute if instead else pb.mute, s.conversation_id)
        back_end.answer("_conversationUpdate", mute=instead, attr={"name": "cellar"})
        await s.tom.conv(pb.unmute if instead else pb.mute, s.conversation_id)
        stored = await s.tom.look_up(s.conversation_id)
        assert (s.tom.id in stored.get("mu", [])) == instead
        assert stored.get("name") != "cellar"


# --- _clientOnline, _clientOffline -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("session", "reconnect"), [({}, 0), ({"r": True, "tag": "phone"}, 1)])
async def test_who_comes_is_told(
    server: ServerProcess, back_end: HookBackEnd, session: dict[str, Any], reconnect: int
) -> None:
    async with person(server, **session) as tom:
        (told,) = await back_end.asked("_clientOnline", peerId=tom.id)
        tag = session.get("tag", "default")
        assert told.said == {"peerId": tom.id, "sourceIP": LOCAL, "tag": tag, "reconnect": reconnect}


async def test_who_goes_is_told_and_how(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with person(server, tag="phone") as tom:
        await tom.do(cmd=pb.session, op=pb.close, sessionMessage=pb.SessionCommand())
        (told,) = await back_end.asked("_clientOffline", peerId=tom.id)
        assert told.said.pop("closeMsg")
        assert told.said == {"peerId": tom.id, "closeCode": 1, "tag": "phone", "sourceIP": LOCAL}

    async with person(server, tag="phone") as tom:
        pass
    (told,) = await back_end.asked("_clientOffline", peerId=tom.id)
    assert told.said.pop("closeMsg")
    assert told.said == {"peerId": tom.id, "closeCode": 2, "tag": "phone"}

    spike, tagged = someone("spike"), {"tag": "phone"}
    async with person(server, spike, **tagged, deviceId="one"), person(server, spike, **tagged, deviceId="two"):
        (told,) = await back_end.asked("_clientOffline", peerId=spike, closeCode=3)
        assert (told.said["tag"], told.said["sourceIP"]) == ("phone", LOCAL)

    async with person(server) as tom:
        await Rest(server).post(f"/1.2/rtm/clients/{tom.id}/kick", reason="enough")
        (told,) = await back_end.asked("_clientOffline", peerId=tom.id)
        assert (told.said["closeCode"], told.said["sourceIP"]) == (4, LOCAL)


async def test_what_the_server_closed_a_connection_for_is_told(server: ServerProcess, back_end: HookBackEnd) -> None:
    async with person(server) as tom:
        await tom.line.send_frame(b"\xff\xff\xff")
        assert (await tom.line.parting())[0] == 4114
    (told,) = await back_end.asked("_clientOffline", peerId=tom.id)
    assert told.said["closeCode"] == 2
    assert (told.said["errorCode"], told.said["errorMsg"]) == (4114, "UNPARSEABLE_RAW_MESSAGE")


# --- _rtmClientSign ---------------------------------------------------------------------------------------------------


async def test_who_logs_in_with_a_session_token_is_asked_about(server: ServerProcess, back_end: HookBackEnd) -> None:
    before = len(back_end.calls("_rtmClientSign"))
    signed = await Rest(server, server.app_key).get(SIGN)
    assert signed["client_id"] == USER["objectId"]
    (asked,) = back_end.calls("_rtmClientSign")[before:]
    assert asked.said == USER


@pytest.mark.parametrize(
    "answer", [{"result": False, "error": "not today"}, {"result": {"result": False, "error": "not today"}}]
)
async def test_a_user_is_refused_a_signature(
    server: ServerProcess, back_end: HookBackEnd, answer: dict[str, Any]
) -> None:
    back_end.acts["_rtmClientSign"] = saying(answer)
    status, said = await Rest(server, server.app_key).ask("GET", SIGN)
    assert status == 403
    assert said["code"] == 4102
    assert "not today" in said["error"]


# --- The list of functions --------------------------------------------------------------------------------------------


async def test_what_is_not_defined_is_not_called_and_is_no_failure(house: HookBackEnd, tmp_path: Path) -> None:
    house.functions = ["_conversationAdd", "_messageUpdate", "somethingElse"]
    house.answer("_messageReceived", drop=True)
    settings = {"hooks__refresh_seconds": 0.1, "hooks__required": '["all"]'}
    with hooked_server(tmp_path, house, "http", **settings) as server:
        try:
            async with scene(server) as s:
                await s.tom.send(s.conversation_id, "unasked")
                assert await s.jerry.messages() == [b"unasked"]
                await s.tom.conv(pb.add, s.conversation_id, m=[someone("spike")])
                assert len(house.calls("_conversationAdd", convId=s.conversation_id)) == 1
                assert house.calls("_messageReceived", convId=s.conversation_id) == []

                house.functions = ["_messageReceived"]
                await house.until_listed()
                assert refusal(await s.tom.send(s.conversation_id, "asked"))[0] == 4402
                await s.tom.conv(pb.add, s.conversation_id, m=[someone("butch")])
                assert len(house.calls("_conversationAdd", convId=s.conversation_id)) == 1
        finally:
            house.reset()
        assert await anyio.to_thread.run_sync(server.terminate) == 0
    assert "a hook fails" not in server.log
