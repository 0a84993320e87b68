"""Which subtask keeps copies of its checkpoint files on this host, and which restores from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...checkpoint.local_copies import LocalCopies
from ...checkpoint.snapshot_files import snapshot_files
from ...core.ids import SubtaskId
from ...state.backend import CheckpointReader, CheckpointStreams
from ...state.handles import SubtaskSnapshot

LOCAL_STATE_FOLDER: Final = "local-state"
"""In the folder of the cluster, beside those of its workers."""


@dataclass(frozen=True, slots=True)
class LocalRecoverySettings:
    """Flink's two switches: copies are written; restores look for them."""

    backup: bool
    recover: bool


class LocalRecovery:
    """The copies of the subtasks of one attempt, in folders that outlive it. Restores run in the loop's thread before the first
    snapshot, all the rest in the upload thread."""

    def __init__(self, settings: LocalRecoverySettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._copies: dict[SubtaskId, LocalCopies] = {}

    @property
    def backup(self) -> bool:
        """Whether copies are written."""
        return self._settings.backup

    def reader(self, subtask: SubtaskId, reader: CheckpointReader) -> CheckpointReader:
        """What the subtask restores by."""
        return self._of(subtask).reader(reader) if self._settings.recover else reader

    def streams(
        self, subtask: SubtaskId, streams: CheckpointStreams, checkpoint_id: int
    ) -> CheckpointStreams:
        """What the subtask writes the checkpoint by."""
        return self._of(subtask).streams(streams, checkpoint_id) if self.backup else streams

    def written(self, subtask: SubtaskId, checkpoint_id: int, snapshot: SubtaskSnapshot) -> None:
        """The snapshot refers to files of earlier checkpoints, too."""
        if self.backup:
            self._of(subtask).keep(checkpoint_id, snapshot_files(snapshot))

    def completed(self, checkpoint_id: int) -> None:
        """Remove what is needed no more."""
        for copies in self._copies.values():
            copies.completed(checkpoint_id)

    def _of(self, subtask: SubtaskId) -> LocalCopies:
        if subtask not in self._copies:
            self._copies[subtask] = LocalCopies(self._folder / subtask.replace("/", "-"))
        return self._copies[subtask]
