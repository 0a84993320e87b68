"""Functions on two connected streams: unkeyed, or on keyed state and timers that both inputs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.batch import RecordBatch
from ..core.types import TypeInformation
from ..state.keyed import KeyContext
from .base import Operator, OperatorContext, TwoInputOperator
from .co_functions import CoProcessFunction
from .functions import RuntimeContext, TimeDomain
from .key_validation import KeyValidator
from .process import KeyedContext, ProcessContext, timestamps_of
from .results import ResultCollector
from .runtime_context import KeyedRuntimeContext, StatelessRuntimeContext
from .timer_service import KeyedTimerService, UnkeyedTimerService


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
        self._results = ResultCollector(context.output)
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
        self._on_timer_of_user = getattr(spec.function, "on_timer", None)
        self._keys = KeyContext()

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        key_type = self._spec.key_type
        self._validate_key = KeyValidator(key_type)
        self.backend = context.open_backend()
        self._results = ResultCollector(context.output)
        self._timers = KeyedTimerService(
            self.backend,
            self._keys,
            key_type,
            context.processing_time,
            self._on_timer,
            self._results.flush,
        )
        self._context = KeyedContext(self._results, self._keys, self._timers)
        self._function.open(KeyedRuntimeContext(context.info, self.backend, self._keys, key_type))
        self._timers.set_alarm()

    def process_batch(self, batch: RecordBatch) -> None:
        self._process(batch, self._spec.key_selector, self._function.process_element1)

    def process_batch2(self, batch: RecordBatch) -> None:
        self._process(batch, self._spec.key_selector2, self._function.process_element2)

    def _process(
        self, batch: RecordBatch, key_of: Callable[[Any], Any], process: Callable[[Any, Any], Any]
    ) -> None:
        keys, context, collect = self._keys, self._context, self._results.collect
        timers, validate = self._timers, self._validate_key
        for value, timestamp in zip(batch.values, timestamps_of(batch), strict=True):
            keys.current_key = key = key_of(value)
            validate(key)
            context.record_timestamp = timestamp
            collect(process(value, context), timestamp)
            if timers.has_passed:
                timers.fire_passed()
        self._results.flush()

    def process_watermark(self, timestamp: int) -> None:
        self._timers.advance_watermark(timestamp)
        self._results.flush()
        self.output.emit_watermark(timestamp)

    def end_key(self) -> None:
        self._timers.end_key()
        self._results.flush()
        super().end_key()

    def _on_timer(self, timestamp: int, domain: str) -> None:
        context = self._context
        context.domain = domain
        context.record_timestamp = timestamp
        if self._on_timer_of_user is not None:
            happened = timestamp if domain == TimeDomain.EVENT_TIME else None
            self._results.collect(self._on_timer_of_user(timestamp, context), happened)

    def close(self) -> None:
        self._function.close()
        super().close()
