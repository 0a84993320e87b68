"""Records on local disk for as long as an attempt runs: frames of records, each encoded by the records' type.

    file   u32 length of the frame | frame | u32 length ...
    frame  u32 length of the values | values | i64 timestamp of each record

A record without a timestamp has the least one there is. Files are read by the release that wrote them alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import Any, Final, Self

from .batch import MIN_TIMESTAMP, RecordBatch
from .types import TypeInformation

_U32: Final = Struct("<I")
RECORD_OVERHEAD_BYTES: Final = 160
"""What a small record takes in memory beyond its encoded size: a tuple of three, its places in lists and its key were 150 to 170
bytes on CPython 3.11 (64 bits)."""
FRAME_BYTES: Final = 256 * 1024
"""A frame is in memory as a whole when it is read and written."""
FRAME_RECORDS: Final = 1_024


class RecordCodec:
    """Encodes batches of one type of records.

    Raises (from `encode` and `size_of`):
        RecordSerializationError: a record has no exact encoding under the type.
    """

    def __init__(self, record_type: TypeInformation[Any]) -> None:
        self._serializer = record_type.serializer()

    def size_of(self, values: list[Any]) -> int:
        """About how much memory the records take, in bytes."""
        return len(self._serializer.dumps_batch(values)) + RECORD_OVERHEAD_BYTES * len(values)

    def encode(self, values: list[Any], timestamps: Iterable[int | None] | None) -> bytes:
        """A frame; `timestamps` None: no record has one."""
        data = self._serializer.dumps_batch(values)
        times: Iterable[int] = (
            [MIN_TIMESTAMP] * len(values)
            if timestamps is None
            else [MIN_TIMESTAMP if timestamp is None else timestamp for timestamp in timestamps]
        )
        return b"".join((_U32.pack(len(data)), data, array("q", times).tobytes()))

    def decode(self, frame: bytes) -> tuple[list[Any], list[int | None]]:
        """The inverse of `encode`: records, and a timestamp or None for each."""
        end = 4 + _U32.unpack_from(frame)[0]
        times = array("q")
        times.frombytes(frame[end:])
        found: list[int | None] = list(times)
        if MIN_TIMESTAMP in found:
            found = [None if timestamp == MIN_TIMESTAMP else timestamp for timestamp in found]
        return self._serializer.loads_batch(frame[4:end]), found


def records_per_frame(records: int, size_bytes: int, frame_bytes: int = FRAME_BYTES) -> int:
    """How many records to put into a frame of about `frame_bytes`, when so many of them have this size."""
    return max(1, min(FRAME_RECORDS, frame_bytes * records // max(1, size_bytes)))


class RecordFile:
    """A new file of frames, to be written.

    Attributes:
        size: bytes written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file = path.open("xb")

    def append(self, frame: bytes) -> None:
        """Write a frame; readers see it after `flush` or `close`."""
        self._file.write(_U32.pack(len(frame)))
        self._file.write(frame)
        self.size += 4 + len(frame)

    def flush(self) -> None:
        """Let readers of the file see everything appended so far."""
        self._file.flush()

    def close(self) -> None:
        """Idempotent."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_frames(path: Path) -> Iterator[bytes]:
    """The frames of a file in order; the file is open until the iterator ends or is closed."""
    with path.open("rb") as file:
        while header := file.read(4):
            yield file.read(_U32.unpack(header)[0])


def uniform_batches(values: list[Any], timestamps: list[int | None]) -> Iterator[RecordBatch]:
    """One batch if all records have a timestamp or none has; otherwise a batch for each stretch, in order."""
    start = 0
    for end in range(1, len(values) + 1):
        if end == len(values) or (timestamps[end] is None) is not (timestamps[start] is None):
            times: Any = timestamps[start:end]
            yield RecordBatch(values[start:end], None if times[0] is None else times)
            start = end
