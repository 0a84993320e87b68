"""The enumerator that looks for new files for ever."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from ...core.errors import CheckpointError, CheckpointFailureReason
from ..base import SplitEnumeratorContext
from .splits import FileSplit, cut, find_files

_VERSION: Final = 1


class ContinuousFileEnumerator:
    """Finds files in intervals and gives their splits one by one to readers that have nothing to read.

    A path is read once in the life of a job, so all paths that were found are state.

    Args:
        restored: what `snapshot_state` gave.
    """

    def __init__(
        self,
        context: SplitEnumeratorContext[FileSplit],
        restored: bytes | None,
        paths: Sequence[str],
        split_bytes: int | None,
        interval_ms: int,
    ) -> None:
        self._context = context
        self._paths = tuple(paths)
        self._split_bytes = split_bytes
        self._interval_ms = interval_ms
        self._found: set[str] = set()
        self._unassigned: deque[FileSplit] = deque()
        self._idle_readers: deque[int] = deque()
        if restored is not None:
            found, splits = _decode(restored)
            self._found.update(map(os.fsdecode, found))
            self._unassigned.extend(map(FileSplit.decode, splits))

    def start(self) -> None:
        """Look for files from now on."""
        self._context.call_async(self._find_new, self._on_found, period_ms=self._interval_ms)

    def _find_new(self) -> list[tuple[str, list[FileSplit]]]:
        # In the helper thread. `_found` changes between its calls alone, in `_on_found`.
        known = self._found
        return [(path, cut(path, self._split_bytes)) for path in find_files(self._paths) if path not in known]

    def _on_found(self, files: Sequence[tuple[str, list[FileSplit]]]) -> None:
        for path, splits in files:
            self._found.add(path)
            self._unassigned.extend(splits)
        self._assign()

    def add_reader(self, subtask: int) -> None:
        """A reader without work."""
        self._idle_readers.append(subtask)
        self._assign()

    def handle_split_request(self, subtask: int) -> None:
        """A reader is through with its split."""
        self.add_reader(subtask)

    def add_splits_back(self, splits: Sequence[FileSplit]) -> None:
        """They were begun before, and go first."""
        self._unassigned.extendleft(reversed(splits))
        self._assign()

    def _assign(self) -> None:
        while self._idle_readers and self._unassigned:
            self._context.assign_splits({self._idle_readers.popleft(): [self._unassigned.popleft()]})

    def snapshot_state(self, checkpoint_id: int) -> bytes:
        """The paths that were found, and the splits that no reader was given."""
        # A name that is not valid UTF-8 comes with surrogates; os.fsencode gives its true bytes.
        found = [os.fsencode(path) for path in sorted(self._found)]
        splits = [split.encode() for split in self._unassigned]
        return msgspec.msgpack.encode([_VERSION, found, splits])

    def close(self) -> None:
        """Nothing is held open."""


def _decode(data: bytes) -> tuple[list[bytes], list[bytes]]:
    version, *fields = msgspec.msgpack.decode(data)
    if version != _VERSION:
        raise CheckpointError(
            CheckpointFailureReason.INCOMPATIBLE,
            f"the checkpoint holds the state of a file source of version {version}, this release reads version {_VERSION}",
            fix="restore it with the release that wrote it, or a newer one",
        )
    found, splits = fields
    return found, splits
