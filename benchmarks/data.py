"""Benchmark inputs: pure functions of (seed, index), so that every engine and every restart sees the same.

Events are `(key: str out of 1,000, ts_ms, value: int)`, one per millisecond of event time, up to 999 ms out of order.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Event: TypeAlias = tuple[str, int, int]

KEYS: Final = 1_000
SEED: Final = 42
_KEY_NAMES: Final = [f"key-{number:04d}" for number in range(KEYS)]
_WORDS: Final = [f"word{number}" for number in range(10_000)]
_MASK: Final = 0xFFFFFFFF


def _mix(number: int) -> int:
    """32 bits that look random (the finalizer of MurmurHash3)."""
    number &= _MASK
    number = ((number ^ (number >> 16)) * 0x85EBCA6B) & _MASK
    number = ((number ^ (number >> 13)) * 0xC2B2AE35) & _MASK
    return number ^ (number >> 16)


def event(index: int) -> Event:
    """The event at `index`."""
    bits = _mix(index * 2 + SEED)
    return (_KEY_NAMES[bits % KEYS], index - (bits >> 10) % 1_000, (bits >> 20) & 0xFF)


def events(start: int, stop: int) -> list[Event]:
    """The events of a range of indices."""
    return [event(index) for index in range(start, stop)]


_FEW: Final = events(0, 4_096)


def repeated_events(start: int, stop: int) -> list[Event]:
    """As many of the first few events, over and over."""
    return [_FEW[index & 4_095] for index in range(start, stop)]


def line(index: int) -> str:
    """Ten words out of 10,000, the low-numbered ones far more often."""
    words = []
    for position in range(10):
        bits = _mix((index * 10 + position) * 2 + SEED)
        share = (bits & 0xFFFF) / 0x10000
        words.append(_WORDS[int(share * share * share * 10_000)])
    return " ".join(words)


def lines(start: int, stop: int) -> list[str]:
    """The lines of a range of indices."""
    return [line(index) for index in range(start, stop)]
