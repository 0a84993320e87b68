"""Stream processing in the manner of Apache Flink, in Python and without a JVM.

Everything a program needs is importable from here; connectors from `millstream.connectors.<system>`. Names are loaded when they
are first used: the layers below are packages of this one, and importing one of them must not load the whole API.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .all_windowed_stream import AllWindowedStream as AllWindowedStream
    from .async_data_stream import AsyncDataStream as AsyncDataStream
    from .cached_data_stream import CachedDataStream as CachedDataStream
    from .checkpoint_config import CheckpointConfig as CheckpointConfig
    from .checkpoint_config import CheckpointingMode as CheckpointingMode
    from .checkpoint_config import ExternalizedCheckpointRetention as ExternalizedCheckpointRetention
    from .collected import CollectedResults as CollectedResults
    from .connected_streams import BroadcastConnectedStream as BroadcastConnectedStream
    from .connected_streams import BroadcastStream as BroadcastStream
    from .connected_streams import ConnectedStreams as ConnectedStreams
    from .core.batch import Watermark as Watermark
    from .core.configuration import ConfigOption as ConfigOption
    from .core.configuration import Configuration as Configuration
    from .core.errors import CheckpointError as CheckpointError
    from .core.errors import CheckpointFailureReason as CheckpointFailureReason
    from .core.errors import ConfigurationError as ConfigurationError
    from .core.errors import ConnectorError as ConnectorError
    from .core.errors import JobCancelledError as JobCancelledError
    from .core.errors import JobDefinitionError as JobDefinitionError
    from .core.errors import JobExecutionError as JobExecutionError
    from .core.errors import LeadershipLostError as LeadershipLostError
    from .core.errors import MillstreamError as MillstreamError
    from .core.errors import MissingDependencyError as MissingDependencyError
    from .core.errors import RecordSerializationError as RecordSerializationError
    from .core.errors import SerializationSetupError as SerializationSetupError
    from .core.errors import StateError as StateError
    from .core.errors import UserFunctionError as UserFunctionError
    from .core.errors import WorkerLostError as WorkerLostError
    from .core.savepoints import SavepointFormatType as SavepointFormatType
    from .core.time import Duration as Duration
    from .core.time import Instant as Instant
    from .core.time import Time as Time
    from .core.types import InvalidKeyError as InvalidKeyError
    from .core.types import Row as Row
    from .core.types import RowKind as RowKind
    from .core.types import TypeInformation as TypeInformation
    from .core.types import Types as Types
    from .data_stream import DataStream as DataStream
    from .data_stream import DataStreamSink as DataStreamSink
    from .environment import RuntimeExecutionMode as RuntimeExecutionMode
    from .environment import StreamExecutionEnvironment as StreamExecutionEnvironment
    from .execution_config import ExecutionConfig as ExecutionConfig
    from .interval_join import IntervalJoin as IntervalJoin
    from .interval_join import IntervalJoined as IntervalJoined
    from .iterative_stream import IterativeStream as IterativeStream
    from .joined_streams import CoGroupedStreams as CoGroupedStreams
    from .joined_streams import JoinedStreams as JoinedStreams
    from .keyed_stream import KeyedStream as KeyedStream
    from .operators.accumulators import Accumulator as Accumulator
    from .operators.accumulators import AverageAccumulator as AverageAccumulator
    from .operators.accumulators import DoubleCounter as DoubleCounter
    from .operators.accumulators import DoubleMaximum as DoubleMaximum
    from .operators.accumulators import DoubleMinimum as DoubleMinimum
    from .operators.accumulators import Histogram as Histogram
    from .operators.accumulators import IntCounter as IntCounter
    from .operators.accumulators import IntMaximum as IntMaximum
    from .operators.accumulators import IntMinimum as IntMinimum
    from .operators.accumulators import ListAccumulator as ListAccumulator
    from .operators.accumulators import LongCounter as LongCounter
    from .operators.accumulators import LongMaximum as LongMaximum
    from .operators.accumulators import LongMinimum as LongMinimum
    from .operators.all_window_functions import AllWindowFunction as AllWindowFunction
    from .operators.all_window_functions import ProcessAllWindowFunction as ProcessAllWindowFunction
    from .operators.async_functions import AsyncFunction as AsyncFunction
    from .operators.async_functions import ResultFuture as ResultFuture
    from .operators.async_retry import AsyncRetryPredicate as AsyncRetryPredicate
    from .operators.async_retry import AsyncRetryPredicates as AsyncRetryPredicates
    from .operators.async_retry import AsyncRetryStrategies as AsyncRetryStrategies
    from .operators.async_retry import AsyncRetryStrategy as AsyncRetryStrategy
    from .operators.broadcast_functions import BaseBroadcastProcessFunction as BaseBroadcastProcessFunction
    from .operators.broadcast_functions import BroadcastProcessFunction as BroadcastProcessFunction
    from .operators.broadcast_functions import KeyedBroadcastProcessFunction as KeyedBroadcastProcessFunction
    from .operators.broadcast_functions import KeyedStateFunction as KeyedStateFunction
    from .operators.checkpointed import CheckpointedFunction as CheckpointedFunction
    from .operators.checkpointed import FunctionInitializationContext as FunctionInitializationContext
    from .operators.checkpointed import FunctionSnapshotContext as FunctionSnapshotContext
    from .operators.co_functions import CoFlatMapFunction as CoFlatMapFunction
    from .operators.co_functions import CoMapFunction as CoMapFunction
    from .operators.co_functions import CoProcessFunction as CoProcessFunction
    from .operators.co_functions import KeyedCoProcessFunction as KeyedCoProcessFunction
    from .operators.collector import Collector as Collector
    from .operators.count_triggers import CountTrigger as CountTrigger
    from .operators.count_triggers import DeltaTrigger as DeltaTrigger
    from .operators.count_triggers import NeverTrigger as NeverTrigger
    from .operators.count_triggers import PurgingTrigger as PurgingTrigger
    from .operators.count_windows import CountSlidingWindowAssigner as CountSlidingWindowAssigner
    from .operators.count_windows import CountTumblingWindowAssigner as CountTumblingWindowAssigner
    from .operators.count_windows import GlobalWindows as GlobalWindows
    from .operators.evictors import CountEvictor as CountEvictor
    from .operators.evictors import DeltaEvictor as DeltaEvictor
    from .operators.evictors import Evictor as Evictor
    from .operators.evictors import TimeEvictor as TimeEvictor
    from .operators.evictors import TimestampedValue as TimestampedValue
    from .operators.functions import AggregateFunction as AggregateFunction
    from .operators.functions import FilterFunction as FilterFunction
    from .operators.functions import FlatMapFunction as FlatMapFunction
    from .operators.functions import Function as Function
    from .operators.functions import KeyedProcessFunction as KeyedProcessFunction
    from .operators.functions import KeySelector as KeySelector
    from .operators.functions import MapFunction as MapFunction
    from .operators.functions import MapPartitionFunction as MapPartitionFunction
    from .operators.functions import OutputTag as OutputTag
    from .operators.functions import Partitioner as Partitioner
    from .operators.functions import ProcessFunction as ProcessFunction
    from .operators.functions import ProcessWindowFunction as ProcessWindowFunction
    from .operators.functions import ReduceFunction as ReduceFunction
    from .operators.functions import RichFunction as RichFunction
    from .operators.functions import RuntimeContext as RuntimeContext
    from .operators.functions import TimeDomain as TimeDomain
    from .operators.functions import TimerService as TimerService
    from .operators.functions import WindowFunction as WindowFunction
    from .operators.join_functions import CoGroupFunction as CoGroupFunction
    from .operators.join_functions import FlatJoinFunction as FlatJoinFunction
    from .operators.join_functions import JoinFunction as JoinFunction
    from .operators.join_functions import ProcessJoinFunction as ProcessJoinFunction
    from .operators.metrics import Counter as Counter
    from .operators.metrics import DescriptiveStatisticsHistogram as DescriptiveStatisticsHistogram
    from .operators.metrics import Distribution as Distribution
    from .operators.metrics import Meter as Meter
    from .operators.metrics import MetricGroup as MetricGroup
    from .operators.operator_state import BroadcastState as BroadcastState
    from .operators.operator_state import OperatorListState as OperatorListState
    from .operators.operator_state import OperatorStateStore as OperatorStateStore
    from .operators.operator_state import ReadOnlyBroadcastState as ReadOnlyBroadcastState
    from .operators.session_windows import DynamicEventTimeSessionWindows as DynamicEventTimeSessionWindows
    from .operators.session_windows import (
        DynamicProcessingTimeSessionWindows as DynamicProcessingTimeSessionWindows,
    )
    from .operators.session_windows import EventTimeSessionWindows as EventTimeSessionWindows
    from .operators.session_windows import ProcessingTimeSessionWindows as ProcessingTimeSessionWindows
    from .operators.session_windows import SessionWindowTimeGapExtractor as SessionWindowTimeGapExtractor
    from .operators.sink_functions import SinkFunction as SinkFunction
    from .operators.sink_functions import TwoPhaseCommitSinkFunction as TwoPhaseCommitSinkFunction
    from .operators.time_triggers import ContinuousEventTimeTrigger as ContinuousEventTimeTrigger
    from .operators.time_triggers import ContinuousProcessingTimeTrigger as ContinuousProcessingTimeTrigger
    from .operators.time_triggers import EventTimeTrigger as EventTimeTrigger
    from .operators.time_triggers import ProcessingTimeoutTrigger as ProcessingTimeoutTrigger
    from .operators.time_triggers import ProcessingTimeTrigger as ProcessingTimeTrigger
    from .operators.trigger import Trigger as Trigger
    from .operators.trigger import TriggerResult as TriggerResult
    from .operators.watermark_generator import WatermarkGenerator as WatermarkGenerator
    from .operators.watermark_generator import WatermarkOutput as WatermarkOutput
    from .operators.watermark_strategy import TimestampAssigner as TimestampAssigner
    from .operators.watermark_strategy import WatermarkStrategy as WatermarkStrategy
    from .operators.window_types import CountWindow as CountWindow
    from .operators.window_types import CountWindowSerializer as CountWindowSerializer
    from .operators.window_types import GlobalWindow as GlobalWindow
    from .operators.window_types import GlobalWindowSerializer as GlobalWindowSerializer
    from .operators.window_types import TimeWindow as TimeWindow
    from .operators.window_types import TimeWindowSerializer as TimeWindowSerializer
    from .operators.window_types import TypeSerializer as TypeSerializer
    from .operators.window_types import Window as Window
    from .operators.windowing import MergingWindowAssigner as MergingWindowAssigner
    from .operators.windowing import SlidingEventTimeWindows as SlidingEventTimeWindows
    from .operators.windowing import SlidingProcessingTimeWindows as SlidingProcessingTimeWindows
    from .operators.windowing import TumblingEventTimeWindows as TumblingEventTimeWindows
    from .operators.windowing import TumblingProcessingTimeWindows as TumblingProcessingTimeWindows
    from .operators.windowing import WindowAssigner as WindowAssigner
    from .operators.windowing import WindowStagger as WindowStagger
    from .partition_window import KeyedPartitionWindowedStream as KeyedPartitionWindowedStream
    from .partition_window import Order as Order
    from .partition_window import PartitionWindowedStream as PartitionWindowedStream
    from .runtime.job_manager.client import JobClient as JobClient
    from .runtime.job_manager.client import JobExecutionResult as JobExecutionResult
    from .runtime.job_manager.scheduling import JobStatus as JobStatus
    from .slot_sharing import MemorySize as MemorySize
    from .slot_sharing import SlotSharingGroup as SlotSharingGroup
    from .state.descriptors import AggregatingStateDescriptor as AggregatingStateDescriptor
    from .state.descriptors import ListStateDescriptor as ListStateDescriptor
    from .state.descriptors import MapStateDescriptor as MapStateDescriptor
    from .state.descriptors import ReducingStateDescriptor as ReducingStateDescriptor
    from .state.descriptors import ValueStateDescriptor as ValueStateDescriptor
    from .state.keyed import AggregatingState as AggregatingState
    from .state.keyed import KeyedStateStore as KeyedStateStore
    from .state.keyed import ListState as ListState
    from .state.keyed import MapState as MapState
    from .state.keyed import ReducingState as ReducingState
    from .state.keyed import ValueState as ValueState
    from .state.ttl_config import StateTtlConfig as StateTtlConfig
    from .state_backends import EmbeddedRocksDBStateBackend as EmbeddedRocksDBStateBackend
    from .state_backends import HashMapStateBackend as HashMapStateBackend
    from .state_backends import PostgreSQLStateBackend as PostgreSQLStateBackend
    from .state_backends import RedisStateBackend as RedisStateBackend
    from .state_backends import StateBackend as StateBackend
    from .windowed_stream import WindowedStream as WindowedStream

__version__ = "0.1.0"

__all__ = [
    "Accumulator",
    "AggregateFunction",
    "AggregatingState",
    "AggregatingStateDescriptor",
    "AllWindowFunction",
    "AllWindowedStream",
    "AsyncDataStream",
    "AsyncFunction",
    "AsyncRetryPredicate",
    "AsyncRetryPredicates",
    "AsyncRetryStrategies",
    "AsyncRetryStrategy",
    "AverageAccumulator",
    "BaseBroadcastProcessFunction",
    "BroadcastConnectedStream",
    "BroadcastProcessFunction",
    "BroadcastState",
    "BroadcastStream",
    "CachedDataStream",
    "CheckpointConfig",
    "CheckpointError",
    "CheckpointFailureReason",
    "CheckpointedFunction",
    "CheckpointingMode",
    "CoFlatMapFunction",
    "CoGroupFunction",
    "CoGroupedStreams",
    "CoMapFunction",
    "CoProcessFunction",
    "CollectedResults",
    "Collector",
    "ConfigOption",
    "Configuration",
    "ConfigurationError",
    "ConnectedStreams",
    "ConnectorError",
    "ContinuousEventTimeTrigger",
    "ContinuousProcessingTimeTrigger",
    "CountEvictor",
    "CountSlidingWindowAssigner",
    "CountTrigger",
    "CountTumblingWindowAssigner",
    "CountWindow",
    "CountWindowSerializer",
    "Counter",
    "DataStream",
    "DataStreamSink",
    "DeltaEvictor",
    "DeltaTrigger",
    "DescriptiveStatisticsHistogram",
    "Distribution",
    "DoubleCounter",
    "DoubleMaximum",
    "DoubleMinimum",
    "Duration",
    "DynamicEventTimeSessionWindows",
    "DynamicProcessingTimeSessionWindows",
    "EmbeddedRocksDBStateBackend",
    "EventTimeSessionWindows",
    "EventTimeTrigger",
    "Evictor",
    "ExecutionConfig",
    "ExternalizedCheckpointRetention",
    "FilterFunction",
    "FlatJoinFunction",
    "FlatMapFunction",
    "Function",
    "FunctionInitializationContext",
    "FunctionSnapshotContext",
    "GlobalWindow",
    "GlobalWindowSerializer",
    "GlobalWindows",
    "HashMapStateBackend",
    "Histogram",
    "Instant",
    "IntCounter",
    "IntMaximum",
    "IntMinimum",
    "IntervalJoin",
    "IntervalJoined",
    "InvalidKeyError",
    "IterativeStream",
    "JobCancelledError",
    "JobClient",
    "JobDefinitionError",
    "JobExecutionError",
    "JobExecutionResult",
    "JobStatus",
    "JoinFunction",
    "JoinedStreams",
    "KeySelector",
    "KeyedBroadcastProcessFunction",
    "KeyedCoProcessFunction",
    "KeyedPartitionWindowedStream",
    "KeyedProcessFunction",
    "KeyedStateFunction",
    "KeyedStateStore",
    "KeyedStream",
    "LeadershipLostError",
    "ListAccumulator",
    "ListState",
    "ListStateDescriptor",
    "LongCounter",
    "LongMaximum",
    "LongMinimum",
    "MapFunction",
    "MapPartitionFunction",
    "MapState",
    "MapStateDescriptor",
    "MemorySize",
    "MergingWindowAssigner",
    "Meter",
    "MetricGroup",
    "MillstreamError",
    "MissingDependencyError",
    "NeverTrigger",
    "OperatorListState",
    "OperatorStateStore",
    "Order",
    "OutputTag",
    "PartitionWindowedStream",
    "Partitioner",
    "PostgreSQLStateBackend",
    "ProcessAllWindowFunction",
    "ProcessFunction",
    "ProcessJoinFunction",
    "ProcessWindowFunction",
    "ProcessingTimeSessionWindows",
    "ProcessingTimeTrigger",
    "ProcessingTimeoutTrigger",
    "PurgingTrigger",
    "ReadOnlyBroadcastState",
    "RecordSerializationError",
    "RedisStateBackend",
    "ReduceFunction",
    "ReducingState",
    "ReducingStateDescriptor",
    "ResultFuture",
    "RichFunction",
    "Row",
    "RowKind",
    "RuntimeContext",
    "RuntimeExecutionMode",
    "SavepointFormatType",
    "SerializationSetupError",
    "SessionWindowTimeGapExtractor",
    "SinkFunction",
    "SlidingEventTimeWindows",
    "SlidingProcessingTimeWindows",
    "SlotSharingGroup",
    "StateBackend",
    "StateError",
    "StateTtlConfig",
    "StreamExecutionEnvironment",
    "Time",
    "TimeDomain",
    "TimeEvictor",
    "TimeWindow",
    "TimeWindowSerializer",
    "TimerService",
    "TimestampAssigner",
    "TimestampedValue",
    "Trigger",
    "TriggerResult",
    "TumblingEventTimeWindows",
    "TumblingProcessingTimeWindows",
    "TwoPhaseCommitSinkFunction",
    "TypeInformation",
    "TypeSerializer",
    "Types",
    "UserFunctionError",
    "ValueState",
    "ValueStateDescriptor",
    "Watermark",
    "WatermarkGenerator",
    "WatermarkOutput",
    "WatermarkStrategy",
    "Window",
    "WindowAssigner",
    "WindowFunction",
    "WindowStagger",
    "WindowedStream",
    "WorkerLostError",
    "__version__",
]

# The names of each module, separated by blanks.
_MODULES: Final = {
    "all_windowed_stream": "AllWindowedStream",
    "async_data_stream": "AsyncDataStream",
    "cached_data_stream": "CachedDataStream",
    "checkpoint_config": "CheckpointConfig CheckpointingMode ExternalizedCheckpointRetention",
    "collected": "CollectedResults",
    "connected_streams": "BroadcastConnectedStream BroadcastStream ConnectedStreams",
    "core.batch": "Watermark",
    "core.configuration": "ConfigOption Configuration",
    "core.errors": (
        "CheckpointError CheckpointFailureReason ConfigurationError ConnectorError JobCancelledError "
        "JobDefinitionError JobExecutionError LeadershipLostError MillstreamError MissingDependencyError "
        "RecordSerializationError SerializationSetupError StateError UserFunctionError WorkerLostError"
    ),
    "core.savepoints": "SavepointFormatType",
    "core.time": "Duration Instant Time",
    "core.types": "InvalidKeyError Row RowKind TypeInformation Types",
    "data_stream": "DataStream DataStreamSink",
    "environment": "RuntimeExecutionMode StreamExecutionEnvironment",
    "execution_config": "ExecutionConfig",
    "interval_join": "IntervalJoin IntervalJoined",
    "iterative_stream": "IterativeStream",
    "joined_streams": "CoGroupedStreams JoinedStreams",
    "keyed_stream": "KeyedStream",
    "operators.accumulators": (
        "Accumulator AverageAccumulator DoubleCounter DoubleMaximum DoubleMinimum Histogram IntCounter "
        "IntMaximum IntMinimum ListAccumulator LongCounter LongMaximum LongMinimum"
    ),
    "operators.all_window_functions": "AllWindowFunction ProcessAllWindowFunction",
    "operators.async_functions": "AsyncFunction ResultFuture",
    "operators.async_retry": (
        "AsyncRetryPredicate AsyncRetryPredicates AsyncRetryStrategies AsyncRetryStrategy"
    ),
    "operators.broadcast_functions": (
        "BaseBroadcastProcessFunction BroadcastProcessFunction KeyedBroadcastProcessFunction "
        "KeyedStateFunction"
    ),
    "operators.checkpointed": "CheckpointedFunction FunctionInitializationContext FunctionSnapshotContext",
    "operators.co_functions": "CoFlatMapFunction CoMapFunction CoProcessFunction KeyedCoProcessFunction",
    "operators.collector": "Collector",
    "operators.count_triggers": "CountTrigger DeltaTrigger NeverTrigger PurgingTrigger",
    "operators.count_windows": "CountSlidingWindowAssigner CountTumblingWindowAssigner GlobalWindows",
    "operators.evictors": "CountEvictor DeltaEvictor Evictor TimeEvictor TimestampedValue",
    "operators.functions": (
        "AggregateFunction FilterFunction FlatMapFunction Function KeySelector KeyedProcessFunction "
        "MapFunction MapPartitionFunction OutputTag Partitioner ProcessFunction ProcessWindowFunction "
        "ReduceFunction RichFunction RuntimeContext TimeDomain TimerService WindowFunction"
    ),
    "operators.join_functions": "CoGroupFunction FlatJoinFunction JoinFunction ProcessJoinFunction",
    "operators.metrics": "Counter DescriptiveStatisticsHistogram Distribution Meter MetricGroup",
    "operators.operator_state": "BroadcastState OperatorListState OperatorStateStore ReadOnlyBroadcastState",
    "operators.session_windows": (
        "DynamicEventTimeSessionWindows DynamicProcessingTimeSessionWindows EventTimeSessionWindows "
        "ProcessingTimeSessionWindows SessionWindowTimeGapExtractor"
    ),
    "operators.sink_functions": "SinkFunction TwoPhaseCommitSinkFunction",
    "operators.time_triggers": (
        "ContinuousEventTimeTrigger ContinuousProcessingTimeTrigger EventTimeTrigger ProcessingTimeTrigger "
        "ProcessingTimeoutTrigger"
    ),
    "operators.trigger": "Trigger TriggerResult",
    "operators.watermark_generator": "WatermarkGenerator WatermarkOutput",
    "operators.watermark_strategy": "TimestampAssigner WatermarkStrategy",
    "operators.window_types": (
        "CountWindow CountWindowSerializer GlobalWindow GlobalWindowSerializer TimeWindow "
        "TimeWindowSerializer TypeSerializer Window"
    ),
    "operators.windowing": (
        "MergingWindowAssigner SlidingEventTimeWindows SlidingProcessingTimeWindows "
        "TumblingEventTimeWindows TumblingProcessingTimeWindows WindowAssigner WindowStagger"
    ),
    "partition_window": "KeyedPartitionWindowedStream Order PartitionWindowedStream",
    "runtime.job_manager.client": "JobClient JobExecutionResult",
    "runtime.job_manager.scheduling": "JobStatus",
    "slot_sharing": "MemorySize SlotSharingGroup",
    "state.descriptors": (
        "AggregatingStateDescriptor ListStateDescriptor MapStateDescriptor ReducingStateDescriptor "
        "ValueStateDescriptor"
    ),
    "state.keyed": "AggregatingState KeyedStateStore ListState MapState ReducingState ValueState",
    "state.ttl_config": "StateTtlConfig",
    "state_backends": "EmbeddedRocksDBStateBackend HashMapStateBackend PostgreSQLStateBackend RedisStateBackend StateBackend",
    "windowed_stream": "WindowedStream",
}
_MODULE_OF: Final = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        message = f"module 'millstream' has no attribute '{name}'"
        raise AttributeError(message)
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
