"""A job of several pipelines: what fails in one leaves the others alone, and the output is exact all the same."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import (
    Configuration,
    JobClient,
    KeyedProcessFunction,
    MapFunction,
    StreamExecutionEnvironment,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink
from millstream.core.savepoints import SavepointFormatType
from millstream.runtime.job_manager.savepoints import Stop
from millstream.testing import ManualSource, MiniCluster
from tests.integration.engine.harness import Workshop, wait_until
from tests.integration.engine.test_recovery import FailsOnce, completed


class Opens(MapFunction):
    """Writes down each opening of a copy, with the number of its attempt."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def open(self, context: Any) -> None:
        with self.log.open("a") as file:
            file.write(f"{context.get_index_of_this_subtask()} {context.get_attempt_number()}\n")

    def map(self, value: Any) -> Any:
        return value


class Numbered(KeyedProcessFunction):
    """Each record with how many of its key there were before."""

    def open(self, context: Any) -> None:
        self.seen = context.get_state(ValueStateDescriptor("seen", int))

    def process_element(self, value: Any, context: Any) -> Any:
        n = self.seen.value() or 0
        self.seen.update(n + 1)
        yield (value, n)


def environment(parallelism: int, **changes: str) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment(Configuration())
    env.set_parallelism(parallelism).enable_checkpointing(60_000)
    return env.configure(
        {
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": "1000",
            "restart-strategy.fixed-delay.delay": "1 s",
        }
        | changes
    )


def pipeline(env: StreamExecutionEnvironment, source: Any, name: str, log: Path) -> Any:
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), f"source {name}")
    opened = stream.map(Opens(log)).name(f"map {name}").uid(f"map {name}")
    return opened.key_by(lambda value: value).process(Numbered()).name(f"count {name}").uid(f"count {name}")


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_failure_in_one_pipeline_leaves_the_tasks_of_the_other_alone(tmp_path: Path, parallelism: int):
    env, sources = environment(parallelism), (ManualSource(), ManualSource())
    with MiniCluster() as cluster:
        a, b = (
            cluster.collect(pipeline(env, source, name, tmp_path / name))
            for source, name in zip(sources, "ab", strict=True)
        )
        job = cluster.start(env)
        for source in sources:
            source.batch(["x", "y"])
        job.trigger_checkpoint()
        opened = (tmp_path / "b").read_text()
        for source in sources:
            source.element("x")
        job.settle()
        job.fail_task("count a")
        sources[1].element("y")
        job.settle()
        before = job.statistics()
        assert before.status.name == "RESTARTING"
        read = {vertex.name: vertex.records_in for vertex in before.vertices}
        assert sum(count for name, count in read.items() if name.startswith("count b")) == 4
        job.advance_time(1_000)
        assert job.statistics().restarts == 1
        assert job.status.name == "RUNNING"
        assert (tmp_path / "b").read_text() == opened
        assert len((tmp_path / "a").read_text().splitlines()) == 2 * parallelism
        job.trigger_checkpoint()
        assert sorted(a.records) == [("x", 0), ("x", 1), ("y", 0)]
        assert sorted(b.records) == [("x", 0), ("x", 1), ("y", 0), ("y", 1)]


def test_with_the_strategy_full_all_tasks_restart(tmp_path: Path):
    env = environment(1, **{"jobmanager.execution.failover-strategy": "full"})
    with MiniCluster() as cluster:
        for name in "ab":
            cluster.collect(pipeline(env, ManualSource(), name, tmp_path / name))
        job = cluster.start(env)
        job.settle()
        job.fail_task("count a")
        job.advance_time(1_000)
        assert (tmp_path / "b").read_text() == "0 0\n0 1\n"


@pytest.mark.parametrize("stop", [Stop.DRAIN, Stop.SUSPEND])
@pytest.mark.parametrize("turns", [1, 2, 3, 4])
def test_a_failure_while_the_job_stops_with_a_savepoint_lets_all_pipelines_go_on(
    tmp_path: Path, stop: Stop, turns: int
):
    env, sources = environment(2), (ManualSource(), ManualSource())
    with MiniCluster() as cluster:
        outputs = [
            cluster.collect(pipeline(env, source, name, tmp_path / name))
            for source, name in zip(sources, "ab", strict=True)
        ]
        job = cluster.start(env)
        for source in sources:
            source.batch(["x", "y"])
        job.trigger_checkpoint()
        savepoint = job._master.savepoint(str(tmp_path / "savepoints"), SavepointFormatType.CANONICAL, stop)
        for _ in range(turns):
            job.step()
        assert job.running
        job.fail_task("count a")
        for source in sources:
            source.element(
                "x"
            )  # of a pipeline whose input had been ended for the savepoint nothing would come
        job.advance_time(1_000)
        assert savepoint.exception(0) is not None
        job.trigger_checkpoint()
        for output in outputs:
            assert sorted(output.records) == [("x", 0), ("x", 1), ("y", 0)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("element"), st.integers(0, 2), st.sampled_from("xyz")),
        st.tuples(st.just("fail"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("kill"), st.integers(0, 1), st.none()),
        st.tuples(st.just("step"), st.integers(1, 5), st.none()),
        st.tuples(st.just("advance"), st.integers(0, 1_500), st.none()),
        st.tuples(st.just("checkpoint"), st.none(), st.none()),
    ),
    max_size=14,
)


@given(STEPS, st.sampled_from([("hashmap", 1), ("hashmap", 2), ("rocksdb", 2)]))
@settings(max_examples=25, deadline=None)
def test_whatever_fails_in_whichever_of_three_pipelines_each_result_comes_once(
    tmp_path_factory, steps, world
):
    backend, parallelism = world
    folder = tmp_path_factory.mktemp("opened")
    sources: list[ManualSource[str]] = [ManualSource(splits=2) for _ in range(3)]
    sent: list[list[str]] = [[], [], []]
    env = environment(parallelism, **{"state.backend.type": backend})
    with MiniCluster() as cluster:
        outputs = [
            cluster.collect(pipeline(env, source, str(n), folder / str(n)))
            for n, source in enumerate(sources)
        ]
        job = cluster.start(env)
        for what, n, detail in steps:
            match what:
                case "element":
                    sources[n].element(detail, split=len(sent[n]) % 2)
                    sent[n].append(detail)
                case "fail":
                    job.fail_task(f"count {n}" if detail else f"map {n}", detail % parallelism)
                case "kill":
                    job.kill_worker(n % parallelism)
                case "step":
                    for _ in range(n):
                        job.step()
                case "advance":
                    job.advance_time(n)
                case "checkpoint" if job.status.name == "RUNNING":
                    job.settle()
                    job._master.trigger_checkpoint("test")  # whether it completes depends on what comes next
        job.advance_time(2_000)
        job.trigger_checkpoint()
        for output, records in zip(outputs, sent, strict=True):
            counts = Counter(records)
            assert sorted(output.records) == sorted(
                (key, i) for key, count in counts.items() for i in range(count)
            )


def two_file_pipelines(workshop: Workshop, events: int, *, fail_at: int) -> StreamExecutionEnvironment:
    """Numbers into files of one folder, twice; a function of the first one fails in the middle."""
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration()).set_parallelism(2)
    for name in "ab":
        rate = RateLimiterStrategy.per_second(6_000)
        source = DataGeneratorSource(int, events, rate)
        stream: Any = env.from_source(source, WatermarkStrategy.no_watermarks(), f"numbers {name}")
        stream = stream.map(Opens(workshop.faults / f"opened-{name}"))
        if name == "a":
            stream = stream.map(FailsOnce(workshop.faults / "failed", fail_at))
        counted = stream.map(lambda n: (n % 10, 1)).key_by(lambda pair: pair[0])
        sums = counted.reduce(lambda a, b: (a[0], a[1] + b[1]))
        lines = sums.map(lambda pair, name=name: f"{name} {pair[0]} {pair[1]}")
        sink = FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder()).build()
        lines.sink_to(sink).uid(f"files {name}")
    return env


def check_both(workshop: Workshop, events: int) -> None:
    expected = Counter(
        f"{name} {key} {n + 1}" for name in "ab" for key in range(10) for n in range(events // 10)
    )
    assert workshop.committed() == expected
    assert workshop.hidden() == []
    workshop.check_nothing_is_left()


def test_in_processes_the_other_pipeline_keeps_its_functions_and_its_open_files(workshop: Workshop):
    client = two_file_pipelines(workshop, 6_000, fail_at=3_000).execute_async("two pipelines")
    assert client.wait(60).statistics.restarts == 1
    check_both(workshop, 6_000)
    assert len((workshop.faults / "opened-a").read_text().splitlines()) == 4
    assert len((workshop.faults / "opened-b").read_text().splitlines()) == 2


def test_a_lost_worker_takes_down_all_pipelines_that_it_runs(workshop: Workshop):
    client: JobClient = two_file_pipelines(workshop, 9_000, fail_at=-1).execute_async("two pipelines")
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    os.kill(client.worker_pids()[1], signal.SIGKILL)
    assert client.wait(60).statistics.restarts == 1
    check_both(workshop, 9_000)
