"""Whole jobs in BATCH mode: the same final results as in STREAMING, with bounded memory, and from the beginning after a failure."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream import (
    DataStream,
    Duration,
    JobDefinitionError,
    KeyedProcessFunction,
    ProcessFunction,
    RuntimeExecutionMode,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    Watermark,
    WatermarkGenerator,
    WatermarkOutput,
    WatermarkStrategy,
)
from millstream.connectors.datagen import NumberSequenceSource
from millstream.connectors.files import Encoder, FileSink
from tests.integration.engine.harness import Workshop
from tests.integration.engine.test_results import expected, program

BATCH, STREAMING = RuntimeExecutionMode.BATCH, RuntimeExecutionMode.STREAMING
PARALLELISMS = [1, 2]


def environment(workshop: Workshop, parallelism: int, **changes: str) -> StreamExecutionEnvironment:
    configuration = workshop.configuration(**changes)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    return env.set_parallelism(parallelism).set_runtime_mode(BATCH)


@pytest.mark.parametrize("parallelism", PARALLELISMS)
@pytest.mark.parametrize("exchanges", ["BLOCKING", "PIPELINED"])
def test_every_operator_gives_what_plain_python_gives(
    workshop: Workshop, parallelism: int, exchanges: str
) -> None:
    env = environment(workshop, parallelism, execution_batch__shuffle__mode=f"ALL_EXCHANGES_{exchanges}")
    with program(env).execute_and_collect("everything") as results:
        found = Counter(map(repr, results))
    counts: dict[str, int] = {}
    wanted: Counter[str] = Counter()
    for result in expected(parallelism):
        if result[0] == "reduced":
            counts[result[1]] = max(result[2], counts.get(result[1], 0))
        else:
            wanted[repr(result)] += 1
    wanted.update(repr(("reduced", key, count)) for key, count in counts.items())
    assert not wanted - found, sorted(wanted - found)[:5]
    assert not found - wanted, sorted(found - wanted)[:5]
    assert list(workshop.tmp.iterdir()) == []
    assert not workshop.checkpoints.exists()  # they were configured, and are ignored


RECORDS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 60), st.integers(-5, 5)), max_size=30
)
WINDOWS = st.sampled_from(
    [TumblingEventTimeWindows.of(10), SlidingEventTimeWindows.of(10, 3), TumblingEventTimeWindows.of(7, 2)]
)


def add(left: Any, right: Any) -> Any:
    return left[0], max(left[1], right[1]), left[2] + right[2]


def windowed_and_reduced(env: StreamExecutionEnvironment, records: list[Any], window: Any) -> DataStream[Any]:
    # Out of order by any amount: a bound that makes nothing late in STREAMING either.
    strategy = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_millis(100))
    timed = env.from_collection(records).assign_timestamps_and_watermarks(
        strategy.with_timestamp_assigner(lambda value, _: value[1])
    )
    keyed = timed.key_by(lambda value: value[0], str)
    return (
        keyed.window(window)
        .reduce(add)
        .map(lambda value: ("window", value))
        .union(keyed.reduce(add).map(lambda value: ("rolling", value)))
    )


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECORDS, WINDOWS)
def test_windows_are_the_same_and_rolling_results_the_last_of_each_key(
    workshop: Workshop, records: list[Any], window: Any
) -> None:
    batch = windowed_and_reduced(environment(workshop, 1), records, window)
    env = environment(workshop, 1).set_runtime_mode(STREAMING)
    streaming = windowed_and_reduced(env, records, window)
    in_batch, in_stream = list(batch.execute_and_collect()), list(streaming.execute_and_collect())

    def windows(results: list[Any]) -> list[Any]:
        return sorted(value for kind, value in results if kind == "window")

    def last(results: list[Any]) -> dict[str, Any]:
        return {value[0]: value[2] for kind, value in results if kind == "rolling"}

    assert windows(in_batch) == windows(in_stream)
    assert last(in_batch) == last(in_stream)
    assert sum(kind == "rolling" for kind, _ in in_batch) == len(last(in_batch))


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_input_larger_than_the_budget_goes_to_disk_and_comes_back(
    workshop: Workshop, parallelism: int
) -> None:
    env = environment(workshop, parallelism, execution_sorted__inputs_memory="64 kb")
    numbers = env.from_sequence(1, 10_000).map(lambda number: (number * 7 % 1_000, number)).rebalance()
    sums = numbers.key_by(lambda pair: pair[0], int).reduce(lambda a, b: (a[0], a[1] + b[1]))
    results = sums.execute_and_collect()
    found = dict(results)
    wanted: Counter[int] = Counter()
    for number in range(1, 10_001):
        wanted[number * 7 % 1_000] += number
    assert found == wanted
    counters = [vertex.counters for vertex in results.get_job_client().statistics().vertices]
    assert sum(counted.get("numBytesSpilled", 0) for counted in counters) > 50_000
    assert list(workshop.tmp.iterdir()) == []


EVENTS: list[Any] = []


class Order(KeyedProcessFunction[Any, Any, Any]):
    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Any:
        EVENTS.append(("key", value))
        yield value


def seen(value: int) -> int:
    EVENTS.append(("map", value))
    return value


def seen_next(value: int) -> None:
    EVENTS.append(("next", value))


@pytest.mark.parametrize(("exchanges", "waits"), [("BLOCKING", True), ("PIPELINED", False)])
def test_a_blocking_exchange_gives_nothing_before_it_has_everything(
    workshop: Workshop, exchanges: str, waits: bool
) -> None:
    EVENTS.clear()
    env = environment(workshop, 1, execution_batch__shuffle__mode=f"ALL_EXCHANGES_{exchanges}")
    env.from_sequence(1, 20_000).rebalance().map(seen).rebalance().map(seen_next)
    env.execute()
    first = next(index for index, (kind, _) in enumerate(EVENTS) if kind == "next")
    assert (first == 20_000) is waits


def test_a_keyed_operator_begins_when_its_input_has_ended_whatever_the_exchanges(workshop: Workshop) -> None:
    EVENTS.clear()
    env = environment(workshop, 1, execution_batch__shuffle__mode="ALL_EXCHANGES_PIPELINED")
    env.from_sequence(1, 5_000).map(seen).key_by(lambda value: value % 10, int).process(Order())
    env.execute()
    assert [kind for kind, _ in EVENTS] == ["map"] * 5_000 + ["key"] * 5_000
    keys = [value % 10 for kind, value in EVENTS if kind == "key"]
    assert sum(left != right for left, right in pairwise(keys)) == 9
    of_key = [value for kind, value in EVENTS if kind == "key" and value % 10 == 3]
    assert of_key == sorted(of_key)


class Watermarks(ProcessFunction[Any, Any]):
    def process_element(self, value: Any, ctx: ProcessFunction.Context) -> Any:
        yield ctx.timestamp(), ctx.timer_service().current_watermark()


class Punctuated(WatermarkGenerator[int]):
    def on_event(self, event: int, event_timestamp: int, output: WatermarkOutput) -> None:
        output.emit_watermark(Watermark(event_timestamp))


@pytest.mark.parametrize("at_source", [True, False])
@pytest.mark.parametrize(
    "strategy",
    [WatermarkStrategy.for_monotonous_timestamps(), WatermarkStrategy.for_generator(Punctuated)],
    ids=["monotonous", "punctuated"],
)
def test_watermark_generators_emit_nothing_before_the_end(
    workshop: Workshop, strategy: WatermarkStrategy[int], at_source: bool
) -> None:
    strategy = strategy.with_timestamp_assigner(lambda n, _: n)
    env = environment(workshop, 1, pipeline_auto__watermark__interval="1 ms")
    if at_source:
        numbers = env.from_source(NumberSequenceSource(1, 30_000), strategy, "numbers")
    else:
        numbers = env.from_sequence(1, 30_000).assign_timestamps_and_watermarks(strategy)
    found = list(numbers.process(Watermarks()).execute_and_collect())
    assert [timestamp for timestamp, _ in found] == list(range(1, 30_001))
    assert {watermark for _, watermark in found} == {-(2**63)}


@pytest.mark.parametrize("parallelism", PARALLELISMS)
def test_after_a_failure_the_job_begins_again_and_the_sink_commits_once(
    workshop: Workshop, parallelism: int, tmp_path: Path
) -> None:
    marker = tmp_path / "failed"

    def fails_once(pair: Any) -> str:
        if pair[0] == 7 and not marker.exists():
            marker.touch()
            raise ValueError(pair)
        return f"{pair[0]} {pair[1]}"

    env = environment(workshop, parallelism)
    pairs = env.from_sequence(0, 999).map(lambda number: (number % 20, 1))
    counts = pairs.key_by(lambda pair: pair[0], int).reduce(lambda a, b: (a[0], a[1] + b[1]))
    counts.map(fails_once, str).sink_to(
        FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder()).build()
    )
    result = env.execute()
    assert marker.exists()
    assert result.statistics.restarts == 1
    assert workshop.committed() == Counter(f"{key} 50" for key in range(20))
    assert workshop.hidden() == []
    assert list(workshop.tmp.iterdir()) == []


def test_a_user_error_in_a_sorted_operator_names_the_operator(workshop: Workshop) -> None:
    env = environment(workshop, 1, restart__strategy_type="none")
    env.from_collection([1, 0]).key_by(lambda value: value // value, int).reduce(max).name("largest").print()
    with pytest.raises(Exception, match="largest") as failed:
        env.execute()
    assert isinstance(failed.value.__cause__, Exception)
    assert "ZeroDivisionError" in str(failed.value)


def test_a_start_from_a_checkpoint_is_refused(workshop: Workshop) -> None:
    env = environment(workshop, 1, execution_savepoint_path="/nowhere/chk-1")
    env.from_collection([1]).print()
    with pytest.raises(JobDefinitionError, match="BATCH"):
        env.execute()
