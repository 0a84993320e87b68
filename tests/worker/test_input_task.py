"""A subtask fed by exchanges: whose turn it is, alignment and watermarks over the channels of both inputs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.checkpoint.messages import NotifyCheckpointAborted
from millstream.core.batch import (
    CheckpointBarrier,
    EndOfInput,
    RecordBatch,
    Watermark,
    WatermarkStatus,
)
from millstream.core.clock import ManualClock
from millstream.core.types import GENERIC
from millstream.operators.base import Operator, OperatorSnapshotParts, TwoInputOperator
from millstream.runtime.exchange.channels import InputChannel
from millstream.runtime.exchange.codec import BatchCodec
from millstream.runtime.worker.input_task import InputTask, TaskInput
from millstream.runtime.worker.task import TaskEvents
from tests.worker.chains import Writer, described, running, subtask_of


class Recording(TwoInputOperator):
    """Passes on `(input, value)`, and remembers what else it was told."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def process_batch(self, batch: RecordBatch) -> None:
        self.output.emit(RecordBatch([(1, value) for value in batch.values]))

    def process_batch2(self, batch: RecordBatch) -> None:
        self.output.emit(RecordBatch([(2, value) for value in batch.values]))

    def end_input(self, input_id: int) -> None:
        self.log.append(f"end of {input_id}")

    def finish(self) -> None:
        self.log.append("finish")

    def snapshot(self, checkpoint_id: int) -> OperatorSnapshotParts:
        return OperatorSnapshotParts(lists={"log": [str(checkpoint_id).encode()]})


class Spec:
    kind = "Recording"

    def __init__(self) -> None:
        self.log: list[Any] = []

    def user_functions(self) -> tuple[()]:
        return ()

    def create(self) -> Operator:
        return Recording(self.log)


class Bench:
    """A task with these channels, each of the input that its number says."""

    def __init__(self, *input_ids: int, exactly_once: bool = True, overtakable: bool = False) -> None:
        self.spec, self.writer = Spec(), Writer()
        self.snapshots: list[Any] = []
        self.writing, self.refused = False, list[int]()
        self.ended: list[Any] = []
        descriptions = described(self.spec)
        self.writer.has_room = True  # type: ignore[attr-defined]
        self.writer.records_out = 0  # type: ignore[attr-defined]
        chain = running(descriptions, {(0, None): [self.writer]})
        events = TaskEvents(
            may_snapshot=lambda _: not self.writing,
            snapshot_taken=lambda _, taken: self.snapshots.append(taken),
            snapshot_refused=lambda _, checkpoint_id: self.refused.append(checkpoint_id),
            input_ended=self.ended.append,
        )
        self.channels = [InputChannel(n, BatchCodec(GENERIC), None) for n in range(len(input_ids))]
        inputs = [TaskInput(c, i, overtakable) for c, i in zip(self.channels, input_ids, strict=True)]
        self.clock = ManualClock()
        self.task = InputTask(
            subtask_of(descriptions),
            chain,
            [self.writer],  # type: ignore[list-item]
            events,
            self.clock,
            1_000,
            inputs,
            exactly_once=exactly_once,
        )

    def run(self) -> list[Any]:
        """What comes out until there is nothing more to do."""
        before = len(self.writer.sent)
        while self.task.step():
            pass
        return self.writer.sent[before:]

    def values(self) -> list[Any]:
        return [v for batch in self.run() if isinstance(batch, RecordBatch) for v in batch.values]


def batch(*values: Any) -> RecordBatch:
    return RecordBatch(list(values))


def test_records_reach_the_method_of_their_input() -> None:
    bench = Bench(1, 2)
    bench.channels[0].put(batch("a"))
    bench.channels[1].put(batch("b"))
    assert bench.values() == [(1, "a"), (2, "b")]


def test_many_channels_of_one_input_do_not_starve_the_other() -> None:
    bench = Bench(1, 1, 1, 1, 2)
    for index in range(4):
        for number in range(5):
            bench.channels[index].put(batch((index, number)))
    for number in range(5):
        bench.channels[4].put(batch((4, number)))
    order = [input_id for input_id, _ in bench.values()]
    assert order[:10] == [1, 2] * 5
    assert order[10:] == [1] * 15


@given(st.lists(st.integers(1, 2), min_size=1, max_size=6), st.data())
def test_while_both_inputs_have_records_they_alternate_and_no_channel_waits_for_ever(
    input_ids: list[int], data: st.DataObject
) -> None:
    bench = Bench(*input_ids)
    counts = [data.draw(st.integers(0, 4)) for _ in input_ids]
    for index, count in enumerate(counts):
        for number in range(count):
            bench.channels[index].put(batch((index, number)))
    out = bench.values()
    left = Counter(input_ids[index] for index, count in enumerate(counts) for _ in range(count))
    for previous, (input_id, _) in zip([None, *out], out, strict=False):
        if previous is not None and left[1] and left[2]:
            assert input_id != previous[0]
        left[input_id] -= 1
    for index, count in enumerate(counts):
        assert [n for _, (i, n) in out if i == index] == list(range(count))


def test_the_watermark_is_the_least_over_the_channels_of_both_inputs() -> None:
    bench = Bench(1, 1, 2)
    bench.channels[0].put(Watermark(10))
    bench.channels[1].put(Watermark(7))
    assert bench.run() == []
    bench.channels[2].put(Watermark(20))
    assert bench.run() == [Watermark(7)]
    bench.channels[1].put(WatermarkStatus(idle=True))
    assert bench.run() == [Watermark(10)]


def test_barriers_align_over_both_inputs() -> None:
    bench = Bench(1, 2)
    bench.channels[0].put(CheckpointBarrier(1, 0))
    bench.channels[0].put(batch("after"))
    bench.channels[1].put(batch("before"))
    assert bench.values() == [(2, "before")]
    assert bench.snapshots == []
    bench.channels[1].put(CheckpointBarrier(1, 0))
    assert bench.run() == [CheckpointBarrier(1, 0), batch((1, "after"))]
    assert [taken.parts["id-0"].lists for taken in bench.snapshots] == [{"log": [b"1"]}]


def test_an_aborted_checkpoint_unblocks_the_input_that_waited() -> None:
    bench = Bench(1, 2)
    bench.channels[1].put(CheckpointBarrier(1, 0))
    bench.channels[1].put(batch("b"))
    assert bench.values() == []
    bench.task.notify(NotifyCheckpointAborted(1))
    assert bench.values() == [(2, "b")]


def test_at_least_once_does_not_wait() -> None:
    bench = Bench(1, 2, exactly_once=False)
    bench.channels[1].put(CheckpointBarrier(1, 0))
    bench.channels[1].put(batch("b"))
    assert bench.values() == [(2, "b")]


@pytest.mark.parametrize("first", [1, 2])
def test_the_end_of_each_input_is_told_and_the_end_of_both_ends_the_task(first: int) -> None:
    bench = Bench(1, 2, 2)
    ends = {1: [0], 2: [1, 2]}
    for index in ends[first]:
        bench.channels[index].put(EndOfInput())
    assert bench.run() == []
    assert bench.spec.log == [f"end of {first}"]
    for index in ends[3 - first]:
        bench.channels[index].put(EndOfInput())
    assert bench.run() == [EndOfInput()]
    assert bench.spec.log == [f"end of {first}", f"end of {3 - first}", "finish"]
    assert bench.ended == [bench.task]


def test_an_ended_input_still_passes_barriers() -> None:
    bench = Bench(1, 2)
    for channel in bench.channels:
        channel.put(EndOfInput())
        channel.put(CheckpointBarrier(3, 0))
    assert bench.run() == [EndOfInput(), CheckpointBarrier(3, 0)]


def test_a_large_batch_of_the_second_input_is_taken_in_parts_and_stays_in_its_input() -> None:
    bench = Bench(1, 2)
    bench.channels[1].put(batch(*range(100)))
    assert bench.values() == [(2, number) for number in range(100)]


def test_a_barrier_overtakes_though_there_is_no_room_for_results() -> None:
    bench = Bench(1, 2, overtakable=True)
    bench.writer.has_room = False  # type: ignore[attr-defined]
    bench.channels[0].put(batch("a"))
    bench.channels[0].put(CheckpointBarrier(1, 0, 0))
    bench.channels[0].put(batch("after"))
    bench.channels[1].put(batch("b"))
    assert bench.task.due_at_ms() == 0
    assert bench.run() == [CheckpointBarrier(1, 0, 0)]
    (taken,) = bench.snapshots
    assert list(taken.in_flight.frames) == [0, 1]
    assert not taken.in_flight.settled, "more may come before the barrier of the second channel"
    bench.channels[1].put(batch("c"))
    bench.channels[1].put(CheckpointBarrier(1, 0, 0))
    bench.channels[1].put(batch("after"))
    assert taken.in_flight.settled
    codec = BatchCodec(GENERIC)
    kept = [codec.decode(kind, memoryview(payload)) for kind, payload in taken.in_flight.frames[1]]
    assert kept == [batch("b"), batch("c")]


def test_a_barrier_with_a_timeout_waits_that_long() -> None:
    bench = Bench(1, 2, overtakable=True)
    bench.channels[0].put(CheckpointBarrier(1, 0, 50))
    assert bench.run() == []
    assert bench.task.due_at_ms() == 50
    bench.clock.advance(49)
    assert bench.run() == []
    bench.clock.advance(1)
    assert bench.run() == [CheckpointBarrier(1, 0, 0)]
    assert bench.task.due_at_ms() is None


def test_a_wall_clock_that_jumps_back_does_not_prolong_the_timeout() -> None:
    bench = Bench(1, 2, overtakable=True)
    bench.channels[0].put(CheckpointBarrier(1, 10**12, 50))
    assert bench.task.due_at_ms() == 50


def test_a_later_barrier_gives_up_what_is_still_being_kept() -> None:
    bench = Bench(1, 2, overtakable=True)
    bench.channels[0].put(CheckpointBarrier(1, 0, 0))
    bench.run()
    bench.channels[0].put(CheckpointBarrier(2, 0, 0))
    bench.run()
    first, second = (taken.in_flight for taken in bench.snapshots)
    assert first.given_up
    assert not second.settled
    bench.task.notify(NotifyCheckpointAborted(2))
    assert second.given_up


def test_restored_records_come_before_all_others_and_are_not_overtaken() -> None:
    bench = Bench(1, 2, overtakable=True)
    bench.channels[0].put(batch("new"))
    bench.task.restore_channels({1: [batch("old"), Watermark(3)]})
    bench.channels[0].put(CheckpointBarrier(1, 0, 0))
    assert bench.values() == [(2, "old"), (1, "new")]
    (taken,) = bench.snapshots
    assert taken.in_flight.frames.keys() == {0}


def test_a_snapshot_waits_until_the_one_before_is_written_and_the_task_stands_still() -> None:
    bench = Bench(1)
    bench.channels[0].put(CheckpointBarrier(1, 0))
    bench.run()
    bench.writing = True
    bench.channels[0].put(CheckpointBarrier(2, 0))
    bench.channels[0].put(batch("after"))
    assert bench.run() == []
    bench.writing = False
    assert bench.run() == [CheckpointBarrier(2, 0), batch((1, "after"))]
    assert bench.refused == []


def test_a_snapshot_does_not_wait_for_one_that_was_given_up() -> None:
    bench = Bench(1)
    bench.channels[0].put(CheckpointBarrier(1, 0))
    bench.run()
    bench.writing = True
    bench.task.notify(NotifyCheckpointAborted(1))
    bench.channels[0].put(CheckpointBarrier(2, 0))
    assert bench.run() == [CheckpointBarrier(2, 0)]
    assert bench.refused == [2]


def test_a_snapshot_that_waits_is_forgotten_when_its_checkpoint_is_given_up() -> None:
    bench = Bench(1)
    bench.channels[0].put(CheckpointBarrier(1, 0))
    bench.run()
    bench.writing = True
    bench.channels[0].put(CheckpointBarrier(2, 0))
    bench.channels[0].put(batch("after"))
    bench.run()
    bench.task.notify(NotifyCheckpointAborted(2))
    assert bench.run() == [batch((1, "after"))]
