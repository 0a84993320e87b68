"""Bugs planted on purpose: the simulation proves its worth by catching every one of them."""

from __future__ import annotations

from millstream.checkpoint import two_phase_commit as tpc
from millstream.checkpoint.completed_store import CompletedCheckpoint, CompletedCheckpointStore, Subsumed
from millstream.checkpoint.coordination import (
    Acked,
    Action,
    CheckpointCompleted,
    Declined,
    DiscardFiles,
    Event,
    JobStopped,
    MetadataDurable,
    MetadataFailed,
    Phase,
    Send,
    Tick,
    WriteMetadata,
)
from millstream.checkpoint.coordinator import CheckpointCoordinator
from millstream.checkpoint.messages import NotifyCheckpointComplete
from millstream.checkpoint.pending import Pending, completed_from
from millstream.checkpoint.two_phase_commit import CommittableOrigin, TwoPhaseCommit
from millstream.core.savepoints import SavepointTarget


class CompletesBeforeMetadataIsDurable(CheckpointCoordinator):
    """Tells the subtasks as soon as all have acknowledged."""

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        actions = super().handle(event, now_ms)
        for action in list(actions):
            if isinstance(action, WriteMetadata) and self._job is not None:
                message = NotifyCheckpointComplete(action.data.checkpoint_id)
                actions.append(Send(message, self._job.subtasks))
        return actions


class AcceptsAcksOfOldAttempts(CheckpointCoordinator):
    """Looks at the checkpoint id alone, which repeats after the JobManager died."""

    def _in_progress(self, checkpoint_id: int, subtask: str, event: Acked | Declined) -> Pending | None:
        pending = self._pending.get(checkpoint_id)
        return pending if pending is not None and pending.phase is Phase.TASKS else None


class ForgetsMetadataBeingWritten(CheckpointCoordinator):
    """On a failure restores at once, although a newer checkpoint may become durable."""

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        written = isinstance(event, MetadataDurable | MetadataFailed)
        if written and event.checkpoint_id not in self._pending:
            return []
        actions = super().handle(event, now_ms)
        if isinstance(event, JobStopped):
            self._pending.clear()
        return actions


class ExpiresMetadataBeingWritten(CheckpointCoordinator):
    """Applies the timeout to a checkpoint whose fate is up to the storage."""

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        if isinstance(event, MetadataDurable | MetadataFailed) and event.checkpoint_id not in self._pending:
            return []
        if isinstance(event, Tick):
            for pending in self._pending.values():
                pending.phase = Phase.TASKS if pending.phase is Phase.METADATA else pending.phase
        return super().handle(event, now_ms)

    def next_deadline_ms(self) -> int | None:
        return min((p.deadline_ms for p in self._pending.values()), default=super().next_deadline_ms())


class DiscardsWhatOthersNeed(CheckpointCoordinator):
    """Deletes all files of an aborted or late part, also those that retained checkpoints share."""

    def _discard(self, files: object) -> list[Action]:
        garbage = tuple(files)  # type: ignore[call-overload]
        return [DiscardFiles(garbage)] if garbage else []


class DeletesAtOnce(CompletedCheckpointStore):
    """Gives a shared file up with its last reference, though slow notifications make a later snapshot name it."""

    def add(self, completed: CompletedCheckpoint) -> Subsumed:
        subsumed = super().add(completed)
        now, self._deferred = tuple(self._deferred.values()), {}
        return Subsumed(subsumed.checkpoint_ids, subsumed.files + now)


class LosesTrackOfLostNotifications(TwoPhaseCommit[tuple[int, ...]]):
    """Commits just what the notified checkpoint pre-committed; an earlier one's notification was lost for ever."""

    def _is_covered(self, origin: CommittableOrigin) -> bool:
        return origin.attempt != self._attempt or origin.checkpoint_id == self._covered_id

    def handle(self, event: tpc.Event[tuple[int, ...]]) -> list[tpc.Action[tuple[int, ...]]]:
        actions = super().handle(event)
        if isinstance(event, tpc.Completed):
            self._waiting = [c for c in self._waiting if c.origin.checkpoint_id > self._covered_id]
        return actions


class SnapshotsOnlyItsOwnCommittables(TwoPhaseCommit[tuple[int, ...]]):
    """Leaves out of a snapshot what is being committed: a commit that failed halfway is forgotten by the restart."""

    def pending(self) -> tuple[tpc.PendingCommittable[tuple[int, ...]], ...]:
        return tuple(self._waiting)


class CommitsByIdAlone(TwoPhaseCommit[tuple[int, ...]]):
    """Believes that restored committables wait for a notification too, which never comes for their ids."""

    def _is_covered(self, origin: CommittableOrigin) -> bool:
        return origin.checkpoint_id <= self._covered_id


class SavepointsCommit(CheckpointCoordinator):
    """Tells the subtasks of a plain savepoint, too: the job may fall back behind it and write the same again."""

    def _on_savepoint(
        self, pending: Pending, savepoint: SavepointTarget, report: CheckpointCompleted, now_ms: int
    ) -> list[Action]:
        actions = super()._on_savepoint(pending, savepoint, report, now_ms)
        notification = Send(NotifyCheckpointComplete(pending.checkpoint_id), pending.job.subtasks)
        return [notification, *actions] if self._job is not None else actions


class RestoresSavepoints(CheckpointCoordinator):
    """Retains a savepoint as if it was a checkpoint of the job."""

    def _on_savepoint(
        self, pending: Pending, savepoint: SavepointTarget, report: CheckpointCompleted, now_ms: int
    ) -> list[Action]:
        self._store.add(completed_from(pending, now_ms, running=True)[0])
        return super()._on_savepoint(pending, savepoint, report, now_ms)


class GoesOnBehindTheEnd(CheckpointCoordinator):
    """Takes checkpoints although the job has ended with a savepoint."""

    def _on_savepoint(
        self, pending: Pending, savepoint: SavepointTarget, report: CheckpointCompleted, now_ms: int
    ) -> list[Action]:
        actions = super()._on_savepoint(pending, savepoint, report, now_ms)
        self._final_done = False
        return actions


class KeepsTheEndOfAnAttemptThatIsOver(CheckpointCoordinator):
    """Leaves the savepoint that should have stopped the job, though the next attempt begins before it."""

    def _on_savepoint(
        self, pending: Pending, savepoint: SavepointTarget, report: CheckpointCompleted, now_ms: int
    ) -> list[Action]:
        return (
            super()._on_savepoint(pending, savepoint, report, now_ms) if self._job is not None else [report]
        )


COORDINATORS = (
    CompletesBeforeMetadataIsDurable,
    AcceptsAcksOfOldAttempts,
    ForgetsMetadataBeingWritten,
    ExpiresMetadataBeingWritten,
    DiscardsWhatOthersNeed,
    SavepointsCommit,
    RestoresSavepoints,
    GoesOnBehindTheEnd,
    KeepsTheEndOfAnAttemptThatIsOver,
)
STORES = (DeletesAtOnce,)
SINKS = (LosesTrackOfLostNotifications, SnapshotsOnlyItsOwnCommittables, CommitsByIdAlone)
