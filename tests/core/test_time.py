"""Lengths of time, however they are written, are whole milliseconds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from millstream.core.errors import JobDefinitionError
from millstream.core.time import Duration, Instant, Time, to_millis


@pytest.mark.parametrize(
    ("length", "millis"),
    [
        (7, 7),
        (timedelta(milliseconds=1, microseconds=999), 1),
        (timedelta(days=-1), -86_400_000),
        (Duration.of_days(1), 86_400_000),
        (Duration.of_hours(1), 3_600_000),
        (Duration.of_minutes(1), 60_000),
        (Duration.of_seconds(1), 1_000),
        (Duration.of_millis(1), 1),
        (Duration.of_nanos(1_999_999), 1),
        (Time.days(1), 86_400_000),
        (Time.hours(1), 3_600_000),
        (Time.minutes(1), 60_000),
        (Time.seconds(1), 1_000),
        (Time.milliseconds(1), 1),
    ],
)
def test_a_length_of_time_is_whole_milliseconds(length: Any, millis: int) -> None:
    assert to_millis(length) == millis


@pytest.mark.parametrize("length", ["5 s", 1.5, None, True])
def test_anything_else_is_no_length_of_time(length: Any) -> None:
    with pytest.raises(JobDefinitionError, match="length of time"):
        to_millis(length)


@pytest.mark.parametrize("millis", [0, 1, -1, 1_700_000_000_123, -1_001])
def test_an_instant_keeps_its_milliseconds(millis: int) -> None:
    assert Instant.of_epoch_milli(millis).to_epoch_milli() == millis
    assert 0 <= Instant.of_epoch_milli(millis).nanos < 1_000_000_000
