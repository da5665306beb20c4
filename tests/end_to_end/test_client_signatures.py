"""A real server that requires signatures, and clients of the library that have a signer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastim.client import Action, Refused, Signature, SignatureRequest, SigningFailed, connect, signed
from tests.end_to_end.clients import QUICK, device
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, "--set", "security.require_signature=true") as process:
        yield process
        assert '"level": "error"' not in process.log, process.log
        assert "Traceback" not in process.log, process.log


class Office:
    """The application's own server."""

    def __init__(self, master_key: str, *denied: Action) -> None:
        self._master_key = master_key
        self._denied = denied

    async def __call__(self, request: SignatureRequest) -> Signature:
        if request.action in self._denied:
            raise PermissionError(f"nobody may {request.action}")
        return signed(request, self._master_key)


async def test_everything_that_has_to_be_signed_is(server: ServerProcess) -> None:
    office = Office(server.master_key)
    async with device(server, "tom", signer=office) as tom, device(server, "jerry", signer=office) as jerry:
        room = await tom.create_conversation(["jerry", "spike"], unique=True)
        assert await tom.create_conversation(["spike", "jerry"], unique=True) == room
        assert (await room.add(["butch", "tyke"])).allowed == ("butch", "tyke")
        await room.remove(["butch"])
        own_view = jerry.conversation(room.id)
        await own_view.leave()
        await own_view.join()
        assert (await room.block(["tyke"])).allowed == ("tyke",)
        await room.unblock(["tyke"])
        await jerry.block_conversations([room.id])
        await jerry.unblock_conversations([room.id])
        lobby = await tom.create_room()
        await jerry.room(lobby.id).join()
        await tom.create_temporary(["jerry"])
        await tom.refresh_token()
        assert await room.is_member()


async def test_without_a_signature_or_with_a_wrong_one_nothing_is_done(server: ServerProcess) -> None:
    with pytest.raises(Refused, match="4102"):
        async with device(server, "tom"):
            pass
    with pytest.raises(Refused, match="4102"):
        async with device(server, "tom", signer=Office("not the master key")):
            pass
    async with device(server, "tom", signer=Office(server.master_key)) as tom:
        token = tom.token
    # A token opens the session again; for the rest there is nobody to sign.
    async with connect(
        str(server.tcp), app_id=server.app_id, client_id="tom", timing=QUICK, token=token, device=""
    ) as tom:
        with pytest.raises(Refused, match="4302"):
            await tom.create_conversation(["jerry"])


async def test_what_the_office_denies_is_not_asked_of_the_server(server: ServerProcess) -> None:
    async with device(server, "tom", signer=Office(server.master_key, Action.KICK)) as tom:
        room = await tom.create_conversation(["jerry"])
        with pytest.raises(SigningFailed, match="nobody may kick"):
            await room.remove(["jerry"])
        assert await room.count_members() == 2
