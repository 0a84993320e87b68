"""Which folder under the base path a record goes to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import PurePosixPath
from typing import Any, Final, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

import msgspec

from ...core.arguments import check_call, check_text
from ...core.errors import JobDefinitionError


class BucketContext(msgspec.Struct, frozen=True):
    """What is known beside the record. Times are ms since the epoch.

    Attributes:
        timestamp: event time of the record, or None.
        current_processing_time: the wall clock when its batch was written.
    """

    timestamp: int | None
    current_processing_time: int


class RecordBucketAssigner(Protocol):
    """Decides record by record; a plain function `(record, context) -> str` will do as well."""

    def get_bucket_id(self, element: Any, context: BucketContext) -> str:
        """A relative path with `/` between its parts; empty for the base path itself."""


@runtime_checkable
class BatchBucketAssigner(Protocol):
    """Decides by the wall clock alone, so once for a whole batch."""

    def bucket_at(self, processing_time_ms: int) -> str:
        """As `get_bucket_id`."""


class BucketAssigner:
    """Ready-made bucket assigners, named as in PyFlink."""

    @staticmethod
    def base_path_bucket_assigner() -> BasePathBucketAssigner:
        """All files lie in the base path."""
        return BasePathBucketAssigner()

    @staticmethod
    def date_time_bucket_assigner(
        format_str: str = "yyyy-MM-dd--HH", timezone_id: str | None = None
    ) -> DateTimeBucketAssigner:
        """A folder for each hour (or what the format says) of the wall clock.

        Args:
            format_str: pattern letters of Java's DateTimeFormatter: `y M d H m s S`, and text in single quotes.
            timezone_id: e.g. `Europe/Berlin` or `GMT-08:00`; the machine's zone by default.

        Raises:
            JobDefinitionError: unknown zone, or a pattern letter that is not supported.
        """
        return DateTimeBucketAssigner(format_str, timezone_id)


class BasePathBucketAssigner:
    """No folders."""

    def bucket_at(self, processing_time_ms: int) -> str:
        """Always the base path."""
        return ""


class DateTimeBucketAssigner:
    """Folders by wall-clock time.

    >>> DateTimeBucketAssigner("yyyy-MM-dd--HH", "UTC").bucket_at(0)
    '1970-01-01--00'
    """

    def __init__(self, format_str: str, timezone_id: str | None) -> None:
        check_text("format of a bucket", format_str, fix="give for example 'yyyy-MM-dd--HH'")
        if timezone_id is not None:
            check_text("time zone", timezone_id, fix="give for example 'Europe/Berlin'")
        self._format = _translate_pattern(format_str)
        self._timezone_id = timezone_id
        self._zone = _find_zone(timezone_id)

    def bucket_at(self, processing_time_ms: int) -> str:
        """The folder of that moment."""
        moment = datetime.fromtimestamp(processing_time_ms / 1000, tz=self._zone)
        return "".join(part(moment) if callable(part) else part for part in self._format)


@dataclass(frozen=True, slots=True)
class FunctionBucketAssigner:
    """Calls a user's function."""

    function: Callable[[Any, BucketContext], str]

    def get_bucket_id(self, element: Any, context: BucketContext) -> str:
        """What the function says."""
        return self.function(element, context)


AnyBucketAssigner = RecordBucketAssigner | BatchBucketAssigner


def as_bucket_assigner(
    assigner: AnyBucketAssigner | Callable[[Any, BucketContext], str],
) -> AnyBucketAssigner:
    """An assigner as it is, a function wrapped.

    Raises:
        JobDefinitionError: it is neither.
    """
    if isinstance(assigner, BatchBucketAssigner) or hasattr(assigner, "get_bucket_id"):
        return assigner
    if callable(assigner):
        check_call("bucket assigner", assigner, 2, fix="pass a function of a record and a BucketContext")
        return FunctionBucketAssigner(assigner)
    raise JobDefinitionError(
        f"{assigner!r} cannot assign buckets",
        where="FileSink, with_bucket_assigner",
        fix="give one of BucketAssigner's, an object with get_bucket_id(element, context), or a function of the same",
    )


def bucket_problem(bucket_id: object) -> str | None:
    """What is wrong with a bucket id, or None. Records must not be able to write outside the base path.

    >>> bucket_problem("country=DE/2026")
    >>> bucket_problem("../etc")
    "it has a part '..'"
    """
    if not isinstance(bucket_id, str):
        return f"it is of type {type(bucket_id).__name__}, not str"
    path = PurePosixPath(bucket_id)
    if path.is_absolute():
        return "it is an absolute path"
    if "\0" in bucket_id:
        return "it has a null character"
    return next((f"it has a part {part!r}" for part in path.parts if part == ".."), None)


_Part = str | Callable[[datetime], str]

_LETTERS: Final[dict[str, Callable[[datetime, int], str]]] = {
    "y": lambda moment, width: str(moment.year % 100 if width == 2 else moment.year).zfill(width),
    "u": lambda moment, width: str(moment.year % 100 if width == 2 else moment.year).zfill(width),
    "M": lambda moment, width: str(moment.month).zfill(width),
    "d": lambda moment, width: str(moment.day).zfill(width),
    "H": lambda moment, width: str(moment.hour).zfill(width),
    "m": lambda moment, width: str(moment.minute).zfill(width),
    "s": lambda moment, width: str(moment.second).zfill(width),
    "S": lambda moment, width: f"{moment.microsecond:06d}"[:width].ljust(width, "0"),
}
_TOKEN: Final = re.compile(r"''|'(?:[^']|'')+'|([A-Za-z])\1*|[^A-Za-z']")


def _translate_pattern(pattern: str) -> list[_Part]:
    parts: list[_Part] = []
    position = 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            raise _unusable_pattern(pattern, "a quote that does not end")
        position = token.end()
        parts.append(_translate_token(pattern, token.group()))
    return parts


def _translate_token(pattern: str, text: str) -> _Part:
    if text == "''":
        return "'"
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    if not text[0].isalpha():
        return text
    letter, width = text[0], len(text)
    field = _LETTERS.get(letter)
    if field is None or (letter == "M" and width > 2):
        raise _unusable_pattern(pattern, f"{text!r}")
    return lambda moment: field(moment, width)


def _unusable_pattern(pattern: str, problem: str) -> JobDefinitionError:
    return JobDefinitionError(
        f"the pattern {pattern!r} has {problem}, which is not supported",
        where="date_time_bucket_assigner",
        fix="use y, M, d, H, m, s and S for numbers, and put other text in single quotes",
    )


_OFFSET: Final = re.compile(r"(?:GMT|UTC|UT)?([+-])(\d{1,2})(?::?(\d{2}))?")


def _find_zone(timezone_id: str | None) -> tzinfo | None:
    if timezone_id is None:
        return None  # datetime takes the machine's zone
    offset = _OFFSET.fullmatch(timezone_id)
    if offset:
        delta = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        return timezone(-delta if offset[1] == "-" else delta)
    if timezone_id.upper() in {"UTC", "GMT", "Z"}:  # known also on machines without a zone database
        return UTC
    try:
        return ZoneInfo(timezone_id)
    except (LookupError, ValueError, OSError) as error:
        raise JobDefinitionError(
            f"there is no time zone {timezone_id!r} on this machine",
            where="date_time_bucket_assigner",
            fix="give a name such as 'Europe/Berlin', or an offset such as 'GMT+01:00'",
        ) from error
