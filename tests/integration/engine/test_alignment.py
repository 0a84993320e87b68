"""Sources of one group stay together, and waiting ones stop neither checkpoints nor the end of the job."""

from __future__ import annotations

import time
from typing import Any

import pytest

from millstream import StreamExecutionEnvironment, Watermark, WatermarkGenerator, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from tests.integration.engine.harness import Workshop, wait_until

SLOW, FAST = 60, 60_000
END, DRIFT = 600, 100
SLACK = 100
"""Announcements come every 20 ms, in which the slow source advances by 20; a batch of the fast one advances it by 10."""


def slow(index: int) -> tuple[str, int, float]:
    return "slow", index * END // SLOW, time.monotonic()


def fast(index: int) -> tuple[str, int, float]:
    return "fast", index * END // FAST, time.monotonic()


class ByHand(WatermarkGenerator):
    """The same as for monotonous timestamps, by hand."""

    def __init__(self) -> None:
        self.largest = -1

    def on_event(self, event: Any, event_timestamp: int, output: Any) -> None:
        self.largest = max(self.largest, event_timestamp)

    def on_periodic_emit(self, output: Any) -> None:
        output.emit_watermark(Watermark(self.largest - 1))


def aligned(strategy: WatermarkStrategy[Any]) -> WatermarkStrategy[Any]:
    return strategy.with_timestamp_assigner(lambda value, _: value[1]).with_watermark_alignment(
        "g", DRIFT, 20
    )


class Whole(DataGeneratorSource[Any]):
    """Its reader cannot leave out single splits."""

    def create_reader(self, context: Any) -> Any:
        reader = super().create_reader(context)

        class Plain:
            def __init__(self) -> None:
                for name in ("start", "add_splits", "notify_no_more_splits", "poll_next", "snapshot_state"):
                    setattr(self, name, getattr(reader, name))
                self.notify_checkpoint_complete = reader.notify_checkpoint_complete
                self.close = reader.close

        return Plain()


@pytest.mark.parametrize("source", [DataGeneratorSource, Whole])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_fast_source_waits_for_the_slow_one_of_its_group(source, parallelism, tmp_path) -> None:
    env = StreamExecutionEnvironment(Workshop(tmp_path).configuration())
    env.set_parallelism(parallelism)
    strategy = aligned(WatermarkStrategy.for_monotonous_timestamps())
    rates = RateLimiterStrategy.per_second(100), RateLimiterStrategy.per_second(600_000)
    one = env.from_source(DataGeneratorSource(slow, SLOW, rates[0]), strategy, "slow").set_parallelism(1)
    other = env.from_source(source(fast, FAST, rates[1]), strategy, "fast").set_parallelism(1)
    seen = list(one.union(other.filter(lambda value: value[1] % 10 == 0)).execute_and_collect())
    progress = [(moment, at) for name, at, moment in seen if name == "slow"]
    assert len(progress) == SLOW
    checked = 0
    for name, at, moment in seen:
        if name == "fast" and at >= END // 2:
            reached = max((time for when, time in progress if when <= moment), default=-1)
            assert at <= reached + DRIFT + SLACK
            checked += 1
    assert checked == FAST // 20


def test_a_source_that_waits_holds_up_no_checkpoint(tmp_path) -> None:
    workshop = Workshop(tmp_path)
    env = StreamExecutionEnvironment(workshop.configuration())
    stuck = DataGeneratorSource(slow, 10**9, RateLimiterStrategy.per_second(0.01))
    waiting = DataGeneratorSource(fast, 10**9, RateLimiterStrategy.per_second(1_000_000))
    by_hand = aligned(WatermarkStrategy.for_generator(ByHand))
    one, other = env.from_source(stuck, by_hand, "slow"), env.from_source(waiting, by_hand, "fast")
    one.union(other).filter(lambda value: value[0] == "slow").print()
    client = env.execute_async("waiting")

    def records_of_the_fast_source() -> int:
        return max(vertex.records_in for vertex in client.statistics().vertices if "fast" in vertex.name)

    def another_checkpoint() -> int:
        before = workshop.complete()[-1:]
        wait_until(lambda: workshop.complete()[-1:] != before, "a checkpoint")
        return records_of_the_fast_source()

    try:
        wait_until(lambda: 0 < another_checkpoint() == another_checkpoint(), "the fast source to wait")
        assert another_checkpoint() == records_of_the_fast_source()
    finally:
        client.cancel_and_wait()
