"""Iterations in whole jobs: what goes round comes out once, the job ends by itself, and nothing is lost inside the loop."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from millstream import (
    AsyncDataStream,
    DataStream,
    KeyedProcessFunction,
    OutputTag,
    ProcessFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from tests.integration.engine.harness import JOBS, Program, Workshop, wait_until
from tests.integration.engine.jobs.loops import COUNT, collatz, committed_lines, expected_lines
from tests.integration.engine.test_recovery import completed, kill_worker

PLACES = [(1, "hashmap"), (2, "rocksdb")]
LOOPS = JOBS / "loops.py"


def environment(workshop: Workshop, parallelism: int, **changes: str) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**changes))
    return env.set_parallelism(parallelism)


def results_of(stream: DataStream[Any]) -> list[Any]:
    with stream.execute_and_collect() as results:
        return list(results)


def step(value: tuple[int, int]) -> tuple[int, int]:
    number, steps = value
    return (number // 2 if number % 2 == 0 else 3 * number + 1), steps + 1


PARTITIONERS = {
    "as it is": lambda stream: stream,
    "rebalanced": lambda stream: stream.rebalance(),
    "keyed": lambda stream: stream.key_by(lambda value: value[0] % 17),
    "at another parallelism": lambda stream: stream.map(lambda value: value).set_parallelism(3),
}


@pytest.mark.parametrize("partitioning", PARTITIONERS)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_records_go_round_until_they_leave(workshop: Workshop, parallelism: int, partitioning: str) -> None:
    env = environment(workshop, parallelism)
    iteration = env.from_sequence(1, 500).map(lambda n: (n, 0)).iterate()
    stepped = iteration.map(step)
    going_on = stepped.filter(lambda value: value[0] != 1)
    iteration.close_with(PARTITIONERS[partitioning](going_on))
    done = stepped.filter(lambda value: value[0] == 1)
    assert sorted(steps for _, steps in results_of(done)) == sorted(map(collatz, range(1, 501)))
    workshop.check_nothing_is_left()


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_broadcast_feedback_reaches_every_subtask(workshop: Workshop, parallelism: int) -> None:
    env = environment(workshop, parallelism)
    iteration = env.from_collection([3]).iterate()
    lowered = iteration.map(lambda n: n - 1)
    iteration.close_with(lowered.filter(lambda n: n > 0).broadcast())
    found = Counter(results_of(lowered))
    assert found == {2: 1, 1: parallelism, 0: parallelism**2}


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_loop_inside_a_loop_and_several_feedback_streams(workshop: Workshop, parallelism: int) -> None:
    """Numbers lose units inside and tens outside."""
    env = environment(workshop, parallelism)
    outer = env.from_sequence(0, 120).map(lambda n: (n, n)).iterate()
    inner = outer.rebalance().map(lambda value: value).iterate()
    less = inner.map(lambda value: (value[0], value[1] - 1 if value[1] % 10 else value[1]))
    inner.close_with(less.filter(lambda value: value[1] % 10 in {1, 2, 3, 4}).rebalance())
    inner.close_with(less.filter(lambda value: value[1] % 10 > 4).key_by(lambda value: value[1]))
    tens = less.filter(lambda value: value[1] % 10 == 0)
    lower = tens.map(lambda value: (value[0], value[1] - 10))
    outer.close_with(lower.filter(lambda value: value[1] > 0).rebalance())
    left = lower.filter(lambda value: value[1] <= 0)
    assert sorted(n for n, _ in results_of(left)) == list(range(121))


@pytest.mark.parametrize("parallelism", [1, 2])
def test_loops_one_behind_the_other_and_loops_with_a_common_body(
    workshop: Workshop, parallelism: int
) -> None:
    env = environment(workshop, parallelism)
    first, second = env.from_sequence(1, 50).iterate(), env.from_sequence(51, 100).iterate()
    lowered = first.union(second).rebalance().map(lambda n: n - 7)
    first.close_with(lowered.filter(lambda n: n > 0 and n % 2 == 0))
    second.close_with(lowered.filter(lambda n: n > 0 and n % 2 == 1))
    third = lowered.filter(lambda n: n <= 0).iterate()
    raised = third.rebalance().map(lambda n: n + 1)
    third.close_with(raised.filter(lambda n: n < 3))
    assert results_of(raised.filter(lambda n: n == 3)) == [3] * 100


class FedBackByTimers(KeyedProcessFunction[int, Any, Any]):
    """At the end of time every key sends its count round once more, as many times as the record says."""

    def open(self, runtime_context: Any) -> None:
        self.left = runtime_context.get_state(ValueStateDescriptor("left", int))

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        key, left = value
        self.left.update(left)
        ctx.timer_service().register_event_time_timer(10**15)
        yield ("seen", key, left)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        yield ("fired", ctx.get_current_key(), self.left.value() - 1)


@pytest.mark.parametrize(("parallelism", "backend"), PLACES)
def test_timers_of_the_end_of_time_may_feed_records_back(
    workshop: Workshop, parallelism: int, backend: str
) -> None:
    env = environment(workshop, parallelism, state_backend_type=backend)
    iteration = env.from_sequence(1, 20).map(lambda n: (n, n % 4)).iterate()
    processed = iteration.key_by(lambda value: value[0]).process(FedBackByTimers())
    fired = processed.filter(lambda value: value[0] == "fired")
    iteration.close_with(fired.filter(lambda value: value[2] >= 0).map(lambda value: (value[1], value[2])))
    found = Counter(results_of(processed))
    wanted = Counter(("seen", n, left) for n in range(1, 21) for left in range(n % 4, -1, -1))
    wanted += Counter(("fired", n, left) for n in range(1, 21) for left in range(n % 4 - 1, -2, -1))
    assert found == wanted


LATE: OutputTag[Any] = OutputTag("odd")


class Parting(ProcessFunction[Any, Any]):
    def process_element(self, value: Any, ctx: ProcessFunction.Context) -> Iterator[Any]:
        yield (LATE, value) if value % 2 else value


async def half(value: int) -> list[int]:
    await asyncio.sleep(value % 3 / 1000)
    return [value // 2]


@pytest.mark.parametrize("wait", [AsyncDataStream.ordered_wait, AsyncDataStream.unordered_wait])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_loop_waits_for_asynchronous_answers_and_may_go_back_by_a_side_output(
    workshop: Workshop, parallelism: int, wait: Any
) -> None:
    iteration = environment(workshop, parallelism).from_sequence(0, 300).iterate()
    parted = iteration.process(Parting())
    halved = wait(parted, half, 30_000, capacity=7).filter(lambda n: n > 0)
    iteration.close_with(halved)
    odd = parted.get_side_output(LATE)
    lowered = odd.map(lambda n: n - 1)
    iteration.close_with(lowered.filter(lambda n: n > 0))
    rounds = sum(n.bit_count() for n in range(301))
    assert len(results_of(lowered)) == rounds


@pytest.mark.parametrize(("parallelism", "backend"), PLACES)
def test_windows_inside_a_loop_feed_their_results_back(
    workshop: Workshop, parallelism: int, backend: str
) -> None:
    """Each key's sum goes round once, beside a stream from outside that joins the body of the loop."""
    by_time = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value[1])
    env = environment(workshop, parallelism, state_backend_type=backend)
    iteration = (
        env.from_collection([(f"k{n % 3}", n) for n in range(90)])
        .assign_timestamps_and_watermarks(by_time)
        .set_parallelism(1)
        .iterate()
    )
    outside = env.from_collection([("outside", 5)]).assign_timestamps_and_watermarks(by_time)
    summed = (
        iteration.filter(lambda value: len(value) == 2)
        .union(outside)
        .key_by(lambda value: value[0])
        .window(TumblingEventTimeWindows.of(30))
        .reduce(lambda left, right: (left[0], left[1] + right[1]))
    )
    iteration.close_with(summed.map(lambda value: (*value, "back")))
    back = iteration.filter(lambda value: len(value) == 3)
    wanted = Counter(
        (f"k{key}", sum(n for n in range(start, start + 30) if n % 3 == key), "back")
        for start in (0, 30, 60)
        for key in range(3)
    )
    wanted["outside", 5, "back"] += 1
    assert Counter(results_of(back)) == wanted


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_a_killed_worker_loses_nothing_inside_the_loop_and_doubles_nothing(
    workshop: Workshop, backend: str
) -> None:
    from tests.integration.engine.jobs.loops import loops

    env = loops(workshop.configuration(state_backend_type=backend), str(workshop.out), rate=1_500)
    client = env.set_parallelism(2).execute_async("loops")
    wait_until(lambda: completed(client) >= 3, "three checkpoints")
    kill_worker(client, 1)
    done = completed(client)
    wait_until(lambda: completed(client) >= done + 2 or client.status.is_terminal, "two more checkpoints")
    assert client.wait(60).statistics.restarts == 1
    assert committed_lines(workshop.out) == expected_lines()
    workshop.check_nothing_is_left()


def test_a_resumed_job_goes_on_with_what_was_inside_the_loop_at_other_parallelisms(
    workshop: Workshop,
) -> None:
    settings = [part for key, value in workshop.settings().items() for part in ("-D", f"{key}={value}")]
    for parallelism, rate in (("2", "1000"), ("1", "1000"), ("3", "100000")):
        options = ("-p", parallelism, "--resume", "--", str(workshop.out), rate)
        program = Program(workshop, LOOPS, *settings, *options)
        if rate == "100000":
            assert program.end() == 0, program.text()
            continue
        before = {path.name for path in workshop.complete()}
        wait_until(
            lambda before=before, program=program: (
                len({p.name for p in workshop.complete()} - before) >= 2 or program.process.poll() is not None
            ),
            "two checkpoints",
        )
        assert program.process.poll() is None, program.text()
        program.kill_group()
        assert program.end() == -signal.SIGKILL
    assert committed_lines(workshop.out) == expected_lines()
    workshop.check_nothing_is_left()
    assert COUNT > 0


def test_an_endless_loop_is_checkpointed_and_can_be_cancelled(workshop: Workshop) -> None:
    env = environment(workshop, 2)
    iteration = env.from_sequence(1, 4).iterate()
    iteration.close_with(iteration.rebalance().map(lambda n: n))
    iteration.filter(lambda n: n > 4).print()
    client = env.execute_async("endless")
    wait_until(lambda: completed(client) >= 3, "three checkpoints")
    client.cancel().result(30)
    assert client.status.name == "CANCELED"
