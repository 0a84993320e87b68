"""The file source: lines of text files, under PyFlink's names."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ...core.errors import JobDefinitionError
from ..base import (
    Boundedness,
    EndOfSource,
    NothingAvailable,
    Poll,
    SourceBatch,
    SourceReaderContext,
    SplitEnumeratorContext,
    SplitFinished,
)
from ..static_splits import StaticSplitEnumerator, deal_out
from .charset import find_charset, unit_bytes
from .paths import local_path
from .splits import FileSplit, find_splits
from .text_lines import TextLineCursor

_SPLIT_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """How the bytes of a file become records."""

    charset_name: str

    @staticmethod
    def text_line_format(charset_name: str = "UTF-8") -> StreamFormat:
        r"""Lines of text without their ends (`\n` or `\r\n`); the last line may have none.

        A byte order mark is dropped with `UTF-8-SIG`, `UTF-16` and `UTF-32`.

        Raises:
            JobDefinitionError: there is no such charset, or files cannot be split in it.
        """
        return StreamFormat(find_charset(charset_name))


class FileSource:
    """The lines of a fixed set of files, each file cut into splits that are read in parallel.

    The files must not change while the job lives: positions are byte offsets, and on replay the same bytes are read again.
    A file that changed, shrank or went missing stops the job with an error. All workers must see the same paths.

    >>> source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), "/data/in").build()
    """

    def __init__(self, paths: Sequence[str], stream_format: StreamFormat, split_bytes: int) -> None:
        self._paths = tuple(paths)
        self._format = stream_format
        self._split_bytes = split_bytes

    @staticmethod
    def for_record_stream_format(
        stream_format: StreamFormat, *paths: str | os.PathLike[str]
    ) -> FileSourceBuilder:
        """A builder of a source over files and folders.

        In folders, at any depth, names that begin with `.` or `_` are passed over.

        Raises:
            JobDefinitionError: no path is given, or one that is not local.
        """
        if not paths:
            raise JobDefinitionError(
                "a file source has no path", where="FileSource", fix="give at least one file or folder"
            )
        return FileSourceBuilder(tuple(local_path(path) for path in paths), stream_format)

    @property
    def boundedness(self) -> Boundedness:
        """Always bounded."""
        return Boundedness.BOUNDED

    def create_enumerator(
        self, context: SplitEnumeratorContext[FileSplit], restored: bytes | None
    ) -> StaticSplitEnumerator[FileSplit]:
        """Finds the files once, at the first start of the job."""
        return StaticSplitEnumerator(
            context,
            restored,
            find=partial(find_splits, self._paths, self._split_bytes),
            share=deal_out,
            encode=self.encode_split,
            decode=self.decode_split,
            blocking=True,
        )

    def create_reader(self, context: SourceReaderContext) -> FileSourceReader:
        """Reads one split after the other."""
        return FileSourceReader(self._format.charset_name)

    def encode_split(self, split: FileSplit) -> bytes:
        """Versioned msgpack."""
        return split.encode()

    def decode_split(self, data: bytes) -> FileSplit:
        """The inverse of `encode_split`."""
        return FileSplit.decode(data)


class FileSourceBuilder:
    """Builds a `FileSource`."""

    def __init__(self, paths: Sequence[str], stream_format: StreamFormat) -> None:
        self._paths = paths
        self._format = stream_format
        self._split_bytes = _SPLIT_BYTES

    def process_static_file_set(self) -> FileSourceBuilder:
        """Read the files that are there at the start, then end. This is the default."""
        return self

    def set_split_bytes(self, split_bytes: int) -> FileSourceBuilder:
        """Cut files into parts of that many bytes (16 MiB by default), rounded up to whole units of the charset.

        Raises:
            JobDefinitionError: it is not positive.
        """
        if split_bytes <= 0:
            raise JobDefinitionError(
                f"splits cannot have {split_bytes} bytes", where="FileSource", fix="give a positive size"
            )
        self._split_bytes = split_bytes
        return self

    def build(self) -> FileSource:
        """The source."""
        unit = unit_bytes(self._format.charset_name)
        return FileSource(self._paths, self._format, -(-self._split_bytes // unit) * unit)


class FileSourceReader:
    """Reads the splits of a subtask one after the other; one file is open at a time."""

    def __init__(self, charset_name: str) -> None:
        self._charset_name = charset_name
        self._splits: deque[FileSplit] = deque()
        self._cursor: TextLineCursor | None = None
        self._no_more_splits = False

    def start(self) -> None:
        """Files are opened when their turn comes."""

    def add_splits(self, splits: Sequence[FileSplit]) -> None:
        """Read these too."""
        self._splits.extend(splits)

    def notify_no_more_splits(self) -> None:
        """The source ends with the splits it has."""
        self._no_more_splits = True

    def poll_next(self, max_records: int) -> Poll[Any]:
        """The next lines.

        Raises:
            ConnectorError: a file is missing, changed, unreadable, or not text.
        """
        if self._cursor is None:
            if not self._splits:
                return EndOfSource() if self._no_more_splits else NothingAvailable()
            self._cursor = TextLineCursor(self._splits[0], self._charset_name)
            self._splits.popleft()
        lines = self._cursor.next_lines(max_records)
        if lines:
            return SourceBatch(self._cursor.split_id, lines)
        self._cursor.close()
        finished, self._cursor = self._cursor.split_id, None
        return SplitFinished(finished)

    def snapshot_state(self, checkpoint_id: int) -> list[FileSplit]:
        """The split that is being read at its position, and those that were not begun."""
        current = [] if self._cursor is None else [self._cursor.split()]
        return [*current, *self._splits]

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Nothing outside waits for it."""

    def close(self) -> None:
        """Close the file that is open."""
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None
