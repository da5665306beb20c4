"""``fastim push test`` as it is run, with push services on this machine."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

import pytest
import structlog

from fastim.__main__ import main
from fastim.adapters.lmdb import LmdbStore
from fastim.core.installation import Installation
from fastim.core.units import Millis
from tests.adapters.push_servers import LocalProvider, Reply, Says, Trouble, p256_key, service_account

TOKEN = "IQAAAACy0kYwAADWFzT6d-registration_id"
HUAWEI = ("--type", "android", "--vendor", "hms", "--token", TOKEN)
MOMENT = Millis(1_700_000_000_000)
SECRET = "s3cretOfTheApp"


class Result(NamedTuple):
    code: int
    out: str
    err: str

    def said(self, about: str) -> str:
        """What the row says that begins with ``about``."""
        found = [line.removeprefix(about).strip() for line in self.out.splitlines() if line.startswith(f"{about} ")]
        assert len(found) == 1, self.out
        return found[0]


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def nowhere_in_particular(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty directory, no setting in the environment, rows that are not folded, and afterwards logs as before."""
    for name in [name for name in os.environ if name.startswith("FASTIM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.chdir(tmp_path)
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process."""

    def run(*words: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["fastim", "push", "test", *words])
        with pytest.raises(SystemExit) as exited:
            main()
        assert isinstance(exited.value.code, int)
        return Result(exited.value.code, *capsys.readouterr())

    return run


@contextmanager
def push_service(replies: dict[str, Reply]) -> Iterator[LocalProvider]:
    """One that answers on a loop of its own, since the command has another."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    service = LocalProvider()
    try:
        asyncio.run_coroutine_threadsafe(service.__aenter__(), loop).result()
        for path, reply in replies.items():
            service.answers(reply, path=path)
        yield service
        asyncio.run_coroutine_threadsafe(service.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def huawei(reply: Reply, token: Reply | None = None) -> dict[str, Reply]:
    return {
        "/oauth2/v3/token": token or Says(200, {"access_token": "access1", "expires_in": 3_600}),
        "/v1/1001/messages:send": reply,
    }


def keys(service: LocalProvider) -> list[str]:
    return [
        "--set", "push.hms_app_id=1001", "--set", f"push.hms_app_secret={SECRET}",
        "--set", f"push.hms_url={service.url}",
    ]  # fmt: skip


# --- What came of it --------------------------------------------------------------------------------------------------


def test_what_is_taken_is_said_and_exits_0(run: Run) -> None:
    with push_service(huawei(Says(200, {"code": "80000000", "requestId": "157000006"}))) as service:
        result = run(*HUAWEI, "--text", "Hello there", *keys(service))
    assert (result.code, result.err) == (0, "")
    assert result.said("to") == f"an android device of hms, token of {len(TOKEN)} characters"
    assert result.said("through") == f"Huawei's Push Kit, {service.url}"
    assert json.loads(result.said("sent")) == {"title": "fastim", "alert": "Hello there"}
    assert result.said("answer") == "taken, 157000006"
    assert "will bring it to the device" in result.said("means")
    assert "notifications are allowed" in result.said("do")
    message = service.asked[-1].json()["message"]
    assert message["token"] == [TOKEN]
    assert message["notification"] == {"title": "fastim", "body": "Hello there"}


@pytest.mark.parametrize(
    ("reply", "answer", "means", "advice"),
    [
        (
            Says(200, {"code": "80300007", "msg": TOKEN}),
            "the token is dead: 80300007: the device's token is not valid",
            "there is no such device",
            "See whether the token was copied as a whole",
        ),
        (
            Says(200, {"code": "80300008"}),
            "refused: 80300008: it is longer than 4096 bytes",
            "will not take this notification",
            "push.hms_app_id and push.hms_app_secret",
        ),
        (Says(503, b"", {"Retry-After": "30"}), "not now: 503; come back in 30 s", "did not take it now", "Wait"),
        (Trouble.RESET, "not now: the connection was cut", "could not be asked", "may connect to http://127.0.0.1:"),
        (Trouble.GARBAGE, "not now: the answer is not HTTP", "could not be asked", "may connect to http://127.0.0.1:"),
    ],
)
def test_what_is_not_taken_is_explained_and_exits_1(
    run: Run, reply: Reply, answer: str, means: str, advice: str
) -> None:
    with push_service(huawei(reply)) as service:
        result = run(*HUAWEI, *keys(service))
    assert result.code == 1
    assert result.said("answer") == answer
    assert means in result.said("means")
    assert advice in result.said("do")


def test_keys_that_open_nothing_are_named(run: Run) -> None:
    with push_service(huawei(Says(), token=Says(401, {"error": "invalid_client"}))) as service:
        result = run(*HUAWEI, *keys(service))
    assert result.code == 1
    assert result.said("answer") == "not now: no access token: 401 invalid_client"
    assert "let nobody in" in result.said("means")
    assert result.said("do").startswith("Compare push.hms_app_id and push.hms_app_secret with the maker's console")


def test_a_service_that_is_not_there_is_no_traceback(run: Run) -> None:
    with push_service({}) as service:
        url = service.url
    words = ["--set", "push.hms_app_id=1001", "--set", f"push.hms_app_secret={SECRET}"]
    result = run(*HUAWEI, *words, "--set", f"push.hms_url={url.replace('://', '://user:' + SECRET + '@')}")
    assert result.code == 1
    assert result.said("through") == f"Huawei's Push Kit, {url}"
    assert result.said("answer") == "not now: no connection"


@pytest.mark.parametrize("reply", [Says(200, {"code": "80000000", "requestId": "1"}), Says(400, {"code": f"{TOKEN}"})])
def test_no_secret_and_no_token_is_said(run: Run, reply: Reply) -> None:
    with push_service(huawei(reply)) as service:
        result = run(*HUAWEI, *keys(service))
    for secret in (TOKEN, SECRET, "access1", "1001"):
        assert secret not in f"{result.out}{result.err}"


def test_other_providers_are_tried_out_the_same_way(run: Run, tmp_path: Path) -> None:
    taken = Says(200, {"result": "ok", "code": 0, "data": {"id": "slm1"}})
    with push_service({"/v3/message/regid": taken}) as service:
        words = ["push.xiaomi_app_secret=s", "push.xiaomi_package=org.example", f"push.xiaomi_url={service.url}"]
        result = run(
            "--token", TOKEN, "--type", "android", "--vendor", "mi", *(word for one in words for word in ("--set", one))
        )
    assert (result.code, result.said("answer")) == (0, "taken, slm1")
    assert parse_qs(service.asked[-1].body.decode())["registration_id"] == [TOKEN]
    sent = "/v1/projects/example-app/messages:send"
    replies: dict[str, Reply] = {
        "/token": Says(200, {"access_token": "a", "expires_in": 3_600}),
        sent: Says(404, {"error": {"status": "NOT_FOUND", "details": [{"errorCode": "UNREGISTERED"}]}}),
    }
    with push_service(replies) as service:
        service_account(tmp_path / "account.json", f"{service.url}/token")
        (tmp_path / "fastim.toml").write_text(
            f'[push]\nfcm_account_file = "{tmp_path}/account.json"\nfcm_url = "{service.url}"\n'
        )
        result = run("--token", TOKEN, "--type", "android", "--config", "fastim.toml")
    assert (result.code, result.said("answer")) == (1, "the token is dead: 404 UNREGISTERED")


def test_a_browser_gets_nothing_at_an_address_of_ones_own_network(run: Run, tmp_path: Path) -> None:
    p256_key(tmp_path / "vapid.pem")
    subscription = {
        "endpoint": "https://127.0.0.1:1/x",
        "keys": {
            "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "auth": "BTBZMqHH6r4Tts7J_aSIgg",
        },
    }
    words = [f"push.web_key_file={tmp_path}/vapid.pem", "push.web_contact=mailto:ops@example.org"]
    token = json.dumps(subscription)
    result = run("--token", token, "--type", "web", *(word for one in words for word in ("--set", one)))
    assert result.code == 1
    assert result.said("answer").startswith("refused: ")


# --- A device that is stored ------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A data directory with two applications, and a Huawei phone of the second one's."""

    async def fill(path: Path) -> None:
        opened = LmdbStore.open(path)
        await opened.save_application("first", "key", "master", "hook")
        second = await opened.save_application(
            "second", "key", "master", "hook", {"push.hms_app_id": "1001", "push.hms_app_secret": SECRET}
        )
        phone = Installation(
            "6512a3f0c3b1a20001f4e9d7", "android", MOMENT, MOMENT, "own-name", "own-name", "HMS", TOKEN, valid=False
        )
        await opened.of(second).change_installation(phone.id, lambda _: phone)
        await opened.close()

    asyncio.run(fill(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.parametrize("name", ["6512a3f0c3b1a20001f4e9d7", "own-name"])
def test_a_stored_device_is_sent_to_with_its_applications_settings(run: Run, store: Path, name: str) -> None:
    with push_service(huawei(Says(200, {"code": "80000000", "requestId": "7"}))) as service:
        result = run("--installation", name, "--data", str(store), "--set", f"push.hms_url={service.url}")
    assert (result.code, result.said("answer")) == (0, "taken, 7")
    assert service.asked[-1].json()["message"]["token"] == [TOKEN]
    assert "sends nothing to this installation" in result.said("note")


@pytest.mark.slow
def test_a_store_may_be_in_use(store: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "500"}

    async def ask() -> tuple[int, str, str]:
        opened = LmdbStore.open(store)
        try:
            async with LocalProvider() as service:
                for path, reply in huawei(Says(200, {"code": "80000000", "requestId": "7"})).items():
                    service.answers(reply, path=path)
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "fastim", "push", "test", "--installation", "own-name",
                    "--data", str(store), "--set", f"push.hms_url={service.url}",
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                )  # fmt: skip
                out, err = await process.communicate()
                assert process.returncode is not None
                return process.returncode, out.decode(), err.decode()
        finally:
            await opened.close()

    code, out, err = asyncio.run(ask())
    assert (code, err) == (0, "")
    assert Result(code, out, err).said("answer") == "taken, 7"


# --- Wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give --installation or --token, one of them"),
        (["--installation", "x", "--token", "y"], "give --installation or --token, one of them"),
        (["--token", "y"], "--type: give that device's, ios, android or web"),
        (["--token", "y", "--type", "phone"], "--type: give one of ios, android, web"),
        (["--token", " ", "--type", "ios"], "--token: it is empty"),
        (["--installation", "x", "--vendor", "hms"], "--type, --vendor and --topic go with --token"),
        (["--token", "y", "--type", "ios", "--profile", "test"], "--profile: give dev or prod"),
        (["--installation", "x", "--data", "elsewhere"], "elsewhere holds no fastim data"),
        (["--token", "y", "--type", "ios"], "nothing is sent to an ios device, token of 1 characters: that needs"),
        (["--token", "y", "--type", "web"], "nothing is sent to a web device"),
        (["--token", "y", "--type", "android"], "nothing is sent to an android device"),
        ([*HUAWEI], "nothing is sent to an android device of hms"),
        (["--token", "y", "--type", "android", "--vendor", "meizu"], "there is no push service for the vendor meizu"),
        ([*HUAWEI, "--set", "push.hms_app_id=1"], "push.hms_app_secret: it goes with push.hms_app_id, and is empty"),
        ([*HUAWEI, "--set", "push.hms_id=1"], "--set push.hms_id: no such setting; the nearest is push.hms_app_id"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_and_exits_2(run: Run, words: list[str], says: str) -> None:
    result = run(*words)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert result.err.startswith(f"fastim: {says}")


def test_a_device_that_is_not_stored_is_no_device(run: Run, store: Path) -> None:
    result = run("--installation", "nobody", "--data", str(store))
    assert (result.code, result.out) == (2, "")
    assert result.err == f"fastim: --installation: {store} has none with that objectId or installationId\n"
