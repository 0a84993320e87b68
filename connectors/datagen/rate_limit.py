"""How fast a generating source may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...core.arguments import check_number
from ...core.clock import Clock

# A reader that was held up catches up at most this much, so that a pause is not followed by a flood.
_BURST_MS = 1_000


@dataclass(frozen=True, slots=True)
class RateLimiterStrategy:
    """A limit for all subtasks together, as in Flink.

    >>> RateLimiterStrategy.per_second(100)
    RateLimiterStrategy(records_per_second=100)
    """

    records_per_second: float | None = None

    @staticmethod
    def per_second(records_per_second: float) -> RateLimiterStrategy:
        """At most that many records a second, divided evenly over the subtasks.

        Raises:
            JobDefinitionError: the rate is not positive.
        """
        fix = "give a rate above 0, or RateLimiterStrategy.no_op() for no limit"
        check_number("number of records per second", records_per_second, fix=fix)
        return RateLimiterStrategy(records_per_second)

    @staticmethod
    def no_op() -> RateLimiterStrategy:
        """As fast as the job can take them."""
        return RateLimiterStrategy()

    def create_limiter(self, clock: Clock, parallelism: int) -> RateLimiter | None:
        """The limit of one of `parallelism` subtasks, or None if there is none."""
        if self.records_per_second is None:
            return None
        return RateLimiter(clock, self.records_per_second / parallelism)


class RateLimiter:
    """Counts what may be emitted; the caller waits. Starts with room for one record."""

    def __init__(self, clock: Clock, records_per_second: float) -> None:
        self._clock = clock
        self._per_ms = records_per_second / 1_000
        self._capacity = max(1.0, self._per_ms * _BURST_MS)
        self._allowed = 1.0
        self._counted_until_ms = clock.monotonic_ms()

    def allowed(self) -> int:
        """How many records may be emitted now."""
        now_ms = self._clock.monotonic_ms()
        self._allowed = min(self._capacity, self._allowed + (now_ms - self._counted_until_ms) * self._per_ms)
        self._counted_until_ms = now_ms
        return int(self._allowed + 1e-9)

    def emitted(self, records: int) -> None:
        """Take off what was emitted."""
        self._allowed -= records

    def wait_ms(self) -> int:
        """In how many ms the next record is allowed, at least 1."""
        # Rounded, as sums of fractions may miss a whole millisecond by a hair.
        return max(1, math.ceil(round((1.0 - self._allowed) / self._per_ms, 6)))
