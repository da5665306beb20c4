"""REST: JSON calls of an application's own servers. Source: REST reference."""

from fastim.doors.http.rest import (
    batch,
    broadcasts,
    clients,
    clients_own,
    conversations,
    governance,
    installations,
    ledger,
    legacy,
    members,
    messages,
    service_conversations,
    storage,
    words,
)
from fastim.doors.http.rest.calls import AnyCall
from fastim.doors.http.rest.routes import add_rest

__all__ = ["CALLS", "add_rest"]

CALLS: tuple[AnyCall, ...] = (
    *conversations.CALLS,
    *members.CALLS,
    *messages.CALLS,
    *governance.CALLS,
    *ledger.CALLS,
    *service_conversations.CALLS,
    *clients.CALLS,
    *broadcasts.CALLS,
    *words.CALLS,
    *clients_own.CALLS,
    *legacy.CALLS,
    *storage.CALLS,
    *installations.CALLS,
    *batch.CALLS,
)
"""Every call, in the order of the reference."""
