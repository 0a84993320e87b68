"""Exactly-once from Kafka to Kafka through savepoints: stopped and resumed, drained, and gone back to an older one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from millstream.checkpoint.catalog import load
from millstream.connectors.kafka.split import decode_split
from tests.integration.kafka_jobs.job_process import WindowJob

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def jobs_with_checkpoints(job: WindowJob) -> int:
    """A start from a savepoint is another job."""
    return len({path.parents[1] for path in job.checkpoints.glob("*/chk-*/_metadata")})


def test_stopped_and_resumed_at_other_parallelisms(window_job: Callable[..., WindowJob]) -> None:
    job = window_job()
    savepoint = None
    for parallelism in (2, 1, 3):
        job.start(parallelism, restore_from=savepoint)
        job.next_checkpoint(2)
        job.savepoint("trigger")  # commits nothing, and what it pre-committed goes with the next checkpoint
        savepoint = job.savepoint("stop")
        job.check_nothing_is_open()
    job.start(2, restore_from=savepoint)
    job.finish()
    job.check_exactly_once()


def test_drained_output_is_complete_and_nothing_is_open(window_job: Callable[..., WindowJob]) -> None:
    """Drained windows are emitted with what they hold: all that was read is in the output, once."""
    job = window_job()
    job.start()
    job.next_checkpoint(2)
    metadata = load(job.savepoint("drain")).metadata
    job.check_nothing_is_open()
    written = Counter(line.rpartition(",")[0].rpartition(",")[0] for line in job.written())
    assert set(written.values()) == {1}, "a window was written more than once"
    counted = sum(int(line.rpartition(",")[2]) for line in job.written())
    assert 0 < counted <= job.feed.sent
    sources = metadata.states[metadata.operators[0].operator_id]
    splits = [decode_split(split) for source in sources for split in source.lists["splits"]]
    assert counted == sum(split.offset for split in splits)


def test_an_older_savepoint_is_gone_back_to_and_nothing_is_lost(window_job: Callable[..., WindowJob]) -> None:
    """What was committed since is committed again, and the transactions of the run that is given up are not taken for those of the new
    one, though checkpoints and savepoints have the same numbers in both."""
    job = window_job()
    job.start()
    job.next_checkpoint(2)
    older = job.savepoint("trigger")
    job.next_checkpoint(2)
    job.savepoint("trigger")
    job.next_checkpoint(2)
    job.kill_everything()  # with transactions open, pre-committed and committed

    job.start(1, restore_from=older)
    job.wait_for(lambda: jobs_with_checkpoints(job) == 2, "a checkpoint of the new run")
    stopped = job.savepoint("stop")
    job.check_nothing_is_open()
    job.start(2, restore_from=stopped)
    job.finish()
    written = job.written()
    assert set(written) == set(job.expected())
    assert max(Counter(written).values()) <= 2, (
        "only what was committed between the savepoint and the kill comes twice"
    )
    job.check_nothing_is_open()
