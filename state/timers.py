"""Timers of an operator, kept in a table like any other state, so that they are checkpointed and move with their keys."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Final

from ..core.types import TypeInformation, Types
from .backend import KeyedStateBackend, StateMap, TableDescriptor


class KeyedTimers:
    """One timer per key and timestamp. Event time and processing time are two of these, under two names.

    In the table: namespace = timestamp (ms), key = the stream's key. In memory only a heap of the distinct timestamps, made again
    on restore.

    INVARIANT T1: every timestamp that has a timer is in the heap. Kept by: tests/state/test_timers.py.

    Args:
        backend: where the timers are.
        name: of the table.
        key_type: the type of the stream's keys.
    """

    def __init__(self, backend: KeyedStateBackend, name: str, key_type: TypeInformation[Any]) -> None:
        self._table: Final = backend.table(
            TableDescriptor(
                name,
                key_type,
                Types.BOOLEAN(),
                namespace_type=Types.LONG(),
                mutable_values=False,
                few_namespaces=True,
                kind="timers",
            )
        )
        self._alive: set[int] = set(
            self._table.namespaces()
        )  # may have timers; others in the heap have none any more
        self._heap: list[int] = sorted(self._alive)
        self._count: int | None = None if self._alive else 0  # None: not counted yet

    def register(self, key: Any, timestamp_ms: int) -> None:
        """Set a timer; nothing new when there is one for this key and time."""
        timers = self._timers(timestamp_ms)
        if timers.peek(key) is not None:
            return
        timers[key] = True
        if timestamp_ms not in self._alive:
            self._alive.add(timestamp_ms)
            heapq.heappush(self._heap, timestamp_ms)
        if self._count is not None:
            self._count += 1

    def delete(self, key: Any, timestamp_ms: int) -> None:
        """Forget a timer; a no-op when there is none."""
        if timestamp_ms not in self._alive:
            return
        timers = self._timers(timestamp_ms)
        if timers.peek(key) is None:
            return
        self._take(timers, key)
        if timers.is_empty():
            self._finish(timestamp_ms)

    def pop_due(self, up_to_ms: int) -> Iterator[tuple[int, Any]]:
        """(timestamp, key) of timers due by `up_to_ms`, both inclusive, in order of time; each is gone when it is handed out.

        Meets timers that are registered, and misses those that are deleted, while iterating, in their place in the order. To be
        used up before the batch ends.
        """
        while (timestamp_ms := self.next_due_ms()) is not None and timestamp_ms <= up_to_ms:
            keys = [key for key, _ in self._timers(timestamp_ms).entries()]
            for key in keys:
                timers = self._timers(timestamp_ms)
                if timers.peek(key) is None:
                    continue  # deleted by an earlier timer
                self._take(timers, key)
                yield timestamp_ms, key
                if self._heap[0] < timestamp_ms:
                    break  # an earlier one was registered
            if timestamp_ms in self._alive and self._timers(timestamp_ms).is_empty():
                self._finish(timestamp_ms)

    def next_due_ms(self) -> int | None:
        """The earliest timestamp that may have a timer, None when there is none."""
        while self._heap and self._heap[0] not in self._alive:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def count(self) -> int:
        """How many timers there are. The first call after a restore reads them all."""
        if self._count is None:
            self._count = sum(1 for time in self._alive for _ in self._timers(time).entries())
        return self._count

    def _timers(self, timestamp_ms: int) -> StateMap[Any, bool]:
        return self._table.namespace(timestamp_ms)

    def _take(self, timers: StateMap[Any, bool], key: Any) -> None:
        timers.remove(key)
        if self._count is not None:
            self._count -= 1

    def _finish(self, timestamp_ms: int) -> None:
        """No timer is left at this time; it leaves the heap when it comes to its top."""
        self._table.drop(timestamp_ms)
        self._alive.discard(timestamp_ms)
