"""A slow, obvious model of keyed windows: what Flink documents, element by element, window by window, timer by timer.

Nothing is shared with the operators: windows are pairs `(start, end)`, contents are lists, timers are a set that is searched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

MIN_TIME, MAX_TIME = -(2**63), 2**63 - 1
Bounds: TypeAlias = tuple[int, int]
GLOBAL: Bounds = (MIN_TIME, MAX_TIME)

CONTINUE, FIRE, FIRE_AND_PURGE = "continue", "fire", "fire and purge"


def max_timestamp(window: Bounds) -> int:
    return MAX_TIME if window == GLOBAL else window[1] - 1


@dataclass(frozen=True)
class Tumbling:
    size: int
    offset: int
    merges = False

    def windows(self, ts: int, value: int) -> list[Bounds]:
        start = ts - (ts - self.offset) % self.size
        return [(start, start + self.size)]


@dataclass(frozen=True)
class Sliding:
    size: int
    slide: int
    offset: int
    merges = False

    def windows(self, ts: int, value: int) -> list[Bounds]:
        last = ts - (ts - self.offset) % self.slide
        return [(start, start + self.size) for start in range(last, ts - self.size, -self.slide)]


@dataclass(frozen=True)
class Session:
    """Gap in ms, the same for all records or, with 0, one more than the record's value."""

    gap: int
    merges = True

    def windows(self, ts: int, value: int) -> list[Bounds]:
        return [(ts, ts + (self.gap or value + 1))]


@dataclass(frozen=True)
class Global:
    merges = False

    def windows(self, ts: int, value: int) -> list[Bounds]:
        return [GLOBAL]


class Trigger:
    """One for each key and window."""

    def on_element(self, value: int, ts: int, window: Bounds, model: Model) -> str:
        return CONTINUE

    def on_event_time(self, time: int, window: Bounds, model: Model) -> str:
        return CONTINUE

    def merge(self, others: list[Trigger], window: Bounds, model: Model) -> None:
        """Its window has become `window`, that of all of them."""


class EventTime(Trigger):
    def on_element(self, value: int, ts: int, window: Bounds, model: Model) -> str:
        if max_timestamp(window) <= model.watermark:
            return FIRE
        model.set_timer(window, max_timestamp(window))
        return CONTINUE

    def on_event_time(self, time: int, window: Bounds, model: Model) -> str:
        return FIRE if time == max_timestamp(window) else CONTINUE

    def merge(self, others: list[Trigger], window: Bounds, model: Model) -> None:
        if max_timestamp(window) > model.watermark:
            model.set_timer(window, max_timestamp(window))


@dataclass
class Count(Trigger):
    limit: int
    count: int = 0

    def on_element(self, value: int, ts: int, window: Bounds, model: Model) -> str:
        self.count += 1
        if self.count < self.limit:
            return CONTINUE
        self.count = 0
        return FIRE

    def merge(self, others: list[Trigger], window: Bounds, model: Model) -> None:
        self.count += sum(other.count for other in others if isinstance(other, Count))


@dataclass
class Continuous(Trigger):
    interval: int
    next_fire: int | None = None

    def _plan(self, after: int, window: Bounds, model: Model) -> None:
        self.next_fire = min(after + self.interval, max_timestamp(window))
        model.set_timer(window, self.next_fire)

    def on_element(self, value: int, ts: int, window: Bounds, model: Model) -> str:
        if max_timestamp(window) <= model.watermark:
            return FIRE
        model.set_timer(window, max_timestamp(window))
        if self.next_fire is None:
            self._plan(ts - ts % self.interval, window, model)
        return CONTINUE

    def on_event_time(self, time: int, window: Bounds, model: Model) -> str:
        if time == max_timestamp(window):
            return FIRE
        if time == self.next_fire:
            self._plan(time, window, model)
            return FIRE
        return CONTINUE

    def merge(self, others: list[Trigger], window: Bounds, model: Model) -> None:
        planned = [o.next_fire for o in others if isinstance(o, Continuous) and o.next_fire is not None]
        if planned:
            self.next_fire = min(planned)
            model.set_timer(window, self.next_fire)


@dataclass
class Delta(Trigger):
    threshold: int
    last: int | None = None

    def on_element(self, value: int, ts: int, window: Bounds, model: Model) -> str:
        if self.last is None:
            self.last = value
            return CONTINUE
        if value - self.last > self.threshold:
            self.last = value
            return FIRE
        return CONTINUE


@dataclass
class Purging(Trigger):
    inner: Trigger

    def on_element(self, value: int, ts: int, window: Bounds, model: Model) -> str:
        return _purged(self.inner.on_element(value, ts, window, model))

    def on_event_time(self, time: int, window: Bounds, model: Model) -> str:
        return _purged(self.inner.on_event_time(time, window, model))

    def merge(self, others: list[Trigger], window: Bounds, model: Model) -> None:
        self.inner.merge([other.inner for other in others if isinstance(other, Purging)], window, model)


def _purged(result: str) -> str:
    return FIRE_AND_PURGE if result == FIRE else result


@dataclass
class EarlyAndLate(Trigger):
    """At every third record, 5 ms before the end, and at the end."""

    count: int = 0
    early: int = MIN_TIME

    def _plan(self, window: Bounds, model: Model) -> None:
        planned = max_timestamp(window) - 5
        if self.early != planned:
            model.timers.discard((self.early, window))
        self.early = max(self.early, planned)
        for time in (planned, max_timestamp(window)):
            if time > model.watermark:
                model.set_timer(window, time)

    def on_element(self, value: int, ts: int, window: Bounds, model: Model) -> str:
        self.count += 1
        self._plan(window, model)
        if max_timestamp(window) <= model.watermark:
            return FIRE
        if self.count < 3:
            return CONTINUE
        self.count = 0
        return FIRE_AND_PURGE

    def on_event_time(self, time: int, window: Bounds, model: Model) -> str:
        return FIRE if time in {max_timestamp(window), self.early} else CONTINUE

    def merge(self, others: list[Trigger], window: Bounds, model: Model) -> None:
        merged = [other for other in others if isinstance(other, EarlyAndLate)]
        self.count += sum(other.count for other in merged)
        self.early = max([self.early, *(other.early for other in merged)])
        self._plan(window, model)


Element: TypeAlias = tuple[int, int]
"""(value, timestamp)"""


@dataclass(frozen=True)
class CountEvictor:
    limit: int
    after: bool

    def keep(self, elements: list[Element]) -> list[Element]:
        return elements[max(0, len(elements) - self.limit) :]


@dataclass(frozen=True)
class TimeEvictor:
    span: int
    after: bool

    def keep(self, elements: list[Element]) -> list[Element]:
        newest = max((ts for _, ts in elements), default=0)
        return [element for element in elements if element[1] > newest - self.span]


@dataclass(frozen=True)
class DeltaEvictor:
    threshold: int
    after: bool

    def keep(self, elements: list[Element]) -> list[Element]:
        return [element for element in elements if elements[-1][0] - element[0] < self.threshold]


@dataclass
class Model:
    """All windows of one key.

    Attributes:
        emit: called with a window, the values it fires with, and the firing's number of its window and of its key.
        drop: called with a record that is late for everything.
    """

    assigner: Tumbling | Sliding | Session | Global
    new_trigger: Callable[[], Trigger]
    evictor: CountEvictor | TimeEvictor | DeltaEvictor | None
    lateness: int
    emit: Callable[[Bounds, list[int], int, int], None]
    drop: Callable[[int], None]
    watermark: int = MIN_TIME
    contents: dict[Bounds, list[Element]] = field(default_factory=dict)
    triggers: dict[Bounds, Trigger] = field(default_factory=dict)
    timers: set[tuple[int, Bounds]] = field(default_factory=set)
    firings: defaultdict[Bounds, int] = field(default_factory=lambda: defaultdict(int))
    all_firings: int = 0

    def cleanup_time(self, window: Bounds) -> int:
        return min(max_timestamp(window) + self.lateness, MAX_TIME)

    def set_timer(self, window: Bounds, time: int) -> None:
        self.timers.add((time, window))

    def record(self, value: int, ts: int) -> None:
        taken = False
        for assigned in self.assigner.windows(ts, value):
            window = self._merged(assigned) if self.assigner.merges else assigned
            if self.cleanup_time(window) <= self.watermark:
                self._forget(window)
                continue
            taken = True
            self.contents.setdefault(window, []).append((value, ts))
            self._act(window, self._trigger(window).on_element(value, ts, window, self))
            self.set_timer(window, self.cleanup_time(window))
        if not taken and ts + self.lateness <= self.watermark:
            self.drop(value)

    def advance(self, watermark: int) -> None:
        self.watermark = max(self.watermark, watermark)
        while due := [timer for timer in self.timers if timer[0] <= self.watermark]:
            time, window = min(due)
            self.timers.discard((time, window))
            self._act(window, self._trigger(window).on_event_time(time, window, self))
            if time == self.cleanup_time(window):
                self._forget(window)

    def _trigger(self, window: Bounds) -> Trigger:
        return self.triggers.setdefault(window, self.new_trigger())

    def _merged(self, new: Bounds) -> Bounds:
        """The session that `new` becomes part of: touching ones are one."""
        parts = [w for w in {*self.contents, *self.triggers} if w[0] <= new[1] and new[0] <= w[1]]
        window = min([new[0], *(w[0] for w in parts)]), max([new[1], *(w[1] for w in parts)])
        if parts and parts != [window]:
            elements = [element for part in sorted(parts) for element in self.contents.pop(part, [])]
            triggers = [self.triggers.pop(part) for part in sorted(parts) if part in self.triggers]
            self.timers = {timer for timer in self.timers if timer[1] not in parts}
            self.contents[window] = elements
            self.triggers[window] = self.new_trigger()
            self.triggers[window].merge(triggers, window, self)
            self.set_timer(window, self.cleanup_time(window))
        return window

    def _act(self, window: Bounds, result: str) -> None:
        if result == CONTINUE:
            return
        elements = self.contents.get(window)
        if elements:
            evictor = self.evictor
            if evictor is not None and not evictor.after:
                elements = evictor.keep(elements)
            self.firings[window] += 1
            self.all_firings += 1
            self.emit(window, [value for value, _ in elements], self.firings[window], self.all_firings)
            if evictor is not None and evictor.after:
                elements = evictor.keep(elements)
            self.contents[window] = elements
        if result == FIRE_AND_PURGE:
            self.contents.pop(window, None)

    def _forget(self, window: Bounds) -> None:
        self.contents.pop(window, None)
        self.triggers.pop(window, None)
        self.firings.pop(window, None)
        self.timers = {timer for timer in self.timers if timer[1] != window}


class KeyedModel(defaultdict[Any, Model]):
    """One model for each key; `results` and `late` are those of all."""

    def __init__(
        self, assigner: Any, new_trigger: Callable[[], Trigger], evictor: Any, lateness: int
    ) -> None:
        super().__init__()
        self._parts = assigner, new_trigger, evictor, lateness
        self._watermark = MIN_TIME
        self.results: list[Any] = []
        self.late: list[Any] = []

    def __missing__(self, key: Any) -> Model:
        model = self[key] = Model(
            *self._parts,
            emit=lambda window, *fired: self.results.append((key, *_bounds(window), *fired)),
            drop=lambda value: self.late.append((key, value)),
            watermark=self._watermark,
        )
        return model

    def advance(self, watermark: int) -> None:
        self._watermark = max(self._watermark, watermark)
        for model in self.values():
            model.advance(watermark)


def _bounds(window: Bounds) -> Bounds:
    return (0, 0) if window == GLOBAL else window
