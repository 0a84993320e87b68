"""The client of a standby whose job ended under another leader: the same outcome, without a job of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future

from ...core.errors import JobCancelledError, JobDefinitionError, JobExecutionError
from ...core.ids import JobId
from ..high_availability.records import Outcome
from .client import JobClient, JobExecutionResult
from .completable_future import completed
from .scheduling import JobStatus
from .statistics import JobStatistics


class EndedElsewhere(JobClient):
    """A client that has only the outcome to give."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._result: Future[JobExecutionResult] = Future()
        name = outcome.job_name
        match self.status:
            case JobStatus.FINISHED:
                result = JobExecutionResult(self.get_job_id(), outcome.net_runtime_ms, self.statistics())
                self._result.set_result(result)
            case JobStatus.CANCELED:
                self._result.set_exception(
                    JobCancelledError(f"job '{name}' was cancelled under another leader")
                )
            case _:
                self._result.set_exception(
                    JobExecutionError(f"job '{name}' failed under another leader: {outcome.error}")
                )

    def run_in_this_thread(self) -> JobExecutionResult:
        """The outcome. Raises as `JobClient.wait`."""
        return self._result.result()

    def run_in_background(self) -> None:
        """There is nothing to run."""

    def get_job_id(self) -> JobId:
        """The job's id."""
        return JobId(self._outcome.job_id)

    def cancel(self) -> Future[None]:
        """It has ended."""
        return completed(None)

    @property
    def status(self) -> JobStatus:
        """How it ended."""
        return JobStatus[self._outcome.status]

    def cancel_and_wait(self) -> None:
        """It has ended."""

    def statistics(self) -> JobStatistics:
        """What is known of it here: how it ended, and its accumulators."""
        return JobStatistics(
            job_id=self._outcome.job_id,
            job_name=self._outcome.job_name,
            status=self.status,
            attempt=0,
            restarts=0,
            vertices=(),
            checkpoints=None,
            latest_checkpoint=None,
            last_failure=self._outcome.error,
            accumulators=tuple(self._outcome.accumulators),
        )

    def worker_pids(self) -> Mapping[int, int]:
        """None."""
        return {}

    def results(self, operator_id: str) -> Iterator[bytes]:
        """They went to the leader.

        Raises:
            JobDefinitionError: always.
        """
        raise JobDefinitionError(
            f"the results of job '{self._outcome.job_name}' were collected by the program that led it",
            fix="let a job that fails over write to a sink instead of collecting its results",
        )
