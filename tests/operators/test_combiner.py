"""Combining before the exchange changes nothing but the number of records that travel."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import MAX_TIMESTAMP, PartialBatch, RecordBatch, Watermark, WatermarkStatus
from millstream.core.types import GENERIC, InvalidKeyError
from millstream.runtime.exchange.codec import BatchCodec
from millstream.runtime.worker.watermark_valve import WatermarkValve
from millstream.testing import OperatorHarness
from tests.operators.test_window_model import Flatten, Shape, shapes
from tests.operators.windows import COLLECT, LIST, SUM, window


class _Channel:
    """From an upstream subtask to the window operator, through the wire format. An operator's output."""

    def __init__(self, codec: BatchCodec) -> None:
        self.queue: deque[Any] = deque()
        self._codec = codec

    def emit(self, batch: RecordBatch) -> None:
        kind, payload = self._codec.encode(batch)
        self.queue.append(self._codec.decode(kind, memoryview(payload)))

    def emit_watermark(self, timestamp: int) -> None:
        self.queue.append(Watermark(timestamp))

    def emit_status(self, idle: bool) -> None:
        self.queue.append(WatermarkStatus(idle))

    # Without a combiner, elements go straight into the channel.
    process_batch, process_watermark, process_status = emit, emit_watermark, emit_status

    def take_up_to_control(self) -> list[Any]:
        taken = []
        while self.queue:
            taken.append(self.queue.popleft())
            if isinstance(taken[-1], Watermark | WatermarkStatus):
                break
        return taken


class Pipeline:
    """Upstream subtasks, with a combiner each or without, in front of one window operator."""

    def __init__(self, spec: Any, upstreams: int, *, combined: bool) -> None:
        self._codec = BatchCodec(GENERIC, spec.key_type, spec.contents.state_type)
        self.window = OperatorHarness(spec)
        self.combiners = [OperatorHarness(spec.combiner()) for _ in range(upstreams) if combined]
        self._upstreams = upstreams
        self._connect()

    def _connect(self) -> None:
        self._valve = WatermarkValve(self._upstreams)
        self._channels = [_Channel(self._codec) for _ in range(self._upstreams)]
        self._entries: list[Any] = list(self._channels)
        for index, combiner in enumerate(self.combiners):
            self._entries[index] = combiner.operators[0]
            self._entries[index].output = self._channels[index]

    def records(self, upstream: int, rows: list[Any]) -> None:
        values, timestamps = [(key, value) for key, value, _ in rows], [ts for _, _, ts in rows]
        self._entries[upstream].process_batch(RecordBatch(values, timestamps))

    def watermark(self, upstream: int, timestamp: int) -> None:
        self._entries[upstream].process_watermark(timestamp)

    def status(self, upstream: int, *, idle: bool) -> None:
        self._entries[upstream].process_status(idle)

    def deliver(self, upstream: int) -> None:
        """What travels up to the next control element; batches that are held back count as sent."""
        if self.combiners:
            self.combiners[upstream].operators[0].flush()
        for element in self._channels[upstream].take_up_to_control():
            match element:
                case RecordBatch():
                    self.window.process(element)
                case Watermark(timestamp=timestamp):
                    self._pass_on(self._valve.on_watermark(upstream, timestamp))
                case WatermarkStatus(idle=idle):
                    self._pass_on(self._valve.on_status(upstream, idle))

    def _pass_on(self, elements: Any) -> None:
        for element in elements:
            if isinstance(element, Watermark):
                self.window.watermark(element.timestamp)

    def deliver_all(self) -> None:
        for upstream, channel in enumerate(self._channels):
            self.deliver(upstream)
            while channel.queue:
                self.deliver(upstream)

    def restore(self) -> None:
        """A barrier overtakes nothing; watermarks begin anew."""
        self.deliver_all()
        self.window = self.window.restored()
        # What the union list of all subtasks gives to each. Only the first subtask of a harness is used.
        whole = tuple(combiner.snapshot()[0] for combiner in self.combiners)
        self.combiners = [
            combiner.restored_from(whole[i : i + 1] + whole[:i] + whole[i + 1 :], parallelism=len(whole))
            for i, combiner in enumerate(self.combiners)
        ]
        self._connect()

    def finish(self) -> None:
        for upstream in range(self._upstreams):
            self.status(upstream, idle=False)
            self.watermark(upstream, MAX_TIMESTAMP)
        self.deliver_all()

    def outcome(self) -> tuple[list[Any], list[Any]]:
        return sorted(self.window.results), sorted(self.window.side.get("late", []))

    def close(self) -> None:
        for harness in (self.window, *self.combiners):
            harness.close()


UPSTREAMS = 3
upstreams = st.integers(0, UPSTREAMS - 1)
rows = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(-5, 25)), min_size=1, max_size=5
)
steps = st.one_of(
    st.tuples(st.just("records"), upstreams, rows),
    st.tuples(st.just("records"), upstreams, rows),
    st.tuples(st.just("watermark"), upstreams, st.integers(-5, 25)),
    st.tuples(st.just("watermark of all"), upstreams, st.integers(-5, 25)),
    st.tuples(st.just("status"), upstreams, st.booleans()),
    st.tuples(st.just("deliver"), upstreams, st.none()),
    st.just(("deliver all", 0, None)),
    st.just(("restore", 0, None)),
)


@settings(max_examples=150)
@given(
    shape=shapes(),
    contents=st.sampled_from([LIST, COLLECT]),
    program=st.lists(steps, max_size=40),
    late_tag=st.sampled_from([None, "late"]),
)
def test_results_and_late_records_are_the_same_with_and_without_a_combiner(
    shape, contents, program, late_tag
) -> None:
    check(shape, contents, program, late_tag)


def check(shape: Shape, contents: Any, program: list[Any], late_tag: str | None) -> None:
    spec = window(
        shape.size,
        shape.slide,
        shape.offset,
        contents=contents,
        window_function=Flatten(),
        allowed_lateness_ms=shape.lateness,
        late_tag=late_tag,
    )
    combined, plain = (Pipeline(spec, UPSTREAMS, combined=combined) for combined in (True, False))
    reached = [-100] * UPSTREAMS
    for step, upstream, argument in program:
        for pipeline in (combined, plain):
            match step:
                case "records":
                    pipeline.records(upstream, argument)
                case "watermark":
                    pipeline.watermark(upstream, max(argument, reached[upstream]))
                case "watermark of all":
                    for each in range(UPSTREAMS):
                        pipeline.watermark(each, max(argument, reached[each]))
                    pipeline.deliver_all()
                case "deliver all":
                    pipeline.deliver_all()
                case "status":
                    pipeline.status(upstream, idle=argument)
                case "deliver":
                    pipeline.deliver(upstream)
                case "restore":
                    pipeline.restore()
        if step == "watermark":
            reached[upstream] = max(argument, reached[upstream])
        if step == "watermark of all":
            reached = [max(argument, before) for before in reached]
        if step == "restore":
            reached = [-100] * UPSTREAMS
        if step not in {"records", "status", "watermark"}:
            assert combined.outcome() == plain.outcome()
    for pipeline in (combined, plain):
        pipeline.finish()
        pipeline.close()
    assert combined.outcome() == plain.outcome()
    assert combined.window.state_entries() == 0


LATE = {"allowed_lateness_ms": 20, "late_tag": "late", "contents": LIST, "window_function": Flatten()}


@pytest.mark.parametrize("combined", [True, False])
def test_after_a_restore_records_of_fired_windows_make_them_fire_again(combined) -> None:
    pipeline = Pipeline(window(10, **LATE), 2, combined=combined)
    pipeline.records(0, [("a", 1, 5)])
    for upstream in (0, 1):
        pipeline.watermark(upstream, 9)
    pipeline.restore()
    pipeline.records(1, [("a", 2, 6), ("a", 3, 7), ("a", 4, 12)])  # nobody sent a watermark yet
    pipeline.deliver_all()
    assert pipeline.window.results == [("a", 0, 10, [1]), ("a", 0, 10, [1, 2]), ("a", 0, 10, [1, 2, 3])]
    pipeline.close()


@pytest.mark.parametrize("combined", [True, False])
def test_after_idleness_records_of_fired_windows_make_them_fire_again(combined) -> None:
    pipeline = Pipeline(window(10, **LATE), 2, combined=combined)
    pipeline.status(1, idle=True)
    pipeline.deliver_all()
    pipeline.watermark(0, 9)
    pipeline.deliver_all()
    pipeline.status(1, idle=False)
    pipeline.records(1, [("a", 1, 5), ("a", 2, 6)])
    pipeline.deliver_all()
    assert pipeline.window.results == [("a", 0, 10, [1]), ("a", 0, 10, [1, 2])]
    pipeline.close()


def combiner(**changes: Any) -> tuple[Any, _Channel]:
    spec = window(10, **changes).combiner()
    h = OperatorHarness(spec)
    channel = _Channel(BatchCodec(GENERIC))
    h.operators[0].output = channel
    return h, channel


def test_records_of_a_slice_travel_as_one_partial_aggregate_per_key() -> None:
    h, channel = combiner()
    h.batch([("a", 1), ("b", 2), ("a", 4), ("a", 8)], [0, 1, 9, 10])
    assert not channel.queue
    h.flush()
    assert list(channel.queue) == [
        PartialBatch([("a", 0, ("a", 5)), ("b", 0, ("b", 2)), ("a", 10, ("a", 8))])
    ]
    h.close()


def test_records_whose_window_may_have_fired_travel_as_they_are() -> None:
    h, channel = combiner()
    h.watermark(9)
    h.batch([("a", 1), ("a", 2)], [9, 10])
    h.flush()
    assert list(channel.queue) == [
        Watermark(9),
        RecordBatch([("a", 1)], [9]),
        PartialBatch([("a", 10, ("a", 2))]),
    ]
    h.close()


@pytest.mark.parametrize("element", [Watermark(3), WatermarkStatus(idle=True)], ids=repr)
def test_nothing_is_held_back_across_a_control_element(element) -> None:
    h, channel = combiner()
    h.element(("a", 1), ts=5)
    if isinstance(element, Watermark):
        h.watermark(element.timestamp)
    else:
        h.status(idle=True)
    assert list(channel.queue) == [PartialBatch([("a", 0, ("a", 1))]), element]
    h.close()


def test_many_slices_are_sent_on_before_they_add_up() -> None:
    h, channel = combiner()
    h.batch([("a", 1)] * 100, range(0, 1_000, 10))
    assert [len(batch) for batch in channel.queue] == [100]
    h.close()


def test_late_partial_aggregates_are_dropped_and_counted_by_the_window() -> None:
    with OperatorHarness(window(10)) as h:
        h.watermark(9)
        h.process(PartialBatch([("a", 0, ("a", 1)), ("a", 10, ("a", 2)), ("b", 0, ("b", 1))]))
        h.watermark(19)
        assert h.results == [("a", 2)]
        assert h.counters == {"numLateRecordsDropped": 2}
        assert h.state_entries() == 0


def test_records_without_timestamps_are_left_to_the_window_operator() -> None:
    h, channel = combiner()
    h.element(("a", 1))
    assert list(channel.queue) == [RecordBatch([("a", 1)])]
    h.close()


@pytest.mark.parametrize("key", [None, math.nan, [1]], ids=repr)
def test_what_cannot_be_a_key_is_refused_before_it_travels(key) -> None:
    h, _ = combiner(key_type=GENERIC)
    with pytest.raises(InvalidKeyError):
        h.element((key, 1), ts=0)
    h.close()


def test_only_what_can_be_merged_is_combined() -> None:
    assert window(10, contents=SUM).combiner() is not None
    assert window(10, contents=LIST).combiner() is not None
