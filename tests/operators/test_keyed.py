from __future__ import annotations

import math
from operator import itemgetter

import pytest

from millstream.core.types import GENERIC, InvalidKeyError, Types
from millstream.operators.functions import ReduceFunction
from millstream.operators.keyed import ReduceSpec
from millstream.testing import OperatorHarness, W
from tests.operators.windows import add_values


def reduce(function=add_values, key_type=GENERIC, value_type=GENERIC, key_selector=itemgetter(0)):
    return ReduceSpec(key_selector, key_type, function, value_type)


def test_every_record_gives_the_combination_of_all_records_of_its_key_so_far(start) -> None:
    h = start(reduce(key_type=Types.STRING(), value_type=Types.TUPLE([Types.STRING(), Types.LONG()])))
    h.batch([("a", 1), ("b", 10), ("a", 2)], [1, 2, 3])
    h.pause()
    h.element(("a", 4), ts=4)
    h.watermark(4)
    h.pause()
    h.element(("b", 20), ts=0)
    assert h.output == [("a", 1), ("b", 10), ("a", 3), ("a", 7), W(4), ("b", 30)]
    assert h.timestamps == [1, 2, 3, 4, None, 0]
    assert h.state_entries() == 2


def test_records_without_timestamps_are_reduced_as_well(start) -> None:
    h = start(reduce())
    h.batch([("a", 1), ("a", 2)])
    h.pause()
    h.element(("a", 4))
    assert h.output == [("a", 1), ("a", 3), ("a", 7)]
    assert h.timestamps == [None, None, None]


def test_a_reduce_function_is_opened_and_closed() -> None:
    calls = []

    class Adds(ReduceFunction):
        def open(self, runtime_context):
            calls.append(runtime_context.get_index_of_this_subtask())

        def reduce(self, value1, value2):
            return add_values(value1, value2)

        def close(self):
            calls.append("closed")

    with OperatorHarness(reduce(Adds())) as h:
        h.batch([("a", 1), ("a", 2)])
    assert h.results == [("a", 1), ("a", 3)]
    assert calls == [0, "closed"]


def test_none_as_a_result_unsets_the_value(start) -> None:
    h = start(reduce(lambda a, b: None))
    h.batch([("a", 1), ("a", 2), ("a", 3)])
    assert h.output == [("a", 1), None, ("a", 3)]
    h.element(("a", 4))
    h.pause()
    assert h.state_entries() == 0


@pytest.mark.parametrize("key", [None, math.nan, [1], {}], ids=repr)
def test_what_cannot_be_a_key_is_refused(key) -> None:
    with OperatorHarness(reduce()) as h, pytest.raises(InvalidKeyError):
        h.element((key, 1))


def test_a_type_error_of_the_key_selector_stays_itself() -> None:
    with OperatorHarness(reduce(key_selector=lambda value: value + 1)) as h, pytest.raises(TypeError):
        h.element(("a", 1))


def test_numbers_that_are_equal_are_one_key(start) -> None:
    h = start(reduce(lambda a, b: (a[0], a[1] + b[1])))
    h.batch([(1, 1), (1.0, 2)])
    h.pause()
    h.element((True, 4))
    assert [value for _, value in h.results] == [1, 3, 7]
    assert h.state_entries() == 1


def test_a_function_that_changes_its_first_argument_changes_neither_records_nor_results(start) -> None:
    def gather(left, right):
        left.append(right[1])
        return left

    h = start(reduce(gather, value_type=Types.PICKLED_BYTE_ARRAY()))
    records = [["a", 1], ["a", 2], ["b", 3]]
    h.batch(records)
    h.pause()
    h.element(["a", 4])
    h.results[-1].append("changed")
    h.element(["a", 5])
    assert h.results == [["a", 1], ["a", 1, 2], ["b", 3], ["a", 1, 2, 4, "changed"], ["a", 1, 2, 4, 5]]
    assert records == [["a", 1], ["a", 2], ["b", 3]]
