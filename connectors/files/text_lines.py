"""Reading the lines of one split of a text file."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

from ...core.errors import ConnectorError
from .charset import Charset, detect
from .compression import damage_errors, is_compressed, open_for_reading
from .paths import file_errors
from .splits import FileSplit, check_unchanged

_BLOCK_BYTES: Final = 1024 * 1024
_LONGEST_MARK_BYTES: Final = 4
_MAX_LENGTH: Final = 2**63 - 1


class TextLineCursor:
    """Reads a split forward and knows the byte offset after the last line it gave.

    Raises:
        ConnectorError: from the constructor and `next_lines`: the file is missing, cannot be read, is not the one the split
            was made from, or is not text in the charset.
    """

    def __init__(self, split: FileSplit, charset_name: str, block_bytes: int = _BLOCK_BYTES) -> None:
        self._split = split
        self._block_bytes = block_bytes
        self._position = split.position
        self._end = split.end
        self._lines: list[bytes] = []
        self._next_line = 0
        self._rest = b""
        self._length = _MAX_LENGTH if is_compressed(split.path) else split.file_size
        with file_errors("open a file to read", split.path):
            self._file = open_for_reading(split.path)
        try:
            self._charset, mark_bytes = detect(charset_name, self._read(_LONGEST_MARK_BYTES))
            self._position = self._first_position(mark_bytes)
            self._seek(self._position)
        except BaseException:
            self._file.close()
            raise

    @property
    def split_id(self) -> str:
        """Of the split that is read."""
        return self._split.split_id

    def split(self) -> FileSplit:
        """The split at the position after the last line given."""
        return replace(self._split, position=self._position)

    def next_lines(self, limit: int) -> list[str]:
        """At most `limit` lines; none at the end of the split."""
        if self._next_line == len(self._lines):
            self._lines = self._next_block()
            self._next_line = 0
        lines = self._lines[self._next_line : self._next_line + limit]
        if not lines:
            return []
        text = self._decode(lines)
        self._next_line += len(lines)
        feeds = len(lines) * len(self._charset.line_feed)
        # The last line of a file may have no line feed.
        self._position = min(self._position + sum(map(len, lines)) + feeds, self._length)
        return text

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _first_position(self, mark_bytes: int) -> int:
        split = self._split
        if split.start == 0:
            # The first line is of the first split, also when the mark before it fills the split.
            self._end = max(split.end, mark_bytes + 1)
            return max(split.position, mark_bytes)
        return split.position if split.position > split.start else self._first_line_after(split.start)

    def _first_line_after(self, start: int) -> int:
        # A line that begins exactly at `start` has its predecessor's line feed just before it.
        offset = start - len(self._charset.line_feed)
        self._file.seek(offset)
        data = b""
        while True:
            found = self._charset.find_line_end(data, 0)
            if found >= 0:
                return offset + found
            block = self._read(self._block_bytes)
            if not block:
                return self._split.file_size
            # Whole units only, so that the line feed is found where a unit begins; a line feed is never cut in two.
            keep = len(data) % len(self._charset.line_feed)
            offset += len(data) - keep
            data = data[len(data) - keep :] + block

    def _next_block(self) -> list[bytes]:
        """Some whole lines that begin before the end of the split."""
        if self._position >= self._end:
            return []
        line_feed = self._charset.line_feed
        pieces = [self._rest]
        while True:
            block = self._read(self._block_bytes)
            if not block:
                return self._last_lines(b"".join(pieces))
            pieces.append(block)
            # Blocks amid a long line are only collected; a line feed of several bytes may lie across two of them.
            if len(line_feed) == 1 and line_feed not in block:
                continue
            data = b"".join(pieces)
            whole = self._charset.find_last_line_end(data)
            if whole:
                self._rest = data[whole:]
                return self._lines_of_split(data[:whole])
            pieces = [data]

    def _last_lines(self, data: bytes) -> list[bytes]:
        if not data:
            return []
        if len(data) % len(self._charset.line_feed):
            raise _not_text(self._split.path, self._charset, self._split.file_size)
        self._rest = b""
        return self._lines_of_split(data + self._charset.line_feed)

    def _lines_of_split(self, data: bytes) -> list[bytes]:
        """Lines of `data`, which begins at the position, up to the last one that begins in the split."""
        length = self._end - self._position
        if len(data) > length:
            unit = len(self._charset.line_feed)
            # The last line of the split is the one that has the split's last byte in it.
            before = (length - 1) // unit * unit
            data = data[: self._charset.find_line_end(data, before)]
        return self._charset.lines_of(data)

    def _read(self, n_bytes: int) -> bytes:
        with file_errors("read a file", self._split.path), damage_errors(self._split.path):
            block = self._file.read(n_bytes)
            check_unchanged(self._split, os.fstat(self._file.fileno()))
        return block

    def _seek(self, position: int) -> None:
        with file_errors("read a file", self._split.path), damage_errors(self._split.path):
            self._file.seek(position)  # a compressed file is read and thrown away up to there

    def _decode(self, lines: list[bytes]) -> list[str]:
        try:
            return self._charset.decode(lines)
        except UnicodeDecodeError as error:
            raise _not_text(self._split.path, self._charset, self._position + error.start) from error


def _not_text(path: str, charset: Charset, offset: int) -> ConnectorError:
    return ConnectorError(
        f"a file is not text in the charset {charset.name}",
        where=f"{path}, byte {offset}",
        fix="name the charset of the file: StreamFormat.text_line_format('ISO-8859-1'), for example",
    )
