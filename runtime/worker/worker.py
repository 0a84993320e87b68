"""The TaskManager's loop: one thread that runs all tasks of the worker in turn, and everything they wait for.

A turn: messages of the JobManager, frames of other workers, outcomes of helper threads, due timers, then one piece of input
for each task, last tasks first, so that queues drain before they are filled. Nothing here blocks but `wait`.
"""

from __future__ import annotations

import logging
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from ...checkpoint.messages import FromTask
from ...core.clock import Clock
from ...core.errors import ConnectorError, MillstreamError
from ...core.ids import WorkerId
from ..exchange.peers import Peers
from ..graph.execution_graph import Subtask
from ..messages import (
    AddSplits,
    AlignWatermarks,
    CancelTasks,
    DeployTasks,
    FinishTasks,
    FromSubtask,
    FromWorker,
    InputEnded,
    NotifyTasks,
    Shutdown,
    TaskFailed,
    TasksRunning,
    TasksStopped,
    TaskStatistics,
    ToWorker,
    TriggerSource,
    WorkerRegistered,
    WorkerStatistics,
)
from ..transport import Waker
from .attempt import Attempt, AttemptServices
from .background import Background, HandOver
from .failures import describe_failure
from .processing_time import ProcessingTimeService
from .snapshots import SnapshotUploads
from .source_task import SourceTask
from .task import TakenSnapshot, Task, TaskEvents

_LOG: Final = logging.getLogger(__name__)
_STATISTICS_EVERY_MS: Final = 500
_LOST_PEER_GRACE_MS: Final = 2_000
"""A lost connection to another worker is nearly always that worker's death, which the JobManager tells better."""


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
    """One slot: at most one attempt of a job's tasks at a time.

    Attributes:
        stopped: nothing more to do for ever: shut down, or the JobManager is gone.
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
    ) -> None:
        self.stopped = False
        self._id = WorkerId(worker_id)
        self._link = link
        self._local_dir = local_dir
        self._clock = clock
        self._address = address
        # A function that calls sys.exit() ends its task in a process of ours; in the user's own, it ends the program as ever.
        self._user_errors: tuple[type[BaseException], ...] = (
            (Exception,) if address is None else (Exception, SystemExit)
        )
        self._waker = Waker()
        self._time = ProcessingTimeService(clock)
        self._peers = Peers(worker_id, secret, listener, self._on_peer_lost, self._on_rejected)
        self._uploads = Background("millstream-upload", self._waker)
        self._commits = Background("millstream-commit", self._waker)
        self._handed_over = HandOver(self._waker)
        self._attempt: Attempt | None = None
        self._tasks: tuple[Task, ...] = ()
        self._failed = False
        self._finishing: FinishTasks | None = None
        self._snapshots = SnapshotUploads(self._uploads, clock, self._answer_coordinator)
        self._next_statistics_ms = 0
        self._flushed = True

    def register(self) -> None:
        """Say hello to the JobManager."""
        self._link.send(WorkerRegistered(self._id, os.getpid(), self._address or ""))

    # ---- the loop

    def step(self) -> bool:
        """One turn; whether anything was done."""
        busy = self._receive_messages()
        if self.stopped:
            return True
        busy = self._peers.pump() or busy
        if self._attempt is None:
            return busy
        if self._failed:
            # Outcomes that come after the failure are its echoes, or worse news: the JobManager judges.
            return self._guarded(self._deliver) or busy
        busy = self._guarded(self._deliver_and_fire) or busy
        busy = self._run_handed_over() or busy
        for task in self._tasks:
            if self._runs() and self._step_task(task):
                busy = True
        self._flush_if_due(busy)
        self._peers.pump_out()
        if self._finishing is not None and self._runs():
            self._try_to_finish(self._finishing)
        return busy

    def wait(self, timeout_ms: int | None) -> None:
        """Block until a socket, helper thread or timer has something, or for `timeout_ms`."""
        poll = select.poll()
        self.register_with(poll)
        poll.poll(self._patience_ms(timeout_ms))
        self.drain()

    def register_with(self, poll: select.poll) -> None:
        """Whatever `step` may have something to do for, but for time. `drain` after polling."""
        poll.register(self._waker.fileno(), select.POLLIN)
        poll.register(self._link.fileno(), select.POLLIN | (select.POLLOUT if self._link.wants_write else 0))
        for descriptor, wants_write in self._peers.descriptors():
            poll.register(descriptor, select.POLLIN | (select.POLLOUT if wants_write else 0))

    def drain(self) -> None:
        """Forget that helper threads woke the loop: `step` follows."""
        self._waker.drain()

    def due_in_ms(self) -> list[int]:
        """How long until each thing that time brings about: timers, and asking readers again. Not positive: now."""
        due = self._time.next_due_ms()
        found = [] if due is None else [due - self._clock.now_ms()]
        if self._attempt is not None and not self._failed:
            now = self._clock.monotonic_ms()
            found += [task.retry_at_ms - now for task in self._tasks if task.retry_at_ms is not None]
        return found

    @property
    def busy(self) -> bool:
        """Whether a helper thread uploads or commits."""
        return self._uploads.busy or self._commits.busy

    def join(self, timeout_s: float) -> None:
        """Wait until they have nothing to do, at most so long for each."""
        self._uploads.join(timeout_s)
        self._commits.join(timeout_s)

    def _patience_ms(self, timeout_ms: int | None) -> int | None:
        limits = [*self.due_in_ms(), *([] if timeout_ms is None else [timeout_ms])]
        if self._attempt is not None and not self._failed:
            limits.append(self._next_statistics_ms - self._clock.monotonic_ms())
        return max(0, min(limits)) if limits else None

    def _runs(self) -> bool:
        return self._attempt is not None and not self._failed

    def _step_task(self, task: Task) -> bool:
        try:
            return task.step()
        except self._user_errors as error:
            self._fail(error, task.subtask)
            return True

    def _run_handed_over(self) -> bool:
        ran = False
        for subtask, action in self._handed_over.take():
            if self._runs():
                ran = True
                self._guarded(action, subtask)
        return ran

    def _deliver_and_fire(self) -> bool:
        delivered = self._deliver()
        return self._time.run_due() or delivered

    def _deliver(self) -> bool:
        uploaded = self._uploads.deliver()
        return self._commits.deliver() or uploaded

    def _flush_if_due(self, busy: bool) -> None:
        """Held-back results leave when the buffer timeout has expired, and at once when there is nothing else to do."""
        attempt = self._attempt
        if attempt is None or self._failed:
            return
        now = self._clock.monotonic_ms()
        if not busy and self._flushed:
            return
        for task in self._tasks:
            if self._runs() and (not busy or now >= task.next_flush_ms):
                self._guarded(task.flush, task.subtask)
                task.schedule_flush(now, attempt.settings.buffer_timeout_ms)
        self._flushed = not busy

    def _guarded(self, action: Callable[[], object], subtask: Subtask | None = None) -> bool:
        """Run what may raise a user's or connector's exception; the task (or the first one) then fails."""
        try:
            return bool(action())
        except self._user_errors as error:
            self._fail(error, subtask or (self._tasks[0].subtask if self._tasks else None))
            return True

    # ---- messages

    def _receive_messages(self) -> bool:
        received = False
        while (message := self._link.receive()) is not None:
            received = True
            self._on_message(message)
            if self.stopped:
                return True
        if self._link.closed:
            self._stop()
        self._send_statistics_if_due()
        return received

    def _on_message(self, message: ToWorker) -> None:
        match message:
            case DeployTasks():
                self._deploy(message)
            case CancelTasks(attempt=attempt):
                self._end_attempt()
                self._link.send(TasksStopped(attempt))
            case Shutdown():
                self._stop()
            case AddSplits() | AlignWatermarks() | TriggerSource() | NotifyTasks() | FinishTasks():
                if self._attempt is not None and self._attempt.number == message.attempt and not self._failed:
                    self._guarded(lambda: self._on_task_message(message))

    def _on_task_message(
        self, message: AddSplits | AlignWatermarks | TriggerSource | NotifyTasks | FinishTasks
    ) -> None:
        assert self._attempt is not None
        match message:
            case AlignWatermarks(subtask=subtask, max_watermark=max_watermark):
                self._source(subtask).align(max_watermark)
            case AddSplits(subtask=subtask, splits=splits, no_more=no_more):
                self._source(subtask).add_splits(splits, no_more=no_more)
            case TriggerSource(subtask=subtask, trigger=trigger):
                self._source(subtask).trigger(trigger)
            case NotifyTasks(notification=notification):
                for task in reversed(self._tasks):
                    task.notify(notification)
            case FinishTasks():
                self._finishing = message
                if message.commit_now:
                    self._attempt.commit_now()

    def _source(self, subtask: str) -> SourceTask:
        assert self._attempt is not None
        task = {str(id_): task for id_, task in self._attempt.by_id().items()}[subtask]
        assert isinstance(task, SourceTask), subtask
        return task

    # ---- the life of an attempt

    def _deploy(self, deploy: DeployTasks) -> None:
        self._end_attempt()
        attempt = self._attempt = Attempt(deploy, self._services())
        try:
            attempt.build()
            attempt.open()
        except self._user_errors as error:
            self._fail(error, attempt.current)
            return
        self._tasks = tuple(reversed(attempt.tasks))
        self._flushed = True
        self._next_statistics_ms = self._clock.monotonic_ms()
        self._link.send(TasksRunning(deploy.attempt))

    def _services(self) -> AttemptServices:
        events = TaskEvents(
            may_snapshot=self._snapshots.may_begin,
            snapshot_taken=self._on_snapshot_taken,
            snapshot_refused=self._snapshots.refuse,
            input_ended=self._on_input_ended,
        )
        return AttemptServices(
            worker=self._id,
            local_dir=self._local_dir,
            clock=self._clock,
            time=self._time,
            peers=self._peers,
            commits=self._commits,
            handed_over=self._handed_over,
            events=events,
            send=self._link.send,
        )

    def _fail(self, error: BaseException, subtask: Subtask | None) -> None:
        assert self._attempt is not None
        self._failed = True
        self._link.send(TaskFailed(self._attempt.number, describe_failure(error, subtask)))

    def _try_to_finish(self, finishing: FinishTasks) -> None:
        attempt = self._attempt
        assert attempt is not None
        if self._commits.busy or any(
            op.has_pending_work() for task in self._tasks for op in task.chain.operators
        ):
            return
        self._guarded(self._send_statistics)
        if self._failed:
            return
        errors = self._end_attempt()
        if errors:
            self._attempt = attempt
            self._fail(errors[0], attempt.tasks[0].subtask)
            return
        self._link.send(TasksStopped(finishing.attempt))

    def _end_attempt(self) -> list[Exception]:
        """Close everything that belongs to the attempt; errors are logged and given back."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return []
        # Helper threads may still be at work with what is closed next: they end first, and what they say is heard by nobody.
        for background in (self._uploads, self._commits):
            background.close()
        self._uploads = Background("millstream-upload", self._waker)
        self._commits = Background("millstream-commit", self._waker)
        errors = attempt.close()
        for error in errors:
            _LOG.warning("closing a task failed: %s", error)
        self._handed_over.clear()
        self._peers.end()
        self._time.clear()
        self._tasks, self._failed, self._finishing = (), False, None
        self._snapshots = SnapshotUploads(self._uploads, self._clock, self._answer_coordinator)
        return errors

    def _stop(self) -> None:
        self._end_attempt()
        self._peers.close()
        self.stopped = True

    def close(self) -> None:
        """Give everything back; for a worker that shares its process. Idempotent."""
        if not self.stopped:
            self._stop()
        self._uploads.close()
        self._commits.close()
        self._waker.close()

    # ---- what tasks and connections tell

    def _on_input_ended(self, task: Task) -> None:
        assert self._attempt is not None
        self._link.send(InputEnded(self._attempt.number, task.subtask.subtask_id))

    def _on_snapshot_taken(self, task: Task, taken: TakenSnapshot) -> None:
        attempt = self._attempt
        assert attempt is not None
        assert attempt.storage is not None
        self._snapshots.begin(task, taken, attempt.storage, attempt.number)

    def _answer_coordinator(self, message: FromTask) -> None:
        assert self._attempt is not None
        self._link.send(FromSubtask(self._attempt.number, message))

    def _on_peer_lost(self, peer: int, reason: str) -> None:
        attempt = self._attempt
        if attempt is None or self._finishing is not None:
            return

        def still_there(_now_ms: int) -> None:
            if self._attempt is attempt and not self._failed and self._finishing is None:
                what = f"the connection to worker {peer} broke: {reason}"
                error = ConnectorError(what, where=f"worker {self._id}", retryable=True)
                self._fail(error, self._tasks[0].subtask)

        self._time.schedule(self._clock.now_ms() + _LOST_PEER_GRACE_MS, still_there)

    def _on_rejected(self, error: MillstreamError) -> None:
        _LOG.warning("worker %s refused a connection: %s", self._id, error)

    # ---- statistics

    def report(self) -> None:
        """Send statistics now, though they are not due."""
        if self._runs():
            self._guarded(self._send_statistics)

    def _send_statistics_if_due(self) -> None:
        if self._attempt is not None and not self._failed:
            now = self._clock.monotonic_ms()
            if now >= self._next_statistics_ms:
                self._next_statistics_ms = now + _STATISTICS_EVERY_MS
                self._guarded(self._send_statistics)

    def _send_statistics(self) -> None:
        attempt = self._attempt
        assert attempt is not None
        self._link.send(
            WorkerStatistics(attempt.number, [_statistics_of(task, attempt) for task in attempt.tasks])
        )


def _statistics_of(task: Task, attempt: Attempt) -> TaskStatistics:
    services = {id_: op.services for id_, op in task.chain.by_id().items() if op.services is not None}
    return TaskStatistics(
        subtask=task.subtask.subtask_id,
        records_in=task.records_in,
        records_out=sum(writer.records_out for writer in task.writers),
        watermark=task.watermark,
        counters=dict(attempt.counters[task.subtask.subtask_id]),
        metrics={id_: values for id_, found in services.items() if (values := found.metrics.values())},
        accumulators=[report for found in services.values() for report in found.accumulators.reports()],
    )
