"""Joins and co-groups of two streams in windows.

As in Flink both streams are tagged, united, keyed and windowed; records that no partner is found for are dropped by a join and
given to a co-group. Results carry the window's `max_timestamp`. All records of a window are kept until it is over, its allowed
lateness included; they are part of checkpoints, and what fires again after a restore has the same content. Late records are
dropped, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ._functions import check_function, result_type
from .connected_streams import check_same_environment, common_key_type
from .core.time import TimeLike
from .core.types import TaggedUnionTypeInfo, TypeInformation
from .data_stream import DataStream
from .keyed_stream import KeyedStream
from .operators.functions import KeySelector
from .operators.join import (
    CoGroupWindowFunction,
    JoinWindowFunction,
    TaggedKeySelector,
    tag_first,
    tag_second,
)
from .operators.join_functions import CoGroupFunction, FlatJoinFunction, JoinFunction
from .operators.stateless import MapSpec
from .operators.windowing import WindowAssigner

if TYPE_CHECKING:
    from .windowed_stream import WindowedStream

T1 = TypeVar("T1")
T2 = TypeVar("T2")
K = TypeVar("K")
R = TypeVar("R")


class JoinedStreams(Generic[T1, T2]):
    """Two streams to be joined: each pair of records with equal keys in one window is one result. Made by `DataStream.join`.

    Raises:
        JobDefinitionError: the other stream is none, or of another environment.

    >>> from millstream import StreamExecutionEnvironment, TumblingEventTimeWindows, WatermarkStrategy
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> by_time = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value[1])
    >>> left = env.from_collection([("a", 1), ("b", 2)]).assign_timestamps_and_watermarks(by_time)
    >>> right = env.from_collection([("a", 3), ("a", 12)]).assign_timestamps_and_watermarks(by_time)
    >>> joined = left.join(right).where(lambda value: value[0]).equal_to(lambda value: value[0])
    >>> pairs = joined.window(TumblingEventTimeWindows.of(10)).apply(lambda first, second: (first, second))
    >>> list(pairs.execute_and_collect())
    [(('a', 1), ('a', 3))]
    """

    def __init__(self, stream1: DataStream[T1], stream2: DataStream[T2]) -> None:
        check_same_environment(stream1, stream2, "join()")
        self._streams = stream1, stream2

    def where(
        self,
        key_selector: Callable[[T1], K] | KeySelector[T1, K],
        key_type: TypeInformation[K] | type[K] | None = None,
    ) -> JoinedWhere[T1, T2, K]:
        """The key of the first stream.

        Raises:
            JobDefinitionError: `key_selector` cannot be called with one record.
        """
        stream1, stream2 = self._streams
        return JoinedWhere(stream1.key_by(key_selector, key_type), stream2)


@dataclass(frozen=True, slots=True)
class JoinedWhere(Generic[T1, T2, K]):
    """The first stream has its key."""

    _keyed1: KeyedStream[K, T1]
    _stream2: DataStream[T2]

    def equal_to(
        self,
        key_selector: Callable[[T2], K] | KeySelector[T2, K],
        key_type: TypeInformation[K] | type[K] | None = None,
    ) -> JoinedEqualTo[T1, T2, K]:
        """The key of the second stream.

        Raises:
            JobDefinitionError: `key_selector` cannot be called with one record, or the types of the keys differ.
        """
        return JoinedEqualTo(_as_one(self._keyed1, self._stream2.key_by(key_selector, key_type)))


@dataclass(frozen=True, slots=True)
class JoinedEqualTo(Generic[T1, T2, K]):
    """Both streams have their keys."""

    _tagged: KeyedStream[K, Any]

    def window(self, assigner: WindowAssigner[Any, Any]) -> JoinedWithWindow[T1, T2, K]:
        """Records with equal keys in the same window are joined.

        Raises:
            JobDefinitionError: `assigner` is no window assigner.
        """
        return JoinedWithWindow(self._tagged.window(assigner))


class CoGroupedStreams(Generic[T1, T2]):
    """Two streams to be co-grouped. Made by `DataStream.co_group`.

    As `JoinedStreams`, but the function is given all records of a key and window at once, also if one stream has none.

    Raises:
        JobDefinitionError: the other stream is none, or of another environment.

    >>> from millstream import StreamExecutionEnvironment, TumblingEventTimeWindows, WatermarkStrategy
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> by_time = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value[1])
    >>> left = env.from_collection([("a", 1), ("b", 2)]).assign_timestamps_and_watermarks(by_time)
    >>> right = env.from_collection([("a", 3), ("a", 4)]).assign_timestamps_and_watermarks(by_time)
    >>> grouped = left.co_group(right).where(lambda value: value[0]).equal_to(lambda value: value[0])
    >>> sizes = grouped.window(TumblingEventTimeWindows.of(10)).apply(lambda first, second: [(len(first), len(second))])
    >>> sorted(sizes.execute_and_collect())
    [(1, 0), (1, 2)]
    """

    def __init__(self, stream1: DataStream[T1], stream2: DataStream[T2]) -> None:
        check_same_environment(stream1, stream2, "co_group()")
        self._streams = stream1, stream2

    def where(
        self,
        key_selector: Callable[[T1], K] | KeySelector[T1, K],
        key_type: TypeInformation[K] | type[K] | None = None,
    ) -> CoGroupedWhere[T1, T2, K]:
        """The key of the first stream.

        Raises:
            JobDefinitionError: `key_selector` cannot be called with one record.
        """
        stream1, stream2 = self._streams
        return CoGroupedWhere(stream1.key_by(key_selector, key_type), stream2)


@dataclass(frozen=True, slots=True)
class CoGroupedWhere(Generic[T1, T2, K]):
    """The first stream has its key."""

    _keyed1: KeyedStream[K, T1]
    _stream2: DataStream[T2]

    def equal_to(
        self,
        key_selector: Callable[[T2], K] | KeySelector[T2, K],
        key_type: TypeInformation[K] | type[K] | None = None,
    ) -> CoGroupedEqualTo[T1, T2, K]:
        """The key of the second stream.

        Raises:
            JobDefinitionError: `key_selector` cannot be called with one record, or the types of the keys differ.
        """
        return CoGroupedEqualTo(_as_one(self._keyed1, self._stream2.key_by(key_selector, key_type)))


@dataclass(frozen=True, slots=True)
class CoGroupedEqualTo(Generic[T1, T2, K]):
    """Both streams have their keys."""

    _tagged: KeyedStream[K, Any]

    def window(self, assigner: WindowAssigner[Any, Any]) -> CoGroupedWithWindow[T1, T2, K]:
        """Records with equal keys in the same window are one group.

        Raises:
            JobDefinitionError: `assigner` is no window assigner.
        """
        return CoGroupedWithWindow(self._tagged.window(assigner))


class _WithWindow(Generic[K]):
    """Both streams in one window; only the function is missing."""

    def __init__(self, windowed: WindowedStream[K, Any]) -> None:
        self._windowed: Any = windowed  # triggers and evictors are between it and the user

    def trigger(self, trigger: Any) -> Self:
        """Replaces the assigner's trigger; it sees pairs `(1, first)` and `(2, second)`.

        Raises:
            JobDefinitionError: it is no trigger, or cannot merge although the windows do.
        """
        self._windowed.trigger(trigger)
        return self

    def evictor(self, evictor: Any) -> Self:
        """Removes elements around the function; it sees pairs `(1, first)` and `(2, second)`.

        Raises:
            JobDefinitionError: it is no evictor.
        """
        self._windowed.evictor(evictor)
        return self

    def allowed_lateness(self, time_ms: TimeLike) -> Self:
        """Keep windows for so long after their end (an int is milliseconds): a late record fires its whole window again at once,
        so that its pairs of before come again.

        Raises:
            JobDefinitionError: it is negative.
        """
        self._windowed.allowed_lateness(time_ms)
        return self

    def _apply(self, function: Any, type_info: TypeInformation[Any]) -> DataStream[Any]:
        stream: DataStream[Any] = self._windowed.apply(function, type_info)
        return stream


class JoinedWithWindow(_WithWindow[K], Generic[T1, T2, K]):
    """A join that lacks only its function."""

    def apply(
        self,
        function: Callable[[T1, T2], R] | JoinFunction[T1, T2, R] | FlatJoinFunction[T1, T2, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """One result for each pair of a window (any number for a `FlatJoinFunction`). Called when the window fires.

        Args:
            function: a `JoinFunction` or `FlatJoinFunction` object, or a callable that gives one result.
            output_type: type of the results; inferred from the return hint if omitted, generic without one.

        Raises:
            JobDefinitionError: `function` cannot be called with two records.
        """
        check_function(function, "join", "the join", 2)
        many = isinstance(function, FlatJoinFunction)
        return self._apply(
            JoinWindowFunction(function), result_type(function, "join", output_type, many=many)
        )


class CoGroupedWithWindow(_WithWindow[K], Generic[T1, T2, K]):
    """A co-group that lacks only its function."""

    def apply(
        self,
        function: Callable[[Sequence[T1], Sequence[T2]], Iterable[R] | None] | CoGroupFunction[T1, T2, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Any number of results for each key and window. Called when the window fires.

        Args:
            function: a `CoGroupFunction` object, or a callable; is given the records of each stream as lists, one of which may be
                empty.
            output_type: type of the results; inferred from the return hint if omitted, generic without one.

        Raises:
            JobDefinitionError: `function` cannot be called with two lists.
        """
        check_function(function, "co_group", "the co-group", 2)
        type_info = result_type(function, "co_group", output_type, many=True)
        return self._apply(CoGroupWindowFunction(function), type_info)


def _as_one(keyed1: KeyedStream[Any, Any], keyed2: KeyedStream[Any, Any]) -> KeyedStream[Any, Any]:
    """Both streams as one of tagged records, with the key of each."""
    key_type = common_key_type(keyed1, keyed2)
    both = TaggedUnionTypeInfo(keyed1.get_type(), keyed2.get_type())
    keys = TaggedKeySelector(keyed1._key_selector, keyed2._key_selector)
    first, second = _tagged(keyed1, tag_first, both), _tagged(keyed2, tag_second, both)
    return KeyedStream(first.union(second), keys, key_type)


def _tagged(
    stream: DataStream[Any], tag: Callable[[Any], Any], both: TypeInformation[Any]
) -> DataStream[Any]:
    """As parallel as the stream itself, so that no records are exchanged twice."""
    inputs = stream._plain_inputs()
    tagged = DataStream(stream._environment, inputs, stream._type)._then("Map", MapSpec(tag), both)
    parallelism = stream._environment._builder.node(inputs[0].node_id).parallelism
    return tagged if parallelism is None or len(inputs) > 1 else tagged.set_parallelism(parallelism)
