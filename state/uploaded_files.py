"""Which files of earlier checkpoints an incremental snapshot may refer to instead of uploading them again. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from .handles import FileRef


class UploadedFiles:
    """Immutable local files by name, and what they became in each checkpoint that may still complete.

    A file may be referred to only where it stays alive whatever the coordinator does: it is in the newest checkpoint known to be
    complete, and every later one refers to the same copy. For a later one may have completed without our being told, and then
    subsumed the one we know; the copies that only the older one referred to are gone by then.

    INVARIANT R3: names are never used twice for different content in one life of a database.

    Args:
        restored: files of the checkpoint that this database was restored from, file by file.
    """

    def __init__(self, restored: Mapping[str, FileRef]) -> None:
        self._by_checkpoint: dict[int, dict[str, FileRef]] = {0: dict(restored)}
        self._completed = 0  # checkpoint ids begin with 1: the restored one comes before all of ours

    def uploaded(self, checkpoint_id: int, files: Mapping[str, FileRef]) -> None:
        """A snapshot was written; its checkpoint may complete."""
        self._by_checkpoint[checkpoint_id] = dict(files)

    def completed(self, checkpoint_id: int) -> None:
        """A checkpoint is complete; notifications may come late, twice, in any order or not at all."""
        self._completed = max(self._completed, checkpoint_id)

    def reusable(self) -> dict[str, FileRef]:
        """Files that the next snapshot may refer to, by name."""
        newest = self._completed
        self._by_checkpoint = {n: files for n, files in self._by_checkpoint.items() if n >= newest}
        result = self._by_checkpoint.get(newest, {})
        for checkpoint_id, files in self._by_checkpoint.items():
            if checkpoint_id > newest:
                result = {name: ref for name, ref in result.items() if files.get(name) == ref}
        return dict(result)
