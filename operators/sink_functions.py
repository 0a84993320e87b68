"""Sinks as functions: what a user derives for `DataStream.add_sink`. Names and meaning are Flink's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Self, TypeAlias, TypeVar

from ..core.batch import Watermark
from ..core.errors import JobDefinitionError
from ..core.time import TimeLike, to_millis
from ..core.types import TypeInformation, as_type
from .functions import Function

IN = TypeVar("IN")
TXN = TypeVar("TXN")


class SinkContext(ABC):
    """What a sink function learns beside the record. Times are ms since the epoch."""

    @abstractmethod
    def timestamp(self) -> int | None:
        """Event time of the record, None if it has none."""

    @abstractmethod
    def current_watermark(self) -> int:
        """`MIN_TIMESTAMP` before the first one."""

    @abstractmethod
    def current_processing_time(self) -> int:
        """The wall clock."""


class SinkFunction(Function, ABC, Generic[IN]):
    r"""Writes records one by one. On replay records since the last checkpoint come again: at least once, provided that `flush`
    waits until everything is safe. All methods run in the subtask's thread.

    >>> class Append(SinkFunction[str]):
    ...     def open(self, runtime_context):
    ...         self.file = open(f"/data/out-{runtime_context.get_index_of_this_subtask()}", "a")
    ...     def invoke(self, value, context):
    ...         self.file.write(value + "\n")
    ...     def flush(self):
    ...         self.file.flush()
    """

    Context: TypeAlias = SinkContext

    @abstractmethod
    def invoke(self, value: IN, context: SinkContext) -> None:
        """Write a record; may buffer it."""

    def write_watermark(self, watermark: Watermark) -> None:
        """Event time advanced."""

    def flush(self) -> None:
        """Called at every checkpoint and at the end: bring what was buffered to the outside system and wait until it has it."""

    def finish(self) -> None:
        """No record follows; `flush` is called next."""


class TwoPhaseCommitSinkFunction(Function, ABC, Generic[IN, TXN]):
    """Writes every record exactly once, in transactions of an outside system. Source: Flink's class of the same name.

    A transaction holds what came between two checkpoints. At a checkpoint it is pre-committed, its handle goes into the
    checkpoint, and the next one begins; once the checkpoint is complete it is committed. After a failure the transactions
    whose checkpoint completed are committed again, and the one that was open then is aborted. So `commit` and `abort` have
    to be idempotent, and a pre-committed transaction has to survive the death of the process that began it. All methods run in
    the subtask's thread, so a slow `commit` holds up the records; a sink that needs one in the background implements
    `millstream.connectors.base.Sink`. `open` comes first, also before transactions are recovered.

    Transactions begun since the last completed checkpoint are in no checkpoint when the process dies. Nobody tells about them:
    the outside system has to drop them in time, or `open` has to look for them. Without checkpoints there is one transaction,
    which is committed when a bounded job ends.

    Args:
        transaction_type: type of the handles, a Python type or a `TypeInformation`. It decides how they are encoded in
            checkpoints: plain data (strings, numbers, bytes, tuples, lists, dicts) exactly as declared. Pickle is used with
            `Types.PICKLED_BYTE_ARRAY()` alone.

    >>> class Staged(TwoPhaseCommitSinkFunction[str, str]):
    ...     def __init__(self):
    ...         super().__init__(str)
    ...     def begin_transaction(self):
    ...         return f"/data/out/.{uuid.uuid4()}"
    ...     def invoke(self, transaction, value, context):
    ...         with open(transaction, "a") as file:
    ...             file.write(value)
    ...     def pre_commit(self, transaction):
    ...         os.sync()
    ...     def commit(self, transaction):
    ...         if os.path.exists(transaction):  # not yet
    ...             os.rename(transaction, transaction.replace("/.", "/"))
    ...     def abort(self, transaction):
    ...         Path(transaction).unlink(missing_ok=True)
    """

    Context: TypeAlias = SinkContext

    def __init__(self, transaction_type: TypeInformation[TXN] | type[TXN]) -> None:
        self.transaction_type: TypeInformation[TXN] = as_type(transaction_type)
        self.transaction_timeout_ms: int | None = None

    def set_transaction_timeout(self, transaction_timeout: TimeLike) -> Self:
        """After how long the outside system aborts a transaction by itself. A job in which a checkpoint and the restarts
        after it could take longer is refused at its start, as its output could be lost. Never by default.

        Raises:
            JobDefinitionError: it is not positive.
        """
        timeout_ms = to_millis(transaction_timeout)
        if timeout_ms <= 0:
            raise JobDefinitionError(
                f"a transaction cannot time out after {timeout_ms} ms",
                fix="give a time above 0, or leave set_transaction_timeout out where transactions do not time out",
            )
        self.transaction_timeout_ms = timeout_ms
        return self

    @abstractmethod
    def begin_transaction(self) -> TXN:
        """Begin a transaction; gives its handle, by which any process can commit or abort it."""

    @abstractmethod
    def invoke(self, transaction: TXN, value: IN, context: SinkContext) -> None:
        """Write a record in the transaction."""

    @abstractmethod
    def pre_commit(self, transaction: TXN) -> None:
        """Bring everything written in the transaction to where it survives; nothing more is written in it. From then on
        `commit` must be able to succeed."""

    @abstractmethod
    def commit(self, transaction: TXN) -> None:
        """Make a pre-committed transaction visible. An exception fails the job, which commits it again after its restart.

        Must be idempotent: it is called again for a committed one whenever that cannot be known."""

    @abstractmethod
    def abort(self, transaction: TXN) -> None:
        """Drop a transaction. Must be idempotent."""

    def recover_and_commit(self, transaction: TXN) -> None:
        """`commit` after a restart, perhaps in another process and subtask."""
        self.commit(transaction)

    def recover_and_abort(self, transaction: TXN) -> None:
        """`abort` after a restart, of a transaction that was open at the restored checkpoint."""
        self.abort(transaction)
