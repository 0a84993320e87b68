"""Sources that compute their records from an index."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from ...core.arguments import check_call, check_instance, check_int
from ...core.errors import ConnectorError
from ..base import (
    Boundedness,
    EndOfSource,
    NothingAvailable,
    Poll,
    SourceBatch,
    SourceReaderContext,
    SplitEnumeratorContext,
    SplitFinished,
)
from ..static_splits import StaticSplitEnumerator
from .ranges import IndexRange, share_out
from .rate_limit import RateLimiter, RateLimiterStrategy

T = TypeVar("T")


class DataGeneratorSource(Generic[T]):
    """The records `generator_function(0)` to `generator_function(count - 1)`.

    The function must give the same record for the same index whenever and wherever it is called: then a replay, also at
    another parallelism, gives exactly what was read before. The indices are divided evenly over the subtasks; a subtask
    reads its range, or its ranges in turn, in order.

    Args:
        generator_function: index to record.
        count: how many records; the source is bounded.
        rate_limiter_strategy: how fast at most; as fast as possible by default.
        type_info: the type of the records; inferred or generic by default.
        timestamps: index to event time in ms; a watermark strategy may assign others.

    Raises:
        JobDefinitionError: `count` is negative, or a function cannot be called.

    >>> source = DataGeneratorSource(lambda index: f"order-{index}", 1_000)
    """

    def __init__(
        self,
        generator_function: Callable[[int], T],
        count: int,
        rate_limiter_strategy: RateLimiterStrategy | None = None,
        type_info: Any = None,
        *,
        timestamps: Callable[[int], int] | None = None,
    ) -> None:
        _check_function("generator_function", generator_function, 1)
        if timestamps is not None:
            _check_function("function of timestamps", timestamps, 1)
        batches = partial(_call_for_each, generator_function)
        batch_timestamps = None if timestamps is None else partial(_call_for_each, timestamps)
        self._set_up(batches, batch_timestamps, count, rate_limiter_strategy, type_info)

    @classmethod
    def from_batches(
        cls,
        generator_function: Callable[[int, int], list[T]],
        count: int,
        rate_limiter_strategy: RateLimiterStrategy | None = None,
        type_info: Any = None,
        *,
        timestamps: Callable[[int, int], list[int]] | None = None,
    ) -> DataGeneratorSource[T]:
        """The same from a function of whole ranges, which saves a call for each record.

        Args:
            generator_function: `(start, stop)` to the list of the records of the indices from `start` up to, but without
                `stop`. A record must not depend on which range its index is asked for in.
            timestamps: `(start, stop)` to the list of their event times in ms.

        >>> source = DataGeneratorSource.from_batches(lambda start, stop: list(range(start, stop)), 1_000)
        """
        _check_function("generator_function", generator_function, 2)
        if timestamps is not None:
            _check_function("function of timestamps", timestamps, 2)
        source = cls.__new__(cls)
        source._set_up(generator_function, timestamps, count, rate_limiter_strategy, type_info)
        return source

    def _set_up(
        self,
        batches: Callable[[int, int], list[T]],
        timestamps: Callable[[int, int], list[int]] | None,
        count: int,
        rate_limiter_strategy: RateLimiterStrategy | None,
        type_info: Any,
    ) -> None:
        check_int("number of records to generate", count, least=0, fix="give a count of 0 or more")
        if rate_limiter_strategy is not None:
            fix = "give for example RateLimiterStrategy.per_second(100)"
            check_instance("rate limit", rate_limiter_strategy, RateLimiterStrategy, fix=fix)
        self._batches = batches
        self._timestamps = timestamps
        self._count = count
        self._rate_limiter_strategy = rate_limiter_strategy or RateLimiterStrategy.no_op()
        self.type_info = type_info

    @property
    def gives_timestamps(self) -> bool:
        """See `TellsTimestamps`."""
        return self._timestamps is not None

    @property
    def boundedness(self) -> Boundedness:
        """Always bounded."""
        return Boundedness.BOUNDED

    def create_enumerator(
        self, context: SplitEnumeratorContext[IndexRange], restored: bytes | None
    ) -> StaticSplitEnumerator[IndexRange]:
        """Shares the indices out evenly, on a restored job those that are left."""
        return StaticSplitEnumerator(
            context,
            restored,
            find=self._all_indices,
            share=share_out,
            encode=self.encode_split,
            decode=self.decode_split,
        )

    def create_reader(self, context: SourceReaderContext) -> DataGeneratorReader[T]:
        """A reader that calls the generator."""
        limiter = self._rate_limiter_strategy.create_limiter(context.clock, context.parallelism)
        return DataGeneratorReader(self._batches, self._timestamps, limiter)

    def encode_split(self, split: IndexRange) -> bytes:
        """Version, range and position."""
        return split.encode()

    def decode_split(self, data: bytes) -> IndexRange:
        """The inverse of `encode_split`."""
        return IndexRange.decode(data)

    def _all_indices(self) -> list[IndexRange]:
        return [IndexRange(0, self._count, 0)]


class NumberSequenceSource(DataGeneratorSource[int]):
    """The numbers from `start` to `end`, both included.

    >>> source = NumberSequenceSource(1, 1_000_000)
    """

    def __init__(self, start: int, end: int) -> None:
        check_int(
            "first number of a sequence", start, least=-(2**63), most=2**63 - 1, fix="give for example 1"
        )
        check_int(
            "last number of a sequence",
            end,
            least=start,
            most=2**63 - 1,
            fix="give the first number or a greater one",
        )
        self._set_up(partial(_numbers, start), None, end - start + 1, None, None)


class DataGeneratorReader(Generic[T]):
    """Reads index ranges. With several of them it takes a batch of each in turn, so that their event times advance together."""

    def __init__(
        self,
        batches: Callable[[int, int], list[T]],
        timestamps: Callable[[int, int], list[int]] | None,
        limiter: RateLimiter | None,
    ) -> None:
        self._batches = batches
        self._timestamps = timestamps
        self._limiter = limiter
        self._ranges: deque[IndexRange] = deque()
        self._no_more_splits = False
        self._paused: set[str] = set()

    def start(self) -> None:
        """Nothing to connect to."""

    def add_splits(self, splits: Sequence[IndexRange]) -> None:
        """Read these ranges too."""
        self._ranges.extend(splits)

    def notify_no_more_splits(self) -> None:
        """The source ends with the ranges it has."""
        self._no_more_splits = True

    def poll_next(self, max_records: int) -> Poll[T]:
        """The next records of the range whose turn it is.

        Raises:
            ConnectorError: the generator of batches gave another number of records than it was asked for.
        """
        if not self._ranges:
            return EndOfSource() if self._no_more_splits else NothingAvailable()
        if self._paused and not self._turn_to_unpaused():
            return NothingAvailable()
        current = self._ranges[0]
        if not current.remaining:
            self._ranges.popleft()
            return SplitFinished(current.split_id)
        allowed = self._allowed(min(max_records, current.remaining))
        if allowed == 0:
            return self._wait()
        start, stop = current.position, current.position + allowed
        batch = SourceBatch(current.split_id, self._batches(start, stop))
        if self._timestamps is not None:
            batch.timestamps = self._timestamps(start, stop)
        _check_length(batch, start, stop)
        self._ranges[0] = IndexRange(current.start, current.stop, stop)
        self._ranges.rotate(-1)
        if self._limiter is not None:
            self._limiter.emitted(allowed)
        return batch

    def pause_or_resume_splits(
        self, splits_to_pause: Collection[str], splits_to_resume: Collection[str]
    ) -> None:
        """Leave out some ranges for a while."""
        self._paused.update(splits_to_pause)
        self._paused.difference_update(splits_to_resume)

    def _turn_to_unpaused(self) -> bool:
        """Make the next range that is not paused the first one; False if there is none."""
        for _ in range(len(self._ranges)):
            if self._ranges[0].split_id not in self._paused:
                return True
            self._ranges.rotate(-1)
        return False

    def snapshot_state(self, checkpoint_id: int) -> list[IndexRange]:
        """The unfinished ranges at their positions."""
        return list(self._ranges)

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Nothing outside waits for it."""

    def close(self) -> None:
        """Nothing to give back."""

    def _allowed(self, wanted: int) -> int:
        return wanted if self._limiter is None else min(wanted, self._limiter.allowed())

    def _wait(self) -> NothingAvailable:
        assert self._limiter is not None
        return NothingAvailable(retry_in_ms=self._limiter.wait_ms())


def _call_for_each(function: Callable[[int], T], start: int, stop: int) -> list[T]:
    return list(map(function, range(start, stop)))


def _numbers(first: int, start: int, stop: int) -> list[int]:
    return list(range(first + start, first + stop))


def _check_function(name: str, function: object, arguments: int) -> None:
    wanted = "the index of a record" if arguments == 1 else "the first index and the one after the last"
    check_call(name, function, arguments, fix=f"give a function of {wanted}")


def _check_length(batch: SourceBatch[Any], start: int, stop: int) -> None:
    for what, items in (("records", batch.values), ("timestamps", batch.timestamps)):
        if items is not None and len(items) != stop - start:
            raise ConnectorError(
                f"the generator gave {len(items)} {what} for the {stop - start} indices from {start} to {stop - 1}",
                where="DataGeneratorSource.from_batches",
                fix="return a list with one item for each index of the range",
            )
