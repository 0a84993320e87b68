"""Windows of any kind on a keyed stream: any assigner, trigger and evictor, contents kept per key and window.

What is not a plain event-time window (see `window_choice`) runs here, as Flink describes it: each record is added to its windows,
the trigger is asked about each of them, timers fire it later on. Tables have namespace = window, key = the stream's key.

A window that no record is awaited for any more is cleaned up by a timer of the operator's own, at its last timestamp plus the
allowed lateness. Watermarks are not state: after a restore the sources send them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP, RecordBatch
from ..core.errors import JobDefinitionError, StateError
from ..core.types import KeyEncoder, TypeInformation, Types
from ..core.types.composite import OptionalTypeInfo
from ..state.backend import StateMap, TableDescriptor
from ..state.namespaced import NamespacedStateStore
from ..state.window_timers import WindowTimers
from .base import Operator, OperatorContext, ProcessingTime
from .codegen import forget
from .evictors import Evictor
from .functions import RuntimeContext
from .key_validation import KeyValidator
from .runtime_context import StatelessRuntimeContext
from .trigger import Trigger, TriggerResult
from .trigger_context import TRIGGER_STATE, WindowTriggerContext
from .user_function import UserFunction
from .window_codec import codec_of
from .window_contents import Contents, ListedContents, compile_add_one, nothing_to_keep
from .window_context import WindowStates
from .window_firing import EvictingFiring, WindowFiring
from .window_merging import Merge, add_window
from .windowing import MergingWindowAssigner, WindowAssigner
from .windows_in_flight import WindowsInFlight


@dataclass(frozen=True, slots=True)
class GeneralWindowSpec:
    """A keyed window with everything a user may say about it.

    Attributes:
        value_type: the type of the records.
        contents: what the window function is given, and, without an evictor, what is kept.
        window_function: called with the key, the window and its contents; None: the contents' result itself is emitted.
        late_tag: side output for records that are late for all their windows; None: they are counted and dropped.
    """

    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    value_type: TypeInformation[Any]
    assigner: WindowAssigner[Any, Any]
    trigger: Trigger[Any, Any]
    contents: Contents
    evictor: Evictor[Any, Any] | None = None
    window_function: Any = None
    allowed_lateness_ms: int = 0
    late_tag: str | None = None
    kind: ClassVar[str] = "Window"

    @property
    def needs_timestamps(self) -> bool:
        """Only windows in event time do."""
        return self.assigner.is_event_time()

    def user_functions(self) -> Sequence[Any]:
        return (
            self.key_selector,
            self.assigner,
            self.trigger,
            self.evictor,
            *self.contents.user_functions(),
            self.window_function,
        )

    @property
    def kept(self) -> Contents:
        """What is kept of a window: with an evictor its records, each with its timestamp."""
        if self.evictor is None:
            return self.contents
        return ListedContents(Types.TUPLE([OptionalTypeInfo(Types.LONG()), self.value_type]))

    def create(self) -> Operator:
        return GeneralWindowOperator(self)


class GeneralWindowOperator(Operator):
    """Runs a `GeneralWindowSpec` in one subtask."""

    def __init__(self, spec: GeneralWindowSpec) -> None:
        self._spec = spec
        self._trigger = spec.trigger
        self._codec = codec_of(spec.assigner.get_window_serializer())
        self._in_event_time = spec.assigner.is_event_time()
        self._lateness = spec.allowed_lateness_ms if self._in_event_time else 0
        self._merger = spec.assigner if isinstance(spec.assigner, MergingWindowAssigner) else None
        self._watermark = MIN_TIMESTAMP
        self._alarm_ms: int | None = None
        self._input_ended = False
        self._functions: list[UserFunction] = []
        self._firing: WindowFiring | EvictingFiring | None = None
        self._add_one: Callable[[Any, Any, Any], None] | None = None

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        spec = self._spec
        self._info, self._count, self._time = context.info, context.count, context.processing_time
        self._validate_key = KeyValidator(spec.key_type)
        self._open_state(context)
        self._functions = [UserFunction(function, "open") for function in spec.contents.user_functions()]
        for function in self._functions:
            function.open(StatelessRuntimeContext(context.info))
        firing = WindowFiring(spec.contents, spec.window_function, context, self, self._states)
        self._firing = firing
        if spec.evictor is not None:
            self._firing = EvictingFiring(firing, spec.evictor, spec.contents, self._time, self)
        self._add_one = compile_add_one(spec.kept, KeyEncoder(spec.key_type).encode, self)
        self._set_alarm()

    def _open_state(self, context: OperatorContext) -> None:
        spec, window_type = self._spec, self._codec.type_info
        self.backend = backend = context.open_backend()
        self._contents = backend.table(
            TableDescriptor(
                "window-contents",
                key_type=spec.key_type,
                value_type=spec.kept.state_type,
                namespace_type=window_type,
                few_namespaces=False,
                kind="window",
            )
        )
        self._event_timers = WindowTimers(backend, "window-event-timers", spec.key_type, window_type)
        self._processing_timers = WindowTimers(
            backend, "window-processing-timers", spec.key_type, window_type
        )
        merges = self._merger is not None
        self._in_flight = WindowsInFlight(backend, spec.key_type, self._codec) if merges else None
        self._states = WindowStates.open(context, backend, spec.key_type, None if merges else window_type)
        self._current = self._states.current
        self._assigner_context = _AssignerContext(self._states.runtime_context, self._time)
        self._trigger_context = WindowTriggerContext(
            self._current,
            NamespacedStateStore(backend, self._current, spec.key_type, window_type, TRIGGER_STATE),
            self._event_timers,
            self._processing_timers,
            self._time,
            self,
            self._set_alarm,
            self._info.services.metrics,
        )

    @property
    def current_watermark(self) -> int:
        """How far event time has come (ms)."""
        return self._watermark

    # ---- records

    def process_batch(self, batch: RecordBatch) -> None:
        assert self._firing is not None
        spec, current, validate, add = self._spec, self._current, self._validate_key, self._add
        key_of, assign, context = spec.key_selector, spec.assigner.assign_windows, self._assigner_context
        evicting = spec.evictor is not None
        timed = batch.timestamps is not None
        for value, timestamp in zip(batch.values, self._timestamps_of(batch), strict=True):
            current.current_key = key = key_of(value)
            validate(key)
            kept = (timestamp if timed else None, value) if evicting else value
            is_late = True
            for window in assign(value, timestamp, context):
                if add(window, value, timestamp, kept):
                    is_late = False
            if is_late and self._in_event_time and timestamp + self._lateness <= self._watermark:
                self._late(value, timestamp)
        self._firing.flush()

    def _timestamps_of(self, batch: RecordBatch) -> Sequence[int]:
        if batch.timestamps is not None:
            return batch.timestamps
        if self._in_event_time:
            raise JobDefinitionError(
                "records without timestamps reached an event-time window",
                where=f"operator '{self._info.operator_name}'",
                fix="call assign_timestamps_and_watermarks(...) before the window, or give from_source a strategy",
            )
        return [MIN_TIMESTAMP] * len(batch.values)

    def _add(self, window: Any, value: Any, timestamp: int, kept: Any) -> bool:
        """Add a record to one of its windows, or to what that became part of. False: it is late for it."""
        if self._merger is None:
            namespace = place = self._codec.to_namespace(window)
        else:
            window, place = self._merge_in(window)
            namespace = self._codec.to_namespace(window)
        cleanup = self._cleanup_time(window)
        if self._in_event_time and cleanup <= self._watermark:
            if self._in_flight is not None:
                self._in_flight.retire(self._current.current_key, namespace)
            return False
        entries = self._contents.namespace(place)
        assert self._add_one is not None
        self._add_one(entries, self._current.current_key, kept)
        self._current.current_namespace = namespace
        result = self._trigger.on_element(value, timestamp, window, self._trigger_context)
        if result is not TriggerResult.CONTINUE:
            self._react(result, window, entries)
        self._set_cleanup(cleanup)
        return True

    def _late(self, value: Any, timestamp: int) -> None:
        if self._spec.late_tag is None:
            self._count("numLateRecordsDropped", 1)
        else:
            self.output.emit_side(self._spec.late_tag, RecordBatch([value], [timestamp]))

    # ---- merging

    def _merge_in(self, window: Any) -> tuple[Any, Any]:
        """The window that a new one becomes part of, and where its contents are."""
        assert self._in_flight is not None and self._merger is not None  # noqa: PT018 (both or none)
        key = self._current.current_key
        before = self._in_flight.of(key)
        added = add_window(before, window, self._merger)
        for merge in added.merges:
            self._perform(merge)
        if added.in_flight != before:
            self._in_flight.update(key, added.in_flight)
        return added.window, self._codec.to_namespace(added.in_flight[added.window])

    def _perform(self, merge: Merge[Any]) -> None:
        to_namespace, current, context = self._codec.to_namespace, self._current, self._trigger_context
        self._refuse_past(merge.result)
        current.current_namespace = to_namespace(merge.result)
        context.merged = [to_namespace(window) for window in merge.merged]
        self._trigger.on_merge(merge.result, context)
        for window in merge.merged:
            if window == merge.result:
                continue
            current.current_namespace = to_namespace(window)
            self._trigger.clear(window, context)
            self._delete_cleanup(self._cleanup_time(window))
        key, merging = current.current_key, self._spec.kept.merging
        for source in merge.merged_state_windows:
            entries = self._contents.namespace(to_namespace(source))
            piece = entries[key]
            if piece is None:
                continue
            entries.remove(key)
            target = self._contents.namespace(to_namespace(merge.state_window))
            existing = target[key]
            merged = piece if existing is None else merging(existing, piece)
            if merged is None:
                nothing_to_keep()
            target[key] = merged

    def _refuse_past(self, window: Any) -> None:
        # Cannot happen where windows only ever grow, as sessions do.
        reached = self._watermark if self._in_event_time else self._time.now_ms()
        if self._cleanup_time(window) <= reached:
            raise StateError(
                f"windows were merged into {window}, which is over already",
                where=f"operator '{self._info.operator_name}'",
                fix="have merge_windows report a window that covers all those it merges",
            )

    # ---- firing

    def _react(self, result: TriggerResult, window: Any, entries: StateMap[Any, Any]) -> None:
        if type(result) is not TriggerResult:
            raise StateError(
                f"{type(self._trigger).__name__} returned {result!r}, which is not a TriggerResult",
                where=f"operator '{self._info.operator_name}'",
                fix="return TriggerResult.CONTINUE, FIRE, PURGE or FIRE_AND_PURGE from each method",
            )
        key = self._current.current_key
        if result.is_fire():
            assert self._firing is not None
            self._firing.fire(key, window, entries)
        if result.is_purge():
            entries.remove(key)

    def process_watermark(self, timestamp: int) -> None:
        self._watermark = max(self._watermark, timestamp)
        for time, key, namespace in self._event_timers.pop_due(self._watermark):
            self._on_timer(time, key, namespace, event_time=True)
        assert self._firing is not None
        self._firing.flush()
        self.output.emit_watermark(timestamp)

    def end_key(self) -> None:
        # As in Flink, timers that these timers register are ignored: they could go on for ever.
        self._watermark, self._trigger_context.ends_key = MAX_TIMESTAMP, True
        for time, key, namespace in self._event_timers.pop_due(MAX_TIMESTAMP):
            self._on_timer(time, key, namespace, event_time=True)
        for time, key, namespace in self._processing_timers.pop_due(MAX_TIMESTAMP):
            self._on_timer(time, key, namespace, event_time=False)
        self._watermark, self._trigger_context.ends_key = MIN_TIMESTAMP, False
        assert self._firing is not None
        self._firing.flush()
        super().end_key()

    def _on_alarm(self, now_ms: int) -> None:
        self._alarm_ms = None
        if self._input_ended:
            return  # as in Flink, what is not due when bounded input ends does not fire
        for time, key, namespace in self._processing_timers.pop_due(now_ms):
            self._on_timer(time, key, namespace, event_time=False)
        assert self._firing is not None
        self._firing.flush()
        self._set_alarm()

    def _on_timer(self, time: int, key: Any, namespace: Any, *, event_time: bool) -> None:
        current, context = self._current, self._trigger_context
        current.current_key, current.current_namespace = key, namespace
        place = namespace
        if self._in_flight is not None:
            place = self._in_flight.state_namespace(key, namespace)
            if place is None:
                return  # the window has been merged into another, and its trigger left a timer behind
        window, entries = self._codec.to_window(namespace), self._contents.namespace(place)
        on_time = self._trigger.on_event_time if event_time else self._trigger.on_processing_time
        result = on_time(time, window, context)
        if result is not TriggerResult.CONTINUE:
            self._react(result, window, entries)
        if event_time is self._in_event_time and time == self._cleanup_time(window):
            self._clean_up(window, entries)

    # ---- cleaning up

    def _cleanup_time(self, window: Any) -> int:
        last: int = window.max_timestamp() + self._lateness
        return min(last, MAX_TIMESTAMP)

    def _set_cleanup(self, time: int) -> None:
        if time == MAX_TIMESTAMP:
            return  # such a window is never over
        if self._in_event_time:
            self._trigger_context.register_event_time_timer(time)
        else:
            self._trigger_context.register_processing_time_timer(time)

    def _delete_cleanup(self, time: int) -> None:
        if self._in_event_time:
            self._trigger_context.delete_event_time_timer(time)
        else:
            self._trigger_context.delete_processing_time_timer(time)

    def _clean_up(self, window: Any, entries: StateMap[Any, Any]) -> None:
        key, namespace = self._current.current_key, self._current.current_namespace
        entries.remove(key)
        self._trigger.clear(window, self._trigger_context)
        assert self._firing is not None
        self._firing.clear(window)
        if self._in_flight is not None:
            self._in_flight.retire(key, namespace)

    def _set_alarm(self) -> None:
        """Have the loop call back when the next processing-time timer is due."""
        due = self._processing_timers.next_due_ms()
        if due is not None and due < MAX_TIMESTAMP and (self._alarm_ms is None or due < self._alarm_ms):
            self._alarm_ms = due
            self._time.schedule(due, self._on_alarm)

    def finish(self) -> None:
        self._input_ended = True

    def close(self) -> None:
        if self._firing is not None:
            self._firing.close()
        for function in self._functions:
            function.close()
        if self._add_one is not None:
            forget(self._add_one.__code__.co_filename)
        super().close()


class _AssignerContext(WindowAssigner.WindowAssignerContext):
    def __init__(self, runtime_context: RuntimeContext, time: ProcessingTime) -> None:
        self._runtime_context = runtime_context
        self._time = time

    def get_current_processing_time(self) -> int:
        return self._time.now_ms()

    def get_runtime_context(self) -> RuntimeContext:
        return self._runtime_context
