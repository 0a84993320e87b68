"""The job of the exactly-once proof: a keyed window from a RabbitMQ queue into files or a Kafka topic. Run by `millstream run`.

Every window gives the correlation ids of its messages, so that the output tells which was counted how often.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from millstream import AggregateFunction, ProcessWindowFunction, StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.files import Encoder, FileSink
from millstream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaRecordSerializationSchema,
    KafkaSink,
    SimpleStringSchema,
)
from millstream.connectors.rabbitmq import RabbitMQMessage, RabbitMQSource, RMQConnectionConfig


class Collected(AggregateFunction):
    def create_accumulator(self) -> list[str]:
        return []

    def add(self, value: tuple[str, str], accumulator: list[str]) -> list[str]:
        return [*accumulator, value[1]]

    def get_result(self, accumulator: list[str]) -> list[str]:
        return accumulator

    def merge(self, one: list[str], other: list[str]) -> list[str]:
        return one + other


class ToLine(ProcessWindowFunction):
    def process(self, key: str, context: Any, elements: Iterable[list[str]]) -> Iterator[str]:
        for ids in elements:
            yield f"{key}: {' '.join(sorted(ids))}"


def parse(message: RabbitMQMessage) -> tuple[str, str]:
    assert message.correlation_id is not None
    return message.body.decode(), message.correlation_id


def source_of(spec: dict[str, Any]) -> RabbitMQSource[Any]:
    config = RMQConnectionConfig.Builder().set_uri(spec["url"]).set_prefetch_count(spec["prefetch"]).build()
    return (
        RabbitMQSource.builder()
        .set_connection_config(config)
        .set_queue_name(spec["queue"])
        .set_queue_must_exist()
        .set_use_correlation_id(True)
        .set_bounded(spec["messages"])
        .set_deserializer(parse)
        .build()
    )


def sink_of(spec: dict[str, Any]) -> Any:
    if "out" in spec:
        return FileSink.for_row_format(spec["out"], Encoder.simple_string_encoder()).build()
    return (
        KafkaSink.builder()
        .set_bootstrap_servers(spec["servers"])
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(spec["prefix"])
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(spec["output"])
            .set_value_serialization_schema(SimpleStringSchema())
            .build()
        )
        .build()
    )


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("millstream.connectors.kafka").setLevel(logging.WARNING)
    spec = json.loads(sys.argv[1])
    env = StreamExecutionEnvironment.get_execution_environment()
    (
        env.from_source(source_of(spec), WatermarkStrategy.no_watermarks(), "messages")
        .key_by(lambda message: message[0])
        .count_window(spec["window"])
        .aggregate(Collected(), ToLine())
        .sink_to(sink_of(spec))
    )
    env.execute("rabbitmq-windows")


main()
