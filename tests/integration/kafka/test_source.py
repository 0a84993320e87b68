"""`KafkaSource` against a real broker: where it starts and stops, what it restores, what it finds later, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from millstream.connectors.base import Boundedness
from millstream.connectors.kafka import (
    KafkaOffsetResetStrategy,
    KafkaOffsetsInitializer,
    KafkaRecord,
    KafkaSource,
    KafkaTopicPartition,
    SimpleStringSchema,
)
from millstream.core.errors import ConfigurationError, ConnectorError
from millstream.dev.kafka import KafkaBroker, create_topic
from tests.integration.kafka.harness import (
    SourceJob,
    checkpoint,
    exactly_once_sink,
    produce,
    wait_until,
    writer_context,
)

Offsets = KafkaOffsetsInitializer


def source(kafka: KafkaBroker, *topics: str, **options: Any) -> Any:
    """A source of strings, bounded by the end of the topics unless told otherwise."""
    builder = KafkaSource.builder().set_bootstrap_servers(kafka.bootstrap_servers)
    builder.set_value_only_deserializer(SimpleStringSchema())
    if topics:
        builder.set_topics(*topics)
    if options.pop("bounded", True):
        builder.set_bounded(options.pop("stop", Offsets.latest()))
    for name, value in options.items():
        getattr(builder, name)(value)
    return builder.build()


def read_all(built: Any, parallelism: int = 1, **kwargs: Any) -> list[Any]:
    with SourceJob(built, parallelism, **kwargs) as job:
        return job.read_to_end()


def commit_offset(kafka: KafkaBroker, group: str, topic: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


@pytest.fixture
def letters(kafka: KafkaBroker, kafka_topic: Callable[..., str]) -> str:
    """A topic of one partition with the letters a to f, one second apart in event time."""
    topic = kafka_topic()
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for index, letter in enumerate("abcdef"):
        producer.produce(topic, letter, timestamp=1_000_000 + index * 1000)
    producer.flush()
    return topic


def test_reads_a_topic_from_start_to_end_with_kafkas_timestamps(kafka: KafkaBroker, letters: str) -> None:
    built = source(kafka, letters)
    assert built.boundedness is Boundedness.BOUNDED
    with SourceJob(built) as job:
        assert job.read_to_end() == list("abcdef")
        assert job.timestamps == [1_000_000 + index * 1000 for index in range(6)]
        assert job.finished == [f"{letters}-0"]
        assert job.snapshot()[1] == []


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (Offsets.earliest(), "abcdef"),
        (Offsets.latest(), ""),
        (Offsets.timestamp(1_002_500), "def"),
        (Offsets.timestamp(9_000_000), ""),
        (Offsets.committed_offsets(KafkaOffsetResetStrategy.EARLIEST), "abcdef"),
        (Offsets.committed_offsets(KafkaOffsetResetStrategy.LATEST), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else value.describe(),
)
def test_starts_where_it_is_told(kafka: KafkaBroker, letters: str, start: Any, expected: str) -> None:
    built = source(kafka, letters, set_starting_offsets=start, set_group_id=f"nobody-{letters}")
    assert read_all(built) == list(expected)


def test_starts_at_committed_and_explicit_offsets(kafka: KafkaBroker, letters: str) -> None:
    commit_offset(kafka, f"group-{letters}", letters, 2)
    committed = source(
        kafka, letters, set_starting_offsets=Offsets.committed_offsets(), set_group_id=f"group-{letters}"
    )
    assert read_all(committed) == list("cdef")
    explicit = Offsets.offsets({KafkaTopicPartition(letters, 0): 4})
    assert read_all(source(kafka, letters, set_starting_offsets=explicit)) == list("ef")


def test_no_committed_offset_and_no_reset_strategy_is_an_error(kafka: KafkaBroker, letters: str) -> None:
    built = source(kafka, letters, set_starting_offsets=Offsets.committed_offsets(), set_group_id="nobody")
    with pytest.raises(ConnectorError, match="no committed offset"), SourceJob(built):
        pass


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (Offsets.latest(), "abcdef"),
        (Offsets.timestamp(1_003_000), "abc"),
        (Offsets.earliest(), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else value.describe(),
)
def test_stops_where_it_is_told(kafka: KafkaBroker, letters: str, stop: Any, expected: str) -> None:
    assert read_all(source(kafka, letters, stop=stop)) == list(expected)


def test_stops_exactly_although_more_records_come(kafka: KafkaBroker, letters: str) -> None:
    with SourceJob(source(kafka, letters, stop=Offsets.offsets({KafkaTopicPartition(letters, 0): 5}))) as job:
        produce(kafka.bootstrap_servers, letters, "ghi")
        assert job.read_to_end(max_records=2) == list("abcde")
        assert max(job.batch_sizes) <= 2


def test_an_unbounded_source_with_an_end_stops_as_well(kafka: KafkaBroker, letters: str) -> None:
    built = source(kafka, letters, bounded=False, set_unbounded=Offsets.latest())
    assert built.boundedness is Boundedness.CONTINUOUS_UNBOUNDED
    assert read_all(built) == list("abcdef")


@pytest.mark.parametrize("level", ["read_committed", "read_uncommitted"])
def test_stops_where_the_last_offsets_are_transaction_markers(
    kafka: KafkaBroker, kafka_topic: Callable[..., str], level: str
) -> None:
    topic = kafka_topic()
    sink = exactly_once_sink(kafka.bootstrap_servers, topic, topic)
    writer, committer = sink.create_writer(writer_context()), sink.create_committer()
    writer.write_batch(["committed"], None)
    committer.commit(checkpoint(writer, 1))
    writer.write_batch(["aborted"], None)
    writer.flush(end_of_input=False)
    writer.close()
    built = source(kafka, topic, set_properties={"isolation.level": level})
    assert read_all(built) == (["committed"] if level == "read_committed" else ["committed", "aborted"])


def test_read_committed_ends_before_an_open_transaction(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    topic = kafka_topic()
    produce(kafka.bootstrap_servers, topic, ["before"])
    writer = exactly_once_sink(kafka.bootstrap_servers, topic, topic).create_writer(writer_context())
    writer.write_batch(["open"], None)
    writer.flush(end_of_input=False)
    assert read_all(source(kafka, topic, set_properties={"isolation.level": "read_committed"})) == ["before"]
    writer.close()


def test_stops_where_the_last_records_were_compacted_away(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    topic = kafka_topic(
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        delete_retention_ms="100",
    )
    produce(kafka.bootstrap_servers, topic, [b"old", b"new"], key=b"k")
    # Bounded by an explicit end beyond what there is: the end of the partition is not the end of the split.
    built = source(kafka, topic, stop=Offsets.offsets({KafkaTopicPartition(topic, 0): 3}))
    with SourceJob(built) as job:
        job.read(2)
        assert not job.ended
        produce(kafka.bootstrap_servers, topic, [b"last"], key=b"k")
        assert job.read_to_end() == ["old", "new", "last"]


def test_an_empty_topic_ends_at_once(kafka: KafkaBroker, kafka_topic: Callable[..., str]) -> None:
    assert read_all(source(kafka, kafka_topic(partitions=3)), parallelism=2) == []


def test_partitions_are_spread_evenly_and_always_in_the_same_way(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    topics = [kafka_topic(partitions=3), kafka_topic(partitions=2)]
    runs = []
    for _ in range(2):
        with SourceJob(source(kafka, *topics), 2) as job:
            runs.append(job.assigned)
    assert runs[0] == runs[1]
    assert sorted(len(splits) for splits in runs[0].values()) == [2, 3]
    assert len({split for splits in runs[0].values() for split in splits}) == 5


@pytest.mark.parametrize(("before", "after"), [(1, 3), (2, 1), (3, 2)])
def test_a_restored_job_goes_on_exactly_there(
    kafka: KafkaBroker, kafka_topic: Callable[..., str], before: int, after: int
) -> None:
    topic = kafka_topic(partitions=4)
    for partition in range(4):
        produce(kafka.bootstrap_servers, topic, [f"{partition}-{i}" for i in range(50)], partition=partition)
    built = source(kafka, topic)
    with SourceJob(built, before) as job:
        first = list(job.read(60, max_records=7))
        state = job.snapshot()
        job.read(90, max_records=7)  # read again after the restore
    with SourceJob(built, after, restored=state) as job:
        rest = job.read_to_end()
    assert sorted(first + rest) == sorted(f"{p}-{i}" for p in range(4) for i in range(50))


def test_a_checkpoint_goes_before_the_starting_offsets(kafka: KafkaBroker, letters: str) -> None:
    with SourceJob(source(kafka, letters, bounded=False)) as job:
        job.read(2, max_records=2)
        state = job.snapshot()
    latest = source(kafka, letters, bounded=False, set_starting_offsets=Offsets.latest())
    with SourceJob(latest, restored=state) as job:
        assert job.read(4) == list("cdef")


def test_a_new_partition_is_found_and_read_from_its_start(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    topic = kafka_topic()
    produce(kafka.bootstrap_servers, topic, ["before"])
    with SourceJob(source(kafka, topic, bounded=False, set_starting_offsets=Offsets.latest()), 2) as job:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        admin.create_partitions([NewPartitions(topic, 2)])[topic].result(30)
        wait_until(
            lambda: len(admin.list_topics(topic, 10).topics[topic].partitions) == 2, "the new partition"
        )
        produce(kafka.bootstrap_servers, topic, ["after"], partition=1)
        job.discover_again()
        assert job.read(1) == ["after"]
        assert job.assigned == {0: [f"{topic}-0"], 1: [f"{topic}-1"]}
        state = job.snapshot()
        job.discover_again()
        assert sum(map(len, job.assigned.values())) == 2
    with SourceJob(source(kafka, topic, bounded=False), 1, restored=state) as job:  # nothing is read twice
        produce(kafka.bootstrap_servers, topic, ["later"], partition=1)
        assert job.read(1) == ["later"]


def test_a_pattern_finds_topics_now_and_later(kafka: KafkaBroker, kafka_topic: Callable[..., str]) -> None:
    first, other = kafka_topic(prefix="alpha"), kafka_topic(prefix="beta")
    produce(kafka.bootstrap_servers, first, ["a"])
    produce(kafka.bootstrap_servers, other, ["b"])
    with SourceJob(source(kafka, bounded=False, set_topic_pattern=f"{first}(-more)?")) as job:
        assert job.read(1) == ["a"]
        create_topic(kafka.bootstrap_servers, f"{first}-more")
        produce(kafka.bootstrap_servers, f"{first}-more", ["c"])
        job.discover_again()
        assert job.read(2) == ["a", "c"]


def test_reads_chosen_partitions_only(kafka: KafkaBroker, kafka_topic: Callable[..., str]) -> None:
    topic = kafka_topic(partitions=3)
    for partition in range(3):
        produce(kafka.bootstrap_servers, topic, [f"p{partition}"], partition=partition)
    assert read_all(source(kafka, set_partitions={KafkaTopicPartition(topic, 2)})) == ["p2"]
    with (
        pytest.raises(ConnectorError, match="there is no partition"),
        SourceJob(source(kafka, set_partitions=[KafkaTopicPartition(topic, 7)])),
    ):
        pass


def test_whole_records_with_key_and_headers(kafka: KafkaBroker, kafka_topic: Callable[..., str]) -> None:
    topic = kafka_topic()
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(topic, b"v", b"k", timestamp=77, headers=[("h", b"1")])
    producer.produce(topic, None, b"gone", timestamp=78)
    producer.flush()
    records = read_all(source(kafka, topic, set_deserializer=lambda record: record))
    assert records == [
        KafkaRecord(topic, 0, 0, 77, b"k", b"v", (("h", b"1"),)),
        KafkaRecord(topic, 0, 1, 78, b"gone", None, ()),
    ]


def test_records_deserialized_to_none_are_dropped(kafka: KafkaBroker, letters: str) -> None:
    built = source(kafka, letters, set_value_only_deserializer=lambda b: None if b in b"bdf" else b.decode())
    with SourceJob(built) as job:
        assert job.read_to_end(max_records=2) == list("ace")
        assert job.timestamps == [1_000_000, 1_002_000, 1_004_000]


def test_an_error_of_the_deserializer_names_the_record(kafka: KafkaBroker, letters: str) -> None:
    built = source(kafka, letters, set_value_only_deserializer=lambda b: 1 // (b[0] - ord("d")))
    with SourceJob(built) as job, pytest.raises(ZeroDivisionError) as caught:
        job.read_to_end()
    assert caught.value.__notes__ == [f"while deserializing the Kafka record {letters}[0] at offset 3: b'd'"]


def test_an_offset_that_is_gone_is_an_error_that_says_what_is_there(kafka: KafkaBroker, letters: str) -> None:
    with SourceJob(source(kafka, letters, bounded=False)) as job:
        job.read(1, max_records=1)
        state = job.snapshot()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.delete_records([TopicPartition(letters, 0, 4)])[TopicPartition(letters, 0)].result(30)
    with SourceJob(source(kafka, letters), restored=state) as job, pytest.raises(ConnectorError) as caught:
        job.read(1)
    assert f"from offset 1 of {letters}[0]" in caught.value.what
    assert "offsets 4 to 5" in caught.value.what
    assert "auto.offset.reset" in caught.value.fix
    allowed = source(kafka, letters, bounded=False, set_properties={"auto.offset.reset": "earliest"})
    with SourceJob(allowed, restored=state) as job:
        assert job.read(2) == ["e", "f"]


def test_offsets_are_committed_to_the_group_after_the_checkpoint(kafka: KafkaBroker, letters: str) -> None:
    group = f"monitor-{letters}"
    watcher = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": group})

    def committed() -> int:
        return int(watcher.committed([TopicPartition(letters, 0)], 10)[0].offset)

    with SourceJob(source(kafka, letters, bounded=False, set_group_id=group)) as job:
        job.read(3, max_records=3)
        job.snapshot(checkpoint_id=1)
        job.snapshot(checkpoint_id=2)
        assert committed() < 0
        job.readers[0].notify_checkpoint_complete(2)
        wait_until(lambda: (job.step(), committed() == 3)[1], "the commit")
    watcher.close()


def test_a_missing_topic_is_one_clear_error(kafka: KafkaBroker) -> None:
    with pytest.raises(ConnectorError) as caught, SourceJob(source(kafka, "no-such-topic")):
        pass
    assert "no-such-topic" in str(caught.value)
    assert "create the topic" in caught.value.fix
    assert not caught.value.retryable


def test_a_pattern_without_topics_is_an_error_when_nobody_will_look_again(kafka: KafkaBroker) -> None:
    with pytest.raises(ConnectorError, match="there are no topics matching"):
        read_all(source(kafka, set_topic_pattern="nothing-like-this"))
    with SourceJob(source(kafka, bounded=False, set_topic_pattern="nothing-like-this")) as job:
        assert not job.step()


def test_an_unknown_property_is_an_error(kafka: KafkaBroker, letters: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no\.such"):
        read_all(source(kafka, letters, set_properties={"no.such": "1"}))


@pytest.mark.slow
def test_a_broker_restart_does_not_disturb_the_reader(kafka: KafkaBroker, letters: str) -> None:
    with SourceJob(source(kafka, letters, bounded=False)) as job:
        job.read(6)
        kafka.restart()
        job.discover_again()
        produce(kafka.bootstrap_servers, letters, "ghi")
        assert job.read(9) == list("abcdefghi")
