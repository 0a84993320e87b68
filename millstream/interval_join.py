"""Interval joins of two keyed streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from ._functions import check_function, definition_error, result_type
from .connected_streams import check_same_environment, common_key_type, rekeyed, two_input_stream
from .core.time import TimeLike, to_millis
from .core.types import TypeInformation
from .data_stream import DataStream
from .keyed_stream import KeyedStream
from .operators.functions import OutputTag
from .operators.interval_join import IntervalJoinSpec
from .operators.join_functions import ProcessJoinFunction

K = TypeVar("K")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
R = TypeVar("R")


class IntervalJoin(Generic[K, T1, T2]):
    """Two keyed streams to be joined by distance in event time. Made by `KeyedStream.interval_join`.

    Each record is kept until the watermark says that no partner can come any more, and is part of checkpoints: each pair is
    joined once, in whatever order the two come.

    Raises:
        JobDefinitionError: the other stream is not keyed, has keys of another type, or is of another environment.

    >>> from millstream import StreamExecutionEnvironment, WatermarkStrategy
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> by_time = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value[1])
    >>> orders = env.from_collection([("a", 10), ("b", 20)]).assign_timestamps_and_watermarks(by_time)
    >>> payments = env.from_collection([("a", 12), ("b", 99)]).assign_timestamps_and_watermarks(by_time)
    >>> joined = orders.key_by(lambda value: value[0]).interval_join(payments.key_by(lambda value: value[0]))
    >>> paid = joined.between(0, 5).process(lambda order, payment, ctx: [(order, payment)])
    >>> list(paid.execute_and_collect())
    [(('a', 10), ('a', 12))]
    """

    def __init__(self, left: KeyedStream[K, T1], right: KeyedStream[K, T2]) -> None:
        check_same_environment(left, right, "interval_join()")
        if not isinstance(right, KeyedStream):
            raise definition_error(
                "interval_join() was given a stream that is not keyed",
                fix="call key_by(...) on it as well, with keys of the same type",
            )
        common_key_type(left, right)
        self._left = left
        self._right = right

    def in_event_time(self) -> IntervalJoin[K, T1, T2]:
        """Event time is all there is."""
        return self

    def in_processing_time(self) -> IntervalJoin[K, T1, T2]:
        """Refused, as in Flink.

        Raises:
            JobDefinitionError: always.
        """
        raise definition_error(
            "an interval join works in event time only",
            fix="call assign_timestamps_and_watermarks(...) on both streams, and leave in_processing_time() out",
        )

    def between(self, lower_bound: TimeLike, upper_bound: TimeLike) -> IntervalJoined[K, T1, T2]:
        """Join a left record with the right records from `lower_bound` to `upper_bound` after it, both inclusive; negative is
        before it. An int is milliseconds.

        Raises:
            JobDefinitionError: the lower bound is greater than the upper one.
        """
        lower_ms, upper_ms = to_millis(lower_bound), to_millis(upper_bound)
        if lower_ms > upper_ms:
            raise definition_error(
                f"the lower bound of the interval, {lower_ms} ms, is greater than the upper one, {upper_ms} ms",
                fix="write the lower bound first: between(-1000, 1000) is a second before and after",
            )
        return IntervalJoined(self._left, self._right, _Interval(lower_ms, upper_ms))


@dataclass(frozen=True, slots=True)
class _Interval:
    lower_ms: int
    upper_ms: int
    lower_exclusive: bool = False
    upper_exclusive: bool = False
    left_late_tag: str | None = None
    right_late_tag: str | None = None


class IntervalJoined(Generic[K, T1, T2]):
    """An interval join that lacks only its function. Each method returns a new one."""

    def __init__(self, left: KeyedStream[K, T1], right: KeyedStream[K, T2], interval: _Interval) -> None:
        self._left = left
        self._right = right
        self._interval = interval

    def lower_bound_exclusive(self) -> IntervalJoined[K, T1, T2]:
        """Not the records at exactly the lower bound."""
        return self._with(lower_exclusive=True)

    def upper_bound_exclusive(self) -> IntervalJoined[K, T1, T2]:
        """Not the records at exactly the upper bound."""
        return self._with(upper_exclusive=True)

    def side_output_left_late_data(self, output_tag: OutputTag[T1]) -> IntervalJoined[K, T1, T2]:
        """Send left records behind the watermark to this side output of the result, instead of dropping and counting them
        (`numLateRecordsDropped`).

        Raises:
            JobDefinitionError: it is no OutputTag.
        """
        return self._with(left_late_tag=_tag_id(output_tag))

    def side_output_right_late_data(self, output_tag: OutputTag[T2]) -> IntervalJoined[K, T1, T2]:
        """The same for right records. Raises as `side_output_left_late_data`."""
        return self._with(right_late_tag=_tag_id(output_tag))

    def process(
        self,
        process_join_function: ProcessJoinFunction[T1, T2, R]
        | Callable[[T1, T2, ProcessJoinFunction.Context], Iterable[R | tuple[OutputTag[Any], Any]] | None],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Any number of results and side outputs per pair; they happened at the later time of the two.

        Args:
            process_join_function: a `ProcessJoinFunction` object, or a callable `(left, right, context)`.
            output_type: type of the results; inferred from the return hint if omitted, generic without one.

        Raises:
            JobDefinitionError: the function cannot be called with two records and a context, or exclusive bounds leave
                nothing of the interval.
        """
        check_function(process_join_function, "process_element", "process()", 3)
        interval = self._interval
        lower_ms = interval.lower_ms + interval.lower_exclusive
        upper_ms = interval.upper_ms - interval.upper_exclusive
        if lower_ms > upper_ms:
            raise definition_error(
                f"nothing lies between {interval.lower_ms} ms and {interval.upper_ms} ms with exclusive bounds",
                fix="widen the interval, or leave a bound inclusive",
            )
        left, right = self._left, self._right
        key_type = common_key_type(left, right)
        spec = IntervalJoinSpec(
            left._key_selector,
            right._key_selector,
            key_type,
            left._type,
            right._type,
            lower_ms,
            upper_ms,
            process_join_function,
            interval.left_late_tag,
            interval.right_late_tag,
        )
        type_info = result_type(process_join_function, "process_element", output_type, many=True)
        inputs = rekeyed(left, key_type), rekeyed(right, key_type)
        return two_input_stream(left._environment, "Interval Join", spec, type_info, inputs)

    def _with(self, **changes: Any) -> IntervalJoined[K, T1, T2]:
        return IntervalJoined(self._left, self._right, replace(self._interval, **changes))


def _tag_id(output_tag: Any) -> str:
    if not isinstance(output_tag, OutputTag):
        raise definition_error(f"{output_tag!r} is not an OutputTag", fix="pass OutputTag('late-data')")
    return output_tag.tag_id
