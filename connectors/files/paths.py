"""Local paths, and errors of the file system as errors a user understands."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ...core.arguments import check_text
from ...core.errors import ConnectorError, JobDefinitionError

# Somebody may make room, or the disk or server may come back; the rest (no permission, no folder) stays as it is.
_RETRYABLE: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EAGAIN,
        errno.EMFILE,
        errno.ENFILE,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)


def local_path(path: str | os.PathLike[str]) -> str:
    """The absolute path of a path or a `file:` URL. Workers may run in another folder than the program.

    >>> local_path("file:///data/in")
    '/data/in'

    Raises:
        JobDefinitionError: it is no path, or another file system is meant.
    """
    given: Any = path  # the annotation is not checked at run time
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    check_text("path", text, fix="give the path of a file or folder")
    scheme = urlsplit(text).scheme if "://" in text or text.startswith("file:") else ""
    if scheme not in {"", "file"}:
        raise JobDefinitionError(
            f"the file connectors read and write local paths, not {scheme}:// URLs",
            where=text,
            fix="give a path that every worker sees, e.g. of a mounted file system",
        )
    return os.path.abspath(unquote(urlsplit(text).path) if scheme else text)


@contextmanager
def file_errors(doing: str, where: str) -> Iterator[None]:
    """Turns an `OSError` of the block into a `ConnectorError` that says what could not be done and where."""
    try:
        yield
    except OSError as error:
        raise ConnectorError(
            f"cannot {doing}: {error.strerror or error}",
            where=error.filename if isinstance(error.filename, str) else where,
            fix=_FIXES.get(error.errno or 0, "check that the path exists and that the workers may use it"),
            retryable=error.errno in _RETRYABLE,
        ) from error


_FIXES: Final = {
    errno.ENOSPC: "make room on the device",
    errno.EDQUOT: "make room, or raise the quota",
    errno.EACCES: "give the user that runs the workers permission",
    errno.EROFS: "mount the file system writable, or choose another path",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or use fewer buckets",
}


def make_directory(path: str) -> None:
    """Make the folder and its parents; durable when it returns. Raises OSError."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        # Parallel subtasks make the same folder.
        os.makedirs(directory, exist_ok=True)
        sync_directory(os.path.dirname(directory))


def sync_directory(path: str) -> None:
    """Make new, renamed and removed names of a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
