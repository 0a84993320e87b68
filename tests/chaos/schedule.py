"""What happens in a run: a seed decides about the job and the faults. Pure."""

from __future__ import annotations

from enum import StrEnum
from random import Random

import msgspec


class FaultKind(StrEnum):
    """What is done to a running job."""

    KILL_WORKER = "kill -9 of a worker"
    KILL_FORK_SERVER = "kill -9 of the fork server"
    KILL_JOB_MANAGER = "kill -9 of the job manager, then --resume"
    KILL_EVERYTHING = "kill -9 of all processes, then --resume"
    STOP_WORKER = "SIGSTOP of a worker for a while"
    FULL_DISK = "no space left for checkpoints for a while"
    READ_ONLY = "a read-only checkpoint directory for a while"
    FLIP_BYTE = "a byte of a file of the newest checkpoint flipped, then kill -9 of a worker"
    TRUNCATE = "a file of the newest checkpoint cut short, then kill -9 of a worker"
    CLOSE_CONNECTION = "a connection of a worker closed"
    HALF_CLOSE = "a connection of a worker closed in one direction"
    CLOCK_JUMP = "the wall clock set forward or back"


class Fault(msgspec.Struct, frozen=True):
    """A fault and its moment.

    Attributes:
        after_checkpoints: completed since the last fault, or since the start.
        pause_ms: after those.
        duration_ms: of faults that end by themselves.
    """

    kind: FaultKind
    after_checkpoints: int
    pause_ms: int
    duration_ms: int


class Plan(msgspec.Struct, frozen=True):
    """A run.

    Attributes:
        topology: of `jobs/topologies.py`; `graph-N` is the random program with the seed N.
        rate: events per second, so many that the job outlives most of its faults.
        local_recovery: whether copies of checkpoint files are kept, and restored from.
        unaligned: whether barriers overtake records.
        sink: `files`, or `kafka`, exactly once in both.
        burners: busy processes on the one processor that the job may use; None: it may use all, and nobody else is busy.
    """

    seed: int
    topology: str
    backend: str
    parallelism: tuple[int, ...]
    events: int
    rate: int
    burners: int | None
    faults: tuple[Fault, ...]
    local_recovery: bool = False
    unaligned: bool = False
    sink: str = "files"

    def parallelism_of(self, start: int) -> int:
        """Of the start with this number, from 0: each `--resume` may be at another one."""
        return self.parallelism[start % len(self.parallelism)]


_EVENTS = {"windows": 24_000, "timers": 12_000, "join": 6_000, "graph": 4_000}


def plan_of(seed: int) -> Plan:
    """The run with this seed, always the same."""
    random = Random(seed)
    topology = random.choice(("windows", "timers", "join", "graph", "graph"))
    events = _EVENTS[topology]
    faults = tuple(_fault(random) for _ in range(random.randint(1, 5)))
    return Plan(
        seed=seed,
        topology=f"graph-{seed}" if topology == "graph" else topology,
        backend=random.choice(("hashmap", "rocksdb")),
        parallelism=tuple(random.choice((2, 2, 3)) for _ in range(random.randint(1, 3))),
        events=events,
        rate=events // random.randint(3, 6),
        burners=random.choice((None, 0, 1, 2)),
        faults=faults,
        local_recovery=random.random() < 0.5,
        unaligned=random.random() < 0.5,
        sink=random.choice(("files", "files", "kafka")),
    )


def _fault(random: Random) -> Fault:
    return Fault(
        random.choice(list(FaultKind)),
        after_checkpoints=random.choice((0, 1, 1, 2, 3)),
        pause_ms=random.randint(0, 300),
        duration_ms=random.choice((100, 400, 1_500, 4_000)),
    )
