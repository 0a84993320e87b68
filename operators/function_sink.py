"""Runs `SinkFunction`s and `TwoPhaseCommitSinkFunction`s.

The latter lean on the two-phase commit of all sinks (`operators.sink`), but commit in the loop's thread, as their contract is.
The handle of the open transaction is writer state, so that it is aborted after a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import msgspec

from ..checkpoint.two_phase_commit import PendingCommittable
from ..core.batch import MIN_TIMESTAMP, RecordBatch, Watermark
from ..core.errors import CheckpointError, CheckpointFailureReason
from .base import Operator, OperatorContext, OperatorSnapshotParts, ProcessingTime
from .runtime_context import StatelessRuntimeContext
from .sink import CommittingSinkOperator
from .sink_functions import SinkContext, SinkFunction, TwoPhaseCommitSinkFunction

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class FunctionSinkSpec:
    """The end of a stream, written by a function."""

    sink: SinkFunction[Any] | TwoPhaseCommitSinkFunction[Any, Any]
    kind: ClassVar[str] = "Sink"

    def user_functions(self) -> Sequence[Any]:
        return (self.sink,)

    def create(self) -> Operator:
        if isinstance(self.sink, TwoPhaseCommitSinkFunction):
            return TransactionalSinkOperator(self.sink)
        return FunctionSinkOperator(self.sink)


class _Context(SinkContext):
    __slots__ = ("_time", "record_timestamp", "watermark")

    def __init__(self, time: ProcessingTime) -> None:
        self._time = time
        self.watermark = MIN_TIMESTAMP
        self.record_timestamp: int | None = None

    def timestamp(self) -> int | None:
        return self.record_timestamp

    def current_watermark(self) -> int:
        return self.watermark

    def current_processing_time(self) -> int:
        return self._time.now_ms()


class FunctionSinkOperator(Operator):
    """A sink function: at-least-once if it flushes."""

    def __init__(self, function: SinkFunction[Any]) -> None:
        self._function = function

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._context = _Context(context.processing_time)
        self._function.open(StatelessRuntimeContext(context.info))

    def process_batch(self, batch: RecordBatch) -> None:
        invoke, context = self._function.invoke, self._context
        timestamps: Sequence[int | None] = batch.timestamps or [None] * len(batch.values)
        for value, context.record_timestamp in zip(batch.values, timestamps, strict=True):
            invoke(value, context)

    def process_watermark(self, timestamp: int) -> None:
        self._context.watermark = timestamp
        self._function.write_watermark(Watermark(timestamp))

    def process_status(self, idle: bool) -> None:
        """Nothing comes after a sink."""

    def snapshot(self, checkpoint_id: int) -> OperatorSnapshotParts | None:
        self._function.flush()
        return None

    def finish(self) -> None:
        self._function.finish()
        self._function.flush()

    def close(self) -> None:
        self._function.close()
        super().close()


class _WriterContext(Protocol):
    """What is needed here of the context of a sink writer."""

    @property
    def restored_state(self) -> Sequence[bytes]: ...


class _Transactions:
    """Sink, writer and committer in one: all of a subtask's transactions, in one thread."""

    def __init__(self, function: TwoPhaseCommitSinkFunction[Any, Any]) -> None:
        self._function = function
        self._serializer = function.transaction_type.serializer()
        self._recovering = True
        self._finished = False
        self._open: list[Any] = []  # one or none; a handle may be None

    # ---- the sink

    def create_committer(self) -> _Transactions:
        return self

    def create_writer(self, context: _WriterContext) -> _Transactions:
        """Abort what was open, and begin."""
        self._recovering = False
        for data in context.restored_state:
            self._function.recover_and_abort(self.decode_committable(data))
        self._begin()
        return self

    def encode_committable(self, committable: Any) -> bytes:
        return msgspec.msgpack.encode([_VERSION, self._serializer.dumps(committable)])

    def decode_committable(self, data: bytes) -> Any:
        version, handle = msgspec.msgpack.decode(data)
        if version != _VERSION:
            raise CheckpointError(
                CheckpointFailureReason.INCOMPATIBLE,
                f"the checkpoint holds transaction handles of version {version}, this release reads version {_VERSION}",
                fix="restore it with the release that wrote it, or a newer one",
            )
        return self._serializer.loads(handle)

    # ---- the writer

    def _begin(self) -> None:
        self._open = [self._function.begin_transaction()]

    @property
    def transaction(self) -> Any:
        """The handle of the open one."""
        return self._open[0]

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int] | None) -> None:
        raise AssertionError("the operator writes record by record")

    def flush(self, end_of_input: bool) -> None:
        self._finished = self._finished or end_of_input

    def prepare_commit(self, checkpoint_id: int) -> list[Any]:
        prepared = list(self._open)
        for transaction in prepared:
            self._function.pre_commit(transaction)
        self._open = []
        if not self._finished:
            self._begin()
        return prepared

    def snapshot_state(self, checkpoint_id: int) -> list[bytes]:
        return [self.encode_committable(transaction) for transaction in self._open]

    # ---- the committer

    def commit(self, committables: Sequence[Any]) -> None:
        commit = self._function.recover_and_commit if self._recovering else self._function.commit
        for transaction in committables:
            commit(transaction)

    def close(self) -> None:
        """Called as writer and as committer: what is open is aborted once."""
        left, self._open = self._open, []
        for transaction in left:
            self._function.abort(transaction)


class TransactionalSinkOperator(CommittingSinkOperator):
    """A two-phase-commit function: exactly-once if its commits are idempotent."""

    def __init__(self, function: TwoPhaseCommitSinkFunction[Any, Any]) -> None:
        self._transactions = _Transactions(function)
        super().__init__(self._transactions)
        self._function = function

    def open(self, context: OperatorContext) -> None:
        self._record_context = _Context(context.processing_time)
        self._function.open(StatelessRuntimeContext(context.info))
        super().open(context)

    def process_batch(self, batch: RecordBatch) -> None:
        invoke, context, transaction = (
            self._function.invoke,
            self._record_context,
            self._transactions.transaction,
        )
        timestamps: Sequence[int | None] = batch.timestamps or [None] * len(batch.values)
        for value, context.record_timestamp in zip(batch.values, timestamps, strict=True):
            invoke(transaction, value, context)

    def process_watermark(self, timestamp: int) -> None:
        self._record_context.watermark = timestamp

    def _begin_commit(self, committables: Sequence[PendingCommittable[Any]]) -> None:
        self._on_committed(self._try_commit(committables))

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._function.close()
