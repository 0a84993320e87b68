"""The calling loops: hand-written Python over the events that calls the user's functions, the limit for Python callables.

They keep windows in dicts per slice and key, fire when the watermark (largest timestamp - 1,000 - 1) passes, look at it every
1,000 events, and count results, as the jobs do.
"""

from __future__ import annotations

from . import functions as f
from .data import Event

_BOUND_MS = 1_000
_CHECK_EVERY = 1_000


def w1(events: list[Event]) -> int:
    count = 0
    double, keep, value_of = f.double, f.keep_two_thirds, f.value_of
    for event in events:
        doubled = double(event)
        if keep(doubled):
            value_of(doubled)
            count += 1
    return count


def w2(lines: list[str]) -> int:
    count = 0
    words_of, key_of, add = f.words_of, f.key_of, f.add_counts
    counts: dict[str, tuple[str, int]] = {}
    for line in lines:
        for pair in words_of(line):
            key = key_of(pair)
            last = counts.get(key)
            counts[key] = pair if last is None else add(last, pair)
            count += 1
    return count


def w3(events: list[Event], size_ms: int = 10_000) -> int:
    return _windows(events, size_ms, size_ms)


def w4(events: list[Event], size_ms: int = 60_000, slide_ms: int = 10_000) -> int:
    return _windows(events, size_ms, slide_ms)


def _windows(events: list[Event], size_ms: int, slide_ms: int) -> int:
    aggregate = f.SumAndCount()
    key_of, time_of = f.key_of, f.time_of
    create, add = aggregate.create_accumulator, aggregate.add
    slices: dict[int, dict[str, tuple[int, int]]] = {}
    largest, fired_to, count = -(2**63), None, 0
    for number, event in enumerate(events):
        key, timestamp = key_of(event), time_of(event, 0)
        start = timestamp - timestamp % slide_ms
        contents = slices.get(start)
        if contents is None:
            contents = slices[start] = {}
        kept = contents.get(key)
        if kept is None:
            kept = create()
        contents[key] = add(event, kept)
        if timestamp > largest:  # noqa: PLR1730 - a call of max() would slow down the baseline
            largest = timestamp
        if number % _CHECK_EVERY == 0:
            fired, fired_to = _fire(slices, aggregate, largest - _BOUND_MS - 1, fired_to, size_ms, slide_ms)
            count += fired
    fired, _ = _fire(slices, aggregate, 2**62, fired_to, size_ms, slide_ms)
    return count + fired


def _fire(
    slices: dict[int, dict[str, tuple[int, int]]],
    aggregate: f.SumAndCount,
    watermark: int,
    fired_to: int | None,
    size_ms: int,
    slide_ms: int,
) -> tuple[int, int | None]:
    count = 0
    if not slices:
        return 0, fired_to
    end = min(slices) + slide_ms if fired_to is None else fired_to + slide_ms
    last = max(slices) + size_ms
    get_result, merge = aggregate.get_result, aggregate.merge
    while end - 1 <= watermark and end <= last:
        combined: dict[str, tuple[int, int]] = {}
        for start in range(end - size_ms, end, slide_ms):
            for key, kept in slices.get(start, {}).items():
                before = combined.get(key)
                combined[key] = kept if before is None else merge(before, kept)
        count += len([get_result(kept) for kept in combined.values()])
        slices.pop(end - size_ms, None)
        fired_to = end
        end += slide_ms
    return count, fired_to
