"""Sorting more records than fit in memory: runs that do are sorted and written to disk, then merged while they are read.

The sort is stable. Source: Knuth, "The Art of Computer Programming" volume 3 (1973), section 5.4.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeAlias

from ..core.batch import RecordBatch
from ..core.record_files import FRAME_BYTES, RecordCodec, RecordFile, read_frames, records_per_frame

SortKeys: TypeAlias = Callable[[list[Any], Sequence[int | None]], Sequence[Any]]
"""What to sort by, for each of these records with these timestamps (ms, or None)."""

Entry: TypeAlias = tuple[Any, Any, int | None]
"""(sort key, record, timestamp)"""

MAX_MERGED_RUNS: Final = 128
"""Files read at the same time; more are first merged into longer ones."""

_key: Final = itemgetter(0)


@dataclass(slots=True)
class SortStatistics:
    """Figures of a sorter so far.

    Attributes:
        records: added.
        bytes: the memory they would take together, as `RecordCodec.size_of` counts.
        runs: written to disk, those of intermediate merges included.
        spilled_bytes: their size.
        peak_bytes: the most memory that they took at one time.
    """

    records: int = 0
    bytes: int = 0
    runs: int = 0
    spilled_bytes: int = 0
    peak_bytes: int = 0


class ExternalSorter:
    """Takes all records, then gives them back in order. Records with equal keys keep the order in which they were added.

    Args:
        codec: of the records, for the disk.
        sort_keys: called again for records that come back from disk: it must give the same keys.
        memory_bytes: records that take more are written to disk.
        folder: where runs go; made when there is one, and the caller's to remove.
        descending: the largest keys first.
    """

    def __init__(
        self,
        codec: RecordCodec,
        sort_keys: SortKeys,
        *,
        memory_bytes: int,
        folder: Path,
        descending: bool = False,
        max_merged_runs: int = MAX_MERGED_RUNS,
    ) -> None:
        self.statistics = SortStatistics()
        self._codec = codec
        self._sort_keys = sort_keys
        self._memory_bytes = memory_bytes
        self._folder = folder
        self._descending = descending
        self._max_merged_runs = max_merged_runs
        self._names = itertools.count()
        self._runs: list[Path] = []
        self._values: list[Any] = []
        self._timestamps: list[int | None] = []
        self._held_bytes = 0

    def add(self, batch: RecordBatch) -> None:
        """Take records; may write a run.

        Raises:
            RecordSerializationError: a record cannot be encoded.
        """
        count = len(batch.values)
        self._values += batch.values
        self._timestamps += [None] * count if batch.timestamps is None else batch.timestamps
        size = self._codec.size_of(batch.values)
        self._held_bytes += size
        statistics = self.statistics
        statistics.records += count
        statistics.bytes += size
        statistics.peak_bytes = max(statistics.peak_bytes, self._held_bytes)
        if self._held_bytes > self._memory_bytes:
            self._spill()

    def compact(self) -> Iterator[None]:
        """Merge runs until there are few enough to be read at once; yields after each piece of that work."""
        while len(self._runs) > self._max_merged_runs:
            runs, self._runs = self._runs, []
            for start in range(0, len(runs), self._max_merged_runs):
                group = runs[start : start + self._max_merged_runs]
                yield from self._write_run(self._merge([self._read(run) for run in group]))
                for run in group:
                    run.unlink()

    def entries(self) -> Iterator[Entry]:
        """All records in order. Once, after the last `add` and `compact`."""
        held = self._take_held()
        return self._merge([*(self._read(run) for run in self._runs), held]) if self._runs else held

    def frames(self) -> Iterator[bytes]:
        """All records so far, in no order but that of equal keys, as frames of the codec: what a snapshot stores."""
        for run in self._runs:
            yield from read_frames(run)
        values, timestamps = self._values, self._timestamps
        size = records_per_frame(len(values), self._held_bytes)
        for start in range(0, len(values), size):
            yield self._codec.encode(values[start : start + size], timestamps[start : start + size])

    def _merge(self, sources: Sequence[Iterator[Entry]]) -> Iterator[Entry]:
        return heapq.merge(*sources, key=_key, reverse=self._descending)

    def _spill(self) -> None:
        for _ in self._write_run(self._take_held()):
            pass

    def _take_held(self) -> Iterator[Entry]:
        """What is in memory, sorted, and not in memory here any more."""
        values, timestamps = self._values, self._timestamps
        self._values, self._timestamps, self._held_bytes = [], [], 0
        keys = self._sort_keys(values, timestamps)
        order = sorted(range(len(keys)), key=keys.__getitem__, reverse=self._descending)
        return ((keys[index], values[index], timestamps[index]) for index in order)

    def _write_run(self, entries: Iterator[Entry]) -> Iterator[None]:
        """Write sorted records to a new run; yields after each frame."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"run-{next(self._names)}"
        # A frame of each run is in memory when runs are merged: together they fit into what the records fitted in.
        frame_bytes = min(FRAME_BYTES, self._memory_bytes // self._max_merged_runs)
        size = records_per_frame(self.statistics.records, self.statistics.bytes, frame_bytes)
        with RecordFile(path) as file:
            while part := list(itertools.islice(entries, size)):
                _, values, timestamps = zip(*part, strict=True)
                file.append(self._codec.encode(list(values), timestamps))
                yield
        self._runs.append(path)
        self.statistics.runs += 1
        self.statistics.spilled_bytes += file.size

    def _read(self, run: Path) -> Iterator[Entry]:
        for frame in read_frames(run):
            values, timestamps = self._codec.decode(frame)
            yield from zip(self._sort_keys(values, timestamps), values, timestamps, strict=True)
