"""A savepoint's own folder: everything it consists of, named relative to it, so that it may be moved, copied and renamed.

    <dir>/savepoint-<job>-<random>/a<attempt>-...   its files
    <dir>/savepoint-<job>-<random>/_metadata        written last: a folder without it is no savepoint

Nothing in it refers to the job's checkpoints, and no checkpoint refers to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..core.errors import CheckpointError, CheckpointFailureReason
from .metadata import METADATA_FILE, Metadata
from .retry import RetryPolicy
from .storage import open_files, random_token, read_metadata
from .streams import StorageStreams, perform

_PREFIX: Final = "savepoint-"


def new_savepoint_folder(directory: str, job_id: str, token: Callable[[], str] = random_token) -> str:
    """Full path or URL of a folder for a new savepoint: no two are ever the same.

    >>> new_savepoint_folder("s3://bucket/savepoints", "0123456789abcdef", lambda: "fedcba9876543210")
    's3://bucket/savepoints/savepoint-012345-fedcba987654'
    """
    name = f"{_PREFIX}{job_id[:6]}-{token()[:12]}"
    return f"{open_files(directory).url().rstrip('/')}/{name}"


class SavepointFolder:
    """Writes and deletes one savepoint. Thread-safe; a worker and the JobManager each make their own.

    Every method raises CheckpointError STORAGE when the storage fails for good, after patient retries.
    """

    def __init__(
        self, url: str, *, retry: RetryPolicy | None = None, token: Callable[[], str] = random_token
    ) -> None:
        directory, _, self._name = open_files(url).url().rstrip("/").rpartition("/")
        self._files = open_files(directory or "/", token)
        self._retry = retry or RetryPolicy()
        self._token = token

    @property
    def url(self) -> str:
        """Full path or URL."""
        return self._files.url(self._name)

    def is_taken(self) -> bool:
        """Whether there is anything in it."""
        what = "the folder of a savepoint cannot be listed"
        return bool(perform(self._retry, lambda: self._files.entries(self._name), what, self.url))

    def streams(self, attempt: int) -> StorageStreams:
        """Where a subtask of `attempt` writes its files."""
        return StorageStreams(
            self._files, self._retry, self._token, self._name, "", attempt, shared_folder=None
        )

    def write_metadata(self, content: bytes) -> None:
        """Make the savepoint complete, durably and at once. When it raises, a reader will not find it complete."""
        path = f"{self._name}/{METADATA_FILE}"
        try:
            perform(
                self._retry,
                lambda: self._files.write(path, lambda: (content,)),
                "the savepoint's metadata cannot be written",
                self._files.url(path),
            )
        except CheckpointError:
            self.delete()
            raise

    def load(self) -> Metadata:
        """Its metadata.

        Raises:
            CheckpointError: NOT_FOUND, CORRUPT; INCOMPATIBLE, when it is a checkpoint.
        """
        metadata = read_metadata(self._files, self._name, self._retry)
        if metadata.savepoint is None:
            raise CheckpointError(
                CheckpointFailureReason.INCOMPATIBLE,
                f"this is checkpoint {metadata.checkpoint_id} of job '{metadata.job_name}', not a savepoint",
                where=self.url,
                fix="checkpoints belong to their job, which deletes those it does not retain",
            )
        return metadata

    def delete(self) -> None:
        """Delete it, `_metadata` first so that no moment shows a complete savepoint with gaps."""

        def attempt() -> None:
            self._files.remove(f"{self._name}/{METADATA_FILE}")
            self._files.remove_folder(self._name)

        perform(self._retry, attempt, "a savepoint cannot be deleted", self.url)
