"""Every call of the REST reference, asked as it says and answered as it says, by a real server.

What the answers mean is tested with the calls themselves; here it is that they have the documented form, each of them.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import quote

import anyio
import pytest

from fastim.core.ledger import Ledger
from fastim.doors.http.rest import CALLS
from fastim.doors.http.rest.calls import AnyCall
from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.clients import someone
from tests.end_to_end.raw import wire
from tests.end_to_end.rest import Rest
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio

Form = Any
"""Of an answer: a type, a value, a list with the form of each of at least one item, or the forms of all keys."""

CONVERSATIONS, ROOMS = "/1.2/rtm/conversations", "/1.2/rtm/chatrooms"
SERVICES, CLIENTS = "/1.2/rtm/service-conversations", "/1.2/rtm/clients"
TABLE = "/1.1/classes/_Conversation"
WORDS = "coffee\n"


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


class Example(NamedTuple):
    """A call's query and body, and the form of its answer. What is in braces is filled in; bytes are a text."""

    reply: Form
    body: dict[str, Any] | bytes | None = None
    query: str = ""


DONE: Form = {}
SENT = {"msg-id": str, "timestamp": int}
SAVED = {"updatedAt": str, "objectId": "{id}"}
CREATED = {"objectId": str, "createdAt": str}
IDS = {"result": [str]}
COUNT = {"count": int}
LOGGED = [
    {
        "timestamp": int,
        "conv-id": "{id}",
        "data": str,
        "from": str,
        "msg-id": str,
        "is-conv": True,
        "is-room": bool,
        "to": "{id}",
        "bin": False,
        "from-ip": str,
    }
]
LOGGED_ANYWHERE = [{**LOGGED[0], "conv-id": str, "to": str}]
BROADCASTED = [
    {
        "timestamp": int,
        "conv-id": "{id}",
        "data": "all",
        "from": "{tom}",
        "msg-id": str,
        "from-ip": str,
        "valid-till": int,
    }
]
ROW = {
    "objectId": str,
    "c": str,
    "m": list,
    "mu": list,
    "muted": bool,
    "createdAt": str,
    "updatedAt": str,
    "conv_type": int,
}
NEWEST = {**ROW, "lm": {"__type": "Date", "iso": str}, "name": "lunch"}
COUNTS = {"high": int, "normal": int, "low": int}
LEDGER = {"readers": int, **{name: COUNTS for name in Ledger.__struct_fields__ if name != "readers"}}
SUBSCRIBER = {"timestamp": int, "subscriber": "{tom}", "conv_id": "{id}"}
SIGNED = {"signature": str, "nonce": str, "client_id": "user-of-token", "timestamp": int}
WHO = {"client_ids": ["{tom}"]}
PATCH = {"from_client": "{tom}", "timestamp": "{timestamp}"}
SEND = {"from_client": "{tom}", "message": "hi"}
SEND_OLD = {"from_peer": "{tom}", "conv_id": "{id}", "message": "hi"}
PLACE = "from_client={tom}&timestamp={timestamp}"
OLD_PLACE = {"convid": "{id}", "msgid": "{message_id}", "timestamp": "{timestamp}", "from": "{tom}"}


def examples() -> Iterator[tuple[str, Example]]:
    yield from of_conversations_and_rooms()
    yield from of_services_and_clients()
    yield from of_older_calls()


def of_conversations_and_rooms() -> Iterator[tuple[str, Example]]:
    started = {**CREATED, "updatedAt": str, "name": "lunch", "m": ["{tom}"], "unique": True, "uniqueId": str}
    yield f"POST {CONVERSATIONS}", Example(started, {"name": "lunch", "m": ["{tom}"], "unique": True})
    for family in (ROOMS, SERVICES):
        yield f"POST {family}", Example(CREATED, {"name": "lunch"})
    for family in (CONVERSATIONS, ROOMS, SERVICES):
        one = f"{family}/{{conversation_id}}"
        yield f"PUT {one}", Example(SAVED, {"name": "dinner", "size": 5})
        yield f"DELETE {one}", Example(DONE)
        yield f"POST {one}/temporary-silenceds", Example(DONE, {"client_id": "{tom}", "ttl": 60})
        yield f"DELETE {one}/temporary-silenceds", Example(DONE, query="client_id={tom}")
    for family, flags in ((CONVERSATIONS, {}), (ROOMS, {"tr": True}), (SERVICES, {"sys": True})):
        found = {"results": [{**NEWEST, **flags}]}
        where = quote('{"objectId":"{id}"}', safe="{}")
        yield f"GET {family}", Example(found, query=f"where={where}&skip=0&limit=1")
    yield "GET /1.2/rtm/all-conversations", Example({"results": [NEWEST]}, query=f"where={where}")
    for list_ in ("members", "mutes"):
        yield f"POST {CONVERSATIONS}/{{conversation_id}}/{list_}", Example(SAVED, WHO)
        yield f"DELETE {CONVERSATIONS}/{{conversation_id}}/{list_}", Example(SAVED, WHO)
        yield f"GET {CONVERSATIONS}/{{conversation_id}}/{list_}", Example(IDS)
    yield f"GET {ROOMS}/{{conversation_id}}/ledger", Example(LEDGER)
    yield f"GET {ROOMS}/{{conversation_id}}/members", Example({"result": ["{tom}"]})
    yield f"GET {ROOMS}/{{conversation_id}}/members/online-count", Example({"result": 1})
    for family in (CONVERSATIONS, ROOMS):
        one = f"{family}/{{conversation_id}}"
        more = {"transient": False, "no_sync": False, "push_data": {"alert": "x"}, "priority": "HIGH"}
        mention = {"mention_all": True, "mention_client_ids": ["{tom}"]}
        yield f"POST {one}/messages", Example(SENT, {**SEND, **more, **mention})
        yield f"GET {one}/messages", Example(LOGGED, query="limit=2")
        yield f"PUT {one}/messages/{{message_id}}", Example(DONE, {**PATCH, "message": "ho"})
        yield f"PUT {one}/messages/{{message_id}}/recall", Example(DONE, PATCH)
        yield f"DELETE {one}/messages/{{message_id}}", Example(DONE, query=PLACE)
        for list_ in ("permanent-silenceds", "blacklists"):
            yield f"POST {one}/{list_}", Example(DONE, WHO)
            yield f"DELETE {one}/{list_}", Example(DONE, WHO)
            yield f"GET {one}/{list_}", Example({"client_ids": [str], "next": str}, query="limit=1")
        yield f"POST {one}/member-infos", Example({**SAVED, "objectId": str}, {"clientId": "{tom}", "role": "Manager"})
        yield f"PUT {one}/member-infos/{{info_id}}", Example({**SAVED, "objectId": "{info_id}"}, {"role": "Member"})
        yield f"DELETE {one}/member-infos/{{info_id}}", Example(DONE)
        record = {"clientId": "{tom}", "objectId": "{info_id}", "role": "Manager"}
        yield f"GET {one}/member-infos", Example({"results": [record]}, query="skip=0&limit=1&role=Manager")


def of_services_and_clients() -> Iterator[tuple[str, Example]]:
    one = f"{SERVICES}/{{conversation_id}}"
    yield f"POST {one}/subscribers", Example(DONE, {"client_id": "{tom}"})
    yield f"DELETE {one}/subscribers/{{client_id}}", Example(DONE)
    yield f"GET {one}/subscribers", Example([SUBSCRIBER], query="limit=50")
    yield f"GET {one}/subscribers/count", Example({"count": 1})
    yield f"POST {one}/broadcasts", Example(SENT, {**SEND, "push": {"alert": "x"}})
    yield f"POST {one}/messages", Example(SENT, {**SEND, "to_clients": ["{tom}"]})
    yield f"PUT {one}/messages/{{message_id}}", Example(DONE, {**PATCH, "message": "ho", "to_clients": ["{tom}"]})
    yield f"PUT {one}/messages/{{message_id}}/recall", Example(DONE, {**PATCH, "to_clients": ["{tom}"]})
    yield f"DELETE {one}/subscribers/{{client_id}}/messages/{{message_id}}", Example(DONE, query=PLACE)
    yield f"GET {one}/subscribers/{{client_id}}/messages", Example(LOGGED)
    online = {"results": ["{tom}"]}
    yield f"POST {CLIENTS}/check-online", Example(online, {"client_ids": ["{tom}", "nobody"]})
    yield f"GET {CLIENTS}/{{client_id}}/unread-count", Example(COUNT)
    yield f"POST {CLIENTS}/{{client_id}}/kick", Example(DONE, {"reason": "20 characters at most"[:20]})
    subscriptions = [{**SUBSCRIBER, "conv_id": str}]
    yield f"GET {CLIENTS}/{{client_id}}/service-conversations", Example(subscriptions, query="direction=old")
    yield f"GET {CLIENTS}/{{client_id}}/messages", Example(LOGGED_ANYWHERE)
    yield f"GET {CLIENTS}/sign", Example(SIGNED, query="session_token=token")
    yield "GET /1.2/rtm/stats", Example({"result": {"online_user_count": int, "user_count_today": int}})
    everybody = {"from_client": "{tom}", "conv_id": "{id}", "message": "all", "push": "x", "transient": False}
    yield "POST /1.2/rtm/broadcasts", Example(SENT, everybody)
    yield "GET /1.2/rtm/broadcasts", Example(BROADCASTED, query="conv_id={id}&limit=1&skip=0")
    yield "DELETE /1.2/rtm/broadcasts/{message_id}", Example(DONE)
    yield "GET /1.2/rtm/messages", Example(LOGGED_ANYWHERE, query="limit=1")


def of_older_calls() -> Iterator[tuple[str, Example]]:
    yield "POST /1.1/rtm/messages", Example(SENT, {**SEND_OLD, "push_data": {"alert": "x"}, "no_sync": True})
    for path in ("history", "logs"):
        yield (
            f"GET /1.1/rtm/messages/{path}",
            Example(LOGGED, query="convid={id}&max_ts={earlier}&limit=1&reversed=True"),
        )
    yield "PUT /1.1/rtm/messages/logs", Example(DONE, {**OLD_PLACE, "message": "ho"})
    yield "DELETE /1.1/rtm/messages/logs", Example(DONE, query="&".join(f"{key}={of}" for key, of in OLD_PLACE.items()))
    place = {"from_peer": "{tom}", "conv_id": "{id}", "msg_id": "{message_id}", "timestamp": "{timestamp}"}
    yield "PUT /1.1/rtm/patch/message", Example(DONE, {**place, "recall": True})
    yield "GET /1.1/rtm/messages/unread/{client_id}", Example(COUNT)
    yield "GET /1.1/rtm/messages/unread/{client_id}/{conversation_id}", Example(COUNT)
    yield "POST /1.1/rtm/broadcast", Example(SENT, {**SEND_OLD, "push_data": {"alert": "x"}})
    yield "GET /1.1/rtm/broadcast", Example(BROADCASTED, query="conv_id={id}&limit=1&skip=0")
    yield "DELETE /1.1/rtm/broadcast", Example(DONE, query="mid={message_id}")
    yield "POST /1.1/rtm/broadcast/subscriber", Example(SENT, {**SEND_OLD, "push": {"alert": "x"}})
    who = {"conv_id": "{id}", "client_id": "{tom}"}
    yield "POST /1.1/rtm/conversation/subscription", Example(DONE, who)
    yield "DELETE /1.1/rtm/conversation/subscription", Example(DONE, who)
    yield "POST /1.1/rtm/conversation/blacklist", Example(DONE, {**who, "ttl": 60})
    yield "DELETE /1.1/rtm/conversation/blacklist", Example(DONE, who)
    yield "PUT /1.2/rtm/words", Example({"words": 2}, "# drinks\n茶叶\ncoffee\n".encode())
    yield "GET /1.2/rtm/words", Example(WORDS)
    yield "DELETE /1.2/rtm/words", Example({"words": 0})
    hit = {"start": 2, "end": 8, "word": "coffee", "line": 1}
    yield "POST /1.2/rtm/words/test", Example({"masked": "a ***", "hits": [hit]}, {"text": "a Coffee"})
    counted = {"texts": int, "masked": int, "hits": list}
    listed = {"enabled": False, "words": 1, "source": "stored", "loaded_at": int}
    yield "GET /1.2/rtm/words/statistics", Example({**listed, **counted}, query="limit=5")
    yield "GET /1.1/rtm/transient_group/onlines", Example({"result": 1}, query="gid={id}")
    yield "POST /1.1/rtm/online", Example({"results": ["{tom}"]}, {"peers": ["{tom}", "nobody"]})
    yield "POST /1.1/rtm/client/kick", Example(DONE, {"client_id": "{tom}", "reason": "enough"})
    yield "POST /1.1/rtm/sign", Example(SIGNED, {"session_token": "token"})
    notices = {"notifications": list, "hasMore": False}
    yield "GET /1.1/rtm/notifications", Example(notices, query="client_id={tom}&start_ts=0&notification_type=permanent")
    record = {"objectId": "{info_id}", "cid": "{id}", "clientId": "{tom}", "role": "Manager"}
    where = quote('{"cid":"{id}"}', safe="{}")
    of_roles = f"where={where}&client_id={{tom}}&limit=1&skip=0"
    yield "GET /1.1/classes/_ConversationMemberInfo", Example({"results": [record]}, query=of_roles)
    yield "GET /1.1/date", Example({"__type": "Date", "iso": str})
    yield f"POST {TABLE}", Example(CREATED, {"name": "lunch", "m": {"__op": "AddUnique", "objects": ["{tom}"]}})
    rows = {"results": [NEWEST], "count": 1}
    where = quote('{"objectId":"{id}"}', safe="{}")
    yield f"GET {TABLE}", Example(rows, query=f"where={where}&order=-createdAt&limit=1&skip=0&count=1")
    yield f"GET {TABLE}/{{conversation_id}}", Example(NEWEST)
    add = {"m": {"__op": "Add", "objects": ["jerry"]}}
    yield f"PUT {TABLE}/{{conversation_id}}", Example(SAVED, add, query="fetchWhenSave=false")
    yield f"DELETE {TABLE}/{{conversation_id}}", Example(DONE)
    requests = [{"method": "DELETE", "path": f"{TABLE}/{{id}}", "body": {}}]
    yield "POST /1.1/batch", Example([{"success": {}}], {"requests": requests})
    yield from of_installations()


def of_installations() -> Iterator[tuple[str, Example]]:
    phone = {"deviceType": "ios", "deviceToken": "{tom}", "apnsTeamId": "TEAM", "channels": ["{tom}"]}
    row = {**phone, **CREATED, "updatedAt": str, "objectId": "{installation_id}", "valid": True}
    where = quote('{"deviceToken":"{tom}"}', safe="{}")
    for table in ("/1.1/installations", "/1.1/classes/_Installation"):
        one = f"{table}/{{installation_id}}"
        yield f"POST {table}", Example(CREATED, {**phone, "deviceToken": "new-{tom}"}, query="fetchWhenSave=false")
        found = {"results": [row], "count": 1}
        yield f"GET {table}", Example(found, query=f"where={where}&order=-createdAt&limit=1&skip=0&count=1")
        yield f"GET {one}", Example({**CREATED, "updatedAt": str, "channels": ["{tom}"]}, query="keys=channels")
        counted = {"badge": {"__op": "Increment", "amount": 1}, "channels": {"__op": "Remove", "objects": ["news"]}}
        yield f"PUT {one}", Example({**row, "badge": 1}, counted, query="fetchWhenSave=true")
        yield f"DELETE {one}", Example(DONE)
    request = {"method": "POST", "path": "/1.1/installations", "body": {**phone, "__internalId": "{tom}"}}
    yield "POST /1.1/batch/save", Example({"{tom}": {**CREATED, "updatedAt": str}}, {"requests": [request]})


EXAMPLES = dict(examples())


def named(call: AnyCall) -> str:
    return f"{call.method} {call.path}"


class Users(BaseHTTPRequestHandler):
    """Knows one user by its session token."""

    def do_GET(self) -> None:
        body = json.dumps({"objectId": f"user-of-{self.headers['X-LC-Session']}"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


@contextmanager
def knowing_users() -> Iterator[str]:
    """Where the application's users are known."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Users) as known:
        thread = threading.Thread(target=partial(known.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{known.server_address[1]}/1.1/users/me"
        finally:
            known.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("examples") / "data"
    with knowing_users() as url, ServerProcess(data, "--set", f"users.verify_url={url}") as process:
        yield process
        assert "Traceback" not in process.log, process.log


async def things(rest: Rest, call: AnyCall, tom: str) -> dict[str, Any]:
    """What the examples are about: a conversation of the right type and what was said in it, a role, listed words."""
    everybody = "broadcast" in call.path and "{conversation_id}" not in call.path and "subscriber" not in call.path
    if everybody or "service-conv" in call.path or "subscri" in call.path:
        family = SERVICES
    else:
        family = ROOMS if "chatrooms" in call.path or "transient_group" in call.path else CONVERSATIONS
    await rest.call("PUT", "/1.2/rtm/words", WORDS.encode())
    path = f"{family}/{(await rest.post(family, name='lunch', m=[tom, 'jerry']))['objectId']}"
    known: dict[str, Any] = {"id": path.rpartition("/")[2], "tom": tom, "client_id": tom, "info_id": ""}
    if family == SERVICES:
        await rest.post(f"{path}/subscribers", client_id=tom)
        said = await rest.post(f"{path}/broadcasts", from_client=tom, message="to all")
        if call.method != "GET":
            said = await rest.post(f"{path}/messages", from_client=tom, message="to tom", to_clients=[tom])
        if everybody:
            said = await rest.post("/1.2/rtm/broadcasts", from_client=tom, conv_id=known["id"], message="all")
    else:
        said = await rest.post(f"{path}/messages", from_client=tom, message="hi")
        role = await rest.post(f"{path}/member-infos", clientId=tom, role="Manager")
        known["info_id"] = role["objectId"]
        if call.method == "GET":
            await rest.post(f"{path}/permanent-silenceds", client_ids=["a", "b"])
            await rest.post(f"{path}/blacklists", client_ids=["a", "b"])
        if family == CONVERSATIONS:
            await rest.post(f"{path}/mutes", client_ids=["jerry"])
    phone = {"deviceType": "ios", "deviceToken": tom, "apnsTeamId": "TEAM", "channels": [tom]}
    known["installation_id"] = (await rest.post("/1.1/installations", **phone))["objectId"]
    known |= {"conversation_id": known["id"], "message_id": said["msg-id"], "timestamp": said["timestamp"]}
    return {**known, "earlier": said["timestamp"] - 1000}


def filled(value: Any, known: dict[str, Any]) -> Any:
    """The value with what is known in the place of what is in braces."""
    if isinstance(value, dict):
        return {filled(key, known): filled(inner, known) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, known) for inner in value]
    if not isinstance(value, str):
        return value
    if value[1:-1] in known:
        return known[value[1:-1]]
    for name, inner in known.items():
        value = value.replace(f"{{{name}}}", str(inner))
    return value


def check(answer: Any, form: Form) -> None:
    """Fail unless the answer has the form."""
    if isinstance(form, type):
        assert type(answer) is form, (answer, form)
    elif isinstance(form, dict):
        assert answer.keys() == form.keys(), answer
        for key, inner in form.items():
            check(answer[key], inner)
    elif isinstance(form, list):
        assert answer
        for item in answer:
            check(item, form[0])
    else:
        assert answer == form


@pytest.mark.parametrize("call", CALLS, ids=named)
async def test_the_answer_has_the_documented_form(server: ServerProcess, call: AnyCall) -> None:
    rest, tom = Rest(server), someone("tom")
    known = await things(rest, call, tom)
    example = EXAMPLES[named(call)]
    async with wire(server) as line:
        await line.open(tom)
        if "{id}" in example.query or ROOMS in call.path:
            await line.send(cmd=pb.conv, op=pb.add, i=2, convMessage=pb.ConvCommand(cid=known["id"], m=[tom]))
            with anyio.fail_after(20):
                while (await line.receive()).i != 2:
                    pass
        target = filled(call.path, known) + (f"?{filled(example.query, known)}" if example.query else "")
        answer = await rest.call(call.method, target, filled(example.body, known))
    check(answer, filled(example.reply, known))


def test_every_call_has_an_example_and_nothing_else_has() -> None:
    assert EXAMPLES.keys() == {named(call) for call in CALLS}
