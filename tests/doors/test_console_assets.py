"""The console's pages, and what browsers are told about them."""

import gzip
from pathlib import Path

import pytest

from fastim.doors.http.console.assets import Asset, built_assets, read_assets
from tests.doors.desk import Desk, desk

pytestmark = pytest.mark.anyio

SCRIPT = b"console.log(1);" * 100
HASHED = "/console/assets/index-jh2bOElr.js"


@pytest.fixture
def assets(tmp_path: Path) -> dict[str, Asset]:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_bytes(b"<!doctype html>")
    (tmp_path / "try.html").write_bytes(b"<!doctype html><p>try")
    (tmp_path / "assets" / "index-jh2bOElr.js").write_bytes(SCRIPT)
    (tmp_path / "assets" / "plain.js").write_bytes(b"1")
    (tmp_path / "assets" / "dot.png").write_bytes(b"\x89PNG" * 100)
    (tmp_path / "assets" / "source.map").write_bytes(b"{}")
    (tmp_path / "secret").write_bytes(b"no page")
    return read_assets(tmp_path)


async def fetch(one: Desk, path: str, *fields: str) -> tuple[int, bytes]:
    await one.socket.write("\r\n".join((f"GET {path} HTTP/1.1", "Host: a:1", *fields, "\r\n")).encode())
    status, one.header, body = await one.socket.read_response()
    return status, body


async def not_modified(one: Desk, path: str, *fields: str) -> dict[str, str]:
    """The header of an answer that has no body."""
    await one.socket.write("\r\n".join((f"GET {path} HTTP/1.1", "Host: a:1", *fields, "\r\n")).encode())
    first, *lines = (await one.socket.read_head()).decode().rstrip().split("\r\n")
    assert first.split()[1] == "304"
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


async def test_pages_are_there_before_anybody_has_signed_in(assets: dict[str, Asset]) -> None:
    async with desk(signed_in=False, assets=assets) as one:
        for path in ("/console", "/console/"):
            assert await fetch(one, path) == (200, b"<!doctype html>")
            assert one.header["content-type"] == "text/html; charset=utf-8"
            assert one.header["cache-control"] == "no-cache"
        assert await fetch(one, "/console/try") == (200, b"<!doctype html><p>try")


async def test_pages_load_nothing_from_elsewhere_and_are_in_no_frame(assets: dict[str, Asset]) -> None:
    async with desk(assets=assets) as one:
        await fetch(one, "/console")
        policy = one.header["content-security-policy"].split("; ")
        assert policy == [
            "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
            "font-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
        ]  # fmt: skip
        assert one.header["x-content-type-options"] == "nosniff"
        assert one.header["referrer-policy"] == "no-referrer"
        assert one.header["cross-origin-opener-policy"] == "same-origin"
        assert "access-control-allow-origin" not in one.header


async def test_the_page_to_try_it_may_reach_our_web_sockets(assets: dict[str, Asset]) -> None:
    async with desk(assets=assets) as one:
        await fetch(one, "/console/try")
        assert "connect-src 'self' ws://a:1 wss://a:1;" in one.header["content-security-policy"]
        await fetch(one, "/console/try", "X-Forwarded-Host: b; script-src *")
        assert "connect-src 'self';" in one.header["content-security-policy"]


async def test_files_whose_name_changes_with_them_are_kept_for_good(assets: dict[str, Asset]) -> None:
    async with desk(assets=assets) as one:
        assert await fetch(one, HASHED) == (200, SCRIPT)
        assert one.header["content-type"] == "text/javascript; charset=utf-8"
        assert one.header["cache-control"] == "public, max-age=31536000, immutable"
        await fetch(one, "/console/assets/plain.js")
        assert one.header["cache-control"] == "no-cache"


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP;q=0.5", "*"])
async def test_who_takes_gzip_gets_it(assets: dict[str, Asset], accepted: str) -> None:
    async with desk(assets=assets) as one:
        status, body = await fetch(one, HASHED, f"Accept-Encoding: {accepted}")
        assert (status, one.header["content-encoding"]) == (200, "gzip")
        assert len(body) < len(SCRIPT)
        assert gzip.decompress(body) == SCRIPT
        assert one.header["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("accepted", ["br", "gzip;q=0", "gzip; q=0.0", "xgzip"])
async def test_who_does_not_take_gzip_does_not_get_it(assets: dict[str, Asset], accepted: str) -> None:
    async with desk(assets=assets) as one:
        assert await fetch(one, HASHED, f"Accept-Encoding: {accepted}") == (200, SCRIPT)
        assert "content-encoding" not in one.header
        assert one.header["vary"] == "Accept-Encoding"


async def test_what_would_not_become_shorter_is_sent_as_it_is(assets: dict[str, Asset]) -> None:
    async with desk(assets=assets) as one:
        for path in ("/console/assets/dot.png", "/console/assets/plain.js"):
            await fetch(one, path, "Accept-Encoding: gzip")
            assert "content-encoding" not in one.header


async def test_what_the_browser_has_is_not_sent_again(assets: dict[str, Asset]) -> None:
    async with desk(assets=assets) as one:
        await fetch(one, "/console")
        tag = one.header["etag"]
        header = await not_modified(one, "/console", f'If-None-Match: "other", W/{tag}')
        assert header["etag"] == tag
        assert "default-src 'none'" in header["content-security-policy"]
        assert (await fetch(one, HASHED, "Accept-Encoding: gzip", f"If-None-Match: {tag}"))[0] == 200
        packed = one.header["etag"]
        assert (await fetch(one, HASHED, f"If-None-Match: {packed}"))[0] == 200


@pytest.mark.parametrize(
    "path", ["/console/assets/gone.js", "/console/assets/../secret", "/console/assets/%2e%2e/secret", "/console/secret",
             "/console/assets/source.map", "/console/assets/"]
)  # fmt: skip
async def test_nothing_else_is_there(assets: dict[str, Asset], path: str) -> None:
    async with desk(assets=assets) as one:
        assert (await fetch(one, path))[0] == 404


async def test_a_console_that_was_not_built_says_so() -> None:
    async with desk(assets={}) as one:
        status, body = await fetch(one, "/console")
        assert status == 404
        assert b"make console" in body
        assert body.count(b"\n") == 1
        assert (await one.get("/session"))["signed_in"]


def test_the_package_is_read_whether_the_console_is_in_it_or_not(tmp_path: Path) -> None:
    assert read_assets(tmp_path / "nothing") == {}
    assert all(one.body for one in built_assets().values())
