"""From what a worker or an enumerator reports to the error that the user sees."""

from __future__ import annotations

from typing import Any

import cloudpickle

from ...core.errors import (
    ConnectorError,
    JobDefinitionError,
    MillstreamError,
    ProtocolViolation,
    StateError,
    UserFunctionError,
    WorkerLostError,
)
from ..messages import TaskFailure
from .scheduling import Failure


def failure_of_task(failure: TaskFailure) -> Failure:
    """The failure of a subtask, with the original exception where it could travel.

    A user's exception becomes a `UserFunctionError` and its cause; an error of ours is told as it is; anything else is
    wrapped into a plain `MillstreamError` that names the task and keeps the traceback's text.
    """
    original = _unpickled(failure.pickled)
    if failure.user_code:
        error: Exception = UserFunctionError(
            operator=failure.operator,
            subtask=failure.task_name,
            record=failure.record,
            error=failure.error,
            traceback=failure.traceback,
        )
        error.__cause__ = original
    elif isinstance(original, MillstreamError):
        error = original
        error.add_note(f"in task '{failure.task_name}', operator '{failure.operator}'")
    else:
        where = f"task '{failure.task_name}', operator '{failure.operator}'"
        error = MillstreamError(f"{failure.error}\n{failure.traceback.rstrip()}", where=where)
        error.__cause__ = original
    return Failure(error, failure.recoverable)


def failure_of_enumerator(error: Exception, source: str) -> Failure:
    """The failure of a source's enumerator. What cannot be cured by trying again (a missing topic) is not recoverable."""
    error.add_note(f"in the split enumerator of source '{source}'")
    hopeless = isinstance(error, JobDefinitionError | StateError | ProtocolViolation) or (
        isinstance(error, ConnectorError) and not error.retryable
    )
    return Failure(error, recoverable=not hopeless)


def failure_of_worker(worker: int, reason: str) -> Failure:
    """The failure of whatever ran on a worker that is gone."""
    fix = None
    if "heartbeat" in reason:
        fix = "it was stopped, or its machine was; code that holds the interpreter's lock for longer needs a longer heartbeat.timeout"
    elif "signal 9" in reason:
        fix = "if nobody killed it, the system did for lack of memory: fewer workers, smaller state or state.backend.type=rocksdb"
    return Failure(WorkerLostError(f"worker {worker} is gone: {reason}", where=f"worker {worker}", fix=fix))


def _unpickled(pickled: bytes | None) -> BaseException | None:
    """The exception itself; None when it did not travel or does not come back to life: its text is there anyway."""
    if pickled is None:
        return None
    try:
        # From an authenticated worker of this very job, which runs this client's own code (architecture: Trust).
        found: Any = cloudpickle.loads(pickled)
    except Exception:  # whatever the constructor of a user's exception does
        return None
    return found if isinstance(found, BaseException) else None
