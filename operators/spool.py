"""A queue of records that is filled first and emptied afterwards; what does not fit in memory waits on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.batch import RecordBatch
from ..core.record_files import RecordCodec, RecordFile, read_frames, records_per_frame, uniform_batches


class Spool:
    """Keeps records in the order in which they were added.

    Args:
        codec: of the records, for the disk.
        memory_bytes: records that take more, as `RecordCodec.size_of` counts, are written to disk.
        path: of the file; its folder is made when there is one, and the file is the caller's to remove.

    Attributes:
        records: how many were added.
        spilled_bytes: written to disk so far.
    """

    def __init__(self, codec: RecordCodec, *, memory_bytes: int, path: Path) -> None:
        self.records = 0
        self._codec = codec
        self._memory_bytes = memory_bytes
        self._path = path
        self._file: RecordFile | None = None
        self._values: list[Any] = []
        self._timestamps: list[int | None] = []
        self._held_bytes = 0

    @property
    def spilled_bytes(self) -> int:
        return 0 if self._file is None else self._file.size

    def add(self, batch: RecordBatch) -> None:
        """Append records.

        Raises:
            RecordSerializationError: a record cannot be encoded.
        """
        count = len(batch.values)
        self._values += batch.values
        self._timestamps += [None] * count if batch.timestamps is None else batch.timestamps
        self._held_bytes += self._codec.size_of(batch.values)
        self.records += count
        if self._held_bytes > self._memory_bytes:
            self._spill()

    def batches(self, max_records: int) -> Iterator[RecordBatch]:
        """All records in order, in batches of at most so many. Can be asked for again, also after more was added."""
        if self._file is not None:
            self._file.flush()
            for frame in read_frames(self._path):
                yield from _in_pieces(*self._codec.decode(frame), max_records)
        yield from _in_pieces(self._values, self._timestamps, max_records)

    def frames(self) -> Iterator[bytes]:
        """All records in order as frames of the codec: what a snapshot stores, and `add_frame` takes back."""
        if self._file is not None:
            self._file.flush()
            yield from read_frames(self._path)
        yield from self._held_frames()

    def add_frame(self, frame: bytes) -> None:
        """Append the records of a frame."""
        for batch in uniform_batches(*self._codec.decode(frame)):
            self.add(batch)

    def clear(self) -> None:
        """Forget all records."""
        self.close()
        if self._file is not None:
            self._path.unlink()
        self._file, self.records, self._held_bytes = None, 0, 0
        self._values, self._timestamps = [], []

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = RecordFile(self._path)
        for frame in self._held_frames():
            self._file.append(frame)
        self._values, self._timestamps, self._held_bytes = [], [], 0

    def _held_frames(self) -> Iterator[bytes]:
        values, timestamps = self._values, self._timestamps
        size = records_per_frame(len(values), self._held_bytes)
        for start in range(0, len(values), size):
            end = start + size
            yield self._codec.encode(values[start:end], timestamps[start:end])


def _in_pieces(values: list[Any], timestamps: list[int | None], size: int) -> Iterator[RecordBatch]:
    for start in range(0, len(values), size):
        end = start + size
        yield from uniform_batches(values[start:end], timestamps[start:end])
