"""Timers of windows: as `KeyedTimers`, one for each key, window and timestamp."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Final

from ..core.types import TypeInformation, Types
from .backend import KeyedStateBackend, StateMap, TableDescriptor


class WindowTimers:
    """Timers per key, window and timestamp. Event time and processing time are two of these, under two names.

    In the table: namespace = timestamp (ms), key = the stream's key, value = the windows that have a timer then. So the key alone
    decides where a timer goes when the parallelism changes. In memory only a heap of the distinct timestamps, made again on
    restore.

    INVARIANT T2: every timestamp that has a timer is in the heap. Kept by: tests/state/test_window_timers.py.

    Args:
        backend: where the timers are.
        name: of the table.
        key_type: the type of the stream's keys.
        window_type: the type of what stands for windows.
    """

    def __init__(
        self,
        backend: KeyedStateBackend,
        name: str,
        key_type: TypeInformation[Any],
        window_type: TypeInformation[Any],
    ) -> None:
        self._table: Final = backend.table(
            TableDescriptor(
                name,
                key_type,
                Types.LIST(window_type),
                namespace_type=Types.LONG(),
                mutable_values=False,
                kind="timers",
            )
        )
        self._alive: Final[set[int]] = set(self._table.namespaces())  # may have timers
        self._heap: Final[list[int]] = sorted(self._alive)

    def register(self, key: Any, window: Any, timestamp_ms: int) -> None:
        """Set a timer; nothing new when there is one for this key, window and time."""
        timers = self._timers(timestamp_ms)
        windows = timers.peek(key)
        if windows is None:
            timers[key] = [window]
            if timestamp_ms not in self._alive:
                self._alive.add(timestamp_ms)
                heapq.heappush(self._heap, timestamp_ms)
        elif window not in windows:
            timers[key] = [*windows, window]

    def delete(self, key: Any, window: Any, timestamp_ms: int) -> None:
        """Forget a timer; a no-op when there is none."""
        if timestamp_ms in self._alive and self._take(key, window, timestamp_ms):
            self._finish_if_empty(timestamp_ms)

    def pop_due(self, up_to_ms: int) -> Iterator[tuple[int, Any, Any]]:
        """(timestamp, key, window) of timers due by `up_to_ms`, inclusive, in order of time; each is gone when it is handed out.

        Meets timers that are registered, and misses those that are deleted, while iterating, in their place in the order. To be
        used up before the batch ends.
        """
        while (timestamp_ms := self.next_due_ms()) is not None and timestamp_ms <= up_to_ms:
            due = [
                (key, window) for key, windows in self._timers(timestamp_ms).entries() for window in windows
            ]
            for key, window in due:
                if not self._take(key, window, timestamp_ms):
                    continue  # deleted by an earlier timer
                yield timestamp_ms, key, window
                if (earliest := self.next_due_ms()) is not None and earliest < timestamp_ms:
                    break
            self._finish_if_empty(timestamp_ms)

    def next_due_ms(self) -> int | None:
        """The earliest timestamp that may have a timer, None when there is none."""
        heap, alive = self._heap, self._alive
        while heap and heap[0] not in alive:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _timers(self, timestamp_ms: int) -> StateMap[Any, list[Any]]:
        return self._table.namespace(timestamp_ms)

    def _take(self, key: Any, window: Any, timestamp_ms: int) -> bool:
        """Forget a timer; whether there was one."""
        timers = self._timers(timestamp_ms)
        windows = timers.peek(key)
        if windows is None or window not in windows:
            return False
        if len(windows) == 1:
            timers.remove(key)
        else:
            timers[key] = [other for other in windows if other != window]
        return True

    def _finish_if_empty(self, timestamp_ms: int) -> None:
        """Where no timer is left, the timestamp leaves the heap when it comes to its top."""
        if timestamp_ms in self._alive and self._timers(timestamp_ms).is_empty():
            self._table.drop(timestamp_ms)
            self._alive.discard(timestamp_ms)
