"""The harness that users test their functions with."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path

import pytest

from millstream.core.batch import MAX_TIMESTAMP
from millstream.core.types import GENERIC
from millstream.operators.co_functions import CoProcessFunction, KeyedCoProcessFunction
from millstream.operators.co_process import CoProcessSpec, KeyedCoProcessSpec
from millstream.operators.functions import KeyedProcessFunction
from millstream.operators.process import KeyedProcessSpec
from millstream.state.descriptors import ValueStateDescriptor
from millstream.testing import OperatorHarness, TwoInputOperatorHarness, W


class Count(KeyedProcessFunction):
    def open(self, runtime_context):
        self.count = runtime_context.get_state(ValueStateDescriptor("count", GENERIC))

    def process_element(self, value, ctx):
        self.count.update((self.count.value() or 0) + 1)
        yield value, self.count.value()


SPEC = KeyedProcessSpec(itemgetter(0), GENERIC, Count())


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_state_goes_on_from_the_snapshot_that_it_is_restored_from(backend) -> None:
    h = OperatorHarness(SPEC, backend=backend)
    h.element("a")
    taken = h.snapshot()
    h.element("a")
    h = h.restored_from(taken, parallelism=3)
    h.element("a")
    assert h.results == [("a", 1), ("a", 2), ("a", 2)]
    assert h.state_entries() == 1
    h.close()


def test_parallel_subtasks_give_one_watermark_behind_all_their_results() -> None:
    with OperatorHarness(SPEC, parallelism=4) as h:
        h.batch("abcdef", [1] * 6)
        h.watermark(5)
        assert len(h.output) == 7
        assert h.output[-1] == W(5)
        assert h.timestamps == [1] * 6 + [None]


def test_each_subtask_has_a_function_object_of_its_own() -> None:
    function = Count()
    with OperatorHarness(KeyedProcessSpec(itemgetter(0), GENERIC, function), parallelism=2):
        assert not hasattr(function, "count")


def test_a_directory_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    h = OperatorHarness(SPEC, backend="rocksdb", directory=tmp_path)
    h.element("a")
    h.snapshot()
    h.close()
    h.close()
    del h
    assert list(tmp_path.iterdir())


class Meeting(KeyedCoProcessFunction):
    def open(self, runtime_context):
        self.first = runtime_context.get_state(ValueStateDescriptor("first", GENERIC))

    def process_element1(self, value, ctx):
        self.first.update(value)

    def process_element2(self, value, ctx):
        yield self.first.value(), value, ctx.timestamp()


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
@pytest.mark.parametrize("parallelism", [1, 3])
def test_both_inputs_of_a_key_meet_in_one_subtask_before_and_after_a_restore(backend, parallelism) -> None:
    spec = KeyedCoProcessSpec(itemgetter(0), itemgetter(0), GENERIC, Meeting())
    h = TwoInputOperatorHarness(spec, backend=backend, parallelism=parallelism)
    h.batch1(["a", "b", "c"], [1, 2, 3])
    h.element2("a!", ts=4)
    h = h.restored(parallelism=4 - parallelism)
    h.batch2(["c!", "b!"], [5, 6])
    assert h.results[0] == ("a", "a!", 4)
    assert sorted(h.results[1:]) == [("b", "b!", 6), ("c", "c!", 5)]
    h.watermark1(10)
    assert h.output[3:] == []
    h.watermark2(7)
    assert h.output[3:] == [W(7)]
    h.end_input()
    assert h.output[-1] == W(MAX_TIMESTAMP)
    h.close()


def test_an_unkeyed_second_input_goes_to_the_first_subtask() -> None:
    class Pass(CoProcessFunction):
        def open(self, runtime_context):
            self.subtask = runtime_context.get_index_of_this_subtask()

        def process_element1(self, value, ctx):
            yield self.subtask, value

        process_element2 = process_element1

    with TwoInputOperatorHarness(CoProcessSpec(Pass()), parallelism=2) as h:
        h.element1("a")
        h.element2("b")
        assert h.results == [(0, "a"), (0, "b")]


class Rarely(KeyedProcessFunction):
    """Asks for its state when it needs it."""

    def open(self, runtime_context):
        self.context = runtime_context

    def process_element(self, value, ctx):
        self.context.get_state(ValueStateDescriptor("rare", GENERIC)).update(value)


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_restored_state_that_nobody_has_asked_for_yet_is_counted(backend) -> None:
    h = OperatorHarness(KeyedProcessSpec(itemgetter(0), GENERIC, Rarely()), backend=backend)
    h.batch(["a", "b", "c"], [1, 2, 3])
    for parallelism in (3, 2):
        h = h.restored(parallelism=parallelism)
        assert h.state_entries() == 3
    h.close()
