"""Every error a user can meet. What, where, and how to mend it, in fields that tests can match.

MillstreamError
 |- JobDefinitionError          the program is wrong, found before anything runs
 |   |- ConfigurationError          a key or a value of the configuration
 |   |- SerializationSetupError     a closure or function cannot be shipped
 |   `- MissingDependencyError      an optional package is not installed
 |- UserFunctionError           a user's function raised; keeps its traceback
 |- RecordSerializationError    a record or state value has no exact encoding
 |- ConnectorError              an outside system refused or failed (`retryable`)
 |- StateError                  state is declared or used against its rules
 |- CheckpointError             a checkpoint could not be taken, read or found (`reason`)
 |- WorkerLostError             a worker process died
 |- LeadershipLostError         another job manager leads the cluster
 |- JobExecutionError           the job ended in failure; the cause is chained
 |- JobCancelledError           the job was cancelled
 `- ProtocolViolation           a bug of ours: a state machine met an impossible event
"""

from __future__ import annotations

import enum
import re
from typing import ClassVar, Final

from .call_site import user_line

_LINE: Final = re.compile(r":\d+\b")


class MillstreamError(Exception):
    """Root of all errors raised on purpose.

    Args:
        what: what happened, one sentence.
        where: the operator, file, option, or place in an outside system it happened at.
        fix: what the reader can do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what, where, fix)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword arguments of subclasses live in __dict__, so a copy made by pickle carries every field.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(
    cls: type[MillstreamError], args: tuple[object, ...], fields: dict[str, object]
) -> MillstreamError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(fields)
    return error


class JobDefinitionError(MillstreamError):
    """The program is wrong; nothing has run yet.

    Args:
        where: the operator, option or call; the line of the user's program that called us is added if it names no line
            and no operator, whose line the compiler knows.
    """

    _adds_line: ClassVar = True

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        if where is None or (self._adds_line and not _LINE.search(where) and "operator '" not in where):
            where = ", ".join(filter(None, (where, user_line()))) or None
        super().__init__(what, where=where, fix=fix)


class ConfigurationError(JobDefinitionError):
    """An unknown key, or a value that does not parse. `where` is where it was set, be it the command line or a file."""

    _adds_line = False


class SerializationSetupError(JobDefinitionError):
    """A function, closure or source cannot be sent to the workers."""


class MissingDependencyError(JobDefinitionError):
    """An optional package is missing."""

    def __init__(self, package: str, extra: str, *, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the package '{package}', which is not installed",
            fix=f"pip install 'millstream[{extra}]'",
        )
        self.package = package
        self.extra = extra


class UserFunctionError(MillstreamError):
    """A user's function raised.

    The original exception is chained as `__cause__` where it could travel; its text and traceback, which ends in the
    user's own line, are always in the message.
    """

    def __init__(
        self, *, operator: str, subtask: str, record: str | None, error: str, traceback: str
    ) -> None:
        super().__init__(
            f"{error.splitlines()[0] if error else 'an exception'} in operator '{operator}'",
            where=f"operator '{operator}', subtask {subtask}" + (f", record {record}" if record else ""),
        )
        self.operator = operator
        self.subtask = subtask
        self.record = record
        self.error = error
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.traceback.rstrip()}"


class RecordSerializationError(MillstreamError):
    """A value has no exact encoding under its declared or inferred type."""


class ConnectorError(MillstreamError):
    """An outside system refused, failed or could not be reached.

    Args:
        retryable: whether trying again later can help; the restart strategy decides otherwise.
    """

    def __init__(
        self, what: str, *, where: str | None = None, fix: str | None = None, retryable: bool = False
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.retryable = retryable


class StateError(MillstreamError):
    """State is declared or used against its rules, or a stored state does not fit its declaration."""


class CheckpointFailureReason(enum.Enum):
    """Why a checkpoint failed or cannot be used."""

    EXPIRED = "it took longer than the checkpoint timeout"
    DECLINED = "a subtask could not take its snapshot"
    TASK_FAILED = "a subtask failed meanwhile"
    STORAGE = "the checkpoint storage failed"
    NOT_FOUND = "there is no complete checkpoint"
    CORRUPT = "a file does not match its checksum or cannot be read"
    INCOMPATIBLE = "it belongs to another program"
    JOB_ENDED = "the job ended meanwhile"


class CheckpointError(MillstreamError):
    """A checkpoint could not be taken, read or found."""

    def __init__(
        self, reason: CheckpointFailureReason, what: str, *, where: str | None = None, fix: str | None = None
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.reason = reason


class WorkerLostError(MillstreamError):
    """A worker process died or lost its connection."""


class LeadershipLostError(MillstreamError):
    """This process led a highly available cluster and does not any more: it acts no more, and its job goes on elsewhere."""


class JobExecutionError(MillstreamError):
    """The job ended in failure; `__cause__` is what failed it."""


class JobCancelledError(MillstreamError):
    """The job was cancelled before its input ended."""


class ProtocolViolation(MillstreamError):
    """A decision machine met an event that its state does not allow: a bug of the runtime, never of the user."""
