from __future__ import annotations

from millstream.core.batch import RecordBatch, Watermark, WatermarkStatus
from millstream.operators.functions import OutputTag
from millstream.operators.process import ProcessSpec
from millstream.operators.stateless import FilterSpec, FlatMapSpec, MapSpec
from millstream.operators.timestamps import TimestampsSpec
from millstream.operators.watermark_strategy import WatermarkStrategy
from millstream.runtime.graph.fusion import FusedOperators
from tests.worker.chains import Writer, described, running

PLUS_ONE = MapSpec(lambda value: value + 1)
EVEN = FilterSpec(lambda value: value % 2 == 0)
TWICE = FlatMapSpec(lambda value: [value, value])
ODD = OutputTag("odd")


def split(value, ctx):
    if value % 2:
        ctx.output(ODD, value)
        return []
    return [value]


SPLIT = ProcessSpec(split)


def test_a_run_of_stateless_operators_becomes_one_loop() -> None:
    writer = Writer()
    chain = running(described(PLUS_ONE, EVEN, TWICE), {(2, None): [writer]})
    assert isinstance(chain.entry, FusedOperators)
    assert [len(fused.operators) for fused in chain.fused] == [3]
    chain.entry.process_batch(RecordBatch([1, 2, 3], [10, 20, 30]))
    chain.entry.process_watermark(5)
    chain.entry.process_status(idle=True)
    assert writer.sent == [
        RecordBatch([2, 2, 4, 4], [10, 10, 30, 30]),
        Watermark(5),
        WatermarkStatus(idle=True),
    ]


def test_a_batch_of_which_nothing_is_left_is_not_sent() -> None:
    writer = Writer()
    chain = running(described(EVEN), {(0, None): [writer]})
    chain.entry.process_batch(RecordBatch([1, 3]))
    assert writer.sent == []


def test_an_operator_with_two_consumers_ends_a_run() -> None:
    left, right = Writer(), Writer()
    chain = running(
        described(PLUS_ONE, (EVEN, 0, None), (TWICE, 0, None)), {(1, None): [left], (2, None): [right]}
    )
    assert [len(fused.operators) for fused in chain.fused] == [1, 1, 1]
    chain.entry.process_batch(RecordBatch([1, 2]))
    chain.entry.process_watermark(5)
    assert left.sent == [RecordBatch([2]), Watermark(5)]
    assert right.sent == [RecordBatch([2, 2, 3, 3]), Watermark(5)]


def test_an_operator_that_is_also_sent_elsewhere_ends_a_run() -> None:
    middle, end = Writer(), Writer()
    chain = running(described(PLUS_ONE, EVEN), {(0, None): [middle], (1, None): [end]})
    chain.entry.process_batch(RecordBatch([1, 2]))
    assert (middle.values, end.values) == ([2, 3], [2])


def test_operators_that_are_not_fusible_stand_between_the_runs() -> None:
    writer = Writer()
    chain = running(described(PLUS_ONE, TWICE, SPLIT, PLUS_ONE, EVEN), {(4, None): [writer]})
    assert [len(fused.operators) for fused in chain.fused] == [2, 2]
    chain.entry.process_batch(RecordBatch([1, 2, 3]))
    chain.entry.process_watermark(7)
    assert writer.sent == [Watermark(7)]
    chain = running(described(PLUS_ONE, TWICE, SPLIT, PLUS_ONE), {(3, None): [writer]})
    chain.entry.process_batch(RecordBatch([1, 2, 3]))
    assert writer.values == [3, 3, 5, 5]


def test_side_outputs_feed_operators_and_exchanges_and_get_watermarks_too() -> None:
    main, side, beyond = Writer(), Writer(), Writer()
    descriptions = described(SPLIT, (PLUS_ONE, 0, "odd"))
    chain = running(descriptions, {(0, None): [main], (0, "odd"): [side], (1, None): [beyond]})
    chain.entry.process_batch(RecordBatch([1, 2, 3], [1, 2, 3]))
    chain.entry.process_watermark(9)
    assert main.sent == [RecordBatch([2], [2]), Watermark(9)]
    assert side.sent == [RecordBatch([1, 3], [1, 3]), Watermark(9)]
    assert beyond.sent == [RecordBatch([2, 4], [1, 3]), Watermark(9)]


def test_a_side_output_that_nobody_reads_is_dropped() -> None:
    writer = Writer()
    chain = running(described(SPLIT), {(0, None): [writer]})
    chain.entry.process_batch(RecordBatch([1, 2]))
    assert writer.values == [2]


def test_results_that_nobody_reads_are_dropped() -> None:
    chain = running(described(PLUS_ONE, SPLIT), {})
    chain.entry.process_batch(RecordBatch([1, 2]))
    chain.entry.process_watermark(1)


def test_timestamps_assigned_inside_a_run_reach_its_end() -> None:
    strategy = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
        lambda value, _: value * 10
    )
    writer = Writer()
    chain = running(described(TWICE, TimestampsSpec(strategy), EVEN), {(2, None): [writer]})
    chain.entry.process_batch(RecordBatch([1, 2]))
    chain.entry.process_batch(RecordBatch([4], [0]))
    assert writer.sent == [RecordBatch([2, 2], [20, 20]), RecordBatch([4, 4], [40, 40])]


def test_an_exchange_is_named_after_the_operator_it_carries_results_of() -> None:
    writer = Writer()
    running(described(PLUS_ONE, EVEN), {(1, None): [writer]})
    assert writer.name == "Filter 1"
