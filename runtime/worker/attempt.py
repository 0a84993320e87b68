"""The tasks of one attempt on one worker: built from the JobGraph and the restored state, run in turn, torn down together."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checkpoint.storage import CheckpointStorage
from ...connectors.base import SourceReaderContext
from ...core.clock import Clock
from ...core.ids import SubtaskId, WorkerId
from ...core.types import GENERIC, TypeInformation, copy_value
from ...core.workdir import remove_tree
from ...operators.accumulator_registry import AccumulatorRegistry
from ...operators.base import (
    KeyedSpec,
    Operator,
    OperatorContext,
    ProcessingTime,
    RuntimeInfo,
    keeps_records,
)
from ...operators.checkpointed import CheckpointedFunctions
from ...operators.function_services import FunctionServices
from ...operators.iteration import FeedbackQueue
from ...operators.metrics import MetricGroup
from ...operators.operator_state import OperatorStateStore
from ...operators.shared_functions import SharedFunctions, shared_functions
from ...state.backend import (
    BackendContext,
    CheckpointReader,
    CheckpointStreams,
    KeyedStateBackend,
    StateOwner,
)
from ...state.backends import create_backend
from ...state.handles import ACCUMULATORS_STATE, ChannelStateHandle, FileRef, OperatorSnapshot
from ...state.key_groups import key_group_range
from ...state.memory import worker_memory
from ..exchange.in_flight import InFlightRecords
from ..exchange.peers import Peers
from ..exchange.record_writer import RecordWriter
from ..graph.artifact import decode_job
from ..graph.channel_state import edge_name
from ..graph.execution_graph import ExecutionGraph, Subtask, build_execution_graph
from ..graph.job_graph import ChainedOperator
from ..messages import (
    ClientData,
    DeployTasks,
    EventToEnumerator,
    OperatorRestore,
    SplitRequested,
    WatermarkReported,
)
from .background import Background, HandOver
from .blocking_task import BlockingTask
from .chain import Chain, build_chain
from .channel_state import RestoredExchange, write_channel_state
from .collected_input import CollectedInput, collect_input
from .exchanges import Exchanges
from .input_task import InputTask
from .iteration_tasks import IterationHeadTask, IterationTailTask, task_type
from .local_recovery import LOCAL_STATE_FOLDER, LocalRecovery
from .pacing import Pace
from .processing_time import ProcessingTimeService, StandingTime
from .settings import WorkerSettings
from .source_task import SourceTask
from .suspension import SuspendableTime
from .task import Task, TaskEvents

_NOTHING_RESTORED = OperatorRestore(snapshot=OperatorSnapshot())


@dataclass(frozen=True, slots=True)
class AttemptServices:
    """What the tasks of an attempt use of their worker."""

    worker: WorkerId
    local_dir: Path
    clock: Clock
    time: ProcessingTimeService
    peers: Peers
    commits: Background
    handed_over: HandOver
    events: TaskEvents
    send: Callable[[Any], None]


class Attempt:
    """The subtasks placed on this worker, in topological order.

    Raises (from `build` and `open`): whatever restoring state, connecting and user code raise.
    """

    def __init__(self, deploy: DeployTasks, services: AttemptServices) -> None:
        self.number = deploy.attempt
        self.current: Subtask | None = None  # being built or opened
        self.graph: ExecutionGraph  # from `build` on: reading the job runs user code, which may raise
        self.settings = WorkerSettings.of(deploy.configuration)
        self.counters: dict[SubtaskId, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.storage = (
            CheckpointStorage(deploy.checkpoint_base, deploy.job_id) if deploy.checkpoint_base else None
        )
        self.tasks: list[Task] = []
        self._deploy = deploy
        self._services = services
        self._exchanges: Exchanges  # from `build` on, too
        self._shared = SharedFunctions()
        self._feedback: dict[tuple[str, int], FeedbackQueue] = defaultdict(deque)
        self._local_dir = services.local_dir / f"attempt-{deploy.attempt}"
        # Beside the folders of workers: a worker that was killed leaves it to the next one.
        self.local_recovery = LocalRecovery(
            self.settings.local_recovery, services.local_dir.parent / LOCAL_STATE_FOLDER
        )

    def build(self) -> None:
        """Make channels, connections, chains and tasks; nothing is open yet."""
        self.graph = build_execution_graph(decode_job(self._deploy.job))
        self._make_exchanges()
        for subtask in self.graph.on_worker(self._services.worker):
            if not self._in_region(subtask.vertex.index):
                continue
            self.current = subtask
            task = self._make_task(subtask)
            task.paces = self._exchanges.paces_of(subtask)
            self.tasks.append(task)

    def open(self) -> None:
        """Open all operators (last ones first, so that whoever emits finds its target open), then start the readers."""
        for task in reversed(self.tasks):
            self.current = task.subtask
            restores = self._deploy.restores.get(task.subtask.subtask_id, {})
            for description, operator in reversed(
                list(zip(task.chain.descriptions, task.chain.operators, strict=True))
            ):
                restore = restores.get(description.operator_id, _NOTHING_RESTORED)
                context = self._context(task, description, operator, restore)
                functions = CheckpointedFunctions(
                    description.operator.user_functions(),
                    context.operator_state,
                    self._deploy.restored_checkpoint_id,
                    description.name,
                )
                task.chain.operator_state[description.operator_id] = functions
                functions.initialize()
                self._open_shared_functions(task.subtask, description, context.info)
                operator.open(context)
                if restore.snapshot.channels and isinstance(task, InputTask):
                    self._restore_channels(task, restore.snapshot.channels, context.info)
        for task in self.tasks:
            if isinstance(task, SourceTask):
                self.current = task.subtask
                task.start_reader()

    def _open_shared_functions(
        self, subtask: Subtask, description: ChainedOperator, info: RuntimeInfo
    ) -> None:
        self._shared.open(shared_functions(description.operator), info)
        position = subtask.vertex.operators.index(description)
        for edge in self.graph.job.outputs_of(subtask.vertex.index):
            if edge.source_operator == position:
                self._shared.open(shared_functions(edge.partitioner), info)

    def _restore_channels(
        self, task: InputTask, handles: Sequence[ChannelStateHandle], info: RuntimeInfo
    ) -> None:
        """What was under way to the subtask, to be processed first."""
        assert self.storage is not None, "something is restored"
        subtask, job = task.subtask, self.graph.job
        reader = self._reader(subtask.subtask_id)
        ids = [given.channel.channel_id for given in self._exchanges.inputs_of(subtask)]
        for edge in job.inputs_of(subtask.vertex.index):
            of_edge = [handle for handle in handles if handle.edge == edge_name(job, edge)]
            if not of_edge:
                continue
            handles = [
                handle for handle in handles if handle not in of_edge
            ]  # two exchanges may have one name
            self._shared.open(shared_functions(edge.partitioner), info)
            channels = [n for n, id_ in enumerate(ids) if self.graph.channels[id_].edge is edge]
            exchange = RestoredExchange(edge, subtask, self._exchanges.codecs[edge.index], of_edge, channels)
            task.restore_channels(exchange.read(reader))

    def streams(self, subtask: SubtaskId, checkpoint_id: int) -> CheckpointStreams:
        """Where the subtask writes its files of a checkpoint."""
        assert self.storage is not None, "checkpoints are on"
        streams = self.storage.streams(checkpoint_id, self.number)
        return self.local_recovery.streams(subtask, streams, checkpoint_id)

    def _reader(self, subtask: SubtaskId) -> CheckpointReader:
        if self.storage is None:
            return _NoReader()
        return self.local_recovery.reader(subtask, self.storage.reader())

    def write_channel_state(
        self, task: Task, in_flight: InFlightRecords, streams: CheckpointStreams
    ) -> dict[str, tuple[ChannelStateHandle, ...]]:
        """Write what barriers overtook at the task; by operator id. Raises CheckpointError STORAGE. From any thread."""
        return write_channel_state(
            in_flight, task.subtask, self.graph, self._exchanges.codecs, streams, self.settings.inline_bytes
        )

    def commit_now(self) -> None:
        """The job takes no checkpoints and has ended: two-phase-commit sinks make their output visible."""
        for task in self.tasks:
            for operator in task.chain.operators:
                operator.commit_without_checkpoint()

    def by_id(self) -> Mapping[SubtaskId, Task]:
        """The tasks by subtask id."""
        return {task.subtask.subtask_id: task for task in self.tasks}

    def close(self) -> list[Exception]:
        """Close all tasks and remove their local files; the errors of those that failed to."""
        errors = []
        for task in self.tasks:
            try:
                task.close()
            except Exception as error:
                errors.append(error)
        errors += self._shared.close()
        remove_tree(self._local_dir)  # a worker outlives many attempts
        return errors

    # ---- building

    def _in_region(self, vertex: int) -> bool:
        return not self._deploy.vertices or vertex in self._deploy.vertices

    def _make_exchanges(self) -> None:
        services, settings = self._services, self.settings
        self._exchanges = Exchanges(
            self.graph,
            services.worker,
            services.peers,
            settings,
            lambda: Pace(services.clock, settings.batch_size, settings.credits_per_channel),
        )
        others = self._exchanges.make([c for c in self.graph.channels if self._in_region(c.edge.source)])
        services.peers.begin(self.number, self._deploy.addresses, others)

    def _make_task(self, subtask: Subtask) -> Task:
        writers = self._exchanges.writers_of(subtask)
        chain = build_chain(subtask.vertex.operators, writers)
        all_writers = [writer for edge_writers in writers.values() for writer in edge_writers]
        if subtask.vertex.operators[0].source is not None:
            return self._source_task(subtask, chain, all_writers)
        collected = self._collected_input(subtask)
        if collected is not None:
            return self._blocking_task(subtask, chain, all_writers, collected)
        task = task_type(subtask.vertex.operators[0].operator)(
            subtask,
            chain,
            all_writers,
            self._services.events,
            self._services.clock,
            self.settings.batch_size,
            self._exchanges.inputs_of(subtask),
            exactly_once=self.settings.exactly_once,
        )
        if isinstance(task, IterationHeadTask | IterationTailTask):
            task.connect(self._feedback[task.head_id, subtask.index])
        return task

    def _source_task(self, subtask: Subtask, chain: Chain, writers: Sequence[RecordWriter]) -> SourceTask:
        source, services = subtask.vertex.operators[0].source, self._services
        assert source is not None, "its vertex begins with a source"
        context = SourceReaderContext(
            subtask.index,
            subtask.vertex.parallelism,
            self.graph.job.settings.name,
            services.clock,
            self.settings.checkpointing,
            lambda event: services.send(EventToEnumerator(self.number, subtask.subtask_id, event)),
        )
        return SourceTask(
            subtask,
            chain,
            writers,
            services.events,
            services.clock,
            self.settings.batch_size,
            source,
            context,
            services.time,
            lambda: services.send(SplitRequested(self.number, subtask.subtask_id)),
            lambda timestamp: services.send(WatermarkReported(self.number, subtask.subtask_id, timestamp)),
            self.settings.overtake_after_ms,
        )

    def _blocking_task(
        self, subtask: Subtask, chain: Chain, writers: Sequence[RecordWriter], collected: CollectedInput
    ) -> BlockingTask:
        services = self._services
        return BlockingTask(
            subtask,
            chain,
            writers,
            services.events,
            services.clock,
            self.settings.batch_size,
            self._exchanges.inputs_of(subtask),
            collected,
            self._counter(subtask),
        )

    def _collected_input(self, subtask: Subtask) -> CollectedInput | None:
        """Where the task collects its whole input before it begins; None: it begins at once."""
        settings, vertex = self.settings, subtask.vertex
        if not settings.batch_mode:
            return None
        record_types: dict[int, TypeInformation[Any]] = {}
        for edge in self.graph.job.inputs_of(vertex.index):
            known = record_types.setdefault(edge.input_id, edge.record_type)
            record_types[edge.input_id] = known if known == edge.record_type else GENERIC
        return collect_input(
            vertex.operators[0].operator,
            record_types,
            blocking=settings.blocking_exchanges,
            memory_bytes=settings.collecting_bytes,
            folder=self._local_dir / f"input-{vertex.index}-{subtask.index}",
        )

    def _counter(self, subtask: Subtask) -> Callable[[str, int], None]:
        counters = self.counters[subtask.subtask_id]

        def count(name: str, n: int) -> None:
            counters[name] += n

        return count

    # ---- opening

    def _context(
        self, task: Task, description: ChainedOperator, operator: Operator, restore: OperatorRestore
    ) -> OperatorContext:
        services, deploy, subtask = self._services, self._deploy, task.subtask
        copies = (
            copy_value if keeps_records(description.operator) and not self.settings.object_reuse else None
        )

        def send_to_client(checkpoint_id: int | None, origin: str, data: bytes) -> None:
            services.send(ClientData(self.number, description.operator_id, origin, checkpoint_id, data))

        return OperatorContext(
            info=RuntimeInfo(
                job_id=deploy.job_id,
                job_name=self.graph.job.settings.name,
                task_name=subtask.vertex.name,
                operator_name=description.name,
                operator_id=description.operator_id,
                subtask=subtask.index,
                parallelism=subtask.vertex.parallelism,
                max_parallelism=subtask.vertex.max_parallelism,
                attempt=deploy.attempt,
                oldest_attempt=deploy.oldest_attempt or deploy.attempt,
                restored_checkpoint_id=deploy.restored_checkpoint_id,
                auto_watermark_interval_ms=self.settings.auto_watermark_interval_ms,
                checkpointing=self.settings.checkpointing,
                services=self._function_services(description, restore),
            ),
            output=task.chain.outputs[task.chain.operators.index(operator)],
            processing_time=self._processing_time(task, description),
            clock=services.clock,
            restored_lists=restore.snapshot.lists,
            open_backend=lambda: self._open_backend(subtask, description, restore),
            count=self._counter(subtask),
            run_in_background=lambda work, handler: services.commits.run(
                work, lambda done: handler(done.result())
            ),
            call_soon=lambda action: services.handed_over.put(subtask, lambda: task.suspension.run(action)),
            send_to_client=send_to_client,
            records_under_way=bool(restore.snapshot.channels),
            restored_committables=restore.committables,
            all_committables=restore.all_committables,
            operator_state=OperatorStateStore(restore.snapshot.lists),
            local_dir=self._local_dir / f"{description.operator_id}-{subtask.index}-files",
            collecting_bytes=self.settings.collecting_bytes,
            copy_result=None if description.output_type.immutable else copies,
            copy_side_result=copies,
        )

    def _function_services(self, description: ChainedOperator, restore: OperatorRestore) -> FunctionServices:
        added_up = restore.snapshot.lists.get(ACCUMULATORS_STATE, ())
        is_restored = self._deploy.restored_checkpoint_id is not None
        return FunctionServices(
            AccumulatorRegistry(description.name, added_up, is_restored=is_restored),
            MetricGroup(self._services.clock),
            self.settings.job_parameters,
        )

    def _processing_time(self, task: Task, description: ChainedOperator) -> ProcessingTime:
        """In BATCH mode keyed operators fire their timers after each key, whatever the wall clock says."""
        keyed_batch = self.settings.batch_mode and isinstance(description.operator, KeyedSpec)
        if keyed_batch:
            return StandingTime(self._services.clock)
        return SuspendableTime(self._services.time, task.suspension)

    def _open_backend(
        self, subtask: Subtask, description: ChainedOperator, restore: OperatorRestore
    ) -> KeyedStateBackend:
        vertex = subtask.vertex
        folder = self._local_dir / f"{description.operator_id}-{subtask.index}"
        folder.mkdir(parents=True)
        context = BackendContext(
            operator=description.name,
            max_parallelism=vertex.max_parallelism,
            key_groups=key_group_range(subtask.index, vertex.max_parallelism, vertex.parallelism),
            local_dir=folder,
            restored=restore.snapshot.keyed,
            reader=self._reader(subtask.subtask_id),
            cache_entries=self.settings.cache_entries,
            clock=self._services.clock,
            owner=StateOwner(self._deploy.job_id, description.operator_id, self._deploy.attempt),
            store=self.settings.store,
            memory=worker_memory(*self.settings.rocksdb_memory),
        )
        return create_backend(self.settings.backend, context)


class _NoReader:
    """Stands where nothing can have been restored because checkpoints are off."""

    def read(self, ref: FileRef) -> bytes:
        raise AssertionError(ref)

    def download(self, ref: FileRef, local: Path) -> None:
        raise AssertionError(ref, local)
