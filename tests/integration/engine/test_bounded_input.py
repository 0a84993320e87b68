"""How bounded jobs end, and how jobs behave whose functions or sinks are slow."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from millstream import (
    Configuration,
    JobExecutionError,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink
from tests.integration.engine.harness import JOBS, Program, Workshop, wait_until

PARALLELISMS = [1, pytest.param(2, marks=pytest.mark.slow)]
BY_VALUE = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value)


def environment(configuration: Configuration, parallelism: int = 1) -> StreamExecutionEnvironment:
    return StreamExecutionEnvironment.get_execution_environment(configuration).set_parallelism(parallelism)


def files(workshop: Workshop) -> FileSink:
    return FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder()).build()


# ---- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_the_last_checkpoint_commits_what_came_after_the_one_before(
    workshop: Workshop, parallelism: int
) -> None:
    env = environment(workshop.configuration(execution_checkpointing_interval="1 h"), parallelism)
    env.from_sequence(1, 100).sink_to(files(workshop))
    result = env.execute()
    assert result.statistics.checkpoints.completed == 1
    assert workshop.committed() == Counter(map(str, range(1, 101)))
    assert workshop.hidden() == []
    workshop.check_nothing_is_left()


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_without_checkpoints_everything_is_committed_at_the_end(workshop: Workshop, parallelism: int) -> None:
    configuration = Configuration()
    configuration.set_string("io.tmp.dirs", str(workshop.tmp))
    env = environment(configuration, parallelism)
    env.from_sequence(1, 100).sink_to(files(workshop))
    assert env.execute().statistics.checkpoints is None
    assert workshop.committed() == Counter(map(str, range(1, 101)))
    assert workshop.hidden() == []
    assert list(workshop.tmp.iterdir()) == []


def test_without_checkpoints_a_failed_job_commits_nothing(workshop: Workshop) -> None:
    configuration = Configuration()
    configuration.set_string("io.tmp.dirs", str(workshop.tmp))
    env = environment(configuration)
    env.from_sequence(1, 100).map(lambda number: 1 // (100 - number)).sink_to(files(workshop))
    with pytest.raises(JobExecutionError):
        env.execute()
    assert not workshop.committed()
    assert workshop.hidden() == []
    assert list(workshop.tmp.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["before-commit=kill@1", "after-commit=kill@2", "before-commit=raise@2"])
def test_a_failure_during_the_last_commit(workshop: Workshop, fault: str) -> None:
    settings = workshop.settings(execution_checkpointing_interval="1 h")
    options = [f"-D{key}={value}" for key, value in settings.items()]
    arguments = (*options, "-p", "2", "--", str(workshop.out), "3000", "1000000")
    program = Program(workshop, JOBS / "windows.py", *arguments, MILLSTREAM_FAULTS=f"sink.{fault}")
    assert program.end() == 0, program.text()
    assert "restarts in" in program.text()
    workshop.check_output(3_000)
    workshop.check_nothing_is_left()


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_no_input_at_all(workshop: Workshop, parallelism: int) -> None:
    env = environment(workshop.configuration(), parallelism)
    nothing = env.from_source(DataGeneratorSource(int, 0), BY_VALUE, "nothing")
    empty: Any = env.from_collection([]).assign_timestamps_and_watermarks(BY_VALUE)
    both = nothing.union(empty).key_by(lambda value: value % 2)
    both.window(TumblingEventTimeWindows.of(10)).reduce(max).sink_to(files(workshop))
    env.execute()
    assert not workshop.committed()
    assert workshop.hidden() == []


@pytest.mark.parametrize("parallelism", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_subtasks_without_splits_hold_up_neither_windows_nor_checkpoints(
    workshop: Workshop, parallelism: int
) -> None:
    env = environment(workshop.configuration(), parallelism)
    two = env.from_source(DataGeneratorSource(int, 2), BY_VALUE, "two")
    many = env.from_source(
        DataGeneratorSource(int, 3_000, RateLimiterStrategy.per_second(6_000)), BY_VALUE, "many"
    )
    windows = two.union(many).key_by(lambda value: value % 3).window(TumblingEventTimeWindows.of(1_000))
    windows.reduce(lambda a, b: a + b).sink_to(files(workshop))
    assert env.execute().statistics.checkpoints.completed >= 2
    sums: Counter[tuple[int, int]] = Counter()
    for value in (*range(3_000), 0, 1):
        sums[value % 3, value // 1_000] += value
    assert workshop.committed() == Counter(map(str, sums.values()))


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_an_idle_source_does_not_hold_up_the_windows_of_another(workshop: Workshop, parallelism: int) -> None:
    env = environment(workshop.configuration(pipeline_auto__watermark__interval="20 ms"), parallelism)
    lively = env.from_source(
        DataGeneratorSource(int, 10**9, RateLimiterStrategy.per_second(5_000)), BY_VALUE, "lively"
    )
    slow = DataGeneratorSource(lambda index: index, 10**6, RateLimiterStrategy.per_second(1))
    idle = env.from_source(slow, BY_VALUE.with_idleness(100), "idle")
    both = lively.union(idle).key_by(lambda value: value % 2)
    with both.window(TumblingEventTimeWindows.of(500)).reduce(max).execute_and_collect() as results:
        assert next(results) < 500


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_one_record_may_become_many_times_a_batch(workshop: Workshop, parallelism: int) -> None:
    env = environment(workshop.configuration(), parallelism)
    numbers = env.from_collection([50_000, 3]).flat_map(range).rebalance().map(lambda number: number + 1)
    with numbers.execute_and_collect() as results:
        assert Counter(results) == Counter([*range(1, 50_001), 1, 2, 3])


# ---- slow functions, slow sinks ----------------------------------------------------------------------------------------


def dawdle(number: int, seconds: float = 0.01) -> int:
    time.sleep(seconds)
    return number


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_a_slow_function_delays_neither_checkpoints_nor_the_end(workshop: Workshop, parallelism: int) -> None:
    env = environment(workshop.configuration(), parallelism)
    numbers = env.from_source(DataGeneratorSource(int, 10**6), BY_VALUE, "many")
    numbers.map(partial(dawdle, seconds=0.1)).sink_to(files(workshop))
    client = env.execute_async()
    wait_until(lambda: completed(client) >= 3, "three checkpoints", timeout_s=60)
    client.cancel().result(60)  # a batch of 1,024 would take 102 s
    workshop.check_nothing_is_left()


@pytest.mark.slow
@pytest.mark.parametrize("parallelism", [1, 2])
def test_checkpoints_do_not_wait_for_all_that_could_be_sent_ahead_to_a_slow_function(
    workshop: Workshop, parallelism: int
) -> None:
    env = environment(workshop.configuration(), parallelism)
    numbers = env.from_source(DataGeneratorSource(int, 10**6), BY_VALUE, "many")
    numbers.key_by(lambda number: number % 100).reduce(lambda left, right: dawdle(right)).sink_to(
        files(workshop)
    )
    client = env.execute_async()
    # Four batches of 1,024 from each side would be more than 40 s.
    wait_until(lambda: completed(client) >= 3, "three checkpoints", timeout_s=20)
    client.cancel().result(20)
    workshop.check_nothing_is_left()


def completed(client: Any) -> int:
    checkpoints = client.statistics().checkpoints
    return 0 if checkpoints is None else int(checkpoints.completed)


class Gate:
    """A sink that takes nothing more once a file is there that says so, and tells what it took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create_writer(self, context: Any) -> GateWriter:
        return GateWriter(self.folder)


class GateWriter:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int] | None) -> None:
        (self.folder / "arrived").touch()
        pause = threading.Event()
        while not (self.folder / "open").exists():
            pause.wait(0.01)

    def flush(self, end_of_input: bool) -> None:
        pass

    def close(self) -> None:
        pass


def large(index: int) -> tuple[int, str]:
    return index, f"{index}" * 2_000


@pytest.mark.slow
def test_a_sink_that_stands_still_makes_the_source_wait_and_memory_stays_bounded(workshop: Workshop) -> None:
    events, limit = 60_000, 400 << 20  # of about 600 MB in all
    env = environment(workshop.configuration(execution_checkpointing_interval="1 h"), 2)
    records = env.from_source(DataGeneratorSource(large, events), WatermarkStrategy.no_watermarks(), "large")
    records.rebalance().map(tuple).disable_chaining().sink_to(Gate(workshop.faults))
    client = env.execute_async()
    wait_until((workshop.faults / "arrived").exists, "records at the sink")
    processes = [psutil.Process(pid) for pid in client.worker_pids().values()]
    for settled in still(processes):
        assert settled < limit
    (workshop.faults / "open").touch()
    result = client.wait(60)
    assert result.statistics.vertices[-1].records_in == events


def still(processes: list[psutil.Process]) -> Iterator[int]:
    """Resident memory of the largest process, until it stops growing."""
    pause, before, unchanged = threading.Event(), 0, 0
    while unchanged < 5:
        now = max(process.memory_info().rss for process in processes)
        unchanged = unchanged + 1 if now <= before else 0
        before = max(now, before)
        yield now
        pause.wait(0.05)
