"""Sessions of a real server, through the client library: devices, tags, tokens, who is online."""

import pytest
from msgspec.structs import replace

from fastim.client import Disconnected, Ended, MessageReceived, Refused, SessionEnded, connect
from tests.end_to_end.clients import QUICK, bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def test_a_client_is_online_as_long_as_one_of_its_devices_is(server: ServerProcess) -> None:
    tom, jerry, nobody = someone("tom"), someone("jerry"), someone("nobody")
    async with device(server, tom) as watcher, device(server, jerry) as phone:
        async with device(server, jerry):
            assert await watcher.online([tom, jerry, nobody]) == {tom, jerry}
        assert await watcher.online([jerry, nobody]) == {jerry}
        await phone.close()
        assert await watcher.online([jerry]) == set()


async def test_one_of_two_devices_with_a_tag_has_to_go(server: ServerProcess) -> None:
    tom = someone("tom")
    async with (
        device(server, tom, tag="Mobile", device="old") as old,
        device(server, tom, tag="Desktop", device="desk") as desk,
        device(server, tom) as untagged,
        device(server, tom, tag="Mobile", device="new") as new,
        bell_for(server, tom) as bell,
    ):
        assert await told(old, Ended) == Ended(4111, "SESSION_CONFLICT", "")
        with pytest.raises(StopAsyncIteration):
            await anext(old.events())
        with pytest.raises(SessionEnded, match="4111"):
            await old.query()
        assert await bell.told(new, desk, untagged) == [[], [], []]


async def test_who_comes_back_pushes_nobody_out(server: ServerProcess) -> None:
    tom = someone("tom")
    async with device(server, tom, tag="Mobile", device="first") as first:
        with pytest.raises(Refused, match="4111"):
            async with device(server, tom, tag="Mobile", device="second", reconnect=True):
                pass
        assert await first.online([tom]) == {tom}


async def test_a_token_opens_the_session_again_with_its_tag(server: ServerProcess) -> None:
    tom = someone("tom")
    async with device(server, tom, tag="Mobile", device="phone") as phone:
        token = phone.token
    # Without tag or device of its own the session has those that its token stands for.
    async with (
        device(server, tom, token=token, device="") as phone,
        device(server, tom, tag="Mobile", device="other"),
    ):
        assert (await told(phone, Ended)).code == 4111


async def test_a_token_can_be_refreshed_and_one_that_is_unknown_does_no_harm(server: ServerProcess) -> None:
    tom = someone("tom")
    async with device(server, tom) as phone:
        before = phone.token
        fresh = await phone.refresh_token()
        assert fresh not in ("", before)
    async with device(server, tom, token=fresh) as phone:
        assert phone.token == fresh
    async with device(server, tom, token="nonsense") as phone:
        assert phone.token not in ("", "nonsense")


async def test_an_older_connection_of_the_same_device_goes_without_a_word(server: ServerProcess) -> None:
    tom = someone("tom")
    patient = replace(QUICK, retry_seconds=60.0, retry_seconds_max=60.0)
    async with device(server, tom, device="phone", timing=patient) as old, device(server, tom, device="phone") as new:
        await told(old, Disconnected)
        assert await new.online([tom]) == {tom}


@pytest.mark.parametrize("client_id", ["x" * 65, "tab\there"])
async def test_a_client_id_that_cannot_be_is_refused(server: ServerProcess, client_id: str) -> None:
    with pytest.raises(Refused, match="4103"):
        async with device(server, client_id):
            pass


async def test_a_client_without_an_id_is_given_one(server: ServerProcess) -> None:
    async with device(server, "") as one, device(server, "") as two:
        assert await one.online([one.id, two.id]) == {one.id, two.id}
        assert len({"", one.id, two.id}) == 3
        room = await one.create_conversation([two.id])
        assert set((await room.fetch()).members) == {one.id, two.id}


async def test_an_unknown_application_is_refused(server: ServerProcess) -> None:
    with pytest.raises(Refused, match="4100"):
        async with connect(str(server.tcp), app_id="nobody-knows-it", client_id="tom", timing=QUICK):
            pass


async def test_client_ids_of_any_alphabet_are_welcome(server: ServerProcess) -> None:
    names = [someone("汤姆"), someone("Jürgen O'Neil"), someone("0123"), someone("🐭")]
    async with device(server, names[0]) as one, bell_for(server, *names) as bell:
        room = await one.create_conversation(names[1:])
        async with device(server, names[3]) as four:
            await bell.told(four)
            sent = await room.send("hi", mentions=[names[3]])
            assert await bell.told(four) == [[MessageReceived(sent)]]
        assert set((await room.fetch()).members) == set(names)
