"""Lengths of time and moments as users write them. Inside the engine both are `int` milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from .errors import JobDefinitionError

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, order=True, slots=True)
class Duration:
    """A length of time, made by one of its `of_` functions.

    >>> Duration.of_minutes(2).to_millis()
    120000
    """

    nanos: int

    @staticmethod
    def of_days(days: int) -> Duration:
        """Days of 24 hours."""
        return Duration.of_hours(days * 24)

    @staticmethod
    def of_hours(hours: int) -> Duration:
        """Hours."""
        return Duration.of_minutes(hours * 60)

    @staticmethod
    def of_minutes(minutes: int) -> Duration:
        """Minutes."""
        return Duration.of_seconds(minutes * 60)

    @staticmethod
    def of_seconds(seconds: int) -> Duration:
        """Seconds."""
        return Duration.of_millis(seconds * 1000)

    @staticmethod
    def of_millis(millis: int) -> Duration:
        """Milliseconds."""
        return Duration.of_nanos(millis * 1_000_000)

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

    >>> Time.seconds(5).to_milliseconds()
    5000
    """

    millis: int

    # Written out, as PyFlink calls the argument what the function below is called.
    def __init__(self, milliseconds: int) -> None:
        object.__setattr__(self, "millis", milliseconds)

    @staticmethod
    def milliseconds(milliseconds: int) -> Time:
        """Milliseconds."""
        return Time(milliseconds)

    @staticmethod
    def seconds(seconds: int) -> Time:
        """Seconds."""
        return Time(seconds * 1000)

    @staticmethod
    def minutes(minutes: int) -> Time:
        """Minutes."""
        return Time.seconds(minutes * 60)

    @staticmethod
    def hours(hours: int) -> Time:
        """Hours."""
        return Time.minutes(hours * 60)

    @staticmethod
    def days(days: int) -> Time:
        """Days of 24 hours."""
        return Time.hours(days * 24)

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

    @staticmethod
    def of_epoch_milli(epoch_milli: int) -> Instant:
        """The moment so many milliseconds after the epoch."""
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
        JobDefinitionError: something else.
    """
    match length:
        case bool():
            pass
        case int():
            return length
        case timedelta():
            return length // _MILLISECOND
        case Duration():
            return length.to_millis()
        case Time():
            return length.millis
    raise JobDefinitionError(
        f"{length!r} is not a length of time",
        fix="give a datetime.timedelta, a Duration such as Duration.of_seconds(5), or an int of milliseconds",
    )
