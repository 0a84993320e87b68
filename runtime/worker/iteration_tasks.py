"""The two ends of a feedback edge as tasks: the head reads the feedback beside its inputs, the tail hands it over.

Checkpoints: the head passes the barrier on as soon as its inputs are aligned, and logs what comes back until the barrier does;
these records are its part of the checkpoint, and it acknowledges then.
Source: Carbone et al., "Lightweight Asynchronous Snapshots for Distributed Dataflows" (2015), section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from ...checkpoint.messages import NotifyCheckpointAborted, NotifyCheckpointComplete
from ...core.batch import MAX_TIMESTAMP, CheckpointBarrier, LoopProbe, RecordBatch, Watermark, WatermarkStatus
from ...operators.base import OperatorSpec
from ...operators.iteration import (
    FeedbackQueue,
    IterationHeadOperator,
    IterationHeadSpec,
    IterationTailOperator,
    IterationTailSpec,
)
from ..exchange.in_flight import InFlightRecords
from .input_task import InputTask
from .quiescence import EndLoop, HeadAction, LoopHead, ReleaseMaxWatermark, SendProbe
from .task import TakenSnapshot, split_batch

_FEEDBACK_IN_A_ROW: Final = 16
"""Feedback goes first, since new input makes the loop's backlog grow; but input, and the barriers in it, must not starve."""


@dataclass(slots=True)
class _Log:
    """What came back since the barrier of a checkpoint left."""

    alignment_ms: int
    began_ms: int
    batches: list[RecordBatch] = field(default_factory=list)


class IterationHeadTask(InputTask):
    """A subtask of an iteration head."""

    _feedback: FeedbackQueue

    @property
    def head_id(self) -> str:
        """Operator id of the head."""
        return self.chain.descriptions[0].operator_id

    def connect(self, feedback: FeedbackQueue) -> None:
        """Tell where feedback comes from, before the first step."""
        spec, operator = self.chain.descriptions[0].operator, self.chain.operators[0]
        assert isinstance(spec, IterationHeadSpec)
        assert isinstance(operator, IterationHeadOperator)
        self._feedback = feedback
        self._operator = operator
        self._group = spec.group
        self._keeps_max_back = spec.root
        self._head = LoopHead(root=spec.root)
        self._logs: dict[int, _Log] = {}
        self._in_a_row = 0

    # ---- input

    def _take_input(self) -> bool:
        if self._operator.restored:
            self._feedback.extendleft(reversed(self._operator.restored))
            self._operator.restored = []
        if self._feedback and self._in_a_row < _FEEDBACK_IN_A_ROW:
            self._take_feedback()
            return True
        self._in_a_row = 0
        if super()._take_input():
            return True
        if self._feedback:
            self._take_feedback()
            return True
        return False

    def _take_feedback(self) -> None:
        self._in_a_row += 1
        element = self._feedback.popleft()
        match element:
            case RecordBatch():
                self._on_feedback(element)
            case CheckpointBarrier():
                self._complete_snapshot(element)
            case LoopProbe():
                self._perform(self._head.on_return(element))
            case _:
                assert_never(element)

    def _on_feedback(self, batch: RecordBatch) -> None:
        limit = self._limit()
        if len(batch.values) > limit:
            batch, rest = split_batch(batch, limit)
            self._feedback.appendleft(rest)
        if self.ended:
            # Only a processing-time timer that was due in the very moment of the end can do this. It would not fire later.
            self._operator.count("numFeedbackRecordsDropped", len(batch.values))
            return
        for log in self._logs.values():
            log.batches.append(batch)
        self._head.on_feedback()
        self._process(batch)

    # ---- the end

    def _pass_on(self, elements: Sequence[Watermark | WatermarkStatus]) -> None:
        if self._keeps_max_back:
            elements = [
                e for e in elements if not (isinstance(e, Watermark) and e.timestamp == MAX_TIMESTAMP)
            ]
        super()._pass_on(elements)

    def end_input(self) -> None:
        self._perform(self._head.on_inputs_ended())

    def _on_aligned_probe(self, probe: LoopProbe) -> None:
        if probe.loop == self._group:  # that of another group has done its duty when it leaves the group
            self._perform(self._head.on_probe(probe))

    def _perform(self, actions: Sequence[HeadAction]) -> None:
        for action in actions:
            match action:
                case SendProbe(round=round_, active=active):
                    self._send_probe(LoopProbe(self._group, round_, active))
                case ReleaseMaxWatermark():
                    super()._pass_on([Watermark(MAX_TIMESTAMP)])
                case EndLoop():
                    super().end_input()
                case _:
                    assert_never(action)

    # ---- checkpoints

    def take_snapshot(
        self, barrier: CheckpointBarrier, alignment_ms: int = 0, in_flight: InFlightRecords | None = None
    ) -> None:
        if not self._events.may_snapshot(self):
            super().take_snapshot(barrier, alignment_ms, in_flight)
            return
        self._logs[barrier.checkpoint_id] = _Log(alignment_ms, self._clock.monotonic_ms())
        for writer in self.writers:
            writer.broadcast(barrier)

    def _complete_snapshot(self, barrier: CheckpointBarrier) -> None:
        log = self._logs.pop(barrier.checkpoint_id, None)
        self._forget_logs_before(barrier.checkpoint_id)
        if log is None:
            return  # given up meanwhile
        began_ms = self._clock.monotonic_ms()
        parts = {self.chain.descriptions[0].operator_id: self._operator.snapshot_of(log.batches)}
        sync_ms = self._clock.monotonic_ms() - began_ms
        nothing = InFlightRecords(barrier.checkpoint_id)  # no barrier overtakes on the exchanges of a loop
        self._events.snapshot_taken(self, TakenSnapshot(barrier, parts, log.alignment_ms, sync_ms, nothing))

    def notify(self, notification: NotifyCheckpointComplete | NotifyCheckpointAborted) -> None:
        if isinstance(notification, NotifyCheckpointAborted):
            self._forget_logs_before(notification.checkpoint_id + 1)
        super().notify(notification)

    def _forget_logs_before(self, checkpoint_id: int) -> None:
        self._logs = {id_: log for id_, log in self._logs.items() if id_ >= checkpoint_id}


class IterationTailTask(InputTask):
    """A subtask of an iteration tail."""

    _feedback: FeedbackQueue

    @property
    def head_id(self) -> str:
        """Operator id of the head."""
        spec = self.chain.descriptions[0].operator
        assert isinstance(spec, IterationTailSpec)
        return spec.head

    def connect(self, feedback: FeedbackQueue) -> None:
        """Tell where feedback goes, before the first step."""
        spec, operator = self.chain.descriptions[0].operator, self.chain.operators[0]
        assert isinstance(spec, IterationTailSpec)
        assert isinstance(operator, IterationTailOperator)
        self._feedback = operator.feedback = feedback
        self._group = spec.group

    def take_snapshot(
        self, barrier: CheckpointBarrier, alignment_ms: int = 0, in_flight: InFlightRecords | None = None
    ) -> None:
        super().take_snapshot(barrier, alignment_ms, in_flight)
        self._feedback.append(barrier)

    def _on_aligned_probe(self, probe: LoopProbe) -> None:
        if probe.loop == self._group:
            self._feedback.append(probe)


def task_type(spec: OperatorSpec) -> type[InputTask]:
    """The class of the task that is fed by exchanges and begins with this operator."""
    match spec:
        case IterationHeadSpec():
            return IterationHeadTask
        case IterationTailSpec():
            return IterationTailTask
    return InputTask
