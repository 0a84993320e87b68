"""The JobManager's end of the heartbeats: a thread of its own, so that nothing its loop does can be taken for its death."""

from __future__ import annotations

import contextlib
import select
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import TypeAlias

from ...core.clock import Clock
from ..heartbeats import HeartbeatMonitor, HeartbeatSettings, JobManagerAlive, WatchWorker, WorkerAlive
from ..message_link import MessageLink
from ..transport import FramedSocket, PeerRejected, Role, Waker, address_of

_Link: TypeAlias = MessageLink[JobManagerAlive, WatchWorker | WorkerAlive]


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A worker process: a number is given to another process when the one before has ended."""

    worker: int
    generation: int


@dataclass(frozen=True, slots=True)
class SilentWorker:
    """A worker that has sent no heartbeat for so long (ms)."""

    process: WorkerProcess
    silence_ms: int


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a worker's last beat said of its loop, and when that was heard (monotonic ms)."""

    turn_ms: int
    heard_ms: int


class HeartbeatServer:
    """Listens to the heartbeats of all workers of a cluster and answers them.

    A worker that is given up is told so by the end of its connection: it ends when it reads that, however much later.

    Args:
        listener: non-blocking; closed by this object.
        wake: called from the thread when `take_silent` has something.
    """

    def __init__(
        self,
        listener: socket.socket,
        secret: bytes,
        clock: Clock,
        settings: HeartbeatSettings,
        wake: Callable[[], None],
    ) -> None:
        self.address = address_of(listener)
        self._listener = listener
        self._secret = secret
        self._clock = clock
        self._settings = settings
        self._wake = wake
        now_ms = clock.monotonic_ms()
        self._monitor = HeartbeatMonitor[WorkerProcess](settings.timeout_ms, now_ms)
        self._next_beat_ms = now_ms
        self._strangers: list[_Link] = []
        self._links: dict[WorkerProcess, _Link] = {}
        self._turns: dict[WorkerProcess, _Turn] = {}
        self._silent: deque[SilentWorker] = deque()
        self._closed = False
        self._waker = Waker()
        self._thread = Thread(target=self._run, name="millstream-heartbeat", daemon=True)
        self._thread.start()

    # ---- by the loop

    def take_silent(self) -> list[SilentWorker]:
        """Workers that have been given up since the last call."""
        found = []
        while self._silent:
            found.append(self._silent.popleft())
        return found

    def turn_ms(self, process: WorkerProcess) -> int | None:
        """How long the current turn of that worker's loop has taken, as far as is known; None: nothing has been heard."""
        turn = self._turns.get(process)
        return None if turn is None else turn.turn_ms + self._clock.monotonic_ms() - turn.heard_ms

    def close(self) -> None:
        """End the thread and all connections. Idempotent."""
        if not self._closed:
            self._closed = True
            self._waker.wake()
            self._thread.join()

    # ---- in the thread

    def _run(self) -> None:
        while not self._closed:
            self._wait()
            self._accept()
            self._meet_strangers()
            for process, link in list(self._links.items()):
                self._hear(process, link)
            now_ms = self._clock.monotonic_ms()
            self._beat_if_due(now_ms)
            self._give_up_silent(now_ms)
        for link in (*self._strangers, *self._links.values()):
            link.close()
        self._listener.close()
        self._waker.close()

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._waker.fileno(), select.POLLIN)
        poll.register(self._listener.fileno(), select.POLLIN)
        for link in (*self._strangers, *self._links.values()):
            poll.register(link.fileno(), select.POLLIN | (select.POLLOUT if link.wants_write else 0))
        poll.poll(self._settings.patience_ms(self._next_beat_ms - self._clock.monotonic_ms()))
        self._waker.drain()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                connection = FramedSocket(sock, secret=self._secret, role=Role.LISTENER)
                connection.pump_out()
                self._strangers.append(MessageLink(connection, WatchWorker | WorkerAlive))

    def _meet_strangers(self) -> None:
        for link in list(self._strangers):
            try:
                message = link.receive()
            except PeerRejected:
                message = None
            if isinstance(message, WatchWorker):
                process = WorkerProcess(message.worker, message.generation)
                self._links[process] = link
                self._monitor.heard(process, self._clock.monotonic_ms())
                link.send(JobManagerAlive())  # the worker waits for it: no registered worker is unwatched
            elif message is None and not link.closed:
                continue
            else:
                link.close()
            self._strangers.remove(link)

    def _hear(self, process: WorkerProcess, link: _Link) -> None:
        while (message := link.receive()) is not None:
            now_ms = self._clock.monotonic_ms()
            self._monitor.heard(process, now_ms)
            if isinstance(message, WorkerAlive):
                self._turns[process] = _Turn(message.turn_ms, now_ms)
        if link.closed:  # it has ended, or will: whoever started it knows
            self._forget(process)

    def _beat_if_due(self, now_ms: int) -> None:
        if now_ms >= self._next_beat_ms:
            self._next_beat_ms = now_ms + self._settings.interval_ms
            for link in self._links.values():
                link.send(JobManagerAlive())

    def _give_up_silent(self, now_ms: int) -> None:
        for process, silence_ms in self._monitor.silent(now_ms).items():
            self._forget(process)
            self._silent.append(SilentWorker(process, silence_ms))
            self._wake()

    def _forget(self, process: WorkerProcess) -> None:
        self._links.pop(process).close()
        self._turns.pop(process, None)
        self._monitor.forget(process)
