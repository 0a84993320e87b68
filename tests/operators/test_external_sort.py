import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import MIN_TIMESTAMP, RecordBatch
from millstream.core.errors import RecordSerializationError
from millstream.core.record_files import RecordCodec, records_per_frame
from millstream.core.types import GENERIC, Types
from millstream.operators.external_sort import ExternalSorter

RECORDS = st.lists(st.tuples(st.integers(0, 5), st.text(max_size=8)), max_size=40)
ANY_BATCHES = st.lists(st.tuples(RECORDS, st.booleans()), max_size=8)


def by_first(values, timestamps):
    return [value[0] for value in values]


def sorter(folder, memory_bytes, **changes):
    return ExternalSorter(
        RecordCodec(changes.pop("record_type", GENERIC)),
        changes.pop("sort_keys", by_first),
        memory_bytes=memory_bytes,
        folder=Path(folder) / "sort",
        **changes,
    )


def drained(sorting):
    for _ in sorting.compact():
        pass
    return [(value, timestamp) for _, value, timestamp in sorting.entries()]


@settings(max_examples=40)
@given(ANY_BATCHES, st.sampled_from([1, 500, 3_000, 1 << 30]), st.booleans(), st.sampled_from([2, 3, 128]))
def test_a_sort_in_any_memory_is_pythons_stable_sort(batches, memory_bytes, descending, max_merged_runs):
    with TemporaryDirectory() as folder:
        sorting = sorter(folder, memory_bytes, descending=descending, max_merged_runs=max_merged_runs)
        added = []
        for values, timed in batches:
            times = [100 - index for index in range(len(values))] if timed else None
            sorting.add(RecordBatch(values, times))
            added += zip(values, times or [None] * len(values), strict=True)
        assert drained(sorting) == sorted(added, key=lambda entry: entry[0][0], reverse=descending)


def test_what_fits_in_memory_never_sees_the_disk(tmp_path):
    sorting = sorter(tmp_path, 1 << 20)
    sorting.add(RecordBatch([(2, "b"), (1, "a")]))
    assert drained(sorting) == [((1, "a"), None), ((2, "b"), None)]
    assert list(tmp_path.iterdir()) == []
    assert sorting.statistics.runs == 0


def test_memory_is_bounded_by_the_budget_and_one_batch(tmp_path):
    sorting = sorter(tmp_path, 50_000)
    for start in range(0, 20_000, 100):
        sorting.add(RecordBatch([(-number, "x" * 20) for number in range(start, start + 100)]))
    one_batch = 100 * 250
    assert sorting.statistics.peak_bytes <= 50_000 + one_batch
    assert sorting.statistics.bytes > 60 * 50_000
    assert sorting.statistics.runs > 20
    assert [value[0] for value, _ in drained(sorting)] == list(range(-19_999, 1))


def test_more_runs_than_may_be_open_are_merged_in_steps_and_their_files_go(tmp_path):
    sorting = sorter(tmp_path, 1, max_merged_runs=3)
    for number in range(20):
        sorting.add(RecordBatch([(number % 4, str(number))], [number]))
    assert len(list((tmp_path / "sort").iterdir())) == 20
    assert sum(1 for _ in sorting.compact()) >= 20 // 3
    assert len(list((tmp_path / "sort").iterdir())) <= 3
    assert [time for _, _, time in sorting.entries()] == sorted(range(20), key=lambda number: number % 4)


def test_a_timestamp_and_its_absence_survive_the_disk(tmp_path):
    sorting = sorter(tmp_path, 1)
    sorting.add(RecordBatch([(2, "untimed")]))
    sorting.add(RecordBatch([(1, "timed")], [-5]))
    assert drained(sorting) == [((1, "timed"), -5), ((2, "untimed"), None)]


def test_a_record_that_its_type_cannot_encode_is_refused_when_it_is_added(tmp_path):
    sorting = sorter(tmp_path, 1, record_type=Types.STRING())
    with pytest.raises(RecordSerializationError):
        sorting.add(RecordBatch([1]))


def test_sort_keys_see_the_same_timestamps_before_and_after_the_disk(tmp_path):
    def by_time(values, timestamps):
        return [MIN_TIMESTAMP if timestamp is None else timestamp for timestamp in timestamps]

    sorting = sorter(tmp_path, 1, sort_keys=by_time)
    sorting.add(RecordBatch(["c", "b"], [3, 2]))
    sorting.add(RecordBatch(["a"]))
    assert drained(sorting) == [("a", None), ("b", 2), ("c", 3)]


@pytest.mark.parametrize(
    ("records", "size", "frame", "expected"),
    [(10, 100, 1 << 20, 1_024), (10, 10 << 20, 1 << 10, 1), (100, 100 << 10, 64 << 10, 64), (0, 0, 1, 1)],
)
def test_frames_hold_few_large_records_or_many_small_ones(records, size, frame, expected):
    assert records_per_frame(records, size, frame) == expected


def test_a_data_set_many_times_larger_than_the_budget_is_sorted_in_little_more_memory(tmp_path):
    budget, records = 1 << 20, 20_000  # of a thousand characters each: 20 MB
    sorting = sorter(tmp_path, budget)
    tracemalloc.start()
    try:
        for start in range(0, records, 50):
            sorting.add(RecordBatch([(n * 7919 % records, f"{n:1000}") for n in range(start, start + 50)]))
        for _ in sorting.compact():
            pass
        last = -1
        for key, _, _ in sorting.entries():
            assert key == last + 1
            last = key
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last == records - 1
    assert peak < 4 * budget  # what is held, the same encoded, and a frame of each run
    assert sorting.statistics.spilled_bytes > 19 * budget
