"""State of a job as of its last completed checkpoint, by key: while the job runs, or afterwards.

Nothing is asked of the job. A checkpoint may be deleted while it is read, because a newer one has taken its place: then the
newer one is read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from ..checkpoint.catalog import load
from ..checkpoint.files import Entry, Files
from ..checkpoint.metadata import METADATA_FILE
from ..checkpoint.retry import RetryPolicy
from ..checkpoint.storage import checkpoint_folder, checkpoint_id_of, open_files, read_job_record
from ..checkpoint.streams import perform
from ..core.errors import CheckpointError, CheckpointFailureReason
from .entries import StateEntry
from .kept_files import KeptFiles
from .snapshot import StateSnapshot, type_reader

T = TypeVar("T")

_MAY_BE_DELETED: Final = frozenset({CheckpointFailureReason.NOT_FOUND, CheckpointFailureReason.CORRUPT})
_MAX_TURNS: Final = 20
"""So many newer checkpoints are tried in a row, before it is said that they go faster than they can be read."""


class QueryableStateClient:
    """Answers for one job from its last completed checkpoint; a context manager.

    Each call looks for a newer checkpoint first: one listing of the job's folder. Of a checkpoint only the files of the subtasks
    that own the keys asked for are fetched, checksums verified, and kept until a newer one is there; those that the newer one
    refers to as well, longer. Not thread-safe.

    Args:
        directory: the checkpoint directory (`execution.checkpointing.dir`): a path or an fsspec URL.
        job: name or id of the job. A name stands for its newest run.
        classes: as of `state_reader.open`.
        allow_pickle: as of `state_reader.open`.
    """

    def __init__(
        self, directory: str, job: str, *, classes: Iterable[type] = (), allow_pickle: bool = False
    ) -> None:
        self._directory = directory
        self._job = job
        self._types = type_reader(classes, allow_pickle=allow_pickle)
        self._folder = tempfile.TemporaryDirectory(prefix="millstream-queries-")
        self._kept = KeptFiles(Path(self._folder.name))
        self._snapshot: StateSnapshot | None = None

    def get(self, operator: str, state: str, key: object) -> list[StateEntry]:
        """The entries of a key: none, one, or of maps and windows several.

        Args:
            operator: uid, id or name of the operator.
            state: name of the keyed state.
            key: one of the stream's keys.

        Raises:
            CheckpointError: NOT_FOUND, the job has no completed checkpoint; CORRUPT, the newest one is damaged.
            StateError: there is no such operator or state.
            InvalidKeyError: the key is not of the declared type.
        """
        return self.read(lambda snapshot: snapshot.operator(operator).keyed(state).get(key))

    def read(self, question: Callable[[StateSnapshot], T]) -> T:
        """The answer to a question to the newest checkpoint; it is asked again where that one is deleted meanwhile.

        Raises:
            CheckpointError: as `get`, and what the question raises.
        """
        for _ in range(_MAX_TURNS):
            path = self._newest()
            try:
                return question(self._opened(path))
            except CheckpointError as error:
                if error.reason not in _MAY_BE_DELETED or self._newest() == path:
                    raise
        raise CheckpointError(
            CheckpointFailureReason.NOT_FOUND,
            f"{_MAX_TURNS} checkpoints in a row were deleted while they were read",
            where=path,
            fix="have the job keep more of them: execution.checkpointing.num-retained",
        )

    def close(self) -> None:
        """Delete the local copies. Idempotent."""
        self._close_snapshot()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, path: str) -> StateSnapshot:
        if self._snapshot is None or self._snapshot.path != path:
            self._close_snapshot()
            checkpoint = load(path)
            self._kept.retain_only(checkpoint.metadata.files())
            reader = self._kept.reader(checkpoint.storage().reader())
            self._snapshot = StateSnapshot(checkpoint, self._types, reader)
        return self._snapshot

    def _close_snapshot(self) -> None:
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None

    def _newest(self) -> str:
        path = newest_checkpoint(self._directory, self._job)
        if path is None:
            raise CheckpointError(
                CheckpointFailureReason.NOT_FOUND,
                f"no completed checkpoint of a job of the name or id '{self._job}' is there",
                where=self._directory,
                fix="name the job's checkpoint directory; `millstream checkpoints DIR` lists what is in it",
            )
        return path


def newest_checkpoint(directory: str, job: str) -> str | None:
    """Path or URL of the newest completed checkpoint of a job, by its id, or by its name: then of its newest run.

    Raises:
        CheckpointError: STORAGE, when the directory cannot be listed.
    """
    files = open_files(directory)
    runs = [entry.name for entry in _entries(files, "") if entry.is_folder and not entry.name.startswith(".")]
    runs = [job] if job in runs else [run for run in runs if _name_of(files, run) == job]
    found = [newest for run in runs if (newest := _newest_of_run(files, run)) is not None]
    return max(found)[1] if found else None


def _newest_of_run(files: Files, run: str) -> tuple[int, str] | None:
    """When the newest completed checkpoint of a run was completed (ms), and its path.

    Looked for from the oldest on, because one is deleted only when a newer one is complete: where none is found, the newest one is
    complete under a higher number than all that were listed, or there is none.
    """
    looked_at = 0
    while (numbers := _checkpoint_ids(files, run)) and numbers[-1] > looked_at:
        folders = [f"{run}/{checkpoint_folder(number)}" for number in numbers]
        complete = [found for folder in folders if (found := _completed(files, folder)) is not None]
        if complete:
            return complete[-1]
        looked_at = numbers[-1]
    return None


def _completed(files: Files, folder: str) -> tuple[int, str] | None:
    """When a checkpoint was completed (ms), and its path; None where it is not complete."""
    marker = next((entry for entry in _entries(files, folder) if entry.name == METADATA_FILE), None)
    return None if marker is None else (marker.modified_ms, files.url(folder))


def _checkpoint_ids(files: Files, run: str) -> list[int]:
    """Ascending, complete or not."""
    numbers = (checkpoint_id_of(entry.name) for entry in _entries(files, run) if entry.is_folder)
    return sorted(number for number in numbers if number is not None)


def _name_of(files: Files, run: str) -> str | None:
    record = read_job_record(files, run, RetryPolicy())
    return None if record is None else record.job_name


def _entries(files: Files, folder: str) -> list[Entry]:
    what = "the checkpoint directory cannot be listed"
    return perform(RetryPolicy(), lambda: files.entries(folder), what, files.url(folder))
