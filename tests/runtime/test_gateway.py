import asyncio

from fastim.settings import Limits
from tests.fakes.running import idle, on_asyncio
from tests.runtime.node import running_node


@on_asyncio
async def test_it_knows_the_connections_that_are_open() -> None:
    async with running_node() as node:
        first, second = await node.line(), await node.line()
        assert node.gateway.connections == {first.connection, second.connection}
        first.hang_up()
        await idle()
        assert node.gateway.connections == {second.connection}


@on_asyncio
async def test_one_can_wait_until_none_is_left() -> None:
    async with running_node() as node:
        await node.gateway.emptied()
        lines = [await node.line() for _ in range(3)]
        waiting = asyncio.create_task(node.gateway.emptied())
        for line in lines:
            await idle()
            assert not waiting.done()
            line.hang_up()
        await waiting
        another = await node.line()
        waiting = asyncio.create_task(node.gateway.emptied())
        await idle()
        assert not waiting.done()
        another.hang_up()
        await waiting


@on_asyncio
async def test_a_stopping_server_and_one_that_is_full_take_no_more() -> None:
    async with running_node(Limits(connections=1)) as node:
        line = await node.line()
        assert await node.turns_away()
        line.hang_up()
        await idle()
        line = await node.line()
        line.hang_up()
        await idle()
        node.gateway.accepting = False
        assert await node.turns_away()
