"""What a server answers is what its ``/openapi.json`` says, whatever it is asked: statuses, content types and schemas.

schemathesis makes the requests from the description, right ones and wrong ones. Most of them are about things that
there are, or they would never get far. ``FASTIM_OPENAPI_EXAMPLES`` says how many requests each call gets (8). Where it
is set the requests are other ones each time, and schemathesis also makes those that it does not leave to chance.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fastim.doors.http.rest import CALLS
from fastim.doors.http.rest.authentication import Access
from fastim.doors.http.rest.calls import AnyCall
from tests.end_to_end.clients import someone
from tests.server_process import ServerProcess

LONG = "FASTIM_OPENAPI_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("FASTIM_OPENAPI_EXAMPLES") or 8)
WITHOUT_CREDENTIALS = 2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 + EXAMPLES)]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REAL = st.sampled_from((True, True, True, False))
"""Whether a request is about something that there is."""


def effort(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def named(call: AnyCall) -> str:
    return f"{call.method} {call.path}"


class World:
    """Things that there are, for the calls of one kind of path; a new one where a call makes an end of it."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._known: dict[str, dict[str, Any]] = {}
        self.headers = {"X-LC-Id": server.app_id, "X-LC-Key": f"{server.master_key},master"}

    def put_into(self, call: AnyCall, case: Any) -> None:
        """Name real things in a request."""
        family = self._family(call.path)
        if call.method == "DELETE":
            known = self._made(family)
        else:
            known = self._known[family] = self._known.get(family) or self._made(family)
        for part in (case.path_parameters, case.query, case.body):
            if isinstance(part, dict):
                part.update({name: known[name] for name in part.keys() & known.keys()})

    def _family(self, path: str) -> str:
        if path.endswith(("/rtm/broadcasts", "/rtm/broadcasts/{message_id}", "/rtm/broadcast")):
            return "broadcasts"
        if "service-conv" in path or "subscri" in path:
            return "service-conversations"
        return "chatrooms" if "chatrooms" in path or "transient_group" in path else "conversations"

    def _made(self, family: str) -> dict[str, Any]:
        """By each of the names that calls have for it: a conversation, a message in it, who sent it, and so on."""
        path = "/1.2/rtm/service-conversations" if family == "broadcasts" else f"/1.2/rtm/{family}"
        tom = someone("tom")
        conversation_id = self._ask(path, m=[tom, "jerry"])["objectId"]
        one = f"{path}/{conversation_id}"
        known = dict.fromkeys(("conversation_id", "conv_id", "convid", "gid", "cid"), conversation_id)
        known |= dict.fromkeys(("client_id", "clientId", "from_client", "from_peer", "from", "peerid"), tom)
        if family == "broadcasts":
            message = self._ask("/1.2/rtm/broadcasts", from_client=tom, conv_id=conversation_id, message="hi")
        elif family == "service-conversations":
            self._ask(f"{one}/subscribers", client_id=tom)
            message = self._ask(f"{one}/messages", from_client=tom, message="to tom", to_clients=[tom])
            known |= {"to_clients": [tom], "to_peers": [tom]}
        else:
            message = self._ask(f"{one}/messages", from_client=tom, message="hi")
            known["info_id"] = self._ask(f"{one}/member-infos", clientId=tom, role="Manager")["objectId"]
        known |= dict.fromkeys(("message_id", "msgid", "msg_id", "mid"), message["msg-id"])
        known["installation_id"] = self._ask("/1.1/installations", deviceType="ios", deviceToken=tom)["objectId"]
        return {**known, "timestamp": message["timestamp"]}

    def _ask(self, path: str, **body: Any) -> Any:
        headers = {**self.headers, "Content-Type": "application/json"}
        with urlopen(Request(self._server.http_url + path, json.dumps(body).encode(), headers), timeout=10) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server without quotas."""
    per_minute = ("sends", "subscriber_broadcasts", "broadcasts", "installations")
    per_day = ("subscriber_broadcasts", "broadcasts")
    quotas = [*(f"{name}_per_minute" for name in per_minute), *(f"{name}_per_day" for name in per_day)]
    unlimited = [word for name in quotas for word in ("--set", f"rest.{name}=0")]
    with ServerProcess(tmp_path_factory.mktemp("described") / "data", *unlimited) as process:
        yield process
        assert '"level": "error"' not in process.log, process.log
        assert "Traceback" not in process.log, process.log


@pytest.fixture(scope="module")
def described(server: ServerProcess) -> BaseSchema:
    schema = schemathesis.openapi.from_url(f"{server.http_url}/openapi.json")
    schema.config.generation.update(with_security_parameters=False)  # credentials are shown here, and not made up
    return schema


@pytest.fixture(scope="module")
def world(server: ServerProcess) -> World:
    return World(server)


def requests_to(operation: APIOperation[Any, Any, Any, Any]) -> st.SearchStrategy[Any]:
    """Right requests, and wrong ones where there is something that can be wrong."""
    right = operation.as_strategy(GenerationMode.POSITIVE)
    if not operation.path_parameters and not operation.query and not operation.body:
        return right
    return st.one_of(right, right, operation.as_strategy(GenerationMode.NEGATIVE))


@pytest.mark.parametrize("call", CALLS, ids=named)
def test_whoever_may_call_is_answered_as_described(described: BaseSchema, world: World, call: AnyCall) -> None:
    @effort(EXAMPLES)
    @given(case=requests_to(described[call.path][call.method]), real=REAL)
    def ask(case: Any, real: bool) -> None:
        if real:
            world.put_into(call, case)
        # What was put in may have replaced what was wrong.
        case.call_and_validate(headers=world.headers, checks=CHECKS if real else [*CHECKS, negative_data_rejection])

    ask()


@pytest.mark.parametrize("call", [call for call in CALLS if call.access > Access.ANYBODY], ids=named)
def test_whoever_may_not_is_told_so_as_described(described: BaseSchema, call: AnyCall) -> None:
    operation = described[call.path][call.method]

    @effort(WITHOUT_CREDENTIALS)
    @given(case=operation.as_strategy(GenerationMode.POSITIVE))
    def ask(case: Any) -> None:
        response = case.call_and_validate(checks=CHECKS)
        assert response.status_code == 401

    ask()


if LONG:

    @pytest.mark.timeout(1800)
    def test_schemathesis_finds_nothing_by_its_own_ways(server: ServerProcess, world: World, tmp_path: Path) -> None:
        shown = [word for name, value in world.headers.items() for word in ("--header", f"{name}: {value}")]
        # What can be understood may still be refused: an id of no client, a condition that is none.
        options = ["--exclude-checks=positive_data_acceptance", "--generation-with-security-parameters=false"]
        command = [str(Path(sys.executable).with_name("st")), "run", f"{server.http_url}/openapi.json", "--no-color"]
        phases = ["--phases=coverage,stateful", "--max-examples=20"]
        ended = subprocess.run([*command, *shown, *options, *phases], cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
