"""Reading compressed files, told by the ends of their names, as Flink's file formats do."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

from ...core.errors import ConnectorError


def _open_zstd(path: str) -> IO[bytes]:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14

    return zstd.open(path, "rb")  # type: ignore[no-any-return,unused-ignore]


_OPENERS: Final[dict[str, Callable[[str], Any]]] = {
    ".gz": gzip.GzipFile,
    ".gzip": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
if importlib.util.find_spec("compression") is not None:
    _OPENERS[".zst"] = _open_zstd
_ENDINGS: Final = tuple(_OPENERS)


def is_compressed(path: str) -> bool:
    """Whether the name tells that the file is compressed: `.gz`, `.gzip`, `.bz2`, `.xz`, from Python 3.14 on also `.zst`.

    >>> is_compressed("/data/clicks.csv.gz"), is_compressed("/data/clicks.csv")
    (True, False)
    """
    return path.endswith(_ENDINGS)


def open_for_reading(path: str) -> IO[bytes]:
    """The bytes of the text in a file, compressed or not. Raises OSError."""
    for ending, opener in _OPENERS.items():
        if path.endswith(ending):
            file: IO[bytes] = opener(path)
            return file
    return open(path, "rb", buffering=0)


@contextmanager
def damage_errors(path: str) -> Iterator[None]:
    """Turns what a decompressor says about damaged data into a `ConnectorError`."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        if error.errno is None and is_compressed(path):  # bz2 has no error of its own
            raise _damaged(path, str(error)) from error
        raise


def _damaged(path: str, reason: str) -> ConnectorError:
    return ConnectorError(
        f"a compressed file cannot be read: {reason}",
        where=path,
        fix="it is cut off, damaged, or not compressed as its name says: write it again, or rename it",
    )
