"""Writes layers of changes as rows of one version, in one transaction that a newer owner makes impossible.

Every statement may be repeated: rows of the version are replaced, so that a transaction whose outcome got lost is simply done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..core.errors import StateError
from .entry_keys import split_prefix
from .overlay import Layer
from .postgresql_store import StateIds

if TYPE_CHECKING:
    from .postgresql_connection import Connection

_ROWS_AT_ONCE: Final = 4_096

_FENCE: Final = "SELECT attempt FROM operators WHERE id = %s FOR SHARE"

_NAMESPACES: Final = "unnest(%b::int[], %b::smallint[], %b::bytea[]) AS gone (state_id, key_group, namespace)"
_KEYS: Final = "unnest(%b::int[], %b::smallint[], %b::bytea[], %b::bytea[]) AS gone (state_id, key_group, namespace, key)"
_UNDO_NAMESPACES: Final = f"""
DELETE FROM entries USING {_NAMESPACES}
WHERE entries.state_id = gone.state_id AND entries.key_group = gone.key_group
  AND entries.namespace = gone.namespace AND entries.version = %s
"""
_DROP_NAMESPACES: Final = f"""
INSERT INTO entries
SELECT state_id, key_group, namespace, key, %s, NULL FROM (
    SELECT DISTINCT ON (entries.state_id, entries.key_group, entries.namespace, entries.key) entries.*
    FROM {_NAMESPACES} JOIN entries USING (state_id, key_group, namespace)
    ORDER BY entries.state_id, entries.key_group, entries.namespace, entries.key, entries.version DESC
) AS newest
WHERE value IS NOT NULL
"""
_UNDO_KEYS: Final = f"""
DELETE FROM entries USING {_KEYS}
WHERE entries.state_id = gone.state_id AND entries.key_group = gone.key_group
  AND entries.namespace = gone.namespace AND entries.key = gone.key AND entries.version = %s
"""
_DELETE_KEYS: Final = f"""
INSERT INTO entries
SELECT gone.state_id, gone.key_group, gone.namespace, gone.key, %s, NULL FROM {_KEYS}
WHERE (
    SELECT value IS NOT NULL FROM entries AS older
    WHERE older.state_id = gone.state_id AND older.key_group = gone.key_group
      AND older.namespace = gone.namespace AND older.key = gone.key
    ORDER BY version DESC LIMIT 1
)
"""
_PUT: Final = """
INSERT INTO entries (state_id, key_group, namespace, key, value, version)
SELECT *, %s FROM unnest(%b::int[], %b::smallint[], %b::bytea[], %b::bytea[], %b::bytea[])
ON CONFLICT (state_id, key_group, namespace, key, version) DO UPDATE SET value = EXCLUDED.value
"""


def require_ownership(connection: Connection, operator_id: int, attempt: int) -> None:
    """Holds newer owners off until the transaction ends.

    INVARIANT X1: what an attempt writes is seen by nobody once a newer attempt owns the state.
    Kept by: tests/state/test_postgresql.py::TestPostgreSQL::test_a_zombie_cannot_write

    Raises:
        StateError: there is a newer one.
    """
    row = connection.execute(_FENCE, [operator_id]).fetchone()
    if row is None or row[0] != attempt:
        newer = "was deleted" if row is None else f"belongs to attempt {row[0]} now"
        raise StateError(
            f"attempt {attempt} may not write its state any more: it {newer}",
            where="state.backend.type: postgresql",
            fix="nothing is to be done if this attempt was given up; no two jobs may run from one job id",
        )


def write_layer(connection: Connection, layer: Layer, version: int, states: StateIds) -> None:
    """All changes of a layer, as of `version`; the caller's transaction."""
    dropped: list[tuple[Any, ...]] = []
    deleted: list[tuple[Any, ...]] = []
    put: list[tuple[Any, ...]] = []
    for place, delta in layer.changes():
        group, table_id = split_prefix(place.prefix)
        address = (states[table_id], group, place.part)
        if delta.dropped:
            dropped.append(address)
        for key, value in delta.entries.items():
            if value is None:
                deleted.append((*address, key))
            else:
                put.append((*address, key, value))
    for columns in _in_columns(dropped):
        connection.execute(_UNDO_NAMESPACES, (*columns, version))
        connection.execute(_DROP_NAMESPACES, (version, *columns))
    for columns in _in_columns(deleted):
        connection.execute(_UNDO_KEYS, (*columns, version))
        connection.execute(_DELETE_KEYS, (version, *columns))
    for columns in _in_columns(put):
        connection.execute(_PUT, (version, *columns))


def _in_columns(rows: Sequence[tuple[Any, ...]]) -> Iterable[list[list[Any]]]:
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield [list(column) for column in zip(*rows[start : start + _ROWS_AT_ONCE], strict=True)]
