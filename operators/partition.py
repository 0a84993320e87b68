"""What is done with all records of a subtask at once, when its input has ended (Flink's full window partition).

Records are collected, on disk where they do not fit in memory; the watermark is held back meanwhile. At the end of the input
results leave piece by piece, then the MAX watermark. What has been collected is in checkpoints (list state `union:partition`, an item
for each subtask), or that the results are out. After a restore at a lower parallelism partitions are joined; when sorting by key,
the records of a key meet again in the subtask that owns it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Final

import msgspec

from ..core.batch import MAX_TIMESTAMP, RecordBatch
from ..core.errors import CheckpointError, CheckpointFailureReason
from ..core.record_files import RecordCodec, uniform_batches
from ..core.types import KeyEncoder, TypeInformation
from ..state.key_groups import key_group_of, key_group_range
from .base import Operator, OperatorContext, OperatorSnapshotParts
from .external_sort import ExternalSorter, SortKeys
from .partition_folds import Fold
from .runtime_context import StatelessRuntimeContext
from .spool import Spool
from .user_function import UserFunction

_STATE: Final = "union:partition"
_VERSION: Final = 1
_FULL: Final = 1_024


class _Collected(msgspec.Struct, frozen=True, array_like=True):
    """What a subtask had collected, or that its input had ended and its results were out."""

    version: int
    subtask: int
    is_over: bool
    content: list[bytes]


def _decode(item: bytes) -> _Collected:
    collected = msgspec.msgpack.decode(item, type=_Collected)
    if collected.version != _VERSION:
        raise CheckpointError(
            CheckpointFailureReason.INCOMPATIBLE,
            f"the checkpoint holds a partition of version {collected.version}, this release reads version {_VERSION}",
            fix="restore it with the release that wrote it, or a newer one",
        )
    return collected


class PartitionOperator(Operator):
    """Collects until the MAX watermark; subclasses say what, and what comes of it."""

    def __init__(self) -> None:
        self._results: Iterator[RecordBatch] | None = None
        self._is_over = False

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._info = context.info
        self._open_partition(context)
        restored = [_decode(item) for item in context.restored_lists.get(_STATE, ())]
        if restored:
            taken = [item for item in restored if self._takes_over(item.subtask)]
            self._is_over = all(item.is_over for item in taken or restored)
            for item in taken:
                self._restore(item.content)

    def _takes_over(self, subtask: int) -> bool:
        """Whether this subtask goes on with the partition of that one of before: partitions stay whole, but may be joined."""
        return subtask % self._info.parallelism == self._info.subtask

    def process_batch(self, batch: RecordBatch) -> None:
        # After a restore a subtask may be given a split of another one, although its own input had ended.
        self._is_over = False
        self._collect(batch)

    def process_watermark(self, timestamp: int) -> None:
        if timestamp == MAX_TIMESTAMP and self._results is None:
            self._results = iter(()) if self._is_over else self._at_end()

    def process_status(self, idle: bool) -> None:
        """Whoever reads the results waits for them, however long nothing comes in."""

    def emit_rest(self) -> bool:
        if self._results is None:
            return False
        batch = next(self._results, None)
        if batch is not None:
            if batch.values:
                self.output.emit(batch)
            return True
        self._results, self._is_over = None, True
        self._forget()
        self.output.emit_watermark(MAX_TIMESTAMP)
        return False

    def snapshot(self, checkpoint_id: int) -> OperatorSnapshotParts:
        assert self._results is None, "barriers wait until the results are out"
        content = [] if self._is_over else list(self._content())
        collected = _Collected(_VERSION, self._info.subtask, self._is_over, content)
        return OperatorSnapshotParts(lists={_STATE: [msgspec.msgpack.encode(collected)]})

    @abstractmethod
    def _open_partition(self, context: OperatorContext) -> None:
        """Make ready to collect."""

    @abstractmethod
    def _collect(self, batch: RecordBatch) -> None:
        """Take records."""

    @abstractmethod
    def _at_end(self) -> Iterator[RecordBatch]:
        """The results, made while they are asked for; an empty batch stands for a piece of work that gave none yet."""

    @abstractmethod
    def _content(self) -> Iterable[bytes]:
        """What has been collected, for `_restore`."""

    @abstractmethod
    def _restore(self, content: Sequence[bytes]) -> None:
        """Collect what was collected before."""

    def _forget(self) -> None:
        """The results are out."""


@dataclass(frozen=True, slots=True)
class MapPartitionSpec:
    """`PartitionWindowedStream.map_partition`."""

    function: Any
    record_type: TypeInformation[Any]
    kind: ClassVar[str] = "MapPartition"

    def user_functions(self) -> Sequence[Any]:
        return (self.function,)

    def create(self) -> Operator:
        return _MapPartitionOperator(self)


class _MapPartitionOperator(PartitionOperator):
    def __init__(self, spec: MapPartitionSpec) -> None:
        super().__init__()
        self._codec = RecordCodec(spec.record_type)
        self._function = UserFunction(spec.function, "map_partition")
        self._spool: Spool | None = None

    def _open_partition(self, context: OperatorContext) -> None:
        self._spool = Spool(
            self._codec, memory_bytes=context.collecting_bytes, path=context.local_dir / "partition"
        )
        self._function.open(StatelessRuntimeContext(context.info))

    @property
    def spool(self) -> Spool:
        assert self._spool is not None
        return self._spool

    def _collect(self, batch: RecordBatch) -> None:
        self.spool.add(batch)

    def _at_end(self) -> Iterator[RecordBatch]:
        records = (value for batch in self.spool.batches(_FULL) for value in batch.values)
        results = iter(self._function.call(records) or ())
        while part := list(islice(results, _FULL)):
            yield RecordBatch(part)

    def _content(self) -> Iterable[bytes]:
        return self.spool.frames()

    def _restore(self, content: Sequence[bytes]) -> None:
        for frame in content:
            self.spool.add_frame(frame)

    def _forget(self) -> None:
        self.spool.clear()

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()
        self._function.close()
        super().close()


@dataclass(frozen=True, slots=True)
class FoldPartitionSpec:
    """`PartitionWindowedStream.reduce` and `aggregate`."""

    fold: Fold
    kind: str

    def user_functions(self) -> Sequence[Any]:
        return (self.fold.function,)

    def create(self) -> Operator:
        return _FoldPartitionOperator(self.fold)


class _FoldPartitionOperator(PartitionOperator):
    def __init__(self, fold: Fold) -> None:
        super().__init__()
        self._fold = fold
        self._function = UserFunction(fold.function, "open")
        self._serializer = fold.state_type.serializer()
        self._add = fold.adding
        self._kept: Any = None
        self._is_restored = False

    def _open_partition(self, context: OperatorContext) -> None:
        self._function.open(StatelessRuntimeContext(context.info))
        self._kept = self._fold.initial()

    def _collect(self, batch: RecordBatch) -> None:
        kept, add = self._kept, self._add
        for value in batch.values:
            kept = add(kept, value)
        self._kept = kept

    def _at_end(self) -> Iterator[RecordBatch]:
        results = self._fold.results(self._kept)
        if results:
            yield RecordBatch(results)

    def _content(self) -> Iterable[bytes]:
        return () if self._kept is None else (self._serializer.dumps(self._kept),)

    def _restore(self, content: Sequence[bytes]) -> None:
        for data in content:
            kept = self._serializer.loads(data)
            self._kept = self._fold.merge(self._kept, kept) if self._is_restored else kept
            self._is_restored = True

    def close(self) -> None:
        self._function.close()
        super().close()


@dataclass(frozen=True, slots=True)
class SortPartitionSpec:
    """`PartitionWindowedStream.sort_partition`.

    Attributes:
        by: what to sort by.
        of_key: selector of the key whose records are a partition, and its type; None: all records of the subtask are one.
    """

    by: Callable[[Any], Any]
    descending: bool
    record_type: TypeInformation[Any]
    of_key: tuple[Callable[[Any], Any], TypeInformation[Any]] | None = None
    kind: ClassVar[str] = "SortPartition"

    def user_functions(self) -> Sequence[Any]:
        return (self.by, *(self.of_key or ())[:1])

    def create(self) -> Operator:
        return _SortPartitionOperator(self)


class _SortPartitionOperator(PartitionOperator):
    def __init__(self, spec: SortPartitionSpec) -> None:
        super().__init__()
        self._spec = spec
        self._codec = RecordCodec(spec.record_type)
        self._sorter: ExternalSorter | None = None

    def _open_partition(self, context: OperatorContext) -> None:
        self._sorter = ExternalSorter(
            self._codec,
            self._sort_keys(),
            memory_bytes=context.collecting_bytes,
            folder=context.local_dir / "partition",
            descending=self._spec.descending,
        )

    def _sort_keys(self) -> SortKeys:
        by, of_key = self._spec.by, self._spec.of_key
        if of_key is None:
            return lambda values, _: list(map(by, values))
        key_of, encode = of_key[0], KeyEncoder(of_key[1]).encode
        return lambda values, _: [(encode(key_of(value)), by(value)) for value in values]

    def _takes_over(self, subtask: int) -> bool:
        """Keys have to go to those who own them now, so everybody looks at everything."""
        return super()._takes_over(subtask) if self._spec.of_key is None else True

    @property
    def sorter(self) -> ExternalSorter:
        assert self._sorter is not None
        return self._sorter

    def _collect(self, batch: RecordBatch) -> None:
        self.sorter.add(batch)

    def _at_end(self) -> Iterator[RecordBatch]:
        for _ in self.sorter.compact():
            yield RecordBatch([])
        entries = self.sorter.entries()
        while part := list(islice(entries, _FULL)):
            _, values, timestamps = zip(*part, strict=True)
            yield from uniform_batches(list(values), list(timestamps))

    def _content(self) -> Iterable[bytes]:
        return self.sorter.frames()

    def _restore(self, content: Sequence[bytes]) -> None:
        for frame in content:
            for batch in uniform_batches(*self._codec.decode(frame)):
                self.sorter.add(self._own(batch))

    def _own(self, batch: RecordBatch) -> RecordBatch:
        if self._spec.of_key is None:
            return batch
        info, (key_of, key_type) = self._info, self._spec.of_key
        encode = KeyEncoder(key_type).encode
        first, last = key_group_range(info.subtask, info.max_parallelism, info.parallelism)
        own = [
            index
            for index, value in enumerate(batch.values)
            if first <= key_group_of(encode(key_of(value)), info.max_parallelism) <= last
        ]
        timestamps = None if batch.timestamps is None else [batch.timestamps[index] for index in own]
        return RecordBatch([batch.values[index] for index in own], timestamps)
