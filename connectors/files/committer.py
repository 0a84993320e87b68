"""Phase two of the file sink: hidden files become visible by being renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from ...core.errors import CheckpointError, CheckpointFailureReason, ConnectorError
from ...core.faults import fault_point
from .paths import file_errors, sync_directory

_VERSION: Final = 1
_IN_PROGRESS: Final = ".inprogress."


class FileCommittable(msgspec.Struct, frozen=True):
    """A finished part file that is still hidden.

    Attributes:
        base_path: of the sink.
        directory: absolute path of the bucket.
        hidden_name: what the file is called until it is committed.
        name: what it is called from then on.
        size: bytes in it.
        job_id: which job wrote it.
        oldest_attempt: no task of that job ran of an attempt below this one when the writer of the file began.
    """

    base_path: str
    directory: str
    hidden_name: str
    name: str
    size: int
    job_id: str
    oldest_attempt: int

    def encode(self) -> bytes:
        """A versioned encoding; new fields come last."""
        # A path that is not valid UTF-8 comes with surrogates; os.fsencode gives its true bytes.
        paths = [os.fsencode(path) for path in (self.base_path, self.directory, self.hidden_name, self.name)]
        return msgspec.msgpack.encode([_VERSION, *paths, self.size, self.job_id, self.oldest_attempt])

    @staticmethod
    def decode(data: bytes) -> FileCommittable:
        """The inverse of `encode`."""
        version, *fields = msgspec.msgpack.decode(data)
        if version != _VERSION:
            raise CheckpointError(
                CheckpointFailureReason.INCOMPATIBLE,
                f"the checkpoint holds file committables of version {version}, this release reads version {_VERSION}",
                fix="restore it with the release that wrote it, or a newer one",
            )
        base_path, directory, hidden, name = map(os.fsdecode, fields[:4])
        return FileCommittable(base_path, directory, hidden, name, *fields[4:])


def hidden_name(name: str, job_id: str, attempt: int) -> str:
    """What the part file `name` is called until it is committed.

    >>> hidden_name("part-0-5f-3", "a1b2", 7)
    '.part-0-5f-3.inprogress.a1b2.7'
    """
    return f".{name}{_IN_PROGRESS}{job_id}.{attempt}"


class FileCommitter:
    """Renames hidden files, and sweeps up what earlier attempts of the job left behind.

    INVARIANT F1: no hidden file that a checkpoint in use refers to, or that a writer has open, is ever removed. A committable is
    only committed after a checkpoint that covers it completed. For that, every sink of the job was up, in an attempt not below
    the committable's `oldest_attempt`, and before any record flowed it had committed what it restored: so of attempts before
    that one no committable is left, not even of another sink that writes to the same folder, be it in another region.
    Kept by: tests/connectors/files/test_file_sink.py::test_another_sink_in_the_same_folder_keeps_its_pending_files
    """

    def __init__(self) -> None:
        self._swept: dict[tuple[str, str], int] = {}

    def commit(self, committables: Sequence[FileCommittable]) -> None:
        """Make the files visible, in order, durably. One that is visible already stays as it is.

        Raises:
            ConnectorError: a file cannot be renamed; `retryable=False` if it is gone or was changed.
        """
        for committable in committables:
            with file_errors(
                "commit a part file", os.path.join(committable.directory, committable.hidden_name)
            ):
                _publish(committable)
        for directory in {committable.directory for committable in committables}:
            with file_errors("commit part files", directory):
                sync_directory(directory)
        newest: dict[tuple[str, str], int] = {}
        for committable in committables:
            key = (committable.base_path, committable.job_id)
            newest[key] = max(newest.get(key, -1), committable.oldest_attempt)
        for (base_path, job_id), attempt in newest.items():
            self._sweep_once(base_path, job_id, attempt)

    def close(self) -> None:
        """Nothing is held open."""

    def _sweep_once(self, base_path: str, job_id: str, attempt: int) -> None:
        if self._swept.get((base_path, job_id), -1) >= attempt:
            return
        with file_errors("remove the unfinished files of earlier attempts", base_path):
            for path in list(_leftovers(base_path, job_id, attempt)):
                _remove_if_there(path)
        self._swept[base_path, job_id] = attempt


def _publish(committable: FileCommittable) -> None:
    hidden = os.path.join(committable.directory, committable.hidden_name)
    visible = os.path.join(committable.directory, committable.name)
    size = _size_of(hidden)
    if size is None:
        # Committed before, by a call that was not recorded. The name is unique, so nobody else made it.
        if _size_of(visible) != committable.size:
            raise _lost(committable, visible)
        return
    if size != committable.size:
        raise _changed(committable, hidden, size)
    fault_point("files.before-rename")
    os.rename(hidden, visible)
    fault_point("files.after-rename")


def _size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _lost(committable: FileCommittable, visible: str) -> ConnectorError:
    return ConnectorError(
        f"a part file of {committable.size} bytes that the checkpoint promises is neither pending nor committed",
        where=visible,
        fix="if it was committed and then moved away, put it back until the job is running; otherwise its records are lost, "
        "and only an older checkpoint or a fresh start writes them again",
    )


def _changed(committable: FileCommittable, hidden: str, size: int) -> ConnectorError:
    return ConnectorError(
        f"a pending part file has {size} bytes, the checkpoint says {committable.size}",
        where=hidden,
        fix="the file was changed, or the device lost writes: restore it, or start from an older checkpoint",
    )


def _leftovers(base_path: str, job_id: str, before_attempt: int) -> Iterator[str]:
    for directory, _, names in os.walk(base_path):
        for name in names:
            attempt = _attempt_of(name, job_id)
            if attempt is not None and attempt < before_attempt:
                yield os.path.join(directory, name)


def _attempt_of(name: str, job_id: str) -> int | None:
    """The attempt that made a hidden file of the job, or None for any other file."""
    visible, separator, rest = name.rpartition(_IN_PROGRESS)
    owner, _, attempt = rest.rpartition(".")
    if not (visible.startswith(".") and separator and owner == job_id and attempt.isdecimal()):
        return None
    return int(attempt)


def _remove_if_there(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return  # the committer of another subtask was faster
