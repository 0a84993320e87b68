"""Functions on two connected streams: unkeyed, or on keyed state and timers that both inputs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.batch import RecordBatch
from ..core.types import TypeInformation
from .base import Operator, OperatorContext, TwoInputOperator
from .co_functions import CoProcessFunction
from .functions import RuntimeContext
from .keyed_calls import KeyedCalls, timestamps_of
from .process import KeyedContext, ProcessContext
from .results import ResultCollector
from .runtime_context import KeyedRuntimeContext, StatelessRuntimeContext
from .timer_service import UnkeyedTimerService


@dataclass(frozen=True, slots=True)
class CoProcessSpec:
    """`ConnectedStreams.process` of streams that are not keyed; map and flat_map by way of `OnCoMap` and `OnCoFlatMap`."""

    function: Any
    kind: ClassVar[str] = "CoProcess"

    def user_functions(self) -> Sequence[Any]:
        return (self.function,)

    def create(self) -> Operator:
        return _CoProcessOperator(self)


@dataclass(frozen=True, slots=True)
class KeyedCoProcessSpec:
    """The same of two keyed streams."""

    key_selector: Callable[[Any], Any]
    key_selector2: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    function: Any
    kind: ClassVar[str] = "KeyedCoProcess"

    def user_functions(self) -> Sequence[Any]:
        return (self.key_selector, self.key_selector2, self.function)

    def create(self) -> Operator:
        return _KeyedCoProcessOperator(self)


class OnCoMap(CoProcessFunction[Any, Any, Any]):
    """Runs a `CoMapFunction` as a process function, keyed or not."""

    def __init__(self, function: Any) -> None:
        self.wrapped_function = function

    def open(self, runtime_context: RuntimeContext) -> None:
        self.wrapped_function.open(runtime_context)

    def process_element1(self, value: Any, ctx: CoProcessFunction.Context) -> Iterable[Any]:
        result = self.wrapped_function.map1(value)
        return () if result is None else (result,)

    def process_element2(self, value: Any, ctx: CoProcessFunction.Context) -> Iterable[Any]:
        result = self.wrapped_function.map2(value)
        return () if result is None else (result,)

    def close(self) -> None:
        self.wrapped_function.close()


class OnCoFlatMap(CoProcessFunction[Any, Any, Any]):
    """Runs a `CoFlatMapFunction` as a process function, keyed or not."""

    def __init__(self, function: Any) -> None:
        self.wrapped_function = function

    def open(self, runtime_context: RuntimeContext) -> None:
        self.wrapped_function.open(runtime_context)

    def process_element1(self, value: Any, ctx: CoProcessFunction.Context) -> Iterable[Any] | None:
        results: Iterable[Any] | None = self.wrapped_function.flat_map1(value)
        return results

    def process_element2(self, value: Any, ctx: CoProcessFunction.Context) -> Iterable[Any] | None:
        results: Iterable[Any] | None = self.wrapped_function.flat_map2(value)
        return results

    def close(self) -> None:
        self.wrapped_function.close()


class _CoProcessOperator(TwoInputOperator):
    def __init__(self, spec: CoProcessSpec) -> None:
        self._function = spec.function

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._results = ResultCollector(context)
        self._timers = UnkeyedTimerService(context.processing_time, context.info.operator_name)
        self._context = ProcessContext(self._results, self._timers)
        self._function.open(StatelessRuntimeContext(context.info))

    def process_batch(self, batch: RecordBatch) -> None:
        self._process(batch, self._function.process_element1)

    def process_batch2(self, batch: RecordBatch) -> None:
        self._process(batch, self._function.process_element2)

    def _process(self, batch: RecordBatch, process: Callable[[Any, Any], Any]) -> None:
        context, collect = self._context, self._results.collect
        for value, timestamp in zip(batch.values, timestamps_of(batch), strict=True):
            context.record_timestamp = timestamp
            collect(process(value, context), timestamp)
        self._results.flush()

    def process_watermark(self, timestamp: int) -> None:
        self._timers.watermark = timestamp
        self.output.emit_watermark(timestamp)

    def close(self) -> None:
        self._function.close()
        super().close()


class _KeyedCoProcessOperator(TwoInputOperator):
    def __init__(self, spec: KeyedCoProcessSpec) -> None:
        self._spec = spec
        self._function = spec.function

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        key_type, on_timer = self._spec.key_type, getattr(self._function, "on_timer", None)
        self.backend = context.open_backend()
        self._calls = calls = KeyedCalls(context, self.backend, key_type, on_timer)
        self._context = calls.timer_context = KeyedContext(calls.results, calls.keys, calls.timers)
        self._function.open(KeyedRuntimeContext(context.info, self.backend, calls.keys, key_type))
        calls.timers.set_alarm()

    def process_batch(self, batch: RecordBatch) -> None:
        self._calls.process(batch, self._spec.key_selector, self._function.process_element1, self._context)

    def process_batch2(self, batch: RecordBatch) -> None:
        self._calls.process(batch, self._spec.key_selector2, self._function.process_element2, self._context)

    def process_watermark(self, timestamp: int) -> None:
        self._calls.advance_watermark(timestamp)
        self.output.emit_watermark(timestamp)

    def end_key(self) -> None:
        self._calls.end_key()
        super().end_key()

    def close(self) -> None:
        self._function.close()
        super().close()
