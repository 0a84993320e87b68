"""What the tasks of a job are told: each message goes to the worker of its task, under the attempt of the task's region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from ...checkpoint.messages import (
    NotifyCheckpointAborted,
    NotifyCheckpointComplete,
    ToTask,
    TriggerCheckpoint,
)
from ...core.ids import SubtaskId
from .. import messages as wire
from .cluster import Cluster
from .job_run import JobRun
from .restore import RestorePlan
from .scheduler import Scheduler
from .scheduling import DeployAll
from .watermark_alignment import Announcement


class TaskMessages:
    """Sends; keeps nothing of what it sent.

    Args:
        scheduler: knows the attempts.
    """

    def __init__(self, run: JobRun, cluster: Cluster, scheduler: Scheduler) -> None:
        self._run = run
        self._cluster = cluster
        self._scheduler = scheduler
        self._worker_of = {str(subtask.subtask_id): int(subtask.worker) for subtask in run.graph.subtasks}
        self._region_of = {vertex: index for index, region in enumerate(run.regions) for vertex in region}

    def attempt_of(self, subtask: str) -> int:
        """The current attempt of a subtask's region, or its last one; before the first, one below it."""
        attempt = self._scheduler.attempt_of(self._region_of[int(subtask.partition("/")[0])])
        return self._run.scheduling.first_attempt - 1 if attempt is None else attempt

    def deploy(self, action: DeployAll, plan: RestorePlan, addresses: Mapping[int, str]) -> None:
        """Tasks of a region begin.

        Args:
            plan: what they begin with.
            addresses: of all workers, by id.
        """
        run = self._run
        scope, vertices = run.scheduling.regions[action.region], run.regions[action.region]
        for worker in sorted(scope.workers):
            own = {s.subtask_id for s in run.graph.subtasks if s.worker == worker} & scope.subtasks
            self._cluster.send(
                worker,
                wire.DeployTasks(
                    attempt=action.attempt,
                    job_id=run.job_id,
                    job=run.artifact,
                    configuration=dict(run.configuration),
                    addresses=dict(addresses),
                    restores={id_: restore for id_, restore in plan.operators.items() if id_ in own},
                    restored_checkpoint_id=plan.checkpoint_id,
                    checkpoint_base=run.checkpoint_base,
                    vertices=sorted(vertices),
                    oldest_attempt=action.oldest_attempt,
                ),
            )

    def to_region_of(self, attempt: int, message: wire.ToWorker) -> None:
        """To every worker of the region that the attempt, a current one, is of."""
        region = self._scheduler.region_of(attempt)
        assert region is not None, "attempts are told what to do as long as they are current"
        for worker in sorted(self._run.scheduling.regions[region].workers):
            self._cluster.send(worker, message)

    def checkpoint(self, message: ToTask, subtasks: Sequence[str]) -> None:
        """From the coordinator of checkpoints: a trigger to each source, a notification once to each worker and attempt."""
        match message:
            case TriggerCheckpoint():
                for subtask in subtasks:
                    trigger = wire.TriggerSource(self.attempt_of(subtask), subtask, message)
                    self._cluster.send(self._worker_of[subtask], trigger)
            case NotifyCheckpointComplete() | NotifyCheckpointAborted():
                addressees = {(self._worker_of[subtask], self.attempt_of(subtask)) for subtask in subtasks}
                for worker, attempt in sorted(addressees):
                    self._cluster.send(worker, wire.NotifyTasks(attempt, message))
            case _:
                assert_never(message)

    def drain(self, subtasks: Sequence[str]) -> None:
        """These sources end their input."""
        for subtask in subtasks:
            self._cluster.send(self._worker_of[subtask], wire.DrainSource(self.attempt_of(subtask), subtask))

    def align(self, announcement: Announcement) -> None:
        """How far these sources may read."""
        for subtask in announcement.subtasks:
            message = wire.AlignWatermarks(self.attempt_of(subtask), subtask, announcement.max_watermark)
            self._cluster.send(self._worker_of[subtask], message)

    def splits(self, attempt: int, subtask: SubtaskId, splits: list[bytes], *, no_more: bool) -> None:
        """From an enumerator to its reader."""
        message = wire.AddSplits(attempt, subtask, splits, no_more=no_more)
        self._cluster.send(self._worker_of[subtask], message)

    def event(self, attempt: int, subtask: SubtaskId, event: bytes) -> None:
        """The same: what the source makes of it."""
        self._cluster.send(self._worker_of[subtask], wire.EventToReader(attempt, subtask, event))
