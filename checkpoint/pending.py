"""A checkpoint in flight: mutable, owned by the coordinator alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.errors import CheckpointFailureReason
from ..core.savepoints import SavepointTarget
from .completed_store import CompletedCheckpoint
from .coordination import (
    CheckpointCompleted,
    CheckpointData,
    CheckpointFailed,
    JobRunning,
    Phase,
    TriggerRequested,
)
from .messages import AckCheckpoint
from .snapshot_files import snapshot_files, snapshot_size


@dataclass(slots=True)
class Pending:
    """What the coordinator knows of a checkpoint in flight."""

    checkpoint_id: int
    timestamp_ms: int
    started_ms: int
    deadline_ms: int
    requests: tuple[TriggerRequested, ...]
    job: JobRunning
    phase: Phase = Phase.ENUMERATORS
    enumerators: Mapping[str, bytes] = field(default_factory=dict)
    acks: dict[str, AckCheckpoint] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether it is the last one of a bounded job."""
        return any(request.final for request in self.requests)

    @property
    def savepoint(self) -> SavepointTarget | None:
        """Where it goes, if it is a savepoint."""
        return self.requests[0].savepoint if self.requests else None

    def data(self) -> CheckpointData:
        """What its metadata is made from."""
        parts = {subtask: ack.snapshot for subtask, ack in self.acks.items()}
        return CheckpointData(
            self.checkpoint_id, self.timestamp_ms, self.job.attempt, parts, self.enumerators, self.savepoint
        )


def completed_from(
    pending: Pending, now_ms: int, *, running: bool
) -> tuple[CompletedCheckpoint, CheckpointCompleted]:
    """A finished checkpoint as the store keeps it, and as it is reported; `running`: its attempt is not over."""
    acks = pending.acks.values()
    files = frozenset(file for ack in acks for file in snapshot_files(ack.snapshot))
    size_bytes = (
        sum(file.size for file in files)
        + sum(snapshot_size(ack.snapshot) for ack in acks)
        + sum(map(len, pending.enumerators.values()))
    )
    completed = CompletedCheckpoint(pending.checkpoint_id, pending.timestamp_ms, size_bytes, files)
    report = CheckpointCompleted(
        pending.checkpoint_id,
        tuple(request.request_id for request in pending.requests),
        pending.final and running,
        now_ms - pending.started_ms,
        size_bytes,
        max((ack.alignment_ms for ack in acks), default=0),
        max((ack.sync_ms for ack in acks), default=0),
        max((ack.async_ms for ack in acks), default=0),
        sum(ack.in_flight_bytes for ack in acks),
        sum(ack.unaligned for ack in acks),
        pending.savepoint,
    )
    return completed, report


def failed_report(
    pending: Pending,
    reason: CheckpointFailureReason,
    detail: str,
    answered: tuple[str, ...],
    *,
    counted: bool,
) -> CheckpointFailed:
    """A checkpoint that was given up, as it is reported; `answered`: the requests that learn of it."""
    acknowledged, subtasks = len(pending.acks), len(pending.job.subtasks)
    return CheckpointFailed(pending.checkpoint_id, reason, detail, answered, counted, acknowledged, subtasks)


def some_of(names: list[str], limit: int = 5) -> str:
    """The first few of the missing subtasks, for an error message."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "the split enumerators") + more
