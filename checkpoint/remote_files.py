"""The file system of checkpoints anywhere that fsspec reaches: object stores, HDFS, SFTP, memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from ..core.errors import ConfigurationError, MissingDependencyError
from .files import Entry
from .remote_errors import is_conflict, is_unsupported, translated

if TYPE_CHECKING:
    from typing import Self

_LOG: Final = logging.getLogger(__name__)
_EXTRAS: Final = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3")}
_OBJECT_STORES: Final = frozenset({"abfs", "abfss", "adl", "az", "gcs", "gs", "oss", "s3", "s3a"})
"""Protocols where an object appears when its upload ends, and where there are no folders to be made."""

_EXCLUSIVE: Final = frozenset({"gcs", "gs", "s3", "s3a"})
"""Protocols whose fsspec package opens with `x` by one conditional request, so that of two writers one is refused."""


def connect(url: str) -> RemoteFiles:
    """The file system of `url`.

    Raises:
        MissingDependencyError: the protocol's package, for which there is an extra, is not installed.
        ConfigurationError: the protocol is unknown, or the package that speaks it is not installed.
    """
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0]
    try:
        # Listings are never cached: another process may have written meanwhile.
        filesystem, root = url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        if protocol in _EXTRAS and isinstance(error, ImportError):
            package, extra = _EXTRAS[protocol]
            raise MissingDependencyError(package, extra, needed_for=f"a {protocol}:// directory") from error
        raise ConfigurationError(
            f"the checkpoint directory cannot be reached: {error}",
            where=f"execution.checkpointing.dir: {url}",
            fix="use a path, a file:// URL, or install the fsspec package of that protocol (s3fs, gcsfs, adlfs, ...)",
        ) from error
    return RemoteFiles(filesystem, root, url)


class RemoteFiles:
    """A folder of an fsspec file system.

    Object stores make an object visible when its upload ends, so a write is atomic by itself there; elsewhere fsspec's
    transaction of one file (write aside, then move) is the best there is. `replace=False` is exclusive where the store
    writes conditionally (`If-None-Match: *`), and a look beforehand elsewhere.
    """

    # fsspec has no type information: `filesystem` is an `fsspec.AbstractFileSystem`, as `url_to_fs` guarantees.
    def __init__(self, filesystem: Any, root: str, url: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._url = url.rstrip("/")
        protocol = url.partition("://")[0]
        self._is_object_store = protocol in _OBJECT_STORES
        self._exclusive = protocol in _EXCLUSIVE

    def url(self, path: str = "") -> str:
        return f"{self._url}/{path}" if path else self._url

    def write(self, path: str, open_content: Callable[[], Iterable[bytes]], *, replace: bool = True) -> None:
        with translated():
            if replace:
                self._write(path, open_content, "wb")
            elif self._exclusive:
                self._write_exclusively(path, open_content)
            else:
                self._write_after_a_look(path, open_content)

    def open(self, path: str) -> BinaryIO:
        with translated():
            raw = self._filesystem.open(self._path(path), "rb")
        # AbstractBufferedFile is an io.IOBase with `read`; the caller uses nothing else.
        return cast("BinaryIO", _TranslatedReader(raw))

    def entries(self, path: str = "") -> list[Entry]:
        folder = self._path(path)
        try:
            with translated():
                listing = self._filesystem.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(self._entry(item) for item in listing if item["name"].rstrip("/") != folder)

    def size(self, path: str) -> int:
        with translated():
            return int(self._filesystem.size(self._path(path)))

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError), translated():
            self._filesystem.rm_file(self._path(path))

    def remove_folder(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError), translated():
            self._filesystem.rm(self._path(path), recursive=True)

    def _write_exclusively(self, path: str, open_content: Callable[[], Iterable[bytes]]) -> None:
        try:
            self._write(path, open_content, "xb")
        except OSError as error:
            if is_conflict(error):
                raise FileExistsError(self.url(path)) from error
            if not is_unsupported(error):
                raise
            self._exclusive = False
            _LOG.warning("%s does not write conditionally; only one job manager may run a job", self._url)
            self._write_after_a_look(path, open_content)

    def _write_after_a_look(self, path: str, open_content: Callable[[], Iterable[bytes]]) -> None:
        if self._filesystem.exists(self._path(path)):
            raise FileExistsError(self.url(path))
        self._write(path, open_content, "wb")

    def _write(self, path: str, open_content: Callable[[], Iterable[bytes]], mode: str) -> None:
        target = self._path(path)
        if not self._is_object_store:  # there the bucket would be made, if its name is misspelt
            self._filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
        # Autocommit: one request for a small object, several parts for a large one, and the name at the end.
        file = self._filesystem.open(target, mode, autocommit=self._is_object_store)
        try:
            for chunk in open_content():
                file.write(chunk)
            file.close()
            if not self._is_object_store:
                file.commit()
        except BaseException:
            self._give_up(file)
            raise

    def _give_up(self, file: Any) -> None:
        """A half-written object never gets its name, not even when the file object is collected, which closes it."""
        if self._is_object_store:
            file.closed = True
        # The first error counts; some file systems of fsspec have nothing to discard, and raise NotImplementedError.
        with contextlib.suppress(OSError, NotImplementedError), translated():
            file.discard()

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _entry(self, item: dict[str, Any]) -> Entry:
        name = item["name"].rstrip("/").rpartition("/")[2]
        modified: Any = item.get("mtime") or item.get("LastModified") or item.get("created")
        seconds = modified.timestamp() if isinstance(modified, datetime) else float(modified or 0)
        is_folder = item["type"] == "directory"
        return Entry(name, is_folder, 0 if is_folder else int(item["size"] or 0), int(seconds * 1_000))


class _TranslatedReader:
    """An open file whose reads raise OSErrors alone."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        with translated():
            content: bytes = self._raw.read(size)
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()
