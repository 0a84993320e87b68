"""The file source: text files, under PyFlink's names."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, NoReturn, TypeVar, cast

from ...core.arguments import check_instance, check_int
from ...core.errors import JobDefinitionError
from ...core.time import TimeLike, to_millis
from ...core.types import Types
from ..base import (
    Boundedness,
    EndOfSource,
    NothingAvailable,
    Poll,
    SourceBatch,
    SourceReaderContext,
    SplitEnumerator,
    SplitEnumeratorContext,
    SplitFinished,
)
from ..static_splits import StaticSplitEnumerator, deal_out
from .charset import find_charset, unit_bytes
from .continuous import ContinuousFileEnumerator
from .paths import local_path
from .providers import FileEnumeratorProvider, FileSplitAssignerProvider
from .splits import FileSplit, find_splits
from .text_lines import TextLineCursor

T = TypeVar("T")
R = TypeVar("R")

_SPLIT_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StreamFormat(Generic[T]):
    """How the bytes of a file become records.

    Attributes:
        charset_name: of the text.
        convert: from some lines to their records, one for each or fewer; None where the lines are the records.
        header: the first line of each file is no record.
        type_info: type of the records, None if nobody declared it.
    """

    charset_name: str
    convert: Callable[[list[str]], list[T]] | None = None
    type_info: Any = None
    header: bool = False

    @staticmethod
    def text_line_format(charset_name: str = "UTF-8") -> StreamFormat[str]:
        r"""Lines of text without their ends (`\n` or `\r\n`); the last line may have none.

        A byte order mark is dropped with `UTF-8-SIG`, `UTF-16` and `UTF-32`.

        Raises:
            JobDefinitionError: there is no such charset, or files cannot be split in it.
        """
        return StreamFormat(find_charset(charset_name), type_info=Types.STRING())


class FileSource(Generic[T]):
    """The records of files, each file cut into splits that are read in parallel.

    The files must not change while the job lives: positions are byte offsets, and on replay the same bytes are read again.
    A file that changed, shrank or went missing stops the job with an error. All workers must see the same paths.

    Files whose names end in `.gz`, `.bz2` or `.xz` are decompressed (from Python 3.14 on `.zst`, too). They are not cut, and
    going on in the middle of one means to decompress what is before it again.

    >>> source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), "/data/in").build()
    """

    def __init__(
        self,
        paths: Sequence[str],
        stream_format: StreamFormat[T],
        split_bytes: int | None,
        discovery_interval_ms: int | None = None,
    ) -> None:
        self._paths = tuple(paths)
        self._format = stream_format
        self._split_bytes = split_bytes
        self._discovery_interval_ms = discovery_interval_ms
        self.type_info = stream_format.type_info

    @staticmethod
    def for_record_stream_format(
        stream_format: StreamFormat[R], *paths: str | os.PathLike[str]
    ) -> FileSourceBuilder[R]:
        """A builder of a source over files and folders.

        In folders, at any depth, names that begin with `.` or `_` are passed over.

        Raises:
            JobDefinitionError: no path is given, or one that is not local.
        """
        if not paths:
            raise JobDefinitionError(
                "a file source has no path", where="FileSource", fix="give at least one file or folder"
            )
        given: Any = stream_format  # the annotation is not checked at run time
        if not isinstance(given, StreamFormat):
            raise JobDefinitionError(
                f"{stream_format!r} is no stream format",
                where="FileSource",
                fix="pass StreamFormat.text_line_format() or CsvReaderFormat.for_schema(...)",
            )
        return FileSourceBuilder(tuple(local_path(path) for path in paths), stream_format)

    @staticmethod
    def for_bulk_file_format(bulk_format: object, *paths: str | os.PathLike[str]) -> NoReturn:  # noqa: ARG004 (PyFlink has it)
        """Not supported: there are no bulk formats (Parquet, ORC) yet.

        Raises:
            JobDefinitionError: always.
        """
        raise JobDefinitionError(
            f"files cannot be read in the bulk format {bulk_format!r}: there are no bulk formats yet",
            where="FileSource.for_bulk_file_format",
            fix="read lines with for_record_stream_format(StreamFormat.text_line_format(), ...), or write a source of your own: "
            "millstream.connectors.base tells how",
        )

    @property
    def gives_timestamps(self) -> bool:
        """See `TellsTimestamps`."""
        return False

    @property
    def boundedness(self) -> Boundedness:
        """Bounded, unless it looks for new files."""
        return (
            Boundedness.BOUNDED if self._discovery_interval_ms is None else Boundedness.CONTINUOUS_UNBOUNDED
        )

    def create_enumerator(
        self, context: SplitEnumeratorContext[FileSplit], restored: bytes | None
    ) -> SplitEnumerator[FileSplit]:
        """Finds the files once, at the first start of the job, or again and again."""
        if self._discovery_interval_ms is not None:
            return ContinuousFileEnumerator(
                context, restored, self._paths, self._split_bytes, self._discovery_interval_ms
            )
        return StaticSplitEnumerator(
            context,
            restored,
            find=partial(find_splits, self._paths, self._split_bytes),
            share=deal_out,
            encode=self.encode_split,
            decode=self.decode_split,
            blocking=True,
        )

    def create_reader(self, context: SourceReaderContext) -> FileSourceReader[T]:
        """Reads one split after the other."""
        return FileSourceReader(self._format)

    def encode_split(self, split: FileSplit) -> bytes:
        """Versioned msgpack."""
        return split.encode()

    def decode_split(self, data: bytes) -> FileSplit:
        """The inverse of `encode_split`."""
        return FileSplit.decode(data)


class FileSourceBuilder(Generic[T]):
    """Builds a `FileSource`."""

    def __init__(self, paths: Sequence[str], stream_format: StreamFormat[T]) -> None:
        self._paths = paths
        self._format = stream_format
        self._split_bytes = _SPLIT_BYTES
        self._splittable = True
        self._discovery_interval_ms: int | None = None

    def process_static_file_set(self) -> FileSourceBuilder[T]:
        """Read the files that are there at the start, then end. This is the default."""
        self._discovery_interval_ms = None
        return self

    def monitor_continuously(self, discovery_interval: TimeLike) -> FileSourceBuilder[T]:
        """Look for new files every `discovery_interval`, for ever. A file is read once, under its path; it has to be whole when
        it appears, so move it there. All paths that were read are kept in the checkpoints.

        Raises:
            JobDefinitionError: the interval is not positive.
        """
        interval_ms = to_millis(discovery_interval)
        if interval_ms <= 0:
            raise JobDefinitionError(
                f"files cannot be looked for every {interval_ms} ms",
                where="FileSource",
                fix="give for example Duration.of_seconds(10)",
            )
        self._discovery_interval_ms = interval_ms
        return self

    def set_file_enumerator(self, file_enumerator: FileEnumeratorProvider) -> FileSourceBuilder[T]:
        """Whether files are cut into splits; they are by default."""
        fix = "give for example FileEnumeratorProvider.default_splittable_file_enumerator()"
        check_instance("file enumerator", file_enumerator, FileEnumeratorProvider, fix=fix)
        self._splittable = file_enumerator.splittable
        return self

    def set_split_assigner(self, split_assigner: FileSplitAssignerProvider) -> FileSourceBuilder[T]:
        """Which reader gets which split: here all files are equally far from all workers."""
        fix = "give for example FileSplitAssignerProvider.locality_aware_split_assigner()"
        check_instance("split assigner", split_assigner, FileSplitAssignerProvider, fix=fix)
        return self

    def set_split_bytes(self, split_bytes: int) -> FileSourceBuilder[T]:
        """Cut files into parts of that many bytes (16 MiB by default), rounded up to whole units of the charset.

        Raises:
            JobDefinitionError: it is not positive.
        """
        check_int("number of bytes of a split", split_bytes, least=1, fix="give for example 16 * 1024 * 1024")
        self._split_bytes = split_bytes
        return self

    def build(self) -> FileSource[T]:
        """The source."""
        unit = unit_bytes(self._format.charset_name)
        split_bytes = -(-self._split_bytes // unit) * unit if self._splittable else None
        return FileSource(self._paths, self._format, split_bytes, self._discovery_interval_ms)


class FileSourceReader(Generic[T]):
    """Reads the splits of a subtask one after the other; one file is open at a time."""

    def __init__(self, stream_format: StreamFormat[T]) -> None:
        self._charset_name = stream_format.charset_name
        self._convert = stream_format.convert
        self._header = stream_format.header
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

    def poll_next(self, max_records: int) -> Poll[T]:
        """The next lines.

        Raises:
            ConnectorError: a file is missing, changed, unreadable, or not text.
        """
        if self._cursor is None:
            if not self._splits:
                return EndOfSource() if self._no_more_splits else NothingAvailable()
            split = self._splits[0]
            self._cursor = TextLineCursor(split, self._charset_name)
            self._splits.popleft()
            if self._header and split.start == 0 == split.position:
                self._cursor.next_lines(1)
        lines = self._cursor.next_lines(max_records)
        if lines:
            return self._batch(self._cursor.split_id, lines)
        self._cursor.close()
        finished, self._cursor = self._cursor.split_id, None
        return SplitFinished(finished)

    def _batch(self, split_id: str, lines: list[str]) -> Poll[T]:
        if self._convert is None:
            return SourceBatch(split_id, cast("list[T]", lines))  # StreamFormat: the lines are the records
        try:
            records = self._convert(lines)
        except ValueError as error:
            error.add_note(f"while reading the file split {split_id}")
            raise
        return SourceBatch(split_id, records) if records else NothingAvailable(retry_in_ms=0)

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
