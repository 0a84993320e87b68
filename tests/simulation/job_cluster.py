"""Workers, network and helper threads of a whole job in one thread: the order of everything comes from a seed."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from millstream.core.clock import ManualClock
from millstream.runtime.job_manager.cluster import ClusterEvent, MessageArrived, WorkerGone
from millstream.runtime.messages import FromWorker, NotifyTasks, ToWorker
from millstream.runtime.transport import address_of, listen, local_address
from millstream.runtime.worker.worker import Worker


class ProcessDied(BaseException):
    """kill -9, in the middle of whatever the process was doing."""


@dataclass(slots=True)
class Calls:
    """What helper threads were given to do and have not done: `Background` of the worker and of the JobManager alike.

    A call runs when the seed says so, in this thread; its process may die in it.
    """

    random: Random
    waiting: deque[tuple[Callable[[], Any], Callable[[Future[Any]], None]]] = field(default_factory=deque)

    def run(self, work: Callable[[], Any], handler: Callable[[Future[Any]], None]) -> None:
        """As the worker's."""
        self.waiting.append((work, handler))

    def submit(
        self, work: Callable[[], Any], on_result: Callable[[Any], None], on_error: Callable[[Exception], None]
    ) -> None:
        """As the JobManager's."""

        def handler(future: Future[Any]) -> None:
            error = future.exception()
            if isinstance(error, Exception):
                on_error(error)
            else:
                on_result(future.result())

        self.waiting.append((work, handler))

    def deliver(self) -> bool:
        """Do some of it."""
        delivered = False
        while self.waiting and self.random.random() < 0.6:
            work, handler = self.waiting.popleft()
            future: Future[Any] = Future()
            try:
                future.set_result(work())
            except Exception as error:  # what the real ones put into the future
                future.set_exception(error)
            delivered = True
            handler(future)
        return delivered

    @property
    def busy(self) -> bool:
        """Whether anything is left."""
        return bool(self.waiting)

    def join(self, timeout_s: float) -> None:
        """Nothing runs between the turns."""

    def close(self, *, join: bool = False) -> None:
        """A call that had begun has ended; the others are forgotten, unless they are waited for."""
        while join and self.waiting:
            work, _ = self.waiting.popleft()
            with contextlib.suppress(Exception):  # nobody hears the outcome
                work()
        self.waiting.clear()


@dataclass(slots=True)
class Wire:
    """One direction of a connection: messages keep their order and take their time."""

    random: Random
    clock: ManualClock
    on_way: deque[tuple[int, Any]] = field(default_factory=deque)
    closed: bool = False

    def send(self, message: Any) -> None:
        """On its way, behind those before."""
        due_ms = self.clock.monotonic_ms() + self.random.choice((0, 0, 0, 1, 5, 40))
        last_ms = self.on_way[-1][0] if self.on_way else 0
        self.on_way.append((max(due_ms, last_ms), message))

    def receive(self) -> Any | None:
        """The next one that has arrived."""
        if self.on_way and self.on_way[0][0] <= self.clock.monotonic_ms():
            return self.on_way.popleft()[1]
        return None


class WorkerEnd:
    """What the worker holds of both wires."""

    def __init__(self, up: Wire, down: Wire) -> None:
        self._up = up
        self._down = down

    def send(self, message: FromWorker) -> None:
        if not self._up.closed:
            self._up.send(message)

    def receive(self) -> ToWorker | None:
        return None if self._down.closed else self._down.receive()

    @property
    def closed(self) -> bool:
        return self._down.closed


@dataclass(slots=True)
class Place:
    """A worker process."""

    number: int
    worker: Worker
    up: Wire
    down: Wire
    stopped_until_ms: int = 0


class SimulatedCluster:
    """A `Cluster` whose workers die, stop, are declared dead while they only sleep, and lose or double notifications.

    Args:
        is_faulty: whether faults may happen now.
    """

    def __init__(
        self, random: Random, clock: ManualClock, folder: Path, is_faulty: Callable[[], bool]
    ) -> None:
        self._random = random
        self._clock = clock
        self._folder = folder
        self._is_faulty = is_faulty
        self._places: dict[int, Place] = {}
        self._zombies: list[Place] = []
        self._events: list[ClusterEvent] = []
        self._started = 0
        self.deaths = 0
        self.lost_notifications = 0

    # ---- Cluster

    def start_workers(self, workers: Sequence[int]) -> None:
        """See `Cluster`."""
        for number in workers:
            self._started += 1
            name = f"w{number}-{self._started}"
            local_dir = self._folder / name
            local_dir.mkdir()
            listener = listen(local_address(self._folder, name))
            up, down = Wire(self._random, self._clock), Wire(self._random, self._clock)
            worker = Worker(
                number,
                WorkerEnd(up, down),  # type: ignore[arg-type]  # nobody polls it
                local_dir=local_dir,
                secret=bytes(32),
                clock=self._clock,
                address=address_of(listener),
                listener=listener,
            )
            self._places[number] = Place(number, worker, up, down)
            worker.register()

    def kill_worker(self, worker: int) -> None:
        """See `Cluster`."""
        self.lose(worker, "it was killed")

    def send(self, worker: int, message: ToWorker) -> None:
        """See `Cluster`. Notifications alone may be lost or doubled: nothing else is allowed to be."""
        place = self._places.get(worker)
        if place is None:
            return
        if isinstance(message, NotifyTasks) and self._is_faulty():
            chance = self._random.random()
            if chance < 0.2:
                self.lost_notifications += 1
                return
            if chance < 0.3:
                place.down.send(message)
        place.down.send(message)

    def step(self) -> bool:
        """A turn of some workers, in any order."""
        places = [*self._places.values(), *self._zombies]
        self._random.shuffle(places)
        busy = False
        for place in places:
            if self._is_faulty() and self._random.random() < 0.002:
                place.stopped_until_ms = self._clock.monotonic_ms() + self._random.choice((50, 500, 3_000))
                if self._random.random() < 0.3:
                    self._declare_dead(place)
            if place.stopped_until_ms <= self._clock.monotonic_ms() and self._random.random() < 0.8:
                busy = self._turn(place) or busy
        return busy

    def events(self) -> list[ClusterEvent]:
        """See `Cluster`."""
        for place in self._places.values():
            self._hear(place, everything=False)
        events, self._events = self._events, []
        return events

    def wait(self, timeout_ms: int | None) -> None:
        """Nobody waits here."""

    def wake(self) -> None:
        """See `wait`."""

    def wakeup_fd(self) -> int:
        """Signals do not come."""
        return -1

    def worker_pids(self) -> Mapping[int, int]:
        """None has a process of its own."""
        return {}

    def close(self, *, force: bool) -> None:
        """The end of all: by Shutdown, which is as good as any other way."""
        for place in (*self._places.values(), *self._zombies):
            _bury(place)
        self._places.clear()
        self._zombies.clear()

    # ---- faults

    def lose(self, number: int, reason: str) -> None:
        """A process is gone at once; what it had sent is heard."""
        place = self._places.pop(number, None)
        if place is not None:
            self.deaths += 1
            self._hear(place, everything=True)
            _bury(place)
            self._events.append(WorkerGone(number, reason))

    def _declare_dead(self, place: Place) -> None:
        """Its connection is cut while the process stands still: it is a zombie until it finds out."""
        if self._places.get(place.number) is place:
            del self._places[place.number]
            place.up.closed = place.down.closed = True
            self._zombies.append(place)
            self._events.append(WorkerGone(place.number, "no sign of life"))

    def _turn(self, place: Place) -> bool:
        try:
            busy = place.worker.step()
        except ProcessDied:
            if place in self._zombies:
                self._zombies.remove(place)
                _bury(place)
            else:
                self.lose(place.number, "killed by signal 9")
            return True
        if place.worker.stopped and place in self._zombies:
            self._zombies.remove(place)
            _bury(place)
        return busy

    def _hear(self, place: Place, *, everything: bool) -> None:
        while place.up.on_way and everything:
            self._events.append(MessageArrived(place.number, place.up.on_way.popleft()[1]))
        while (message := place.up.receive()) is not None:
            self._events.append(MessageArrived(place.number, message))


def _bury(place: Place) -> None:
    """What the kernel does for a process that is gone: close its sockets. None of its code runs."""
    for run in place.worker._runs.values():
        run._peers.end()
    place.worker._listener.close()
    place.worker._waker.close()
