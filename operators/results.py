"""Turning what a user's process function yields into batches: main results and side outputs, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from ..core.batch import RecordBatch
from ..core.errors import JobDefinitionError
from ..core.types import excerpt
from .base import OperatorContext
from .functions import OutputTag


class ResultCollector:
    """Collects the results of many calls; `flush` emits them as batches. Side outputs keep their own order.

    Results are copied, if at all, at once: what a function has kept in state it may change in its next call.
    """

    def __init__(self, context: OperatorContext) -> None:
        self._output = context.output
        self._copy, self._copy_side = context.copy_result, context.copy_side_result
        self._values: list[Any] = []
        self._timestamps: list[int | None] = []
        self._side: dict[str, tuple[list[Any], list[int | None]]] = {}

    def collect(self, results: Iterable[Any] | None, timestamp: int | None) -> None:
        """Take what one call yielded or returned; all of it happened at `timestamp` (ms), if that is known.

        Raises:
            JobDefinitionError: it returned neither None nor an iterable.
        """
        if results is None:
            return
        values, timestamps, copy = self._values, self._timestamps, self._copy
        try:
            found = iter(results)
        except TypeError:
            if hasattr(results, "__iter__"):
                raise
            raise results_refused(results) from None
        for result in found:
            if type(result) is tuple and len(result) == 2 and isinstance(result[0], OutputTag):
                self.collect_side(result[0], result[1], timestamp)
            else:
                values.append(result if copy is None else copy(result))
                timestamps.append(timestamp)

    def collect_side(self, tag: OutputTag[Any], value: Any, timestamp: int | None) -> None:
        """Take a record for a side output."""
        values, timestamps = self._side.setdefault(tag.tag_id, ([], []))
        copy = self._copy_side
        values.append(value if copy is None else copy(value))
        timestamps.append(timestamp)

    def flush(self) -> None:
        """Emit everything collected so far."""
        if self._values:
            values, timestamps = self._values, self._timestamps
            self._values, self._timestamps = [], []
            for batch in to_batches(values, timestamps):
                self._output.emit(batch)
        if self._side:
            side, self._side = self._side, {}
            for tag, (values, timestamps) in side.items():
                for batch in to_batches(values, timestamps):
                    self._output.emit_side(tag, batch)


def results_refused(results: object) -> JobDefinitionError:
    """The error for what a function returned instead of its results."""
    return JobDefinitionError(
        f"a function returned {excerpt(results)} of type {type(results).__name__}, which is no list of results",
        fix="return a list ([result]), yield the results, or return None if there are none",
    )


def to_batches(values: list[Any], timestamps: list[int | None]) -> Iterator[RecordBatch]:
    """One batch if all have a timestamp or none has; otherwise a batch for each stretch, in order."""
    start = 0
    for unknown, stretch in groupby(timestamps, _is_unknown):
        times = list(stretch)
        end = start + len(times)
        yield RecordBatch(values[start:end], None if unknown else times)  # type: ignore[arg-type]  # none is None
        start = end


def _is_unknown(timestamp: int | None) -> bool:
    return timestamp is None
