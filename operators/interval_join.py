"""Interval join: pairs of records of two keyed streams that are close in event time.

A pair is joined if `left timestamp + lower <= right timestamp <= left timestamp + upper`, both inclusive. Each side keeps its
records, by key and timestamp, for as long as the watermark lets a partner come; a timer per key and timestamp then removes them.
A record behind the watermark is late and joins nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP, RecordBatch
from ..core.errors import JobDefinitionError
from ..core.types import TypeInformation, Types
from ..state.backend import KeyedStateBackend, StateMap, TableDescriptor
from ..state.timers import KeyedTimers
from .base import Operator, OperatorContext, TwoInputOperator
from .functions import OutputTag
from .join_functions import ProcessJoinFunction
from .key_validation import KeyValidator
from .results import ResultCollector
from .runtime_context import StatelessRuntimeContext
from .user_function import UserFunction


@dataclass(frozen=True, slots=True)
class IntervalJoinSpec:
    """An interval join.

    Attributes:
        lower_ms: least distance from a left record to a right one, inclusive; may be negative.
        upper_ms: the greatest.
        left_late_tag: side output for late records of the left stream; None: they are counted and dropped.
        right_late_tag: the same for the right stream.
    """

    key_selector: Callable[[Any], Any]
    key_selector2: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    left_type: TypeInformation[Any]
    right_type: TypeInformation[Any]
    lower_ms: int
    upper_ms: int
    function: Any
    left_late_tag: str | None = None
    right_late_tag: str | None = None
    kind: ClassVar[str] = "IntervalJoin"
    needs_timestamps: ClassVar[bool] = True

    def user_functions(self) -> Sequence[Any]:
        return (self.key_selector, self.key_selector2, self.function)

    def create(self) -> Operator:
        return _IntervalJoinOperator(self)


class _Side:
    """One of the two streams: its records, and the timers that remove them.

    Args:
        name: in the names of tables.
        keep_ms: for so long after its timestamp a record is kept.
    """

    def __init__(
        self,
        name: str,
        spec: IntervalJoinSpec,
        backend: KeyedStateBackend,
        record_type: TypeInformation[Any],
        keep_ms: int,
    ) -> None:
        self._table = backend.table(
            TableDescriptor(
                f"{name}-buffer",
                key_type=Types.LONG(),
                value_type=Types.LIST(record_type),
                namespace_type=spec.key_type,
                routed_by="namespace",
                few_namespaces=False,
                kind="join-buffer",
            )
        )
        self._cleanup = KeyedTimers(backend, f"{name}-cleanup", spec.key_type)
        self._keep_ms = keep_ms

    def add(self, key: Any, value: Any, timestamp: int) -> None:
        records = self._records(key)
        at_that_time: list[Any] | None = records[timestamp]
        if at_that_time is None:
            records[timestamp] = [value]
            self._cleanup.register(key, min(timestamp + self._keep_ms, MAX_TIMESTAMP))
        else:
            at_that_time.append(value)

    def between(self, key: Any, first: int, last: int) -> list[tuple[int, list[Any]]]:
        """The records of these times, both inclusive, in order of time."""
        found = [
            (timestamp, values)
            for timestamp, values in self._records(key).entries()
            if first <= timestamp <= last
        ]
        found.sort(key=_timestamp)
        return found

    def clean_up(self, watermark: int) -> None:
        for time, key in self._cleanup.pop_due(watermark):
            if time == MAX_TIMESTAMP:
                self._table.drop(key)
            else:
                self._records(key).remove(time - self._keep_ms)

    def _records(self, key: Any) -> StateMap[int, list[Any]]:
        return self._table.namespace(key)


def _timestamp(entry: tuple[int, list[Any]]) -> int:
    return entry[0]


class _IntervalJoinOperator(TwoInputOperator):
    def __init__(self, spec: IntervalJoinSpec) -> None:
        self._spec = spec
        self._function = UserFunction(spec.function, "process_element")
        self._watermark = MIN_TIMESTAMP

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        spec = self._spec
        self._operator_name = context.info.operator_name
        self._count = context.count
        self._validate_key = KeyValidator(spec.key_type)
        self.backend = context.open_backend()
        self._left = _Side("left", spec, self.backend, spec.left_type, max(spec.upper_ms, 0))
        self._right = _Side("right", spec, self.backend, spec.right_type, max(-spec.lower_ms, 0))
        self._results = ResultCollector(context)
        self._context = _JoinContext(self._results)
        self._function.open(StatelessRuntimeContext(context.info))

    def process_batch(self, batch: RecordBatch) -> None:
        spec, add, partners = self._spec, self._left.add, self._right.between
        key_of, lower, upper = spec.key_selector, spec.lower_ms, spec.upper_ms
        for value, timestamp in zip(batch.values, self._timestamps(batch), strict=True):
            if timestamp < self._watermark:
                self._late(value, timestamp, spec.left_late_tag)
                continue
            key = key_of(value)
            self._validate_key(key)
            add(key, value, timestamp)
            for other_timestamp, others in partners(key, timestamp + lower, timestamp + upper):
                for other in others:
                    self._join(value, other, timestamp, other_timestamp)
        self._results.flush()

    def process_batch2(self, batch: RecordBatch) -> None:
        spec, add, partners = self._spec, self._right.add, self._left.between
        key_of, lower, upper = spec.key_selector2, -spec.upper_ms, -spec.lower_ms
        for value, timestamp in zip(batch.values, self._timestamps(batch), strict=True):
            if timestamp < self._watermark:
                self._late(value, timestamp, spec.right_late_tag)
                continue
            key = key_of(value)
            self._validate_key(key)
            add(key, value, timestamp)
            for other_timestamp, others in partners(key, timestamp + lower, timestamp + upper):
                for other in others:
                    self._join(other, value, other_timestamp, timestamp)
        self._results.flush()

    def _join(self, left: Any, right: Any, left_timestamp: int, right_timestamp: int) -> None:
        context = self._context
        context.left_timestamp, context.right_timestamp = left_timestamp, right_timestamp
        self._results.collect(self._function.call(left, right, context), context.get_timestamp())

    def _timestamps(self, batch: RecordBatch) -> Sequence[int]:
        if batch.timestamps is None:
            raise JobDefinitionError(
                "records without timestamps reached an interval join",
                where=f"operator '{self._operator_name}'",
                fix="call assign_timestamps_and_watermarks(...) on both streams before joining them",
            )
        return batch.timestamps

    def _late(self, value: Any, timestamp: int, tag: str | None) -> None:
        if tag is None:
            self._count("numLateRecordsDropped", 1)
        else:
            self.output.emit_side(tag, RecordBatch([value], [timestamp]))

    def process_watermark(self, timestamp: int) -> None:
        self._watermark = max(self._watermark, timestamp)
        # Only here: a record that comes at the very time of the watermark still meets others of that time.
        self._left.clean_up(self._watermark)
        self._right.clean_up(self._watermark)
        self.output.emit_watermark(timestamp)

    def end_key(self) -> None:
        self._left.clean_up(MAX_TIMESTAMP)
        self._right.clean_up(MAX_TIMESTAMP)
        super().end_key()

    def close(self) -> None:
        self._function.close()
        super().close()


class _JoinContext(ProcessJoinFunction.Context):
    def __init__(self, results: ResultCollector) -> None:
        self._results = results
        self.left_timestamp = self.right_timestamp = MIN_TIMESTAMP

    def get_left_timestamp(self) -> int:
        return self.left_timestamp

    def get_right_timestamp(self) -> int:
        return self.right_timestamp

    def get_timestamp(self) -> int:
        return max(self.left_timestamp, self.right_timestamp)

    def output(self, tag: OutputTag[Any], value: Any) -> None:
        self._results.collect_side(tag, value, self.get_timestamp())
