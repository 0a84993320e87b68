"""Where the workers of a job are: in this thread, or in processes (`process_cluster`)."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ...core.clock import Clock
from ...core.errors import ProtocolViolation
from ...core.workdir import WorkDir
from ..link import LocalLink
from ..messages import FromWorker, ToWorker
from ..transport import Waker
from ..worker.collector import Thresholds, relax_collector, restore_collector
from ..worker.worker import Worker


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """A worker said something."""

    worker: int
    message: FromWorker


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """A worker process ended or its connection broke; everything it had sent came before this."""

    worker: int
    reason: str


ClusterEvent: TypeAlias = MessageArrived | WorkerGone


class Cluster(Protocol):
    """The workers of one job. All methods but `wake` are called in the loop's thread."""

    def start_workers(self, workers: Sequence[int]) -> None:
        """Start these; each says `WorkerRegistered` or comes as `WorkerGone`."""

    def kill_worker(self, worker: int) -> None:
        """End one by force, whatever it does; `WorkerGone` follows."""

    def send(self, worker: int, message: ToWorker) -> None:
        """Queue a message; it is lost if the worker is gone, which `WorkerGone` tells."""

    def step(self) -> bool:
        """Do what can be done without waiting; whether there was anything."""

    def events(self) -> list[ClusterEvent]:
        """What happened since the last call, in order."""

    def wait(self, timeout_ms: int | None) -> None:
        """Block until there may be something to do, `wake` was called or the time is over."""

    def wake(self) -> None:
        """End a `wait`, now or the next one. From any thread, and from signal handlers."""

    def wakeup_fd(self) -> int:
        """A descriptor to which a byte is written to wake: for `signal.set_wakeup_fd`."""

    def worker_pids(self) -> Mapping[int, int]:
        """Process id of each live worker. From any thread."""

    def turn_ms(self, worker: int) -> int | None:
        """How long the worker's loop has been busy without a pause, as far as is known; None: its heartbeats do not say."""

    def close(self, *, force: bool) -> None:
        """End all workers and remove every trace. `force`: at once, whatever they do. Idempotent."""

    def leave(self) -> None:
        """Close, but leave the workers to the next leader, where there are any that outlive this one."""


class WakeableLink(LocalLink[FromWorker, ToWorker]):
    """The end of a worker that shares its thread with the JobManager: `fileno` makes its `wait` end when woken."""

    def __init__(self, outbox: deque[FromWorker], inbox: deque[ToWorker], waker: Waker) -> None:
        super().__init__(outbox, inbox)
        self._waker = waker

    def fileno(self) -> int:
        """Readable when somebody called `wake`."""
        return self._waker.fileno()

    @property
    def wants_write(self) -> bool:
        """Never: there is nothing to flush."""
        return False


class EmbeddedCluster:
    """One worker, in the JobManager's own thread."""

    def __init__(self, make_work_dir: Callable[[], WorkDir], *, secret: bytes, clock: Clock) -> None:
        self._make_work_dir = make_work_dir
        self._secret = secret
        self._clock = clock
        self._waker = Waker()
        self._down: deque[ToWorker] = deque()
        self._up: deque[FromWorker] = deque()
        self._worker: Worker | None = None
        self._collector: Thresholds | None = None
        self._work_dir: WorkDir | None = None

    def start_workers(self, workers: Sequence[int]) -> None:
        """The one worker; it cannot be lost."""
        if tuple(workers) != (0,) or self._worker is not None:
            raise ProtocolViolation(
                "an embedded cluster has one worker, started once", where=f"workers {workers}"
            )
        self._collector = relax_collector()
        self._work_dir = self._make_work_dir()
        local_dir = self._work_dir.path / "worker-0"
        local_dir.mkdir()
        link = WakeableLink(self._up, self._down, self._waker)
        self._worker = Worker(
            0, link, local_dir=local_dir, secret=self._secret, clock=self._clock, address=None, listener=None
        )
        self._worker.register()

    def kill_worker(self, worker: int) -> None:
        """Impossible: user code runs in this very thread, so whoever asks is not blocked by it."""

    def send(self, worker: int, message: ToWorker) -> None:
        """See `Cluster`."""
        self._down.append(message)

    def step(self) -> bool:
        """One turn of the worker's loop."""
        return self._worker is not None and self._worker.step()

    def events(self) -> list[ClusterEvent]:
        """See `Cluster`."""
        events: list[ClusterEvent] = []
        while self._up:
            events.append(MessageArrived(0, self._up.popleft()))
        return events

    def wait(self, timeout_ms: int | None) -> None:
        """Waits in the worker, which knows its own timers and helper threads."""
        if self._worker is None:
            self._waker.wait(timeout_ms)
        elif not self._up and not self._down:  # a checkpoint that a deadline starts waits for its worker
            self._worker.wait(timeout_ms)
        self._waker.drain()

    def wake(self) -> None:
        """See `Cluster`."""
        self._waker.wake()

    def wakeup_fd(self) -> int:
        """See `Cluster`."""
        return self._waker.write_fileno()

    def worker_pids(self) -> Mapping[int, int]:
        """This process, as long as there is a worker."""
        return {} if self._worker is None else {0: os.getpid()}

    def turn_ms(self, worker: int) -> int | None:
        """Its loop is this very one, which is here."""
        return 0

    def close(self, *, force: bool) -> None:
        """See `Cluster`. Forced, nothing of the worker is called any more: user code may have been interrupted anywhere."""
        worker, self._worker = self._worker, None
        if worker is not None and not force:
            worker.close()
        if self._collector is not None:
            restore_collector(self._collector)
            self._collector = None
        if self._work_dir is not None:
            self._work_dir.remove()
            self._work_dir = None
        self._waker.close()

    def leave(self) -> None:
        """The worker ends with its thread."""
        self.close(force=True)
