"""Phase one of the file sink: records go to hidden files, which end at the barrier."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ...core.errors import ConnectorError
from ..base import SinkWriterContext
from .buckets import (
    AnyBucketAssigner,
    BatchBucketAssigner,
    BucketContext,
    RecordBucketAssigner,
    bucket_problem,
)
from .committer import FileCommittable, hidden_name
from .encoder import BatchEncoder, find_culprit
from .paths import file_errors, make_directory, sync_directory
from .policies import OutputFileConfig, RollingPolicy

_BUFFER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class FileSinkSettings:
    """All that a file sink is made of."""

    base_path: str
    encoder: BatchEncoder[Any]
    bucket_assigner: AnyBucketAssigner
    rolling_policy: RollingPolicy
    output_file_config: OutputFileConfig


class FileSinkWriter:
    """Writes the records of one subtask to hidden part files, one open part for each bucket.

    The name of a part holds job, attempt, subtask and a random token: two processes never write to the same file, not even
    an attempt that was given up for dead and its successor.
    """

    def __init__(self, settings: FileSinkSettings, context: SinkWriterContext[FileCommittable]) -> None:
        self._settings = settings
        self._context = context
        token = os.urandom(4).hex()
        self._name_stem = (
            f"{settings.output_file_config.part_prefix}"
            f"-{context.job_id[:8]}-{context.attempt}-{context.subtask}-{token}"
        )
        self._parts_begun = 0
        self._open_parts: dict[str, _Part] = {}
        self._finished: list[FileCommittable] = []
        self._unsynced_directories: set[str] = set()
        with file_errors("make the folder of a file sink", settings.base_path):
            make_directory(settings.base_path)

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int] | None) -> None:
        """Append the records to the parts of their buckets.

        Raises:
            ConnectorError: a file cannot be written, or a bucket would lie outside the base path.
        """
        now_ms = self._context.clock.now_ms()
        assigner = self._settings.bucket_assigner
        if isinstance(assigner, BatchBucketAssigner):
            self._append(assigner.bucket_at(now_ms), values, range(len(values)))
            return
        for bucket, indices in _by_bucket(assigner, values, timestamps, now_ms).items():
            self._append(bucket, [values[index] for index in indices], indices)

    def flush(self, end_of_input: bool) -> None:
        """Wait until the device has everything.

        Raises:
            ConnectorError: it has not.
        """
        for part in self._open_parts.values():
            with file_errors("flush a part file", part.path):
                part.sync()
        while self._unsynced_directories:
            directory = next(iter(self._unsynced_directories))
            with file_errors("flush a folder", directory):
                sync_directory(directory)
            self._unsynced_directories.discard(directory)

    def prepare_commit(self, checkpoint_id: int) -> list[FileCommittable]:
        """End every open part. Pending are now all parts that ended since the last call."""
        for bucket in list(self._open_parts):
            self._finish(bucket)
        finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        """Remove the parts that are in no checkpoint, as nobody could ever commit them. Pending files stay."""
        parts, self._open_parts = self._open_parts, {}
        for part in parts.values():
            with file_errors("close a part file", part.path):
                part.discard()

    def _append(self, bucket: str, values: Sequence[Any], indices: Sequence[int]) -> None:
        if not values:
            return
        rows = self._encode(values, indices)
        part = self._part_to_write(bucket)
        with file_errors("write a part file", part.path):
            part.write(rows, self._context.clock.now_ms())
        policy = self._settings.rolling_policy
        if policy.part_size is not None and part.size >= policy.part_size:
            self._finish(bucket)

    def _encode(self, values: Sequence[Any], indices: Sequence[int]) -> bytes:
        encoder = self._settings.encoder
        try:
            return encoder.encode_batch(values)
        except Exception as error:
            culprit = find_culprit(encoder, values)
            if culprit is not None:
                error.millstream_record_index = indices[culprit]  # type: ignore[attr-defined]
            raise

    def _part_to_write(self, bucket: str) -> _Part:
        part = self._open_parts.get(bucket)
        if part is not None:
            now_ms = self._context.clock.now_ms()
            policy = self._settings.rolling_policy
            if not policy.should_roll(part.size, now_ms - part.begun_ms, now_ms - part.written_ms):
                return part
            self._finish(bucket)
        part = self._open_parts[bucket] = self._begin_part(bucket)
        return part

    def _begin_part(self, bucket: str) -> _Part:
        problem = bucket_problem(bucket)
        if problem is not None:
            raise ConnectorError(
                f"a bucket cannot be called {bucket!r}: {problem}",
                where=self._settings.base_path,
                fix="let the bucket assigner return a relative path",
            )
        directory = os.path.normpath(os.path.join(self._settings.base_path, bucket))
        name = f"{self._name_stem}-{self._parts_begun}{self._settings.output_file_config.part_suffix}"
        self._parts_begun += 1
        with file_errors("begin a part file", directory):
            make_directory(directory)
            hidden = hidden_name(name, self._context.job_id, self._context.attempt)
            part = _Part(directory, hidden, name, self._context.clock.now_ms())
        self._unsynced_directories.add(directory)
        return part

    def _finish(self, bucket: str) -> None:
        part = self._open_parts[bucket]
        with file_errors("end a part file", part.path):
            part.end()
        del self._open_parts[bucket]
        self._finished.append(
            FileCommittable(
                base_path=self._settings.base_path,
                directory=part.directory,
                hidden_name=part.hidden_name,
                name=part.name,
                size=part.size,
                job_id=self._context.job_id,
                oldest_attempt=self._context.oldest_attempt,
            )
        )


class _Part:
    """An open hidden file."""

    def __init__(self, directory: str, hidden_name: str, name: str, now_ms: int) -> None:
        self.directory = directory
        self.hidden_name = hidden_name
        self.name = name
        self.path = os.path.join(directory, hidden_name)
        self.size = 0
        self.begun_ms = self.written_ms = now_ms
        self._synced_size = -1
        self._file = open(self.path, "xb", buffering=_BUFFER_BYTES)  # noqa: SIM115 (lives longer than a block)

    def write(self, data: bytes, now_ms: int) -> None:
        self._file.write(data)
        self.size += len(data)
        self.written_ms = now_ms

    def sync(self) -> None:
        if self._synced_size == self.size:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced_size = self.size

    def end(self) -> None:
        self.sync()
        self._file.close()

    def discard(self) -> None:
        try:
            self._file.close()  # may have to write its buffer, and fail in it
        finally:
            with suppress(FileNotFoundError):  # a later attempt may have swept it up
                os.unlink(self.path)


def _by_bucket(
    assigner: RecordBucketAssigner, values: Sequence[Any], timestamps: Sequence[int] | None, now_ms: int
) -> dict[str, list[int]]:
    """The indices of the records of each bucket."""
    bucket_of = assigner.get_bucket_id
    context = BucketContext(None, now_ms)
    buckets: dict[str, list[int]] = {}
    index = 0
    try:
        for index, value in enumerate(values):
            if timestamps is not None:
                context = BucketContext(timestamps[index], now_ms)
            bucket = bucket_of(value, context)
            buckets.setdefault(bucket, []).append(index)
    except Exception as error:
        error.millstream_record_index = index  # type: ignore[attr-defined]
        raise
    return buckets
