"""The contract of triggers: what decides when a window fires."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ..core.errors import StateError
from ..state.descriptors import StateDescriptor
from .window_types import T, W

if TYPE_CHECKING:
    from ..state.descriptors import (
        AggregatingStateDescriptor,
        ListStateDescriptor,
        MapStateDescriptor,
        ReducingStateDescriptor,
        ValueStateDescriptor,
    )
    from ..state.keyed import AggregatingState, ListState, MapState, ReducingState, ValueState
    from .metrics import MetricGroup

S = TypeVar("S")
K = TypeVar("K")
ACC = TypeVar("ACC")
R = TypeVar("R")


class TriggerResult(Enum):
    """What becomes of a window: (it fires, its contents are thrown away).

    >>> TriggerResult.FIRE_AND_PURGE.is_fire(), TriggerResult.PURGE.is_fire()
    (True, False)
    """

    CONTINUE = (False, False)
    FIRE_AND_PURGE = (True, True)
    FIRE = (True, False)
    PURGE = (False, True)

    def is_fire(self) -> bool:
        """Whether the window's result is emitted; nothing is for a window that holds nothing."""
        return self.value[0]

    def is_purge(self) -> bool:
        """Whether the contents go afterwards. The window, its timers and the trigger's state stay until clean-up."""
        return self.value[1]


class Trigger(ABC, Generic[T, W]):
    """Decides when a window fires, per key and window. It replaces the default trigger of the assigner, which then fires no more.

    One object serves all keys and windows, so it keeps whatever it has to remember in `TriggerContext.get_partitioned_state`,
    which is checkpointed.
    """

    class TriggerContext(ABC):
        """Time, timers and state of the key and window at hand. Valid during the call alone."""

        @abstractmethod
        def get_current_processing_time(self) -> int:
            """The machine's clock, ms since the epoch."""

        @abstractmethod
        def get_metric_group(self) -> MetricGroup:
            """The metrics of the operator, shared with its other functions: `add_group` keeps names apart. A name that is declared
            again gives the same metric."""

        @abstractmethod
        def get_current_watermark(self) -> int:
            """The watermark (ms) the operator has reached; `MIN_TIMESTAMP` before the first one."""

        @abstractmethod
        def register_processing_time_timer(self, time: int) -> None:
            """Call `on_processing_time` when the clock reaches `time` (ms). One timer per key, window and time; one not yet due
            when bounded input ends does not fire."""

        @abstractmethod
        def register_event_time_timer(self, time: int) -> None:
            """Call `on_event_time` with the first watermark from now on that is at or behind `time` (ms)."""

        @abstractmethod
        def delete_processing_time_timer(self, time: int) -> None:
            """Forget the timer; a no-op if there is none."""

        @abstractmethod
        def delete_event_time_timer(self, time: int) -> None:
            """Forget the timer; a no-op if there is none."""

        @overload
        def get_partitioned_state(self, state_descriptor: ValueStateDescriptor[S]) -> ValueState[S]: ...
        @overload
        def get_partitioned_state(self, state_descriptor: ListStateDescriptor[S]) -> ListState[S]: ...
        @overload
        def get_partitioned_state(self, state_descriptor: MapStateDescriptor[K, S]) -> MapState[K, S]: ...
        @overload
        def get_partitioned_state(self, state_descriptor: ReducingStateDescriptor[S]) -> ReducingState[S]: ...
        @overload
        def get_partitioned_state(
            self, state_descriptor: AggregatingStateDescriptor[S, ACC, R]
        ) -> AggregatingState[S, R]: ...
        @abstractmethod
        def get_partitioned_state(self, state_descriptor: Any) -> Any:
            """The state of this name for the key and window at hand: a `ValueState`, `ListState`, `MapState`, `ReducingState` or
            `AggregatingState`, as the descriptor says.

            Raises:
                StateError: the name is taken by another declaration.
            """

    class OnMergeContext(TriggerContext):
        """As well, the state of the windows that were merged; the window at hand is the one they became."""

        @abstractmethod
        def merge_partitioned_state(self, state_descriptor: StateDescriptor) -> None:
            """Move this state of the merged windows into that of the new one.

            Raises:
                StateError: it cannot be merged: only list, reducing and aggregating state can.
            """

    @abstractmethod
    def on_element(self, element: T, timestamp: int, window: W, ctx: TriggerContext) -> TriggerResult:
        """A record was added to the window; its timestamp is `MIN_TIMESTAMP` if it has none."""

    @abstractmethod
    def on_processing_time(self, time: int, window: W, ctx: TriggerContext) -> TriggerResult:
        """A processing-time timer of the window is due."""

    @abstractmethod
    def on_event_time(self, time: int, window: W, ctx: TriggerContext) -> TriggerResult:
        """An event-time timer of the window is due."""

    def can_merge(self) -> bool:
        """Whether it defines `on_merge`, and so can be used with sessions and other windows that merge."""
        return False

    def on_merge(self, window: W, ctx: OnMergeContext) -> None:
        """Several windows became `window`: merge what is remembered of them, and set the timers of the new one. Each old window
        is `clear`ed afterwards. Raises StateError by default."""
        raise StateError(
            f"{type(self).__name__} says that it can merge windows, but has no on_merge",
            fix=f"define {type(self).__name__}.on_merge(window, ctx)",
        )

    @abstractmethod
    def clear(self, window: W, ctx: TriggerContext) -> None:
        """The window is gone: clear its state and delete its timers."""
