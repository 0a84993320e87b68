"""Reads entries of one operator's states in PostgreSQL: of each the newest version, which after a restore is what this attempt may see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .entry_keys import prefix_of, split_prefix
from .handles import TableInfo
from .overlay import Place
from .postgresql_connection import PostgreSQLConnection
from .table_registry import looks

if TYPE_CHECKING:
    from .postgresql_connection import Connection

_PAGE: Final = 1_000

_GET: Final = """
SELECT value FROM entries WHERE state_id = %s AND key_group = %s AND namespace = %b AND key = %b
ORDER BY version DESC LIMIT 1
"""
_SCAN: Final = f"""
SELECT DISTINCT ON (key) key, value FROM entries
WHERE state_id = %s AND key_group = %s AND namespace = %b AND key > %b
ORDER BY key, version DESC LIMIT {_PAGE}
"""
_SCAN_FIRST: Final = _SCAN.replace("key > ", "key >= ")
_WALK: Final = f"""
SELECT DISTINCT ON (namespace, key) namespace, key, value FROM entries
WHERE state_id = %s AND key_group = %s AND (namespace, key) > (%b::bytea, %b::bytea)
ORDER BY namespace, key, version DESC LIMIT {_PAGE}
"""
# A step from each namespace to the next, whatever the number of entries.
_NAMESPACES: Final = """
WITH RECURSIVE found AS (
    (SELECT namespace FROM entries WHERE state_id = %(state)s AND key_group = %(group)s ORDER BY namespace LIMIT 1)
    UNION ALL
    SELECT (
        SELECT namespace FROM entries
        WHERE state_id = %(state)s AND key_group = %(group)s AND namespace > found.namespace
        ORDER BY namespace LIMIT 1
    ) FROM found WHERE found.namespace IS NOT NULL
)
SELECT namespace FROM found WHERE namespace IS NOT NULL
"""
_AS_OF: Final = _WALK.replace("ORDER BY", "AND version <= %s ORDER BY")
_ANY: Final = (
    "SELECT 1 FROM entries WHERE state_id = %s AND key_group BETWEEN %s AND %s AND value IS NOT NULL LIMIT 1"
)
_STATE: Final = """
WITH made AS (
    INSERT INTO states (operator_id, name, looks) VALUES (%(operator)s, %(name)s, %(looks)s)
    ON CONFLICT DO NOTHING RETURNING id
)
SELECT id FROM made UNION ALL
SELECT id FROM states WHERE operator_id = %(operator)s AND name = %(name)s AND looks = %(looks)s
"""


class StateIds(dict[int, int]):
    """The backend's number of a table -> the id of its state in PostgreSQL, which is the same in all subtasks.

    Filled in the loop's thread, read also by the one that writes.
    """


def state_id(connection: Connection, operator_id: int, info: TableInfo) -> int:
    """The id of a state, made now if it has none. Repeatable."""
    parameters = {"operator": operator_id, "name": info.name, "looks": looks(info)}
    while True:  # once more, if another subtask has made it between the two halves of the statement
        row = connection.execute(_STATE, parameters).fetchone()
        if row is not None:
            return int(row[0])


def has_entries(state: int, key_groups: tuple[int, int], connection: Connection) -> bool:
    """Whether a state may have entries in the key groups from the first to the last."""
    return connection.execute(_ANY, (state, *key_groups)).fetchone() is not None


def entries_as_of(
    connection: PostgreSQLConnection, states: Mapping[int, int], key_groups: tuple[int, int], version: int
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a version that is complete, in the order of keys. Any thread, with a connection of its own."""
    for group in range(key_groups[0], key_groups[1] + 1):
        for table_id, state in sorted(states.items()):
            prefix = prefix_of(group, table_id)
            after = (b"", b"")
            while rows := connection.run(partial(_page_as_of, (state, group, *after, version))):
                yield from ((prefix + part + key, value) for part, key, value in rows if value is not None)
                after = rows[-1][:2]


def _page_as_of(parameters: tuple[Any, ...], connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(_AS_OF, parameters).fetchall()


class PostgreSQLReads:
    """Implements `Remote`."""

    def __init__(self, connection: PostgreSQLConnection, states: StateIds) -> None:
        self._connection = connection
        self._states = states

    def get(self, place: Place, key: bytes) -> bytes | None:
        rows = self._rows(_GET, (*self._address(place.prefix), place.part, key))
        return rows[0][0] if rows else None

    def scan(self, place: Place) -> Iterator[tuple[bytes, bytes]]:
        if split_prefix(place.prefix)[1] not in self._states:  # no blocks of a canonical savepoint are kept
            return
        address = (*self._address(place.prefix), place.part)
        query, after = _SCAN_FIRST, b""
        while rows := self._rows(query, (*address, after)):
            yield from ((key, value) for key, value in rows if value is not None)
            query, after = _SCAN, rows[-1][0]

    def walk(self, prefix: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        address = self._address(prefix)
        after = (b"", b"")  # no namespace is empty: each begins with its length
        while rows := self._rows(_WALK, (*address, *after)):
            yield from ((part, key, value) for part, key, value in rows if value is not None)
            after = rows[-1][:2]

    def namespace_parts(self, prefix: bytes) -> Iterable[bytes]:
        state, group = self._address(prefix)
        return [row[0] for row in self._rows(_NAMESPACES, {"state": state, "group": group})]

    def _address(self, prefix: bytes) -> tuple[int, int]:
        group, table_id = split_prefix(prefix)
        return self._states[table_id], group

    def _rows(self, query: str, parameters: Any) -> list[tuple[Any, ...]]:
        def read(connection: Connection) -> list[tuple[Any, ...]]:
            return connection.execute(query, parameters).fetchall()

        return self._connection.run(read)
