"""Tumbling and sliding event-time windows on a keyed stream.

Contents are kept per slice and key (`slices.py`); a record costs one update. When the watermark passes the end of a window,
its slices are combined per key and the results emitted, then the watermark. Everything is held in one table with
namespace = slice start, so that firing and clean-up work on whole slices and need no timer per key.

Progress: which windows have fired is in the checkpoint (list state `union:progress`), since a sliding window's slices outlive
it: after a restore no window fires twice, and a record for a window that had fired is late. What the slices are is written
with it: where the program has other windows since then, those of before go on by themselves (`earlier_windows.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from ..core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP, PartialBatch, RecordBatch
from ..core.errors import JobDefinitionError
from ..core.types import KeyEncoder, TypeInformation, Types
from ..state.backend import KeyedStateBackend, StateMap, TableDescriptor
from ..state.key_groups import key_group_of, key_group_range
from .base import Operator, OperatorContext, OperatorSnapshotParts, OperatorSpec
from .checkpointed import checkpointed_functions
from .codegen import forget
from .combiner import CombinerSpec
from .earlier_windows import EarlierWindows, WindowLayout, under_way
from .runtime_context import StatelessRuntimeContext
from .slices import Slicing
from .user_function import UserFunction
from .window_codec import TIME_WINDOWS
from .window_contents import (
    AggregatedContents,
    Contents,
    ListedContents,
    ReducedContents,
    compile_add,
    compile_add_one,
    nothing_to_keep,
)
from .window_context import WindowStates
from .window_emission import WindowResult, make_window_result
from .window_progress import PROGRESS, ProgressEntry, WindowProgress, decode_entries
from .windowing import SlidingEventTimeWindows, TumblingEventTimeWindows

Assigner: TypeAlias = TumblingEventTimeWindows | SlidingEventTimeWindows

__all__ = ["AggregatedContents", "ListedContents", "ReducedContents", "WindowOperator", "WindowSpec"]


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A keyed window: how records are grouped in time, what is kept of them, and what becomes of it.

    Attributes:
        window_function: called with the key, the window and its contents; None: the contents' result itself is emitted.
        late_tag: side output for records that are late for all their windows; None: they are counted and dropped.
    """

    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    assigner: Assigner
    contents: Contents
    window_function: Any = None
    allowed_lateness_ms: int = 0
    late_tag: str | None = None
    kind: ClassVar[str] = "Window"
    needs_timestamps: ClassVar[bool] = True

    def user_functions(self) -> Sequence[Any]:
        return (self.key_selector, *self.contents.user_functions(), self.window_function)

    @property
    def slicing(self) -> Slicing:
        match self.assigner:
            case TumblingEventTimeWindows(size_ms=size, offset_ms=offset):
                return Slicing(size, size, offset)
            case SlidingEventTimeWindows(size_ms=size, slide_ms=slide, offset_ms=offset):
                return Slicing(size, slide, offset)

    def combiner(self) -> OperatorSpec | None:
        shared = (self.key_selector, *self.contents.user_functions())
        # Operator state belongs to one operator: a function that keeps some would be initialized, and restored, in both.
        if not self.contents.can_merge or any(checkpointed_functions(shared)):
            return None
        late_ones_matter = self.allowed_lateness_ms > 0 or self.late_tag is not None
        return CombinerSpec(
            self.key_selector, self.key_type, self.slicing, self.contents, late_ones_matter=late_ones_matter
        )

    def create(self) -> Operator:
        return WindowOperator(self)


class WindowOperator(Operator):
    """Runs a `WindowSpec` in one subtask."""

    def __init__(self, spec: WindowSpec) -> None:
        self._spec = spec
        # Without a way to combine slices every window keeps contents of its own, under its start.
        self._panes = not spec.contents.can_merge and spec.slicing.slice_ms != spec.slicing.size_ms
        self._slicing = spec.slicing
        self._layout = WindowLayout.of(spec.slicing, panes=self._panes)
        self._earlier: EarlierWindows | None = None
        self._active: set[int] = set()
        self._ends: list[int] = []
        self._scheduled: set[int] = set()
        self._functions: list[UserFunction] = []
        self._result: WindowResult | None = None
        self._generated: tuple[Callable[..., None], ...] = ()

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        spec, info = self._spec, context.info
        self._info, self._count = info, context.count
        self.backend = context.open_backend()
        self._table = self.backend.table(
            TableDescriptor(
                "window-contents",
                key_type=spec.key_type,
                value_type=spec.contents.state_type,
                namespace_type=Types.LONG(),
                kind="window",
            )
        )
        self._merge, self._own = spec.contents.merging, spec.contents.owning
        encode_key = KeyEncoder(spec.key_type).encode
        restored = decode_entries(context.restored_lists.get(PROGRESS, ()))
        self._progress = WindowProgress(
            key_group_range(info.subtask, info.max_parallelism, info.parallelism),
            lambda key: key_group_of(encode_key(key), info.max_parallelism),
            restored,
        )
        self._functions = [UserFunction(function, "open") for function in spec.contents.user_functions()]
        for function in self._functions:
            function.open(StatelessRuntimeContext(info))
        states = WindowStates.open(context, self.backend, spec.key_type, TIME_WINDOWS.type_info)
        self._result = make_window_result(spec.contents, spec.window_function, context, self, states)
        self._add = compile_add(spec.contents, spec.key_selector, encode_key, self._slicing, self)
        self._add_one = compile_add_one(spec.contents, encode_key, self)
        self._generated = (self._add, self._add_one)
        self._set_thresholds()
        self._restore_earlier(restored, self.backend, records_under_way=context.records_under_way)
        for slice_start in self._table.namespaces():
            self._activate(slice_start)

    def _restore_earlier(
        self, restored: Sequence[ProgressEntry], backend: KeyedStateBackend, *, records_under_way: bool
    ) -> None:
        others = {entry.layout for entry in restored if entry.layout is not None} - {self._layout}
        if not others and not any(entry.earlier for entry in restored):
            return
        where = f"operator '{self._info.operator_name}'"
        earlier = self._earlier = EarlierWindows.open(backend, self._spec.key_type, self._spec.contents)
        for layout in others:
            if records_under_way:
                raise under_way(layout, self._layout, where)
            earlier.take_over(
                self._table,
                layout,
                lambda key, end: not self._has_passed(end, self._progress.reached(key)),
                where=where,
            )
        earlier.give_back(self._table, self._layout)
        self._schedule(earlier.ends())

    # ---- records

    def process_batch(self, batch: RecordBatch) -> None:
        if isinstance(batch, PartialBatch):
            self._merge_partials(batch.values)
            return
        if batch.timestamps is None:
            raise JobDefinitionError(
                "records without timestamps reached an event-time window",
                where=f"operator '{self._info.operator_name}'",
                fix="call assign_timestamps_and_watermarks(...) before the window, or give from_source a strategy",
            )
        if self._panes:
            self._add_to_panes(batch.values, batch.timestamps)
        else:
            self._add(batch.values, batch.timestamps, self._slow_below)
        if self._spec.allowed_lateness_ms:
            assert self._result is not None
            self._result.flush()  # what late records made fire again

    def slice_map(self, slice_start: int) -> StateMap[Any, Any]:
        """The contents of a live slice, for the loop of `contents.compile_add`."""
        if slice_start not in self._active:
            self._activate(slice_start)
        return self._table.namespace(slice_start)

    def add_slowly(self, value: Any, timestamp: int, slice_start: int) -> None:
        """A record for a slice some of whose windows have passed (`slice_start` < the slow threshold)."""
        if self._slicing.in_gap(slice_start):
            self._in_gap(value, timestamp)
            return
        key, lateness = self._spec.key_selector(value), self._spec.allowed_lateness_ms
        reached = self._progress.reached(key)
        if slice_start < self._slicing.first_live_slice(reached, lateness):
            self._late(value, timestamp)
            return
        self._add_one(self.slice_map(slice_start), key, value)
        for end in self._slicing.window_ends(slice_start):
            if end - 1 <= reached < end - 1 + lateness:
                self._fire_key(end, key)

    def _late(self, value: Any, timestamp: int) -> None:
        if self._spec.late_tag is None:
            self._count("numLateRecordsDropped", 1)
        else:
            self.output.emit_side(self._spec.late_tag, RecordBatch([value], [timestamp]))

    def _in_gap(self, value: Any, timestamp: int) -> None:
        # As in Flink, a record of no window is late when its own time is over, and otherwise nobody's business.
        if timestamp + self._spec.allowed_lateness_ms <= self._progress.watermark:
            self._late(value, timestamp)

    def _merge_partials(self, partials: list[tuple[Any, int, Any]]) -> None:
        # A late one is rare (see the combiner) and counts as one record.
        merge, current, contents = self._merge, None, None
        for key, slice_start, accumulator in partials:
            if slice_start < self._first_live:
                self._count("numLateRecordsDropped", 1)
                continue
            if slice_start != current:
                contents, current = self.slice_map(slice_start), slice_start
            assert contents is not None
            existing = contents[key]
            merged = accumulator if existing is None else merge(existing, accumulator)
            if merged is None:
                nothing_to_keep()
            contents[key] = merged

    def _add_to_panes(self, values: list[Any], timestamps: list[int]) -> None:
        lateness = self._spec.allowed_lateness_ms
        for value, timestamp in zip(values, timestamps, strict=True):
            key = self._spec.key_selector(value)
            reached = self._progress.reached(key)
            ends = [
                end
                for end in self._slicing.window_ends(self._slicing.slice_of(timestamp))
                if end - self._slicing.size_ms <= timestamp and end - 1 + lateness > reached
            ]
            if not ends:
                in_gap = self._slicing.in_gap(self._slicing.slice_of(timestamp))
                (self._in_gap if in_gap else self._late)(value, timestamp)
                continue
            for end in ends:
                start = end - self._slicing.size_ms
                self._add_one(self.slice_map(start), key, value)
                if end - 1 <= reached:
                    self._fire_key(end, key)

    # ---- time

    def process_watermark(self, timestamp: int) -> None:
        self._progress.advance(timestamp)
        while self._ends and (self._ends[0] - 1 <= timestamp or timestamp == MAX_TIMESTAMP):
            end = heapq.heappop(self._ends)
            self._scheduled.discard(end)
            self._fire(end)
        assert self._result is not None
        self._result.flush()
        self._progress.fired()
        self._set_thresholds()
        for slice_start in [start for start in self._active if self._is_over(start)]:
            self._active.discard(slice_start)
            self._table.drop(slice_start)
        if self._earlier is not None:
            self._earlier.drop(lambda end: self._has_passed(end, self._progress.watermark))
        self.output.emit_watermark(timestamp)

    def end_key(self) -> None:
        assert self._result is not None
        self._progress.watermark = MAX_TIMESTAMP
        while self._ends:
            self._fire(heapq.heappop(self._ends))
        self._progress.watermark = MIN_TIMESTAMP
        self._result.flush()
        self._scheduled.clear()
        self._active.clear()
        super().end_key()

    def _set_thresholds(self) -> None:
        lateness = self._spec.allowed_lateness_ms
        self._first_live = self._slicing.first_live_slice(self._progress.watermark, lateness)
        reached = self._progress.furthest
        # Gaps between windows and windows that may fire again need a look at every record; otherwise only lateness does.
        if self._slicing.slide_ms > self._slicing.size_ms:
            self._slow_below = 2**64
        else:
            first_unfired, first_live = self._slicing.first_unfired_slice, self._slicing.first_live_slice
            self._slow_below = first_unfired(reached) if lateness else first_live(reached, 0)

    def _is_over(self, start: int) -> bool:
        if self._panes:
            return self._has_passed(start + self._slicing.size_ms, self._progress.watermark)
        return start < self._first_live

    def _has_passed(self, end: int, watermark: int) -> bool:
        """Whether the window that ends there takes no late record any more."""
        return end - 1 + self._spec.allowed_lateness_ms <= watermark

    def _activate(self, start: int) -> None:
        self._active.add(start)
        self._schedule((start + self._slicing.size_ms,) if self._panes else self._slicing.window_ends(start))

    def _schedule(self, ends: Iterable[int]) -> None:
        for end in ends:
            if end - 1 > self._progress.watermark and end not in self._scheduled:
                self._scheduled.add(end)
                heapq.heappush(self._ends, end)

    # ---- firing

    @property
    def current_watermark(self) -> int:
        """How far event time has come (ms)."""
        return self._progress.watermark

    def _fire(self, end: int) -> None:
        own_start = end - self._slicing.size_ms
        if self._earlier is None:
            self._emit(own_start, end, self._window_entries(end))
            return
        entries = self._window_entries(end) if self._layout.defines(own_start, end) else ()
        for start in self._earlier.starts(end):
            begun = self._earlier.entries(start, end)
            if start == own_start:
                entries = self._both(begun, entries)
            else:
                self._emit(start, end, begun)
        self._emit(own_start, end, entries)

    def _emit(self, start: int, end: int, entries: Iterable[tuple[Any, Any]]) -> None:
        assert self._result is not None
        self._result.emit(start, end, self._progress.not_fired(end, entries))

    def _both(
        self, begun: Iterable[tuple[Any, Any]], entries: Iterable[tuple[Any, Any]]
    ) -> Iterable[tuple[Any, Any]]:
        """A window that had begun under another definition, and what came since."""
        own = self._own or _as_it_is
        combined = {key: own(piece) for key, piece in begun}
        for key, piece in entries:
            existing = combined.get(key)
            combined[key] = piece if existing is None else self._merge(existing, own(piece))
        return combined.items()

    def _fire_key(self, end: int, key: Any) -> None:
        own, merge, contents = self._own or _as_it_is, self._merge, None
        start = end - self._slicing.size_ms
        maps = [self._table.namespace(slice_start) for slice_start in self._slices(end)]
        if self._earlier is not None:
            maps.insert(0, self._earlier.table.namespace((start, end)))
        for pieces in maps:
            piece = pieces.peek(key)
            if piece is not None:
                contents = own(piece) if contents is None else merge(contents, own(piece))
        if contents is not None:
            assert self._result is not None
            self._result.emit(start, end, [(key, contents)])

    def _slices(self, end: int) -> list[int]:
        if self._panes:
            start = end - self._slicing.size_ms
            return [start] if start in self._active else []
        return [start for start in self._slicing.slices_of_window(end) if start in self._active]

    def _window_entries(self, end: int) -> Iterable[tuple[Any, Any]]:
        slices = self._slices(end)
        if len(slices) == 1:
            return self._table.namespace(slices[0]).entries()
        # HOT: benchmark W4
        own, merge = self._own, self._merge
        combined: dict[Any, Any] = {}
        for slice_start in slices:
            entries = self._table.namespace(slice_start).entries()
            if own is not None:
                entries = ((key, own(piece)) for key, piece in entries)
            if not combined:
                combined = dict(entries)
                continue
            for key, piece in entries:
                contents = combined.get(key)
                combined[key] = piece if contents is None else merge(contents, piece)
        return combined.items()

    # ---- checkpoints

    def snapshot(self, checkpoint_id: int) -> OperatorSnapshotParts:
        parts = super().snapshot(checkpoint_id)
        assert parts is not None
        earlier = self._earlier is not None and bool(self._earlier.ends())
        parts.lists[PROGRESS] = self._progress.snapshot(self._layout, earlier=earlier)
        return parts

    def close(self) -> None:
        if self._result is not None:
            self._result.close()
        for function in self._functions:
            function.close()
        for generated in self._generated:
            forget(generated.__code__.co_filename)
        super().close()


def _as_it_is(contents: Any) -> Any:
    return contents
