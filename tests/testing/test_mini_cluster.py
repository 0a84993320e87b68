"""Whole jobs in the test's thread: time moves when told to, and what fails is put right as in a real cluster."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import (
    AsyncDataStream,
    AsyncFunction,
    Configuration,
    JobDefinitionError,
    JobExecutionError,
    KeyedProcessFunction,
    RuntimeExecutionMode,
    StreamExecutionEnvironment,
    Time,
    TumblingEventTimeWindows,
    TumblingProcessingTimeWindows,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.core.errors import CheckpointError
from millstream.testing import InjectedFailure, ManualSource, MiniCluster, Output

PARALLELISMS = pytest.mark.parametrize("parallelism", [1, 3])


def environment(parallelism=1, **settings):
    env = StreamExecutionEnvironment.get_execution_environment(Configuration())
    env.set_parallelism(parallelism)
    env.configure({key.replace("__", "-").replace("_", "."): value for key, value in settings.items()})
    return env


def recoverable(parallelism=1, delay="1 s", backend="hashmap"):
    env = environment(parallelism)
    env.enable_checkpointing(60_000)
    return env.configure(
        {
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": "3",
            "restart-strategy.fixed-delay.delay": delay,
            "state.backend.type": backend,
        }
    )


@pytest.fixture
def cluster():
    with MiniCluster() as cluster:
        yield cluster


# ---- processing time


@PARALLELISMS
def test_a_processing_time_window_fires_at_its_last_millisecond_and_not_before(cluster, parallelism) -> None:
    env, source = environment(parallelism), ManualSource(splits=2)
    counts = (
        env.from_source(source, WatermarkStrategy.no_watermarks(), "events", str)
        .map(lambda key: (key, 1))
        .key_by(lambda pair: pair[0])
        .window(TumblingProcessingTimeWindows.of(Time.seconds(10)))
        .reduce(lambda a, b: (a[0], a[1] + b[1]))
    )
    output = cluster.collect(counts)
    job = cluster.start(env)
    source.batch(["a", "b", "a"])
    source.element("b", split=1)
    job.advance_time(9_998)
    assert output.records == []
    source.element("a")
    job.advance_time(1)
    assert sorted(output.records) == [("a", 3), ("b", 2)]
    source.element("a")
    job.advance_time(10_000)
    assert sorted(output.records) == [("a", 1), ("a", 3), ("b", 2)]


class Alarm(KeyedProcessFunction):
    """Ten seconds after each first element: its key, when it rang and what time it was."""

    def process_element(self, value, ctx):
        service = ctx.timer_service()
        service.register_processing_time_timer(service.current_processing_time() + 10_000)

    def on_timer(self, timestamp, ctx):
        yield ctx.get_current_key(), timestamp, ctx.timer_service().current_processing_time()
        if timestamp < 30_000:
            ctx.timer_service().register_processing_time_timer(timestamp + 7)


@PARALLELISMS
def test_timers_within_one_advance_ring_at_their_own_times_in_order(cluster, parallelism) -> None:
    env, source = environment(parallelism), ManualSource()
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "events", str)
    output = cluster.collect(stream.key_by(lambda key: key).process(Alarm()))
    job = cluster.start(env)
    source.element("a")
    job.settle()
    job.advance_time(20_003)
    rung = [10_000 + 7 * n for n in range(1_430)]
    assert output.records == [("a", time, time) for time in rung]
    assert cluster.clock.now_ms() == 20_003


def test_a_rate_is_one_of_the_manual_clock(cluster) -> None:
    env = environment()
    source = DataGeneratorSource(str, 1_000, RateLimiterStrategy.per_second(10))
    output = cluster.collect(env.from_source(source, WatermarkStrategy.no_watermarks(), "rated", str))
    job = cluster.start(env)
    job.settle()
    for seconds in range(1, 4):
        job.advance_time(1_000)
        assert abs(len(output.records) - 10 * seconds) <= 10


def test_an_idle_split_holds_the_watermark_back_until_it_counts_as_idle(cluster) -> None:
    env, source = environment(), ManualSource(splits=2)
    strategy = (
        WatermarkStrategy.for_monotonous_timestamps()
        .with_timestamp_assigner(lambda value, _: value)
        .with_idleness(timedelta(milliseconds=1_000))
    )
    sums = (
        env.from_source(source, strategy, "numbers", int)
        .window_all(TumblingEventTimeWindows.of(Time.milliseconds(10)))
        .reduce(lambda a, b: a + b)
    )
    output = cluster.collect(sums)
    job = cluster.start(env)
    source.batch([1, 2, 11])
    job.advance_time(999)
    assert output.records == []
    source.element(12)
    job.advance_time(400)
    assert output.records == [3]


# ---- determinism


def test_the_same_program_gives_the_same_output_in_the_same_order() -> None:
    def run():
        with MiniCluster() as cluster:
            env, source = recoverable(3, delay="10 ms"), ManualSource(splits=4)
            stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "events", int)
            output = cluster.collect(stream.rebalance().map(lambda n: n * n))
            job = cluster.start(env)
            for n in range(200):
                source.element(n, split=n % 4)
            job.trigger_checkpoint()
            for n in range(200):
                source.element(n, split=n % 3)
            job.kill_worker(1)
            job.advance_time(10)
            job.trigger_checkpoint()
            return list(output.records)

    first = run()
    assert run() == first
    assert Counter(first) == Counter([n * n for n in range(200)] * 2)


class SlowToShow(Output):
    """Takes its time with the records of the first subtask."""

    def _show(self, prepared):
        if self._prepared[prepared.number] == [0]:
            threading.Event().wait(0.1)
        super()._show(prepared)


def test_helper_threads_of_several_workers_do_not_race(cluster) -> None:
    env, source, output = recoverable(2), ManualSource(splits=2), SlowToShow()
    output._at_once = False
    env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers", int).sink_to(output)
    job = cluster.start(env)
    source.element(0)
    source.element(1, split=1)
    job.trigger_checkpoint()
    assert output.records == [0, 1]


# ---- bounded jobs


@PARALLELISMS
def test_a_bounded_job_runs_to_its_end_and_gives_a_result(cluster, parallelism) -> None:
    env = environment(parallelism)
    output = cluster.collect(env.from_sequence(1, 100).map(lambda n: n % 7).key_by(lambda n: n).sum())
    job = cluster.start(env, "sums")
    result = job.run_to_end()
    assert not job.running
    assert result.get_job_id() == job.result().get_job_id()
    assert max(output.records) == sum(n % 7 for n in range(1, 101) if n % 7 == 6)


def test_a_source_that_is_ended_by_hand_ends_the_job(cluster) -> None:
    env, source = environment(), ManualSource(splits=2)
    output = cluster.collect(env.from_source(source, WatermarkStrategy.no_watermarks(), "events", str))
    job = cluster.start(env)
    source.element("a")
    source.end(split=0)
    job.settle()
    assert job.running
    source.element("b", split=1)
    source.end()
    job.settle()
    assert not job.running
    assert sorted(output.records) == ["a", "b"]
    with pytest.raises(ValueError, match="split 1 of this source has ended"):
        source.element("c", split=1)


def test_a_job_that_would_never_end_fails_the_test_that_waits_for_its_end(cluster) -> None:
    env = environment()
    cluster.collect(env.from_source(ManualSource(), WatermarkStrategy.no_watermarks(), "events", str))
    with pytest.raises(AssertionError, match="the job does not end: job 'x' is RUNNING"):
        cluster.start(env, "x").run_to_end()


def test_a_source_that_never_runs_dry_fails_the_test_instead_of_hanging() -> None:
    with MiniCluster(patience_s=0.2) as cluster:
        env = environment()
        source = DataGeneratorSource(str, 10**12)
        env.from_source(source, WatermarkStrategy.no_watermarks(), "endless", str).map(len).filter(
            lambda n: n < 0
        ).print()
        job = cluster.start(env)
        with pytest.raises(AssertionError, match="does not come to rest"):
            job.settle()
        job.cancel()


@PARALLELISMS
def test_a_batch_job_gives_final_results_alone(cluster, parallelism) -> None:
    env = environment(parallelism).set_runtime_mode(RuntimeExecutionMode.BATCH)
    output = cluster.collect(env.from_sequence(1, 30).map(lambda n: (n % 3, n)).key_by(lambda p: p[0]).sum(1))
    cluster.start(env).run_to_end()
    assert sorted(output.records) == [(0, 165), (1, 145), (2, 155)]


# ---- failures and checkpoints


class Total(KeyedProcessFunction):
    def open(self, runtime_context):
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))

    def process_element(self, value, ctx):
        self.total.update((self.total.value() or 0) + value[1])
        yield value[0], self.total.value()


def totals(cluster, env, source):
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "payments")
    return cluster.collect(stream.key_by(lambda pair: pair[0]).process(Total()).name("total").uid("total"))


@PARALLELISMS
@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
@pytest.mark.parametrize("how", ["fail the task", "fail the source", "kill a worker"])
def test_after_a_failure_the_job_goes_on_from_its_checkpoint_once_the_delay_is_over(
    cluster, parallelism, backend, how
) -> None:
    env, source = recoverable(parallelism, backend=backend), ManualSource(splits=2)
    output = totals(cluster, env, source)
    job = cluster.start(env)
    source.batch([("a", 1), ("b", 10)])
    job.trigger_checkpoint()
    assert sorted(output.records) == [("a", 1), ("b", 10)]
    source.element(("a", 2), split=1)
    job.settle()
    match how:
        case "fail the task":
            job.fail_task("total", parallelism - 1)
        case "fail the source":
            job.fail_task("Source: payments", error=OSError("disk full"))
        case "kill a worker":
            job.kill_worker(parallelism - 1)
    source.element(("b", 20))
    job.advance_time(999)
    assert job.statistics().attempt == 1
    job.advance_time(1)
    assert job.statistics().restarts == 1
    job.trigger_checkpoint()
    assert sorted(output.records) == [("a", 1), ("a", 3), ("b", 10), ("b", 30)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("element"), st.sampled_from("abcde")),
        st.tuples(st.just("step"), st.integers(1, 5)),
        st.tuples(st.just("advance"), st.integers(0, 1_500)),
        st.tuples(st.just("checkpoint"), st.none()),
        st.tuples(st.just("fail"), st.integers(0, 2)),
        st.tuples(st.just("kill"), st.integers(0, 2)),
    ),
    max_size=12,
)


@given(STEPS, st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_whatever_fails_and_whenever_each_result_comes_once(steps, parallelism) -> None:
    sent = []
    with MiniCluster() as cluster:
        env, source = recoverable(parallelism), ManualSource()
        env.configure({"restart-strategy.fixed-delay.attempts": "100"})
        output = totals(cluster, env, source)
        job = cluster.start(env)
        for verb, argument in steps:
            match verb:
                case "element":
                    sent.append(argument)
                    source.element((argument, 1))
                case "step":
                    for _ in range(argument):
                        job.step()
                case "advance":
                    job.advance_time(argument)
                case "checkpoint":
                    with contextlib.suppress(CheckpointError):  # while the job waits for its restart
                        job.trigger_checkpoint()
                case "fail":
                    job.fail_task("total", argument % parallelism)
                case "kill":
                    job.kill_worker(argument % parallelism)
        job.advance_time(1_000)
        job.trigger_checkpoint()
        expected = [(key, n) for key in set(sent) for n in range(1, sent.count(key) + 1)]
        assert Counter(output.records) == Counter(expected)


@pytest.mark.parametrize("parallelisms", [(1, 3), (3, 2)])
def test_a_new_program_goes_on_from_a_checkpoint_at_another_parallelism(cluster, parallelisms) -> None:
    before, after = parallelisms
    source = ManualSource(splits=3)
    env = recoverable(before)
    output = totals(cluster, env, source)
    job = cluster.start(env)
    source.batch([(key, 1) for key in "abcdef"])
    checkpoint = job.trigger_checkpoint()
    source.batch([(key, 1) for key in "abc"], split=2)
    job.cancel()
    env = recoverable(after)
    resumed = totals(cluster, env, source)
    job = cluster.start(env, restore_from=checkpoint)
    job.trigger_checkpoint()
    assert sorted(output.records) == [(key, 1) for key in "abcdef"]
    assert sorted(resumed.records) == [(key, 2) for key in "abc"]


def test_a_periodic_checkpoint_comes_with_the_clock(cluster) -> None:
    env, source = recoverable(), ManualSource()
    output = totals(cluster, env, source)
    job = cluster.start(env)
    source.element(("a", 1))
    job.advance_time(59_999)
    assert output.records == []
    job.advance_time(1)
    assert output.records == [("a", 1)]
    assert job.statistics().checkpoints.completed == 1


def test_no_restart_left_means_that_the_job_fails_with_the_cause(cluster) -> None:
    env, source = environment(), ManualSource()
    cluster.collect(
        env.from_source(source, WatermarkStrategy.no_watermarks(), "events", int).map(lambda n: 1 // n)
    )
    job = cluster.start(env)
    source.element(0)
    with pytest.raises(JobExecutionError, match="ZeroDivisionError"):
        job.settle()
    assert not job.running
    for method in (job.result, job.step, job.settle, lambda: job.advance_time(1), job.run_to_end):
        with pytest.raises(JobExecutionError, match="ZeroDivisionError"):
            method()
    job.cancel()


def test_an_injected_failure_is_the_cause_of_the_job_s(cluster) -> None:
    env = environment()
    cluster.collect(env.from_source(ManualSource(), WatermarkStrategy.no_watermarks(), "events", int))
    job = cluster.start(env)
    job.settle()
    with pytest.raises(JobExecutionError) as caught:
        job.fail_task("Source: events")
    assert isinstance(caught.value.__cause__.__cause__, InjectedFailure)


def test_wrong_names_and_numbers_are_refused_with_what_there_is(cluster) -> None:
    env = environment(2)
    totals(cluster, env, ManualSource())
    job = cluster.start(env)
    with pytest.raises(ValueError, match=r"no subtask 0 of 'totl'; there are: .*total"):
        job.fail_task("totl")
    with pytest.raises(ValueError, match="no subtask 2 of 'total'"):
        job.fail_task("total", 2)
    with pytest.raises(ValueError, match="no worker 2, but workers 0 to 1"):
        job.kill_worker(2)
    with pytest.raises(ValueError, match="cannot be advanced by -1 ms"):
        job.advance_time(-1)
    with pytest.raises(CheckpointError, match="checkpoints are off"):
        job.trigger_checkpoint()


def test_one_job_runs_at_a_time(cluster) -> None:
    env = environment()
    totals(cluster, env, ManualSource())
    cluster.start(env, "first")
    totals(cluster, env, ManualSource())
    with pytest.raises(JobDefinitionError, match="'first' still runs"):
        cluster.start(env, "second")


# ---- what comes from outside


class Ask(AsyncFunction):
    async def async_invoke(self, value):
        return [value, -value]


def test_asynchronous_results_are_waited_for(cluster) -> None:
    env, source = environment(), ManualSource()
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "events", int)
    output = cluster.collect(AsyncDataStream.unordered_wait(stream, Ask(), Time.seconds(5), 10, int))
    job = cluster.start(env)
    source.batch([1, 2])
    job.run_until(lambda: len(output.records) == 4)
    assert sorted(output.records) == [-2, -1, 1, 2]


class Unanswered(AsyncFunction):
    async def async_invoke(self, value):
        await asyncio.Event().wait()

    async def timeout(self, value):
        return [("timed out", value)]


def test_a_request_times_out_by_the_manual_clock(cluster) -> None:
    env, source = environment(), ManualSource()
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "events", int)
    output = cluster.collect(AsyncDataStream.ordered_wait(stream, Unanswered(), Time.seconds(5), 10))
    job = cluster.start(env)
    source.element(1)
    job.advance_time(4_999)
    assert output.records == []
    job.advance_time(1)
    job.run_until(lambda: output.records == [("timed out", 1)])


def test_waiting_for_what_never_comes_fails_the_test() -> None:
    with MiniCluster(patience_s=0.1) as cluster:
        env = environment()
        totals(cluster, env, ManualSource())
        job = cluster.start(env)
        with pytest.raises(AssertionError, match="what was waited for does not come"):
            job.run_until(lambda: False)


def test_records_are_counted_up_to_now(cluster) -> None:
    env, source = environment(2), ManualSource(splits=2)
    totals(cluster, env, source)
    job = cluster.start(env)
    source.batch([(key, 1) for key in "abcdefg"])
    job.settle()
    assert job.statistics().vertices[-1].records_in == 7


# ---- nothing is left


def test_a_closed_cluster_leaves_no_file_no_thread_and_no_open_function(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(threading.enumerate())
    with contextlib.suppress(InterruptedError), MiniCluster() as cluster:
        env, source = recoverable(3, backend="rocksdb"), ManualSource(splits=3)
        totals(cluster, env, source)
        job = cluster.start(env)
        source.element(("a", 1))
        job.trigger_checkpoint()
        assert list(tmp_path.iterdir())
        raise InterruptedError
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]


def test_a_manual_source_is_refused_by_workers_in_other_processes() -> None:
    env = environment(2)
    stream = env.from_source(ManualSource(), WatermarkStrategy.no_watermarks(), "events", int)
    with pytest.raises(JobExecutionError, match="lives in the process of its test"):
        stream.execute_and_collect(limit=1)
