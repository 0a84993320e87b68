"""A small process that has everything imported and forks workers from itself: a worker starts in milliseconds.

It is single-threaded, opens nothing and imports nothing of the user's, so that a fork is safe. It ends, and takes all workers
with it, when its client closes the connection, or dies in whatever way; then the cluster's work directory goes, too.
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
from typing import Final, assert_never

from ...core.clock import SystemClock
from ...core.processes import start_of
from ...core.workdir import remove_tree
from ..message_link import MessageLink
from ..transport import FramedSocket, PeerRejected, Role, Waker, connect
from .following import LeaderNews, NewLeader, encode_news, tell_of_leaders
from .fork_messages import (
    FollowLeaders,
    ForkServerRegistered,
    FromForkServer,
    KillSpawned,
    LivingWorker,
    SpawnWorker,
    StopServer,
    ToForkServer,
    WorkerExited,
    WorkerSpawned,
)
from .main import die_with_parent, run_worker

_CONNECT_TIMEOUT_S: Final = 2.0
_RECONNECT_MS: Final = 200
_CLIENT_DIES_MS: Final = 2_000
"""From the closing of a dying process's connections to its end."""


def main(connection: int, lifeline: int, client: int, work_dir: str, preload: Sequence[str]) -> None:
    """Serve until the client is gone; never returns.

    Args:
        connection: descriptor of a connected socket to the client.
        lifeline: descriptor of a pipe whose other end the client keeps open.
        client: its process id.
        work_dir: of the cluster; removed at the end, unless the client goes on in it.
        preload: modules to import before the first fork.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in preload:
        importlib.import_module(module)
    server = ForkServer(socket.socket(fileno=connection), lifeline, client, work_dir)
    try:
        server.serve()
    finally:
        server.kill_all()
        if server.is_last_in_work_dir():
            remove_tree(Path(work_dir))
        os._exit(0)


class ForkServer:
    """The server's loop. One per process."""

    def __init__(self, connection: socket.socket, lifeline: int, client: int, work_dir: str) -> None:
        self._link: MessageLink[FromForkServer, ToForkServer] = MessageLink(
            FramedSocket(connection, secret=None, role=Role.CONNECTOR), ToForkServer
        )
        self._lifeline = lifeline
        self._work_dir = work_dir
        self._generation = 0
        self._successors: Successors | None = None
        self._clock = SystemClock()
        self._waker = Waker()
        self._children: dict[int, SpawnWorker] = {}
        self._pid = os.getpid()
        self._stop_by_ms: int | None = None
        # A closed connection alone does not tell: a process that the user forked may hold a copy of the client's end.
        self._client = client
        self._client_fd = _open_process(client)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.write_fileno(), warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # the collector of a worker leaves the shared pages alone

    def serve(self) -> None:
        """Until the client is gone, or has said `StopServer` and all workers have ended.

        Once it was told to follow leaders, it goes on until the last one says so, or until there is none for too long.
        """
        while True:
            ready = self._poll()
            self._waker.drain()
            self._reap()
            if self._is_over() or (self._successors is None and self._client_fd in ready):
                return
            self._hear()
            if self._successors is None:
                if self._link.closed:
                    return
            elif not self._follow(self._successors):
                return

    def kill_all(self) -> None:
        """End every worker by force and wait until they are gone."""
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._children.clear()

    def is_last_in_work_dir(self) -> bool:
        """Whether nobody needs the cluster's directory any more. A client that lives without having said `StopServer` has lost
        the connection, no more: it keeps its sockets there, and starts the next fork server."""
        if self._stop_by_ms is not None or self._successors is not None:
            return True
        if self._client_fd is None:
            return os.getppid() != self._client
        poll = select.poll()
        poll.register(self._client_fd, select.POLLIN)
        return bool(poll.poll(_CLIENT_DIES_MS))

    def _poll(self) -> set[int]:
        poll = select.poll()
        poll.register(self._waker.fileno(), select.POLLIN)
        if not self._link.closed:
            poll.register(self._link.fileno(), select.POLLIN | (select.POLLOUT * self._link.wants_write))
        if self._successors is not None:
            poll.register(self._successors.news.fileno(), select.POLLIN)
        elif self._client_fd is not None:
            poll.register(self._client_fd, select.POLLIN)
        return {fd for fd, _ in poll.poll(self._patience_ms())}

    def _hear(self) -> None:
        try:
            while (message := self._link.receive()) is not None:
                self._on_message(message)
        except (
            PeerRejected
        ):  # the link is closed now; whoever it was, a leader of this cluster comes yet, or none
            pass

    def _patience_ms(self) -> int | None:
        limits = [] if self._stop_by_ms is None else [self._stop_by_ms - self._clock.monotonic_ms()]
        if self._successors is not None and self._link.closed:
            limits.append(_RECONNECT_MS)
        return max(0, min(limits)) if limits else None

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
            case FollowLeaders():
                self._follow_from(message)
            case _:
                assert_never(message)

    def _spawn(self, spec: SpawnWorker) -> None:
        news, told = os.pipe() if self._successors is not None else (-1, -1)
        pid = os.fork()
        if pid == 0:
            self._become_worker(spec, news, told)
        if self._successors is not None:
            os.close(news)
            self._successors.pipes[pid] = told
        self._children[pid] = spec
        self._generation = max(self._generation, spec.generation)
        self._link.send(WorkerSpawned(spec.worker, spec.generation, pid))

    def _become_worker(self, spec: SpawnWorker, news: int, told: int) -> None:
        """In the child: run the worker and end the process, past whatever the user's code registered or left running."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._link.close()
            self._waker.close()
            if self._client_fd is not None:
                os.close(self._client_fd)
            if self._successors is not None:
                self._successors.close()
                os.close(told)
            leaders = LeaderNews(news) if news >= 0 else None
            status = run_worker(spec, parent=self._pid, lifeline=self._lifeline, news=leaders)
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
            if self._successors is not None and pid in self._successors.pipes:
                os.close(self._successors.pipes.pop(pid))
            if spec is not None:
                self._link.send(WorkerExited(spec.worker, spec.generation, os.waitstatus_to_exitcode(status)))

    # ---- one leader after the other ---------------------------------------------------------------------------------

    def _follow_from(self, orders: FollowLeaders) -> None:
        """A leader that started this process, or has just taken it over, says where to look for the next one."""
        if self._successors is None:
            self._successors = Successors(orders, self._start_watching(orders))
        else:
            self._successors.accept(orders)

    def _start_watching(self, orders: FollowLeaders) -> LeaderNews:
        """Clients of the services have threads, and this process must have none: it forks."""
        news, told = os.pipe()
        if os.fork() == 0:
            status = 1
            try:
                signal.set_wakeup_fd(-1)
                die_with_parent(self._pid)
                os.close(news)
                self._link.close()
                tell_of_leaders(orders.configuration, told)
                status = 0
            except BaseException:  # the last frame of this process: whatever it is must be seen
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(told)
        return LeaderNews(news)

    def _follow(self, successors: Successors) -> bool:
        """Change over to a new leader as soon as there is one; whether to go on."""
        leader = successors.next_leader(link_closed=self._link.closed)
        if leader is not None:
            self._register_with(leader, successors)
        return not successors.is_forsaken(self._clock.monotonic_ms(), link_closed=self._link.closed)

    def _register_with(self, leader: NewLeader, successors: Successors) -> None:
        try:
            sock = connect(leader.address, _CONNECT_TIMEOUT_S)
        except OSError:  # it is gone already, or out of reach from here
            return
        self._link.close()
        connection = FramedSocket(sock, secret=successors.secret, role=Role.CONNECTOR)
        self._link = MessageLink(connection, ToForkServer)
        connection.pump_out()
        living = [LivingWorker(spec.worker, spec.generation, pid) for pid, spec in self._children.items()]
        started = start_of(self._pid) or ""
        self._link.send(ForkServerRegistered(self._pid, started, self._work_dir, self._generation, living))


class Successors:
    """What a fork server knows of the leaders to come. Does no I/O but reading and writing its pipes.

    Attributes:
        pipes: to each worker, by process id.
    """

    def __init__(self, orders: FollowLeaders, news: LeaderNews) -> None:
        self.news = news
        self.secret = orders.secret
        self.pipes: dict[int, int] = {}
        self._timeout_ms = orders.timeout_ms
        self._epoch = orders.epoch
        self._newest: NewLeader | None = None
        self._asked = orders.epoch
        self._give_up_at_ms: int | None = None

    def accept(self, orders: FollowLeaders) -> None:
        """That leader has taken over: the workers are told, and end what they do for the last one."""
        self._epoch = max(self._epoch, orders.epoch)
        if self._newest is not None:
            for pipe in self.pipes.values():
                with contextlib.suppress(BrokenPipeError):  # it has ended, and is reaped next
                    os.write(pipe, encode_news(self._newest))

    def next_leader(self, *, link_closed: bool) -> NewLeader | None:
        """Whom to register with now: each leader once, and again only if the connection broke before it answered."""
        self._newest = self.news.newest() or self._newest
        newest = self._newest
        if newest is None or newest.epoch <= self._epoch or (newest.epoch <= self._asked and not link_closed):
            return None
        self._asked = newest.epoch
        return newest

    def is_forsaken(self, now_ms: int, *, link_closed: bool) -> bool:
        """Whether there has been no leader for too long, or nobody tells of them any more."""
        if self.news.over:
            return link_closed
        if not link_closed:
            self._give_up_at_ms = None
        elif self._give_up_at_ms is None:
            self._give_up_at_ms = now_ms + self._timeout_ms
        return self._give_up_at_ms is not None and now_ms >= self._give_up_at_ms

    def close(self) -> None:
        """In a worker: these are not its own."""
        self.news.close()
        for pipe in self.pipes.values():
            os.close(pipe)


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
