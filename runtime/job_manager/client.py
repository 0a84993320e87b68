"""What a program holds of its job: start, watch, cancel, wait."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from random import Random
from typing import Any

from ...core.clock import Clock, SystemClock
from ...core.configuration import Configuration, options
from ...core.errors import ConfigurationError, JobCancelledError, JobExecutionError, LeadershipLostError
from ...core.ids import JobId
from ...core.savepoints import SavepointFormatType
from ...operators.accumulator_registry import accumulator_results
from ..graph.execution_graph import ExecutionGraph
from ..graph.job_graph import JobGraph
from .batch_mode import fit_to_mode
from .cluster import Cluster
from .completable_future import CompletableFuture, completed, following
from .job_master import JobMaster
from .job_run import JobRun
from .job_setup import absolute_directory, make_cluster, prepare_run
from .savepoints import Stop
from .scheduling import JobFailed, JobFinished, JobStatus
from .signals import SignalGuard
from .statistics import JobStatistics
from .transaction_timeouts import fit_to_transactions


@dataclass(frozen=True, slots=True)
class JobExecutionResult:
    """A job that finished.

    Attributes:
        net_runtime_ms: from the start of the job to the end of its last commit.
    """

    job_id: JobId
    net_runtime_ms: int
    statistics: JobStatistics

    def get_job_id(self) -> JobId:
        """The job's id."""
        return self.job_id

    def get_net_runtime(self) -> int:
        """Milliseconds."""
        return self.net_runtime_ms

    def get_accumulator_result(self, accumulator_name: str) -> Any:
        """The result of an accumulator over all subtasks, each record counted once, also after restarts with checkpoints.

        Returns:
            None if there is no accumulator of this name.

        Raises:
            JobDefinitionError: accumulators of one name are of different kinds.
        """
        return self.get_all_accumulator_results().get(accumulator_name)

    def get_all_accumulator_results(self) -> dict[str, Any]:
        """The results of all accumulators by name. Raises as `get_accumulator_result`."""
        return accumulator_results(self.statistics.accumulators)

    def is_job_execution_result(self) -> bool:
        """True: there is a result."""
        return True


def submit(
    job_graph: JobGraph,
    configuration: Configuration,
    *,
    resume: bool = False,
    savepoint_path: str | None = None,
    clock: Clock | None = None,
    cluster: Callable[[ExecutionGraph, Configuration, Clock], Cluster] = make_cluster,
) -> JobClient:
    """A client whose job is ready to run, with everything checked that can be checked before; nothing runs yet.

    With high availability it returns once this process leads, or once the job has ended under another leader; the workers
    are processes then, whatever `cluster` makes.

    Args:
        resume: go on from the newest complete checkpoint of a job of this name; start afresh where there is none.
        savepoint_path: start from exactly this checkpoint; `execution.savepoint.path` if None.
        clock: processing time, and the time of everything that is due; the machine's if None.
        cluster: makes the workers.

    Raises:
        JobDefinitionError: the program or its configuration cannot run.
        CheckpointError: the checkpoint directory cannot be written, or what to restore is damaged or does not fit.
    """
    path = savepoint_path if savepoint_path is not None else configuration.get(options.SAVEPOINT_PATH)
    configuration, resume = fit_to_mode(job_graph, configuration, resume=resume, savepoint_path=path)
    configuration = fit_to_transactions(job_graph, configuration)
    clock = SystemClock() if clock is None else clock
    if configuration.get(options.HA_TYPE) != "NONE":
        from .standby import submit_or_stand_by  # what few jobs need

        return submit_or_stand_by(job_graph, configuration, clock, resume=resume, savepoint_path=path)
    run = prepare_run(
        job_graph, configuration, resume=resume, savepoint_path=path, random=Random(clock.now_ms())
    )
    return JobClient(run, cluster(run.graph, configuration, clock), clock)


class JobClient:
    """A job and its JobManager, which lives in this process: in the calling thread or in one of its own.

    A job in a background thread is cancelled when the program ends; `wait` for it if it shall go on.
    """

    def __init__(self, run: JobRun, cluster: Cluster, clock: Clock) -> None:
        self._run_description = run
        self._cluster = cluster
        self._clock = clock
        self._master = JobMaster(run, cluster, clock)
        self._result: Future[JobExecutionResult] = Future()
        self._thread: threading.Thread | None = None
        self._started_ms = 0
        self._giving_up = False

    # ---- running ------------------------------------------------------------------------------------------------------

    def run_in_this_thread(self) -> JobExecutionResult:
        """Run the job to its end. In the main thread, Ctrl-C or SIGTERM cancels it cleanly, a second one at once.

        With high availability SIGTERM leaves the job to a standby.

        Raises:
            JobExecutionError: it failed; the cause is chained, and its text is in the message.
            JobCancelledError: it was cancelled from another thread.
            KeyboardInterrupt, SystemExit: a signal ended it.
        """
        terminate = self._give_up_leadership if self._run_description.fencing.outlived else None
        with SignalGuard(self.cancel, self._cluster.wakeup_fd(), terminate) as guard:
            self._run()
        guard.raise_if_signalled()
        return self._result.result()

    def run_in_background(self) -> None:
        """Start the job in a thread of its own; returns at once."""
        name = f"job {self._run_description.graph.job.settings.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        atexit.register(self.cancel_and_wait)
        self._thread.start()

    # ---- PyFlink's JobClient ------------------------------------------------------------------------------------------

    def get_job_id(self) -> JobId:
        """32 hexadecimal digits, kept by `--resume`."""
        return JobId(self._run_description.job_id)

    def get_job_status(self) -> Future[JobStatus]:
        """The status now, as a future that is done (as PyFlink has it); `status` is the plain value."""
        return completed(self.status)

    def get_accumulators(self) -> Future[dict[str, Any]]:
        """The results of all accumulators as they are now, at most half a second old, as a future that is done."""
        return completed(accumulator_results(self.statistics().accumulators))

    def cancel(self) -> Future[None]:
        """Ask for the end, from any thread; nothing is committed. The future is done when the job has ended."""
        ended: Future[None] = CompletableFuture()
        self._result.add_done_callback(lambda _: ended.set_result(None))
        self._master.cancel()
        return ended

    def get_job_execution_result(self) -> Future[JobExecutionResult]:
        """The result to come; its `result()` raises as `wait`. Cancelling the future does nothing to the job."""
        return following(self._result)

    def trigger_savepoint(
        self, savepoint_directory: str | None = None, format_type: SavepointFormatType | None = None
    ) -> Future[str]:
        """Take a savepoint while the job goes on. From any thread.

        A savepoint is yours: the job never deletes it, never restores it by itself, and commits no output with it. What sinks
        have pre-committed at its barrier is committed with the job's next checkpoint (without checkpoints when it ends), or by
        the job that you start from it, whichever comes first. Once the job has fallen back to a checkpoint before the savepoint, that output belongs to the
        records written again, and sinks with transactions refuse to commit it from the savepoint.
        Source: FLIP-203.

        Args:
            savepoint_directory: a folder or URL, in which it gets a folder of its own; `execution.checkpointing.savepoint-dir`
                if None.
            format_type: CANONICAL, which every state backend restores, if None; or NATIVE.

        Returns:
            Its path or URL, good for `--from`; raises CheckpointError when it could not be taken.

        Raises:
            ConfigurationError: no directory is given or configured.
        """
        return self._savepoint(savepoint_directory, format_type, Stop.NO)

    def stop_with_savepoint(
        self,
        advance_to_end_of_event_time: bool,
        savepoint_directory: str | None = None,
        format_type: SavepointFormatType | None = None,
    ) -> Future[str]:
        """End the job with a savepoint, as FINISHED, all output that it covers committed. From any thread.

        Sources stop at its barrier, and nothing fires or is emitted behind it. If it fails, the job goes on; if it was drained
        for it, it restarts from its last checkpoint. Once the savepoint is complete, the job is never restarted, since its
        checkpoints are behind it: if a commit fails then, the job fails, and the job started from the savepoint commits.

        Args:
            advance_to_end_of_event_time: let the input end first (MAX watermark), so that all event-time timers and windows
                fire. The job is not meant to be continued from there.
            savepoint_directory: as of `trigger_savepoint`.
            format_type: as of `trigger_savepoint`.

        Returns:
            Its path or URL, when the job has ended; raises CheckpointError when it could not be taken.

        Raises:
            ConfigurationError: no directory is given or configured.
        """
        stop = Stop.DRAIN if advance_to_end_of_event_time else Stop.SUSPEND
        return self._savepoint(savepoint_directory, format_type, stop)

    # ---- ours ---------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> JobStatus:
        """Where the job is in its life."""
        return self._master.status

    def wait(self, timeout_s: float | None = None) -> JobExecutionResult:
        """The result, when the job has finished.

        Raises:
            JobExecutionError: it failed. JobCancelledError: it was cancelled. TimeoutError: it still runs.
        """
        return self._result.result(timeout_s)

    def cancel_and_wait(self) -> None:
        """Cancel unless it has ended, and return when nothing of it runs any more. Never raises the job's error."""
        if self._thread is None:
            return
        self._master.cancel()
        self._thread.join()

    def statistics(self) -> JobStatistics:
        """A snapshot. From any thread."""
        return self._master.statistics()

    def worker_pids(self) -> Mapping[int, int]:
        """Process id of each live worker, by worker id; this process's own for an embedded worker. From any thread."""
        return self._cluster.worker_pids()

    def results(self, operator_id: str) -> Iterator[bytes]:
        """What a collecting sink sends, batch by batch, until the job has ended. For one consumer, in another thread.

        Raises:
            JobExecutionError: the job failed, after its last results. JobCancelledError: it was cancelled.
        """
        yield from self._master.results.of(operator_id)
        self._result.result()

    def _savepoint(
        self, directory: str | None, format_type: SavepointFormatType | None, stop: Stop
    ) -> Future[str]:
        configuration = Configuration(dict(self._run_description.configuration))
        given = directory if directory is not None else configuration.get(options.SAVEPOINT_DIR)
        if given is None:
            raise ConfigurationError(
                "no directory for savepoints is given or configured",
                fix=f"pass savepoint_directory, or set {options.SAVEPOINT_DIR.key}",
            )
        kind = SavepointFormatType.CANONICAL if format_type is None else format_type
        return self._master.savepoint(absolute_directory(str(given)), kind, stop)

    # ---- inside -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Run to the end and set the result, once nothing of the job runs any more; raises only what ends the program."""
        problem: BaseException | None = None
        try:
            self._begin()
            self._loop()
        except (
            BaseException
        ) as error:  # a second signal, or a bug of ours: no worker may outlive it, no waiter hang
            problem = error
        self._end(problem)
        if problem is not None and not isinstance(problem, Exception):
            raise problem

    def _begin(self) -> None:
        self._started_ms = self._clock.monotonic_ms()
        self._run_description.fencing.when_lost(self._cluster.wake)
        self._master.start()

    def _end(self, problem: BaseException | None) -> None:
        problem = problem or _error_of(self._run_description.fencing.require)
        try:
            if self._run_description.fencing.outlived and isinstance(problem, Exception):
                self._cluster.leave()
            else:
                self._cluster.close(force=problem is not None)
            self._master.close(force=problem is not None)
            problem = problem or _error_of(self._tell_the_end)
        finally:
            if problem is not None:
                self._run_description.fencing.given_up()
            self._conclude(problem, self._runtime_ms())
            self._master.conclude()
            atexit.unregister(self.cancel_and_wait)

    def _tell_the_end(self) -> None:
        outcome = self._master.outcome
        error = str(outcome.failure.error) if isinstance(outcome, JobFailed) else None
        statistics = self._master.statistics()
        self._run_description.fencing.ended(statistics, self.status, self._runtime_ms(), error)

    def _runtime_ms(self) -> int:
        return self._clock.monotonic_ms() - self._started_ms

    def _give_up_leadership(self) -> None:
        self._giving_up = True
        self._cluster.wake()

    def _loop(self) -> None:
        master, cluster, clock = self._master, self._cluster, self._clock
        while master.outcome is None:
            if self._turn() or master.outcome is not None:
                continue
            deadline = master.next_deadline_ms()
            cluster.wait(None if deadline is None else max(0, deadline - clock.monotonic_ms()))

    def _turn(self) -> bool:
        """Do what can be done without waiting; whether there was anything."""
        self._run_description.fencing.require()
        if self._giving_up:
            raise LeadershipLostError("a signal ended this process; the job is left to a standby")
        busy = self._cluster.step()
        return self._master.step() or busy

    def _conclude(self, problem: BaseException | None, runtime_ms: int) -> None:
        outcome, statistics = self._master.outcome, self._master.statistics()
        name = statistics.job_name
        if isinstance(problem, Exception):
            self._result.set_exception(problem)
        elif problem is not None:
            self._result.set_exception(JobCancelledError(f"job '{name}' was ended by a signal"))
        elif isinstance(outcome, JobFinished):
            self._result.set_result(JobExecutionResult(self.get_job_id(), runtime_ms, statistics))
        elif isinstance(outcome, JobFailed):
            self._result.set_exception(_failed(name, outcome, statistics))
        else:
            self._result.set_exception(_cancelled(name, statistics))


def _error_of(call: Callable[[], None]) -> LeadershipLostError | None:
    try:
        call()
    except LeadershipLostError as error:
        return error
    return None


def _failed(name: str, outcome: JobFailed, statistics: JobStatistics) -> JobExecutionError:
    restarts = f" after {statistics.restarts} restarts" if statistics.restarts else ""
    cause = outcome.failure.error
    notes = "".join(f"\n  note:  {note}" for note in getattr(cause, "__notes__", ()))
    error = JobExecutionError(f"job '{name}' failed{restarts}: {str(cause) or type(cause).__name__}{notes}")
    error.__cause__ = cause
    return error


def _cancelled(name: str, statistics: JobStatistics) -> JobCancelledError:
    latest = statistics.latest_checkpoint
    return JobCancelledError(
        f"job '{name}' was cancelled",
        fix=None if latest is None else f"go on from its last checkpoint with --resume or --from {latest}",
    )
