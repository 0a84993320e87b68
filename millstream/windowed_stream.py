"""Windows on keyed streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from ._functions import check_function, declared_type, definition_error, result_type
from .core.time import TimeLike, to_millis
from .core.types import TypeInformation
from .data_stream import DataStream
from .keyed_stream import KeyedStream
from .operators.functions import (
    AggregateFunction,
    OutputTag,
    ProcessWindowFunction,
    ReduceFunction,
    WindowFunction,
)
from .operators.windowing import WindowAssigner

T = TypeVar("T")
R = TypeVar("R")
R2 = TypeVar("R2")
K = TypeVar("K")
ACC = TypeVar("ACC")


class WindowedStream(Generic[K, T]):
    """The records of each key grouped in time. Made by `KeyedStream.window`; `reduce`, `aggregate`, `process` or `apply` says
    what comes of a window when the watermark passes its end. Results carry the window's `max_timestamp`.
    """

    def __init__(self, stream: KeyedStream[K, T], assigner: WindowAssigner) -> None:
        self._stream = stream
        self._assigner = assigner
        self._allowed_lateness_ms = 0
        self._late_tag: str | None = None

    def get_execution_environment(self) -> Any:
        """The environment it belongs to."""
        return self._stream.get_execution_environment()

    def get_input_type(self) -> TypeInformation[T]:
        """The type of the records in the windows."""
        return self._stream.get_type()

    def allowed_lateness(self, time_ms: TimeLike) -> WindowedStream[K, T]:
        """Keep windows for so long after their end: a late record fires its window again at once.

        Raises:
            JobDefinitionError: it is negative.
        """
        lateness_ms = to_millis(time_ms)
        if lateness_ms < 0:
            raise definition_error(
                f"the allowed lateness is negative: {lateness_ms} ms", fix="give 0 ms or more"
            )
        self._allowed_lateness_ms = lateness_ms
        return self

    def side_output_late_data(self, output_tag: OutputTag[T]) -> WindowedStream[K, T]:
        """Send records that are late for all their windows to this side output of the result, instead of dropping them."""
        if not isinstance(output_tag, OutputTag):
            raise definition_error(f"{output_tag!r} is not an OutputTag", fix="pass OutputTag('late-data')")
        self._late_tag = output_tag.tag_id
        return self

    @overload
    def reduce(self, reduce_function: Callable[[T, T], T] | ReduceFunction[T]) -> DataStream[T]: ...
    @overload
    def reduce(
        self,
        reduce_function: Callable[[T, T], T] | ReduceFunction[T],
        window_function: ProcessWindowFunction[T, R, K] | WindowFunction[T, R, K],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]: ...
    def reduce(
        self,
        reduce_function: Callable[[T, T], T] | ReduceFunction[T],
        window_function: ProcessWindowFunction[T, R, K] | WindowFunction[T, R, K] | None = None,
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[Any]:
        """Combine the records of a window; keeps one record per key and slice of time.

        Args:
            reduce_function: a `ReduceFunction` object, or a callable; must be associative.
            window_function: is given the combination as its only element.

        Raises:
            JobDefinitionError: a function cannot be called as it has to be.
        """
        from .operators.window import ReducedContents

        check_function(reduce_function, "reduce", "reduce()", 2)
        value_type = self._stream.get_type()
        type_info = self._result_type(window_function, output_type, otherwise=value_type)
        return self._fire("Reduce", ReducedContents(reduce_function, value_type), window_function, type_info)

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
        window_function: ProcessWindowFunction[R, R2, K] | WindowFunction[R, R2, K],
        accumulator_type: TypeInformation[ACC] | type[ACC] | None = None,
        output_type: TypeInformation[R2] | type[R2] | None = None,
    ) -> DataStream[R2]: ...
    def aggregate(
        self,
        aggregate_function: AggregateFunction[T, ACC, Any],
        window_function: ProcessWindowFunction[Any, Any, K] | WindowFunction[Any, Any, K] | None = None,
        accumulator_type: TypeInformation[ACC] | type[ACC] | None = None,
        output_type: TypeInformation[Any] | type[Any] | None = None,
    ) -> DataStream[Any]:
        """Fold the records of a window into an accumulator; keeps one accumulator per key and slice of time.

        Args:
            window_function: is given the result as its only element.
            accumulator_type: inferred from the hint of `create_accumulator` if omitted.

        Raises:
            JobDefinitionError: a function cannot be called as it has to be.
        """
        from .operators.window import AggregatedContents

        for method, arguments in (("create_accumulator", 0), ("add", 2), ("get_result", 1)):
            if not isinstance(aggregate_function, type) and not hasattr(aggregate_function, method):
                raise definition_error(
                    f"aggregate() was given {aggregate_function!r}, which has no method {method}",
                    fix="pass an object of a class derived from AggregateFunction",
                )
            check_function(aggregate_function, method, "aggregate()", arguments)
        result = result_type(
            aggregate_function, "get_result", output_type if window_function is None else None
        )
        type_info = self._result_type(window_function, output_type, otherwise=result)
        kept = result_type(aggregate_function, "create_accumulator", accumulator_type)
        return self._fire(
            "Aggregate", AggregatedContents(aggregate_function, kept), window_function, type_info
        )

    def process(
        self,
        process_window_function: ProcessWindowFunction[T, R, K],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Hand all records of a window to a function; keeps every one of them.

        Raises:
            JobDefinitionError: the function cannot be called as it has to be.
        """
        return self._list("Process", process_window_function, output_type)

    def apply(
        self,
        window_function: WindowFunction[T, R, K],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """As `process`, for a function that needs no context."""
        return self._list("Apply", window_function, output_type)

    def _list(self, name: str, function: Any, output_type: Any) -> DataStream[Any]:
        from .operators.window import ListedContents

        type_info = self._result_type(function, output_type, otherwise=self._stream.get_type())
        return self._fire(name, ListedContents(self._stream.get_type()), function, type_info)

    def _result_type(
        self, window_function: Any, output_type: Any, *, otherwise: TypeInformation[Any]
    ) -> TypeInformation[Any]:
        if window_function is None:
            return otherwise if output_type is None else declared_type(output_type)
        method = next((name for name in ("process", "apply") if hasattr(window_function, name)), None)
        if method is None:
            raise definition_error(
                f"{window_function!r} is not a window function",
                fix="pass an object of a class derived from ProcessWindowFunction or WindowFunction",
            )
        check_function(window_function, method, "the window", 3)
        return result_type(window_function, method, output_type, many=True)

    def _fire(
        self, name: str, contents: Any, window_function: Any, type_info: TypeInformation[Any]
    ) -> DataStream[Any]:
        from .operators.window import WindowSpec

        spec = WindowSpec(
            key_selector=self._stream._key_selector,
            key_type=self._stream._key_type,
            assigner=self._assigner,  # type: ignore[arg-type]  # the two assigners there are
            contents=contents,
            window_function=window_function,
            allowed_lateness_ms=self._allowed_lateness_ms,
            late_tag=self._late_tag,
        )
        stream = self._stream._then(type(self._assigner).__name__, spec, type_info)
        return stream.set_description(f"Window({self._assigner}, EventTimeTrigger, {name})")
