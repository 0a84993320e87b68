"""The asynchronous part of snapshots: keyed state is written in a helper thread, then the subtask acknowledges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from ...state.handles import ChannelStateHandle, KeyedStateHandle, OperatorSnapshot, SubtaskSnapshot
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
        """Write the keyed parts in the helper thread; then, once they are complete, the records that barriers overtook; then
        acknowledge, or decline if the storage fails or the checkpoint was given up."""
        subtask, checkpoint_id = task.subtask.subtask_id, taken.barrier.checkpoint_id
        savepoint = taken.barrier.savepoint
        if savepoint is None:
            streams = attempt.streams(subtask, checkpoint_id)
        else:
            streams = SavepointFolder(savepoint.folder).streams(attempt.number)
        keyed = {operator: part.keyed for operator, part in taken.parts.items() if part.keyed is not None}
        started_ms = self._clock.monotonic_ms()
        self._writing.add(subtask)

        def write() -> SubtaskSnapshot:
            fault_point("task.uploading" if savepoint is None else "task.uploading-savepoint")
            handles = {
                operator: _write_keyed(pending, streams, savepoint) for operator, pending in keyed.items()
            }
            parts = taken.parts.items()
            snapshot = SubtaskSnapshot(
                {operator: snapshot_of(part, handles.get(operator)) for operator, part in parts}
            )
            if savepoint is None:
                attempt.local_recovery.written(subtask, checkpoint_id, snapshot)
            return snapshot

        def written(future: Future[SubtaskSnapshot]) -> None:
            self._writing.discard(subtask)
            for pending in keyed.values():
                pending.release()
            if not self._declined(subtask, taken, future):
                snapshot = future.result()
                taken.in_flight.once_settled(lambda: write_channels(snapshot))

        def write_channels(snapshot: SubtaskSnapshot) -> None:
            if taken.in_flight.given_up:
                reason = "it was given up before the records under way were complete"
                self._answer(DeclineCheckpoint(taken.barrier.checkpoint_id, subtask, reason, snapshot))
            elif taken.in_flight.frames:
                self._background.run(
                    lambda: with_channels(
                        snapshot, attempt.write_channel_state(task, taken.in_flight, streams)
                    ),
                    acknowledge,
                )
            else:
                self._acknowledge(subtask, taken, snapshot, started_ms)

        def acknowledge(future: Future[SubtaskSnapshot]) -> None:
            if not self._declined(subtask, taken, future):
                self._acknowledge(subtask, taken, future.result(), started_ms)

        self._background.run(write, written)

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


def with_channels(
    snapshot: SubtaskSnapshot, channels: Mapping[str, tuple[ChannelStateHandle, ...]]
) -> SubtaskSnapshot:
    """The snapshot with what was under way to and from its operators."""
    operators = dict(snapshot.operators)
    for operator_id, handles in channels.items():
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
