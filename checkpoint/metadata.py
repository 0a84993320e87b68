"""The content of `_metadata`: what a checkpoint consists of, and its encoding.

The file is a header and a msgpack payload:

    magic (8 bytes) | version (2, big endian) | payload length (8, big endian) | xxh3_128 (16) | payload

The checksum covers version, length and payload. Fields are only ever added, last and with defaults; a change that an older
reader must not ignore raises the version. Samples of every release are in `tests/golden/wire/` and must decode for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final

import msgspec
import xxhash

from ..core.errors import CheckpointError, CheckpointFailureReason
from ..core.savepoints import SavepointFormatType
from ..state.handles import FileRef, OperatorSnapshot
from .coordination import CheckpointData
from .snapshot_files import operator_files, operator_inline_size

METADATA_FILE: Final = "_metadata"
FORMAT_VERSION: Final = 2
"""2: what would be a small file may live in the metadata."""

_MAGIC: Final = b"MLSTRMCK"
_PREFIX: Final = struct.Struct(">HQ")
_HEADER_BYTES: Final = len(_MAGIC) + _PREFIX.size + 16


class OperatorDescription(msgspec.Struct, frozen=True):
    """An operator of the program that took, or wants to restore, a checkpoint."""

    operator_id: str
    uid: str | None
    name: str
    parallelism: int
    max_parallelism: int

    def __str__(self) -> str:
        uid = f"uid '{self.uid}'" if self.uid is not None else "no uid"
        return f"'{self.name}' ({uid}, id {self.operator_id})"


class Metadata(msgspec.Struct, frozen=True):
    """A complete checkpoint.

    Attributes:
        timestamp_ms: wall-clock time of the trigger, milliseconds since the epoch.
        attempt: restore generation that took it; committables are known by job, attempt and checkpoint id.
        operators: the program's operators, also those without state.
        states: by operator id, one snapshot per subtask, in the order of subtasks. File paths are relative to the job's
            folder, or absolute (URLs) where they belong to another job.
        enumerators: states of split enumerators, by operator id of the source.
        savepoint: the format of a savepoint, whose file paths are relative to its own folder; None: a checkpoint.
    """

    job_id: str
    job_name: str
    checkpoint_id: int
    timestamp_ms: int
    attempt: int
    operators: tuple[OperatorDescription, ...]
    states: dict[str, tuple[OperatorSnapshot, ...]]
    enumerators: dict[str, bytes]
    savepoint: SavepointFormatType | None = None

    def files(self) -> Iterator[FileRef]:
        """Every file it refers to, each path once."""
        snapshots = chain.from_iterable(self.states.values())
        by_path = {file.path: file for snapshot in snapshots for file in operator_files(snapshot)}
        yield from by_path.values()

    def size_bytes(self) -> int:
        """All state: files, each counted once, and what is in here."""
        inline = sum(operator_inline_size(s) for snapshots in self.states.values() for s in snapshots)
        return sum(file.size for file in self.files()) + inline + sum(map(len, self.enumerators.values()))

    def with_absolute_paths(self, job_folder: str) -> Metadata:
        """The same with every file named by its full path: for a job that starts from another job's checkpoint.

        The new job's checkpoints may refer to those files, and never delete them.
        """
        prefix = job_folder.rstrip("/") + "/"

        def moved(file: FileRef) -> FileRef:
            return msgspec.structs.replace(file, path=prefix + file.path) if is_relative(file.path) else file

        return msgspec.structs.replace(
            self,
            states={
                operator_id: tuple(_with_files(snapshot, moved) for snapshot in snapshots)
                for operator_id, snapshots in self.states.items()
            },
        )


def is_relative(path: str) -> bool:
    """Whether a file belongs to the folder of the job whose metadata names it."""
    return not path.startswith("/") and "://" not in path


def metadata_from(
    data: CheckpointData,
    *,
    job_id: str,
    job_name: str,
    operators: tuple[OperatorDescription, ...],
    subtask_index: Mapping[str, int],
) -> Metadata:
    """Metadata of what the coordinator collected.

    `subtask_index` is the position of each acknowledged subtask within its vertex, from 0.
    """
    states: dict[str, dict[int, OperatorSnapshot]] = {}
    for subtask, part in data.subtasks.items():
        for operator_id, snapshot in part.operators.items():
            states.setdefault(operator_id, {})[subtask_index[subtask]] = snapshot
    nothing = OperatorSnapshot()
    return Metadata(
        job_id=job_id,
        job_name=job_name,
        checkpoint_id=data.checkpoint_id,
        timestamp_ms=data.timestamp_ms,
        attempt=data.attempt,
        operators=operators,
        states={
            operator.operator_id: tuple(
                states[operator.operator_id].get(index, nothing) for index in range(operator.parallelism)
            )
            for operator in operators
            if operator.operator_id in states
        },
        enumerators=dict(data.enumerators),
        savepoint=None if data.savepoint is None else data.savepoint.format,
    )


def encode_metadata(metadata: Metadata) -> bytes:
    """The bytes of `_metadata`."""
    payload = msgspec.msgpack.encode(metadata)
    prefix = _PREFIX.pack(FORMAT_VERSION, len(payload))
    return b"".join((_MAGIC, prefix, xxhash.xxh3_128_digest(prefix + payload), payload))


def decode_metadata(data: bytes, path: str) -> Metadata:
    """The inverse of `encode_metadata`, for every version up to this one; `path` goes into the error.

    Raises:
        CheckpointError: CORRUPT when the bytes were cut or altered; INCOMPATIBLE when a later release wrote them.
    """
    if len(data) < _HEADER_BYTES or not data.startswith(_MAGIC):
        raise _corrupt("this is no checkpoint metadata, or it was cut short", path)
    prefix = data[len(_MAGIC) : len(_MAGIC) + _PREFIX.size]
    digest = data[_HEADER_BYTES - 16 : _HEADER_BYTES]
    payload = data[_HEADER_BYTES:]
    version, length = _PREFIX.unpack(prefix)
    if length != len(payload):
        raise _corrupt(f"the metadata holds {len(payload)} bytes instead of {length}", path)
    if xxhash.xxh3_128_digest(prefix + payload) != digest:
        raise _corrupt("the metadata does not match its checksum", path)
    if version > FORMAT_VERSION:
        raise CheckpointError(
            CheckpointFailureReason.INCOMPATIBLE,
            f"the metadata has format {version}, this release reads up to {FORMAT_VERSION}",
            where=path,
            fix="restore it with the release of Millstream that wrote it, or a later one",
        )
    try:
        return msgspec.msgpack.decode(payload, type=Metadata)
    except msgspec.MsgspecError as error:
        raise _corrupt(f"the metadata cannot be decoded: {error}", path) from error


def _with_files(snapshot: OperatorSnapshot, moved: Callable[[FileRef], FileRef]) -> OperatorSnapshot:
    keyed = tuple(
        msgspec.structs.replace(handle, files={name: moved(file) for name, file in handle.files.items()})
        for handle in snapshot.keyed
    )
    channels = tuple(msgspec.structs.replace(c, file=moved(c.file)) for c in snapshot.channels)
    return msgspec.structs.replace(snapshot, keyed=keyed, channels=channels)


def _corrupt(what: str, path: str) -> CheckpointError:
    return CheckpointError(
        CheckpointFailureReason.CORRUPT,
        what,
        where=path,
        fix="restore an older checkpoint; `millstream checkpoints DIR` lists what is there",
    )
