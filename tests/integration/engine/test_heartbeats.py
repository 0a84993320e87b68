"""Processes that are stopped, and functions that are slow: the output is exact, and only the dead are taken for dead."""

from __future__ import annotations

import os
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from millstream import Configuration, JobClient, MapFunction, StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource
from millstream.connectors.files import Encoder, FileSink
from millstream.core.clock import Clock, SystemClock
from millstream.core.workdir import create_work_dir
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.heartbeats import HeartbeatSettings
from millstream.runtime.job_manager.client import submit
from tests.integration.engine.half_open import ProxiedCluster
from tests.integration.engine.harness import JOBS, Program, Workshop, gone, wait_until
from tests.integration.engine.jobs.windows import windows
from tests.integration.engine.test_recovery import completed

EVENTS = 50_000
SLOW = 5_000  # events per second, until the test has done what it wants to do to the job
QUICK = {"heartbeat_interval": "100 ms", "heartbeat_timeout": "3 s"}


@pytest.mark.parametrize("backend", [pytest.param("hashmap", marks=pytest.mark.slow), "rocksdb"])
def test_a_worker_that_is_stopped_for_longer_than_the_timeout_costs_nothing(workshop: Workshop, backend: str):
    client = workshop.start(2, EVENTS, SLOW, state_backend_type=backend, **QUICK)
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    stopped = client.worker_pids()[1]
    os.kill(stopped, signal.SIGSTOP)  # with its state directory open, and RocksDB's lock in it
    wait_until(lambda: client.statistics().restarts >= 1, "the restart")
    failure = client.statistics().last_failure
    assert failure is not None
    assert "no heartbeat" in failure
    workshop.finish(client)
    assert not psutil.pid_exists(stopped)
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()


@pytest.mark.slow
def test_a_stop_that_is_shorter_than_the_timeout_is_waited_for(workshop: Workshop):
    client = workshop.start(2, EVENTS, SLOW, heartbeat_interval="100 ms", heartbeat_timeout="30 s")
    wait_until(lambda: completed(client) >= 2, "two checkpoints")
    stopped = client.worker_pids()[1]
    os.kill(stopped, signal.SIGSTOP)
    read = records_when_it_stands_still(client)
    os.kill(stopped, signal.SIGCONT)
    assert workshop.finish(client).statistics.restarts == 0
    assert read < EVENTS
    workshop.check_output(EVENTS)


def records_when_it_stands_still(client: JobClient) -> int:
    """Records read by the source when no checkpoint completes any more, as the stopped worker takes part in none."""
    wait_until(
        lambda: (found := client.statistics().checkpoints) and found.pending, "a checkpoint that waits"
    )
    return client.statistics().vertices[0].records_out


class Slow(MapFunction):
    """Takes longer for one record than a heartbeat may."""

    def __init__(self, busy: bool) -> None:
        self.busy = busy

    def map(self, value: int) -> int:
        if value == 500:
            clock = SystemClock()
            until_ms = clock.monotonic_ms() + 8_000
            while self.busy and clock.monotonic_ms() < until_ms:
                pass
            signal.sigtimedwait([], max(0, until_ms - clock.monotonic_ms()) / 1000)
        return value


@pytest.mark.slow
@pytest.mark.parametrize("busy", [True, False], ids=["computing", "waiting"])
def test_a_function_slower_than_the_timeout_is_not_taken_for_a_dead_process(workshop: Workshop, busy: bool):
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**QUICK))
    numbers: Any = env.set_parallelism(2).from_source(
        DataGeneratorSource(int, 1_000), WatermarkStrategy.no_watermarks(), "numbers"
    )
    slow = numbers.map(Slow(busy)).key_by(lambda n: n % 10).map(str)
    sink = FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder()).build()
    slow.sink_to(sink)
    assert env.execute("slow").statistics.restarts == 0
    assert workshop.committed() == Counter(str(n) for n in range(1_000))


@pytest.mark.slow
def test_workers_end_when_their_job_manager_is_stopped_and_it_goes_on_when_it_wakes_up(workshop: Workshop):
    settings = [f"-D{key}={value}" for key, value in workshop.settings(**QUICK).items()]
    arguments = (*settings, "-p", "2", "--", str(workshop.out), str(EVENTS), "8000")
    program = Program(workshop, JOBS / "windows.py", *arguments)
    wait_until(lambda: len(workshop.complete()) >= 2, "two checkpoints")
    workers = [process for process in program.descendants() if process.children() == []]
    os.kill(program.pid, signal.SIGSTOP)
    wait_until(lambda: gone(workers), "the end of the workers")
    os.kill(program.pid, signal.SIGCONT)
    assert program.end() == 0, program.text()
    assert "nothing was heard of the JobManager" in program.text()
    workshop.check_output(EVENTS)


def start_with_proxy(
    workshop: Workshop, folder: Path, **changes: str
) -> tuple[JobClient, list[ProxiedCluster]]:
    """The windows job at parallelism 2, running."""
    settings = workshop.configuration(**changes)
    env = windows(settings, str(workshop.out), EVENTS, SLOW, workshop.hurry).set_parallelism(2)
    made: list[ProxiedCluster] = []

    def make_cluster(_graph: Any, configuration: Configuration, clock: Clock) -> ProxiedCluster:
        cluster = ProxiedCluster(
            lambda: create_work_dir(str(workshop.tmp)),
            secret=bytes(32),
            clock=clock,
            heartbeat=HeartbeatSettings.of(configuration),
        )
        cluster.folder = folder
        made.append(cluster)
        return cluster

    client = submit(compile_job(env.get_stream_graph("windows")), settings, cluster=make_cluster)
    client.run_in_background()
    return client, made


def test_a_connection_between_workers_that_loses_its_other_end_without_a_word_is_replaced(workshop: Workshop):
    with tempfile.TemporaryDirectory() as folder:  # a short path, for a socket
        client, (cluster,) = start_with_proxy(workshop, Path(folder), **QUICK)
        wait_until(lambda: completed(client) >= 2, "two checkpoints")
        pids = dict(client.worker_pids())
        assert cluster.proxy is not None
        cluster.proxy.lose_connections()
        assert cluster.proxy.lost == 2
        wait_until(lambda: client.statistics().restarts >= 1, "the restart")
        failure = client.statistics().last_failure
        assert failure is not None
        assert "the connection between workers" in failure
        assert client.worker_pids() == pids
        workshop.finish(client)
        cluster.proxy.close()
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()
