"""Triggers that go by the records themselves, or by another trigger."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

from ..core.arguments import check_call, check_number
from ..core.errors import JobDefinitionError
from ..core.types import TypeInformation, Types
from ..state.descriptors import ReducingStateDescriptor, ValueStateDescriptor
from .trigger import Trigger, TriggerResult
from .window_types import check_kind

CONTINUE: Final = TriggerResult.CONTINUE
FIRE: Final = TriggerResult.FIRE


class CountTrigger(Trigger[Any, Any]):
    """Fires each time so many records have come. On a time window it does not fire at the end: what is left is dropped.

    >>> CountTrigger.of(3)
    CountTrigger(3)
    """

    def __init__(self, window_size: int) -> None:
        check_count("count of a trigger", window_size)
        self._window_size = window_size
        self._count = ReducingStateDescriptor("count", operator.add, Types.LONG())

    @staticmethod
    def of(window_size: int) -> CountTrigger:
        """Fires at every `window_size`th record.

        Raises:
            JobDefinitionError: it is no positive number.
        """
        return CountTrigger(window_size)

    def on_element(
        self, element: Any, timestamp: int, window: Any, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        count = ctx.get_partitioned_state(self._count)
        count.add(1)
        if (count.get() or 0) < self._window_size:
            return CONTINUE
        count.clear()
        return FIRE

    def on_processing_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return CONTINUE

    def on_event_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return CONTINUE

    def can_merge(self) -> bool:
        return True

    def on_merge(self, window: Any, ctx: Trigger.OnMergeContext) -> None:
        ctx.merge_partitioned_state(self._count)

    def clear(self, window: Any, ctx: Trigger.TriggerContext) -> None:
        ctx.get_partitioned_state(self._count).clear()

    def __repr__(self) -> str:
        return f"CountTrigger({self._window_size})"


class DeltaTrigger(Trigger[Any, Any]):
    """Fires when a record is further than `threshold` from the one it last fired for (at first: from the first one).

    >>> DeltaTrigger.of(10, lambda last, current: current - last)
    DeltaTrigger(10)
    """

    def __init__(
        self,
        threshold: float,
        delta_function: Callable[[Any, Any], float],
        element_type: TypeInformation[Any] | type | None = None,
    ) -> None:
        check_number("threshold of a DeltaTrigger", threshold, positive=False, fix="give for example 10.0")
        self._threshold = threshold
        self._delta = delta_of(delta_function)
        self._last = ValueStateDescriptor("last-element", element_type)

    @staticmethod
    def of(
        threshold: float,
        delta_function: Callable[[Any, Any], float],
        element_type: TypeInformation[Any] | type | None = None,
    ) -> DeltaTrigger:
        """Fires when `delta_function(last, current) > threshold`.

        Args:
            delta_function: a callable, or an object with `get_delta(old_data_point, new_data_point)`.
            element_type: of the records, one of which is remembered per window.

        Raises:
            JobDefinitionError: `delta_function` cannot be called.
        """
        return DeltaTrigger(threshold, delta_function, element_type)

    def on_element(
        self, element: Any, timestamp: int, window: Any, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        last = ctx.get_partitioned_state(self._last)
        before = last.value()
        if before is None:
            last.update(element)
        elif self._delta(before, element) > self._threshold:
            last.update(element)
            return FIRE
        return CONTINUE

    def on_processing_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return CONTINUE

    def on_event_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return CONTINUE

    def clear(self, window: Any, ctx: Trigger.TriggerContext) -> None:
        ctx.get_partitioned_state(self._last).clear()

    def __repr__(self) -> str:
        return f"DeltaTrigger({self._threshold})"


class NeverTrigger(Trigger[Any, Any]):
    """Never fires. The default of `GlobalWindows`.

    >>> NeverTrigger()
    NeverTrigger()
    """

    def on_element(
        self, element: Any, timestamp: int, window: Any, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        return CONTINUE

    def on_processing_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return CONTINUE

    def on_event_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return CONTINUE

    def on_merge(self, window: Any, ctx: Trigger.OnMergeContext) -> None:
        """Nothing is remembered."""

    def clear(self, window: Any, ctx: Trigger.TriggerContext) -> None:
        """Nothing is remembered."""

    def __repr__(self) -> str:
        return "NeverTrigger()"


class PurgingTrigger(Trigger[Any, Any]):
    """Fires when its nested trigger does, and throws the contents away then: each firing has what came since the last one.

    >>> PurgingTrigger.of(CountTrigger.of(3))
    PurgingTrigger(CountTrigger(3))
    """

    def __init__(self, nested_trigger: Trigger[Any, Any]) -> None:
        check_kind(nested_trigger, Trigger, "a Trigger", "CountTrigger.of(100)")
        self.nested_trigger = nested_trigger

    @staticmethod
    def of(nested_trigger: Trigger[Any, Any]) -> PurgingTrigger:
        """`nested_trigger`, purging.

        Raises:
            JobDefinitionError: it is no trigger.
        """
        return PurgingTrigger(nested_trigger)

    def on_element(
        self, element: Any, timestamp: int, window: Any, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        return _purging(self.nested_trigger.on_element(element, timestamp, window, ctx))

    def on_processing_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return _purging(self.nested_trigger.on_processing_time(time, window, ctx))

    def on_event_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return _purging(self.nested_trigger.on_event_time(time, window, ctx))

    def can_merge(self) -> bool:
        return self.nested_trigger.can_merge()

    def on_merge(self, window: Any, ctx: Trigger.OnMergeContext) -> None:
        self.nested_trigger.on_merge(window, ctx)

    def clear(self, window: Any, ctx: Trigger.TriggerContext) -> None:
        self.nested_trigger.clear(window, ctx)

    def __repr__(self) -> str:
        return f"PurgingTrigger({self.nested_trigger!r})"


def check_count(what: str, count: int) -> None:
    """Refuse what is no number of records.

    Raises:
        JobDefinitionError: it is no positive int.
    """
    if type(count) is not int or count <= 0:
        raise JobDefinitionError(
            f"the {what} must be a positive number of records, not {count!r}", fix="give for example 100"
        )


def delta_of(delta_function: Any) -> Callable[[Any, Any], float]:
    """The callable in a delta function: itself, or its method `get_delta`.

    Raises:
        JobDefinitionError: there is none.
    """
    found = getattr(delta_function, "get_delta", delta_function)
    if not callable(found):
        raise JobDefinitionError(
            f"{delta_function!r} is not a delta function",
            fix="pass a callable of two records, or an object with get_delta(old_data_point, new_data_point)",
        )
    check_call("delta function", found, 2, fix="pass a callable of two records, which gives their distance")
    call: Callable[[Any, Any], float] = found
    return call


def _purging(result: TriggerResult) -> TriggerResult:
    return TriggerResult.FIRE_AND_PURGE if result.is_fire() else result
