"""Interval joins: what meets what, what is late, and that nothing is left.

Left records at l and right records at r are joined if l + lower <= r <= l + upper.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from millstream.core.errors import JobDefinitionError
from millstream.core.types import InvalidKeyError, Types
from millstream.operators.functions import OutputTag
from millstream.operators.interval_join import IntervalJoinSpec
from millstream.operators.join_functions import ProcessJoinFunction
from millstream.testing import TwoInputOperatorHarness, W
from tests.operators.scenario import Scenario, World

PAIR = Types.TUPLE([Types.STRING(), Types.LONG()])
TOLD = OutputTag("told")


class Pairs(ProcessJoinFunction):
    def process_element(self, left, right, ctx):
        ctx.output(TOLD, (ctx.get_left_timestamp(), ctx.get_right_timestamp(), ctx.get_timestamp()))
        yield left[0], left[1], right[1]


def join(lower, upper, function=None, **changes):
    return IntervalJoinSpec(
        itemgetter(0), itemgetter(0), Types.STRING(), PAIR, PAIR, lower, upper, function or Pairs(), **changes
    )


def test_bounds_are_inclusive_and_results_happened_at_the_later_time(start) -> None:
    h = start(join(-2, 3))
    h.element1(("a", 1), ts=10)
    h.pause()
    for ts in (7, 8, 13, 14):
        h.element2(("a", ts), ts=ts)
    assert h.results == [("a", 1, 8), ("a", 1, 13)]
    assert h.timestamps == [10, 13]
    assert h.side["told"] == [(10, 8, 10), (10, 13, 13)]


def test_either_side_may_come_first_and_partners_come_in_order_of_time(start) -> None:
    h = start(join(-5, 5))
    h.batch2([("a", 3), ("b", 9), ("a", 1), ("a", 2)], [3, 3, 1, 2])
    h.pause()
    h.element1(("a", 0), ts=2)
    assert h.results == [("a", 0, 1), ("a", 0, 2), ("a", 0, 3)]


def test_several_records_of_one_key_and_time_are_all_joined(start) -> None:
    h = start(join(0, 0))
    h.batch1([("a", 1), ("a", 2)], [5, 5])
    h.pause()
    h.element1(("a", 3), ts=5)
    h.pause()
    h.element2(("a", 9), ts=5)
    assert h.results == [("a", 1, 9), ("a", 2, 9), ("a", 3, 9)]


@pytest.mark.parametrize("bounds", [(-2, 3), (2, 5), (-5, -2), (0, 0)])
def test_nothing_is_left_when_the_watermark_has_passed(start, bounds) -> None:
    h = start(join(*bounds))
    h.batch1([("a", 1), ("b", 1)], [10, 11])
    h.batch2([("a", 1), ("c", 1)], [10, 12])
    h.pause()
    h.watermark(9)
    assert h.state_entries() > 0
    h.watermark(12 + 5)
    assert h.state_entries() == 0


def test_a_record_is_kept_exactly_as_long_as_a_partner_may_come(start) -> None:
    # The left record at 10 waits for right ones up to 13; once the watermark has reached 13 it is gone.
    h = start(join(0, 3))
    h.element1(("a", 1), ts=10)
    h.watermark(12)
    h.pause()
    h.element2(("a", 12), ts=12)
    h.watermark(13)
    h.element2(("a", 13), ts=13)
    assert h.results == [("a", 1, 12)]


def test_a_right_record_waits_for_left_ones_as_long_as_the_lower_bound_says(start) -> None:
    # The right record at 10 meets left ones from 9 up to 14; once the watermark has reached 14 it is gone.
    h = start(join(-4, 1))
    h.element2(("a", 10), ts=10)
    h.watermark(13)
    h.pause()
    h.element1(("a", 1), ts=13)
    h.watermark(14)
    h.element1(("a", 2), ts=14)
    assert h.results == [("a", 1, 10)]


def test_records_at_the_very_time_of_the_watermark_still_meet(start) -> None:
    h = start(join(0, 0))
    h.watermark(10)
    h.element1(("a", 1), ts=10)
    h.element2(("a", 2), ts=10)
    assert h.results == [("a", 1, 2)]
    h.watermark(11)
    assert h.state_entries() == 0


def test_a_record_behind_the_watermark_is_late_and_counted(start) -> None:
    h = start(join(-5, 5))
    h.element1(("a", 1), ts=10)
    h.watermark(10)
    h.element2(("a", 9), ts=9)
    h.element1(("a", 8), ts=8)
    assert h.results == []
    assert h.counters == {"numLateRecordsDropped": 2}


def test_late_records_go_to_the_side_output_of_their_stream(start) -> None:
    h = start(join(-5, 5, left_late_tag="left", right_late_tag="right"))
    h.watermark(10)
    h.batch1([("a", 1), ("a", 2)], [9, 10])
    h.element2(("a", 3), ts=1)
    assert h.side == {"left": [("a", 1)], "right": [("a", 3)]}
    assert h.counters == {}


def test_the_watermark_follows_the_results(start) -> None:
    h = start(join(-1, 1))
    h.element1(("a", 1), ts=10)
    h.element2(("a", 2), ts=10)
    h.watermark1(20)
    h.watermark2(15)
    assert h.output == [("a", 1, 2), W(15)]


def test_records_near_the_end_of_time_are_cleaned_up_with_it(start) -> None:
    h = start(join(0, 100))
    h.element1(("a", 1), ts=MAX_TIMESTAMP - 10)
    h.pause()
    h.element2(("a", 2), ts=MAX_TIMESTAMP - 5)
    h.watermark(MAX_TIMESTAMP)
    assert h.results == [("a", 1, 2)]
    assert h.state_entries() == 0


def test_records_without_timestamps_are_refused(start) -> None:
    h = start(join(0, 1))
    for element in (h.element1, h.element2):
        with pytest.raises(JobDefinitionError, match="without timestamps"):
            element(("a", 1))


def test_a_key_of_another_type_is_refused(start) -> None:
    with TwoInputOperatorHarness(join(0, 1)) as h, pytest.raises(InvalidKeyError):
        h.element2((1, 1), ts=1)


class Model:
    """Every record remembers until when it is kept."""

    def __init__(self, lower: int, upper: int) -> None:
        self.lower, self.upper, self.watermark = lower, upper, MIN_TIMESTAMP
        self.kept: tuple[list[Any], list[Any]] = ([], [])
        self.results: list[Any] = []
        self.late = 0

    def record(self, side: int, key: str, value: int, ts: int) -> None:
        if ts < self.watermark:
            self.late += 1
            return
        self.kept[side].append((key, value, ts))
        for other_key, other, other_ts in self.kept[1 - side]:
            left, right = (ts, other_ts) if side == 0 else (other_ts, ts)
            if key == other_key and left + self.lower <= right <= left + self.upper:
                pair = (value, other) if side == 0 else (other, value)
                self.results.append((max(left, right), key, *pair))

    def advance(self, watermark: int) -> None:
        self.watermark = max(self.watermark, watermark)
        waits = (max(self.upper, 0), max(-self.lower, 0))
        for records, wait in zip(self.kept, waits, strict=True):
            records[:] = [record for record in records if record[2] + wait > self.watermark]


steps = st.lists(
    st.one_of(
        # Times and watermarks are distances from the last watermark, so that most records are neither late nor lonely.
        st.tuples(st.integers(0, 1), st.sampled_from("aab"), st.integers(-1, 5)),
        st.tuples(st.just("watermark"), st.integers(1, 3)),
        st.just(("pause",)),
    ),
    min_size=20,
    max_size=40,
)
bounds = st.tuples(st.integers(-4, 4), st.integers(-4, 4)).map(sorted)


@pytest.mark.parametrize(
    ("world", "examples"),
    [
        (World("hashmap"), 40),
        (World("hashmap", parallelisms=(1, 3, 2)), 10),
        (World("rocksdb", cache_entries=2, parallelisms=(2, 1, 3)), 4),
    ],
    ids=str,
)
def test_the_operator_does_what_the_model_does(world, examples) -> None:
    @settings(max_examples=examples)
    @given(steps, bounds)
    def check(steps: list[Any], bounds: list[int]) -> None:
        model = Model(*bounds)
        with tempfile.TemporaryDirectory() as folder:
            h = Scenario(join(*bounds), world, Path(folder), TwoInputOperatorHarness)
            now = 0
            for number, step in enumerate(steps):
                match step:
                    case "watermark", distance:
                        now = time = now + distance
                        h.watermark(time)
                        model.advance(time)
                    case ("pause",):
                        h.pause()
                        if len(world.parallelisms) > 1:
                            h.watermark(model.watermark)  # the sources derive it again
                    case side, key, distance:
                        ts = now + distance
                        (h.element1 if side == 0 else h.element2)((key, number), ts)
                        model.record(side, key, number, ts)
            found = Counter(zip(_times(h), h.results, strict=True))
            assert found == Counter((ts, pair) for ts, *rest in model.results for pair in [tuple(rest)])
            assert h.counters.get("numLateRecordsDropped", 0) == model.late
            h.watermark(MAX_TIMESTAMP)
            assert h.state_entries() == 0
            h.close()

    check()


def _times(h: Scenario) -> list[int]:
    return [time for time, entry in zip(h.timestamps, h.output, strict=True) if isinstance(entry, tuple)]
