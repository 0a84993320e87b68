"""What travels between operators: record batches and the control elements between them.

A record has no wrapper: a batch is parallel lists of values and timestamps. Control elements flow in the same
channels and keep their place among the batches.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from .savepoints import SavepointTarget

MIN_TIMESTAMP: Final = -(2**63)
"""Before every record: the watermark of an input that has not said anything yet. Milliseconds."""

MAX_TIMESTAMP: Final = 2**63 - 1
"""After every record: the watermark that ends a bounded input. Milliseconds."""


class RecordBatch:
    """Records in row form: `values[i]` happened at `timestamps[i]` (ms), or nobody said when (`timestamps is None`).

    Whoever receives a batch owns its lists for reading only; the producer does not touch them again either.
    """

    __slots__ = ("timestamps", "values")

    def __init__(self, values: list[Any], timestamps: list[int] | None = None) -> None:
        self.values = values
        self.timestamps = timestamps

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"RecordBatch({self.values!r}, {self.timestamps!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RecordBatch):
            return NotImplemented
        return self.values == other.values and self.timestamps == other.timestamps

    __hash__ = None  # type: ignore[assignment]


class PartialBatch(RecordBatch):
    """Pre-aggregated windows on their way to the merging operator: values are `(key, slice_start_ms, accumulator)`.

    `timestamps` is always None: a partial aggregate stands for many records.
    """

    __slots__ = ()


class Control(msgspec.Struct, frozen=True, tag=True):
    """Base of the control elements."""


class Watermark(Control, frozen=True, tag="W"):
    """No record with a timestamp <= `timestamp` (ms) follows, but for late ones.

    >>> Watermark(1_000).get_timestamp()
    1000
    """

    timestamp: int

    def get_timestamp(self) -> int:
        """The timestamp, as in PyFlink."""
        return self.timestamp


class WatermarkStatus(Control, frozen=True, tag="S"):
    """An idle input does not hold back the watermark until it becomes active again."""

    idle: bool


class CheckpointBarrier(Control, frozen=True, tag="B"):
    """Separates the records that belong to a checkpoint from those that come after it.

    Attributes:
        timestamp_ms: wall-clock time of the trigger, milliseconds since the epoch.
        overtake_after_ms: so long after the trigger it goes ahead of the records before it, which then are channel state (0: as
            soon as it is there). None: it keeps its place, however long that takes.
        savepoint: what it belongs to is a savepoint, whose barriers always keep their place; None: a checkpoint.

    Source: Carbone et al., "Lightweight Asynchronous Snapshots for Distributed Dataflows" (2015), section 4; FLIP-76.
    """

    checkpoint_id: int
    timestamp_ms: int
    overtake_after_ms: int | None = None
    savepoint: SavepointTarget | None = None

    @property
    def stops(self) -> bool:
        """Whether nothing follows, because the job ends with this savepoint."""
        return self.savepoint is not None and self.savepoint.stops


class EndOfInput(Control, frozen=True, tag="E"):
    """No more records follow in this channel; barriers still may, so that finished subtasks take part in checkpoints."""


class LoopProbe(Control, frozen=True, tag="P"):
    """Goes round a loop behind its records, to find out whether it has run empty.

    Attributes:
        loop: the group of loops that it goes round.
        round: from 1.
        active: whether a head of the group received feedback since it sent the probe of the round before.
    """

    loop: str
    round: int
    active: bool


class EndOfChannelState(Control, frozen=True, tag="R"):
    """Behind the records that a restored channel begins with. Never travels: whoever restores the channel puts it there."""


ControlElement: TypeAlias = Watermark | WatermarkStatus | CheckpointBarrier | EndOfInput | LoopProbe
StreamElement: TypeAlias = RecordBatch | ControlElement | EndOfChannelState
