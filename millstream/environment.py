"""Where a program begins and where it is run."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from . import invocation
from ._functions import definition_error
from .checkpoint_config import CheckpointConfig, CheckpointingMode
from .connectors.base import Source
from .connectors.collection import CollectionSource
from .core.arguments import check_instance, check_text
from .core.call_site import user_line
from .core.configuration import ConfigOption, Configuration, load_configuration, options
from .core.time import TimeLike
from .core.types import TypeInformation, as_type
from .data_stream import DataStream
from .execution_config import ExecutionConfig
from .operators.source import SourceSpec
from .operators.watermark_strategy import WatermarkStrategy
from .pickle_warning import warn_of_pickle
from .runtime.graph.builder import StreamGraphBuilder, StreamInput, new_node
from .runtime.graph.compiler import compile_job, run_passes
from .runtime.graph.plan import stream_graph_json
from .runtime.graph.stream_graph import JobSettings, StreamGraph
from .runtime.job_manager.client import JobClient, JobExecutionResult, submit
from .slot_sharing import SlotSharingGroup
from .state_backends import StateBackend
from .stream_settings import check_buffer_timeout, check_parallelism

if TYPE_CHECKING:
    from .cached_data_stream import Caches
    from .runtime.graph.job_graph import JobGraph

T = TypeVar("T")


class RuntimeExecutionMode(enum.Enum):
    """Whether results come while the input goes on, or once it has ended."""

    STREAMING = "STREAMING"
    BATCH = "BATCH"
    AUTOMATIC = "AUTOMATIC"


class StreamExecutionEnvironment:
    """Makes the first streams of a program, holds its settings, and runs its jobs. Made by `get_execution_environment`.

    Settings are keys of the configuration: what the program sets comes before `-D key=value`, that before environment
    variables, and those before `millstream.yaml`.

    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> env.from_collection([1, 2, 3]).map(lambda number: number * 2).execute_and_collect(limit=2)
    [2, 4]
    """

    def __init__(self, configuration: Configuration | None = None) -> None:
        self._program_configuration = Configuration(configuration)
        self._loaded: tuple[dict[str, str], Configuration] | None = None
        self._builder = StreamGraphBuilder()
        self._slot_sharing_groups: dict[str, SlotSharingGroup] = {}
        self._caches_: Caches | None = None
        self._effective()

    @staticmethod
    def get_execution_environment(configuration: Configuration | None = None) -> StreamExecutionEnvironment:
        """A fresh environment.

        Raises:
            ConfigurationError: a key is unknown, or a value does not parse; says where it was set.
        """
        return StreamExecutionEnvironment(configuration)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files of cached streams. Jobs that run go on."""
        if self._caches_ is not None:
            self._caches_.close()

    # ---- settings

    def configure(self, configuration: Configuration | Mapping[str, str]) -> Self:
        """Add these settings to the program's.

        Raises:
            ConfigurationError: a key is unknown, or a value does not parse.
        """
        if isinstance(configuration, Configuration):
            self._program_configuration.add_all(configuration)
        else:
            fix = "give a Configuration or a dict of keys and values"
            check_instance("configuration", configuration, Mapping, fix=fix)
            for key, value in configuration.items():
                self._program_configuration._set(key, value, f"program, {user_line()}")
        self._effective()
        return self

    def get_configuration(self) -> Configuration:
        """A copy of all that is set: by the program, `-D`, environment variables and `millstream.yaml`."""
        return Configuration(self._effective())

    def set_parallelism(self, parallelism: int) -> Self:
        """Number of subtasks of each operator that does not set its own.

        Raises:
            JobDefinitionError: it is not an int from 1 to 32768.
        """
        check_parallelism(parallelism, "parallelism")
        return self._set(options.PARALLELISM_DEFAULT, parallelism)

    def get_parallelism(self) -> int:
        """Number of subtasks of each operator that does not set its own."""
        parallelism: int = self._effective().get(options.PARALLELISM_DEFAULT)
        return parallelism

    def set_max_parallelism(self, max_parallelism: int) -> Self:
        """Number of key groups: the bound of the parallelism for as long as the job's state lives.

        Raises:
            JobDefinitionError: it is not an int from 1 to 32768.
        """
        check_parallelism(max_parallelism, "maximum parallelism")
        return self._set(options.MAX_PARALLELISM, max_parallelism)

    def get_max_parallelism(self) -> int | None:
        """Number of key groups; None where it follows from the parallelism."""
        return self._effective().get(options.MAX_PARALLELISM)

    def enable_checkpointing(self, interval: TimeLike, mode: CheckpointingMode | None = None) -> Self:
        """Take a checkpoint every `interval` (an int is milliseconds).

        Raises:
            JobDefinitionError: the interval is not positive.
        """
        self.get_checkpoint_config().set_checkpoint_interval(interval)
        if mode is not None:
            self.get_checkpoint_config().set_checkpointing_consistency_mode(mode)
        return self

    def get_checkpoint_config(self) -> CheckpointConfig:
        """The settings of checkpoints, to read and to change."""
        return CheckpointConfig(self._set, self._effective)

    def get_config(self) -> ExecutionConfig:
        """The settings of execution, to read and to change."""
        return ExecutionConfig(self._set, self._effective)

    def register_slot_sharing_group(self, slot_sharing_group: SlotSharingGroup) -> Self:
        """Say what a slot of a group needs. `slot_sharing_group()` of an operator does so too.

        Raises:
            JobDefinitionError: a group of this name needs something else.
        """
        fix = "make one with SlotSharingGroup.builder('name')...build()"
        check_instance("slot sharing group", slot_sharing_group, SlotSharingGroup, fix=fix)
        known = self._slot_sharing_groups.setdefault(slot_sharing_group.get_name(), slot_sharing_group)
        if known != slot_sharing_group:
            raise definition_error(
                f"the slot sharing group '{known.get_name()}' is described in two ways",
                fix="describe it once and use that object, or only its name",
            )
        return self

    def set_runtime_mode(self, execution_mode: RuntimeExecutionMode) -> Self:
        """How jobs run: `BATCH` for bounded input, with keyed operators that get one key after the other and give final results
        alone; `AUTOMATIC` is BATCH if every source of the job is bounded.

        In BATCH there are no checkpoints: after a failure a job begins again, and sinks commit once, at the end.
        """
        fix = "give for example RuntimeExecutionMode.BATCH"
        check_instance("runtime mode", execution_mode, RuntimeExecutionMode, fix=fix)
        return self._set(options.RUNTIME_MODE, execution_mode.value)

    def set_state_backend(self, state_backend: StateBackend) -> Self:
        """Where keyed state lives: `HashMapStateBackend()`, `EmbeddedRocksDBStateBackend()` or a database."""
        fix = "give HashMapStateBackend() or EmbeddedRocksDBStateBackend()"
        check_instance("state backend", state_backend, StateBackend, fix=fix)
        for key, value in state_backend.configuration().items():
            self._set(options.OPTIONS[key], value)
        return self._set(options.STATE_BACKEND, state_backend.name)

    def set_buffer_timeout(self, timeout_millis: TimeLike) -> Self:
        """How long records may wait for their batch to fill before it is sent on; -1: until it is full, or their subtask
        has nothing else to do."""
        timeout_ms = check_buffer_timeout(timeout_millis)
        if (timeout_ms >= 0) != self._effective().get(options.BUFFER_TIMEOUT_ENABLED):
            self._set(options.BUFFER_TIMEOUT_ENABLED, timeout_ms >= 0)
        return self if timeout_ms < 0 else self._set(options.BUFFER_TIMEOUT, timeout_ms)

    def get_buffer_timeout(self) -> int:
        """Milliseconds; -1: none. See `set_buffer_timeout`."""
        configuration = self._effective()
        return (
            configuration.get(options.BUFFER_TIMEOUT)
            if configuration.get(options.BUFFER_TIMEOUT_ENABLED)
            else -1
        )

    def disable_operator_chaining(self) -> Self:
        """Make every operator a task of its own, for debugging."""
        return self._set(options.OPERATOR_CHAINING, value=False)

    def is_chaining_enabled(self) -> bool:
        """Whether neighbouring operators are fused."""
        return self._effective().get(options.OPERATOR_CHAINING)

    # ---- sources

    def from_collection(
        self, collection: Iterable[T], type_info: TypeInformation[T] | type[T] | None = None
    ) -> DataStream[T]:
        """The elements of `collection` in order, read by one subtask.

        They travel to the workers with the program; after a restart reading goes on where the checkpoint says.

        Args:
            type_info: type of the elements; generic if omitted. For a row type, tuples, lists and dicts of field values become
                rows, as in PyFlink.
        """
        check_instance(
            "collection", collection, Iterable, fix="give a list, or anything that can be iterated over once"
        )
        declared = as_type(type_info)
        elements = collection if declared.is_plain else map(declared.coerce, collection)
        return self._source(
            CollectionSource(elements),
            WatermarkStrategy.no_watermarks(),
            "Collection Source",
            declared,
            parallel=False,
        )

    def from_sequence(self, start: int, end: int) -> DataStream[int]:
        """The numbers from `start` to `end`, both included, in as many ranges as there are subtasks."""
        from .connectors.datagen import NumberSequenceSource

        return self._source(
            NumberSequenceSource(start, end), WatermarkStrategy.no_watermarks(), "Sequence Source", int
        )

    def read_text_file(self, file_path: str, charset_name: str = "UTF-8") -> DataStream[str]:
        """The lines of a file, or of all files in a folder, read in parallel; see `FileSource`.

        Raises:
            JobDefinitionError: the path is not local, or there is no such charset.
        """
        from .connectors.files import FileSource, StreamFormat

        text = StreamFormat.text_line_format(charset_name)
        source = FileSource.for_record_stream_format(text, file_path).build()
        return self._source(source, WatermarkStrategy.no_watermarks(), "Text File Source", str)

    def socket_text_stream(
        self, hostname: str, port: int, delimiter: str = "\n", max_retry: int = 0
    ) -> DataStream[str]:
        """Text from a TCP server, cut at `delimiter`, read by one subtask; for trying things out: a socket cannot be read
        again, so records that were under way in a failure are lost (at most once).

        Args:
            max_retry: how often to connect again when the server ends the connection; 0: the stream ends with it; -1: for ever.

        Raises:
            JobDefinitionError: the port or the delimiter is impossible.
        """
        from .connectors.socket_text import SocketTextSource

        return self._source(
            SocketTextSource(hostname, port, delimiter, max_retry),
            WatermarkStrategy.no_watermarks(),
            "Socket Stream",
            str,
            parallel=False,
        )

    def from_source(
        self,
        source: Source[T, Any],
        watermark_strategy: WatermarkStrategy[
            Any
        ],  # mostly of any type, which must not become that of the records
        source_name: str,
        type_info: TypeInformation[T] | type[T] | None = None,
    ) -> DataStream[T]:
        """The records of `source`, with event times and watermarks of the strategy, for each of its splits.

        Raises:
            JobDefinitionError: `source` is not a source.
        """
        if isinstance(source, type) or not hasattr(source, "create_reader"):
            raise definition_error(
                f"from_source() was given {source!r}, which is not a source",
                fix="pass a source object, e.g. the result of KafkaSource.builder()...build()",
            )
        if not isinstance(watermark_strategy, WatermarkStrategy):
            raise definition_error(
                f"from_source() was given {watermark_strategy!r} as watermark strategy",
                fix="pass WatermarkStrategy.no_watermarks() if the program does not use event time",
            )
        check_text("name of a source", source_name, fix="give a name for plans, logs and metrics")
        declared = type_info if type_info is not None else getattr(source, "type_info", None)
        return self._source(source, watermark_strategy, source_name, declared)

    def _source(
        self,
        source: Any,
        strategy: WatermarkStrategy[Any],
        name: str,
        type_info: Any,
        *,
        parallel: bool = True,
    ) -> DataStream[Any]:
        output_type = as_type(type_info)
        node = new_node(
            f"Source: {name}",
            SourceSpec(strategy),
            output_type,
            defined_at=user_line(),
            source=source,
            parallelism=None if parallel else 1,
        )
        node_id = self._builder.add_source(node)
        return DataStream(self, [StreamInput(node_id, output_type)], output_type)

    # ---- running

    def get_stream_graph(self, job_name: str | None = None) -> StreamGraph:
        """The graph of the operators declared since the last job, and of all that is upstream of them."""
        if job_name is not None:
            check_text("name of a job", job_name, empty=True, fix="give a string, or leave it out")
        if self._caches_ is not None:
            self._caches_.refresh()
        configuration = self._effective()
        settings = JobSettings(
            name=job_name or configuration.get(options.PIPELINE_NAME) or invocation.default_job_name(),
            parallelism=configuration.get(options.PARALLELISM_DEFAULT),
            max_parallelism=configuration.get(options.MAX_PARALLELISM),
            chaining_enabled=configuration.get(options.OPERATOR_CHAINING),
            local_aggregation=configuration.get(options.LOCAL_AGGREGATION),
            adaptive_partitioner=configuration.get(options.ADAPTIVE_PARTITIONER),
            runtime_mode=configuration.get(options.RUNTIME_MODE),
            auto_generate_uids=configuration.get(options.AUTO_GENERATE_UIDS),
        )
        return self._builder.build(settings)

    def get_execution_plan(self) -> str:
        """The StreamGraph as JSON, as Flink gives it. `millstream plan` shows all graphs of a program.

        Raises:
            JobDefinitionError: the program cannot run.
        """
        return stream_graph_json(run_passes(self.get_stream_graph()))

    def execute(self, job_name: str | None = None) -> JobExecutionResult:
        """Run the job and wait for its end. The first Ctrl-C cancels it cleanly, a second one at once.

        Raises:
            JobDefinitionError: the program cannot run.
            JobExecutionError: the job failed; a user's own exception is its cause, with the operator and the record.
            JobCancelledError: it was cancelled.
        """
        show_plan = invocation.current().show_plan
        if show_plan is not None:
            graph = self.get_stream_graph(job_name)
            show_plan(graph)
            self._builder.start_next_job()
            from .planned import planned_result

            return planned_result(graph.settings.name)
        _, client = self._submit(job_name)
        return client.run_in_this_thread()

    def execute_async(self, job_name: str | None = None) -> JobClient:
        """Start the job; the client tells how it goes, cancels it, and waits for it.

        Raises:
            JobDefinitionError: the program cannot run.
        """
        _, client = self._submit(job_name)
        client.run_in_background()
        return client

    def _submit(self, job_name: str | None) -> tuple[JobGraph, JobClient]:
        graph = self.get_stream_graph(job_name)
        invoked = invocation.current()
        if invoked.show_plan is not None:
            invoked.show_plan(graph)
            raise invocation.PlanShown
        job = compile_job(graph)
        warn_of_pickle(graph)
        self._builder.start_next_job()
        client = submit(job, self._effective(), resume=invoked.resume, savepoint_path=invoked.savepoint_path)
        return job, client

    @property
    def _caches(self) -> Caches:
        if self._caches_ is None:
            from .cached_data_stream import Caches

            self._caches_ = Caches(self, self._builder)
        return self._caches_

    # ---- configuration

    def _set(self, option: ConfigOption[Any], value: Any) -> Self:  # any value that the option's form takes
        # Not by `set`, which would name this line as the source.
        self._program_configuration._set(option.key, value, f"program, {user_line()}")
        self._effective()
        return self

    def _effective(self) -> Configuration:
        wanted = self._program_configuration.to_dict()
        if self._loaded is None or self._loaded[0] != wanted:
            loaded = load_configuration(self._program_configuration, invocation.current().overrides)
            self._loaded = (wanted, loaded)
        return self._loaded[1]
