"""All records of a subtask, or of a key, handled at once when the input has ended."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._functions import check_function, definition_error, result_type
from .core.arguments import check_int
from .core.types import Row, TypeInformation
from .operators.functions import AggregateFunction, MapPartitionFunction, ReduceFunction

if TYPE_CHECKING:
    from .data_stream import DataStream
    from .keyed_stream import KeyedStream

T = TypeVar("T")
R = TypeVar("R")
ACC = TypeVar("ACC")


class Order(enum.Enum):
    """Which records come first."""

    ASCENDING = "ASCENDING"
    DESCENDING = "DESCENDING"


class PartitionWindowedStream(Generic[T]):
    """The records of each subtask as one window that ends with the input. Made by `DataStream.full_window_partition`.

    Works in BATCH mode and, on bounded input, in STREAMING mode; on unbounded input no result ever comes. Until the input has ended
    records are in memory or on local disk, and in checkpoints; watermarks are held back, and checkpoints while results leave. After
    a failure the records collected up to the checkpoint are there again, and each result leaves once.

    >>> from millstream import StreamExecutionEnvironment
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> numbers = env.from_collection([3, 1, 2])
    >>> list(numbers.full_window_partition().sort_partition(lambda n: n, Order.DESCENDING).execute_and_collect())
    [3, 2, 1]
    >>> list(numbers.full_window_partition().map_partition(lambda values: [sum(values)]).execute_and_collect())
    [6]
    """

    def __init__(self, stream: DataStream[T]) -> None:
        self._stream = stream

    def map_partition(
        self,
        map_partition_function: MapPartitionFunction[T, R] | Callable[[Iterator[T]], Iterable[R] | None],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Any number of results from an iterator over all records, which can be gone through once.

        Results are taken from a generator while there is room for them. Called also where there are no records.

        Raises:
            JobDefinitionError: the function cannot be called with one argument.
        """
        check_function(map_partition_function, "map_partition", "map_partition()", 1)
        type_info = result_type(map_partition_function, "map_partition", output_type, many=True)
        return self._map_partition(map_partition_function, type_info)

    def sort_partition(
        self, field: int | str | Callable[[T], Any], order: Order = Order.ASCENDING
    ) -> DataStream[T]:
        """The records in order, equal ones as they came; sorted on disk where they do not fit in memory.

        Args:
            field: an index of tuples, a field's name, or a selector (a `KeySelector` or a callable). What it gives is compared by `<`.

        Raises:
            JobDefinitionError: `field` or `order` is none.
        """
        if not isinstance(order, Order):
            raise definition_error(
                f"{order!r} is not an Order", fix="pass Order.ASCENDING or Order.DESCENDING"
            )
        return self._sort(_selector(field), descending=order is Order.DESCENDING)

    def reduce(self, reduce_function: Callable[[T, T], T] | ReduceFunction[T]) -> DataStream[T]:
        """The combination of all records, in the order they came; nothing where there are none.

        Raises:
            JobDefinitionError: the function cannot be called with two records.
        """
        from .operators.partition_folds import ReduceFold

        check_function(reduce_function, "reduce", "reduce()", 2)
        type_info = self._stream.get_type()
        return self._fold("Reduce", ReduceFold(reduce_function, type_info), type_info)

    def aggregate(
        self,
        aggregate_function: AggregateFunction[T, ACC, R],
        accumulator_type: TypeInformation[ACC] | type[ACC] | None = None,
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """The records folded into an accumulator; as in Flink, a subtask without records gives the result of an empty one.

        Args:
            accumulator_type: inferred from the hint of `create_accumulator` if omitted.

        Raises:
            JobDefinitionError: it is not an aggregate function.
        """
        from .operators.partition_folds import AggregateFold

        for method, arguments in (("create_accumulator", 0), ("add", 2), ("get_result", 1)):
            if not hasattr(aggregate_function, method):
                raise definition_error(
                    f"aggregate() was given {aggregate_function!r}, which has no method {method}",
                    fix="pass an object of a class derived from AggregateFunction",
                )
            check_function(aggregate_function, method, "aggregate()", arguments)
        kept = result_type(aggregate_function, "create_accumulator", accumulator_type)
        type_info = result_type(aggregate_function, "get_result", output_type)
        return self._fold("Aggregate", AggregateFold(aggregate_function, kept), type_info)

    # ---- how it is done, without keys

    def _map_partition(self, function: Any, type_info: TypeInformation[Any]) -> DataStream[Any]:
        from .operators.partition import MapPartitionSpec

        return self._stream._then(
            "MapPartition", MapPartitionSpec(function, self._stream.get_type()), type_info
        )

    def _sort(self, by: Callable[[Any], Any], *, descending: bool) -> DataStream[T]:
        from .operators.partition import SortPartitionSpec

        type_info = self._stream.get_type()
        return self._stream._then("SortPartition", SortPartitionSpec(by, descending, type_info), type_info)

    def _fold(self, kind: str, fold: Any, type_info: TypeInformation[Any]) -> DataStream[Any]:
        from .operators.partition import FoldPartitionSpec

        return self._stream._then(f"Partition{kind}", FoldPartitionSpec(fold, f"Partition{kind}"), type_info)


class KeyedPartitionWindowedStream(PartitionWindowedStream[T]):
    """The same for the records of each key. Made by `KeyedStream.full_window_partition`.

    Results of `map_partition`, `reduce` and `aggregate` carry the largest timestamp there is, as those of Flink do. `map_partition` holds
    the records of one key in memory.
    """

    def __init__(self, stream: KeyedStream[Any, T]) -> None:
        super().__init__(stream)
        self._keyed = stream

    def _map_partition(self, function: Any, type_info: TypeInformation[Any]) -> DataStream[Any]:
        from .operators.partition_folds import MapPartitionByKey

        by_key = MapPartitionByKey(function, self._stream.get_type())
        return self._keyed._keyed("MapPartition", by_key, type_info)

    def _sort(self, by: Callable[[Any], Any], *, descending: bool) -> DataStream[T]:
        from .operators.partition import SortPartitionSpec

        type_info = self._stream.get_type()
        of_key = (self._keyed._key_selector, self._keyed._key_type)
        spec = SortPartitionSpec(by, descending, type_info, of_key)
        return self._stream._then("SortPartition", spec, type_info)

    def _fold(self, kind: str, fold: Any, type_info: TypeInformation[Any]) -> DataStream[Any]:
        from .operators.partition_folds import FoldByKey

        return self._keyed._keyed(f"Partition{kind}", FoldByKey(fold), type_info)


def _selector(field: Any) -> Callable[[Any], Any]:
    if isinstance(field, int) and not isinstance(field, bool):
        check_int("index of a field", field, least=0, fix="give the position of a field, from 0 on")
        return itemgetter(field)
    if isinstance(field, str):
        return _Named(field)
    check_function(field, "get_key", "sort_partition()", 1)
    selector: Callable[[Any], Any] = getattr(field, "get_key", field)
    return selector


class _Named:
    """The field of that name of a Row, mapping or object."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Row | Mapping):
            return value[self._name]
        return getattr(value, self._name)
