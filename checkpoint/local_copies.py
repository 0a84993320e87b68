"""Copies of checkpoint files on the host that wrote them, from which a subtask that comes back there restores.

They are a cache: whatever is missing or damaged here is read from the checkpoint storage, and nothing that goes wrong here fails a
checkpoint or a restore. A subtask's copies lie in a folder of its own, which outlives the process; their names are those of the
files in the storage, with attempt and random part, so that nothing of another attempt is ever taken for it.
Source: Flink's task-local recovery.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import xxhash

from ..state.backend import CheckpointReader, CheckpointStreams
from ..state.handles import FileRef
from .files import read_chunks

_LOG: Final = logging.getLogger(__name__)
_UNFINISHED: Final = ".unfinished"


class LocalCopies:
    """The copies of one subtask. One thread at a time.

    INVARIANT L1: what a restore takes from here has the size and checksum that the checkpoint names.
    Kept by: tests/checkpoint/test_local_copies.py::test_any_damage_is_found_and_the_storage_is_read
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_checkpoint: dict[int, set[str]] = {}
        self._failing = False
        with suppress(OSError):  # then every copy fails, and is warned about once
            folder.mkdir(parents=True, exist_ok=True)

    def streams(self, streams: CheckpointStreams, checkpoint_id: int) -> CheckpointStreams:
        """`streams`, which also leave a copy of everything here."""
        self._by_checkpoint.setdefault(checkpoint_id, set())
        return _CopyingStreams(self, streams, checkpoint_id)

    def reader(self, reader: CheckpointReader) -> CheckpointReader:
        """`reader`, asked only for what is not whole here."""
        return _LocalFirst(self, reader)

    def keep(self, checkpoint_id: int, files: Iterable[FileRef]) -> None:
        """The checkpoint refers to these files, also to some that were copied earlier."""
        self._by_checkpoint.setdefault(checkpoint_id, set()).update(_name(file) for file in files)

    def completed(self, checkpoint_id: int) -> None:
        """Remove what neither this checkpoint nor a later one refers to."""
        if (
            checkpoint_id not in self._by_checkpoint
        ):  # not ours, or from before a restore: nothing is known about it
            return
        self._by_checkpoint = {n: names for n, names in self._by_checkpoint.items() if n >= checkpoint_id}
        needed = set[str]().union(*self._by_checkpoint.values())
        try:
            for path in self._folder.iterdir():
                if path.name not in needed:
                    path.unlink(missing_ok=True)
        except OSError as error:
            self.warn(error)

    def find(self, file: FileRef) -> Path | None:
        """A whole copy. A damaged one is removed, with a warning."""
        path = self._folder / _name(file)
        try:
            size, checksum = _measured(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _LOG.warning("a local copy cannot be read, the checkpoint storage is: %s (%s)", error, path)
            return None
        if (size, checksum) == (file.size, file.checksum):
            return path
        _LOG.warning("a local copy is damaged, the checkpoint storage is read: %s", path)
        path.unlink(missing_ok=True)
        return None

    def link(self, file: FileRef, local: Path) -> None:
        """Let an immutable local file be the copy."""
        try:
            os.link(local, self._folder / _name(file))
        except FileExistsError:
            return
        except OSError as error:
            self.warn(error)

    def begin(self) -> Path:
        """Where a copy is written until its name is known."""
        return self._folder / _UNFINISHED

    def finish(self, file: FileRef) -> None:
        """What was written is the copy of `file`."""
        try:
            self.begin().rename(self._folder / _name(file))
        except OSError as error:
            self.warn(error)

    def warn(self, error: OSError) -> None:
        """Copies cost a slower recovery at worst. Said once, for a full disk would be said for each file."""
        if not self._failing:
            self._failing = True
            _LOG.warning("local copies of checkpoints cannot be kept: %s (%s)", error, self._folder)


class _CopyingStreams:
    """Implements `CheckpointStreams`."""

    def __init__(self, copies: LocalCopies, streams: CheckpointStreams, checkpoint_id: int) -> None:
        self._copies = copies
        self._streams = streams
        self._checkpoint_id = checkpoint_id

    def write_exclusive(self, name: str, chunks: Iterable[bytes]) -> FileRef:
        copy = _Copy(self._copies)
        try:
            file = self._streams.write_exclusive(name, copy.passing(chunks))
        finally:
            whole = copy.close()
        if whole:
            self._copies.finish(file)
        self._copies.keep(self._checkpoint_id, (file,))
        return file

    def write_small(self, name: str, content: bytes, most: int) -> FileRef:
        return (
            self.write_exclusive(name, [content])
            if len(content) > most
            else self._streams.write_small(name, content, most)
        )

    def upload_shared(self, local: Path) -> FileRef:
        file = self._streams.upload_shared(local)
        self._copies.link(file, local)
        self._copies.keep(self._checkpoint_id, (file,))
        return file


class _Copy:
    """A file that is written beside another one, for as long as that works."""

    def __init__(self, copies: LocalCopies) -> None:
        self._copies = copies
        self._file = None
        try:
            self._file = copies.begin().open("wb")
        except OSError as error:
            copies.warn(error)

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks, each written as it is taken."""
        for chunk in chunks:
            self._write(chunk)
            yield chunk

    def close(self) -> bool:
        """Whether everything was written."""
        if self._file is None:
            return False
        try:
            self._file.close()
        except OSError as error:
            self._copies.warn(error)
            return False
        return True

    def _write(self, chunk: bytes) -> None:
        if self._file is None:
            return
        try:
            self._file.write(chunk)
        except OSError as error:
            self._copies.warn(error)
            with suppress(OSError):  # what is buffered still does not fit
                self._file.close()
            self._file = None


class _LocalFirst:
    """Implements `CheckpointReader`."""

    def __init__(self, copies: LocalCopies, reader: CheckpointReader) -> None:
        self._copies = copies
        self._reader = reader

    def read(self, ref: FileRef) -> bytes:
        path = self._copies.find(ref)
        return self._reader.read(ref) if path is None else path.read_bytes()

    def download(self, ref: FileRef, local: Path) -> None:
        path = self._copies.find(ref)
        if path is None:
            self._reader.download(ref, local)
            if ref.shared:  # later checkpoints refer to it: the next restore finds it here
                self._copies.link(ref, local)
            return
        try:
            os.link(path, local)
        except OSError:  # another file system
            shutil.copyfile(path, local)


def _name(file: FileRef) -> str:
    return file.path.rpartition("/")[2]


def _measured(path: Path) -> tuple[int, str]:
    digest, size = xxhash.xxh3_128(), 0
    with path.open("rb") as file:
        for chunk in read_chunks(file):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
