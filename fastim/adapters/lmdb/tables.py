"""The tables of a store."""

from typing import NamedTuple

import lmdb


class Tables(NamedTuple):
    """Handles of the tables; what each holds is said in ``keys``."""

    meta: lmdb._Database
    applications: lmdb._Database
    conversations: lmdb._Database
    conversation_expiries: lmdb._Database
    heads: lmdb._Database
    messages: lmdb._Database
    patches: lmdb._Database
    last_patches: lmdb._Database
    urgent_messages: lmdb._Database
    memberships: lmdb._Database
    uniques: lmdb._Database
    tokens: lmdb._Database
    token_hours: lmdb._Database
    standings: lmdb._Database
    subscribers: lmdb._Database
    subscriber_counts: lmdb._Database
    refusals: lmdb._Database
    notices: lmdb._Database
    notice_times: lmdb._Database
    wills: lmdb._Database
    stays: lmdb._Database
    broadcasts: lmdb._Database
    clients: lmdb._Database
    users: lmdb._Database
    grants: lmdb._Database
    grant_expiries: lmdb._Database
    kicks: lmdb._Database
    uses: lmdb._Database
    use_expiries: lmdb._Database
    purges: lmdb._Database
    documents: lmdb._Database
    push_jobs: lmdb._Database
    push_targets: lmdb._Database
    push_queues: lmdb._Database
    push_messages: lmdb._Database
    push_dues: lmdb._Database
    push_drops: lmdb._Database
    push_counts: lmdb._Database
    installations: lmdb._Database
    installation_channels: lmdb._Database
    installation_names: lmdb._Database
