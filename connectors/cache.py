"""Reads what `DataStream.cache` wrote: record files of an earlier job of the same environment, on the same machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from ..core.errors import ConnectorError, ProtocolViolation
from ..core.record_files import RecordCodec, read_frames, uniform_batches
from ..core.types import TypeInformation
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

_VERSION: Final = 1
_PART: Final = re.compile(r"part-(\d+)-of-(\d+)")


def complete_parts(folder: Path) -> list[Path] | None:
    """The files of a computation that was completed, in order; None when there is none."""
    for computation in sorted(folder.glob("*")):
        found = {
            (int(match[1]), int(match[2])): path
            for path in computation.iterdir()
            if (match := _PART.fullmatch(path.name))
        }
        parallelism = max((of for _, of in found), default=0)
        if parallelism and len(found) == parallelism:
            return [found[index, parallelism] for index in range(parallelism)]
    return None


@dataclass(frozen=True, slots=True)
class CacheSplit:
    """A file, from its record number `position` on."""

    path: str
    position: int = 0

    @property
    def split_id(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class CacheSource:
    """A source of record files, one split each. Implements `Source`."""

    parts: tuple[str, ...]
    record_type: TypeInformation[Any]

    @property
    def boundedness(self) -> Boundedness:
        """Always bounded."""
        return Boundedness.BOUNDED

    def create_enumerator(
        self, context: SplitEnumeratorContext[CacheSplit], restored: bytes | None
    ) -> StaticSplitEnumerator[CacheSplit]:
        return StaticSplitEnumerator(
            context,
            restored,
            find=lambda: [CacheSplit(path) for path in self.parts],
            share=deal_out,
            encode=self.encode_split,
            decode=self.decode_split,
        )

    def create_reader(self, context: SourceReaderContext) -> CacheReader:
        return CacheReader(RecordCodec(self.record_type))

    def encode_split(self, split: CacheSplit) -> bytes:
        return msgspec.msgpack.encode([_VERSION, split.path, split.position])

    def decode_split(self, data: bytes) -> CacheSplit:
        version, path, position = msgspec.msgpack.decode(data, type=tuple[int, str, int])
        if version != _VERSION:
            raise ProtocolViolation(f"a split of version {version}", where="a cached stream")
        return CacheSplit(path, position)


class CacheReader:
    """Reads its splits one after the other. Implements `SourceReader`."""

    def __init__(self, codec: RecordCodec) -> None:
        self._codec = codec
        self._splits: list[CacheSplit] = []
        self._no_more_splits = False
        self._records: Iterator[tuple[list[Any], list[int] | None]] | None = None
        self._rest: tuple[list[Any], list[int] | None] | None = None

    def start(self) -> None:
        """Nothing to connect to."""

    def add_splits(self, splits: Sequence[CacheSplit]) -> None:
        self._splits += splits

    def notify_no_more_splits(self) -> None:
        self._no_more_splits = True

    def poll_next(self, max_records: int) -> Poll[Any]:
        if not self._splits:
            return EndOfSource() if self._no_more_splits else NothingAvailable()
        split = self._splits[0]
        if self._records is None:
            self._records = self._read(split)
        values, timestamps = self._rest or next(self._records, ([], None))
        self._rest = None
        if not values:
            self._splits.pop(0)
            self._records = None
            return SplitFinished(split.split_id)
        if len(values) > max_records:
            self._rest = (
                values[max_records:],
                None if timestamps is None else timestamps[max_records:],
            )
            values = values[:max_records]
            timestamps = None if timestamps is None else timestamps[:max_records]
        self._splits[0] = CacheSplit(split.path, split.position + len(values))
        return SourceBatch(split.split_id, values, timestamps)

    def _read(self, split: CacheSplit) -> Iterator[tuple[list[Any], list[int] | None]]:
        skipped = split.position
        try:
            for frame in read_frames(Path(split.path)):
                values, timestamps = self._codec.decode(frame)
                if skipped >= len(values):
                    skipped -= len(values)
                    continue
                for batch in uniform_batches(values[skipped:], timestamps[skipped:]):
                    yield batch.values, batch.timestamps
                skipped = 0
        except FileNotFoundError as error:
            raise ConnectorError(
                "a cached stream was invalidated while a job was going to read it",
                where=split.path,
                fix="invalidate() a cached stream, and close its environment, when the jobs that read it have ended",
                retryable=False,
            ) from error

    def snapshot_state(self, checkpoint_id: int) -> list[CacheSplit]:
        return list(self._splits)

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Nothing to acknowledge."""

    def close(self) -> None:
        self._records = None
