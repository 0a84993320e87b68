"""Asynchronous I/O in whole jobs: order, back-pressure, checkpoints that do not wait, and exactly-once through failures."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from millstream import (
    AsyncDataStream,
    AsyncFunction,
    AsyncRetryPredicates,
    AsyncRetryStrategies,
    JobExecutionError,
    StreamExecutionEnvironment,
    Time,
    TumblingEventTimeWindows,
    UserFunctionError,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink
from tests.integration.engine.harness import Workshop, wait_until
from tests.integration.engine.test_recovery import completed, kill_worker

WAITS = [AsyncDataStream.ordered_wait, AsyncDataStream.unordered_wait]


class Doubling(AsyncFunction[int, int]):
    """Answers sooner or later; counts how many it answers at a time."""

    def open(self, runtime_context: Any) -> None:
        self.under_way = 0

    async def async_invoke(self, value: int) -> list[int]:
        self.under_way += 1
        assert self.under_way <= 20
        await asyncio.sleep(value % 3 / 1000)
        self.under_way -= 1
        return [value * 2]


def environment(workshop: Workshop, parallelism: int, **changes: str) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**changes))
    return env.set_parallelism(parallelism)


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("wait", WAITS)
def test_every_record_is_answered_once_and_no_more_at_a_time_than_the_capacity(
    workshop: Workshop, wait: Any, parallelism: int
) -> None:
    numbers = environment(workshop, parallelism).from_sequence(1, 1_000)
    doubled = wait(numbers, Doubling(), Time.seconds(30), capacity=20)
    with doubled.map(lambda n: n + 1).execute_and_collect() as results:
        found = list(results)
    assert sorted(found) == [2 * n + 1 for n in range(1, 1_001)]
    if wait is AsyncDataStream.ordered_wait and parallelism == 1:
        assert found == sorted(found)


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("wait", WAITS)
def test_windows_behind_it_are_complete_though_answers_are_slow(
    workshop: Workshop, wait: Any, parallelism: int
) -> None:
    by_time = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value)
    source = DataGeneratorSource(int, 1_000)
    numbers = environment(workshop, parallelism).from_source(source, by_time, "numbers")
    answered = wait(numbers.key_by(lambda n: n % 5), Doubling(), 30_000, capacity=20)
    counts = (
        answered.map(lambda n: (n // 2 // 100, 1))
        .key_by(lambda pair: pair[0])
        .window(TumblingEventTimeWindows.of(100))
        .reduce(lambda left, right: (left[0], left[1] + right[1]))
    )
    with counts.execute_and_collect() as results:
        assert Counter(results) == Counter((n, 100) for n in range(10))


class AfterTheNextCheckpoint(AsyncFunction[int, int]):
    """Answers when a checkpoint has been completed that was not when it was asked."""

    def __init__(self, checkpoints: Path) -> None:
        self.checkpoints = checkpoints

    def newest(self) -> int:
        found = self.checkpoints.glob("*/chk-*/_metadata")
        return max((int(path.parent.name.removeprefix("chk-")) for path in found), default=0)

    async def async_invoke(self, value: int) -> list[int]:
        asked = self.newest()
        await asyncio.to_thread(wait_until, lambda: self.newest() > asked, "a checkpoint", 15)
        return [value]


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("wait", WAITS)
def test_checkpoints_do_not_wait_for_answers_even_when_there_is_no_room(
    workshop: Workshop, wait: Any, parallelism: int
) -> None:
    numbers = environment(workshop, parallelism).from_collection(range(3 * parallelism))
    function = AfterTheNextCheckpoint(workshop.checkpoints)
    answered = wait(numbers, function, Time.minutes(2), capacity=1)
    with answered.execute_and_collect() as results:
        assert sorted(results) == list(range(3 * parallelism))
    workshop.check_nothing_is_left()


@pytest.mark.parametrize("wait", WAITS)
def test_a_killed_worker_loses_no_request_and_doubles_no_result(workshop: Workshop, wait: Any) -> None:
    env = environment(workshop, 2, state_backend_type="rocksdb")
    source = DataGeneratorSource(int, 5_000, RateLimiterStrategy.per_second(5_000))
    numbers = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers")
    wait(numbers, Doubling(), Time.minutes(1), capacity=20).map(str).sink_to(
        FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder()).build()
    )
    client = env.execute_async("asking")
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    kill_worker(client, 1)
    assert client.wait(60).statistics.restarts == 1
    assert workshop.committed() == Counter(str(2 * n) for n in range(5_000))
    workshop.check_nothing_is_left()


@pytest.mark.parametrize("parallelism", [1, 2])
def test_an_exception_is_reported_with_the_operator_the_record_and_the_line(
    workshop: Workshop, parallelism: int
) -> None:
    async def explode(value: int) -> list[int]:
        if value == 17:
            raise ValueError("no such thing")  # the user's own line
        return [value]

    env = environment(workshop, parallelism, restart__strategy_type="none")
    asked = AsyncDataStream.unordered_wait(env.from_sequence(1, 100), explode, 1_000).name("look-up")
    with pytest.raises(JobExecutionError) as caught, asked.execute_and_collect() as results:
        list(results)
    error = caught.value.__cause__
    assert isinstance(error, UserFunctionError)
    assert (error.operator, error.record) == ("look-up", "17")
    assert error.subtask.startswith("look-up")
    assert "the user's own line" in error.traceback or "in explode" in error.traceback
    assert "millstream/operators" not in error.traceback


def test_what_fails_now_and_then_is_asked_again_without_failing_the_job(workshop: Workshop) -> None:
    class Unreliable(AsyncFunction[int, int]):
        def open(self, runtime_context: Any) -> None:
            self.asked: Counter[int] = Counter()

        async def async_invoke(self, value: int) -> list[int]:
            self.asked[value] += 1
            if self.asked[value] <= value % 3:
                raise ConnectionError(value)
            return [value]

    strategy = (
        AsyncRetryStrategies.FixedDelayRetryStrategyBuilder(2, 5)
        .if_exception(AsyncRetryPredicates.has_exception_predicate)
        .build()
    )
    env = environment(workshop, 1, restart__strategy_type="none")
    asked = AsyncDataStream.ordered_wait_with_retry(env.from_sequence(1, 50), Unreliable(), 10_000, strategy)
    with asked.execute_and_collect() as results:
        assert list(results) == list(range(1, 51))
