"""A job under `millstream run`, as a process tree that can be killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self

import psutil

from millstream.checkpoint.catalog import load
from tests.integration.kafka.harness import ROOT, wait_until

_PATIENCE_S: Final = 60
SETTINGS: Final = {
    "execution.checkpointing.interval": "200 ms",
    "execution.checkpointing.timeout": "1 min",
    "state.backend.type": "rocksdb",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "100",
    "restart-strategy.fixed-delay.delay": "100 ms",
}


class JobProcess:
    """A program under `millstream run`; whatever of it runs is killed at the end of the block.

    Args:
        folder: an empty one, for checkpoints, savepoints and logs.
        spec: the program's one argument, as JSON.
    """

    def __init__(self, program: Path, folder: Path, spec: dict[str, Any]) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.savepoints = folder / "savepoints"
        self.savepoints.mkdir()
        self.runs = 0
        self._program = program
        self.spec = spec
        self._process: subprocess.Popen[bytes] | None = None

    # -- running --------------------------------------------------------------------------------------------------------

    def start(
        self,
        parallelism: int = 2,
        *,
        settings: Mapping[str, str] | None = None,
        faults: Mapping[str, str] | None = None,
        restore_from: str | None = None,
    ) -> None:
        """`millstream run`, with `--resume` from the second time on, unless there is a savepoint to start `restore_from`; `faults`
        are planned for this run alone."""
        assert self._process is None
        command = [sys.executable, "-m", "millstream", "run", str(self._program), "-p", str(parallelism)]
        for key, value in {
            **SETTINGS,
            "execution.checkpointing.dir": str(self.checkpoints),
            **(settings or {}),
        }.items():
            command += ["-D", f"{key}={value}"]
        if restore_from is not None:
            command += ["--from", restore_from]
        elif self.runs:
            command += ["--resume"]
        command += ["--", json.dumps(self.spec)]
        self.runs += 1
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if faults:
            counted = self.folder / f"faults-{self.runs}"
            counted.mkdir()
            environment["MILLSTREAM_FAULTS"] = ";".join(
                f"{point}={action}" for point, action in faults.items()
            )
            environment["MILLSTREAM_FAULTS_DIR"] = str(counted)
        # The shell becomes the command, under the process id that it names as the root of the tree.
        wrapper = ["/bin/sh", "-c", 'export MILLSTREAM_FAULTS_ROOT=$$; exec "$@"', "sh", *command]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                wrapper, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def _log_path(self) -> Path:
        return self.folder / f"run-{self.runs}.log"

    def log(self) -> str:
        """What the current or last run printed."""
        return self._log_path.read_text(errors="replace")

    def tail(self) -> str:
        """The end of that, for a failed assertion."""
        return f"run {self.runs}: " + self.log()[-6000:]

    def alive(self) -> bool:
        """Whether the job's main process runs."""
        return self._process is not None and self._process.poll() is None

    def wait_for(self, condition: Any, what: str) -> Any:
        """Until `condition` gives something true, which must come while the job runs."""

        def met() -> Any:
            answer = condition()
            assert answer or self.alive(), f"the job ended before {what}: {self.tail()}"
            return answer

        try:
            return wait_until(met, what, timeout_s=_PATIENCE_S)
        except AssertionError as error:
            error.add_note(self.tail())
            raise

    def ended(self) -> int:
        """The exit status, once the process and all of its tree are gone."""
        assert self._process is not None
        tree = self._descendants()
        try:
            status = self._process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the job does not end: {self.tail()}") from None
        self._process = None
        wait_until(lambda: not any(_runs(process) for process in tree), f"the end of {tree}")
        return status

    def savepoint(self, kind: str) -> str:
        """Path of one that is taken now: by `trigger`, or by `stop` or `drain`, with which the job ends."""
        order = self.savepoints / f"{len(list(self.savepoints.glob('*.path')))}.{kind}"
        order.touch()
        answer = order.with_suffix(".path")
        self.wait_for(answer.exists, f"a savepoint by {kind}")
        if kind != "trigger":
            assert self.ended() == 0, self.tail()
        return answer.read_text()

    # -- killing --------------------------------------------------------------------------------------------------------

    def workers(self) -> list[psutil.Process]:
        """The live worker processes: children of the fork server."""
        try:
            root = psutil.Process(self._process.pid) if self._process else None
            servers = root.children() if root else []
            return [worker for server in servers for worker in server.children() if _runs(worker)]
        except psutil.NoSuchProcess:
            return []

    def kill_a_worker(self, random: Random, of: int = 2) -> None:
        """`kill -9` to one of so many, and wait until the job has begun another attempt for it."""
        workers = self.wait_for(lambda: len(found := self.workers()) == of and found, f"{of} workers")
        attempt = self.attempts()
        random.choice(workers).kill()
        self.wait_for(lambda: self.attempts() > attempt, "another attempt")

    def kill_everything(self) -> None:
        """`kill -9` to all processes at the same moment."""
        assert self._process is not None
        assert self.alive(), f"the job ended before it could be killed: {self.tail()}"
        os.killpg(self._process.pid, signal.SIGKILL)
        assert self.ended() == -signal.SIGKILL

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children(recursive=True) if self._process else []
        except psutil.NoSuchProcess:
            return []

    # -- what is known of it --------------------------------------------------------------------------------------------

    def attempts(self) -> int:
        """How many attempts were begun, over all runs: each is recorded before it starts."""
        records = list(self.checkpoints.glob("*/_job"))
        assert len(records) <= 1, "more than one job"
        try:
            return int(json.loads(records[0].read_bytes())["last_attempt"]) if records else 0
        except FileNotFoundError:  # it is being replaced
            return self.attempts()

    def newest_checkpoint(self) -> int:
        """Number of the newest complete one; 0 if there is none."""
        complete = self.checkpoints.glob("*/chk-*/_metadata")
        return max((int(path.parent.name.removeprefix("chk-")) for path in complete), default=0)

    def next_checkpoint(self, count: int = 1) -> None:
        """Until `count` more are complete."""
        wanted = self.newest_checkpoint() + count
        self.wait_for(lambda: self.newest_checkpoint() >= wanted, f"checkpoint {wanted}")

    def parallelism_of_newest(self) -> int:
        """With how many source subtasks the newest checkpoint was taken."""
        (path,) = self.checkpoints.glob(f"*/chk-{self.newest_checkpoint()}")
        return load(str(path)).metadata.operators[0].parallelism

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            if self.alive():
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
