"""Where lines end in the bytes of a charset."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final

from ...core.arguments import check_text
from ...core.errors import JobDefinitionError

# What a byte means depends on all bytes before it, so no part of a file can be read alone.
_STATEFUL: Final = ("utf-7", "hz", "iso2022")
_BYTE_ORDER_MARKS: Final = {
    "utf-8-sig": ((codecs.BOM_UTF8, "utf-8"),),
    "utf-16": ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
    "utf-32": ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
}
# Without a mark: big-endian, as the Unicode standard and Java have it.
_UNMARKED: Final = {"utf-8-sig": "utf-8", "utf-16": "utf-16-be", "utf-32": "utf-32-be"}


@dataclass(frozen=True, slots=True)
class Charset:
    """A charset in which a line feed is always the same bytes, and these bytes (aligned) are always a line feed."""

    name: str
    line_feed: bytes

    def lines_of(self, data: bytes) -> list[bytes]:
        """The lines in `data`, which begins with a line and ends with a line feed, without their line feeds."""
        if len(self.line_feed) == 1:
            return data[:-1].split(self.line_feed)
        lines = []
        start = 0
        while start < len(data):
            end = self.find_line_end(data, start)
            lines.append(data[start : end - len(self.line_feed)])
            start = end
        return lines

    def find_line_end(self, data: bytes, start: int) -> int:
        """The index after the first line feed from `start` on (where a unit begins), or -1."""
        unit = len(self.line_feed)
        found = data.find(self.line_feed, start)
        while found % unit and found >= 0:
            found = data.find(self.line_feed, found + 1)
        return -1 if found < 0 else found + unit

    def find_last_line_end(self, data: bytes) -> int:
        """The index after the last line feed, or 0."""
        unit = len(self.line_feed)
        found = data.rfind(self.line_feed)
        while found > 0 and found % unit:
            found = data.rfind(self.line_feed, 0, found + unit - 1)
        return 0 if found < 0 else found + unit

    def decode(self, lines: list[bytes]) -> list[str]:
        """The lines as text, also without a carriage return before the line feed. Raises UnicodeDecodeError."""
        # One call for all lines; each gets its line feed back so that the last is treated like the others.
        text = (self.line_feed.join(lines) + self.line_feed).decode(self.name)
        return text.replace("\r\n", "\n").split("\n")[:-1]


def find_charset(name: str) -> str:
    """The canonical name of a charset that text files can be read in.

    >>> find_charset("UTF8"), find_charset("latin1")
    ('utf-8', 'iso8859-1')

    Raises:
        JobDefinitionError: it is unknown, or lines cannot be found in it without reading all bytes before them.
    """
    check_text("name of a charset", name, fix="give for example 'UTF-8'")
    try:
        canonical = codecs.lookup(name).name
        "\n".encode(canonical)
    except LookupError as error:
        raise JobDefinitionError(
            f"there is no charset {name!r}",
            where="text_line_format",
            fix="give the name of a codec of Python, e.g. 'UTF-8'",
        ) from error
    if canonical.startswith(_STATEFUL):
        raise JobDefinitionError(
            f"text files cannot be read in the charset {name!r}, whose bytes depend on those before them",
            where="text_line_format",
            fix="convert the files to UTF-8 first",
        )
    return canonical


def detect(canonical: str, head: bytes) -> tuple[Charset, int]:
    """The charset of a file with its byte order, told by a mark in its first bytes, and the length of the mark."""
    for mark, name in _BYTE_ORDER_MARKS.get(canonical, ()):
        if head.startswith(mark):
            return _charset(name), len(mark)
    return _charset(_UNMARKED.get(canonical, canonical)), 0


def unit_bytes(canonical: str) -> int:
    """How many bytes a line feed has: splits begin at multiples of it."""
    return len(_charset(_UNMARKED.get(canonical, canonical)).line_feed)


def _charset(name: str) -> Charset:
    return Charset(name, "\n".encode(name))
