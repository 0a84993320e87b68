"""Streams: what a program is written in. Calls build the graph; nothing runs before `execute`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from ._functions import check_function, definition_error, plain_selector, projection, result_type
from .connectors.base import Sink
from .core.arguments import check_int, check_text
from .core.call_site import user_line
from .core.types import GENERIC, TypeInformation
from .operators.collector import Collector, with_plain_results
from .operators.functions import (
    FilterFunction,
    FlatMapFunction,
    KeyedProcessFunction,
    KeySelector,
    MapFunction,
    OutputTag,
    Partitioner,
    ProcessFunction,
)
from .operators.watermark_strategy import WatermarkStrategy
from .runtime.graph.builder import StreamInput, new_node
from .runtime.graph.stream_graph import (
    Broadcast,
    Custom,
    Forward,
    Global,
    Rebalance,
    Rescale,
    Shuffle,
    StreamNode,
)
from .runtime.graph.stream_graph import Partitioner as Partitioning
from .stream_settings import OperatorSettings

if TYPE_CHECKING:
    from .all_windowed_stream import AllWindowedStream
    from .cached_data_stream import CachedDataStream
    from .collected import CollectedResults
    from .connected_streams import BroadcastConnectedStream, BroadcastStream, ConnectedStreams
    from .core.time import TimeLike
    from .environment import StreamExecutionEnvironment
    from .execution_config import ExecutionConfig
    from .iterative_stream import IterativeStream
    from .joined_streams import CoGroupedStreams, JoinedStreams
    from .keyed_stream import KeyedStream
    from .operators.base import OperatorSpec
    from .operators.sink_functions import SinkFunction, TwoPhaseCommitSinkFunction
    from .operators.window_types import GlobalWindow, W
    from .operators.windowing import WindowAssigner
    from .partition_window import PartitionWindowedStream
    from .state.descriptors import MapStateDescriptor

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K")


class DataStream(OperatorSettings, Generic[T]):
    """Records of type `T`, in parallel. Made by an environment's `from_` methods and by other streams; immutable but for the
    settings of the operator that makes it (`name`, `uid`, `set_parallelism`, ...), which return the same stream.

    >>> from millstream import StreamExecutionEnvironment
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> words = env.from_collection(["to be", "or not"]).flat_map(str.split)
    """

    def __init__(
        self,
        environment: StreamExecutionEnvironment,
        inputs: Sequence[StreamInput],
        type_info: TypeInformation[Any],
    ) -> None:
        super().__init__(environment)
        self._inputs = tuple(inputs)
        self._type = type_info

    # ---- what it is

    def get_type(self) -> TypeInformation[T]:
        """The type of its records; the generic one where nothing declared it."""
        return self._type

    def get_execution_environment(self) -> StreamExecutionEnvironment:
        """The environment it belongs to."""
        return self._environment

    # ---- one record at a time

    def map(
        self,
        func: Callable[[T], R] | MapFunction[T, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """One result per record.

        Args:
            func: a `MapFunction` object, or a callable.
            output_type: type of the results; inferred from the return hint if omitted, generic without one.

        Raises:
            JobDefinitionError: `func` cannot be called with one record.
        """
        from .operators.stateless import MapSpec

        check_function(func, "map", "map()", 1)
        return self._then("Map", MapSpec(func), result_type(func, "map", output_type))

    @overload
    def flat_map(
        self,
        func: Callable[[T], Iterable[R] | None] | FlatMapFunction[T, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]: ...
    @overload
    def flat_map(
        self,
        func: Callable[[T, Collector[R]], Iterable[R] | None],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]: ...
    def flat_map(
        self,
        func: Callable[..., Iterable[R] | None] | FlatMapFunction[T, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Any number of results per record: a list, a generator, None for nothing, or what it gives to a `Collector` (a
        second argument).

        Raises:
            JobDefinitionError: `func` cannot be called with one record.
        """
        from .operators.stateless import FlatMapSpec

        plain = with_plain_results(func, "flat_map", 1)
        check_function(plain, "flat_map", "flat_map()", 1)
        return self._then(
            "Flat Map", FlatMapSpec(plain), result_type(func, "flat_map", output_type, many=True)
        )

    def filter(self, func: Callable[[T], object] | FilterFunction[T]) -> DataStream[T]:
        """The records for which `func` is true.

        Raises:
            JobDefinitionError: `func` cannot be called with one record.
        """
        from .operators.stateless import FilterSpec

        check_function(func, "filter", "filter()", 1)
        return self._then("Filter", FilterSpec(func), self._type)

    def project(self, *field_indexes: int) -> DataStream[tuple[Any, ...]]:
        """Tuples of the fields at these positions, in this order. Records are tuples, lists or Rows.

        Raises:
            JobDefinitionError: no index is given, one is negative, or the records' type has no such field.

        >>> from millstream import StreamExecutionEnvironment
        >>> env = StreamExecutionEnvironment.get_execution_environment()
        >>> env.from_collection([("a", 1, True)]).project(2, 0).execute_and_collect(limit=1)
        [(True, 'a')]
        """
        from .operators.stateless import MapSpec

        function, type_info = projection(self._type, field_indexes)
        return self._then("Projection", MapSpec(function), type_info)

    def process(
        self,
        func: ProcessFunction[T, R]
        | Callable[[T, ProcessFunction.Context], Iterable[R | tuple[OutputTag[Any], Any]] | None],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Any number of results and side outputs per record (`yield tag, value`), or what it gives to a `Collector` (a
        third argument).

        Raises:
            JobDefinitionError: `func` cannot be called with a record and a context, or needs keys.
        """
        from .operators.process import ProcessSpec

        plain = with_plain_results(func, "process_element", 2)
        check_function(plain, "process_element", "process()", 2)
        if isinstance(func, KeyedProcessFunction):
            raise definition_error(
                "a KeyedProcessFunction was given to the process() of a stream that is not keyed",
                fix="call key_by(...) before process(...), or derive the function from ProcessFunction",
            )
        return self._then(
            "Process", ProcessSpec(plain), result_type(func, "process_element", output_type, many=True)
        )

    def assign_timestamps_and_watermarks(self, watermark_strategy: WatermarkStrategy[T]) -> DataStream[T]:
        """The same records with event times and watermarks of this strategy; earlier ones end here. Watermarks are no state: on
        replay they are derived again.

        Raises:
            JobDefinitionError: `watermark_strategy` is none.
        """
        from .operators.timestamps import TimestampsSpec

        if not isinstance(watermark_strategy, WatermarkStrategy):
            raise definition_error(
                f"{watermark_strategy!r} is not a WatermarkStrategy",
                fix="write for example WatermarkStrategy.for_monotonous_timestamps()",
            )
        return self._then("Timestamps/Watermarks", TimestampsSpec(watermark_strategy), self._type)

    # ---- windows over all records

    def window_all(self, window_assigner: WindowAssigner[T, W]) -> AllWindowedStream[T, W]:
        """All records grouped into windows, whatever their key: in one subtask, whatever the parallelism.

        Raises:
            JobDefinitionError: `window_assigner` is none.
        """
        from .all_windowed_stream import AllWindowedStream

        return AllWindowedStream(self, window_assigner)

    def count_window_all(self, size: int, slide: int | None = None) -> AllWindowedStream[T, GlobalWindow]:
        """All records in groups of `size`, as `KeyedStream.count_window`, in one subtask.

        Raises:
            JobDefinitionError: `size` or `slide` is no positive number.
        """
        from .all_windowed_stream import AllWindowedStream
        from .operators.count_windows import GlobalWindows, count_windows

        return count_windows(AllWindowedStream(self, GlobalWindows.create()), size, slide)

    # ---- loops

    def iterate(self, max_wait_time: TimeLike | None = None) -> IterativeStream[T]:
        """These records, and those that `close_with` on the result feeds back.

        `max_wait_time` has no influence: unlike Flink's, the loop of a bounded job ends when it is empty, and never before.

        Raises:
            JobDefinitionError: it is negative.
        """
        from .iterative_stream import iterate

        return iterate(self, max_wait_time)

    # ---- where records go

    def key_by(
        self,
        key_selector: Callable[[T], K] | KeySelector[T, K],
        key_type: TypeInformation[K] | type[K] | None = None,
    ) -> KeyedStream[K, T]:
        """The records partitioned by key: those of one key meet in one subtask, in their order, with their state.

        Keys are compared by value under `key_type`, which is inferred from the return hint if omitted. Without one, keys equal to
        Python are one key (`True`, `1.0` and 1), and functions are given the plainest of them after a restore (1).

        Raises:
            JobDefinitionError: `key_selector` cannot be called with one record.
        """
        from .keyed_stream import KeyedStream

        check_function(key_selector, "get_key", "key_by()", 1)
        selector = plain_selector(key_selector)
        return KeyedStream(self, selector, result_type(key_selector, "get_key", key_type))

    def union(self, *streams: DataStream[T]) -> DataStream[T]:
        """The records of all these streams, in no particular order; the watermark is the least of theirs.

        Raises:
            JobDefinitionError: one of them is no stream, or of another environment.
        """
        for stream in streams:
            if getattr(stream, "_environment", None) is not self._environment:
                raise definition_error(
                    f"union() was given {stream!r}, which is not a stream of the same environment",
                    fix="unite streams made by one StreamExecutionEnvironment",
                )
        inputs = [i for stream in (self, *streams) for i in stream._plain_inputs()]
        agreed = all(stream._type == self._type for stream in streams)
        return DataStream(self._environment, inputs, self._type if agreed else GENERIC)

    def rebalance(self) -> DataStream[T]:
        """The records spread evenly over the subtasks of the next operator."""
        return self._partitioned(Rebalance())

    def adaptive_rebalance(self) -> DataStream[T]:
        """As `rebalance`, but over those subtasks that have most room just now: slow ones get less.

        `taskmanager.network.adaptive-partitioner.enabled` does so for every `rebalance` and `rescale` of the job.
        """
        return self._partitioned(Rebalance(adaptive=True))

    def rescale(self) -> DataStream[T]:
        """As `rebalance`, but each subtask sends to its own share of the next operator's subtasks alone: at a parallelism of
        2 before 6 to three each, at 6 before 2 to one."""
        return self._partitioned(Rescale())

    def shuffle(self) -> DataStream[T]:
        """Each record to a subtask of the next operator that chance picks, evenly on average."""
        return self._partitioned(Shuffle())

    def global_(self) -> DataStream[T]:
        """Every record to the first subtask of the next operator; the others stay idle."""
        return self._partitioned(Global())

    def partition_custom(
        self,
        partitioner: Partitioner[K] | Callable[[K, int], int],
        key_selector: Callable[[T], K] | KeySelector[T, K],
    ) -> DataStream[T]:
        """Each record to the subtask of the next operator that `partitioner` names for its key. The stream is not keyed by it.

        Args:
            partitioner: given a key and the number of subtasks, returns an int from 0 to that number - 1; the job fails
                with the operator and the record where it does not.

        Raises:
            JobDefinitionError: `partitioner` cannot be called with two arguments, or `key_selector` with one.
        """
        check_function(partitioner, "partition", "partition_custom()", 2)
        check_function(key_selector, "get_key", "partition_custom()", 1)
        return self._partitioned(Custom(partitioner, plain_selector(key_selector)))

    def get_execution_config(self) -> ExecutionConfig:
        """The settings of execution of its environment."""
        return self._environment.get_config()

    def forward(self) -> DataStream[T]:
        """Records stay in their subtask; the next operator must have the same parallelism."""
        return self._partitioned(Forward())

    @overload
    def broadcast(self) -> DataStream[T]: ...
    @overload
    def broadcast(
        self,
        broadcast_state_descriptor: MapStateDescriptor[Any, Any],
        *other_broadcast_state_descriptors: MapStateDescriptor[Any, Any],
    ) -> BroadcastStream[T]: ...
    def broadcast(
        self,
        broadcast_state_descriptor: MapStateDescriptor[Any, Any] | None = None,
        *other_broadcast_state_descriptors: MapStateDescriptor[Any, Any],
    ) -> DataStream[T] | BroadcastStream[T]:
        """Every record to every subtask of the next operator; with state descriptors, a stream to be connected with another one,
        whose operator keeps these states.

        Raises:
            JobDefinitionError: something else than a MapStateDescriptor is given, or a name twice.
        """
        from .connected_streams import BroadcastStream

        partitioned = self._partitioned(Broadcast())
        if broadcast_state_descriptor is None and not other_broadcast_state_descriptors:
            return partitioned
        first: Any = broadcast_state_descriptor  # None before others is refused as no descriptor
        return BroadcastStream(partitioned, (first, *other_broadcast_state_descriptors))

    # ---- together with another stream

    @overload
    def connect(self, ds: BroadcastStream[R]) -> BroadcastConnectedStream[T, R]: ...
    @overload
    def connect(self, ds: DataStream[R]) -> ConnectedStreams[T, R]: ...
    def connect(
        self, ds: DataStream[R] | BroadcastStream[R]
    ) -> ConnectedStreams[T, R] | BroadcastConnectedStream[T, R]:
        """This stream and another one, read by one operator that knows which record is whose; a stream may be connected with
        itself.

        Raises:
            JobDefinitionError: it is no stream, or of another environment.
        """
        from .connected_streams import connect

        return connect(self, ds)  # type: ignore[no-any-return]  # as the overloads say

    def join(self, other_stream: DataStream[R]) -> JoinedStreams[T, R]:
        """Join records with equal keys in the same window: `a.join(b).where(...).equal_to(...).window(...).apply(...)`.

        Raises:
            JobDefinitionError: it is no stream, or of another environment.
        """
        from .joined_streams import JoinedStreams

        return JoinedStreams(self, other_stream)

    def co_group(self, other_stream: DataStream[R]) -> CoGroupedStreams[T, R]:
        """The same, with all records of a key and window at once, also where one stream has none. Raises as `join`."""
        from .joined_streams import CoGroupedStreams

        return CoGroupedStreams(self, other_stream)

    def get_side_output(self, output_tag: OutputTag[R]) -> DataStream[R]:
        """What the operator of this stream sends to the side output `output_tag`, of the tag's type. Several calls read the same.

        Raises:
            JobDefinitionError: it is no OutputTag, or the stream is not the direct result of an operator.
        """
        if not isinstance(output_tag, OutputTag):
            raise definition_error(f"{output_tag!r} is not an OutputTag", fix="pass OutputTag('late-data')")
        node = self._own_node("get_side_output")
        type_info = output_tag.type_info
        return DataStream(
            self._environment, [StreamInput(node.node_id, type_info, output_tag.tag_id)], type_info
        )

    def full_window_partition(self) -> PartitionWindowedStream[T]:
        """All records of each subtask as one window, which ends with the input."""
        from .partition_window import PartitionWindowedStream

        return PartitionWindowedStream(self)

    def cache(self) -> CachedDataStream[T]:
        """The same records, which the first job that needs them keeps in local files, for later jobs of this environment to read
        instead of computing them again. Jobs that use it have to run in BATCH mode.
        """
        return self._environment._caches.add(self)

    # ---- where they end

    def sink_to(self, sink: Sink[T]) -> DataStreamSink:
        """Write the records.

        Raises:
            JobDefinitionError: `sink` is not a sink.
        """
        from .operators.sink import SinkSpec

        if isinstance(sink, type) or not hasattr(sink, "create_writer"):
            raise definition_error(
                f"sink_to() was given {sink!r}, which is not a sink",
                fix="pass a sink object, e.g. the result of FileSink.for_row_format(...).build()",
            )
        return DataStreamSink(self._then(f"Sink: {type(sink).__name__}", SinkSpec(sink), GENERIC))

    def add_sink(
        self,
        sink_func: SinkFunction[T] | TwoPhaseCommitSinkFunction[T, Any] | Callable[[T], object],
    ) -> DataStreamSink:
        """Write the records with a function: a `SinkFunction` or a plain callable (at least once), or a
        `TwoPhaseCommitSinkFunction` (exactly once). `RMQSink`, which PyFlink passes here, is taken, too.

        Raises:
            JobDefinitionError: `sink_func` is none of these.
        """
        from ._sink_functions import function_sink, name_of
        from .connectors.base import TakenByAddSink

        given: Any = sink_func
        if isinstance(given, TakenByAddSink) and not isinstance(given, type):
            return self.sink_to(cast("Sink[T]", given))
        return DataStreamSink(self._then(f"Sink: {name_of(sink_func)}", function_sink(sink_func), GENERIC))

    def print(self, sink_identifier: str | None = None) -> DataStreamSink:
        """Write each record to standard output, after `sink_identifier` and, with several subtasks, the subtask's number."""
        from .connectors.print_sink import PrintSink

        check_text(
            "sink identifier of print()",
            sink_identifier or "",
            empty=True,
            fix="give a string, or leave it out",
        )
        return self.sink_to(PrintSink(sink_identifier or "")).name("Print to Std. Out")

    @overload
    def execute_and_collect(self, job_execution_name: str | None = None) -> CollectedResults[T]: ...
    @overload
    def execute_and_collect(self, job_execution_name: str | None, limit: int) -> list[T]: ...
    @overload
    def execute_and_collect(self, job_execution_name: str | None = None, *, limit: int) -> list[T]: ...
    def execute_and_collect(
        self, job_execution_name: str | None = None, limit: int | None = None
    ) -> CollectedResults[T] | list[T]:
        """Run the job and iterate over this stream's records here; with `limit`, a list of at most so many.

        The iterator is a context manager: leaving it early cancels the job. With checkpoints each record comes once, after
        the checkpoint that covers it; without them at least once.

        Raises:
            JobExecutionError: while iterating, when the job fails.
        """
        from .collected import collect

        if limit is not None:
            check_int("limit of execute_and_collect()", limit, least=0, fix="give for example limit=10")
        results = collect(self, job_execution_name)
        return results if limit is None else results.take(limit)

    # ---- for the other modules of the API

    def _then(self, name: str, operator: OperatorSpec, type_info: TypeInformation[Any]) -> DataStream[Any]:
        """The stream of what `operator` makes of this one's records."""
        node = new_node(name, operator, type_info, defined_at=user_line())
        node_id = self._environment._builder.add_operator(node, self._inputs)
        return DataStream(self._environment, [StreamInput(node_id, type_info)], type_info)

    def _plain_inputs(self) -> tuple[StreamInput, ...]:
        """As part of a union: a keyed stream comes without its keys."""
        return self._inputs

    def _partitioned(self, partitioner: Partitioning) -> DataStream[T]:
        inputs = [replace(i, partitioner=partitioner) for i in self._plain_inputs()]
        return DataStream(self._environment, inputs, self._type)

    def _own_node(self, method: str) -> StreamNode:
        only = self._inputs[0]
        if len(self._inputs) > 1 or only.partitioner is not None or only.side_output is not None:
            raise definition_error(
                f"{method}() is about an operator, but this stream only says where records go next",
                fix=f"call {method}() right behind the operator, before key_by, union, rebalance and the like",
            )
        return self._environment._builder.node(only.node_id)


class DataStreamSink(OperatorSettings):
    """The end of a stream; takes the settings of the sink operator."""

    def __init__(self, stream: DataStream[Any]) -> None:
        super().__init__(stream._environment)
        self._stream = stream

    def name(self, name: str) -> DataStreamSink:
        """Name of the sink, shown with `Sink: ` before it."""
        super().name(name)
        return self if name.startswith("Sink: ") else super().name(f"Sink: {name}")

    def _own_node(self, method: str) -> StreamNode:
        return self._stream._own_node(method)
