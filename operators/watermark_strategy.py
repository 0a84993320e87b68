"""How event times and watermarks are made. A description; the sources and timestamp operators run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from ..core.errors import JobDefinitionError
from ..core.time import TimeLike, to_millis

T = TypeVar("T")


class TimestampAssigner(ABC, Generic[T]):
    """Tells when a record happened."""

    @abstractmethod
    def extract_timestamp(self, value: T, record_timestamp: int) -> int:
        """Event time in ms since the epoch. `record_timestamp` is the one the record had, `MIN_TIMESTAMP` if none."""


@dataclass(frozen=True, slots=True)
class WatermarkStrategy(Generic[T]):
    """Made by one of the static methods, refined by the `with_` methods, each of which gives a new strategy.

    A source runs it for each of its splits; the watermark of a task is the minimum over its inputs. Watermarks are not part
    of a checkpoint: on replay they are derived again from the records.

    Attributes:
        out_of_orderness_ms: how long after a record others that happened before it may follow; 0 for rising timestamps;
            None for no watermarks at all (but the one that ends a bounded input).
        timestamp_assigner: called with the record and the timestamp it had; None keeps that timestamp.
        idle_timeout_ms: an input without records for so long no longer holds the watermark back; None for never.

    >>> WatermarkStrategy.for_bounded_out_of_orderness(2_000).out_of_orderness_ms
    2000
    """

    out_of_orderness_ms: int | None
    timestamp_assigner: Callable[[T, int], int] | None = None
    idle_timeout_ms: int | None = None

    @staticmethod
    def for_monotonous_timestamps() -> WatermarkStrategy[Any]:
        """Timestamps never fall within a split: watermarks follow right behind them (`max - 1`)."""
        return WatermarkStrategy(0)

    @staticmethod
    def for_bounded_out_of_orderness(max_out_of_orderness: TimeLike) -> WatermarkStrategy[Any]:
        """A record may come up to `max_out_of_orderness` too late: watermarks stay `max - bound - 1` behind.

        Raises:
            JobDefinitionError: the bound is negative.
        """
        bound = to_millis(max_out_of_orderness)
        if bound < 0:
            raise JobDefinitionError(
                f"the bound of out-of-orderness is negative: {bound} ms",
                fix="give 0 ms or more, e.g. Duration.of_seconds(5)",
            )
        return WatermarkStrategy(bound)

    @staticmethod
    def no_watermarks() -> WatermarkStrategy[Any]:
        """No watermarks: for programs without event time."""
        return WatermarkStrategy(None)

    def with_timestamp_assigner(
        self, timestamp_assigner: TimestampAssigner[T] | Callable[[T, int], int]
    ) -> WatermarkStrategy[T]:
        """Take event times from the records: a `TimestampAssigner`, or a callable `(value, record_timestamp) -> ms`.

        Raises:
            JobDefinitionError: it is neither.
        """
        if isinstance(timestamp_assigner, TimestampAssigner):
            return replace(self, timestamp_assigner=timestamp_assigner.extract_timestamp)
        extract = getattr(timestamp_assigner, "extract_timestamp", timestamp_assigner)
        if isinstance(timestamp_assigner, type) or not callable(extract):
            raise JobDefinitionError(
                f"a timestamp assigner must be a TimestampAssigner object or a callable, not {timestamp_assigner!r}",
                fix="write for example with_timestamp_assigner(lambda value, timestamp: value.time_ms)",
            )
        return replace(self, timestamp_assigner=extract)

    def with_idleness(self, idle_timeout: TimeLike) -> WatermarkStrategy[T]:
        """Let an input without records for `idle_timeout` not hold back the others.

        Raises:
            JobDefinitionError: the timeout is not positive.
        """
        timeout = to_millis(idle_timeout)
        if timeout <= 0:
            raise JobDefinitionError(
                f"the idle timeout must be positive, not {timeout} ms",
                fix="give for example Duration.of_seconds(30)",
            )
        return replace(self, idle_timeout_ms=timeout)
