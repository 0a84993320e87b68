"""Streams that one job computes and later ones read."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from millstream import (
    CachedDataStream,
    JobDefinitionError,
    JobExecutionError,
    RuntimeExecutionMode,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from tests.integration.engine.harness import ROOT, Workshop

PARALLELISMS = [1, 2]


class Counted:
    """Doubles numbers, and leaves a mark in a file for each."""

    def __init__(self, file: Path, fails_at: int | None = None) -> None:
        self.file = file
        self.fails_at = fails_at
        file.touch()

    def __call__(self, number: int) -> int:
        if number == self.fails_at:
            raise ValueError(number)
        with self.file.open("a") as file:
            file.write(".")
        return number * 2

    @property
    def calls(self) -> int:
        return self.file.stat().st_size


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "calls")


def environment(workshop: Workshop, parallelism: int) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())
    return env.set_parallelism(parallelism).set_runtime_mode(RuntimeExecutionMode.AUTOMATIC)


def doubled(env: StreamExecutionEnvironment, counted: Counted) -> CachedDataStream[int]:
    return env.from_sequence(1, 3_000).map(counted, int).cache()


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_the_first_job_computes_and_later_ones_at_other_parallelisms_read(
    workshop: Workshop, counted: Counted, parallelism: int
) -> None:
    with environment(workshop, parallelism) as env:
        cached = doubled(env, counted)
        assert Counter(cached.execute_and_collect()) == Counter(range(2, 6_001, 2))
        assert counted.calls == 3_000
        env.set_parallelism(3 - parallelism)
        summed = cached.map(lambda n: (n % 10, n)).key_by(lambda p: p[0], int)
        totals = dict(summed.reduce(lambda a, b: (a[0], a[1] + b[1])).execute_and_collect())
        assert sum(totals.values()) == sum(range(2, 6_001, 2))
        assert set(totals) == {0, 2, 4, 6, 8}
        assert counted.calls == 3_000
        assert len(list(workshop.tmp.iterdir())) == 1
    assert list(workshop.tmp.iterdir()) == []


def test_invalidated_it_is_computed_again(workshop: Workshop, counted: Counted) -> None:
    with environment(workshop, 1) as env:
        cached = doubled(env, counted)
        for times in (1, 1, 2, 2):
            if times == 2 and counted.calls == 3_000:
                cached.invalidate()
                cached.invalidate()
            assert len(list(cached.filter(lambda n: n > 0).execute_and_collect())) == 3_000
            assert counted.calls == times * 3_000


def test_a_closed_environment_computes_it_again_and_leaves_nothing(
    workshop: Workshop, counted: Counted
) -> None:
    env = environment(workshop, 1)
    cached = doubled(env, counted)
    list(cached.execute_and_collect())
    env.close()
    env.close()
    assert list(workshop.tmp.iterdir()) == []
    assert len(list(cached.map(str).execute_and_collect())) == 3_000
    assert counted.calls == 6_000


def test_files_go_with_the_program(workshop: Workshop) -> None:
    program = """
import sys
from millstream import Configuration, RuntimeExecutionMode, StreamExecutionEnvironment
configuration = Configuration()
configuration.set_string("io.tmp.dirs", sys.argv[1])
env = StreamExecutionEnvironment.get_execution_environment(configuration)
cached = env.set_runtime_mode(RuntimeExecutionMode.BATCH).from_collection([1, 2]).cache()
print(list(cached.execute_and_collect()), *map(str, __import__("pathlib").Path(sys.argv[1]).iterdir()))
"""
    command = [sys.executable, "-c", program, str(workshop.tmp)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()
    assert printed[:2] == ["[1,", "2]"]
    assert [Path(printed[2]).parent] == [workshop.tmp]
    assert list(workshop.tmp.iterdir()) == []


def test_what_a_failed_job_wrote_is_not_used(workshop: Workshop, tmp_path: Path) -> None:
    failing = Counted(tmp_path / "calls", fails_at=3_000)
    configuration = workshop.configuration(restart__strategy_type="none")
    with StreamExecutionEnvironment.get_execution_environment(configuration) as env:
        env.set_runtime_mode(RuntimeExecutionMode.BATCH)
        cached = doubled(env, failing)
        for times in (1, 2):
            with pytest.raises(JobExecutionError, match="ValueError"):
                list(cached.execute_and_collect())
            assert failing.calls == times * 2_999


def test_a_job_that_restarts_caches_what_its_last_attempt_computed(
    workshop: Workshop, tmp_path: Path
) -> None:
    marker = tmp_path / "failed"

    def fails_once(number: int) -> int:
        if number == 100 and not marker.exists():
            marker.touch()
            raise ValueError(number)
        return number

    with environment(workshop, 1) as env:
        cached = env.from_sequence(1, 100).map(fails_once, int).cache()
        cached.map(str)
        env.execute()
        assert marker.exists()
        assert sorted(cached.execute_and_collect()) == list(range(1, 101))


def test_event_times_are_cached_too(workshop: Workshop) -> None:
    strategy = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda n, _: n)
    with environment(workshop, 1) as env:
        cached = env.from_sequence(0, 9).assign_timestamps_and_watermarks(strategy).cache()
        list(cached.execute_and_collect())
        windows = cached.key_by(lambda n: 0, int).window(TumblingEventTimeWindows.of(5))
        assert list(windows.reduce(lambda a, b: a + b).execute_and_collect()) == [10, 35]


def test_several_cached_streams_build_on_each_other(workshop: Workshop, counted: Counted) -> None:
    with environment(workshop, 1) as env:
        first = doubled(env, counted)
        second = first.filter(lambda n: n <= 20).cache()
        assert list(second.execute_and_collect()) == list(range(2, 21, 2))
        third = second.map(lambda n: n + 1).union(first.filter(lambda n: n > 5_998))
        assert sorted(third.execute_and_collect()) == [*range(3, 22, 2), 6_000]
        assert counted.calls == 3_000


def test_streaming_mode_refuses_a_cached_stream_by_name_and_line(workshop: Workshop) -> None:
    env = environment(workshop, 1).set_runtime_mode(RuntimeExecutionMode.STREAMING)
    env.from_collection([1]).cache().print()
    with pytest.raises(JobDefinitionError, match="STREAMING") as refused:
        env.execute()
    assert refused.value.where is not None
    assert "test_cache.py" in refused.value.where


def test_the_plan_shows_the_source_that_replaces_it(workshop: Workshop, counted: Counted) -> None:
    with environment(workshop, 1) as env:
        cached = doubled(env, counted)
        list(cached.execute_and_collect())
        cached.map(str).name("text")
        plan: Any = [line.strip() for line in env.get_execution_plan().splitlines()]
        assert '"type": "Source: Cache",' in plan
        assert '"type": "Map",' not in plan
