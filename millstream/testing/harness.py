"""Runs one operator in isolation: records and watermarks in, results and watermarks out, snapshots in between.

h = OperatorHarness(spec)
h.element(("a", 1), ts=3)
h = h.restored(parallelism=2)
h.watermark(10)
assert h.output == [("a", 1), W(10)]
"""

from __future__ import annotations

import copy
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self, TypeAlias

from ..checkpoint.assignment import assign_state
from ..checkpoint.compatibility import check_max_parallelism, holds_state
from ..checkpoint.storage import CheckpointStorage
from ..checkpoint.two_phase_commit import COMMITTABLES_STATE
from ..core.batch import MAX_TIMESTAMP, CheckpointBarrier, RecordBatch, Watermark, WatermarkStatus
from ..core.clock import ManualClock
from ..core.configuration import Configuration, options
from ..core.errors import JobDefinitionError
from ..core.ids import new_job_id
from ..core.types import KeyEncoder, TypeInformation, copy_value
from ..operators.accumulator_registry import AccumulatorRegistry, accumulator_results
from ..operators.base import (
    FusibleOperator,
    KeyedSpec,
    Operator,
    OperatorContext,
    OperatorSpec,
    RuntimeInfo,
    keeps_records,
    snapshot_of,
    take_snapshot,
)
from ..operators.checkpointed import CheckpointedFunctions
from ..operators.function_services import FunctionServices
from ..operators.metrics import MetricGroup, MetricValue
from ..operators.operator_state import OperatorStateStore
from ..operators.shared_functions import SharedFunctions, shared_functions
from ..runtime.graph.fusion import FusedOperators
from ..runtime.worker.processing_time import ProcessingTimeService
from ..state.backend import BackendContext, KeyedStateBackend, StateOwner, StateTable, TableDescriptor
from ..state.backends import BackendType, create_backend
from ..state.handles import ACCUMULATORS_STATE, OperatorSnapshot
from ..state.key_groups import key_group_of, key_group_range, subtask_of_key_group
from ..state.stores import store_of

W: TypeAlias = Watermark
"""A watermark in `OperatorHarness.output`: `W(10)`."""

_EVENT_TIMERS = frozenset({"event-timers", "window-event-timers", "left-cleanup", "right-cleanup"})
_PROCESSING_TIMERS = frozenset({"processing-timers", "window-processing-timers"})


class _Collector:
    """The output of all subtasks, in the order of emission."""

    def __init__(self) -> None:
        self.output: list[Any] = []
        self.timestamps: list[int | None] = []
        self.side: dict[str, list[Any]] = {}

    def emit(self, batch: RecordBatch) -> None:
        self.output += batch.values
        self.timestamps += [None] * len(batch) if batch.timestamps is None else batch.timestamps

    def emit_side(self, tag: str, batch: RecordBatch) -> None:
        self.side.setdefault(tag, []).extend(batch.values)

    def emit_watermark(self, timestamp: int) -> None:
        self.output.append(Watermark(timestamp))
        self.timestamps.append(None)

    def emit_status(self, idle: bool) -> None:
        self.output.append(WatermarkStatus(idle))
        self.timestamps.append(None)


class _Folder:
    """Where backends and checkpoints are: a temporary folder goes with the last harness that uses it."""

    def __init__(self, given: Path | None) -> None:
        self.path = given or Path(tempfile.mkdtemp(prefix="millstream-harness-"))
        if given is None:
            weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class OperatorHarness:
    """All subtasks of one operator, fed by hand.

    Args:
        spec: the operator. As in a job, each subtask and attempt gets a copy of the user's objects in it.
        backend: `hashmap`, `rocksdb`, `postgresql` or `redis`.
        parallelism: number of subtasks; records of a keyed operator go to the one that owns their key group.
        max_parallelism: number of key groups.
        cache_entries: bound of the write-back cache of backends that have one.
        directory: an empty folder to work in; a temporary one by default.
        checkpointing: whether the job takes checkpoints.
        job_parameters: the job's global parameters.
        collecting_bytes: memory for records that the operator collects.
        configuration: keys of the backend, such as `state.backend.postgresql.url`.

    Raises:
        JobDefinitionError: the parallelism is not between 1 and the maximum.

    Attributes:
        counters: by name, as the operator counted.
        sent: what was sent to the job's client: checkpoint id (None: without one), origin, bytes.
        operators: the running operators, by subtask.
        clock: processing time; move it with `set_processing_time`.
        checkpoint_id: of the last snapshot, 0 before the first.
    """

    def __init__(
        self,
        spec: OperatorSpec,
        *,
        backend: BackendType = "hashmap",
        parallelism: int = 1,
        max_parallelism: int = 128,
        cache_entries: int = 100_000,
        directory: Path | None = None,
        checkpointing: bool = True,
        job_parameters: Mapping[str, str] | None = None,
        collecting_bytes: int = 128 << 20,
        configuration: Mapping[str, str] | None = None,
        _restored: Sequence[OperatorSnapshot] = (),
        _before: OperatorHarness | None = None,
    ) -> None:
        self.spec = spec
        self.clock: ManualClock = ManualClock(now_ms=0) if _before is None else _before.clock
        self.counters: dict[str, int] = {} if _before is None else _before.counters
        self.sent: list[tuple[int | None, str, bytes]] = [] if _before is None else _before.sent
        self.checkpoint_id: int = 0 if _before is None else _before.checkpoint_id
        self.operators: list[Operator] = []
        self._backend: BackendType = backend
        self._parallelism = parallelism
        self._max_parallelism = max_parallelism
        _check_parallelism(parallelism, max_parallelism)
        self._cache_entries = cache_entries
        self._checkpointing = checkpointing
        self._job_parameters = dict(job_parameters or {})
        self._collecting_bytes = collecting_bytes
        self._configuration = dict(configuration or {})
        self._job_id: str = new_job_id() if _before is None else _before._job_id
        self._restored_id = None if _before is None else self.checkpoint_id
        self._folder: _Folder = _Folder(directory) if _before is None else _before._folder
        self._attempt: int = 1 if _before is None else _before._attempt + 1
        self._collector: _Collector = _Collector() if _before is None else _before._collector
        self._time = ProcessingTimeService(self.clock)
        self._storage = CheckpointStorage(str(self._folder.path / "checkpoints"), "harness")
        self._jobs: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self._handed_over: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._tables: dict[tuple[int, str], StateTable] = {}
        self._backends: dict[int, KeyedStateBackend] = {}
        self._descriptors: dict[str, TableDescriptor] = {} if _before is None else _before._descriptors
        self._entries: list[Operator] = []
        self._functions: list[CheckpointedFunctions] = []
        self._shared = SharedFunctions()
        self._closed = False
        self._open(_restored)

    def _open(self, restored: Sequence[OperatorSnapshot]) -> None:
        shares = assign_state(restored, self._parallelism, self._max_parallelism) if restored else ()
        whole = _joined(restored)
        for subtask in range(self._parallelism):
            spec = copy.deepcopy(self.spec)
            operator = spec.create()
            operator.name = self.spec.kind
            self.operators.append(operator)
            context = self._context(subtask, shares[subtask] if shares else OperatorSnapshot(), whole)
            functions = CheckpointedFunctions(
                spec.user_functions(), context.operator_state, self._restored_id, spec.kind
            )
            self._functions.append(functions)
            functions.initialize()
            self._shared.open(shared_functions(spec), context.info)
            operator.open(context)
            self._entries.append(
                FusedOperators([operator]) if isinstance(operator, FusibleOperator) else operator
            )

    @property
    def output(self) -> list[Any]:
        """Results, watermarks (`W`) and statuses in order, over all subtasks and also from before a restore; watermarks
        of parallel subtasks come once."""
        return self._collector.output

    @property
    def timestamps(self) -> list[int | None]:
        """Event time of each entry of `output`, None where there is none."""
        return self._collector.timestamps

    @property
    def side(self) -> dict[str, list[Any]]:
        """Records by side output."""
        return self._collector.side

    @property
    def results(self) -> list[Any]:
        """`output` without watermarks and statuses."""
        return [entry for entry in self.output if not isinstance(entry, Watermark | WatermarkStatus)]

    @property
    def accumulators(self) -> dict[str, Any]:
        """Results of the accumulators, merged over all subtasks."""
        return accumulator_results(
            report for services in self._all_services() for report in services.accumulators.reports()
        )

    @property
    def metrics(self) -> list[dict[str, MetricValue]]:
        """The functions' own metrics, by subtask."""
        return [services.metrics.values() for services in self._all_services()]

    def _all_services(self) -> list[FunctionServices]:
        return [operator.services for operator in self.operators if operator.services is not None]

    # ---- input

    def element(self, value: Any, ts: int | None = None) -> None:
        """Process one record."""
        self.batch([value], None if ts is None else [ts])

    def batch(self, values: Iterable[Any], timestamps: Iterable[int] | None = None) -> None:
        """Process records in one batch per subtask."""
        rows: list[tuple[list[Any], list[int]]] = [([], []) for _ in self._entries]
        values = list(values)
        times: Sequence[int] = [0] * len(values) if timestamps is None else list(timestamps)
        for value, time in zip(values, times, strict=True):
            share, share_times = rows[self._owner(value)]
            share.append(value)
            share_times.append(time)
        for subtask, (share, share_times) in enumerate(rows):
            if share:
                self.process(RecordBatch(share, None if timestamps is None else share_times), subtask)

    def process(self, batch: RecordBatch, subtask: int = 0) -> None:
        """Process a batch as it is in one subtask."""
        self._entries[subtask].process_batch(batch)
        self.operators[subtask].end_of_batch()

    def _owner(self, value: Any) -> int:
        if self._parallelism == 1 or not isinstance(self.spec, KeyedSpec):
            return 0
        return self._subtask_of(self.spec.key_selector(value), self.spec.key_type)

    def _subtask_of(self, key: Any, key_type: TypeInformation[Any]) -> int:
        group = key_group_of(KeyEncoder(key_type).encode(key), self._max_parallelism)
        return subtask_of_key_group(group, self._max_parallelism, self._parallelism)

    def watermark(self, timestamp: int) -> None:
        """Advance event time of all subtasks."""
        for index, (entry, operator) in enumerate(zip(self._entries, self.operators, strict=True)):
            entry.process_watermark(timestamp)
            operator.end_of_batch()
            if index < self._parallelism - 1 and self.output and isinstance(self.output[-1], Watermark):
                self.output.pop()  # one watermark for all, after the results of all
                self.timestamps.pop()

    def status(self, *, idle: bool) -> None:
        """The input became idle, or active again."""
        for entry in self._entries:
            entry.process_status(idle)

    def set_processing_time(self, now_ms: int) -> None:
        """Move the clock forward and run the timers that are due."""
        self.clock.advance(now_ms - self.clock.now_ms())
        self._time.run_due()

    def flush(self) -> None:
        """What a barrier or an idle moment makes operators do."""
        for operator in self.operators:
            operator.flush()

    def end_key(self) -> None:
        """In BATCH mode: the records of the key at hand have all come. The caller feeds one key after the other."""
        for operator in self.operators:
            operator.end_key()

    def end_input(self) -> None:
        """The MAX watermark, then the end."""
        self.watermark(MAX_TIMESTAMP)
        for operator in self.operators:
            while operator.emit_rest():
                pass
        for operator in self.operators:
            operator.finish()

    # ---- checkpoints

    def snapshot(self, *, complete: bool = True) -> tuple[OperatorSnapshot, ...]:
        """Take a checkpoint of all subtasks, written to files as in a job, and complete it unless told otherwise."""
        self.checkpoint_id += 1
        snapshots = []
        barrier = CheckpointBarrier(self.checkpoint_id, self.clock.now_ms())
        for operator, functions in zip(self.operators, self._functions, strict=True):
            operator.flush()
            parts = functions.snapshot(take_snapshot(operator, self.checkpoint_id), barrier)
            if parts is None:
                snapshots.append(OperatorSnapshot())
                continue
            handle = None
            if parts.keyed is not None:
                handle = parts.keyed.write(self._storage.streams(self.checkpoint_id, self._attempt))
                parts.keyed.release()
            snapshots.append(snapshot_of(parts, handle))
        if complete:
            self.complete(self.checkpoint_id)
        return tuple(snapshots)

    def complete(self, checkpoint_id: int) -> None:
        """Tell the operators that the checkpoint is durable, and run the commits that follow."""
        for operator in self.operators:
            operator.notify_checkpoint_complete(checkpoint_id)
            operator.notify_checkpoint_subsumed(checkpoint_id)
        self.run_background()

    def run_background(self) -> None:
        """Run what the operator gave to its helper thread, here and now."""
        while self._jobs:
            work, handler = self._jobs.pop(0)
            handler(work())

    def run_until(self, condition: Callable[[], bool], timeout_s: float = 10) -> None:
        """Run what the operator's own threads hand over, until `condition` holds.

        Raises:
            queue.Empty: nothing came for `timeout_s` seconds.
        """
        while not condition():
            self._handed_over.get(timeout=timeout_s)()

    def restored(self, *, parallelism: int | None = None, max_parallelism: int | None = None) -> Self:
        """A new harness that goes on from a snapshot of this one, which is closed; outputs are carried over.

        Raises:
            CheckpointError: as in a job, another maximum parallelism than that of the state in the snapshot.
        """
        return self.restored_from(self.snapshot(), parallelism=parallelism, max_parallelism=max_parallelism)

    def restored_from(
        self,
        snapshots: Sequence[OperatorSnapshot],
        *,
        parallelism: int | None = None,
        max_parallelism: int | None = None,
    ) -> Self:
        """The same from an earlier snapshot. What sources would repeat, the caller repeats."""
        groups = max_parallelism or self._max_parallelism
        if any(holds_state(snapshot) for snapshot in snapshots):
            check_max_parallelism(self.spec.kind, self._max_parallelism, groups, where="harness")
        _check_parallelism(parallelism or self._parallelism, groups)
        self.close()
        return type(self)(
            self.spec,
            backend=self._backend,
            parallelism=parallelism or self._parallelism,
            max_parallelism=groups,
            cache_entries=self._cache_entries,
            checkpointing=self._checkpointing,
            job_parameters=self._job_parameters,
            collecting_bytes=self._collecting_bytes,
            configuration=self._configuration,
            _restored=snapshots,
            _before=self,
        )

    def state_entries(self) -> int:
        """Entries of all keyed state of all subtasks, timers too: 0 when everything that should be gone is gone.

        State that was restored and that nobody has asked for since, such as a trigger's, is counted too.
        """
        for subtask, backend in self._backends.items():
            for name, descriptor in list(self._descriptors.items()):
                if (subtask, name) not in self._tables:
                    backend.table(descriptor)
        return sum(1 for _ in self._all_entries(frozenset(name for _, name in self._tables)))

    def event_time_timers(self) -> int:
        """Event-time timers that are set, in all subtasks. Tumbling and sliding windows that fire by slice have none."""
        return sum(_timers_in(value) for value in self._all_entries(_EVENT_TIMERS))

    def processing_time_timers(self) -> int:
        """The same for processing time."""
        return sum(_timers_in(value) for value in self._all_entries(_PROCESSING_TIMERS))

    def _all_entries(self, names: Collection[str]) -> Iterator[Any]:
        for (_, name), table in self._tables.items():
            if name in names:
                for namespace in list(table.namespaces()):
                    yield from (value for _, value in table.namespace(namespace).entries())

    def close(self) -> None:
        """Close the operators. Idempotent."""
        if self._closed:
            return
        self._closed = True
        fused = [entry for entry in self._entries if isinstance(entry, FusedOperators)]
        for operator in (*self.operators, *fused):
            operator.close()
        self._shared.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what an operator is opened with

    def _context(
        self, subtask: int, share: OperatorSnapshot, whole: dict[str, list[bytes]]
    ) -> OperatorContext:
        def count(name: str, n: int) -> None:
            self.counters[name] = self.counters.get(name, 0) + n

        def send_to_client(checkpoint_id: int | None, origin: str, data: bytes) -> None:
            self.sent.append((checkpoint_id, origin, data))

        unions = {name: items for name, items in whole.items() if name.startswith("union:")}
        return OperatorContext(
            info=RuntimeInfo(
                job_id="harness",
                job_name="harness",
                task_name=self.spec.kind,
                operator_name=self.spec.kind,
                operator_id="harness",
                subtask=subtask,
                parallelism=self._parallelism,
                max_parallelism=self._max_parallelism,
                attempt=self._attempt,
                restored_checkpoint_id=self._restored_id,
                auto_watermark_interval_ms=200,
                checkpointing=self._checkpointing,
                services=self._services(share),
            ),
            output=self._collector,
            processing_time=self._time,
            clock=self.clock,
            restored_lists={**share.lists, **unions},
            operator_state=OperatorStateStore({**share.lists, **unions}),
            open_backend=lambda: self._open_backend(subtask, share),
            count=count,
            run_in_background=lambda work, handler: self._jobs.append((work, handler)),
            call_soon=self._handed_over.put,
            send_to_client=send_to_client,
            restored_committables=share.lists.get(COMMITTABLES_STATE, ()),
            all_committables=whole.get(COMMITTABLES_STATE, ()),
            local_dir=self._folder.path / f"attempt-{self._attempt}" / f"{subtask}-files",
            collecting_bytes=self._collecting_bytes,
            copy_result=copy_value if keeps_records(self.spec) else None,
            copy_side_result=copy_value if keeps_records(self.spec) else None,
        )

    def _services(self, share: OperatorSnapshot) -> FunctionServices:
        added_up = share.lists.get(ACCUMULATORS_STATE, ())
        return FunctionServices(
            AccumulatorRegistry(self.spec.kind, added_up, is_restored=self._restored_id is not None),
            MetricGroup(self.clock),
            self._job_parameters,
        )

    def _open_backend(self, subtask: int, share: OperatorSnapshot) -> KeyedStateBackend:
        local_dir = self._folder.path / f"attempt-{self._attempt}" / str(subtask)
        local_dir.mkdir(parents=True)
        context = BackendContext(
            operator=self.spec.kind,
            max_parallelism=self._max_parallelism,
            key_groups=key_group_range(subtask, self._max_parallelism, self._parallelism),
            local_dir=local_dir,
            restored=share.keyed,
            reader=self._storage.reader(),
            cache_entries=self._cache_entries,
            clock=self.clock,
            owner=StateOwner(self._job_id, self.spec.kind, self._attempt),
            store=store_of(Configuration({**self._configuration, options.STATE_BACKEND.key: self._backend})),
        )
        backend = create_backend(self._backend, context)
        make_table = backend.table

        def table(descriptor: TableDescriptor) -> StateTable:
            made = self._tables[subtask, descriptor.name] = make_table(descriptor)
            self._descriptors[descriptor.name] = descriptor
            return made

        self._backends[subtask] = backend
        backend.table = table  # type: ignore[method-assign]  # so that `state_entries` knows the tables
        return backend


def _check_parallelism(parallelism: int, max_parallelism: int) -> None:
    if not 1 <= parallelism <= max_parallelism:
        raise JobDefinitionError(
            f"a parallelism of {parallelism} is not between 1 and the maximum parallelism, {max_parallelism}",
            where="harness",
            fix="give it fewer subtasks, or a larger max_parallelism from the beginning",
        )


def _timers_in(value: Any) -> int:
    """A table of timers holds True for a timer, and for those of windows the list of the windows."""
    return len(value) if isinstance(value, list) else 1


def _joined(snapshots: Sequence[OperatorSnapshot]) -> dict[str, list[bytes]]:
    """The list states of all subtasks together."""
    whole: dict[str, list[bytes]] = {}
    for snapshot in snapshots:
        for name, items in snapshot.lists.items():
            whole.setdefault(name, []).extend(items)
    return whole
