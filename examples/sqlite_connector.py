"""A connector of your own in one file: an exactly-once source and sink for tables of SQLite.

The source cuts the ids of a table into ranges, its splits; a position is the id to go on with. The sink stages rows under
the id of a transaction; committing moves the rows of a transaction to where readers look, in one step.

    python examples/sqlite_connector.py            # doubles the amounts of 1,000 orders

`tests/examples/test_sqlite_connector.py` runs the contract tests of `millstream.testing.connectors` on both.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from millstream import StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.base import (
    Boundedness,
    EndOfSource,
    NothingAvailable,
    Poll,
    SinkWriterContext,
    SourceBatch,
    SourceReaderContext,
    SplitEnumeratorContext,
    SplitFinished,
)
from millstream.connectors.static_splits import StaticSplitEnumerator, deal_out

SPLITS: Final = 8
MOST_IN_MEMORY: Final = 1_000
VERSION: Final = 1


@contextmanager
def database(path: str) -> Iterator[sqlite3.Connection]:
    """A connection for one piece of work, which is one transaction. Other subtasks may hold the lock: wait for it."""
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        yield connection


# ---- the source ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IdRange:
    """The rows with ids from `first` up to, but without `stop`; those before `position` have been read."""

    first: int
    stop: int
    position: int

    @property
    def split_id(self) -> str:
        """The same for every position."""
        return f"{self.first}-{self.stop}"


class SQLiteSource:
    """The rows of a table `(id INTEGER PRIMARY KEY, record TEXT)` that does not change, as strings."""

    def __init__(self, path: str, table: str) -> None:
        self._path = path
        self._table = table

    @property
    def boundedness(self) -> Boundedness:
        """It ends with the table."""
        return Boundedness.BOUNDED

    def create_enumerator(
        self, context: SplitEnumeratorContext[IdRange], restored: bytes | None
    ) -> StaticSplitEnumerator[IdRange]:
        """All ranges are known at the start, so a ready-made enumerator does."""
        return StaticSplitEnumerator(
            context,
            restored,
            find=self._find_ranges,
            share=deal_out,
            encode=self.encode_split,
            decode=self.decode_split,
            blocking=True,
        )

    def _find_ranges(self) -> list[IdRange]:
        with database(self._path) as connection:
            first, last = connection.execute(f"SELECT min(id), max(id) FROM {self._table}").fetchone()  # noqa: S608
        if first is None:
            return []
        size = -(-(last + 1 - first) // SPLITS)
        return [IdRange(start, min(start + size, last + 1), start) for start in range(first, last + 1, size)]

    def create_reader(self, context: SourceReaderContext) -> SQLiteReader:
        """One for each subtask."""
        return SQLiteReader(self._path, self._table)

    def encode_split(self, split: IdRange) -> bytes:
        """A version first, so that later releases can tell what they read."""
        return msgspec.msgpack.encode([VERSION, split.first, split.stop, split.position])

    def decode_split(self, data: bytes) -> IdRange:
        """The inverse."""
        _, first, stop, position = msgspec.msgpack.decode(data)
        return IdRange(first, stop, position)


class SQLiteReader:
    """Reads one range after the other. A query for one batch takes no time to speak of, so no thread is needed."""

    def __init__(self, path: str, table: str) -> None:
        self._path = path
        self._query = f"SELECT id, record FROM {table} WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"  # noqa: S608
        self._splits: deque[IdRange] = deque()
        self._no_more_splits = False

    def start(self) -> None:
        """Connect."""
        self._connection = sqlite3.connect(self._path)

    def add_splits(self, splits: Sequence[IdRange]) -> None:
        """From the enumerator."""
        self._splits.extend(splits)

    def notify_no_more_splits(self) -> None:
        """The source ends with the splits that are here."""
        self._no_more_splits = True

    def poll_next(self, max_records: int) -> Poll[Any]:
        """The next rows of the first range."""
        if not self._splits:
            return EndOfSource() if self._no_more_splits else NothingAvailable()
        split = self._splits[0]
        rows = self._connection.execute(self._query, (split.position, split.stop, max_records)).fetchall()
        if not rows:
            self._splits.popleft()
            return SplitFinished(split.split_id)
        self._splits[0] = replace(split, position=rows[-1][0] + 1)  # behind the last row that was given out
        return SourceBatch(split.split_id, [record for _, record in rows])

    def snapshot_state(self, checkpoint_id: int) -> list[IdRange]:
        """The ranges at their positions."""
        return list(self._splits)

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """The database does not care."""

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


# ---- the sink ------------------------------------------------------------------------------------------------------------


class SQLiteSink:
    """Appends strings to a table, each exactly once."""

    def __init__(self, path: str, table: str) -> None:
        self._path = path
        self._table = table

    def create_writer(self, context: SinkWriterContext[str]) -> SQLiteWriter:
        """Make the tables, and drop what earlier attempts staged for checkpoints that never completed."""
        with database(self._path) as connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {self._table} (record TEXT)")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS staged (txn TEXT, job TEXT, attempt INT, record TEXT)"
            )
            marks = ",".join("?" * len(context.pending_committables))
            connection.execute(
                f"DELETE FROM staged WHERE job = ? AND attempt < ? AND txn NOT IN ({marks})",  # noqa: S608
                (context.job_id, context.attempt, *context.pending_committables),
            )
        return SQLiteWriter(self._path, context.job_id, context.attempt)

    def create_committer(self) -> SQLiteCommitter:
        """Phase two."""
        return SQLiteCommitter(self._path, self._table)

    def encode_committable(self, committable: str) -> bytes:
        """The id of the transaction is all that is needed."""
        return msgspec.msgpack.encode([VERSION, committable])

    def decode_committable(self, data: bytes) -> str:
        """The inverse."""
        _, transaction = msgspec.msgpack.decode(data)
        return str(transaction)


class SQLiteWriter:
    """Stages rows under a transaction id that nobody else uses."""

    def __init__(self, path: str, job_id: str, attempt: int) -> None:
        self._path = path
        self._owner = (job_id, attempt)
        self._rows: list[str] = []
        self._begin()

    def _begin(self) -> None:
        self._transaction = uuid.uuid4().hex
        self._staged = False

    def write_batch(self, values: Sequence[str], timestamps: Sequence[int] | None) -> None:
        """Keep a few in memory."""
        self._rows += values
        if len(self._rows) >= MOST_IN_MEMORY:
            self.flush(end_of_input=False)

    def flush(self, end_of_input: bool) -> None:
        """After this the rows are in the database, though nobody sees them."""
        if not self._rows:
            return
        with database(self._path) as connection:
            rows = [(self._transaction, *self._owner, record) for record in self._rows]
            connection.executemany("INSERT INTO staged VALUES (?, ?, ?, ?)", rows)
        self._rows, self._staged = [], True

    def prepare_commit(self, checkpoint_id: int) -> list[str]:
        """What was flushed is the committable; what comes next belongs to another transaction."""
        prepared = [self._transaction] if self._staged else []
        self._begin()
        return prepared

    def close(self) -> None:
        """Nothing is committed here, and what is staged is dropped by the next attempt."""


class SQLiteCommitter:
    """Moves staged rows to where they are seen."""

    def __init__(self, path: str, table: str) -> None:
        self._path = path
        self._table = table

    def commit(self, committables: Sequence[str]) -> None:
        """Idempotent: a transaction that was moved has no staged rows left."""
        with database(self._path) as connection:
            for transaction in committables:
                connection.execute(
                    f"INSERT INTO {self._table} SELECT record FROM staged WHERE txn = ?",  # noqa: S608
                    (transaction,),
                )
                connection.execute("DELETE FROM staged WHERE txn = ?", (transaction,))

    def close(self) -> None:
        """Nothing is held open."""


def main(path: str) -> None:
    """Double the amounts of the orders."""
    with database(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, record TEXT)")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", [(n, str(n)) for n in range(1, 1_001)])
    env = StreamExecutionEnvironment.get_execution_environment()
    orders = env.from_source(SQLiteSource(path, "orders"), WatermarkStrategy.no_watermarks(), "orders")
    orders.map(lambda amount: str(2 * int(amount))).sink_to(SQLiteSink(path, "doubled"))
    env.execute("double the orders")
    with database(path) as connection:
        count, total = connection.execute("SELECT count(*), sum(record) FROM doubled").fetchone()
    print(f"{count} orders, {total:.0f} in all")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(Path(tempfile.mkdtemp()) / "shop.db"))
