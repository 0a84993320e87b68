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
    LoopProbe,
    RecordBatch,
    StreamElement,
    Watermark,
    WatermarkStatus,
)
from ...core.clock import Clock
from ...core.errors import ProtocolViolation
from ...operators.base import BufferingOperator, OperatorSnapshotParts, TwoInputOperator, take_snapshot
from ..exchange.channels import InputChannel
from ..exchange.record_writer import RecordWriter
from ..graph.execution_graph import Subtask
from .alignment import BarrierAligner
from .chain import Chain
from .pacing import FastestPace, Pace
from .quiescence import ProbeAligner
from .watermark_valve import WatermarkValve

_NEVER_MS: Final = 1 << 62
_SLOW_STEP_MS: Final = 20
_QUICK_STEP_MS: Final = 5
_FIRST_STEP_RECORDS: Final = 16
"""How long a record takes is not known at first, and 1,024 of 10 ms each would keep the loop from everything else for 10 s.
Full batches are reached within seven quick steps."""


@dataclass(frozen=True, slots=True)
class TakenSnapshot:
    """The synchronous part of a subtask's snapshot: parts by operator id."""

    barrier: CheckpointBarrier
    parts: dict[str, OperatorSnapshotParts]
    alignment_ms: int
    sync_ms: int


@dataclass(frozen=True, slots=True)
class TaskEvents:
    """What a task asks and tells its worker."""

    may_snapshot: Callable[[Task], bool]
    snapshot_taken: Callable[[Task, TakenSnapshot], None]
    snapshot_refused: Callable[[Task, int], None]
    input_ended: Callable[[Task], None]


@dataclass(frozen=True, slots=True)
class TaskInput:
    """A channel and the input that it feeds, 1 or 2."""

    channel: InputChannel
    input_id: int = 1


class Task(ABC):
    """What source and other subtasks have in common.

    Attributes:
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

    def step(self) -> bool:
        """Take and process one piece of input. False: nothing to do, or no room for results."""
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

    def take_snapshot(self, barrier: CheckpointBarrier, alignment_ms: int = 0) -> None:
        """The synchronous part: flush, freeze, and pass the barrier on at once."""
        if not self._events.may_snapshot(self):
            for writer in self.writers:
                writer.broadcast(barrier)
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
        for writer in self.writers:
            writer.broadcast(barrier)
        sync_ms = self._clock.monotonic_ms() - before
        self._events.snapshot_taken(self, TakenSnapshot(barrier, parts, alignment_ms, sync_ms))

    def _add_own_state(self, parts: dict[str, OperatorSnapshotParts], checkpoint_id: int) -> None:
        """State of the task beside its operators'."""

    def notify(self, notification: NotifyCheckpointComplete | NotifyCheckpointAborted) -> None:
        """A checkpoint was completed or given up."""
        checkpoint_id = notification.checkpoint_id
        for operator in self.chain.operators:
            if isinstance(notification, NotifyCheckpointComplete):
                operator.notify_checkpoint_complete(checkpoint_id)
            else:
                operator.notify_checkpoint_aborted(checkpoint_id)

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


class InputTask(Task):
    """A subtask fed by exchanges: alignment and the watermark span all channels, whichever input they belong to."""

    def __init__(
        self,
        subtask: Subtask,
        chain: Chain,
        writers: Sequence[RecordWriter],
        events: TaskEvents,
        clock: Clock,
        batch_size: int,
        inputs: Sequence[TaskInput],
        *,
        exactly_once: bool,
    ) -> None:
        super().__init__(subtask, chain, writers, events, clock, batch_size)
        self._inputs = tuple(given.channel for given in inputs)
        self._input_ids = tuple(given.input_id for given in inputs)
        self._turns = _turns(self._input_ids)
        self._two_inputs = chain.entry if isinstance(chain.entry, TwoInputOperator) else None
        self._aligner = BarrierAligner(len(inputs), exactly_once=exactly_once)
        self._valve = WatermarkValve(len(inputs))
        self._probes = ProbeAligner(len(inputs))
        self._open_inputs = set(range(len(inputs)))
        self._aligning_since_ms = 0

    def _take_input(self) -> bool:
        has_room = all(operator.has_room for operator in self._buffering)
        index = self._pick(records=has_room)
        if index is None:
            if self._aligner.aligning or not has_room:
                self._note_blocked()
            return False
        channel = self._inputs[index]
        element = channel.take()
        if isinstance(element, RecordBatch):
            limit = self._limit()
            if len(element.values) > limit:
                element, rest = split_batch(element, limit)
                channel.put_back(rest)
            self._process_input(self._input_ids[index], element)
        else:
            self._on_control(index, element)
        return True

    def _process_input(self, input_id: int, batch: RecordBatch) -> None:
        self._process(batch, self._entry(input_id))

    def _entry(self, input_id: int) -> Callable[[RecordBatch], None]:
        """Where batches of an input go."""
        if input_id == 2 and self._two_inputs is not None:
            return self._two_inputs.process_batch2
        return self.chain.entry.process_batch

    def _pick(self, *, records: bool) -> int | None:
        """The next channel in turn that has something (without room for `records`, a control element) and is not blocked by
        alignment. The inputs take turns, and the channels of each: many channels of one input do not starve the other."""
        inputs, blocked, turns = self._inputs, self._aligner.blocked, self._turns
        for _ in range(len(turns)):
            channels = turns[0]
            turns.rotate(-1)
            for _ in range(len(channels)):
                index = channels[0]
                channels.rotate(-1)
                channel = inputs[index]
                if (channel if records else channel.has_control_next) and index not in blocked:
                    return index
        return None

    def _on_control(self, index: int, element: StreamElement) -> None:
        match element:
            case Watermark(timestamp=timestamp):
                self._pass_on(self._valve.on_watermark(index, timestamp))
            case WatermarkStatus(idle=idle):
                self._pass_on(self._valve.on_status(index, idle))
            case CheckpointBarrier():
                self._on_barrier(index, element)
            case LoopProbe():
                self._on_probes(self._probes.on_probe(index, element))
            case EndOfInput():
                self._on_probes(self._probes.on_end(index))
                self._on_end(index)
            case _:
                raise ProtocolViolation(f"{element!r} is no control element", where=self.subtask.display_name)

    def _on_end(self, index: int) -> None:
        self._open_inputs.discard(index)
        input_id = self._input_ids[index]
        if self._two_inputs is not None and all(
            self._input_ids[other] != input_id for other in self._open_inputs
        ):
            self._two_inputs.end_input(input_id)
        if not self._open_inputs:
            self.end_input()

    def _pass_on(self, elements: Sequence[Watermark | WatermarkStatus]) -> None:
        for element in elements:
            if isinstance(element, Watermark):
                self.watermark = element.timestamp
                self.chain.entry.process_watermark(element.timestamp)
                for operator in self.chain.operators:
                    operator.end_of_batch()
            else:
                self.chain.entry.process_status(element.idle)

    def _on_probes(self, complete: Sequence[LoopProbe]) -> None:
        for probe in complete:
            self._on_aligned_probe(probe)

    def _on_aligned_probe(self, probe: LoopProbe) -> None:
        """It has come on all inputs: it goes on behind everything that they brought."""
        self.once_drained(lambda: self._send_probe(probe))

    def _send_probe(self, probe: LoopProbe) -> None:
        for operator in self.chain.operators:
            operator.flush()
        for writer in self.writers:
            writer.broadcast(probe)

    def _on_barrier(self, index: int, barrier: CheckpointBarrier) -> None:
        if not self._aligner.aligning:
            self._aligning_since_ms = self._clock.monotonic_ms()
        complete = self._aligner.on_barrier(index, barrier)
        if complete is not None:
            self.take_snapshot(complete, self._clock.monotonic_ms() - self._aligning_since_ms)

    def notify(self, notification: NotifyCheckpointComplete | NotifyCheckpointAborted) -> None:
        if isinstance(notification, NotifyCheckpointAborted):
            self._aligner.on_aborted(notification.checkpoint_id)
        super().notify(notification)


def _turns(input_ids: Sequence[int]) -> deque[deque[int]]:
    """The channels of each input."""
    inputs = sorted(set(input_ids))
    return deque(deque(i for i, of in enumerate(input_ids) if of == input_id) for input_id in inputs)


def split_batch(batch: RecordBatch, size: int) -> tuple[RecordBatch, RecordBatch]:
    """The first `size` records, and the others."""
    kind, values, timestamps = type(batch), batch.values, batch.timestamps
    if timestamps is None:
        return kind(values[:size]), kind(values[size:])
    return kind(values[:size], timestamps[:size]), kind(values[size:], timestamps[size:])
