"""From an exception in a task to what is reported: which operator, which record, and the user's own lines."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

import cloudpickle

from ...core.batch import RecordBatch
from ...core.errors import (
    CheckpointError,
    CheckpointFailureReason,
    ConnectorError,
    MillstreamError,
    StateError,
)
from ...core.types import excerpt
from ...operators.base import Operator
from ...operators.checkpointed import CheckpointedFunctions
from ...operators.codegen import FILENAME_PREFIX, owner_of
from ...operators.keyed_calls import KeyedCalls
from ..exchange.record_writer import RecordWriter
from ..graph.execution_graph import Subtask
from ..messages import TaskFailure

_LAYERS: Final = ("runtime", "operators", "connectors", "checkpoint", "state", "core")
# The root of the repository; once installed, the package's own folder.
_ROOT: Final = Path(__file__).resolve().parent.parent.parent
_PACKAGE: Final = Path(sys.modules[__name__.partition(".")[0]].__path__[0]).resolve()
_OWN_FOLDERS: Final = (*(f"{_ROOT / layer}/" for layer in _LAYERS), f"{_PACKAGE}/")
_MAX_PICKLED_BYTES: Final = 1 << 20
_RUNS_FUNCTIONS: Final = (Operator, KeyedCalls, RecordWriter, CheckpointedFunctions)


def describe_failure(error: BaseException, subtask: Subtask | None) -> TaskFailure:
    """What the job's client will be told about an exception raised in a task; None: before there was one."""
    operator, record, in_call = _culprit(error.__traceback__)
    user_frames = _user_frames(error.__traceback__)
    return TaskFailure(
        subtask="" if subtask is None else subtask.subtask_id,
        task_name="deployment" if subtask is None else subtask.display_name,
        operator=operator or ("" if subtask is None else subtask.vertex.name),
        error="".join(traceback.format_exception_only(error)).strip(),
        traceback=_format(error, user_frames),
        record=record or _record_in_batch(error),
        pickled=_pickled(error),
        # A function written in C (`int`, an itemgetter) has no frame: then the frame that calls it is the last one.
        user_code=(bool(user_frames) or in_call) and not isinstance(error, MillstreamError),
        recoverable=not _is_hopeless(error),
    )


def _is_hopeless(error: BaseException) -> bool:
    match error:
        case CheckpointError(reason=CheckpointFailureReason.INCOMPATIBLE) | StateError():
            return True
        case ConnectorError():
            return not error.retryable
    return False


def _culprit(tb: TracebackType | None) -> tuple[str | None, str | None, bool]:
    """Name of the innermost operator in the traceback, the record it was working on, and whether it raised right there.

    A key selector runs in the record writer too, on behalf of the operator whose results are written.
    """
    name, record, in_call = None, None, False
    while tb is not None:
        frame, in_call = tb.tb_frame, False
        owner = owner_of(frame.f_code.co_filename, tb.tb_lineno)
        variable = "value" if owner is None else owner.record_variable
        runs_functions = isinstance(frame.f_locals.get("self"), _RUNS_FUNCTIONS)
        if owner is not None or runs_functions:
            name = (owner.operator if owner is not None else frame.f_locals["self"]).name or name
            in_call = variable in frame.f_locals
            record = excerpt(frame.f_locals[variable]) if in_call else None
        tb = tb.tb_next
    return name, record, in_call


def _record_in_batch(error: BaseException) -> str | None:
    """The record that a sink says was at fault, by its index in the batch that the sink operator was given."""
    index = getattr(error, "millstream_record_index", None)
    batch = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(frame.f_locals.get("self"), Operator):
            batch = frame.f_locals.get("batch", batch)
    return excerpt(batch.values[index]) if isinstance(batch, RecordBatch) and index is not None else None


def _is_own(filename: str) -> bool:
    return filename.startswith(FILENAME_PREFIX) or str(Path(filename).resolve()).startswith(_OWN_FOLDERS)


def _user_frames(tb: TracebackType | None) -> list[traceback.FrameSummary]:
    """The frames from the first one that is not ours on: the user's function and whatever it called."""
    frames = list(traceback.extract_tb(tb))
    for index, frame in enumerate(frames):
        if not _is_own(frame.filename):
            return frames[index:]
    return []


def _format(error: BaseException, user_frames: list[traceback.FrameSummary]) -> str:
    if not user_frames:
        return "".join(traceback.format_exception(error))
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(user_frames)]
    return "".join([*lines, *traceback.format_exception_only(error)])


def _pickled(error: BaseException) -> bytes | None:
    """The exception itself, if it can travel; its text is reported anyway."""
    try:
        data = cloudpickle.dumps(error)
    except Exception:  # a user's exception may hold anything, whose pickling may raise anything
        return None
    return data if len(data) <= _MAX_PICKLED_BYTES else None
