"""Process functions: per-record logic of the user's own, on keyed state and timers where the stream is keyed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.batch import RecordBatch
from ..core.types import TypeInformation
from ..state.key_context import KeyContext
from .base import Operator, OperatorContext
from .functions import KeyedProcessFunction, OutputTag, ProcessFunction, TimeDomain, TimerService
from .keyed_calls import KeyedCalls, timestamps_of
from .results import ResultCollector
from .runtime_context import KeyedRuntimeContext, StatelessRuntimeContext
from .timer_service import UnkeyedTimerService
from .user_function import UserFunction


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """`DataStream.process`."""

    function: Any
    kind: ClassVar[str] = "Process"

    def user_functions(self) -> Sequence[Any]:
        return (self.function,)

    def create(self) -> Operator:
        return _ProcessOperator(UserFunction(self.function, "process_element"))


@dataclass(frozen=True, slots=True)
class KeyedProcessSpec:
    """`KeyedStream.process`."""

    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    function: Any
    kind: ClassVar[str] = "KeyedProcess"

    def user_functions(self) -> Sequence[Any]:
        return (self.key_selector, self.function)

    def create(self) -> Operator:
        return _KeyedProcessOperator(self)


class _ProcessOperator(Operator):
    def __init__(self, function: UserFunction) -> None:
        self._function = function

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._results = ResultCollector(context)
        self._timers = UnkeyedTimerService(context.processing_time, context.info.operator_name)
        self._context = ProcessContext(self._results, self._timers)
        self._function.open(StatelessRuntimeContext(context.info))

    def process_batch(self, batch: RecordBatch) -> None:
        process, context, collect = self._function.call, self._context, self._results.collect
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


class _KeyedProcessOperator(Operator):
    def __init__(self, spec: KeyedProcessSpec) -> None:
        self._spec = spec
        self._function = UserFunction(spec.function, "process_element")

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        key_type, on_timer = self._spec.key_type, getattr(self._spec.function, "on_timer", None)
        self.backend = context.open_backend()
        self._calls = calls = KeyedCalls(context, self.backend, key_type, on_timer)
        self._context = calls.timer_context = KeyedContext(calls.results, calls.keys, calls.timers)
        self._function.open(KeyedRuntimeContext(context.info, self.backend, calls.keys, key_type))
        calls.timers.set_alarm()

    def process_batch(self, batch: RecordBatch) -> None:
        self._calls.process(batch, self._spec.key_selector, self._function.call, self._context)

    def process_watermark(self, timestamp: int) -> None:
        self._calls.advance_watermark(timestamp)
        self.output.emit_watermark(timestamp)

    def end_key(self) -> None:
        self._calls.end_key()
        super().end_key()

    def close(self) -> None:
        self._function.close()
        super().close()


class ProcessContext(ProcessFunction.Context):
    """What functions without keys see; the operator sets `record_timestamp` before each call."""

    def __init__(self, results: ResultCollector, timers: TimerService) -> None:
        self._results = results
        self._timers = timers
        self.record_timestamp: int | None = None

    def timer_service(self) -> TimerService:
        return self._timers

    def timestamp(self) -> int | None:
        return self.record_timestamp

    def output(self, tag: OutputTag[Any], value: Any) -> None:
        self._results.collect_side(tag, value, self.record_timestamp)


class KeyedContext(KeyedProcessFunction.OnTimerContext):
    """What keyed functions see; the operator sets `record_timestamp`, and `domain` before a timer."""

    def __init__(self, results: ResultCollector, keys: KeyContext, timers: TimerService) -> None:
        self._results = results
        self._keys = keys
        self._timers = timers
        self.record_timestamp: int | None = None
        self.domain = TimeDomain.EVENT_TIME

    def get_current_key(self) -> Any:
        return self._keys.current_key

    def timer_service(self) -> TimerService:
        return self._timers

    def timestamp(self) -> int | None:
        return self.record_timestamp

    def time_domain(self) -> str:
        return self.domain

    def output(self, tag: OutputTag[Any], value: Any) -> None:
        self._results.collect_side(tag, value, self.record_timestamp)
