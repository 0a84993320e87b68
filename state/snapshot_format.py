"""The file of a heap snapshot (`heap-1`): entries by key group, so that a restore reads the groups it needs and no more.

    header    b"MSHEAP", u16 version
    block*    u16 table id, u32 runs, u32 entries, u32 sizes of the four parts, then the parts: entries per run (u32 each),
              the runs' namespaces, keys, values; the last three are batches of the table's serializers
    index     msgpack {key group: [offset, length]}, each naming the blocks of one group, which are adjacent
    trailer   u64 offset of the index, u32 its length, b"PAEHSM"

A run is what a namespace has in the block. All numbers are big endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeAlias

import msgspec

from ..core.errors import CheckpointError, CheckpointFailureReason
from ..core.types import TypeSchema
from .backend import TableDescriptor
from .evolved_values import EvolvedValues
from .table_registry import naming_state

FORMAT: Final = "heap-1"
"""`KeyedStateHandle.format` of this layout: of heap snapshots, and of canonical savepoints whatever the backend."""

STATE_FILE: Final = "state"
"""The one local name in `KeyedStateHandle.files`."""

BLOCK_ENTRIES: Final = 4096
"""Bounds what is encoded or decoded at once; larger blocks gained nothing."""

Run: TypeAlias = tuple[Any, list[Any], list[Any]]
"""A namespace and its keys and values, in parallel."""

_HEADER: Final = b"MSHEAP" + struct.pack(">H", 1)
_BLOCK: Final = struct.Struct(">HIIIIII")
_TRAILER: Final = struct.Struct(">QI6s")
_TRAILER_MAGIC: Final = b"PAEHSM"


class Block(NamedTuple):
    """Encoded entries of one table in one key group."""

    group: int
    runs: int
    entries: int
    parts: tuple[bytes, bytes, bytes, bytes]

    def to_bytes(self, table_id: int) -> bytes:
        """As it stands in the file."""
        sizes = [len(part) for part in self.parts]
        return b"".join((_BLOCK.pack(table_id, self.runs, self.entries, *sizes), *self.parts))


class BlockCodec:
    """Encodes and decodes the blocks of one table. Stateless: used by the loop's thread and by the writing one.

    Args:
        descriptor: of the table.
        operator: name for error messages.
        written: how the values of the blocks to be decoded looked; None: as declared.
    """

    def __init__(self, descriptor: TableDescriptor, operator: str, written: TypeSchema | None = None) -> None:
        self._operator = operator
        self._name = descriptor.name
        self._keys = descriptor.key_type.serializer()
        self._values = descriptor.value_type.serializer()
        self._read_values = EvolvedValues(written, descriptor.value_type)
        namespaces = descriptor.namespace_type
        self._namespaces = None if namespaces is None else namespaces.serializer()

    def encode(self, group: int, runs: Iterable[Run]) -> Iterator[Block]:
        """The blocks of one group."""
        pending: list[Run] = []
        room = BLOCK_ENTRIES
        for namespace, keys, values in runs:
            start = 0
            while start < len(keys):
                stop = min(start + room, len(keys))
                pending.append((namespace, keys[start:stop], values[start:stop]))
                room -= stop - start
                start = stop
                if room == 0:
                    yield self._block(group, pending)
                    pending, room = [], BLOCK_ENTRIES
        if pending:
            yield self._block(group, pending)

    def decode(self, block: Block) -> Iterator[Run]:
        """The runs of a block."""
        counts, namespaces, keys, values = block.parts
        if self._namespaces is None:
            names: Sequence[Any] = [None] * block.runs
        else:
            names = self._namespaces.loads_batch(namespaces)
        with naming_state(self._operator, self._name):
            all_keys, all_values = self._keys.loads_batch(keys), self._read_values.loads_batch(values)
        start = 0
        for name, count in zip(names, struct.unpack(f">{block.runs}I", counts), strict=True):
            yield name, all_keys[start : start + count], all_values[start : start + count]
            start += count

    def _block(self, group: int, runs: list[Run]) -> Block:
        keys = [key for _, run_keys, _ in runs for key in run_keys]
        values = [value for _, _, run_values in runs for value in run_values]
        counts = struct.pack(f">{len(runs)}I", *(len(run_keys) for _, run_keys, _ in runs))
        with naming_state(self._operator, self._name):
            names = (
                b"" if self._namespaces is None else self._namespaces.dumps_batch([run[0] for run in runs])
            )
            parts = (counts, names, self._keys.dumps_batch(keys), self._values.dumps_batch(values))
        return Block(group, len(runs), len(keys), parts)


def write_blocks(blocks: Iterable[tuple[int, Block]]) -> Iterator[bytes]:
    """The file in chunks, from (table id, block) in ascending order of groups."""
    yield _HEADER
    offset = len(_HEADER)
    index: dict[int, list[int]] = {}
    for table_id, block in blocks:
        chunk = block.to_bytes(table_id)
        place = index.setdefault(block.group, [offset, 0])
        place[1] += len(chunk)
        offset += len(chunk)
        yield chunk
    packed = msgspec.msgpack.encode(index)
    yield packed
    yield _TRAILER.pack(offset, len(packed), _TRAILER_MAGIC)


class BlockHeader(NamedTuple):
    """What a block says of itself.

    Attributes:
        sizes: bytes of its four parts.
    """

    group: int
    table_id: int
    runs: int
    entries: int
    sizes: tuple[int, int, int, int]


def read_blocks(
    path: Path, first: int, last: int, table_id: int | None = None
) -> Iterator[tuple[int, Block]]:
    """(table id, block) of the key groups `first` to `last`, both inclusive; of one table alone where it is given.

    One block is in memory at a time.

    Raises:
        CheckpointError: CORRUPT, when the file is not of this format or of a later version.
    """
    with path.open("rb") as file:
        for header in _headers(file, path, first, last):
            if table_id in (None, header.table_id):
                yield header.table_id, _read_block(file, header, path)


def block_headers(path: Path, first: int, last: int) -> Iterator[BlockHeader]:
    """The headers of all blocks of these key groups, without reading the blocks. Raises as `read_blocks`."""
    with path.open("rb") as file:
        yield from _headers(file, path, first, last)


def _headers(file: BinaryIO, path: Path, first: int, last: int) -> Iterator[BlockHeader]:
    """Each header, with the file at the block's first part; the caller may move it."""
    index = _read_index(file, path)
    for group in sorted(index):
        if not first <= group <= last:
            continue
        position, length = index[group]
        end = position + length
        while position < end:
            file.seek(position)
            packed = file.read(_BLOCK.size)
            if len(packed) < _BLOCK.size:
                raise _corrupt(str(path), f"a block of key group {group} is cut")
            table_id, runs, entries, *sizes = _BLOCK.unpack(packed)
            position += _BLOCK.size + sum(sizes)
            if position > end:
                raise _corrupt(str(path), f"a block of key group {group} is cut")
            yield BlockHeader(group, table_id, runs, entries, (sizes[0], sizes[1], sizes[2], sizes[3]))


def _read_block(file: BinaryIO, header: BlockHeader, path: Path) -> Block:
    counts, namespaces, keys, values = (file.read(size) for size in header.sizes)
    if len(values) < header.sizes[-1]:
        raise _corrupt(str(path), f"a block of key group {header.group} is cut")
    return Block(header.group, header.runs, header.entries, (counts, namespaces, keys, values))


def _read_index(file: BinaryIO, path: Path) -> dict[int, tuple[int, int]]:
    header = file.read(len(_HEADER))
    if header != _HEADER:
        raise _corrupt(str(path), f"its header is {header!r}, not {_HEADER!r}")
    size = file.seek(0, 2)
    file.seek(max(size - _TRAILER.size, 0))
    trailer = file.read()
    if len(trailer) != _TRAILER.size:
        raise _corrupt(str(path), "it is too short")
    offset, length, magic = _TRAILER.unpack(trailer)
    if magic != _TRAILER_MAGIC or offset + length + _TRAILER.size != size:
        raise _corrupt(str(path), "its index is not where it should be")
    file.seek(offset)
    return msgspec.msgpack.decode(file.read(length), type=dict[int, tuple[int, int]])


def parse_blocks(group: int, content: bytes, where: str) -> Iterator[tuple[int, Block]]:
    """(table id, block) of adjacent blocks of one key group; `where` goes into the error.

    Raises:
        CheckpointError: CORRUPT.
    """
    position = 0
    while position < len(content):
        if position + _BLOCK.size > len(content):
            raise _corrupt(where, f"a block of key group {group} is cut")
        table_id, runs, entries, *sizes = _BLOCK.unpack_from(content, position)
        position += _BLOCK.size
        parts = []
        for size in sizes:
            parts.append(content[position : position + size])
            position += size
        if position > len(content):
            raise _corrupt(where, f"a block of key group {group} is cut")
        yield table_id, Block(group, runs, entries, (parts[0], parts[1], parts[2], parts[3]))


def _corrupt(where: str, why: str) -> CheckpointError:
    return CheckpointError(
        CheckpointFailureReason.CORRUPT,
        f"not a readable heap snapshot: {why}",
        where=where,
        fix="resume from an older checkpoint, or with the release that wrote this one",
    )
