"""Savepoints of whole jobs whose time moves when told to: what fires, what is emitted, and how one ends that is not completed."""

from __future__ import annotations

from pathlib import Path

import pytest

from millstream import (
    Configuration,
    JobStatus,
    KeyedProcessFunction,
    StreamExecutionEnvironment,
    Time,
    TumblingEventTimeWindows,
    TumblingProcessingTimeWindows,
    WatermarkStrategy,
)
from millstream.checkpoint.catalog import load
from millstream.checkpoint.coordination import Phase
from millstream.core.errors import (
    CheckpointError,
    CheckpointFailureReason,
    ConfigurationError,
    JobExecutionError,
)
from millstream.core.savepoints import SavepointFormatType
from millstream.runtime.job_manager.savepoints import SavepointRequests, Stop
from millstream.runtime.job_manager.scheduling import Failure, JobCancelled, JobFailed, JobFinished
from millstream.testing import ManualSource, MiniCluster


@pytest.fixture
def cluster():
    with MiniCluster() as cluster:
        yield cluster


@pytest.fixture
def savepoints(tmp_path):
    return tmp_path / "savepoints"


def environment(parallelism=1, **settings):
    env = StreamExecutionEnvironment.get_execution_environment(Configuration())
    env.set_parallelism(parallelism)
    env.enable_checkpointing(3_600_000)
    return env.configure({key.replace("__", "-").replace("_", "."): value for key, value in settings.items()})


def add(a, b):
    return a[0], a[1] + b[1]


def processing_time_sums(cluster, source, parallelism=1):
    """Sums of ten seconds of processing time, by key."""
    env = environment(parallelism)
    pairs = env.from_source(source, WatermarkStrategy.no_watermarks(), "pairs").uid("pairs")
    windows = pairs.key_by(lambda pair: pair[0]).window(TumblingProcessingTimeWindows.of(Time.seconds(10)))
    return env, cluster.collect(windows.reduce(add).uid("sums"))


def event_time_sums(cluster, source):
    env = environment(2)
    strategy = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda pair, _: pair[1])
    pairs = env.from_source(source, strategy, "pairs").uid("pairs")
    windows = pairs.key_by(lambda pair: pair[0]).window(TumblingEventTimeWindows.of(Time.seconds(10)))
    return env, cluster.collect(windows.reduce(add).uid("sums"))


def test_a_suspended_job_leaves_its_windows_to_the_job_that_goes_on(cluster, savepoints):
    source = ManualSource()
    env, output = event_time_sums(cluster, source)
    job = cluster.start(env)
    for time in (1_000, 5_000, 11_000, 12_000):
        source.element(("a", time))
    job.advance_time(200)  # to the next watermark
    path = job.stop_with_savepoint(False, str(savepoints))
    assert job.status is JobStatus.FINISHED
    assert output.records == [("a", 6_000)]

    env, output = event_time_sums(cluster, source)
    again = cluster.start(env, restore_from=path)
    source.end()
    again.run_to_end()
    assert output.records == [("a", 23_000)]


def test_a_drained_job_fires_them_all(cluster, savepoints):
    source = ManualSource()
    env, output = event_time_sums(cluster, source)
    job = cluster.start(env)
    for time in (1_000, 5_000, 11_000, 12_000):
        source.element(("a", time))
    path = job.stop_with_savepoint(True, str(savepoints))
    assert job.status is JobStatus.FINISHED
    assert sorted(output.records) == [("a", 6_000), ("a", 23_000)]
    assert load(path).metadata.savepoint is not None


class Rings(KeyedProcessFunction):
    """Every second of processing time, for ever."""

    def process_element(self, value, ctx):
        ctx.timer_service().register_processing_time_timer(
            ctx.timer_service().current_processing_time() + 1_000
        )
        return ()

    def on_timer(self, timestamp, ctx):
        ctx.timer_service().register_processing_time_timer(timestamp + 1_000)
        yield timestamp


def test_no_timer_fires_between_the_savepoint_and_the_end(cluster, savepoints):
    """Not even when it is due while the savepoint is written: the job that goes on fires it, and once."""

    def program():
        source = ManualSource()
        env = environment()
        keyed = (
            env.from_source(source, WatermarkStrategy.no_watermarks(), "one").uid("one").key_by(lambda _: 0)
        )
        return source, env, cluster.collect(keyed.process(Rings()).uid("rings"))

    source, env, output = program()
    job = cluster.start(env)
    source.element(1)
    job.advance_time(2_500)
    future = job._client.stop_with_savepoint(False, str(savepoints))
    while all(p.phase is not Phase.METADATA for p in job._client.statistics().checkpoints.pending):
        assert job.step(), "it was never about to be complete"
    cluster.clock.advance(1_000)
    job.settle()
    assert output.records == [1_000, 2_000]

    _, env, output = program()
    again = cluster.start(env, restore_from=future.result(0))
    again.advance_time(1_000)
    again.trigger_checkpoint()
    assert output.records == [3_000, 4_000]


def test_a_cancelled_job_leaves_nothing_that_looks_like_a_savepoint(cluster, savepoints):
    source = ManualSource()
    env, _ = processing_time_sums(cluster, source, parallelism=2)
    job = cluster.start(env)
    source.element(("a", 1))
    job.settle()
    future = job._client.trigger_savepoint(str(savepoints))
    while not job.statistics().checkpoints.pending:
        job.step()
    job.cancel()
    with pytest.raises(CheckpointError, match="no savepoint was taken"):
        future.result(0)
    assert list(Path(savepoints).glob("*/_metadata")) == []


def test_a_savepoint_that_takes_too_long_is_given_up_and_the_job_goes_on(cluster, savepoints):
    source = ManualSource()
    env, output = processing_time_sums(cluster, source)
    env.configure({"execution.checkpointing.timeout": "5 s"})
    job = cluster.start(env)
    source.element(("a", 1))
    job.settle()
    for stop in (False, True):
        client = job._client
        future = (
            client.stop_with_savepoint(False, str(savepoints))
            if stop
            else client.trigger_savepoint(str(savepoints))
        )
        while not job.statistics().checkpoints.pending:
            job._client._master.step()  # the JobManager alone: no subtask answers
        cluster.clock.advance(5_000)
        job._client._master.step()
        with pytest.raises(CheckpointError, match="not complete after 5000 ms"):
            future.result(0)
    job.settle()
    assert list(Path(savepoints).glob("*/_metadata")) == []
    source.element(("a", 2))
    job.advance_time(10_000)
    job.trigger_checkpoint()
    assert sum(value for _, value in output.records) == 3
    assert job.statistics().restarts == 0


def test_a_savepoint_needs_a_directory_and_no_checkpoints(cluster, savepoints):
    env = StreamExecutionEnvironment.get_execution_environment(Configuration())
    source = ManualSource()
    cluster.collect(env.from_source(source, WatermarkStrategy.no_watermarks(), "one"))
    job = cluster.start(env)
    with pytest.raises(ConfigurationError, match="no directory for savepoints"):
        job._client.trigger_savepoint()
    assert load(job.trigger_savepoint(str(savepoints))).metadata.savepoint is SavepointFormatType.CANONICAL
    assert job.statistics().checkpoints is None


def test_a_job_that_has_failed_says_why_there_is_no_savepoint(cluster, savepoints):
    def divided(pair):
        return pair[1] // 0

    source = ManualSource()
    env = environment().configure({"restart-strategy.type": "none"})
    cluster.collect(env.from_source(source, WatermarkStrategy.no_watermarks(), "pairs").map(divided))
    job = cluster.start(env)
    source.element(("a", 1))
    with pytest.raises(JobExecutionError):
        job.settle()
    with pytest.raises(
        CheckpointError, match=r"the job failed before the savepoint was complete: .*by zero"
    ) as caught:
        job._client.trigger_savepoint(str(savepoints)).result(0)
    assert caught.value.reason is CheckpointFailureReason.JOB_ENDED
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("known", [True, False], ids=["asked-before-the-end", "asked-after-the-end"])
def test_whoever_waits_for_a_savepoint_hears_how_the_job_ended(known):
    cause = ValueError("the disk is full")
    ends = [
        (JobFailed(Failure(cause)), "the job failed before the savepoint was complete: the disk is full"),
        (JobFailed(Failure(KeyError())), "the job failed before the savepoint was complete: KeyError"),
        (JobCancelled(), "the job was cancelled before the savepoint was complete"),
        (JobFinished(), "the job ended before the savepoint was complete"),
        (None, "the job ended before the savepoint was complete"),
    ]
    for outcome, what in ends:
        requests = SavepointRequests()
        if not known:
            requests.conclude(outcome)
        future = requests.submit("/savepoints", SavepointFormatType.CANONICAL, Stop.NO)
        if known:
            requests.conclude(outcome)
        error = future.exception(0)
        assert isinstance(error, CheckpointError)
        assert error.what == what
        assert error.__cause__ is (outcome.failure.error if isinstance(outcome, JobFailed) else None)


def test_the_directory_comes_from_the_configuration(cluster, savepoints):
    source = ManualSource()
    env, _ = processing_time_sums(cluster, source)
    env.configure({"execution.checkpointing.savepoint-dir": str(savepoints)})
    job = cluster.start(env)
    job.settle()
    future = job._client.trigger_savepoint()
    job.settle()
    assert Path(future.result(0)).parent == savepoints


def test_a_job_with_a_loop_is_stopped_by_draining_alone(cluster, savepoints):
    env = environment()
    source = ManualSource()
    numbers = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers")
    loop = numbers.iterate()
    body = loop.map(lambda n: n - 1)
    loop.close_with(body.filter(lambda n: n > 0))
    output = cluster.collect(body.filter(lambda n: n <= 0))
    job = cluster.start(env)
    source.element(3)
    job.settle()
    with pytest.raises(CheckpointError, match="iterations cannot be suspended"):
        job.stop_with_savepoint(False, str(savepoints))
    assert job.running
    job.stop_with_savepoint(True, str(savepoints))
    assert output.records == [0]


def test_a_job_without_checkpoints_does_not_need_their_directory(cluster, savepoints):
    env = StreamExecutionEnvironment.get_execution_environment(Configuration())
    env.configure({"execution.checkpointing.dir": "nosuch://protocol"})
    source = ManualSource()
    cluster.collect(env.from_source(source, WatermarkStrategy.no_watermarks(), "one"))
    job = cluster.start(env)
    assert load(job.trigger_savepoint(str(savepoints))).metadata.savepoint is SavepointFormatType.CANONICAL
