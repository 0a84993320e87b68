"""Takes an operator's state over: fences older attempts off, and removes what came after the restored checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ..core.errors import CheckpointError, CheckpointFailureReason, StateError
from .backend import BackendContext
from .handles import ExternalVersion, KeyedStateHandle
from .postgresql_store import state_id
from .postgresql_write import require_ownership
from .table_registry import BLOCKS_INFO, looks

if TYPE_CHECKING:
    from .postgresql_connection import Connection

_OPERATOR: Final = "SELECT id, attempt FROM operators WHERE job = %s AND operator = %s"
_OWN_OPERATOR: Final = """
INSERT INTO operators (job, operator, attempt) VALUES (%s, %s, %s)
ON CONFLICT (job, operator) DO UPDATE SET attempt = greatest(operators.attempt, EXCLUDED.attempt)
RETURNING id, attempt
"""
_COMPLETE: Final = """
SELECT 1 FROM snapshots JOIN operators ON operators.id = operator_id
WHERE job = %s AND operator = %s AND first_group = %s AND last_group = %s AND version = %s AND snapshots.attempt = %s
"""
_FORGET_SNAPSHOTS: Final = """
DELETE FROM snapshots WHERE operator_id = %s AND version > %s AND first_group <= %s AND last_group >= %s
"""
_FORGET_ENTRIES: Final = """
DELETE FROM entries
USING generate_series(%s::int, %s::int) AS own (key_group), states
WHERE states.operator_id = %s AND entries.state_id = states.id AND entries.key_group = own.key_group
  AND entries.version > %s
"""
_COPY: Final = """
INSERT INTO entries
SELECT %(to)s, key_group, namespace, key, 0, value FROM (
    SELECT DISTINCT ON (key_group, namespace, key) key_group, namespace, key, value FROM entries
    WHERE state_id = %(from)s AND key_group BETWEEN %(first)s AND %(last)s AND version <= %(version)s
    ORDER BY key_group, namespace, key, version DESC
) AS newest
WHERE value IS NOT NULL
"""


def take_over(connection: Connection, context: BackendContext) -> tuple[int, int]:
    """Own the state of an operator's key groups, as of what the context restores. Repeatable.

    Versions behind the restored one are of attempts that are dead: they go, once nobody can add to them. Another job's state is
    copied as of its version, for that job may go on.

    Returns:
        The operator's id, and the version restored: 0 for a start from nothing or from another job.

    Raises:
        StateError: a newer attempt owns the state.
        CheckpointError: CORRUPT, when PostgreSQL no longer has the version.
    """
    owner = context.owner
    operator_id = _fence(connection, context)
    handles = [(handle, handle.external) for handle in context.restored if handle.external is not None]
    restored = handles[0][1] if handles else None
    is_own = restored is not None and (restored.job_id, restored.operator_id) == (
        owner.job_id,
        owner.operator_id,
    )
    infos = [] if is_own else [info for handle, _ in handles for info in handle.tables]
    tables = {(info.name, looks(info)): info for info in [*infos, BLOCKS_INFO]} if infos else {}
    states = {name: state_id(connection, operator_id, tables[name]) for name in sorted(tables)}
    with connection.transaction():
        # What is checked must be what is copied.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        require_ownership(connection, operator_id, owner.attempt)
        for handle, version in handles:
            _require_version(connection, context, handle, version)
        if restored is not None and is_own:
            _forget(connection, context, operator_id, restored.checkpoint_id)
            return operator_id, restored.checkpoint_id
        _forget(connection, context, operator_id, -1)
        if restored is not None:
            _copy(connection, context.key_groups, restored, states)
    return operator_id, 0


def _fence(connection: Connection, context: BackendContext) -> int:
    """In a transaction of its own: waits for those of older attempts, and no later one of theirs can begin."""
    owner = context.owner
    name = (owner.job_id, owner.operator_id)
    row = connection.execute(_OPERATOR, name).fetchone()
    if row is None or row[1] < owner.attempt:  # the first subtask of the attempt to come here
        row = connection.execute(_OWN_OPERATOR, (*name, owner.attempt)).fetchone()
    assert row is not None, "an upsert returns its row"
    if row[1] != owner.attempt:
        raise StateError(
            f"attempt {owner.attempt} may not restore its state any more: it belongs to attempt {row[1]} now",
            where=f"operator '{context.operator}'",
            fix="nothing is to be done if this attempt was given up; no two jobs may run from one job id",
        )
    return int(row[0])


def _require_version(
    connection: Connection, context: BackendContext, handle: KeyedStateHandle, version: ExternalVersion
) -> None:
    wanted = (version.job_id, version.operator_id, *handle.key_groups, version.checkpoint_id, version.attempt)
    if connection.execute(_COMPLETE, wanted).fetchone() is None:
        raise CheckpointError(
            CheckpointFailureReason.CORRUPT,
            f"PostgreSQL does not have the state of checkpoint {version.checkpoint_id} of job {version.job_id} (any more)",
            where=f"operator '{context.operator}', key groups {handle.key_groups[0]}-{handle.key_groups[1]}",
            fix="point state.backend.postgresql.url and .schema to the database it was taken on, or restore a later "
            "checkpoint: versions are kept for retained checkpoints alone",
        )


def _forget(connection: Connection, context: BackendContext, operator_id: int, version: int) -> None:
    """Remove what is newer than `version` in the key groups of the context."""
    first, last = context.key_groups
    connection.execute(_FORGET_SNAPSHOTS, (operator_id, version, last, first))
    connection.execute(_FORGET_ENTRIES, (first, last, operator_id, version))


def _copy(
    connection: Connection,
    key_groups: tuple[int, int],
    version: ExternalVersion,
    states: Mapping[tuple[str, str], int],
) -> None:
    """`states`: the copy's ids by name and looks."""
    query = (
        "SELECT states.id FROM states JOIN operators ON operators.id = operator_id "
        "WHERE job = %s AND operator = %s AND name = %s AND looks = %s"
    )
    first, last = key_groups
    for name, target in states.items():
        row = connection.execute(query, (version.job_id, version.operator_id, *name)).fetchone()
        if row is None:  # declared, and never written
            continue
        bounds = {"first": first, "last": last, "version": version.checkpoint_id}
        connection.execute(_COPY, {"to": target, "from": row[0], **bounds})
