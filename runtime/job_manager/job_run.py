"""One run of a job, as it is known before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..graph.execution_graph import ExecutionGraph
from .checkpoints import CheckpointedJob
from .fencing import Fencing, Unfenced
from .restart_strategy import RestartStrategy
from .restore_points import RestorePoints
from .scheduling import SchedulerConfig


@dataclass(frozen=True, slots=True)
class JobRun:
    """Everything about one run of a job that is known before it starts.

    Attributes:
        artifact: the JobGraph as the workers get it (`runtime.graph.artifact.encode_job`).
        configuration: all keys that were set.
        checkpoint_base: absolute path or URL of the checkpoint directory; "" when checkpoints are off.
        checkpointed: None in BATCH mode, which has no savepoints either.
        regions: the vertices of each region of `scheduling`.
        fencing: asked before everything that the outside can see.
    """

    job_id: str
    graph: ExecutionGraph
    artifact: bytes
    configuration: Mapping[str, str]
    checkpoint_base: str
    regions: tuple[frozenset[int], ...]
    scheduling: SchedulerConfig
    strategy: RestartStrategy
    checkpointed: CheckpointedJob | None
    restore_points: RestorePoints
    fencing: Fencing = field(default_factory=Unfenced)
