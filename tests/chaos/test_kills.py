"""Kill -9 at random moments, over and over: the committed files hold every window once, and nothing else is left."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from random import Random

import psutil
import pytest

from millstream import JobClient
from tests.integration.engine.harness import JOBS, Program, Workshop, wait_until

pytestmark = pytest.mark.chaos

EVENTS = 40_000
BACKENDS = ["hashmap", "rocksdb"]


def some_time(random: Random, at_most_s: float) -> None:
    """Chance decides about the moment; whatever the job does then must be right."""
    threading.Event().wait(random.uniform(0, at_most_s))


def is_over(client: JobClient) -> bool:
    return client.status.name in {"FINISHED", "FAILED", "CANCELED"}


def completed(client: JobClient) -> int:
    checkpoints = client.statistics().checkpoints
    return 0 if checkpoints is None else checkpoints.completed


def victims(client: JobClient, with_fork_server: bool) -> list[int]:
    workers = list(client.worker_pids().values())
    if with_fork_server and workers:
        with suppress(psutil.NoSuchProcess):
            workers.append(psutil.Process(workers[0]).ppid())
    return workers


@pytest.mark.parametrize("with_fork_server", [False, True], ids=["workers", "workers-and-fork-server"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_ten_times_a_process_of_the_cluster(workshop: Workshop, backend: str, with_fork_server: bool) -> None:
    random = Random(f"{backend}-{with_fork_server}")
    client = workshop.start(2, EVENTS, 8_000, state_backend_type=backend)
    kills = 0
    for _ in range(10):
        before = completed(client)
        # Some progress between two kills, most of the time.
        if random.random() < 0.8:
            wait_until(lambda: completed(client) > before or is_over(client), "a checkpoint")  # noqa: B023
        some_time(random, 0.4)
        pids = victims(client, with_fork_server)
        if not pids or is_over(client):
            continue
        with suppress(ProcessLookupError):
            os.kill(random.choice(pids), signal.SIGKILL)
            kills += 1
    result = client.wait(120)
    assert kills >= 5
    assert result.statistics.restarts >= 1
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()


@pytest.mark.parametrize("backend", BACKENDS)
def test_five_times_everything_and_each_time_resumed_at_another_parallelism(
    workshop: Workshop, backend: str
) -> None:
    random = Random(backend)

    def run(parallelism: int, rate: int) -> Program:
        settings = [
            f"-D{key}={value}" for key, value in workshop.settings(state_backend_type=backend).items()
        ]
        arguments = (
            *settings,
            "-p",
            str(parallelism),
            "--resume",
            "--",
            str(workshop.out),
            str(EVENTS),
            str(rate),
        )
        return Program(workshop, JOBS / "windows.py", *arguments)

    for round_ in range(5):
        known = {path.name for path in workshop.complete()}
        program = run((2, 1, 3, 2, 1)[round_], 6_000)
        progress = lambda: {path.name for path in workshop.complete()} - known  # noqa: B023
        wait_until(lambda: progress() or program.process.poll() is not None, "a checkpoint")  # noqa: B023
        some_time(random, 0.5)
        assert program.process.poll() is None, program.text()
        if round_ % 2:
            program.kill()  # the client alone: the others follow
        else:
            program.kill_group()
    last = run(3, 10**6)
    assert last.end() == 0, last.text()
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()
