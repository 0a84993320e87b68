"""A subtask fed by exchanges: whose turn it is, alignment of barriers, watermarks over all channels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...checkpoint.messages import NotifyCheckpointAborted, NotifyCheckpointComplete
from ...core.batch import (
    CheckpointBarrier,
    EndOfChannelState,
    EndOfInput,
    LoopProbe,
    RecordBatch,
    StreamElement,
    Watermark,
    WatermarkStatus,
)
from ...core.clock import Clock
from ...core.errors import ProtocolViolation
from ...operators.base import TwoInputOperator
from ..exchange.channels import InputChannel
from ..exchange.in_flight import InFlightRecords
from ..exchange.record_writer import RecordWriter
from ..graph.execution_graph import Subtask
from .alignment import BarrierAligner
from .chain import Chain
from .quiescence import ProbeAligner
from .task import Task, TaskEvents, split_batch
from .watermark_valve import WatermarkValve


@dataclass(frozen=True, slots=True)
class TaskInput:
    """A channel of a task.

    Attributes:
        input_id: the input that it feeds, 1 or 2.
        overtakable: barriers may go ahead of records in it.
        may_be_set_aside: its sender must not stand still while the task waits for the barriers of its other channels.
    """

    channel: InputChannel
    input_id: int = 1
    overtakable: bool = False
    may_be_set_aside: bool = False


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
        self._may_be_set_aside = tuple(given.may_be_set_aside for given in inputs)
        self._turns = _turns(self._input_ids)
        self._two_inputs = chain.entry if isinstance(chain.entry, TwoInputOperator) else None
        overtakable = [index for index, given in enumerate(inputs) if exactly_once and given.overtakable]
        self._aligner = BarrierAligner(len(inputs), exactly_once=exactly_once, overtakable=overtakable)
        for index in overtakable:
            self._inputs[index].announce = self._on_announced
        self._replaying: set[int] = set()
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
            return self._aligner.has_overtaken and self._set_aside()
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

    def _set_aside(self) -> bool:
        """Whether a sender behind a blocked channel can go on now: the barrier that is awaited may need that (see
        `may_wait_for_themselves`)."""
        blocked = [index for index in self._aligner.blocked if self._may_be_set_aside[index]]
        return any(self._inputs[index].set_aside() for index in blocked)

    def _process_input(self, input_id: int, batch: RecordBatch) -> None:
        self._process(batch, self._entry(input_id))

    def _entry(self, input_id: int) -> Callable[[RecordBatch], None]:
        """Where batches of an input go."""
        if input_id == 2 and self._two_inputs is not None:
            return self._two_inputs.process_batch2
        return self.chain.entry.process_batch

    def _pick(self, *, records: bool) -> int | None:
        """The next channel in turn that has something (without room for `records`, a control element) and is not blocked by
        alignment. The inputs take turns, and the channels of each: many channels of one input do not starve the other. Restored
        records come before all others, whichever channel these are in: a key may have come here by another one then."""
        inputs, blocked, turns, replaying = self._inputs, self._aligner.blocked, self._turns, self._replaying
        for _ in range(len(turns)):
            channels = turns[0]
            turns.rotate(-1)
            for _ in range(len(channels)):
                index = channels[0]
                channels.rotate(-1)
                channel = inputs[index]
                if (channel if records else channel.has_control_next) and index not in blocked:
                    if replaying and index not in replaying:
                        continue
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
            case EndOfChannelState():
                self._replaying.discard(index)
                self._plan_overtaking()
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
        else:
            self._plan_overtaking()

    def _on_announced(self, barrier: CheckpointBarrier) -> None:
        if not self._aligner.aligning:
            self._aligning_since_ms = self._clock.monotonic_ms()
        self._aligner.on_announced(barrier)
        self._plan_overtaking()

    def _plan_overtaking(self) -> None:
        """Restored records are not overtaken: from a second restore they would not come before those of all other channels."""
        at_ms = self._aligner.may_overtake_at_ms
        if at_ms is not None and not self._replaying:
            self._overtake_at_ms = self._from_now_ms(at_ms, self._aligner.overtake_after_ms)

    def _overtake(self) -> None:
        """The time of the barriers in the inputs has come, or of those in the outputs."""
        if self._aligner.may_overtake_at_ms is None:
            super()._overtake()
            return
        self._overtake_at_ms = None
        barrier, missing = self._aligner.overtake()
        in_flight = InFlightRecords(barrier.checkpoint_id, overtook=True)
        for index in missing:
            self._inputs[index].record_into(in_flight)
        self.take_snapshot(barrier, self._clock.monotonic_ms() - self._aligning_since_ms, in_flight)

    def restore_channels(self, restored: Mapping[int, Sequence[RecordBatch | Watermark]]) -> None:
        """What was under way, by position of the channel: it is processed before all else. Before the first step."""
        for index, elements in restored.items():
            self._inputs[index].restore(elements)
            self._replaying.add(index)

    def notify(self, notification: NotifyCheckpointComplete | NotifyCheckpointAborted) -> None:
        if isinstance(notification, NotifyCheckpointAborted):
            self._aligner.on_aborted(notification.checkpoint_id)
        super().notify(notification)


def _turns(input_ids: Sequence[int]) -> deque[deque[int]]:
    """The channels of each input."""
    inputs = sorted(set(input_ids))
    return deque(deque(i for i, of in enumerate(input_ids) if of == input_id) for input_id in inputs)
