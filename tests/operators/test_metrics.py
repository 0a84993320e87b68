from __future__ import annotations

import msgspec
import pytest

from millstream.core.clock import ManualClock
from millstream.core.errors import JobDefinitionError
from millstream.operators.functions import MapFunction
from millstream.operators.metrics import (
    CounterValue,
    DistributionValue,
    GaugeValue,
    HistogramValue,
    MeterValue,
    MetricGroup,
    MetricValue,
)
from millstream.operators.stateless import MapSpec
from millstream.testing import OperatorHarness


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def group(clock) -> MetricGroup:
    return MetricGroup(clock)


def test_a_counter_goes_up_and_down(group) -> None:
    counter = group.counter("n")
    counter.inc()
    counter.inc(4)
    counter.dec(2)
    counter.dec()
    assert counter.get_count() == 2
    assert group.values() == {"n": CounterValue(2)}


def test_groups_give_names_their_scope_and_share_one_snapshot(group) -> None:
    inner = group.add_group("orders").add_group("country", "de")
    inner.counter("late").inc()
    group.counter("late")
    assert inner.get_metric_identifier("late") == "orders.country.de.late"
    assert group.values() == {"orders.country.de.late": CounterValue(1), "late": CounterValue(0)}
    assert group.add_group("orders").add_group("country", "de").counter("late") is inner.counter("late")


@pytest.mark.parametrize("value", [3, 2.5, "text", True, None])
def test_a_gauge_is_asked_when_metrics_are_read(group, value) -> None:
    values = [1]
    group.gauge("last", lambda: values[-1])
    values.append(value)
    assert group.values() == {"last": GaugeValue(value)}


def test_a_gauge_that_raises_shows_so_and_harms_nobody(group) -> None:
    group.gauge("broken", lambda: 1 / 0)
    group.gauge("odd", lambda: [1])
    group.gauge("huge", lambda: 1 << 70)
    assert group.values() == {
        "broken": GaugeValue(None, "ZeroDivisionError: division by zero"),
        "odd": GaugeValue("[1]"),
        "huge": GaugeValue(float(1 << 70)),
    }


def test_a_meter_s_rate_is_the_mean_over_its_span(group, clock) -> None:
    meter = group.meter("events", time_span_in_seconds=10)
    meter.mark_event()
    meter.mark_event(49)
    assert group.values() == {"events": MeterValue(50, 0.0)}
    clock.advance(5_000)
    assert meter.get_rate() == 5.0
    clock.advance(4_999)
    assert meter.get_rate() == 5.0
    clock.advance(1)
    assert meter.get_rate() == 5.0
    clock.advance(5_000)
    assert meter.get_rate() == 0.0
    meter.mark_event(10)
    clock.advance(100_000)
    assert (meter.get_rate(), meter.get_count()) == (0.0, 60)


def test_a_distribution_sums_and_keeps_extremes(group) -> None:
    distribution = group.distribution("size")
    assert group.values() == {"size": DistributionValue(0, 0, None, None)}
    for value in (3, -1, 4):
        distribution.update(value)
    assert group.values() == {"size": DistributionValue(3, 6, -1, 4)}
    assert group.values()["size"].mean == 2.0


def test_a_histogram_looks_at_the_last_values(group) -> None:
    histogram = group.histogram("latency", window_size=99)
    assert histogram.get_statistics() == HistogramValue(0, None, None, None, None, {})
    histogram.update(1_000_000)
    for value in range(1, 100):
        histogram.update(value)
    statistics = histogram.get_statistics()
    assert (statistics.count, statistics.min, statistics.max, statistics.mean) == (100, 1, 99, 50)
    assert statistics.standard_deviation == pytest.approx(28.72, abs=0.01)
    assert statistics.percentiles == {0.5: 50, 0.75: 75, 0.95: 95, 0.98: 98, 0.99: 99, 0.999: 99}


def test_a_name_has_one_kind(group) -> None:
    group.counter("n")
    group.gauge("g", lambda: 1)
    with pytest.raises(JobDefinitionError, match="'n' is declared already, as a Counter"):
        group.meter("n")
    with pytest.raises(JobDefinitionError, match="'g' is declared already, as a Gauge"):
        group.gauge("g", lambda: 2)


def test_values_travel(group) -> None:
    group.counter("c").inc()
    group.gauge("g", lambda: 1.5)
    group.meter("m").mark_event()
    group.distribution("d").update(1)
    group.histogram("h").update(1)
    values = group.values()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(values), type=dict[str, MetricValue]) == values


class Measured(MapFunction):
    def open(self, runtime_context):
        self.seen = runtime_context.get_metrics_group().add_group("mine").counter("seen")
        self.limit = int(runtime_context.get_job_parameter("limit", "0"))
        self.facts = (runtime_context.get_job_name(), dict(runtime_context.get_global_job_parameters()))

    def map(self, value):
        self.seen.inc()
        return min(value, self.limit), *self.facts


def test_a_function_counts_and_reads_the_job_s_parameters() -> None:
    with OperatorHarness(MapSpec(Measured()), job_parameters={"limit": "2"}) as h:
        h.batch([1, 5])
        assert h.results == [(1, "harness", {"limit": "2"}), (2, "harness", {"limit": "2"})]
        assert h.metrics == [{"mine.seen": CounterValue(2)}]
        with h.restored() as again:
            again.element(0)
            assert again.metrics == [{"mine.seen": CounterValue(1)}]
