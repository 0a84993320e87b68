"""The whole input of a task in BATCH mode, read before its first record is processed.

The input of a keyed operator comes back grouped by key, in the order of the keys' canonical bytes, and sorted by time within a
key, records without timestamps first; among equals the order of arrival stays. Any other input comes back as it came.
Source: FLIP-140 (batch-style execution for bounded keyed streams).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from ...core.batch import MIN_TIMESTAMP, RecordBatch
from ...core.record_files import RecordCodec
from ...core.types import KeyEncoder, TypeInformation
from ...operators.base import BroadcastSpec, KeyedSpec, KeyedTwoInputSpec, OperatorSpec
from ...operators.external_sort import Entry, ExternalSorter, SortKeys
from ...operators.spool import Spool

_MAX_CACHED_KEYS: Final = 200_000


class Piece(NamedTuple):
    """Records of one input, all of one key where the input is sorted.

    Attributes:
        input_index: which input of the operator, from 0.
        ends_key: no other record of this key follows.
    """

    input_index: int
    batch: RecordBatch
    ends_key: bool


class CollectedInput(Protocol):
    """Filled by `add`, then emptied once by `pieces`."""

    def add(self, input_index: int, batch: RecordBatch) -> None:
        """Take records of one of the inputs."""

    def pieces(self, max_records: int) -> Iterator[Piece | None]:
        """Everything, in pieces of at most so many records; None stands for a piece of work that gave no record yet."""

    def close(self) -> None:
        """Give files back; the folder is the caller's to remove."""

    @property
    def spilled_bytes(self) -> int:
        """Written to disk so far."""


@dataclass(frozen=True, slots=True)
class KeyedInput:
    """An input that is sorted. The keys of all inputs of an operator are of one type."""

    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    record_type: TypeInformation[Any]


class SortedInput:
    """Implements `CollectedInput`; records of several inputs with the same key and time come in the order of the inputs."""

    def __init__(self, inputs: Sequence[KeyedInput], *, memory_bytes: int, folder: Path) -> None:
        self._sorters = [
            ExternalSorter(
                RecordCodec(given.record_type),
                keys_and_times(given.key_selector, KeyEncoder(given.key_type).encode),
                memory_bytes=memory_bytes // len(inputs),
                folder=folder / str(index),
            )
            for index, given in enumerate(inputs)
        ]

    def add(self, input_index: int, batch: RecordBatch) -> None:
        self._sorters[input_index].add(batch)

    def pieces(self, max_records: int) -> Iterator[Piece | None]:
        for sorter in self._sorters:
            yield from sorter.compact()
        key: bytes | None = None
        now, untimed = 0, False
        values: list[Any] = []
        times: list[Any] = []
        for index, ((key_bytes, _), value, timestamp) in self._merged():
            if (
                key_bytes != key
                or index != now
                or (timestamp is None) is not untimed
                or len(values) >= max_records
            ):
                if values:
                    yield Piece(now, RecordBatch(values, None if untimed else times), key_bytes != key)
                key, now, untimed, values, times = key_bytes, index, timestamp is None, [], []
            values.append(value)
            times.append(timestamp)
        if values:
            yield Piece(now, RecordBatch(values, None if untimed else times), ends_key=True)

    def _merged(self) -> Iterator[tuple[int, Entry]]:
        streams = [
            zip(repeat(index), sorter.entries(), strict=False) for index, sorter in enumerate(self._sorters)
        ]
        return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda item: item[1][0])

    def close(self) -> None:
        """Nothing is open between calls."""

    @property
    def spilled_bytes(self) -> int:
        return sum(sorter.statistics.spilled_bytes for sorter in self._sorters)


class SpooledInput:
    """Implements `CollectedInput` for an operator without keys: records come back in the order of arrival."""

    def __init__(self, record_type: TypeInformation[Any], *, memory_bytes: int, folder: Path) -> None:
        self._spool = Spool(RecordCodec(record_type), memory_bytes=memory_bytes, path=folder / "records")

    def add(self, input_index: int, batch: RecordBatch) -> None:
        self._spool.add(batch)

    def pieces(self, max_records: int) -> Iterator[Piece | None]:
        return (Piece(0, batch, ends_key=False) for batch in self._spool.batches(max_records))

    def close(self) -> None:
        self._spool.close()

    @property
    def spilled_bytes(self) -> int:
        return self._spool.spilled_bytes


class InputsInTurn:
    """Implements `CollectedInput` for inputs that are not sorted together: one part comes back after the other.

    Args:
        parts: in this order; each with the inputs of the operator that it holds, by index.
    """

    def __init__(self, parts: Sequence[tuple[CollectedInput, Sequence[int]]]) -> None:
        self._parts = tuple(parts)
        self._place = {
            index: (part, position) for part, indexes in parts for position, index in enumerate(indexes)
        }

    def add(self, input_index: int, batch: RecordBatch) -> None:
        part, position = self._place[input_index]
        part.add(position, batch)

    def pieces(self, max_records: int) -> Iterator[Piece | None]:
        for part, indexes in self._parts:
            for piece in part.pieces(max_records):
                yield None if piece is None else piece._replace(input_index=indexes[piece.input_index])

    def close(self) -> None:
        for part, _ in self._parts:
            part.close()

    @property
    def spilled_bytes(self) -> int:
        return sum(part.spilled_bytes for part, _ in self._parts)


def collect_input(
    spec: OperatorSpec,
    record_types: Mapping[int, TypeInformation[Any]],
    *,
    blocking: bool,
    memory_bytes: int,
    folder: Path,
) -> CollectedInput | None:
    """Where a task that begins with this operator collects its whole input before it begins; None: it begins at once.

    As in Flink, a broadcast input comes back before the other one.

    Args:
        record_types: by input, 1 and perhaps 2.
        blocking: whether inputs that nothing else requires to are read completely, too.
        memory_bytes: for each input.
    """

    def keyed(
        input_id: int, key_selector: Callable[[Any], Any], key_type: TypeInformation[Any]
    ) -> KeyedInput:
        return KeyedInput(key_selector, key_type, record_types[input_id])

    def spooled(input_id: int) -> SpooledInput:
        return SpooledInput(
            record_types[input_id], memory_bytes=memory_bytes, folder=folder / f"spool-{input_id}"
        )

    def is_sorted(*inputs: KeyedInput) -> SortedInput:
        return SortedInput(inputs, memory_bytes=memory_bytes * len(inputs), folder=folder)

    if isinstance(spec, KeyedTwoInputSpec):
        first, second = (
            keyed(1, spec.key_selector, spec.key_type),
            keyed(2, spec.key_selector2, spec.key_type),
        )
        return is_sorted(first, second)
    if isinstance(spec, BroadcastSpec):
        first_part = (
            is_sorted(keyed(1, spec.key_selector, spec.key_type))
            if isinstance(spec, KeyedSpec)
            else spooled(1)
        )
        return InputsInTurn([(spooled(2), [1]), (first_part, [0])])
    if isinstance(spec, KeyedSpec):
        return is_sorted(keyed(1, spec.key_selector, spec.key_type))
    if not blocking:
        return None
    return InputsInTurn([(spooled(input_id), [input_id - 1]) for input_id in sorted(record_types)])


class _KeyBytes(dict[Any, bytes]):
    """Canonical bytes of the keys seen lately; a new key is checked and encoded once."""

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, key: Any) -> bytes:
        if len(self) >= _MAX_CACHED_KEYS:
            self.clear()
        self[key] = encoded = self._encode(key)
        return encoded


def keys_and_times(key_of: Callable[[Any], Any], encode: Callable[[Any], bytes]) -> SortKeys:
    """Sort by (canonical bytes of the key, timestamp); no timestamp comes before all others."""
    known = _KeyBytes(encode)

    def sort_keys(values: list[Any], timestamps: Sequence[int | None]) -> list[tuple[bytes, int]]:
        keys = [key_of(value) for value in values]
        try:
            key_bytes = list(map(known.__getitem__, keys))
        except TypeError:
            for key in keys:  # an unhashable one: the encoder says so in our words
                encode(key)
            raise
        times = [MIN_TIMESTAMP if timestamp is None else timestamp for timestamp in timestamps]
        return list(zip(key_bytes, times, strict=True))

    return sort_keys
