"""Local pre-aggregation: windows are combined per slice and key before the exchange and merged behind it.

The combiner of MapReduce (Dean and Ghemawat 2004, section 4.3). It holds no records across a control element: what it has is
emitted before each watermark, barrier and end, when it has grown large, and when the buffer timeout expires. Only records of slices none of whose windows this subtask's own watermark has passed are combined. All other records
travel as they are, and lateness is decided, record by record, by the window operator.

The window operator's watermark is not ahead of that, so a partial aggregate is not late there, but for two cases. While this
input was idle, the others have gone on without it; and after a restore the windows go on from the progress in the checkpoint,
while watermarks begin anew. Where late records only have to be dropped, the window operator drops late partial aggregates,
since all records of a slice are late together. Where they go to a side output or let a window fire again, the combiner keeps
its last watermark in the checkpoint (the one piece of state it has, then), and after idleness combines nothing any more.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import msgspec

from ..core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP, PartialBatch, RecordBatch
from ..core.types import KeyEncoder, TypeInformation
from .base import Operator, OperatorContext, OperatorSnapshotParts
from .codegen import forget
from .runtime_context import StatelessRuntimeContext
from .slices import Slicing
from .user_function import UserFunction, has_life_cycle
from .window_contents import AddBatch, Contents, compile_add

_REACHED: Final = "union:reached"
_MAX_SLICES_BETWEEN_CHECKS: Final = 64
MAX_COMBINED: Final = 200_000
"""Accumulators held at most (checked per batch); more are sent on, since combining does not pay for so many keys."""


@dataclass(frozen=True, slots=True)
class CombinerSpec:
    """Combines the records of one subtask into partial aggregates.

    Attributes:
        late_ones_matter: a late record does more than being dropped: it must reach the window operator as it is.
    """

    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    slicing: Slicing
    contents: Contents
    late_ones_matter: bool = False
    kind: ClassVar[str] = "LocalWindowAggregate"

    def user_functions(self) -> Sequence[Any]:
        return (self.key_selector, *self.contents.user_functions())

    def create(self) -> Operator:
        """With functions of its own: the window operator's, which may run in the same worker, are opened apart."""
        if any(map(has_life_cycle, self.contents.user_functions())):
            # As it came to this worker: copy.deepcopy refuses some objects that travel well, such as modules.
            contents = copy.deepcopy(self.contents)
            return CombinerOperator(replace(self, contents=contents))
        return CombinerOperator(self)


class _SliceDict(dict[Any, Any]):
    """A plain dict with the reading habits of a StateMap: None for what is not there."""

    def __missing__(self, key: Any) -> None:
        return None


class CombinerOperator(Operator):
    """Runs a `CombinerSpec` in one subtask."""

    def __init__(self, spec: CombinerSpec) -> None:
        self._spec = spec
        self._functions: list[UserFunction] = []
        self._slices: dict[int, _SliceDict] = {}
        self._add: AddBatch | None = None
        self._raw_values: list[Any] = []
        self._raw_timestamps: list[int] = []
        self._watermark = MIN_TIMESTAMP
        self._reached = MIN_TIMESTAMP  # how far the window operator may have come, if that is further
        self._slow_below = MIN_TIMESTAMP

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        spec = self._spec
        self._functions = [UserFunction(function, "open") for function in spec.contents.user_functions()]
        for function in self._functions:
            function.open(StatelessRuntimeContext(context.info))
        self._add = compile_add(
            spec.contents, spec.key_selector, KeyEncoder(spec.key_type).encode, spec.slicing, self
        )
        for item in context.restored_lists.get(_REACHED, ()):
            self._reached = max(self._reached, msgspec.msgpack.decode(item, type=int))
        self._set_threshold()

    def slice_map(self, slice_start: int) -> _SliceDict:
        contents = self._slices.get(slice_start)
        if contents is None:
            contents = self._slices[slice_start] = _SliceDict()
        return contents

    def add_slowly(self, value: Any, timestamp: int, slice_start: int) -> None:
        if timestamp <= max(self._watermark, self._reached) or not self._spec.slicing.in_gap(slice_start):
            self._raw_values.append(value)
            self._raw_timestamps.append(timestamp)

    def process_batch(self, batch: RecordBatch) -> None:
        if batch.timestamps is None:
            self.output.emit(batch)  # the window operator says what is wrong with it
            return
        assert self._add is not None
        self._add(batch.values, batch.timestamps, self._slow_below)
        if self._raw_values:
            raw = RecordBatch(self._raw_values, self._raw_timestamps)
            self._raw_values, self._raw_timestamps = [], []
            self.output.emit(raw)
        if (
            len(self._slices) > _MAX_SLICES_BETWEEN_CHECKS
            or sum(map(len, self._slices.values())) > MAX_COMBINED
        ):
            self.flush()

    def flush(self) -> None:
        if not self._slices:
            return
        slices, self._slices = self._slices, {}
        partials = [
            (key, start, kept) for start, contents in slices.items() for key, kept in contents.items()
        ]
        self.output.emit(PartialBatch(partials))

    def process_watermark(self, timestamp: int) -> None:
        self.flush()
        self._watermark = max(self._watermark, timestamp)
        self._set_threshold()
        self.output.emit_watermark(timestamp)

    def process_status(self, idle: bool) -> None:
        self.flush()
        if self._spec.late_ones_matter:
            self._reached = MAX_TIMESTAMP
            self._set_threshold()
        self.output.emit_status(idle)

    def finish(self) -> None:
        self.flush()

    def snapshot(self, checkpoint_id: int) -> OperatorSnapshotParts | None:
        if not self._spec.late_ones_matter:
            return None
        reached = msgspec.msgpack.encode(max(self._watermark, self._reached))
        return OperatorSnapshotParts(lists={_REACHED: [reached]})

    def close(self) -> None:
        if self._add is not None:
            forget(self._add.__code__.co_filename)
        for function in self._functions:
            function.close()
        super().close()

    def _set_threshold(self) -> None:
        slicing = self._spec.slicing
        gaps = slicing.slide_ms > slicing.size_ms
        # Windows with gaps between them need a look at every record, as in the window operator.
        reached = max(self._watermark, self._reached)
        everything = gaps or reached == MAX_TIMESTAMP
        self._slow_below = 2**64 if everything else slicing.first_unfired_slice(reached)
