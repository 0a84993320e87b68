"""A job goes on with other windows than it was stopped with: those of before fire at their own ends, as in Flink."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.errors import StateError
from millstream.operators.window import WindowSpec
from millstream.testing import OperatorHarness
from tests.operators.windows import COLLECT, COLLECT_UNMERGED, LIST, Describe, window

PARALLELISMS = st.sampled_from([1, 2, 3])


@dataclass(frozen=True)
class Definition:
    """Size, slide and offset (ms) of windows."""

    size: int
    slide: int
    offset: int

    def spec(self, contents: Any, lateness: int = 0) -> WindowSpec:
        return window(
            self.size,
            self.slide,
            self.offset,
            contents=contents,
            window_function=Describe(),
            allowed_lateness_ms=lateness,
        )

    def windows(self, timestamp: int) -> list[tuple[int, int]]:
        last = timestamp - (timestamp - self.offset) % self.slide
        starts = range(last, timestamp - self.size, -self.slide)
        return [(start, start + self.size) for start in starts]


class Model:
    """Every window is known by its bounds alone, whoever defined it."""

    def __init__(self, lateness: int) -> None:
        self.lateness = lateness
        self.watermark = -(2**63)
        self.held: dict[tuple[str, int, int], list[int]] = defaultdict(list)
        self.fired: list[tuple[str, int, int, tuple[int, ...]]] = []

    def element(self, definition: Definition, key: str, value: int, timestamp: int) -> None:
        for start, end in definition.windows(timestamp):
            if end - 1 + self.lateness > self.watermark:
                self.held[key, start, end].append(value)
                if end - 1 <= self.watermark:
                    self.fire(key, start, end)

    def fire(self, key: str, start: int, end: int) -> None:
        self.fired.append((key, start, end, tuple(sorted(self.held[key, start, end]))))

    def advance(self, watermark: int) -> None:
        for key, start, end in self.held:
            if self.watermark < end - 1 <= watermark:
                self.fire(key, start, end)
        self.watermark = max(self.watermark, watermark)
        over = [window for window in self.held if window[2] - 1 + self.lateness <= self.watermark]
        for passed in over:
            del self.held[passed]


DEFINITIONS = st.builds(
    lambda size, slide, offset: Definition(size, min(slide, size), offset % min(slide, size)),
    st.sampled_from([2, 4, 6, 10]),
    st.sampled_from([2, 3, 4, 10]),
    st.integers(0, 9),
)
RECORDS = st.tuples(st.just("record"), st.sampled_from("abc"), st.integers(-5, 15))
WATERMARKS = st.tuples(st.just("watermark"), st.integers(0, 8))
RESTARTS = st.tuples(st.just("restart"), DEFINITIONS, PARALLELISMS)


def described(results: list[Any]) -> list[tuple[str, int, int, tuple[int, ...]]]:
    """Contents are lists of records, or one list that was collected."""
    found = []
    for key, start, end, _, elements in results:
        values = elements[0] if elements and isinstance(elements[0], list) else [v for _, v in elements]
        found.append((key, start, end, tuple(sorted(values))))
    return sorted(found)


@settings(max_examples=150)
@given(
    contents=st.sampled_from([LIST, COLLECT, COLLECT_UNMERGED]),
    lateness=st.sampled_from([0, 0, 3, 20]),
    first=DEFINITIONS,
    steps=st.lists(st.one_of(RECORDS, RECORDS, WATERMARKS, RESTARTS), max_size=30),
)
def test_as_if_each_window_were_known_by_its_bounds(
    contents: Any, lateness: int, first: Definition, steps: list[Any]
) -> None:
    model, definition = Model(lateness), first
    h = OperatorHarness(first.spec(contents, lateness))
    now = 0
    for number, step in enumerate(steps):
        match step:
            case "record", key, around:
                h.element((key, number), ts=now + around)
                model.element(definition, key, number, now + around)
            case "watermark", further:
                now += further
                h.watermark(now)
                model.advance(now)
            case "restart", definition, parallelism:
                h.spec = definition.spec(contents, lateness)
                h = h.restored(parallelism=parallelism)
        assert described(h.results) == sorted(model.fired)
    h.watermark(1_000)
    model.advance(1_000)
    assert described(h.results) == sorted(model.fired)
    assert h.state_entries() == 0
    h.close()


def test_they_go_on_on_every_backend_and_in_every_world(start: Any) -> None:
    ten, fifteen = Definition(10, 10, 0), Definition(15, 15, 0)
    h = start(ten.spec(LIST))
    h.batch([("a", 1), ("b", 2), ("a", 3)], [1, 12, 13])
    h.watermark(8)
    h.change(fifteen.spec(LIST))
    h.pause()
    h.batch([("a", 4), ("a", 5)], [14, 16])
    h.pause()
    h.watermark(9)
    h.pause()  # with the windows of before that have not fired
    h.watermark(100)
    assert described(h.results) == [
        ("a", 0, 10, (1,)),
        ("a", 0, 15, (4,)),
        ("a", 10, 20, (3,)),
        ("a", 15, 30, (5,)),
        ("b", 10, 20, (2,)),
    ]
    assert h.state_entries() == 0


def test_shared_contents_cannot_go_on_without_a_merge() -> None:
    h = OperatorHarness(Definition(10, 5, 0).spec(COLLECT))
    h.element(("a", 1), ts=1)
    h.spec = Definition(10, 5, 0).spec(COLLECT_UNMERGED)
    with pytest.raises(
        StateError, match=r"windows of 10 ms every 5 ms which share their contents.*no merge\(\)"
    ):
        h.restored()


def test_records_under_way_may_be_partial_results_for_the_windows_of_before() -> None:
    with OperatorHarness(Definition(10, 10, 0).spec(COLLECT)) as h:
        [taken] = h.snapshot()
        context = replace(h._context(1, taken, dict(taken.lists)), records_under_way=True)
        operator = Definition(15, 15, 0).spec(COLLECT).create()
        with pytest.raises(
            StateError, match="holds records under way to windows of 10 ms, and the program has"
        ) as refused:
            operator.open(context)
        assert "savepoint" in (refused.value.fix or "")
