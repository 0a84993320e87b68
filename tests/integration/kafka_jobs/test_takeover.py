"""Exactly-once from Kafka to Kafka while leaders of a highly available job get kill -9, with their transactions open."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.integration.engine.harness import Program, Workshop
from tests.integration.high_availability.cluster import HaCluster
from tests.integration.kafka_jobs.job_process import PROGRAM, WindowJob

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TAKEOVERS = 4


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[HaCluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = HaCluster(
        Workshop(folder),
        {
            "high-availability.type": "filesystem",
            "high-availability.storageDir": str(folder / "ha"),
            "high-availability.lease-timeout": "4 s",
        },
    )
    yield cluster
    cluster.close()


def is_leading(cluster: HaCluster, program: Program, epoch: int) -> None:
    """The standby has taken the job over, and checkpoints are completed under it."""
    cluster.await_text(program, f"leading cluster 'orders' under epoch {epoch}")
    cluster.await_checkpoints(program)


@pytest.mark.parametrize("with_another", [False, True], ids=["leader alone", "leader and another process"])
def test_leaders_killed_at_random_moments(
    cluster: HaCluster, window_job: Callable[..., WindowJob], random: Random, with_another: bool
) -> None:
    job = window_job()
    del job.spec["orders"]

    def start() -> Program:
        return cluster.start_program(PROGRAM, json.dumps(job.spec))

    leader = start()
    is_leading(cluster, leader, 1)
    for epoch in range(2, 2 + TAKEOVERS):
        standby = start()
        cluster.await_text(standby, "waiting")
        job.feed.wait_ticks(random.randrange(30))
        if with_another:
            os.kill(random.choice(cluster.workers()).pid, signal.SIGKILL)
        leader.kill()
        is_leading(cluster, standby, epoch)
        leader = standby
    job.feed.release()
    assert leader.end() == 0, leader.text()
    job.check_exactly_once()
