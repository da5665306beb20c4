"""Push: installations, and what is in the outbox for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastim.adapters.lmdb.changes.installations import channels_of, names_of
from fastim.adapters.lmdb.changes.pushes import due_key
from fastim.adapters.lmdb.checks.findings import Findings
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    HASH_BYTES,
    QUEUE_BYTES,
    SEQUENCE_BYTES,
    queue_key,
    sequence_key,
    text_hash,
)
from fastim.adapters.lmdb.records import (
    PushCounts,
    Target,
    decode_installation,
    decode_job,
    decode_notification,
    decode_number,
    decode_push_counts,
    decode_target,
)
from fastim.core.installation import Installation


def check_jobs(findings: Findings) -> None:
    """Each is the one that its key says, and they are counted."""
    counted: dict[bytes, int] = {}
    for key, record in findings.all(findings.tables.push_jobs):
        application, message_id = key[:APPLICATION_BYTES], key[APPLICATION_BYTES:]
        job = findings.decoded("job", key, record, decode_job)
        if job is not None and job.message_id.encode() != message_id:
            findings.tell(f"the job with key {key.hex()} is of message {job.message_id}")
        counted[application] = counted.get(application, 0) + 1
    _check_counts(findings, "jobs", counted, lambda counts: counts.jobs)


def check_outbox(findings: Findings) -> None:
    """Each target has its queue and is due; each queue has its target, or will be taken away; they are counted."""
    targets = _targets_by_queue(findings)
    waiting = _waiting_by_queue(findings, targets)
    _check_messages(findings)
    _check_dues(findings)
    for queue, (_, target) in targets.items():
        if waiting.get(queue, 0) != target.waiting or not target.waiting:
            findings.tell(f"queue {queue.hex()} holds {waiting.get(queue, 0)} notifications, not {target.waiting}")
        if _is_dropped(findings, queue):
            findings.tell(f"queue {queue.hex()} is to be taken away, and has a target")
    _check_counts(findings, "targets", _by_application(targets), lambda counts: counts.targets)
    notifications: dict[bytes, int] = {}
    for queue in targets:
        application = queue[:APPLICATION_BYTES]
        notifications[application] = notifications.get(application, 0) + waiting.get(queue, 0)
    _check_counts(findings, "notifications", notifications, lambda counts: counts.notifications)
    dropped = [key for key, _ in findings.all(findings.tables.push_drops)]
    for queue in (*targets, *dropped):
        counts = _counts(findings, queue[:APPLICATION_BYTES])
        if counts is not None and queue[APPLICATION_BYTES:] > queue_key(counts.last_queue):
            findings.tell(f"queue {queue.hex()} is there, and will be given again")


def check_installations(findings: Findings) -> None:
    """Each is found by its names and its channels, and by no others."""
    tables = findings.tables
    for key, record in findings.all(tables.installations):
        installation = findings.decoded("installation", key, record, decode_installation)
        if installation is None:
            continue
        own = key[APPLICATION_BYTES:]
        if installation.id.encode() != own:
            findings.tell(f"the installation with key {key.hex()} calls itself {installation.id}")
        for name in names_of(key, installation):
            if findings.get(tables.installation_names, name) != own:
                findings.tell(f"installation {installation.id} is not found by one of its names")
        for channel in channels_of(key, installation):
            if findings.get(tables.installation_channels, channel) is None:
                findings.tell(f"installation {installation.id} is not found by one of its channels")
    for key, own in findings.all(tables.installation_names):
        _check_found(findings, "name", key, key[:APPLICATION_BYTES] + own, names_of)
    for key, _ in findings.all(tables.installation_channels):
        own = key[APPLICATION_BYTES + HASH_BYTES :]
        _check_found(findings, "channel", key, key[:APPLICATION_BYTES] + own, channels_of)


def _check_found(
    findings: Findings,
    kind: str,
    key: bytes,
    installation_key: bytes,
    keys_of: Callable[[bytes, Installation], Iterable[bytes]],
) -> None:
    record = findings.get(findings.tables.installations, installation_key)
    installation = (
        None if record is None else findings.decoded("installation", installation_key, record, decode_installation)
    )
    if record is None or (installation is not None and key not in keys_of(installation_key, installation)):
        findings.tell(f"the {kind} {key.hex()} leads to no installation that has it")


def _targets_by_queue(findings: Findings) -> dict[bytes, tuple[bytes, Target]]:
    """Every target and its key, by the application and the queue."""
    tables = findings.tables
    found: dict[bytes, tuple[bytes, Target]] = {}
    for key, record in findings.all(tables.push_targets):
        target = findings.decoded("target of push", key, record, decode_target)
        if target is None:
            continue
        queue = key[:APPLICATION_BYTES] + queue_key(target.queue)
        if queue in found:
            findings.tell(f"queue {queue.hex()} has two targets")
        found[queue] = key, target
        if findings.get(tables.push_dues, due_key(key, target)) is None:
            findings.tell(f"the target of push {key.hex()} will never be due")
    return found


def _waiting_by_queue(findings: Findings, targets: dict[bytes, tuple[bytes, Target]]) -> dict[bytes, int]:
    """How many notifications each queue holds that has a target."""
    tables = findings.tables
    waiting: dict[bytes, int] = {}
    for key, record in findings.all(tables.push_queues):
        queue, number = key[:-SEQUENCE_BYTES], int.from_bytes(key[-SEQUENCE_BYTES:])
        if queue not in targets:
            if not _is_dropped(findings, queue):
                findings.tell(f"notification {key.hex()} has no target")
            continue
        target_key, target = targets[queue]
        waiting[queue] = waiting.get(queue, 0) + 1
        if number >= target.next_number:
            findings.tell(f"notification {key.hex()} has a number that will be given again")
        notification = findings.decoded("notification", key, record, decode_notification)
        if notification is None:
            continue
        if text_hash(notification.target) != target_key[APPLICATION_BYTES:]:
            findings.tell(f"notification {key.hex()} is in the queue of another target")
        known = findings.get(tables.push_messages, queue + text_hash(notification.message_id))
        if known is None or findings.decoded("number of a notification", key, known, decode_number) != number:
            findings.tell(f"notification {key.hex()} is not found by its message")
    return waiting


def _check_messages(findings: Findings) -> None:
    tables = findings.tables
    for key, stored in findings.all(tables.push_messages):
        queue, message = key[: APPLICATION_BYTES + QUEUE_BYTES], key[APPLICATION_BYTES + QUEUE_BYTES :]
        if _is_dropped(findings, queue):
            continue
        number = findings.decoded("number of a notification", key, stored, decode_number)
        place = queue + sequence_key(number or 0)
        record = None if number is None else findings.get(tables.push_queues, place)
        notification = None if record is None else findings.decoded("notification", place, record, decode_notification)
        missing = number is not None and record is None
        if missing or (notification is not None and text_hash(notification.message_id) != message):
            findings.tell(f"a message leads to notification {place.hex()}, which is not of it")


def _check_dues(findings: Findings) -> None:
    tables = findings.tables
    for key, _ in findings.all(tables.push_dues):
        target_key = key[:APPLICATION_BYTES] + key[-HASH_BYTES:]
        record = findings.get(tables.push_targets, target_key)
        target = None if record is None else findings.decoded("target of push", target_key, record, decode_target)
        if record is None or (target is not None and due_key(target_key, target) != key):
            findings.tell(f"{key.hex()} is due, and is no target of push that is due then")


def _check_counts(findings: Findings, name: str, counted: dict[bytes, int], count: Callable[[PushCounts], int]) -> None:
    for application, record in findings.all(findings.tables.push_counts):
        counts = findings.decoded("counts of push", application, record, decode_push_counts)
        found = counted.pop(application, 0)
        if counts is not None and count(counts) != found:
            findings.tell(f"{count(counts)} {name} of push are counted, {found} are there")
    for application in counted:
        findings.tell(f"the {name} of push of application {int.from_bytes(application)} are not counted")


def _counts(findings: Findings, application: bytes) -> PushCounts | None:
    record = findings.get(findings.tables.push_counts, application)
    return None if record is None else findings.decoded("counts of push", application, record, decode_push_counts)


def _by_application(keys: Iterable[bytes]) -> dict[bytes, int]:
    counted: dict[bytes, int] = {}
    for key in keys:
        counted[key[:APPLICATION_BYTES]] = counted.get(key[:APPLICATION_BYTES], 0) + 1
    return counted


def _is_dropped(findings: Findings, queue: bytes) -> bool:
    return findings.get(findings.tables.push_drops, queue) is not None
