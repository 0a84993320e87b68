"""The contract between operators and the worker that runs them.

An `OperatorSpec` is the description that travels in the JobGraph (by cloudpickle): frozen settings and user functions. In a
subtask it makes an `Operator`, which receives batches and control elements and emits to its `Output`. Everything here runs
in the loop's thread.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..core.batch import RecordBatch
from ..core.clock import Clock
from ..core.errors import StateError
from ..state.backend import KeyedStateBackend, PendingSnapshot
from ..state.handles import ACCUMULATORS_STATE, OperatorSnapshot
from .function_services import FunctionServices
from .operator_state import OperatorStateStore

if TYPE_CHECKING:
    from ..core.types import TypeInformation
    from ..state.descriptors import MapStateDescriptor
    from .codegen import CodeBuilder, Element


class Output(Protocol):
    """Where an operator's results go: to the next operators of the chain and to other tasks."""

    def emit(self, batch: RecordBatch) -> None:
        """Results in order; the lists are handed over."""

    def emit_side(self, tag: str, batch: RecordBatch) -> None:
        """Records for the side output `tag`; dropped when nobody consumes it."""

    def emit_watermark(self, timestamp: int) -> None:
        """No record at or before `timestamp` (ms) follows, but late ones."""

    def emit_status(self, idle: bool) -> None:
        """This branch became idle, or active again."""


class ProcessingTime(Protocol):
    """Wall-clock callbacks, run by the loop between batches."""

    def now_ms(self) -> int: ...

    def schedule(self, at_ms: int, callback: Callable[[int], None]) -> None:
        """Run `callback(now_ms)` once, when the wall clock has reached `at_ms`; in order of `at_ms`."""


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """Facts about the running subtask, and what its functions may use. `subtask` counts from 0, `attempt` from 1 over
    restarts; no task of an attempt below `oldest_attempt` runs any more in any region of the job."""

    job_id: str
    job_name: str
    task_name: str
    operator_name: str
    operator_id: str
    subtask: int
    parallelism: int
    max_parallelism: int
    attempt: int
    restored_checkpoint_id: int | None
    auto_watermark_interval_ms: int
    checkpointing: bool
    oldest_attempt: int = 0
    services: FunctionServices = field(default_factory=FunctionServices, compare=False, repr=False)


@dataclass(slots=True)
class OperatorContext:
    """What an operator is opened with.

    Attributes:
        restored_lists: this subtask's share of the operator list state; names that begin with `union:` hold the items of
            all subtasks.
        operator_state: the operator state of the operator and its functions; whoever runs the operator snapshots it.
        open_backend: makes the keyed backend of this operator, restored; at most once.
        count: counters by name, for metrics (`numLateRecordsDropped`, ...).
        run_in_background: run a blocking call in the operator's helper thread (one at a time, in order), then the handler
            with its result in the loop's thread; an exception fails the task.
        call_soon: from any thread: run a callable in the loop's thread, behind those handed over before; an exception fails the
            task. Nothing is run any more once the attempt has ended.
        send_to_client: hand collected results to the job's client: checkpoint they belong to (None without checkpoints),
            the subtask that collected them, bytes.
        records_under_way: records that barriers overtook were restored, too: they come first.
        restored_committables: this subtask's share of the restored committables, to be committed before records flow.
        all_committables: those of all subtasks.
        local_dir: an own folder, to be made by an operator that needs one; it goes with the attempt.
        collecting_bytes: memory for records that an operator collects; more of them go to `local_dir`.
        copy_result: makes of a result one that shares nothing with what the operator keeps; None where there is no need to.
        copy_side_result: the same for side outputs.
    """

    info: RuntimeInfo
    output: Output
    processing_time: ProcessingTime
    clock: Clock
    restored_lists: Mapping[str, Sequence[bytes]]
    open_backend: Callable[[], KeyedStateBackend]
    count: Callable[[str, int], None]
    run_in_background: Callable[[Callable[[], Any], Callable[[Any], None]], None]
    call_soon: Callable[[Callable[[], None]], None]
    send_to_client: Callable[[int | None, str, bytes], None]
    records_under_way: bool = False
    restored_committables: Sequence[bytes] = ()
    all_committables: Sequence[bytes] = ()
    operator_state: OperatorStateStore = field(default_factory=lambda: OperatorStateStore({}))
    local_dir: Path = Path()
    collecting_bytes: int = 128 << 20
    copy_result: Callable[[Any], Any] | None = None
    copy_side_result: Callable[[Any], Any] | None = None


@dataclass(slots=True)
class OperatorSnapshotParts:
    """What the synchronous part of a snapshot gives: list state as it is, keyed state still to be written."""

    lists: dict[str, list[bytes]] = field(default_factory=dict)
    keyed: PendingSnapshot | None = None


def _nobody_commits(committables: int, operator: str) -> StateError:
    return StateError(
        f"the restored state holds {committables} transactions or files that a sink had pre-committed, and the sink of now would not"
        " commit them",
        where=f"operator '{operator}'",
        fix="start with the sink of before and stop with a savepoint, which commits them; then give the new sink another uid and start"
        " with --allow-non-restored-state (execution.savepoint.ignore-unclaimed-state)",
    )


class Operator:
    """A running operator: the defaults of one that passes control elements on.

    Attributes:
        name: for messages; set by whoever builds the chain.
        backend: set in `open` by an operator with keyed state; snapshots and housekeeping then happen here.
        services: what its functions use besides state; set in `open`.
        commits: it commits restored committables.
    """

    name: str = ""
    commits: bool = False
    output: Output
    backend: KeyedStateBackend | None = None
    services: FunctionServices | None = None

    def open(self, context: OperatorContext) -> None:
        """Connect, restore. Called once, before any record; subclasses call it first.

        Raises:
            StateError: there are restored committables, and nobody to commit them.
        """
        if context.restored_committables and not self.commits:
            raise _nobody_commits(len(context.restored_committables), context.info.operator_name)
        self.output = context.output
        self.services = context.info.services

    def process_batch(self, batch: RecordBatch) -> None:
        """Take records and emit results."""
        self.output.emit(batch)

    def process_watermark(self, timestamp: int) -> None:
        """Event time advanced to `timestamp` (ms). The watermark goes on after the results it triggers."""
        self.output.emit_watermark(timestamp)

    def process_status(self, idle: bool) -> None:
        self.output.emit_status(idle)

    def flush(self) -> None:
        """Emit what was held back for efficiency: before a barrier, when the buffer timeout expires, when idle."""

    def snapshot(self, checkpoint_id: int) -> OperatorSnapshotParts | None:
        """The synchronous part of the snapshot; None for a stateless operator. Comes after `flush`."""
        if self.backend is None:
            return None
        return OperatorSnapshotParts(keyed=self.backend.snapshot(checkpoint_id))

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """The checkpoint is durable. May be lost; a later one covers earlier ones."""
        if self.backend is not None:
            self.backend.notify_checkpoint_complete(checkpoint_id)

    def notify_checkpoint_subsumed(self, oldest_retained: int) -> None:
        """No checkpoint before `oldest_retained` will be restored any more. May be lost, late or repeated."""
        if self.backend is not None:
            self.backend.notify_checkpoint_subsumed(oldest_retained)

    def notify_checkpoint_aborted(self, checkpoint_id: int) -> None:
        """The checkpoint will not complete. May be lost."""

    def end_key(self) -> None:
        """In BATCH mode, on a keyed stream: the key's records have all come, and the next one's follow.

        Fire what waits for this key, as if event time and then processing time had come to their end, without passing a watermark
        on; then nothing of the key is left. Results may be held back until `flush`.
        """
        if self.backend is not None:
            self.backend.clear()

    def emit_rest(self) -> bool:
        """The input ended (after the MAX watermark): emit a piece of what was held back until now; whether more is left.

        Called again while there is room for results, until nothing is left; then an operator that kept the MAX watermark back
        passes it on. Barriers wait meanwhile.
        """
        return False

    def finish(self) -> None:
        """The input ended (after the MAX watermark): emit what is left. More barriers may come, no more records."""

    def has_pending_work(self) -> bool:
        """Whether background work (commits) has to end before the task may close."""
        return False

    def commit_without_checkpoint(self) -> None:
        """The bounded job ended and takes no checkpoints: make everything visible now. After `finish`."""

    def end_of_batch(self) -> None:
        """Between batches: bounded housekeeping."""
        if self.backend is not None:
            self.backend.end_of_batch()

    def note_blocked(self, duration_ms: int) -> None:
        """The task could not take input for so long (back-pressure, alignment): idleness clocks stand still for it."""

    def close(self) -> None:
        """Give everything back; also called after failures, and when `open` failed half-way."""
        if self.backend is not None:
            self.backend.close()


class TwoInputOperator(Operator):
    """An operator with two inputs: always the head of its chain. Watermarks and statuses arrive as the minimum over both."""

    @abstractmethod
    def process_batch(self, batch: RecordBatch) -> None:
        """Take records of the first input."""

    @abstractmethod
    def process_batch2(self, batch: RecordBatch) -> None:
        """Take records of the second input."""

    def end_input(self, input_id: int) -> None:
        """The input 1 or 2 has ended, the other one perhaps not yet (Flink's `BoundedMultiInput`). `finish` follows the
        end of both."""


class BufferingOperator(Operator):
    """An operator that keeps records beyond `process_batch` and emits their results when they are ready.

    It is the head of its chain, so that its task can leave records where they are, which holds back whoever sends them.
    """

    @property
    @abstractmethod
    def has_room(self) -> bool:
        """Whether it takes another batch. If not, the task goes on with control elements alone."""

    @property
    @abstractmethod
    def is_drained(self) -> bool:
        """Whether all it was given has been emitted, watermarks included. The end of the input is passed on only then."""


class FusibleOperator(Operator):
    """A record-at-a-time operator that is compiled into the loop of its chain instead of being called per batch.

    Batches never reach `process_batch`; control elements arrive as at any operator.

    Attributes:
        expands: a record may become many.
    """

    expands: bool = False

    @abstractmethod
    def emit_code(self, code: CodeBuilder, element: Element) -> Element:
        """Append the statements that turn `element` into the result, inside the loop."""


class OperatorSpec(Protocol):
    """The description of an operator."""

    @property
    def kind(self) -> str:
        """Flink's word for it ("Map", "Filter", "Window", ...): default name, and part of the stable operator id."""

    def user_functions(self) -> Sequence[Any]:
        """The user's functions in it, to name the culprit when one cannot be shipped."""

    def create(self) -> Operator:
        """A fresh running operator, for one attempt of one subtask."""


@runtime_checkable
class PreAggregatable(Protocol):
    """A keyed operator whose input can be combined before the exchange (see `operators.combiner`)."""

    def combiner(self) -> OperatorSpec | None:
        """The operator to put before the exchange, or None when this one cannot be combined."""


@runtime_checkable
class HasBatchForm(Protocol):
    """An operator that is another one in BATCH mode."""

    def in_batch_mode(self) -> OperatorSpec:
        """The operator to run instead."""


@runtime_checkable
class NeedsTimestamps(Protocol):
    """An operator that may refuse records without timestamps."""

    @property
    def needs_timestamps(self) -> bool: ...


@runtime_checkable
class KeyedSpec(Protocol):
    """An operator on keyed state: its input must be partitioned by exactly this selector."""

    @property
    def key_selector(self) -> Callable[[Any], Any]: ...

    @property
    def key_type(self) -> TypeInformation[Any]: ...


@runtime_checkable
class KeyedTwoInputSpec(KeyedSpec, Protocol):
    """The same with two inputs, whose keys are of one type."""

    @property
    def key_selector2(self) -> Callable[[Any], Any]: ...


@runtime_checkable
class BroadcastSpec(Protocol):
    """An operator whose second input is broadcast, with the states that it keeps of it."""

    @property
    def broadcast_states(self) -> Sequence[MapStateDescriptor[Any, Any]]: ...


def is_sorted_input(spec: OperatorSpec, input_id: int) -> bool:
    """Whether an operator gets this input (1 or 2) grouped by key in BATCH mode: keyed inputs are, broadcast ones are not."""
    return isinstance(spec, KeyedTwoInputSpec) or (isinstance(spec, KeyedSpec) and input_id == 1)


def take_snapshot(operator: Operator, checkpoint_id: int) -> OperatorSnapshotParts | None:
    """`Operator.snapshot`, and what its functions have added up in accumulators."""
    parts = operator.snapshot(checkpoint_id)
    added_up = [] if operator.services is None else operator.services.accumulators.snapshot()
    if added_up:
        parts = parts or OperatorSnapshotParts()
        parts.lists[ACCUMULATORS_STATE] = added_up
    return parts


def keeps_records(spec: OperatorSpec) -> bool:
    """Whether an operator, or its function, may go on using what it has emitted, because it is in keyed or broadcast state."""
    return isinstance(spec, KeyedSpec | BroadcastSpec)


def snapshot_of(parts: OperatorSnapshotParts, keyed: Any) -> OperatorSnapshot:
    """The durable form, once the keyed part has been written (`keyed` is its handle or None)."""
    return OperatorSnapshot(() if keyed is None else (keyed,), parts.lists)
