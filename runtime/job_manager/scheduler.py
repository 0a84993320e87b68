"""The scheduler: decides when tasks are deployed, stopped and restarted, and how a job ends.

Each pipelined region of the job goes through these stages on its own:

    AWAITING_WORKERS -> PREPARING -> DEPLOYING -> EXECUTING -> FINISHING -> FINISHED
          ^                |             |            |            |           |
          |                `---- failure, lost worker, cancellation ----------'
          |                                           v
       BACKOFF <---------------------------------- STOPPING

Rules of this file:

- Checkpoints are of the whole job: they begin when all regions execute and stop when one of them no longer does. The others keep
  running meanwhile. The last checkpoint of a bounded job is taken when the input of all regions has ended.
- A failure restarts the regions it struck: that of a task its own, a lost worker those with tasks on it, failed checkpoints
  all. It uses up one restart, whatever it strikes. While a region is being stopped, further failures of it are echoes and use up
  none; but one that is not recoverable fails the job, since a restart would lose data.
- A cancellation turns restarts into a cancellation. A job that is already failing for good still fails: its error is told.
- A failure while the regions finish restarts all of them from the final checkpoint: their sources are at their end at once. So
  does one after `SourcesDrained`: regions that run well would take the end of their input, made for the savepoint, for a true one.
- After `StoppedWithSavepoint` there is no restart: a failure while the regions finish then ends the job, whose savepoint is whole.
- Whoever does not stop in time is killed; a worker that was killed for this uses up no restart.

INVARIANT S1: tasks of two attempts of a region never run at the same time: `DeployAll` leaves only when no worker may still have
tasks of the region.
INVARIANT S2: what to restore is asked for only after `CheckpointSettled`, when no metadata is being written.
INVARIANT S3: a failure of one region sends nothing to the tasks of another, unless the whole job fails or finishes.
Kept by: tests/simulation/test_scheduler.py
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import assert_never

from ...core.errors import ProtocolViolation, WorkerLostError
from .region_run import BEFORE_DEPLOYMENT, RegionRun, Stage
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
    JobFailure,
    JobFinished,
    JobStatus,
    KillWorker,
    PrepareAttempt,
    ReportFailure,
    SchedulerConfig,
    SourcesDrained,
    StartCheckpointing,
    Started,
    StartWorkers,
    StopCheckpointing,
    StoppedWithSavepoint,
    TasksRunning,
    TasksStopped,
    Tick,
    TriggerFinalCheckpoint,
    WorkerLost,
    WorkerRegistered,
)


class _Goal(enum.Enum):
    """What follows when nothing runs any more."""

    RUN = "nothing: whatever stops is started again"
    FINISHED = "the end"
    FAILED = "the end with an error"
    CANCELED = "the end as asked for"


_STATUS_OF_GOAL = {
    _Goal.FINISHED: JobStatus.RUNNING,
    _Goal.FAILED: JobStatus.FAILING,
    _Goal.CANCELED: JobStatus.CANCELLING,
}
_STATUS_OF_END = {
    _Goal.FINISHED: JobStatus.FINISHED,
    _Goal.FAILED: JobStatus.FAILED,
    _Goal.CANCELED: JobStatus.CANCELED,
}


class Scheduler:
    """Decides about the attempts of one job; never sends, sleeps, logs or reads a clock."""

    def __init__(self, config: SchedulerConfig, strategy: RestartStrategy) -> None:
        self._config = config
        self._strategy = strategy
        self._regions = [RegionRun(index, region) for index, region in enumerate(config.regions)]
        self._goal = _Goal.RUN
        self._is_over = False
        self._attempt = config.first_attempt - 1
        self._restarts = 0
        self._failure: Failure | None = None
        self._settled = True
        self._final_requested = False
        self._drained = False
        self._last_attempts = False  # no attempt may follow
        # Every worker is in none or one of the first two; those with tasks (`RegionRun.busy`) are registered.
        self._starting: set[int] = set()
        self._registered: set[int] = set()
        self._condemned: set[int] = set()

    # ---- questions ----------------------------------------------------------------------------------------------------

    @property
    def status(self) -> JobStatus:
        """What the user is told."""
        if self._goal is not _Goal.RUN:
            return (_STATUS_OF_END if self._is_over else _STATUS_OF_GOAL)[self._goal]
        stages = set(self.stages)
        if stages == {Stage.CREATED}:
            return JobStatus.CREATED
        return JobStatus.RESTARTING if stages & {Stage.STOPPING, Stage.BACKOFF} else JobStatus.RUNNING

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Where each region is."""
        return tuple(run.stage for run in self._regions)

    @property
    def attempt(self) -> int:
        """The newest attempt of all regions; one below the first until there is one."""
        return self._attempt

    @property
    def restarts(self) -> int:
        """How often the strategy allowed a restart."""
        return self._restarts

    def attempt_of(self, region: int) -> int | None:
        """The current attempt of a region, or its last one; None before the first."""
        return self._regions[region].attempt

    def region_of(self, attempt: int) -> int | None:
        """The region whose current attempt this is; None for one that is over, or not yet."""
        return next((run.index for run in self._regions if run.attempt == attempt), None)

    def next_deadline_ms(self) -> int | None:
        """When the next `Tick` is due at the latest (monotonic); None: only an event can change anything."""
        waiting = (run for run in self._regions if self._goal is _Goal.RUN or not run.at_rest)
        deadlines = (run.next_deadline_ms() for run in waiting)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # ---- events -------------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        """Actions to perform in order. Messages of earlier attempts are late and change nothing.

        Raises:
            ProtocolViolation: an event that cannot happen in this state: a bug of the shell or of a worker.
        """
        match event:
            case Started():
                return self._on_started(event, now_ms)
            case WorkerRegistered(worker=worker):
                return self._on_registered(worker)
            case WorkerLost(worker=worker, failure=failure):
                return self._on_lost(worker, failure, now_ms)
            case JobFailure(failure=failure):
                return self._fail(self._regions, failure, now_ms)
            case CheckpointSettled():
                self._settled = True
                return self._go_on(now_ms)
            case FinalCheckpointCompleted(attempt=attempt):
                is_late = attempt != self._attempt or not self._final_requested
                return [] if is_late else self._finish(commit_now=False)
            case SourcesDrained():
                self._drained = True
                return []
            case StoppedWithSavepoint(attempt=attempt):
                if attempt != self._attempt or set(self.stages) != {Stage.EXECUTING}:
                    return []
                self._last_attempts = True
                return self._finish(commit_now=False)
            case CancelRequested():
                return self._on_cancel(now_ms)
            case Tick():
                return self._on_tick(now_ms)
            case AttemptPrepared() | TasksRunning() | AttemptFailed() | InputEnded() | TasksStopped():
                return self._on_attempt(event, now_ms)
            case _:
                assert_never(event)

    def _on_attempt(
        self,
        event: AttemptPrepared | TasksRunning | AttemptFailed | InputEnded | TasksStopped,
        now_ms: int,
    ) -> list[Action]:
        if event.attempt > self._attempt:
            raise self._violation(event)
        region = self.region_of(event.attempt)
        if region is None or self._is_over:
            return []
        run = self._regions[region]
        match event:
            case AttemptPrepared():
                return self._on_prepared(run)
            case TasksRunning(worker=worker):
                return self._on_running(run, worker, event)
            case AttemptFailed(failure=failure):
                return self._on_failed(run, failure, now_ms)
            case InputEnded(subtask=subtask):
                run.ended.add(subtask)
                return self._end_if_over()
            case TasksStopped(worker=worker):
                return self._on_stopped(run, worker, event, now_ms)

    def _on_started(self, event: Started, now_ms: int) -> list[Action]:
        if self._is_over:  # cancelled before it began
            return []
        if set(self.stages) != {Stage.CREATED}:
            raise self._violation(event)
        return self._acquire_workers(self._regions, now_ms)

    def _on_registered(self, worker: int) -> list[Action]:
        if worker not in self._starting:
            raise self._violation(WorkerRegistered(worker))
        self._starting.discard(worker)
        self._registered.add(worker)
        return self._prepare_those_complete()

    def _on_lost(self, worker: int, failure: Failure, now_ms: int) -> list[Action]:
        expected = worker in self._condemned
        had_tasks = [run for run in self._regions if run.is_deployed and worker in run.busy]
        awaited = [
            run for run in self._regions if run.stage in BEFORE_DEPLOYMENT and worker in run.region.workers
        ]
        for run in self._regions:
            run.busy.discard(worker)
            run.running.discard(worker)
        for group in (self._starting, self._registered, self._condemned):
            group.discard(worker)
        if self._goal is not _Goal.RUN:
            return self._go_on(now_ms)
        if not expected:
            return [*self._fail([*had_tasks, *awaited], failure, now_ms), *self._go_on(now_ms)]
        # Killed for the sake of a region that did not stop: what else it ran restarts at once, and uses up nothing.
        struck = self._with_companions(had_tasks) if had_tasks else []
        actions = self._restart(struck, now_ms, now_ms) + self._go_on(now_ms)
        return actions + (self._acquire_workers(awaited, now_ms) if awaited else [])

    def _on_prepared(self, run: RegionRun) -> list[Action]:
        if run.stage is not Stage.PREPARING:
            return []
        run.begin_deployment()
        assert run.attempt is not None
        return [DeployAll(run.attempt, run.index, self._oldest_attempt())]

    def _on_running(self, run: RegionRun, worker: int, event: TasksRunning) -> list[Action]:
        if run.stage is not Stage.DEPLOYING:
            if run.stage in {Stage.STOPPING, Stage.BACKOFF, Stage.AWAITING_WORKERS}:
                return []
            raise self._violation(event)
        run.running.add(worker)
        if run.running != run.region.workers:
            return []
        run.stage = Stage.EXECUTING
        if set(self.stages) != {Stage.EXECUTING}:
            return []
        self._drained = False
        return [StartCheckpointing(self._attempt), *self._end_if_over()]

    def _on_failed(self, run: RegionRun, failure: Failure, now_ms: int) -> list[Action]:
        if run.stage is Stage.STOPPING and self._goal is _Goal.RUN and not failure.recoverable:
            return self._fail_for_good([run], failure, now_ms)
        return self._fail([run], failure, now_ms)

    def _on_stopped(self, run: RegionRun, worker: int, event: TasksStopped, now_ms: int) -> list[Action]:
        if run.stage in {Stage.DEPLOYING, Stage.EXECUTING}:
            raise self._violation(event)
        # A worker that closed for `FinishAll` while another one failed answers the `CancelAll` that follows once more.
        run.busy.discard(worker)
        if run.stage is Stage.FINISHING and not run.busy:
            run.stage = Stage.FINISHED
            if set(self.stages) == {Stage.FINISHED}:
                return self._shut_down(_Goal.FINISHED, now_ms)
        return self._go_on(now_ms)

    def _on_cancel(self, now_ms: int) -> list[Action]:
        return self._shut_down(_Goal.CANCELED, now_ms) if self._goal is _Goal.RUN else []

    def _on_tick(self, now_ms: int) -> list[Action]:
        due = [run for run in self._regions if run.is_due(now_ms) and not self._is_over]
        overdue: set[int] = set()
        unregistered: set[int] = set()
        for run in due:
            run.deadline_ms = None
            if run.stage is Stage.STOPPING:
                overdue |= run.busy
            elif run.stage is Stage.AWAITING_WORKERS:
                unregistered |= self._starting & run.region.workers
        actions = self._condemn(overdue | unregistered)
        if unregistered:
            struck = [run for run in due if run.region.workers & unregistered]
            actions += self._fail(struck, self._not_registered(unregistered), now_ms)
        ready = [run for run in due if run.stage is Stage.BACKOFF and self._goal is _Goal.RUN]
        return actions + (self._acquire_workers(ready, now_ms) if ready else [])

    # ---- the way up ---------------------------------------------------------------------------------------------------

    def _acquire_workers(self, runs: Iterable[RegionRun], now_ms: int) -> list[Action]:
        needed: set[int] = set()
        for run in runs:
            run.stage = Stage.AWAITING_WORKERS
            run.deadline_ms = now_ms + self._config.registration_timeout_ms
            needed |= run.region.workers
        missing = sorted(needed - self._registered - self._starting)
        self._starting.update(missing)
        actions: list[Action] = [StartWorkers(tuple(missing))] if missing else []
        return actions + self._prepare_those_complete()

    def _prepare_those_complete(self) -> list[Action]:
        actions: list[Action] = []
        for run in self._regions if self._settled else ():
            if run.stage is Stage.AWAITING_WORKERS and run.region.workers <= self._registered:
                run.stage = Stage.PREPARING
                run.deadline_ms = None
                self._attempt += 1
                run.attempt = self._attempt
                actions.append(PrepareAttempt(self._attempt, self._oldest_attempt()))
        return actions

    def _oldest_attempt(self) -> int:
        return min(run.attempt for run in self._regions if run.attempt is not None)

    def _end_if_over(self) -> list[Action]:
        if self._final_requested or not all(run.input_ended for run in self._regions):
            return []
        if not self._config.checkpointing:
            return self._finish(commit_now=True)
        self._final_requested = True
        return [TriggerFinalCheckpoint(self._attempt)]

    def _finish(self, *, commit_now: bool) -> list[Action]:
        actions: list[Action] = []
        for run in self._regions:
            assert run.attempt is not None
            run.stage = Stage.FINISHING
            actions.append(FinishAll(run.attempt, commit_now))
        return actions

    # ---- the way down -------------------------------------------------------------------------------------------------

    def _fail(self, struck: Iterable[RegionRun], failure: Failure, now_ms: int) -> list[Action]:
        """The regions of `struck` for which it is news restart, or the job fails."""
        runs = [run for run in struck if run.may_fail]
        if not runs or self._goal is not _Goal.RUN:
            return []
        runs = self._with_companions(runs)
        restarts = failure.recoverable and not self._last_attempts
        delay_ms = self._strategy.on_failure(now_ms) if restarts else None
        if delay_ms is None:
            return self._fail_for_good(runs, failure, now_ms)
        self._restarts += 1
        report = ReportFailure(tuple(run.index for run in runs), failure, delay_ms)
        return [report, *self._restart(runs, now_ms + delay_ms, now_ms)]

    def _with_companions(self, runs: list[RegionRun]) -> list[RegionRun]:
        """These regions, and those that cannot go on without them."""
        together = self._drained or any(run.stage is Stage.FINISHING for run in runs)
        return [run for run in self._regions if run.has_attempt or run in runs] if together else runs

    def _fail_for_good(self, runs: Iterable[RegionRun], failure: Failure, now_ms: int) -> list[Action]:
        self._failure = failure
        report = ReportFailure(tuple(run.index for run in runs), failure, None)
        return [report, *self._shut_down(_Goal.FAILED, now_ms)]

    def _restart(self, runs: Iterable[RegionRun], at_ms: int, now_ms: int) -> list[Action]:
        for run in runs:
            run.restart_at_ms = at_ms
        return self._stop(runs, now_ms)

    def _shut_down(self, goal: _Goal, now_ms: int) -> list[Action]:
        self._goal = goal
        return self._stop([run for run in self._regions if not run.at_rest], now_ms) + self._go_on(now_ms)

    def _stop(self, runs: Iterable[RegionRun], now_ms: int) -> list[Action]:
        stopping = [run for run in runs if run.stage is not Stage.STOPPING]
        if not stopping:
            return []
        cancels = [
            CancelAll(run.attempt, run.index)
            for run in stopping
            if run.has_attempt and run.attempt is not None
        ]
        for run in stopping:
            run.stop(now_ms + self._config.cancellation_timeout_ms)
        self._final_requested = False
        stop: list[Action] = [StopCheckpointing()] if self._settled else []
        self._settled = False
        return [*stop, *cancels]

    def _go_on(self, now_ms: int) -> list[Action]:
        """Whatever had to wait until tasks have stopped and the checkpoints have settled."""
        if not self._settled or self._is_over:
            return []
        stopped = [run for run in self._regions if run.stage is Stage.STOPPING and not run.busy]
        for run in stopped:
            run.stage = Stage.BACKOFF
            run.deadline_ms = None
        if self._goal is _Goal.RUN:
            return [*self._on_tick(now_ms), *self._prepare_those_complete()]
        return self._end() if all(run.at_rest for run in self._regions) else []

    def _end(self) -> list[Action]:
        self._is_over = True
        if self._goal is _Goal.FAILED:
            assert self._failure is not None
            return [JobFailed(self._failure)]
        return [JobFinished() if self._goal is _Goal.FINISHED else JobCancelled()]

    def _condemn(self, workers: set[int]) -> list[Action]:
        self._condemned |= workers
        return [KillWorker(worker) for worker in sorted(workers)]

    def _not_registered(self, missing: set[int]) -> Failure:
        waited_s = self._config.registration_timeout_ms // 1000
        return Failure(
            WorkerLostError(
                f"worker {', '.join(map(str, sorted(missing)))} did not register within {waited_s} s",
                where="the start of the workers",
                fix="look at what the worker printed; a machine under heavy load may need fewer workers",
            )
        )

    def _violation(self, event: Event) -> ProtocolViolation:
        regions = ", ".join(f"{run.attempt}: {run.stage.name}" for run in self._regions)
        where = f"scheduler, attempts {regions}, goal {self._goal.name}"
        return ProtocolViolation(f"{event!r} is impossible here", where=where)
