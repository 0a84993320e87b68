"""A job that writes numbers to a queue, with ids of the numbers. Run by `millstream run`."""

from __future__ import annotations

import json
import logging
import sys

from millstream import StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.rabbitmq import RabbitMQSink, RMQConnectionConfig


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    spec = json.loads(sys.argv[1])
    env = StreamExecutionEnvironment.get_execution_environment()
    source = DataGeneratorSource(lambda n: n, spec["records"], RateLimiterStrategy.per_second(4_000))
    sink = (
        RabbitMQSink.builder()
        .set_connection_config(RMQConnectionConfig.Builder().set_uri(spec["url"]).build())
        .set_queue_name(spec["queue"])
        .set_source_position(lambda number: ("numbers", number))
        .set_serialization_schema(lambda number: str(number).encode())
        .build()
    )
    env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers").sink_to(sink)
    env.execute("numbers-to-rabbitmq")


main()
