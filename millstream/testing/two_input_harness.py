"""Runs one operator with two inputs in isolation; otherwise as `harness.py`.

h = TwoInputOperatorHarness(spec)
h.element1(("a", 1), ts=3)
h = h.restored(parallelism=2)
h.element2(("a", 2), ts=4)
h.watermark1(10)
h.watermark2(12)
assert h.output == [..., W(10)]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.batch import RecordBatch, Watermark
from ..operators.base import BroadcastSpec, KeyedTwoInputSpec, TwoInputOperator
from ..runtime.worker.watermark_valve import WatermarkValve
from .harness import OperatorHarness


class TwoInputOperatorHarness(OperatorHarness):
    """All subtasks of one two-input operator, fed by hand.

    Records of a keyed input go to the subtask that owns their key group, those of a broadcast input to every one, and others
    to the first. `watermark` and `status` are those of both inputs; the valve of a task says what comes of one alone.
    """

    def _open(self, restored: Any) -> None:
        self._valve = WatermarkValve(2)
        super()._open(restored)

    def element1(self, value: Any, ts: int | None = None) -> None:
        """Process one record of the first input."""
        self.element(value, ts)

    def element2(self, value: Any, ts: int | None = None) -> None:
        """Process one record of the second input."""
        self.batch2([value], None if ts is None else [ts])

    def batch1(self, values: Iterable[Any], timestamps: Iterable[int] | None = None) -> None:
        """Process records of the first input in one batch per subtask."""
        self.batch(values, timestamps)

    def batch2(self, values: Iterable[Any], timestamps: Iterable[int] | None = None) -> None:
        """The same for the second input."""
        values = list(values)
        times = None if timestamps is None else list(timestamps)
        for subtask in range(len(self.operators)):
            mine = [i for i, value in enumerate(values) if subtask in self._receivers2(value)]
            if mine:
                chosen = [values[i] for i in mine]
                self.process2(
                    RecordBatch(chosen, None if times is None else [times[i] for i in mine]), subtask
                )

    def process2(self, batch: RecordBatch, subtask: int = 0) -> None:
        """Process a batch of the second input as it is in one subtask."""
        operator = self.operators[subtask]
        assert isinstance(operator, TwoInputOperator), "the operator has one input"
        operator.process_batch2(batch)
        operator.end_of_batch()

    def watermark1(self, timestamp: int) -> None:
        """Advance event time of the first input."""
        self._pass_on(self._valve.on_watermark(0, timestamp))

    def watermark2(self, timestamp: int) -> None:
        """Advance event time of the second input."""
        self._pass_on(self._valve.on_watermark(1, timestamp))

    def watermark(self, timestamp: int) -> None:
        """Advance event time of both inputs."""
        self.watermark1(timestamp)
        self.watermark2(timestamp)

    def status1(self, *, idle: bool) -> None:
        """The first input became idle, or active again."""
        self._pass_on(self._valve.on_status(0, idle))

    def status2(self, *, idle: bool) -> None:
        """The same for the second input."""
        self._pass_on(self._valve.on_status(1, idle))

    def status(self, *, idle: bool) -> None:
        """The same for both."""
        self.status1(idle=idle)
        self.status2(idle=idle)

    def _pass_on(self, elements: Iterable[Any]) -> None:
        for element in elements:
            if isinstance(element, Watermark):
                super().watermark(element.timestamp)
            else:
                super().status(idle=element.idle)

    def _receivers2(self, value: Any) -> Iterable[int]:
        if isinstance(self.spec, BroadcastSpec):
            return range(len(self.operators))
        if isinstance(self.spec, KeyedTwoInputSpec):
            return (self._subtask_of(self.spec.key_selector2(value), self.spec.key_type),)
        return (0,)
