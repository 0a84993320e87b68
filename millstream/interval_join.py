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


@dataclass(frozen=True, slots=True)
class IntervalJoin(Generic[K, T1, T2]):
    """Two keyed streams to be joined by distance in event time. Made by `KeyedStream.interval_join`."""

    _left: KeyedStream[K, T1]
    _right: KeyedStream[K, T2]

    def __post_init__(self) -> None:
        check_same_environment(self._left, self._right, "interval_join()")
        if not isinstance(self._right, KeyedStream):
            raise definition_error(
                "interval_join() was given a stream that is not keyed",
                fix="call key_by(...) on it as well, with keys of the same type",
            )
        common_key_type(self._left, self._right)

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
        before it.

        Raises:
            JobDefinitionError: the lower bound is greater than the upper one.
        """
        lower_ms, upper_ms = to_millis(lower_bound), to_millis(upper_bound)
        if lower_ms > upper_ms:
            raise definition_error(
                f"the lower bound of the interval, {lower_ms} ms, is greater than the upper one, {upper_ms} ms",
                fix="write the lower bound first: between(-1000, 1000) is a second before and after",
            )
        return IntervalJoined(self._left, self._right, lower_ms, upper_ms)


@dataclass(frozen=True, slots=True)
class IntervalJoined(Generic[K, T1, T2]):
    """An interval join that lacks only its function. Each method returns a new one."""

    _left: KeyedStream[K, T1]
    _right: KeyedStream[K, T2]
    _lower_ms: int
    _upper_ms: int
    _lower_exclusive: bool = False
    _upper_exclusive: bool = False
    _left_late_tag: str | None = None
    _right_late_tag: str | None = None

    def lower_bound_exclusive(self) -> IntervalJoined[K, T1, T2]:
        """Not the records at exactly the lower bound."""
        return replace(self, _lower_exclusive=True)

    def upper_bound_exclusive(self) -> IntervalJoined[K, T1, T2]:
        """Not the records at exactly the upper bound."""
        return replace(self, _upper_exclusive=True)

    def side_output_left_late_data(self, output_tag: OutputTag[T1]) -> IntervalJoined[K, T1, T2]:
        """Send left records behind the watermark to this side output of the result, instead of dropping them."""
        return replace(self, _left_late_tag=_tag_id(output_tag))

    def side_output_right_late_data(self, output_tag: OutputTag[T2]) -> IntervalJoined[K, T1, T2]:
        """The same for right records."""
        return replace(self, _right_late_tag=_tag_id(output_tag))

    def process(
        self,
        process_join_function: ProcessJoinFunction[T1, T2, R]
        | Callable[[T1, T2, ProcessJoinFunction.Context], Iterable[R | tuple[OutputTag[Any], Any]] | None],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Any number of results and side outputs per pair; they happened at the later time of the two.

        Raises:
            JobDefinitionError: the function cannot be called with two records and a context, or exclusive bounds leave
                nothing of the interval.
        """
        check_function(process_join_function, "process_element", "process()", 3)
        lower_ms, upper_ms = (
            self._lower_ms + self._lower_exclusive,
            self._upper_ms - self._upper_exclusive,
        )
        if lower_ms > upper_ms:
            raise definition_error(
                f"nothing lies between {self._lower_ms} ms and {self._upper_ms} ms with exclusive bounds",
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
            self._left_late_tag,
            self._right_late_tag,
        )
        type_info = result_type(process_join_function, "process_element", output_type, many=True)
        inputs = rekeyed(left, key_type), rekeyed(right, key_type)
        return two_input_stream(left._environment, "Interval Join", spec, type_info, inputs)


def _tag_id(output_tag: Any) -> str:
    if not isinstance(output_tag, OutputTag):
        raise definition_error(f"{output_tag!r} is not an OutputTag", fix="pass OutputTag('late-data')")
    return output_tag.tag_id
