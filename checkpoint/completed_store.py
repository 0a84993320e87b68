"""Which completed checkpoints are retained, and which files may go when they no longer are. Pure: decides, deletes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..state.handles import FileRef


@dataclass(frozen=True, slots=True)
class CompletedCheckpoint:
    """A durable checkpoint, as far as retention is concerned.

    Attributes:
        files: every file it refers to.
        size_bytes: their sizes, each counted once, and the state in the metadata itself.
    """

    checkpoint_id: int
    timestamp_ms: int
    size_bytes: int
    files: frozenset[FileRef]


@dataclass(frozen=True, slots=True)
class Subsumed:
    """What nothing retained needs any more: folders of checkpoints, and files in `shared/`."""

    checkpoint_ids: tuple[int, ...] = ()
    files: tuple[FileRef, ...] = ()


class CompletedCheckpointStore:
    """The newest `retained` completed checkpoints of a job.

    A shared file is given up only one completed checkpoint after the last retained reference to it was dropped. A subtask
    bases an incremental snapshot on the last completion it heard of; when notifications are slow that may be a
    checkpoint already subsumed, and the files it names must still be there. Once a later checkpoint, taken after the
    reference was dropped, completed without naming the file, no later one can name it.

    Files outside the job's own folder (restored from another job's checkpoint) are never given up.

    INVARIANT C2: a file is given up only when nothing retained refers to it.
    Kept by: tests/checkpoint/test_completed_store.py::test_no_file_is_given_up_while_a_retained_checkpoint_names_it
    """

    def __init__(self, retained: int, recovered: Iterable[CompletedCheckpoint] = ()) -> None:
        """`recovered`: what a resumed job found in its folder; too many of them are subsumed at the next `add`."""
        if retained < 1:
            msg = f"at least one checkpoint must be retained, not {retained}"
            raise ValueError(msg)
        self._retained = retained
        self._checkpoints: list[CompletedCheckpoint] = []
        self._references: Counter[str] = Counter()
        self._folders: set[int] = set()  # of subsumed checkpoints, still there
        self._deferred: dict[str, FileRef] = {}  # unreferenced since the last completion, still there
        for checkpoint in recovered:
            self._insert(checkpoint)

    @property
    def checkpoints(self) -> tuple[CompletedCheckpoint, ...]:
        """Oldest first."""
        return tuple(self._checkpoints)

    @property
    def latest(self) -> CompletedCheckpoint | None:
        """The one with the highest id. From any thread."""
        checkpoints = self._checkpoints
        return checkpoints[-1] if checkpoints else None

    def needs(self, file: FileRef) -> bool:
        """Whether deleting the file could harm a retained checkpoint or a snapshot that is still being taken."""
        return not _owned(file) or file.path in self._references or file.path in self._deferred

    def add(self, completed: CompletedCheckpoint) -> Subsumed:
        """Retain `completed`, which is durable now; what may be deleted for it."""
        self._insert(completed)
        unreferenced: dict[str, FileRef] = {}
        while len(self._checkpoints) > self._retained:
            oldest = self._checkpoints.pop(0)
            self._folders.add(oldest.checkpoint_id)
            for file in oldest.files:
                self._references[file.path] -= 1
                if self._references[file.path] == 0:
                    del self._references[file.path]
                    unreferenced[file.path] = file
        files = [file for path, file in sorted(self._deferred.items()) if path not in self._references]
        self._deferred = {path: file for path, file in unreferenced.items() if file.shared and _owned(file)}
        return Subsumed(self._take_folders(), tuple(files))

    def _insert(self, checkpoint: CompletedCheckpoint) -> None:
        if any(c.checkpoint_id == checkpoint.checkpoint_id for c in self._checkpoints):
            msg = f"checkpoint {checkpoint.checkpoint_id} is already in the store"
            raise ValueError(msg)
        # A new list, not one sorted in place: to readers in other threads that is empty meanwhile.
        self._checkpoints = sorted([*self._checkpoints, checkpoint], key=lambda c: c.checkpoint_id)
        self._references.update(file.path for file in checkpoint.files)

    def _take_folders(self) -> tuple[int, ...]:
        """Folders of subsumed checkpoints that no retained one refers into."""
        if not self._folders:
            return ()
        in_use = {path.partition("/")[0] for path in self._references}
        free = sorted(number for number in self._folders if f"chk-{number}" not in in_use)
        self._folders.difference_update(free)
        return tuple(free)


def _owned(file: FileRef) -> bool:
    return file.path.startswith(("shared/", "chk-"))
