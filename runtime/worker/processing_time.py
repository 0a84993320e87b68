"""Wall-clock callbacks of the loop."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from ...core.clock import Clock


class ProcessingTimeService:
    """Runs callbacks when the wall clock has reached their time, in order of time, between batches."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Callable[[int], None]]] = []
        self._sequence = itertools.count()

    def now_ms(self) -> int:
        """Processing time."""
        return self._clock.now_ms()

    def schedule(self, at_ms: int, callback: Callable[[int], None]) -> None:
        """Run `callback(now_ms)` once, at `at_ms` or soon after."""
        heapq.heappush(self._heap, (at_ms, next(self._sequence), callback))

    def run_due(self) -> bool:
        """Run what is due. True when something ran."""
        heap = self._heap
        if not heap:
            return False
        now = self._clock.now_ms()
        ran = False
        while heap and heap[0][0] <= now:
            _, _, callback = heapq.heappop(heap)
            callback(now)
            ran = True
        return ran

    def next_due_ms(self) -> int | None:
        """When the next callback is due, or None."""
        return self._heap[0][0] if self._heap else None

    def clear(self) -> None:
        """Forget all callbacks."""
        self._heap.clear()


class StandingTime:
    """Tells the time, but never comes to the time of a callback."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        """Processing time."""
        return self._clock.now_ms()

    def schedule(self, at_ms: int, callback: Callable[[int], None]) -> None:
        """Forget about it."""
