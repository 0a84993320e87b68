"""Exactly-once from Kafka to Kafka while the broker goes away and comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from millstream.dev.kafka import KafkaBroker
from tests.integration.kafka.harness import hanging, wait_until
from tests.integration.kafka_jobs.events import PARTITIONS
from tests.integration.kafka_jobs.job_process import WindowJob

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


def test_a_broker_restart_in_order_and_one_by_kill_while_a_transaction_is_pre_committed(
    window_job: Callable[..., WindowJob], kafka: KafkaBroker, tmp_path: Path
) -> None:
    gate, reached = tmp_path / "gate", tmp_path / "gate.reached"
    job = window_job(gate=str(gate))
    job.start()
    job.next_checkpoint(2)
    kafka.restart()
    job.next_checkpoint(2)

    gate.touch()  # from here on nobody commits
    job.wait_for(reached.exists, "a checkpoint that is complete but not committed")
    assert hanging(job.servers, job.output, PARTITIONS) > 0
    kafka.kill()
    kafka.start()
    assert hanging(job.servers, job.output, PARTITIONS) > 0
    gate.unlink()
    job.next_checkpoint(2)

    job.finish()
    assert job.runs == 1
    job.check_exactly_once()


def test_a_broker_restart_between_a_killed_job_that_pre_committed_and_its_resumption(
    window_job: Callable[..., WindowJob], kafka: KafkaBroker
) -> None:
    job = window_job()
    job.start(faults={"sink.before-commit": "killtree@5"})
    assert job.ended() == -9, job.tail()
    wait_until(lambda: hanging(job.servers, job.output, PARTITIONS) > 0, "the pre-committed transactions")
    kafka.restart()
    job.start()
    job.finish()
    assert job.attempts() == 2
    job.check_exactly_once()


def test_a_worker_killed_while_the_broker_is_away(
    window_job: Callable[..., WindowJob], kafka: KafkaBroker, random: Random
) -> None:
    """The next attempt has transactions to commit, and nobody to commit them to for a while."""
    job = window_job()
    job.start()
    job.next_checkpoint(2)
    kafka.kill()
    job.kill_a_worker(random)
    kafka.start()
    job.next_checkpoint(2)
    job.finish()
    assert job.attempts() >= 2
    job.check_exactly_once()
