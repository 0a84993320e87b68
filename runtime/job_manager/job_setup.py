"""From a JobGraph and a configuration to a run: what to restore, where checkpoints go, which cluster, how often to restart."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from ...checkpoint.catalog import (
    ResumePoint,
    StoredCheckpoint,
    list_checkpoints,
    load,
    resume_point,
    stopped_at,
    unfinished_run,
    verify,
)
from ...checkpoint.compatibility import check_compatible
from ...checkpoint.coordination import CoordinatorConfig
from ...checkpoint.storage import CheckpointStorage, without_file_scheme
from ...core.clock import Clock
from ...core.configuration import Configuration, options
from ...core.errors import CheckpointError, ConfigurationError, JobDefinitionError
from ...core.ids import JobId, new_job_id
from ...core.workdir import WorkDir, create_work_dir
from ...state.stores import store_of
from ..graph.artifact import encode_job
from ..graph.execution_graph import ExecutionGraph, build_execution_graph
from ..graph.job_graph import JobGraph
from ..graph.regions import pipelined_regions
from ..heartbeats import HeartbeatSettings
from .checkpoints import CheckpointedJob
from .cluster import Cluster, EmbeddedCluster
from .fencing import Fencing, Unfenced
from .job_run import JobRun
from .restart_strategy import Backoff, ExponentialDelay, FailureRate, FixedDelay, NoRestart, RestartStrategy
from .restore import check_channels, describe_operators, keep_exchanges
from .restore_points import RestorePoints
from .scheduling import JobStatus, Region, SchedulerConfig
from .succession import Succession

_LOG: Final = logging.getLogger(__name__)

DEFAULT_CHECKPOINT_DIR: Final = ".millstream/checkpoints"
"""Under the working directory: where checkpoints go when they are on and no directory is set."""

_PRELOAD_OF_BACKEND: Final = {
    "rocksdb": ("rocksdict", "millstream.state.rocksdb"),
    "postgresql": ("psycopg", "millstream.state.postgresql"),
    "redis": ("redis", "millstream.state.redis"),
}
_DELETED_AFTER: Final[dict[str, frozenset[JobStatus]]] = {
    "RETAIN_ON_CANCELLATION": frozenset(),
    "DELETE_ON_CANCELLATION": frozenset({JobStatus.CANCELED}),
    "NO_EXTERNALIZED_CHECKPOINTS": frozenset(status for status in JobStatus if status.is_terminal()),
}
_UNLIMITED: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Origin:
    """Whether and how the job continues something.

    Attributes:
        is_own: the checkpoint belongs to the same job, which goes on under its id.
        next_checkpoint_id: above every id that was ever used for this job.
    """

    job_id: JobId
    initial: StoredCheckpoint | None = None
    is_own: bool = False
    resumed: ResumePoint | None = None
    next_checkpoint_id: int = 1


def prepare_run(
    job: JobGraph, configuration: Configuration, *, resume: bool, savepoint_path: str | None, random: Random
) -> JobRun:
    """Everything that can be found out, and found wrong, before a worker is started.

    Raises:
        JobDefinitionError: the program or its configuration cannot run.
        CheckpointError: the checkpoint directory cannot be written, or what to restore is damaged or does not fit.
    """
    origin = find_origin(job.settings.name, configuration, resume=resume, savepoint_path=savepoint_path)
    job = fit_to_origin(job, origin)
    embedded = _is_embedded(build_execution_graph(job), configuration)
    artifact = encode_job(job, in_process=embedded)
    return run_from(origin, job, artifact, configuration, random)


def run_from(
    origin: Origin,
    job: JobGraph,
    artifact: bytes,
    configuration: Configuration,
    random: Random,
    *,
    fencing: Fencing | None = None,
) -> JobRun:
    """The run of a job that begins at `origin`. Raises as `prepare_run`, and what `fencing` raises."""
    check_unaligned(configuration)
    graph = build_execution_graph(job)
    _check_store(configuration)
    regions = failover_regions(job, configuration)
    name = job.settings.name
    fencing = Unfenced() if fencing is None else fencing
    directory = checkpoint_directory(configuration)
    checkpointing = configuration.get(options.CHECKPOINTING_INTERVAL) is not None
    initial = origin.initial
    ignore_unclaimed = configuration.get(options.SAVEPOINT_IGNORE_UNCLAIMED_STATE)
    if initial is not None:
        operators = describe_operators(job)
        check_compatible(
            initial.metadata, operators, path=initial.path, ignore_unclaimed_state=ignore_unclaimed
        )
        check_channels(initial.metadata, job, path=initial.path, ignore_unclaimed_state=ignore_unclaimed)
    storage = CheckpointStorage(directory, origin.job_id, connect=checkpointing)
    first_attempt = 1 if initial is None else initial.metadata.attempt + 1
    if checkpointing:
        storage.check_writable()
        first_attempt = min([fencing.claim_attempt(storage, name) for _ in regions])  # one for each
    return JobRun(
        job_id=origin.job_id,
        graph=graph,
        artifact=artifact,
        configuration=configuration.to_dict(),
        checkpoint_base=directory if checkpointing or initial is not None else "",
        regions=regions,
        scheduling=_scheduling(graph, regions, checkpointing=checkpointing, first_attempt=first_attempt),
        strategy=restart_strategy(configuration, random),
        checkpointed=None
        if job.settings.is_batch
        else _checkpointed(storage, graph, configuration, origin, fencing),
        restore_points=RestorePoints(
            storage if checkpointing else None,
            name,
            graph,
            initial=initial,
            initial_is_own=origin.is_own and checkpointing,
            ignore_unclaimed_state=ignore_unclaimed,
            first_attempts=range(first_attempt, first_attempt + len(regions)),
            fallback=configuration.get(options.RECOVERY_FALLBACK),
            fencing=fencing,
        ),
        fencing=fencing,
    )


def failover_regions(job: JobGraph, configuration: Configuration) -> tuple[frozenset[int], ...]:
    """The vertices that restart together (`jobmanager.execution.failover-strategy`)."""
    if configuration.get(options.FAILOVER_STRATEGY) == "full":
        return (frozenset(vertex.index for vertex in job.vertices),)
    return pipelined_regions(job)


def check_unaligned(configuration: Configuration) -> None:
    """Nothing, if barriers stay in their places, or may leave them.

    Raises:
        ConfigurationError: they are to overtake where nothing is aligned (Flink would quietly keep them in their places), or each
            other.
    """
    if not configuration.get(options.UNALIGNED_ENABLED):
        return
    at_once = configuration.get(options.MAX_CONCURRENT_CHECKPOINTS)
    if at_once > 1:
        raise ConfigurationError(
            f"unaligned checkpoints are taken one at a time, and {at_once} may be under way",
            where=f"{options.UNALIGNED_ENABLED.key}: true",
            fix=f"set {options.MAX_CONCURRENT_CHECKPOINTS.key} to 1, or leave unaligned checkpoints off",
        )
    mode = configuration.get(options.CHECKPOINTING_MODE)
    if mode != "EXACTLY_ONCE":
        raise ConfigurationError(
            f"unaligned checkpoints are exactly-once, and the mode is {mode}, which never aligns",
            where=f"{options.UNALIGNED_ENABLED.key}: true",
            fix=f"set {options.CHECKPOINTING_MODE.key} to EXACTLY_ONCE, or leave unaligned checkpoints off",
        )


def _check_store(configuration: Configuration) -> None:
    """Refuses a backend without its database, and one that would never hand anything on to it."""
    store_of(configuration)
    backend = configuration.get(options.STATE_BACKEND)
    if backend == "redis" and configuration.get(options.CHECKPOINTING_INTERVAL) is None:
        raise ConfigurationError(
            "the state backend 'redis' takes what a checkpoint holds, and checkpoints are off",
            where=f"{options.STATE_BACKEND.key}: {backend}",
            fix=f"set {options.CHECKPOINTING_INTERVAL.key}, for example to 10 s",
        )


def checkpoint_directory(configuration: Configuration) -> str:
    """Absolute path, or URL, of the checkpoint directory."""
    return absolute_directory(configuration.get(options.CHECKPOINTING_DIR) or DEFAULT_CHECKPOINT_DIR)


def absolute_directory(given: str) -> str:
    """A directory as other processes name it: an absolute path, or the URL as it is. Raises as `without_file_scheme`."""
    local = without_file_scheme(given)
    return given if "://" in local else str(Path(local).expanduser().absolute())


def restart_strategy(configuration: Configuration, random: Random) -> RestartStrategy:
    """The configured one; without configuration exponential delay when checkpoints are on, else none, as in Flink."""
    get = configuration.get
    kind = get(options.RESTART_STRATEGY)
    if kind is None:
        kind = "none" if get(options.CHECKPOINTING_INTERVAL) is None else "exponential-delay"
    if kind == "none":
        return NoRestart()
    if kind == "fixed-delay":
        attempts = get(options.FIXED_DELAY_ATTEMPTS)
        return FixedDelay(_UNLIMITED if attempts is None else attempts, get(options.FIXED_DELAY_DELAY))
    if kind == "failure-rate":
        return FailureRate(
            get(options.FAILURE_RATE_MAX_FAILURES),
            get(options.FAILURE_RATE_INTERVAL),
            get(options.FAILURE_RATE_DELAY),
        )
    backoff = Backoff(
        initial_ms=get(options.EXPONENTIAL_INITIAL_BACKOFF),
        max_ms=get(options.EXPONENTIAL_MAX_BACKOFF),
        multiplier=get(options.EXPONENTIAL_MULTIPLIER),
        reset_threshold_ms=get(options.EXPONENTIAL_RESET_THRESHOLD),
        jitter=get(options.EXPONENTIAL_JITTER),
        attempts=get(options.EXPONENTIAL_ATTEMPTS),
    )
    return ExponentialDelay(backoff, random)


def make_cluster(graph: ExecutionGraph, configuration: Configuration, clock: Clock) -> Cluster:
    """Workers in this thread or in processes (`taskmanager.mode`); nothing is started yet.

    Raises:
        ConfigurationError: the job needs several workers and the mode is `embedded`.
    """
    mode = configuration.get(options.TASK_MANAGER_MODE)
    if mode == "embedded" and graph.worker_count > 1:
        raise ConfigurationError(
            f"the job needs {graph.worker_count} workers, and an embedded cluster has one",
            where=f"{options.TASK_MANAGER_MODE.key}: embedded",
            fix="use 'process' or 'auto', or parallelism 1 and one slot sharing group",
        )
    secret = os.urandom(32)
    if _is_embedded(graph, configuration):
        return EmbeddedCluster(_work_dir_maker(configuration), secret=secret, clock=clock)
    return make_process_cluster(configuration, clock, secret)


def make_process_cluster(
    configuration: Configuration, clock: Clock, secret: bytes, succession: Succession | None = None
) -> Cluster:
    """Workers in processes; nothing is started yet. `succession`: what they, and we, do when a leader dies."""
    from .process_cluster import ProcessCluster  # a small job starts without it

    preload = _PRELOAD_OF_BACKEND.get(configuration.get(options.STATE_BACKEND), ())
    return ProcessCluster(
        _work_dir_maker(configuration),
        secret=secret,
        clock=clock,
        preload=preload,
        heartbeat=HeartbeatSettings.of(configuration),
        succession=succession,
    )


def _is_embedded(graph: ExecutionGraph, configuration: Configuration) -> bool:
    mode = configuration.get(options.TASK_MANAGER_MODE)
    return mode == "embedded" or (mode == "auto" and graph.worker_count == 1)


def _work_dir_maker(configuration: Configuration) -> Callable[[], WorkDir]:
    folders = configuration.get(options.TMP_DIRS)
    return lambda: create_work_dir(folders[0] if folders else None)


def find_origin(
    name: str, configuration: Configuration, *, resume: bool, savepoint_path: str | None
) -> Origin:
    """Where a job that is started by a user begins.

    Raises:
        JobDefinitionError: both are asked for.
        CheckpointError: what to restore is damaged, or cannot be read.
    """
    if resume and savepoint_path is not None:
        raise JobDefinitionError(
            "a job cannot both resume and start from a given checkpoint",
            fix="give --resume or --from, not both",
        )
    if savepoint_path is not None:
        return Origin(new_job_id(), named_checkpoint(savepoint_path))
    if not resume:
        return Origin(new_job_id())
    directory = checkpoint_directory(configuration)
    savepoint = stopped_at(directory, name)
    if savepoint is not None:
        _LOG.info("the job goes on from the savepoint it ended with: %s", savepoint)
        return Origin(new_job_id(), named_checkpoint(savepoint))
    found = resume_point(directory, name, fallback=configuration.get(options.RECOVERY_FALLBACK))
    if found is None:
        died_early = unfinished_run(directory, name)
        return Origin(new_job_id() if died_early is None else JobId(died_early))
    metadata = found.checkpoint.metadata
    return Origin(JobId(metadata.job_id), found.checkpoint, is_own=True, resumed=found)


def fit_to_origin(job: JobGraph, origin: Origin) -> JobGraph:
    """The program as it can begin there: with an exchange wherever records are under way that the checkpoint has kept."""
    return job if origin.initial is None else keep_exchanges(job, origin.initial.metadata)


def named_checkpoint(path: str) -> StoredCheckpoint:
    """Exactly that one, whole; an error names the older ones of its job that could be used instead."""
    try:
        checkpoint = load(path)
        verify(checkpoint, content=True)
    except CheckpointError as error:
        others = _usable_siblings(path)
        if others:
            error.fix = "start from another checkpoint of the same job: " + ", ".join(others)
        raise
    return checkpoint


def _usable_siblings(path: str) -> list[str]:
    folder = path.rstrip("/").removesuffix("/_metadata")
    job_folder = folder.rpartition("/")[0]
    try:
        found = list_checkpoints(job_folder) if job_folder else []
    except CheckpointError:
        return []
    return [info.path for info in reversed(found) if info.complete and info.problem is None]


def _scheduling(
    graph: ExecutionGraph,
    regions: Sequence[frozenset[int]],
    *,
    checkpointing: bool,
    first_attempt: int,
) -> SchedulerConfig:
    subtasks = [[s for s in graph.subtasks if s.vertex.index in region] for region in regions]
    return SchedulerConfig(
        regions=tuple(
            Region(frozenset(int(s.worker) for s in found), frozenset(str(s.subtask_id) for s in found))
            for found in subtasks
        ),
        checkpointing=checkpointing,
        first_attempt=first_attempt,
    )


def _checkpointed(
    storage: CheckpointStorage,
    graph: ExecutionGraph,
    configuration: Configuration,
    origin: Origin,
    fencing: Fencing,
) -> CheckpointedJob:
    get = configuration.get
    resumed = origin.resumed
    return CheckpointedJob(
        storage=storage,
        job_name=graph.job.settings.name,
        graph=graph,
        config=CoordinatorConfig(
            interval_ms=get(options.CHECKPOINTING_INTERVAL),
            timeout_ms=get(options.CHECKPOINTING_TIMEOUT),
            min_pause_ms=get(options.CHECKPOINTING_MIN_PAUSE),
            max_concurrent=get(options.MAX_CONCURRENT_CHECKPOINTS),
            tolerable_failures=get(options.TOLERABLE_FAILED_CHECKPOINTS),
        ),
        retained=get(options.NUM_RETAINED_CHECKPOINTS),
        deleted_after=_DELETED_AFTER[get(options.EXTERNALIZED_CHECKPOINT_RETENTION)],
        recovered=() if resumed is None else resumed.retained,
        next_checkpoint_id=origin.next_checkpoint_id if resumed is None else resumed.next_checkpoint_id,
        fencing=fencing,
    )
