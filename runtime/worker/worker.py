"""The TaskManager's loop: one thread that runs all tasks of the worker in turn, and everything they wait for.

A turn: messages of the JobManager, frames of other workers, outcomes of helper threads, due timers, then one piece of input
for each task, last tasks first, so that queues drain before they are filled. Nothing here blocks but `wait`.
"""

from __future__ import annotations

import logging
import os
import select
import socket
from pathlib import Path
from typing import Final, Protocol, assert_never

from ...core.clock import Clock
from ...core.errors import MillstreamError
from ...core.ids import WorkerId
from ..exchange.peers import PeerListener
from ..messages import (
    AddSplits,
    AlignWatermarks,
    CancelTasks,
    DeployTasks,
    DrainSource,
    EventToReader,
    FinishTasks,
    FromWorker,
    NotifyTasks,
    Shutdown,
    TasksStopped,
    ToWorker,
    TriggerSource,
    WorkerRegistered,
)
from ..transport import Waker
from .attempt_run import AttemptRun, WorkerServices

_LOG: Final = logging.getLogger(__name__)


class WorkerLink(Protocol):
    """The worker's end of its link to the JobManager, with what `select.poll` needs."""

    def send(self, message: FromWorker) -> None: ...

    def receive(self) -> ToWorker | None: ...

    def fileno(self) -> int: ...

    @property
    def wants_write(self) -> bool: ...

    @property
    def closed(self) -> bool: ...


class Worker:
    """One slot: runs the subtasks placed on it, which belong to one attempt of each region that has any.

    Attributes:
        stopped: nothing more to do for ever: shut down, or the JobManager is gone.
        orphaned: the JobManager is gone, and another one may come (`work_for`).
    """

    def __init__(
        self,
        worker_id: int,
        link: WorkerLink,
        *,
        local_dir: Path,
        secret: bytes,
        clock: Clock,
        address: str | None,
        listener: socket.socket | None,
        outlives_leaders: bool = False,
    ) -> None:
        self.stopped = False
        self.orphaned = False
        self._outlives_leaders = outlives_leaders
        self._id = WorkerId(worker_id)
        self._link = link
        self._address = address
        self._waker = Waker()
        self._listener = PeerListener(secret, listener, self._on_rejected)
        self._services = WorkerServices(
            worker=self._id,
            local_dir=local_dir,
            clock=clock,
            waker=self._waker,
            listener=self._listener,
            send=self._send,
            # A function that calls sys.exit() ends its task in a process of ours; in the user's own, it ends the program as ever.
            user_errors=(Exception,) if address is None else (Exception, SystemExit),
        )
        self._runs: dict[int, AttemptRun] = {}  # by attempt

    def register(self) -> None:
        """Say hello to the JobManager."""
        self._send(WorkerRegistered(self._id, os.getpid(), self._address or ""))

    def leave_leader(self) -> None:
        """The JobManager is gone, or leads no more: end its tasks, commit nothing, and do nothing until `work_for`."""
        self._end_all()
        self.orphaned = True

    def work_for(self, link: WorkerLink) -> None:
        """Work for another JobManager from now on; nothing of the last one's runs any more."""
        self._link = link
        self.orphaned = False
        self.register()

    # ---- the loop

    def step(self) -> bool:
        """One turn; whether anything was done."""
        busy = self._receive_messages()
        if self.stopped:
            return True
        self._listener.pump()
        for run in list(self._runs.values()):
            busy = run.step() or busy
            if run.ended:
                self._runs.pop(run.number)
        return busy

    def wait(self, timeout_ms: int | None, *descriptors: int) -> None:
        """Block until a socket, helper thread, timer or one of `descriptors` has something, or for `timeout_ms`."""
        poll = select.poll()
        self.register_with(poll)
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        poll.poll(self._patience_ms(timeout_ms))
        self.drain()

    def register_with(self, poll: select.poll) -> None:
        """Whatever `step` may have something to do for, but for time. `drain` after polling."""
        poll.register(self._waker.fileno(), select.POLLIN)
        poll.register(self._link.fileno(), select.POLLIN | (select.POLLOUT if self._link.wants_write else 0))
        descriptors = self._listener.descriptors()
        for run in self._runs.values():
            descriptors += run.descriptors()
        for descriptor, wants_write in descriptors:
            poll.register(descriptor, select.POLLIN | (select.POLLOUT if wants_write else 0))

    def drain(self) -> None:
        """Forget that helper threads woke the loop: `step` follows."""
        self._waker.drain()

    def due_in_ms(self) -> list[int]:
        """How long until each thing that time brings about: timers, and asking readers again. Not positive: now."""
        return [due for run in self._runs.values() for due in run.due_in_ms()]

    @property
    def busy(self) -> bool:
        """Whether a helper thread uploads or commits."""
        return any(run.busy for run in self._runs.values())

    def join(self, timeout_s: float) -> None:
        """Wait until they have nothing to do, at most so long for each."""
        for run in self._runs.values():
            run.join(timeout_s)

    def report(self) -> None:
        """Send statistics now, though they are not due."""
        for run in self._runs.values():
            run.report()

    def _patience_ms(self, timeout_ms: int | None) -> int | None:
        reports = (run.report_due_in_ms() for run in self._runs.values())
        limits = [*self.due_in_ms(), *(due for due in (timeout_ms, *reports) if due is not None)]
        return max(0, min(limits)) if limits else None

    # ---- messages

    def _receive_messages(self) -> bool:
        received = False
        while (message := self._link.receive()) is not None:
            received = True
            self._on_message(message)
            if self.stopped:
                return True
        if self._link.closed and self._outlives_leaders:
            self.leave_leader()
        elif self._link.closed:
            self._stop()
        return received

    def _on_message(self, message: ToWorker) -> None:
        match message:
            case DeployTasks():
                run = self._runs[message.attempt] = AttemptRun(message, self._services)
                run.deploy()
            case CancelTasks(attempt=attempt):
                self._end(attempt)
                self._link.send(TasksStopped(attempt))
            case Shutdown():
                self._stop()
            case (
                AddSplits()
                | AlignWatermarks()
                | DrainSource()
                | EventToReader()
                | TriggerSource()
                | NotifyTasks()
                | FinishTasks()
            ):
                if message.attempt in self._runs:
                    self._runs[message.attempt].on_message(message)
            case _:
                assert_never(message)

    # ---- the end

    def _end(self, attempt: int) -> None:
        run = self._runs.get(attempt)
        if run is not None:
            run.end()
            del self._runs[attempt]

    def _end_all(self) -> None:
        for attempt in list(self._runs):
            self._end(attempt)

    def _stop(self) -> None:
        self._end_all()
        self._listener.close()
        self.stopped = True

    def close(self) -> None:
        """Give everything back; for a worker that shares its process. Idempotent."""
        if not self.stopped:
            self._stop()
        self._waker.close()

    def _send(self, message: FromWorker) -> None:
        self._link.send(message)

    def _on_rejected(self, error: MillstreamError) -> None:
        _LOG.warning("worker %s refused a connection: %s", self._id, error)
