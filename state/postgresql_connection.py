"""A connection to PostgreSQL that comes back: what was asked for is asked for again after the server has gone and come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from ..core.errors import ConfigurationError, ConnectorError, MissingDependencyError, StateError
from .backend import StateStore

if TYPE_CHECKING:  # an optional package
    import psycopg

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

T = TypeVar("T")

_PAUSES_MS: Final = (50, 200, 800, 2_000, 4_000)
"""Between the attempts to reach the server: seven seconds, in which a server restarts."""

_TOO_LARGE: Final = "54"
"""Class of the SQL states for values beyond a limit of the server."""

URL_OPTION: Final = "state.backend.postgresql.url"


class PostgreSQLConnection:
    """One connection, made when first needed. To be used by one thread at a time.

    Args:
        store: URL and schema.
        operator: name for error messages.
    """

    def __init__(self, store: StateStore, operator: str) -> None:
        self._store = store
        self._where = f"operator '{operator}', schema '{store.area}' of the PostgreSQL of {URL_OPTION}"
        self._connection: Connection | None = None
        self._wake = threading.Event()

    def run(self, operation: Callable[[Connection], T]) -> T:
        """The result of `operation`, which must be one transaction or one read, and repeatable: it is repeated after the
        connection was lost, even if it may have been done.

        Raises:
            ConnectorError: retryable, when the server cannot be reached for seven seconds; not retryable for what it refuses.
            StateError: a key that is too long for it.
        """
        import psycopg

        for pause_ms in (*_PAUSES_MS, None):
            try:
                return operation(self._open())
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._drop()
                if error.sqlstate is not None and error.sqlstate.startswith(_TOO_LARGE):
                    raise self._too_large(error) from error
                if pause_ms is None:
                    raise self._unreachable(error) from error
            except psycopg.Error as error:
                self._drop()
                raise ConnectorError(f"PostgreSQL refused: {error}", where=self._where) from error
            self._wake.wait(pause_ms / 1_000)
        raise AssertionError

    def close(self) -> None:
        """Idempotent; a later `run` connects anew."""
        self._drop()

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = connect(self._store)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _unreachable(self, error: Exception) -> ConnectorError:
        return ConnectorError(
            f"PostgreSQL cannot be reached: {error}",
            where=self._where,
            fix=f"start it, or mend {URL_OPTION}; a job restarts from its last checkpoint",
            retryable=True,
        )

    def _too_large(self, error: Exception) -> StateError:
        return StateError(
            f"PostgreSQL cannot hold an entry: {error}",
            where=self._where,
            fix="keep keys below 2,500 bytes, or use another state backend",
        )


def connect(store: StateStore) -> Connection:
    """A new connection that commits each statement, with the schema in its search path.

    Raises:
        MissingDependencyError: the extra `postgresql` is not installed.
        ConfigurationError: the URL is none; it is not shown, because of its password.
        psycopg.OperationalError: as the client says it, which never tells the password.
    """
    try:
        import psycopg
        from psycopg import sql
    except ImportError as error:
        raise MissingDependencyError(
            "psycopg", "postgresql", needed_for="the state backend 'postgresql'"
        ) from error
    try:
        connection = psycopg.connect(
            store.url, autocommit=True, connect_timeout=10, application_name="millstream", prepare_threshold=1
        )
    except psycopg.ProgrammingError:
        raise ConfigurationError(  # not chained: the client quotes what it could not read
            "the URL of PostgreSQL cannot be read",
            where=URL_OPTION,
            fix="write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special characters in percent-encoding",
        ) from None
    connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(store.area)))
    return connection
