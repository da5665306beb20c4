"""Checking a store, beside a live server or on a copy: every rule that its records keep.

It sees one moment of the store. The server cannot reuse the pages of that moment meanwhile, so under load its file
grows until the check is over.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import lmdb
from msgspec import Struct

from fastim.adapters.lmdb.checks.clients import (
    check_broadcasts,
    check_clients,
    check_grants,
    check_notices,
    check_stays,
    check_uses,
)
from fastim.adapters.lmdb.checks.conversations import (
    check_applications,
    check_conversations,
    check_documents,
    check_indexes,
    check_memberships,
    check_refusals,
    check_standings,
    check_subscribers,
)
from fastim.adapters.lmdb.checks.findings import PROBLEMS_MAX, Findings
from fastim.adapters.lmdb.checks.logs import check_messages, check_patches, check_tokens, check_urgent_messages
from fastim.adapters.lmdb.checks.pushes import check_installations, check_jobs, check_outbox
from fastim.adapters.lmdb.environment import Tables, open_beside, open_tables, require_current
from fastim.core.errors import SettingsError

__all__ = ["PROBLEMS_MAX", "Report", "verify"]

_CHECKS: Final[tuple[Callable[[Findings], None], ...]] = (
    check_applications,
    check_documents,
    check_conversations,
    check_messages,
    check_memberships,
    check_indexes,
    check_subscribers,
    check_standings,
    check_refusals,
    check_patches,
    check_urgent_messages,
    check_tokens,
    check_notices,
    check_clients,
    check_stays,
    check_broadcasts,
    check_grants,
    check_uses,
    check_jobs,
    check_outbox,
    check_installations,
)


class Report(Struct, frozen=True):
    """What ``verify`` found.

    Attributes:
        problems: One line each, at most ``PROBLEMS_MAX``; empty when the store is sound.
        problem_count: All of them.
        counts: Records by table.
    """

    problems: tuple[str, ...]
    problem_count: int
    counts: dict[str, int]


def verify(path: Path | str) -> Report:
    """Check the store in a data directory, which a server may be using; not from within that server's process.

    Raises:
        SettingsError: There is no store, or it cannot be read; the text says what to do, in one line.
    """
    path = Path(path)
    environment = open_beside(path)
    try:
        require_current(environment, path)
        tables = open_tables(environment)
        with environment.begin() as transaction:
            findings = Findings(transaction, tables)
            for check in _CHECKS:
                check(findings)
            counts = {name: findings.count(table) for name, table in zip(Tables._fields, tables, strict=True)}
            return Report(tuple(findings.problems), findings.problem_count, counts)
    except lmdb.Error as error:
        raise SettingsError(f"the store in {path} cannot be read ({error}): restore a backup") from error
    finally:
        environment.close()
