"""What is too large for the record: the job's graph; and what is too secret: that by which processes of the cluster know each other."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from ...checkpoint.retry import RetryPolicy
from ...checkpoint.storage import open_files
from ...core.errors import ConfigurationError, MillstreamError

T = TypeVar("T")

_KEY_FILE: Final = "secret"
_KEY_BYTES: Final = 32


class ClusterFiles:
    """The storage directory of a cluster.

    Whoever can write it can have code of theirs run by the cluster, and whoever can read it can pass for one of its workers:
    a local folder is its owner's alone (0700); on an object store that is up to its access rules.

    Every method raises MillstreamError when the storage fails for good.

    Raises:
        ConfigurationError: the folder is open to others, or cannot be made.
    """

    def __init__(self, storage: str) -> None:
        if "://" not in storage:
            _make_private(Path(storage))
        self._files = open_files(storage)
        self._retry = RetryPolicy()

    def put_job(self, job_id: str, artifact: bytes) -> str:
        """Keep a job's graph, durably; its name in the storage."""
        name = f"job-{job_id}.graph"
        self._perform(lambda: self._files.write(name, lambda: (artifact,)), name)
        return name

    def read_job(self, name: str) -> bytes:
        """What `put_job` kept."""
        return self._perform(lambda: self._read(name), name)

    def remove_job(self, name: str) -> None:
        """The job has ended."""
        self._perform(lambda: self._files.remove(name), name)

    def secret(self) -> bytes:
        """The cluster's secret, made by whoever comes first."""

        def make() -> bytes:
            with contextlib.suppress(FileExistsError):
                self._files.write(_KEY_FILE, lambda: (os.urandom(_KEY_BYTES),), replace=False)
            return self._read(_KEY_FILE)

        return self._perform(make, _KEY_FILE)

    def _read(self, name: str) -> bytes:
        with self._files.open(name) as file:
            return file.read()

    def _perform(self, operation: Callable[[], T], name: str) -> T:
        try:
            return self._retry.run(operation)
        except OSError as error:
            raise MillstreamError(
                f"the storage of high availability failed: {error.strerror or error}",
                where=self._files.url(name),
                fix="make high-availability.storageDir reachable and writable for every job manager",
            ) from error


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(
            f"the storage directory cannot be made: {error.strerror or error}",
            where=f"high-availability.storageDir: {folder}",
        ) from error
    if mode & 0o077:
        raise ConfigurationError(
            f"the storage directory is open to other users (its mode is {mode:o})",
            where=f"high-availability.storageDir: {folder}",
            fix=f"chmod 700 {folder}: it holds the cluster's secret, and code that the cluster runs",
        )
