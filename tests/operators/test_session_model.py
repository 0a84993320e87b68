"""Sessions against a slow, obvious model, on random programs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from millstream.operators.count_triggers import PurgingTrigger
from millstream.operators.session_windows import EventTimeSessionWindows
from millstream.operators.time_triggers import EventTimeTrigger
from tests.operators.scenario import Scenario, World
from tests.operators.test_window_model import Flatten
from tests.operators.windows import COLLECT, LIST, general


class Model:
    """Sessions of each key as lists `[start, end, values]`."""

    def __init__(self, gap: int, lateness: int, *, purging: bool) -> None:
        self.gap, self.lateness, self.purging = gap, lateness, purging
        self.watermark = MIN_TIMESTAMP
        self.sessions: dict[str, list[list[Any]]] = {}
        self.results: list[Any] = []
        self.late: list[Any] = []

    def record(self, key: str, value: int, ts: int) -> None:
        sessions = self.sessions.setdefault(key, [])
        joined = [session for session in sessions if session[0] <= ts + self.gap and ts <= session[1]]
        start, end = (
            min([ts, *(session[0] for session in joined)]),
            max([ts + self.gap, *(s[1] for s in joined)]),
        )
        if end - 1 + self.lateness <= self.watermark:
            assert not joined
            self.late.append((key, value))
            return
        merged = [start, end, [value, *(v for session in joined for v in session[2])]]
        self.sessions[key] = [session for session in sessions if session not in joined] + [merged]
        if end - 1 <= self.watermark:
            self.fire(key, merged)

    def advance(self, watermark: int) -> None:
        before, self.watermark = self.watermark, max(self.watermark, watermark)
        for key, sessions in self.sessions.items():
            for session in sorted(sessions):
                if before < session[1] - 1 <= self.watermark:
                    self.fire(key, session)
            self.sessions[key] = [s for s in sessions if s[1] - 1 + self.lateness > self.watermark]

    def fire(self, key: str, session: list[Any]) -> None:
        if session[2]:
            self.results.append((key, session[0], session[1], sorted(session[2])))
        if self.purging:
            session[2] = []


records = st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(-30, 60))
steps = st.one_of(
    st.lists(records, min_size=1, max_size=6),
    st.integers(-30, 70),  # a watermark
    st.just("pause"),
)
WORLDS = [
    (World("hashmap", parallelisms=(2, 1, 3)), 150),
    (World("rocksdb", cache_entries=2, parallelisms=(2, 1, 3)), 20),
]


@pytest.mark.parametrize(("world", "examples"), WORLDS, ids=str)
def test_sessions_do_what_the_model_does(world, examples) -> None:
    @settings(max_examples=examples)
    @given(
        gap=st.integers(1, 12),
        lateness=st.sampled_from([0, 0, 1, 5, 20]),
        purging=st.booleans(),
        contents=st.sampled_from([LIST, COLLECT]),
        program=st.lists(steps, max_size=25),
    )
    def run(gap, lateness, purging, contents, program) -> None:
        check(Model(gap, lateness, purging=purging), contents, program, world)

    run()


def check(model: Model, contents: Any, program: list[Any], world: World) -> None:
    trigger = EventTimeTrigger.create()
    spec = general(
        EventTimeSessionWindows.with_gap(model.gap),
        PurgingTrigger.of(trigger) if model.purging else trigger,
        contents=contents,
        window_function=Flatten(),
        allowed_lateness_ms=model.lateness,
        late_tag="late",
    )
    with tempfile.TemporaryDirectory() as folder:
        h = Scenario(spec, world, Path(folder))
        for step in [*program, MAX_TIMESTAMP]:
            if step == "pause":
                h.pause()
                h.watermark(model.watermark)  # watermarks are not state: upstream sends them again
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
