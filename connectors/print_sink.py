"""A sink that prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from ..core.errors import ConnectorError
from .base import SinkWriterContext


@dataclass(frozen=True, slots=True)
class PrintSink:
    """Prints each record on a line of its own, in the manner of Flink's `print()`.

    With several subtasks each line begins with the number of its subtask, counted from 1. At-least-once: after a restart,
    records that were printed before are printed again.

    Args:
        sink_identifier: comes before each line; tells several print sinks apart.
        std_err: print to the standard error stream.
    """

    sink_identifier: str = ""
    std_err: bool = False

    def create_writer(self, context: SinkWriterContext[Any]) -> PrintWriter:
        """A writer to the standard stream of the process it is made in."""
        stream = sys.stderr if self.std_err else sys.stdout
        return PrintWriter(stream, line_prefix(self.sink_identifier, context.subtask, context.parallelism))


class PrintWriter:
    """Prints each batch in one write and flushes it, so that lines of parallel subtasks rarely mix and none waits."""

    def __init__(self, stream: TextIO, prefix: str) -> None:
        self._stream = stream
        self._prefix = prefix

    def write_batch(self, values: Sequence[object], timestamps: Sequence[int] | None) -> None:
        """Print the records.

        Raises:
            ConnectorError: the stream is closed, e.g. because the reader of a pipe went away.
        """
        prefix = self._prefix
        lines = []
        for index, value in enumerate(values):
            try:
                lines.append(f"{prefix}{value}\n")
            except Exception as error:
                error.millstream_record_index = index  # type: ignore[attr-defined]
                raise
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except OSError as error:
            raise ConnectorError(
                f"cannot print: {error.strerror or error}",
                where=getattr(self._stream, "name", "the standard stream"),
                fix="keep the program that reads the output running, or use another sink",
            ) from error

    def flush(self, end_of_input: bool) -> None:
        """Nothing waits: each batch is flushed when it is written."""

    def close(self) -> None:
        """The stream belongs to the process."""


def line_prefix(identifier: str, subtask: int, parallelism: int) -> str:
    """What comes before each line.

    >>> [line_prefix("", 0, 1), line_prefix("", 0, 2), line_prefix("id", 0, 1), line_prefix("id", 1, 2)]
    ['', '1> ', 'id> ', 'id:2> ']
    """
    number = str(subtask + 1) if parallelism > 1 else ""
    prefix = ":".join(part for part in (identifier, number) if part)
    return f"{prefix}> " if prefix else ""
