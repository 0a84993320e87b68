"""Exactly-once from Kafka to Kafka across changes of the parallelism."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.integration.kafka_jobs.job_process import WindowJob

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


def test_killed_at_parallelism_two_resumed_at_one_and_then_at_three(
    window_job: Callable[..., WindowJob], random: Random
) -> None:
    job = window_job()
    for parallelism in (2, 1, 3):
        job.start(parallelism)
        job.next_checkpoint(2)
        assert job.parallelism_of_newest() == parallelism
        job.feed.wait_ticks(random.randrange(25))
        job.kill_everything()
    job.start(2)
    job.finish()
    assert job.attempts() == 4
    job.check_exactly_once()


def test_a_job_that_ended_at_parallelism_three_left_nothing_to_commit(
    window_job: Callable[..., WindowJob],
) -> None:
    """With two partitions one of its source subtasks reads nothing."""
    job = window_job(events=20_000)
    job.start(3)
    job.finish()
    job.check_exactly_once()
    job.start(1)  # from its last checkpoint: there is nothing left to do
    job.finish()
    job.check_exactly_once()
