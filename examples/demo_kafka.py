"""Both ends of the demo's job on a real Kafka: clicks are produced to one topic while the job writes sales to another."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from clickstream import CHANNELS, Click, Clickstream, Sales

from millstream.connectors.base import Sink, Source
from millstream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    KafkaTopicPartition,
)
from millstream.dev.kafka import create_topic
from millstream.dev.provide import provide_kafka


@contextmanager
def kafka_ends() -> Iterator[KafkaEnds]:
    """On the Kafka that `MILLSTREAM_TEST_KAFKA` names, or on one of our own, which ends with the block."""
    print("Starting Kafka ...")
    broker = provide_kafka()
    try:
        ends = KafkaEnds(broker.bootstrap_servers)
        yield ends
        ends.close()
    finally:
        broker.stop()


class KafkaEnds:
    """A topic of clicks, with a partition for each channel of the shop, and a topic of sales."""

    description = "exactly once from Kafka to Kafka"

    def __init__(self, servers: str) -> None:
        from confluent_kafka import Consumer, TopicPartition

        self._servers = servers
        self._clicks = f"demo-clicks-{os.getpid()}"
        self._sales = f"demo-sales-{os.getpid()}"
        create_topic(servers, self._clicks, partitions=CHANNELS)
        create_topic(servers, self._sales)
        self._committed: list[Sales] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "demo",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        self._partition = TopicPartition(self._sales, 0, 0)
        self._consumer.assign([self._partition])
        self._read_until = 0

    def close(self) -> None:
        """Disconnect the consumer."""
        self._consumer.close()

    def source(self, clicks: Clickstream, per_second: int) -> Source[Any, Any]:
        """From the first click to the last, which is not there yet when the job starts."""
        ends = {
            KafkaTopicPartition(self._clicks, channel): clicks.clicks // CHANNELS
            for channel in range(CHANNELS)
        }
        # --8<-- [start:source]
        return (
            KafkaSource.builder()
            .set_bootstrap_servers(self._servers)
            .set_topics(self._clicks)
            .set_starting_offsets(KafkaOffsetsInitializer.earliest())
            .set_bounded(KafkaOffsetsInitializer.offsets(ends))
            .set_value_only_deserializer(lambda value: Click(*json.loads(value)))
            .build()
        )
        # --8<-- [end:source]

    def sink(self) -> Sink[Any]:
        """One transaction for each checkpoint and worker."""
        # --8<-- [start:sink]
        serializer = (
            KafkaRecordSerializationSchema.builder()
            .set_topic(self._sales)
            .set_key_serialization_schema(lambda row: row.product.encode())
            .set_value_serialization_schema(lambda row: row.to_line().encode())
            .build()
        )
        return (
            KafkaSink.builder()
            .set_bootstrap_servers(self._servers)
            .set_record_serializer(serializer)
            .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .set_transactional_id_prefix(self._sales)
            .build()
        )
        # --8<-- [end:sink]

    @contextmanager
    def feeding(self, clicks: Clickstream, per_second: int) -> Iterator[None]:
        """Produces the clicks in a thread of its own; stops when the block ends."""
        stop = threading.Event()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="shop") as shop:
            producing = shop.submit(_produce, self._servers, self._clicks, clicks, per_second, stop)
            try:
                yield
            finally:
                stop.set()
            producing.result()

    def count_committed(self) -> int:
        """Rows of committed transactions that have arrived by now."""
        self._receive(timeout_s=0)
        return len(self._committed)

    def committed(self) -> list[Sales]:
        """All rows of committed transactions."""
        _, end = self._consumer.get_watermark_offsets(self._partition)
        while self._read_until < end:
            self._receive(timeout_s=0.5)
        return self._committed

    def _receive(self, timeout_s: float) -> None:
        """Take what has arrived."""
        from confluent_kafka import KafkaError, KafkaException

        for message in self._consumer.consume(10_000, timeout=timeout_s):
            error = message.error()
            if error is None:
                self._committed.append(Sales.from_line((message.value() or b"").decode()))
            elif error.code() == KafkaError._PARTITION_EOF:
                # Behind the marks that end transactions, which are no messages.
                self._read_until = message.offset() or 0
            else:
                raise KafkaException(error)


def _produce(servers: str, topic: str, clicks: Clickstream, per_second: int, stop: threading.Event) -> None:
    """Both channels at once, each in its order and to its partition."""
    from confluent_kafka import Producer

    producer = Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "linger.ms": 20,
            "log_level": 3,
        }  # errors only
    )
    in_channel = clicks.clicks // CHANNELS
    started = time.monotonic()
    done = 0
    while done < in_channel and not stop.wait(0.02):
        due = min(in_channel, int((time.monotonic() - started) * per_second / CHANNELS))
        for index in range(done, due):
            for channel in range(CHANNELS):
                click = clicks.click(channel * in_channel + index)
                producer.produce(topic, json.dumps(click), partition=channel)
        producer.poll(0)
        done = due
    producer.flush()
