"""Removes what has expired from a table, a few entries at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from ..core.clock import Clock
from .backend import StateTable
from .expiry import Expiry

_SWEEP_ENTRIES: Final = 100
"""Entries that a background sweep looks at after a batch: half a millisecond when each comes from RocksDB (20,000 of them, a busy core)."""

_PASSES_PER_TTL: Final = 4
"""A pass begins so many times in a time to live at most: what has expired stays for a quarter of it, and the time of the pass."""


class Cleanup:
    """Goes round and round through a table's entries, which may be changed meanwhile.

    Args:
        table: as the backend made it.
        expiry: of the table.
        clock: tells the time.
    """

    def __init__(self, table: StateTable, expiry: Expiry, clock: Clock) -> None:
        self._table = table
        self._expiry = expiry
        self._clock = clock
        self._walk: Iterator[tuple[Any, Any, Any]] | None = None

    def visit(self, entries: int) -> int:
        """Look at up to so many entries and remove what has expired of them.

        Returns:
            How many it looked at: fewer only at the end of a pass; the next call begins another.
        """
        walk = self._table.walk() if self._walk is None else self._walk
        now_ms = self._clock.now_ms()
        has_expired = self._expiry.test(now_ms)
        visited = 0
        for namespace, key, stored in islice(walk, entries):
            visited += 1
            if has_expired(stored):
                self._remove_expired(namespace, key, now_ms)
        self._walk = walk if visited == entries else None
        return visited

    def _remove_expired(self, namespace: Any, key: Any, now_ms: int) -> None:
        # What the walk found may be old by now. What the map gives is not, and is ours: a snapshot has no part in it.
        entries = self._table.namespace(namespace)
        stored = entries[key]
        if stored is None:
            return
        left = self._expiry.kept(stored, now_ms)
        if left is None:
            entries.remove(key)
        elif left is not stored:
            entries[key] = left


class Sweep:
    """A clean-up between batches, by the backend: a bounded number of entries each time, and pauses between passes."""

    def __init__(self, table: StateTable, expiry: Expiry, clock: Clock) -> None:
        self._cleanup = Cleanup(table, expiry, clock)
        self._clock = clock
        self._pause_ms = max(1, expiry.ttl_ms // _PASSES_PER_TTL)
        # Each step reads the clock once.
        self._step = min(_SWEEP_ENTRIES, expiry.reads_clock_after)
        self._next_pass_ms = 0
        self._rests = True

    def end_of_batch(self) -> None:
        """Look at some entries, unless the last pass has ended and the next one is not due."""
        if self._rests:
            now_ms = self._clock.monotonic_ms()
            if now_ms < self._next_pass_ms:
                return
            self._next_pass_ms = now_ms + self._pause_ms
        self._rests = self._cleanup.visit(self._step) < self._step
