"""The way to the leadership: what a process does that wants to run a job under high availability, until it may."""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random

from ...core.clock import Clock, SystemClock
from ...core.configuration import Configuration, options
from ...core.errors import ConfigurationError, JobDefinitionError, LeadershipLostError
from ..graph.job_graph import JobGraph
from ..high_availability.cluster_files import ClusterFiles
from ..high_availability.records import ClusterRecord, Outcome
from ..high_availability.session import LeaderSession, Watching, contend
from ..high_availability.settings import HighAvailability
from .client import JobClient
from .ended_elsewhere import EndedElsewhere
from .job_setup import make_process_cluster
from .leading import LeadersJob


def submit_or_stand_by(
    job: JobGraph, configuration: Configuration, clock: Clock, *, resume: bool, savepoint_path: str | None
) -> JobClient:
    """A client whose job this process leads and which is ready to run; or which has ended under another leader.

    Raises: as `submit`.
    """
    _check_can_fail_over(job, configuration)
    return _lead(configuration, clock, job, resume=resume, savepoint_path=savepoint_path)


def stand_by(configuration: Configuration) -> JobClient:
    """The same without a program: for whatever job the cluster has, once it has one.

    Raises:
        ConfigurationError: high availability is off, or its services cannot be used.
    """
    if configuration.get(options.HA_TYPE) == "NONE":
        raise ConfigurationError(
            "there is nothing to stand by for: high availability is off",
            where=options.HA_TYPE.key,
            fix=f"set {options.HA_TYPE.key} and {options.HA_STORAGE_DIR.key}, as where the job is run",
        )
    return _lead(configuration, SystemClock(), None, resume=False, savepoint_path=None)


def _lead(
    configuration: Configuration,
    clock: Clock,
    job: JobGraph | None,
    *,
    resume: bool,
    savepoint_path: str | None,
) -> JobClient:
    ha = HighAvailability.of(configuration)
    assert ha is not None
    files = ClusterFiles(ha.storage)
    name = None if job is None else job.settings.name
    session = _contend(ha, name, clock, _tell_on_stderr)
    if isinstance(session, Outcome):
        return EndedElsewhere(session)
    try:
        leaders = LeadersJob(session, files, configuration, Random(clock.now_ms()))
        found = session.record.job
        if found is not None:
            run = leaders.found(found)
        else:
            assert job is not None, "leads only where there is a job"
            run = leaders.first(job, resume=resume, savepoint_path=savepoint_path)
        settings = Configuration(dict(run.configuration))
        cluster = make_process_cluster(settings, clock, files.secret(), leaders.leadership)
        return JobClient(run, cluster, clock)
    except BaseException:
        try:
            session.release()
        except LeadershipLostError:
            session.close()
        raise


class _StandBy:
    """What a process that wants to run a job, or any job of its cluster, does until it leads.

    Args:
        job_name: of the program; None: whatever job the cluster has, once it has one.
        tell: shows a line to the user.
    """

    def __init__(self, cluster_id: str, job_name: str | None, tell: Callable[[str], None]) -> None:
        self._cluster_id = cluster_id
        self._job_name = job_name
        self._tell = tell
        self._first_outcome: Outcome | None = None
        self._looked = False
        self._told = ""

    def watching(self) -> Watching:
        """For `contend`."""
        return Watching(self._over, self._may_lead, self._seen)

    def _seen(self, record: ClusterRecord) -> None:
        if not self._looked:
            self._looked = True
            self._first_outcome = record.outcome
        if record.job is not None and self._job_name not in {None, record.job.job_name}:
            raise JobDefinitionError(
                f"cluster '{self._cluster_id}' has the job '{record.job.job_name}', which has not ended, not"
                f" '{self._job_name}'",
                where=options.HA_CLUSTER_ID.key,
                fix=f"give each job a {options.HA_CLUSTER_ID.key} of its own",
            )
        if record.leader is not None:
            where = f"{record.leader.host}, process {record.leader.pid}, epoch {record.epoch}"
            self._say(f"standby of cluster '{self._cluster_id}': the leader is {where}; waiting")
        elif not self._may_lead(record):
            self._say(f"standby of cluster '{self._cluster_id}': it has no job; waiting")

    def _over(self, record: ClusterRecord) -> bool:
        return record.job is None and record.outcome is not None and record.outcome != self._first_outcome

    def _may_lead(self, record: ClusterRecord) -> bool:
        return self._job_name is not None or record.job is not None

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._tell(text)


def _tell_on_stderr(text: str) -> None:
    """At once: whoever reads it may wait for it."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _check_can_fail_over(job: JobGraph, configuration: Configuration) -> None:
    """Nothing, if another process could go on with the job.

    Raises:
        JobDefinitionError, ConfigurationError: it could not.
    """
    where = f"{options.HA_TYPE.key}: {configuration.get(options.HA_TYPE)}"
    if job.settings.is_batch:
        raise JobDefinitionError(
            "a job in BATCH mode takes no checkpoints, so that no standby could go on with it",
            where=where,
            fix="use the runtime mode STREAMING, or switch high availability off for this job",
        )
    if configuration.get(options.CHECKPOINTING_INTERVAL) is None:
        raise ConfigurationError(
            "without checkpoints no standby could go on with the job",
            where=where,
            fix=f"set {options.CHECKPOINTING_INTERVAL.key}",
        )
    if configuration.get(options.TASK_MANAGER_MODE) == "embedded":
        raise ConfigurationError(
            "an embedded worker dies with its leader",
            where=f"{options.TASK_MANAGER_MODE.key}: embedded",
            fix="use 'process' or 'auto', which under high availability starts processes",
        )


def _contend(
    ha: HighAvailability, job_name: str | None, clock: Clock, tell: Callable[[str], None]
) -> LeaderSession | Outcome:
    """Block until this process leads, or until the cluster's job has ended under another leader.

    Raises:
        ConfigurationError: the services cannot be used. JobDefinitionError: the cluster has another job.
    """
    store = ha.open_store()
    try:
        found = contend(store, ha.terms, clock, _StandBy(ha.cluster_id, job_name, tell).watching())
    except BaseException:
        store.close()
        raise
    if isinstance(found, LeaderSession):
        tell(f"leading cluster '{ha.cluster_id}' under epoch {found.epoch}")
        return found
    store.close()
    assert found.outcome is not None
    return found.outcome
