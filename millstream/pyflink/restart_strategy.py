"""PyFlink's descriptions of restart strategies, each with the keys of the configuration that it stands for."""

from __future__ import annotations

from datetime import timedelta

from ..core.time import TimeLike, to_millis

__all__ = ["RestartStrategies", "RestartStrategyConfiguration"]


class RestartStrategyConfiguration:
    """One of `RestartStrategies`; two are equal when they say the same."""

    def get_description(self) -> str:
        """For people."""
        return ", ".join(f"{key}: {value}" for key, value in self.settings().items()) or "the cluster's own"

    def settings(self) -> dict[str, str]:
        """Keys and values of the configuration."""
        return {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.settings() == other.settings()

    def __hash__(self) -> int:
        return hash(self.get_description())


class _NoRestart(RestartStrategyConfiguration):
    def settings(self) -> dict[str, str]:
        return {"restart-strategy.type": "none"}


class _FixedDelay(RestartStrategyConfiguration):
    def __init__(self, restart_attempts: int, delay_between_attempts_interval: TimeLike) -> None:
        self._attempts = restart_attempts
        self._delay_ms = to_millis(delay_between_attempts_interval)

    def get_restart_attempts(self) -> int:
        return self._attempts

    def get_delay_between_attempts_interval(self) -> timedelta:
        return timedelta(milliseconds=self._delay_ms)

    def settings(self) -> dict[str, str]:
        return {
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": str(self._attempts),
            "restart-strategy.fixed-delay.delay": f"{self._delay_ms} ms",
        }


class _FailureRate(RestartStrategyConfiguration):
    def __init__(
        self, max_failure_rate: int, failure_interval: TimeLike, delay_between_attempts_interval: TimeLike
    ) -> None:
        self._rate = max_failure_rate
        self._interval_ms = to_millis(failure_interval)
        self._delay_ms = to_millis(delay_between_attempts_interval)

    def get_max_failure_rate(self) -> int:
        return self._rate

    def get_failure_interval(self) -> timedelta:
        return timedelta(milliseconds=self._interval_ms)

    def get_delay_between_attempts_interval(self) -> timedelta:
        return timedelta(milliseconds=self._delay_ms)

    def settings(self) -> dict[str, str]:
        return {
            "restart-strategy.type": "failure-rate",
            "restart-strategy.failure-rate.max-failures-per-interval": str(self._rate),
            "restart-strategy.failure-rate.failure-rate-interval": f"{self._interval_ms} ms",
            "restart-strategy.failure-rate.delay": f"{self._delay_ms} ms",
        }


class _FallBack(RestartStrategyConfiguration):
    """What the configuration says anyway."""


class RestartStrategies:
    """Makes descriptions of restart strategies; lengths of time are a timedelta or an int of milliseconds.

    >>> RestartStrategies.fixed_delay_restart(3, 1000).get_restart_attempts()
    3
    """

    NoRestartStrategyConfiguration = _NoRestart
    FixedDelayRestartStrategyConfiguration = _FixedDelay
    FailureRateRestartStrategyConfiguration = _FailureRate
    FallbackRestartStrategyConfiguration = _FallBack

    @staticmethod
    def no_restart() -> RestartStrategyConfiguration:
        """A failure fails the job."""
        return _NoRestart()

    @staticmethod
    def fall_back_restart() -> RestartStrategyConfiguration:
        """What the configuration says."""
        return _FallBack()

    @staticmethod
    def fixed_delay_restart(restart_attempts: int, delay_between_attempts: TimeLike) -> _FixedDelay:
        """So many restarts, always after the same time."""
        return _FixedDelay(restart_attempts, delay_between_attempts)

    @staticmethod
    def failure_rate_restart(
        failure_rate: int, failure_interval: TimeLike, delay_interval: TimeLike
    ) -> _FailureRate:
        """Restarts, each after the same time, until more than so many failures fall within an interval."""
        return _FailureRate(failure_rate, failure_interval, delay_interval)
