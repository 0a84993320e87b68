"""What the scheduler is told, and what it asks for: two closed unions of values.

Times called `now_ms` are monotonic. An *attempt* is one run of all tasks of one pipelined region; its number is unique over all
regions of the job and higher than that of every attempt before.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias


class JobStatus(enum.Enum):
    """Flink's life cycle of a job. No job here is ever SUSPENDED or RECONCILING: its job manager ends with it."""

    CREATED = "CREATED"
    RUNNING = "RUNNING"
    RESTARTING = "RESTARTING"
    FAILING = "FAILING"
    CANCELLING = "CANCELLING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    SUSPENDED = "SUSPENDED"
    RECONCILING = "RECONCILING"

    def is_terminal(self) -> bool:
        """Whether nothing can follow."""
        return self in {JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELED}

    def is_globally_terminal_state(self) -> bool:
        """Whether nothing can follow, on any job manager."""
        return self.is_terminal()

    def is_terminal_state(self) -> bool:
        """Whether nothing can follow on the job manager that has this status."""
        return self.is_terminal() or self is JobStatus.SUSPENDED


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt cannot go on.

    Attributes:
        error: what the user will see.
        recoverable: False: a restart cannot help, or would lose data.
    """

    error: Exception
    recoverable: bool = True


@dataclass(frozen=True, slots=True)
class Region:
    """Tasks that fail and restart together.

    Attributes:
        workers: ids of the slots that they need, all of them.
        subtasks: their ids.
    """

    workers: frozenset[int]
    subtasks: frozenset[str]


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """What is to run, and how long to be patient. Durations in ms.

    Attributes:
        regions: all tasks of the job.
        checkpointing: whether a bounded job ends with a last checkpoint that commits.
        first_attempt: of the first region, and above every attempt that the job's checkpoints know of.
        cancellation_timeout_ms: a worker whose tasks do not stop by then is killed.
        registration_timeout_ms: a worker that has not registered by then is given up.
    """

    regions: tuple[Region, ...]
    checkpointing: bool
    first_attempt: int = 0
    cancellation_timeout_ms: int = 10_000
    registration_timeout_ms: int = 60_000


# ---- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """Begin. Once, first."""


@dataclass(frozen=True, slots=True)
class WorkerRegistered:
    """A worker that was asked for is there and runs no tasks."""

    worker: int


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker is gone, and every task on it. Comes before the same id registers again."""

    worker: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class AttemptPrepared:
    """The answer to `PrepareAttempt`: it is known what to restore."""

    attempt: int


@dataclass(frozen=True, slots=True)
class TasksRunning:
    """All tasks of this attempt on this worker are open and restored."""

    worker: int
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """A task, an enumerator or the preparation of this attempt failed."""

    attempt: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class JobFailure:
    """What concerns all regions failed: the checkpoints."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class InputEnded:
    """A subtask has seen the end of all its inputs."""

    attempt: int
    subtask: str


@dataclass(frozen=True, slots=True)
class TasksStopped:
    """No task of this attempt runs on this worker any more: the answer to `CancelAll` and `FinishAll`."""

    worker: int
    attempt: int


@dataclass(frozen=True, slots=True)
class CheckpointSettled:
    """The answer to `StopCheckpointing`: no metadata is being written, so the newest durable checkpoint is known."""


@dataclass(frozen=True, slots=True)
class FinalCheckpointCompleted:
    """The answer to `TriggerFinalCheckpoint`: it is durable. One that failed for good comes as `JobFailure`."""

    attempt: int


@dataclass(frozen=True, slots=True)
class SourcesDrained:
    """The input of all tasks is ending for a savepoint: in this attempt it does not begin again."""


@dataclass(frozen=True, slots=True)
class StoppedWithSavepoint:
    """All tasks stand still behind a savepoint that is durable: they end their commits, and the job is over. No attempt may follow:
    the job's checkpoints are behind what is committed now."""

    attempt: int


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The user wants the job to end now."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; an early one is harmless."""


Event: TypeAlias = (
    Started
    | WorkerRegistered
    | WorkerLost
    | AttemptPrepared
    | TasksRunning
    | AttemptFailed
    | JobFailure
    | InputEnded
    | TasksStopped
    | CheckpointSettled
    | FinalCheckpointCompleted
    | SourcesDrained
    | StoppedWithSavepoint
    | CancelRequested
    | Tick
)


# ---- actions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartWorkers:
    """Start these; each answers with `WorkerRegistered` or `WorkerLost`."""

    workers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End it by force; `WorkerLost` follows."""

    worker: int


@dataclass(frozen=True, slots=True)
class PrepareAttempt:
    """Find out what to restore from (the newest checkpoint that is whole); answer `AttemptPrepared` or `AttemptFailed`.

    Attributes:
        oldest_attempt: as in `DeployAll`.
    """

    attempt: int
    oldest_attempt: int


@dataclass(frozen=True, slots=True)
class DeployAll:
    """Send the workers of a region its tasks. Nothing of an earlier attempt of it runs any more.

    Attributes:
        oldest_attempt: no task of the job runs, or will, that belongs to an attempt below this one.
    """

    attempt: int
    region: int
    oldest_attempt: int


@dataclass(frozen=True, slots=True)
class StartCheckpointing:
    """All tasks of all regions run; `attempt` is the newest of theirs."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StopCheckpointing:
    """Not all tasks run any more; answer `CheckpointSettled` once no metadata is being written."""


@dataclass(frozen=True, slots=True)
class TriggerFinalCheckpoint:
    """All input has ended: take the checkpoint whose completion commits the rest."""

    attempt: int


@dataclass(frozen=True, slots=True)
class FinishAll:
    """Let all tasks of the attempt end their commits and close. `commit_now`: there are no checkpoints, commit what is written."""

    attempt: int
    commit_now: bool


@dataclass(frozen=True, slots=True)
class CancelAll:
    """The attempt is over: end its enumerators, and stop its tasks without committing anything."""

    attempt: int
    region: int


@dataclass(frozen=True, slots=True)
class ReportFailure:
    """For the log: these regions failed; their restart follows in `restart_in_ms`, None if there will be none."""

    regions: tuple[int, ...]
    failure: Failure
    restart_in_ms: int | None


@dataclass(frozen=True, slots=True)
class JobFinished:
    """The end: all output is committed."""


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The end: there is no restart (any more)."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class JobCancelled:
    """The end, as the user asked."""


Action: TypeAlias = (
    StartWorkers
    | KillWorker
    | PrepareAttempt
    | DeployAll
    | StartCheckpointing
    | StopCheckpointing
    | TriggerFinalCheckpoint
    | FinishAll
    | CancelAll
    | ReportFailure
    | JobFinished
    | JobFailed
    | JobCancelled
)
