"""What checkpoint storage needs of a file system, and the local one. Remote ones are in `remote_files`.

Paths are relative to the checkpoint directory, with `/`. A file appears under its name complete and durable, or not at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from ..core.workdir import remove_tree

CHUNK_BYTES: Final = 1 << 20


class Entry(NamedTuple):
    """A file or folder in a folder. Times in ms since the epoch, sizes in bytes (0 for a folder)."""

    name: str
    is_folder: bool
    size: int
    modified_ms: int


class Files(Protocol):
    """A file system rooted at the checkpoint directory. Thread-safe; every method may raise OSError."""

    def url(self, path: str = "") -> str:
        """The full path, for messages and absolute references."""

    def write(self, path: str, open_content: Callable[[], Iterable[bytes]], *, replace: bool = True) -> None:
        """Make a file with its parent folders, atomically and durably.

        `open_content` gives the content; it is called again when the write is repeated. With `replace=False` a file
        that exists already stays as it is and FileExistsError is raised.
        """

    def open(self, path: str) -> BinaryIO:
        """The file's content for reading."""

    def entries(self, path: str = "") -> list[Entry]:
        """What is in a folder, sorted by name; nothing when there is no such folder."""

    def size(self, path: str) -> int:
        """Bytes. Raises FileNotFoundError."""

    def remove(self, path: str) -> None:
        """Delete a file; nothing when there is none."""

    def remove_folder(self, path: str) -> None:
        """Delete a folder with all that is in it; nothing when there is none."""


class LocalFiles:
    """A folder of this machine (or a network mount). Writes a temporary file, syncs, renames, syncs the folder."""

    def __init__(self, root: Path, token: Callable[[], str]) -> None:
        self._root = root
        self._token = token

    def url(self, path: str = "") -> str:
        return str(self._root / path) if path else str(self._root)

    def write(self, path: str, open_content: Callable[[], Iterable[bytes]], *, replace: bool = True) -> None:
        target = self._root / path
        self._make_folder(target.parent)
        temporary = target.with_name(f".{target.name}.{self._token()}.tmp")
        try:
            with temporary.open("xb") as file:
                for chunk in open_content():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.rename(target)
            else:
                _rename_exclusively(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)

    def open(self, path: str) -> BinaryIO:
        return (self._root / path).open("rb")

    def entries(self, path: str = "") -> list[Entry]:
        found = []
        try:
            listing = list(os.scandir(self._root / path))
        except FileNotFoundError:
            return []
        for item in listing:
            # What is gone by now was not to stay: a temporary file, or a checkpoint that another one replaced.
            with contextlib.suppress(FileNotFoundError):
                status = item.stat()
                is_folder = item.is_dir()
                size = 0 if is_folder else status.st_size
                found.append(Entry(item.name, is_folder, size, status.st_mtime_ns // 1_000_000))
        return sorted(found)

    def size(self, path: str) -> int:
        return (self._root / path).stat().st_size

    def remove(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)

    def remove_folder(self, path: str) -> None:
        folder = self._root / path
        remove_tree(folder)  # others may be deleting it, too, or, being stopped, write one more file into it
        with contextlib.suppress(FileNotFoundError):
            if folder.exists():
                shutil.rmtree(folder)  # says why it cannot

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of a file, piece by piece."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _rename_exclusively(source: Path, target: Path) -> None:
    """A hard link, unlike a rename, never replaces: of two JobManagers that believe to own the job only one wins."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # some network and user-space file systems have no hard links
        if target.exists():
            raise FileExistsError(str(target)) from None
        source.rename(target)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
