"""What the checkpoint coordinator is told, and what it asks for: two closed unions of values.

`CheckpointCoordinator.handle` takes one `Event` and answers with `Action`s that the JobManager performs in the given order.
Times called `now_ms` are monotonic and come with the call; `wall_ms` is milliseconds since the epoch and comes with the
events that may start a checkpoint. An *attempt* is the restore generation of the job: it rises with every restart, also
across a restart of the JobManager, so that a message of an earlier attempt can be told apart although checkpoint ids may
repeat after the JobManager died (`CheckpointStorage.claim_attempt`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..core.errors import CheckpointFailureReason
from ..core.savepoints import SavepointTarget
from ..state.handles import FileRef, SubtaskSnapshot
from .messages import AckCheckpoint, DeclineCheckpoint, ToTask


@dataclass(frozen=True, slots=True)
class CoordinatorConfig:
    """When checkpoints are taken and how many may fail. Durations in ms.

    Attributes:
        interval_ms: distance between the starts of periodic checkpoints; None: only requested ones.
        timeout_ms: a checkpoint that has not got all its acknowledgements by then is aborted.
        min_pause_ms: at least this long between the end of one and the start of the next periodic one. More than 0
            implies one checkpoint at a time, as in Flink.
        max_concurrent: how many may be in flight.
        tolerable_failures: how many may fail in a row before the job is failed.
    """

    interval_ms: int | None
    timeout_ms: int = 600_000
    min_pause_ms: int = 0
    max_concurrent: int = 1
    tolerable_failures: int = 0

    @property
    def concurrency(self) -> int:
        """How many checkpoints may really be in flight."""
        return 1 if self.min_pause_ms > 0 else self.max_concurrent


@dataclass(frozen=True, slots=True)
class CheckpointData:
    """Everything that a complete checkpoint consists of: what `_metadata` is made from.

    Attributes:
        timestamp_ms: wall-clock time of the trigger.
        attempt: the restore generation that took it.
        subtasks: each subtask's part.
        enumerators: state of the split enumerators by operator id.
        savepoint: where it goes if it is a savepoint; None: a checkpoint.
    """

    checkpoint_id: int
    timestamp_ms: int
    attempt: int
    subtasks: Mapping[str, SubtaskSnapshot]
    enumerators: Mapping[str, bytes]
    savepoint: SavepointTarget | None = None


# ---- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobRunning:
    """Every subtask of this attempt runs and has restored its state. Starts the schedule afresh.

    Attributes:
        subtasks: all of them; a checkpoint is complete when each one has acknowledged.
        sources: those that are triggered; barriers reach the others.
    """

    attempt: int
    subtasks: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobStopped:
    """The attempt is over. `ended` tells a job that is gone for good from one that restarts; harmless when repeated."""

    ended: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: `next_deadline_ms` was reached (or not: an early tick is harmless)."""

    wall_ms: int


@dataclass(frozen=True, slots=True)
class TriggerRequested:
    """A checkpoint is wanted now: by hand, or (`final`) because all bounded input has ended.

    A requested checkpoint waits for the ones in flight, not for the minimum pause. After a `final` request no periodic
    checkpoint starts any more; it is tried again until it completes or the job fails.

    Attributes:
        savepoint: a savepoint is wanted, not a checkpoint. It is tried once, alone: nothing else is in flight meanwhile.
        drain: all sources end their input first, and the savepoint is taken in place of the final checkpoint.
    """

    request_id: str
    wall_ms: int
    final: bool = False
    savepoint: SavepointTarget | None = None
    drain: bool = False


@dataclass(frozen=True, slots=True)
class EnumeratorsSnapshotted:
    """The answer to `SnapshotEnumerators`."""

    checkpoint_id: int
    states: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Acked:
    """A subtask's part is durable. `attempt` is the one the sender belongs to, known from its connection."""

    message: AckCheckpoint
    attempt: int


@dataclass(frozen=True, slots=True)
class Declined:
    """A subtask could not take its part. `attempt` as in `Acked`."""

    message: DeclineCheckpoint
    attempt: int


@dataclass(frozen=True, slots=True)
class MetadataDurable:
    """The answer to `WriteMetadata`: `_metadata` is there and survives any crash."""

    checkpoint_id: int


@dataclass(frozen=True, slots=True)
class MetadataFailed:
    """The other answer to `WriteMetadata`: the storage failed for good, `_metadata` is not there."""

    checkpoint_id: int
    error: str


Event: TypeAlias = (
    JobRunning
    | JobStopped
    | Tick
    | TriggerRequested
    | EnumeratorsSnapshotted
    | Acked
    | Declined
    | MetadataDurable
    | MetadataFailed
)


# ---- actions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SnapshotEnumerators:
    """Take the state of all split enumerators, then answer with `EnumeratorsSnapshotted`.

    Splits that were assigned before must travel to the readers ahead of the trigger that follows.
    """

    checkpoint_id: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send `message` to each of `subtasks` of the current attempt; those that are gone are left out."""

    message: ToTask
    subtasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrainSources:
    """Tell these source subtasks to end their input where they are: MAX watermark and end of input follow, as of bounded ones."""

    subtasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriteMetadata:
    """Write `_metadata`, last and atomically, then answer with `MetadataDurable` or `MetadataFailed`: always one of them."""

    data: CheckpointData


@dataclass(frozen=True, slots=True)
class AwaitMetadata:
    """The job stopped while `_metadata` of these checkpoints was being written: wait for their outcome (it comes as
    `MetadataDurable` or `MetadataFailed`) before asking what to restore from.
    """

    checkpoint_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DiscardCheckpoints:
    """Delete these checkpoints' folders, `_metadata` first. Best effort: nothing depends on its success."""

    checkpoint_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DiscardSavepoint:
    """Delete the folder of a savepoint that did not complete, `_metadata` first. Best effort."""

    folder: str


@dataclass(frozen=True, slots=True)
class DiscardFiles:
    """Delete these files, which no retained checkpoint refers to. Best effort."""

    files: tuple[FileRef, ...]


@dataclass(frozen=True, slots=True)
class CheckpointCompleted:
    """For the log, metrics and whoever asked. Sizes in bytes, durations in ms; those of subtasks are the longest of all.

    Attributes:
        final: the last checkpoint of a bounded job, and its attempt goes on to commit it. False when the attempt was over
            before the metadata was durable: the next attempt restores it, commits, and asks for a final one again.
        in_flight_bytes: of the records that barriers overtook, in all subtasks; part of the size.
        unaligned: subtasks that took their snapshot before the barrier had come on all inputs.
        savepoint: where it is if it is a savepoint. One that stops the job has done so: `FinishAll` may follow.
    """

    checkpoint_id: int
    request_ids: tuple[str, ...]
    final: bool
    duration_ms: int
    size_bytes: int
    alignment_ms: int = 0
    sync_ms: int = 0
    async_ms: int = 0
    in_flight_bytes: int = 0
    unaligned: int = 0
    savepoint: SavepointTarget | None = None


@dataclass(frozen=True, slots=True)
class CheckpointFailed:
    """For the log, metrics and whoever asked.

    Attributes:
        counted: whether it counts against the tolerable failures.
        acknowledged: how many of `subtasks` subtasks had delivered their part.
    """

    checkpoint_id: int
    reason: CheckpointFailureReason
    detail: str
    request_ids: tuple[str, ...]
    counted: bool
    acknowledged: int
    subtasks: int


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A requested checkpoint was not even started."""

    request_id: str
    reason: CheckpointFailureReason
    detail: str


@dataclass(frozen=True, slots=True)
class FailJob:
    """More checkpoints failed in a row than are tolerable: fail the attempt; the restart strategy decides what follows."""

    reason: CheckpointFailureReason
    detail: str
    consecutive_failures: int


Action: TypeAlias = (
    SnapshotEnumerators
    | Send
    | DrainSources
    | WriteMetadata
    | AwaitMetadata
    | DiscardCheckpoints
    | DiscardSavepoint
    | DiscardFiles
    | CheckpointCompleted
    | CheckpointFailed
    | RequestRefused
    | FailJob
)


# ---- what can be seen from outside ----------------------------------------------------------------------------------------


class Phase(enum.Enum):
    """How far a pending checkpoint is."""

    ENUMERATORS = "the split enumerators are being snapshotted"
    TASKS = "subtasks are taking their snapshots"
    METADATA = "its metadata is being written"


@dataclass(frozen=True, slots=True)
class PendingCheckpoint:
    """A checkpoint in flight, for display."""

    checkpoint_id: int
    phase: Phase
    started_ms: int
    acknowledged: int
    subtasks: int


@dataclass(frozen=True, slots=True)
class CoordinatorStatistics:
    """What the coordinator has done so far. Counts start with the coordinator, not with the attempt."""

    triggered: int
    completed: int
    failed: int
    late_messages: int
    consecutive_failures: int
    last_completed: CheckpointCompleted | None
    pending: tuple[PendingCheckpoint, ...]
