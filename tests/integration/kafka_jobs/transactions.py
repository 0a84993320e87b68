"""What the broker says about transactions, asked with kafka-python as an operator of the cluster would."""

from __future__ import annotations

from typing import Any, Final

from millstream.connectors.kafka.kafka_python import admin_client, load

_OVER: Final = {"Empty", "CompleteCommit", "CompleteAbort", "Dead"}


def unfinished_transactions(bootstrap_servers: str, prefix: str) -> list[str]:
    """The transactional ids with this prefix whose transaction is neither committed nor aborted, with their states."""
    load()
    admin = admin_client(bootstrap_servers=[bootstrap_servers])
    try:
        listed: dict[int, list[Any]] = admin.list_transactions()
    finally:
        admin.close()
    return sorted(
        f"{found.transactional_id}: {found.state.value}"
        for transactions in listed.values()
        for found in transactions
        if found.transactional_id.startswith(prefix) and found.state.value not in _OVER
    )
