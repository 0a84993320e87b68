"""Keyed state and timers of one operator through snapshots, failures and other parallelisms, against a model of a few lines.

A failure throws away what came since the last snapshot, and the source gives it again: so must results come again, no more and
no fewer than the first time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from millstream import Configuration, KeyedProcessFunction, StreamExecutionEnvironment, ValueStateDescriptor
from millstream.core.batch import Watermark
from millstream.testing import OperatorHarness, harness_of

KEYS = 12
STEPS = 60
MAX_PARALLELISM = 16

Result = tuple[int, str, int, int]
"""Key, what happened, event time, how many records of the key there had been."""


class CountsAndRemembers(KeyedProcessFunction):
    """Counts the records of each key, and says at the time that a record names how many there are."""

    def open(self, context: Any) -> None:
        self.count = context.get_state(ValueStateDescriptor("count", int))

    def process_element(self, value: tuple[int, int], context: Any) -> Any:
        key, time = value
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        context.timer_service().register_event_time_timer(time)
        yield (key, "record", time, count)

    def on_timer(self, timestamp: int, context: Any) -> Any:
        yield (context.get_current_key(), "timer", timestamp, self.count.value())


@dataclass
class Model:
    """What the operator has to do."""

    counts: dict[int, int] = field(default_factory=dict)
    timers: set[tuple[int, int]] = field(default_factory=set)
    results: list[Result] = field(default_factory=list)

    def record(self, key: int, time: int) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1
        self.timers.add((time, key))
        self.results.append((key, "record", time, self.counts[key]))

    def watermark(self, time: int) -> None:
        for due in sorted(timer for timer in self.timers if timer[0] <= time):
            self.timers.discard(due)
            self.results.append((due[1], "timer", due[0], self.counts[due[1]]))

    def copy(self) -> Model:
        return Model(dict(self.counts), set(self.timers), list(self.results))


def play(seed: int) -> int:
    """One life of the operator; how often it was restored. Raises AssertionError where it does not do as the model."""
    random = Random(seed)
    harness, model, time, restores = _start(random), Model(), 0, 0
    kept, snapshot, kept_time = model.copy(), harness.snapshot(), time
    for _ in range(STEPS):
        match random.choice(["record"] * 5 + ["watermark"] * 2 + ["snapshot", "rescale", "fail"]):
            case "record":
                key, due = random.randrange(KEYS), time + random.randint(1, 20)
                harness.element((key, due), ts=time)
                model.record(key, due)
            case "watermark":
                time += random.randint(0, 15)
                harness.watermark(time)
                model.watermark(time)
            case "snapshot":
                kept, snapshot, kept_time = model.copy(), harness.snapshot(), time
            case "rescale":
                harness = harness.restored(parallelism=random.randint(1, 5))
                kept, snapshot, kept_time = model.copy(), harness.snapshot(), time
                restores += 1
            case _:
                _compare(harness, model)
                parallelism = random.choice([harness._parallelism, random.randint(1, 5)])
                harness = harness.restored_from(snapshot, parallelism=parallelism)
                model, time = kept.copy(), kept_time
                restores += 1
                _forget_results(harness, model)
    harness.watermark(10**6)
    model.watermark(10**6)
    _compare(harness, model)
    harness.close()
    return restores


def _start(random: Random) -> OperatorHarness:
    env = StreamExecutionEnvironment.get_execution_environment(Configuration())
    stream = env.from_collection([(0, 0)]).key_by(lambda value: value[0]).process(CountsAndRemembers())
    return harness_of(stream, parallelism=random.randint(1, 5), max_parallelism=MAX_PARALLELISM)


def _forget_results(harness: OperatorHarness, model: Model) -> None:
    """What was given before the failure has been compared."""
    harness.output.clear()
    model.results.clear()


def _compare(harness: OperatorHarness, model: Model) -> None:
    found = [result for result in harness.output if not isinstance(result, Watermark)]
    for key in range(KEYS):
        mine = [result for result in found if result[0] == key]
        assert mine == [result for result in model.results if result[0] == key], f"key {key}"
    assert len(found) == len(model.results)
