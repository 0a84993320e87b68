"""How jobs end that are interrupted or killed: cleanly, at once where asked twice, and with nobody left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.engine.harness import JOBS, Program, Workshop, gone, seconds_until, wait_until

AT_MOST_S = 3.0
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
WORKERS = [pytest.param("1", "embedded", id="embedded"), pytest.param("2", "process", id="processes")]

Start = Callable[..., Program]


@pytest.fixture
def start(workshop: Workshop) -> Iterator[Start]:
    """Start a program of jobs/ on so many workers; what is left of it in the end is killed."""
    programs: list[Program] = []

    def run(job: str, parallelism: str, mode: str, *arguments: str) -> Program:
        settings = [f"-D{key}={value}" for key, value in workshop.settings(taskmanager_mode=mode).items()]
        program = Program(workshop, JOBS / job, "-p", parallelism, *settings, "--", *arguments)
        programs.append(program)
        return program

    yield run
    for program in programs:
        if program.process.poll() is None:
            program.kill_group()


@pytest.fixture
def windows(workshop: Workshop, start: Start) -> Callable[[str, str], Program]:
    """The windows job with much to do, once it has completed a checkpoint."""

    def run(parallelism: str, mode: str) -> Program:
        program = start("windows.py", parallelism, mode, str(workshop.out), "1000000000", "20000")
        wait_until(lambda: workshop.complete() or program.process.poll() is not None, "a checkpoint")
        assert program.process.poll() is None, program.text()
        return program

    return run


@pytest.fixture
def stuck(workshop: Workshop, start: Start) -> Callable[[str, str], Program]:
    """A program all of whose workers are stuck in a user function."""

    def run(parallelism: str, mode: str) -> Program:
        program = start("stuck.py", parallelism, mode, str(workshop.faults))
        everywhere = lambda: len(list(workshop.faults.glob("stuck-*"))) == int(parallelism)
        wait_until(lambda: everywhere() or program.process.poll() is not None, "all workers to be stuck")
        assert program.process.poll() is None, program.text()
        return program

    return run


def check_no_trace_but_checkpoints(workshop: Workshop) -> None:
    workshop.check_nothing_is_left()
    assert workshop.hidden() == [] or workshop.complete()


@pytest.mark.parametrize(("parallelism", "mode"), WORKERS)
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize("target", [os.killpg, pytest.param(os.kill, marks=pytest.mark.slow)])
def test_the_first_signal_ends_a_job_cleanly(
    workshop: Workshop,
    windows: Callable[[str, str], Program],
    parallelism: str,
    mode: str,
    number: signal.Signals,
    target: Callable[[int, int], None],
) -> None:
    program = windows(parallelism, mode)
    family = program.descendants()
    target(program.pid, number)
    assert program.end() == EXIT_CODES[number], program.text()
    assert "Traceback" not in program.text()
    assert gone(family)
    check_no_trace_but_checkpoints(workshop)


@pytest.mark.parametrize(("parallelism", "mode"), WORKERS)
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_second_signal_ends_it_at_once_though_a_function_never_returns(
    workshop: Workshop,
    stuck: Callable[[str, str], Program],
    parallelism: str,
    mode: str,
    number: signal.Signals,
) -> None:
    program = stuck(parallelism, mode)
    family = program.descendants()
    os.kill(program.pid, number)
    wait_until(lambda: not has_pending(program.pid), "the first signal to be delivered")
    os.kill(program.pid, number)
    assert seconds_until(lambda: program.process.poll() is not None, "the end") < AT_MOST_S
    assert program.end() == EXIT_CODES[number], program.text()
    assert "Traceback" not in program.text()
    assert seconds_until(lambda: gone(family), "the end of all processes") < AT_MOST_S
    wait_until(lambda: not list(workshop.tmp.iterdir()), "the temporary folder to go")


def has_pending(pid: int) -> bool:
    """Whether a signal waits to be delivered to the process; the kernel shows it as a mask."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines)
    return int(status["ShdPnd"], 16) != 0 or int(status["SigPnd"], 16) != 0


@pytest.mark.slow
def test_one_signal_is_enough_for_stuck_worker_processes(
    workshop: Workshop, stuck: Callable[[str, str], Program]
) -> None:
    program = stuck("2", "process")
    os.kill(program.pid, signal.SIGTERM)
    assert program.end(60) == 143, program.text()
    assert list(workshop.tmp.iterdir()) == []


@pytest.mark.parametrize("victim", ["client", "fork server"])
def test_no_worker_outlives_who_started_it_also_when_it_is_stuck(
    workshop: Workshop, stuck: Callable[[str, str], Program], start: Start, victim: str
) -> None:
    program = stuck("2", "process")
    family = program.descendants()
    assert len(family) == 3  # the fork server and two workers
    (fork_server,) = psutil.Process(program.pid).children()
    if victim == "client":
        program.kill()
    else:
        family.remove(fork_server)
        fork_server.kill()
    assert seconds_until(lambda: gone(family), "the end of the workers") < AT_MOST_S
    if victim != "client":
        program.kill()
    again = start("windows.py", "2", "process", str(workshop.out), "3000", "30000")
    assert again.end() == 0, again.text()
    workshop.check_output(3_000)
    assert list(workshop.tmp.iterdir()) == []


@pytest.mark.slow
def test_the_client_of_a_small_job_may_be_killed_too(
    workshop: Workshop, windows: Callable[[str, str], Program], start: Start
) -> None:
    windows("1", "embedded").kill()
    assert list(workshop.tmp.iterdir()) != []  # nobody was left to remove it
    again = start("windows.py", "1", "embedded", str(workshop.out), "3000", "30000")
    assert again.end() == 0, again.text()
    assert list(workshop.tmp.iterdir()) == []
