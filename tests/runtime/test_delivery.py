import pytest
from msgspec.structs import replace

from fastim.core.conversation import Kind
from fastim.core.errors import QueryFailed
from fastim.core.events import (
    BlocksChanged,
    ClientKicked,
    ConversationStarted,
    ConversationUpdated,
    Event,
    MembersAdded,
    MembersRemoved,
    MessagePatched,
    MessagePosted,
    MessagesMissed,
    MessagesQueued,
    MessagesReceipted,
    MissedPatch,
    PatchesMissed,
    RoleChanged,
    SessionEvicted,
    SilenceChanged,
    UnreadChanged,
    UnreadNotice,
)
from fastim.core.message import Message
from fastim.core.policy import WATCHED_MAX
from fastim.core.session import Ending
from fastim.core.standing import Role
from fastim.core.units import Millis
from fastim.settings import Delivery
from fastim.wire import messages2_pb2 as pb
from tests.fakes.running import idle, on_asyncio
from tests.runtime.node import Line, Node, message, running_node, starting

C = "0" * 24
AT = Millis(1_767_268_800_000)
HELLO = Message("m", AT, 1, "tom", b"hello")


class Party:
    """Tom with a phone and a pc, jerry on the pc as well, spike alone."""

    def __init__(self, node: Node, phone: Line, pc: Line, third: Line) -> None:
        self.node = node
        self.lines = {"phone": phone, "pc": pc, "third": third}

    @classmethod
    async def gather(cls, node: Node) -> "Party":
        party = cls(node, await node.line(), await node.line(), await node.line())
        for line, client_id in (("phone", "tom"), ("pc", "tom"), ("pc", "jerry"), ("third", "spike")):
            await party.lines[line].open(client_id)
        return party

    def number(self, line: str, client_id: str = "tom") -> int:
        return self.lines[line].connection.link.session(client_id).number

    async def hear(self, event: Event) -> dict[str, list[tuple[str, str]]]:
        """Who is told what on which line."""
        self.node.tenant.delivery.deliver(event)
        heard = {}
        for name, line in self.lines.items():
            await line.send(pb.GenericCommand(cmd=pb.echo))
            told = []
            while (push := await line.receive()).cmd != pb.echo:
                assert push.service == 2
                assert not push.HasField("i")
                kind = pb.OpType.Name(push.op) if push.HasField("op") else pb.CommandType.Name(push.cmd)
                told.append((push.peerId, kind))
            if told:
                heard[name] = told
        return heard


class TestWhoIsTold:
    @on_asyncio
    async def test_a_message_goes_to_every_session_but_the_one_that_sent_it(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            event = MessagePosted(C, Kind.NORMAL, HELLO, ("tom", "jerry", "nobody"), origin=party.number("phone"))
            assert await party.hear(event) == {"pc": [("tom", "direct"), ("jerry", "direct")]}
            assert (node.tenant.delivery.delivered, node.tenant.delivery.withheld) == (2, 0)

    @on_asyncio
    async def test_one_from_outside_goes_to_all(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            heard = await party.hear(MessagePosted(C, Kind.NORMAL, HELLO, ("tom",), origin=0))
            assert heard == {"phone": [("tom", "direct")], "pc": [("tom", "direct")]}

    @on_asyncio
    async def test_a_new_conversation(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            assert await party.hear(ConversationStarted(C, Kind.NORMAL, ("jerry", "spike"), by="jerry", at=AT)) == {
                "pc": [("jerry", "joined"), ("jerry", "members_joined")],
                "third": [("spike", "joined"), ("spike", "members_joined")],
            }

    @on_asyncio
    async def test_new_members(self) -> None:
        """Source: wire protocol, pushes."""
        async with running_node() as node:
            party = await Party.gather(node)
            added = MembersAdded(C, Kind.NORMAL, ("spike",), ("tom", "spike"), by="tom", at=AT)
            assert await party.hear(added) == {
                "phone": [("tom", "members_joined")],
                "pc": [("tom", "members_joined")],
                "third": [("spike", "joined"), ("spike", "members_joined")],
            }

    @on_asyncio
    async def test_members_who_go(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            removed = MembersRemoved(C, Kind.NORMAL, ("spike",), ("tom",), by="tom", at=AT)
            assert await party.hear(removed) == {
                "phone": [("tom", "members_left")],
                "pc": [("tom", "members_left")],
                "third": [("spike", "left")],
            }

    @on_asyncio
    async def test_new_attributes_go_to_the_other_devices_of_who_set_them_too(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            updated = ConversationUpdated(
                C, ("tom", "jerry"), by="tom", origin=party.number("phone"), at=AT, asked=b"{}", modified=b"{}"
            )
            assert await party.hear(updated) == {"pc": [("tom", "updated"), ("jerry", "updated")]}

    @on_asyncio
    async def test_unread_counts_go_to_one_session_or_to_all_of_a_client(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            notices = (UnreadNotice(C, Kind.NORMAL, 1, mentioned=False, last=None),)
            assert await party.hear(UnreadChanged("tom", notices, AT)) == {
                "phone": [("tom", "unread")],
                "pc": [("tom", "unread")],
            }
            one = UnreadChanged("tom", notices, AT, session=party.number("pc"))
            assert await party.hear(one) == {"pc": [("tom", "unread")]}
            assert await party.hear(UnreadChanged("tom", notices, AT, session=999_999)) == {}

    @on_asyncio
    async def test_a_session_that_is_evicted_is_told_and_hears_no_more(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            evicted = SessionEvicted(party.number("pc"), "tom", silently=False)
            assert await party.hear(evicted) == {"pc": [("tom", "closed")]}
            assert await party.hear(evicted) == {}
            heard = await party.hear(MessagePosted(C, Kind.NORMAL, HELLO, ("tom", "jerry"), origin=0))
            assert heard == {"phone": [("tom", "direct")], "pc": [("jerry", "direct")]}

    @on_asyncio
    async def test_one_that_is_evicted_silently_ends_its_connection_unless_others_are_on_it(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            assert await party.hear(SessionEvicted(party.number("pc"), "tom", silently=True)) == {}
            assert not party.lines["pc"].connection.lost
            node.tenant.delivery.deliver(SessionEvicted(party.number("phone"), "tom", silently=True))
            assert await party.lines.pop("phone").receive_all() == []
            assert node.tenant.presence.online(["tom", "jerry", "spike"]) == ["jerry", "spike"]

    @on_asyncio
    async def test_a_client_that_is_kicked_is_told_on_every_device_why(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            opened_at = node.clock.now()
            assert await party.hear(ClientKicked("tom", "", Millis(opened_at - 1))) == {}
            node.tenant.delivery.deliver(ClientKicked("tom", "spamming", opened_at))
            for name in ("phone", "pc"):
                ending = await party.lines[name].receive()
                assert (ending.cmd, ending.op, ending.peerId, ending.service) == (pb.session, pb.closed, "tom", 2)
                assert (ending.sessionMessage.code, ending.sessionMessage.reason) == (4115, "spamming")
            assert node.tenant.presence.online(["tom", "jerry"]) == ["jerry"]
            assert await party.hear(ClientKicked("jerry", "", opened_at)) == {"pc": [("jerry", "closed")]}

    @on_asyncio
    async def test_a_message_that_is_not_to_be_synced_spares_its_senders_devices(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            heard = await party.hear(MessagePosted(C, Kind.NORMAL, HELLO, ("tom", "jerry"), origin=0, sync=False))
            assert heard == {"pc": [("jerry", "direct")]}

    @on_asyncio
    async def test_a_chat_rooms_message_goes_to_the_sessions_inside(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            for line, client_id in (("pc", "tom"), ("third", "spike")):
                node.tenant.io.rooms.enter(C, party.lines[line].connection.link.session(client_id))
            event = MessagePosted(C, Kind.CHAT_ROOM, HELLO, (), origin=party.number("phone"))
            assert await party.hear(event) == {"pc": [("tom", "direct")], "third": [("spike", "direct")]}

    @on_asyncio
    async def test_what_a_chat_room_is_called_now_goes_to_the_sessions_inside(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            node.tenant.io.rooms.enter(C, party.lines["third"].connection.link.session("spike"))
            updated = ConversationUpdated(
                C, (), by="tom", origin=0, at=AT, asked=b"{}", modified=b"{}", kind=Kind.CHAT_ROOM
            )
            assert await party.hear(updated) == {"third": [("spike", "updated")]}

    @on_asyncio
    async def test_clients_that_know_no_temporary_conversations_hear_nothing_of_them(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            old = await node.line()
            await old.open("old", configBitmap=1)
            event = MessagePosted(f"_tmp:{C}", Kind.TEMPORARY, HELLO, ("jerry", "old"), origin=0)
            assert await party.hear(event) == {"pc": [("jerry", "direct")]}
            assert await old.is_silent()

    @on_asyncio
    async def test_a_patch_goes_to_every_session_but_the_one_that_made_it_and_those_that_know_none(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            old = await node.line()
            await old.open("old", configBitmap=0)
            event = MessagePatched(C, Kind.NORMAL, HELLO, ("tom", "jerry", "old"), origin=party.number("phone"))
            assert await party.hear(event) == {"pc": [("tom", "modify"), ("jerry", "modify")]}
            assert await old.is_silent()

    @pytest.mark.rule("8.6")
    @pytest.mark.parametrize("kind", [Kind.NORMAL, Kind.CHAT_ROOM, Kind.TEMPORARY, Kind.SYSTEM])
    @on_asyncio
    async def test_a_correction_goes_to_the_session_that_it_is_for_wherever_that_is(self, kind: Kind) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            old = await node.line()
            await old.open("tom", configBitmap=0)
            event = MessagePatched(C, kind, HELLO, ("tom",), 0, party.number("phone"), -4408, "why")
            assert await party.hear(event) == {"phone": [("tom", "modify")]}
            (unable,) = (one.number for one in node.tenant.presence.sessions("tom")[-1:])
            assert await party.hear(replace(event, only=unable)) == {}
            assert await old.is_silent()
            assert await party.hear(replace(event, only=10_000)) == {}

    @on_asyncio
    async def test_patches_and_messages_that_were_missed_go_to_the_session_that_missed_them(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            missed = PatchesMissed("tom", party.number("pc"), (MissedPatch(C, HELLO), MissedPatch(C, HELLO)))
            assert await party.hear(missed) == {"pc": [("tom", "modify")] * 2}
            queued = MessagesQueued("tom", party.number("phone"), C, Kind.NORMAL, (HELLO, HELLO), more=True)
            assert await party.hear(queued) == {"phone": [("tom", "direct")] * 2}

    @on_asyncio
    async def test_what_was_missed_in_a_room_goes_to_the_session_that_missed_it(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            missed = MessagesMissed("tom", party.number("phone"), C, Kind.CHAT_ROOM, (HELLO, HELLO))
            assert await party.hear(missed) == {"phone": [("tom", "direct")] * 2}

    @on_asyncio
    async def test_receipts_go_to_the_senders_devices(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            event = MessagesReceipted(C, "tom", ("m", "n"), by="jerry", at=AT, upto=AT, read=False)
            assert await party.hear(event) == {"phone": [("tom", "rcp")] * 2, "pc": [("tom", "rcp")] * 2}

    @on_asyncio
    async def test_a_changed_role_is_told_to_the_members(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            event = RoleChanged(C, "spike", Role.MANAGER, ("spike", "jerry"), by="jerry", at=AT)
            assert await party.hear(event) == {
                "pc": [("jerry", "member_info_changed")],
                "third": [("spike", "member_info_changed")],
            }

    @on_asyncio
    async def test_who_is_silenced_is_told_and_so_are_the_members(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            event = SilenceChanged(C, ("spike",), True, ("spike", "jerry"), by="jerry", at=AT)
            assert await party.hear(event) == {
                "pc": [("jerry", "members_shutuped")],
                "third": [("spike", "shutuped"), ("spike", "members_shutuped")],
            }

    @on_asyncio
    async def test_who_is_blocked_is_told_and_so_are_those_who_remain(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            event = BlocksChanged(C, ("spike",), True, ("jerry",), by="jerry", at=AT)
            assert await party.hear(event) == {
                "pc": [("jerry", "members_blocked")],
                "third": [("spike", "blocked")],
            }

    @on_asyncio
    async def test_those_who_were_ended_are_reported(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            ended: list[tuple[int, Ending]] = []
            node.tenant.delivery.ended = lambda session, ending: ended.append((session.number, ending))
            numbers = [party.number("phone"), party.number("pc")]
            node.tenant.delivery.deliver(SessionEvicted(numbers[1], "tom", silently=False))
            node.tenant.delivery.deliver(ClientKicked("tom", "", node.clock.now()))
            assert ended == [(numbers[1], Ending.CONFLICT), (numbers[0], Ending.KICKED)]

    @pytest.mark.parametrize("kind", Event.__subclasses__())
    def test_every_kind_of_event_has_a_test_here(self, kind: type[Event]) -> None:
        assert kind in {
            MessagePosted,
            MessagePatched,
            PatchesMissed,
            MessagesMissed,
            MessagesQueued,
            MessagesReceipted,
            ConversationStarted,
            MembersAdded,
            MembersRemoved,
            ConversationUpdated,
            RoleChanged,
            SilenceChanged,
            BlocksChanged,
            UnreadChanged,
            SessionEvicted,
            ClientKicked,
        }


class TestWhoWatches:
    @on_asyncio
    async def test_is_told_once_when_a_client_comes_and_once_when_it_goes(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            watcher = party.lines["third"]
            session = watcher.connection.link.session("spike")
            node.tenant.presence.watch(session, ["tyke", "tom"])
            tyke, second = await node.line(), await node.line()
            await tyke.open("tyke")
            told = await watcher.receive()
            assert (told.cmd, told.peerId, told.presenceMessage.status) == (pb.presence, "spike", pb.on)
            assert list(told.presenceMessage.sessionPeerIds) == ["tyke"]
            await second.open("tyke")
            tyke.hang_up()
            await idle()
            assert await watcher.is_silent()
            second.hang_up()
            told = await watcher.receive()
            assert (told.presenceMessage.status, list(told.presenceMessage.sessionPeerIds)) == (pb.off, ["tyke"])

    @on_asyncio
    async def test_is_told_no_more_after_that(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            watcher = party.lines["third"]
            session = watcher.connection.link.session("spike")
            node.tenant.presence.watch(session, ["tyke", "tom"])
            node.tenant.presence.unwatch(session, ["tyke", "nobody"])
            await (await node.line()).open("tyke")
            assert await watcher.is_silent()
            party.lines["phone"].hang_up()
            party.lines["pc"].hang_up()
            assert (await watcher.receive()).presenceMessage.status == pb.off

    @on_asyncio
    async def test_may_watch_only_so_many(self) -> None:
        async with running_node() as node:
            party = await Party.gather(node)
            session = party.lines["third"].connection.link.session("spike")
            presence = node.tenant.presence
            presence.watch(session, [f"client {number}" for number in range(WATCHED_MAX)])
            with pytest.raises(QueryFailed):
                presence.watch(session, ["one more"])
            presence.watch(session, ["client 7"])
            presence.unwatch(session, ["client 7"])
            presence.watch(session, ["one more"])
            presence.leave(session)
            presence.watch(session, ["nobody is told"])
            await (await node.line()).open("one more")
            assert await party.lines["third"].is_silent()


class TestASlowReader:
    @on_asyncio
    async def test_is_told_what_it_has_not_read_once_it_reads_again(self) -> None:
        """The store is the queue: what does not fit is left out, and counted for it when there is room."""
        messages = 60
        async with running_node(delivery=Delivery(outbox_bytes=65_536)) as node:
            tom, jerry = await node.line(), await node.line()
            await tom.open("tom")
            await jerry.open("jerry")
            tea = (await tom.call(starting("jerry"))).convMessage.cid
            for number in range(messages):
                await tom.send(message(tea, b"x" * 5_000, serial=number))
                while (await tom.receive()).cmd != pb.ack:
                    pass
            await idle()
            delivery = node.tenant.delivery
            assert delivery.withheld > 0
            assert delivery.withheld + delivery.delivered == messages

            node.clock.step(600_000)
            received = [await jerry.receive() for _ in range(2 + delivery.delivered)]
            assert sum(one.cmd == pb.direct for one in received) == delivery.delivered
            (told,) = (await jerry.receive()).unreadMessage.convs
            assert (told.cid, told.unread) == (tea, messages)

            await tom.call(message(tea, b"in time"))
            assert (await jerry.receive()).directMessage.msg == b"in time"
            assert not jerry.connection.lost

    @on_asyncio
    async def test_does_not_keep_the_others_waiting(self) -> None:
        async with running_node(delivery=Delivery(outbox_bytes=65_536)) as node:
            tom, slow, quick = await node.line(), await node.line(), await node.line()
            for line, client_id in ((tom, "tom"), (slow, "slow"), (quick, "quick")):
                await line.open(client_id)
            tea = (await tom.call(starting("slow", "quick"))).convMessage.cid
            for _ in range(2):
                await quick.receive()
            for number in range(60):
                await tom.send(message(tea, b"x" * 5_000, serial=number))
                assert (await quick.receive()).cmd == pb.direct
                while (await tom.receive()).cmd != pb.ack:
                    pass
            assert node.tenant.delivery.withheld > 0
            assert not slow.connection.lost
