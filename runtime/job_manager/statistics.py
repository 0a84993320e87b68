"""What can be seen of a running job: frozen snapshots of counters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ...checkpoint.coordination import CoordinatorStatistics
from ...core.ids import subtask_index
from ...operators.accumulator_registry import AccumulatorReport
from ...operators.metrics import CounterValue, MetricValue
from ..graph.execution_graph import ExecutionGraph
from ..graph.job_graph import JobVertex
from ..messages import TaskStatistics
from .scheduling import JobStatus


@dataclass(frozen=True, slots=True)
class OperatorStatistics:
    """The metrics that the functions of an operator declared, in the current attempt.

    Attributes:
        metrics: by name (with those of its groups before it, and dots between), then by subtask.
    """

    operator_id: str
    name: str
    metrics: Mapping[str, Mapping[int, MetricValue]] = field(default_factory=dict)

    def total(self, counter: str) -> int:
        """The sum of a counter over the subtasks; 0 where there is none of the name."""
        values = self.metrics.get(counter, {}).values()
        return sum(value.count for value in values if isinstance(value, CounterValue))


@dataclass(frozen=True, slots=True)
class VertexStatistics:
    """Sums over the subtasks of a vertex, in the current attempt.

    Attributes:
        watermark: the lowest of all subtasks (ms); None while one has none.
    """

    name: str
    parallelism: int
    records_in: int
    records_out: int
    watermark: int | None
    counters: Mapping[str, int] = field(default_factory=dict)
    operators: tuple[OperatorStatistics, ...] = ()


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """A job at one moment.

    Attributes:
        attempt: number of the newest attempt of all regions; rises also across `--resume`.
        restarts: of this run.
        checkpoints: None when checkpointing is off.
        latest_checkpoint: path or URL of the newest completed one, good for `--from`.
        last_failure: the first line of the latest failure, None if there was none.
        accumulators: of every operator and subtask; `JobClient.get_accumulators` merges them.
    """

    job_id: str
    job_name: str
    status: JobStatus
    attempt: int
    restarts: int
    vertices: tuple[VertexStatistics, ...]
    checkpoints: CoordinatorStatistics | None
    latest_checkpoint: str | None
    last_failure: str | None
    accumulators: tuple[AccumulatorReport, ...] = ()


class TaskCounters:
    """The latest counters of every subtask in its current attempt."""

    def __init__(self, graph: ExecutionGraph) -> None:
        self._graph = graph
        self._tasks: dict[str, TaskStatistics] = {}

    def clear(self, subtasks: Collection[str]) -> None:
        """A new attempt of these counts from zero."""
        self._tasks = {subtask: task for subtask, task in self._tasks.items() if subtask not in subtasks}

    def update(self, tasks: list[TaskStatistics]) -> None:
        """From one worker."""
        self._tasks = {
            **self._tasks,
            **{task.subtask: task for task in tasks},
        }  # readers in other threads keep theirs

    def by_vertex(self) -> tuple[VertexStatistics, ...]:
        """In the order of the JobGraph. May be called from any thread."""
        latest = self._tasks
        tasks: dict[int, list[TaskStatistics]] = defaultdict(list)
        for subtask in self._graph.subtasks:
            found = latest.get(subtask.subtask_id)
            if found is not None:
                tasks[subtask.vertex.index].append(found)
        return tuple(_summed(vertex, tasks[vertex.index]) for vertex in self._graph.job.vertices)

    def accumulators(self) -> tuple[AccumulatorReport, ...]:
        """In the order of the subtasks. May be called from any thread."""
        latest = self._tasks
        found = (latest.get(subtask.subtask_id) for subtask in self._graph.subtasks)
        return tuple(report for task in found if task is not None for report in task.accumulators)


def _summed(vertex: JobVertex, tasks: list[TaskStatistics]) -> VertexStatistics:
    watermarks = [task.watermark for task in tasks if task.watermark is not None]
    counters: dict[str, int] = defaultdict(int)
    for task in tasks:
        for counter, value in task.counters.items():
            counters[counter] += value
    return VertexStatistics(
        vertex.name,
        vertex.parallelism,
        sum(task.records_in for task in tasks),
        sum(task.records_out for task in tasks),
        min(watermarks) if len(watermarks) == vertex.parallelism else None,
        dict(counters),
        tuple(
            OperatorStatistics(operator.operator_id, operator.name, _metrics(operator.operator_id, tasks))
            for operator in vertex.operators
        ),
    )


def _metrics(operator_id: str, tasks: list[TaskStatistics]) -> dict[str, dict[int, MetricValue]]:
    found: defaultdict[str, dict[int, MetricValue]] = defaultdict(dict)
    for task in tasks:
        for name, value in task.metrics.get(operator_id, {}).items():
            found[name][subtask_index(task.subtask)] = value
    return dict(found)
