"""Windows on keyed streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ._window_definition import define_windows
from .core.time import TimeLike
from .core.types import TypeInformation
from .data_stream import DataStream
from .keyed_stream import KeyedStream
from .operators.evictors import Evictor
from .operators.field_aggregations import Aggregation
from .operators.functions import (
    AggregateFunction,
    OutputTag,
    ProcessWindowFunction,
    ReduceFunction,
    WindowFunction,
)
from .operators.trigger import Trigger
from .operators.windowing import WindowAssigner

if TYPE_CHECKING:
    from .environment import StreamExecutionEnvironment
    from .operators.window_types import W
else:
    W = TypeVar("W")

T = TypeVar("T")
R = TypeVar("R")
R2 = TypeVar("R2")
K = TypeVar("K")
ACC = TypeVar("ACC")


class WindowedStream(Generic[K, T, W]):
    """The records of each key grouped into windows. Made by `KeyedStream.window`; `reduce`, `aggregate`, `process`, `apply` or an
    aggregation of a field says what comes of a window when it fires. Results carry the window's `max_timestamp`.
    """

    def __init__(self, keyed_stream: KeyedStream[K, T], window_assigner: WindowAssigner[T, W]) -> None:
        self._definition = define_windows(keyed_stream, window_assigner, "window", 3, _as_it_is)

    def get_execution_environment(self) -> StreamExecutionEnvironment:
        """The environment it belongs to."""
        return self._definition.stream.get_execution_environment()

    def get_input_type(self) -> TypeInformation[T]:
        """The type of the records in the windows."""
        return self._definition.stream.get_type()

    # ---- settings

    def trigger(self, trigger: Trigger[T, W]) -> WindowedStream[K, T, W]:
        """Have this trigger decide when windows fire, in place of the assigner's default one.

        Raises:
            JobDefinitionError: it is no trigger, or cannot merge although the windows do.
        """
        self._definition.set_trigger(trigger)
        return self

    def evictor(self, evictor: Evictor[T, W]) -> WindowedStream[K, T, W]:
        """Have this evictor take elements out of firing windows. Windows then keep all their records, whatever their function.

        Raises:
            JobDefinitionError: it is no evictor.
        """
        self._definition.set_evictor(evictor)
        return self

    def allowed_lateness(self, time_ms: TimeLike) -> WindowedStream[K, T, W]:
        """Keep event-time windows for so long after their end: a late record fires its window again at once.

        Raises:
            JobDefinitionError: it is negative.
        """
        self._definition.set_allowed_lateness(time_ms)
        return self

    def side_output_late_data(self, output_tag: OutputTag[T]) -> WindowedStream[K, T, W]:
        """Send records that are late for all their windows to this side output of the result, instead of dropping them."""
        self._definition.set_late_tag(output_tag)
        return self

    # ---- what becomes of the windows

    @overload
    def reduce(self, reduce_function: Callable[[T, T], T] | ReduceFunction[T]) -> DataStream[T]: ...
    @overload
    def reduce(
        self,
        reduce_function: Callable[[T, T], T] | ReduceFunction[T],
        window_function: ProcessWindowFunction[T, R, K, W] | WindowFunction[T, R, K, W],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]: ...
    def reduce(
        self,
        reduce_function: Callable[[T, T], T] | ReduceFunction[T],
        window_function: ProcessWindowFunction[T, R, K, W] | WindowFunction[T, R, K, W] | None = None,
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[Any]:
        """Combine the records of a window; keeps one record per key and window (or slice of time).

        Args:
            reduce_function: a `ReduceFunction` object, or a callable; must be associative.
            window_function: is given the combination as its only element.

        Raises:
            JobDefinitionError: a function cannot be called as it has to be.
        """
        return self._definition.reduce(reduce_function, window_function, output_type)

    @overload
    def aggregate(
        self,
        aggregate_function: AggregateFunction[T, ACC, R],
        window_function: None = None,
        accumulator_type: TypeInformation[ACC] | type[ACC] | None = None,
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]: ...
    @overload
    def aggregate(
        self,
        aggregate_function: AggregateFunction[T, ACC, R],
        window_function: ProcessWindowFunction[R, R2, K, W] | WindowFunction[R, R2, K, W],
        accumulator_type: TypeInformation[ACC] | type[ACC] | None = None,
        output_type: TypeInformation[R2] | type[R2] | None = None,
    ) -> DataStream[R2]: ...
    def aggregate(
        self,
        aggregate_function: AggregateFunction[T, ACC, Any],
        window_function: ProcessWindowFunction[Any, Any, K, W] | WindowFunction[Any, Any, K, W] | None = None,
        accumulator_type: TypeInformation[ACC] | type[ACC] | None = None,
        output_type: TypeInformation[Any] | type[Any] | None = None,
    ) -> DataStream[Any]:
        """Fold the records of a window into an accumulator; keeps one accumulator per key and window (or slice of time).

        Args:
            window_function: is given the result as its only element.
            accumulator_type: inferred from the hint of `create_accumulator` if omitted.

        Raises:
            JobDefinitionError: a function cannot be called as it has to be, or lacks `merge` although the windows merge.
        """
        return self._definition.aggregate(aggregate_function, window_function, accumulator_type, output_type)

    def process(
        self,
        process_window_function: ProcessWindowFunction[T, R, K, W],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Hand all records of a window to a function; keeps every one of them.

        Raises:
            JobDefinitionError: the function cannot be called as it has to be.
        """
        return self._definition.list_elements("Process", process_window_function, output_type)

    def apply(
        self,
        window_function: WindowFunction[T, R, K, W],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """As `process`, for a function that needs no context."""
        return self._definition.list_elements("Apply", window_function, output_type)

    # ---- aggregations of a field

    def sum(self, position_to_sum: int | str = 0) -> DataStream[T]:
        """Of each window the first record, with the sum of a field, which is a position or a name.

        Raises (as its siblings do):
            JobDefinitionError: the type of the records has no such field, or none that can be added up.
        """
        return self._definition.aggregate_field(Aggregation.SUM, position_to_sum)

    def min(self, position_to_min: int | str = 0) -> DataStream[T]:
        """Of each window the first record, with the least value of a field."""
        return self._definition.aggregate_field(Aggregation.MIN, position_to_min)

    def max(self, position_to_max: int | str = 0) -> DataStream[T]:
        """Of each window the first record, with the greatest value of a field."""
        return self._definition.aggregate_field(Aggregation.MAX, position_to_max)

    def min_by(self, position_to_min_by: int | str = 0, first: bool = True) -> DataStream[T]:
        """Of each window the record with the least value of a field; of several the first one, or the last."""
        return self._definition.aggregate_field(Aggregation.MIN_BY, position_to_min_by, first=first)

    def max_by(self, position_to_max_by: int | str = 0, first: bool = True) -> DataStream[T]:
        """Of each window the record with the greatest value of a field; of several the first one, or the last."""
        return self._definition.aggregate_field(Aggregation.MAX_BY, position_to_max_by, first=first)


def _as_it_is(function: Any) -> Any:
    return function
