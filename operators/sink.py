"""Sinks: records go to a writer; with a committer, in two phases around the checkpoint.

At a barrier: flush, pre-commit, and the committables go into the snapshot; when the checkpoint is complete they are committed in
a helper thread. Restored committables are committed before the writer is made and so before any record flows.
Source: FLIP-143 and FLIP-191; the decisions are in `checkpoint.two_phase_commit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from ..checkpoint.two_phase_commit import (
    COMMITTABLES_STATE,
    Action,
    Commit,
    CommitDone,
    CommitFailed,
    Completed,
    FailTask,
    PendingCommittable,
    Prepared,
    Restored,
    TwoPhaseCommit,
    decode_pending,
    encode_pending,
)
from ..connectors.base import (
    CommitsRestored,
    Committer,
    CommittingSinkWriter,
    Sink,
    SinkWriter,
    SinkWriterContext,
    StatefulSinkWriter,
    SupportsCommitter,
)
from ..core.batch import RecordBatch
from ..core.errors import ConnectorError, MillstreamError, StateError
from ..core.faults import fault_point
from .base import Operator, OperatorContext, OperatorSnapshotParts

_WRITER_STATE = "sink-writer"


@dataclass(frozen=True, slots=True)
class SinkSpec:
    """The end of a stream."""

    sink: Sink[Any]
    kind: ClassVar[str] = "Sink"

    def user_functions(self) -> Sequence[Any]:
        return (self.sink,)

    def create(self) -> Operator:
        if isinstance(self.sink, SupportsCommitter):
            return CommittingSinkOperator(self.sink)
        return SinkOperator(self.sink)


class SinkOperator(Operator):
    """A sink without a second phase: at-least-once if its writer flushes."""

    def __init__(self, sink: Sink[Any]) -> None:
        self._sink = sink
        self._writer: SinkWriter[Any] | None = None
        self.commits = isinstance(sink, CommitsRestored)

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._context = context
        self._commit_restored(context)
        info = context.info
        self._writer = self._sink.create_writer(
            SinkWriterContext(
                subtask=info.subtask,
                parallelism=info.parallelism,
                job_id=info.job_id,
                job_name=info.job_name,
                attempt=info.attempt,
                restored_checkpoint_id=info.restored_checkpoint_id,
                restored_state=tuple(context.restored_lists.get(_WRITER_STATE, ())),
                pending_committables=self._restored_committables(),
                clock=context.clock,
                oldest_attempt=info.oldest_attempt,
            )
        )

    def _commit_restored(self, context: OperatorContext) -> None:
        """What the job had pre-committed, though it commits nothing of its own any more."""
        if not context.restored_committables:
            return
        assert isinstance(self._sink, CommitsRestored)
        committables = decode_committables(self._sink, context.restored_committables, context)
        committer = self._sink.create_committer()
        try:
            committer.commit([committable.live for committable in committables])
        finally:
            committer.close()

    def _restored_committables(self) -> tuple[Any, ...]:
        return ()

    @property
    def writer(self) -> SinkWriter[Any]:
        assert self._writer is not None
        return self._writer

    def process_batch(self, batch: RecordBatch) -> None:
        self.writer.write_batch(batch.values, batch.timestamps)

    def process_watermark(self, timestamp: int) -> None:
        """Nothing comes after a sink."""

    def process_status(self, idle: bool) -> None:
        """Nothing comes after a sink."""

    def snapshot(self, checkpoint_id: int) -> OperatorSnapshotParts | None:
        self.writer.flush(end_of_input=False)
        return OperatorSnapshotParts(lists=self._writer_state(checkpoint_id))

    def _writer_state(self, checkpoint_id: int) -> dict[str, list[bytes]]:
        writer: object = self._writer
        if isinstance(writer, StatefulSinkWriter):
            return {_WRITER_STATE: writer.snapshot_state(checkpoint_id)}
        return {}

    def finish(self) -> None:
        self.writer.flush(end_of_input=True)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        super().close()


def decode_committables(
    sink: CommitsRestored[Any], items: Sequence[bytes], context: OperatorContext
) -> tuple[PendingCommittable[Any], ...]:
    """The restored committables of a sink.

    Raises:
        CheckpointError: they are damaged, or of a later release.
        StateError: the sink cannot read them.
    """
    pending = decode_pending(items)
    try:
        return tuple(
            PendingCommittable(origin, encoded, sink.decode_committable(encoded))
            for origin, encoded in pending
        )
    except MillstreamError:
        raise
    except Exception as error:  # whatever a connector's decoding stumbles over
        raise StateError(
            f"the sink cannot read the transactions or files that were pre-committed in the restored state: {error!r}",
            where=f"operator '{context.info.operator_name}'",
            fix="if the job had another sink then: start that one and stop it with a savepoint, which commits them; then give the new"
            " sink another uid and start with --allow-non-restored-state (execution.savepoint.ignore-unclaimed-state)",
        ) from error


class CommittingSinkOperator(SinkOperator):
    """A two-phase-commit sink: exactly-once if its committer is idempotent."""

    def __init__(self, sink: Any) -> None:
        super().__init__(sink)
        self._committing_sink: SupportsCommitter[Any] = sink
        self._committer: Committer[Any] | None = None
        self._all_restored: tuple[Any, ...] = ()

    def open(self, context: OperatorContext) -> None:
        self._two_phase = TwoPhaseCommit[Any](job_id=context.info.job_id, attempt=context.info.attempt)
        self._committer = self._committing_sink.create_committer()
        super().open(context)

    def _commit_restored(self, context: OperatorContext) -> None:
        everybodys = decode_committables(self._committing_sink, context.all_committables, context)
        self._all_restored = tuple(committable.live for committable in everybodys)
        own = decode_committables(self._committing_sink, context.restored_committables, context)
        for action in self._two_phase.handle(Restored(own)):
            assert isinstance(action, Commit), action
            self._commit(action.committables)
            self._two_phase.handle(CommitDone())

    def _restored_committables(self) -> tuple[Any, ...]:
        return self._all_restored

    def snapshot(self, checkpoint_id: int) -> OperatorSnapshotParts | None:
        writer = self.writer
        assert isinstance(writer, CommittingSinkWriter)
        writer.flush(end_of_input=False)
        self._prepare(checkpoint_id)
        lists = self._writer_state(checkpoint_id)
        lists[COMMITTABLES_STATE] = encode_pending(self._two_phase.pending())
        return OperatorSnapshotParts(lists=lists)

    def _prepare(self, checkpoint_id: int) -> None:
        writer = self.writer
        assert isinstance(writer, CommittingSinkWriter)
        committables = tuple(
            (live, self._committing_sink.encode_committable(live))
            for live in writer.prepare_commit(checkpoint_id)
        )
        self._perform(self._two_phase.handle(Prepared(checkpoint_id, committables)))

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        self._perform(self._two_phase.handle(Completed(checkpoint_id, self._context.info.attempt)))

    def _perform(self, actions: Sequence[Action[Any]]) -> None:
        for action in actions:
            match action:
                case Commit(committables=committables):
                    self._begin_commit(committables)
                case FailTask(error=error, retryable=retryable):
                    raise ConnectorError(
                        error, where=f"sink '{self._context.info.operator_name}'", retryable=retryable
                    )

    def _begin_commit(self, committables: Sequence[PendingCommittable[Any]]) -> None:
        self._context.run_in_background(partial(self._try_commit, committables), self._on_committed)

    def _commit(self, committables: Sequence[PendingCommittable[Any]]) -> None:
        assert self._committer is not None
        fault_point("sink.before-commit")
        self._committer.commit([committable.live for committable in committables])
        fault_point("sink.after-commit")

    def _try_commit(self, committables: Sequence[PendingCommittable[Any]]) -> CommitDone | CommitFailed:
        try:
            self._commit(committables)
        except ConnectorError as error:
            return CommitFailed(str(error), error.retryable)
        return CommitDone()

    def _on_committed(self, outcome: CommitDone | CommitFailed) -> None:
        self._perform(self._two_phase.handle(outcome))

    def has_pending_work(self) -> bool:
        return bool(self._two_phase.pending())

    def commit_without_checkpoint(self) -> None:
        checkpoint_id = self._two_phase.next_checkpoint_id
        self._prepare(checkpoint_id)
        self.notify_checkpoint_complete(
            checkpoint_id
        )  # also of what savepoints left, which commit nothing themselves

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self._committer is not None:
                self._committer.close()
