"""A worker process, from its fork to its end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from threading import Event, Thread
from typing import Final

import msgspec

from ...core.clock import Clock, SystemClock
from ...core.workdir import remove_tree
from ..message_link import MessageLink
from ..messages import FromWorker, ToWorker
from ..transport import FramedSocket, Role, address_of, connect, listen, local_address
from .collector import relax_collector
from .following import LeaderNews, NewLeader
from .fork_messages import SpawnWorker
from .heartbeat import Turn, start_heartbeats
from .worker import Worker

_CONNECT_TIMEOUT_S: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1
_SWITCH_INTERVAL_S: Final = 0.000_5
"""A helper thread that writes a checkpoint gives the interpreter up at each system call, and waits this long to have it back from a
loop that computes; with the usual 5 ms, a small snapshot under backpressure takes tens of ms. Where no thread waits it costs nothing."""


def run_worker(spec: SpawnWorker, *, parent: int, lifeline: int, news: LeaderNews | None = None) -> int:
    """Run until the JobManager says `Shutdown` or is gone; the exit status.

    With `news` a JobManager that is gone is waited for: the next one that the fork server tells of is registered with,
    once all tasks of the last one have ended.

    The process must not outlive whoever started it, whatever it is doing then: the kernel kills it when its parent (the
    fork server) dies, the fork server kills it when the client dies, and a thread ends it when the client's end of the
    lifeline closes, where the kernel offers no such service.
    """
    die_with_parent(parent)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    relax_collector()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the client coordinates the end
    if news is None:
        Thread(target=_die_with_client, args=(lifeline,), name="lifeline", daemon=True).start()
    name = f"worker-{spec.worker}-{spec.generation}"
    work_dir = Path(spec.work_dir)
    local_dir = work_dir / name
    local_dir.mkdir(mode=0o700)
    listener = listen(local_address(work_dir, name))
    control = _Control(spec, SystemClock(), outlived=news is not None)
    worker = Worker(
        spec.worker,
        control.link,
        local_dir=local_dir,
        secret=spec.secret,
        clock=control.clock,
        address=address_of(listener),
        listener=listener,
        outlives_leaders=news is not None,
    )
    worker.register()
    Thread(target=_remove_predecessors, args=(work_dir, spec), name="sweep", daemon=True).start()
    if news is not None:
        _serve_leaders(worker, control, news)
        return 0
    while not worker.stopped and not control.link.closed:
        if not control.turn(worker):
            worker.wait(None)
    control.flush()
    return 0


class _Control:
    """The connections to one JobManager."""

    def __init__(self, spec: SpawnWorker, clock: Clock, *, outlived: bool) -> None:
        self.clock = clock
        self._spec = spec
        self._turn = Turn()
        self._left = Event() if outlived else None
        sock = connect(spec.control_address, _CONNECT_TIMEOUT_S)
        connection = FramedSocket(sock, secret=spec.secret, role=Role.CONNECTOR)
        self.link: MessageLink[FromWorker, ToWorker] = MessageLink(connection, ToWorker)
        start_heartbeats(spec, self._turn, clock, self._left)

    def turn(self, worker: Worker) -> bool:
        """One turn of the loop, whose length the heartbeats tell; whether anything was done."""
        self._turn.began_ms = self.clock.monotonic_ms()
        busy = worker.step()
        self._turn.began_ms = None
        return busy

    def to(self, leader: NewLeader) -> _Control:
        """Connections to another one instead. Raises OSError when that one is gone, too; these are closed anyway."""
        self.link.close()
        if self._left is not None:
            self._left.set()
        addresses = {"control_address": leader.address, "heartbeat_address": leader.heartbeat_address}
        return _Control(msgspec.structs.replace(self._spec, **addresses), self.clock, outlived=True)

    def flush(self) -> None:
        """The last words; whoever does not read them in time is gone."""
        self.link.connection.pump_out()


def _serve_leaders(worker: Worker, control: _Control, news: LeaderNews) -> None:
    """One leader after the other, until one says `Shutdown` or the fork server, which tells of them, is gone."""
    while not worker.stopped:
        leader = news.newest()
        if news.over:
            return
        if leader is not None:
            worker.leave_leader()
            with contextlib.suppress(OSError):  # that one is gone, too
                control = control.to(leader)
                worker.work_for(control.link)
        if worker.orphaned:
            news.wait()
        elif not control.turn(worker):
            worker.wait(None, news.fileno())
    control.flush()


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when process `parent`, which forked it, dies. A no-op where there is no such call."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)


def _die_with_client(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os._exit(1)


def _remove_predecessors(work_dir: Path, spec: SpawnWorker) -> None:
    """What earlier processes of this worker left when they were killed: whole databases. All of them have ended."""
    for folder in work_dir.glob(f"worker-{spec.worker}-*"):
        generation = folder.name.rpartition("-")[2]
        if folder.is_dir() and generation.isdigit() and int(generation) < spec.generation:
            remove_tree(folder)
