"""A job whose right output is known, run in this process or by the command line, and eyes for what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from millstream import Configuration, JobClient, JobExecutionResult
from millstream.core.clock import SystemClock
from tests.integration.engine.jobs.windows import EVENTS_PER_SECOND, expected_lines, windows

ROOT = Path(__file__).resolve().parents[3]
JOBS = Path(__file__).parent / "jobs"
CLOCK = SystemClock()
_SHELL = ("sh", "-c", 'MILLSTREAM_FAULTS_ROOT=$$ exec "$@"', "sh")


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    """The first true answer of `condition`."""
    pause = threading.Event()
    deadline_ms = CLOCK.monotonic_ms() + timeout_s * 1000
    while not (answer := condition()):
        assert CLOCK.monotonic_ms() < deadline_ms, f"waited {timeout_s} s for {what}"
        pause.wait(0.005)
    return answer


def seconds_until(condition: Callable[[], Any], what: str) -> float:
    """How long it took until `condition` held."""
    began_ms = CLOCK.monotonic_ms()
    wait_until(condition, what)
    return (CLOCK.monotonic_ms() - began_ms) / 1000


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """-9 to each that has not ended by itself meanwhile: many do when another one dies."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


class Workshop:
    """The folders of one test: output, checkpoints, temporary files; and the settings that lead there."""

    def __init__(self, base: Path) -> None:
        self.out, self.checkpoints, self.tmp = base / "out", base / "checkpoints", base / "tmp"
        self.faults = base / "faults"
        self.hurry = base / "hurry"
        self.tmp.mkdir()
        self.faults.mkdir()

    def settings(self, **changes: str) -> dict[str, str]:
        """Checkpoints every 100 ms and quick restarts; `state_backend_type="rocksdb"` sets `state.backend.type`."""
        settings = {
            "execution.checkpointing.interval": "100 ms",
            "execution.checkpointing.dir": str(self.checkpoints),
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": "50",
            "restart-strategy.fixed-delay.delay": "10 ms",
            "io.tmp.dirs": str(self.tmp),
        }
        return settings | {key.replace("__", "-").replace("_", "."): value for key, value in changes.items()}

    def configuration(self, **changes: str) -> Configuration:
        """The same for a program in this process."""
        configuration = Configuration()
        for key, value in self.settings(**changes).items():
            configuration.set_string(key, value)
        return configuration

    # ---- the job of jobs/windows.py ------------------------------------------------------------------------------------

    def start(
        self, parallelism: int, events: int, rate: int = EVENTS_PER_SECOND, **changes: str
    ) -> JobClient:
        """The windows job in this process, running."""
        env = windows(self.configuration(**changes), str(self.out), events, rate, self.hurry)
        env.set_parallelism(parallelism)
        return env.execute_async("windows")

    def finish(self, client: JobClient, timeout_s: float = 120) -> JobExecutionResult:
        """Lift the limit of events per second, and wait for the end."""
        self.hurry.touch()
        return client.wait(timeout_s)

    def committed(self) -> Counter[str]:
        """How often each line is in files that everybody can see."""
        lines: Counter[str] = Counter()
        for path in self._files():
            if not path.name.startswith("."):
                lines.update(path.read_text().splitlines())
        return lines

    def hidden(self) -> list[str]:
        """Files of the output that were not committed."""
        return [path.name for path in self._files() if path.name.startswith(".")]

    def _files(self) -> Iterator[Path]:
        return (path for path in self.out.rglob("*") if path.is_file())

    def check_output(self, events: int) -> None:
        """Every window is there, once, and nothing else."""
        committed = self.committed()
        assert committed == Counter(expected_lines(events)), problem(committed, expected_lines(events))
        assert self.hidden() == []

    # ---- what is left ---------------------------------------------------------------------------------------------------

    def complete(self) -> list[Path]:
        """Folders of complete checkpoints, oldest first."""
        found = [path.parent for path in self.checkpoints.glob("*/chk-*/_metadata")]
        return sorted(found, key=lambda folder: int(folder.name.removeprefix("chk-")))

    def check_nothing_is_left(self, retained: int = 3) -> None:
        """No temporary file; and of checkpoints only whole ones, no more than are retained, and what they refer to."""
        assert list(self.tmp.iterdir()) == []
        folders = list(self.checkpoints.glob("*/chk-*"))
        assert sorted(folders) == sorted(self.complete())
        assert 1 <= len(folders) <= retained


def problem(committed: Counter[str], expected: list[str]) -> str:
    """What is wrong, short enough to be read."""
    missing, extra = Counter(expected) - committed, committed - Counter(expected)
    return (
        f"missing {len(missing)}: {sorted(missing)[:5]}; too many {len(extra)}: {sorted(extra.items())[:5]}"
    )


class Program:
    """A program run by the command line, in a process group of its own, that a test watches and kills."""

    def __init__(self, workshop: Workshop, job: Path, *arguments: str, **environment: str) -> None:
        self._workshop = workshop
        self.log = workshop.tmp.with_name(f"log-{len(list(workshop.tmp.parent.glob('log-*')))}")
        with self.log.open("w") as log:
            # The shell gives its own process id, which exec keeps, as the root of the tree that a fault kills.
            self.process = subprocess.Popen(
                [*_SHELL, sys.executable, "-m", "millstream", "run", str(job), *arguments],
                stdout=log,
                stderr=log,
                cwd=workshop.tmp.parent,
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "TMPDIR": str(workshop.tmp),
                    "MILLSTREAM_FAULTS_DIR": str(workshop.faults),
                    **environment,
                },
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        return self.log.read_text()

    def end(self, timeout_s: float = 60) -> int:
        """Its exit status."""
        return self.process.wait(timeout_s)

    def descendants(self) -> list[psutil.Process]:
        """The fork server and the workers."""
        return psutil.Process(self.pid).children(recursive=True)

    def kill(self) -> None:
        """-9 to the client and nobody else."""
        self.process.kill()
        self.process.wait()

    def kill_group(self) -> None:
        """-9 to all at the same time."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


def gone(processes: list[psutil.Process]) -> bool:
    return not any(is_alive(process) for process in processes)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
