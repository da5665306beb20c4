import json
from contextlib import aclosing
from typing import Any

import pytest
from msgspec.structs import replace

from fastim.core.commands import AddMembers, MuteConversation, PatchMessage, RemoveMembers, Send
from fastim.core.errors import ConversationRejected, HookFailed
from fastim.core.hooks import ConversationUpdate, OfflineAnswer, ReceiversOffline, UpdateAnswer
from fastim.core.ids import personal_log
from fastim.core.installation import Installation
from fastim.core.message import Draft, Position
from fastim.core.policy import Policy
from fastim.core.push import EXPIRY_MILLIS, Job, Notification
from fastim.core.session import Session, office
from fastim.ports.store import Waiting
from fastim.service.broadcasts import send_to_clients
from fastim.service.conversations import mute_conversation
from fastim.service.members import add_members, remove_members
from fastim.service.patches import patch_message
from fastim.service.pushing import DEVICES_MAX, PAGE, PART, Part, expand, push_job
from tests.fakes.running import on_trio
from tests.fakes.world import World, new_world, written

STATIC = Policy(push_static='{"alert":"from ${fromClientId}","badge":"Increment"}')


async def new_pushing_world(policy: Policy = STATIC) -> World:
    """A world whose outbox wants to hear of receivers who are offline."""
    world = await new_world(policy)
    world.pusher.wanted = True
    return world


async def add_device(world: World, number: int, *channels: str, **fields: Any) -> str:
    """The id of a device with these channels, an iOS one unless ``fields`` say otherwise."""
    name = f"{number:024x}"
    now = world.clock.now()
    device = replace(Installation(name, "ios", now, now, channels=channels), **fields)
    await world.io.store.change_installation(name, lambda _: device)
    return name


async def job_of(
    world: World,
    command: Send,
    sender: str,
    log_id: str | None = None,
    receivers: tuple[str, ...] | None = None,
) -> Job | None:
    """What would be kept with a message."""
    conversation = await world.io.store.find_conversation(command.conversation_id)
    assert conversation is not None
    draft = Draft(sender, command.body, command.binary, mention_all=command.mention_all, mentions=command.mentions)
    return push_job(world.io, conversation, log_id or conversation.id, draft, command, receivers)


async def say(world: World, sender: str, conversation_id: str, log_id: str | None = None, **fields: Any) -> Job:
    """The job of a message that was stored."""
    command = written(conversation_id, **fields)
    job = await job_of(world, command, sender, log_id)
    assert job is not None
    draft = Draft(sender, command.body, command.binary, mention_all=command.mention_all, mentions=command.mentions)
    appended = await world.io.store.append(log_id or conversation_id, draft, world.clock.now(), push=job)
    return next(one for one in await world.io.store.push_jobs(1_000) if one.message_id == appended.message.id)


async def carry_out(world: World, job: Job) -> list[Part]:
    """The parts of the job, each of which was put into the outbox."""
    parts = []
    async with aclosing(expand(world.io, job)) as expanded:
        async for part in expanded:
            await world.io.store.queue_pushes(
                part.job, part.notifications, part.badges, world.clock.now(), done=part.last
            )
            parts.append(part)
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    return parts


async def pushed(world: World, job: Job) -> list[Notification]:
    """All notifications of the job, which were put into the outbox."""
    return [one for part in await carry_out(world, job) for one in part.notifications]


def offline_of(job: Job | None) -> tuple[str, ...]:
    return () if job is None else job.offline


# --- Whose being offline is kept --------------------------------------------------------------------------------------


@pytest.mark.rule("10.1")
@on_trio
async def test_members_without_a_session_are_offline_but_for_the_sender() -> None:
    world = await new_pushing_world()
    tom, jerry, spike = [await world.login(name) for name in ("tom", "jerry", "spike")]
    room = await world.start(tom, "jerry", "spike", "tyke")
    world.directory.leave(spike)
    job = await job_of(world, written(room, push_data='{"alert":"hi"}'), "tom")
    assert job == Job("", room, room, 0, ("spike", "tyke"), '{"alert":"hi"}')  # type: ignore[arg-type]
    world.directory.leave(tom)
    assert offline_of(await job_of(world, written(room), "tom")) == ("spike", "tyke")
    world.directory.leave(jerry)
    assert offline_of(await job_of(world, written(room), "tom")) == ("jerry", "spike", "tyke")


@pytest.mark.rule("10.1")
@on_trio
async def test_a_client_with_one_session_on_any_device_is_online() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    phone, tablet = [await world.login("jerry", device=device) for device in ("phone", "tablet")]
    room = await world.start(tom, "jerry")
    world.directory.leave(phone)
    assert await job_of(world, written(room), "tom") is None
    world.directory.leave(tablet)
    assert offline_of(await job_of(world, written(room), "tom")) == ("jerry",)


@pytest.mark.rule("10.1")
@on_trio
async def test_what_is_not_stored_and_what_is_in_a_chat_room_is_pushed_to_nobody() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry")
    temporary = await world.start_temporary(tom, "jerry")
    assert offline_of(await job_of(world, written(temporary), "tom")) == ("jerry",)
    assert await job_of(world, written(room, transient=True), "tom") is None
    assert await job_of(world, written(room, will=True), "tom") is None
    chat_room = await world.start_room(tom)
    assert await job_of(world, written(chat_room), "tom") is None
    assert await job_of(world, written(chat_room), "tom", receivers=("jerry",)) is None


@on_trio
async def test_nothing_is_kept_when_nobody_would_hear_of_it() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry")
    world.pusher.wanted = False
    assert await job_of(world, written(room), "tom") is None


@on_trio
async def test_those_whom_a_hook_left_out_are_not_pushed_anything() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry", "spike")
    assert offline_of(await job_of(world, written(room), "tom", receivers=("spike", "tom"))) == ("spike",)
    assert await job_of(world, written(room), "tom", receivers=()) is None


@on_trio
async def test_a_service_reaches_its_clients_who_are_offline_and_clients_never_a_service() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    service = await world.start_service(tom)
    log = personal_log(service, "tom")
    assert await job_of(world, written(service), "tom", log) is None
    assert await job_of(world, written(service), "news", log) is None, "tom is online"
    world.directory.leave(tom)
    assert await job_of(world, written(service), "tom", log) is None
    assert offline_of(await job_of(world, written(service), "news", log)) == ("tom",)
    assert offline_of(await job_of(world, written(service), "news", log, ("tom", "jerry"))) == ("tom", "jerry")
    job = await job_of(world, written(service, push_data="x"), "news")
    assert job == Job("", service, service, 0, (), "x", to_subscribers=True)  # type: ignore[arg-type]


# --- To whom ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("10.7", "10.8")
@on_trio
async def test_every_device_that_is_subscribed_to_its_client_gets_a_notification() -> None:
    world = await new_pushing_world(Policy(push_static='{"alert":"hi","_profile":"dev","_apns_team_id":"TEAM"}'))
    tom = await world.login("tom")
    room = await world.start(tom, "jerry", "spike")
    phone = await add_device(world, 1, "jerry", "weather")
    tablet = await add_device(world, 2, "jerry", kind="android")
    await add_device(world, 3, "tom")
    await add_device(world, 4, "jerry", valid=False)
    job = await say(world, "tom", room)
    expires_at = world.clock.now() + EXPIRY_MILLIS
    assert await pushed(world, job) == [
        Notification(device, job.message_id, room, "jerry", device, '{"alert":"hi"}', expires_at, "dev", "TEAM")  # type: ignore[arg-type]
        for device in (phone, tablet)
    ]
    assert await world.io.store.push_jobs(1) == []


@pytest.mark.rule("10.9")
@on_trio
async def test_nothing_is_kept_of_what_was_pushed() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry")
    await add_device(world, 1, "jerry")
    await pushed(world, await say(world, "tom", room))
    assert await world.io.store.count_pushes() == Waiting(0, 1, 1)
    for due in await world.io.store.due_pushes(world.clock.now(), 10):
        await world.io.store.settle_push(due, world.clock.now())
    assert await world.io.store.count_pushes() == Waiting(0, 0, 0)


@on_trio
async def test_a_device_that_two_receivers_share_gets_one_notification() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry", "spike")
    device = await add_device(world, 1, "jerry", "spike", badge=4)
    (part,) = await carry_out(world, await say(world, "tom", room))
    assert [one.target for one in part.notifications] == [device]
    assert part.badges == {device: 5}


@on_trio
async def test_a_client_is_pushed_to_its_newest_devices_alone() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry")
    devices = [await add_device(world, number, "jerry") for number in range(DEVICES_MAX + 5)]
    assert [one.target for one in await pushed(world, await say(world, "tom", room))] == devices[5:]


@pytest.mark.rule("10.5")
@on_trio
async def test_badges_count_on_from_message_to_message() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry")
    device = await add_device(world, 1, "jerry", badge=2)
    badges = []
    for push_data in ("", "", '{"badge":9}', ""):
        (notification,) = await pushed(world, await say(world, "tom", room, push_data=push_data))
        kept = await world.io.store.find_installation(device)
        assert kept is not None
        assert json.loads(notification.data)["badge"] == kept.badge
        badges.append(kept.badge)
    assert badges == [3, 4, 9, 10]


@pytest.mark.rule("10.5")
@on_trio
async def test_a_badge_counts_on_from_what_is_on_its_way_to_the_store() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry", "spike")
    jerrys = await add_device(world, 1, "jerry", badge=2)
    spikes = await add_device(world, 2, "spike", badge=2)
    job = await say(world, "tom", room)
    async with aclosing(expand(world.io, job, {jerrys: 7})) as parts:
        (part,) = [part async for part in parts]
    assert part.badges == {jerrys: 8, spikes: 3}


@on_trio
async def test_a_message_is_found_with_or_without_its_place_in_the_log() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry")
    device = await add_device(world, 1, "jerry")
    jobs = [await say(world, "tom", room) for _ in range(3)]
    assert [job.sequence for job in jobs] == [1, 2, 3]
    elsewhere = replace(jobs[0], sequence=2)
    nowhere = replace(jobs[1], sequence=9)
    unknown = replace(jobs[2], sequence=0)
    assert await pushed(world, elsewhere) == []
    assert await pushed(world, nowhere) == []
    assert [one.target for one in await pushed(world, unknown)] == [device]


@on_trio
async def test_the_plain_webhook_gets_all_of_the_content_for_each_client() -> None:
    world = await new_pushing_world(Policy(push_webhook=True))
    tom = await world.login("tom")
    room = await world.start(tom, "jerry", "spike")
    device = await add_device(world, 1, "jerry")
    content = {"alert": "hi", "badge": "Increment", "ios": {"sound": "bell"}, "android": {"silent": True}}
    job = await say(world, "tom", room, push_data=json.dumps({**content, "_profile": "dev"}))
    notifications = await pushed(world, job)
    assert [(one.target, one.client_id, one.installation_id) for one in notifications] == [
        (device, "jerry", device),
        ("webhook/jerry", "jerry", ""),
        ("webhook/spike", "spike", ""),
    ]
    assert [json.loads(one.data) for one in notifications] == [
        {"alert": "hi", "badge": 1, "sound": "bell"},
        content,
        content,
    ]


@on_trio
async def test_without_content_or_with_none_for_anybody_nothing_is_pushed() -> None:
    world = await new_pushing_world(Policy(push_webhook=True))
    tom = await world.login("tom")
    room = await world.start(tom, "jerry")
    await add_device(world, 1, "jerry")
    assert await pushed(world, await say(world, "tom", room)) == []
    assert await pushed(world, await say(world, "tom", room, push_data="{}")) == []


@on_trio
async def test_who_has_left_meanwhile_is_not_pushed_anything() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry", "spike")
    await add_device(world, 1, "jerry")
    spikes = await add_device(world, 2, "spike")
    job = await say(world, "tom", room)
    await remove_members(world.io, tom, RemoveMembers(room, ("jerry",)))
    assert [one.target for one in await pushed(world, job)] == [spikes]


@on_trio
async def test_what_is_recalled_or_gone_is_not_pushed() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start(tom, "jerry")
    await add_device(world, 1, "jerry")
    recalled, deleted, kept = [await say(world, "tom", room) for _ in range(3)]
    at = Position(recalled.timestamp, recalled.message_id)
    await patch_message(world.io, tom, PatchMessage(room, at, recall=True))
    await world.io.store.delete_message(room, Position(deleted.timestamp, deleted.message_id))
    assert await pushed(world, recalled) == []
    assert await pushed(world, deleted) == []
    await world.io.store.delete_conversation(room)
    assert await pushed(world, kept) == []
    assert await world.io.store.push_jobs(1) == []


@on_trio
async def test_what_was_said_in_a_temporary_conversation_that_has_ended_is_not_pushed() -> None:
    world = await new_pushing_world()
    tom = await world.login("tom")
    room = await world.start_temporary(tom, "jerry", ttl_seconds=60)
    await add_device(world, 1, "jerry")
    job = await say(world, "tom", room)
    world.clock.step(60_000)
    assert await pushed(world, job) == []


# --- Mutes ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("10.1", "11.1")
@on_trio
async def test_who_has_muted_a_conversation_is_not_pushed_anything_until_that_is_lifted() -> None:
    world = await new_pushing_world()
    tom, jerry = await world.login("tom"), await world.login("jerry")
    room = await world.start(tom, "jerry", "spike")
    jerrys, spikes = await add_device(world, 1, "jerry"), await add_device(world, 2, "spike")
    await mute_conversation(world.io, jerry, MuteConversation(room, True))
    world.directory.leave(jerry)
    assert [one.target for one in await pushed(world, await say(world, "tom", room))] == [spikes]
    await mute_conversation(world.io, jerry, MuteConversation(room, False))
    assert [one.target for one in await pushed(world, await say(world, "tom", room))] == [jerrys, spikes]


@pytest.mark.rule("11.2")
@on_trio
async def test_a_hook_decides_whether_somebody_mutes_a_conversation() -> None:
    world = await new_pushing_world()
    tom, jerry = await world.login("tom"), await world.login("jerry")
    room = await world.start(tom, "jerry")
    device = await add_device(world, 1, "jerry")
    world.hooks.answers[ConversationUpdate] = UpdateAnswer(mute=False)
    await mute_conversation(world.io, jerry, MuteConversation(room, True))
    assert world.hooks.asked == [ConversationUpdate(init_by="jerry", conversation_id=room, mute=True)]
    world.directory.leave(jerry)
    assert [one.target for one in await pushed(world, await say(world, "tom", room))] == [device]
    world.hooks.answers[ConversationUpdate] = UpdateAnswer(reject=True)
    with pytest.raises(ConversationRejected):
        await mute_conversation(world.io, jerry, MuteConversation(room, True))
    world.hooks.answers[ConversationUpdate] = UpdateAnswer()
    await mute_conversation(world.io, jerry, MuteConversation(room, True))
    assert await pushed(world, await say(world, "tom", room)) == []


@pytest.mark.rule("11.1")
@on_trio
async def test_a_subscriber_who_has_muted_a_service_is_not_pushed_anything() -> None:
    world = await new_pushing_world()
    jerry, spike = await world.login("jerry"), await world.login("spike")
    service = await world.start_service(jerry, spike)
    jerrys, spikes = await add_device(world, 1, "jerry"), await add_device(world, 2, "spike")
    await mute_conversation(world.io, jerry, MuteConversation(service, True))
    world.directory.leave(jerry)
    world.directory.leave(spike)
    assert [one.target for one in await pushed(world, await say(world, "news", service))] == [spikes]
    own = await say(world, "news", service, personal_log(service, "jerry"))
    assert await pushed(world, own) == []
    world.hooks.answers[ReceiversOffline] = OfflineAnswer(force=True)
    assert [one.target for one in await pushed(world, await say(world, "news", service))] == [jerrys, spikes]


# --- The hook ---------------------------------------------------------------------------------------------------------


async def world_with_hook(answer: OfflineAnswer, policy: Policy = STATIC) -> tuple[World, Session, str]:
    """A hook, tom, and his conversation with jerry and spike, who are offline; jerry has muted it."""
    world = await new_pushing_world(policy)
    world.hooks.answers[ReceiversOffline] = answer
    tom, jerry = await world.login("tom"), await world.login("jerry")
    room = await world.start(tom, "jerry", "spike")
    await mute_conversation(world.io, jerry, MuteConversation(room, True))
    world.directory.leave(jerry)
    for number, name in enumerate(("jerry", "spike", "butch")):
        await add_device(world, number, name)
    return world, tom, room


@on_trio
async def test_the_hook_hears_of_all_who_are_offline_with_a_device_or_without() -> None:
    world, _, room = await world_with_hook(OfflineAnswer())
    await add_members(world.io, office(), AddMembers(room, ("tyke",)))
    job = await say(world, "tom", room, text="dinner?", mentions=("tyke", "tom"))
    assert [one.client_id for one in await pushed(world, job)] == ["spike"]
    assert world.hooks.asked == [
        ReceiversOffline(
            from_peer="tom",
            conversation_id=room,
            offline_peers=("jerry", "spike", "tyke"),
            content="dinner?",
            timestamp=job.timestamp,
            mention_all=False,
            mention_offline_peers=("tyke",),
        )
    ]


@on_trio
async def test_the_hook_hears_of_nobody_in_particular_where_everybody_is_mentioned() -> None:
    world, _, room = await world_with_hook(OfflineAnswer())
    await pushed(world, await say(world, "tom", room, mentions=("spike",), mention_all=True))
    (asked,) = world.hooks.asked
    assert isinstance(asked, ReceiversOffline)
    assert (asked.mention_all, asked.mention_offline_peers) == (True, ())


@on_trio
async def test_the_hook_gets_a_binary_body_in_base64() -> None:
    world, _, room = await world_with_hook(OfflineAnswer())
    await pushed(world, await say(world, "tom", room, text="\0\1", binary=True))
    (asked,) = world.hooks.asked
    assert isinstance(asked, ReceiversOffline)
    assert asked.content == "AAE="


@pytest.mark.rule("10.2")
@on_trio
async def test_what_the_hook_says_is_pushed_before_anything_else() -> None:
    world, _, room = await world_with_hook(OfflineAnswer(push_message='{"alert":"from the hook"}'))
    (notification,) = await pushed(world, await say(world, "tom", room, push_data='{"alert":"from tom"}'))
    assert json.loads(notification.data) == {"alert": "from the hook"}
    world.hooks.answers[ReceiversOffline] = OfflineAnswer(push_message="")
    (notification,) = await pushed(world, await say(world, "tom", room, push_data='{"alert":"from tom"}'))
    assert json.loads(notification.data) == {"alert": "from tom"}
    (notification,) = await pushed(world, await say(world, "tom", room))
    assert json.loads(notification.data) == {"alert": "from tom", "badge": 1}


@pytest.mark.rule("10.10")
@on_trio
async def test_a_hook_can_have_those_pushed_who_muted_the_conversation() -> None:
    world, _, room = await world_with_hook(OfflineAnswer(force=True))
    assert [one.client_id for one in await pushed(world, await say(world, "tom", room))] == ["jerry", "spike"]


@pytest.mark.rule("10.11")
@on_trio
async def test_a_hook_can_skip_the_push() -> None:
    world, _, room = await world_with_hook(OfflineAnswer(skip=True, force=True, push_message="hi"))
    assert await pushed(world, await say(world, "tom", room)) == []


@pytest.mark.rule("10.11")
@on_trio
async def test_a_hook_can_say_who_is_pushed_instead() -> None:
    world, _, room = await world_with_hook(OfflineAnswer(offline_peers=("butch", "jerry", "", "x" * 65, "butch")))
    await add_device(world, 9, "x" * 65)
    assert [one.client_id for one in await pushed(world, await say(world, "tom", room))] == ["butch"]
    world.hooks.answers[ReceiversOffline] = OfflineAnswer(offline_peers=("butch", "jerry"), force=True)
    assert [one.client_id for one in await pushed(world, await say(world, "tom", room))] == ["butch", "jerry"]
    world.hooks.answers[ReceiversOffline] = OfflineAnswer(offline_peers=())
    assert await pushed(world, await say(world, "tom", room)) == []


@on_trio
async def test_a_hook_names_no_more_clients_than_it_could_be_asked_about() -> None:
    many = tuple(f"client {number}" for number in range(PAGE + 10))
    policy = Policy(push_static='{"alert":"hi"}', push_webhook=True)
    world, _, room = await world_with_hook(OfflineAnswer(offline_peers=many), policy)
    assert [one.client_id for one in await pushed(world, await say(world, "tom", room))] == list(many[:PAGE])


@on_trio
async def test_a_hook_that_has_to_answer_and_does_not_leaves_the_job_for_later() -> None:
    world, _, room = await world_with_hook(OfflineAnswer())
    world.hooks.answers[ReceiversOffline] = HookFailed()
    job = await say(world, "tom", room)
    with pytest.raises(HookFailed):
        await carry_out(world, job)
    assert await world.io.store.push_jobs(10) == [job]
    world.hooks.answers[ReceiversOffline] = OfflineAnswer()
    assert [one.client_id for one in await pushed(world, job)] == ["spike"]


# --- Services ---------------------------------------------------------------------------------------------------------


@on_trio
async def test_a_service_reaches_those_subscribers_who_are_offline_when_their_turn_comes() -> None:
    world = await new_pushing_world()
    jerry, spike, tyke, news = [await world.login(name) for name in ("jerry", "spike", "tyke", "news")]
    service = await world.start_service(jerry, spike, tyke, news)
    devices = {name: await add_device(world, n, name) for n, name in enumerate(("jerry", "spike", "tyke", "news"))}
    world.directory.leave(spike)
    job = await say(world, "news", service)
    world.directory.leave(jerry)
    world.directory.leave(news)
    assert [one.target for one in await pushed(world, job)] == [devices["jerry"], devices["spike"]]


@on_trio
async def test_what_a_service_writes_to_some_is_pushed_to_those_who_still_have_it() -> None:
    world = await new_pushing_world()
    service = await world.start_service()
    devices = [await add_device(world, number, name) for number, name in enumerate(("jerry", "spike", "tyke"))]
    acked = await send_to_clients(world.io, office("news"), written(service), ("jerry", "spike", "tyke"))
    (job,) = await world.io.store.push_jobs(10)
    assert (job.offline, job.message_id, job.timestamp) == (
        ("jerry", "spike", "tyke"),
        acked.message_id,
        acked.timestamp,
    )
    await world.io.store.delete_message(personal_log(service, "jerry"), Position(acked.timestamp, acked.message_id))
    assert [one.target for one in await pushed(world, job)] == devices[1:]


async def subscribe(world: World, service: str, count: int) -> list[str]:
    """The ids of so many subscribers, all of them offline, in the order in which they are gone over."""
    conversation = await world.io.store.find_conversation(service)
    assert conversation is not None
    names = [f"client {number:05}" for number in range(count)]
    await world.io.store.change_conversation(conversation, joined=names)
    return names


@on_trio
async def test_many_subscribers_are_gone_over_in_pages_and_their_notifications_in_parts() -> None:
    world = await new_pushing_world(Policy(push_static='{"alert":"hi"}', push_webhook=True))
    world.hooks.answers[ReceiversOffline] = OfflineAnswer()
    service = await world.start_service()
    names = await subscribe(world, service, 2 * PAGE + 10)
    parts = await carry_out(world, await say(world, "news", service))
    assert [one.client_id for part in parts for one in part.notifications] == names
    assert max(len(part.notifications) for part in parts) <= PART
    asked = [one for one in world.hooks.asked if isinstance(one, ReceiversOffline)]
    assert [one.offline_peers for one in asked] == [
        tuple(names[:PAGE]),
        tuple(names[PAGE : 2 * PAGE]),
        tuple(names[2 * PAGE :]),
    ]


@on_trio
async def test_a_job_goes_on_where_its_parts_have_got_to() -> None:
    world = await new_pushing_world(Policy(push_static='{"alert":"hi"}', push_webhook=True))
    service = await world.start_service()
    names = await subscribe(world, service, PAGE + 10)
    job = await say(world, "news", service)
    first: list[Part] = []
    async with aclosing(expand(world.io, job)) as expanded:
        async for part in expanded:
            first.append(part)
            if part.job.reached:
                break
    assert [one.client_id for part in first for one in part.notifications] == names[:PAGE]
    assert [one.client_id for one in await pushed(world, first[-1].job)] == names[PAGE:]
