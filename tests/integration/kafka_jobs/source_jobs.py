"""Small jobs that read from Kafka, started from a test, at a parallelism that needs worker processes."""

from __future__ import annotations

from typing import Any

from millstream import (
    DataStream,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from millstream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource, SimpleStringSchema


def kafka_source(
    servers: str, *topics: str, bounded: bool = True, properties: dict[str, Any] | None = None, **calls: Any
) -> KafkaSource[str]:
    """Lines from `topics`; `calls` are setters of the builder with their argument."""
    builder = (
        KafkaSource.builder()
        .set_bootstrap_servers(servers)
        .set_value_only_deserializer(SimpleStringSchema())
        .set_properties(properties or {})
    )
    if topics:
        builder.set_topics(*topics)
    if bounded:
        builder.set_bounded(KafkaOffsetsInitializer.latest())
    for name, argument in calls.items():
        getattr(builder, name)(argument)
    return builder.build()


def environment(parallelism: int = 2, **settings: str) -> StreamExecutionEnvironment:
    """With settings as keyword arguments: `__` for a dot, `_` for a dash."""
    env = StreamExecutionEnvironment.get_execution_environment()
    env.configure({key.replace("__", ".").replace("_", "-"): value for key, value in settings.items()})
    return env.set_parallelism(parallelism)


def lines(env: StreamExecutionEnvironment, source: KafkaSource[str]) -> DataStream[str]:
    """The records of `source`."""
    return env.from_source(source, WatermarkStrategy.no_watermarks(), "lines", str)


def read_all(source: KafkaSource[str], **settings: str) -> list[str]:
    """What a whole job reads, sorted."""
    env = environment(**settings)
    with lines(env, source).execute_and_collect() as results:
        return sorted(results)


def counts_per_second(
    env: StreamExecutionEnvironment, source: KafkaSource[str], watermarks: WatermarkStrategy[str]
) -> DataStream[str]:
    """`key: count` for each key (the line itself) and second of event time."""
    return (
        env.from_source(source, watermarks, "lines", str)
        .map(lambda line: (line, 1), output_type=tuple[str, int])
        .key_by(lambda pair: pair[0], key_type=str)
        .window(TumblingEventTimeWindows.of(1_000))
        .reduce(lambda one, other: (one[0], one[1] + other[1]))
        .map(lambda pair: f"{pair[0]}: {pair[1]}", output_type=str)
    )
