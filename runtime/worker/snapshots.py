"""The asynchronous part of snapshots: keyed state is written in a helper thread, then the subtask acknowledges."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from ...checkpoint.messages import AckCheckpoint, DeclineCheckpoint, FromTask
from ...checkpoint.storage import CheckpointStorage
from ...core.clock import Clock
from ...core.errors import MillstreamError
from ...core.faults import fault_point
from ...operators.base import snapshot_of
from ...state.handles import SubtaskSnapshot
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

    def begin(self, task: Task, taken: TakenSnapshot, storage: CheckpointStorage, attempt: int) -> None:
        """Write the keyed parts in the helper thread, then acknowledge, or decline if the storage fails."""
        subtask, checkpoint_id = task.subtask.subtask_id, taken.barrier.checkpoint_id
        streams = storage.streams(checkpoint_id, attempt)
        keyed = {operator: part.keyed for operator, part in taken.parts.items() if part.keyed is not None}
        started_ms = self._clock.monotonic_ms()
        self._writing.add(subtask)

        def write() -> SubtaskSnapshot:
            fault_point("task.uploading")
            handles = {operator: pending.write(streams) for operator, pending in keyed.items()}
            parts = taken.parts.items()
            return SubtaskSnapshot(
                {operator: snapshot_of(part, handles.get(operator)) for operator, part in parts}
            )

        def written(future: Future[SubtaskSnapshot]) -> None:
            self._writing.discard(subtask)
            for pending in keyed.values():
                pending.release()
            error = future.exception()
            if isinstance(error, MillstreamError):
                self._answer(DeclineCheckpoint(checkpoint_id, subtask, str(error)))
                return
            snapshot = future.result()
            took_ms = self._clock.monotonic_ms() - started_ms
            fault_point("task.before-ack")
            self._answer(
                AckCheckpoint(checkpoint_id, subtask, snapshot, taken.alignment_ms, taken.sync_ms, took_ms)
            )

        self._background.run(write, written)
