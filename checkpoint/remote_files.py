"""The file system of checkpoints anywhere that fsspec reaches: object stores, HDFS, SFTP, memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, BinaryIO, cast

from ..core.errors import ConfigurationError
from .files import Entry


def connect(url: str) -> RemoteFiles:
    """The file system of `url`.

    Raises:
        ConfigurationError: the protocol is unknown, or the package that speaks it is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        filesystem, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"the checkpoint directory cannot be reached: {error}",
            where=f"execution.checkpointing.dir: {url}",
            fix="use a path, a file:// URL, or install the fsspec package of that protocol (s3fs, gcsfs, adlfs, ...)",
        ) from error
    return RemoteFiles(filesystem, root, url)


class RemoteFiles:
    """A folder of an fsspec file system.

    Object stores make an object visible when its upload ends, so a write is atomic by itself there; elsewhere fsspec's
    transaction of one file (write aside, then move) is the best there is. Listings are never cached.
    """

    # fsspec has no type information: `filesystem` is an `fsspec.AbstractFileSystem`, as `url_to_fs` guarantees.
    def __init__(self, filesystem: Any, root: str, url: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._url = url.rstrip("/")

    def url(self, path: str = "") -> str:
        return f"{self._url}/{path}" if path else self._url

    def write(self, path: str, open_content: Callable[[], Iterable[bytes]], *, replace: bool = True) -> None:
        target = self._path(path)
        if not replace and self._filesystem.exists(target):
            raise FileExistsError(self.url(path))
        self._filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
        # Leaving the block early discards the upload: a half-written object never gets its name.
        with self._filesystem.open(target, "wb", autocommit=False) as file:
            try:
                for chunk in open_content():
                    file.write(chunk)
            except BaseException:
                # The first error counts; some file systems of fsspec have nothing to discard, and raise NotImplementedError.
                with contextlib.suppress(OSError, NotImplementedError):
                    file.discard()
                raise
        file.commit()

    def open(self, path: str) -> BinaryIO:
        raw = self._filesystem.open(self._path(path), "rb")
        # AbstractBufferedFile is an io.IOBase with `read`; the caller uses nothing else.
        return cast("BinaryIO", raw)

    def entries(self, path: str = "") -> list[Entry]:
        folder = self._path(path)
        try:
            listing = self._filesystem.ls(folder, detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except TypeError:  # file systems without listings to refresh refuse the argument
            listing = self._filesystem.ls(folder, detail=True)
        return sorted(self._entry(item) for item in listing if item["name"].rstrip("/") != folder)

    def size(self, path: str) -> int:
        return int(self._filesystem.size(self._path(path)))

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.rm_file(self._path(path))

    def remove_folder(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.rm(self._path(path), recursive=True)

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _entry(self, item: dict[str, Any]) -> Entry:
        name = item["name"].rstrip("/").rpartition("/")[2]
        modified: Any = item.get("mtime") or item.get("LastModified") or item.get("created")
        seconds = modified.timestamp() if isinstance(modified, datetime) else float(modified or 0)
        is_folder = item["type"] == "directory"
        return Entry(name, is_folder, 0 if is_folder else int(item["size"] or 0), int(seconds * 1_000))
