"""Service conversations of a real server, through the client library; the service itself speaks REST."""

import pytest

from fastim.client import MessageReceived, ServiceConversation, UnreadChanged
from tests.client.service import found_service
from tests.end_to_end.clients import bell_for, device, someone, told
from tests.server_process import ServerProcess

pytestmark = pytest.mark.anyio


async def test_subscribers_get_what_the_service_says_and_others_do_not(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    service = await found_service(server, someone("news"))
    async with device(server, tom) as one, device(server, jerry) as two, bell_for(server, tom, jerry) as bell:
        await bell.told(one, two)
        found = await one.get_conversation(service.id)
        assert isinstance(found, ServiceConversation)
        assert found.info is not None
        assert found.info.subscribed is False
        news = one.service(service.id)
        assert not await news.is_subscribed()
        await news.subscribe()
        await news.subscribe()
        assert await news.is_subscribed()
        assert (await news.fetch()).subscribed is True

        to_all = await service.tell("to all")
        assert (await told(one, MessageReceived)).message.id == to_all
        to_one = await service.tell("to tom", tom)
        assert (await told(one, MessageReceived)).message.id == to_one
        assert [message.id for message in await news.history_page()] == [to_all, to_one]

        await news.unsubscribe()
        assert not await news.is_subscribed()
        await service.tell("to those who are left")
        assert await bell.told(one, two) == [[], []]


async def test_what_a_subscriber_says_is_for_the_service_alone(server: ServerProcess) -> None:
    tom, jerry = someone("tom"), someone("jerry")
    service = await found_service(server, someone("news"))
    async with device(server, tom) as one, device(server, jerry) as two, bell_for(server, jerry) as bell:
        await one.service(service.id).subscribe()
        await two.service(service.id).subscribe()
        await bell.told(two)
        sent = await one.service(service.id).send("dear editor")
        assert await bell.told(two) == [[]]
        assert await two.service(service.id).history_page() == []
        assert [message.id for message in await one.service(service.id).history_page()] == [sent.id]


async def test_what_the_service_said_meanwhile_is_unread(server: ServerProcess) -> None:
    tom = someone("tom")
    service = await found_service(server, someone("news"))
    async with device(server, tom) as one:
        await one.service(service.id).subscribe()
    missed = await service.tell("extra, extra")
    async with device(server, tom) as one:
        notice = await told(one, UnreadChanged)
        assert (notice.conversation_id, notice.count) == (service.id, 1)
        assert notice.last_message is not None
        assert notice.last_message.id == missed
