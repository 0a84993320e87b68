"""Where a Kafka source starts, what it finds while it runs, and its watermarks: through whole jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from millstream import WatermarkStrategy
from millstream.connectors.kafka import (
    KafkaOffsetResetStrategy,
    KafkaOffsetsInitializer,
    KafkaTopicPartition,
)
from millstream.core.errors import ConnectorError, JobExecutionError
from millstream.dev.kafka import KafkaBroker, create_topic
from tests.integration.kafka.harness import produce, wait_until
from tests.integration.kafka_jobs.source_jobs import (
    counts_per_second,
    environment,
    kafka_source,
    lines,
    read_all,
)

DISCOVERY = {"partition.discovery.interval.ms": 100}
CHECKPOINTS = {"execution__checkpointing__interval": "100 ms"}


def committed_offset(servers: str, group: str, topic: str) -> int:
    admin = AdminClient({"bootstrap.servers": servers})
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
    (future,) = admin.list_consumer_group_offsets([asked]).values()
    return future.result().topic_partitions[0].offset


def test_a_job_that_starts_at_committed_offsets_goes_on_behind_an_earlier_one(
    kafka: KafkaBroker, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    servers, topic = kafka.bootstrap_servers, kafka_topic()
    produce(servers, topic, ["a", "b", "c"])
    settings = {**CHECKPOINTS, "execution__checkpointing__dir": str(tmp_path)}
    first = kafka_source(servers, topic, bounded=False, set_group_id=topic)
    with lines(environment(**settings), first).execute_and_collect() as results:
        assert sorted(next(results) for _ in range(3)) == ["a", "b", "c"]
        wait_until(lambda: committed_offset(servers, topic, topic) == 3, "the group's offset")
    produce(servers, topic, ["d", "e"])
    again = kafka_source(
        servers, topic, set_group_id=topic, set_starting_offsets=KafkaOffsetsInitializer.committed_offsets()
    )
    assert read_all(again) == ["d", "e"]


def test_a_bounded_job_commits_the_offsets_it_stopped_at(
    kafka: KafkaBroker, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    servers, topic = kafka.bootstrap_servers, kafka_topic()
    produce(servers, topic, ["a", "b", "c"])
    source = kafka_source(servers, topic, set_group_id=topic)
    settings = {**CHECKPOINTS, "execution__checkpointing__dir": str(tmp_path)}
    assert read_all(source, **settings) == ["a", "b", "c"]
    assert committed_offset(servers, topic, topic) == 3


def test_a_job_without_committed_offsets_is_told_what_to_do(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    servers, topic = kafka.bootstrap_servers, kafka_topic()
    starting = KafkaOffsetsInitializer.committed_offsets()
    with pytest.raises(JobExecutionError, match="no committed offset") as caught:
        read_all(kafka_source(servers, topic, set_group_id=topic, set_starting_offsets=starting))
    assert isinstance(caught.value.__cause__, ConnectorError)
    produce(servers, topic, ["a"])
    starting = KafkaOffsetsInitializer.committed_offsets(KafkaOffsetResetStrategy.EARLIEST)
    assert read_all(kafka_source(servers, topic, set_group_id=topic, set_starting_offsets=starting)) == ["a"]


def test_a_job_starts_at_a_timestamp_or_at_explicit_offsets(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    servers, topic = kafka.bootstrap_servers, kafka_topic(2)
    for partition in range(2):
        for number in range(4):
            produce(
                servers, topic, [f"{partition}{number}"], partition=partition, timestamp=1_000 * (number + 1)
            )
    late = KafkaOffsetsInitializer.timestamp(2_500)
    assert read_all(kafka_source(servers, topic, set_starting_offsets=late)) == ["02", "03", "12", "13"]
    chosen = KafkaOffsetsInitializer.offsets(
        {KafkaTopicPartition(topic, 0): 3, KafkaTopicPartition(topic, 1): 2}
    )
    assert read_all(kafka_source(servers, topic, set_starting_offsets=chosen)) == ["03", "12", "13"]


def test_a_pattern_also_reads_a_topic_that_is_made_while_the_job_runs(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    servers, first = kafka.bootstrap_servers, kafka_topic()
    produce(servers, first, ["before"])
    source = kafka_source(servers, bounded=False, properties=DISCOVERY, set_topic_pattern=f"{first}.*")
    with lines(environment(), source).execute_and_collect() as results:
        assert next(results) == "before"
        later = f"{first}-later"
        create_topic(servers, later, partitions=2)
        produce(servers, later, ["p0"], partition=0)
        produce(servers, later, ["p1"], partition=1)
        assert sorted(next(results) for _ in range(2)) == ["p0", "p1"]


def test_a_partition_that_is_added_while_the_job_runs_is_read_from_its_start(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    servers, topic = kafka.bootstrap_servers, kafka_topic()
    produce(servers, topic, ["before"])
    source = kafka_source(servers, topic, bounded=False, properties=DISCOVERY)
    with lines(environment(), source).execute_and_collect() as results:
        assert next(results) == "before"
        admin = AdminClient({"bootstrap.servers": servers})
        admin.create_partitions([NewPartitions(topic, 2)])[topic].result(30)
        wait_until(lambda: len(admin.list_topics(topic).topics[topic].partitions) == 2, "the partition")
        produce(servers, topic, ["added"], partition=1)
        produce(servers, topic, ["after"], partition=0)
        assert sorted(next(results) for _ in range(2)) == ["added", "after"]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_partition_far_ahead_of_another_makes_no_record_late(
    kafka: KafkaBroker, kafka_topic: Callable[..., str], parallelism: int
) -> None:
    """Each partition has watermarks of its own; the slower one holds the windows open."""
    servers, topic = kafka.bootstrap_servers, kafka_topic(2)
    for second in range(5):
        produce(servers, topic, ["x"] * 10, partition=0, timestamp=1_000 * (second + 1))
    source = kafka_source(servers, topic, bounded=False)
    stream = counts_per_second(
        environment(parallelism), source, WatermarkStrategy.for_monotonous_timestamps()
    )
    with stream.execute_and_collect() as results:
        for second in range(5):
            produce(servers, topic, ["x"] * 10, partition=1, timestamp=1_000 * (second + 1))
        assert [next(results) for _ in range(4)] == ["x: 20"] * 4


@pytest.mark.parametrize("parallelism", [1, 2])
def test_an_idle_partition_holds_windows_open_unless_idleness_is_set(
    kafka: KafkaBroker, kafka_topic: Callable[..., str], parallelism: int
) -> None:
    servers, topic = kafka.bootstrap_servers, kafka_topic(2)
    for second in range(3):
        produce(servers, topic, ["x"], partition=0, timestamp=1_000 * (second + 1))
    source = kafka_source(servers, topic, bounded=False)
    strategy = WatermarkStrategy.for_monotonous_timestamps()
    patient = counts_per_second(environment(parallelism), source, strategy)
    impatient = counts_per_second(environment(parallelism), source, strategy.with_idleness(300))
    with patient.execute_and_collect() as waiting, impatient.execute_and_collect() as going_on:
        assert [next(going_on) for _ in range(2)] == ["x: 1"] * 2
        # Had the other job closed a window, this would come late and be dropped, and its counts be 1.
        for second in range(3):
            produce(servers, topic, ["x"], partition=1, timestamp=1_000 * (second + 1))
        assert [next(waiting) for _ in range(2)] == ["x: 2"] * 2
