from __future__ import annotations

import pytest

from millstream.core.types import Types
from millstream.operators.base import RuntimeInfo
from millstream.operators.functions import KeySelector, Partitioner
from millstream.operators.keyed import ReduceSpec
from millstream.operators.shared_functions import SharedFunctions, shared_functions
from millstream.operators.timestamps import TimestampsSpec
from millstream.operators.watermark_strategy import TimestampAssigner, WatermarkStrategy
from millstream.runtime.graph.stream_graph import Custom, Rebalance
from millstream.testing import OperatorHarness
from tests.operators.windows import add_values


class First(KeySelector):
    calls: list[str]

    def __init__(self) -> None:
        self.calls = []

    def open(self, runtime_context):
        self.calls.append(f"open {runtime_context.get_task_name()}")

    def get_key(self, value):
        assert self.calls
        return value[0]

    def close(self):
        self.calls.append("close")


class Whole(Partitioner):
    def partition(self, key, num_partitions):
        return 0


class Clocked(TimestampAssigner):
    """With a life cycle, though the base class has none."""

    def open(self, runtime_context):
        self.offset = 100

    def extract_timestamp(self, value, record_timestamp):
        return value + self.offset


def test_a_key_selector_is_opened_for_the_operator() -> None:
    spec = ReduceSpec(First().get_key, Types.STRING(), add_values, Types.PICKLED_BYTE_ARRAY())
    with OperatorHarness(spec) as h:
        h.batch([("a", 1), ("a", 2)])
    assert h.results == [("a", 1), ("a", 3)]


def test_an_object_is_opened_and_closed_once_whoever_shares_it() -> None:
    selector, shared = First(), SharedFunctions()
    info = RuntimeInfo("", "", "the task", "", "", 0, 1, 128, 0, None, 200, checkpointing=False)
    shared.open([selector.get_key, selector, None, len, str.split, "a".upper, First], info)
    shared.open([selector.get_key], info)
    assert shared.close() == []
    assert shared.close() == []
    assert selector.calls == ["open the task", "close"]


def test_errors_of_closing_are_collected_and_the_others_are_closed() -> None:
    class Broken(First):
        def close(self):
            raise OSError("no")

    broken, whole, shared = Broken(), First(), SharedFunctions()
    broken.open = lambda context: broken.calls.append("open")
    whole.open = lambda context: whole.calls.append("open")
    shared.open([broken, whole], None)
    assert [str(error) for error in shared.close()] == ["no"]
    assert whole.calls == ["open", "close"]


def test_what_is_shared_is_found_in_descriptions_and_partitioners() -> None:
    selector, partitioner = First(), Whole()
    assert [f for f in shared_functions(Custom(partitioner, selector.get_key)) if f] == [
        selector.get_key,
        partitioner,
    ]
    assert not any(shared_functions(Rebalance()))
    spec = ReduceSpec(selector.get_key, Types.STRING(), add_values, Types.STRING())
    assert [f for f in shared_functions(spec) if f] == [selector.get_key]


@pytest.mark.parametrize("method", [False, True])
def test_a_timestamp_assigner_is_opened(method) -> None:
    assigner = Clocked()
    strategy = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
        assigner.extract_timestamp if method else assigner
    )
    with OperatorHarness(TimestampsSpec(strategy)) as h:
        h.element(5)
    assert h.timestamps[0] == 105
