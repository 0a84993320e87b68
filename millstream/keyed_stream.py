"""Streams partitioned by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from ._functions import check_function, definition_error, field_aggregation, result_type
from .core.types import TypeInformation
from .data_stream import DataStream
from .operators.collector import Collector, with_plain_results
from .operators.field_aggregations import Aggregation
from .operators.functions import (
    FilterFunction,
    FlatMapFunction,
    KeyedProcessFunction,
    MapFunction,
    OutputTag,
    ReduceFunction,
)
from .operators.user_function import has_life_cycle
from .operators.window_types import GlobalWindow
from .operators.windowing import WindowAssigner
from .runtime.graph.builder import StreamInput
from .runtime.graph.stream_graph import Hash, Partitioner, StreamNode

if TYPE_CHECKING:
    from .interval_join import IntervalJoin
    from .operators.window_types import W
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
        from .operators.keyed_functions import KeyedMapSpec

        check_function(func, "map", "map()", 1)
        spec = KeyedMapSpec(self._key_selector, self._key_type, func)
        return self._then("Map", spec, result_type(func, "map", output_type))

    @overload
    def flat_map(
        self,
        func: Callable[[T], Iterable[R] | None] | FlatMapFunction[T, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]: ...
    @overload
    def flat_map(
        self,
        func: Callable[[T, Collector[R]], Iterable[R] | None],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]: ...
    def flat_map(
        self,
        func: Callable[..., Iterable[R] | None] | FlatMapFunction[T, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        if not _needs_runtime_context(func, "flat_map"):
            return super().flat_map(func, output_type)
        from .operators.keyed_functions import KeyedFlatMapSpec

        plain = with_plain_results(func, "flat_map", 1)
        check_function(plain, "flat_map", "flat_map()", 1)
        spec = KeyedFlatMapSpec(self._key_selector, self._key_type, plain)
        return self._then("Flat Map", spec, result_type(func, "flat_map", output_type, many=True))

    def filter(self, func: Callable[[T], object] | FilterFunction[T]) -> DataStream[T]:
        if not _needs_runtime_context(func, "filter"):
            return super().filter(func)
        from .operators.keyed_functions import KeyedFilterSpec

        check_function(func, "filter", "filter()", 1)
        return self._then("Filter", KeyedFilterSpec(self._key_selector, self._key_type, func), self._type)

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

    # ---- rolling aggregations of a field

    def sum(self, position_to_sum: int | str = 0) -> DataStream[T]:
        """For every record, the first one of its key with the sum of the field so far.

        The field is a position or a name; plain numbers have position 0. Works for tuples, NamedTuples, lists, Rows,
        dataclasses, Structs, and dicts by their keys.

        Raises (as its siblings do):
            JobDefinitionError: the type of the records has no such field, or none that can be added up.

        >>> from millstream import StreamExecutionEnvironment
        >>> env = StreamExecutionEnvironment.get_execution_environment()
        >>> sales = env.from_collection([("a", 1, "x"), ("a", 2, "y"), ("b", 3, "z")])
        >>> sales.key_by(lambda sale: sale[0]).sum(1).execute_and_collect(limit=3)
        [('a', 1, 'x'), ('a', 3, 'x'), ('b', 3, 'z')]
        """
        return self._rolling(Aggregation.SUM, position_to_sum)

    def min(self, position_to_min: int | str = 0) -> DataStream[T]:
        """For every record, the first one of its key with the least value of the field so far."""
        return self._rolling(Aggregation.MIN, position_to_min)

    def max(self, position_to_max: int | str = 0) -> DataStream[T]:
        """For every record, the first one of its key with the greatest value of the field so far."""
        return self._rolling(Aggregation.MAX, position_to_max)

    def min_by(self, position_to_min_by: int | str = 0) -> DataStream[T]:
        """For every record, the one of its key that had the least value of the field so far; of several the first."""
        return self._rolling(Aggregation.MIN_BY, position_to_min_by)

    def max_by(self, position_to_max_by: int | str = 0) -> DataStream[T]:
        """For every record, the one of its key that had the greatest value of the field so far; of several the first."""
        return self._rolling(Aggregation.MAX_BY, position_to_max_by)

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
        plain = with_plain_results(func, "process_element", 2)
        check_function(plain, "process_element", "process()", 2)
        return self._keyed(
            "KeyedProcess", plain, result_type(func, "process_element", output_type, many=True)
        )

    def window(self, window_assigner: WindowAssigner[T, W]) -> WindowedStream[K, T, W]:
        """The records of each key grouped into windows.

        Raises:
            JobDefinitionError: `window_assigner` is none.
        """
        from .windowed_stream import WindowedStream

        return WindowedStream(self, window_assigner)

    def full_window_partition(self) -> KeyedPartitionWindowedStream[T]:
        """All records of each key as one window, which ends with the input."""
        from .partition_window import KeyedPartitionWindowedStream

        return KeyedPartitionWindowedStream(self)

    def interval_join(self, other_stream: KeyedStream[K, R]) -> IntervalJoin[K, T, R]:
        """Join records with equal keys that are close in event time: `a.interval_join(b).between(-1000, 1000).process(...)`.

        Raises:
            JobDefinitionError: the other stream is not keyed, has keys of another type, or is of another environment.
        """
        from .interval_join import IntervalJoin

        return IntervalJoin(self, other_stream)

    def _rolling(self, aggregation: Aggregation, field: int | str) -> DataStream[T]:
        from .operators.keyed import ReduceSpec

        reduce = field_aggregation(self._type, aggregation, field)
        spec = ReduceSpec(self._key_selector, self._key_type, reduce, self._type)
        return self._then("Keyed Aggregation", spec, self._type)

    def count_window(self, size: int, slide: int | None = None) -> WindowedStream[K, T, GlobalWindow]:
        """The records of each key in groups of `size`; with `slide`, the last `size` records after every `slide` of them.

        Records that do not fill a group when the input ends give no result.

        Raises:
            JobDefinitionError: `size` or `slide` is no positive number.
        """
        from .operators.count_windows import GlobalWindows, count_windows
        from .windowed_stream import WindowedStream

        return count_windows(WindowedStream(self, GlobalWindows.create()), size, slide)

    def _keyed(self, name: str, function: Any, type_info: TypeInformation[Any]) -> DataStream[Any]:
        from .operators.process import KeyedProcessSpec

        return self._then(name, KeyedProcessSpec(self._key_selector, self._key_type, function), type_info)

    def _partitioned(self, partitioner: Partitioner) -> NoReturn:
        raise definition_error(
            "the partitioning of a keyed stream is that of its keys, and cannot be replaced",
            fix="say where records go before key_by(), or behind the operator that follows",
        )

    def _plain_inputs(self) -> tuple[StreamInput, ...]:
        return tuple(replace(i, partitioner=None) for i in self._inputs)

    def _own_node(self, method: str) -> StreamNode:
        raise definition_error(
            f"{method}() is about an operator, but key_by() is none: it only says where records go",
            fix=f"call {method}() before key_by(), or behind the operator that follows",
        )


def _needs_runtime_context(func: Any, method: str) -> bool:
    """Whether the function has a life cycle of its own, and so may ask for keyed state."""
    if isinstance(func, type) or not hasattr(func, method):
        return False
    return has_life_cycle(func)
