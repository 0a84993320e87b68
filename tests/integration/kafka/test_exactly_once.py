"""The two-phase commit of `KafkaSink` against a real broker, with processes that die at every point of it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millstream.connectors.base import CommitsRestored, SupportsCommitter
from millstream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaRecordSerializationSchema,
    KafkaSink,
    SimpleStringSchema,
)
from millstream.connectors.kafka.committer import KafkaCommitter
from millstream.connectors.kafka.transaction_client import TransactionClient
from millstream.core.errors import ConnectorError
from millstream.dev.kafka import KafkaBroker
from tests.integration.kafka.harness import (
    CLOCK,
    checkpoint,
    committed_values,
    exactly_once_sink,
    hanging,
    run_child,
    through_bytes,
    wait_until,
    writer_context,
)


class Job:
    """A sink with its topic and prefix, for one test."""

    def __init__(self, kafka: KafkaBroker, topic: str, partitions: int, tmp_path: Path) -> None:
        self.servers = kafka.bootstrap_servers
        self.topic = topic
        self.partitions = partitions
        self._tmp_path = tmp_path
        self.sink = self.with_properties()
        self.committer: KafkaCommitter = self.sink.create_committer()

    def with_properties(self, **properties: Any) -> Any:
        return exactly_once_sink(self.servers, self.topic, f"tx-{self.topic}", **properties)

    def writer(self, **context: Any) -> Any:
        return self.sink.create_writer(writer_context(**context))

    def child(
        self, *steps: list[Any], subtask: int = 0, parallelism: int = 1, **properties: Any
    ) -> list[Any]:
        """Steps of a process that ends with kill -9; gives its committables as a restored job finds them."""
        settings = {"bootstrap_servers": self.servers, "topic": self.topic, "prefix": f"tx-{self.topic}"}
        where = {"subtask": subtask, "parallelism": parallelism}
        encoded = run_child(self._tmp_path, {**settings, **where, **properties}, list(steps))
        return [self.sink.decode_committable(item) for item in encoded]

    def values(self) -> list[str]:
        return committed_values(self.servers, self.topic, self.partitions)

    def hanging(self) -> int:
        return hanging(self.servers, self.topic, self.partitions)

    def client(self) -> TransactionClient:
        return TransactionClient({"bootstrap.servers": self.servers}, CLOCK)


@pytest.fixture
def job(kafka: KafkaBroker, kafka_topic: Callable[..., str], tmp_path: Path) -> Any:
    job = Job(kafka, kafka_topic(partitions=2), 2, tmp_path)
    yield job
    job.committer.close()


def test_nothing_is_visible_before_the_commit_and_everything_after_it(job: Job) -> None:
    assert isinstance(job.sink, SupportsCommitter)
    writer = job.writer()
    writer.write_batch(["a", "b"], [1, 2])
    committables = checkpoint(writer, 1)
    writer.write_batch(["c"], None)
    writer.flush(end_of_input=False)
    assert job.hanging() == 3  # a, b and c
    job.committer.commit(committables)
    writer.close()  # aborts c
    assert job.values() == ["a", "b"]


def test_a_checkpoint_without_records_has_no_transaction(job: Job) -> None:
    writer = job.writer()
    assert checkpoint(writer, 1) == []
    writer.write_batch([], None)
    assert checkpoint(writer, 2) == []
    writer.close()
    assert job.hanging() == 0


def test_many_checkpoints_in_a_row_use_few_transactional_ids(job: Job) -> None:
    writer = job.writer()
    ids = set()
    for number in range(1, 13):
        writer.write_batch([f"{number:02}"], None)
        committables = checkpoint(writer, number)
        ids |= {committable.transactional_id for committable in committables}
        job.committer.commit(committables)
    writer.close()
    assert job.values() == [f"{number:02}" for number in range(1, 13)]
    assert len(ids) <= 3


@pytest.mark.parametrize("guarantee", [DeliveryGuarantee.NONE, DeliveryGuarantee.AT_LEAST_ONCE])
def test_what_was_pre_committed_is_committed_by_a_sink_that_is_no_longer_exactly_once(
    job: Job, guarantee: DeliveryGuarantee
) -> None:
    writer = job.writer()
    writer.write_batch(["a", "b"], None)
    [encoded] = [job.sink.encode_committable(committable) for committable in checkpoint(writer, 1)]
    sink = KafkaSink(
        bootstrap_servers=job.servers,
        record_serializer=KafkaRecordSerializationSchema.builder()
        .set_topic(job.topic)
        .set_value_serialization_schema(SimpleStringSchema())
        .build(),
        delivery_guarantee=guarantee,
    )
    assert isinstance(sink, CommitsRestored)
    assert not isinstance(sink, SupportsCommitter)
    committer = sink.create_committer()
    committer.commit([sink.decode_committable(encoded)])
    committer.close()
    assert job.values() == ["a", "b"]
    writer.close()


def test_killed_before_pre_commit_leaves_nothing_behind(job: Job) -> None:
    job.child(["write", "lost"], ["flush"])
    assert job.hanging() > 0
    writer = job.writer()  # takes over the transactional id
    assert job.hanging() == 0
    writer.write_batch(["again"], None)
    job.committer.commit(checkpoint(writer, 1))
    writer.close()
    assert job.values() == ["again"]


def test_killed_between_pre_commit_and_commit_is_committed_by_another_process(job: Job) -> None:
    pending = job.child(["write", "a", "b"], ["precommit", 1], ["write", "after"], ["flush"])
    writer = job.writer(pending=pending)
    job.committer.commit(pending)
    assert job.values() == ["a", "b"]
    writer.write_batch(["after"], None)
    job.committer.commit(checkpoint(writer, 2))
    writer.close()
    assert job.values() == ["a", "after", "b"]


def test_killed_after_the_commit_may_commit_again(job: Job) -> None:
    pending = job.child(["write", "a"], ["precommit", 1], ["commit"])
    writer = job.writer(pending=pending)
    for _ in range(3):
        job.committer.commit(pending)
    writer.close()
    assert job.values() == ["a"]


def test_a_restored_commit_may_be_repeated_by_every_later_attempt(job: Job) -> None:
    pending = job.child(["write", "a"], ["precommit", 1])
    for attempt in range(2, 5):
        writer = job.writer(pending=pending, attempt=attempt)
        committer = job.sink.create_committer()
        committer.commit(pending)
        committer.commit(pending)
        writer.write_batch(["never"], None)  # this attempt dies before its first checkpoint
        writer.flush(end_of_input=False)
        writer.close()
        committer.close()
    assert job.values() == ["a"]


def test_a_later_transaction_under_the_same_id_is_not_committed_by_a_repeated_commit(job: Job) -> None:
    """Observed without the check of the start: EndTxn(commit) of the first transaction committed the third one."""
    steps: list[list[Any]] = []
    for number in (1, 2, 3):
        steps += [["write", f"r{number}"], ["precommit", number], ["commit"]]
    # Died in its fourth transaction, which uses the id of an earlier one again; restored from a checkpoint that is not the newest.
    first, second, third = job.child(*steps, ["write", "open"], ["flush"])
    reused = [c for c in (first, second, third) if c.transactional_id != third.transactional_id]
    assert reused
    assert job.hanging() > 0
    job.committer.commit(reused)
    assert job.values() == ["r1", "r2", "r3"]  # the open one is aborted, not committed


def test_an_attempt_that_ends_in_the_same_process_leaves_its_pre_committed_transaction(job: Job) -> None:
    writer = job.writer()
    writer.write_batch(["a"], None)
    pending = through_bytes(job.sink, checkpoint(writer, 1))
    writer.write_batch(["b"], None)
    writer.close()
    del writer
    gc.collect()  # librdkafka's producers are gone
    assert job.hanging() > 0
    job.committer.commit(pending)
    assert job.values() == ["a"]


@pytest.mark.parametrize("point", ["kafka.before-commit", "kafka.after-commit"])
def test_killed_exactly_around_the_commit(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setenv("MILLSTREAM_FAULTS", f"{point}=kill@2")
    monkeypatch.setenv("MILLSTREAM_FAULTS_DIR", str(tmp_path))
    steps = [
        ["write", "a"],
        ["precommit", 1],
        ["commit"],
        ["write", "b"],
        ["precommit", 2],
        ["commit"],
        ["write", "c"],
        ["flush"],
    ]
    pending = job.child(*steps)[-1:]
    monkeypatch.undo()
    assert (job.hanging() > 0) == (point == "kafka.before-commit")
    writer = job.writer(pending=pending)
    job.committer.commit(pending)
    writer.close()
    assert job.values() == ["a", "b"]


def test_prefixes_that_begin_alike_do_not_disturb_each_other(job: Job) -> None:
    """The ids of prefix P and of prefix P-0 look alike: P-0-0 and P-0-0-0."""
    other = exactly_once_sink(job.servers, job.topic, f"tx-{job.topic}-0")
    writer = other.create_writer(writer_context())
    writer.write_batch(["theirs"], None)
    job.writer().close()
    job.committer.commit(checkpoint(writer, 1))
    writer.close()
    assert job.values() == ["theirs"]


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 3), (3, 2)])
def test_restored_at_another_parallelism_commits_and_aborts_everything(
    job: Job, before: int, after: int
) -> None:
    pending = []
    for subtask in range(before):
        steps = [["write", f"p{subtask}"], ["precommit", 1], ["write", f"open{subtask}"], ["flush"]]
        pending += job.child(*steps, subtask=subtask, parallelism=before)
    assert job.hanging() > 0
    writers = [job.writer(subtask=s, parallelism=after, pending=pending) for s in range(after)]
    job.committer.commit(pending)
    assert job.hanging() == 0
    committables = []
    for subtask, writer in enumerate(writers):
        writer.write_batch([f"q{subtask}"], None)
        committables += checkpoint(writer, 2)
    job.committer.commit(committables)
    for writer in writers:
        writer.close()
    assert job.values() == [f"p{s}" for s in range(before)] + [f"q{s}" for s in range(after)]


def test_a_writer_leaves_the_ids_of_other_live_subtasks_alone(job: Job) -> None:
    first = job.writer(subtask=0, parallelism=2)
    first.write_batch(["zero"], None)
    second = job.writer(subtask=1, parallelism=2)
    second.write_batch(["one"], None)
    job.committer.commit(checkpoint(first, 1) + checkpoint(second, 1))
    first.close()
    second.close()
    assert job.values() == ["one", "zero"]


def test_a_zombie_is_fenced(job: Job) -> None:
    zombie = job.writer()
    zombie.write_batch(["ghost"], None)
    zombie.flush(end_of_input=False)
    successor = job.writer(attempt=2)
    with pytest.raises(ConnectorError):
        zombie.write_batch(["ghost"], None)
        checkpoint(zombie, 1)
    zombie.close()
    successor.write_batch(["real"], None)
    job.committer.commit(checkpoint(successor, 1))
    successor.close()
    assert job.values() == ["real"]


def test_a_transaction_that_timed_out_before_its_commit_is_loud(job: Job) -> None:
    job.sink = job.with_properties(transaction_timeout_ms=1500)
    writer = job.writer()
    writer.write_batch(["gone"], None)
    alive = checkpoint(writer, 7)
    client = job.client()
    wait_until(lambda: client.describe(alive[0].transactional_id).state == "CompleteAbort", "the time-out")
    client.close()
    for committables in (alive, through_bytes(job.sink, alive)):
        with pytest.raises(ConnectorError, match="LOST") as caught:
            job.committer.commit(committables)
        assert not caught.value.retryable
        assert "checkpoint 7" in caught.value.what
        assert job.topic in caught.value.what
        assert "transaction.timeout.ms=1500" in caught.value.where
    writer.close()
    assert job.values() == []


def test_a_transaction_that_timed_out_before_its_checkpoint_only_restarts_the_job(job: Job) -> None:
    job.sink = job.with_properties(transaction_timeout_ms=1500)
    writer = job.writer()
    writer.write_batch(["slow"], None)
    writer.flush(end_of_input=False)
    wait_until(lambda: job.hanging() == 0, "the time-out")
    with pytest.raises(ConnectorError) as caught:
        checkpoint(writer, 1)
    assert caught.value.retryable
    writer.close()
    assert job.values() == []


def test_an_id_taken_over_by_another_run_is_not_taken_for_committed(job: Job) -> None:
    pending = job.child(["write", "a"], ["precommit", 1])
    job.writer().close()  # a run that was not restored from that checkpoint: it aborts the transaction
    with pytest.raises(ConnectorError, match="nobody can tell") as caught:
        job.committer.commit(pending)
    assert not caught.value.retryable
    assert "transaction.unverifiable" in caught.value.fix
    accepting = job.with_properties(transaction_unverifiable="accept").create_committer()
    accepting.commit(pending)
    accepting.close()
    assert job.values() == []


def test_an_idle_writer_does_not_time_out(job: Job) -> None:
    job.sink = job.with_properties(transaction_timeout_ms=1000)
    writer = job.writer()
    other = job.writer(subtask=1, parallelism=2)
    other.write_batch(["times out"], None)
    other.flush(end_of_input=False)
    wait_until(lambda: job.hanging() == 0, "more than the transaction timeout")
    writer.write_batch(["fine"], None)
    job.committer.commit(checkpoint(writer, 1))
    writer.close()
    other.close()
    assert job.values() == ["fine"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_broker_restart_between_pre_commit_and_commit_loses_nothing(
    job: Job, kafka: KafkaBroker, how: str
) -> None:
    dead = job.child(["write", "dead"], ["precommit", 1], subtask=1, parallelism=2)
    writer = job.writer(parallelism=2, pending=dead)
    writer.write_batch(["alive"], None)
    alive = checkpoint(writer, 2)
    writer.write_batch(["next"], None)
    if how == "kill":
        kafka.kill()
        kafka.start()
    else:
        kafka.restart()
    job.committer.commit([*dead, *alive])
    job.committer.commit(dead)
    job.committer.commit(through_bytes(job.sink, alive))
    job.committer.commit(checkpoint(writer, 3))
    writer.close()
    assert job.values() == ["alive", "dead", "next"]
