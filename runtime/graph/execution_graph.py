"""The ExecutionGraph: every vertex in its parallel copies, where each runs, and the channels between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...core.ids import SubtaskId, WorkerId, subtask_id
from .job_graph import JobEdge, JobGraph, JobVertex
from .stream_graph import Forward, Rescale


@dataclass(frozen=True, slots=True)
class Subtask:
    """A parallel copy of a vertex, and the worker (slot) that runs it. `index` counts from 0."""

    subtask_id: SubtaskId
    vertex: JobVertex
    index: int
    worker: WorkerId

    @property
    def display_name(self) -> str:
        """As in Flink: `Map -> Filter (1/4)`."""
        return f"{self.vertex.name} ({self.index + 1}/{self.vertex.parallelism})"


@dataclass(frozen=True, slots=True)
class Channel:
    """One lane of an exchange, from one subtask to another. `channel_id` is unique within the graph."""

    channel_id: int
    edge: JobEdge
    source: Subtask
    target: Subtask

    @property
    def is_local(self) -> bool:
        return self.source.worker == self.target.worker


@dataclass(frozen=True, slots=True)
class ExecutionGraph:
    """All subtasks and channels. Made anew, and equal, in the JobManager and in each worker from the same JobGraph."""

    job: JobGraph
    subtasks: tuple[Subtask, ...]
    channels: tuple[Channel, ...]
    worker_count: int

    def subtask(self, id_: SubtaskId) -> Subtask:
        return self.by_id()[id_]

    def by_id(self) -> Mapping[SubtaskId, Subtask]:
        return {subtask.subtask_id: subtask for subtask in self.subtasks}

    def on_worker(self, worker: WorkerId) -> tuple[Subtask, ...]:
        return tuple(subtask for subtask in self.subtasks if subtask.worker == worker)


def build_execution_graph(job: JobGraph) -> ExecutionGraph:
    """Expand a JobGraph: slot i of a slot sharing group holds subtask i of each of its vertices."""
    first_slot: dict[str, int] = {}
    widths: dict[str, int] = defaultdict(int)
    for vertex in job.vertices:
        widths[vertex.slot_sharing_group] = max(widths[vertex.slot_sharing_group], vertex.parallelism)
    worker_count = 0
    for group, width in widths.items():
        first_slot[group] = worker_count
        worker_count += width
    subtasks = tuple(
        Subtask(subtask_id(vertex.index, i), vertex, i, WorkerId(first_slot[vertex.slot_sharing_group] + i))
        for vertex in job.vertices
        for i in range(vertex.parallelism)
    )
    return ExecutionGraph(job, subtasks, tuple(_channels(job, subtasks)), worker_count)


def _channels(job: JobGraph, subtasks: tuple[Subtask, ...]) -> Iterator[Channel]:
    copies: dict[int, list[Subtask]] = defaultdict(list)
    for subtask in subtasks:
        copies[subtask.vertex.index].append(subtask)
    channel_id = 0
    for edge in job.edges:
        for source in copies[edge.source]:
            targets: Sequence[Subtask] = copies[edge.target]
            if isinstance(edge.partitioner, Forward):
                targets = [targets[source.index]]
            elif isinstance(edge.partitioner, Rescale):
                targets = [
                    targets[i] for i in rescaled_targets(source.index, len(copies[edge.source]), len(targets))
                ]
            for target in targets:
                yield Channel(channel_id, edge, source, target)
                channel_id += 1


def rescaled_targets(source: int, sources: int, targets: int) -> range:
    """The subtasks of `targets` that subtask `source` of `sources` sends to: as even a share as there is, in ranges.

    Of the two sides, each subtask of the smaller one meets several of the larger one, and each of those meets one. So where
    slots are shared, records stay on their worker as far as the numbers allow.

    >>> [list(rescaled_targets(source, 2, 5)) for source in range(2)]
    [[0, 1, 2], [3, 4]]
    >>> [list(rescaled_targets(source, 5, 2)) for source in range(5)]
    [[0], [0], [1], [1], [1]]
    """
    if sources < targets:
        return range(-(-source * targets // sources), -(-(source + 1) * targets // sources))
    # The target whose range of sources, from target * sources // targets on, holds this one.
    target = ((source + 1) * targets - 1) // sources
    return range(target, target + 1)
