from prometheus_client.parser import text_string_to_metric_families

from fastim.core.conversation import Kind
from fastim.core.events import MessagePosted
from fastim.core.message import Message
from fastim.core.units import Millis
from fastim.runtime.lag import LoopLag
from fastim.runtime.metrics import Metrics, ServerCollector
from fastim.wire import messages2_pb2 as pb
from tests.fakes.running import on_asyncio
from tests.runtime.node import message, running_node

Samples = dict[tuple[str, str], float]


def samples(metrics: Metrics) -> Samples:
    """Every sample, by name and the value of its label."""
    return {
        (sample.name, *sample.labels.values(), "")[:2]: sample.value  # type: ignore[misc]
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


@on_asyncio
async def test_what_the_runtime_counts_can_be_scraped() -> None:
    async with running_node() as node:
        lag = LoopLag()
        metrics = Metrics(ServerCollector(node.gateway, node.dispatcher, lag))
        await node.tenant.words.load(b"bad\nworse", "stored")
        before = samples(metrics)
        assert before["fastim_connections", "tcp"] == before["fastim_sessions", ""] == 0

        line = await node.line()
        await line.open("tom")
        await line.open("jerry")
        await line.call(message("c"))
        await line.call(pb.GenericCommand(cmd=pb.conv, op=pb.status, i=5))
        assert [node.tenant.io.words.mask(text) for text in (b"bad", b"good", b"worse")] == [b"***", b"good", b"***"]
        posted = MessagePosted("c", Kind.NORMAL, Message("m", Millis(1), 1, "x", b""), ("tom", "jerry"), origin=0)
        node.tenant.delivery.deliver(posted)
        lag.stop()

        after = samples(metrics)
        assert after["fastim_connections", "tcp"] == 1
        assert after["fastim_connections", "websocket"] == 0
        assert after["fastim_sessions", ""] == 2
        assert after["fastim_deliveries_total", ""] == 2
        assert after["fastim_deliveries_withheld_total", ""] == 0
        assert after["fastim_commands_total", "OpenSession"] == 2
        assert after["fastim_commands_total", "Send"] == 1
        assert after["fastim_commands_total", "Unknown"] == 1
        assert after["fastim_refusals_total", "4401"] == 1
        assert after["fastim_refusals_total", "4200"] == 1
        assert after["fastim_words_texts_total", ""] == 3
        assert after["fastim_words_masked_total", ""] == 2
        assert after["fastim_words_listed", ""] == 2
        assert after["fastim_loop_lag_seconds", ""] >= 0
        assert after["fastim_loop_lag_max_seconds", ""] >= 0


@on_asyncio
async def test_the_process_is_measured_too() -> None:
    assert ("process_start_time_seconds", "") in samples(Metrics())
