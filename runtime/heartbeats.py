"""Heartbeats: who has been silent for too long. The decision is pure; what is said is at the end.

Both ends of a connection send a beat in each interval and give the other one up when they have heard nothing for the timeout.
Times are monotonic: a machine whose clock is set changes nothing. Source: Flink, "heartbeat.interval", "heartbeat.timeout".
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from ..core.configuration import Configuration, options
from ..core.errors import ConfigurationError

P = TypeVar("P", bound=Hashable)


@dataclass(frozen=True, slots=True)
class HeartbeatSettings:
    """Flink's defaults. The timeout is longer than the interval."""

    interval_ms: int = 10_000
    timeout_ms: int = 50_000

    @staticmethod
    def of(configuration: Configuration) -> HeartbeatSettings:
        """`heartbeat.*`.

        Raises:
            ConfigurationError: the timeout is not longer than the interval, so that nobody could keep to it.
        """
        interval_ms = configuration.get(options.HEARTBEAT_INTERVAL)
        timeout_ms = configuration.get(options.HEARTBEAT_TIMEOUT)
        if timeout_ms <= interval_ms:
            raise ConfigurationError(
                f"a heartbeat every {interval_ms} ms is always later than the timeout of {timeout_ms} ms",
                where=f"{options.HEARTBEAT_INTERVAL.key}, {options.HEARTBEAT_TIMEOUT.key}",
                fix="make the timeout several times as long as the interval",
            )
        return HeartbeatSettings(interval_ms, timeout_ms)

    def patience_ms(self, until_beat_ms: int) -> int:
        """How long to wait for what others say when the next own beat is due in that time."""
        return max(0, min(until_beat_ms, self.timeout_ms // 4))


class HeartbeatMonitor(Generic[P]):
    """Decides which peers are given up.

    Whoever did not run itself (a process that was stopped, a thread that had to wait) has not listened either, and what was said
    meanwhile may lie there unread: after a pause of more than half the timeout between two calls of `silent` everybody gets the
    whole timeout again. So `silent` is to be called more often than that, after whatever was said has been heard.

    >>> monitor = HeartbeatMonitor[str](timeout_ms=100, now_ms=0)
    >>> monitor.heard("a", 0), monitor.heard("b", 0)
    (None, None)
    >>> monitor.silent(50), monitor.heard("a", 60), monitor.silent(100)
    ({}, None, {'b': 100})
    """

    def __init__(self, timeout_ms: int, now_ms: int) -> None:
        self._timeout_ms = timeout_ms
        self._heard_ms: dict[P, int] = {}
        self._asked_ms = now_ms

    def heard(self, peer: P, now_ms: int) -> None:
        """The peer said something, or has just come."""
        self._heard_ms[peer] = now_ms

    def forget(self, peer: P) -> None:
        """It is watched no longer. Idempotent."""
        self._heard_ms.pop(peer, None)

    def silent(self, now_ms: int) -> dict[P, int]:
        """Those to give up, and for how long (ms) each has said nothing. They are watched until forgotten."""
        paused, self._asked_ms = now_ms - self._asked_ms > self._timeout_ms // 2, now_ms
        if paused:
            self._heard_ms = dict.fromkeys(self._heard_ms, now_ms)
        waited = {peer: now_ms - heard_ms for peer, heard_ms in self._heard_ms.items()}
        return {peer: silence_ms for peer, silence_ms in waited.items() if silence_ms >= self._timeout_ms}


class _Message(msgspec.Struct, frozen=True, tag=True):
    pass


class WatchWorker(_Message, frozen=True):
    """The first message of a worker on its heartbeat connection."""

    worker: int
    generation: int


class WorkerAlive(_Message, frozen=True):
    """A beat of a worker.

    Attributes:
        turn_ms: how long the current turn of its loop has taken; 0 while it waits for something to do. A user's function that
            takes a minute makes a turn of a minute, in a process that is alive.
    """

    turn_ms: int


class JobManagerAlive(_Message, frozen=True):
    """A beat of the JobManager."""
