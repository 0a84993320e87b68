"""The tables in PostgreSQL, format 1: entries with versions, and who may write them.

    format      the version of this layout, one row
    operators   whose state there is: job, operator, and the attempt that owns it now (the fence)
    states      the states of an operator, by name and by how their values look
    entries     state, key group, namespace, key, version -> value, NULL where the entry is deleted as of that version
    snapshots   which versions of which key groups are complete

A version is the id of the first checkpoint that may hold it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..core.errors import StateError
from .backend import StateStore

if TYPE_CHECKING:
    from .postgresql_connection import Connection

FORMAT_VERSION: Final = 1

_LOCK: Final = 0x6D696C6C  # any number of ours: makes those who set up a schema take turns

_TABLES: Final = f"""
CREATE TABLE format (version int NOT NULL);
INSERT INTO format VALUES ({FORMAT_VERSION});
CREATE TABLE operators (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job text NOT NULL,
    operator text NOT NULL,
    attempt bigint NOT NULL,
    UNIQUE (job, operator)
);
CREATE TABLE states (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator_id int NOT NULL,
    name text NOT NULL,
    looks text NOT NULL,
    UNIQUE (operator_id, name, looks)
);
CREATE TABLE entries (
    state_id int NOT NULL,
    key_group smallint NOT NULL,
    namespace bytea NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    value bytea,
    PRIMARY KEY (state_id, key_group, namespace, key, version)
);
CREATE INDEX entries_by_version ON entries (state_id, key_group, version);
CREATE TABLE snapshots (
    operator_id int NOT NULL,
    first_group smallint NOT NULL,
    last_group smallint NOT NULL,
    version bigint NOT NULL,
    attempt bigint NOT NULL,
    PRIMARY KEY (operator_id, first_group, last_group, version)
);
"""


def set_up(connection: Connection, store: StateStore) -> None:
    """Make the schema unless it is there. Repeatable, by many at once.

    Raises:
        StateError: it is of another release's format.
    """
    from psycopg import sql

    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        # Without asking first, a role that may not create schemas could not use one that is there.
        found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [store.area]).fetchone()
        if found is None:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(store.area)))
        tables = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'format'"
        if connection.execute(tables, [store.area]).fetchone() is None:
            connection.execute(_TABLES)
    rows = connection.execute("SELECT version FROM format").fetchall()
    if rows != [(FORMAT_VERSION,)]:
        raise StateError(
            f"the schema '{store.area}' of PostgreSQL has the format {[version for (version,) in rows]}, "
            f"this release has {FORMAT_VERSION}",
            where="state.backend.postgresql.schema",
            fix="set another schema, or use the release that made this one",
        )
