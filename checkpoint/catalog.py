"""What checkpoints there are under a directory, which of them are whole, and which one a job resumes from.

Nothing here deletes or changes anything, whatever it finds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..core.errors import CheckpointError, CheckpointFailureReason
from .completed_store import CompletedCheckpoint
from .files import Entry, Files
from .metadata import METADATA_FILE, Metadata
from .retry import RetryPolicy
from .storage import (
    CheckpointStorage,
    checkpoint_folder,
    checkpoint_id_of,
    open_files,
    read_job_record,
    read_metadata,
)
from .streams import perform
from .two_phase_commit import COMMITTABLES_STATE

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint as found in its folder.

    Attributes:
        job_name: None when nothing readable tells it.
        complete: whether it has `_metadata`.
        timestamp_ms: of the trigger; of the file's last change when the metadata cannot be read; 0 when unknown.
        size_bytes: all state it refers to; the files found when the metadata cannot be read.
        path: full path or URL of its folder, good for `--from`.
        problem: why it cannot be restored, or None.
    """

    job_id: str
    job_name: str | None
    checkpoint_id: int
    complete: bool
    timestamp_ms: int
    size_bytes: int
    path: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint that was read.

    Attributes:
        path: full path or URL of its folder.
        job_folder: full path or URL of the folder that its file names are relative to: the job's, of a savepoint its own.
    """

    metadata: Metadata
    path: str
    job_folder: str

    def storage(self) -> CheckpointStorage:
        """The storage of the job that took it, as seen from here."""
        directory, _, job_id = self.job_folder.rpartition("/")
        return CheckpointStorage(directory or "/", job_id)

    def completed(self) -> CompletedCheckpoint:
        """What the store of a resumed job needs to know."""
        metadata = self.metadata
        return CompletedCheckpoint(
            metadata.checkpoint_id, metadata.timestamp_ms, metadata.size_bytes(), frozenset(metadata.files())
        )


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a job continues.

    Attributes:
        checkpoint: the newest one that is whole.
        retained: it and the older readable ones of the job, for the completed-checkpoint store.
        skipped: newer ones that cannot be used.
        next_checkpoint_id: above every `chk-<n>` of the job, complete or not.
    """

    checkpoint: StoredCheckpoint
    retained: tuple[CompletedCheckpoint, ...]
    skipped: tuple[CheckpointInfo, ...]
    next_checkpoint_id: int


def load(path_or_url: str) -> StoredCheckpoint:
    """The checkpoint in a `chk-<n>` folder, or a savepoint, named by its folder or by its `_metadata`.

    Raises:
        CheckpointError: NOT_FOUND, CORRUPT or INCOMPATIBLE.
    """
    folder = path_or_url.rstrip("/").removesuffix(f"/{METADATA_FILE}")
    files = open_files(folder)
    metadata = read_metadata(files, "", RetryPolicy())
    path = files.url()
    return StoredCheckpoint(metadata, path, path.rpartition("/")[0] if metadata.savepoint is None else path)


def verify(checkpoint: StoredCheckpoint, *, content: bool = False) -> None:
    """Nothing, if every file is there with its size and, if asked for, its checksum.

    Raises:
        CheckpointError: CORRUPT, with the first file that is not.
    """
    reader = checkpoint.storage().reader()
    for file in checkpoint.metadata.files():
        reader.verify(file, content=content)


def list_checkpoints(url: str) -> list[CheckpointInfo]:
    """Every checkpoint under a checkpoint directory, or under one job's folder: by job, then by id, ascending.

    Checks that the files are there with their sizes, not their content.

    Raises:
        CheckpointError: STORAGE, when the directory cannot be listed or a checkpoint in it cannot be read.
    """
    files = open_files(url)
    entries = _entries(files, "")
    if any(checkpoint_id_of(entry.name) is not None for entry in entries):
        parent, _, job_id = files.url().rpartition("/")
        files = open_files(parent or "/")
        return _job_checkpoints(files, job_id)
    jobs = [entry.name for entry in entries if entry.is_folder and not entry.name.startswith(".")]
    return [info for job_id in jobs for info in _job_checkpoints(files, job_id)]


def find_latest(url: str, job_name: str) -> list[CheckpointInfo]:
    """Candidates for resuming a job, newest first: complete checkpoints, also damaged ones, of its newest run.

    Runs are job ids. Falling back to an older run's checkpoint would repeat what the newer one has written, so only the
    run with the newest complete checkpoint counts. A run whose files do not tell any name is taken for one of this job:
    better a loud error than a silent fresh start.
    """
    infos = [i for i in list_checkpoints(url) if i.complete and i.job_name in {job_name, None}]
    if not infos:
        return []
    newest = max(infos, key=lambda i: (i.job_name is not None, i.timestamp_ms, i.checkpoint_id))
    run = [info for info in infos if info.job_id == newest.job_id]
    return sorted(run, key=lambda i: i.checkpoint_id, reverse=True)


def resume_point(
    url: str, job_name: str, *, verify_content: bool = True, fallback: bool = False
) -> ResumePoint | None:
    """Where `--resume` continues; None when there is no complete checkpoint of this job at all: start afresh.

    Damaged checkpoints newer than the one used are reported as warnings; `fallback` as in `newest_valid`.

    Raises:
        CheckpointError: CORRUPT, there are complete checkpoints and none can be used, or the newest cannot and the older
            ones may not; STORAGE.
    """
    candidates = find_latest(url, job_name)
    if not candidates:
        return None
    checkpoint, skipped = newest_valid(
        candidates, f"job '{job_name}'", verify_content=verify_content, fallback=fallback
    )
    readable = [c for c in candidates if c.checkpoint_id < checkpoint.metadata.checkpoint_id]
    older = [c for info in readable if (c := _readable(info)) is not None]
    storage = checkpoint.storage()
    return ResumePoint(
        checkpoint,
        (checkpoint.completed(), *(stored.completed() for stored in older)),
        skipped,
        max(storage.checkpoint_ids()) + 1,
    )


def unfinished_run(url: str, job_name: str) -> str | None:
    """Id of the newest run of this job that died before its first checkpoint was complete; None when there is none.

    A job that starts afresh goes on under this id, so that what the run left, here and in sinks, is known to be its own.
    """
    files = open_files(url)
    runs: list[tuple[int, str]] = []
    for job in _entries(files, ""):
        record = read_job_record(files, job.name, RetryPolicy()) if job.is_folder else None
        if record is not None and record.job_name == job_name:
            if any(info.complete for info in _job_checkpoints(files, job.name)):
                continue
            runs.append((job.modified_ms, job.name))
    return max(runs)[1] if runs else None


def stopped_at(url: str, job_name: str) -> str | None:
    """The savepoint that the newest run of this job ended with, which is where the job goes on; None if it ended otherwise.

    Of runs without a complete checkpoint one that was stopped counts before those that died: they began where it ended.
    """
    files = open_files(url)
    candidates = find_latest(url, job_name)
    if candidates:
        record = read_job_record(files, candidates[0].job_id, RetryPolicy())
        return None if record is None else record.stopped_at
    stops: list[tuple[int, str]] = []
    for job in _entries(files, ""):
        record = read_job_record(files, job.name, RetryPolicy()) if job.is_folder else None
        if record is not None and record.job_name == job_name and record.stopped_at is not None:
            stops.append((job.modified_ms, record.stopped_at))
    return max(stops)[1] if stops else None


def newest_valid(
    candidates: Sequence[CheckpointInfo], whose: str, *, verify_content: bool = True, fallback: bool = False
) -> tuple[StoredCheckpoint, tuple[CheckpointInfo, ...]]:
    """The first of `candidates` (newest first) that is whole, and those passed over, each logged as a warning.

    What a job with two-phase-commit sinks committed after an older checkpoint it would commit again: such a job
    passes over a damaged checkpoint only with `fallback`.

    Raises:
        CheckpointError: CORRUPT or NOT_FOUND, none is whole, or the newest is not and an older one may not be used;
            STORAGE, one cannot be read for the moment: that is no reason to take another.
    """
    skipped: list[CheckpointInfo] = []
    for info in candidates:
        found = _checked(info, verify_content=verify_content)
        if isinstance(found, StoredCheckpoint):
            if skipped and not fallback and commits_output(found.metadata):
                raise _would_repeat_output(skipped[0], found, whose)
            return found, tuple(skipped)
        skipped.append(replace(info, problem=found))
        _LOG.warning("checkpoint %d of %s cannot be used: %s", info.checkpoint_id, whose, found)
    listing = "; ".join(f"{info.path}: {info.problem}" for info in skipped)
    raise CheckpointError(
        CheckpointFailureReason.CORRUPT if skipped else CheckpointFailureReason.NOT_FOUND,
        f"no checkpoint of {whose} can be used: {listing or 'there is none'}",
        fix="bring the missing or damaged files back, name another checkpoint with --from, or start afresh without"
        " --resume; nothing was deleted",
    )


def commits_output(metadata: Metadata) -> bool:
    """Whether the job has two-phase-commit sinks: each of their subtasks keeps its committables in every checkpoint."""
    return any(
        COMMITTABLES_STATE in snapshot.lists
        for snapshots in metadata.states.values()
        for snapshot in snapshots
    )


def job_candidates(storage: CheckpointStorage, checkpoint_ids: Iterable[int]) -> list[CheckpointInfo]:
    """Candidates for `newest_valid` from the ids a running coordinator retains (`retained_ids`, newest first)."""
    return [
        CheckpointInfo(storage.job_id, None, number, True, 0, 0, storage.checkpoint_path(number), None)
        for number in checkpoint_ids
    ]


def _checked(info: CheckpointInfo, *, verify_content: bool) -> StoredCheckpoint | str:
    """The checkpoint, or what is wrong with it."""
    if info.problem is not None:
        return info.problem
    try:
        checkpoint = load(info.path)
        verify(checkpoint, content=verify_content)
    except CheckpointError as error:
        return _problem(error)
    return checkpoint


def _would_repeat_output(damaged: CheckpointInfo, older: StoredCheckpoint, whose: str) -> CheckpointError:
    return CheckpointError(
        CheckpointFailureReason.CORRUPT,
        f"checkpoint {damaged.checkpoint_id} of {whose} cannot be used: {damaged.problem}. Checkpoint"
        f" {older.metadata.checkpoint_id} is whole, but what was committed after it would be committed again",
        where=damaged.path,
        fix="bring the missing or damaged file back; or let output come twice, with execution.checkpointing"
        f".recovery-fallback=true or by starting from {older.path}; nothing was deleted",
    )


def _job_checkpoints(files: Files, job_id: str) -> list[CheckpointInfo]:
    found = []
    for entry in _entries(files, job_id):
        number = checkpoint_id_of(entry.name) if entry.is_folder else None
        if number is not None:
            found.append(_inspect(files, job_id, number))
    names = [info.job_name for info in found if info.job_name is not None]
    if len(names) < len(found):
        record = read_job_record(files, job_id, RetryPolicy())
        name = record.job_name if record else next(iter(names), None)
        found = [info if info.job_name is not None else replace(info, job_name=name) for info in found]
    return sorted(found, key=lambda info: info.checkpoint_id)


def _inspect(files: Files, job_id: str, number: int) -> CheckpointInfo:
    folder = f"{job_id}/{checkpoint_folder(number)}"
    entries = {entry.name: entry for entry in _entries(files, folder)}
    path, size = files.url(folder), sum(entry.size for entry in entries.values())
    marker = entries.get(METADATA_FILE)
    if marker is None:
        problem = f"incomplete: it has no {METADATA_FILE}"
        changed = max((entry.modified_ms for entry in entries.values()), default=0)
        return CheckpointInfo(job_id, None, number, False, changed, size, path, problem)
    try:
        checkpoint = load(path)
    except CheckpointError as error:
        problem = _problem(error)
        return CheckpointInfo(job_id, None, number, True, marker.modified_ms, size, path, problem)
    metadata = checkpoint.metadata
    return CheckpointInfo(
        job_id,
        metadata.job_name,
        number,
        True,
        metadata.timestamp_ms,
        metadata.size_bytes(),
        path,
        _missing_files(checkpoint),
    )


def _missing_files(checkpoint: StoredCheckpoint) -> str | None:
    try:
        verify(checkpoint)
    except CheckpointError as error:
        return _problem(error)
    return None


def _readable(info: CheckpointInfo) -> StoredCheckpoint | None:
    """An older checkpoint of a resumed job: its metadata says which files it needs, whatever their state."""
    try:
        return load(info.path)
    except CheckpointError:
        return None


def _entries(files: Files, folder: str) -> list[Entry]:
    what = "the checkpoint directory cannot be listed"
    return perform(RetryPolicy(), lambda: files.entries(folder), what, files.url(folder))


def _problem(error: CheckpointError) -> str:
    """What is wrong with a checkpoint, in one line. Raises the error itself where nothing is known to be."""
    if error.reason is CheckpointFailureReason.STORAGE:
        raise error
    return f"{error.what} ({error.where})" if error.where else error.what
