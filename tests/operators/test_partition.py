from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import MAX_TIMESTAMP, RecordBatch
from millstream.core.errors import StateError
from millstream.core.types import GENERIC, Types
from millstream.operators.functions import AggregateFunction, MapPartitionFunction
from millstream.operators.partition import FoldPartitionSpec, MapPartitionSpec, SortPartitionSpec
from millstream.operators.partition_folds import AggregateFold, FoldByKey, MapPartitionByKey, ReduceFold
from millstream.operators.process import KeyedProcessSpec
from millstream.testing import OperatorHarness, W

END = W(MAX_TIMESTAMP)


def first(value):
    return value[0]


def second(value):
    return value[1]


class Counting(AggregateFunction):
    """Counts by value, in an accumulator that is changed in place."""

    def create_accumulator(self):
        return {}

    def add(self, value, accumulator):
        accumulator[value] = accumulator.get(value, 0) + 1
        return accumulator

    def get_result(self, accumulator):
        return sorted(accumulator.items())

    def merge(self, acc_a, acc_b):
        return dict(Counter(acc_a) + Counter(acc_b))


class CountingWithoutMerge(Counting):
    merge = AggregateFunction.merge


class Numbered(MapPartitionFunction):
    def open(self, runtime_context):
        self.subtask = runtime_context.get_index_of_this_subtask()

    def map_partition(self, values):
        for number, value in enumerate(values):
            yield self.subtask, number, value


SORT = SortPartitionSpec(second, descending=True, record_type=GENERIC)
SORT_BY_KEY = SortPartitionSpec(second, False, GENERIC, of_key=(first, Types.STRING()))


def test_map_partition_sees_all_records_in_order_once_the_input_has_ended(start):
    h = start(MapPartitionSpec(lambda values: [list(values)], GENERIC))
    h.batch([1, 2], [10, 20])
    h.watermark(20)
    h.pause()
    h.element(3)
    h.pause()
    assert h.output == []
    h.end_input()
    assert sorted(value for result in h.results for value in result) == [1, 2, 3]
    assert [result for result in h.results if result] == [[1, 2, 3]]
    assert h.output[-1] == END
    assert h.state_entries() == 0


def test_a_partition_that_was_dealt_with_is_not_dealt_with_again_after_a_restore(start):
    for spec in (
        MapPartitionSpec(lambda values: [list(values)], GENERIC),
        SORT,
        SORT_BY_KEY,
        FoldPartitionSpec(AggregateFold(Counting(), GENERIC), "PartitionAggregate"),
    ):
        h = start(spec)
        h.element(("a", 1))
        h.end_input()
        before = list(h.results)
        h.pause()
        h.end_input()
        assert h.results == before


def test_results_of_a_generator_are_taken_as_they_are_asked_for():
    taken = []

    def endless(values):
        taken.append(list(values))
        number = 0
        while True:
            number += 1
            yield number

    with OperatorHarness(MapPartitionSpec(endless, GENERIC)) as h:
        h.batch([1, 2, 3])
        h.watermark(MAX_TIMESTAMP)
        assert h.operators[0].emit_rest()
        assert h.operators[0].emit_rest()
        assert h.output == list(range(1, 2_049))
        assert taken == [[1, 2, 3]]


def test_map_partition_opens_its_function_and_is_called_without_records_too(start):
    h = start(MapPartitionSpec(Numbered(), GENERIC))
    h.end_input()
    assert h.results == []
    h = start(MapPartitionSpec(lambda values: [sum(values)], GENERIC))
    h.end_input()
    assert set(h.results) == {0}


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9))),
    st.booleans(),
    st.sampled_from([1, 1 << 20]),
)
def test_sort_partition_is_pythons_stable_sort_and_keeps_timestamps(records, descending, collecting_bytes):
    spec = SortPartitionSpec(second, descending, GENERIC)
    timed = [(*record, time) for time, record in enumerate(records)]
    with OperatorHarness(spec, collecting_bytes=collecting_bytes) as h:
        h.batch(timed[: len(timed) // 2], [value[2] for value in timed[: len(timed) // 2]])
        with h.restored() as restored:
            rest = timed[len(timed) // 2 :]
            restored.batch(rest, [value[2] for value in rest])
            restored.end_input()
            assert restored.results == sorted(timed, key=second, reverse=descending)
            assert restored.timestamps[: len(timed)] == [value[2] for value in restored.results]


def test_sort_partition_by_key_sorts_each_key_also_after_restores_elsewhere(start):
    h = start(SORT_BY_KEY)
    records = [(f"k{n % 5}", n * 7 % 20) for n in range(20)]
    for batch in (records[:7], records[7:14], records[14:]):
        h.batch(batch)
        h.pause()
    h.end_input()
    assert Counter(h.results) == Counter(records)
    for key in {first(record) for record in records}:
        of_key = [second(record) for record in h.results if first(record) == key]
        assert of_key == sorted(of_key)


def test_reduce_gives_one_result_and_none_for_no_records(start):
    spec = FoldPartitionSpec(ReduceFold(max, GENERIC), "PartitionReduce")
    h = start(spec)
    h.batch([3, 1])
    h.pause()
    h.element(5)
    h.element(4)
    h.pause()
    h.end_input()
    assert h.results == [5]
    h = start(spec)
    h.end_input()
    assert h.results == []


def test_aggregate_merges_partitions_that_come_together_and_has_a_result_of_nothing(start):
    spec = FoldPartitionSpec(AggregateFold(Counting(), GENERIC), "PartitionAggregate")
    h = start(spec)
    h.batch(["x", "y"])
    h.pause()
    h.element("x")
    h.pause()
    h.end_input()
    assert sum((Counter(dict(result)) for result in h.results), Counter()) == {"x": 2, "y": 1}
    h = start(spec)
    h.end_input()
    assert all(result == [] for result in h.results)
    assert h.results


def test_accumulators_that_cannot_be_merged_are_refused_with_the_way_out():
    spec = FoldPartitionSpec(AggregateFold(CountingWithoutMerge(), GENERIC), "PartitionAggregate")
    with OperatorHarness(spec, parallelism=2) as h:
        h.element("x")
        same = h.restored()
        same.end_input()
        assert [("x", 1)] in same.results
    with OperatorHarness(spec, parallelism=2) as h, pytest.raises(StateError, match="merge"):
        h.element("x")
        h.restored(parallelism=1)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (FoldByKey(ReduceFold(lambda a, b: (a[0], a[1] + b[1]), GENERIC)), [("a", 4), ("b", 6)]),
        (
            FoldByKey(AggregateFold(Counting(), GENERIC)),
            [[(("a", 1), 1), (("a", 3), 1)], [(("b", 2), 1), (("b", 4), 1)]],
        ),
        (
            MapPartitionByKey(lambda values: [list(values)], GENERIC),
            [[("a", 1), ("a", 3)], [("b", 2), ("b", 4)]],
        ),
    ],
)
def test_by_key_each_key_is_a_partition_of_its_own(start, function, expected):
    h = start(KeyedProcessSpec(first, Types.STRING(), function))
    h.batch([("a", 1), ("b", 2)], [1, 2])
    h.pause()
    h.batch([("a", 3), ("b", 4)], [3, 4])
    h.watermark(4)
    h.pause()
    assert h.results == []
    h.end_input()
    assert sorted(h.results) == expected
    assert h.state_entries() == 0


def test_a_subtask_that_was_over_deals_with_records_that_a_restore_brings_it():
    with OperatorHarness(MapPartitionSpec(lambda values: [list(values)], GENERIC)) as h:
        h.element(1)
        h.end_input()
        with h.restored() as restored:
            restored.element(2)
            with restored.restored() as again:
                again.end_input()
                assert again.results == [[1], [2]]


def test_partitions_stay_whole_and_are_joined_at_a_lower_parallelism(tmp_path):
    spec = MapPartitionSpec(lambda values: [list(values)], GENERIC)
    with OperatorHarness(spec, parallelism=3, collecting_bytes=1) as h:
        for subtask in (0, 1, 2):
            for number in range(3):
                h.process(RecordBatch([(subtask, number)]), subtask)
        with h.restored(parallelism=2) as two:
            two.end_input()
            assert two.results == [[(s, n) for s in (0, 2) for n in range(3)], [(1, n) for n in range(3)]]
