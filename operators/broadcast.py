"""Process functions on a stream, keyed or not, and a broadcast stream whose records build state in every subtask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn, TypeVar

from ..core.batch import RecordBatch
from ..core.errors import StateError
from ..core.types import TypeInformation
from ..state.descriptors import MapStateDescriptor, StateDescriptor
from ..state.key_context import KeyContext
from ..state.keyed import KeyedStateStore
from .base import Operator, OperatorContext, TwoInputOperator
from .broadcast_functions import (
    BroadcastProcessFunction,
    KeyedBroadcastProcessFunction,
    KeyedStateFunction,
)
from .functions import OutputTag, TimeDomain, TimerService
from .keyed_calls import KeyedCalls, timestamps_of
from .operator_state import BroadcastState, OperatorStateStore, ReadOnlyBroadcastState
from .results import ResultCollector
from .runtime_context import KeyedRuntimeContext, StatelessRuntimeContext
from .timer_service import UnkeyedTimerService

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class BroadcastProcessSpec:
    """`BroadcastConnectedStream.process` of a stream that is not keyed."""

    function: BroadcastProcessFunction[Any, Any, Any]
    broadcast_states: tuple[MapStateDescriptor[Any, Any], ...]
    kind: ClassVar[str] = "Co-Process-Broadcast"

    def user_functions(self) -> Sequence[Any]:
        return (self.function,)

    def create(self) -> Operator:
        return _BroadcastOperator(self)


@dataclass(frozen=True, slots=True)
class KeyedBroadcastProcessSpec:
    """The same of a keyed stream."""

    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    function: KeyedBroadcastProcessFunction[Any, Any, Any, Any]
    broadcast_states: tuple[MapStateDescriptor[Any, Any], ...]
    kind: ClassVar[str] = "Co-Process-Broadcast-Keyed"

    def user_functions(self) -> Sequence[Any]:
        return (self.key_selector, self.function)

    def create(self) -> Operator:
        return _KeyedBroadcastOperator(self)


class _BroadcastOperator(TwoInputOperator):
    def __init__(self, spec: BroadcastProcessSpec) -> None:
        self._spec = spec
        self._function = spec.function

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._results = ResultCollector(context)
        self._timers = UnkeyedTimerService(context.processing_time, context.info.operator_name)
        states = _States(self._spec.broadcast_states, context.operator_state)
        self._reading = _ReadingContext(self._results, self._timers, states, None)
        self._writing = _WritingContext(self._results, self._timers, states, None)
        self._function.open(StatelessRuntimeContext(context.info))

    def process_batch(self, batch: RecordBatch) -> None:
        process, context, collect = self._function.process_element, self._reading, self._results.collect
        for value, timestamp in zip(batch.values, timestamps_of(batch), strict=True):
            context.record_timestamp = timestamp
            collect(process(value, context), timestamp)
        self._results.flush()

    def process_batch2(self, batch: RecordBatch) -> None:
        process, context = self._function.process_broadcast_element, self._writing
        for value, timestamp in zip(batch.values, timestamps_of(batch), strict=True):
            context.record_timestamp = timestamp
            self._results.collect(process(value, context), timestamp)
        self._results.flush()

    def process_watermark(self, timestamp: int) -> None:
        self._timers.watermark = timestamp
        self.output.emit_watermark(timestamp)

    def close(self) -> None:
        self._function.close()
        super().close()


class _KeyedBroadcastOperator(TwoInputOperator):
    def __init__(self, spec: KeyedBroadcastProcessSpec) -> None:
        self._spec = spec
        self._function = spec.function

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        spec = self._spec
        self.backend = context.open_backend()
        self._calls = calls = KeyedCalls(context, self.backend, spec.key_type, self._function.on_timer)
        states = _States(spec.broadcast_states, context.operator_state)
        self._reading = calls.timer_context = _ReadingContext(calls.results, calls.timers, states, calls.keys)
        keyed_states = _KeyedStates(KeyedStateStore(self.backend, calls.keys, spec.key_type), calls.keys)
        self._writing = _WritingContext(calls.results, calls.timers, states, keyed_states)
        self._function.open(KeyedRuntimeContext(context.info, self.backend, calls.keys, spec.key_type))
        calls.timers.set_alarm()

    def process_batch(self, batch: RecordBatch) -> None:
        self._calls.process(batch, self._spec.key_selector, self._function.process_element, self._reading)

    def process_batch2(self, batch: RecordBatch) -> None:
        process, context, keys = self._function.process_broadcast_element, self._writing, self._calls.keys
        results = self._calls.results
        for value, timestamp in zip(batch.values, timestamps_of(batch), strict=True):
            keys.current_key = _NO_KEY
            context.record_timestamp = timestamp
            results.collect(process(value, context), timestamp)
        results.flush()

    def process_watermark(self, timestamp: int) -> None:
        self._calls.advance_watermark(timestamp)
        self.output.emit_watermark(timestamp)

    def end_key(self) -> None:
        self._calls.end_key()
        super().end_key()

    def close(self) -> None:
        self._function.close()
        super().close()


class _NoKey:
    """The current key while a broadcast record is processed: no state can be found under it."""

    def __hash__(self) -> NoReturn:
        raise StateError(
            "keyed state was used while a broadcast record was processed, which has no key",
            fix="use ctx.apply_to_keyed_state(descriptor, function) to reach the state of all keys",
        )


_NO_KEY: Final = _NoKey()


class _States:
    """The declared broadcast states, each for reading and for writing."""

    def __init__(
        self, descriptors: Sequence[MapStateDescriptor[Any, Any]], store: OperatorStateStore
    ) -> None:
        self._descriptors = {descriptor.name: descriptor for descriptor in descriptors}
        self._writable = {d.name: store.get_broadcast_state(d) for d in descriptors}
        self._readable = {name: state.read_only() for name, state in self._writable.items()}

    def writable(self, descriptor: MapStateDescriptor[K, V]) -> BroadcastState[K, V]:
        found = self._writable.get(descriptor.name)
        return self._refuse(descriptor) if found is None else found

    def readable(self, descriptor: MapStateDescriptor[K, V]) -> ReadOnlyBroadcastState[K, V]:
        found = self._readable.get(descriptor.name)
        return self._refuse(descriptor) if found is None else found

    def _refuse(self, descriptor: StateDescriptor) -> NoReturn:
        declared = ", ".join(f"'{name}'" for name in self._descriptors)
        raise StateError(
            f"the broadcast state '{descriptor.name}' was not declared; declared are {declared}",
            fix="give its descriptor to broadcast(...) as well",
        )


class _KeyedStates:
    """The keyed state of all keys of this subtask."""

    def __init__(self, store: KeyedStateStore, keys: KeyContext) -> None:
        self._store = store
        self._keys = keys

    def apply(self, descriptor: StateDescriptor, function: Callable[[Any, Any], None]) -> None:
        state = self._store.get_any_state(descriptor)
        before = self._keys.current_key
        for key in self._store.get_keys(descriptor):
            self._keys.current_key = key
            function(key, state)
        self._keys.current_key = before


class _ReadingContext(KeyedBroadcastProcessFunction.OnTimerContext):
    def __init__(
        self, results: ResultCollector, timers: TimerService, states: _States, keys: KeyContext | None
    ) -> None:
        self._results = results
        self._timers = timers
        self._states = states
        self._keys = keys
        self.record_timestamp: int | None = None
        self.domain = TimeDomain.EVENT_TIME

    def timestamp(self) -> int | None:
        return self.record_timestamp

    def current_processing_time(self) -> int:
        return self._timers.current_processing_time()

    def current_watermark(self) -> int:
        return self._timers.current_watermark()

    def output(self, tag: OutputTag[Any], value: Any) -> None:
        self._results.collect_side(tag, value, self.record_timestamp)

    def get_broadcast_state(self, state_descriptor: MapStateDescriptor[K, V]) -> ReadOnlyBroadcastState[K, V]:
        return self._states.readable(state_descriptor)

    def timer_service(self) -> TimerService:
        return self._timers

    def get_current_key(self) -> Any:
        if self._keys is None:
            _refuse_keys("get_current_key()")
        return self._keys.current_key

    def time_domain(self) -> str:
        return self.domain


class _WritingContext(KeyedBroadcastProcessFunction.Context):
    def __init__(
        self, results: ResultCollector, timers: TimerService, states: _States, keyed: _KeyedStates | None
    ) -> None:
        self._results = results
        self._timers = timers
        self._states = states
        self._keyed = keyed
        self.record_timestamp: int | None = None

    def timestamp(self) -> int | None:
        return self.record_timestamp

    def current_processing_time(self) -> int:
        return self._timers.current_processing_time()

    def current_watermark(self) -> int:
        return self._timers.current_watermark()

    def output(self, tag: OutputTag[Any], value: Any) -> None:
        self._results.collect_side(tag, value, self.record_timestamp)

    def get_broadcast_state(self, state_descriptor: MapStateDescriptor[K, V]) -> BroadcastState[K, V]:
        return self._states.writable(state_descriptor)

    def apply_to_keyed_state(
        self,
        state_descriptor: StateDescriptor,
        function: Callable[[Any, Any], None] | KeyedStateFunction[Any],
    ) -> None:
        if self._keyed is None:
            _refuse_keys("apply_to_keyed_state()")
        given: Any = function
        self._keyed.apply(state_descriptor, getattr(given, "process", given))


def _refuse_keys(method: str) -> NoReturn:
    raise StateError(
        f"{method} was called on a stream that is not keyed",
        fix="call key_by(...) before connect(...), and derive the function from KeyedBroadcastProcessFunction",
    )
