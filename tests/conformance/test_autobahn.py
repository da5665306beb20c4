"""The Autobahn cases, as ``kosoku`` runs them, against an echo server made of the product's codec and connection."""

from collections import Counter

import pytest
from kosoku import FailureError, run_fuzzingclient

from fastim._frames import encode_websocket
from tests.conformance import echo_server as echo
from tests.conformance.echo_server import echo_server

SECTIONS = {
    "1": 16,  # messages of all sizes
    "2": 11,  # pings and pongs
    "3": 7,  # reserved bits
    "4": 10,  # reserved opcodes
    "5": 20,  # fragments
    "6": 145,  # UTF-8
    "7": 37,  # closing
    "9": 54,  # large messages, and many
    "10": 1,  # a message in frames of its sender's choice
}
"""How many cases each has, so that none goes missing in silence."""
DECLINED = {"12": 90, "13": 126}
"""Compression, which the handshake declines: commands are short."""
UNDEFINED = {
    "7.1.6": "what becomes of a message behind a close",
    "7.13.1": "close code 5000",
    "7.13.2": "close code 65536",
}
"""Cases that only tell how a server behaves, because the RFC leaves it open."""

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("section", "cases"), SECTIONS.items())
async def test_every_case_of_a_section_passes(section: str, cases: int) -> None:
    results = await run(f"{section}.*")
    assert len(results) == cases
    for case, verdict in results.items():
        assert verdict == (("INFORMATIONAL",) * 2 if case in UNDEFINED else ("OK", "OK")), case


@pytest.mark.filterwarnings("ignore:.*autobahntestsuite/testdata")  # files that kosoku leaves open
@pytest.mark.parametrize(("section", "cases"), DECLINED.items())
async def test_compression_is_declined_and_the_connection_works_without(section: str, cases: int) -> None:
    assert Counter((await run(f"{section}.*")).values()) == {("UNIMPLEMENTED", "OK"): cases}


async def test_a_server_that_garbles_messages_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "encode_websocket", lambda opcode, payload: encode_websocket(opcode, payload + b"!"))
    assert (await run("1.1.2"))["1.1.2"][0] == "FAILED"


async def run(cases: str) -> dict[str, tuple[str, str]]:
    """The verdicts on what was said and on how it was closed, by case."""
    async with echo_server() as address:
        try:
            results = await run_fuzzingclient(f"ws://{address}", [cases])
        except FailureError as failure:
            results = failure.results
    return {one.case_id: (one.behavior.value, one.behavior_close.value) for one in results}
