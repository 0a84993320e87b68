"""Reading and writing the files of checkpoints, with sizes, checksums and retries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import xxhash

from ..core.errors import CheckpointError, CheckpointFailureReason
from ..state.handles import FileRef
from .files import Files, read_chunks
from .metadata import METADATA_FILE, is_relative
from .retry import RetryPolicy

T = TypeVar("T")

REPEATABLE_BYTES: Final = 8 << 20
"""As much of an iterator's content is kept to be written again after a passing failure."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._=+-]+")


class StorageStreams:
    """`CheckpointStreams` of one checkpoint or savepoint and attempt. Thread-safe.

    Args:
        job_id: name of the folder that file references are relative to.
        folder: of exclusive files, below it; "": no further folder.
        shared_folder: of shared files; None: what would be shared is copied as one more exclusive file.
    """

    def __init__(
        self,
        files: Files,
        retry: RetryPolicy,
        token: Callable[[], str],
        job_id: str,
        folder: str,
        attempt: int,
        *,
        shared_folder: str | None = "shared",
    ) -> None:
        self._files = files
        self._retry = retry
        self._token = token
        self._job_id = job_id
        self._prefix = f"{folder}/" if folder else ""
        self._attempt = attempt
        self._shared_folder = shared_folder

    def write_small(self, name: str, content: bytes, most: int) -> FileRef:
        """See `CheckpointStreams`."""
        if len(content) > most:
            return self.write_exclusive(name, [content])
        checksum = xxhash.xxh3_128_hexdigest(content)
        return FileRef(self._prefix + METADATA_FILE, len(content), checksum, shared=False, content=content)

    def write_exclusive(self, name: str, chunks: Iterable[bytes]) -> FileRef:
        """See `CheckpointStreams`. More than `REPEATABLE_BYTES` from an iterator can be written only once, not retried."""
        path = self._prefix + self._unique(name)
        first, rest = _begin(iter(chunks))
        if rest is None:
            return self._write(path, lambda: first, self._retry, shared=False)
        whole = chain(first, rest)
        return self._write(path, lambda: whole, replace(self._retry, attempts=1), shared=False)

    def upload_shared(self, local: Path) -> FileRef:
        """See `CheckpointStreams`."""

        def content() -> Iterable[bytes]:
            with local.open("rb") as file:
                yield from read_chunks(file)

        name = self._unique(local.name)
        if self._shared_folder is None:
            return self._write(self._prefix + name, content, self._retry, shared=False)
        return self._write(f"{self._shared_folder}/{name}", content, self._retry, shared=True)

    def _unique(self, name: str) -> str:
        return f"a{self._attempt}-{self._token()}-{_UNSAFE.sub('_', name)[-100:]}"

    def _write(
        self, path: str, open_content: Callable[[], Iterable[bytes]], retry: RetryPolicy, *, shared: bool
    ) -> FileRef:
        full = f"{self._job_id}/{path}"

        def attempt() -> FileRef:
            digest, size = xxhash.xxh3_128(), 0

            def measured() -> Iterable[bytes]:
                nonlocal digest, size
                digest, size = xxhash.xxh3_128(), 0
                for chunk in open_content():
                    digest.update(chunk)
                    size += len(chunk)
                    yield chunk

            self._files.write(full, measured)
            return FileRef(path, size, digest.hexdigest(), shared)

        return perform(retry, attempt, "a checkpoint file cannot be written", self._files.url(full))


class StorageReader:
    """`CheckpointReader`: verifies size and checksum on every read. Thread-safe."""

    def __init__(
        self, files: Files, retry: RetryPolicy, job_id: str, open_other: Callable[[str], Files]
    ) -> None:
        self._files = files
        self._open_other = open_other
        self._retry = retry
        self._job_id = job_id

    def read(self, ref: FileRef) -> bytes:
        """See `CheckpointReader`."""
        if ref.content is not None:
            return ref.content  # the metadata's checksum covers it

        def attempt(file: BinaryIO) -> bytes:
            content = file.read()
            self._check(ref, len(content), xxhash.xxh3_128_hexdigest(content))
            return content

        return self._with_file(ref, attempt)

    def download(self, ref: FileRef, local: Path) -> None:
        """See `CheckpointReader`."""
        if ref.content is not None:
            local.write_bytes(ref.content)
            return

        def attempt(file: BinaryIO) -> None:
            with local.open("wb") as target:
                self._pass_through(ref, file, target.write)

        self._with_file(ref, attempt)

    def verify(self, ref: FileRef, *, content: bool) -> None:
        """Nothing, if the file is there with its size and, if asked for, its content. Raises as `read`."""
        if content:
            self._with_file(ref, lambda file: self._pass_through(ref, file, len))
            return
        files, path = self._resolve(ref)
        self._check(ref, self._reading(ref, lambda: files.size(path)), ref.checksum)

    def _pass_through(self, ref: FileRef, file: BinaryIO, take: Callable[[bytes], int]) -> None:
        digest, size = xxhash.xxh3_128(), 0
        for chunk in read_chunks(file):
            digest.update(chunk)
            size += len(chunk)
            take(chunk)
        self._check(ref, size, digest.hexdigest())

    def _with_file(self, ref: FileRef, operation: Callable[[BinaryIO], T]) -> T:
        files, path = self._resolve(ref)

        def attempt() -> T:
            with files.open(path) as file:
                return operation(file)

        return self._reading(ref, attempt)

    def _reading(self, ref: FileRef, operation: Callable[[], T]) -> T:
        try:
            return self._retry.run(operation)
        except FileNotFoundError as error:
            raise corrupt_file("a checkpoint file is missing", self._where(ref)) from error
        except OSError as error:
            raise unreadable("a checkpoint file", error, self._where(ref)) from error

    def _check(self, ref: FileRef, size: int, checksum: str) -> None:
        if size != ref.size:
            raise corrupt_file(f"a checkpoint file has {size} bytes instead of {ref.size}", self._where(ref))
        if checksum != ref.checksum:
            raise corrupt_file("a checkpoint file does not match its checksum", self._where(ref))

    def _resolve(self, ref: FileRef) -> tuple[Files, str]:
        if is_relative(ref.path):
            return self._files, f"{self._job_id}/{ref.path}"
        folder, _, name = ref.path.rpartition("/")
        return self._open_other(folder), name

    def _where(self, ref: FileRef) -> str:
        return self._files.url(f"{self._job_id}/{ref.path}") if is_relative(ref.path) else ref.path


def perform(retry: RetryPolicy, operation: Callable[[], T], what: str, where: str) -> T:
    """The result of `operation`; an OSError that retries do not cure becomes a CheckpointError STORAGE."""
    try:
        return retry.run(operation)
    except OSError as error:
        raise storage_error(f"{what}: {reason_of(error)}", where) from error


def reason_of(error: OSError) -> str:
    """The system's words for an error."""
    return error.strerror or str(error) or type(error).__name__


def storage_error(what: str, where: str) -> CheckpointError:
    """The storage failed for good."""
    return CheckpointError(
        CheckpointFailureReason.STORAGE,
        what,
        where=where,
        fix="make the directory writable and free some space, or choose another with execution.checkpointing.dir",
    )


def unreadable(what: str, error: OSError, where: str) -> CheckpointError:
    """Damage where the storage answered and something else is in the file's place; else the storage is out of reach.

    The difference matters: damage makes an older checkpoint the best there is, an absent storage is waited for.
    """
    text = f"{what} cannot be read: {reason_of(error)}"
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return corrupt_file(text, where)
    return CheckpointError(
        CheckpointFailureReason.STORAGE,
        text,
        where=where,
        fix="make the storage reachable and readable, then start again with --resume; nothing was deleted",
    )


def corrupt_file(what: str, where: str) -> CheckpointError:
    """A file of a checkpoint is not what its metadata says."""
    return CheckpointError(
        CheckpointFailureReason.CORRUPT,
        what,
        where=where,
        fix="restore an older checkpoint; `millstream checkpoints DIR` lists what is there",
    )


def _begin(chunks: Iterator[bytes]) -> tuple[list[bytes], Iterator[bytes] | None]:
    """The first chunks, and the rest; None when the first ones are all."""
    first: list[bytes] = []
    size = 0
    for chunk in chunks:
        first.append(chunk)
        size += len(chunk)
        if size > REPEATABLE_BYTES:
            return first, chunks
    return first, None
