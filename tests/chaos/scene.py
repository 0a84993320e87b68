"""A job that is being run, with its processes, its disk, its clock and its processor in our hands."""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil

from millstream.core.configuration.options import OPTIONS
from millstream.dev.local_process import LocalProcess
from tests.chaos.disk import SmallDisk
from tests.chaos.output import output_of
from tests.chaos.schedule import Plan
from tests.chaos.sockets import workers
from tests.integration.engine.harness import ROOT, Program, Workshop

JOB = Path(__file__).parent / "jobs" / "topologies.py"
HEARTBEAT = {"heartbeat.interval": "500 ms", "heartbeat.timeout": "2500 ms"}
_SHIFTED_CLOCK = Path(__file__).parent / "shifted_clock"
_SECONDS = struct.Struct(">q")


class Scene:
    """One run of a plan. `close` gives everything back."""

    def __init__(self, plan: Plan, base: Path, servers: Callable[[], str]) -> None:
        self.plan = plan
        self.random = Random(f"scene {plan.seed}")
        self.workshop = Workshop(base)
        self.output = output_of(plan, self.workshop, servers)
        self.disk = SmallDisk(self.workshop.checkpoints)
        self.starts = 0
        self.program: Program | None = None
        self._core = self.random.choice(sorted(os.sched_getaffinity(0)))
        self._burners = [self._burner(base) for _ in range(plan.burners or 0)]
        self._clock_file = base / "clock"
        self._clock_file.write_bytes(_SECONDS.pack(0))

    def start(self) -> None:
        """Run the job, from its newest checkpoint if there is one."""
        plan = self.plan
        changes = {
            "state.backend.type": plan.backend,
            "execution.checkpointing.tolerable-failed-checkpoints": "150",
            "execution.checkpointing.timeout": "5 s",  # all of them, one after the other, are over before a transaction is
            "restart-strategy.fixed-delay.attempts": "1000",
            "execution.checkpointing.local-backup.enabled": str(plan.local_recovery).lower(),
            "execution.checkpointing.unaligned.enabled": str(plan.unaligned).lower(),
            "execution.state-recovery.from-local": str(plan.local_recovery).lower(),
            **{key: value for key, value in HEARTBEAT.items() if key in OPTIONS},
        }
        settings = [f"-D{key}={value}" for key, value in (self.workshop.settings() | changes).items()]
        parallelism = str(plan.parallelism_of(self.starts))
        arguments = (plan.topology, self.output.address, str(plan.events), str(plan.rate))
        environment = {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{_SHIFTED_CLOCK}",
            "CHAOS_CLOCK": str(self._clock_file),
        }
        self.program = Program(
            self.workshop, JOB, *settings, "-p", parallelism, "--resume", "--", *arguments, **environment
        )
        if plan.burners is not None:
            self._pin(self.program.pid)
        self.starts += 1

    def exit_status(self) -> int | None:
        """Of the running start; None while it runs."""
        return self._running().process.poll()

    def text(self) -> str:
        """What the running start has printed."""
        return self._running().text()

    def root(self) -> psutil.Process:
        """The client's process, with the JobManager in it."""
        return psutil.Process(self._running().pid)

    def worker(self) -> psutil.Process | None:
        """Any worker."""
        with suppress(psutil.NoSuchProcess):
            found = [process for process in workers(self.root()) if process.pid != self._running().pid]
            return self.random.choice(found) if found else None
        return None

    def kill(self, *, everything: bool) -> None:
        """-9 to the client alone, or to all at the same time."""
        program = self._running()
        if everything:
            program.kill_group()
        else:
            program.kill()

    def set_clock(self, offset_s: int) -> None:
        """Of the job's processes, at once; monotonic clocks go on as they are."""
        with self._clock_file.open("r+b") as file:  # in place: it is mapped into their memory
            file.write(_SECONDS.pack(offset_s))

    def close(self) -> None:
        """End every process and the small disk."""
        for burner in self._burners:
            burner.stop(signal.SIGKILL)
        if self.program is not None and self.program.process.poll() is None:
            with suppress(ProcessLookupError):
                self.program.kill_group()
        self.disk.unmount()

    def _running(self) -> Program:
        assert self.program is not None, "`start` comes first"
        return self.program

    def _burner(self, base: Path) -> LocalProcess:
        """Ends with this process, however that ends."""
        busy = f"import os; os.sched_setaffinity(0, {{{self._core}}})\nwhile True: pass"
        return LocalProcess([sys.executable, "-c", busy], base / "burner.log")

    def _pin(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.sched_setaffinity(pid, {self._core})
