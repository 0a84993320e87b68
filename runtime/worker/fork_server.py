"""A small process that has everything imported and forks workers from itself: a worker starts in milliseconds.

It is single-threaded, opens nothing and imports nothing of the user's, so that a fork is safe. It ends, and takes all workers
and the cluster's work directory with it, when its client does: by closing the connection, or by dying in whatever way.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from ...core.clock import SystemClock
from ...core.workdir import remove_tree
from ..message_link import MessageLink
from ..transport import FramedSocket, Role, Waker
from .fork_messages import (
    FromForkServer,
    KillSpawned,
    SpawnWorker,
    StopServer,
    ToForkServer,
    WorkerExited,
    WorkerSpawned,
)
from .main import run_worker


def main(connection: int, lifeline: int, client: int, work_dir: str, preload: Sequence[str]) -> None:
    """Serve until the client is gone; never returns.

    Args:
        connection: descriptor of a connected socket to the client.
        lifeline: descriptor of a pipe whose other end the client keeps open.
        client: its process id.
        work_dir: of the cluster; removed at the end.
        preload: modules to import before the first fork.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in preload:
        importlib.import_module(module)
    server = ForkServer(socket.socket(fileno=connection), lifeline, client)
    try:
        server.serve()
    finally:
        server.kill_all()
        remove_tree(Path(work_dir))
        os._exit(0)


class ForkServer:
    """The server's loop. One per process."""

    def __init__(self, connection: socket.socket, lifeline: int, client: int) -> None:
        self._link: MessageLink[FromForkServer, ToForkServer] = MessageLink(
            FramedSocket(connection, secret=None, role=Role.CONNECTOR), ToForkServer
        )
        self._lifeline = lifeline
        self._clock = SystemClock()
        self._waker = Waker()
        self._children: dict[int, SpawnWorker] = {}
        self._pid = os.getpid()
        self._stop_by_ms: int | None = None
        # A closed connection alone does not tell: a process that the user forked may hold a copy of the client's end.
        self._client_fd = _open_process(client)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.write_fileno(), warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # the collector of a worker leaves the shared pages alone

    def serve(self) -> None:
        """Until the client is gone or has said `StopServer` and all workers have ended."""
        poll = select.poll()
        for fd in (self._link.fileno(), self._waker.fileno(), self._client_fd):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(self._patience_ms())}
            self._waker.drain()
            self._reap()
            if self._client_fd in ready or self._is_over():
                return
            while (message := self._link.receive()) is not None:
                self._on_message(message)
            if self._link.closed:
                return

    def kill_all(self) -> None:
        """End every worker by force and wait until they are gone."""
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._children.clear()

    def _patience_ms(self) -> int | None:
        return None if self._stop_by_ms is None else max(0, self._stop_by_ms - self._clock.monotonic_ms())

    def _is_over(self) -> bool:
        if self._stop_by_ms is None:
            return False
        return not self._children or self._clock.monotonic_ms() >= self._stop_by_ms

    def _on_message(self, message: ToForkServer) -> None:
        match message:
            case SpawnWorker():
                self._spawn(message)
            case KillSpawned(worker=worker, generation=generation):
                for pid, spec in self._children.items():
                    if (spec.worker, spec.generation) == (worker, generation):
                        os.kill(pid, signal.SIGKILL)
            case StopServer(grace_ms=grace_ms):
                self._stop_by_ms = self._clock.monotonic_ms() + grace_ms
                self._waker.wake()  # there may be nothing to wait for
            case _:
                assert_never(message)

    def _spawn(self, spec: SpawnWorker) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_worker(spec)
        self._children[pid] = spec
        self._link.send(WorkerSpawned(spec.worker, spec.generation, pid))

    def _become_worker(self, spec: SpawnWorker) -> None:
        """In the child: run the worker and end the process, past whatever the user's code registered or left running."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._link.close()
            self._waker.close()
            if self._client_fd is not None:
                os.close(self._client_fd)
            status = run_worker(spec, parent=self._pid, lifeline=self._lifeline)
        except BaseException:  # the last frame of this process: whatever it is must be seen
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """Report every worker that has ended."""
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            spec = self._children.pop(pid, None)
            if spec is not None:
                self._link.send(WorkerExited(spec.worker, spec.generation, os.waitstatus_to_exitcode(status)))


def _open_process(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where the system has none."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        descriptor: int = os.pidfd_open(pid)
    except OSError:
        return None
    if os.getppid() != pid:  # it died meanwhile, and the number may be another's
        os._exit(1)
    return descriptor
