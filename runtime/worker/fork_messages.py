"""The protocol between a client and its fork server: one union per direction."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class _Message(msgspec.Struct, frozen=True, tag=True):
    pass


class SpawnWorker(_Message, frozen=True):
    """Fork a worker.

    Attributes:
        generation: rises with every process that has the same worker id.
        control_address: where it registers.
        secret: of the cluster; it travels through this inherited connection alone, never by argument or environment.
        work_dir: of the cluster; holds its sockets and its local state.
    """

    worker: int
    generation: int
    control_address: str
    secret: bytes
    work_dir: str
    heartbeat_address: str = ""
    heartbeat_interval_ms: int = 10_000
    heartbeat_timeout_ms: int = 50_000


class KillSpawned(_Message, frozen=True):
    """End that worker process by force, if it has not ended yet."""

    worker: int
    generation: int


class StopServer(_Message, frozen=True):
    """Wait for the workers to end, at most `grace_ms`, kill the rest, and end."""

    grace_ms: int


class FollowLeaders(_Message, frozen=True):
    """High availability: outlive whoever leads, and work for who comes next. Answered by nothing.

    Attributes:
        epoch: of the leader that says so; only later ones are followed.
        configuration: where to look for leaders: the keys of high availability.
        secret: of the cluster.
        timeout_ms: how long to look for a leader before everything ends.
    """

    epoch: int
    configuration: dict[str, str]
    secret: bytes
    timeout_ms: int


ToForkServer: TypeAlias = SpawnWorker | KillSpawned | StopServer | FollowLeaders


class WorkerSpawned(_Message, frozen=True):
    """The worker runs."""

    worker: int
    generation: int
    pid: int


class WorkerExited(_Message, frozen=True):
    """The worker process ended. `status` as from `os.waitstatus_to_exitcode`: negative for a signal."""

    worker: int
    generation: int
    status: int


class LivingWorker(msgspec.Struct, frozen=True):
    """A worker that a fork server has."""

    worker: int
    generation: int
    pid: int


class ForkServerRegistered(_Message, frozen=True):
    """First message of a fork server to a leader that did not start it; `FollowLeaders` is the answer.

    Attributes:
        started: tells it from a later process of the same id.
        work_dir: where its workers live, and new ones shall.
        generation: the highest there was.
    """

    pid: int
    started: str
    work_dir: str
    generation: int
    workers: list[LivingWorker] = []


FromForkServer: TypeAlias = WorkerSpawned | WorkerExited | ForkServerRegistered
