"""Streams partitioned by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._functions import check_function, definition_error, result_type
from .core.types import TypeInformation
from .data_stream import DataStream
from .operators.functions import (
    FilterFunction,
    FlatMapFunction,
    Function,
    KeyedProcessFunction,
    MapFunction,
    OutputTag,
    ReduceFunction,
    RuntimeContext,
)
from .operators.windowing import WindowAssigner
from .runtime.graph.builder import StreamInput
from .runtime.graph.stream_graph import Hash, StreamNode

if TYPE_CHECKING:
    from .partition_window import KeyedPartitionWindowedStream
    from .windowed_stream import WindowedStream

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K")


class KeyedStream(DataStream[T], Generic[K, T]):
    """Records of type `T` partitioned by keys of type `K`. Made by `DataStream.key_by`.

    Keyed state and timers belong to the key of the record at hand. Functions with an `open` method may use keyed state in
    `map`, `flat_map` and `filter` as well.
    """

    def __init__(
        self, stream: DataStream[T], key_selector: Callable[[T], K], key_type: TypeInformation[Any]
    ) -> None:
        partitioner = Hash(key_selector, key_type)
        inputs = [replace(i, partitioner=partitioner) for i in stream._plain_inputs()]
        super().__init__(stream._environment, inputs, stream._type)
        self._key_selector = key_selector
        self._key_type = key_type

    def get_key_type(self) -> TypeInformation[K]:
        """The type of its keys; the generic one where nothing declared it."""
        return self._key_type

    def map(
        self,
        func: Callable[[T], R] | MapFunction[T, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        if not _needs_runtime_context(func, "map"):
            return super().map(func, output_type)
        check_function(func, "map", "map()", 1)
        return self._keyed("Map", _OnKeyedState(func, _map), result_type(func, "map", output_type))

    def flat_map(
        self,
        func: Callable[[T], Iterable[R] | None] | FlatMapFunction[T, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        if not _needs_runtime_context(func, "flat_map"):
            return super().flat_map(func, output_type)
        check_function(func, "flat_map", "flat_map()", 1)
        type_info = result_type(func, "flat_map", output_type, many=True)
        return self._keyed("Flat Map", _OnKeyedState(func, _flat_map), type_info)

    def filter(self, func: Callable[[T], object] | FilterFunction[T]) -> DataStream[T]:
        if not _needs_runtime_context(func, "filter"):
            return super().filter(func)
        check_function(func, "filter", "filter()", 1)
        return self._keyed("Filter", _OnKeyedState(func, _filter), self._type)

    def reduce(self, func: Callable[[T, T], T] | ReduceFunction[T]) -> DataStream[T]:
        """For every record, the combination of all records of its key so far.

        Raises:
            JobDefinitionError: `func` cannot be called with two records.
        """
        from .operators.keyed import ReduceSpec

        check_function(func, "reduce", "reduce()", 2)
        return self._then(
            "Reduce", ReduceSpec(self._key_selector, self._key_type, func, self._type), self._type
        )

    def process(  # type: ignore[override]  # as in PyFlink, functions of keyed streams are of another class
        self,
        func: KeyedProcessFunction[K, T, R]
        | Callable[[T, KeyedProcessFunction.Context], Iterable[R | tuple[OutputTag[Any], Any]] | None],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Any number of results and side outputs per record, with keyed state and timers.

        Raises:
            JobDefinitionError: `func` cannot be called with a record and a context.
        """
        check_function(func, "process_element", "process()", 2)
        return self._keyed("KeyedProcess", func, result_type(func, "process_element", output_type, many=True))

    def window(self, window_assigner: WindowAssigner) -> WindowedStream[K, T]:
        """The records of each key grouped in time.

        Raises:
            JobDefinitionError: `window_assigner` is none.
        """
        from .windowed_stream import WindowedStream

        if not isinstance(window_assigner, WindowAssigner):
            raise definition_error(
                f"window() was given {window_assigner!r}, which is not a window assigner",
                fix="write for example window(TumblingEventTimeWindows.of(Duration.of_minutes(1)))",
            )
        return WindowedStream(self, window_assigner)

    def full_window_partition(self) -> KeyedPartitionWindowedStream[T]:
        """All records of each key as one window, which ends with the input."""
        from .partition_window import KeyedPartitionWindowedStream

        return KeyedPartitionWindowedStream(self)

    def _keyed(self, name: str, function: Any, type_info: TypeInformation[Any]) -> DataStream[Any]:
        from .operators.process import KeyedProcessSpec

        return self._then(name, KeyedProcessSpec(self._key_selector, self._key_type, function), type_info)

    def _plain_inputs(self) -> tuple[StreamInput, ...]:
        return tuple(replace(i, partitioner=None) for i in self._inputs)

    def _own_node(self, method: str) -> StreamNode:
        raise definition_error(
            f"{method}() is about an operator, but key_by() is none: it only says where records go",
            fix=f"call {method}() before key_by(), or behind the operator that follows",
        )


def _needs_runtime_context(func: Any, method: str) -> bool:
    """Whether the function has an `open` of its own, and so may ask for keyed state."""
    if isinstance(func, type) or not hasattr(func, method):
        return False
    return getattr(type(func), "open", Function.open) is not Function.open


def _map(function: Any, value: Any) -> Sequence[Any]:
    return (function.map(value),)


def _flat_map(function: Any, value: Any) -> Iterable[Any] | None:
    results: Iterable[Any] | None = function.flat_map(value)
    return results


def _filter(function: Any, value: Any) -> Sequence[Any]:
    return (value,) if function.filter(value) else ()


class _OnKeyedState(KeyedProcessFunction[Any, Any, Any]):
    """Runs a function with one method where keyed state is at hand."""

    def __init__(self, function: Any, call: Callable[[Any, Any], Iterable[Any] | None]) -> None:
        self._function = function
        self._call = call

    def open(self, runtime_context: RuntimeContext) -> None:
        self._function.open(runtime_context)

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterable[Any] | None:
        return self._call(self._function, value)

    def close(self) -> None:
        close = getattr(self._function, "close", None)
        if close is not None:
            close()
