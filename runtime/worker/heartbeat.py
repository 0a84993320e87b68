"""A worker's end of the heartbeats: a thread that proves that the process is alive, whatever its loop is busy with."""

from __future__ import annotations

import os
import select
import sys
from threading import Event, Thread
from typing import Final, TypeAlias

from ...core.clock import Clock
from ..heartbeats import HeartbeatMonitor, HeartbeatSettings, JobManagerAlive, WatchWorker, WorkerAlive
from ..message_link import MessageLink
from ..transport import FramedSocket, Role, connect
from .fork_messages import SpawnWorker

_CONNECT_TIMEOUT_S: Final = 30.0
_JOB_MANAGER: Final = "JobManager"
_Link: TypeAlias = MessageLink[WatchWorker | WorkerAlive, JobManagerAlive]


class Turn:
    """When the current turn of the loop began; written by the loop, read by the thread."""

    __slots__ = ("began_ms",)

    def __init__(self) -> None:
        self.began_ms: int | None = None


def start_heartbeats(spec: SpawnWorker, turn: Turn, clock: Clock, left: Event | None = None) -> None:
    """Connect and begin; from now on this process ends when the JobManager gives it up, or is silent for the timeout.

    A process that was stopped for too long finds its connection closed when it goes on, and ends before it says anything: it
    is a zombie whose tasks run elsewhere. Whatever it had said before is known by its attempt.

    Returns when the JobManager watches this process.

    Args:
        left: set when this process works for another JobManager. One that outlives JobManagers does not end for their silence:
            what it does for a leader that is gone is ended where the next one is heard of, and whoever gives it up has it
            killed by the fork server.

    Raises:
        OSError: there is no connection, or no answer.
    """
    settings = HeartbeatSettings(spec.heartbeat_interval_ms, spec.heartbeat_timeout_ms)
    sock = connect(spec.heartbeat_address, _CONNECT_TIMEOUT_S)
    link: _Link = MessageLink(FramedSocket(sock, secret=spec.secret, role=Role.CONNECTOR), JobManagerAlive)
    link.send(WatchWorker(spec.worker, spec.generation))
    _await_answer(link)
    arguments = (link, settings, turn, clock, spec.worker, left)
    Thread(target=_run, args=arguments, name="heartbeat", daemon=True).start()


def _await_answer(link: _Link) -> None:
    poll = select.poll()
    poll.register(link.fileno(), select.POLLIN)
    while link.receive() is None:
        if link.closed or not poll.poll(_CONNECT_TIMEOUT_S * 1000):
            raise TimeoutError("the JobManager does not answer on the heartbeat connection")


def _run(
    link: _Link, settings: HeartbeatSettings, turn: Turn, clock: Clock, worker: int, left: Event | None
) -> None:
    now_ms = next_beat_ms = clock.monotonic_ms()
    monitor = HeartbeatMonitor[str](settings.timeout_ms, now_ms)
    monitor.heard(_JOB_MANAGER, now_ms)
    while True:
        poll = select.poll()
        poll.register(link.fileno(), select.POLLIN | (select.POLLOUT if link.wants_write else 0))
        poll.poll(settings.patience_ms(next_beat_ms - now_ms))
        now_ms = clock.monotonic_ms()
        while link.receive() is not None:
            monitor.heard(_JOB_MANAGER, now_ms)
        if left is not None and (left.is_set() or link.closed):
            link.close()
            return
        if link.closed:
            _end(worker, "the JobManager has ended, or has given this process up")
        if monitor.silent(now_ms) and left is None:
            _end(worker, f"nothing was heard of the JobManager for {settings.timeout_ms} ms")
        if now_ms >= next_beat_ms:
            next_beat_ms = now_ms + settings.interval_ms
            began_ms = turn.began_ms
            link.send(WorkerAlive(0 if began_ms is None else now_ms - began_ms))


def _end(worker: int, why: str) -> None:
    """At once, also in the middle of a user's function: nobody wants to hear this process any more."""
    sys.stderr.write(f"worker {worker} ends: {why}\n")
    os._exit(1)
