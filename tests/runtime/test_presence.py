import pytest
from msgspec.structs import replace

from fastim.core.errors import SessionRequired
from fastim.core.session import Config, OfflineMode, Session
from fastim.core.units import Millis
from fastim.runtime.connection import Connection
from fastim.runtime.presence import Presence
from fastim.wire import messages2_pb2 as pb
from fastim.wire.codec import recipient
from tests.fakes.running import idle, on_asyncio
from tests.runtime.node import running_node


def entered(presence: Presence, connection: Connection, client_id: str = "tom") -> Session:
    """A session that was opened on ``connection``."""
    number = presence.reserve(connection)
    session = Session(number, client_id, "", "", Config(0), OfflineMode.UNREAD, Millis(0))
    presence.enter(session)
    presence.release(number)
    return session


@on_asyncio
async def test_an_open_session_is_known_to_its_connection_and_by_its_number() -> None:
    async with running_node() as node:
        presence, connection = node.tenant.presence, (await node.line()).connection
        session = entered(presence, connection)
        attached = presence.find("tom", session.number)
        assert attached is not None
        assert (attached.session, attached.connection, attached.suffix) == (session, connection, recipient("tom"))
        assert list(presence.of("tom")) == list(presence.on(connection)) == [attached]
        assert connection.link.session(None) == session
        assert len(presence) == 1
        assert presence.find("tom", session.number + 1) is None
        assert presence.find("jerry", session.number) is None


@on_asyncio
async def test_numbers_are_never_given_twice() -> None:
    async with running_node() as one, running_node() as other:
        connection = (await one.line()).connection
        numbers = [presence.reserve(connection) for presence in (one.tenant.presence, other.tenant.presence) * 3]
        assert len(set(numbers)) == 6


@on_asyncio
async def test_a_client_that_opens_again_on_its_connection_has_one_session_there() -> None:
    async with running_node() as node:
        presence, line, other = node.tenant.presence, await node.line(), await node.line()
        first = entered(presence, line.connection)
        elsewhere = entered(presence, other.connection)
        second = entered(presence, line.connection)
        assert presence.sessions("tom") == [elsewhere, second]
        assert line.connection.link.session("tom") == second
        presence.leave(first)
        assert presence.sessions("tom") == [elsewhere, second]
        assert line.connection.link.session("tom") == second


@on_asyncio
async def test_who_watches_it_is_not_told_that_it_went() -> None:
    async with running_node() as node:
        presence, line, other = node.tenant.presence, await node.line(), await node.line()
        presence.watch(entered(presence, other.connection, "jerry"), ["tom"])
        first = entered(presence, line.connection)
        assert (await other.receive()).presenceMessage.status == pb.on
        second = entered(presence, line.connection)
        assert await other.is_silent()
        presence.leave(first)
        assert await other.is_silent()
        presence.leave(second)
        assert (await other.receive()).presenceMessage.status == pb.off


@on_asyncio
async def test_leaving_takes_a_session_from_its_connection() -> None:
    async with running_node() as node:
        presence, connection = node.tenant.presence, (await node.line()).connection
        tom, jerry = entered(presence, connection), entered(presence, connection, "jerry")
        presence.leave(tom)
        assert connection.link.session(None) == jerry
        with pytest.raises(SessionRequired):
            connection.link.session("tom")
        assert [attached.session for attached in presence.on(connection)] == [jerry]


@on_asyncio
async def test_a_renewed_session_is_renewed_for_its_connection_too() -> None:
    async with running_node() as node:
        presence, connection = node.tenant.presence, (await node.line()).connection
        session = entered(presence, connection)
        renamed = replace(session, device="apns")
        presence.enter(renamed)
        assert connection.link.session("tom") == renamed
        assert len(presence) == 1


@on_asyncio
async def test_a_session_whose_connection_went_while_it_was_opened_is_nowhere() -> None:
    async with running_node() as node:
        presence, line = node.tenant.presence, await node.line()
        number = presence.reserve(line.connection)
        line.hang_up()
        await idle()
        assert line.connection.lost
        presence.enter(Session(number, "tom", "", "", Config(0), OfflineMode.UNREAD, Millis(0)))
        presence.release(number)
        assert presence.online(["tom"]) == []
        assert len(presence) == 0


@on_asyncio
async def test_giving_a_number_back_twice_is_harmless() -> None:
    async with running_node() as node:
        presence, line = node.tenant.presence, await node.line()
        number = presence.reserve(line.connection)
        presence.release(number)
        presence.release(number)
