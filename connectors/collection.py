"""A source over a list that the program already holds."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar, cast

import cloudpickle
import msgspec

from ..core.arguments import check_int
from ..core.errors import JobDefinitionError
from .base import (
    Boundedness,
    EndOfSource,
    NothingAvailable,
    Poll,
    SourceBatch,
    SourceReaderContext,
    SplitEnumeratorContext,
    SplitFinished,
)
from .static_splits import StaticSplitEnumerator, deal_out

T = TypeVar("T")

_VERSION: Final = 1
_CHUNK: Final = 10_000
"""Elements per chunk on the way to other processes: the reader's first records do not wait for the decoding of all."""


@dataclass(frozen=True, slots=True)
class CollectionSplit:
    """The whole collection, from `position` on."""

    position: int = 0

    @property
    def split_id(self) -> str:
        return "collection"


class CollectionData(Generic[T]):
    """The elements of a collection. Travels to other processes in chunks, which are decoded as they are read.

    Attributes:
        length: number of elements.
    """

    def __init__(self, values: list[T], timestamps: list[int] | None) -> None:
        self._pieces: list[tuple[list[T], list[int] | None] | bytes] = [(values, timestamps)]
        self._piece_length = max(1, len(values))
        self.length = len(values)

    def slice(self, start: int, stop: int) -> tuple[list[T], list[int] | None]:
        """At most the elements from `start` to before `stop`, all of one chunk; empty behind the last one."""
        if start >= self.length:
            return [], None
        index = start // self._piece_length
        first = index * self._piece_length
        piece = self._pieces[index]
        if isinstance(piece, bytes):
            piece = self._pieces[index] = cast("tuple[list[T], list[int] | None]", pickle.loads(piece))
        values, timestamps = piece
        begin, end = start - first, stop - first
        return values[begin:end], None if timestamps is None else timestamps[begin:end]

    def __reduce__(self) -> tuple[Any, ...]:
        chunks = []
        for start in range(0, self.length, _CHUNK):
            values: list[T] = []
            timestamps: list[int] = []
            position = start
            while position < min(start + _CHUNK, self.length):
                some, times = self.slice(position, start + _CHUNK)
                values += some
                timestamps += times or ()
                position += len(some)
            chunks.append(cloudpickle.dumps((values, timestamps or None)))
        return _from_chunks, (chunks, self.length)


def _from_chunks(chunks: list[bytes], length: int) -> CollectionData[Any]:
    data: CollectionData[Any] = CollectionData([], None)
    data._pieces = list(chunks)
    data._piece_length = _CHUNK
    data.length = length
    return data


class CollectionSource(Generic[T]):
    """The records of a collection, in order, read by one subtask.

    The elements travel to the workers with the program; on replay the same elements are read again from the position of
    the checkpoint, so the program has to be given an equal collection when it is resumed.

    Args:
        values: taken over as a list now; later changes to the argument have no effect.
        timestamps: event times in ms, one for each value, or None.

    Raises:
        JobDefinitionError: there are more or fewer timestamps than values, or one is no int of 64 bits.

    >>> CollectionSource(["a", "b"]).boundedness
    <Boundedness.BOUNDED: 'bounded'>
    """

    def __init__(self, values: Iterable[T], timestamps: Iterable[int] | None = None) -> None:
        elements = list(values)
        times = None if timestamps is None else list(timestamps)
        if times is not None and len(times) != len(elements):
            raise JobDefinitionError(
                f"a collection of {len(elements)} values has {len(times)} timestamps",
                fix="give one timestamp in ms for each value, or none at all",
            )
        for time in times or ():
            check_int(
                "timestamp of a collection's value",
                time,
                least=-(2**63),
                most=2**63 - 1,
                fix="give ms since the epoch",
            )
        self.gives_timestamps = times is not None or not elements  # nobody misses those of no records
        self._data = CollectionData(elements, times)

    @property
    def boundedness(self) -> Boundedness:
        """Always bounded."""
        return Boundedness.BOUNDED

    def create_enumerator(
        self, context: SplitEnumeratorContext[CollectionSplit], restored: bytes | None
    ) -> StaticSplitEnumerator[CollectionSplit]:
        """One split, for the first reader."""
        return StaticSplitEnumerator(
            context,
            restored,
            find=lambda: [CollectionSplit()],
            share=deal_out,
            encode=self.encode_split,
            decode=self.decode_split,
        )

    def create_reader(self, context: SourceReaderContext) -> CollectionReader[T]:
        """A reader that hands out slices of the list."""
        return CollectionReader(self._data)

    def encode_split(self, split: CollectionSplit) -> bytes:
        """Version and position."""
        return msgspec.msgpack.encode([_VERSION, split.position])

    def decode_split(self, data: bytes) -> CollectionSplit:
        """The inverse of `encode_split`."""
        _, position = msgspec.msgpack.decode(data)
        return CollectionSplit(position)


class CollectionReader(Generic[T]):
    """Reads the collection, if its subtask was given the split. A batch is one list slice."""

    def __init__(self, data: CollectionData[T]) -> None:
        self._data = data
        self._split: CollectionSplit | None = None
        self._position = 0
        self._no_more_splits = False

    def start(self) -> None:
        """Nothing to connect to."""

    def add_splits(self, splits: Sequence[CollectionSplit]) -> None:
        """There is one split, so it is given once."""
        for split in splits:
            self._split = split
            self._position = split.position

    def notify_no_more_splits(self) -> None:
        """The source ends with the list."""
        self._no_more_splits = True

    def poll_next(self, max_records: int) -> Poll[Any]:
        """The next slice of at most `max_records` records."""
        split = self._split
        if split is None:
            return EndOfSource() if self._no_more_splits else NothingAvailable()
        start = self._position
        values, timestamps = self._data.slice(start, start + max_records)
        if not values:
            self._split = None
            return SplitFinished(split.split_id)
        self._position = start + len(values)
        return SourceBatch(split.split_id, values, timestamps)

    def snapshot_state(self, checkpoint_id: int) -> list[CollectionSplit]:
        """The split at the next position, unless it is finished."""
        return [] if self._split is None else [replace(self._split, position=self._position)]

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Nothing outside waits for it."""

    def close(self) -> None:
        """Nothing to give back."""
