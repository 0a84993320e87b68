from __future__ import annotations

from collections import Counter
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import millstream
from millstream.core.errors import JobDefinitionError, StateError
from millstream.core.types import GENERIC, Types
from millstream.operators.accumulator_registry import AccumulatorRegistry, accumulator_results
from millstream.operators.accumulators import (
    Accumulator,
    AverageAccumulator,
    DoubleCounter,
    DoubleMaximum,
    DoubleMinimum,
    Histogram,
    IntCounter,
    IntMaximum,
    IntMinimum,
    ListAccumulator,
    LongCounter,
    LongMaximum,
    LongMinimum,
)
from millstream.operators.functions import KeyedProcessFunction, MapFunction
from millstream.operators.process import KeyedProcessSpec
from millstream.operators.stateless import MapSpec
from millstream.testing import OperatorHarness

numbers = st.lists(st.integers(-1000, 1000), max_size=20)

MODELS: dict[type[Accumulator[Any, Any]], Any] = {
    IntCounter: sum,
    LongCounter: sum,
    DoubleCounter: sum,
    IntMinimum: lambda values: min(values, default=2**31 - 1),
    IntMaximum: lambda values: max(values, default=-(2**31)),
    LongMinimum: lambda values: min(values, default=2**63 - 1),
    LongMaximum: lambda values: max(values, default=-(2**63)),
    DoubleMinimum: lambda values: min(values, default=DoubleMinimum().get_local_value()),
    DoubleMaximum: lambda values: max(values, default=DoubleMaximum().get_local_value()),
    AverageAccumulator: lambda values: sum(values) / len(values) if values else 0,
    Histogram: lambda values: dict(sorted(Counter(values).items())),
    ListAccumulator: list,
}


class Distinct(Accumulator[int, int]):
    """One of a user's own."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def add(self, value: int) -> None:
        self.seen.add(value)

    def get_local_value(self) -> int:
        return len(self.seen)

    def reset_local(self) -> None:
        self.seen = set()

    def merge(self, other: Distinct) -> None:
        self.seen |= other.seen


MODELS[Distinct] = lambda values: len(set(values))


def test_every_public_accumulator_has_a_model() -> None:
    public = {getattr(millstream, name) for name in millstream.__all__}
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Accumulator)}
    assert kinds == {*MODELS, Accumulator} - {Distinct}


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
@given(parts=st.lists(numbers, min_size=1, max_size=4))
def test_parts_merged_through_reports_give_what_the_whole_gives(kind, parts) -> None:
    reports = []
    for part in parts:
        registry = AccumulatorRegistry()
        accumulator = kind()
        registry.add("x", accumulator)
        for number in part:
            accumulator.add(number)
        reports += registry.reports()
    assert accumulator_results(reports) == {"x": MODELS[kind]([n for part in parts for n in part])}


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
@given(left=numbers, right=numbers)
def test_merging_leaves_the_other_alone_and_a_reset_one_is_neutral(kind, left, right) -> None:
    one, other, fresh = kind(), kind(), kind()
    reduce(lambda _, number: one.add(number), left, None)
    reduce(lambda _, number: other.add(number), right, None)
    copied = one.clone()
    one.merge(other)
    assert copied.get_local_value() == MODELS[kind](left)
    assert other.get_local_value() == MODELS[kind](right)
    fresh.add(1)
    fresh.reset_local()
    one.merge(fresh)
    assert one.get_local_value() == MODELS[kind](left + right)


class Counts(KeyedProcessFunction):
    """Counts records in every way, from an initial value of 5."""

    def open(self, runtime_context):
        self.count = IntCounter(5)
        runtime_context.add_accumulator("count", self.count)
        runtime_context.add_accumulator("distinct", Distinct())
        self.distinct = runtime_context.get_accumulator("distinct")
        self.long = runtime_context.get_long_counter("long")

    def process_element(self, value, ctx):
        self.count.add(1)
        self.distinct.add(value)
        self.long.add(value)


def test_values_go_on_after_a_restore_at_any_parallelism_and_initial_values_count_once(start) -> None:
    h = start(KeyedProcessSpec(lambda value: value % 5, Types.LONG(), Counts()))
    h.batch(range(10))
    initial = 5 * len(h.operators)
    assert h.accumulators == {"count": initial + 10, "distinct": 10, "long": 45}
    h.pause()
    assert h.accumulators == {"count": initial + 10, "distinct": 10, "long": 45}
    h.batch(range(5, 15))
    h.pause()
    h.batch([100])
    assert h.accumulators == {"count": initial + 21, "distinct": 16, "long": 45 + 95 + 100}


class Squares(MapFunction):
    def open(self, runtime_context):
        self.calls = runtime_context.get_int_counter("calls")

    def map(self, value):
        self.calls.add(1)
        return value * value


def test_an_operator_without_state_of_its_own_keeps_its_accumulators_too() -> None:
    with OperatorHarness(MapSpec(Squares())) as h:
        h.batch([1, 2])
        with h.restored() as again:
            again.element(3)
            assert again.accumulators == {"calls": 3}
        assert again.results == [1, 4, 9]


class Never(MapFunction):
    def map(self, value):
        return value


def test_what_nobody_claims_any_more_stays_in_checkpoints_and_in_the_result() -> None:
    with OperatorHarness(MapSpec(Squares())) as h:
        h.batch([1, 2])
        snapshot = h.snapshot()
        h.spec = MapSpec(Never())
        with h.restored_from(snapshot) as without:
            without.element(3)
            assert without.accumulators == {"calls": 2}
            without.spec = MapSpec(Squares())
            with without.restored() as back:
                back.element(4)
                assert back.accumulators == {"calls": 3}


def test_a_name_is_given_once() -> None:
    registry = AccumulatorRegistry("sums")
    registry.add("x", IntCounter())
    with pytest.raises(StateError, match=r"accumulator 'x' is added twice.*\n.*operator 'sums'"):
        registry.add("x", IntCounter())
    with pytest.raises(StateError, match="is a IntCounter, not a Histogram"):
        registry.get_or_add("x", Histogram)


def test_another_kind_than_in_the_checkpoint_is_refused() -> None:
    before = AccumulatorRegistry()
    before.add("x", IntCounter())
    after = AccumulatorRegistry("sums", before.snapshot(), is_restored=True)
    with pytest.raises(StateError, match="'x' is a Histogram, the checkpoint holds a IntCounter"):
        after.add("x", Histogram())


def test_one_name_of_two_kinds_in_two_operators_is_an_error_of_the_result() -> None:
    first, second = AccumulatorRegistry(), AccumulatorRegistry()
    first.add("x", IntCounter())
    second.add("x", Distinct())
    with pytest.raises(JobDefinitionError, match="'x' is of different kinds"):
        accumulator_results([*first.reports(), *second.reports()])


def test_what_is_no_accumulator_or_cannot_be_stored_is_an_error_that_names_it() -> None:
    registry = AccumulatorRegistry("sums")
    with pytest.raises(StateError, match="accumulator 'x' is 5"):
        registry.add("x", 5)
    values: ListAccumulator[Any] = ListAccumulator()
    registry.add("values", values)
    values.add(object())
    with pytest.raises(StateError, match="accumulator 'values' holds what cannot be stored"):
        registry.snapshot()


def test_a_checkpoint_holds_no_pickle() -> None:
    registry = AccumulatorRegistry()
    registry.add("x", Distinct())
    (item,) = registry.snapshot()
    (report,) = registry.reports()
    assert report.pickled_class is not None
    assert report.pickled_class not in item
    assert GENERIC.serializer().loads(report.state) == {"seen": set()}
