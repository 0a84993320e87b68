"""When a failed job is started again: pure decisions over a given monotonic time and a given source of chance.

Source: Flink, "Task Failure Recovery" (the strategies, their keys and their defaults).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Protocol


class RestartStrategy(Protocol):
    """The restart budget of one job run."""

    def on_failure(self, now_ms: int) -> int | None:
        """Another failure happened: milliseconds to wait before the restart, or None to give up.

        `now_ms` is monotonic. Every call uses up budget, so it is made once per failure that leads to a restart.
        """


class NoRestart:
    """The first failure is final."""

    def on_failure(self, now_ms: int) -> int | None:
        """None, always."""
        return None


class FixedDelay:
    """A number of restarts in the life of the run, each after the same delay.

    >>> strategy = FixedDelay(attempts=1, delay_ms=500)
    >>> strategy.on_failure(0), strategy.on_failure(1)
    (500, None)
    """

    def __init__(self, attempts: int, delay_ms: int) -> None:
        self._left = attempts
        self._delay_ms = delay_ms

    def on_failure(self, now_ms: int) -> int | None:
        """The delay, until the attempts are used up."""
        if self._left <= 0:
            return None
        self._left -= 1
        return self._delay_ms


class FailureRate:
    """Restarts, each after the same delay, until more than so many failures fall within an interval.

    >>> strategy = FailureRate(max_failures=1, interval_ms=1_000, delay_ms=10)
    >>> strategy.on_failure(0), strategy.on_failure(1_001), strategy.on_failure(2_001)
    (10, 10, None)
    """

    def __init__(self, max_failures: int, interval_ms: int, delay_ms: int) -> None:
        self._interval_ms = interval_ms
        self._delay_ms = delay_ms
        self._survived: deque[int] = deque(maxlen=max_failures)

    def on_failure(self, now_ms: int) -> int | None:
        """The delay, unless the last `max_failures` failures are all at most `interval_ms` old."""
        survived = self._survived
        if len(survived) == survived.maxlen and now_ms - survived[0] <= self._interval_ms:
            return None
        survived.append(now_ms)
        return self._delay_ms


@dataclass(frozen=True, slots=True)
class Backoff:
    """How the delay grows.

    Attributes:
        reset_threshold_ms: without a failure for this long (beyond the delay), the delay and the count start anew.
        jitter: each delay is changed by up to this share of it, up or down, so that jobs do not restart in step.
        attempts: restarts without a reset in between; None for any number.
    """

    initial_ms: int
    max_ms: int
    multiplier: float
    reset_threshold_ms: int
    jitter: float
    attempts: int | None = None


class ExponentialDelay:
    """Each restart waits longer than the one before, up to a bound; a quiet time sets the delay back.

    >>> backoff = Backoff(initial_ms=100, max_ms=350, multiplier=2.0, reset_threshold_ms=10_000, jitter=0.0)
    >>> strategy = ExponentialDelay(backoff, Random(0))
    >>> [strategy.on_failure(now) for now in (0, 100, 300, 20_000)]
    [100, 200, 350, 100]
    """

    def __init__(self, backoff: Backoff, random: Random) -> None:
        self._backoff = backoff
        self._random = random
        self._delay_ms = float(backoff.initial_ms)
        self._used = 0
        self._quiet_until_ms: int | None = None

    def on_failure(self, now_ms: int) -> int | None:
        """The next delay, or None once `attempts` are used up without a quiet time in between."""
        backoff = self._backoff
        if self._quiet_until_ms is not None and now_ms >= self._quiet_until_ms:
            self._delay_ms = float(backoff.initial_ms)
            self._used = 0
        if backoff.attempts is not None and self._used >= backoff.attempts:
            return None
        self._used += 1
        base = min(self._delay_ms, float(backoff.max_ms))
        self._delay_ms = min(self._delay_ms * backoff.multiplier, float(backoff.max_ms))
        delay_ms = min(backoff.max_ms, round(base * (1 + backoff.jitter * (2 * self._random.random() - 1))))
        # The quiet time counts from the restart: a long delay alone must not look like a healthy job.
        self._quiet_until_ms = now_ms + delay_ms + backoff.reset_threshold_ms
        return delay_ms
