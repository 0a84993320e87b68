"""Whole jobs through `submit`: how they end, restart, resume and restore."""

import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from millstream import StreamExecutionEnvironment
from millstream.core.configuration import Configuration
from millstream.core.errors import (
    CheckpointError,
    CheckpointFailureReason,
    ConfigurationError,
    JobCancelledError,
    JobDefinitionError,
    JobExecutionError,
    MillstreamError,
    UserFunctionError,
    WorkerLostError,
)
from millstream.operators.collect import CollectSpec
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.job_manager.client import submit
from millstream.runtime.job_manager.scheduling import JobStatus

N = 3_000


class Job:
    """A running sum per key over 0..N-1, and what it must give."""

    def __init__(self, work, parallelism=1, name="sums", **keys):
        settings = {"taskmanager.batch-size": "16", "parallelism.default": str(parallelism)}
        settings |= {key.replace("__", "."): str(value) for key, value in keys.items()}
        self.configuration = Configuration(settings)
        env = StreamExecutionEnvironment.get_execution_environment(self.configuration)
        pairs = env.from_collection(range(N)).map(work).map(lambda x: (x % 4, x))
        stream = pairs.key_by(lambda pair: pair[0]).reduce(lambda a, b: (a[0], a[1] + b[1]))
        spec = CollectSpec(stream.get_type())
        stream._then("Sink: Collect", spec, stream.get_type())
        self.graph = compile_job(env.get_stream_graph(name))
        self.serializer = stream.get_type().serializer()
        (self.operator_id,) = (
            o.operator_id for v in self.graph.vertices for o in v.operators if o.operator is spec
        )

    def submit(self, **options):
        return submit(self.graph, self.configuration, **options)

    def collected(self, client):
        batches = client._master.results.of(self.operator_id)
        return [record for batch in batches for record in self.serializer.loads_batch(batch)]


def is_complete(sums):
    """Every record was added exactly once, in whatever order parallel subtasks did it."""
    by_key = {key: sorted(total for k, total in sums if k == key) for key in range(4)}
    added = {
        key: sorted(b - a for a, b in zip([0, *totals], totals, strict=False))
        for key, totals in by_key.items()
    }
    return len(sums) == N and added == {key: list(range(key, N, 4)) for key in range(4)}


def checkpoints(folder, interval="20 ms", **more):
    return {
        "execution.checkpointing.interval": interval,
        "execution.checkpointing.dir": str(folder),
        "execution.checkpointing.num-retained": "3",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.delay": "1 ms",
        **more,
    }


class FailingOnce:
    """Raises once, at the first record after `checkpoints` have completed."""

    def __init__(self, folder, flag, checkpoints=1):
        self.folder, self.flag, self.checkpoints = str(folder), str(flag), checkpoints

    def __call__(self, x):
        if x % 16 == 0:
            time.sleep(0.002)
            done = len(list(Path(self.folder).glob("*/chk-*/_metadata")))
            if done >= self.checkpoints and not Path(self.flag).exists():
                Path(self.flag).touch()
                raise RuntimeError("planned")
        return x


def test_a_job_without_anything_special_finishes_and_tells_how_long_it_took():
    job = Job(lambda x: x)
    client = job.submit()
    assert client.status is JobStatus.CREATED
    result = client.run_in_this_thread()
    assert result.get_job_id() == client.get_job_id()
    assert result.get_net_runtime() >= 0
    assert result.get_all_accumulator_results() == {}
    assert client.status is JobStatus.FINISHED
    assert client.get_job_status().result() is JobStatus.FINISHED
    assert client.worker_pids() == {}
    assert is_complete(job.collected(client))
    assert [v.records_in for v in client.statistics().vertices] == [N, N]


def divide(x):
    return 1 // (x - 5)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_users_error_comes_out_with_its_operator_record_and_line(parallelism):
    with pytest.raises(JobExecutionError) as info:
        Job(divide, parallelism).submit().run_in_this_thread()
    cause = info.value.__cause__
    assert isinstance(cause, UserFunctionError)
    assert cause.operator == "Map"
    assert cause.record == "5"
    assert isinstance(cause.__cause__, ZeroDivisionError)
    assert str(info.value).splitlines()[-1].startswith("ZeroDivisionError")
    assert "return 1 // (x - 5)" in str(info.value)


def test_a_job_is_cancelled_from_another_thread(tmp_path):
    begun = tmp_path / "begun"

    def slow(x):
        begun.touch()
        time.sleep(0.001)
        return x

    client = Job(slow, **checkpoints(tmp_path / "c")).submit()
    client.run_in_background()
    while not begun.exists():
        assert client.status in {JobStatus.CREATED, JobStatus.RUNNING}
    ended = client.cancel()
    with pytest.raises(JobCancelledError, match="sums"):
        client.wait(60)
    ended.result(60)
    assert client.status is JobStatus.CANCELED
    client.cancel_and_wait()


def test_waiting_with_a_limit_gives_up_and_leaves_the_job_alone():
    release = threading.Event()
    job = Job(lambda x: x)
    client = job.submit()
    loop = client._loop
    client._loop = lambda: (release.wait(60), loop())
    client.run_in_background()
    with pytest.raises(TimeoutError):
        client.wait(0.01)
    release.set()
    client.wait(60)
    client.cancel_and_wait()


def test_a_failed_job_goes_on_from_its_newest_checkpoint(tmp_path):
    job = Job(FailingOnce(tmp_path / "c", tmp_path / "flag"), **checkpoints(tmp_path / "c"))
    client = job.submit()
    client.run_in_this_thread()
    statistics = client.statistics()
    assert statistics.restarts == 1
    assert "planned" in statistics.last_failure
    assert statistics.vertices[0].records_in < N  # it did not begin again
    assert is_complete(job.collected(client))
    assert statistics.latest_checkpoint == str(Path(statistics.latest_checkpoint))


def test_a_worker_killed_by_force_is_replaced_and_nothing_is_lost_or_doubled(tmp_path):
    def slow(x):
        if x % 16 == 0:
            time.sleep(0.002)
        return x

    job = Job(slow, parallelism=2, **checkpoints(tmp_path / "c"))
    client = job.submit()
    client.run_in_background()
    while not list(tmp_path.glob("c/*/chk-*/_metadata")):
        assert not client._result.done()
    os.kill(client.worker_pids()[1], signal.SIGKILL)
    client.wait(100)
    assert client.statistics().restarts == 1
    assert is_complete(job.collected(client))
    client.cancel_and_wait()


def test_without_a_restart_strategy_a_killed_worker_fails_the_job(tmp_path):
    begun = tmp_path / "begun"

    def slow(x):
        begun.touch()
        time.sleep(0.001)
        return x

    client = Job(slow, parallelism=2).submit()
    client.run_in_background()
    while not begun.exists():
        assert not client._result.done()
    os.kill(client.worker_pids()[0], signal.SIGKILL)
    with pytest.raises(JobExecutionError, match="killed by signal 9") as info:
        client.wait(100)
    assert isinstance(info.value.__cause__, WorkerLostError)
    client.cancel_and_wait()


def interrupted(tmp_path, **options):
    """A run that ended in the middle, after some checkpoints; the id of its job."""
    job = Job(
        FailingOnce(tmp_path / "c", tmp_path / "flag", checkpoints=3),
        **checkpoints(tmp_path / "c", **{"restart-strategy.type": "none"}),
    )
    client = job.submit(**options)
    with pytest.raises(JobExecutionError, match="planned"):
        client.run_in_this_thread()
    return client.get_job_id(), job.collected(client)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_resuming_goes_on_with_the_same_job_at_any_parallelism(tmp_path, parallelism):
    job_id, first = interrupted(tmp_path)
    job = Job(FailingOnce(tmp_path / "c", tmp_path / "flag"), parallelism, **checkpoints(tmp_path / "c"))
    client = job.submit(resume=True)
    assert client.get_job_id() == job_id
    client.run_in_this_thread()
    assert client.statistics().attempt == 2
    second = job.collected(client)
    assert len(second) == len(set(second))
    # What the restored checkpoint committed comes again, to a client that cannot know whether the first one had it.
    assert is_complete(list({*first, *second}))


def test_resuming_where_there_is_nothing_starts_afresh(tmp_path):
    job = Job(lambda x: x, **checkpoints(tmp_path / "c"))
    client = job.submit(resume=True)
    client.run_in_this_thread()
    assert is_complete(job.collected(client))


def test_a_damaged_newest_checkpoint_is_told_and_the_older_one_used(tmp_path, caplog):
    interrupted(tmp_path)
    found = sorted(tmp_path.glob("c/*/chk-*"), key=lambda path: int(path.name[4:]))
    flip_a_byte(found[-1] / "_metadata")
    job = Job(lambda x: x, **checkpoints(tmp_path / "c"))
    with caplog.at_level(logging.WARNING):
        client = job.submit(resume=True)
    assert "checksum" in caplog.text
    client.run_in_this_thread()
    assert found[-1].exists() or client.statistics().checkpoints.completed >= 2


def test_a_checkpoint_named_by_path_is_used_exactly_and_a_damaged_one_refused(tmp_path):
    job_id, _ = interrupted(tmp_path)
    oldest, *_, newest = sorted(tmp_path.glob("c/*/chk-*"), key=lambda path: int(path.name[4:]))
    job = Job(lambda x: x, **checkpoints(tmp_path / "d"))
    client = job.submit(savepoint_path=str(oldest))
    assert client.get_job_id() != job_id
    client.run_in_this_thread()
    assert client.statistics().vertices[0].records_in < N
    flip_a_byte(newest / "_metadata")
    with pytest.raises(CheckpointError) as info:
        job.submit(savepoint_path=str(newest))
    assert info.value.reason is CheckpointFailureReason.CORRUPT
    assert str(oldest) in str(info.value)


def test_a_checkpoint_is_restored_also_without_checkpoints_of_its_own(tmp_path):
    interrupted(tmp_path)
    newest = max(tmp_path.glob("c/*/chk-*"), key=lambda path: int(path.name[4:]))
    client = Job(lambda x: x).submit(savepoint_path=str(newest))
    client.run_in_this_thread()
    assert client.statistics().vertices[0].records_in < N


def test_a_checkpoint_of_another_program_is_refused_before_anything_runs(tmp_path):
    interrupted(tmp_path)
    newest = max(tmp_path.glob("c/*/chk-*"), key=lambda path: int(path.name[4:]))
    env = StreamExecutionEnvironment.get_execution_environment(Configuration())
    env.from_collection([1]).filter(bool).print()
    with pytest.raises(CheckpointError) as info:
        submit(compile_job(env.get_stream_graph("other")), Configuration(), savepoint_path=str(newest))
    assert info.value.reason is CheckpointFailureReason.INCOMPATIBLE


def test_a_directory_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written") as info:
        Job(lambda x: x, **checkpoints(tmp_path / "file")).submit()
    assert "execution.checkpointing.dir" in info.value.fix


def test_resuming_and_naming_a_checkpoint_exclude_each_other(tmp_path):
    with pytest.raises(JobDefinitionError, match="both"):
        Job(lambda x: x, **checkpoints(tmp_path)).submit(resume=True, savepoint_path="x")


def test_an_embedded_cluster_refuses_a_parallel_job():
    with pytest.raises(ConfigurationError, match="2 workers"):
        Job(lambda x: x, 2, **{"taskmanager.mode": "embedded"}).submit()


def test_a_second_job_manager_for_the_same_job_is_noticed(tmp_path):
    interrupted(tmp_path)
    failing = FailingOnce(tmp_path / "c", tmp_path / "flag2")
    first = Job(failing, **checkpoints(tmp_path / "c")).submit(resume=True)
    Job(lambda x: x, **checkpoints(tmp_path / "c")).submit(resume=True)  # takes the next attempt
    with pytest.raises(JobExecutionError, match="another job manager") as info:
        first.run_in_this_thread()
    assert isinstance(info.value.__cause__, MillstreamError)


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("policy", "kept"), [("RETAIN_ON_CANCELLATION", True), ("NO_EXTERNALIZED_CHECKPOINTS", False)]
)
def test_checkpoints_stay_after_the_end_unless_told_otherwise(tmp_path, policy, kept):
    keys = {"execution.checkpointing.externalized-checkpoint-retention": policy}
    Job(lambda x: x, **checkpoints(tmp_path / "c", **keys)).submit().run_in_this_thread()
    assert bool(list(tmp_path.glob("c/*/chk-*"))) is kept
