"""Parts that forget a rule. Each must be caught by the histories of `storage_world`."""

from __future__ import annotations

from typing import Any

from millstream.checkpoint.completed_store import CompletedCheckpoint, CompletedCheckpointStore, Subsumed
from millstream.state.handles import FileRef
from millstream.state.uploaded_files import UploadedFiles


class NeverCounts(CompletedCheckpointStore):
    """Every file of a subsumed checkpoint goes, whoever else refers to it."""

    def add(self, completed: CompletedCheckpoint) -> Subsumed:
        """See the mutated class."""
        before = {checkpoint.checkpoint_id: checkpoint for checkpoint in self.checkpoints}
        subsumed = super().add(completed)
        gone = [before[number].files for number in subsumed.checkpoint_ids if number in before]
        return Subsumed(
            subsumed.checkpoint_ids, tuple({file for files in gone for file in files if file.shared})
        )

    def needs(self, file: FileRef) -> bool:
        """See the mutated class."""
        return False


class TrustsUploads(UploadedFiles):
    """What was uploaded is referred to again, whether its checkpoint completed or was given up."""

    def reusable(self) -> dict[str, FileRef]:
        """See the mutated class."""
        return {name: file for files in self._by_checkpoint.values() for name, file in files.items()}


MUTANTS: dict[str, dict[str, Any]] = {
    "references are not counted": {"store_type": NeverCounts},
    "files of checkpoints given up are reused": {"uploaded_type": TrustsUploads},
}
