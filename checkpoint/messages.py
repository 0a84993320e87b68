"""The protocol between the checkpoint coordinator and the subtasks: here and nowhere else."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..core.savepoints import SavepointTarget
from ..state.handles import SubtaskSnapshot


class _Message(msgspec.Struct, frozen=True, tag=True):
    checkpoint_id: int


class TriggerCheckpoint(_Message, frozen=True):
    """To source subtasks: snapshot your position and emit a barrier."""

    timestamp_ms: int
    savepoint: SavepointTarget | None = None


class NotifyCheckpointComplete(_Message, frozen=True):
    """To all subtasks: the checkpoint is durable, commit what it covers. May be lost; a later one covers earlier ones.

    Attributes:
        oldest_retained: no checkpoint before this one will be restored any more; 0 where that is not known.
    """

    oldest_retained: int = 0


class NotifyCheckpointAborted(_Message, frozen=True):
    """To all subtasks: the checkpoint will not complete. May be lost."""


class AckCheckpoint(_Message, frozen=True):
    """From a subtask: its part of the checkpoint is durable. Durations in ms, for statistics only.

    Attributes:
        in_flight_bytes: of the records that barriers overtook.
        unaligned: the snapshot was taken before the barrier had come on all inputs.
    """

    subtask: str
    snapshot: SubtaskSnapshot
    alignment_ms: int = 0
    sync_ms: int = 0
    async_ms: int = 0
    in_flight_bytes: int = 0
    unaligned: bool = False


class DeclineCheckpoint(_Message, frozen=True):
    """From a subtask: it cannot take this checkpoint. `snapshot`: what it had written already, for nothing."""

    subtask: str
    reason: str
    snapshot: SubtaskSnapshot | None = None


ToTask: TypeAlias = TriggerCheckpoint | NotifyCheckpointComplete | NotifyCheckpointAborted
FromTask: TypeAlias = AckCheckpoint | DeclineCheckpoint
