"""Exactly-once output of the windows job through failures, in this process and its workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from millstream import JobClient, StreamExecutionEnvironment, WatermarkStrategy
from millstream.checkpoint.catalog import load, verify
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink
from tests.integration.engine.harness import JOBS, Program, Workshop, wait_until

EVENTS = 50_000
SLOW = 5_000  # events per second, until the test has done what it wants to do to the job
BACKENDS = [pytest.param("hashmap", marks=pytest.mark.slow), "rocksdb"]
WINDOWS = JOBS / "windows.py"


def completed(client: JobClient) -> int:
    checkpoints = client.statistics().checkpoints
    return 0 if checkpoints is None else checkpoints.completed


def kill_worker(client: JobClient, worker: int) -> None:
    """-9, and the return when the job has noticed."""
    restarts = client.statistics().restarts
    os.kill(client.worker_pids()[worker], signal.SIGKILL)
    wait_until(lambda: client.statistics().restarts > restarts, "the restart")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_worker_costs_no_window_and_doubles_none(workshop: Workshop, backend: str) -> None:
    client = workshop.start(2, EVENTS, SLOW, state_backend_type=backend)
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    kill_worker(client, 1)
    result = workshop.finish(client)
    assert result.statistics.restarts == 1
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()


@pytest.mark.slow
def test_the_fork_server_may_die_too(workshop: Workshop) -> None:
    client = workshop.start(2, EVENTS, SLOW)
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    os.kill(psutil.Process(client.worker_pids()[0]).ppid(), signal.SIGKILL)
    assert workshop.finish(client).statistics.restarts >= 1
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()


@pytest.mark.parametrize(
    ("policy", "kept"), [("RETAIN_ON_CANCELLATION", True), ("DELETE_ON_CANCELLATION", False)]
)
def test_checkpoints_of_a_cancelled_job_stay_unless_told_otherwise(
    workshop: Workshop, policy: str, kept: bool
) -> None:
    retention = {"execution_checkpointing_externalized__checkpoint__retention": policy}
    client = workshop.start(1, EVENTS, SLOW, **retention)
    wait_until(lambda: completed(client) >= 1, "a checkpoint")
    client.cancel().result(30)
    assert bool(workshop.complete()) is kept


class FailsOnce:
    """Raises at a record, the first time that it comes."""

    def __init__(self, marker: Path, record: int) -> None:
        self.marker = marker
        self.record = record

    def __call__(self, value: int) -> int:
        if value == self.record and not self.marker.exists():
            self.marker.touch()
            raise RuntimeError("planned")
        return value


@pytest.mark.parametrize(
    ("parallelism", "backend"),
    [
        (1, "hashmap"),
        pytest.param(1, "rocksdb", marks=pytest.mark.slow),
        pytest.param(2, "hashmap", marks=pytest.mark.slow),
        (2, "rocksdb"),
    ],
)
def test_a_function_that_raises_now_and_then_costs_nothing(
    workshop: Workshop, parallelism: int, backend: str
) -> None:
    configuration = workshop.configuration(state_backend_type=backend)
    env = StreamExecutionEnvironment.get_execution_environment(configuration).set_parallelism(parallelism)
    numbers: Any = env.from_source(
        DataGeneratorSource(int, 3_000, RateLimiterStrategy.per_second(6_000)),
        WatermarkStrategy.no_watermarks(),
        "numbers",
    )
    for record in (500, 1_200, 1_201, 2_999):
        numbers = numbers.map(FailsOnce(workshop.faults / str(record), record))
    counted = numbers.map(lambda n: (n % 10, 1)).key_by(lambda pair: pair[0])
    counted.reduce(lambda a, b: (a[0], a[1] + b[1])).sink_to(
        FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder()).build()
    )
    result = env.execute("failing now and then")
    assert 1 <= result.statistics.restarts <= 4
    assert sorted(workshop.committed().elements()) == sorted(
        str((k, n + 1)) for k in range(10) for n in range(300)
    )
    assert workshop.hidden() == []
    workshop.check_nothing_is_left()


FAULTS_OF_A_WORKER = [
    "sink.before-commit=kill@2",
    "sink.after-commit=kill@2",
    "files.before-rename=kill@2",
    "files.after-rename=kill@3",
    "task.uploading=kill@5",
    "task.before-ack=kill@6",
    "task.before-ack=kill@1",
    "task.uploading=raise@3",
    "sink.before-commit=raise@2",
]
FAULTS_OF_THE_TREE = [
    "job-manager.before-metadata=killtree@2",
    "job-manager.metadata-durable=killtree@2",
    "job-manager.metadata-durable=killtree@1",
    "sink.before-commit=killtree@1",
    "sink.after-commit=killtree@3",
    "files.before-rename=killtree@2",
    "files.after-rename=killtree@1",
    "task.uploading=killtree@4",
    "task.before-ack=killtree@5",
]
QUICK = {"sink.after-commit=kill@2", "job-manager.metadata-durable=killtree@2"}


def slow_but_for_some(faults: list[str]) -> list[Any]:
    return [pytest.param(fault, marks=() if fault in QUICK else pytest.mark.slow) for fault in faults]


def run(workshop: Workshop, events: int, *options: str, rate: int = 30_000, **environment: str) -> Program:
    """The windows job by the command line."""
    settings = [part for key, value in workshop.settings().items() for part in ("-D", f"{key}={value}")]
    arguments = (*settings, *options, "--", str(workshop.out), str(events), str(rate))
    return Program(workshop, WINDOWS, *arguments, **environment)


@pytest.mark.parametrize("fault", slow_but_for_some(FAULTS_OF_A_WORKER))
def test_a_worker_that_dies_exactly_there(workshop: Workshop, fault: str) -> None:
    program = run(workshop, EVENTS, "-p", "2", MILLSTREAM_FAULTS=fault)
    assert program.end() == 0, program.text()
    point, _, times = fault.partition("=")
    assert len(list(workshop.faults.glob(f"{point}.*"))) >= int(times.partition("@")[2])
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()


@pytest.mark.parametrize("fault", slow_but_for_some(FAULTS_OF_THE_TREE))
def test_everything_dies_exactly_there_and_the_job_is_resumed(workshop: Workshop, fault: str) -> None:
    first = run(workshop, EVENTS, "-p", "2", "--resume", MILLSTREAM_FAULTS=fault)
    assert first.end() == -signal.SIGKILL, first.text()
    second = run(workshop, EVENTS, "-p", "2", "--resume", MILLSTREAM_FAULTS=fault)
    assert second.end() == 0, second.text()
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()


@pytest.mark.slow
@pytest.mark.parametrize(
    "backends", [("rocksdb",) * 4, ("hashmap",) * 4, ("hashmap", "hashmap", "rocksdb", "rocksdb")]
)
def test_resumed_at_other_parallelisms(workshop: Workshop, backends: tuple[str, ...]) -> None:
    for round_, (parallelism, backend) in enumerate(zip(("2", "1", "3", "2"), backends, strict=True)):
        options = ("-p", parallelism, "--resume", "-D", f"state.backend.type={backend}")
        # Slow until the last round, so that there is something left to do.
        program = run(workshop, EVENTS, *options, rate=10**6 if round_ == 3 else 10_000)
        if round_ == 3:
            assert program.end() == 0, program.text()
        else:
            before = {path.name for path in workshop.complete()}
            newer = lambda: [p for p in workshop.complete() if p.name not in before]  # noqa: B023
            wait_until(lambda: len(newer()) >= 2 or program.process.poll() is not None, "two checkpoints")  # noqa: B023
            assert program.process.poll() is None, program.text()
            program.kill_group()
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()


def test_a_finished_job_that_is_resumed_has_nothing_to_do(workshop: Workshop) -> None:
    for _ in range(2):
        program = run(workshop, 3_000, "--resume")
        assert program.end() == 0, program.text()
        workshop.check_output(3_000)


@pytest.mark.parametrize("retained", ["2", pytest.param("1", marks=pytest.mark.slow)])
def test_as_many_checkpoints_stay_as_were_asked_for_and_no_file_that_none_of_them_needs(
    workshop: Workshop, retained: str
) -> None:
    client = workshop.start(
        2,
        40_000,
        state_backend_type="rocksdb",
        execution_checkpointing_num__retained=retained,
        execution_checkpointing_interval="50 ms",
    )
    assert client.wait(60).statistics.checkpoints.completed > int(retained)
    assert len(workshop.complete()) == int(retained)
    workshop.check_nothing_is_left(int(retained))
    workshop.check_output(40_000)
    needed = set()
    for folder in workshop.complete():
        checkpoint = load(str(folder))
        verify(checkpoint, content=True)
        needed |= {str(folder.parent / ref.path) for ref in checkpoint.metadata.files()}
    there = {str(path) for path in workshop.checkpoints.rglob("*") if path.is_file()}
    assert {path for path in there if "/shared/" in path} <= needed
