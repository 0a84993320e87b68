"""The shell around the checkpoint coordinator: performs what it asks for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, assert_never

from ...checkpoint.completed_store import CompletedCheckpoint, CompletedCheckpointStore
from ...checkpoint.coordination import (
    Acked,
    Action,
    AwaitMetadata,
    CheckpointCompleted,
    CheckpointData,
    CheckpointFailed,
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
    RequestRefused,
    Send,
    SnapshotEnumerators,
    Tick,
    TriggerRequested,
    WriteMetadata,
)
from ...checkpoint.coordinator import CheckpointCoordinator
from ...checkpoint.messages import AckCheckpoint, DeclineCheckpoint, FromTask, ToTask
from ...checkpoint.metadata import encode_metadata, metadata_from
from ...checkpoint.savepoint_folder import SavepointFolder, new_savepoint_folder
from ...checkpoint.storage import CheckpointStorage
from ...core.clock import Clock
from ...core.errors import CheckpointError, CheckpointFailureReason
from ...core.faults import fault_point
from ...core.savepoints import SavepointTarget
from ..graph.execution_graph import ExecutionGraph
from .background import Background
from .cleanup import Cleanup
from .fencing import Fencing, Unfenced
from .restore import describe_operators
from .savepoints import SavepointRequest, Stop
from .scheduling import Failure, JobStatus

_LOG: Final = logging.getLogger(__name__)
_FINAL: Final = "final"


class Peers(Protocol):
    """The rest of the JobManager, as the checkpoints see it."""

    def send_to_tasks(self, message: ToTask, subtasks: Sequence[str]) -> None:
        """To each of these subtasks, in its current attempt."""

    def snapshot_enumerators(self, checkpoint_id: int) -> Mapping[str, bytes] | None:
        """States by operator id; None when one failed, and with it its region."""

    def fail_job(self, failure: Failure) -> None:
        """Too many checkpoints failed."""

    def checkpointing_settled(self) -> None:
        """After `stop`: no metadata is being written."""

    def final_checkpoint_completed(self) -> None:
        """The checkpoint of `request_final` is durable."""

    def drain_sources(self, subtasks: Sequence[str]) -> None:
        """End the input of each of these subtasks of the current attempt."""

    def savepoint_completed(self, request_ids: Sequence[str], savepoint: SavepointTarget) -> None:
        """It is durable; if it stops the job, all tasks stand still behind it and may end their commits."""

    def savepoint_failed(self, request_ids: Sequence[str], error: CheckpointError) -> None:
        """Nothing is left of it. Also called with ids of requests that wanted no savepoint."""


@dataclass(frozen=True, slots=True)
class CheckpointedJob:
    """Whose checkpoints they are.

    Attributes:
        deleted_after: ends of the job after which its checkpoints are deleted.
        recovered: what is retained of earlier runs of this very job.
        next_checkpoint_id: above every id in the job's folder.
        fencing: told of every checkpoint whose metadata is durable, before anybody else is.
    """

    storage: CheckpointStorage
    job_name: str
    graph: ExecutionGraph
    config: CoordinatorConfig
    retained: int
    deleted_after: frozenset[JobStatus] = frozenset()
    recovered: tuple[CompletedCheckpoint, ...] = ()
    next_checkpoint_id: int = 1
    fencing: Fencing = field(default_factory=Unfenced)


class Checkpoints:
    """Takes the checkpoints of one job. All methods run in the loop's thread; storage is written in a helper thread."""

    def __init__(
        self, job: CheckpointedJob, peers: Peers, background: Background, cleanup: Cleanup, clock: Clock
    ) -> None:
        self._job = job
        self._peers = peers
        self._background = background
        self._cleanup = cleanup
        self._clock = clock
        self._store = store = CompletedCheckpointStore(job.retained, job.recovered)
        self._coordinator = CheckpointCoordinator(
            job.config, store, next_checkpoint_id=job.next_checkpoint_id
        )
        self._operators = describe_operators(job.graph.job)
        self._subtasks = tuple(str(subtask.subtask_id) for subtask in job.graph.subtasks)
        self._sources = tuple(str(s.subtask_id) for s in job.graph.subtasks if s.vertex.is_source)
        self._index = {str(subtask.subtask_id): subtask.index for subtask in job.graph.subtasks}
        self._stopping = False
        self._noted_stop: str | None = None  # a savepoint that the job's record may say it ended with
        # Of the storage's thread, which alone knows in which order metadata became durable.
        self._confirmed = tuple(checkpoint.checkpoint_id for checkpoint in job.recovered)

    # ---- from the scheduler -------------------------------------------------------------------------------------------

    def start(self, attempt: int) -> None:
        """All tasks run; `attempt` is the newest of theirs."""
        self._run(JobRunning(attempt, self._subtasks, self._sources))

    def stop(self) -> None:
        """The attempt is over; `checkpointing_settled` follows, at once or when the metadata in flight is written."""
        self._stopping = True
        self._run(JobStopped())
        self._settle()

    def job_ended(self, status: JobStatus) -> None:
        """The job is over for good: its checkpoints go, if that was asked for (by default they stay)."""
        if status in self._job.deleted_after:
            checkpoints, storage = self._store.checkpoints, self._job.storage
            for number in reversed([checkpoint.checkpoint_id for checkpoint in checkpoints]):
                self._cleanup.delete(partial(storage.discard, number))
            files = {file for checkpoint in checkpoints for file in checkpoint.files}
            self._cleanup.delete(partial(storage.discard_files, tuple(files)))

    def request(self, request_id: str) -> None:
        """Somebody wants a checkpoint now; it waits for the one in flight. `statistics` tell what became of it."""
        self._run(TriggerRequested(request_id, self._clock.now_ms()))

    def request_savepoint(self, request: SavepointRequest) -> None:
        """Somebody wants a savepoint; `savepoint_completed` or `savepoint_failed` follows."""
        folder = new_savepoint_folder(request.directory, self._job.storage.job_id)
        target = SavepointTarget(folder, request.format, stops=request.stop is not Stop.NO)
        drain = request.stop is Stop.DRAIN
        now_ms = self._clock.now_ms()
        self._run(TriggerRequested(request.request_id, now_ms, savepoint=target, drain=drain))

    def request_final(self) -> None:
        """All input has ended; `final_checkpoint_completed` or `fail_job` follows."""
        self._run(TriggerRequested(_FINAL, self._clock.now_ms(), final=True))

    # ---- from tasks and time ------------------------------------------------------------------------------------------

    def on_message(self, message: FromTask, attempt: int) -> None:
        """A subtask's answer; late ones are dealt with too (their files are deleted)."""
        match message:
            case AckCheckpoint():
                self._run(Acked(message, attempt))
            case DeclineCheckpoint():
                self._run(Declined(message, attempt))
            case _:
                assert_never(message)

    def tick(self, now_ms: int) -> None:
        """Start, or expire, what is due."""
        deadline = self._coordinator.next_deadline_ms()
        if deadline is not None and deadline <= now_ms:
            self._run(Tick(self._clock.now_ms()))

    def next_deadline_ms(self) -> int | None:
        """When the next `tick` is due (monotonic)."""
        return self._coordinator.next_deadline_ms()

    # ---- questions ----------------------------------------------------------------------------------------------------

    @property
    def retained_ids(self) -> tuple[int, ...]:
        """What a restart may restore from, newest first. Meaningful once settled."""
        return self._coordinator.retained_ids

    @property
    def latest_id(self) -> int | None:
        """The newest completed checkpoint."""
        return self._coordinator.latest_completed_id

    @property
    def latest_path(self) -> str | None:
        """Full path of the newest completed checkpoint."""
        latest = self._coordinator.latest_completed_id
        return None if latest is None else self._job.storage.checkpoint_path(latest)

    def statistics(self) -> CoordinatorStatistics:
        """Counts, the last completed and the pending one."""
        return self._coordinator.statistics()

    # ---- performing ---------------------------------------------------------------------------------------------------

    def _run(self, event: Event) -> None:
        for action in self._coordinator.handle(event, self._clock.monotonic_ms()):
            self._perform(action)

    def _perform(self, action: Action) -> None:
        storage = self._job.storage
        match action:
            case SnapshotEnumerators(checkpoint_id=number):
                # At once, with the trigger behind it: a split given to a reader in between would be in both snapshots.
                states = self._peers.snapshot_enumerators(number)
                if states is not None:
                    self._run(EnumeratorsSnapshotted(number, states))
            case Send(message=message, subtasks=subtasks):
                self._peers.send_to_tasks(message, subtasks)
            case WriteMetadata(data=data):
                self._write(data)
            case DrainSources(subtasks=subtasks):
                self._peers.drain_sources(subtasks)
            case AwaitMetadata(checkpoint_ids=numbers):
                _LOG.info("the metadata of checkpoints %s is still being written", numbers)
            case DiscardCheckpoints(checkpoint_ids=numbers):
                for number in numbers:
                    self._cleanup.delete(partial(storage.discard, number))
            case DiscardSavepoint(folder=folder):
                self._discard_savepoint(folder)
            case DiscardFiles(files=files):
                self._cleanup.delete(partial(storage.discard_files, files))
            case CheckpointCompleted(checkpoint_id=number, final=final):
                _LOG.info(
                    "checkpoint %d completed: %d bytes (%d under way) in %d ms, alignment %d ms, %d subtasks unaligned",
                    number,
                    action.size_bytes,
                    action.in_flight_bytes,
                    action.duration_ms,
                    action.alignment_ms,
                    action.unaligned,
                )
                self._cleanup.retry()
                if action.savepoint is not None:
                    self._peers.savepoint_completed(action.request_ids, action.savepoint)
                elif final:
                    self._peers.final_checkpoint_completed()
            case CheckpointFailed(checkpoint_id=number, detail=detail, counted=counted):
                log = _LOG.warning if counted else _LOG.info
                log("checkpoint %d failed: %s", number, detail)
                self._peers.savepoint_failed(action.request_ids, _no_savepoint(action.reason, detail))
            case RequestRefused(request_id=request_id, detail=detail):
                _LOG.info("no checkpoint was started: %s", detail)
                self._peers.savepoint_failed((request_id,), _no_savepoint(action.reason, detail))
            case FailJob(reason=reason, detail=detail, consecutive_failures=count):
                self._peers.fail_job(Failure(_too_many_failures(reason, detail, count, storage.job_folder)))
            case _:
                assert_never(action)

    def _write(self, data: CheckpointData) -> None:
        job, number = self._job, data.checkpoint_id
        metadata = metadata_from(
            data,
            job_id=job.storage.job_id,
            job_name=job.job_name,
            operators=self._operators,
            subtask_index=self._index,
        )

        def write() -> None:
            if data.savepoint is not None:
                self._write_savepoint(data.savepoint, encode_metadata(metadata))
                return
            fault_point("job-manager.before-metadata")
            job.fencing.require()
            job.storage.write_metadata(number, encode_metadata(metadata))
            fault_point("job-manager.metadata-durable")
            confirmed = tuple(sorted({*self._confirmed, number}))[-job.retained :]
            job.fencing.completed(confirmed)
            self._confirmed = confirmed

        self._background.submit(
            write,
            lambda _: self._written(MetadataDurable(number)),
            lambda error: self._written(MetadataFailed(number, str(error))),
        )

    def _write_savepoint(self, savepoint: SavepointTarget, metadata: bytes) -> None:
        """In the helper thread. That the job stops is noted before anybody can hear of it and commit; a job that takes savepoints alone
        writes nothing into the checkpoint directory."""
        fault_point("job-manager.before-savepoint")
        self._job.fencing.require()
        SavepointFolder(savepoint.folder).write_metadata(metadata)
        if savepoint.stops and self._job.config.interval_ms is not None:
            self._noted_stop = savepoint.folder
            self._job.storage.note_stop(savepoint.folder)
            fault_point("job-manager.stop-noted")

    def _discard_savepoint(self, folder: str) -> None:
        """First nothing leads to it any more: in the thread in which a restart would claim its attempt afterwards."""

        def delete(_: object = None) -> None:
            self._cleanup.delete(lambda: SavepointFolder(folder).delete())

        if self._noted_stop != folder:
            delete()
            return
        self._noted_stop = None
        self._background.submit(
            lambda: self._job.storage.note_stop(None),
            delete,
            lambda error: _LOG.warning("the savepoint %s is left behind: %s", folder, error),
        )

    def _written(self, outcome: MetadataDurable | MetadataFailed) -> None:
        self._run(outcome)
        self._settle()

    def _settle(self) -> None:
        if self._stopping and not self._coordinator.awaits_metadata:
            self._stopping = False
            self._peers.checkpointing_settled()


def _no_savepoint(reason: CheckpointFailureReason, detail: str) -> CheckpointError:
    return CheckpointError(
        reason,
        f"no savepoint was taken: {detail}",
        fix="mend the cause, or raise execution.checkpointing.timeout; the job goes on, or restarts from its last checkpoint",
    )


def _too_many_failures(
    reason: CheckpointFailureReason, detail: str, count: int, where: str
) -> CheckpointError:
    tolerated = "" if count == 1 else f", and {count - 1} before it"
    return CheckpointError(
        reason,
        f"a checkpoint failed{tolerated}: {detail}",
        where=where,
        fix="mend the cause, or raise execution.checkpointing.tolerable-failed-checkpoints or .timeout",
    )
