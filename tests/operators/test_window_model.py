"""Windows against a slow, obvious model, on random programs: what Flink does record by record and window by window."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from millstream.core.types import Types
from millstream.operators.functions import ProcessWindowFunction
from tests.operators.scenario import Scenario, World
from tests.operators.windows import COLLECT, COLLECT_UNMERGED, LIST, one_by_one, window


@dataclass(frozen=True)
class Shape:
    """Of the windows, in ms."""

    size: int
    slide: int
    offset: int
    lateness: int


class Flatten(ProcessWindowFunction):
    """(key, window, values), whatever the contents are."""

    def process(self, key, context, elements):
        values = elements[0] if isinstance(elements[0], list) else [value for _, value in elements]
        yield key, context.window().start, context.window().end, sorted(values)


class Model:
    """Ten lines of window semantics."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.watermark = shape, MIN_TIMESTAMP
        self.contents: dict[Any, list[int]] = defaultdict(list)
        self.results: list[Any] = []
        self.late: list[Any] = []

    def record(self, key: str, value: int, ts: int) -> None:
        size, slide, offset, lateness = vars(self.shape).values()
        last = ts - (ts - offset) % slide
        starts = list(range(last, ts - size, -slide))
        live = [start for start in starts if start + size - 1 + lateness > self.watermark]
        if not live and ts + lateness <= self.watermark:
            self.late.append((key, value))
        for start in live:
            self.contents[key, start, start + size].append(value)
            if start + size - 1 <= self.watermark:
                self.fire(key, start, start + size)

    def advance(self, watermark: int) -> None:
        before, self.watermark = self.watermark, max(self.watermark, watermark)
        for key, start, end in sorted(self.contents, key=lambda window: window[2]):
            if before < end - 1 <= self.watermark:
                self.fire(key, start, end)
            if end - 1 + self.shape.lateness <= self.watermark:
                del self.contents[key, start, end]

    def fire(self, key: str, start: int, end: int) -> None:
        self.results.append((key, start, end, sorted(self.contents[key, start, end])))


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    size, slide = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    offset = draw(st.integers(1 - slide, slide - 1))
    return Shape(size, slide, offset, draw(st.sampled_from([0, 0, 1, 5, 20])))


records = st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.integers(-30, 60))
steps = st.one_of(
    st.lists(records, min_size=1, max_size=6),
    st.integers(-30, 70),  # a watermark
    st.just("pause"),
)
CONTENTS = st.sampled_from([LIST, COLLECT, COLLECT_UNMERGED])
WORLDS = [
    (World("hashmap", parallelisms=(2, 1, 3)), 150),
    (World("rocksdb", cache_entries=2, parallelisms=(2, 1, 3)), 20),
]


@pytest.mark.parametrize("operator", ["slices", "one-by-one"])
@pytest.mark.parametrize(("world", "examples"), WORLDS, ids=str)
def test_windows_do_what_the_model_does(world, examples, operator) -> None:
    """Both operators: what one of them does the other does."""

    @settings(max_examples=examples)
    @given(shape=shapes(), contents=CONTENTS, program=st.lists(steps, max_size=25))
    def run(shape, contents, program) -> None:
        check(shape, contents, program, world, operator)

    run()


def check(shape: Shape, contents: Any, program: list[Any], world: World, operator: str) -> None:
    spec = window(
        shape.size,
        shape.slide,
        shape.offset,
        contents=contents,
        key_type=Types.STRING(),
        window_function=Flatten(),
        allowed_lateness_ms=shape.lateness,
        late_tag="late",
    )
    if operator == "one-by-one":
        spec = one_by_one(spec)
    model = Model(shape)
    with tempfile.TemporaryDirectory() as folder:
        h = Scenario(spec, world, Path(folder))
        for step in [*program, MAX_TIMESTAMP]:
            if step == "pause":
                h.pause()
                if operator == "one-by-one":  # watermarks are not its state: upstream sends them again
                    h.watermark(model.watermark)
            elif isinstance(step, int):
                h.watermark(step)
                model.advance(step)
            else:
                h.batch([(key, value) for key, value, _ in step], [ts for _, _, ts in step])
                for record in step:
                    model.record(*record)
            assert sorted(h.results) == sorted(model.results), step
            assert sorted(h.side.get("late", [])) == sorted(model.late), step
        assert h.state_entries() == 0
        h.close()
