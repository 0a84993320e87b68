"""Byte ranges of files as splits, and how files are found and cut into them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ...core.errors import ConnectorError
from .compression import is_compressed
from .paths import file_errors

_VERSION: Final = 1
_UNKNOWN_END: Final = 2**63 - 1
"""Where the text of a compressed file ends is not known before it was read."""


@dataclass(frozen=True, slots=True)
class FileSplit:
    """The lines of a file whose first byte lies in `start` up to, but without `end`. In a compressed file, which is not cut,
    offsets count the bytes of the text in it.

    Attributes:
        path: absolute.
        start: byte offset, a multiple of the charset's unit.
        end: byte offset.
        position: byte offset of the next line. At `start`, when nothing was read yet, that may be amid a line of the part
            before, which is then skipped.
        file_size: of the whole file, in bytes, when it was found.
        modified_ns: when the file was last changed, in ns since the epoch, when it was found.
    """

    path: str
    start: int
    end: int
    position: int
    file_size: int
    modified_ns: int

    @property
    def split_id(self) -> str:
        return f"{self.path}:{self.start}"

    def encode(self) -> bytes:
        """A versioned encoding; new fields come last."""
        # A name that is not valid UTF-8 comes with surrogates; os.fsencode gives its true bytes.
        fields = (
            os.fsencode(self.path),
            self.start,
            self.end,
            self.position,
            self.file_size,
            self.modified_ns,
        )
        return msgspec.msgpack.encode([_VERSION, *fields])

    @staticmethod
    def decode(data: bytes) -> FileSplit:
        """The inverse of `encode`."""
        _, path, *numbers = msgspec.msgpack.decode(data)
        return FileSplit(os.fsdecode(path), *numbers)


def find_files(paths: Sequence[str]) -> list[str]:
    """All files, in order of path. Folders are searched to their depths.

    In folders, names that begin with `.` or `_` are passed over: they are files that somebody is still writing.

    Args:
        paths: absolute paths of files and folders. A file that is reached twice is read once.

    Raises:
        ConnectorError: a path does not exist, or cannot be read.
    """
    return list({file: None for path in paths for file in _files_under(path)})


def find_splits(paths: Sequence[str], split_bytes: int | None) -> list[FileSplit]:
    """The splits of all files (see `find_files`), in order.

    Args:
        split_bytes: the size of a split; a multiple of the charset's unit. None: files are not cut.

    Raises:
        ConnectorError: a path does not exist, or cannot be read.
    """
    return [split for file in find_files(paths) for split in cut(file, split_bytes)]


def check_unchanged(split: FileSplit, found: os.stat_result) -> None:
    """Byte offsets mean nothing in another file.

    Raises:
        ConnectorError: the file is not the one that the split was made from.
    """
    if found.st_size == split.file_size and found.st_mtime_ns == split.modified_ns:
        return
    if found.st_size == split.file_size:
        change = "it was written again, with as many bytes as before"
    else:
        verb = "shrunk" if found.st_size < split.file_size else "grown"
        change = f"it has {verb} from {split.file_size} to {found.st_size} bytes"
    raise ConnectorError(
        f"a file changed while the job was reading it: {change}",
        where=f"{split.path}, read up to byte {split.position}",
        fix="put the file back as it was (with its time of modification), or start the job without the checkpoint; "
        "a file that is still written to has to be copied first",
    )


def _files_under(path: str) -> Iterator[str]:
    with file_errors("find the files to read", path):
        if not os.path.isdir(path):
            os.stat(path)
            yield path
            return
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            if not entry.name.startswith((".", "_")):
                yield from _files_under(entry.path)


def cut(path: str, split_bytes: int | None) -> list[FileSplit]:
    """The splits of a file; none of an empty one. Raises ConnectorError."""
    with file_errors("look at a file to read", path):
        found = os.stat(path)
    size = found.st_size
    if size and is_compressed(path):
        return [FileSplit(path, 0, _UNKNOWN_END, 0, size, found.st_mtime_ns)]
    step = split_bytes or max(1, size)
    return [
        FileSplit(path, start, min(start + step, size), start, size, found.st_mtime_ns)
        for start in range(0, size, step)
    ]
