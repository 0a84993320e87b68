"""A job under high availability: whoever leads runs it, everybody else stands by.

What a leader needs is in the cluster's record and storage (`runtime.high_availability`): the job's graph and configuration, and
which checkpoints are complete. A leader that finds a job there goes on with it, whatever program it was started with.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from ...checkpoint.catalog import ResumePoint, job_candidates, load, newest_valid
from ...checkpoint.leftovers import remove_unlisted
from ...checkpoint.storage import CheckpointStorage
from ...core.configuration import Configuration, options
from ...core.errors import CheckpointError, CheckpointFailureReason, LeadershipLostError, MillstreamError
from ...core.ids import JobId
from ..graph.artifact import decode_job, encode_job
from ..graph.job_graph import JobGraph
from ..high_availability.cluster_files import ClusterFiles
from ..high_availability.records import ClusterRecord, ForkServerEntry, JobEntry, Outcome
from ..high_availability.session import LeaderSession
from ..worker.fork_messages import FollowLeaders
from .job_run import JobRun
from .job_setup import (
    Origin,
    checkpoint_directory,
    find_origin,
    fit_to_origin,
    named_checkpoint,
    run_from,
)
from .scheduling import JobStatus
from .statistics import JobStatistics
from .succession import Predecessor

_OWN_KEYS: Final = ("high-availability", "taskmanager.registration.timeout")
"""Keys that each job manager brings itself; all others are the job's."""


class Leadership:
    """A job manager's leadership, as the parts of the runtime see it: `Fencing` and `Succession`."""

    outlived = True

    def __init__(self, session: LeaderSession, files: ClusterFiles, keys: dict[str, str]) -> None:
        self._session = session
        self._files = files
        self._keys = keys

    # ---- Fencing ------------------------------------------------------------------------------------------------------

    def require(self) -> None:
        """See `Fencing`."""
        self._session.require()

    def when_lost(self, wake: Callable[[], None]) -> None:
        """See `Fencing`."""
        self._session.when_lost(wake)

    def claim_attempt(self, storage: CheckpointStorage, job_name: str, *, at_least: int = 1) -> int:
        """See `Fencing`. The record has the last word; the storage's own is kept for runs without high availability."""

        def change(job: JobEntry) -> JobEntry:
            return msgspec.structs.replace(job, attempt=max(job.attempt + 1, at_least))

        attempt = self._change_job(change).attempt
        claimed = storage.claim_attempt(job_name, at_least=attempt)
        if claimed != attempt:  # the job has run without high availability before
            self._change_job(lambda job: msgspec.structs.replace(job, attempt=claimed))
        return claimed

    def completed(self, checkpoint_ids: Sequence[int]) -> None:
        """See `Fencing`. INVARIANT L2."""
        self._change_job(lambda job: msgspec.structs.replace(job, checkpoints=list(checkpoint_ids)))

    def ended(self, statistics: JobStatistics, status: JobStatus, runtime_ms: int, error: str | None) -> None:
        """See `Fencing`. Of the job nothing stays but how it ended, for those who stand by."""
        job = self._job
        outcome = Outcome(
            job.job_id, job.job_name, status.name, runtime_ms, error, list(statistics.accumulators)
        )
        self._session.release(
            lambda record: msgspec.structs.replace(record, job=None, outcome=outcome, fork_server=None)
        )
        self._files.remove_job(job.artifact)

    def given_up(self) -> None:
        """See `Fencing`. A standby need not wait."""
        try:
            self._session.release()
        except LeadershipLostError:
            self._session.close()

    # ---- Succession ---------------------------------------------------------------------------------------------------

    def orders(self) -> FollowLeaders:
        """See `Succession`."""
        timeout_ms = Configuration(self._keys).get(options.REGISTRATION_TIMEOUT)
        return FollowLeaders(self._session.epoch, self._keys, self._files.secret(), timeout_ms)

    def announce(self, address: str, heartbeat_address: str) -> None:
        """See `Succession`."""

        def change(record: ClusterRecord) -> ClusterRecord:
            assert record.leader is not None
            leader = msgspec.structs.replace(
                record.leader, address=address, heartbeat_address=heartbeat_address
            )
            return msgspec.structs.replace(record, leader=leader)

        self._session.update(change)

    def predecessor(self) -> Predecessor | None:
        """See `Succession`. On another host nothing can be known of it; its workers end by themselves."""
        entry = self._session.record.fork_server
        return Predecessor(entry) if entry is not None and entry.host == socket.gethostname() else None

    def employ(self, entry: ForkServerEntry | None) -> None:
        """See `Succession`."""
        self._session.update(lambda record: msgspec.structs.replace(record, fork_server=entry))

    # ---- inside -------------------------------------------------------------------------------------------------------

    @property
    def _job(self) -> JobEntry:
        job = self._session.record.job
        assert job is not None, "there is no job in the record"
        return job

    def _change_job(self, change: Callable[[JobEntry], JobEntry]) -> JobEntry:
        self._session.update(lambda record: msgspec.structs.replace(record, job=change(self._job)))
        return self._job


class LeadersJob:
    """The job that a new leader runs: the one it finds, or the one it was started with."""

    def __init__(
        self, session: LeaderSession, files: ClusterFiles, own: Configuration, random: Random
    ) -> None:
        self._session = session
        self._files = files
        self._own = own
        self._random = random
        self.leadership = Leadership(session, files, _own_keys(own))

    def found(self, entry: JobEntry) -> JobRun:
        """Goes on where the last leader's newest completed checkpoint is.

        Raises:
            CheckpointError: none of them is whole; or the job ended with a savepoint, and it is over.
            MillstreamError: the storage failed.
        """
        sys.path += [path for path in entry.import_path if path not in sys.path and Path(path).is_dir()]
        artifact = self._files.read_job(entry.artifact)
        keys = {key: value for key, value in entry.configuration.items() if not key.startswith(_OWN_KEYS)}
        configuration = Configuration({**keys, **_own_keys(self._own)})
        storage = CheckpointStorage(checkpoint_directory(configuration), entry.job_id)
        origin = _origin_of(entry, storage, configuration)
        job = decode_job(artifact)
        try:
            run = run_from(origin, job, artifact, configuration, self._random, fencing=self.leadership)
        except CheckpointError as error:
            if error.reason is CheckpointFailureReason.JOB_ENDED:
                self._over(entry, error)
            raise
        remove_unlisted(storage, entry.checkpoints, before_attempt=run.scheduling.first_attempt)
        return run

    def _over(self, entry: JobEntry, error: CheckpointError) -> None:
        """The last leader died behind a savepoint that ends the job: there is nothing to go on with here."""
        outcome = Outcome(entry.job_id, entry.job_name, JobStatus.FAILED.name, 0, str(error))
        self._session.update(
            lambda record: msgspec.structs.replace(record, job=None, outcome=outcome, fork_server=None)
        )
        self._files.remove_job(entry.artifact)

    def first(self, job: JobGraph, *, resume: bool, savepoint_path: str | None) -> JobRun:
        """Starts the job, which from now on any leader goes on with.

        Raises: as `prepare_run`; then the cluster has no job.
        """
        name = job.settings.name
        origin = find_origin(name, self._own, resume=resume, savepoint_path=savepoint_path)
        job = fit_to_origin(job, origin)
        artifact = encode_job(job)
        configuration = Configuration(self._own)
        configuration.set(
            options.CHECKPOINTING_DIR, checkpoint_directory(self._own)
        )  # from wherever it is read
        entry = JobEntry(
            job_id=origin.job_id,
            job_name=name,
            artifact=self._files.put_job(origin.job_id, artifact),
            configuration=dict(configuration.to_dict()),
            import_path=[str(Path(path).absolute()) for path in sys.path if path],
            checkpoints=[] if origin.resumed is None else [c.checkpoint_id for c in origin.resumed.retained],
            initial=None if origin.initial is None or origin.is_own else origin.initial.path,
        )
        self._session.update(
            lambda record: msgspec.structs.replace(record, job=entry, outcome=None, fork_server=None)
        )
        try:
            return run_from(origin, job, artifact, configuration, self._random, fencing=self.leadership)
        except MillstreamError:
            self._session.update(lambda record: msgspec.structs.replace(record, job=None))
            raise


def _own_keys(configuration: Configuration) -> dict[str, str]:
    return {key: value for key, value in configuration.to_dict().items() if key.startswith(_OWN_KEYS)}


def _origin_of(entry: JobEntry, storage: CheckpointStorage, configuration: Configuration) -> Origin:
    """From the completed checkpoints that the record names, and no others: their folder may show ones nobody confirmed.

    A deposed leader may still have this many checkpoints under way: none of theirs shares an id with one of ours.
    """
    used = max([0, *storage.checkpoint_ids(), *entry.checkpoints])
    next_checkpoint_id = used + configuration.get(options.MAX_CONCURRENT_CHECKPOINTS) + 1
    job_id = JobId(entry.job_id)
    if not entry.checkpoints:
        initial = None if entry.initial is None else named_checkpoint(entry.initial)
        return Origin(job_id, initial, next_checkpoint_id=next_checkpoint_id)
    newest_first = sorted(entry.checkpoints, reverse=True)
    newest, skipped = newest_valid(
        job_candidates(storage, newest_first),
        f"job '{entry.job_name}'",
        fallback=configuration.get(options.RECOVERY_FALLBACK),
    )
    older = [load(storage.checkpoint_path(n)) for n in newest_first if n < newest.metadata.checkpoint_id]
    retained = (newest.completed(), *(checkpoint.completed() for checkpoint in older))
    resumed = ResumePoint(newest, retained, skipped, next_checkpoint_id)
    return Origin(job_id, newest, is_own=True, resumed=resumed)
