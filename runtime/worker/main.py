"""A worker process, from its fork to its end."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from threading import Thread
from typing import Final

from ...core.clock import SystemClock
from ...core.workdir import remove_tree
from ..message_link import MessageLink
from ..messages import FromWorker, ToWorker
from ..transport import FramedSocket, Role, address_of, connect, listen, local_address
from .fork_messages import SpawnWorker
from .heartbeat import Turn, start_heartbeats
from .worker import Worker

_CONNECT_TIMEOUT_S: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1


def run_worker(spec: SpawnWorker, *, parent: int, lifeline: int) -> int:
    """Run until the JobManager says `Shutdown` or is gone; the exit status.

    The process must not outlive whoever started it, whatever it is doing then: the kernel kills it when its parent (the
    fork server) dies, the fork server kills it when the client dies, and a thread ends it when the client's end of the
    lifeline closes, where the kernel offers no such service.
    """
    die_with_parent(parent)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the client coordinates the end
    Thread(target=_die_with_client, args=(lifeline,), name="lifeline", daemon=True).start()
    name = f"worker-{spec.worker}-{spec.generation}"
    work_dir = Path(spec.work_dir)
    local_dir = work_dir / name
    local_dir.mkdir(mode=0o700)
    listener = listen(local_address(work_dir, name))
    control = FramedSocket(
        connect(spec.control_address, _CONNECT_TIMEOUT_S), secret=spec.secret, role=Role.CONNECTOR
    )
    link: MessageLink[FromWorker, ToWorker] = MessageLink(control, ToWorker)
    clock, turn = SystemClock(), Turn()
    start_heartbeats(spec, turn, clock)
    worker = Worker(
        spec.worker,
        link,
        local_dir=local_dir,
        secret=spec.secret,
        clock=clock,
        address=address_of(listener),
        listener=listener,
    )
    worker.register()
    Thread(target=_remove_predecessors, args=(work_dir, spec), name="sweep", daemon=True).start()
    while not worker.stopped and not link.closed:
        turn.began_ms = clock.monotonic_ms()
        busy = worker.step()
        turn.began_ms = None
        if not busy:
            worker.wait(None)
    _flush(link)
    return 0


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


def _flush(link: MessageLink[FromWorker, ToWorker]) -> None:
    """The last words; whoever does not read them in time is gone."""
    connection = link.connection
    connection.pump_out()
