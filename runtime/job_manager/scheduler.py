"""The scheduler: decides when tasks are deployed, stopped and restarted, and how a job ends.

One attempt goes through these stages (in brackets: the status that a user sees):

    AWAITING_WORKERS -> PREPARING -> DEPLOYING -> EXECUTING -> FINAL_CHECKPOINT -> FINISHING -.
          ^                |             |            |               |                |      |
          |                `---- failure, lost worker, cancellation --+----------------'      |
          |                                           v                                       v
       BACKOFF [RESTARTING] <------------- STOPPING [RESTARTING, FAILING, CANCELLING] ---> DONE [FINISHED, FAILED,
                                                                                               CANCELED]
Rules of this file:

- While an attempt is being stopped, further failures are its echoes and use up no restart; but one that is not recoverable
  turns the restart into a failure for good, since a restart would lose data.
- A cancellation turns a restart into a cancellation. A job that is already failing for good still fails: its error is told.
- A failure during FINISHING restarts from the final checkpoint: its sources are at their end at once, and it finishes anew.
- Whoever does not stop in time is killed; a worker that was killed for this uses up no restart.

INVARIANT S1: tasks of two attempts never run at the same time: `DeployAll` leaves only when no worker may still have tasks.
INVARIANT S2: what to restore is asked for only after `CheckpointSettled`, when no metadata is being written.
Kept by: tests/job_manager/test_scheduler.py::SchedulerUnderFire
"""

from __future__ import annotations

import enum
from typing import assert_never

from ...core.errors import ProtocolViolation, WorkerLostError
from .restart_strategy import RestartStrategy
from .scheduling import (
    Action,
    AttemptFailed,
    AttemptPrepared,
    CancelAll,
    CancelRequested,
    CheckpointSettled,
    DeployAll,
    Event,
    Failure,
    FinalCheckpointCompleted,
    FinishAll,
    InputEnded,
    JobCancelled,
    JobFailed,
    JobFinished,
    JobStatus,
    KillWorker,
    PrepareAttempt,
    ReportFailure,
    SchedulerConfig,
    StartCheckpointing,
    Started,
    StartWorkers,
    StopCheckpointing,
    TasksRunning,
    TasksStopped,
    Tick,
    TriggerFinalCheckpoint,
    WorkerLost,
    WorkerRegistered,
)


class Stage(enum.Enum):
    """Where the current attempt is."""

    CREATED = "not started"
    AWAITING_WORKERS = "waiting for workers to register"
    PREPARING = "finding out what to restore"
    DEPLOYING = "tasks are opening and restoring"
    EXECUTING = "all tasks run"
    FINAL_CHECKPOINT = "all input has ended, the last checkpoint is being taken"
    FINISHING = "tasks end their commits and close"
    STOPPING = "waiting for tasks to stop"
    BACKOFF = "waiting for the restart"
    DONE = "the job is over"


class _Goal(enum.Enum):
    """What follows when the tasks have stopped."""

    RUN = "nothing, they shall not stop"
    RESTART = "the next attempt"
    FINISHED = "the end"
    FAILED = "the end with an error"
    CANCELED = "the end as asked for"


_STATUS_OF_GOAL = {
    _Goal.RUN: JobStatus.RUNNING,
    _Goal.RESTART: JobStatus.RESTARTING,
    _Goal.FINISHED: JobStatus.RUNNING,
    _Goal.FAILED: JobStatus.FAILING,
    _Goal.CANCELED: JobStatus.CANCELLING,
}
_STATUS_OF_END = {
    _Goal.FINISHED: JobStatus.FINISHED,
    _Goal.FAILED: JobStatus.FAILED,
    _Goal.CANCELED: JobStatus.CANCELED,
}
_BEFORE_DEPLOYMENT = {Stage.AWAITING_WORKERS, Stage.PREPARING}
_DEPLOYED = {Stage.DEPLOYING, Stage.EXECUTING, Stage.FINAL_CHECKPOINT, Stage.FINISHING}


class Scheduler:
    """Decides about the attempts of one job; never sends, sleeps, logs or reads a clock."""

    def __init__(self, config: SchedulerConfig, strategy: RestartStrategy) -> None:
        self._config = config
        self._strategy = strategy
        self._stage = Stage.CREATED
        self._goal = _Goal.RUN
        self._attempt = config.first_attempt - 1
        self._restarts = 0
        self._failure: Failure | None = None
        self._deadline_ms: int | None = None
        self._restart_at_ms = 0
        self._settled = True
        # Every worker is in none or one of the first two; those with tasks (`_busy`) are registered.
        self._starting: set[int] = set()
        self._registered: set[int] = set()
        self._busy: set[int] = set()
        self._condemned: set[int] = set()
        self._running: set[int] = set()
        self._ended: set[str] = set()

    # ---- questions ----------------------------------------------------------------------------------------------------

    @property
    def status(self) -> JobStatus:
        """What the user is told."""
        if self._stage is Stage.CREATED:
            return JobStatus.CREATED
        return (_STATUS_OF_END if self._stage is Stage.DONE else _STATUS_OF_GOAL)[self._goal]

    @property
    def stage(self) -> Stage:
        """Where the current attempt is."""
        return self._stage

    @property
    def attempt(self) -> int:
        """The current attempt; one below the first until it is prepared."""
        return self._attempt

    @property
    def restarts(self) -> int:
        """How often the strategy allowed a restart."""
        return self._restarts

    def next_deadline_ms(self) -> int | None:
        """When the next `Tick` is due at the latest (monotonic); None: only an event can change anything."""
        return self._restart_at_ms if self._stage is Stage.BACKOFF else self._deadline_ms

    # ---- events -------------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        """Actions to perform in order. Messages of earlier attempts are late and change nothing.

        Raises:
            ProtocolViolation: an event that cannot happen in this state: a bug of the shell or of a worker.
        """
        if isinstance(event, _OF_ATTEMPT) and event.attempt != self._attempt:
            if event.attempt > self._attempt:
                raise self._violation(event)
            return []
        match event:
            case Started():
                return self._on_started(event, now_ms)
            case WorkerRegistered(worker=worker):
                return self._on_registered(worker)
            case WorkerLost(worker=worker, failure=failure):
                return self._on_lost(worker, failure, now_ms)
            case AttemptPrepared():
                return self._on_prepared()
            case TasksRunning(worker=worker):
                return self._on_running(worker, event)
            case AttemptFailed(failure=failure):
                return self._on_failed(failure, now_ms)
            case InputEnded(subtask=subtask):
                self._ended.add(subtask)
                return self._end_if_over()
            case TasksStopped(worker=worker):
                return self._on_stopped(worker, event, now_ms)
            case CheckpointSettled():
                self._settled = True
                return self._go_on_if_stopped(now_ms)
            case FinalCheckpointCompleted():
                return self._finish(commit_now=False) if self._stage is Stage.FINAL_CHECKPOINT else []
            case CancelRequested():
                return self._on_cancel(now_ms)
            case Tick():
                return self._on_tick(now_ms)
            case _:
                assert_never(event)

    def _on_started(self, event: Started, now_ms: int) -> list[Action]:
        if self._stage is Stage.DONE:  # cancelled before it began
            return []
        if self._stage is not Stage.CREATED:
            raise self._violation(event)
        return self._acquire_workers(now_ms)

    def _on_registered(self, worker: int) -> list[Action]:
        if worker not in self._starting:
            raise self._violation(WorkerRegistered(worker))
        self._starting.discard(worker)
        self._registered.add(worker)
        return self._prepare_if_complete()

    def _on_lost(self, worker: int, failure: Failure, now_ms: int) -> list[Action]:
        expected = worker in self._condemned
        had_tasks = worker in self._busy
        for group in (self._starting, self._registered, self._busy, self._condemned, self._running):
            group.discard(worker)
        if self._stage in _BEFORE_DEPLOYMENT:
            return self._acquire_workers(now_ms) if expected else self._fail(failure, now_ms)
        if self._stage in _DEPLOYED and had_tasks:
            return self._fail(failure, now_ms)
        return self._go_on_if_stopped(now_ms)

    def _on_prepared(self) -> list[Action]:
        if self._stage is not Stage.PREPARING:
            return []
        assert not self._busy, "S1: a worker still has tasks of an earlier attempt"
        self._stage = Stage.DEPLOYING
        self._busy = set(self._config.workers)
        self._running.clear()
        self._ended.clear()
        return [DeployAll(self._attempt)]

    def _on_running(self, worker: int, event: TasksRunning) -> list[Action]:
        if self._stage is not Stage.DEPLOYING:
            if self._stage in {Stage.STOPPING, Stage.BACKOFF, Stage.DONE}:
                return []
            raise self._violation(event)
        self._running.add(worker)
        if self._running != set(self._config.workers):
            return []
        self._stage = Stage.EXECUTING
        return [StartCheckpointing(self._attempt), *self._end_if_over()]

    def _on_failed(self, failure: Failure, now_ms: int) -> list[Action]:
        if self._stage is Stage.STOPPING:
            if self._goal is _Goal.RESTART and not failure.recoverable:
                self._goal = _Goal.FAILED
                self._failure = failure
                return [ReportFailure(self._attempt, failure, None)]
            return []
        if self._stage in _DEPLOYED | {Stage.PREPARING}:
            return self._fail(failure, now_ms)
        return []

    def _on_stopped(self, worker: int, event: TasksStopped, now_ms: int) -> list[Action]:
        if self._stage in _DEPLOYED - {Stage.FINISHING}:
            raise self._violation(event)
        # A worker that closed for `FinishAll` while another one failed answers the `CancelAll` that follows once more.
        self._busy.discard(worker)
        if self._stage is Stage.FINISHING and not self._busy:
            self._goal = _Goal.FINISHED
            return self._stop(now_ms)
        return self._go_on_if_stopped(now_ms)

    def _on_cancel(self, now_ms: int) -> list[Action]:
        if self._stage is Stage.STOPPING:
            if self._goal is _Goal.RESTART:
                self._goal = _Goal.CANCELED
            return []
        if self._stage in {Stage.CREATED, Stage.BACKOFF}:
            self._goal = _Goal.CANCELED
            return self._end()
        if self._stage is Stage.DONE:
            return []
        self._goal = _Goal.CANCELED
        return self._stop(now_ms)

    def _on_tick(self, now_ms: int) -> list[Action]:
        if self._stage is Stage.BACKOFF:
            return self._acquire_workers(now_ms) if now_ms >= self._restart_at_ms else []
        if self._deadline_ms is None or now_ms < self._deadline_ms:
            return []
        self._deadline_ms = None
        if self._stage is Stage.STOPPING:
            return self._condemn(self._busy)
        return [*self._condemn(self._starting), *self._fail(self._not_registered(), now_ms)]

    # ---- the way up ---------------------------------------------------------------------------------------------------

    def _acquire_workers(self, now_ms: int) -> list[Action]:
        self._stage = Stage.AWAITING_WORKERS
        self._goal = _Goal.RUN
        self._deadline_ms = now_ms + self._config.registration_timeout_ms
        missing = [w for w in self._config.workers if w not in self._registered | self._starting]
        self._starting.update(missing)
        actions: list[Action] = [StartWorkers(tuple(missing))] if missing else []
        return actions + self._prepare_if_complete()

    def _prepare_if_complete(self) -> list[Action]:
        if self._stage is not Stage.AWAITING_WORKERS or self._registered != set(self._config.workers):
            return []
        self._stage = Stage.PREPARING
        self._deadline_ms = None
        self._attempt += 1
        return [PrepareAttempt(self._attempt)]

    def _end_if_over(self) -> list[Action]:
        if self._stage is not Stage.EXECUTING or self._ended != self._config.subtasks:
            return []
        if not self._config.checkpointing:
            return self._finish(commit_now=True)
        self._stage = Stage.FINAL_CHECKPOINT
        return [TriggerFinalCheckpoint(self._attempt)]

    def _finish(self, *, commit_now: bool) -> list[Action]:
        self._stage = Stage.FINISHING
        return [FinishAll(self._attempt, commit_now)]

    # ---- the way down -------------------------------------------------------------------------------------------------

    def _fail(self, failure: Failure, now_ms: int) -> list[Action]:
        delay_ms = self._strategy.on_failure(now_ms) if failure.recoverable else None
        if delay_ms is None:
            self._goal = _Goal.FAILED
            self._failure = failure
        else:
            self._goal = _Goal.RESTART
            self._restart_at_ms = now_ms + delay_ms
            self._restarts += 1
        return [ReportFailure(self._attempt, failure, delay_ms), *self._stop(now_ms)]

    def _stop(self, now_ms: int) -> list[Action]:
        self._stage = Stage.STOPPING
        self._settled = False
        self._deadline_ms = None
        actions: list[Action] = [StopCheckpointing()]
        if self._busy:
            self._deadline_ms = now_ms + self._config.cancellation_timeout_ms
            actions.append(CancelAll(self._attempt))
        return actions

    def _go_on_if_stopped(self, now_ms: int) -> list[Action]:
        if self._stage is not Stage.STOPPING or self._busy or not self._settled:
            return []
        self._deadline_ms = None
        if self._goal is not _Goal.RESTART:
            return self._end()
        self._stage = Stage.BACKOFF
        return self._on_tick(now_ms)

    def _end(self) -> list[Action]:
        self._stage = Stage.DONE
        self._deadline_ms = None
        if self._goal is _Goal.FAILED:
            assert self._failure is not None
            return [JobFailed(self._failure)]
        return [JobFinished() if self._goal is _Goal.FINISHED else JobCancelled()]

    def _condemn(self, workers: set[int]) -> list[Action]:
        self._condemned |= workers
        return [KillWorker(worker) for worker in sorted(workers)]

    def _not_registered(self) -> Failure:
        missing = ", ".join(map(str, sorted(self._starting)))
        waited_s = self._config.registration_timeout_ms // 1000
        return Failure(
            WorkerLostError(
                f"worker {missing} did not register within {waited_s} s",
                where="the start of the workers",
                fix="look at what the worker printed; a machine under heavy load may need fewer workers",
            )
        )

    def _violation(self, event: Event) -> ProtocolViolation:
        where = f"scheduler, attempt {self._attempt}, {self._stage.name}, goal {self._goal.name}"
        return ProtocolViolation(f"{event!r} is impossible here", where=where)


_OF_ATTEMPT = (
    AttemptPrepared,
    TasksRunning,
    AttemptFailed,
    InputEnded,
    TasksStopped,
    FinalCheckpointCompleted,
)
