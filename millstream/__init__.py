"""Stream processing in the manner of Apache Flink, in Python and without a JVM.

Everything a program needs is importable from here; connectors from `millstream.connectors.<system>`. Names are loaded when they
are first used: the layers below are packages of this one, and importing one of them must not load the whole API.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .cached_data_stream import CachedDataStream as CachedDataStream
    from .checkpoint_config import CheckpointConfig as CheckpointConfig
    from .checkpoint_config import CheckpointingMode as CheckpointingMode
    from .checkpoint_config import ExternalizedCheckpointRetention as ExternalizedCheckpointRetention
    from .collected import CollectedResults as CollectedResults
    from .core.configuration import ConfigOption as ConfigOption
    from .core.configuration import Configuration as Configuration
    from .core.errors import CheckpointError as CheckpointError
    from .core.errors import CheckpointFailureReason as CheckpointFailureReason
    from .core.errors import ConfigurationError as ConfigurationError
    from .core.errors import ConnectorError as ConnectorError
    from .core.errors import JobCancelledError as JobCancelledError
    from .core.errors import JobDefinitionError as JobDefinitionError
    from .core.errors import JobExecutionError as JobExecutionError
    from .core.errors import MillstreamError as MillstreamError
    from .core.errors import MissingDependencyError as MissingDependencyError
    from .core.errors import RecordSerializationError as RecordSerializationError
    from .core.errors import SerializationSetupError as SerializationSetupError
    from .core.errors import StateError as StateError
    from .core.errors import UserFunctionError as UserFunctionError
    from .core.errors import WorkerLostError as WorkerLostError
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
    from .keyed_stream import KeyedStream as KeyedStream
    from .operators.functions import AggregateFunction as AggregateFunction
    from .operators.functions import FilterFunction as FilterFunction
    from .operators.functions import FlatMapFunction as FlatMapFunction
    from .operators.functions import Function as Function
    from .operators.functions import KeyedProcessFunction as KeyedProcessFunction
    from .operators.functions import KeySelector as KeySelector
    from .operators.functions import MapFunction as MapFunction
    from .operators.functions import MapPartitionFunction as MapPartitionFunction
    from .operators.functions import OutputTag as OutputTag
    from .operators.functions import ProcessFunction as ProcessFunction
    from .operators.functions import ProcessWindowFunction as ProcessWindowFunction
    from .operators.functions import ReduceFunction as ReduceFunction
    from .operators.functions import RuntimeContext as RuntimeContext
    from .operators.functions import TimeDomain as TimeDomain
    from .operators.functions import TimerService as TimerService
    from .operators.functions import WindowFunction as WindowFunction
    from .operators.watermark_strategy import TimestampAssigner as TimestampAssigner
    from .operators.watermark_strategy import WatermarkStrategy as WatermarkStrategy
    from .operators.windowing import SlidingEventTimeWindows as SlidingEventTimeWindows
    from .operators.windowing import TimeWindow as TimeWindow
    from .operators.windowing import TumblingEventTimeWindows as TumblingEventTimeWindows
    from .operators.windowing import WindowAssigner as WindowAssigner
    from .partition_window import KeyedPartitionWindowedStream as KeyedPartitionWindowedStream
    from .partition_window import Order as Order
    from .partition_window import PartitionWindowedStream as PartitionWindowedStream
    from .runtime.job_manager.client import JobClient as JobClient
    from .runtime.job_manager.client import JobExecutionResult as JobExecutionResult
    from .runtime.job_manager.scheduling import JobStatus as JobStatus
    from .state.descriptors import AggregatingStateDescriptor as AggregatingStateDescriptor
    from .state.descriptors import ListStateDescriptor as ListStateDescriptor
    from .state.descriptors import MapStateDescriptor as MapStateDescriptor
    from .state.descriptors import ReducingStateDescriptor as ReducingStateDescriptor
    from .state.descriptors import ValueStateDescriptor as ValueStateDescriptor
    from .state.keyed import AggregatingState as AggregatingState
    from .state.keyed import ListState as ListState
    from .state.keyed import MapState as MapState
    from .state.keyed import ReducingState as ReducingState
    from .state.keyed import ValueState as ValueState
    from .state_backends import EmbeddedRocksDBStateBackend as EmbeddedRocksDBStateBackend
    from .state_backends import HashMapStateBackend as HashMapStateBackend
    from .state_backends import StateBackend as StateBackend
    from .windowed_stream import WindowedStream as WindowedStream

__version__ = "0.1.0"

__all__ = [
    "AggregateFunction",
    "AggregatingState",
    "AggregatingStateDescriptor",
    "CachedDataStream",
    "CheckpointConfig",
    "CheckpointError",
    "CheckpointFailureReason",
    "CheckpointingMode",
    "CollectedResults",
    "ConfigOption",
    "Configuration",
    "ConfigurationError",
    "ConnectorError",
    "DataStream",
    "DataStreamSink",
    "Duration",
    "EmbeddedRocksDBStateBackend",
    "ExternalizedCheckpointRetention",
    "FilterFunction",
    "FlatMapFunction",
    "Function",
    "HashMapStateBackend",
    "Instant",
    "InvalidKeyError",
    "JobCancelledError",
    "JobClient",
    "JobDefinitionError",
    "JobExecutionError",
    "JobExecutionResult",
    "JobStatus",
    "KeySelector",
    "KeyedPartitionWindowedStream",
    "KeyedProcessFunction",
    "KeyedStream",
    "ListState",
    "ListStateDescriptor",
    "MapFunction",
    "MapPartitionFunction",
    "MapState",
    "MapStateDescriptor",
    "MillstreamError",
    "MissingDependencyError",
    "Order",
    "OutputTag",
    "PartitionWindowedStream",
    "ProcessFunction",
    "ProcessWindowFunction",
    "RecordSerializationError",
    "ReduceFunction",
    "ReducingState",
    "ReducingStateDescriptor",
    "Row",
    "RowKind",
    "RuntimeContext",
    "RuntimeExecutionMode",
    "SerializationSetupError",
    "SlidingEventTimeWindows",
    "StateBackend",
    "StateError",
    "StreamExecutionEnvironment",
    "Time",
    "TimeDomain",
    "TimeWindow",
    "TimerService",
    "TimestampAssigner",
    "TumblingEventTimeWindows",
    "TypeInformation",
    "Types",
    "UserFunctionError",
    "ValueState",
    "ValueStateDescriptor",
    "WatermarkStrategy",
    "WindowAssigner",
    "WindowFunction",
    "WindowedStream",
    "WorkerLostError",
    "__version__",
]

_MODULES: Final = {
    "cached_data_stream": ("CachedDataStream",),
    "checkpoint_config": (
        "CheckpointConfig",
        "CheckpointingMode",
        "ExternalizedCheckpointRetention",
    ),
    "collected": ("CollectedResults",),
    "core.configuration": (
        "ConfigOption",
        "Configuration",
    ),
    "core.errors": (
        "CheckpointError",
        "CheckpointFailureReason",
        "ConfigurationError",
        "ConnectorError",
        "JobCancelledError",
        "JobDefinitionError",
        "JobExecutionError",
        "MillstreamError",
        "MissingDependencyError",
        "RecordSerializationError",
        "SerializationSetupError",
        "StateError",
        "UserFunctionError",
        "WorkerLostError",
    ),
    "core.time": (
        "Duration",
        "Instant",
        "Time",
    ),
    "core.types": (
        "InvalidKeyError",
        "Row",
        "RowKind",
        "TypeInformation",
        "Types",
    ),
    "data_stream": (
        "DataStream",
        "DataStreamSink",
    ),
    "environment": (
        "RuntimeExecutionMode",
        "StreamExecutionEnvironment",
    ),
    "keyed_stream": ("KeyedStream",),
    "operators.functions": (
        "AggregateFunction",
        "FilterFunction",
        "FlatMapFunction",
        "Function",
        "KeySelector",
        "KeyedProcessFunction",
        "MapFunction",
        "MapPartitionFunction",
        "OutputTag",
        "ProcessFunction",
        "ProcessWindowFunction",
        "ReduceFunction",
        "RuntimeContext",
        "TimeDomain",
        "TimerService",
        "WindowFunction",
    ),
    "operators.watermark_strategy": (
        "TimestampAssigner",
        "WatermarkStrategy",
    ),
    "operators.windowing": (
        "SlidingEventTimeWindows",
        "TimeWindow",
        "TumblingEventTimeWindows",
        "WindowAssigner",
    ),
    "partition_window": ("KeyedPartitionWindowedStream", "Order", "PartitionWindowedStream"),
    "runtime.job_manager.client": (
        "JobClient",
        "JobExecutionResult",
    ),
    "runtime.job_manager.scheduling": ("JobStatus",),
    "state.descriptors": (
        "AggregatingStateDescriptor",
        "ListStateDescriptor",
        "MapStateDescriptor",
        "ReducingStateDescriptor",
        "ValueStateDescriptor",
    ),
    "state.keyed": (
        "AggregatingState",
        "ListState",
        "MapState",
        "ReducingState",
        "ValueState",
    ),
    "state_backends": (
        "EmbeddedRocksDBStateBackend",
        "HashMapStateBackend",
        "StateBackend",
    ),
    "windowed_stream": ("WindowedStream",),
}
_MODULE_OF: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        message = f"module 'millstream' has no attribute '{name}'"
        raise AttributeError(message)
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
