"""Removes versions that no retained checkpoint reads, in a thread of its own, some key groups at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from ..core.errors import MillstreamError
from .postgresql_connection import PostgreSQLConnection

if TYPE_CHECKING:
    from .postgresql_connection import Connection

_LOG: Final = logging.getLogger(__name__)

_ROWS_PER_STEP: Final = 10_000
"""About so many new rows are looked at in one transaction: some ten milliseconds."""

_FORGET_SNAPSHOTS: Final = """
DELETE FROM snapshots WHERE operator_id = %s AND version < %s AND first_group <= %s AND last_group >= %s
"""
_STATES: Final = "SELECT id FROM states WHERE operator_id = %s"
# `newer` are the rows that came since the last collection; each makes the older ones of its key superfluous.
_SUPERSEDED: Final = """
DELETE FROM entries AS older
USING generate_series(%(first)s::int, %(last)s::int) AS own (key_group), entries AS newer
WHERE newer.state_id = %(state)s AND newer.key_group = own.key_group
  AND newer.version > %(done)s AND newer.version <= %(floor)s
  AND older.state_id = newer.state_id AND older.key_group = newer.key_group
  AND older.namespace = newer.namespace AND older.key = newer.key AND older.version < newer.version
"""
_DELETED: Final = """
DELETE FROM entries
USING generate_series(%(first)s::int, %(last)s::int) AS own (key_group)
WHERE entries.state_id = %(state)s AND entries.key_group = own.key_group
  AND version > %(done)s AND version <= %(floor)s AND value IS NULL
"""


class VersionCollector:
    """Keeps, of each entry, the newest version up to the oldest retained checkpoint, and all later ones.

    That a snapshot is complete is forgotten before the first row of it goes, so that a restore of it is refused and never reads
    half of it. It touches no row that a reader of a retained checkpoint sees, whoever owns the state, so it needs no fence.
    What fails is logged and done with the next collection: it never holds a checkpoint up.
    """

    def __init__(
        self, connection: PostgreSQLConnection, operator_id: int, key_groups: tuple[int, int]
    ) -> None:
        self._connection = connection
        self._operator_id = operator_id
        self._key_groups = key_groups
        self._done = -1
        self._floor = 0
        self._written = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def collect(self, oldest_retained: int, written: int) -> None:
        """Begin to remove what was before a checkpoint, in the background.

        Args:
            oldest_retained: the checkpoint.
            written: rows written so far.
        """
        with self._changed:
            if oldest_retained <= self._floor:
                return
            self._floor, self._written = oldest_retained, written
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="postgresql-versions", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Returns when the step in progress has ended. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        written_before = 0
        attempted = 0
        while True:
            with self._changed:
                while not (self._closed or self._floor > attempted):
                    self._changed.wait()
                if self._closed:
                    return
                attempted, written = self._floor, self._written
            try:
                self._collect(attempted, written - written_before)
            except MillstreamError as error:
                _LOG.warning("old versions of state are left for the next checkpoint to remove: %s", error)
            else:
                written_before = written

    def _collect(self, floor: int, written: int) -> None:
        first, last = self._key_groups
        bounds = (self._operator_id, floor, last, first)
        self._connection.run(lambda connection: connection.execute(_FORGET_SNAPSHOTS, bounds))
        rows = self._connection.run(lambda c: c.execute(_STATES, [self._operator_id]).fetchall())
        # Nobody knows what earlier attempts have left: the first time, each key group is a step.
        groups = 1 if self._done < 0 else groups_per_step(last - first + 1, written)
        for (state,) in rows:
            for begin, end in steps(first, last, groups):
                if self._closed:
                    return
                parameters = {
                    "state": state,
                    "first": begin,
                    "last": end,
                    "done": self._done,
                    "floor": floor,
                }
                self._connection.run(partial(_step, parameters))
        self._done = floor


def groups_per_step(groups: int, written: int) -> int:
    """Key groups that may be gone through in one transaction, given how many rows were written to all of them.

    >>> groups_per_step(128, written=20_000)
    64
    """
    return max(1, min(groups, groups * _ROWS_PER_STEP // max(1, written)))


def steps(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """
    >>> list(steps(0, 7, 3))
    [(0, 2), (3, 5), (6, 7)]
    """
    for begin in range(first, last + 1, size):
        yield begin, min(begin + size - 1, last)


def _step(parameters: dict[str, int], connection: Connection) -> None:
    with connection.transaction():
        connection.execute(_SUPERSEDED, parameters)
        # What was deleted before it is gone now, so that the deletion itself need not be remembered.
        connection.execute(_DELETED, parameters)
