"""Where one region of the job is: what the scheduler knows of its tasks."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from .scheduling import Region


class Stage(enum.Enum):
    """Where the current attempt of a region is."""

    CREATED = "not started"
    AWAITING_WORKERS = "waiting for workers to register"
    PREPARING = "finding out what to restore"
    DEPLOYING = "tasks are opening and restoring"
    EXECUTING = "all tasks run"
    FINISHING = "tasks end their commits and close"
    FINISHED = "all tasks have ended and committed"
    STOPPING = "waiting for tasks to stop"
    BACKOFF = "waiting for the restart"


BEFORE_DEPLOYMENT = frozenset({Stage.AWAITING_WORKERS, Stage.PREPARING})
DEPLOYED = frozenset({Stage.DEPLOYING, Stage.EXECUTING, Stage.FINISHING})
_WITH_ATTEMPT = DEPLOYED | {Stage.PREPARING, Stage.FINISHED}
_AT_REST = frozenset({Stage.CREATED, Stage.BACKOFF})


@dataclass(slots=True)
class RegionRun:
    """One region. Times are monotonic ms.

    Attributes:
        attempt: of its tasks, of the last ones between two attempts; None before the first.
        busy: workers that may have tasks of the region.
        running: workers all of whose tasks of the region are open.
        ended: subtasks whose input is over.
        deadline_ms: when patience with starting workers or stopping tasks ends.
        restart_at_ms: when a restart is due, in BACKOFF.
    """

    index: int
    region: Region
    stage: Stage = Stage.CREATED
    attempt: int | None = None
    busy: set[int] = field(default_factory=set)
    running: set[int] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    deadline_ms: int | None = None
    restart_at_ms: int = 0

    @property
    def is_deployed(self) -> bool:
        """Whether tasks of the current attempt may run, and nobody has told them to stop."""
        return self.stage in DEPLOYED

    @property
    def has_attempt(self) -> bool:
        """Whether there is something to take back when the region stops."""
        return self.stage in _WITH_ATTEMPT

    @property
    def may_fail(self) -> bool:
        """Whether a failure is news, not an echo of one that is being dealt with."""
        return self.is_deployed or self.stage in BEFORE_DEPLOYMENT

    @property
    def at_rest(self) -> bool:
        """Whether nothing of it runs, nor is anything under way."""
        return self.stage in _AT_REST

    @property
    def input_ended(self) -> bool:
        """Whether all tasks run and have nothing more to read."""
        return self.stage is Stage.EXECUTING and self.ended == self.region.subtasks

    def next_deadline_ms(self) -> int | None:
        """When time alone changes something."""
        return self.restart_at_ms if self.stage is Stage.BACKOFF else self.deadline_ms

    def is_due(self, now_ms: int) -> bool:
        """Whether it has."""
        deadline_ms = self.next_deadline_ms()
        return deadline_ms is not None and deadline_ms <= now_ms

    def begin_deployment(self) -> None:
        """All its workers are sent tasks."""
        assert not self.busy, "S1: a worker still has tasks of an earlier attempt of the region"
        self.stage = Stage.DEPLOYING
        self.busy = set(self.region.workers)
        self.running.clear()
        self.ended.clear()

    def stop(self, deadline_ms: int) -> None:
        """Its tasks are told to stop; by `deadline_ms` they shall have."""
        self.stage = Stage.STOPPING
        self.deadline_ms = deadline_ms if self.busy else None
