"""Records from and to Kafka and other connectors. Checked by tests/typing/test_typing.py, never run."""

from typing import assert_type

from millstream import DataStream, DataStreamSink, Row, StreamExecutionEnvironment, Types, WatermarkStrategy
from millstream.connectors.files import FileSource
from millstream.connectors.formats import CsvReaderFormat, CsvSchema, JsonRowDeserializationSchema
from millstream.connectors.kafka import (
    KafkaRecord,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    SimpleStringSchema,
)


def key_and_value(record: KafkaRecord) -> tuple[bytes | None, bytes | None]:
    return record.key, record.value


def length(value: bytes) -> int:
    return len(value)


env = StreamExecutionEnvironment.get_execution_environment()
no_watermarks = WatermarkStrategy.no_watermarks()

builder = KafkaSource.builder().set_bootstrap_servers("localhost:9092").set_topics("lines")
texts = builder.set_value_only_deserializer(SimpleStringSchema()).set_group_id("g").build()
assert_type(texts, KafkaSource[str])
lines = env.from_source(texts, no_watermarks, "lines")
assert_type(lines, DataStream[str])
assert_type(builder.set_value_only_deserializer(length).build(), KafkaSource[int])
assert_type(builder.set_deserializer(key_and_value).build(), KafkaSource[tuple[bytes | None, bytes | None]])
schema = JsonRowDeserializationSchema.builder().type_info(Types.ROW_NAMED(["a"], [Types.INT()])).build()
assert_type(
    env.from_source(builder.set_value_only_deserializer(schema).build(), no_watermarks, "rows"),
    DataStream[Row],
)

to_topic = (
    KafkaRecordSerializationSchema.builder()
    .set_topic("out")
    .set_value_serialization_schema(SimpleStringSchema())
)
sink = (
    KafkaSink.builder()
    .set_bootstrap_servers("localhost:9092")
    .set_record_serializer(to_topic.build())
    .build()
)
assert_type(lines.sink_to(sink).name("lines"), DataStreamSink)

table = CsvSchema.builder().add_string_column("name").add_number_column("age").build()
people = FileSource.for_record_stream_format(CsvReaderFormat.for_schema(table), "people.csv").build()
assert_type(env.from_source(people, no_watermarks, "people"), DataStream[Row])
