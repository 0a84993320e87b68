"""Lengths of time and moments as users write them. Inside the engine both are `int` milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeAlias

from .arguments import check_int
from .errors import JobDefinitionError

_MILLISECOND = timedelta(milliseconds=1)
_LONGEST_MS: Final = 2**63 - 1
_EXAMPLE: Final = "give a whole number, and parts as finer units: Duration.of_millis(1500)"


@dataclass(frozen=True, order=True, slots=True)
class Duration:
    """A length of time, made by one of its `of_` functions.

    Raises (all of them):
        JobDefinitionError: the number is no int.

    >>> Duration.of_minutes(2).to_millis()
    120000
    """

    nanos: int

    def __post_init__(self) -> None:
        _whole("nanoseconds", self.nanos)

    @staticmethod
    def of_days(days: int) -> Duration:
        """Days of 24 hours."""
        return Duration.of_hours(_whole("days", days) * 24)

    @staticmethod
    def of_hours(hours: int) -> Duration:
        """Hours."""
        return Duration.of_minutes(_whole("hours", hours) * 60)

    @staticmethod
    def of_minutes(minutes: int) -> Duration:
        """Minutes."""
        return Duration.of_seconds(_whole("minutes", minutes) * 60)

    @staticmethod
    def of_seconds(seconds: int) -> Duration:
        """Seconds."""
        return Duration.of_millis(_whole("seconds", seconds) * 1000)

    @staticmethod
    def of_millis(millis: int) -> Duration:
        """Milliseconds."""
        return Duration.of_nanos(_whole("milliseconds", millis) * 1_000_000)

    @staticmethod
    def of_nanos(nanos: int) -> Duration:
        """Nanoseconds. The engine counts milliseconds; what is finer is cut off."""
        return Duration(nanos)

    def to_millis(self) -> int:
        """Whole milliseconds, rounded down."""
        return self.nanos // 1_000_000


@dataclass(frozen=True, order=True, slots=True, init=False)
class Time:
    """A length of time, with the names of PyFlink's window assigners.

    Raises (all of them):
        JobDefinitionError: the number is no int.

    >>> Time.seconds(5).to_milliseconds()
    5000
    """

    millis: int

    # Written out, as PyFlink calls the argument what the function below is called.
    def __init__(self, milliseconds: int) -> None:
        object.__setattr__(self, "millis", _whole("milliseconds", milliseconds))

    @staticmethod
    def milliseconds(milliseconds: int) -> Time:
        """Milliseconds."""
        return Time(milliseconds)

    @staticmethod
    def seconds(seconds: int) -> Time:
        """Seconds."""
        return Time(_whole("seconds", seconds) * 1000)

    @staticmethod
    def minutes(minutes: int) -> Time:
        """Minutes."""
        return Time.seconds(_whole("minutes", minutes) * 60)

    @staticmethod
    def hours(hours: int) -> Time:
        """Hours."""
        return Time.minutes(_whole("hours", hours) * 60)

    @staticmethod
    def days(days: int) -> Time:
        """Days of 24 hours."""
        return Time.hours(_whole("days", days) * 24)

    def to_milliseconds(self) -> int:
        """Milliseconds."""
        return self.millis


@dataclass(frozen=True, order=True, slots=True)
class Instant:
    """A moment: seconds since the epoch, and nanoseconds (0 to 999,999,999) after them.

    >>> Instant.of_epoch_milli(-1)
    Instant(seconds=-1, nanos=999000000)
    """

    seconds: int
    nanos: int = 0

    def __post_init__(self) -> None:
        _whole("seconds since the epoch", self.seconds)
        check_int(
            "nanoseconds of an Instant",
            self.nanos,
            least=0,
            most=999_999_999,
            fix="carry over into the seconds",
        )

    @staticmethod
    def of_epoch_milli(epoch_milli: int) -> Instant:
        """The moment so many milliseconds after the epoch."""
        _whole("milliseconds since the epoch", epoch_milli)
        return Instant(epoch_milli // 1000, epoch_milli % 1000 * 1_000_000)

    def to_epoch_milli(self) -> int:
        """Whole milliseconds since the epoch, rounded down."""
        return self.seconds * 1000 + self.nanos // 1_000_000


TimeLike: TypeAlias = Duration | Time | timedelta | int
"""What the API takes for a length of time; a bare `int` is milliseconds."""


def to_millis(length: TimeLike) -> int:
    """A length of time in whole milliseconds, rounded down.

    >>> to_millis(timedelta(seconds=1.5)), to_millis(Duration.of_seconds(2)), to_millis(Time.days(1)), to_millis(7)
    (1500, 2000, 86400000, 7)

    Raises:
        JobDefinitionError: something else, or more than 292 million years.
    """
    millis: int | None = None
    match length:
        case bool():
            pass
        case int():
            millis = length
        case timedelta():
            millis = length // _MILLISECOND
        case Duration():
            millis = length.to_millis()
        case Time():
            millis = length.millis
    if millis is not None and abs(millis) <= _LONGEST_MS:
        return millis
    raise JobDefinitionError(
        f"{length!r} is not a length of time",
        fix="give a datetime.timedelta, a Duration such as Duration.of_seconds(5), or an int of milliseconds",
    )


def _whole(what: str, number: Any) -> int:
    """The number, which may be negative.

    Raises:
        JobDefinitionError: it is no int.
    """
    if not isinstance(number, int) or isinstance(number, bool):
        raise JobDefinitionError(f"the number of {what} must be an int, not {number!r}", fix=_EXAMPLE)
    return number
