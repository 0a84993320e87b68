"""What a program gets from execute() when its plan was asked for and nothing runs."""

from __future__ import annotations

from .core.ids import JobId
from .runtime.job_manager.client import JobExecutionResult
from .runtime.job_manager.scheduling import JobStatus
from .runtime.job_manager.statistics import JobStatistics


def planned_result(job_name: str) -> JobExecutionResult:
    """The result of a job that did not run and took no time."""
    job_id = JobId("")
    statistics = JobStatistics(job_id, job_name, JobStatus.CREATED, 0, 0, (), None, None, None)
    return JobExecutionResult(job_id, 0, statistics)
