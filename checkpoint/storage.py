"""Where checkpoints are kept: files of one job under the checkpoint directory.

    <dir>/<job-id>/_job                     the job's name, and which attempts were begun
    <dir>/<job-id>/chk-<n>/a<attempt>-...   files of one checkpoint alone
    <dir>/<job-id>/chk-<n>/_metadata        written last: a folder without it is no checkpoint
    <dir>/<job-id>/shared/a<attempt>-...    files that several checkpoints may refer to

Every name carries the attempt and a random part, so a zombie of an earlier attempt never overwrites anything.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ..core.errors import CheckpointError, CheckpointFailureReason, ConfigurationError
from ..state.handles import FileRef
from .files import Entry, Files, LocalFiles
from .metadata import METADATA_FILE, Metadata, decode_metadata
from .retry import RetryPolicy
from .streams import StorageReader, StorageStreams, perform, reason_of, storage_error, unreadable

T = TypeVar("T")

JOB_FILE: Final = "_job"
_FOLDER: Final = re.compile(r"chk-(\d+)\Z")


class JobRecord(msgspec.Struct, frozen=True):
    """What is kept of a job beside its checkpoints, so that a corrupt checkpoint still tells whose it is."""

    job_id: str
    job_name: str
    last_attempt: int
    stopped_at: str | None = None
    """The savepoint that the job ended with: no checkpoint of the job may be resumed from any more, its output goes further."""


def random_token() -> str:
    """64 random bits as hexadecimal digits."""
    return secrets.token_hex(8)


def open_files(url: str, token: Callable[[], str] = random_token) -> Files:
    """The file system of a checkpoint directory: a path, a `file://` URL or any URL that fsspec knows.

    Raises:
        ConfigurationError: the protocol is unknown or its package is missing; or as `without_file_scheme`.
    """
    url = without_file_scheme(url)
    if "://" not in url:
        return LocalFiles(Path(url).expanduser().absolute(), token)
    from .remote_files import connect

    return connect(url)


def without_file_scheme(url: str) -> str:
    """The path in a `file://` URL; anything else as it is.

    >>> without_file_scheme("file:///data/checkpoints")
    '/data/checkpoints'

    Raises:
        ConfigurationError: a `file:` URL without its slashes, which would pass for a folder of that name.
    """
    if url.startswith("file:") and not url.startswith("file://"):
        raise ConfigurationError(
            "a file: URL of a directory begins with file:// and an absolute path",
            where=url,
            fix=f"write {Path(url.removeprefix('file:')).absolute().as_uri()}, or a path without file:",
        )
    return url.removeprefix("file://")


def checkpoint_folder(checkpoint_id: int) -> str:
    """Name of a checkpoint's folder."""
    return f"chk-{checkpoint_id}"


def checkpoint_id_of(folder: str) -> int | None:
    """The id in a folder's name; None when it is no checkpoint folder."""
    match = _FOLDER.match(folder)
    return int(match.group(1)) if match else None


class CheckpointStorage:
    """The folder of one job. Thread-safe; a worker and the JobManager each make their own.

    Every method raises CheckpointError STORAGE when the storage fails for good, after patient retries.

    Args:
        connect: False: the directory is reached when it is first needed, by a job that takes savepoints alone never.

    Raises:
        ConfigurationError: as `open_files`.
    """

    def __init__(
        self,
        url: str,
        job_id: str,
        *,
        retry: RetryPolicy | None = None,
        token: Callable[[], str] = random_token,
        connect: bool = True,
    ) -> None:
        self.url = url
        self.job_id = job_id
        self._opened = open_files(url, token) if connect else None
        self._retry = retry or RetryPolicy()
        self._token = token
        self._foreign_ids: set[int] = (
            set()
        )  # completed by another JobManager: never to be deleted by this one

    @property
    def _files(self) -> Files:
        if self._opened is None:
            self._opened = open_files(self.url, self._token)
        return self._opened

    @property
    def job_folder(self) -> str:
        """Full path or URL of the job's folder: what absolute file references start with."""
        return self._files.url(self.job_id)

    def checkpoint_path(self, checkpoint_id: int) -> str:
        """Full path or URL of a checkpoint, for users and errors."""
        return self._files.url(f"{self.job_id}/{checkpoint_folder(checkpoint_id)}")

    def check_writable(self) -> None:
        """Write, read and remove a file in the checkpoint directory, making the directory if needed."""
        probe, content = f".millstream-probe-{self._token()}", b"may be deleted"

        def attempt() -> bytes:
            self._files.write(probe, lambda: (content,))
            with self._files.open(probe) as file:
                found = file.read()
            self._files.remove(probe)
            return found

        if self._perform(attempt, "the checkpoint directory cannot be written", self._files.url()) != content:
            raise storage_error(
                "the checkpoint directory does not give back what was written", self._files.url()
            )

    def claim_attempt(self, job_name: str, *, at_least: int = 1) -> int:
        """A number higher than that of every attempt before, also of ones that ended by kill -9. Durable on return.

        Call once for every start and restart of the job: file names, committables and messages carry it. Only one
        JobManager may own a job at a time. `at_least`: attempts below may have gone by without being recorded, while
        the storage could not be written.
        """
        path = f"{self.job_id}/{JOB_FILE}"
        record = read_job_record(self._files, self.job_id, self._retry)
        if record is not None and record.stopped_at is not None:
            raise CheckpointError(
                CheckpointFailureReason.JOB_ENDED,
                "the job has ended with a savepoint, and its output goes further than its checkpoints",
                where=record.stopped_at,
                fix="start from the savepoint: --from PATH, or --resume, which finds it",
            )
        last = record.last_attempt if record else self._highest_attempt_in_use()
        claimed = max(last + 1, at_least)
        encoded = msgspec.json.encode(JobRecord(self.job_id, job_name, claimed))
        self._perform(
            lambda: self._files.write(path, lambda: (encoded,)),
            "the attempt cannot be recorded",
            self._files.url(path),
        )
        return claimed

    def note_stop(self, savepoint: str | None) -> None:
        """The job ends with this savepoint: durable on return, and before anything is committed that only it covers. From then on
        no attempt can be claimed. None: it does not end with it after all."""
        path = f"{self.job_id}/{JOB_FILE}"
        record = read_job_record(self._files, self.job_id, self._retry)
        known = record or JobRecord(self.job_id, "", self._highest_attempt_in_use())
        encoded = msgspec.json.encode(msgspec.structs.replace(known, stopped_at=savepoint))
        self._perform(
            lambda: self._files.write(path, lambda: (encoded,)),
            "the end of the job cannot be recorded",
            self._files.url(path),
        )

    def streams(self, checkpoint_id: int, attempt: int) -> StorageStreams:
        """Where a subtask of `attempt` writes its files of a checkpoint."""
        return StorageStreams(
            self._files, self._retry, self._token, self.job_id, checkpoint_folder(checkpoint_id), attempt
        )

    def reader(self, job_id: str | None = None) -> StorageReader:
        """Reads files named relative to this job's folder, or to that of `job_id`, and absolute ones."""
        return StorageReader(self._files, self._retry, job_id or self.job_id, open_files)

    def write_metadata(self, checkpoint_id: int, content: bytes) -> None:
        """Make the checkpoint complete: durably and at once. Never replaces `_metadata` of another content.

        When it raises, a reader will not find the checkpoint complete, unless the storage also refuses to delete.
        """
        path = f"{self.job_id}/{checkpoint_folder(checkpoint_id)}/{METADATA_FILE}"

        def attempt() -> None:
            try:
                self._files.write(path, lambda: (content,), replace=False)
            except FileExistsError:
                # An earlier attempt of this very write may have succeeded without our hearing of it.
                with self._files.open(path) as file:
                    if file.read() != content:
                        raise

        try:
            self._retry.run(attempt)
        except FileExistsError as error:
            self._foreign_ids.add(checkpoint_id)
            raise storage_error(
                f"checkpoint {checkpoint_id} has metadata of another job manager: two of them run the same job",
                self._files.url(path),
            ) from error
        except OSError as error:
            self._withdraw(path)
            raise storage_error(
                f"the metadata cannot be written: {reason_of(error)}", self._files.url(path)
            ) from error

    def discard(self, checkpoint_id: int) -> None:
        """Delete a checkpoint's folder, `_metadata` first so that no moment shows a complete checkpoint with gaps."""
        if checkpoint_id in self._foreign_ids:
            return
        folder = f"{self.job_id}/{checkpoint_folder(checkpoint_id)}"

        def attempt() -> None:
            self._files.remove(f"{folder}/{METADATA_FILE}")
            self._files.remove_folder(folder)

        self._perform(attempt, "a checkpoint cannot be deleted", self._files.url(folder))

    def discard_files(self, files: Sequence[FileRef]) -> None:
        """Delete files of this job, in `shared/` or of one checkpoint; missing ones and those of other jobs are skipped."""
        for file in files:
            parts = file.path.split("/")
            owned = len(parts) == 2 and (parts[0] == "shared" or checkpoint_id_of(parts[0]) is not None)
            if owned and ".." not in parts:
                path = f"{self.job_id}/{file.path}"
                self._perform(
                    lambda path=path: self._files.remove(path),  # type: ignore[misc]
                    "a checkpoint file cannot be deleted",
                    self._files.url(path),
                )

    def load(self, checkpoint_id: int) -> Metadata:
        """The metadata of a complete checkpoint of this job.

        Raises:
            CheckpointError: NOT_FOUND, CORRUPT, INCOMPATIBLE or STORAGE.
        """
        return read_metadata(self._files, f"{self.job_id}/{checkpoint_folder(checkpoint_id)}", self._retry)

    def checkpoint_ids(self) -> tuple[int, ...]:
        """Every `chk-<n>` there is, complete or not, ascending."""
        found = (checkpoint_id_of(entry.name) for entry in self._list(self.job_id) if entry.is_folder)
        return tuple(sorted(number for number in found if number is not None))

    def file_names(self, checkpoint_id: int | None) -> tuple[str, ...]:
        """What is in a checkpoint's folder, or in `shared/` for None, ascending."""
        folder = "shared" if checkpoint_id is None else checkpoint_folder(checkpoint_id)
        return tuple(entry.name for entry in self._list(f"{self.job_id}/{folder}") if not entry.is_folder)

    def _list(self, folder: str) -> list[Entry]:
        what = "the checkpoint directory cannot be listed"
        return self._perform(lambda: self._files.entries(folder), what, self._files.url(folder))

    def _highest_attempt_in_use(self) -> int:
        """From the names of files, in case the job's record was lost."""
        folders = [checkpoint_folder(number) for number in self.checkpoint_ids()]
        names = (entry.name for f in (*folders, "shared") for entry in self._list(f"{self.job_id}/{f}"))
        return max((int(m.group(1)) for name in names if (m := re.match(r"a(\d+)-", name))), default=0)

    def _withdraw(self, path: str) -> None:
        try:
            self._files.remove(path)
        except OSError as error:
            what = f"metadata whose write failed may be there and cannot be deleted: {reason_of(error)}"
            raise storage_error(what, self._files.url(path)) from error

    def _perform(self, operation: Callable[[], T], what: str, where: str) -> T:
        return perform(self._retry, operation, what, where)


def read_metadata(files: Files, folder: str, retry: RetryPolicy) -> Metadata:
    """The metadata in a checkpoint's folder. Raises as `CheckpointStorage.load`."""
    path = f"{folder}/{METADATA_FILE}" if folder else METADATA_FILE

    def attempt() -> bytes:
        with files.open(path) as file:
            return file.read()

    try:
        content = retry.run(attempt)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            CheckpointFailureReason.NOT_FOUND,
            f"there is no complete checkpoint: {METADATA_FILE} is missing",
            where=files.url(folder),
            fix="name the folder of a checkpoint (.../<job-id>/chk-<n>); `millstream checkpoints DIR` lists them",
        ) from error
    except OSError as error:
        raise unreadable("the metadata", error, files.url(path)) from error
    return decode_metadata(content, files.url(path))


def read_job_record(files: Files, job_id: str, retry: RetryPolicy) -> JobRecord | None:
    """What is kept of a job; None when it is missing or damaged: nothing rests on it alone.

    Raises:
        CheckpointError: STORAGE. A record that is only out of reach may hold the highest attempt of all.
    """
    path = f"{job_id}/{JOB_FILE}"

    def attempt() -> bytes:
        with files.open(path) as file:
            return file.read()

    try:
        return msgspec.json.decode(retry.run(attempt), type=JobRecord)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, msgspec.MsgspecError):
        return None
    except OSError as error:
        raise unreadable("the job's record", error, files.url(path)) from error
