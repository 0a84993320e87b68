from __future__ import annotations

import inspect
import warnings

import pytest

from millstream import OutputTag, StreamExecutionEnvironment, Types

PICKLED = Types.PICKLED_BYTE_ARRAY()


@pytest.fixture
def env():
    return StreamExecutionEnvironment.get_execution_environment()


def test_an_operator_whose_results_are_declared_as_pickled_is_named_once_with_its_line(env):
    numbers = env.from_collection([1, 2])
    line = inspect.currentframe().f_lineno + 1
    ranges = numbers.map(range, PICKLED).name("ranges")
    ranges = ranges.filter(lambda numbers: True)
    lengths = ranges.map(len).union(ranges.map(len, Types.LONG()))
    with pytest.warns(UserWarning, match="operator 'ranges' are declared as PICKLED_BYTE_ARRAY") as caught:
        results = lengths.execute_and_collect(limit=9)
    assert sorted(results) == [1, 1, 2, 2]
    (warning,) = caught
    assert (warning.filename, warning.lineno) == (__file__, line)


def test_side_outputs_count_too(env):
    tag = OutputTag("side", Types.TUPLE([Types.LONG(), PICKLED]))
    made = env.from_collection([1]).process(lambda value, ctx: [(tag, (value, range(3)))]).name("split")
    with pytest.warns(
        UserWarning, match=r"operator 'split' are declared as TUPLE\(LONG, PICKLED_BYTE_ARRAY\)"
    ):
        assert made.get_side_output(tag).execute_and_collect(limit=1) == [(1, range(3))]


def test_what_declares_nothing_is_no_reason_to_warn(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert env.from_collection([1]).map(str).execute_and_collect(limit=1) == ["1"]
