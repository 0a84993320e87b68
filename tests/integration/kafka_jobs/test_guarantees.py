"""What the weaker delivery guarantees promise, through the engine."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.integration.kafka_jobs.job_process import WindowJob

pytestmark = pytest.mark.timeout(300)


@pytest.mark.chaos
def test_at_least_once_loses_nothing_though_workers_are_killed(
    window_job: Callable[..., WindowJob], random: Random
) -> None:
    job = window_job(guarantee="AT_LEAST_ONCE", events=80_000)
    job.start()
    for _ in range(3):
        job.next_checkpoint()
        job.feed.wait_ticks(random.randrange(25))
        job.kill_a_worker(random)
    job.finish()
    assert job.attempts() == 4
    assert sorted(set(job.written())) == job.expected()


@pytest.mark.parametrize("guarantee", ["NONE", "AT_LEAST_ONCE"])
def test_without_failures_every_result_is_there_once(
    window_job: Callable[..., WindowJob], guarantee: str
) -> None:
    job = window_job(guarantee=guarantee, events=20_000)
    job.start()
    job.finish()
    assert job.written() == job.expected()
