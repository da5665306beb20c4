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
IDS_PER_COMMAND_MAX = 1000


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
    """

    message_bytes: int = 5120
    members: int = 500
    unread_cap: int = 0
    unread_conversations: int = 50
    token_ttl_seconds: int = 172_800
    query_scan: int = 50_000
    signature_required: bool = False
