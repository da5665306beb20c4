"""Applications and what they keep, conversations, and who is in them."""

from fastim.adapters.lmdb.checks.findings import Findings, name_of
from fastim.adapters.lmdb.keys import (
    APPLICATION_BYTES,
    MOMENT_BYTES,
    SCOPE_BYTES,
    application_key,
    client_key,
    conversation_id_of,
    conversation_scope,
    is_personal,
    log_id_of,
    log_scope,
    moment_key,
    name_key,
    personal_membership_key,
    unique_table_key,
)
from fastim.adapters.lmdb.records import (
    decode_application,
    decode_conversation,
    decode_head,
    decode_membership,
    decode_moment,
    decode_number,
    decode_standing,
)
from fastim.core.conversation import Conversation, Kind
from fastim.core.standing import UNREMARKABLE
from fastim.core.unread import Head


def check_applications(findings: Findings) -> None:
    """Numbers and ids are given once."""
    tables = findings.tables
    stored = findings.get(tables.meta, b"next_application")
    following = 1 if stored is None else findings.decoded("meta", b"next_application", stored, decode_number)
    names: set[str] = set()
    for key, record in findings.all(tables.applications):
        application = findings.decoded("application", key, record, decode_application)
        if application is None:
            continue
        if key != application_key(application.number):
            findings.tell(f"application {application.id} has number {application.number} and key {key.hex()}")
        if following is not None and application.number >= following:
            findings.tell(f"application {application.id} has number {application.number}, {following} is given next")
        if application.id in names:
            findings.tell(f"application {application.id} is there twice")
        names.add(application.id)


def check_documents(findings: Findings) -> None:
    """Each is an application's and has a name."""
    tables = findings.tables
    for key, _ in findings.all(tables.documents):
        if findings.get(tables.applications, key[:APPLICATION_BYTES]) is None:
            findings.tell(f"document {key.hex()} belongs to no application")
        if not key[APPLICATION_BYTES:]:
            findings.tell(f"document {key.hex()} has no name")


def check_conversations(findings: Findings) -> None:
    """Each has a head, and is found by all that should lead to it."""
    tables = findings.tables
    for key, record in findings.all(tables.conversations):
        name = _conversation_name(key)
        if name is None:
            findings.tell(f"conversations has the key {key.hex()}")
            continue
        conversation = findings.decoded(f"conversation {name}", key, record, decode_conversation)
        if findings.get(tables.applications, key[:APPLICATION_BYTES]) is None:
            number = int.from_bytes(key[:APPLICATION_BYTES])
            findings.tell(f"conversation {name} belongs to application {number}, which is not there")
        if findings.get(tables.heads, key) is None:
            findings.tell(f"conversation {name} has no head")
        if findings.get(tables.purges, key) is not None:
            findings.tell(f"conversation {name} was deleted and is there")
        if conversation is not None:
            _check_conversation(findings, name, key, conversation)
    for key, _ in findings.all(tables.heads):
        if findings.get(tables.conversations, conversation_scope(key)) is None and not findings.is_left_behind(key):
            findings.tell(f"a head belongs to {name_of(key) or key.hex()}, which is no conversation")
    for key, record in findings.all(tables.purges):
        findings.decoded(f"deleted conversation {_conversation_name(key)}", key, record, decode_conversation)


def _check_conversation(findings: Findings, name: str, scope: bytes, conversation: Conversation) -> None:
    if conversation.id != name:
        findings.tell(f"conversation {name} calls itself {conversation.id}")
    if len(set(conversation.members)) != len(conversation.members):
        findings.tell(f"conversation {name} has a member twice")
    application, key = scope[:APPLICATION_BYTES], scope[APPLICATION_BYTES:]
    for member in set(conversation.members):
        client = client_key(member)
        if client is None:
            findings.tell(f"conversation {name} has the member {member!r}, which is no client id")
        elif findings.get(findings.tables.memberships, application + client + key) is None:
            findings.tell(f"conversation {name} has the member {member}, who has no membership")
    expiry = None if conversation.expires_at is None else _expiry(scope, conversation.expires_at)
    if expiry is not None and findings.get(findings.tables.conversation_expiries, expiry) is None:
        findings.tell(f"conversation {name} will not be retired")
    if conversation.unique_key is not None:
        _check_unique(findings, name, scope, conversation)


def _check_unique(findings: Findings, name: str, scope: bytes, conversation: Conversation) -> None:
    """Its unique key leads to it, or to one that was created when it had expired."""
    application, key = scope[:APPLICATION_BYTES], scope[APPLICATION_BYTES:]
    unique = application + unique_table_key(conversation.kind, conversation.unique_key or "")
    holder = findings.get(findings.tables.uniques, unique)
    if holder == key:
        return
    stored = None if holder is None else findings.get(findings.tables.conversations, application + holder)
    other = None if stored is None else findings.decoded("conversation", unique, stored, decode_conversation)
    if other is None or not conversation.expired(other.created_at):
        findings.tell(f"conversation {name} is not the one that its unique key leads to")


def check_indexes(findings: Findings) -> None:
    """Unique keys and expiries lead to conversations."""
    tables = findings.tables
    for key, conversation in findings.all(tables.uniques):
        if findings.get(tables.conversations, key[:APPLICATION_BYTES] + conversation) is None:
            findings.tell(f"unique key {key.hex()} leads to {conversation.hex()}, which is no conversation")
    for key, _ in findings.all(tables.conversation_expiries):
        scope = key[:APPLICATION_BYTES] + key[APPLICATION_BYTES + MOMENT_BYTES :]
        stored = findings.get(tables.conversations, scope)
        expiring = None if stored is None else findings.decoded("conversation", scope, stored, decode_conversation)
        if stored is None:
            findings.tell(f"an expiry leads to {name_of(scope) or scope.hex()}, which is no conversation")
        elif expiring is not None and (expiring.expires_at is None or key != _expiry(scope, expiring.expires_at)):
            findings.tell(f"an expiry leads to {name_of(scope)}, which expires at {expiring.expires_at}")


def _expiry(scope: bytes, moment: int) -> bytes:
    return scope[:APPLICATION_BYTES] + moment_key(moment) + scope[APPLICATION_BYTES:]


def check_memberships(findings: Findings) -> None:
    """Each is of a member, and of nothing that has not been said yet."""
    # Each that has to be there is looked for: only where there are more of them can one be without a member.
    surplus = findings.count(findings.tables.memberships) != _members(findings)
    for key, record in findings.all(findings.tables.memberships):
        found = findings.client_of("memberships", key)
        if found is None:
            continue
        client_id, log = found
        try:
            name = f"membership of {client_id} in {log_id_of(log, client_id)}"
        except ValueError as error:
            findings.tell(f"memberships: {error}")
            continue
        scope = log_scope(key, client_key(client_id) or b"")
        if findings.is_left_behind(scope):
            continue
        membership = findings.decoded(name, key, record, decode_membership)
        stored = findings.get(findings.tables.heads, scope)
        head = Head() if stored is None else findings.decoded("head", scope, stored, decode_head)
        if membership is not None and head is not None:
            if max(membership.read, membership.mentioned, membership.delivered) > head.sequence:
                findings.tell(f"{name} is past the conversation's last message, {head.sequence}")
            if membership.read > membership.delivered:
                findings.tell(f"{name} has read to {membership.read}, and {membership.delivered} was delivered")
            if not 0 <= membership.sent_at_read <= membership.sent:
                findings.tell(f"{name} counts {membership.sent_at_read} of {membership.sent} messages sent")
        if surplus:
            _check_member(findings, name, scope, client_id)


def _members(findings: Findings) -> int:
    """How many memberships there have to be, but for what deleted conversations left."""
    tables = findings.tables
    members = findings.count(tables.subscribers)
    for key, record in findings.all(tables.conversations):
        conversation = findings.decoded("conversation", key, record, decode_conversation)
        members += 0 if conversation is None else len(set(conversation.members))
    for key, _ in findings.all(tables.heads):
        if is_personal(key[:SCOPE_BYTES]):
            members += 1
            if findings.get(tables.memberships, personal_membership_key(key)) is None:
                findings.tell(f"the client of {name_of(key)} has no membership in it")
    return members


def _check_member(findings: Findings, name: str, scope: bytes, client_id: str) -> None:
    tables = findings.tables
    if len(scope) > SCOPE_BYTES:
        if findings.get(tables.heads, scope) is None:
            findings.tell(f"{name}, which has no message")
        return
    stored = findings.get(tables.conversations, scope)
    if stored is None:
        findings.tell(f"{name}, which is no conversation")
        return
    conversation = findings.decoded("conversation", scope, stored, decode_conversation)
    if conversation is None or client_id in conversation.members:
        return
    if conversation.kind is not Kind.SYSTEM or findings.get(tables.subscribers, scope + name_key(client_id)) is None:
        findings.tell(f"{name}, which does not have that member")


def check_subscribers(findings: Findings) -> None:
    """Each has a membership, and they are counted."""
    tables = findings.tables
    counted: dict[bytes, int] = {}
    for key, record in findings.all(tables.subscribers):
        scope = key[:SCOPE_BYTES]
        client_id = findings.decoded("subscriber", key, key[SCOPE_BYTES:], bytes.decode)
        findings.decoded(f"subscription of {client_id}", key, record, decode_moment)
        if client_id is None or findings.is_left_behind(scope):
            continue
        counted[scope] = counted.get(scope, 0) + 1
        client = client_key(client_id) or b""
        if findings.get(tables.memberships, scope[:APPLICATION_BYTES] + client + scope[APPLICATION_BYTES:]) is None:
            findings.tell(f"{client_id} has subscribed to {name_of(scope)} and has no membership")
    for key, record in findings.all(tables.subscriber_counts):
        count = findings.decoded(f"count of {name_of(key)}'s subscribers", key, record, decode_number)
        found = counted.pop(key, 0)
        if count not in (None, found) and not findings.is_left_behind(key):
            findings.tell(f"{count} subscribers of {name_of(key)} are counted, {found} are there")
    for key in counted:
        findings.tell(f"the subscribers of {name_of(key)} are not counted")


def check_standings(findings: Findings) -> None:
    """Each is one, of a client in a conversation."""
    for key, record in findings.all(findings.tables.standings):
        scope = key[:SCOPE_BYTES]
        client_id = findings.decoded("standing", key, key[SCOPE_BYTES:], bytes.decode)
        name = f"standing of {client_id} in {name_of(scope)}"
        if findings.decoded(name, key, record, decode_standing) == UNREMARKABLE:
            findings.tell(f"{name} says nothing")
        if findings.get(findings.tables.conversations, scope) is None and not findings.is_left_behind(scope):
            findings.tell(f"{name}, which is no conversation")


def check_refusals(findings: Findings) -> None:
    """Each is a client's, of a conversation that need not be there."""
    for key, record in findings.all(findings.tables.refusals):
        found = findings.client_of("refusals", key)
        if found is not None:
            findings.decoded(f"refusal of {found[0]}", key, found[1], conversation_id_of)
            findings.decoded(f"refusal of {found[0]}", key, record, decode_moment)


def _conversation_name(scope: bytes) -> str | None:
    try:
        return conversation_id_of(scope[APPLICATION_BYTES:])
    except ValueError:
        return None
