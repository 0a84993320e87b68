"""Savepoints of the windows job: taken while it runs, as its end, and gone on from, with its output exactly once."""

from __future__ import annotations

import shutil
import signal
import uuid
from collections import Counter
from pathlib import Path

import pytest

from millstream import (
    JobClient,
    JobStatus,
    RuntimeExecutionMode,
    SavepointFormatType,
    StreamExecutionEnvironment,
    TwoPhaseCommitSinkFunction,
    WatermarkStrategy,
)
from millstream.checkpoint.catalog import load, verify
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.core.errors import CheckpointError, JobExecutionError
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.job_manager.client import submit
from tests.integration.engine.harness import JOBS, Program, Workshop, wait_until
from tests.integration.engine.jobs.windows import expected_lines, windows
from tests.integration.engine.test_recovery import kill_worker

EVENTS = 12_000
OTHER = {"hashmap": "rocksdb", "rocksdb": "hashmap"}
NATIVE = SavepointFormatType.NATIVE


def start(
    workshop: Workshop, parallelism: int, *, restore: str | None = None, rate: int = 6_000, **changes: str
) -> JobClient:
    configuration = workshop.configuration(**changes)
    if restore is not None:
        configuration.set_string("execution.savepoint.path", restore)
    env = windows(configuration, str(workshop.out), EVENTS, rate, workshop.hurry)
    env.set_parallelism(parallelism)
    return env.execute_async("windows")


def some_output(client: JobClient) -> None:
    """Until it has done something that a savepoint can be about."""
    wait_until(
        lambda: (s := client.statistics().checkpoints) is not None and s.completed >= 2, "two checkpoints"
    )


def moved(path: str, workshop: Workshop) -> str:
    """A savepoint may be moved anywhere, and renamed."""
    target = workshop.tmp.parent / "elsewhere" / "renamed"
    target.parent.mkdir()
    shutil.move(path, target)
    shutil.rmtree(Path(path).parent)
    return str(target)


@pytest.mark.parametrize(
    ("backend", "before", "after"),
    [("hashmap", 1, 2), ("rocksdb", 2, 1), pytest.param("hashmap", 2, 3, marks=pytest.mark.slow)],
)
def test_a_job_goes_on_from_where_it_was_stopped_on_the_other_backend_at_another_parallelism(
    workshop: Workshop, backend: str, before: int, after: int
) -> None:
    client = start(workshop, before, state_backend_type=backend)
    some_output(client)
    path = client.stop_with_savepoint(False, str(workshop.tmp.parent / "savepoints")).result(60)
    assert client.status is JobStatus.FINISHED
    committed = workshop.committed()
    assert sum(committed.values()) < len(expected_lines(EVENTS)), "it ended before it was stopped"

    path = moved(path, workshop)
    shutil.rmtree(workshop.checkpoints)  # the savepoint needs nothing of them
    result = start(workshop, after, restore=path, state_backend_type=OTHER[backend]).wait(60)
    assert result.statistics.restarts == 0
    workshop.check_output(EVENTS)
    verify(load(path), content=True)  # it is still there, whole


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_a_native_savepoint_of_a_running_job_is_complete_and_changes_nothing_for_the_job(
    workshop: Workshop, backend: str
) -> None:
    client = start(workshop, 1, state_backend_type=backend)
    some_output(client)
    retained = client.statistics().latest_checkpoint
    savepoints = [client.trigger_savepoint(str(workshop.tmp.parent / "savepoints"), NATIVE) for _ in range(2)]
    paths = [future.result(60) for future in savepoints]
    assert len(set(paths)) == 2
    assert retained is not None
    client.wait(60)
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()
    for path in paths:
        stored = load(path)
        verify(stored, content=True)
        assert stored.metadata.savepoint is NATIVE
        assert all("/" not in file.path for file in stored.metadata.files()), "it refers outside its folder"


def test_draining_fires_every_window_and_commits_it(workshop: Workshop) -> None:
    client = start(workshop, 2)
    some_output(client)
    path = client.stop_with_savepoint(True, str(workshop.tmp.parent / "savepoints")).result(60)
    assert client.status is JobStatus.FINISHED
    committed = workshop.committed()
    read = sum(int(line.rpartition(",")[2]) for line in committed.elements())
    assert workshop.hidden() == []
    # Every record that was read is in a window that fired: the positions in the savepoint say how many there are.
    stored = load(path)
    verify(stored, content=True)
    assert read > 0
    assert set(committed.values()) == {1}
    keyed = [h for states in stored.metadata.states.values() for s in states for h in s.keyed if h.files]
    assert keyed == [], "a window is still open"


def run(
    workshop: Workshop, job: str, *arguments: str, options: tuple[str, ...] = (), **environment: str
) -> Program:
    """By the command line, with two workers."""
    settings = [part for key, value in workshop.settings().items() for part in ("-D", f"{key}={value}")]
    given = ("--", str(workshop.out), str(EVENTS), "6000", *arguments)
    return Program(workshop, JOBS / job, "-p", "2", *settings, *options, *given, **environment)


def test_a_worker_killed_in_the_middle_of_a_stop_costs_the_savepoint_and_nothing_else(
    workshop: Workshop,
) -> None:
    folder = workshop.tmp.parent / "savepoints"
    fault = "task.uploading-savepoint=kill@2"
    program = run(workshop, "stopped_windows.py", str(folder), MILLSTREAM_FAULTS=fault)
    assert program.end() == 0, program.text()
    assert "no savepoint was taken: a subtask failed meanwhile" in program.text()
    workshop.check_output(EVENTS)
    assert list(folder.glob("*/_metadata")) == []
    workshop.check_nothing_is_left()


@pytest.mark.parametrize(
    ("fault", "savepoints"),
    [
        pytest.param("job-manager.before-savepoint", 0, marks=pytest.mark.slow),
        ("job-manager.stop-noted", 1),
    ],
)
def test_everything_dies_while_the_job_stops_and_is_resumed(
    workshop: Workshop, fault: str, savepoints: int
) -> None:
    folder = workshop.tmp.parent / "savepoints"
    first = run(workshop, "stopped_windows.py", str(folder), MILLSTREAM_FAULTS=f"{fault}=killtree")
    assert first.end() == -signal.SIGKILL, first.text()
    assert len(list(folder.glob("*/_metadata"))) == savepoints
    second = run(workshop, "windows.py", options=("--resume",))
    assert second.end() == 0, second.text()
    workshop.check_output(EVENTS)


class Staged(TwoPhaseCommitSinkFunction[str, str]):
    """Moves a file when it is committed, unless there is a file that forbids it."""

    def __init__(self, folder: Path, forbidden: Path) -> None:
        super().__init__(str)
        self.folder, self.forbidden = folder, forbidden

    def begin_transaction(self) -> str:
        return str(self.folder / f".{uuid.uuid4()}")

    def invoke(self, transaction: str, value: str, context: object) -> None:
        with Path(transaction).open("a") as file:
            file.write(f"{value}\n")

    def pre_commit(self, transaction: str) -> None:
        pass

    def commit(self, transaction: str) -> None:
        if self.forbidden.exists():
            raise OSError("the target is read-only")
        if Path(transaction).exists():
            Path(transaction).rename(transaction.replace("/.", "/"))

    def abort(self, transaction: str) -> None:
        Path(transaction).unlink(missing_ok=True)


def test_a_commit_that_fails_behind_the_savepoint_is_made_by_the_job_started_from_it(
    workshop: Workshop,
) -> None:
    workshop.out.mkdir()
    forbidden = workshop.tmp.parent / "forbidden"

    def job(**changes: str) -> JobClient:
        env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**changes))
        source = DataGeneratorSource(str, 4_000, RateLimiterStrategy.per_second(1_000))
        stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers").uid("numbers")
        stream.add_sink(Staged(workshop.out, forbidden)).uid("staged")
        return env.execute_async("staged")

    client = job(execution_checkpointing_interval="1 h")
    wait_until(workshop.hidden, "records")
    forbidden.touch()
    with pytest.raises(CheckpointError, match="failed while its last output was committed") as stopped:
        client.stop_with_savepoint(False, str(workshop.tmp.parent / "savepoints")).result(60)
    with pytest.raises(JobExecutionError, match="the target is read-only"):
        client.wait(60)
    assert client.statistics().restarts == 0
    assert not workshop.committed()

    forbidden.unlink()
    assert stopped.value.where is not None
    job(execution_savepoint_path=stopped.value.where).wait(60)
    assert workshop.committed() == Counter(map(str, range(4_000)))


def test_an_older_savepoint_is_gone_on_from_though_checkpoint_ids_repeat(workshop: Workshop) -> None:
    """Committables of the old run and of the new one have the same checkpoint ids, and are not taken for each other."""
    folder = str(workshop.tmp.parent / "savepoints")
    client = start(workshop, 2)
    some_output(client)
    before = set(wait_until(workshop.committed, "output"))
    old = client.trigger_savepoint(folder).result(60)
    covered = load(old).metadata.checkpoint_id
    at = sum(workshop.committed().values())
    wait_until(lambda: sum(workshop.committed().values()) > at, "more output")
    client.stop_with_savepoint(False, folder).result(60)
    first = workshop.committed()
    assert set(first.values()) == {1}

    client = start(workshop, 2, restore=old, rate=1_000)
    wait_until(
        lambda: (s := client.statistics().checkpoints) is not None and s.completed >= covered,
        "checkpoint ids that came before",
    )
    workshop.finish(client)
    second = workshop.committed() - first
    everything = set(expected_lines(EVENTS))
    assert set(second.values()) == {1}, "the new run committed something twice"
    assert not before & set(second), "it repeated what the savepoint covers"
    assert set(first) | set(second) == everything, "it lost something"
    assert workshop.hidden() == []


def test_resuming_a_stopped_job_goes_on_from_its_savepoint(workshop: Workshop) -> None:
    client = start(workshop, 1)
    some_output(client)
    client.stop_with_savepoint(False, str(workshop.tmp.parent / "savepoints")).result(60)
    env = windows(workshop.configuration(), str(workshop.out), EVENTS, 60_000)
    job = compile_job(env.get_stream_graph("windows"))
    resumed = submit(job, workshop.configuration(parallelism_default="1"), resume=True)
    assert resumed.get_job_id() != client.get_job_id()
    resumed.run_in_this_thread()
    workshop.check_output(EVENTS)


def test_a_job_that_has_ended_says_why_there_is_no_savepoint(
    workshop: Workshop,
) -> None:
    client = workshop.start(1, 10)
    client.wait(60)
    with pytest.raises(CheckpointError, match="the job ended before"):
        client.trigger_savepoint(str(workshop.tmp)).result(60)


def start_without_checkpoints(workshop: Workshop, parallelism: int, restore: str | None = None) -> JobClient:
    configuration = workshop.configuration()
    configuration.remove_config("execution.checkpointing.interval")
    if restore is not None:
        configuration.set_string("execution.savepoint.path", restore)
    env = windows(configuration, str(workshop.out), EVENTS, 3_000, workshop.hurry)
    return env.set_parallelism(parallelism).execute_async("windows")


def half_read(client: JobClient) -> bool:
    return client.statistics().vertices[0].records_out >= EVENTS // 2


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_job_that_takes_no_checkpoints_takes_savepoints_and_goes_on_from_them(
    workshop: Workshop, before: int, after: int
) -> None:
    client = start_without_checkpoints(workshop, before)
    wait_until(lambda: half_read(client), "some records")
    folder = str(workshop.tmp.parent / "savepoints")
    taken = client.trigger_savepoint(folder).result(60)
    path = client.stop_with_savepoint(False, folder).result(60)
    assert taken != path
    assert client.status is JobStatus.FINISHED
    assert workshop.hidden() == []
    client = start_without_checkpoints(workshop, after, path)
    workshop.finish(client)
    workshop.check_output(EVENTS)
    assert not workshop.checkpoints.exists()
    assert list(workshop.tmp.iterdir()) == []


def test_what_a_savepoint_has_pre_committed_is_committed_when_a_job_without_checkpoints_ends(
    workshop: Workshop,
) -> None:
    client = start_without_checkpoints(workshop, 2)
    wait_until(lambda: half_read(client), "some records")
    client.trigger_savepoint(str(workshop.tmp.parent / "savepoints")).result(60)
    assert workshop.committed() == Counter()
    assert workshop.hidden() != []
    workshop.finish(client)
    workshop.check_output(EVENTS)
    assert not workshop.checkpoints.exists()


def test_a_job_in_batch_mode_says_why_there_is_no_savepoint(workshop: Workshop) -> None:
    env = windows(workshop.configuration(), str(workshop.out), EVENTS, 1_000, workshop.hurry)
    env.set_runtime_mode(RuntimeExecutionMode.BATCH)
    client = env.execute_async("windows")
    with pytest.raises(CheckpointError, match="BATCH mode"):
        client.trigger_savepoint(str(workshop.tmp)).result(60)
    workshop.finish(client)
    workshop.check_output(EVENTS)


def test_a_job_without_checkpoints_that_fails_begins_at_the_savepoint_it_was_started_from(
    workshop: Workshop,
) -> None:
    folder = str(workshop.tmp.parent / "savepoints")
    client = start_without_checkpoints(workshop, 2)
    wait_until(lambda: half_read(client), "some records")
    client = start_without_checkpoints(workshop, 2, client.stop_with_savepoint(False, folder).result(60))
    wait_until(lambda: client.statistics().vertices[0].records_out >= 100, "some more records")
    client.trigger_savepoint(folder).result(60)  # is never restored by itself
    kill_worker(client, 1)
    workshop.finish(client)
    workshop.check_output(EVENTS)
