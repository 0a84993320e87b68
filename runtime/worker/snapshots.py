"""The asynchronous part of snapshots: keyed state is written in a helper thread, then the subtask acknowledges.

What is small enough for the metadata and needs no encoding that takes long is not sent by way of that thread: next to a loop that
computes, each of its steps waits for the interpreter, and its outcome for the loop's next turn.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from ...checkpoint.messages import AckCheckpoint, DeclineCheckpoint, FromTask
from ...checkpoint.savepoint_folder import SavepointFolder
from ...core.clock import Clock
from ...core.errors import MillstreamError, StateError
from ...core.faults import fault_point
from ...core.savepoints import SavepointTarget
from ...operators.base import snapshot_of
from ...state.backend import CheckpointStreams, PendingSnapshot, SupportsSavepoints
from ...state.handles import KeyedStateHandle, OperatorSnapshot, SubtaskSnapshot
from .attempt import Attempt
from .background import Background
from .task import TakenSnapshot, Task


class SnapshotUploads:
    """Writes what tasks froze, one snapshot of a task at a time.

    Args:
        answer: sends a subtask's answer to the coordinator.
    """

    def __init__(self, background: Background, clock: Clock, answer: Callable[[FromTask], None]) -> None:
        self._background = background
        self._clock = clock
        self._answer = answer
        self._writing: set[str] = set()

    def may_begin(self, task: Task) -> bool:
        """Whether the task's last snapshot has been written (its frozen layer is given up then)."""
        return task.subtask.subtask_id not in self._writing

    def refuse(self, task: Task, checkpoint_id: int) -> None:
        """`may_begin` was False: the task passed the barrier on without a snapshot."""
        reason = "the snapshot for an earlier checkpoint, given up meanwhile, is still being written"
        self._answer(DeclineCheckpoint(checkpoint_id, task.subtask.subtask_id, reason))

    def begin(self, task: Task, taken: TakenSnapshot, attempt: Attempt) -> None:
        """Write the keyed parts; then, once they are complete, the records that barriers overtook; then acknowledge, or decline if
        the storage fails or the checkpoint was given up."""
        subtask = task.subtask.subtask_id
        writing = _Writing(task, taken, attempt)
        started_ms = self._clock.monotonic_ms()

        def written(future: Future[SubtaskSnapshot]) -> None:
            self._writing.discard(subtask)
            for pending in writing.keyed.values():
                pending.release()
            if not self._declined(subtask, taken, future):
                settle(future.result())

        def settle(snapshot: SubtaskSnapshot) -> None:
            taken.in_flight.once_settled(lambda: write_channels(snapshot))

        def write_channels(snapshot: SubtaskSnapshot) -> None:
            if taken.in_flight.given_up:
                reason = "it was given up before the records under way were complete"
                self._answer(DeclineCheckpoint(taken.barrier.checkpoint_id, subtask, reason, snapshot))
            elif writing.channels_are_small:
                self._acknowledge(subtask, taken, writing.channels(snapshot), started_ms)
            else:
                self._background.run(lambda: writing.channels(snapshot), acknowledge)

        def acknowledge(future: Future[SubtaskSnapshot]) -> None:
            if not self._declined(subtask, taken, future):
                self._acknowledge(subtask, taken, future.result(), started_ms)

        if writing.operators_are_small:
            settle(writing.operators())
        else:
            self._writing.add(subtask)
            self._background.run(writing.operators, written)

    def completed(self, checkpoint_id: int, attempt: Attempt) -> None:
        """A checkpoint is durable: local copies of earlier ones go, in the helper thread."""
        recovery = attempt.local_recovery
        if recovery.backup:
            self._background.run(lambda: recovery.completed(checkpoint_id), lambda ended: ended.result())

    def _declined(self, subtask: str, taken: TakenSnapshot, future: Future[SubtaskSnapshot]) -> bool:
        error = future.exception()
        if isinstance(error, MillstreamError):
            self._answer(DeclineCheckpoint(taken.barrier.checkpoint_id, subtask, str(error)))
            return True
        return False

    def _acknowledge(
        self, subtask: str, taken: TakenSnapshot, snapshot: SubtaskSnapshot, started_ms: int
    ) -> None:
        fault_point("task.before-ack")
        self._answer(
            AckCheckpoint(
                taken.barrier.checkpoint_id,
                subtask,
                snapshot,
                taken.alignment_ms,
                taken.sync_ms,
                self._clock.monotonic_ms() - started_ms,
                taken.in_flight.size_bytes,
                unaligned=taken.in_flight.overtook,
            )
        )


class _Writing:
    """The files of one snapshot of a task.

    Attributes:
        keyed: by operator id.
    """

    def __init__(self, task: Task, taken: TakenSnapshot, attempt: Attempt) -> None:
        checkpoint_id, savepoint = taken.barrier.checkpoint_id, taken.barrier.savepoint
        self.keyed = {
            operator: part.keyed for operator, part in taken.parts.items() if part.keyed is not None
        }
        self._subtask = task.subtask.subtask_id
        self._checkpoint_id = checkpoint_id
        self._savepoint = savepoint
        self._task = task
        self._taken = taken
        self._attempt = attempt
        self._streams = (
            attempt.streams(self._subtask, checkpoint_id)
            if savepoint is None
            else SavepointFolder(savepoint.folder).streams(attempt.number)
        )
        # Local copies are files in any case.
        self._inline = savepoint is None and not attempt.local_recovery.backup

    @property
    def operators_are_small(self) -> bool:
        """Whether `operators` has nothing to encode and no file to write."""
        return self._inline and not self.keyed

    @property
    def channels_are_small(self) -> bool:
        """Whether `channels` has no file to write. Once the records under way are complete."""
        in_flight = self._taken.in_flight
        return not in_flight.frames or (self._inline and in_flight.fits(self._attempt.settings.inline_bytes))

    def operators(self) -> SubtaskSnapshot:
        """What the operators gave. Raises CheckpointError STORAGE."""
        savepoint, attempt = self._savepoint, self._attempt
        fault_point("task.uploading" if savepoint is None else "task.uploading-savepoint")
        handles = {
            operator: _write_keyed(pending, self._streams, savepoint)
            for operator, pending in self.keyed.items()
        }
        parts = self._taken.parts.items()
        snapshot = SubtaskSnapshot(
            {operator: snapshot_of(part, handles.get(operator)) for operator, part in parts}
        )
        if savepoint is None:
            attempt.local_recovery.written(self._subtask, self._checkpoint_id, snapshot)
        return snapshot

    def channels(self, snapshot: SubtaskSnapshot) -> SubtaskSnapshot:
        """The snapshot with what was under way to and from its operators. Raises CheckpointError STORAGE."""
        in_flight = self._taken.in_flight
        if not in_flight.frames:
            return snapshot
        written = self._attempt.write_channel_state(self._task, in_flight, self._streams)
        operators = dict(snapshot.operators)
        for operator_id, handles in written.items():
            before = operators.get(operator_id, OperatorSnapshot())
            operators[operator_id] = msgspec.structs.replace(before, channels=handles)
        return SubtaskSnapshot(operators)


def _write_keyed(
    pending: PendingSnapshot, streams: CheckpointStreams, savepoint: SavepointTarget | None
) -> KeyedStateHandle:
    if savepoint is None:
        return pending.write(streams)
    if not isinstance(pending, SupportsSavepoints):
        raise StateError(
            "this state backend writes no savepoints",
            fix="start from a retained checkpoint: millstream run job.py --resume, or --from PATH",
        )
    return pending.write_savepoint(streams, savepoint.format)
