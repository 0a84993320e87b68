"""Reads entries of one operator's states in PostgreSQL: of each the newest version, which after a restore is what this attempt may see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .entry_keys import split_prefix
from .handles import TableInfo
from .overlay import Place
from .postgresql_connection import PostgreSQLConnection

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


def looks(info: TableInfo) -> str:
    """Tells apart the values of one state that were written before and after a change of their type."""
    encoded = msgspec.msgpack.encode((info.value_type, info.value_schema))
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()


class PostgreSQLReads:
    """Implements `Remote`."""

    def __init__(self, connection: PostgreSQLConnection, states: StateIds) -> None:
        self._connection = connection
        self._states = states

    def get(self, place: Place, key: bytes) -> bytes | None:
        rows = self._rows(_GET, (*self._address(place.prefix), place.part, key))
        return rows[0][0] if rows else None

    def scan(self, place: Place) -> Iterator[tuple[bytes, bytes]]:
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
