"""The protocol between the JobManager and its workers. One union per direction; checkpoint messages travel inside.

Every message about running tasks carries the attempt it belongs to: what a former attempt still had to say is dropped.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..checkpoint.messages import (
    FromTask,
    NotifyCheckpointAborted,
    NotifyCheckpointComplete,
    TriggerCheckpoint,
)
from ..operators.accumulator_registry import AccumulatorReport
from ..operators.metrics import MetricValue
from ..state.handles import OperatorSnapshot


class _Message(msgspec.Struct, frozen=True, tag=True):
    pass


class OperatorRestore(msgspec.Struct, frozen=True):
    """What one operator of one subtask starts from. `snapshot.lists` holds names beginning with `union:` in full."""

    snapshot: OperatorSnapshot
    committables: list[bytes] = []
    """This subtask's share of the restored committables: it commits them before records flow."""
    all_committables: list[bytes] = []
    """The committables of all subtasks, this one's included: nobody may abort or reuse what they refer to."""


class DeployTasks(_Message, frozen=True):
    """Create, restore and run the subtasks placed on this worker.

    Attributes:
        attempt: rises with every (re)start of tasks of this job run, also across `--resume`; each region has its own.
        job: the JobGraph and the job's classes, by cloudpickle (`runtime.graph.artifact`).
        configuration: all keys that were set.
        addresses: data address of each worker, by worker id.
        restores: by subtask id, then by operator id; absent for what starts empty.
        checkpoint_base: URL of the checkpoint directory; "" when checkpoints are off.
        vertices: of the region that the attempt runs; empty for all vertices of the job.
        oldest_attempt: no task of the job runs, or will, that belongs to an attempt below this one.
    """

    attempt: int
    job_id: str
    job: bytes
    configuration: dict[str, str]
    addresses: dict[int, str]
    restores: dict[str, dict[str, OperatorRestore]]
    restored_checkpoint_id: int | None
    checkpoint_base: str
    vertices: list[int] = []
    oldest_attempt: int = 0


class AddSplits(_Message, frozen=True):
    """For the source reader in a subtask: read these too; `no_more` after the last one."""

    attempt: int
    subtask: str
    splits: list[bytes]
    no_more: bool = False


class EventToReader(_Message, frozen=True):
    """For the source reader in a subtask, from its enumerator."""

    attempt: int
    subtask: str
    event: bytes


class TriggerSource(_Message, frozen=True):
    """For a source subtask: take this checkpoint."""

    attempt: int
    subtask: str
    trigger: TriggerCheckpoint


class DrainSource(_Message, frozen=True):
    """For a source subtask: end the input here, as if there was no more; a savepoint that stops the job follows."""

    attempt: int
    subtask: str


class AlignWatermarks(_Message, frozen=True):
    """For a source subtask: do not read on where the watermark is above `max_watermark` (ms)."""

    attempt: int
    subtask: str
    max_watermark: int


class NotifyTasks(_Message, frozen=True):
    """For every subtask on the worker."""

    attempt: int
    notification: NotifyCheckpointComplete | NotifyCheckpointAborted


class FinishTasks(_Message, frozen=True):
    """The job is over: end pending commits, close, answer `TasksStopped`.

    Attributes:
        commit_now: the job takes no checkpoints: two-phase-commit sinks make their output visible now.
        final_checkpoint_id: the last checkpoint; it is complete, whether or not its notification has come.
    """

    attempt: int
    commit_now: bool
    final_checkpoint_id: int | None = None


class CancelTasks(_Message, frozen=True):
    """Stop all subtasks of the attempt without committing anything, close, answer `TasksStopped`."""

    attempt: int


class Shutdown(_Message, frozen=True):
    """End the worker process."""


ToWorker: TypeAlias = (
    AddSplits
    | AlignWatermarks
    | CancelTasks
    | DeployTasks
    | DrainSource
    | EventToReader
    | FinishTasks
    | NotifyTasks
    | Shutdown
    | TriggerSource
)


class WorkerRegistered(_Message, frozen=True):
    """First message of a worker. `address` is where other workers connect for data."""

    worker: int
    pid: int
    address: str


class TasksRunning(_Message, frozen=True):
    """All subtasks of the worker are open and restored."""

    attempt: int


class TaskFailure(msgspec.Struct, frozen=True):
    """Why a subtask failed.

    Attributes:
        error: the exception's type and message, one line where possible.
        traceback: formatted; for a user's function it ends in the user's own line.
        record: repr of the record at hand, cut; None when there was none.
        pickled: the exception itself (cloudpickle) where it can travel; read only by the client that submitted the code.
        user_code: whether a user's function raised it.
        recoverable: False: restarting cannot help (data would be lost), the job fails for good.
    """

    subtask: str
    task_name: str
    operator: str
    error: str
    traceback: str
    record: str | None
    pickled: bytes | None
    user_code: bool
    recoverable: bool = True


class TaskFailed(_Message, frozen=True):
    """A subtask failed; the others of the attempt go on until they are told to stop."""

    attempt: int
    failure: TaskFailure


class PeerSilent(_Message, frozen=True):
    """Nothing has come over the connection to another worker for so long (ms), answers to questions included.

    That worker's loop may be in a long function, or the connection is broken without a word; said again while it lasts.
    """

    attempt: int
    peer: int
    silence_ms: int


class SplitRequested(_Message, frozen=True):
    """A source reader ran out of splits."""

    attempt: int
    subtask: str


class EventToEnumerator(_Message, frozen=True):
    """For the enumerator of a source, from one of its readers."""

    attempt: int
    subtask: str
    event: bytes


class WatermarkReported(_Message, frozen=True):
    """How far a source subtask with aligned watermarks is (ms); MAX when it holds back nobody: idle, ended, no splits."""

    attempt: int
    subtask: str
    watermark: int


class InputEnded(_Message, frozen=True):
    """A subtask has seen the end of all its inputs and emitted its last record. It stays for checkpoints."""

    attempt: int
    subtask: str


class FromSubtask(_Message, frozen=True):
    """A subtask's answer to the checkpoint coordinator."""

    attempt: int
    message: FromTask


class TasksStopped(_Message, frozen=True):
    """Answer to `CancelTasks` and `FinishTasks`: nothing of the attempt runs any more on this worker."""

    attempt: int


class ClientData(_Message, frozen=True):
    """For the client: results of `execute_and_collect`.

    Attributes:
        checkpoint_id: the results belong to this checkpoint and count once, however often they come (a commit repeated
            after a failure); None without checkpoints.
    """

    attempt: int
    operator_id: str
    subtask: str
    checkpoint_id: int | None
    data: bytes


class TaskStatistics(msgspec.Struct, frozen=True):
    """Counters of one subtask since it was deployed. `watermark` in ms, None before the first one; `metrics` of the user's
    functions by operator id, then by name; `accumulators` of all operators, also of before a restart."""

    subtask: str
    records_in: int
    records_out: int
    watermark: int | None
    counters: dict[str, int] = {}
    metrics: dict[str, dict[str, MetricValue]] = {}
    accumulators: list[AccumulatorReport] = []


class WorkerStatistics(_Message, frozen=True):
    """Sent about twice a second while tasks run, and once before `TasksStopped`."""

    attempt: int
    tasks: list[TaskStatistics]


FromWorker: TypeAlias = (
    ClientData
    | FromSubtask
    | InputEnded
    | PeerSilent
    | EventToEnumerator
    | SplitRequested
    | TaskFailed
    | TasksRunning
    | TasksStopped
    | WatermarkReported
    | WorkerRegistered
    | WorkerStatistics
)
