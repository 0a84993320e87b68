"""Exactly-once from Kafka to Kafka while processes get kill -9, at random moments and at the worst ones."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.integration.kafka_jobs.job_process import WindowJob

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

WORKER_KILLS = 10
TREE_KILLS = 5


def random_moment(job: WindowJob, random: Random) -> None:
    """Up to 600 ms on, told by the steady feed."""
    job.feed.wait_ticks(random.randrange(30))


def test_ten_workers_killed_at_random_moments(window_job: Callable[..., WindowJob], random: Random) -> None:
    job = window_job()
    job.start()
    job.next_checkpoint()
    for _ in range(WORKER_KILLS):
        if random.random() < 0.7:  # otherwise the new attempt may be hit while it restores and commits
            job.next_checkpoint(random.randrange(1, 3))
        random_moment(job, random)
        job.kill_a_worker(random)
    job.finish()
    assert job.runs == 1
    assert job.attempts() == 1 + WORKER_KILLS
    job.check_exactly_once()


def test_the_whole_tree_killed_five_times_and_resumed(
    window_job: Callable[..., WindowJob], random: Random
) -> None:
    job = window_job()
    for _ in range(TREE_KILLS):
        job.start()
        job.next_checkpoint(random.randrange(1, 4))
        random_moment(job, random)
        job.kill_everything()
    job.start()
    job.finish()
    assert job.attempts() == 1 + TREE_KILLS
    job.check_exactly_once()


def test_workers_killed_exactly_around_pre_commit_and_commit(window_job: Callable[..., WindowJob]) -> None:
    """Passages are counted over both workers and all attempts; there are about two of each for every checkpoint."""
    faults = {
        "task.before-ack": "kill@9",  # flushed and pre-committed, and the checkpoint fails
        "sink.before-commit": "kill@9",  # the checkpoint is complete, and nothing of it is committed
        "sink.after-commit": "kill@14",  # committed, and nobody knows
        "kafka.before-commit": "kill@24",
        "kafka.after-commit": "kill@29",
    }
    job = window_job()
    job.start(faults=faults)
    job.wait_for(lambda: job.attempts() == 1 + len(faults), "a kill at each fault point")
    job.finish()
    assert job.attempts() == 1 + len(faults)
    job.check_exactly_once()


def test_the_whole_tree_killed_exactly_around_pre_commit_commit_and_its_notification(
    window_job: Callable[..., WindowJob],
) -> None:
    """Resumed after each: the transactions of the killed run are committed by the next one, or by nobody."""
    points = {
        "job-manager.before-metadata": "kill@3",  # pre-committed everywhere, and the checkpoint is never complete
        "job-manager.metadata-durable": "kill@3",  # complete, and nobody was told
        "sink.before-commit": "killtree@4",
        "sink.after-commit": "killtree@4",  # committed, and nobody knows
        "kafka.before-commit": "killtree@5",
    }
    job = window_job()
    for point, action in points.items():
        job.start(faults={point: action})
        assert job.ended() == -9, job.tail()
    job.start()
    job.finish()
    assert job.attempts() == 1 + len(points)
    job.check_exactly_once()
