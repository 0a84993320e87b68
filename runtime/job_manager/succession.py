"""What a cluster of processes needs to know where job managers succeed one another."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Protocol

from ...core.processes import start_of
from ..high_availability.records import ForkServerEntry
from ..worker.fork_messages import FollowLeaders, ForkServerRegistered


class Succession(Protocol):
    """The leadership of a job manager, as its cluster sees it."""

    def require(self) -> None:
        """Raises LeadershipLostError unless no other process can be leading now."""

    def orders(self) -> FollowLeaders:
        """What a fork server must know to find the leaders to come."""

    def announce(self, address: str, heartbeat_address: str) -> None:
        """Workers may register there, and send their heartbeats there."""

    def predecessor(self) -> Predecessor | None:
        """The fork server of the leader before, unless it is known to be gone."""

    def employ(self, entry: ForkServerEntry | None) -> None:
        """Remember, durably, which fork server holds the job's workers: before it starts any."""


class Predecessor:
    """The fork server of an earlier leader, on this host: awaited until it registers or has ended.

    Attributes:
        wanted: workers to be found with it, or to be started once it has ended.
    """

    def __init__(self, entry: ForkServerEntry) -> None:
        self._entry = entry
        self.wanted: set[int] = set()

    def has_ended(self) -> bool:
        """Then its workers have ended, too."""
        return start_of(self._entry.pid) != self._entry.started

    def is_it(self, registered: ForkServerRegistered) -> bool:
        """Whether this is the process that was awaited."""
        return (registered.pid, registered.started) == (self._entry.pid, self._entry.started)

    def kill_for(self, worker: int) -> None:
        """That worker was to be found with it, and has not come in time."""
        if worker in self.wanted and not self.has_ended():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._entry.pid, signal.SIGKILL)
