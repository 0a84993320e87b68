"""Accumulators and metrics of user functions, in whole jobs: exact through failures, merged over all subtasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millstream import (
    Accumulator,
    IntCounter,
    JobClient,
    KeyedProcessFunction,
    MapFunction,
    StreamExecutionEnvironment,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.operators.metrics import CounterValue, GaugeValue
from tests.integration.engine.harness import Workshop, wait_until

NUMBERS = 3_000
FAILING = (700, 1_500, 2_999)


class Residues(Accumulator[int, dict[int, int]]):
    """One of a user's own: how many numbers have each residue modulo 3."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def add(self, value: int) -> None:
        self.counts[value % 3] = self.counts.get(value % 3, 0) + 1

    def get_local_value(self) -> dict[int, int]:
        return dict(sorted(self.counts.items()))

    def reset_local(self) -> None:
        self.counts = {}

    def merge(self, other: Residues) -> None:
        for residue, count in other.counts.items():
            self.counts[residue] = self.counts.get(residue, 0) + count


class Counting(MapFunction[int, int]):
    """Counts; raises at some numbers, the first time that they come."""

    def __init__(self, markers: Path) -> None:
        self.markers = markers

    def open(self, runtime_context: Any) -> None:
        self.seen = runtime_context.get_int_counter("seen")
        self.residues = Residues()
        runtime_context.add_accumulator("residues", self.residues)

    def map(self, value: int) -> int:
        self.seen.add(1)
        self.residues.add(value)
        marker = self.markers / str(value)
        if value in FAILING and not marker.exists():
            marker.touch()
            raise RuntimeError("planned")
        return value


class Keys(KeyedProcessFunction[int, int, int]):
    """Counts keys, and initial values."""

    def open(self, runtime_context: Any) -> None:
        self.known = runtime_context.get_state(ValueStateDescriptor("known", bool))
        self.keys = runtime_context.get_int_counter("keys")
        runtime_context.add_accumulator("started", IntCounter(1))
        self.parameter = runtime_context.get_job_parameter("parameter")

    def process_element(self, value: int, ctx: KeyedProcessFunction.Context) -> Any:
        if self.known.value() is None:
            self.known.update(True)
            self.keys.add(1)
        yield self.parameter


@pytest.mark.parametrize(
    ("parallelism", "backend"),
    [(1, "hashmap"), pytest.param(1, "rocksdb", marks=pytest.mark.slow), (2, "rocksdb")],
)
def test_accumulators_count_every_record_once_however_often_the_job_restarts(
    workshop: Workshop, parallelism: int, backend: str
) -> None:
    changes = {"state_backend_type": backend, "pipeline_global__job__parameters": "parameter:'a, b'"}
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**changes))
    source = DataGeneratorSource(int, NUMBERS, RateLimiterStrategy.per_second(6_000))
    numbers: Any = env.set_parallelism(parallelism).from_source(
        source, WatermarkStrategy.no_watermarks(), "numbers"
    )
    counted = numbers.map(Counting(workshop.faults)).key_by(lambda value: value % 17).process(Keys())
    with counted.execute_and_collect("counting") as results:
        assert set(results) == {"a, b"}
    result = results.get_job_client().wait()
    assert 1 <= result.statistics.restarts <= len(FAILING)
    assert result.get_all_accumulator_results() == {
        "seen": NUMBERS,
        "residues": {0: 1000, 1: 1000, 2: 1000},
        "keys": 17,
        "started": parallelism,
    }
    assert result.get_accumulator_result("seen") == NUMBERS
    assert result.get_accumulator_result("nothing") is None


@pytest.mark.parametrize("parallelism", [1, 2])
def test_without_checkpoints_a_job_that_starts_anew_counts_anew(workshop: Workshop, parallelism: int) -> None:
    configuration = workshop.configuration()
    configuration.remove_config("execution.checkpointing.interval")
    env = StreamExecutionEnvironment.get_execution_environment(configuration).set_parallelism(parallelism)
    env.from_sequence(0, NUMBERS - 1).map(Counting(workshop.faults)).print()
    result = env.execute()
    assert result.statistics.restarts >= 1
    assert result.get_accumulator_result("seen") == NUMBERS


class Measuring(MapFunction[int, int]):
    def open(self, runtime_context: Any) -> None:
        group = runtime_context.get_metrics_group().add_group("mine")
        self.odd = group.counter("odd")
        group.gauge("subtask", runtime_context.get_index_of_this_subtask)
        self.total = runtime_context.get_long_counter("total")

    def map(self, value: int) -> int:
        self.odd.inc(value % 2)
        self.total.add(1)
        return value


def live(client: JobClient) -> int:
    found: int = client.get_accumulators().result().get("total", 0)
    return found


@pytest.mark.parametrize("parallelism", [1, 2])
def test_metrics_and_accumulators_of_a_running_job_can_be_watched(
    workshop: Workshop, parallelism: int
) -> None:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())
    endless: Any = env.set_parallelism(parallelism).from_sequence(0, 1 << 40)
    with endless.map(Measuring()).name("measured").execute_and_collect() as results:
        client = results.get_job_client()
        next(results)
        wait_until(lambda: live(client) > 0 and next(results), "a count")
        first = live(client)
        wait_until(lambda: live(client) > first or not next(results, True), "a larger count")

        def measured() -> Any:
            operators = [o for vertex in client.statistics().vertices for o in vertex.operators]
            found = next((o for o in operators if o.name == "measured"), None)
            complete = found is not None and len(found.metrics.get("mine.odd", ())) == parallelism
            return found if complete and found is not None and found.total("mine.odd") > 0 else None

        operator = wait_until(lambda: measured() or (not next(results, True)), "metrics of all subtasks")
        assert operator.metrics["mine.subtask"] == {n: GaugeValue(n) for n in range(parallelism)}
        assert all(isinstance(value, CounterValue) for value in operator.metrics["mine.odd"].values())
