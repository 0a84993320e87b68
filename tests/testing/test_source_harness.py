"""A source driven by hand: its splits, watermarks and snapshots."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import WatermarkStrategy
from millstream.connectors.base import EndOfSource, NothingAvailable, SourceBatch, SplitFinished
from millstream.connectors.collection import CollectionSource
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import FileSource, StreamFormat
from millstream.core.batch import MAX_TIMESTAMP, WatermarkStatus
from millstream.testing import ManualSource, SourceHarness, W
from millstream.testing.connectors import SourceContract
from millstream.testing.manual_source import ManualSplit

ASCENDING = WatermarkStrategy.for_monotonous_timestamps()
IDLE, ACTIVE = WatermarkStatus(idle=True), WatermarkStatus(idle=False)


def two_splits():
    source = ManualSource(splits=2)
    source.batch(["a", "b"], [10, 20])
    source.batch(["x"], [5], split=1)
    return source


# ---- polling


def test_each_poll_gives_records_of_one_split_or_says_why_there_are_none() -> None:
    source = two_splits()
    with SourceHarness(source) as h:
        assert h.poll() == SourceBatch("split-0", ["a", "b"], [10, 20])
        assert h.poll() == SourceBatch("split-1", ["x"], [5])
        assert isinstance(h.poll(), NothingAvailable)
        assert h.output == ["a", "b", "x"]
        assert h.timestamps == [10, 20, 5]
        source.end(split=0)
        assert h.poll() == SplitFinished("split-0")
        assert h.splits() == ["split-1"]
        assert h.ended == [False]
        source.end()
        assert h.poll() == SplitFinished("split-1")
        assert h.poll() == EndOfSource()
        assert h.poll() == EndOfSource()
        assert h.output == ["a", "b", "x", W(MAX_TIMESTAMP)]
        assert h.ended == [True]


def test_records_of_one_poll_are_as_many_as_the_harness_allows() -> None:
    with SourceHarness(CollectionSource(range(5)), max_records=2) as h:
        assert h.poll().values == [0, 1]
        assert h.read_available() == [2, 3, 4]
        assert h.results == [0, 1, 2, 3, 4]


# ---- event time


def test_the_watermark_is_the_lowest_of_the_splits_and_comes_in_its_interval() -> None:
    source = two_splits()
    with SourceHarness(source, ASCENDING) as h:
        h.poll()
        h.set_processing_time(200)  # split 1 has not given a record
        assert h.output == ["a", "b"]
        h.poll()
        h.set_processing_time(399)
        assert h.output == ["a", "b", "x"]
        h.set_processing_time(400)
        assert h.output == ["a", "b", "x", W(4)]
        source.end(split=1)
        h.poll()
        h.poll()
        h.set_processing_time(600)
        assert h.output[4:] == [W(19)]


def test_parallel_readers_have_watermarks_of_their_own() -> None:
    with SourceHarness(two_splits(), ASCENDING, parallelism=2) as h:
        h.read_available()
        h.set_processing_time(200)
        assert h.output_of(0) == ["a", "b", W(19)]
        assert h.output_of(1) == ["x", W(4)]
        assert Counter(h.results) == Counter("abx")


def test_a_silent_split_is_idle_and_all_of_them_make_the_source_idle() -> None:
    source = two_splits()
    with SourceHarness(source, ASCENDING.with_idleness(timedelta(milliseconds=1_000))) as h:
        h.read_available()
        h.set_processing_time(800)
        assert h.output == ["a", "b", "x", W(4)]
        source.element("c", ts=30)
        h.read_available()
        h.set_processing_time(1_200)
        assert h.output[4:] == ["c", W(29)]
        h.set_processing_time(2_000)
        assert h.output[6:] == [IDLE]
        source.element("y", ts=40, split=1)
        h.read_available()
        assert h.output[7:] == [ACTIVE, "y"]
        h.set_processing_time(2_200)
        assert h.output[9:] == [W(39)]


# ---- splits


def test_readers_that_register_one_by_one_get_their_splits_then() -> None:
    with SourceHarness(two_splits(), parallelism=2, register=False) as h:
        assert isinstance(h.poll(1), NothingAvailable)
        h.register(1)
        assert h.splits(1) == ["split-1"]
        assert h.splits(0) == []
        assert h.poll(1).values == ["x"]
        h.register(0)
        assert h.splits(0) == ["split-0"]


def test_a_reader_is_given_splits_past_the_enumerator() -> None:
    with SourceHarness(two_splits(), parallelism=2, register=False) as h:
        h.add_splits([ManualSplit(0, position=1), ManualSplit(1)], subtask=1)
        h.no_more_splits(1)
        assert h.splits(1) == ["split-0", "split-1"]
        h.read_available()
        assert h.output_of(1) == ["b", "x"]
        assert h.output_of(0) == []


def test_an_enumerator_that_looks_again_and_again_does_so_when_the_clock_is_there(tmp_path) -> None:
    (tmp_path / "1.txt").write_text("a\nb\n")
    source = (
        FileSource.for_record_stream_format(StreamFormat.text_line_format(), str(tmp_path))
        .monitor_continuously(timedelta(seconds=10))
        .build()
    )
    with SourceHarness(source) as h:
        h.read_until(lambda: len(h.results) == 2)
        (tmp_path / "2.txt").write_text("c\n")
        h.set_processing_time(9_999)
        assert h.read_available() == []
        h.set_processing_time(10_000)
        h.read_until(lambda: h.results == ["a", "b", "c"])


def test_a_rate_is_one_of_the_manual_clock() -> None:
    with SourceHarness(DataGeneratorSource(str, 50, RateLimiterStrategy.per_second(10))) as h:
        h.read_available()
        first = len(h.results)
        assert first <= 10
        for time in range(100, 3_100, 100):
            h.set_processing_time(time)
            h.read_available()
        assert 20 <= len(h.results) <= 40


# ---- snapshots


@pytest.mark.parametrize("parallelisms", [(1, 3), (3, 1), (2, 2)])
def test_a_restored_source_goes_on_behind_the_records_of_the_snapshot(parallelisms) -> None:
    before, after = parallelisms
    source = DataGeneratorSource(str, 40)
    h = SourceHarness(source, parallelism=before, max_records=3)
    h.poll()
    taken = h.snapshot()
    kept = list(h.results)
    h.read_available()
    with h.restored_from(taken, parallelism=after) as again:
        known = len(again.results)
        again.read_available()
        assert sorted(kept + again.results[known:], key=int) == [str(n) for n in range(40)]


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(1, 4)), max_size=6),
    st.integers(1, 60),
    st.integers(1, 9),
)
def test_wherever_it_is_restored_every_record_comes_once(rounds, records, max_records) -> None:
    h = SourceHarness(DataGeneratorSource(str, records), max_records=max_records)
    for polls, parallelism in rounds:
        for number in range(polls):
            h.poll(number % len(h.readers))
        h = h.restored(parallelism=parallelism)
    h.read_available()
    assert all(h.ended)
    h.close()
    assert Counter(h.results) == Counter(map(str, range(records)))


def test_the_time_goes_on_after_a_restore_and_watermarks_are_derived_again() -> None:
    h = SourceHarness(two_splits(), ASCENDING)
    h.read_available()
    h.set_processing_time(200)
    assert h.output[-1] == W(4)
    with h.restored(parallelism=2) as again:
        assert again.clock.now_ms() == 200
        again.set_processing_time(1_000)
        assert again.output_of(0) == []


class Told(ManualSource):
    """Notes what its readers are told."""

    def create_reader(self, context):
        reader = super().create_reader(context)
        self.told = told = []
        reader.notify_checkpoint_complete = lambda number: told.append(number)
        reader.close = lambda: told.append("closed")
        return reader


def test_readers_are_told_of_complete_checkpoints_and_closed_once() -> None:
    source = Told()
    h = SourceHarness(source)
    h.snapshot()
    h.snapshot(complete=False)
    h.snapshot()
    h.close()
    h.close()
    assert source.told == [1, 3, "closed"]


# ---- what is wrong is noticed


class Broken(ManualSource):
    def create_reader(self, context):
        reader = super().create_reader(context)
        reader.poll_next = lambda _: self.answer
        return reader


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (SourceBatch("split-7", ["a"]), "'split-7' is no split of this reader"),
        (SourceBatch("split-0", []), "0 records instead of 1 to 3"),
        (SourceBatch("split-0", ["a"] * 4), "4 records instead of 1 to 3"),
        (SourceBatch("split-0", ["a"], [1, 2]), "not one timestamp per record"),
        (SplitFinished("split-7"), "'split-7' is no split of this reader"),
        (None, "poll_next answered None"),
    ],
)
def test_an_answer_against_the_protocol_fails_the_test(answer, message) -> None:
    source = Broken()
    source.answer = answer
    with SourceHarness(source, max_records=3) as h, pytest.raises(AssertionError, match=message):
        h.poll()


def test_waiting_for_what_never_comes_fails_the_test() -> None:
    with SourceHarness(ManualSource()) as h, pytest.raises(AssertionError, match=r"did not come in 0\.05 s"):
        h.read_until(lambda: False, timeout_s=0.05)


# ---- the hand-fed source is a source like any other


class TestManualSource(SourceContract):
    @pytest.fixture
    def expected(self):
        return [f"{split}.{n}" for split in range(3) for n in range(40)]

    @pytest.fixture
    def source(self, expected):
        source = ManualSource(splits=3)
        for record in expected:
            source.element(record, split=int(record[0]))
        source.end()
        return source
