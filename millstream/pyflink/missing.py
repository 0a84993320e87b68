"""What of PyFlink's DataStream API is deliberately absent, and why, or what to use instead.

`tests/golden/test_pyflink_api.py` holds the alias to this list and to the names of the real API; the migration page shows it.
"""

from __future__ import annotations

from typing import Final

_NOT_HERE: Final = (
    "there is no connector for {} here: read or write it with one of your own (millstream.connectors.base)"
)
_JAVA: Final = "there are no Java objects"
_AVRO: Final = "use JSON or CSV, or a schema of your own: a function from bytes and one to bytes"
_BULK: Final = "write rows with FileSink.for_row_format(path, encoder), read lines with FileSource"
_KAFKA_SOURCE: Final = "use KafkaSource"
_STREAMS: Final = "use KafkaSource and KafkaSink"

MISSING: Final[dict[str, str]] = {
    # ---- common
    "pyflink.common.AssignerWithPeriodicWatermarksWrapper": "use WatermarkStrategy",
    "pyflink.common.watermark_strategy.AssignerWithPeriodicWatermarksWrapper": "use WatermarkStrategy",
    "pyflink.common.io": f"{_JAVA}: use a source of millstream.connectors instead of an InputFormat",
    "pyflink.common.utils": _JAVA,
    "pyflink.common.serialization.BulkWriterFactory": _BULK,
    "pyflink.common.typeinfo.TypeInformation.from_internal_type": "values have one form only",
    "pyflink.common.typeinfo.TypeInformation.to_internal_type": "values have one form only",
    "pyflink.common.typeinfo.TypeInformation.need_conversion": "values have one form only",
    "pyflink.common.typeinfo.TypeInformation.get_java_type_info": _JAVA,
    "pyflink.common.types.RowKind.to_j_row_kind": _JAVA,
    # ---- datastream
    "pyflink.datastream.CustomStateBackend": "use HashMapStateBackend or EmbeddedRocksDBStateBackend",
    "pyflink.datastream.state_backend.CustomStateBackend": "use HashMapStateBackend or EmbeddedRocksDBStateBackend",
    "pyflink.datastream.CustomCheckpointStorage": "use FileSystemCheckpointStorage with a path or an fsspec URL",
    "pyflink.datastream.checkpoint_storage.CustomCheckpointStorage": (
        "use FileSystemCheckpointStorage with a path or an fsspec URL"
    ),
    "pyflink.datastream.SourceFunction": "use env.from_source(...) with a Source (millstream.connectors.base tells how to write one)",
    "pyflink.datastream.functions.SourceFunction": (
        "use env.from_source(...) with a Source (millstream.connectors.base tells how to write one)"
    ),
    "pyflink.datastream.functions.AsyncFunctionDescriptor": "use AsyncDataStream",
    "pyflink.datastream.functions.SinkFunction.__init__": "write a class with invoke(value, context) instead of naming one of Java's",
    "pyflink.datastream.utils": "use Configuration, a dict, and values as they are",
    "pyflink.datastream.data_stream.BroadcastConnectedStream.__init__": "use stream.connect(broadcast_stream)",
    "pyflink.datastream.data_stream.KeyedStream.AccumulateType": "use sum, min, max, min_by and max_by",
    "pyflink.datastream.output_tag.OutputTag.get_java_output_tag": _JAVA,
    "pyflink.datastream.slot_sharing_group.MemorySize.get_java_memory_size": _JAVA,
    "pyflink.datastream.slot_sharing_group.SlotSharingGroup.get_java_slot_sharing_group": _JAVA,
    "pyflink.datastream.window.ContinuousEventTimeTrigger.register_next_fire_timestamp": "it is PyFlink's own business",
    "pyflink.datastream.window.ContinuousProcessingTimeTrigger.register_next_fire_timestamp": "it is PyFlink's own business",
    "pyflink.datastream.window.SlidingEventTimeWindows.__init__": "use SlidingEventTimeWindows.of(size, slide)",
    "pyflink.datastream.window.SlidingProcessingTimeWindows.__init__": "use SlidingProcessingTimeWindows.of(size, slide)",
    "pyflink.datastream.window.TumblingEventTimeWindows.__init__": "use TumblingEventTimeWindows.of(size)",
    "pyflink.datastream.window.TumblingProcessingTimeWindows.__init__": "use TumblingProcessingTimeWindows.of(size)",
    "pyflink.common.AvroRowDeserializationSchema": _AVRO,
    "pyflink.common.AvroRowSerializationSchema": _AVRO,
    # ---- connectors and formats
    "pyflink.datastream.connectors.base.Sink.__init__": _JAVA,
    "pyflink.datastream.connectors.base.Source.__init__": _JAVA,
    "pyflink.datastream.connectors.base.StreamTransformer": "use map() before sink_to()",
    "pyflink.datastream.connectors.base.SupportsPreprocessing": "use map() before sink_to()",
    "pyflink.datastream.connectors.cassandra": _NOT_HERE.format("Cassandra"),
    "pyflink.datastream.connectors.dynamic_kafka": _STREAMS,
    "pyflink.datastream.connectors.DynamicKafkaSource": _STREAMS,
    "pyflink.datastream.connectors.DynamicKafkaSourceBuilder": _STREAMS,
    "pyflink.datastream.connectors.FlinkKafkaConsumer": _KAFKA_SOURCE,
    "pyflink.datastream.connectors.FlinkKafkaProducer": "use KafkaSink",
    "pyflink.datastream.connectors.JdbcConnectionOptions": _NOT_HERE.format("JDBC"),
    "pyflink.datastream.connectors.JdbcExecutionOptions": _NOT_HERE.format("JDBC"),
    "pyflink.datastream.connectors.JdbcSink": _NOT_HERE.format("JDBC"),
    "pyflink.datastream.connectors.KafkaMetadataService": _STREAMS,
    "pyflink.datastream.connectors.KafkaRecordDeserializationSchema": "use KafkaSource.builder().set_value_only_deserializer(schema)",
    "pyflink.datastream.connectors.KafkaStreamSetSubscriber": _STREAMS,
    "pyflink.datastream.connectors.KafkaStreamSubscriber": _STREAMS,
    "pyflink.datastream.connectors.PulsarSource": _NOT_HERE.format("Pulsar"),
    "pyflink.datastream.connectors.PulsarSourceBuilder": _NOT_HERE.format("Pulsar"),
    "pyflink.datastream.connectors.Semantic": "use DeliveryGuarantee",
    "pyflink.datastream.connectors.SingleClusterTopicMetadataService": _STREAMS,
    "pyflink.datastream.connectors.StartCursor": _NOT_HERE.format("Pulsar"),
    "pyflink.datastream.connectors.StopCursor": _NOT_HERE.format("Pulsar"),
    "pyflink.datastream.connectors.StreamPatternSubscriber": _STREAMS,
    "pyflink.datastream.connectors.StreamingFileSink": "use FileSink",
    "pyflink.datastream.connectors.elasticsearch": _NOT_HERE.format("Elasticsearch"),
    "pyflink.datastream.connectors.hybrid_source": "run one job after the other, or union two sources",
    "pyflink.datastream.connectors.jdbc": _NOT_HERE.format("JDBC"),
    "pyflink.datastream.connectors.kinesis": _NOT_HERE.format("Kinesis"),
    "pyflink.datastream.connectors.pulsar": _NOT_HERE.format("Pulsar"),
    "pyflink.datastream.connectors.file_system.BulkFormat": _BULK,
    "pyflink.datastream.connectors.file_system.FileCompactStrategy": "leave compaction out; a longer checkpoint interval makes fewer files",
    "pyflink.datastream.connectors.file_system.FileCompactor": "leave compaction out; a longer checkpoint interval makes fewer files",
    "pyflink.datastream.connectors.file_system.FileSink.BulkFormatBuilder": _BULK,
    "pyflink.datastream.connectors.file_system.FileSink.get_transformer": "it is PyFlink's own business",
    "pyflink.datastream.connectors.file_system.StreamingFileSink": "use FileSink",
    "pyflink.datastream.connectors.kafka.FlinkKafkaConsumer": _KAFKA_SOURCE,
    "pyflink.datastream.connectors.kafka.FlinkKafkaProducer": "use KafkaSink",
    "pyflink.datastream.connectors.kafka.Semantic": "use DeliveryGuarantee",
    "pyflink.datastream.connectors.kafka.KafkaSink.get_transformer": "it is PyFlink's own business",
    "pyflink.datastream.formats.avro": _AVRO,
    "pyflink.datastream.formats.csv.CsvBulkWriters": "use FileSink.for_row_format(path, encoder) with a CsvRowSerializationSchema's serialize",
    "pyflink.datastream.formats.csv.CsvSchemaBuilder.disable_array_element_separator": "leave out add_array_column",
    "pyflink.datastream.formats.csv.CsvSchemaBuilder.remove_array_element_separator": "use add_string_column for that column",
    "pyflink.datastream.formats.csv.CsvSchemaBuilder.set_any_property_name": "declare a column for every field",
    "pyflink.datastream.formats.csv.CsvSchemaBuilder.set_line_separator": "lines end with \\n or \\r\\n",
    "pyflink.datastream.formats.csv.CsvSchemaBuilder.set_skip_first_data_row": "use set_use_header for a first line that is no record",
    "pyflink.datastream.formats.csv.CsvSchemaBuilder.set_strict_headers": "names in a header line are not compared with the columns",
    "pyflink.datastream.formats.orc": _BULK,
    "pyflink.datastream.formats.parquet": _BULK,
}
"""Names by their place in PyFlink: modules, classes and methods; what is below one is absent with it."""

OLDER: Final[dict[str, str]] = {
    "ExternalizedCheckpointCleanup": "use ExternalizedCheckpointRetention",
    "FsStateBackend": "use HashMapStateBackend",
    "MemoryStateBackend": "use HashMapStateBackend",
    "RocksDBStateBackend": "use EmbeddedRocksDBStateBackend",
    "StreamTableEnvironment": "use the DataStream API: there are no tables",
    "TimeCharacteristic": "use a WatermarkStrategy: there is event time where a program assigns timestamps",
    "java_gateway": "there is no JVM",
    "table": "use the DataStream API: there are no tables",
}
"""Names of other releases, and of other parts of PyFlink, wherever they are asked for."""


def reason_of(full_name: str) -> str | None:
    """Why a name is absent or what to use instead, if it is known.

    >>> reason_of("pyflink.datastream.connectors.FlinkKafkaConsumer")
    'use KafkaSource'
    """
    if full_name in MISSING:
        return MISSING[full_name]
    name = full_name.rpartition(".")[2]
    if name in OLDER:
        return OLDER[name]
    # Some packages of PyFlink hand out names of the modules below them.
    return next((reason for known, reason in MISSING.items() if known.rpartition(".")[2] == name), None)
