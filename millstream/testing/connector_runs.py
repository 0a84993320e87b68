"""Drives sources and sinks through their protocols as the runtime does, with crashes and restores at other parallelisms.

Everything that would survive a crash (a checkpoint) is held in encoded form, so that nothing can lean on live objects.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import cloudpickle

from ..connectors.base import (
    CommittingSinkWriter,
    EndOfSource,
    HandlesReaderEvents,
    HandlesSourceEvents,
    NothingAvailable,
    Sink,
    SinkWriter,
    SinkWriterContext,
    Source,
    SourceBatch,
    SourceReader,
    SourceReaderContext,
    SplitFinished,
    StatefulSinkWriter,
    SupportsCommitter,
)
from ..core.clock import ManualClock, SystemClock

_CLOCK: Final = SystemClock()
_BLOCKED_MS: Final = 300
_BLOCKED_POLLS: Final = 3
"""`poll_next` is allowed "a few ms at most". A busy machine makes one poll slow; a reader that waits for an outside system
does so in every poll that has nothing to give."""
_PATIENCE_MS: Final = 60_000
_open_runs: list[SourceRun | SinkRun] = []


def close_open_runs() -> None:
    """Give back what crashed attempts hold, after the test: a killed process would have done so at once."""
    while _open_runs:
        _open_runs.pop().close()


@dataclass(frozen=True)
class SourceCheckpoint:
    """What a checkpoint keeps of a source."""

    enumerator: bytes
    splits: tuple[bytes, ...]


_AsyncCall = tuple[Callable[[], Any], Callable[[Any], None]]


class RecordingEnumeratorContext:
    """Delivers assignments to the readers, and runs asynchronous work when asked to."""

    def __init__(self, run: SourceRun, parallelism: int) -> None:
        self._run = run
        self._parallelism = parallelism
        self.pending: list[_AsyncCall] = []
        self.periodic: list[_AsyncCall] = []

    @property
    def parallelism(self) -> int:
        """Number of readers."""
        return self._parallelism

    def assign_splits(self, assignment: Mapping[int, Sequence[Any]]) -> None:
        """They travel encoded."""
        source = self._run.source
        for subtask, splits in assignment.items():
            sent = [source.decode_split(source.encode_split(split)) for split in splits]
            self._run.unfinished[subtask].update(split.split_id for split in sent)
            self._run.readers[subtask].add_splits(sent)

    def signal_no_more_splits(self, subtask: int) -> None:
        """Told to the reader at once."""
        self._run.more_splits[subtask] = False
        self._run.readers[subtask].notify_no_more_splits()

    def send_event_to_reader(self, subtask: int, event: bytes) -> None:
        """Told to the reader at once."""
        reader = self._run.readers[subtask]
        assert isinstance(reader, HandlesSourceEvents)
        reader.handle_source_event(event)

    def call_async(
        self, work: Callable[[], Any], handler: Callable[[Any], None], *, period_ms: int | None = None
    ) -> None:
        """Kept for `run_pending`, and with a period for `run_periodic`, too."""
        self.pending.append((work, handler))
        if period_ms is not None:
            self.periodic.append((work, handler))

    def run_pending(self) -> None:
        """Run what was asked for."""
        pending, self.pending = self.pending, []
        for work, handler in pending:
            handler(work())

    def run_periodic(self) -> None:
        """Run again what was asked for with a period."""
        for work, handler in self.periodic:
            handler(work())


class SourceRun:
    """One attempt of a source: an enumerator and its readers.

    Args:
        restored: what an earlier run's `checkpoint` gave.
        clock: what readers take for the wall clock.
        batch: `max_records` of every poll.

    Attributes:
        values: all records so far; `by_subtask` those of each reader, `timestamps` their event times.
        ended: which readers have come to their end.
        unfinished: ids of the splits that each reader has.
        more_splits: which readers may be given more.
    """

    def __init__(
        self,
        source: Source[Any, Any],
        parallelism: int = 1,
        restored: SourceCheckpoint | None = None,
        *,
        clock: ManualClock | None = None,
        batch: int = 7,
    ) -> None:
        _open_runs.append(self)
        self.source: Source[Any, Any] = cloudpickle.loads(cloudpickle.dumps(source))
        self.clock = clock or ManualClock()
        self.batch = batch
        self.polls = 0
        self._blocked = [0] * parallelism  # polls in a row
        self.values: list[Any] = []
        self.timestamps: list[int | None] = []
        self.ended = [False] * parallelism
        self.more_splits = [True] * parallelism
        self.unfinished: list[set[str]] = [set() for _ in range(parallelism)]
        self.by_subtask: list[list[Any]] = [[] for _ in range(parallelism)]
        self.readers: list[SourceReader[Any, Any]] = [
            self.source.create_reader(
                SourceReaderContext(
                    subtask,
                    parallelism,
                    "job",
                    self.clock,
                    send_source_event=partial(self._to_enumerator, subtask),
                )
            )
            for subtask in range(parallelism)
        ]
        self.context = RecordingEnumeratorContext(self, parallelism)
        self.enumerator = self.source.create_enumerator(
            self.context, restored.enumerator if restored else None
        )
        self.enumerator.start()
        if restored:
            self.enumerator.add_splits_back([self.source.decode_split(split) for split in restored.splits])
        for subtask, reader in enumerate(self.readers):
            reader.start()
            self.enumerator.add_reader(subtask)

    def _to_enumerator(self, subtask: int, event: bytes) -> None:
        assert isinstance(self.enumerator, HandlesReaderEvents)
        self.enumerator.handle_source_event(subtask, event)

    def poll(self, subtask: int) -> Any:
        """One poll of one reader; its records are noted. A reader that ran out of splits asks for more, as in a job."""
        self.context.run_pending()
        began_ms = _CLOCK.monotonic_ms()
        answer: Any = self.readers[subtask].poll_next(self.batch)
        took_ms = _CLOCK.monotonic_ms() - began_ms
        self._blocked[subtask] = self._blocked[subtask] + 1 if took_ms >= _BLOCKED_MS else 0
        assert self._blocked[subtask] < _BLOCKED_POLLS, f"poll_next blocks the loop, now for {took_ms} ms"
        match answer:
            case SourceBatch(values=values, timestamps=timestamps):
                check_batch(answer, self.batch, self.unfinished[subtask])
                self.values += values
                self.timestamps += timestamps or [None] * len(values)
                self.by_subtask[subtask] += values
            case EndOfSource():
                self.ended[subtask] = True
            case SplitFinished(split_id=split_id):
                self.unfinished[subtask].remove(split_id)
                if not self.unfinished[subtask] and self.more_splits[subtask]:
                    self.enumerator.handle_split_request(subtask)
            case NothingAvailable():
                pass
            case _:
                raise AssertionError(f"poll_next answered {answer!r}")
        return answer

    def read(self, polls: int | None = None) -> list[Any]:
        """Poll the readers in turn, `polls` times or until all have ended; gives all records so far."""
        last = None if polls is None else self.polls + polls
        deadline_ms = _CLOCK.monotonic_ms() + _PATIENCE_MS
        while not all(self.ended) and self.polls != last:
            assert _CLOCK.monotonic_ms() < deadline_ms, "the source neither gives records nor ends"
            answer = self.poll(self.polls % len(self.readers))
            if isinstance(answer, NothingAvailable) and not self.context.pending:
                self.clock.advance(answer.retry_in_ms)
            self.polls += 1
        return self.values

    def checkpoint(self, checkpoint_id: int = 1) -> SourceCheckpoint:
        """Enumerator first, then the readers, as the coordinator does it."""
        enumerator = self.enumerator.snapshot_state(checkpoint_id)
        splits = [
            self.source.encode_split(split)
            for reader in self.readers
            for split in reader.snapshot_state(checkpoint_id)
        ]
        return SourceCheckpoint(enumerator, tuple(splits))

    def close(self) -> None:
        """As the runtime does at the end, once."""
        readers, self.readers = self.readers, []
        for reader in readers:
            reader.close()
        if readers:
            self.enumerator.close()


def check_batch(batch: SourceBatch[Any], max_records: int, unfinished: Collection[str]) -> None:
    """Raise AssertionError where what a reader gave breaks the contract of `poll_next`; `unfinished`: ids of its splits."""
    values, timestamps = batch.values, batch.timestamps
    assert 0 < len(values) <= max_records, f"{len(values)} records instead of 1 to {max_records}"
    assert timestamps is None or len(timestamps) == len(values), "not one timestamp per record"
    assert batch.split_id in unfinished, f"{batch.split_id!r} is no split of this reader"


@dataclass(frozen=True)
class SinkCheckpoint:
    """What a checkpoint keeps of a sink."""

    checkpoint_id: int
    committables: tuple[bytes, ...]
    states: tuple[bytes, ...]


@dataclass
class SinkRun:
    """One attempt of a sink: its writers, each from a copy of the recipe, and a committer for phase two.

    Attributes:
        restored: the checkpoint it starts from; its committables are committed before the writers are made.
        attempt: rises with every restart of a job.
    """

    sink: Sink[Any]
    parallelism: int = 1
    restored: SinkCheckpoint | None = None
    attempt: int = 0
    job_id: str = "0123456789abcdef0123456789abcdef"
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_700_000_000_000))

    def __post_init__(self) -> None:
        recipe = cloudpickle.dumps(self.sink)
        self.sink = cloudpickle.loads(recipe)
        self.writers: list[SinkWriter[Any]] = []
        self.committer = self.sink.create_committer() if isinstance(self.sink, SupportsCommitter) else None
        if self.restored:
            self.commit(self.restored)
        self.writers = [
            cloudpickle.loads(recipe).create_writer(self._context(subtask))
            for subtask in range(self.parallelism)
        ]
        _open_runs.append(self)

    def write(self, subtask: int, values: Sequence[Any], timestamps: Sequence[int] | None = None) -> None:
        """A batch for one writer."""
        self.writers[subtask].write_batch(values, timestamps)

    def checkpoint(self, checkpoint_id: int, *, end_of_input: bool = False) -> SinkCheckpoint:
        """Phase one in every subtask."""
        committables: list[bytes] = []
        states: list[bytes] = []
        for writer in self.writers:
            writer.flush(end_of_input)
            if isinstance(writer, CommittingSinkWriter):
                assert isinstance(self.sink, SupportsCommitter)
                committables += map(self.sink.encode_committable, writer.prepare_commit(checkpoint_id))
            if isinstance(writer, StatefulSinkWriter):
                states += writer.snapshot_state(checkpoint_id)
        return SinkCheckpoint(checkpoint_id, tuple(committables), tuple(states))

    def commit(self, checkpoint: SinkCheckpoint) -> None:
        """Phase two, from the encoded form alone."""
        if self.committer is None:
            return
        assert isinstance(self.sink, SupportsCommitter)
        self.committer.commit([self.sink.decode_committable(data) for data in checkpoint.committables])

    def finish(self, checkpoint_id: int) -> None:
        """The last checkpoint of a bounded job."""
        self.commit(self.checkpoint(checkpoint_id, end_of_input=True))
        self.close()

    def close(self) -> None:
        """As the runtime does at the end, once. An attempt that is not closed was killed."""
        writers, self.writers = self.writers, []
        for writer in writers:
            writer.close()
        if self.committer is not None and writers:
            self.committer.close()

    def _context(self, subtask: int) -> SinkWriterContext[Any]:
        pending: tuple[Any, ...] = ()
        states: tuple[bytes, ...] = ()
        if self.restored:
            states = self.restored.states[subtask :: self.parallelism]
            if isinstance(self.sink, SupportsCommitter):
                pending = tuple(map(self.sink.decode_committable, self.restored.committables))
        return SinkWriterContext(
            subtask=subtask,
            parallelism=self.parallelism,
            job_id=self.job_id,
            job_name="job",
            attempt=self.attempt,
            restored_checkpoint_id=self.restored.checkpoint_id if self.restored else None,
            restored_state=states,
            pending_committables=pending,
            clock=self.clock,
            oldest_attempt=self.attempt,
        )
