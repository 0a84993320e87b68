"""Single partitions of a reader wait while they are ahead of their alignment group, and lose nothing by it (FLIP-217)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from confluent_kafka import Producer

from millstream import Configuration, JobClient, SinkFunction, StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.base import SourceBatch, SplitFinished, SupportsSplitPausing
from millstream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource, SimpleStringSchema
from millstream.dev.kafka import KafkaBroker
from tests.integration.kafka.harness import SourceJob, wait_until

PARTITIONS, RECORDS = 3, 2_000


def source(kafka: KafkaBroker, topic: str, *, bounded: bool) -> Any:
    builder = KafkaSource.builder().set_bootstrap_servers(kafka.bootstrap_servers).set_topics(topic)
    builder.set_value_only_deserializer(SimpleStringSchema())
    if bounded:
        builder.set_bounded(KafkaOffsetsInitializer.latest())
    return builder.build()


@pytest.fixture
def numbered(kafka: KafkaBroker, kafka_topic: Callable[..., str]) -> str:
    """A topic whose partitions hold `partition:0`, `partition:1`, ..."""
    topic = kafka_topic(partitions=PARTITIONS)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for partition in range(PARTITIONS):
        for index in range(RECORDS):
            producer.produce(topic, f"{partition}:{index}", partition=partition)
    assert producer.flush(30) == 0
    return topic


class Pausing:
    """Polls a reader and pauses and resumes its partitions as chance has it, with records on the way at any time."""

    def __init__(self, job: SourceJob, seed: int) -> None:
        self.reader = job.readers[0]
        assert isinstance(self.reader, SupportsSplitPausing)
        self.random = Random(seed)
        self.left = set(job.assigned[0])
        self.paused: set[str] = set()
        self.values: list[str] = []

    def change(self) -> None:
        wanted = {split for split in self.left if self.random.random() < 0.5}
        self.reader.pause_or_resume_splits(wanted - self.paused, self.paused - wanted)
        self.paused = wanted

    def poll(self) -> None:
        match self.reader.poll_next(self.random.choice([1, 7, 300])):
            case SourceBatch(split_id, values, _):
                assert split_id not in self.paused
                self.values += values
            case SplitFinished(split_id):
                self.left.discard(split_id)
                self.paused.discard(split_id)

    def read_to_end(self) -> list[str]:
        def step() -> bool:
            if self.random.random() < 0.2:
                self.change()
            self.poll()
            return not self.left

        wait_until(step, "the end of all partitions")
        return self.values


def in_order() -> list[list[str]]:
    return [[f"{partition}:{index}" for index in range(RECORDS)] for partition in range(PARTITIONS)]


def by_partition(values: list[str]) -> list[list[str]]:
    return [[value for value in values if value.startswith(f"{n}:")] for n in range(PARTITIONS)]


@pytest.mark.parametrize("seed", range(3))
def test_pausing_at_any_moment_loses_doubles_and_reorders_nothing(
    kafka: KafkaBroker, numbered: str, seed: int
) -> None:
    with SourceJob(source(kafka, numbered, bounded=True)) as job:
        job.finish_work()
        assert by_partition(Pausing(job, seed).read_to_end()) == in_order()


def test_a_paused_partition_is_restored_from_what_it_had_returned(kafka: KafkaBroker, numbered: str) -> None:
    built = source(kafka, numbered, bounded=True)
    with SourceJob(built) as job:
        job.finish_work()
        job.read(1_500, max_records=50)
        reader: Any = job.readers[0]
        reader.pause_or_resume_splits(set(job.assigned[0]) - set(job.finished), ())
        before, snapshot = list(job.values), job.snapshot()
        for _ in range(50):
            assert not job.step()
    with SourceJob(built, restored=snapshot) as restored:
        assert by_partition([*before, *restored.read_to_end()]) == in_order()


class Append(SinkFunction[str]):
    def __init__(self, path: Path) -> None:
        self.path = path

    def invoke(self, value: str, context: Any) -> None:
        with self.path.open("a") as file:
            file.write(f"{value}\n")


class Job:
    """A job of one reader over two partitions, aligned with each other: what comes out, and what to put in."""

    def __init__(self, kafka: KafkaBroker, topic: str, path: Path) -> None:
        self.path, self.topic = path, topic
        self.producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 0})
        strategy: WatermarkStrategy[str] = WatermarkStrategy.for_monotonous_timestamps()
        env = StreamExecutionEnvironment.get_execution_environment(Configuration())
        env.get_config().set_auto_watermark_interval(10)
        aligned = strategy.with_watermark_alignment("g", 100, 20)
        env.from_source(source(kafka, topic, bounded=False), aligned, "topic").add_sink(Append(path))
        self.client: JobClient = env.execute_async("aligned")

    def seen(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def send(self, partition: int, time: int, value: str) -> None:
        self.producer.produce(self.topic, value, partition=partition, timestamp=time)
        assert self.producer.flush(30) == 0

    def waits_to_see(self, value: str) -> None:
        wait_until(lambda: value in self.seen(), value)


@pytest.fixture
def job(kafka: KafkaBroker, kafka_topic: Callable[..., str], tmp_path: Path) -> Iterator[Job]:
    running = Job(kafka, kafka_topic(partitions=2), tmp_path / "seen")
    yield running
    running.client.cancel_and_wait()


def test_of_one_reader_the_partition_ahead_waits_while_the_other_is_read(job: Job) -> None:
    job.send(1, 1_000, "behind")
    job.waits_to_see("behind")
    job.send(0, 1_000_000, "ahead")
    job.waits_to_see("ahead")
    rounds = 0

    def five_rounds_in_a_row_give_records_of_one_partition_alone() -> bool:
        nonlocal rounds
        rounds += 1
        job.send(0, 1_000_000 + rounds, f"ahead {rounds}")
        job.send(1, 1_000 + rounds, f"behind {rounds}")
        job.waits_to_see(f"behind {rounds}")
        return rounds > 5 and not {f"ahead {n}" for n in range(rounds - 5, rounds)} & set(job.seen())

    wait_until(five_rounds_in_a_row_give_records_of_one_partition_alone, "the partition ahead to wait")
    job.send(1, 2_000_000, "past it")
    job.waits_to_see(f"ahead {rounds}")
    ahead = [value for value in job.seen() if value.startswith("ahead ")]
    assert ahead == [f"ahead {n}" for n in range(1, rounds + 1)]
