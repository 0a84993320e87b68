"""A source subtask: polls its reader, and starts checkpoints when told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...checkpoint.messages import NotifyCheckpointAborted, NotifyCheckpointComplete, TriggerCheckpoint
from ...connectors.base import (
    EndOfSource,
    HandlesSourceEvents,
    NothingAvailable,
    Source,
    SourceBatch,
    SourceReader,
    SourceReaderContext,
    SplitFinished,
)
from ...core.batch import MAX_TIMESTAMP, CheckpointBarrier, RecordBatch
from ...core.clock import Clock
from ...core.errors import ProtocolViolation
from ...operators.base import OperatorSnapshotParts, ProcessingTime
from ...operators.source import SourceHead, SourceSpec
from ..exchange.record_writer import RecordWriter
from ..graph.execution_graph import Subtask
from .chain import Chain
from .source_alignment import SourceAlignment
from .task import Task, TaskEvents

SPLITS = "splits"
"""Name of the list state that holds the reader's unfinished splits."""


class SourceTask(Task):
    """A subtask that reads splits.

    Args:
        time: for reports of aligned watermarks.
        request_split: tells the enumerator that the reader ran out of splits.
        report_watermark: tells the JobManager how far a source with aligned watermarks is (ms).
        overtake_after_ms: of the barriers that begin here; None: they keep their order.
    """

    def __init__(
        self,
        subtask: Subtask,
        chain: Chain,
        writers: Sequence[RecordWriter],
        events: TaskEvents,
        clock: Clock,
        batch_size: int,
        source: Source[Any, Any],
        context: SourceReaderContext,
        time: ProcessingTime,
        request_split: Callable[[], None],
        report_watermark: Callable[[int], None],
        overtake_after_ms: int | None = None,
    ) -> None:
        super().__init__(subtask, chain, writers, events, clock, batch_size)
        self._overtake_after_ms = overtake_after_ms
        self._source = source
        self._reader: SourceReader[Any, Any] = source.create_reader(context)
        head = chain.operators[0]
        if not isinstance(head, SourceHead):
            raise ProtocolViolation(
                "a source's chain begins with a source operator", where=subtask.display_name
            )
        self._head = head
        self._request_split = request_split
        self._more_splits = True
        self._unfinished: set[str] = set()
        self._waiting_barriers: list[CheckpointBarrier] = []
        self._over = False  # nothing is read any more
        self._alignment = self._make_alignment(time, report_watermark)

    def _make_alignment(self, time: ProcessingTime, report: Callable[[int], None]) -> SourceAlignment | None:
        spec, tracker = self.chain.descriptions[0].operator, self._head.watermarks.tracker
        params = spec.strategy.alignment if isinstance(spec, SourceSpec) else None
        if params is None or tracker is None:
            return None
        return SourceAlignment(params, self._reader, tracker, time, report)

    def start_reader(self) -> None:
        """Connect the reader; after all operators are open."""
        self._reader.start()
        if self._alignment is not None:
            self._alignment.start()

    def add_splits(self, splits: Sequence[bytes], *, no_more: bool) -> None:
        """From the enumerator."""
        decoded = [self._source.decode_split(split) for split in splits]
        if decoded:
            for split in decoded:
                self._head.add_split(split.split_id)
                self._unfinished.add(split.split_id)
            self._reader.add_splits(decoded)
        if no_more:
            self._more_splits = False
            self._reader.notify_no_more_splits()
        self.retry_at_ms = None

    def handle_event(self, event: bytes) -> None:
        """From the enumerator."""
        if not isinstance(self._reader, HandlesSourceEvents):
            raise ProtocolViolation(
                "the reader of this source handles no events of its enumerator",
                where=self.subtask.display_name,
            )
        self._reader.handle_source_event(event)
        self.retry_at_ms = None

    def align(self, max_watermark: int) -> None:
        """Read no further than this watermark (ms) until the group has caught up."""
        if self._alignment is not None and not self.ended:
            self._alignment.set_limit(max_watermark)
            self.retry_at_ms = None

    def trigger(self, trigger: TriggerCheckpoint) -> None:
        """Take this checkpoint: called between batches. Barriers wait while results are left at the end of the input."""
        savepoint = trigger.savepoint
        overtake_after_ms = self._overtake_after_ms if savepoint is None else None
        barrier = CheckpointBarrier(trigger.checkpoint_id, trigger.timestamp_ms, overtake_after_ms, savepoint)
        if self._ending:
            self._waiting_barriers.append(barrier)
        else:
            self.take_snapshot(barrier)

    def _take_input(self) -> bool:
        if self.ended:
            if not self._waiting_barriers:
                return False
            self.take_snapshot(self._waiting_barriers.pop(0))
            return True
        if self._over:
            return False
        if self._alignment is not None and self._alignment.waits:
            self.retry_at_ms = None  # a message ends the waiting
            return False
        if self.retry_at_ms is not None and self._clock.monotonic_ms() < self.retry_at_ms:
            return False
        self.retry_at_ms = None
        polled = self._reader.poll_next(self._limit())
        match polled:
            case SourceBatch(split_id=split_id, values=values, timestamps=timestamps, side=side):
                if side is not None:
                    for tag, records in side.items():
                        self.chain.operators[0].output.emit_side(tag, RecordBatch(records))
                if values:
                    self._head.select_split(split_id)
                    self._process(RecordBatch(values, timestamps))
                    if self._alignment is not None:
                        self._alignment.update()
            case SplitFinished(split_id=split_id):
                self._head.remove_split(split_id)
                self._unfinished.discard(split_id)
                if self._alignment is not None:
                    self._alignment.remove_split(split_id)
                if not self._unfinished and self._more_splits:
                    self._request_split()
            case NothingAvailable(retry_in_ms=retry_in_ms):
                self.retry_at_ms = self._clock.monotonic_ms() + retry_in_ms
                return False
            case EndOfSource():
                self._end()
        return True

    def drain(self) -> None:
        """End the input here, between batches, though the source has more: what is unread stays in the snapshot's splits."""
        if not self._over:
            self._end()

    def _end(self) -> None:
        self._over = True
        self.watermark = MAX_TIMESTAMP
        self.chain.entry.process_watermark(MAX_TIMESTAMP)
        if self._alignment is not None:
            self._alignment.end()
        self.end_input()

    def _add_own_state(self, parts: dict[str, OperatorSnapshotParts], checkpoint_id: int) -> None:
        operator_id = self.chain.descriptions[0].operator_id
        splits = [self._source.encode_split(split) for split in self._reader.snapshot_state(checkpoint_id)]
        parts.setdefault(operator_id, OperatorSnapshotParts()).lists[SPLITS] = splits

    def notify(self, notification: NotifyCheckpointComplete | NotifyCheckpointAborted) -> None:
        if isinstance(notification, NotifyCheckpointComplete):
            self._reader.notify_checkpoint_complete(notification.checkpoint_id)
        else:
            aborted = notification.checkpoint_id
            self._waiting_barriers = [b for b in self._waiting_barriers if b.checkpoint_id != aborted]
        super().notify(notification)

    def close(self) -> None:
        try:
            self._reader.close()
        finally:
            super().close()
