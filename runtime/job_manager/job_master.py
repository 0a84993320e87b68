"""The JobManager's part in one job: carries events to the machines that decide, and performs what they ask for.

Decisions are the scheduler's, the checkpoint coordinator's and the enumerators'; `task_messages.py` tells the tasks. Everything
here runs in one thread, which calls `step` whenever the cluster, a helper thread or a deadline has something.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, assert_never

from ...checkpoint.messages import ToTask
from ...checkpoint.metadata import Metadata
from ...core.clock import Clock
from ...core.errors import CheckpointError, CheckpointFailureReason, ConnectorError
from ...core.ids import SubtaskId, subtask_id
from ...core.savepoints import SavepointFormatType, SavepointTarget
from ...operators.iteration import IterationHeadSpec
from .. import messages as wire
from ..graph.job_graph import JobVertex
from .background import Background
from .checkpoints import Checkpoints
from .cleanup import Cleanup
from .cluster import Cluster, MessageArrived, WorkerGone
from .collected import CollectedResults
from .failure import failure_of_task, failure_of_worker
from .job_run import JobRun
from .restore import RestorePlan, plan_restore
from .savepoints import SavepointRequest, SavepointRequests, Stop, batch_mode, suspended_loop
from .scheduler import Scheduler
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
from .source_coordinator import SourceCoordinator, SourceCoordinators
from .statistics import JobStatistics, TaskCounters
from .task_messages import TaskMessages

_LOG: Final = logging.getLogger(__name__)


class JobMaster:
    """Runs one job on one cluster, from `start` until `outcome` is set."""

    def __init__(self, run: JobRun, cluster: Cluster, clock: Clock) -> None:
        self._run = run
        self._cluster = cluster
        self._clock = clock
        self._scheduler = Scheduler(run.scheduling, run.strategy)
        self._events: deque[Event] = deque()
        self._handling = False
        self._background = Background("millstream-storage", cluster.wake)
        self._cleanup = Cleanup(cluster.wake, run.fencing)
        self._checkpoints = (
            None
            if run.checkpointed is None
            else Checkpoints(run.checkpointed, self, self._background, self._cleanup, clock)
        )
        self._tasks = TaskMessages(run, cluster, self._scheduler)
        self._sources = SourceCoordinators(self._source_coordinator, self._tasks.align)
        self._addresses: dict[int, str] = {}
        self._plans: dict[int, RestorePlan] = {}  # of attempts that are being prepared
        self._checkpointed_attempt = 0
        self._counters = TaskCounters(run.graph)
        self._last_failure: str | None = None
        self._cancel_asked = False
        self._at_work = False  # whether anything was ever given to read
        self._savepoints = SavepointRequests()
        self.results = CollectedResults()
        self.outcome: JobFinished | JobFailed | JobCancelled | None = None

    # ---- the loop -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Once."""
        self._post(Started())

    def cancel(self) -> None:
        """Ask for the end. From any thread, any number of times."""
        self._cancel_asked = True
        self._cluster.wake()

    def trigger_checkpoint(self, request_id: str) -> None:
        """Take a checkpoint now, beside the periodic ones; refused unless all tasks run and checkpoints are on."""
        if self._checkpoints is not None:
            self._checkpoints.request(request_id)

    def savepoint(self, directory: str, kind: SavepointFormatType, stop: Stop) -> Future[str]:
        """Take a savepoint in a new folder below `directory`: its path or URL. From any thread.

        The future raises CheckpointError when it cannot be taken, or the job ends otherwise.
        """
        future = self._savepoints.submit(directory, kind, stop)
        self._cluster.wake()
        return future

    def conclude(self) -> None:
        """Nothing of the job runs any more: whoever waits for a savepoint hears of it."""
        self._savepoints.conclude(self.outcome)

    def step(self) -> bool:
        """Handle everything that has come up; whether there was anything."""
        now_ms = self._clock.monotonic_ms()
        events = self._cluster.events()
        for event in events:
            if isinstance(event, MessageArrived):
                self._on_message(event.worker, event.message)
            else:
                self._on_gone(event)
        requests = list(self._savepoints.take())
        for request in requests:
            self._request_savepoint(request)
        if self._cancel_asked:
            self._cancel_asked = False
            self._post(CancelRequested())
        busy = self._background.deliver()
        busy = self._cleanup.deliver() or busy
        busy = self._sources.step(now_ms) or busy
        if self._checkpoints is not None:
            self._checkpoints.tick(now_ms)
        deadline = self._scheduler.next_deadline_ms()
        due = deadline is not None and deadline <= now_ms
        if due:
            self._post(Tick())
        # What a request or a tick brought about may wait for a worker in this very thread.
        return bool(events) or bool(requests) or busy or due

    def next_deadline_ms(self) -> int | None:
        """When `step` has something to do though nothing happened (monotonic)."""
        deadlines = (
            self._scheduler.next_deadline_ms(),
            self._sources.next_deadline_ms(),
            None if self._checkpoints is None else self._checkpoints.next_deadline_ms(),
        )
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    @property
    def busy(self) -> bool:
        """Whether a helper thread has something to do, whose outcome `step` will handle."""
        return self._background.busy or self._sources.busy

    def join(self, timeout_s: float) -> None:
        """Wait until the helper threads have nothing to do, at most so long for each."""
        self._background.join(timeout_s)
        self._sources.join(timeout_s)

    def close(self, *, force: bool) -> None:
        """Give everything back; storage work that was begun is ended first, unless forced. Idempotent.

        No worker runs any more.
        """
        self._sources.close()
        if not force and isinstance(self.outcome, JobFinished | JobCancelled):
            points, next_attempt = self._run.restore_points, self._scheduler.attempt + 1
            self._background.submit(lambda: points.tidy_up(next_attempt), lambda _: None, lambda _: None)
        self._background.close(join=not force)
        self._cleanup.close(join=not force)
        self.results.end()

    @property
    def _takes_checkpoints(self) -> bool:
        """Periodically, and a last one; otherwise there are at most savepoints."""
        return self._run.scheduling.checkpointing

    @property
    def status(self) -> JobStatus:
        """Where the job is in its life. From any thread."""
        return self._scheduler.status

    def statistics(self) -> JobStatistics:
        """A snapshot. From any thread."""
        checkpoints = self._checkpoints if self._takes_checkpoints else None
        return JobStatistics(
            job_id=self._run.job_id,
            job_name=self._run.graph.job.settings.name,
            status=self._scheduler.status,
            attempt=self._scheduler.attempt,
            restarts=self._scheduler.restarts,
            vertices=self._counters.by_vertex(),
            checkpoints=None if checkpoints is None else checkpoints.statistics(),
            latest_checkpoint=None if checkpoints is None else checkpoints.latest_path,
            last_failure=self._last_failure,
            accumulators=self._counters.accumulators(),
        )

    # ---- what happens -------------------------------------------------------------------------------------------------

    def _on_gone(self, event: WorkerGone) -> None:
        self._addresses.pop(event.worker, None)
        self._post(WorkerLost(event.worker, failure_of_worker(event.worker, event.reason)))

    def _on_message(self, worker: int, message: wire.FromWorker) -> None:
        match message:
            case wire.WorkerRegistered(address=address):
                self._addresses[worker] = address
                self._post(WorkerRegistered(worker))
            case wire.TasksRunning(attempt=attempt):
                self._post(TasksRunning(worker, attempt))
                if self._is_current(attempt):
                    self._add_readers(worker, attempt)
            case wire.TaskFailed(attempt=attempt, failure=failure):
                self._post(AttemptFailed(attempt, self._judged(failure_of_task(failure), attempt)))
            case wire.SplitRequested(attempt=attempt, subtask=subtask):
                if self._is_current(attempt):
                    vertex, _, index = subtask.partition("/")
                    self._sources.handle_split_request(int(vertex), int(index))
            case wire.EventToEnumerator(attempt=attempt, subtask=subtask, event=event):
                if self._is_current(attempt):
                    vertex, _, index = subtask.partition("/")
                    self._sources.handle_event(int(vertex), int(index), event)
            case wire.WatermarkReported(attempt=attempt, subtask=subtask, watermark=watermark):
                if self._is_current(attempt):
                    vertex, _, index = subtask.partition("/")
                    self._sources.report_watermark(int(vertex), int(index), watermark)
            case wire.InputEnded(attempt=attempt, subtask=subtask):
                self._post(InputEnded(attempt, subtask))
            case wire.FromSubtask(attempt=attempt, message=answer):
                if self._checkpoints is not None:
                    self._checkpoints.on_message(answer, self._checkpointing_attempt(attempt))
            case wire.TasksStopped(attempt=attempt):
                self._post(TasksStopped(worker, attempt))
            case wire.PeerSilent():
                self._on_silence(worker, message)
            case wire.ClientData():
                self.results.add(message)
            case wire.WorkerStatistics(attempt=attempt, tasks=tasks):
                if self._is_current(attempt):
                    self._counters.update(tasks)
            case _:
                assert_never(message)

    def _on_silence(self, worker: int, silence: wire.PeerSilent) -> None:
        """A connection between workers fails its attempt, unless it is silent because the loop at the other end is busy."""
        turn_ms = self._cluster.turn_ms(silence.peer)
        if turn_ms is None or turn_ms > silence.silence_ms // 2:
            return  # what it was asked for at the beginning of the silence it may not have read yet
        error = ConnectorError(
            f"the connection between workers {worker} and {silence.peer} is silent for {silence.silence_ms} ms, "
            "though both are alive",
            where=f"worker {worker}",
            retryable=True,
        )
        self._post(AttemptFailed(silence.attempt, Failure(error)))

    def _add_readers(self, worker: int, attempt: int) -> None:
        for subtask in self._run.graph.subtasks:
            mine = subtask.worker == worker and self._tasks.attempt_of(subtask.subtask_id) == attempt
            if mine and subtask.vertex.is_source:
                self._sources.add_reader(subtask.vertex.index, subtask.index)

    def attempt_of(self, subtask: str) -> int:
        """See `TaskMessages`."""
        return self._tasks.attempt_of(subtask)

    def _is_current(self, attempt: int) -> bool:
        return self._scheduler.region_of(attempt) is not None

    def _checkpointing_attempt(self, attempt: int) -> int:
        """What the coordinator takes a message of `attempt` for: one of its own time, or a late one, known by its number."""
        return self._checkpointed_attempt if self._is_current(attempt) else attempt

    def _judged(self, failure: Failure, attempt: int) -> Failure:
        """A damaged file of the restored checkpoint is no reason to give up as long as there is an older checkpoint.

        An outside system that cannot be reached when the run begins is one, at once: its address may be wrong.
        """
        match failure.error:
            case ConnectorError() as error:
                scheduling = self._run.scheduling
                again = self._at_work or attempt >= scheduling.first_attempt + len(scheduling.regions)
                return Failure(error, recoverable=failure.recoverable and again)
            case CheckpointError(reason=CheckpointFailureReason.CORRUPT) as error if self._is_current(
                attempt
            ):
                return Failure(error, recoverable=self._run.restore_points.distrust(error))
        return failure

    # ---- Peers of the checkpoints -------------------------------------------------------------------------------------

    def send_to_tasks(self, message: ToTask, subtasks: Sequence[str]) -> None:
        """See `checkpoints.Peers`."""
        self._tasks.checkpoint(message, subtasks)

    def snapshot_enumerators(self, checkpoint_id: int) -> Mapping[str, bytes] | None:
        """See `checkpoints.Peers`."""
        return self._sources.snapshot(checkpoint_id)

    def fail_job(self, failure: Failure) -> None:
        """See `checkpoints.Peers`."""
        self._post(JobFailure(failure))

    def checkpointing_settled(self) -> None:
        """See `checkpoints.Peers`."""
        self._post(CheckpointSettled())

    def final_checkpoint_completed(self) -> None:
        """See `checkpoints.Peers`."""
        self._post(FinalCheckpointCompleted(self._scheduler.attempt))

    def drain_sources(self, subtasks: Sequence[str]) -> None:
        """See `checkpoints.Peers`."""
        self._post(SourcesDrained())
        self._tasks.drain(subtasks)

    def savepoint_completed(self, request_ids: Sequence[str], savepoint: SavepointTarget) -> None:
        """See `checkpoints.Peers`."""
        for request_id in request_ids:
            if savepoint.stops:
                self._savepoints.stopped(request_id, savepoint.folder)
            else:
                self._savepoints.completed(request_id, savepoint.folder)
        if savepoint.stops:
            self._post(StoppedWithSavepoint(self._scheduler.attempt))

    def savepoint_failed(self, request_ids: Sequence[str], error: CheckpointError) -> None:
        """See `checkpoints.Peers`."""
        for request_id in request_ids:
            self._savepoints.failed(request_id, error)

    def _request_savepoint(self, request: SavepointRequest) -> None:
        vertices = self._run.graph.job.vertices
        loops = any(isinstance(o.operator, IterationHeadSpec) for v in vertices for o in v.operators)
        if self._checkpoints is None:
            self._savepoints.failed(request.request_id, batch_mode())
        elif request.stop is Stop.SUSPEND and loops:
            self._savepoints.failed(request.request_id, suspended_loop())
        else:
            self._checkpoints.request_savepoint(request)

    # ---- what the scheduler asks for ----------------------------------------------------------------------------------

    def _post(self, event: Event) -> None:
        """Handle an event, and those that performing brings about, one after the other."""
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                for action in self._scheduler.handle(self._events.popleft(), self._clock.monotonic_ms()):
                    self._perform(action)
        finally:
            self._handling = False

    def _perform(self, action: Action) -> None:
        match action:
            case StartWorkers(workers=workers):
                self._cluster.start_workers(workers)
            case KillWorker(worker=worker):
                _LOG.warning("worker %d does not stop its tasks and is killed", worker)
                self._cluster.kill_worker(worker)
            case PrepareAttempt():
                self._prepare(action)
            case DeployAll():
                self._deploy(action)
            case StartCheckpointing(attempt=attempt):
                self._checkpointed_attempt = attempt
                if self._checkpoints is not None:
                    self._checkpoints.start(attempt)
            case StopCheckpointing():
                if self._checkpoints is None:
                    self._post(CheckpointSettled())
                else:
                    self._checkpoints.stop()
            case TriggerFinalCheckpoint():
                assert self._checkpoints is not None
                self._checkpoints.request_final()
            case FinishAll(attempt=attempt, commit_now=commit_now):
                latest = None if self._checkpoints is None else self._checkpoints.latest_id
                self._tasks.to_region_of(attempt, wire.FinishTasks(attempt, commit_now, latest))
            case CancelAll(attempt=attempt, region=region):
                self._sources.close(self._run.regions[region])
                self._tasks.to_region_of(attempt, wire.CancelTasks(attempt))
            case ReportFailure():
                self._report(action)
            case JobFinished() | JobFailed() | JobCancelled():
                self.outcome = action
                if self._checkpoints is not None:
                    self._checkpoints.job_ended(self._scheduler.status)
            case _:
                assert_never(action)

    def _prepare(self, action: PrepareAttempt) -> None:
        attempt, oldest_attempt = action.attempt, action.oldest_attempt
        retained = () if self._checkpoints is None else self._checkpoints.retained_ids

        def found(metadata: Metadata | None) -> None:
            job = self._run.graph.job
            self._plans[attempt] = RestorePlan() if metadata is None else plan_restore(metadata, job)
            self._post(AttemptPrepared(attempt))

        def failed(error: Exception) -> None:
            passing = isinstance(error, CheckpointError) and error.reason is CheckpointFailureReason.STORAGE
            self._post(AttemptFailed(attempt, Failure(error, recoverable=passing)))

        points = self._run.restore_points
        if not self._takes_checkpoints and points.starts_empty:
            found(None)  # no storage, no helper thread: a small job starts at once
        else:
            self._background.submit(lambda: points.find(attempt, oldest_attempt, retained), found, failed)

    def _deploy(self, action: DeployAll) -> None:
        run, plan = self._run, self._plans[action.attempt]
        # Attempts are deployed in their order: those below that were prepared have been given up.
        self._plans = {number: found for number, found in self._plans.items() if number > action.attempt}
        self._counters.clear(run.scheduling.regions[action.region].subtasks)
        if plan.checkpoint_id is not None:
            _LOG.info("attempt %d restores checkpoint %d", action.attempt, plan.checkpoint_id)
        self._tasks.deploy(action, plan, self._addresses)
        vertices = run.regions[action.region]
        sources = [vertex for vertex in run.graph.job.vertices if vertex.index in vertices]
        self._sources.start(sources, plan.enumerators, plan.splits, self._clock.monotonic_ms())

    def _source_coordinator(self, vertex: JobVertex) -> SourceCoordinator:
        attempt = self._tasks.attempt_of(subtask_id(vertex.index, 0))

        def send(subtask: SubtaskId, splits: list[bytes], *, no_more: bool) -> None:
            self._at_work = True
            self._tasks.splits(attempt, subtask, splits, no_more=no_more)

        return SourceCoordinator(
            vertex,
            send=send,
            send_event=partial(self._tasks.event, attempt),
            fail=lambda failure: self._post(AttemptFailed(attempt, self._judged(failure, attempt))),
            wake=self._cluster.wake,
            clock=self._clock,
        )

    def _report(self, action: ReportFailure) -> None:
        text, delay_ms = str(action.failure.error), action.restart_in_ms
        self._last_failure = text.splitlines()[0] if text else type(action.failure.error).__name__
        if delay_ms is None:
            return
        struck, regions = len(action.regions), len(self._run.regions)
        what = (
            "the job failed and restarts" if struck == regions else f"{struck} of {regions} regions restart"
        )
        _LOG.warning("%s in %d ms: %s", what, delay_ms, text)
