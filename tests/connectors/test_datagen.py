from __future__ import annotations

import pytest

from millstream.connectors.base import NothingAvailable, SourceBatch
from millstream.connectors.datagen import DataGeneratorSource, NumberSequenceSource, RateLimiterStrategy
from millstream.core.errors import ConnectorError, JobDefinitionError
from millstream.testing.connectors import SourceContract, SourceRun


class TestDataGeneratorSource(SourceContract):
    @pytest.fixture
    def source(self):
        return DataGeneratorSource(lambda index: f"record-{index}", 203)

    @pytest.fixture
    def expected(self):
        return [f"record-{index}" for index in range(203)]


class TestDataGeneratorSourceFromBatches(SourceContract):
    @pytest.fixture
    def source(self):
        return DataGeneratorSource.from_batches(
            lambda start, stop: [(n, n * n) for n in range(start, stop)], 111
        )

    @pytest.fixture
    def expected(self):
        return [(n, n * n) for n in range(111)]


class TestRateLimitedSource(SourceContract):
    @pytest.fixture
    def source(self):
        return DataGeneratorSource(str, 90, RateLimiterStrategy.per_second(1_000))

    @pytest.fixture
    def expected(self):
        return [str(n) for n in range(90)]


class TestNumberSequenceSource(SourceContract):
    @pytest.fixture
    def source(self):
        return NumberSequenceSource(-20, 80)

    @pytest.fixture
    def expected(self):
        return list(range(-20, 81))


def test_each_subtask_reads_an_even_range_in_order() -> None:
    run = SourceRun(NumberSequenceSource(1, 10), parallelism=2, batch=2)
    run.read()
    assert run.by_subtask == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]


def test_a_subtask_with_several_ranges_reads_them_in_turn() -> None:
    run = SourceRun(NumberSequenceSource(0, 7), parallelism=2, batch=2)
    restored = SourceRun(run.source, 1, run.checkpoint(), batch=2)
    assert restored.read() == [0, 1, 4, 5, 2, 3, 6, 7]


def test_what_is_left_is_divided_among_more_subtasks() -> None:
    run = SourceRun(NumberSequenceSource(0, 99), parallelism=1, batch=10)
    run.read(4)
    restored = SourceRun(run.source, 3, run.checkpoint(), batch=5)
    restored.read()
    assert [len(values) for values in restored.by_subtask] == [20, 20, 20]


@pytest.mark.parametrize(
    "source",
    [
        DataGeneratorSource(str, 20, timestamps=lambda index: index * 100),
        DataGeneratorSource.from_batches(
            lambda start, stop: [str(n) for n in range(start, stop)],
            20,
            timestamps=lambda start, stop: [n * 100 for n in range(start, stop)],
        ),
    ],
)
def test_timestamps_belong_to_their_records_also_after_a_restore(source) -> None:
    run = SourceRun(source, 2, batch=3)
    run.read(3)
    restored = SourceRun(source, 3, run.checkpoint(), batch=2)
    restored.read()
    together = run.values + restored.values
    assert sorted(together, key=int) == [str(n) for n in range(20)]
    assert run.timestamps + restored.timestamps == [int(value) * 100 for value in together]


def test_the_rate_is_a_limit_for_all_subtasks_together() -> None:
    run = SourceRun(
        DataGeneratorSource(str, 10_000, RateLimiterStrategy.per_second(100)), parallelism=2, batch=1_000
    )
    for _ in range(2_000):
        for subtask in range(2):
            run.poll(subtask)
        run.clock.advance(1)
    assert len(run.values) == pytest.approx(2 * 100, abs=3)


def test_a_limited_reader_says_when_to_ask_again() -> None:
    run = SourceRun(DataGeneratorSource(str, 10, RateLimiterStrategy.per_second(4)))
    assert isinstance(run.poll(0), SourceBatch)
    assert run.poll(0) == NothingAvailable(retry_in_ms=250)
    run.clock.advance(249)
    assert run.poll(0) == NothingAvailable(retry_in_ms=1)
    run.clock.advance(1)
    assert run.poll(0) == SourceBatch("0-10", ["1"])


def test_a_long_pause_is_not_followed_by_a_flood() -> None:
    run = SourceRun(DataGeneratorSource(str, 10_000, RateLimiterStrategy.per_second(100)), batch=5_000)
    run.clock.advance(3_600_000)
    run.poll(0)
    assert len(run.values) == 100


def test_a_generator_of_batches_that_gives_too_few_records_is_an_error() -> None:
    run = SourceRun(DataGeneratorSource.from_batches(lambda start, stop: [0], 10), batch=5)
    with pytest.raises(ConnectorError, match="gave 1 records for the 5 indices from 0 to 4"):
        run.read()


def test_an_exception_of_the_generator_is_the_users_own() -> None:
    run = SourceRun(DataGeneratorSource(lambda index: 1 // (3 - index), 10))
    with pytest.raises(ZeroDivisionError):
        run.read()


@pytest.mark.parametrize(
    "build",
    [
        lambda: DataGeneratorSource(str, -1),
        lambda: DataGeneratorSource("no function", 1),
        lambda: DataGeneratorSource(str, 1, timestamps=5),
        lambda: RateLimiterStrategy.per_second(0),
        lambda: RateLimiterStrategy.per_second(float("nan")),
    ],
)
def test_a_wrong_argument_is_an_error_in_the_program(build) -> None:
    with pytest.raises(JobDefinitionError):
        build()
