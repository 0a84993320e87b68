"""What is wrong before or around a job gives one clear error, and nothing is lost."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millstream import (
    Configuration,
    ConfigurationError,
    JobExecutionError,
    MillstreamError,
    RecordSerializationError,
    SerializationSetupError,
    StreamExecutionEnvironment,
)
from tests.integration.engine.harness import JOBS, Program, Workshop, wait_until
from tests.integration.engine.jobs.windows import expected_lines

EVENTS = 6_000


def run(
    workshop: Workshop, *options: str, events: int = EVENTS, rate: int = 30_000, **changes: str
) -> Program:
    """The windows job by the command line."""
    settings = [f"-D{key}={value}" for key, value in workshop.settings(**changes).items()]
    arguments = (*settings, *options, "--", str(workshop.out), str(events), str(rate))
    return Program(workshop, JOBS / "windows.py", *arguments)


def fails(program: Program, *parts: str) -> str:
    """One error of ours, exit status 1, no traceback; all parts are in what it prints."""
    assert program.end() == 1, program.text()
    text = program.text()
    assert "Traceback" not in text, text
    for part in parts:
        assert part in text, text
    return text


# ---- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("execution.checkpointing.intervall=1s", ("execution.checkpointing.interval", "unknown key")),
        ("execution.checkpointing.interval=soon", ("execution.checkpointing.interval", "soon")),
        ("parallelism.default=0", ("parallelism.default", "0")),
        ("taskmanager.mode=thread", ("taskmanager.mode", "embedded", "process")),
    ],
)
def test_a_setting_that_makes_no_sense(workshop: Workshop, setting: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        key, _, value = setting.partition("=")
        configuration = Configuration()
        configuration.set_string(key, value)
        StreamExecutionEnvironment.get_execution_environment(configuration)
    for part in parts:
        assert part in str(caught.value)


def test_a_malformed_configuration_file_names_file_and_place(workshop: Workshop) -> None:
    workshop.tmp.with_name("millstream.yaml").write_text("parallelism:\n  default: [2\n")
    fails(run(workshop), "ConfigurationError", "millstream.yaml")


@pytest.mark.parametrize("parallelism", ["1", "2"])
def test_an_embedded_cluster_is_asked_for_too_much(workshop: Workshop, parallelism: str) -> None:
    program = run(workshop, "-p", parallelism, taskmanager_mode="embedded", events=100)
    if parallelism == "1":
        assert program.end() == 0, program.text()
    else:
        fails(program, "ConfigurationError", "taskmanager.mode")


# ---- what cannot travel ------------------------------------------------------------------------------------------------


class Plain:
    """No record type: nothing says how to encode it."""

    def __init__(self, number: int) -> None:
        self.number = number


def to_plain(number: int) -> Plain:
    return Plain(number)


def test_a_record_that_cannot_be_serialised(workshop: Workshop) -> None:
    env = StreamExecutionEnvironment.get_execution_environment(
        workshop.configuration(restart__strategy_type="none")
    )
    env.set_parallelism(2)
    env.from_collection(range(10)).map(to_plain).name("plainly").rebalance().map(lambda plain: plain.number)
    with pytest.raises(JobExecutionError) as caught:
        env.execute()
    text = str(caught.value)
    assert isinstance(caught.value.__cause__, RecordSerializationError), text
    assert "Plain" in text
    assert "fix:" in text


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_function_that_captured_a_lock(workshop: Workshop, parallelism: int) -> None:
    lock = threading.Lock()

    def guarded(value: int) -> int:
        with lock:
            return value

    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())
    env.set_parallelism(parallelism).from_collection([1]).map(guarded).name("guarded")
    with pytest.raises(SerializationSetupError) as caught:
        env.execute()
    text = str(caught.value)
    for part in ("'guarded'", "'lock'", "open(runtime_context)"):
        assert part in text
    assert not workshop.checkpoints.exists()


class Awkward:
    """Comes back to life in no other process."""

    def __reduce__(self) -> Any:
        return refuse_to_live, ()

    def __call__(self, value: int) -> int:
        return value


def refuse_to_live() -> Any:
    raise LookupError("not in this process")


@pytest.mark.parametrize("mode", ["embedded", "process"])
def test_a_function_that_cannot_be_read_by_the_workers(workshop: Workshop, mode: str) -> None:
    configuration = workshop.configuration(taskmanager_mode=mode, restart__strategy_type="none")
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    env.from_collection([1]).map(Awkward())
    with pytest.raises(MillstreamError) as caught:
        env.execute()
    assert "LookupError: not in this process" in str(caught.value)
    assert list(workshop.tmp.iterdir()) == []


# ---- the checkpoint directory ------------------------------------------------------------------------------------------


def test_a_checkpoint_directory_that_cannot_be_written(workshop: Workshop) -> None:
    workshop.checkpoints.write_text("a file in the way")
    fails(run(workshop), "CheckpointError", str(workshop.checkpoints), "fix:")
    assert not workshop.out.exists()


def test_a_checkpoint_directory_that_vanishes_while_the_job_runs(workshop: Workshop) -> None:
    client = workshop.start(2, 10**9, restart__strategy_type="none")
    wait_until(workshop.complete, "a checkpoint")
    # A file where the job's folder was: every later write fails.
    (job_folder,) = workshop.checkpoints.iterdir()
    moved = workshop.checkpoints.with_name("moved")
    job_folder.rename(moved)
    job_folder.write_text("in the way")
    with pytest.raises(JobExecutionError) as caught:
        client.wait(60)
    assert "checkpoint" in str(caught.value)
    assert str(workshop.checkpoints) in str(caught.value)


@pytest.fixture
def interrupted(workshop: Workshop) -> Workshop:
    """A job that was killed after three checkpoints."""
    program = run(workshop, "-p", "2", rate=2_000)
    wait_until(
        lambda: len(workshop.complete()) >= 3 or program.process.poll() is not None, "three checkpoints"
    )
    assert program.process.poll() is None, program.text()
    program.kill_group()
    return workshop


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def damage_metadata(checkpoint: Path) -> None:
    flip_a_byte(checkpoint / "_metadata")


def damage_state(checkpoint: Path) -> None:
    flip_a_byte(
        max((p for p in checkpoint.iterdir() if p.name != "_metadata"), key=lambda p: p.stat().st_size)
    )


def lose_a_file(checkpoint: Path) -> None:
    next(p for p in checkpoint.iterdir() if p.name != "_metadata").unlink()


@pytest.mark.parametrize(
    "damage",
    [damage_metadata, *(pytest.param(d, marks=pytest.mark.slow) for d in (damage_state, lose_a_file))],
)
def test_a_damaged_checkpoint_stops_the_job_and_is_passed_over_loudly_when_asked(
    interrupted: Workshop, damage: Callable[[Path], None]
) -> None:
    *older, newest = interrupted.complete()
    damage(newest)
    text = fails(run(interrupted, "-p", "2", "--from", str(newest)), "CheckpointError", str(newest))
    assert str(older[-1]) in text
    before = interrupted.committed()
    option = "execution.checkpointing.recovery-fallback"
    fails(run(interrupted, "-p", "2", "--resume"), "CheckpointError", str(newest), option, str(older[-1]))
    assert interrupted.committed() == before
    resumed = run(interrupted, "-p", "2", f"-D{option}=true", "--resume", rate=10**6)
    assert resumed.end() == 0, resumed.text()
    assert f"checkpoint {newest.name.removeprefix('chk-')} of job 'windows' cannot be used" in resumed.text()
    # Files were committed after the older checkpoint, so windows may come twice; none may be missing.
    assert set(interrupted.committed()) == set(expected_lines(EVENTS))


@pytest.mark.slow
def test_nothing_but_damaged_checkpoints_is_an_error_that_deletes_nothing(interrupted: Workshop) -> None:
    for checkpoint in interrupted.complete():
        damage_metadata(checkpoint)
    before = sorted(interrupted.checkpoints.rglob("*"))
    fails(run(interrupted, "--resume"), "CheckpointError", "no checkpoint of job 'windows' can be used")
    assert sorted(interrupted.checkpoints.rglob("*")) == before


OTHER_JOB = """
    import sys
    from millstream import StreamExecutionEnvironment

    env = StreamExecutionEnvironment.get_execution_environment()
    numbers = env.from_sequence(1, 10).uid("numbers")
    numbers.key_by(lambda n: n % 2).reduce(max).uid(sys.argv[1]).print()
    env.execute("other")
"""


def other_job(workshop: Workshop, uid: str, *options: str) -> Program:
    import textwrap

    job = workshop.tmp.with_name("other.py")
    job.write_text(textwrap.dedent(OTHER_JOB))
    settings = [f"-D{key}={value}" for key, value in workshop.settings().items()]
    return Program(workshop, job, *settings, *options, "--", uid)


def test_the_checkpoint_of_another_program(interrupted: Workshop) -> None:
    newest = interrupted.complete()[-1]
    fails(
        other_job(interrupted, "max", "--from", str(newest)), "CheckpointError", "sums", str(newest), "fix:"
    )
    assert newest in interrupted.complete()


@pytest.mark.slow
def test_an_operator_that_was_given_another_uid(workshop: Workshop) -> None:
    assert other_job(workshop, "max").end() == 0
    newest = str(workshop.complete()[-1])
    fails(
        other_job(workshop, "maximum", "--from", newest), "CheckpointError", "max", "ignore-unclaimed-state"
    )
    ignoring = other_job(
        workshop, "maximum", "--from", newest, "-D", "execution.savepoint.ignore-unclaimed-state=true"
    )
    assert ignoring.end() == 0, ignoring.text()


def test_another_maximum_parallelism(interrupted: Workshop) -> None:
    program = run(interrupted, "--resume", "-D", "pipeline.max-parallelism=64")
    fails(program, "CheckpointError", "64", "128")
    assert len(interrupted.complete()) >= 3


@pytest.mark.slow
def test_a_checkpoint_from_another_place_is_good_for_a_new_job(interrupted: Workshop) -> None:
    newest = interrupted.complete()[-1]
    copied = interrupted.tmp.with_name("copied") / newest.parent.name
    shutil.copytree(newest.parent, copied)
    started = run(interrupted, "-p", "1", "--from", str(copied / newest.name), rate=10**6)
    assert started.end() == 0, started.text()
    interrupted.check_output(EVENTS)
