"""A server that does what it is told to do wrong, so that the load can be held to what it says about that.

A process of its own, ``python -m tests.bench.stub_server``, which prints its port and goes on until its standard input
ends. It speaks just enough of the protocol for chat rooms, conversations and echoes over TCP.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time_ns
from typing import Any

from fastim._frames import TcpFrames, encode_tcp
from fastim.wire import messages2_pb2 as pb

APP_ID = "stub-application"


class Stub:
    """See the flags in ``main``."""

    def __init__(self, flaws: argparse.Namespace) -> None:
        self.flaws = flaws
        self.members: dict[str, list[asyncio.StreamWriter]] = defaultdict(list)
        self.waiting: dict[str, list[str]] = {}
        self.peers: dict[str, asyncio.StreamWriter] = {}
        self.rooms: set[str] = set()
        self.ids = itertools.count(1)
        self.messages = self.deliveries = self.echoes = 0
        self.acked: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = TcpFrames(1 << 20)
        try:
            while data := await reader.read(65_536):
                frames.push(data)
                while (body := frames.next_frame()) is not None:
                    self.hear(pb.GenericCommand.FromString(body), writer)
        except ConnectionError:
            pass
        finally:
            for members in self.members.values():
                if writer in members:
                    members.remove(writer)
            writer.close()

    def hear(self, command: pb.GenericCommand, writer: asyncio.StreamWriter) -> None:
        if command.cmd == pb.session:
            if command.appId != APP_ID:
                error = pb.ErrorCommand(code=4100, reason="APP_NOT_AVAILABLE")
                return say(writer, pb.GenericCommand(cmd=pb.error, i=command.i, errorMessage=error))
            self.peers[command.peerId] = writer
            opened = pb.SessionCommand(st="token of " + command.peerId)
            return say(writer, pb.GenericCommand(cmd=pb.session, op=pb.opened, i=command.i, sessionMessage=opened))
        if command.cmd == pb.conv:
            return self.converse(command, writer)
        if command.cmd == pb.echo:
            self.echoes += 1
            return self.later(writer, pb.GenericCommand(cmd=pb.echo, i=command.i), self.flaws.delay_ms)
        if command.cmd == pb.ack:
            ack = command.ackMessage
            self.acked.append({"cid": ack.cid, "from": ack.fromts, "to": ack.tots})
            return None
        return self.deliver(command, writer)

    def converse(self, command: pb.GenericCommand, writer: asyncio.StreamWriter) -> None:
        conversation = command.convMessage
        if command.op == pb.start:
            conversation_id = f"{next(self.ids):024x}"
            if conversation.transient:
                self.rooms.add(conversation_id)
            self.members[conversation_id] += [self.peers[member] for member in conversation.m]
            answer = pb.ConvCommand(cid=conversation_id)
            return say(writer, pb.GenericCommand(cmd=pb.conv, op=pb.started, i=command.i, convMessage=answer))
        self.members[conversation.cid].append(writer)
        return say(writer, pb.GenericCommand(cmd=pb.conv, op=pb.added, i=command.i))

    def deliver(self, command: pb.GenericCommand, writer: asyncio.StreamWriter) -> None:
        flaws, direct = self.flaws, command.directMessage
        self.messages += 1
        if flaws.stall_at and self.messages == flaws.stall_at:
            asyncio.get_running_loop().call_soon(stall, flaws.stall_ms)
        if flaws.refuse_every and self.messages % flaws.refuse_every == 0:
            no = pb.AckCommand(code=4116, reason="MESSAGE_SENT_QUOTA_EXCEEDED")
            return say(writer, pb.GenericCommand(cmd=pb.ack, i=command.i, ackMessage=no))
        if flaws.hang_up_at and self.messages == flaws.hang_up_at:
            return writer.close()
        now = time_ns() // 1_000_000
        ack = pb.AckCommand(cid=direct.cid, mid=f"{self.messages:022}", t=now)
        self.later(writer, pb.GenericCommand(cmd=pb.ack, i=command.i, ackMessage=ack), flaws.ack_delay_ms)
        said = pb.DirectCommand(cid=direct.cid, msg=direct.msg, id=ack.mid, timestamp=now, fromPeerId=command.peerId)
        for member in self.members[direct.cid]:
            if member is writer:
                continue
            self.deliveries += 1
            if flaws.drop_every and self.deliveries % flaws.drop_every == 0:
                continue
            twice = flaws.repeat_every and self.deliveries % flaws.repeat_every == 0
            for _ in range(2 if twice else 1):
                self.later(member, pb.GenericCommand(cmd=pb.direct, directMessage=said), flaws.delay_ms)
        return None

    def later(self, writer: asyncio.StreamWriter, command: pb.GenericCommand, delay_ms: float) -> None:
        if delay_ms:
            asyncio.get_running_loop().call_later(delay_ms / 1000, say, writer, command)
        else:
            say(writer, command)


def say(writer: asyncio.StreamWriter, command: pb.GenericCommand) -> None:
    if not writer.is_closing():
        writer.write(encode_tcp(command.SerializeToString()))


def stall(millis: float) -> None:
    """Nothing goes on for so long, in the whole server."""
    import time

    time.sleep(millis / 1000)


async def go_on(flaws: argparse.Namespace) -> None:
    stub = Stub(flaws)
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    counted = {"messages": stub.messages, "deliveries": stub.deliveries, "echoes": stub.echoes, "acked": stub.acked}
    print(json.dumps(counted), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-ms", type=float, default=0, help="of deliveries and echoes")
    parser.add_argument("--ack-delay-ms", type=float, default=0)
    parser.add_argument("--drop-every", type=int, default=0, help="one delivery in so many never comes")
    parser.add_argument("--repeat-every", type=int, default=0, help="one delivery in so many comes twice")
    parser.add_argument("--refuse-every", type=int, default=0, help="one message in so many")
    parser.add_argument("--hang-up-at", type=int, default=0, help="on whoever sends this message")
    parser.add_argument("--stall-at", type=int, default=0, help="at this message")
    parser.add_argument("--stall-ms", type=float, default=200)
    asyncio.run(go_on(parser.parse_args()))


class Running:
    """A stub that runs.

    Attributes:
        counted: What it did, once it has ended.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.counted: dict[str, Any] = {}


@contextmanager
def stub_server(*flaws: str) -> Iterator[Running]:
    """A stub with these flaws."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.stub_server", *flaws],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        running = Running(int(process.stdout.readline()))
        yield running
        process.stdin.close()
        running.counted = json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


if __name__ == "__main__":
    main()
