"""The checkpoint coordinator: decides when a checkpoint starts, is complete, has failed, and what may be deleted.

One checkpoint goes through three phases:

    ENUMERATORS --EnumeratorsSnapshotted--> TASKS --every subtask Acked--> METADATA --MetadataDurable--> completed
         |                                    |                               |
         `------ timeout, job stopped --------+--- Declined, timeout, --------+--- MetadataFailed ---> failed
                                                   job stopped

Rules of this file:

- Messages that are merely late (their checkpoint is over, they come twice, or from an earlier attempt) are dropped. Files
  that a late acknowledgement names are discarded unless something retained or in flight needs them; those of an attempt
  from before this coordinator's time are left alone, since it cannot know what refers to them.
- From `WriteMetadata` on only its outcome decides: neither timeout nor `JobStopped` ends a checkpoint whose metadata may
  become durable at any moment. A job that stops meanwhile gets `AwaitMetadata`: if the metadata turns out durable, the
  checkpoint is complete and the job MUST restore from it. Restoring from an older one would be wrong twice: sinks would
  write again what the newer one covers, and its committables, which another resume may find and commit, would double it.
  `JobRunning` before the outcome is therefore a `ProtocolViolation`.
- A savepoint is a checkpoint that the job never restores by itself: somebody may move or delete it at any time. So it is
  never in the store, and commits nothing (FLIP-203): the job may fall back to a checkpoint before it, and write again what
  it covers. What it pre-committed is committed with the next checkpoint, or by whoever starts from it.
- One that stops the job commits, because the job never falls back behind it: once it is durable, no checkpoint starts and
  no attempt follows. When the attempt ended before that, the job goes on from a checkpoint, and the savepoint is discarded.

INVARIANT C1: a sink commits only what durable metadata names that the job never falls back behind, so
NotifyCheckpointComplete leaves from `_on_durable` and, for a savepoint that stops the job, `_on_savepoint` alone.
Kept by: tests/simulation/test_coordinator.py::test_commits_only_durable_checkpoints
INVARIANT C3: an acknowledgement counts only for the attempt that took the checkpoint, never for an earlier one.
Kept by: tests/simulation/test_coordinator.py::test_planted_bugs_are_caught
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, assert_never

from ..core.errors import CheckpointFailureReason, ProtocolViolation
from ..core.savepoints import SavepointTarget
from ..state.handles import FileRef
from .completed_store import CompletedCheckpointStore
from .coordination import (
    Acked,
    Action,
    AwaitMetadata,
    CheckpointCompleted,
    CoordinatorConfig,
    CoordinatorStatistics,
    Declined,
    DiscardCheckpoints,
    DiscardFiles,
    DiscardSavepoint,
    DrainSources,
    EnumeratorsSnapshotted,
    Event,
    FailJob,
    JobRunning,
    JobStopped,
    MetadataDurable,
    MetadataFailed,
    PendingCheckpoint,
    Phase,
    RequestRefused,
    Send,
    SnapshotEnumerators,
    Tick,
    TriggerRequested,
    WriteMetadata,
)
from .messages import NotifyCheckpointAborted, NotifyCheckpointComplete, TriggerCheckpoint
from .pending import Pending, completed_from, failed_report, some_of
from .requests import RequestQueue
from .snapshot_files import snapshot_files

FINAL_RETRY_MS: Final = 1_000
"""How long a failed final checkpoint waits before it is repeated when no minimum pause is set: long enough that a
subtask which declines at once does not use up the tolerable failures within a moment."""


class CheckpointCoordinator:
    """Decides about the checkpoints of one job; never sends, writes, sleeps, logs or reads a clock.

    Args:
        config: when to take checkpoints.
        store: what is retained, with what a resumed job found.
        next_checkpoint_id: the first id to use: above every `chk-<n>` in the job's folder, complete or not.
    """

    def __init__(
        self, config: CoordinatorConfig, store: CompletedCheckpointStore, *, next_checkpoint_id: int = 1
    ) -> None:
        self._config = config
        self._store = store
        self._next_id = next_checkpoint_id
        self._job: JobRunning | None = None
        self._first_attempt: int | None = None
        self._pending: dict[int, Pending] = {}
        self._requests = RequestQueue()
        self._drain: TriggerRequested | None = None  # sources are ending for it
        self._given_up: dict[int, str] = {}  # folders of savepoints that failed, by checkpoint id
        self._final_done = False
        self._next_periodic_ms: int | None = None
        self._pause_until_ms = 0  # no periodic one before
        self._final_not_before_ms = 0  # a failed final one is not repeated before
        self._counts = {"triggered": 0, "completed": 0, "failed": 0, "late": 0}
        self._consecutive_failures = 0
        self._last_completed: CheckpointCompleted | None = None

    # ---- questions ----------------------------------------------------------------------------------------------------

    @property
    def latest_completed_id(self) -> int | None:
        """The newest durable checkpoint. Not to be asked for a restore while `awaits_metadata`."""
        latest = self._store.latest
        return None if latest is None else latest.checkpoint_id

    @property
    def retained_ids(self) -> tuple[int, ...]:
        """The retained checkpoints, newest first: what a restore tries in turn."""
        return tuple(checkpoint.checkpoint_id for checkpoint in reversed(self._store.checkpoints))

    @property
    def awaits_metadata(self) -> bool:
        """Whether the outcome of a `WriteMetadata` is still open."""
        return any(pending.phase is Phase.METADATA for pending in self._pending.values())

    def next_deadline_ms(self) -> int | None:
        """When the next `Tick` is due at the latest (monotonic; may lie in the past); None: nothing to wait for."""
        deadlines = [p.deadline_ms for p in self._pending.values() if p.phase is not Phase.METADATA]
        start = self._next_start_ms()
        if start is not None:
            deadlines.append(start)
        return min(deadlines, default=None)

    def statistics(self) -> CoordinatorStatistics:
        """A snapshot for metrics, the command line and tests. From any thread."""
        pending = tuple(
            PendingCheckpoint(p.checkpoint_id, p.phase, p.started_ms, len(p.acks), len(p.job.subtasks))
            for p in list(self._pending.values())  # one step, in which no other thread changes it
        )
        counts = self._counts
        return CoordinatorStatistics(
            counts["triggered"],
            counts["completed"],
            counts["failed"],
            counts["late"],
            self._consecutive_failures,
            self._last_completed,
            pending,
        )

    # ---- decisions ----------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        """What follows from `event` at the monotonic time `now_ms`, to be performed in this order.

        Raises:
            ProtocolViolation: the event is impossible in this state: a bug of the caller or a subtask.
        """
        match event:
            case JobRunning():
                return self._on_running(event, now_ms)
            case JobStopped():
                return self._on_stopped(event, now_ms)
            case Tick(wall_ms=wall_ms):
                return [*self._expire(now_ms), *self._start_if_due(now_ms, wall_ms)]
            case TriggerRequested():
                return self._on_requested(event, now_ms)
            case EnumeratorsSnapshotted():
                return self._on_enumerators(event)
            case Acked():
                return self._on_acked(event)
            case Declined():
                return self._on_declined(event, now_ms)
            case MetadataDurable(checkpoint_id=checkpoint_id):
                return self._on_durable(checkpoint_id, now_ms)
            case MetadataFailed(checkpoint_id=checkpoint_id, error=error):
                pending = self._take_written(checkpoint_id, event)
                return self._fail(pending, CheckpointFailureReason.STORAGE, error, now_ms)
            case _:
                assert_never(event)

    def _on_running(self, event: JobRunning, now_ms: int) -> list[Action]:
        if self._job is not None or self._pending:
            raise self._violation(
                event, "the previous attempt is not over, or its metadata is still being written"
            )
        self._job = event
        if self._first_attempt is None:
            self._first_attempt = event.attempt
        self._final_done = False
        self._consecutive_failures = 0
        self._pause_until_ms = self._final_not_before_ms = now_ms
        interval_ms = self._config.interval_ms
        self._next_periodic_ms = None if interval_ms is None else now_ms + interval_ms
        return []

    def _on_stopped(self, event: JobStopped, now_ms: int) -> list[Action]:
        self._job = None
        reason = CheckpointFailureReason.JOB_ENDED if event.ended else CheckpointFailureReason.TASK_FAILED
        waiting = (*self._requests.take_all(), *(() if self._drain is None else (self._drain,)))
        self._drain = None
        actions: list[Action] = [RequestRefused(r.request_id, reason, reason.value) for r in waiting]
        for pending in [p for p in self._pending.values() if p.phase is not Phase.METADATA]:
            del self._pending[pending.checkpoint_id]
            actions += self._fail(pending, reason, reason.value, now_ms)
        if self._pending:
            actions.append(AwaitMetadata(tuple(self._pending)))
        return actions

    def _on_requested(self, event: TriggerRequested, now_ms: int) -> list[Action]:
        if self._job is None:
            reason = CheckpointFailureReason.TASK_FAILED
            return [RequestRefused(event.request_id, reason, "the job is not running")]
        if self._final_done:
            reason = CheckpointFailureReason.JOB_ENDED
            return [RequestRefused(event.request_id, reason, "the final checkpoint has been taken")]
        if event.savepoint is not None and event.savepoint.stops and self._is_stopping:
            reason = CheckpointFailureReason.JOB_ENDED
            return [
                RequestRefused(event.request_id, reason, "the job is being stopped with a savepoint already")
            ]
        if event.drain:
            self._drain = event
            return [DrainSources(self._job.sources)]
        if event.final and self._drain is not None:
            event, self._drain = replace(self._drain, final=True, drain=False, wall_ms=event.wall_ms), None
        self._requests.add(event)
        return self._start_if_due(now_ms, event.wall_ms)

    @property
    def _is_stopping(self) -> bool:
        in_flight = any(p.savepoint is not None and p.savepoint.stops for p in self._pending.values())
        return in_flight or self._drain is not None or self._requests.stops_job

    # ---- starting -----------------------------------------------------------------------------------------------------

    def _next_start_ms(self) -> int | None:
        """The earliest moment at which a checkpoint may start; None while none can."""
        alone = self._requests.next_is_savepoint or any(p.savepoint for p in self._pending.values())
        most = 1 if alone else self._config.concurrency
        if self._job is None or self._final_done or len(self._pending) >= most:
            return None
        if self._requests.next_is_final:
            return self._final_not_before_ms
        if self._requests:
            return 0
        if self._next_periodic_ms is None:
            return None
        return max(self._next_periodic_ms, self._pause_until_ms)

    def _start_if_due(self, now_ms: int, wall_ms: int) -> list[Action]:
        start_ms = self._next_start_ms()
        job = self._job
        if job is None or start_ms is None or now_ms < start_ms:
            return []
        self._plan_next_periodic(now_ms)
        checkpoint_id = self._next_id
        self._next_id += 1
        self._counts["triggered"] += 1
        self._pending[checkpoint_id] = Pending(
            checkpoint_id=checkpoint_id,
            timestamp_ms=wall_ms,
            started_ms=now_ms,
            deadline_ms=now_ms + self._config.timeout_ms,
            requests=self._requests.take_next(),
            job=job,
        )
        return [SnapshotEnumerators(checkpoint_id)]

    def _plan_next_periodic(self, now_ms: int) -> None:
        """The next point of the fixed grid that lies ahead: a slow checkpoint is not followed by a burst."""
        interval_ms, planned_ms = self._config.interval_ms, self._next_periodic_ms
        if interval_ms is not None and planned_ms is not None and planned_ms <= now_ms:
            missed = (now_ms - planned_ms) // max(interval_ms, 1) + 1
            self._next_periodic_ms = planned_ms + missed * interval_ms

    def _on_enumerators(self, event: EnumeratorsSnapshotted) -> list[Action]:
        pending = self._pending.get(event.checkpoint_id)
        if pending is None:
            return self._late()
        if pending.phase is not Phase.ENUMERATORS:
            raise self._violation(
                event, f"checkpoint {event.checkpoint_id} has its enumerators' state already"
            )
        pending.enumerators = event.states
        pending.phase = Phase.TASKS
        trigger = TriggerCheckpoint(pending.checkpoint_id, pending.timestamp_ms, pending.savepoint)
        return [Send(trigger, pending.job.sources)]

    # ---- answers of subtasks ------------------------------------------------------------------------------------------

    def _on_acked(self, event: Acked) -> list[Action]:
        message = event.message
        pending = self._in_progress(message.checkpoint_id, message.subtask, event)
        if message.checkpoint_id in self._given_up:
            return [*self._late(), DiscardSavepoint(self._given_up[message.checkpoint_id])]
        if pending is None or message.subtask in pending.acks:
            return self._late(event)
        pending.acks[message.subtask] = message
        if len(pending.acks) < len(pending.job.subtasks):
            return []
        pending.phase = Phase.METADATA
        return [WriteMetadata(pending.data())]

    def _on_declined(self, event: Declined, now_ms: int) -> list[Action]:
        message = event.message
        pending = self._in_progress(message.checkpoint_id, message.subtask, event)
        if pending is None or message.subtask in pending.acks:
            return self._late(event)
        del self._pending[pending.checkpoint_id]
        detail = f"subtask {message.subtask}: {message.reason}"
        files = [] if message.snapshot is None else snapshot_files(message.snapshot)
        garbage = self._discard(file for file in files if file.shared)
        return [*garbage, *self._fail(pending, CheckpointFailureReason.DECLINED, detail, now_ms)]

    def _in_progress(self, checkpoint_id: int, subtask: str, event: Acked | Declined) -> Pending | None:
        """The checkpoint this message is for; None if the message is late."""
        if self._job is None or event.attempt != self._job.attempt:
            return None
        pending = self._pending.get(checkpoint_id)
        never_triggered = checkpoint_id >= self._next_id or (pending and pending.phase is Phase.ENUMERATORS)
        if never_triggered or subtask not in self._job.subtasks:
            raise self._violation(event, f"subtask {subtask} was never asked for checkpoint {checkpoint_id}")
        return None if pending is None or pending.phase is Phase.METADATA else pending

    def _late(self, event: Acked | Declined | None = None) -> list[Action]:
        """Drop a message, and the files that it names; not those of an attempt from before this coordinator's time."""
        self._counts["late"] += 1
        if event is None or self._first_attempt is None or event.attempt < self._first_attempt:
            return []
        snapshot = event.message.snapshot
        return [] if snapshot is None else self._discard(snapshot_files(snapshot))

    # ---- endings ------------------------------------------------------------------------------------------------------

    def _on_durable(self, checkpoint_id: int, now_ms: int) -> list[Action]:
        pending = self._take_written(checkpoint_id, MetadataDurable(checkpoint_id))
        completed, report = completed_from(pending, now_ms, running=self._job is not None)
        if pending.savepoint is not None:
            return self._on_savepoint(pending, pending.savepoint, report, now_ms)
        self._counts["completed"] += 1
        self._consecutive_failures = 0
        self._last_completed = report
        self._pause_until_ms = now_ms + self._config.min_pause_ms
        subsumed = self._store.add(completed)
        actions: list[Action] = []
        if self._job is not None:
            self._final_done = self._final_done or report.final
            # An older one that finished late is covered by the newer.
            if self.latest_completed_id == checkpoint_id:
                oldest = self._store.checkpoints[0].checkpoint_id
                actions.append(Send(NotifyCheckpointComplete(checkpoint_id, oldest), self._job.subtasks))
        actions.append(report)
        if subsumed.checkpoint_ids:
            actions.append(DiscardCheckpoints(subsumed.checkpoint_ids))
        return actions + self._discard(subsumed.files)

    def _on_savepoint(
        self, pending: Pending, savepoint: SavepointTarget, report: CheckpointCompleted, now_ms: int
    ) -> list[Action]:
        if not savepoint.stops:
            self._counts["completed"] += 1
            return [report]
        if self._job is None:
            reason = CheckpointFailureReason.TASK_FAILED
            return self._fail(pending, reason, "the job did not run any more when it was durable", now_ms)
        self._counts["completed"] += 1
        self._final_done = True
        return [Send(NotifyCheckpointComplete(pending.checkpoint_id), self._job.subtasks), report]

    def _take_written(self, checkpoint_id: int, event: Event) -> Pending:
        pending = self._pending.get(checkpoint_id)
        if pending is None or pending.phase is not Phase.METADATA:
            raise self._violation(event, f"the metadata of checkpoint {checkpoint_id} was not being written")
        return self._pending.pop(checkpoint_id)

    def _expire(self, now_ms: int) -> list[Action]:
        actions: list[Action] = []
        for pending in list(self._pending.values()):
            if pending.phase is not Phase.METADATA and now_ms >= pending.deadline_ms:
                del self._pending[pending.checkpoint_id]
                missing = sorted(set(pending.job.subtasks) - set(pending.acks))
                detail = f"not complete after {self._config.timeout_ms} ms; missing: {some_of(missing)}"
                actions += self._fail(pending, CheckpointFailureReason.EXPIRED, detail, now_ms)
        return actions

    def _fail(
        self, pending: Pending, reason: CheckpointFailureReason, detail: str, now_ms: int
    ) -> list[Action]:
        """Give up a checkpoint that is no longer in `_pending`. Counts only while its attempt runs."""
        self._counts["failed"] += 1
        if pending.savepoint is not None:
            return self._fail_savepoint(pending, pending.savepoint, reason, detail)
        self._pause_until_ms = now_ms + self._config.min_pause_ms
        self._final_not_before_ms = now_ms + (self._config.min_pause_ms or FINAL_RETRY_MS)
        counted = self._job is not None
        self._consecutive_failures += counted
        fatal = counted and self._consecutive_failures > self._config.tolerable_failures
        repeated = tuple(r for r in pending.requests if r.final and counted and not fatal)
        answered = tuple(r.request_id for r in pending.requests if r not in repeated)
        self._requests.put_back(repeated)
        files = (file for ack in pending.acks.values() for file in snapshot_files(ack.snapshot))
        actions: list[Action] = [
            Send(NotifyCheckpointAborted(pending.checkpoint_id), pending.job.subtasks),
            DiscardCheckpoints((pending.checkpoint_id,)),
            *self._discard(file for file in files if file.shared),
            failed_report(pending, reason, detail, answered, counted=counted),
        ]
        if fatal:
            actions.append(FailJob(reason, detail, self._consecutive_failures))
        return actions

    def _fail_savepoint(
        self, pending: Pending, savepoint: SavepointTarget, reason: CheckpointFailureReason, detail: str
    ) -> list[Action]:
        """The job goes on, unless its sources were drained for it: these cannot begin again."""
        self._given_up[pending.checkpoint_id] = savepoint.folder
        answered = tuple(request.request_id for request in pending.requests)
        actions: list[Action] = [
            Send(NotifyCheckpointAborted(pending.checkpoint_id), pending.job.subtasks),
            DiscardSavepoint(savepoint.folder),
            failed_report(pending, reason, detail, answered, counted=False),
        ]
        if pending.final and self._job is not None:
            actions.append(FailJob(reason, detail, 1))
        return actions

    def _discard(self, files: Iterable[FileRef]) -> list[Action]:
        """Delete those that nothing retained or in flight needs."""
        in_flight = {
            file.path
            for pending in self._pending.values()
            for ack in pending.acks.values()
            for file in snapshot_files(ack.snapshot)
        }
        garbage = {f.path: f for f in files if not self._store.needs(f) and f.path not in in_flight}
        return [DiscardFiles(tuple(garbage.values()))] if garbage else []

    def _violation(self, event: Event, what: str) -> ProtocolViolation:
        phases = {p.checkpoint_id: p.phase.name for p in self._pending.values()}
        attempt = None if self._job is None else self._job.attempt
        where = f"checkpoint coordinator, attempt {attempt}, pending {phases}"
        return ProtocolViolation(f"{type(event).__name__} is impossible: {what}", where=where)
