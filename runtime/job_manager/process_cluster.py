"""Workers in processes of their own, on this host."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ...core.clock import Clock
from ...core.processes import start_of
from ...core.workdir import WorkDir
from ..heartbeats import HeartbeatSettings
from ..high_availability.records import ForkServerEntry
from ..message_link import MessageLink
from ..messages import FromWorker, Shutdown, ToWorker, WorkerRegistered
from ..transport import (
    FramedSocket,
    PeerRejected,
    Role,
    Waker,
    address_of,
    listen,
    local_address,
)
from ..worker.fork_messages import (
    ForkServerRegistered,
    FromForkServer,
    KillSpawned,
    SpawnWorker,
    StopServer,
    WorkerExited,
    WorkerSpawned,
)
from .cluster import ClusterEvent, MessageArrived, WorkerGone
from .fork_client import AdoptedForkServer, ForkServer, ForkServerProcess, describe_exit
from .heartbeat_server import HeartbeatServer, WorkerProcess
from .succession import Predecessor, Succession

WorkerLink = MessageLink[ToWorker, FromWorker]
VisitorLink = MessageLink[object, WorkerRegistered | ForkServerRegistered]

_HANDSHAKE_TIMEOUT_MS: Final = 10_000
_LOOK_AT_PREDECESSOR_MS: Final = 200


@dataclass(slots=True)
class _Process:
    """A worker process that was asked for and is not known to have ended."""

    generation: int
    pid: int | None = None
    link: WorkerLink | None = None
    given_up: str | None = None  # why, if it was not asked to end
    dead_by_ms: int | None = None  # when it was killed, the end of patience with the fork server


@dataclass(slots=True)
class _Visitor:
    """A connection that has not said yet who it is."""

    link: VisitorLink
    until_ms: int


@dataclass(slots=True)
class _Running:
    """What there is once the first workers were asked for.

    Attributes:
        predecessor: the fork server of an earlier leader, which lives and has not registered yet.
    """

    work_dir: WorkDir
    listener: socket.socket
    heartbeats: HeartbeatServer
    server: ForkServer | None = None
    predecessor: Predecessor | None = None
    visitors: list[_Visitor] = field(default_factory=list)


class ProcessCluster:
    """Worker processes forked from a fork server, each linked to this process by an authenticated control connection.

    A worker that sends no heartbeats is killed, stopped or not. A worker is gone when the fork server says that its process ended (or, if the fork server itself died, when its
    connection is closed): never earlier, so that tasks of two attempts cannot overlap.

    With a succession, the fork server and its workers outlive this process, and those of an earlier leader are taken over:
    nothing is started as long as they live and have not registered, since tasks of theirs may still run.
    """

    def __init__(
        self,
        make_work_dir: Callable[[], WorkDir],
        *,
        secret: bytes,
        clock: Clock,
        preload: Sequence[str] = (),
        heartbeat: HeartbeatSettings | None = None,
        succession: Succession | None = None,
    ) -> None:
        self._make_work_dir = make_work_dir
        self._secret = secret
        self._clock = clock
        self._preload = preload
        self._heartbeat = HeartbeatSettings() if heartbeat is None else heartbeat
        self._succession = succession
        self._waker = Waker()
        self._running: _Running | None = None
        self._processes: dict[int, _Process] = {}
        self._generation = 0
        self._events: list[ClusterEvent] = []

    # ---- Cluster ------------------------------------------------------------------------------------------------------

    def start_workers(self, workers: Sequence[int]) -> None:
        """See `Cluster`. The first call starts the fork server, or finds one that an earlier leader has left."""
        self._require()
        running = self._running
        if running is None:
            running = self._running = self._begin()
        if running.predecessor is not None:
            running.predecessor.wanted.update(workers)
            return
        if running.server is None:
            running.server = self._start_server(running)
        address = address_of(running.listener)
        for worker in workers:
            self._generation += 1
            self._processes[worker] = _Process(self._generation)
            running.server.link.send(
                SpawnWorker(
                    worker,
                    self._generation,
                    address,
                    self._secret,
                    str(running.server.work_dir),
                    running.heartbeats.address,
                    self._heartbeat.interval_ms,
                    self._heartbeat.timeout_ms,
                )
            )

    def kill_worker(self, worker: int) -> None:
        """See `Cluster`. A predecessor that does not register in time ends, and its workers with it."""
        self._require()
        running = self._running
        if running is not None and running.predecessor is not None:
            running.predecessor.kill_for(worker)
        process = self._processes.get(worker)
        if process is not None and self._running is not None and self._running.server is not None:
            self._running.server.link.send(KillSpawned(worker, process.generation))
            if process.dead_by_ms is None:
                process.dead_by_ms = self._clock.monotonic_ms() + self._heartbeat.timeout_ms

    def send(self, worker: int, message: ToWorker) -> None:
        """See `Cluster`."""
        self._require()
        process = self._processes.get(worker)
        if process is not None and process.link is not None:
            process.link.send(message)

    def step(self) -> bool:
        """Accept, read and write."""
        running = self._running
        if running is None:
            return False
        before = len(self._events)
        self._accept(running)
        self._hear_visitors(running)
        self._hear_workers()
        self._give_up_silent(running)
        self._hear_server(running)
        self._look_at_predecessor(running)
        return len(self._events) > before

    def events(self) -> list[ClusterEvent]:
        """See `Cluster`."""
        events, self._events = self._events, []
        return events

    def wait(self, timeout_ms: int | None) -> None:
        """See `Cluster`."""
        poll = select.poll()
        poll.register(self._waker.fileno(), select.POLLIN)
        running = self._running
        if running is not None:
            poll.register(running.listener.fileno(), select.POLLIN)
            for link in self._links(running):
                poll.register(link.fileno(), select.POLLIN | (select.POLLOUT if link.wants_write else 0))
            if running.predecessor is not None:
                limits = [_LOOK_AT_PREDECESSOR_MS, *([] if timeout_ms is None else [timeout_ms])]
                timeout_ms = min(limits)
        if not self._events:
            poll.poll(self._patience_ms(timeout_ms))
        self._waker.drain()

    def wake(self) -> None:
        """See `Cluster`."""
        self._waker.wake()

    def wakeup_fd(self) -> int:
        """See `Cluster`."""
        return self._waker.write_fileno()

    def worker_pids(self) -> Mapping[int, int]:
        """See `Cluster`."""
        return {worker: p.pid for worker, p in list(self._processes.items()) if p.pid is not None}

    def turn_ms(self, worker: int) -> int | None:
        """See `Cluster`."""
        process, running = self._processes.get(worker), self._running
        if process is None or running is None:
            return None
        return running.heartbeats.turn_ms(WorkerProcess(worker, process.generation))

    def close(self, *, force: bool) -> None:
        """See `Cluster`."""
        running, self._running = self._running, None
        if running is None:
            self._waker.close()
            return
        server = running.server
        if server is not None and not force:
            for process in self._processes.values():
                if process.link is not None:
                    process.link.send(Shutdown())
            server.stop()
        elif server is not None:
            server.kill()
        running.heartbeats.close()
        for link in self._links(running):
            link.close()
        self._processes.clear()
        running.listener.close()
        running.work_dir.remove()
        self._waker.close()

    def leave(self) -> None:
        """See `Cluster`."""
        if self._succession is None:
            self.close(force=True)
            return
        running, self._running = self._running, None
        if running is not None:
            running.heartbeats.close()
            for link in self._links(running):
                link.close()
            running.listener.close()
            if running.server is not None:
                running.server.abandon()
            if isinstance(running.server, ForkServerProcess):
                running.work_dir.forget()  # its workers live there
            else:
                running.work_dir.remove()
        self._processes.clear()
        self._waker.close()

    # ---- one leader after the other -------------------------------------------------------------------------------------

    def _require(self) -> None:
        if self._succession is not None:
            self._succession.require()

    def _start_server(self, running: _Running) -> ForkServer:
        if self._succession is None:
            return ForkServerProcess(running.work_dir.path, self._preload)
        server = ForkServerProcess(running.work_dir.path, self._preload, running.work_dir.lock)
        started = start_of(server.pid)
        if started is not None:
            self._succession.employ(ForkServerEntry(socket.gethostname(), server.pid, started))
        server.link.send(self._succession.orders())
        return server

    def _look_at_predecessor(self, running: _Running) -> None:
        """Once it has ended, its workers have, too: new ones are started."""
        predecessor = running.predecessor
        if predecessor is not None and predecessor.has_ended():
            running.predecessor = None
            self.start_workers(sorted(predecessor.wanted))

    def _adopt(self, running: _Running, registered: ForkServerRegistered, link: VisitorLink) -> None:
        """Take over a predecessor with the workers that are wanted; any other fork server is of no use."""
        predecessor, succession = running.predecessor, self._succession
        if predecessor is None or succession is None or not predecessor.is_it(registered):
            link.send(StopServer(0))
            link.close()
            return
        running.predecessor = None
        running.server = server = AdoptedForkServer(registered, link.narrowed(FromForkServer))
        self._generation = registered.generation
        for living in registered.workers:
            if living.worker in predecessor.wanted:
                predecessor.wanted.discard(living.worker)
                self._processes[living.worker] = _Process(living.generation, living.pid)
            else:
                server.link.send(KillSpawned(living.worker, living.generation))
        server.link.send(succession.orders())
        if predecessor.wanted:
            self.start_workers(sorted(predecessor.wanted))

    # ---- inside -------------------------------------------------------------------------------------------------------

    def _begin(self) -> _Running:
        work_dir = self._make_work_dir()
        control = listen(local_address(work_dir.path, "control"))
        beats = listen(local_address(work_dir.path, "heartbeat"))
        heartbeats = HeartbeatServer(beats, self._secret, self._clock, self._heartbeat, self.wake)
        running = _Running(work_dir, control, heartbeats)
        if self._succession is not None:
            running.predecessor = self._succession.predecessor()
            self._succession.announce(address_of(control), heartbeats.address)
        return running

    def _patience_ms(self, timeout_ms: int | None) -> int | None:
        now_ms = self._clock.monotonic_ms()
        limits = [p.dead_by_ms - now_ms for p in self._processes.values() if p.dead_by_ms is not None]
        limits += [] if timeout_ms is None else [timeout_ms]
        return max(0, min(limits)) if limits else None

    def _give_up_silent(self, running: _Running) -> None:
        for silent in running.heartbeats.take_silent():
            process = self._processes.get(silent.process.worker)
            if process is not None and process.generation == silent.process.generation:
                process.given_up = f"it sent no heartbeat for {silent.silence_ms} ms"
                self.kill_worker(silent.process.worker)
        now_ms = self._clock.monotonic_ms()
        overdue = [p for p in self._processes.values() if p.dead_by_ms is not None and p.dead_by_ms <= now_ms]
        if overdue and running.server is not None:
            for process in overdue:
                process.dead_by_ms = None
            running.server.terminate()  # it reaps nobody: it hangs itself

    def _links(
        self, running: _Running
    ) -> list[MessageLink[ToWorker, FromWorker] | MessageLink[object, object]]:
        links: list[MessageLink[ToWorker, FromWorker] | MessageLink[object, object]] = []
        links += [process.link for process in self._processes.values() if process.link is not None]
        links += [visitor.link for visitor in running.visitors]  # type: ignore[misc]
        if running.server is not None:
            links.append(running.server.link)  # type: ignore[arg-type]
        return [link for link in links if not link.connection.closed]

    def _accept(self, running: _Running) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = running.listener.accept()
                connection = FramedSocket(sock, secret=self._secret, role=Role.LISTENER)
                connection.pump_out()
                until_ms = self._clock.monotonic_ms() + _HANDSHAKE_TIMEOUT_MS
                union = WorkerRegistered | ForkServerRegistered
                running.visitors.append(_Visitor(MessageLink(connection, union), until_ms))

    def _hear_visitors(self, running: _Running) -> None:
        for visitor in tuple(running.visitors):
            link = visitor.link
            try:
                message = link.receive()
            except PeerRejected:
                message = None
            if isinstance(message, ForkServerRegistered):
                running.visitors.remove(visitor)
                self._adopt(running, message, link)
            elif message is not None and self._admit(message, link.narrowed(FromWorker)):
                running.visitors.remove(visitor)
            elif message is not None or link.closed or self._clock.monotonic_ms() > visitor.until_ms:
                link.close()
                running.visitors.remove(visitor)

    def _admit(self, message: WorkerRegistered, link: WorkerLink) -> bool:
        """Whether this is the process that was asked for under that number."""
        process = self._processes.get(message.worker)
        if process is None or process.link is not None or process.pid not in {None, message.pid}:
            return False
        process.link = link
        process.pid = message.pid
        self._events.append(MessageArrived(message.worker, message))
        return True

    def _hear_workers(self) -> None:
        for worker, process in self._processes.items():
            self._hear_worker(worker, process)

    def _hear_worker(self, worker: int, process: _Process) -> None:
        link = process.link
        if link is None:
            return
        while (message := link.receive()) is not None:
            self._events.append(MessageArrived(worker, message))
        if link.closed:
            self.kill_worker(
                worker
            )  # a process that cannot be talked to is of no use; its end will be reported

    def _hear_server(self, running: _Running) -> None:
        server = running.server
        if server is None:
            return
        while (message := server.link.receive()) is not None:
            if isinstance(message, ForkServerRegistered):
                continue  # it has done so already
            process = self._processes.get(message.worker)
            if process is None or process.generation != message.generation:
                continue
            if isinstance(message, WorkerSpawned):
                process.pid = message.pid
            elif isinstance(message, WorkerExited):
                self._gone(message.worker, process, describe_exit(message.status))
        if server.link.closed:
            self._server_gone(running, server)

    def _server_gone(self, running: _Running, server: ForkServer) -> None:
        """Its workers die with it; each is gone once its connection is closed."""
        server.abandon()
        for worker, process in list(self._processes.items()):
            if process.link is None or process.link.closed:
                self._gone(worker, process, "the fork server is gone, and its workers with it")
        if not self._processes:
            server.how_it_ended()
            running.server = None

    def _gone(self, worker: int, process: _Process, reason: str) -> None:
        if process.link is not None:
            while (message := process.link.receive()) is not None:  # its last words
                self._events.append(MessageArrived(worker, message))
            process.link.close()
        self._processes.pop(worker, None)
        told = reason if process.given_up is None else f"{process.given_up} and was given up ({reason})"
        self._events.append(WorkerGone(worker, told))
