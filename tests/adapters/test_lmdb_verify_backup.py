import asyncio
import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest

from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.backup import backup
from fastim.adapters.lmdb.keys import conversation_id_of, queue_key, sequence_key, text_hash, token_key
from fastim.adapters.lmdb.records import FORMAT
from fastim.adapters.lmdb.verify import PROBLEMS_MAX, Report, verify
from fastim.core.conversation import Kind
from fastim.core.errors import SettingsError
from fastim.core.ids import personal_log
from fastim.core.message import Span
from fastim.core.session import Grant
from fastim.core.standing import Standing
from fastim.core.units import Millis
from fastim.core.unread import Membership
from fastim.ports.store import ApplicationStore, Stay, Subscription, Waiting
from tests.adapters.engines import (
    CONVERSATION,
    DAY,
    OTHER,
    T0,
    application,
    broadcast,
    conversation,
    draft,
    fill,
    install,
    installation,
    job,
    notice,
    notification,
    service,
    settle,
    will,
)

HERE = Path(__file__).parent
Damage = Callable[["lmdb.Transaction[bytes]", lmdb._Database], object]

SCOPE = b"\0\0\0\1" + bytes.fromhex(CONVERSATION) + b"\0"
NOWHERE = b"\0\0\0\1" + bytes.fromhex(OTHER) + b"\0"
SERVICE_ID = "69216a42" + "c0" * 8
SERVICE = b"\0\0\0\1" + bytes.fromhex(SERVICE_ID) + b"\0"
PERSONAL = SERVICE[:-1] + b"\2\0\3ann"
ROOM = "69216a44" + "c0" * 8
"""The chat room of ``format_4.mdb.gz`` and later ones."""
DELETED = b"\0\0\0\1" + bytes.fromhex("69216a43" + "c0" * 8) + b"\0"
ANN = b"\0\0\0\1\0\3ann"
BEN = b"\0\0\0\1\0\3ben"
TOKEN = "verify" * 3
PHONE = b"\0\0\0\1" + text_hash("phone")
QUEUE = b"\0\0\0\1" + queue_key(1)
"""What waits for the phone."""
DEVICE = b"\0\0\0\1" + b"a" * 24


def message_key(sequence: int) -> bytes:
    return SCOPE + sequence.to_bytes(8)


async def make(path: Path) -> None:
    """A store with something in every table."""
    store = LmdbStore.open(path)
    part = await application(store)
    made = conversation(CONVERSATION, "ann", "ben", unique_key="k")
    await part.create_conversation(made)
    await part.create_conversation(conversation("_tmp:" + OTHER, "ann", kind=Kind.TEMPORARY, ttl_seconds=60))
    await part.create_conversation(service(SERVICE_ID))
    await fill(part, "aba")
    for number in range(3):
        message = draft("ann", token=str(number), mentions=("ben",), mention_all=True)
        await part.append(CONVERSATION, message, T0, urgent=number == 1)
    await part.mark_read(CONVERSATION, "ann", None, T0)
    await part.patch_message(CONVERSATION, (await part.history(CONVERSATION, Span()))[1], T0)
    given = {"ben": Standing(silenced=True)}
    await part.change_conversation(made, standings=given, notices=[notice("ann", T0), notice(None, T0)])
    await part.change_conversation(service(SERVICE_ID), joined=["ann"])
    await part.append(personal_log(SERVICE_ID, "ann"), draft("office"), T0, push=job("", "ann"))
    await part.refuse_conversations("ann", [OTHER], True, T0)
    await part.save_will(will("ann"))
    await part.save_stay(Stay("ann", "phone", CONVERSATION))
    await part.save_broadcast(broadcast(T0))
    await part.save_document("words", b"a")
    await part.log_in("ann", TOKEN, Grant("", "", 0, T0), T0)
    await part.kick("ben", T0)
    await part.use_once(TOKEN, T0)
    await part.create_conversation(conversation(conversation_id_of(DELETED[4:]), "ben"))
    await part.append(conversation_id_of(DELETED[4:]), draft("ben", token="t"), T0, urgent=True)
    await part.delete_conversation(conversation_id_of(DELETED[4:]))
    pushes = [notification(*one) for one in (("phone", "1"), ("phone", "2"), ("tablet", "1"), ("old", "1"))]
    await part.queue_pushes(job("none"), pushes, {}, T0, done=False)
    await part.drop_pushes("old")
    await install(part, installation("a", token="secret token", installation_id="i", channels=("ben",)))
    await store.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "data"
    asyncio.run(make(path))
    return (path / "data.mdb").read_bytes()


@pytest.fixture
def path(tmp_path: Path, sound: bytes) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    (path / "data.mdb").write_bytes(sound)
    return path


def damage(path: Path, table: str, change: Damage) -> None:
    with lmdb.open(str(path), max_dbs=40) as environment:
        handle = environment.open_db(table.encode())
        with environment.begin(db=handle, write=True) as transaction:
            assert change(transaction, handle) is not False


def delete(key: bytes) -> Damage:
    return lambda transaction, table: transaction.delete(key, db=table)


def put(key: bytes, value: bytes) -> Damage:
    return lambda transaction, table: transaction.put(key, value, db=table)


def copy(key: bytes, other: bytes) -> Damage:
    return lambda transaction, table: transaction.put(other, transaction.get(key, b"", db=table), db=table)


def repack(key: bytes, index: int, value: object) -> Damage:
    """Another value in the record's array."""

    def change(transaction: "lmdb.Transaction[bytes]", table: lmdb._Database) -> bool:
        stored = transaction.get(key, db=table)
        assert stored is not None
        fields = msgspec.msgpack.decode(stored)
        assert fields[index] != value
        fields[index] = value
        return transaction.put(key, msgspec.msgpack.encode(fields), db=table)

    return change


def put_part(key: bytes, start: int, part: bytes) -> Damage:
    """Other bytes within the record."""

    def change(transaction: "lmdb.Transaction[bytes]", table: lmdb._Database) -> bool:
        stored = transaction.get(key, db=table)
        assert stored is not None
        return transaction.put(key, stored[:start] + part + stored[start + len(part) :], db=table)

    return change


def rejson(key: bytes, **values: object) -> Damage:
    """Other values in the record's object."""

    def change(transaction: "lmdb.Transaction[bytes]", table: lmdb._Database) -> bool:
        stored = transaction.get(key, db=table)
        assert stored is not None
        return transaction.put(key, msgspec.json.encode({**msgspec.json.decode(stored), **values}), db=table)

    return change


def first_key(change: Callable[[bytes], Damage]) -> Damage:
    """A change to the table's first record, whatever its key."""

    def damage_first(transaction: "lmdb.Transaction[bytes]", table: lmdb._Database) -> object:
        cursor = transaction.cursor(table)
        assert cursor.first()
        return change(cursor.key())(transaction, table)

    return damage_first


DAMAGE: dict[str, tuple[str, Damage, str]] = {
    "message lost": ("messages", delete(message_key(2)), "follows message 1"),
    "first message lost": ("messages", delete(message_key(1)), "follows message 0"),
    "message retired and there": ("heads", repack(SCOPE, 4, 2), "follows message 1"),
    "message of a personal log lost": ("messages", delete(PERSONAL + bytes(7) + b"\1"), "last message is missing"),
    "message deleted in part": ("messages", repack(message_key(1), 12, True), "something is left of it"),
    "last message lost": ("messages", delete(message_key(6)), "has its head at message 6"),
    "message torn": ("messages", put(message_key(2), b"\x99\xb6torn"), "cannot be read"),
    "message too many": ("messages", put(NOWHERE + bytes(7) + b"\1", b"\x90"), "has no head"),
    "message misplaced": ("messages", repack(message_key(2), 2, 9), "has the key"),
    "clock back": ("messages", repack(message_key(3), 1, T0), "has timestamp"),
    "ids back": ("messages", repack(message_key(3), 0, "-" * 22), "has the id"),
    "head lost": ("heads", delete(SCOPE), "has no head"),
    "head behind": ("heads", repack(SCOPE, 0, 5), "has its head at message 5"),
    "head elsewhere": ("heads", repack(SCOPE, 2, "x" * 22), "has its head at"),
    "head torn": ("heads", put(SCOPE, b"\xc1"), "cannot be read"),
    "head torn apart": ("heads", repack(SCOPE, 4, 0), "has a head that says"),
    "head of a receipt to come": ("heads", repack(SCOPE, 5, 7), "has a head that says"),
    "head of a personal log lost": ("heads", delete(PERSONAL), "has no head"),
    "head too many": ("heads", put(NOWHERE, b"\x90"), "which is no conversation"),
    "conversation lost": ("conversations", delete(SCOPE), "which is no conversation"),
    "conversation torn": ("conversations", put(SCOPE, b'{"id":'), "cannot be read"),
    "conversation renamed": ("conversations", rejson(SCOPE, id=OTHER), "calls itself"),
    "key of another shape": ("conversations", put(b"\0\0\0\1short", b"{}"), "has the key"),
    "application lost": ("applications", delete(SCOPE[:4]), "application 1, which is not there"),
    "application torn": ("applications", put(SCOPE[:4], b""), "cannot be read"),
    "application misplaced": ("applications", rejson(SCOPE[:4], number=7), "has number 7"),
    "application twice": ("applications", copy(SCOPE[:4], b"\0\0\0\2"), "twice"),
    "next number lost": ("meta", delete(b"next_application"), "is given next"),
    "membership lost": ("memberships", delete(ANN + SCOPE[4:]), "who has no membership"),
    "member lost": ("conversations", rejson(SCOPE, members=["ben"]), "does not have that member"),
    "member twice": ("conversations", rejson(SCOPE, members=["ann", "ben", "ann"]), "a member twice"),
    "membership of nothing": ("memberships", put(ANN + NOWHERE[4:], b"\x91\x01"), "which is no conversation"),
    "membership torn": ("memberships", put(ANN + SCOPE[4:], b"\x91\xa1x"), "cannot be read"),
    "membership's key torn": ("memberships", put(b"\0\0\0\1\xff", b"\x91\x01"), "no client id"),
    "membership ahead": ("memberships", repack(ANN + SCOPE[4:], 2, 7), "past the conversation's last message"),
    "membership of a personal log lost": (
        "memberships", delete(ANN + PERSONAL[4:17]), "has no membership in it"
    ),
    "membership of a personal log too many": (
        "memberships", put(BEN + PERSONAL[4:17], b"\x91\x01"), "which has no message"
    ),
    "membership has read what was not delivered": (
        "memberships", repack(ANN + SCOPE[4:], 6, 1), "has read to 6, and 1 was delivered"
    ),
    "membership miscounts": ("memberships", repack(ANN + SCOPE[4:], 3, 9), "counts 9 of"),
    "unique key lost": ("uniques", first_key(delete), "its unique key leads to"),
    "unique key astray": ("uniques", first_key(lambda key: put(key, NOWHERE[4:])), "which is no conversation"),
    "token astray": ("tokens", first_key(lambda key: put(key, (99).to_bytes(8))), "not there"),
    "token lost": ("tokens", first_key(delete), "which is not stored"),
    "token not swept": ("token_hours", first_key(delete), "4 tokens are stored, 3 will be swept"),
    "token in a later hour": ("token_hours", first_key(lambda key: copy(key, key[:7] + b"\xff" + key[8:])), "of hour"),
    "token of another hour": (
        "tokens", put_part(token_key(SCOPE, "ann", "0"), 8, b"\0\0\0\1"), "4 tokens are stored, 3 will be swept"
    ),
    "patch lost": ("patches", first_key(delete), "is not among the patches"),
    "patch astray": ("patches", first_key(lambda key: put(key, (3).to_bytes(8))), "leads to no message that was"),
    "patch later than the last": ("last_patches", put(SCOPE[:4], b"\1"), "is later than the last one"),
    "urgent message astray": ("urgent_messages", first_key(lambda key: put(key, (3).to_bytes(8))), "is not there"),
    "urgent message of no number": ("urgent_messages", first_key(lambda key: put(key, b"")), "is not there"),
    "urgent message of nothing": ("urgent_messages", put(NOWHERE + bytes(8), (1).to_bytes(8)), "is not there"),
    "last patch torn": ("last_patches", put(SCOPE[:4], b"\xc1"), "cannot be read"),
    "expiry of a conversation lost": ("conversation_expiries", first_key(delete), "will not be retired"),
    "expiry of a conversation astray": (
        "conversation_expiries", put(SCOPE[:4] + bytes(8) + SCOPE[4:], b""), "which expires at None"
    ),
    "expiry of no conversation": (
        "conversation_expiries", put(SCOPE[:4] + bytes(8) + NOWHERE[4:], b""), "which is no conversation"
    ),
    "deleted conversation there": ("purges", put(SCOPE, b"{}"), "was deleted and is there"),
    "deleted conversation torn": ("purges", put(DELETED, b"{"), "cannot be read"),
    "deleted conversation forgotten": ("purges", delete(DELETED), "which has no head"),
    "standing torn": ("standings", put(SCOPE + b"ben", b"\xc1"), "cannot be read"),
    "standing that says nothing": ("standings", put(SCOPE + b"ben", b"\x90"), "says nothing"),
    "standing in nothing": ("standings", put(NOWHERE + b"ben", b"\x91\1"), "which is no conversation"),
    "standing of nobody": ("standings", put(SCOPE + b"\xff", b"\x91\1"), "cannot be read"),
    "subscriber lost": ("subscribers", delete(SERVICE + b"ann"), "does not have that member"),
    "subscriber too many": ("subscribers", put(SERVICE + b"ben", b"\1"), "has no membership"),
    "subscriber torn": ("subscribers", put(SERVICE + b"\xff", b"\1"), "cannot be read"),
    "subscribers miscounted": ("subscriber_counts", put(SERVICE, b"\2"), "2 subscribers"),
    "subscribers not counted": ("subscriber_counts", delete(SERVICE), "are not counted"),
    "refusal torn": ("refusals", first_key(lambda key: put(key, b"")), "cannot be read"),
    "refusal of nothing": ("refusals", put(ANN + b"\1", b"\1"), "cannot be read"),
    "refusal of nobody": ("refusals", put(b"\0\0\0\1\xff", b"\1"), "no client id"),
    "notice not retired": ("notice_times", first_key(delete), "will not be retired"),
    "notice lost": ("notices", first_key(delete), "is not stored"),
    "notice torn": ("notices", first_key(lambda key: put(key, b"{")), "cannot be read"),
    "notice of another moment": ("notices", first_key(lambda key: copy(key, key[:-5] + b"\1" + key[-4:])), "is of"),
    "notice of nobody": ("notices", first_key(lambda key: copy(key, key[:4] + b"\7" + key[5:])), "belongs to nobody"),
    "will torn": ("wills", first_key(lambda key: put(key, b"")), "cannot be read"),
    "will of another": ("wills", copy(ANN, BEN), "is of ann"),
    "stay torn": ("stays", first_key(lambda key: put(key, b"")), "cannot be read"),
    "stay of another": ("stays", first_key(lambda key: copy(key, key[:-1] + b"x")), "another device's"),
    "broadcast torn": ("broadcasts", first_key(lambda key: put(key, b"")), "cannot be read"),
    "broadcast misplaced": ("broadcasts", first_key(lambda key: copy(key, key[:-1] + b"x")), "is message"),
    "document of nobody": ("documents", put(b"\0\0\0\7words", b"a"), "belongs to no application"),
    "document without a name": ("documents", put(SCOPE[:4], b"a"), "has no name"),
    "client torn": ("clients", put(ANN, b""), "cannot be read"),
    "users torn": ("users", put(SCOPE[:4], b""), "cannot be read"),
    "count of users given twice": ("users", repack(SCOPE[:4], 1, 0), "will be given again"),
    "grant not swept": ("grant_expiries", first_key(delete), "will not be swept"),
    "grant lost": ("grants", first_key(delete), "is not stored"),
    "grant torn": ("grants", first_key(lambda key: put(key, b"")), "cannot be read"),
    "kick torn": ("kicks", first_key(lambda key: put(key, b"")), "cannot be read"),
    "kick's key torn": ("kicks", put(b"\0\0\0\1\xff", b"\1"), "no client id"),
    "kick's key too long": ("kicks", put(ANN + b"more", b"\1"), "does not end with the client id"),
    "use not swept": ("use_expiries", first_key(delete), "will not be swept"),
    "use lost": ("uses", first_key(delete), "is not stored"),
    "use torn": ("uses", first_key(lambda key: put(key, b"")), "cannot be read"),
    "job lost": ("push_jobs", first_key(delete), "1 jobs of push are counted, 0 are there"),
    "job torn": ("push_jobs", first_key(lambda key: put(key, b"")), "cannot be read"),
    "job of another message": ("push_jobs", first_key(lambda key: copy(key, key[:-1] + b"!")), "is of message"),
    "target lost": ("push_targets", delete(PHONE), "has no target"),
    "target torn": ("push_targets", put(PHONE, b"\xc1"), "cannot be read"),
    "target that has the queue of another": ("push_targets", copy(PHONE, PHONE[:-1] + b"!"), "has two targets"),
    "target of a queue to come": ("push_targets", repack(PHONE, 0, 9), "will be given again"),
    "target due at another time": ("push_targets", repack(PHONE, 1, 7), "will never be due"),
    "target never due": ("push_dues", first_key(delete), "will never be due"),
    "due at two times": ("push_dues", put(PHONE[:4] + bytes(8) + PHONE[4:], b""), "no target of push that is due then"),
    "due and no target": ("push_dues", put(PHONE[:4] + bytes(24), b""), "no target of push that is due then"),
    "notification lost": ("push_queues", delete(QUEUE + sequence_key(1)), "holds 1 notifications, not 2"),
    "notification torn": ("push_queues", put(QUEUE + sequence_key(1), b"\x91"), "cannot be read"),
    "notification in another's queue": (
        "push_queues", repack(QUEUE + sequence_key(1), 0, "tablet"), "in the queue of another target"
    ),
    "notification of another message": (
        "push_queues", repack(QUEUE + sequence_key(1), 1, "9"), "is not found by its message"
    ),
    "notification too many": ("push_queues", put(QUEUE[:4] + queue_key(9) + sequence_key(0), b"\x90"), "has no target"),
    "notification of a number to come": (
        "push_queues", copy(QUEUE + sequence_key(0), QUEUE + sequence_key(7)), "number that will be given again"
    ),
    "notification's message lost": ("push_messages", delete(QUEUE + text_hash("1")), "is not found by its message"),
    "notification's message torn": ("push_messages", put(QUEUE + text_hash("1"), b"\xc1"), "cannot be read"),
    "notification's message astray": ("push_messages", put(QUEUE + text_hash("1"), b"\1"), "which is not of it"),
    "notification's message too many": ("push_messages", put(QUEUE + text_hash("9"), b"\7"), "which is not of it"),
    "queue dropped and there": ("push_drops", put(QUEUE, b""), "is to be taken away, and has a target"),
    "queue dropped and forgotten": ("push_drops", first_key(delete), "has no target"),
    "queue dropped that will come": ("push_drops", put(QUEUE[:4] + queue_key(9), b""), "will be given again"),
    "targets miscounted": ("push_counts", repack(PHONE[:4], 1, 7), "7 targets of push are counted, 2 are there"),
    "notifications miscounted": (
        "push_counts", repack(PHONE[:4], 2, 7), "7 notifications of push are counted, 3 are there"
    ),
    "pushes not counted": ("push_counts", delete(PHONE[:4]), "the notifications of push of application 1 are not"),
    "counts of push torn": ("push_counts", put(PHONE[:4], b"\xc1"), "cannot be read"),
    "installation lost": ("installations", delete(DEVICE), "leads to no installation that has it"),
    "installation torn": ("installations", put(DEVICE, b"{"), "cannot be read"),
    "installation renamed": ("installations", rejson(DEVICE, id="b" * 24), "calls itself"),
    "installation's name lost": ("installation_names", first_key(delete), "is not found by one of its names"),
    "installation's name astray": (
        "installation_names", first_key(lambda key: put(key, b"b" * 24)), "leads to no installation that has it"
    ),
    "installation's name too many": (
        "installation_names", put(DEVICE[:4] + bytes(16), DEVICE[4:]), "leads to no installation that has it"
    ),
    "installation's channel lost": ("installation_channels", first_key(delete), "by one of its channels"),
    "installation's channel too many": (
        "installation_channels", put(DEVICE[:4] + bytes(16) + DEVICE[4:], b""), "leads to no installation that has it"
    ),
}  # fmt: skip


@pytest.mark.parametrize("version", range(1, FORMAT))
class TestAnOlderFormat:
    """Each ``format_N.mdb.gz`` was written by the last version that had that format."""

    @pytest.fixture
    def older(self, tmp_path: Path, version: int) -> Path:
        path = tmp_path / "older"
        path.mkdir()
        (path / "data.mdb").write_bytes(gzip.decompress((HERE / f"format_{version}.mdb.gz").read_bytes()))
        return path

    async def contents(self, path: Path, **options: Any) -> None:
        store = LmdbStore.open(path, **options)
        (known,) = await store.applications()
        part = store.of(known)
        found = await part.find_conversation(CONVERSATION)
        assert found is not None
        assert (found.members, found.columns) == (("ann", "ben"), {"name": "tea"})
        assert [one.body for one in await part.history(CONVERSATION, Span())] == [b"hello", b"world"]
        assert not (await part.append(CONVERSATION, draft("ann", token="t"), T0)).fresh
        assert await part.find_grant("ann", "token") is not None
        await part.kick("ann", T0)
        assert await part.use_once("signature", T0)
        await store.close()

    def test_is_brought_up_to_date_at_the_start(self, older: Path, version: int) -> None:
        asyncio.run(self.contents(older))
        assert verify(older).problems == ()

    def test_is_brought_up_to_date_where_there_is_little_room(self, older: Path, version: int) -> None:
        asyncio.run(self.contents(older, map_bytes=1 << 12))
        assert verify(older).problems == ()

    def test_forgets_its_tokens_when_their_hour_has_come(self, older: Path, version: int) -> None:
        async def sweep() -> int:
            store = LmdbStore.open(older, tokens_kept=Millis(0))
            swept = await store.sweep(Millis(T0 - DAY)), await store.sweep(Millis(T0 + DAY))
            await store.close()
            return swept[1] if swept[0] == 0 else -1

        assert asyncio.run(sweep()) >= 1
        assert verify(older).counts["tokens"] == 0

    def test_is_left_behind_as_it_was(self, older: Path, version: int) -> None:
        asyncio.run(self.contents(older))
        copy = older.parent / "copy"
        copy.mkdir()
        assert (older / f"format-{version}.mdb").stat().st_mode & 0o077 == 0
        (older / f"format-{version}.mdb").rename(copy / "data.mdb")
        assert sorted(one.name for one in older.iterdir()) == ["data.mdb", "fastim.lock", "lock.mdb"]
        with lmdb.open(str(copy), max_dbs=40, readonly=True) as environment:
            meta = environment.open_db(b"meta", create=False)
            with environment.begin() as transaction:
                assert transaction.get(b"format", db=meta) == version.to_bytes(1)
            added = {1: b"kicks", 2: b"notices", 3: b"documents", 4: b"urgent_messages", 5: b"push_jobs"}
            with pytest.raises(lmdb.NotFoundError):
                environment.open_db(added[version], create=False)
        asyncio.run(self.contents(copy))

    def test_is_copied_but_not_checked(self, older: Path, version: int) -> None:
        backup(older, older.parent / "copy")
        with pytest.raises(SettingsError, match=rf"has format {version} .* start the server on it once"):
            verify(older)
        asyncio.run(self.contents(older.parent / "copy"))

    def test_stays_what_it_is_where_no_copy_can_be_made(self, older: Path, version: int) -> None:
        (older / f"format-{version}.mdb").mkdir()
        with pytest.raises(SettingsError, match="older"):
            asyncio.run(self.contents(older))
        with pytest.raises(SettingsError, match=f"has format {version}"):
            verify(older)
        names = sorted(one.name for one in older.iterdir())
        assert names == ["data.mdb", "fastim.lock", f"format-{version}.mdb", "lock.mdb"]


def test_what_was_read_and_joined_in_format_2_is_delivered_and_subscribed(tmp_path: Path) -> None:
    async def check(part: ApplicationStore) -> None:
        at = Millis(T0 + 2)
        read = Membership(T0, read=2, read_at=at, mentioned=2, delivered=2, delivered_at=at)
        assert await part.find_membership(CONVERSATION, "ben") == read
        expected = [Subscription(OTHER, one, Millis(T0 + 5)) for one in ("ann", "ben")]
        assert await part.subscriptions(OTHER, "", 10) == expected
        assert await part.count_subscriptions(OTHER) == 2
        found = await part.find_conversation(OTHER)
        assert found is not None
        assert found.members == ()

    async def run() -> None:
        store = LmdbStore.open(tmp_path)
        await check(store.of((await store.applications())[0]))
        await store.close()

    (tmp_path / "data.mdb").write_bytes(gzip.decompress((HERE / "format_2.mdb.gz").read_bytes()))
    asyncio.run(run())


def test_a_token_of_a_personal_log_in_format_3_still_leads_to_its_message(tmp_path: Path) -> None:
    async def run() -> None:
        store = LmdbStore.open(tmp_path)
        part = store.of((await store.applications())[0])
        again = await part.append(personal_log(OTHER, "ann"), draft("ann", b"again", token="t"), T0)
        assert (again.fresh, again.message.body) == (False, b"to the service")
        await part.save_document("words", b"a")
        assert await part.find_document("words") == b"a"
        await store.close()

    (tmp_path / "data.mdb").write_bytes(gzip.decompress((HERE / "format_3.mdb.gz").read_bytes()))
    asyncio.run(run())


def test_a_stay_in_format_4_does_not_say_what_was_missed(tmp_path: Path) -> None:
    async def run() -> None:
        store = LmdbStore.open(tmp_path)
        part = store.of((await store.applications())[0])
        there, away = Stay("ann", "phone", ROOM), Stay("ben", "desk", ROOM, left_at=T0)
        assert [await part.find_stay(one.client_id, one.device) for one in (there, away)] == [there, away]
        assert await part.urgent_since(ROOM, Millis(0), Millis(T0 + DAY), 10) == []
        told = Stay("ann", "phone", ROOM, left_at=T0, missed_from=Millis(T0 - 1))
        await part.save_stay(told)
        assert await part.find_stay("ann", "phone") == told
        sent = await part.append(ROOM, draft("ann", b"fire"), T0, urgent=True)
        assert await part.urgent_since(ROOM, Millis(0), Millis(T0 + DAY), 10) == [sent.message]
        await store.close()

    (tmp_path / "data.mdb").write_bytes(gzip.decompress((HERE / "format_4.mdb.gz").read_bytes()))
    asyncio.run(run())
    assert verify(tmp_path).problems == ()


def test_what_was_urgent_in_format_5_still_is_and_can_be_pushed(tmp_path: Path) -> None:
    async def run() -> None:
        store = LmdbStore.open(tmp_path)
        part = store.of((await store.applications())[0])
        assert await part.find_stay("ann", "phone") == Stay("ann", "phone", ROOM, T0, missed_from=Millis(T0 - 1))
        (fire,) = await part.urgent_since(ROOM, Millis(0), Millis(T0 + DAY), 10)
        assert fire.body == b"fire"
        assert await part.count_pushes() == Waiting(0, 0, 0)
        assert [one async for one in part.scan_installations()] == []
        await part.append(CONVERSATION, draft(), T0, push=job("", "ben"))
        (kept,) = await part.push_jobs(9)
        await part.queue_pushes(kept, [notification("phone", kept.message_id)], {}, T0, done=True)
        assert await part.count_pushes() == Waiting(0, 1, 1)
        await store.close()

    (tmp_path / "data.mdb").write_bytes(gzip.decompress((HERE / "format_5.mdb.gz").read_bytes()))
    asyncio.run(run())
    assert verify(tmp_path).problems == ()


class TestVerify:
    def test_a_sound_store_has_no_problems(self, path: Path) -> None:
        report = verify(path)
        assert report.problems == ()
        assert report.problem_count == 0
        assert report.counts == {
            "meta": 2,
            "applications": 1,
            "conversations": 3,
            "conversation_expiries": 1,
            "heads": 4,
            "messages": 8,
            "patches": 1,
            "last_patches": 1,
            "urgent_messages": 2,
            "memberships": 6,
            "uniques": 1,
            "tokens": 4,
            "token_hours": 4,
            "standings": 1,
            "subscribers": 1,
            "subscriber_counts": 1,
            "refusals": 1,
            "notices": 2,
            "notice_times": 2,
            "wills": 1,
            "stays": 1,
            "broadcasts": 1,
            "clients": 1,
            "users": 1,
            "grants": 1,
            "grant_expiries": 1,
            "kicks": 1,
            "uses": 1,
            "use_expiries": 1,
            "purges": 1,
            "documents": 1,
            "push_jobs": 1,
            "push_targets": 2,
            "push_queues": 4,
            "push_messages": 4,
            "push_dues": 2,
            "push_drops": 1,
            "push_counts": 1,
            "installations": 1,
            "installation_channels": 1,
            "installation_names": 2,
        }

    @pytest.mark.parametrize("planted", DAMAGE)
    def test_planted_damage_is_found(self, path: Path, planted: str) -> None:
        table, change, told = DAMAGE[planted]
        damage(path, table, change)
        report = verify(path)
        assert report.problem_count == len(report.problems) > 0
        assert any(told in problem for problem in report.problems), report.problems
        assert not any("\n" in problem for problem in report.problems)

    def test_no_secret_is_told(self, path: Path) -> None:
        damage(path, "grants", first_key(lambda key: put(key, b"")))
        damage(path, "applications", put(SCOPE[:4], b'{"master_key": "master-secret"'))
        damage(path, "messages", put(message_key(2), b"\x99\xb6" + b"body-secret"))
        damage(path, "push_queues", put(QUEUE + sequence_key(0), b"\x91\xbd" + b"secret of a notification"))
        damage(path, "push_jobs", first_key(lambda key: put(key, b"\x91\xa6secret")))
        damage(path, "installations", put(DEVICE, b'{"token": "device-secret"'))
        damage(path, "installation_names", first_key(delete))
        told = " ".join(verify(path).problems)
        assert "secret" not in told
        assert TOKEN not in told

    def test_a_ruin_is_told_in_part(self, path: Path) -> None:
        def change(transaction: "lmdb.Transaction[bytes]", table: lmdb._Database) -> None:
            for number in range(2 * PROBLEMS_MAX):
                transaction.put(NOWHERE + number.to_bytes(8), b"", db=table)

        damage(path, "messages", change)
        report = verify(path)
        assert len(report.problems) == PROBLEMS_MAX
        assert report.problem_count >= 2 * PROBLEMS_MAX

    @pytest.mark.parametrize("missing", ["nowhere", "empty"])
    def test_where_there_is_no_store_it_says_so(self, tmp_path: Path, missing: str) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(SettingsError, match="holds no fastim data"):
            verify(tmp_path / missing)
        assert list((tmp_path / "empty").iterdir()) == []


class TestBackup:
    def test_a_copy_is_as_good_as_the_original(self, path: Path, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "copy"
        assert backup(path, target) == (target / "data.mdb").stat().st_size
        assert verify(target) == verify(path)
        assert (target / "data.mdb").stat().st_mode & 0o077 == 0
        assert [one.name for one in target.parent.iterdir()] == ["copy"]

    def test_a_store_goes_on_from_a_copy_in_the_same_hour(self, path: Path, tmp_path: Path) -> None:
        """LMDB numbers the transactions of a compacted copy from the start again."""

        async def send(path: Path, name: str) -> int:
            store = LmdbStore.open(path, tokens_kept=Millis(0))
            part = await application(store)
            for number in range(20):
                await part.append(CONVERSATION, draft("ann", token=f"{name}-{number}"), T0)
            swept = await store.sweep(Millis(T0 + 2 * 3_600_000)) if name == "last" else 0
            await store.close()
            return swept

        asyncio.run(send(path, "original"))
        backup(path, tmp_path / "copy")
        asyncio.run(send(tmp_path / "copy", "copy"))
        report = verify(tmp_path / "copy")
        assert report.problems == ()
        assert report.counts["tokens"] == 44
        assert asyncio.run(send(tmp_path / "copy", "last")) >= 63
        assert verify(tmp_path / "copy").counts["tokens"] == 0

    def test_an_empty_directory_is_taken(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "copy").mkdir()
        backup(path, tmp_path / "copy")
        assert verify(tmp_path / "copy").problems == ()

    def test_nothing_is_overwritten(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "file").touch()
        for target in (tmp_path / "full", tmp_path / "full" / "file", path):
            with pytest.raises(SettingsError, match="not empty"):
                backup(path, target)

    def test_a_place_that_cannot_be_written_is_told(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SettingsError, match="name another place"):
            backup(path, tmp_path / "file" / "copy")
        with pytest.raises(SettingsError, match="holds no fastim data"):
            backup(tmp_path / "nowhere", tmp_path / "copy")

    @pytest.mark.slow
    def test_a_failed_one_leaves_nothing(self, path: Path, tmp_path: Path) -> None:
        script = (
            "import resource, sys; from fastim.adapters.lmdb.backup import backup\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY)); backup(*sys.argv[1:])"
        )
        ended = subprocess.run(
            [sys.executable, "-c", script, path, tmp_path / "copy"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "SettingsError" in ended.stderr
        assert "free some space" in ended.stderr
        assert [one.name for one in tmp_path.iterdir()] == ["data"]


@pytest.mark.slow
class TestBesideALiveServer:
    async def test_both_work_while_writes_flow(self, tmp_path: Path) -> None:
        path = tmp_path / "data"
        store = LmdbStore.open(path, map_bytes=1 << 18)
        part = await application(store)
        await part.create_conversation(conversation(CONVERSATION, "ann", "ben"))
        await fill(part, "ab" * 200)
        over = asyncio.Event()

        async def send() -> None:
            number = 0
            while not over.is_set():
                number += 1
                writes = [part.append(CONVERSATION, draft("ann", token=f"{number}-{n}"), Millis(0)) for n in range(20)]
                await settle(*writes)

        sending = asyncio.create_task(send())
        reports = [await beside("verify", path) for _ in range(2)]
        first = (await part.find_head(CONVERSATION)).sequence
        await beside("backup", path, tmp_path / "copy")
        last = (await part.find_head(CONVERSATION)).sequence
        over.set()
        await sending
        acked = await part.history(CONVERSATION, Span(limit=1_000_000))
        await store.close()

        for report in reports:
            assert report.problems == ()
            assert 400 < report.counts["messages"] <= first
        assert verify(path).problems == ()
        assert verify(tmp_path / "copy").problems == ()
        copy = LmdbStore.open(tmp_path / "copy")
        part = await application(copy)
        kept = await part.history(CONVERSATION, Span(limit=1_000_000))
        assert first <= len(kept) <= last
        assert kept == acked[: len(kept)]
        assert (await part.append(CONVERSATION, draft(), T0)).message.sequence == len(kept) + 1
        await copy.close()

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return "asyncio", {"use_uvloop": True}


async def beside(verb: str, *arguments: Path) -> Any:
    """What the function returns, called in another process."""
    script = (
        f"import msgspec, sys; from fastim.adapters.lmdb.{verb} import {verb}\n"
        f"sys.stdout.buffer.write(msgspec.json.encode({verb}(*sys.argv[1:])))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, *arguments, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return msgspec.json.decode(output, type=Report | int)
