"""Policy: an application's rules as far as they can be set."""

from msgspec import Struct

QUERY_LIMIT_DEFAULT = 10
QUERY_LIMIT_MAX = 1000
QUERY_SKIP_MAX = 10_000
QUERY_RESULTS_BYTES_MAX = 2 * 1024 * 1024
"""JSON size of one answer to a query: a thousand conversations of 2 KiB. It becomes one frame, in some 10 ms."""

HISTORY_LIMIT_DEFAULT = 20
HISTORY_LIMIT_MAX = 1000
ONLINE_QUERY_MAX = 20
ADDRESSEES_MAX = 20
"""Clients that a service conversation writes to at once. Source: REST API, service conversations."""
BROADCAST_MILLIS = 30 * 86_400_000
"""How long a message to everybody is kept for those who have not logged in. Source: semantics, rule 2.17."""
IDS_PER_COMMAND_MAX = 1000
OCCUPANTS_LISTED_MAX = 50
"""Of a chat room, a random sample. Source: semantics, rule 1.11."""
WATCHED_MAX = 500
"""Clients whose coming and going one session is told."""
LIST_LIMIT_DEFAULT = 10
LIST_LIMIT_MAX = 1000
TEMPORARY_MEMBERS_MAX = 10
TEMPORARY_TTL_DEFAULT_SECONDS = 86_400
TEMPORARY_TTL_MAX_SECONDS = 30 * 86_400
SILENCE_TTL_MAX_SECONDS = 86_400
LISTED_MAX = 500
"""Silenced or blocked clients of a conversation."""
LISTED_IN_ROOM_MAX = 10_000
"""The same of a chat room. Source: semantics, rules 2.12 and 2.13."""
QUEUED_MAX = 100
"""Messages of one conversation that a client is pushed when it comes back. Source: semantics, rule 2.7."""
QUEUED_BATCH = 20
"""How many of them at once; the next follow when these are acknowledged."""
PIECE_BYTES = 32_768
"""Of messages that a session is told at once of what it missed; the rest waits until there is room for it. Half of the
least that may pile up for a client, most of which may be waiting by then."""
REJOIN_MILLIS = 30 * 60_000
"""How long a device that was cut off may stay away and be in its chat room again. Source: semantics, rule 1.10."""
URGENT_KEPT_MILLIS = REJOIN_MILLIS + 5 * 60_000
"""How long is remembered which messages of a chat room were of high priority, for devices that come back. Longer than
they may stay away: what a device was still owed when it was cut off is older than that."""
URGENT_REPLAYED_MAX = 10_000
"""Messages of high priority that a device is sent when it is in its chat room again, the newest."""
URGENT_PAGE = 200
"""How many of them are read at once."""
RECEIPTS_AT_ONCE_MAX = 100
"""Messages that one acknowledgement or reading looks at for receipts, the newest; older ones count as received, too."""
PATCHES_REPLAYED_MILLIS = 30 * 86_400_000
"""How far back patches are looked for at an opening: whoever was away for longer reads the history anew."""
PATCHES_REPLAYED_MAX = 1000
"""Patches that are sent after an opening; older ones are in the history all the same."""
NOTICES_PAGE = 500
"""Notices in one answer, and then the rest of the last one's millisecond."""


class Policy(Struct, frozen=True):
    """One application's limits and switches.

    Attributes:
        message_bytes: Of a whole message: body, push data and other extras.
        members: Of a normal conversation.
        unread_cap: The highest unread count that is told; 0 for exact counts.
        unread_conversations: How many conversations the notification at login names.
        token_ttl_seconds: How long a session token can open a session.
        query_scan: How many conversations a query may look at.
        signature_required: Whether login and changes of members need a signature made with the master key.
        modify_enabled: Whether senders may change a message.
        recall_enabled: Whether senders may take one back.
        roles_enabled: Whether roles can be given.
        blacklist_enabled: Whether clients can be blocked.
        filters_two: Whether words are masked between two, too.
        push_static: What is pushed when neither a hook nor the message says it, JSON object text; empty: nothing.
        push_webhook: Whether notifications go to the plain webhook, one for each client, besides to devices.
    """

    message_bytes: int = 5120
    members: int = 500
    unread_cap: int = 0
    unread_conversations: int = 50
    token_ttl_seconds: int = 172_800
    query_scan: int = 50_000
    signature_required: bool = False
    modify_enabled: bool = True
    recall_enabled: bool = True
    roles_enabled: bool = True
    blacklist_enabled: bool = True
    filters_two: bool = False
    push_static: str = ""
    push_webhook: bool = False
