"""Iterations: the two ends of a feedback edge.

The StreamGraph stays acyclic: records that go back enter a tail, which is an end like a sink, and come out of the head, which
reads them beside its inputs. Subtask i of the tail hands them to subtask i of the head, in the same worker, by a queue
without bound: a loop whose every part waits for room in the next would never move again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, ClassVar, Final, TypeAlias

from ..core.batch import CheckpointBarrier, LoopProbe, RecordBatch
from ..core.types import TypeInformation
from .base import Operator, OperatorContext, OperatorSnapshotParts
from .results import to_batches
from .stored_records import RecordItems

LOOP_CONTROL: Final = "millstream:loop-control"
"""Side output of a head that carries no records, only what must come from every head to every tail."""

_FEEDBACK: Final = "feedback"

FeedbackQueue: TypeAlias = deque[RecordBatch | CheckpointBarrier | LoopProbe]
"""From a tail to its head: records, and control elements behind all records that came before them."""


@dataclass(frozen=True, slots=True)
class IterationHeadSpec:
    """Where feedback joins the input.

    Attributes:
        group: the loops that run empty together, and `root` whether all inputs come from outside them; decided by the pass
            `connect_loops`.
    """

    record_type: TypeInformation[Any]
    group: str = ""
    root: bool = True
    kind: ClassVar[str] = "IterationHead"

    def user_functions(self) -> Sequence[Any]:
        return ()

    def create(self) -> Operator:
        return IterationHeadOperator(self)


@dataclass(frozen=True, slots=True)
class IterationTailSpec:
    """Where feedback leaves.

    Attributes:
        head: operator id of the head; decided by the pass `connect_loops`, as `group`.
    """

    group: str = ""
    head: str = ""
    kind: ClassVar[str] = "IterationTail"

    def user_functions(self) -> Sequence[Any]:
        return ()

    def create(self) -> Operator:
        return IterationTailOperator()


class IterationHeadOperator(Operator):
    """Passes everything on. Its state, the records that were inside the loop at a checkpoint, is the task's business.

    Attributes:
        restored: what was inside the loop at the restored checkpoint.
    """

    def __init__(self, spec: IterationHeadSpec) -> None:
        self._items = RecordItems(_FEEDBACK, spec.record_type)
        self.restored: list[RecordBatch] = []

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self.count = context.count
        values, timestamps = [], []
        for value, timestamp in self._items.restored(context.restored_lists):
            values.append(value)
            timestamps.append(timestamp)
        self.restored = list(to_batches(values, timestamps)) if values else []

    def snapshot_of(self, log: Iterable[RecordBatch]) -> OperatorSnapshotParts:
        """The state at a checkpoint: the records that came back between its barrier's departure and return."""
        records = (
            (value, timestamp)
            for batch in log
            for value, timestamp in zip(
                batch.values, batch.timestamps or repeat(None, len(batch.values)), strict=True
            )
        )
        return OperatorSnapshotParts(lists=self._items.lists(records))


class IterationTailOperator(Operator):
    """Hands records to the head.

    Attributes:
        feedback: the way there; set by its task before any record comes.
    """

    feedback: FeedbackQueue

    def process_batch(self, batch: RecordBatch) -> None:
        self.feedback.append(batch)

    def process_watermark(self, timestamp: int) -> None:
        """Event time does not go back."""

    def process_status(self, idle: bool) -> None:
        """Nor does idleness."""
