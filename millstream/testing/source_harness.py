"""Runs one source in isolation: polls its readers by hand; records, watermarks and statuses out, snapshots in between.

h = SourceHarness(source, WatermarkStrategy.for_monotonous_timestamps())
h.poll()
h = h.restored(parallelism=2)
h.poll(1)
h.set_processing_time(200)
assert h.output == [..., W(10)]
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Generic, Self, TypeVar

import cloudpickle

from ..connectors.base import (
    EndOfSource,
    HandlesReaderEvents,
    HandlesSourceEvents,
    NothingAvailable,
    Poll,
    Source,
    SourceBatch,
    SourceReader,
    SourceReaderContext,
    SplitEnumerator,
    SplitFinished,
)
from ..core.batch import MAX_TIMESTAMP, RecordBatch
from ..core.clock import Clock, ManualClock, SystemClock
from ..operators.base import OperatorContext
from ..operators.source import SourceHead, SourceSpec
from ..operators.watermark_strategy import WatermarkStrategy
from ..state.handles import OperatorSnapshot
from .connector_runs import check_batch
from .harness import OperatorHarness, _Collector

T = TypeVar("T")

_REAL: Final[Clock] = SystemClock()


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """A checkpoint of a source, in encoded form.

    Attributes:
        enumerator: its state.
        splits: the unfinished ones of all readers.
        heads: state of the functions of the watermark strategy, by subtask.
    """

    enumerator: bytes
    splits: tuple[bytes, ...]
    heads: tuple[OperatorSnapshot, ...] = ()


class SourceHarness(Generic[T]):
    """The enumerator and all readers of a source, polled by hand, with timestamps and watermarks per split.

    Nothing happens by itself: a reader reads when it is polled, work that the enumerator gives to `call_async` is done before
    the next poll, and what is periodic comes when `set_processing_time` moves the clock over it. Splits and state travel encoded,
    as in a job, and answers of the reader that break the protocol raise AssertionError.

    Args:
        source: as in a job, readers and enumerator are made by a copy of it.
        strategy: event times and watermarks; none by default.
        parallelism: number of readers.
        max_records: of each poll.
        register: tell the enumerator at once that the readers run; otherwise `register` does, for one after the other.

    Attributes:
        ended: which readers have come to their end.
        enumerator: of this attempt; so are the readers.
    """

    def __init__(
        self,
        source: Source[T, Any],
        strategy: WatermarkStrategy[T] | None = None,
        *,
        parallelism: int = 1,
        max_records: int = 1_000,
        register: bool = True,
        _restored: SourceSnapshot | None = None,
        _heads: _Heads | None = None,
    ) -> None:
        self.source: Source[T, Any] = cloudpickle.loads(cloudpickle.dumps(source))
        spec = SourceSpec(WatermarkStrategy.no_watermarks() if strategy is None else strategy)
        self._heads = _Heads(spec, parallelism=parallelism) if _heads is None else _heads
        self._max_records = max_records
        self._register_all = register
        self._closed = False
        self._splits: list[set[str]] = [set() for _ in range(parallelism)]
        self._more_splits = [True] * parallelism
        self.ended: list[bool] = [False] * parallelism
        self.readers: list[SourceReader[T, Any]] = [
            self.source.create_reader(
                SourceReaderContext(
                    subtask,
                    parallelism,
                    "harness",
                    self.clock,
                    send_source_event=partial(self._to_enumerator, subtask),
                )
            )
            for subtask in range(parallelism)
        ]
        self._work = _EnumeratorWork(self)
        self.enumerator: SplitEnumerator[Any] = self.source.create_enumerator(
            self._work, None if _restored is None else _restored.enumerator
        )
        self._start(_restored)

    def _to_enumerator(self, subtask: int, event: bytes) -> None:
        assert isinstance(self.enumerator, HandlesReaderEvents)
        self.enumerator.handle_source_event(subtask, event)

    def _start(self, restored: SourceSnapshot | None) -> None:
        self.enumerator.start()
        if restored is not None:
            self.enumerator.add_splits_back([self.source.decode_split(split) for split in restored.splits])
        for reader in self.readers:
            reader.start()
        if self._register_all:
            for subtask in range(len(self.readers)):
                self.register(subtask)

    # ---- output

    @property
    def output(self) -> list[Any]:
        """Records, watermarks (`W`) and statuses in order of emission, over all subtasks and also from before a restore."""
        return self._heads.output

    @property
    def timestamps(self) -> list[int | None]:
        """Event time of each entry of `output`, None where there is none."""
        return self._heads.timestamps

    @property
    def results(self) -> list[Any]:
        """`output` without watermarks and statuses."""
        return self._heads.results

    def output_of(self, subtask: int) -> list[Any]:
        """What this subtask gave in this attempt: its own watermarks, which `output` has among those of others."""
        return self._heads.by_subtask[subtask].output

    def splits(self, subtask: int = 0) -> list[str]:
        """Ids of the unfinished splits of a reader, sorted."""
        return sorted(self._splits[subtask])

    @property
    def clock(self) -> ManualClock:
        """Processing time; move it with `set_processing_time`."""
        return self._heads.clock

    # ---- what the job would do

    def register(self, subtask: int) -> None:
        """Tell the enumerator that this reader runs, and do what it then asks for."""
        self.enumerator.add_reader(subtask)
        self._work.run_due()

    def add_splits(self, splits: Iterable[Any], subtask: int = 0) -> None:
        """Give splits to a reader, past the enumerator."""
        sent = [self.source.decode_split(self.source.encode_split(split)) for split in splits]
        for split in sent:
            self._head(subtask).add_split(split.split_id)
            self._splits[subtask].add(split.split_id)
        self.readers[subtask].add_splits(sent)

    def no_more_splits(self, subtask: int = 0) -> None:
        """Tell a reader that it gets no more."""
        self._more_splits[subtask] = False
        self.readers[subtask].notify_no_more_splits()

    def poll(self, subtask: int = 0) -> Poll[T]:
        """One poll of a reader; its records get timestamps and go to `output`. One without splits asks the enumerator for more.

        Returns:
            What the reader answered.
        """
        self._work.run_due()
        answer: Any = self.readers[subtask].poll_next(self._max_records)
        match answer:
            case SourceBatch(split_id=split_id, values=values, timestamps=timestamps):
                check_batch(answer, self._max_records, self._splits[subtask])
                self._head(subtask).select_split(split_id)
                self._heads.process(RecordBatch(list(values), timestamps), subtask)
            case SplitFinished(split_id=split_id):
                assert split_id in self._splits[subtask], f"{split_id!r} is no split of this reader"
                self._head(subtask).remove_split(split_id)
                self._splits[subtask].remove(split_id)
                if not self._splits[subtask] and self._more_splits[subtask]:
                    self.enumerator.handle_split_request(subtask)
                    self._work.run_due()
            case EndOfSource():
                self._end(subtask)
            case NothingAvailable():
                pass
            case _:
                raise AssertionError(f"poll_next answered {answer!r}")
        return answer  # type: ignore[no-any-return]  # one of `Poll`, as the match has shown

    def read_available(self) -> list[T]:
        """Poll the readers in turn until each has nothing for now or has ended; the records that came."""
        before = len(self.results)
        while sum(self._gives_something(subtask) for subtask in range(len(self.readers))):
            pass
        return self.results[before:]

    def read_until(self, condition: Callable[[], object], timeout_s: float = 10) -> None:
        """Poll until `condition` holds, for readers and enumerators with threads or outside systems of their own.

        Raises:
            AssertionError: it does not within `timeout_s` seconds of real time.
        """
        until_ms = _REAL.monotonic_ms() + int(timeout_s * 1000)
        pause = threading.Event()
        while not condition():
            if not self.read_available():
                assert _REAL.monotonic_ms() < until_ms, f"what was waited for did not come in {timeout_s} s"
                pause.wait(0.002)  # the reader's own threads are at work

    def set_processing_time(self, now_ms: int) -> None:
        """Move the clock forward, to each moment at which something is due: periodic watermarks, idleness, the enumerator's work."""
        while (left_ms := now_ms - self.clock.now_ms()) != 0:
            due = [at for at in (self._heads.next_due_ms(), self._work.next_due_ms()) if at is not None]
            in_ms = min((at - self.clock.now_ms() for at in due), default=left_ms)
            self._heads.set_processing_time(self.clock.now_ms() + min(left_ms, max(in_ms, 1)))
            self._work.run_due()

    # ---- checkpoints

    def snapshot(self, *, complete: bool = True) -> SourceSnapshot:
        """Take a checkpoint, of the enumerator first, then of the readers; and complete it unless told otherwise."""
        number = self._heads.checkpoint_id + 1
        enumerator = self.enumerator.snapshot_state(number)
        splits = tuple(
            self.source.encode_split(split)
            for reader in self.readers
            for split in reader.snapshot_state(number)
        )
        heads = self._heads.snapshot(complete=complete)
        if complete:
            for reader in self.readers:
                reader.notify_checkpoint_complete(number)
        return SourceSnapshot(enumerator, splits, heads)

    def restored(self, *, parallelism: int | None = None) -> Self:
        """A new harness that goes on from a snapshot of this one, which is closed; `output` and the time are carried over."""
        return self.restored_from(self.snapshot(), parallelism=parallelism)

    def restored_from(self, snapshot: SourceSnapshot, *, parallelism: int | None = None) -> Self:
        """The same from an earlier snapshot."""
        self._close_source()
        subtasks = len(self.readers) if parallelism is None else parallelism
        return type(self)(
            self.source,
            parallelism=subtasks,
            max_records=self._max_records,
            register=self._register_all,
            _restored=snapshot,
            _heads=self._heads.restored_from(snapshot.heads, parallelism=subtasks),
        )

    def close(self) -> None:
        """Close readers and enumerator. Idempotent."""
        self._close_source()
        self._heads.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- inside

    def _head(self, subtask: int) -> SourceHead:
        head = self._heads.operators[subtask]
        assert isinstance(head, SourceHead)
        return head

    def _gives_something(self, subtask: int) -> bool:
        return not self.ended[subtask] and not isinstance(self.poll(subtask), NothingAvailable)

    def _end(self, subtask: int) -> None:
        if not self.ended[subtask]:
            self.ended[subtask] = True
            self._heads._entries[subtask].process_watermark(MAX_TIMESTAMP)

    def _close_source(self) -> None:
        if not self._closed:
            self._closed = True
            for reader in self.readers:
                reader.close()
            self.enumerator.close()


class _Heads(OperatorHarness):
    """The operators behind the readers, with the output of each by itself, too."""

    def _open(self, restored: Sequence[OperatorSnapshot]) -> None:
        self.by_subtask = [_Collector() for _ in range(self._parallelism)]
        super()._open(restored)

    def _context(
        self, subtask: int, share: OperatorSnapshot, whole: dict[str, list[bytes]]
    ) -> OperatorContext:
        context = super()._context(subtask, share, whole)
        return replace(context, output=_Both(self._collector, self.by_subtask[subtask]))

    def next_due_ms(self) -> int | None:
        """When the next periodic watermark is due."""
        return self._time.next_due_ms()


class _Both:
    """An output that goes to two collectors."""

    def __init__(self, *collectors: _Collector) -> None:
        self._collectors = collectors

    def emit(self, batch: RecordBatch) -> None:
        for collector in self._collectors:
            collector.emit(batch)

    def emit_side(self, tag: str, batch: RecordBatch) -> None:
        for collector in self._collectors:
            collector.emit_side(tag, batch)

    def emit_watermark(self, timestamp: int) -> None:
        for collector in self._collectors:
            collector.emit_watermark(timestamp)

    def emit_status(self, idle: bool) -> None:
        for collector in self._collectors:
            collector.emit_status(idle)


@dataclass(slots=True)
class _Call:
    """What an enumerator wants to be done."""

    at_ms: int
    work: Callable[[], Any]
    handler: Callable[[Any], None]
    period_ms: int | None


class _EnumeratorWork:
    """The `SplitEnumeratorContext`: assignments go to the readers at once, asynchronous work waits for `run_due`."""

    def __init__(self, harness: SourceHarness[Any]) -> None:
        self._harness = harness
        self._calls: list[_Call] = []

    @property
    def parallelism(self) -> int:
        return len(self._harness.readers)

    def assign_splits(self, assignment: Mapping[int, Sequence[Any]]) -> None:
        for subtask, splits in assignment.items():
            self._harness.add_splits(splits, subtask)

    def signal_no_more_splits(self, subtask: int) -> None:
        self._harness.no_more_splits(subtask)

    def send_event_to_reader(self, subtask: int, event: bytes) -> None:
        reader = self._harness.readers[subtask]
        assert isinstance(reader, HandlesSourceEvents)
        reader.handle_source_event(event)

    def call_async(
        self, work: Callable[[], Any], handler: Callable[[Any], None], *, period_ms: int | None = None
    ) -> None:
        self._calls.append(_Call(self._harness.clock.now_ms(), work, handler, period_ms))

    def run_due(self) -> None:
        """Do what is due, also what that brings about."""
        now_ms = self._harness.clock.now_ms()
        while due := [call for call in self._calls if call.at_ms <= now_ms]:
            for call in due:
                self._calls.remove(call)
                call.handler(call.work())
                if call.period_ms is not None:
                    self._calls.append(replace(call, at_ms=now_ms + max(call.period_ms, 1)))

    def next_due_ms(self) -> int | None:
        """When something periodic is due."""
        return min((call.at_ms for call in self._calls), default=None)
