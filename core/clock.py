"""The one place that reads the machine's clocks; everything else is handed a `Clock`."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock and monotonic time, both as `int` milliseconds."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch: processing time. May jump when the machine's clock is set."""

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary moment: for timeouts and intervals. Never goes back."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class ManualClock:
    """A clock that moves only when told to: for tests and simulation.

    >>> clock = ManualClock(now_ms=5)
    >>> clock.advance(10)
    >>> clock.now_ms(), clock.monotonic_ms()
    (15, 10)
    """

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def advance(self, delta_ms: int) -> None:
        """Move both clocks forward by `delta_ms` (not negative)."""
        if delta_ms < 0:
            msg = f"a clock cannot be advanced by {delta_ms} ms"
            raise ValueError(msg)
        self._now_ms += delta_ms
        self._monotonic_ms += delta_ms
