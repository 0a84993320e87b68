"""A running subtask: takes input when its outputs have room, drives its chain, takes snapshots at barriers.

Life: created -> `open` -> `step` ... -> input ended (it stays, for checkpoints) -> `finish_commits` -> `close`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ...checkpoint.messages import NotifyCheckpointAborted, NotifyCheckpointComplete
from ...core.batch import (
    CheckpointBarrier,
    EndOfInput,
    RecordBatch,
)
from ...core.clock import Clock
from ...operators.base import BufferingOperator, OperatorSnapshotParts, take_snapshot
from ..exchange.in_flight import InFlightRecords
from ..exchange.record_writer import RecordWriter
from ..graph.execution_graph import Subtask
from .chain import Chain
from .pacing import FastestPace, Pace
from .suspension import Suspension

_NEVER_MS: Final = 1 << 62
_SLOW_STEP_MS: Final = 2
_QUICK_STEP_MS: Final = 1
_FIRST_STEP_RECORDS: Final = 16
"""How long a record takes is not known at first, and 1,024 of 10 ms each would keep the loop from everything else for 10 s.
Full batches are reached within seven quick steps."""


@dataclass(frozen=True, slots=True)
class TakenSnapshot:
    """The synchronous part of a subtask's snapshot: parts by operator id, and the records that the barrier overtakes."""

    barrier: CheckpointBarrier
    parts: dict[str, OperatorSnapshotParts]
    alignment_ms: int
    sync_ms: int
    in_flight: InFlightRecords


@dataclass(frozen=True, slots=True)
class TaskEvents:
    """What a task asks and tells its worker."""

    may_snapshot: Callable[[Task], bool]
    snapshot_taken: Callable[[Task, TakenSnapshot], None]
    snapshot_refused: Callable[[Task, int], None]
    input_ended: Callable[[Task], None]


class Task(ABC):
    """What source and other subtasks have in common.

    Attributes:
        suspension: whether it stands still behind a savepoint that stops the job.
        paces: of the channels behind `writers`.
        next_flush_ms: monotonic time at which what is held back has waited long enough.
        retry_at_ms: monotonic time before which another `step` is pointless, if nothing else happens; None: no such time.
    """

    def __init__(
        self,
        subtask: Subtask,
        chain: Chain,
        writers: Sequence[RecordWriter],
        events: TaskEvents,
        clock: Clock,
        batch_size: int,
    ) -> None:
        self.subtask = subtask
        self.chain = chain
        self.writers = tuple(writers)
        self.suspension = Suspension()
        self.paces: Sequence[Pace | FastestPace] = ()
        self.next_flush_ms = 0
        self.records_in = 0
        self.ended = False
        self._ending = False  # the input has ended, and operators have results left
        self.retry_at_ms: int | None = None
        self.watermark: int | None = None
        self._events = events
        self._clock = clock
        self._batch_size = batch_size
        self._quantum = min(batch_size, _FIRST_STEP_RECORDS)
        self._blocked_since_ms: int | None = None
        self._buffering = tuple(op for op in chain.operators if isinstance(op, BufferingOperator))
        self._when_drained: deque[Callable[[], None]] = deque()
        self._in_flight = InFlightRecords(0)
        self._last_snapshot_aborted = False
        self._held_back: deque[tuple[CheckpointBarrier, int]] = deque()
        self._overtake_at_ms: int | None = None

    def step(self) -> bool:
        """Take and process one piece of input. False: nothing to do, or no room for results."""
        if self.suspension.active:
            return False
        if self.hurry():
            return True
        if self._held_back:
            return self._take_held_back()
        if self._when_drained and self._run_when_drained():
            return True
        if not self._may_take_input():
            self._note_blocked()
            return False
        if self._blocked_since_ms is not None:
            self._note_blocked()
            self._blocked_since_ms = None
        if self._ending:
            self._emit_rest()
            return True
        return self._take_input()

    def _note_blocked(self) -> None:
        """Idleness clocks stand still from the first call until the next step that may take input."""
        now_ms = self._clock.monotonic_ms()
        since_ms, self._blocked_since_ms = self._blocked_since_ms, now_ms
        if since_ms is not None and since_ms < now_ms:
            for operator in self.chain.operators:
                operator.note_blocked(now_ms - since_ms)

    def _may_take_input(self) -> bool:
        return all(writer.has_room for writer in self.writers)

    @abstractmethod
    def _take_input(self) -> bool:
        """Process one piece of input."""

    def _limit(self) -> int:
        """How many records to take at most: as long as each gives about one result, all receivers have room for them."""
        limit = self._quantum
        for pace in self.paces:
            limit = min(limit, pace.room)
        return max(1, limit)

    def _process(self, batch: RecordBatch, receive: Callable[[RecordBatch], None] | None = None) -> None:
        """Run a batch through the chain, from its (first) input or from `receive` on."""
        before_ms, before_out = self._clock.monotonic_ms(), self._records_out()
        self.records_in += len(batch.values)
        (receive or self.chain.entry.process_batch)(batch)
        for operator in self.chain.operators:
            operator.end_of_batch()
        if any(pace.is_narrow for pace in self.paces):
            for writer in self.writers:
                writer.flush()
        self._adapt(
            len(batch.values), self._clock.monotonic_ms() - before_ms, self._records_out() - before_out
        )

    def _records_out(self) -> int:
        return sum(writer.records_out for writer in self.writers)

    def _adapt(self, records: int, took_ms: int, produced: int) -> None:
        """Batches get smaller while they take long, so that the loop stays responsive, and while each gives many batches of
        results, which would otherwise wait in channels until they have left the processor's cache."""
        if took_ms > _SLOW_STEP_MS or produced > 2 * self._batch_size:
            self._quantum = max(1, min(self._quantum, records) // 2)
        elif took_ms < _QUICK_STEP_MS and produced <= self._batch_size and self._quantum < self._batch_size:
            self._quantum = min(self._batch_size, self._quantum * 2)

    def schedule_flush(self, now_ms: int, job_timeout_ms: int) -> None:
        """`next_flush_ms` from now on: after the shortest buffer timeout of its exchanges, never if none has one."""
        timeouts = [
            job_timeout_ms if writer.buffer_timeout_ms is None else writer.buffer_timeout_ms
            for writer in self.writers
        ]
        least = min((timeout for timeout in timeouts or [job_timeout_ms] if timeout >= 0), default=None)
        self.next_flush_ms = _NEVER_MS if least is None else now_ms + least

    def flush(self) -> None:
        """Send on everything held back in operators and writers."""
        for operator in self.chain.operators:
            operator.flush()
        for writer in self.writers:
            writer.flush()

    def once_drained(self, action: Callable[[], None]) -> None:
        """Do this, behind what waits already, as soon as no operator keeps records any more: at once if there is none."""
        self._when_drained.append(action)
        self._run_when_drained()

    def _run_when_drained(self) -> bool:
        ran = False
        while self._when_drained and all(operator.is_drained for operator in self._buffering):
            self._when_drained.popleft()()
            ran = True
        return ran

    def end_input(self) -> None:
        """All input has been taken, and the MAX watermark after it: the end is passed on when all results have been."""
        self.once_drained(self._begin_to_end)

    def _begin_to_end(self) -> None:
        self._ending = True
        self._emit_rest()

    def _emit_rest(self) -> None:
        """A piece of what operators held back, so that it does not pile up in the channels; after the last one the end."""
        for operator in self.chain.operators:  # upstream before downstream
            if operator.emit_rest():
                return
        self._ending = False
        for operator in self.chain.operators:
            operator.finish()
        for writer in self.writers:
            writer.broadcast(EndOfInput())
        self.ended = True
        self._events.input_ended(self)

    def due_at_ms(self) -> int | None:
        """Monotonic time at which `step` has something to do though nothing else happens; None: never."""
        overtake_at_ms = None if self._ending else self._overtake_at_ms
        return min((at for at in (overtake_at_ms, self.retry_at_ms) if at is not None), default=None)

    def hurry(self) -> bool:
        """Let a barrier go ahead of records, if it is time for that; whether one did. Cheap, and takes no input."""
        if self._overtake_at_ms is None or self.suspension.active:
            return False
        return self._overtake_if_due()

    def _overtake_if_due(self) -> bool:
        """Whether a barrier went ahead of records, in the inputs or in the outputs."""
        at_ms = self._overtake_at_ms
        if at_ms is None or self._ending or self._clock.monotonic_ms() < at_ms:
            return False
        self._overtake()
        return True

    def _overtake(self) -> None:
        """The time of the barriers in the outputs has come."""
        self._overtake_at_ms = None
        for writer in self.writers:
            writer.overtake()

    def _from_now_ms(self, wall_ms: int, at_most_ms: int) -> int:
        """A wall-clock time as a monotonic one, no further ahead than `at_most_ms`: the clock may have jumped back."""
        return self._clock.monotonic_ms() + max(0, min(at_most_ms, wall_ms - self._clock.now_ms()))

    def take_snapshot(
        self,
        barrier: CheckpointBarrier,
        alignment_ms: int = 0,
        in_flight: InFlightRecords | None = None,
    ) -> None:
        """The synchronous part: flush, freeze, and pass the barrier on at once.

        While the last snapshot is still being written, with several checkpoints under way, the task stands still until it is;
        one that was given up meanwhile is not waited for: there is no snapshot then.

        `in_flight` holds, or will hold, the records of the inputs that are behind the snapshot though before the barrier.
        """
        may_snapshot = not self._held_back and self._events.may_snapshot(self)
        if not may_snapshot and not self._last_snapshot_aborted and in_flight is None:
            self._held_back.append((barrier, alignment_ms))
            return
        self._in_flight.give_up()  # of a checkpoint that must be over, though nobody said so
        self._in_flight = in_flight = in_flight or InFlightRecords(barrier.checkpoint_id)
        self._last_snapshot_aborted = not may_snapshot
        if not may_snapshot:
            self._pass_barrier_on(barrier, in_flight)
            in_flight.give_up()
            self._events.snapshot_refused(self, barrier.checkpoint_id)
            return
        before = self._clock.monotonic_ms()
        for operator in self.chain.operators:
            operator.flush()
        parts: dict[str, OperatorSnapshotParts] = {}
        for description, operator in zip(self.chain.descriptions, self.chain.operators, strict=True):
            part = take_snapshot(operator, barrier.checkpoint_id)
            operator_state = self.chain.operator_state.get(description.operator_id)
            if operator_state is not None:
                part = operator_state.snapshot(part, barrier)
            if part is not None:
                parts[description.operator_id] = part
        self._add_own_state(parts, barrier.checkpoint_id)
        self._pass_barrier_on(barrier, in_flight)
        sync_ms = self._clock.monotonic_ms() - before
        if barrier.stops:
            self.suspension.begin(barrier.checkpoint_id)
        self._events.snapshot_taken(self, TakenSnapshot(barrier, parts, alignment_ms, sync_ms, in_flight))

    def _take_held_back(self) -> bool:
        """Whether the snapshot that waited could be taken."""
        if not (self._last_snapshot_aborted or self._events.may_snapshot(self)):
            return False
        barrier, alignment_ms = self._held_back.popleft()
        others, self._held_back = self._held_back, deque()
        self.take_snapshot(barrier, alignment_ms)
        self._held_back += others
        return True

    def _pass_barrier_on(self, barrier: CheckpointBarrier, in_flight: InFlightRecords) -> None:
        for writer in self.writers:
            writer.send_barrier(barrier, in_flight)
        if barrier.overtake_after_ms and not in_flight.settled:
            after_ms = barrier.overtake_after_ms
            self._overtake_at_ms = self._from_now_ms(barrier.timestamp_ms + after_ms, after_ms)

    def _add_own_state(self, parts: dict[str, OperatorSnapshotParts], checkpoint_id: int) -> None:
        """State of the task beside its operators'."""

    def notify(self, notification: NotifyCheckpointComplete | NotifyCheckpointAborted) -> None:
        """A checkpoint was completed or given up."""
        checkpoint_id = notification.checkpoint_id
        for operator in self.chain.operators:
            if isinstance(notification, NotifyCheckpointComplete):
                operator.notify_checkpoint_complete(checkpoint_id)
                operator.notify_checkpoint_subsumed(notification.oldest_retained)
            else:
                operator.notify_checkpoint_aborted(checkpoint_id)
        if isinstance(notification, NotifyCheckpointAborted):
            self.suspension.abort(checkpoint_id)
            self._forget_snapshot(checkpoint_id)

    def _forget_snapshot(self, checkpoint_id: int) -> None:
        if self._in_flight.checkpoint_id == checkpoint_id:
            self._in_flight.give_up()
            self._last_snapshot_aborted = True
        self._held_back = deque(held for held in self._held_back if held[0].checkpoint_id != checkpoint_id)

    def close(self) -> None:
        """Close all operators, each even if another failed to; the first error is raised at the end."""
        errors: list[Exception] = []
        for closable in (*self.chain.operators, *self.chain.fused):
            try:
                closable.close()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


def split_batch(batch: RecordBatch, size: int) -> tuple[RecordBatch, RecordBatch]:
    """The first `size` records, and the others."""
    kind, values, timestamps = type(batch), batch.values, batch.timestamps
    if timestamps is None:
        return kind(values[:size]), kind(values[size:])
    return kind(values[:size], timestamps[:size]), kind(values[size:], timestamps[size:])
