"""Metrics of a user's functions: counters, gauges, meters, distributions and histograms, in named groups.

They belong to one operator in one subtask and one attempt; a snapshot of them all goes to the JobManager about twice a second
(`JobClient.statistics`). Names are PyFlink's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from ..core.clock import Clock, SystemClock
from ..core.errors import JobDefinitionError

_UPDATE_EVERY_MS: Final = 5_000
_PERCENTILES: Final = (0.5, 0.75, 0.95, 0.98, 0.99, 0.999)


class _Value(msgspec.Struct, frozen=True, tag=True):
    pass


class CounterValue(_Value, frozen=True):
    """Of a `Counter`."""

    count: int


class GaugeValue(_Value, frozen=True):
    """Of a gauge: a number, string or None; `error` where the user's function raised instead."""

    value: float | int | str | bool | None
    error: str | None = None


class MeterValue(_Value, frozen=True):
    """Of a `Meter`: all events, and events per second over the last time span."""

    count: int
    rate: float


class DistributionValue(_Value, frozen=True):
    """Of a `Distribution`; `min` and `max` are None before the first update."""

    count: int
    sum: int
    min: int | None
    max: int | None

    @property
    def mean(self) -> float | None:
        """None before the first update."""
        return self.sum / self.count if self.count else None


class HistogramValue(_Value, frozen=True):
    """Of a histogram: all updates are counted, the rest is about the last values. None before the first update.

    Attributes:
        percentiles: by the part of the values that are not larger.
    """

    count: int
    min: float | None
    max: float | None
    mean: float | None
    standard_deviation: float | None
    percentiles: dict[float, float]


MetricValue: TypeAlias = CounterValue | GaugeValue | MeterValue | DistributionValue | HistogramValue


class Counter:
    """A count that goes up and down.

    >>> counter = Counter()
    >>> counter.inc()
    >>> counter.inc(5)
    >>> counter.dec(2)
    >>> counter.get_count()
    4
    """

    def __init__(self) -> None:
        self._count = 0

    def inc(self, n: int = 1) -> None:
        """Count up."""
        self._count += n

    def dec(self, n: int = 1) -> None:
        """Count down."""
        self._count -= n

    def get_count(self) -> int:
        """The count in this subtask since it started."""
        return self._count

    def _value(self) -> CounterValue:
        return CounterValue(self._count)


class _Gauge:
    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def _value(self) -> GaugeValue:
        try:
            value = self._function()
            if type(value) is int and abs(value) >= 1 << 63:
                value = float(value)
        except Exception as error:  # a metric must not end the job; what went wrong is shown in its place
            return GaugeValue(None, f"{type(error).__name__}: {error}")
        if value is None or type(value) in {int, float, str, bool}:
            return GaugeValue(value)
        return GaugeValue(str(value))


class Meter:
    """How many events there were, and how many a second.

    Args:
        time_span_ms: the rate is the mean over so long, brought up to date every five seconds, as Flink's.
    """

    def __init__(self, clock: Clock, time_span_ms: int) -> None:
        self._clock = clock
        self._time_span_ms = max(_UPDATE_EVERY_MS, time_span_ms - time_span_ms % _UPDATE_EVERY_MS)
        self._count = 0
        self._rate = 0.0
        self._updated_ms = clock.monotonic_ms()
        samples = self._time_span_ms // _UPDATE_EVERY_MS + 1
        self._samples = deque([0] * samples, maxlen=samples)

    def mark_event(self, value: int = 1) -> None:
        """So many events happened."""
        self._count += value

    def get_count(self) -> int:
        """All events in this subtask since it started."""
        return self._count

    def get_rate(self) -> float:
        """Events per second."""
        now_ms = self._clock.monotonic_ms()
        due = (now_ms - self._updated_ms) // _UPDATE_EVERY_MS
        if due:
            self._updated_ms += due * _UPDATE_EVERY_MS
            self._samples.extend([self._count] * min(due, len(self._samples)))
            self._rate = (self._samples[-1] - self._samples[0]) * 1000 / self._time_span_ms
        return self._rate

    def _value(self) -> MeterValue:
        return MeterValue(self._count, self.get_rate())


class Distribution:
    """Sum, count, minimum and maximum of whole numbers."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0
        self._min: int | None = None
        self._max: int | None = None

    def update(self, value: int) -> None:
        """Take a number."""
        self._count += 1
        self._sum += value
        self._min = value if self._min is None or value < self._min else self._min
        self._max = value if self._max is None or value > self._max else self._max

    def _value(self) -> DistributionValue:
        return DistributionValue(self._count, self._sum, self._min, self._max)


class DescriptiveStatisticsHistogram:
    """Minimum, maximum, mean, deviation and percentiles of the last values.

    Args:
        window_size: how many values are looked at.
    """

    def __init__(self, window_size: int) -> None:
        self._count = 0
        self._last: deque[float] = deque(maxlen=window_size)

    def update(self, value: float) -> None:
        """Take a number."""
        self._count += 1
        self._last.append(value)

    def get_count(self) -> int:
        """All updates in this subtask since it started."""
        return self._count

    def get_statistics(self) -> HistogramValue:
        """Of the last values."""
        values = sorted(self._last)
        if not values:
            return HistogramValue(self._count, None, None, None, None, {})
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))
        percentiles = {part: _percentile(values, part) for part in _PERCENTILES}
        return HistogramValue(self._count, values[0], values[-1], mean, deviation, percentiles)

    def _value(self) -> HistogramValue:
        return self.get_statistics()


_Metric: TypeAlias = Counter | _Gauge | Meter | Distribution | DescriptiveStatisticsHistogram
M = TypeVar("M", bound=_Metric)


class MetricGroup:
    """Metrics and further groups by name; `RuntimeContext.get_metrics_group` gives that of the operator.

    Asking twice for the same name and kind gives the same metric.

    Raises (all methods that make a metric):
        JobDefinitionError: the name is taken by another kind, or by a gauge.

    >>> group = MetricGroup().add_group("orders")
    >>> group.counter("late").inc()
    >>> group.values()
    {'orders.late': CounterValue(count=1)}
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._scope: tuple[str, ...] = ()
        self._metrics: dict[str, _Metric] = {}

    def add_group(self, name: str, extra: str | None = None) -> MetricGroup:
        """The group of this name in this one; with `extra`, that of key `name` and value `extra`."""
        group = MetricGroup(self._clock)
        group._scope = (*self._scope, name) if extra is None else (*self._scope, name, extra)
        group._metrics = self._metrics
        return group

    def counter(self, name: str) -> Counter:
        """A count."""
        return self._of_kind(name, Counter, Counter)

    def gauge(self, name: str, obj: Callable[[], Any]) -> None:
        """The value that `obj()` has when the metrics are read, between batches: it must be quick."""
        identifier = self.get_metric_identifier(name)
        if identifier in self._metrics:
            raise _taken(identifier, self._metrics[identifier])
        self._metrics[identifier] = _Gauge(obj)

    def meter(self, name: str, time_span_in_seconds: int = 60) -> Meter:
        """A count and its rate over the last `time_span_in_seconds`."""
        return self._of_kind(name, Meter, lambda: Meter(self._clock, time_span_in_seconds * 1000))

    def distribution(self, name: str) -> Distribution:
        """Sum, count, minimum and maximum."""
        return self._of_kind(name, Distribution, Distribution)

    def histogram(self, name: str, window_size: int = 1_000) -> DescriptiveStatisticsHistogram:
        """Percentiles of the last `window_size` values."""
        return self._of_kind(
            name, DescriptiveStatisticsHistogram, lambda: DescriptiveStatisticsHistogram(window_size)
        )

    def get_metric_identifier(self, metric_name: str) -> str:
        """The name with those of its groups before it, as `values` and statistics have it."""
        return ".".join((*self._scope, metric_name))

    def values(self) -> dict[str, MetricValue]:
        """A snapshot of all metrics of the operator, by identifier; those of other groups too."""
        return {identifier: metric._value() for identifier, metric in self._metrics.items()}

    def _of_kind(self, name: str, kind: type[M], make: Callable[[], M]) -> M:
        identifier = self.get_metric_identifier(name)
        found = self._metrics.get(identifier)
        if found is None:
            made = self._metrics[identifier] = make()
            return made
        if not isinstance(found, kind):
            raise _taken(identifier, found)
        return found


def _taken(identifier: str, found: _Metric) -> JobDefinitionError:
    return JobDefinitionError(
        f"metric '{identifier}' is declared already, as a {type(found).__name__.strip('_')}",
        fix="give the metric another name, or put it into a group of its own",
    )


def _percentile(values: Sequence[float], part: float) -> float:
    """Of sorted values: between the two nearest where it falls between them."""
    position = part * (len(values) + 1) - 1
    below = min(max(math.floor(position), 0), len(values) - 1)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * min(max(position - below, 0.0), 1.0)
