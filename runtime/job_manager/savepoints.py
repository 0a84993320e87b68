"""Savepoints that were asked for: from any thread into the job's, and their outcomes back as futures."""

from __future__ import annotations

import enum
import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import assert_never

from ...core.errors import CheckpointError, CheckpointFailureReason
from ...core.savepoints import SavepointFormatType
from .completable_future import CompletableFuture
from .scheduling import JobCancelled, JobFailed, JobFinished


class Stop(enum.Enum):
    """Whether and how a job ends with its savepoint."""

    NO = "the job goes on"
    SUSPEND = (
        "sources stop where they are, so that the job may go on from the savepoint as if nothing had been"
    )
    DRAIN = "the input ends first: MAX watermark, all event-time timers and windows fire"


@dataclass(frozen=True, slots=True)
class SavepointRequest:
    """A savepoint that somebody wants.

    Attributes:
        directory: absolute path or URL of the folder in which the savepoint gets its own.
    """

    request_id: str
    directory: str
    format: SavepointFormatType
    stop: Stop


class SavepointRequests:
    """The requests of one job and what became of them. `submit` may be called from any thread, the rest in the job's.

    The future of a plain savepoint is completed as soon as it is durable; that of one which stops the job when the job has
    ended. Each is completed, whatever happens.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._new: deque[SavepointRequest] = deque()
        self._open: dict[str, Future[str]] = {}
        self._stopped_at: tuple[str, str] | None = None
        self._over = False
        self._outcome: JobFinished | JobFailed | JobCancelled | None = None

    def submit(self, directory: str, kind: SavepointFormatType, stop: Stop) -> Future[str]:
        """The path or URL of the savepoint to come."""
        future: CompletableFuture[str] = CompletableFuture()
        request = SavepointRequest(f"savepoint-{next(self._numbers)}", directory, kind, stop)
        self._open[request.request_id] = future
        self._new.append(request)
        if self._over:  # nobody takes it any more
            self.conclude(self._outcome)
        return future

    def take(self) -> Iterator[SavepointRequest]:
        """Those that are new."""
        while self._new:
            yield self._new.popleft()

    def completed(self, request_id: str, path: str) -> None:
        """A plain savepoint is durable."""
        future = self._open.pop(request_id, None)
        if future is not None and future.set_running_or_notify_cancel():
            future.set_result(path)

    def stopped(self, request_id: str, path: str) -> None:
        """A savepoint is durable, and the job ends with it."""
        self._stopped_at = (request_id, path)

    def failed(self, request_id: str, error: CheckpointError) -> None:
        """It will not be."""
        future = self._open.pop(request_id, None)
        if future is not None and future.set_running_or_notify_cancel():
            future.set_exception(error)

    def conclude(self, outcome: JobFinished | JobFailed | JobCancelled | None) -> None:
        """The job has ended, and nothing of it runs any more. Any number of times."""
        self._outcome = outcome
        self._over = True
        if self._stopped_at is not None:
            request_id, path = self._stopped_at
            if isinstance(outcome, JobFinished):
                self.completed(request_id, path)
            elif outcome is not None:
                self.failed(request_id, not_stopped(path))
        for request_id in list(self._open):
            self.failed(request_id, _job_ended(outcome))


def _job_ended(outcome: JobFinished | JobFailed | JobCancelled | None) -> CheckpointError:
    """Nobody is left to take the savepoint. What failed the job is named, and is the error's cause."""
    behind = "before the savepoint was complete"
    match outcome:
        case JobFailed(failure=failure):
            cause = failure.error
            what = f"the job failed {behind}: {str(cause) or type(cause).__name__}"
            error = CheckpointError(CheckpointFailureReason.JOB_ENDED, what)
            error.__cause__ = cause
            return error
        case JobCancelled():
            return CheckpointError(CheckpointFailureReason.JOB_ENDED, f"the job was cancelled {behind}")
        case JobFinished() | None:  # None: this process gave the job up, and does not know how it ends
            return CheckpointError(CheckpointFailureReason.JOB_ENDED, f"the job ended {behind}")
        case _:
            assert_never(outcome)


def not_stopped(path: str) -> CheckpointError:
    """The job failed between its savepoint and its end."""
    return CheckpointError(
        CheckpointFailureReason.TASK_FAILED,
        "the savepoint is complete, but the job failed while its last output was committed: some of it may be missing, and the"
        " job was not restarted, because it would have written some of it twice",
        where=path,
        fix="start from the savepoint (--from): what it covers is committed before anything else",
    )


def batch_mode() -> CheckpointError:
    """Its operators hold state of one key at a time, and none of it is ever saved."""
    return CheckpointError(
        CheckpointFailureReason.DECLINED,
        "no savepoint can be taken: the job runs in BATCH mode",
        fix="use the runtime mode STREAMING",
    )


def suspended_loop() -> CheckpointError:
    """A head goes on with what comes back while its sources stand still."""
    return CheckpointError(
        CheckpointFailureReason.DECLINED,
        "a job with iterations cannot be suspended: its loops go on while its sources stand still",
        fix="let the loops run empty first: stop_with_savepoint(True)",
    )
