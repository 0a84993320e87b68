"""`KafkaSink` with the guarantees none and at-least-once, and what it says about bad input, against a real broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from millstream.connectors.base import SupportsCommitter
from millstream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaRecordSerializationSchema,
    KafkaSink,
    SimpleStringSchema,
)
from millstream.core.batch import MAX_TIMESTAMP
from millstream.core.errors import ConfigurationError, ConnectorError
from millstream.dev.kafka import KafkaBroker
from tests.integration.kafka.harness import committed_values, exactly_once_sink, writer_context

GUARANTEES = [DeliveryGuarantee.NONE, DeliveryGuarantee.AT_LEAST_ONCE]


def sink(
    kafka: KafkaBroker, guarantee: DeliveryGuarantee = DeliveryGuarantee.AT_LEAST_ONCE, **options: Any
) -> Any:
    properties = options.pop("properties", {})
    return KafkaSink(
        bootstrap_servers=kafka.bootstrap_servers,
        record_serializer=KafkaRecordSerializationSchema(**options),
        delivery_guarantee=guarantee,
        transactional_id_prefix="bad-input",
        properties=properties,
    )


def messages(kafka: KafkaBroker, topic: str, count: int) -> list[Any]:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "check"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Any] = []
    while len(found) < count:
        found += [message for message in consumer.consume(count, 5) if message.error() is None]
    consumer.close()
    return found


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_everything_is_there_after_the_last_flush(
    kafka: KafkaBroker, kafka_topic: Callable[..., str], guarantee: DeliveryGuarantee
) -> None:
    topic = kafka_topic()
    built = sink(kafka, guarantee, topic=topic, value=SimpleStringSchema(), properties={"linger.ms": 200})
    assert not isinstance(built, SupportsCommitter)
    writer = built.create_writer(writer_context())
    for start in range(0, 5000, 1000):
        writer.write_batch([f"{i:04}" for i in range(start, start + 1000)], None)
    writer.flush(end_of_input=True)
    writer.close()
    assert committed_values(kafka.bootstrap_servers, topic) == [f"{i:04}" for i in range(5000)]


def test_at_least_once_waits_at_the_barrier(kafka: KafkaBroker, kafka_topic: Callable[..., str]) -> None:
    topic = kafka_topic()
    writer = sink(kafka, topic=topic, value=str.encode, properties={"linger.ms": 2000}).create_writer(
        writer_context()
    )
    writer.write_batch(["a"], None)
    writer.flush(end_of_input=False)
    writer.close()
    assert committed_values(kafka.bootstrap_servers, topic) == ["a"]


def test_a_full_queue_makes_the_writer_wait_and_loses_nothing(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    topic = kafka_topic()
    options = {
        "topic": topic,
        "value": str.encode,
        "properties": {"queue.buffering.max.messages": 100, "linger.ms": 0},
    }
    writer = sink(kafka, **options).create_writer(writer_context())
    writer.write_batch([f"{i:04}" for i in range(3000)], None)
    writer.flush(end_of_input=False)
    writer.close()
    assert [m.value().decode() for m in messages(kafka, topic, 3000)] == [f"{i:04}" for i in range(3000)]


def test_key_timestamp_and_tombstone_arrive(kafka: KafkaBroker, kafka_topic: Callable[..., str]) -> None:
    topic = kafka_topic()
    writer = sink(kafka, topic=topic, key=lambda r: r[0], value=lambda r: r[1]).create_writer(
        writer_context()
    )
    writer.write_batch([(b"k", b"v"), (b"gone", None), (b"global", b"w")], [1234, -5, MAX_TIMESTAMP])
    writer.flush(end_of_input=False)
    writer.close()
    first, second, third = messages(kafka, topic, 3)
    assert (first.key(), first.value(), first.timestamp()[1]) == (b"k", b"v", 1234)
    assert (second.key(), second.value()) == (b"gone", None)
    now = second.timestamp()[
        1
    ]  # a time before 1970 cannot be written, nor the last one of a window that never ends
    assert 1_000_000_000_000 < now <= third.timestamp()[1] < MAX_TIMESTAMP


def test_the_selector_chooses_the_topic(kafka: KafkaBroker, kafka_topic: Callable[..., str]) -> None:
    topics = [kafka_topic(), kafka_topic()]
    built = sink(kafka, topic_selector=lambda n: topics[n % 2], value=lambda n: str(n).encode())
    writer = built.create_writer(writer_context())
    writer.write_batch(list(range(6)), None)
    writer.flush(end_of_input=False)
    writer.close()
    assert committed_values(kafka.bootstrap_servers, topics[0]) == ["0", "2", "4"]
    assert committed_values(kafka.bootstrap_servers, topics[1]) == ["1", "3", "5"]


def test_a_record_that_is_too_large_names_topic_and_property(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    small = kafka_topic(max_message_bytes="2000")
    for guarantee in (DeliveryGuarantee.AT_LEAST_ONCE, DeliveryGuarantee.EXACTLY_ONCE):
        writer = sink(kafka, guarantee, topic=small, value=bytes).create_writer(writer_context())
        with pytest.raises(ConnectorError) as caught:
            writer.write_batch([bytes(range(256)) * 20], None)
            writer.flush(end_of_input=False)
        writer.close()
        assert small in str(caught.value)
        assert "max.message.bytes" in caught.value.fix
        assert not caught.value.retryable
    writer = sink(kafka, topic=small, value=bytes).create_writer(writer_context())
    with pytest.raises(ConnectorError, match="MSG_SIZE_TOO_LARGE"):
        writer.write_batch([bytes(2_000_000)], None)  # refused by the client already
    writer.close()


@pytest.mark.parametrize("guarantee", DeliveryGuarantee)
def test_a_missing_topic_is_one_clear_error_before_any_record(
    kafka: KafkaBroker, guarantee: DeliveryGuarantee
) -> None:
    with pytest.raises(ConnectorError) as caught:
        sink(kafka, guarantee, topic="no-such-topic", value=bytes).create_writer(writer_context())
    assert "no-such-topic" in str(caught.value)
    assert "create the topic" in caught.value.fix


def test_a_missing_topic_of_a_selector_is_an_error_at_the_barrier(kafka: KafkaBroker) -> None:
    properties = {"topic.metadata.propagation.max.ms": 500}
    built = sink(kafka, topic_selector=lambda _: "no-such-topic", value=bytes, properties=properties)
    writer = built.create_writer(writer_context())
    with pytest.raises(ConnectorError, match="no-such-topic"):
        writer.write_batch([b"x"], None)
        writer.flush(end_of_input=False)
    writer.close()


@pytest.mark.parametrize("guarantee", DeliveryGuarantee)
def test_no_broker_is_one_clear_error_after_the_timeout(guarantee: DeliveryGuarantee) -> None:
    built = KafkaSink(
        bootstrap_servers="127.0.0.1:1",
        record_serializer=KafkaRecordSerializationSchema(topic="t", value=bytes),
        delivery_guarantee=guarantee,
        transactional_id_prefix="p",
        properties={"bootstrap.timeout.ms": "300"},
    )
    with pytest.raises(ConnectorError) as caught:
        built.create_writer(writer_context())
    assert "127.0.0.1:1" in caught.value.where
    assert caught.value.retryable


def test_a_transaction_timeout_above_the_brokers_maximum_is_refused(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    built = exactly_once_sink(kafka.bootstrap_servers, kafka_topic(), "p", transaction_timeout_ms=3_600_000)
    with pytest.raises(ConnectorError) as caught:
        built.create_writer(writer_context())
    assert "transaction.timeout.ms=3600000" in caught.value.what
    assert "transaction.max.timeout.ms" in caught.value.fix


def test_an_unknown_property_is_an_error(kafka: KafkaBroker) -> None:
    with pytest.raises(ConfigurationError, match=r"no\.such"):
        sink(kafka, topic="t", value=bytes, properties={"no.such": 1}).create_writer(writer_context())
