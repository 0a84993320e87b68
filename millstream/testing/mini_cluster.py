"""Runs whole jobs in a test's own thread, with a clock that moves only when told to.

with MiniCluster() as cluster:
    job = cluster.start(env)
    source.element("a")
    job.advance_time(10_000)
    assert output.records == [...]
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from ..core.clock import Clock, ManualClock, SystemClock
from ..core.configuration import Configuration, options
from ..core.errors import CheckpointError, CheckpointFailureReason, JobDefinitionError
from ..core.ids import WorkerId
from ..core.savepoints import SavepointFormatType
from ..data_stream import DataStream
from ..environment import StreamExecutionEnvironment
from ..pickle_warning import warn_of_pickle
from ..runtime.graph.compiler import compile_job
from ..runtime.graph.execution_graph import ExecutionGraph, Subtask, build_execution_graph
from ..runtime.graph.job_graph import JobGraph
from ..runtime.job_manager.client import JobClient, JobExecutionResult, submit
from ..runtime.job_manager.scheduling import JobStatus
from ..runtime.job_manager.statistics import JobStatistics
from ..runtime.messages import TaskFailed
from ..runtime.worker.failures import describe_failure
from .output import Output
from .thread_cluster import ThreadCluster

T = TypeVar("T")

_REAL: Final = SystemClock()
_PATIENCE_S: Final = 60.0
"""How long a job may go on without coming to rest: a bound for tests that would never end, nothing waits for it."""


class InjectedFailure(Exception):
    """What a task fails with when a test does not say."""


class MiniCluster:
    """A cluster for tests: jobs run in the calling thread, whatever their parallelism, and only while a method of `MiniJob` runs.

    Processing time is a `ManualClock`: timers, processing-time windows, periodic watermarks, idleness, rates of sources,
    periodic checkpoints and delays of restarts come when it is moved, each at exactly its millisecond. The workers are the real
    ones, with their own connections, state backends and snapshots. One job runs at a time. As a context manager, it ends the
    job and removes its files.

    Args:
        now_ms: where processing time begins.
        patience_s: seconds of real time after which a job that does not come to rest fails its test.

    Attributes:
        clock: processing time; `MiniJob.advance_time` moves it.
    """

    def __init__(self, *, now_ms: int = 0, patience_s: float = _PATIENCE_S) -> None:
        self.clock: ManualClock = ManualClock(now_ms)
        self._patience_s = patience_s
        self._folder: Path | None = None
        self._outputs: list[Output[Any]] = []
        self._job: MiniJob | None = None

    def collect(self, stream: DataStream[T]) -> Output[T]:
        """End this stream in an `Output`. Before `start`."""
        output: Output[T] = Output()
        stream.sink_to(output).name("Output")
        self._outputs.append(output)
        return output

    def start(
        self,
        env: StreamExecutionEnvironment,
        job_name: str | None = None,
        *,
        restore_from: str | None = None,
    ) -> MiniJob:
        """The job that the program has declared in `env`, deployed by the first method that lets it run.

        Checkpoints go to a folder that the cluster removes, unless the program says where.

        Args:
            restore_from: a checkpoint to start from, e.g. one that `MiniJob.trigger_checkpoint` gave; the program may have
                another parallelism.

        Raises:
            JobDefinitionError: the program cannot run, or another job runs.
            CheckpointError: the checkpoint is damaged or does not fit.
        """
        if self._job is not None and self._job.running:
            raise JobDefinitionError(
                f"the job '{self._job.name}' still runs, and a MiniCluster runs one at a time",
                fix="cancel() it first, or start this one on another cluster",
            )
        graph = env.get_stream_graph(job_name)
        job = compile_job(graph)
        warn_of_pickle(graph)
        env._builder.start_next_job()
        made: list[ThreadCluster] = []

        def make_cluster(
            _graph: ExecutionGraph, _configuration: Configuration, clock: Clock
        ) -> ThreadCluster:
            made.append(ThreadCluster(secret=bytes(32), clock=clock, patience_s=self._patience_s))
            return made[0]

        settings = self._settings(env)
        self._prepare_outputs(settings)
        client = submit(
            job,
            settings,
            savepoint_path=restore_from,
            clock=self.clock,
            cluster=make_cluster,
        )
        self._job = MiniJob(client, made[0], job, self.clock, self._patience_s)
        return self._job

    def close(self) -> None:
        """Cancel the job if it runs, and remove its files. Idempotent."""
        if self._job is not None:
            self._job.cancel()
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare_outputs(self, settings: Configuration) -> None:
        """Those of this job: nothing commits what it writes where there are no checkpoints."""
        for output in self._outputs:
            output._at_once = settings.get(options.CHECKPOINTING_INTERVAL) is None
        self._outputs.clear()

    def _settings(self, env: StreamExecutionEnvironment) -> Configuration:
        settings = env.get_configuration()
        if not settings.get(options.CHECKPOINTING_DIR):
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="millstream-mini-cluster-"))
            settings.set(options.CHECKPOINTING_DIR, str(self._folder))
        return settings


class MiniJob:
    """A job of a `MiniCluster`. It runs only inside these methods, which raise `JobExecutionError` once it has failed for good.

    It is *at rest* when nothing can be done until the clock moves or a source is given records. Requests of asynchronous I/O
    and threads of connectors are outside of the job: `run_until` waits for what they bring.
    """

    def __init__(
        self, client: JobClient, cluster: ThreadCluster, job: JobGraph, clock: ManualClock, patience_s: float
    ) -> None:
        self._client = client
        self._master = client._master
        self._cluster = cluster
        self._graph = build_execution_graph(job)
        self._clock = clock
        self._patience_ms = int(patience_s * 1000)
        self._ended = False
        self.name = job.settings.name
        client._begin()

    # ---- running

    def step(self) -> bool:
        """One turn: of each worker a piece of input for each task, then the JobManager. Whether there was anything to do."""
        if self._ended:
            self._raise_if_failed()
            return False
        busy = self._client._turn()
        self._master.join(self._patience_ms / 1000)
        if self._master.outcome is not None:
            self._ended = True
            self._client._end(None)
            self._raise_if_failed()
        return busy

    def settle(self) -> None:
        """Run until the job is at rest, or has ended.

        Raises:
            JobExecutionError: the job failed. AssertionError: it does not come to rest, e.g. as a source never runs dry.
        """
        self._turn_until(lambda: False)

    def run_until(self, condition: Callable[[], object]) -> None:
        """Run until `condition` holds, waiting for what threads of connectors or of asynchronous I/O bring; the clock stands.

        Raises:
            AssertionError: it never does. JobExecutionError: the job failed.
        """
        last_ms = _REAL.monotonic_ms() + self._patience_ms
        while not self._turn_until(condition):
            left_ms = last_ms - _REAL.monotonic_ms()
            if not self.running or left_ms <= 0:
                raise AssertionError(f"what was waited for does not come: {self._describe()}")
            self._cluster.poll(left_ms)

    def advance_time(self, duration_ms: int) -> None:
        """Move the clock forward, stopping wherever something is due, and let the job come to rest at each stop.

        Raises as `settle`; ValueError: the duration is negative.
        """
        self.settle()
        target_ms = self._clock.now_ms() + duration_ms
        while (left_ms := target_ms - self._clock.now_ms()) != 0:
            due_ms = self._due_in_ms()
            self._clock.advance(left_ms if due_ms is None else min(left_ms, due_ms))
            self.settle()

    def run_to_end(self) -> JobExecutionResult:
        """Run to the end of bounded input, moving the clock to whatever is due next.

        Raises:
            JobExecutionError: the job failed. AssertionError: it rests and nothing is due, so that it would never end.
        """
        last_ms = _REAL.monotonic_ms() + self._patience_ms
        self.settle()
        while self.running:
            due_ms = self._due_in_ms()
            if due_ms is None or _REAL.monotonic_ms() > last_ms:
                raise AssertionError(f"the job does not end: {self._describe()}")
            self._clock.advance(due_ms)
            self.settle()
        return self._client.wait(0)

    # ---- checkpoints and failures

    def trigger_checkpoint(self) -> str:
        """Take a checkpoint, and let everything that follows from it happen, such as commits.

        Returns:
            Where it is, for `MiniCluster.start(restore_from=...)`.

        Raises:
            CheckpointError: it did not complete, or the program has not enabled checkpoints.
        """
        self.settle()
        before = self._client.statistics().checkpoints
        if before is None or not self.running:
            raise CheckpointError(
                CheckpointFailureReason.JOB_ENDED,
                f"no checkpoint can be taken: {'the job has ended' if before else 'checkpoints are off'}",
                where=f"job '{self.name}'",
                fix=None if before else "call env.enable_checkpointing(interval) in the program",
            )
        self._master.trigger_checkpoint("test")
        self.settle()
        statistics = self._client.statistics()
        if statistics.checkpoints is None or statistics.checkpoints.completed == before.completed:
            raise CheckpointError(
                CheckpointFailureReason.DECLINED,
                "the checkpoint did not complete",
                where=self._describe(),
                fix="let the job run first: a checkpoint needs all tasks running",
            )
        assert statistics.latest_checkpoint is not None
        return statistics.latest_checkpoint

    def trigger_savepoint(
        self, savepoint_directory: str, format_type: SavepointFormatType | None = None
    ) -> str:
        """Take a savepoint, and let everything happen that can until then. As `JobClient.trigger_savepoint`.

        Returns:
            Where it is.

        Raises:
            CheckpointError: it could not be taken.
        """
        self.settle()
        return self._savepoint(self._client.trigger_savepoint(savepoint_directory, format_type))

    def stop_with_savepoint(
        self,
        advance_to_end_of_event_time: bool,
        savepoint_directory: str,
        format_type: SavepointFormatType | None = None,
    ) -> str:
        """End the job with a savepoint. As `JobClient.stop_with_savepoint`; returns and raises as `trigger_savepoint`."""
        self.settle()
        future = self._client.stop_with_savepoint(
            advance_to_end_of_event_time, savepoint_directory, format_type
        )
        return self._savepoint(future)

    def fail_task(self, name: str, subtask: int = 0, error: Exception | None = None) -> None:
        """Make a task fail as if a function in it had raised; the restart strategy says what follows, when the clock is there.

        Args:
            name: of an operator in the task, or of the task.
            error: `InjectedFailure` by default.

        Raises:
            ValueError: there is no such task; names those there are. JobExecutionError: the job does not restart.
        """
        task = self._task(name, subtask)
        raised = InjectedFailure("this task was made to fail") if error is None else error
        attempt = self._master.attempt_of(task.subtask_id)
        self._cluster.say(int(task.worker), TaskFailed(attempt, describe_failure(raised, task)))
        self.settle()

    def kill_worker(self, worker: int = 0) -> None:
        """Lose a worker with all its tasks. Worker i runs subtask i of every task, as long as all share their slots.

        Raises:
            ValueError: there is no such worker. JobExecutionError: the job does not restart.
        """
        if not 0 <= worker < self._graph.worker_count:
            message = f"the job has no worker {worker}, but workers 0 to {self._graph.worker_count - 1}"
            raise ValueError(message)
        self._cluster.lose_worker(WorkerId(worker), "killed by the test")
        self.settle()

    def cancel(self) -> None:
        """End the job without committing anything. Does nothing once it has ended."""
        if self.running:
            self._master.cancel()
            self.settle()

    # ---- questions

    @property
    def running(self) -> bool:
        """Whether the job has not ended: also between a failure and the restart."""
        return not self._ended

    @property
    def status(self) -> JobStatus:
        """Where the job is in its life."""
        return self._client.status

    def statistics(self) -> JobStatistics:
        """Counters of all tasks as they are now."""
        if self.running:
            self._cluster.report()
            self._master.step()
        return self._client.statistics()

    def result(self) -> JobExecutionResult:
        """The result of a job that has ended.

        Raises:
            JobExecutionError: it failed. JobCancelledError: it was cancelled. TimeoutError: it still runs.
        """
        return self._client.wait(0)

    # ---- inside

    def _turn_until(self, condition: Callable[[], object]) -> bool:
        """Whether it holds; False when the job has come to rest or ended before."""
        last_ms = _REAL.monotonic_ms() + self._patience_ms
        while not condition():
            if not self.running:
                self._raise_if_failed()
                return False
            at_rest = not self.step() and not self._cluster.poll(0)
            if at_rest and not self._in_background():
                return False
            if _REAL.monotonic_ms() > last_ms:
                raise AssertionError(f"the job does not come to rest: {self._describe()}")
            if at_rest:
                self._cluster.poll(max(0, last_ms - _REAL.monotonic_ms()))
        return True

    def _savepoint(self, future: Future[str]) -> str:
        self.settle()
        if not future.done():
            raise CheckpointError(
                CheckpointFailureReason.DECLINED,
                "the savepoint is not complete, and the job is at rest",
                where=self._describe(),
                fix="let the job run first: a savepoint needs all tasks running",
            )
        return future.result()

    def _raise_if_failed(self) -> None:
        if self.status is JobStatus.FAILED:
            self._client.wait(0)

    def _in_background(self) -> bool:
        """Whether helper threads are at work, which have something to say when they are done."""
        return self.running and (self._master.busy or self._cluster.busy)

    def _due_in_ms(self) -> int | None:
        """How long until the next thing that time brings about; what is due already had its turn."""
        if not self.running:
            return None
        due = self._cluster.due_in_ms()
        deadline_ms = self._master.next_deadline_ms()
        if deadline_ms is not None:
            due.append(deadline_ms - self._clock.monotonic_ms())
        return min((in_ms for in_ms in due if in_ms > 0), default=None)

    def _task(self, name: str, subtask: int) -> Subtask:
        found = {
            operator.name: s
            for s in self._graph.subtasks
            if s.index == subtask
            for operator in s.vertex.operators
        } | {s.vertex.name: s for s in self._graph.subtasks if s.index == subtask}
        if name not in found:
            message = f"no subtask {subtask} of '{name}'; there are: {', '.join(sorted(found)) or 'none'}"
            raise ValueError(message)
        return found[name]

    def _describe(self) -> str:
        statistics = self._client.statistics()
        failure = f", last failure: {statistics.last_failure}" if statistics.last_failure else ""
        return f"job '{self.name}' is {statistics.status.value}, attempt {statistics.attempt}{failure}"
