"""Which files a snapshot refers to, and how large the rest of it is."""

from __future__ import annotations

from collections.abc import Iterator

from ..state.handles import FileRef, OperatorSnapshot, SubtaskSnapshot


def operator_files(snapshot: OperatorSnapshot) -> Iterator[FileRef]:
    """Every file, possibly more than once; what lives in the metadata is none."""
    return (ref for ref in _refs(snapshot) if ref.content is None)


def snapshot_files(snapshot: SubtaskSnapshot) -> Iterator[FileRef]:
    """Every file of every operator, possibly more than once."""
    for operator in snapshot.operators.values():
        yield from operator_files(operator)


def operator_inline_size(snapshot: OperatorSnapshot) -> int:
    """Bytes of state that live in the metadata itself."""
    lists = sum(len(item) for items in snapshot.lists.values() for item in items)
    return lists + sum(ref.size for ref in _refs(snapshot) if ref.content is not None)


def snapshot_size(snapshot: SubtaskSnapshot) -> int:
    """Bytes of state of all operators that live in the metadata itself."""
    return sum(operator_inline_size(operator) for operator in snapshot.operators.values())


def _refs(snapshot: OperatorSnapshot) -> Iterator[FileRef]:
    for handle in snapshot.keyed:
        yield from handle.files.values()
    for channels in snapshot.channels:
        yield channels.file
