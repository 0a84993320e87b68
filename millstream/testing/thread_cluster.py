"""All workers of a job in the thread of its test, and connections between them as between processes."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core.clock import Clock
from ..core.workdir import WorkDir, create_work_dir
from ..runtime.job_manager.cluster import ClusterEvent, MessageArrived, WakeableLink, WorkerGone
from ..runtime.messages import FromWorker, ToWorker
from ..runtime.transport import Waker, address_of, listen, local_address
from ..runtime.worker.worker import Worker


@dataclass(slots=True)
class _Place:
    """A worker and what is on its way between it and the JobManager."""

    worker: Worker
    down: deque[ToWorker]
    up: deque[FromWorker]


class ThreadCluster:
    """Any number of workers that take turns in one thread: a `Cluster` without processes, and so without chance.

    After each turn of a worker, its helper threads end what they were given, so that their order is no matter of chance either.
    A worker that is lost gives back what it holds, and its functions are closed, since the process lives on.
    """

    def __init__(self, *, secret: bytes, clock: Clock, patience_s: float) -> None:
        self._secret = secret
        self._clock = clock
        self._patience_s = patience_s
        self._waker = Waker()
        self._places: dict[int, _Place] = {}
        self._events: list[ClusterEvent] = []
        self._work_dir: WorkDir | None = None
        self._started = 0

    # ---- Cluster

    def start_workers(self, workers: Sequence[int]) -> None:
        """See `Cluster`."""
        if self._work_dir is None:
            self._work_dir = create_work_dir()
        for number in workers:
            self._started += 1
            name = f"worker-{number}-{self._started}"
            local_dir = self._work_dir.path / name
            local_dir.mkdir()
            listener = listen(local_address(self._work_dir.path, name))
            down: deque[ToWorker] = deque()
            up: deque[FromWorker] = deque()
            worker = Worker(
                number,
                WakeableLink(up, down, self._waker),
                local_dir=local_dir,
                secret=self._secret,
                clock=self._clock,
                address=address_of(listener),
                listener=listener,
            )
            self._places[number] = _Place(worker, down, up)
            worker.register()

    def kill_worker(self, worker: int) -> None:
        """See `Cluster`."""
        self.lose_worker(worker, "it was killed")

    def lose_worker(self, worker: int, reason: str) -> None:
        """This worker is gone; what it had said is heard."""
        place = self._places.pop(worker, None)
        if place is not None:
            self._hear(worker, place)
            place.worker.close()
            self._events.append(WorkerGone(worker, reason))

    def send(self, worker: int, message: ToWorker) -> None:
        """See `Cluster`."""
        if worker in self._places:
            self._places[worker].down.append(message)

    def step(self) -> bool:
        """One turn of each worker."""
        busy = False
        for place in list(self._places.values()):
            busy = place.worker.step() or busy
            place.worker.join(self._patience_s)
        return busy

    def events(self) -> list[ClusterEvent]:
        """See `Cluster`."""
        for number, place in self._places.items():
            self._hear(number, place)
        events, self._events = self._events, []
        return events

    def wait(self, timeout_ms: int | None) -> None:
        """Block until a connection or a helper thread has something: `timeout_ms` are those of a real clock."""
        self.poll(timeout_ms)

    def wake(self) -> None:
        """See `Cluster`."""
        self._waker.wake()

    def wakeup_fd(self) -> int:
        """See `Cluster`."""
        return self._waker.write_fileno()

    def worker_pids(self) -> Mapping[int, int]:
        """None has a process of its own."""
        return {}

    def turn_ms(self, worker: int) -> int | None:
        """The turn of each is over when that of the JobManager comes."""
        return 0

    def close(self, *, force: bool) -> None:
        """See `Cluster`. The thread is not inside any user code now, so force makes no difference."""
        places, self._places = self._places, {}
        for place in places.values():
            place.worker.close()
        if self._work_dir is not None:
            self._work_dir.remove()
            self._work_dir = None
        self._waker.close()

    def leave(self) -> None:
        """The workers end with their thread."""
        self.close(force=True)

    # ---- for whoever drives it

    def poll(self, timeout_ms: int | None) -> bool:
        """Whether the next turn has something to do, now or when a connection or helper thread brings it within that time."""
        if self._events or any(place.up or place.down for place in self._places.values()):
            return True
        poll = select.poll()
        poll.register(self._waker.fileno(), select.POLLIN)
        for place in self._places.values():
            place.worker.register_with(poll)
        if not poll.poll(timeout_ms):
            return False  # drained now, a thread that has just woken the loop would not be heard
        self._waker.drain()
        for place in self._places.values():
            place.worker.drain()
        return True

    def report(self) -> None:
        """Have each worker send its statistics."""
        for place in self._places.values():
            place.worker.report()

    def say(self, worker: int, message: FromWorker) -> None:
        """As if this worker had sent it."""
        self._events.append(MessageArrived(worker, message))

    def due_in_ms(self) -> list[int]:
        """How long until each thing that time brings about in a worker."""
        return [due for place in self._places.values() for due in place.worker.due_in_ms()]

    @property
    def busy(self) -> bool:
        """Whether a worker's helper threads have something to do, after which it has something to say."""
        return any(place.worker.busy for place in self._places.values())

    def _hear(self, number: int, place: _Place) -> None:
        while place.up:
            self._events.append(MessageArrived(number, place.up.popleft()))
