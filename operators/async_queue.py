"""In which order the results of asynchronous requests leave. Pure.

Requests and marks (what keeps its place among records: watermarks and idle statuses) go in; `take` gives what may leave now.
Source: Flink's documented behaviour of `AsyncDataStream.ordered_wait` and `unordered_wait`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ..core.batch import Watermark, WatermarkStatus

Mark: TypeAlias = Watermark | WatermarkStatus


@dataclass(slots=True, eq=False)
class Request:
    """A record that is being asked for.

    Attributes:
        timestamp: of the record (ms), if it has one; the results carry it.
        results: None until they are there.
        attempts: calls so far. The helper thread's alone.
        settled: no further call may begin: there is an outcome, or the time is up. The helper thread's alone.
    """

    value: Any
    timestamp: int | None
    results: list[Any] | None = None
    attempts: int = 0
    settled: bool = False


class RequestQueue(Protocol):
    """Requests from their arrival until their results leave."""

    def add(self, request: Request) -> None:
        """Behind everything added before."""

    def add_mark(self, mark: Mark) -> None:
        """Leaves behind the results of all requests added before, and ahead of those added later."""

    def complete(self, request: Request, results: list[Any]) -> None:
        """The results are there."""

    def take(self) -> Iterator[Request | Mark]:
        """Remove and give what may leave now, in order."""

    def requests(self) -> Iterator[Request]:
        """Those whose results have not left, in the order of arrival."""

    def __len__(self) -> int:
        """Requests whose results have not left."""

    @property
    def is_empty(self) -> bool:
        """Whether no mark waits either."""


class OrderedQueue:
    """Results leave in the order of their records."""

    def __init__(self) -> None:
        self._entries: deque[Request | Mark] = deque()
        self._count = 0

    def add(self, request: Request) -> None:
        self._count += 1
        self._entries.append(request)

    def add_mark(self, mark: Mark) -> None:
        if self._entries and _replaces(mark, self._entries[-1]):
            self._entries.pop()
        self._entries.append(mark)

    def complete(self, request: Request, results: list[Any]) -> None:
        request.results = results

    def take(self) -> Iterator[Request | Mark]:
        entries = self._entries
        while entries and not (isinstance(entries[0], Request) and entries[0].results is None):
            entry = entries.popleft()
            self._count -= isinstance(entry, Request)
            yield entry

    def requests(self) -> Iterator[Request]:
        return (entry for entry in self._entries if isinstance(entry, Request))

    def __len__(self) -> int:
        return self._count

    @property
    def is_empty(self) -> bool:
        return not self._entries


@dataclass(slots=True)
class _Segment:
    """The requests between two marks; the dict stands for an ordered set. Of a closed segment `mark` is the end."""

    requests: dict[Request, None] = field(default_factory=dict)
    completed: list[Request] = field(default_factory=list)
    mark: Mark | None = None


class UnorderedQueue:
    """Results leave as they come, but none crosses a mark."""

    def __init__(self) -> None:
        self._segments: deque[_Segment] = deque([_Segment()])
        self._segment_of: dict[Request, _Segment] = {}

    def add(self, request: Request) -> None:
        segment = self._segments[-1]
        segment.requests[request] = None
        self._segment_of[request] = segment

    def add_mark(self, mark: Mark) -> None:
        segments = self._segments
        before = segments[-2] if len(segments) > 1 else None
        if before is not None and not segments[-1].requests and _replaces(mark, before.mark):
            before.mark = mark
            return
        segments[-1].mark = mark
        segments.append(_Segment())

    def complete(self, request: Request, results: list[Any]) -> None:
        request.results = results
        self._segment_of[request].completed.append(request)

    def take(self) -> Iterator[Request | Mark]:
        segments = self._segments
        while True:
            segment = segments[0]
            completed, segment.completed = segment.completed, []
            for request in completed:
                del segment.requests[request], self._segment_of[request]
                yield request
            if segment.requests or segment.mark is None:
                return
            segments.popleft()
            yield segment.mark

    def requests(self) -> Iterator[Request]:
        return (request for segment in self._segments for request in segment.requests)

    def __len__(self) -> int:
        return len(self._segment_of)

    @property
    def is_empty(self) -> bool:
        return len(self._segments) == 1 and not self._segments[0].requests


def _replaces(mark: Mark, before: Any) -> bool:
    """Of watermarks with no record between them, the last one says it all."""
    return isinstance(mark, Watermark) and isinstance(before, Watermark)
