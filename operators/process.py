"""Process functions: per-record logic of the user's own, on keyed state and timers where the stream is keyed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP, RecordBatch
from ..core.errors import StateError
from ..core.types import TypeInformation
from ..state.keyed import KeyContext
from ..state.timers import KeyedTimers
from .base import Operator, OperatorContext
from .functions import KeyedProcessFunction, OutputTag, ProcessFunction, TimeDomain, TimerService
from .key_validation import KeyValidator
from .results import ResultCollector
from .runtime_context import KeyedRuntimeContext, StatelessRuntimeContext
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
        self._watermark = MIN_TIMESTAMP

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._results = ResultCollector(context.output)
        self._context = _ProcessContext(self._results, _UnkeyedTimerService(self, context))
        self._function.open(StatelessRuntimeContext(context.info))

    @property
    def current_watermark(self) -> int:
        return self._watermark

    def process_batch(self, batch: RecordBatch) -> None:
        process, context, collect = self._function.call, self._context, self._results.collect
        for value, timestamp in zip(batch.values, _timestamps_of(batch), strict=True):
            context.record_timestamp = timestamp
            collect(process(value, context), timestamp)
        self._results.flush()

    def process_watermark(self, timestamp: int) -> None:
        self._watermark = timestamp
        self.output.emit_watermark(timestamp)

    def close(self) -> None:
        self._function.close()
        super().close()


class _KeyedProcessOperator(Operator):
    def __init__(self, spec: KeyedProcessSpec) -> None:
        self._spec = spec
        self._function = UserFunction(spec.function, "process_element")
        self._keys = KeyContext()
        self._watermark = MIN_TIMESTAMP
        self._has_passed_timers = False
        self._ends_key = False
        self._alarm_ms: int | None = None

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._time = context.processing_time
        self._validate_key = KeyValidator(self._spec.key_type)
        self.backend = context.open_backend()
        self._event_timers = KeyedTimers(self.backend, "event-timers", self._spec.key_type)
        self._processing_timers = KeyedTimers(self.backend, "processing-timers", self._spec.key_type)
        self._results = ResultCollector(context.output)
        self._context = _KeyedContext(self._results, self._keys, _KeyedTimerService(self))
        self._function.open(KeyedRuntimeContext(context.info, self.backend, self._keys, self._spec.key_type))
        self.set_alarm()

    @property
    def current_watermark(self) -> int:
        return self._watermark

    def now_ms(self) -> int:
        """Processing time."""
        return self._time.now_ms()

    def process_batch(self, batch: RecordBatch) -> None:
        key_of, process, keys = self._spec.key_selector, self._function.call, self._keys
        context, collect, validate = self._context, self._results.collect, self._validate_key
        for value, timestamp in zip(batch.values, _timestamps_of(batch), strict=True):
            keys.current_key = key = key_of(value)
            validate(key)
            context.record_timestamp = timestamp
            collect(process(value, context), timestamp)
            if (
                self._has_passed_timers
            ):  # at once, so that the outcome does not depend on how records were batched
                self._fire_event_timers()
        self._results.flush()

    def process_watermark(self, timestamp: int) -> None:
        self._watermark = max(self._watermark, timestamp)
        self._fire_event_timers()
        self._results.flush()
        self.output.emit_watermark(timestamp)

    def end_key(self) -> None:
        # As in Flink, timers that these timers register are ignored: they could go on for ever.
        self._watermark, self._ends_key = MAX_TIMESTAMP, True
        self._fire(self._event_timers, MAX_TIMESTAMP, TimeDomain.EVENT_TIME)
        self._fire(self._processing_timers, MAX_TIMESTAMP, TimeDomain.PROCESSING_TIME)
        self._watermark, self._ends_key = MIN_TIMESTAMP, False
        self._results.flush()
        super().end_key()

    def _fire_event_timers(self) -> None:
        self._has_passed_timers = False
        self._fire(self._event_timers, self._watermark, TimeDomain.EVENT_TIME)

    def _fire_processing_timers(self, now_ms: int) -> None:
        self._alarm_ms = None
        self._fire(self._processing_timers, now_ms, TimeDomain.PROCESSING_TIME)
        if self._has_passed_timers:
            self._fire_event_timers()
        self._results.flush()
        self.set_alarm()

    def _fire(self, timers: KeyedTimers, up_to_ms: int, domain: str) -> None:
        on_timer = getattr(self._spec.function, "on_timer", None)
        context = self._context
        context.domain = domain
        for timestamp, key in timers.pop_due(up_to_ms):
            self._keys.current_key = key
            context.record_timestamp = timestamp
            if on_timer is not None:
                self._results.collect(
                    on_timer(timestamp, context), timestamp if domain == TimeDomain.EVENT_TIME else None
                )

    def register(self, timestamp: int, *, event_time: bool) -> None:
        """A timer for the current key."""
        if self._ends_key:
            return
        if event_time:
            self._event_timers.register(self._keys.current_key, timestamp)
            self._has_passed_timers |= timestamp <= self._watermark
        else:
            self._processing_timers.register(self._keys.current_key, timestamp)
            self.set_alarm()

    def delete(self, timestamp: int, *, event_time: bool) -> None:
        """Forget a timer of the current key."""
        (self._event_timers if event_time else self._processing_timers).delete(
            self._keys.current_key, timestamp
        )

    def set_alarm(self) -> None:
        """Have the loop call back when the next processing-time timer is due."""
        due = self._processing_timers.next_due_ms()
        if due is not None and (self._alarm_ms is None or due < self._alarm_ms):
            self._alarm_ms = due
            self._time.schedule(due, self._fire_processing_timers)

    def close(self) -> None:
        self._function.close()
        super().close()


def _timestamps_of(batch: RecordBatch) -> Sequence[int | None]:
    return [None] * len(batch.values) if batch.timestamps is None else batch.timestamps


class _ProcessContext(ProcessFunction.Context):
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


class _KeyedContext(KeyedProcessFunction.OnTimerContext):
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


class _KeyedTimerService(TimerService):
    def __init__(self, operator: _KeyedProcessOperator) -> None:
        self._operator = operator

    def current_processing_time(self) -> int:
        return self._operator.now_ms()

    def current_watermark(self) -> int:
        return self._operator.current_watermark

    def register_event_time_timer(self, timestamp: int) -> None:
        self._operator.register(timestamp, event_time=True)

    def register_processing_time_timer(self, timestamp: int) -> None:
        self._operator.register(timestamp, event_time=False)

    def delete_event_time_timer(self, timestamp: int) -> None:
        self._operator.delete(timestamp, event_time=True)

    def delete_processing_time_timer(self, timestamp: int) -> None:
        self._operator.delete(timestamp, event_time=False)


class _UnkeyedTimerService(TimerService):
    def __init__(self, operator: _ProcessOperator, context: OperatorContext) -> None:
        self._operator = operator
        self._context = context

    def current_processing_time(self) -> int:
        return self._context.processing_time.now_ms()

    def current_watermark(self) -> int:
        return self._operator.current_watermark

    def _needs_key(self, timestamp: int) -> None:
        raise StateError(
            f"a timer for {timestamp} was registered or deleted on a stream that is not keyed",
            where=f"operator '{self._context.info.operator_name}'",
            fix="call key_by(...) before process(...)",
        )

    register_event_time_timer = register_processing_time_timer = _needs_key
    delete_event_time_timer = delete_processing_time_timer = _needs_key
