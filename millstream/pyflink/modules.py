"""The modules of PyFlink that the alias has: the names in each, and where Millstream keeps them."""

from __future__ import annotations

from typing import Final, NamedTuple

_NAMES: Final = {
    "pyflink": "",
    "pyflink.common": (
        "ByteArraySchema CompletableFuture ConfigOption ConfigOptions Configuration "
        "CsvRowDeserializationSchema CsvRowSerializationSchema DeserializationSchema Duration "
        "Encoder ExecutionConfig InputDependencyConstraint Instant JobClient JobExecutionResult "
        "JobID JobStatus JsonRowDeserializationSchema JsonRowSerializationSchema RestartStrategies "
        "RestartStrategyConfiguration Row RowKind SerializationSchema SimpleStringSchema Time "
        "TypeInformation TypeSerializer Types WatermarkStrategy"
    ),
    "pyflink.common.completable_future": "CompletableFuture",
    "pyflink.common.config_options": "ConfigOption ConfigOptions",
    "pyflink.common.configuration": "Configuration",
    "pyflink.common.constants": "DEFAULT_OUTPUT_TAG MAX_LONG_VALUE MIN_LONG_VALUE",
    "pyflink.common.execution_config": "ExecutionConfig",
    "pyflink.common.execution_mode": "",
    "pyflink.common.input_dependency_constraint": "InputDependencyConstraint",
    "pyflink.common.job_client": "JobClient",
    "pyflink.common.job_execution_result": "JobExecutionResult",
    "pyflink.common.job_id": "JobID",
    "pyflink.common.job_status": "JobStatus",
    "pyflink.common.restart_strategy": "RestartStrategies RestartStrategyConfiguration",
    "pyflink.common.serialization": (
        "ByteArraySchema DeserializationSchema Encoder RowFieldExtractorSchema SerializationSchema "
        "SimpleStringSchema"
    ),
    "pyflink.common.serializer": "TypeSerializer",
    "pyflink.common.time": "Duration Instant Time",
    "pyflink.common.typeinfo": "TypeInformation Types",
    "pyflink.common.types": "Row RowKind",
    "pyflink.common.watermark_strategy": "TimestampAssigner WatermarkStrategy",
    "pyflink.datastream": (
        "AggregateFunction AsyncDataStream AsyncFunction AsyncRetryPredicate AsyncRetryStrategy "
        "BroadcastConnectedStream BroadcastProcessFunction BroadcastStream CheckpointConfig "
        "CheckpointStorage CheckpointingMode CoFlatMapFunction CoMapFunction CoProcessFunction "
        "ConnectedStreams CountWindow DataStream DataStreamSink EmbeddedRocksDBStateBackend "
        "ExternalizedCheckpointRetention FileSystemCheckpointStorage FilterFunction FlatMapFunction "
        "GlobalWindow HashMapStateBackend JobManagerCheckpointStorage KeySelector "
        "KeyedBroadcastProcessFunction KeyedCoProcessFunction KeyedProcessFunction KeyedStream "
        "MapFunction MemorySize MergingWindowAssigner OutputTag Partitioner PredefinedOptions "
        "ProcessFunction ProcessWindowFunction ReduceFunction RuntimeContext RuntimeExecutionMode "
        "SinkFunction SlotSharingGroup StateBackend StreamExecutionEnvironment TimeDomain "
        "TimeWindow TimerService Trigger TriggerResult Window WindowAssigner WindowFunction "
        "WindowedStream"
    ),
    "pyflink.datastream.async_data_stream": "AsyncDataStream",
    "pyflink.datastream.async_retry_predicates": (
        "empty_result_predicate exception_type_predicate has_exception_predicate"
    ),
    "pyflink.datastream.async_retry_strategies": (
        "ExponentialBackoffDelayRetryStrategy FixedDelayRetryStrategy NO_RETRY_STRATEGY "
        "NoRetryStrategy RetryPredicate"
    ),
    "pyflink.datastream.checkpoint_config": "CheckpointConfig",
    "pyflink.datastream.checkpoint_storage": (
        "CheckpointStorage FileSystemCheckpointStorage JobManagerCheckpointStorage"
    ),
    "pyflink.datastream.checkpointing_mode": "CheckpointingMode",
    "pyflink.datastream.connectors": (
        "BucketAssigner DeliveryGuarantee FileEnumeratorProvider FileSink FileSource "
        "FileSourceBuilder FileSplitAssignerProvider KafkaSource NumberSequenceSource "
        "OutputFileConfig RMQConnectionConfig RMQSink RMQSource RollingPolicy Sink Source StreamFormat"
    ),
    "pyflink.datastream.connectors.base": "DeliveryGuarantee Sink Source",
    "pyflink.datastream.connectors.file_system": (
        "BucketAssigner FileEnumeratorProvider FileSink FileSource FileSourceBuilder "
        "FileSplitAssignerProvider OutputFileConfig RollingPolicy StreamFormat"
    ),
    "pyflink.datastream.connectors.kafka": (
        "KafkaOffsetResetStrategy KafkaOffsetsInitializer KafkaRecordSerializationSchema "
        "KafkaRecordSerializationSchemaBuilder KafkaSink KafkaSinkBuilder KafkaSource "
        "KafkaSourceBuilder KafkaTopicPartition KafkaTopicSelector"
    ),
    "pyflink.datastream.connectors.rabbitmq": "RMQConnectionConfig RMQSink RMQSource",
    "pyflink.datastream.connectors.number_seq": "NumberSequenceSource",
    "pyflink.datastream.data_stream": (
        "BroadcastConnectedStream BroadcastStream CloseableIterator ConnectedStreams DataStream "
        "DataStreamSink KeyedStream WindowedStream"
    ),
    "pyflink.datastream.execution_mode": "RuntimeExecutionMode",
    "pyflink.datastream.externalized_checkpoint_retention": "ExternalizedCheckpointRetention",
    "pyflink.datastream.formats": "",
    "pyflink.datastream.formats.csv": (
        "CsvReaderFormat CsvRowDeserializationSchema CsvRowSerializationSchema CsvSchema CsvSchemaBuilder"
    ),
    "pyflink.datastream.formats.json": "JsonRowDeserializationSchema JsonRowSerializationSchema",
    "pyflink.datastream.functions": (
        "AggregateFunction AllWindowFunction AsyncFunction AsyncRetryPredicate AsyncRetryStrategy "
        "BaseBroadcastProcessFunction BroadcastProcessFunction CoFlatMapFunction CoMapFunction "
        "CoProcessFunction FilterFunction FlatMapFunction KeySelector KeyedBroadcastProcessFunction "
        "KeyedCoProcessFunction KeyedProcessFunction MapFunction Partitioner "
        "ProcessAllWindowFunction ProcessFunction ProcessWindowFunction ReduceFunction "
        "RuntimeContext SinkFunction TimerService WindowFunction"
    ),
    "pyflink.datastream.output_tag": "OutputTag",
    "pyflink.datastream.slot_sharing_group": "MemorySize SlotSharingGroup",
    "pyflink.datastream.state": (
        "AggregatingState AggregatingStateDescriptor BroadcastState ListState ListStateDescriptor "
        "MapState MapStateDescriptor OperatorStateStore ReadOnlyBroadcastState ReducingState "
        "ReducingStateDescriptor StateTtlConfig ValueState ValueStateDescriptor"
    ),
    "pyflink.datastream.state_backend": (
        "EmbeddedRocksDBStateBackend HashMapStateBackend PredefinedOptions StateBackend"
    ),
    "pyflink.datastream.stream_execution_environment": "StreamExecutionEnvironment",
    "pyflink.datastream.time_domain": "TimeDomain",
    "pyflink.datastream.timerservice": "TimerService",
    "pyflink.datastream.window": (
        "ContinuousEventTimeTrigger ContinuousProcessingTimeTrigger CountSlidingWindowAssigner "
        "CountTrigger CountTumblingWindowAssigner CountWindow CountWindowSerializer "
        "DynamicEventTimeSessionWindows DynamicProcessingTimeSessionWindows EventTimeSessionWindows "
        "EventTimeTrigger GlobalWindow GlobalWindowSerializer GlobalWindows MergingWindowAssigner "
        "NeverTrigger ProcessingTimeSessionWindows ProcessingTimeTrigger PurgingTrigger "
        "SessionWindowTimeGapExtractor SlidingEventTimeWindows SlidingProcessingTimeWindows "
        "TimeWindow TimeWindowSerializer Trigger TriggerResult TumblingEventTimeWindows "
        "TumblingProcessingTimeWindows Window WindowAssigner"
    ),
}
"""What `from module import *` gives. `tests/golden/test_pyflink_api.py` compares it with the real API."""

_OWN: Final = (
    ".pyflink.checkpoint_storage",
    ".pyflink.config_options",
    ".pyflink.environment",
    ".pyflink.restart_strategy",
    ".pyflink.settings",
    ".pyflink.small_names",
    ".pyflink.state_backend",
)
"""Classes that PyFlink programs get instead of Millstream's, or that only they have."""
_API: Final = (
    *_OWN,
    "millstream",
    ".connectors.schemas",
    ".connectors.files",
    ".connectors.formats",
    ".connectors.datagen",
    ".pyflink.retries",
)


class Contents(NamedTuple):
    """A module.

    Attributes:
        names: PyFlink's public names in it, without those that are missing here.
        sources: modules, relative to `millstream`, whose `__all__` is searched for a name, in this order. A name of
            Millstream's that PyFlink does not have in this module, such as a join function, is found as well.
    """

    names: frozenset[str]
    sources: tuple[str, ...]


def _sources_of(module: str) -> tuple[str, ...]:
    if module == "pyflink":
        return ()
    connectors = (".connectors.kafka", ".connectors.rabbitmq")
    return (*_API, *connectors) if module.startswith("pyflink.datastream.connectors") else _API


MODULES: Final = {
    module: Contents(frozenset(names.split()), _sources_of(module)) for module, names in _NAMES.items()
}
"""By their full names."""
