"""How event times and watermarks are made. A description; the sources and timestamp operators run it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from ..core.arguments import check_call
from ..core.errors import JobDefinitionError
from ..core.time import TimeLike, to_millis
from .watermark_generator import WatermarkGenerator

T = TypeVar("T")
R = TypeVar("R")

_DEFAULT_UPDATE_INTERVAL_MS: Final = 1_000


class TimestampAssigner(ABC, Generic[T]):
    """Tells when a record happened."""

    @abstractmethod
    def extract_timestamp(self, value: T, record_timestamp: int) -> int:
        """Event time in ms since the epoch. `record_timestamp` is the one the record had, `MIN_TIMESTAMP` if none."""


@dataclass(frozen=True, slots=True)
class WatermarkAlignmentParams:
    """How sources wait for each other. Source: FLIP-182.

    Attributes:
        group: sources of a job that name the same group are aligned with each other.
        max_drift_ms: how far the watermark of a split or source may be ahead of the least one of the group.
        update_interval_ms: how often subtasks report and are told; in between they may go on.
    """

    group: str
    max_drift_ms: int
    update_interval_ms: int


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
        generator: makes a `WatermarkGenerator` for each split, in place of the built-in ones; None for those.
        alignment: how sources wait for each other; None if they do not.

    >>> WatermarkStrategy.for_bounded_out_of_orderness(2_000).out_of_orderness_ms
    2000
    """

    out_of_orderness_ms: int | None
    timestamp_assigner: Callable[[T, int], int] | None = None
    idle_timeout_ms: int | None = None
    generator: Callable[[], WatermarkGenerator[Any]] | None = None
    alignment: WatermarkAlignmentParams | None = None

    @property
    def makes_watermarks(self) -> bool:
        """Whether there are any but the one that ends a bounded input."""
        return self.out_of_orderness_ms is not None or self.generator is not None

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

    @staticmethod
    def for_generator(generator_supplier: Callable[[], WatermarkGenerator[R]]) -> WatermarkStrategy[R]:
        """Watermarks by a generator of your own, which is called for every record.

        Args:
            generator_supplier: makes a `WatermarkGenerator`, a new one at each call: the class itself, or a function.

        Raises:
            JobDefinitionError: it cannot be called without arguments, or is a generator itself.
        """
        given: Any = generator_supplier  # the annotation is not checked at run time
        if isinstance(given, WatermarkGenerator) or not callable(given):
            raise JobDefinitionError(
                f"for_generator() was given {generator_supplier!r}, which does not make watermark generators",
                fix="each split needs one of its own: pass the class, or a function such as lambda: MyGenerator(5)",
            )
        if not _takes_no_arguments(generator_supplier):
            raise JobDefinitionError(
                f"for_generator() was given {generator_supplier!r}, which needs arguments",
                fix="pass a function without arguments, such as lambda: MyGenerator(5)",
            )
        return WatermarkStrategy(None, generator=generator_supplier)

    def with_timestamp_assigner(
        self, timestamp_assigner: TimestampAssigner[T] | Callable[[T, int], int]
    ) -> WatermarkStrategy[T]:
        """Take event times from the records: a `TimestampAssigner`, or a callable `(value, record_timestamp) -> ms`.

        Raises:
            JobDefinitionError: it is neither.
        """
        extract = getattr(timestamp_assigner, "extract_timestamp", timestamp_assigner)
        if isinstance(timestamp_assigner, type) or not callable(extract):
            raise JobDefinitionError(
                f"a timestamp assigner must be a TimestampAssigner object or a callable, not {timestamp_assigner!r}",
                fix="write for example with_timestamp_assigner(lambda value, timestamp: value.time_ms)",
            )
        fix = "it gets the record and the timestamp that it had: lambda value, timestamp: value.time_ms"
        check_call("timestamp assigner", extract, 2, fix=fix)
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

    def with_watermark_alignment(
        self,
        watermark_group: str,
        max_allowed_watermark_drift: TimeLike,
        update_interval: TimeLike = _DEFAULT_UPDATE_INTERVAL_MS,
    ) -> WatermarkStrategy[T]:
        """Let a source not read on while it is far ahead of the others of its group, so that operators behind them need not
        keep what came too early.

        A split whose watermark is more than `max_allowed_watermark_drift` above the least watermark of the group is not read
        until the others have caught up; a source that cannot leave out single splits waits as a whole. Idle and finished
        sources hold back nobody. Has an effect in `from_source` alone.

        Raises:
            JobDefinitionError: no group is named, a time is not positive, or the strategy makes no watermarks.
        """
        drift_ms, interval_ms = to_millis(max_allowed_watermark_drift), to_millis(update_interval)
        if type(watermark_group) is not str or not watermark_group or drift_ms < 0 or interval_ms <= 0:
            raise JobDefinitionError(
                f"watermarks cannot be aligned in the group {watermark_group!r} with a drift of {drift_ms} ms, "
                f"updated every {interval_ms} ms",
                fix="name the group, and give a drift of 0 ms or more and an interval above 0 ms",
            )
        if not self.makes_watermarks:
            raise JobDefinitionError(
                "a strategy without watermarks cannot be aligned: it would hold back its group for ever",
                fix="begin with for_bounded_out_of_orderness(...), for_monotonous_timestamps() or for_generator(...)",
            )
        return replace(self, alignment=WatermarkAlignmentParams(watermark_group, drift_ms, interval_ms))


def _takes_no_arguments(supplier: Callable[..., Any]) -> bool:
    try:
        inspect.signature(supplier).bind()
    except TypeError:
        return False
    except ValueError:  # some built-ins do not tell
        return True
    return True
