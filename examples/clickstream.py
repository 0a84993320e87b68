"""The clicks of a shop, and what the windowed job has to make of them, computed directly.

A click is a pure function of a seed and its index: whoever reads index 4711, and however often, gets the same click. That is
what lets a job go back to an index after a crash.

The shop has two channels, web and app. The clicks of the web channel come first, then those of the app; each channel tells
its own story from the same first moment on, so a source that reads both at once has two splits. Clicks arrive out of order,
by up to `MAX_DISORDER_MS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

START_MS: Final = 1_767_225_600_000  # 2026-01-01 00:00:00 UTC
CLICK_EVERY_MS: Final = 20
MAX_DISORDER_MS: Final = 3_000
CHANNELS: Final = 2
USERS: Final = 5_000
PRODUCTS: Final = 40


class Click(NamedTuple):
    """A user looked at a product, or bought it."""

    product: str
    user: str
    cents: int
    """What the user paid; 0 if they only looked."""
    time_ms: int
    """When it happened, in milliseconds since the epoch."""


class Sales(NamedTuple):
    """What happened to one product in one window."""

    product: str
    window_start_ms: int
    window_end_ms: int
    views: int
    purchases: int
    cents: int

    def to_line(self) -> str:
        """As a row of a CSV file."""
        return ",".join(map(str, self))

    @staticmethod
    def from_line(line: str) -> Sales:
        """The inverse of `to_line`."""
        product, *numbers = line.split(",")
        return Sales(product, *map(int, numbers))


@dataclass(frozen=True)
class Clickstream:
    """All clicks of a day at the shop."""

    seed: int
    clicks: int

    @property
    def duration_ms(self) -> int:
        """How much event time passes from the first click to the last."""
        return self.clicks // CHANNELS * CLICK_EVERY_MS

    def progress_at(self, time_ms: int) -> float:
        """How far event time has come, from 0 to 1."""
        return min(1.0, max(0.0, (time_ms - START_MS) / self.duration_ms))

    def click(self, index: int) -> Click:
        """The click with that index, from 0 to `clicks - 1`."""
        dice = _mix(self.seed << 40 ^ index)
        user, dice = dice % USERS, dice // USERS
        # The product of two fair dice is small more often than large: some products are popular.
        first, dice = dice % PRODUCTS, dice // PRODUCTS
        second, dice = dice % PRODUCTS, dice // PRODUCTS
        product = first * second // (PRODUCTS - 1)
        early_ms, dice = dice % MAX_DISORDER_MS, dice // MAX_DISORDER_MS
        cents = 499 + 100 * product if dice % 8 == 0 else 0
        in_channel = index % (self.clicks // CHANNELS)
        time_ms = START_MS + MAX_DISORDER_MS + in_channel * CLICK_EVERY_MS - early_ms
        return Click(f"product-{product:02}", f"user-{user:04}", cents, time_ms)

    def __iter__(self) -> Iterator[Click]:
        return map(self.click, range(self.clicks))

    def sales(self, window_ms: int) -> list[Sales]:
        """The right answer: sales of each product in tumbling windows, by a loop over all clicks, sorted."""
        totals: dict[tuple[str, int], list[int]] = {}
        for click in self:
            start_ms = click.time_ms - click.time_ms % window_ms
            total = totals.setdefault((click.product, start_ms), [0, 0, 0])
            total[0] += click.cents == 0
            total[1] += click.cents > 0
            total[2] += click.cents
        return sorted(
            Sales(product, start_ms, start_ms + window_ms, *total)
            for (product, start_ms), total in totals.items()
        )


def _mix(number: int) -> int:
    """64 well-mixed bits of a number. Source: Steele et al., "Fast Splittable Pseudorandom Number Generators" (2014)."""
    number = (number * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return number ^ number >> 31
