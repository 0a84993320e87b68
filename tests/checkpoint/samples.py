"""Snapshots and metadata for tests."""

from __future__ import annotations

from millstream.checkpoint.metadata import Metadata, OperatorDescription
from millstream.state.handles import FileRef, KeyedStateHandle, OperatorSnapshot, SubtaskSnapshot, TableInfo


def shared(name: str, size: int = 10) -> FileRef:
    return FileRef(f"shared/{name}", size, "c" * 32, shared=True)


def exclusive(checkpoint_id: int, name: str, size: int = 5) -> FileRef:
    return FileRef(f"chk-{checkpoint_id}/{name}", size, "d" * 32, shared=False)


def inlined(checkpoint_id: int, content: bytes) -> FileRef:
    path, checksum = f"chk-{checkpoint_id}/_metadata", "e" * 32
    return FileRef(path, len(content), checksum, shared=False, content=content)


def handle(*files: FileRef, key_groups: tuple[int, int] = (0, 127)) -> KeyedStateHandle:
    table = TableInfo("total", 1, "key", "STRING", "LONG", "DOUBLE")
    return KeyedStateHandle("rocksdb-1", key_groups, (table,), {file.path: file for file in files})


def part(*files: FileRef, operator_id: str = "op") -> SubtaskSnapshot:
    return SubtaskSnapshot({operator_id: OperatorSnapshot((handle(*files),), {"splits": [b"split"]})})


def operator(
    operator_id: str = "op",
    *,
    parallelism: int = 2,
    uid: str | None = "sum-by-user",
    max_parallelism: int = 128,
) -> OperatorDescription:
    return OperatorDescription(operator_id, uid, f"Name of {operator_id}", parallelism, max_parallelism)


def metadata(
    *files: FileRef,
    job_id: str = "0" * 32,
    job_name: str = "clicks",
    checkpoint_id: int = 7,
    timestamp_ms: int = 1_700_000_000_000,
) -> Metadata:
    state = OperatorSnapshot((handle(*files),), {"splits": [b"a", b"b"]})
    return Metadata(
        job_id=job_id,
        job_name=job_name,
        checkpoint_id=checkpoint_id,
        timestamp_ms=timestamp_ms,
        attempt=3,
        operators=(operator(), operator("sink", uid=None)),
        states={"op": (state, OperatorSnapshot())},
        enumerators={"op": b"enumerator"},
    )
