"""Which event time the sources of an alignment group may reach: the least watermark of the group, and their drift. Pure.

Source: FLIP-182. Subtasks report in intervals; a limit is announced when it has changed, at most once per interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from ...core.ids import SubtaskId, subtask_id
from ...operators.source import SourceSpec
from ...operators.watermark_strategy import WatermarkAlignmentParams
from ..graph.job_graph import JobVertex


@dataclass(slots=True)
class _AlignedSource:
    params: WatermarkAlignmentParams
    watermarks: list[int]
    next_announcement_ms: int
    announced: int = MAX_TIMESTAMP


@dataclass(frozen=True, slots=True)
class Announcement:
    """The subtasks of one source may read up to this watermark (ms)."""

    subtasks: tuple[SubtaskId, ...]
    max_watermark: int


@dataclass(slots=True)
class WatermarkAlignment:
    """The groups of a job, whose sources come and go with their regions.

    A subtask that has not reported yet counts as being at the very beginning.
    """

    _sources: dict[int, _AlignedSource] = field(default_factory=dict)

    @staticmethod
    def of(vertices: Sequence[JobVertex], now_ms: int) -> WatermarkAlignment:
        """As `add`, of none."""
        alignment = WatermarkAlignment()
        alignment.add(vertices, now_ms)
        return alignment

    def add(self, vertices: Sequence[JobVertex], now_ms: int) -> None:
        """The sources among these vertices that are aligned begin anew; times are monotonic ms."""
        for vertex in vertices:
            spec = vertex.operators[0].operator
            if isinstance(spec, SourceSpec) and spec.strategy.alignment is not None:
                params = spec.strategy.alignment
                self._sources[vertex.index] = _AlignedSource(
                    params, [MIN_TIMESTAMP] * vertex.parallelism, now_ms + params.update_interval_ms
                )

    def remove(self, vertices: Sequence[int]) -> None:
        """The sources among these vertices hold back nobody any more."""
        for vertex in vertices:
            self._sources.pop(vertex, None)

    def report(self, vertex: int, subtask: int, watermark: int) -> None:
        """How far a subtask is; MAX when it holds back nobody."""
        self._sources[vertex].watermarks[subtask] = watermark

    def due(self, now_ms: int) -> list[Announcement]:
        """What to tell the readers now."""
        announcements = []
        for vertex, source in self._sources.items():
            if source.next_announcement_ms > now_ms:
                continue
            source.next_announcement_ms = now_ms + source.params.update_interval_ms
            limit = min(MAX_TIMESTAMP, self._least(source.params.group) + source.params.max_drift_ms)
            if limit != source.announced:
                source.announced = limit
                subtasks = tuple(subtask_id(vertex, index) for index in range(len(source.watermarks)))
                announcements.append(Announcement(subtasks, limit))
        return announcements

    def next_deadline_ms(self) -> int | None:
        """When `due` has something to say (monotonic)."""
        return min((source.next_announcement_ms for source in self._sources.values()), default=None)

    def _least(self, group: str) -> int:
        return min(
            watermark
            for source in self._sources.values()
            if source.params.group == group
            for watermark in source.watermarks
        )
