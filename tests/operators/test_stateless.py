from __future__ import annotations

import pytest

from millstream.core.errors import StateError
from millstream.core.types import Types
from millstream.operators.functions import FilterFunction, FlatMapFunction, MapFunction
from millstream.operators.stateless import FilterSpec, FlatMapSpec, MapSpec
from millstream.state.descriptors import ValueStateDescriptor
from millstream.testing import OperatorHarness, W


@pytest.mark.parametrize(
    ("spec", "results", "timestamps"),
    [
        (MapSpec(lambda value: value * 10), [10, 20], [1, 2]),
        (FilterSpec(lambda value: value > 1), [2], [2]),
        (FlatMapSpec(lambda value: [value] * value), [1, 2, 2], [1, 2, 2]),
        (FlatMapSpec(lambda value: (n for n in range(value))), [0, 0, 1], [1, 2, 2]),
        (FlatMapSpec(lambda value: None if value == 1 else {value}), [2], [2]),
    ],
)
def test_results_have_the_timestamp_of_their_record_and_come_ahead_of_the_watermark(
    spec, results, timestamps
) -> None:
    with OperatorHarness(spec) as h:
        h.batch([1, 2], [1, 2])
        h.watermark(2)
        assert h.output == [*results, W(2)]
        assert h.timestamps == [*timestamps, None]


@pytest.mark.parametrize(
    ("spec", "base", "method"),
    [
        (MapSpec, MapFunction, "map"),
        (FilterSpec, FilterFunction, "filter"),
        (FlatMapSpec, FlatMapFunction, "flat_map"),
    ],
)
def test_a_function_lives_from_open_to_close(spec, base, method) -> None:
    calls: list[str] = []

    def call(self, value):
        calls.append(f"call {value}")
        return [value]

    class Function(base):
        def open(self, runtime_context):
            index, count = (
                runtime_context.get_index_of_this_subtask(),
                runtime_context.get_number_of_parallel_subtasks(),
            )
            calls.append(f"open {index} of {count}")

        def close(self):
            calls.append("close")

    setattr(Function, method, call)
    Function.__abstractmethods__ = frozenset()
    with OperatorHarness(spec(Function()), parallelism=2) as h:
        h.element(7)
    assert calls == ["open 0 of 2", "open 1 of 2", "call 7", "close", "close"]


def test_keyed_state_is_refused_with_the_way_out() -> None:
    class Asks(MapFunction):
        def open(self, runtime_context):
            runtime_context.get_state(ValueStateDescriptor("x", Types.LONG()))

        def map(self, value):
            return value

    with pytest.raises(StateError) as refused:
        OperatorHarness(MapSpec(Asks()))
    assert "key_by" in (refused.value.fix or "")
