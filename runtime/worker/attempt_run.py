"""One attempt of a region on one worker, from its deployment to its end: what a turn of the worker's loop does for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, assert_never

from ...checkpoint.messages import FromTask, NotifyCheckpointAborted, NotifyCheckpointComplete
from ...core.clock import Clock
from ...core.configuration import Configuration
from ...core.errors import ConnectorError
from ...core.ids import WorkerId
from ..exchange.peers import PeerListener, Peers
from ..graph.execution_graph import Subtask
from ..heartbeats import HeartbeatSettings
from ..messages import (
    AddSplits,
    AlignWatermarks,
    DeployTasks,
    DrainSource,
    EventToReader,
    FinishTasks,
    FromSubtask,
    FromWorker,
    InputEnded,
    NotifyTasks,
    PeerSilent,
    TaskFailed,
    TasksRunning,
    TasksStopped,
    TaskStatistics,
    TriggerSource,
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

ToTasks: TypeAlias = (
    AddSplits | AlignWatermarks | DrainSource | EventToReader | FinishTasks | NotifyTasks | TriggerSource
)
_LOG: Final = logging.getLogger(__name__)
_STATISTICS_EVERY_MS: Final = 500
_LOST_PEER_GRACE_MS: Final = 2_000
"""A lost connection to another worker is nearly always that worker's death, which the JobManager tells better."""


@dataclass(frozen=True, slots=True)
class WorkerServices:
    """What an attempt uses of its worker.

    Attributes:
        user_errors: what may be raised by a user's function and then fails its task.
    """

    worker: WorkerId
    local_dir: Path
    clock: Clock
    waker: Waker
    listener: PeerListener
    send: Callable[[FromWorker], None]
    user_errors: tuple[type[BaseException], ...]


class AttemptRun:
    """The tasks of one attempt, and everything they wait for. What it is told belongs to this attempt."""

    def __init__(self, deploy: DeployTasks, services: WorkerServices) -> None:
        self.number = deploy.attempt
        self._services = services
        self._send = services.send
        self._clock = services.clock
        self._time = ProcessingTimeService(services.clock)
        self._heartbeat = HeartbeatSettings.of(Configuration(deploy.configuration))
        self._peers = Peers(services.worker, services.listener, self._on_peer_lost, self._heartbeat)
        self._next_beat_ms = self._clock.monotonic_ms()
        self._uploads = Background("millstream-upload", services.waker)
        self._commits = Background("millstream-commit", services.waker)
        self._handed_over = HandOver(services.waker)
        self._snapshots = SnapshotUploads(self._uploads, services.clock, self._answer_coordinator)
        self._attempt = Attempt(deploy, self._attempt_services())
        self._tasks: tuple[Task, ...] = ()
        self._failed = False
        self._finishing: FinishTasks | None = None
        self._lost_peer: tuple[int, ConnectorError] | None = None  # when it fails the attempt (monotonic)
        self._next_statistics_ms = self._clock.monotonic_ms()
        self._flushed = True
        self.ended = False

    def deploy(self) -> None:
        """Build, restore and open the tasks; the JobManager is told that they run, or why not."""
        attempt = self._attempt
        try:
            attempt.build()
            attempt.open()
        except self._services.user_errors as error:
            self._fail(error, attempt.current)
            return
        self._tasks = tuple(reversed(attempt.tasks))
        self._send(TasksRunning(self.number))

    # ---- the loop

    def step(self) -> bool:
        """One turn; whether anything was done."""
        self._send_statistics_if_due()
        busy = self._peers.pump()
        self._beat_if_due()
        if self._failed:
            # Outcomes that come after the failure are its echoes, or worse news: the JobManager judges.
            return self._guarded(self._deliver) or busy
        busy = self._guarded(self._deliver_and_fire) or busy
        busy = self._run_handed_over() or busy
        busy = self._hurry_barriers() or busy
        for task in self._tasks:
            if self._runs() and self._step_task(task):
                busy = True
        self._flush_if_due(busy)
        self._peers.pump_out()
        if self._finishing is not None and self._runs():
            self._try_to_finish(self._finishing)
        return busy

    def descriptors(self) -> list[tuple[int, bool]]:
        """(file descriptor, whether to wait for writing too) of the connections to other workers."""
        return self._peers.descriptors()

    def due_in_ms(self) -> list[int]:
        """How long until each thing that time brings about: timers, and asking readers again. Not positive: now."""
        due = self._time.next_due_ms()
        found = [] if due is None else [due - self._clock.now_ms()]
        if not self._failed:
            now = self._clock.monotonic_ms()
            found += [at_ms - now for task in self._tasks if (at_ms := task.due_at_ms()) is not None]
            found += [] if self._lost_peer is None else [self._lost_peer[0] - now]
        return found

    def report_due_in_ms(self) -> int | None:
        """How long until something is to be said to the JobManager or to other workers."""
        if self._failed:
            return None
        return min(self._next_statistics_ms, self._next_beat_ms) - self._clock.monotonic_ms()

    @property
    def busy(self) -> bool:
        """Whether a helper thread uploads or commits."""
        return self._uploads.busy or self._commits.busy

    def join(self, timeout_s: float) -> None:
        """Wait until they have nothing to do, at most so long for each."""
        self._uploads.join(timeout_s)
        self._commits.join(timeout_s)

    def report(self) -> None:
        """Send statistics now, though they are not due."""
        if not self._failed:
            self._guarded(self._send_statistics)

    def end(self) -> list[Exception]:
        """Close everything that belongs to the attempt; errors are logged and given back. Idempotent."""
        if self.ended:
            return []
        self.ended = True
        # Helper threads may still be at work with what is closed next: they end first, and what they say is heard by nobody.
        for background in (self._uploads, self._commits):
            background.close()
        errors = self._attempt.close()
        for error in errors:
            _LOG.warning("closing a task failed: %s", error)
        self._handed_over.clear()
        self._peers.end()
        self._time.clear()
        return errors

    def _beat_if_due(self) -> None:
        now_ms = self._clock.monotonic_ms()
        if now_ms >= self._next_beat_ms:
            self._next_beat_ms = now_ms + self._heartbeat.patience_ms(self._heartbeat.interval_ms)
            for peer, silence_ms in self._peers.beat(now_ms).items():
                self._send(PeerSilent(self.number, peer, silence_ms))

    def _runs(self) -> bool:
        return not self._failed

    def _step_task(self, task: Task) -> bool:
        try:
            return task.step()
        except self._services.user_errors as error:
            self._fail(error, task.subtask)
            return True

    def _hurry_barriers(self) -> bool:
        """Barriers that overtake pass through all tasks here at once, and leave for other workers: they would wait for a piece of
        input of every task at each."""
        hurried = False
        for task in reversed(self._tasks):  # upstream first
            if self._runs():
                hurried = self._guarded(task.hurry, task.subtask) or hurried
        if hurried:
            self._peers.pump_out()
        return hurried

    def _run_handed_over(self) -> bool:
        ran = False
        for subtask, action in self._handed_over.take():
            if not self._failed:
                ran = True
                self._guarded(action, subtask)
        return ran

    def _deliver_and_fire(self) -> bool:
        delivered = self._deliver()
        lost, now = self._lost_peer, self._clock.monotonic_ms()
        if lost is not None and now >= lost[0] and self._finishing is None:
            raise lost[1]
        return self._time.run_due() or delivered

    def _deliver(self) -> bool:
        uploaded = self._uploads.deliver()
        return self._commits.deliver() or uploaded

    def _flush_if_due(self, busy: bool) -> None:
        """Held-back results leave when the buffer timeout has expired, and at once when there is nothing else to do."""
        if self._failed:
            return
        now = self._clock.monotonic_ms()
        if not busy and self._flushed:
            return
        for task in self._tasks:
            if self._runs() and (not busy or now >= task.next_flush_ms):
                self._guarded(task.flush, task.subtask)
                task.schedule_flush(now, self._attempt.settings.buffer_timeout_ms)
        self._flushed = not busy

    def _guarded(self, action: Callable[[], object], subtask: Subtask | None = None) -> bool:
        """Run what may raise a user's or connector's exception; the task (or the first one) then fails."""
        try:
            return bool(action())
        except self._services.user_errors as error:
            self._fail(error, subtask or (self._tasks[0].subtask if self._tasks else None))
            return True

    # ---- messages

    def on_message(self, message: ToTasks) -> None:
        """What the JobManager says to tasks of this attempt; nothing is heard any more once one has failed."""
        if not self._failed:
            self._guarded(lambda: self._handle(message))

    def _handle(self, message: ToTasks) -> None:
        match message:
            case AlignWatermarks(subtask=subtask, max_watermark=max_watermark):
                self._source(subtask).align(max_watermark)
            case AddSplits(subtask=subtask, splits=splits, no_more=no_more):
                self._source(subtask).add_splits(splits, no_more=no_more)
            case EventToReader(subtask=subtask, event=event):
                self._source(subtask).handle_event(event)
            case DrainSource(subtask=subtask):
                self._source(subtask).drain()
            case TriggerSource(subtask=subtask, trigger=trigger):
                self._source(subtask).trigger(trigger)
            case NotifyTasks(notification=notification):
                self._notify(notification)
            case FinishTasks(final_checkpoint_id=final_id):
                self._finishing = message
                if final_id is not None:
                    self._notify(NotifyCheckpointComplete(final_id))
                if message.commit_now:
                    self._attempt.commit_now()
            case _:
                assert_never(message)

    def _notify(self, notification: NotifyCheckpointComplete | NotifyCheckpointAborted) -> None:
        for task in reversed(self._tasks):
            task.notify(notification)
        if isinstance(notification, NotifyCheckpointComplete):
            self._snapshots.completed(notification.checkpoint_id, self._attempt)

    def _source(self, subtask: str) -> SourceTask:
        task = {str(id_): task for id_, task in self._attempt.by_id().items()}[subtask]
        assert isinstance(task, SourceTask), subtask
        return task

    # ---- what tasks and connections tell

    def _attempt_services(self) -> AttemptServices:
        events = TaskEvents(
            may_snapshot=self._snapshots.may_begin,
            snapshot_taken=self._on_snapshot_taken,
            snapshot_refused=self._snapshots.refuse,
            input_ended=self._on_input_ended,
        )
        services = self._services
        return AttemptServices(
            worker=services.worker,
            local_dir=services.local_dir,
            clock=services.clock,
            time=self._time,
            peers=self._peers,
            commits=self._commits,
            handed_over=self._handed_over,
            events=events,
            send=services.send,
        )

    def _on_input_ended(self, task: Task) -> None:
        self._send(InputEnded(self.number, task.subtask.subtask_id))

    def _on_snapshot_taken(self, task: Task, taken: TakenSnapshot) -> None:
        self._snapshots.begin(task, taken, self._attempt)

    def _answer_coordinator(self, message: FromTask) -> None:
        self._send(FromSubtask(self.number, message))

    def _on_peer_lost(self, peer: int, reason: str) -> None:
        if self._finishing is None and self._lost_peer is None:
            what = f"the connection to worker {peer} broke: {reason}"
            error = ConnectorError(what, where=f"worker {self._services.worker}", retryable=True)
            self._lost_peer = (self._clock.monotonic_ms() + _LOST_PEER_GRACE_MS, error)

    # ---- the end

    def _fail(self, error: BaseException, subtask: Subtask | None) -> None:
        self._failed = True
        self._send(TaskFailed(self.number, describe_failure(error, subtask)))

    def _try_to_finish(self, finishing: FinishTasks) -> None:
        if self._commits.busy or any(
            op.has_pending_work() for task in self._tasks for op in task.chain.operators
        ):
            return
        self._guarded(self._send_statistics)
        if self._failed:
            return
        errors = self.end()
        if errors:
            self._fail(errors[0], self._attempt.tasks[0].subtask)
            return
        self._send(TasksStopped(finishing.attempt))

    # ---- statistics

    def _send_statistics_if_due(self) -> None:
        now = self._clock.monotonic_ms()
        if not self._failed and now >= self._next_statistics_ms:
            self._next_statistics_ms = now + _STATISTICS_EVERY_MS
            self._guarded(self._send_statistics)

    def _send_statistics(self) -> None:
        attempt = self._attempt
        tasks: list[Any] = [_statistics_of(task, attempt) for task in attempt.tasks]
        self._send(WorkerStatistics(self.number, tasks))


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
