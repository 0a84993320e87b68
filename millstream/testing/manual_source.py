"""A source that a test feeds by hand."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

import msgspec

from ..connectors.base import (
    Boundedness,
    EndOfSource,
    NothingAvailable,
    Poll,
    SourceBatch,
    SourceReaderContext,
    SplitEnumeratorContext,
    SplitFinished,
)
from ..connectors.static_splits import StaticSplitEnumerator, deal_out
from ..core.errors import JobDefinitionError
from . import living

T = TypeVar("T")

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ManualSplit:
    """One of the logs of the source, from `position` on."""

    number: int
    position: int = 0

    @property
    def split_id(self) -> str:
        return f"split-{self.number}"


@dataclass(slots=True)
class _Log(Generic[T]):
    """What one split was given so far; kept, so that it can be read again."""

    records: list[tuple[T, int | None]] = field(default_factory=list)
    ended: bool = False


class ManualSource(Generic[T]):
    """A source that gives what a test hands to it, for jobs in the test's own process (`MiniCluster`) and `SourceHarness`.

    Each split is a log: after a restore, a reader goes on where the checkpoint says, also what came in between is read. The
    source does not end before `end` is called; it counts as unbounded.

    Args:
        splits: number of logs, each read by one subtask; records of a split keep their order.

    Raises:
        JobDefinitionError: there is no split; or (when the job runs) a worker in another process reads it.
    """

    def __init__(self, *, splits: int = 1) -> None:
        if splits < 1:
            raise JobDefinitionError(
                f"a ManualSource cannot have {splits} splits", fix="give it one split or more"
            )
        self._logs: list[_Log[T]] = [_Log() for _ in range(splits)]
        self._number = living.register(self)

    # ---- by the test

    def element(self, value: T, ts: int | None = None, *, split: int = 0) -> None:
        """One more record, with its event time (ms)."""
        self.batch([value], None if ts is None else [ts], split=split)

    def batch(self, values: Iterable[T], timestamps: Iterable[int] | None = None, *, split: int = 0) -> None:
        """More records of one split, with their event times (ms)."""
        log, values = self._open_log(split), list(values)
        times: list[int] | list[None] = [None] * len(values) if timestamps is None else list(timestamps)
        log.records += zip(values, times, strict=True)

    def end(self, *, split: int | None = None) -> None:
        """Nothing follows: in one split, or in any."""
        logs = self._logs if split is None else [self._logs[split]]
        for log in logs:
            log.ended = True

    def _open_log(self, split: int) -> _Log[T]:
        log = self._logs[split]
        if log.ended:
            message = f"split {split} of this source has ended, so it takes no record any more"
            raise ValueError(message)
        return log

    # ---- by the job; see `connectors.base.Source`

    @property
    def boundedness(self) -> Boundedness:
        return Boundedness.CONTINUOUS_UNBOUNDED

    def create_enumerator(
        self, context: SplitEnumeratorContext[ManualSplit], restored: bytes | None
    ) -> StaticSplitEnumerator[ManualSplit]:
        return StaticSplitEnumerator(
            context,
            restored,
            find=lambda: [ManualSplit(number) for number in range(len(self._logs))],
            share=deal_out,
            encode=self.encode_split,
            decode=self.decode_split,
        )

    def create_reader(self, context: SourceReaderContext) -> _Reader[T]:
        return _Reader(self._logs)

    def encode_split(self, split: ManualSplit) -> bytes:
        return msgspec.msgpack.encode([_VERSION, split.number, split.position])

    def decode_split(self, data: bytes) -> ManualSplit:
        _, number, position = msgspec.msgpack.decode(data)
        return ManualSplit(number, position)

    def __reduce__(self) -> tuple[object, ...]:
        return living.find, (self._number,)


class _Reader(Generic[T]):
    def __init__(self, logs: list[_Log[T]]) -> None:
        self._logs = logs
        self._splits: dict[str, ManualSplit] = {}
        self._paused: set[str] = set()
        self._no_more = False

    def start(self) -> None:
        """Nothing to connect to."""

    def add_splits(self, splits: Sequence[ManualSplit]) -> None:
        self._splits |= {split.split_id: split for split in splits}

    def notify_no_more_splits(self) -> None:
        self._no_more = True

    def pause_or_resume_splits(
        self, splits_to_pause: Collection[str], splits_to_resume: Collection[str]
    ) -> None:
        self._paused |= set(splits_to_pause)
        self._paused -= set(splits_to_resume)

    def poll_next(self, max_records: int) -> Poll[T]:
        for split_id in [split_id for split_id in self._splits if split_id not in self._paused]:
            split = self._splits.pop(split_id)
            log = self._logs[split.number]
            if log.ended and split.position == len(log.records):
                return SplitFinished(split_id)
            batch = _next_batch(log, split, max_records)
            # Behind the others: each split has its turn.
            self._splits[split_id] = replace(split, position=split.position + len(batch.values))
            if batch.values:
                return batch
        # No time to wait: whoever feeds the source lets the job take a turn.
        return EndOfSource() if self._no_more and not self._splits else NothingAvailable(retry_in_ms=0)

    def snapshot_state(self, checkpoint_id: int) -> list[ManualSplit]:
        return list(self._splits.values())

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Nothing to acknowledge: the logs are kept."""

    def close(self) -> None:
        """Nothing is held open."""


def _next_batch(log: _Log[T], split: ManualSplit, max_records: int) -> SourceBatch[T]:
    """Records that follow, all with or all without event times."""
    ahead = log.records[split.position : split.position + max_records]
    timed = bool(ahead) and ahead[0][1] is not None
    run = list(itertools.takewhile(lambda record: (record[1] is not None) == timed, ahead))
    times = [time for _, time in run if time is not None]
    return SourceBatch(split.split_id, [value for value, _ in run], times if timed else None)
