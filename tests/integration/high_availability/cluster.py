"""The windows job under high availability, and eyes for its cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil

from millstream import Configuration
from millstream.runtime.high_availability.records import ClusterRecord, decode_record, encode_record
from millstream.runtime.high_availability.settings import HighAvailability
from millstream.runtime.high_availability.store import RecordConflict
from tests.integration.engine.harness import (
    JOBS,
    ROOT,
    Program,
    Workshop,
    gone,
    is_alive,
    kill_all,
    wait_until,
)

EVENTS = 20_000
RATE = 4_000  # five seconds
SLOW = 100  # for a job that is not to end by itself
STANDBY = (
    "import sys; sys.argv = ['millstream', 'standby', *sys.argv[1:]]; from millstream.cli import main; main()"
)


class HaCluster:
    """Job managers of one cluster, on this host."""

    def __init__(self, workshop: Workshop, keys: dict[str, str]) -> None:
        self.workshop = workshop
        self.keys = {**workshop.settings(), "high-availability.cluster-id": "orders", **keys}
        self._settings = [f"-D{key}={value}" for key, value in self.keys.items()]
        ha = HighAvailability.of(Configuration(self.keys))
        assert ha is not None
        self._store = ha.open_store()
        self._programs: list[Program] = []
        self._workers: list[psutil.Process] = []

    def start(self, job: Path = JOBS / "windows.py", parallelism: int = 2, rate: int = RATE) -> Program:
        """A job manager with the program."""
        return self.start_program(
            job, str(self.workshop.out), str(EVENTS), str(rate), parallelism=parallelism
        )

    def start_program(self, job: Path, *arguments: str, parallelism: int = 2) -> Program:
        """A job manager with any program."""
        program = Program(self.workshop, job, *self._settings, "-p", str(parallelism), "--", *arguments)
        self._programs.append(program)
        return program

    def start_two(self, rate: int = RATE) -> tuple[Program, Program]:
        """The leader, which has completed a checkpoint, and a standby, which waits."""
        # At the same time: on a busy machine the job would be over before the second one has begun.
        one, other = self.start(rate=rate), self.start(rate=rate)
        wait_until(lambda: "leading" in one.text() + other.text(), "a leader")
        leader, standby = (one, other) if "leading" in one.text() else (other, one)
        self.await_text(standby, "waiting")
        self.await_checkpoints(leader)
        return leader, standby

    def start_standby(self, log: Path) -> subprocess.Popen[bytes]:
        """A job manager without a program."""
        command = [sys.executable, "-c", STANDBY, *self._settings]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.workshop.tmp)}
        with log.open("wb") as output:
            return subprocess.Popen(command, stdout=output, stderr=output, env=environment)

    def record(self) -> ClusterRecord:
        """What the cluster's record says now."""
        return decode_record(self._store.read().content)

    def take_record(self) -> ClusterRecord:
        """What a new leader does first, without having waited for anything; then it gives up at once."""
        while True:
            version, content = self._store.read()
            record = decode_record(content)
            taken = msgspec.structs.replace(
                record, revision=record.revision + 1, epoch=record.epoch + 1, leader=None
            )
            try:
                self._store.replace(version, encode_record(taken))
            except RecordConflict:  # the leader had something to say
                continue
            return taken

    def await_checkpoints(self, program: Program, count: int = 1) -> None:
        """That many more are complete than now, as the record says."""

        def newest() -> int:
            job = self.record().job
            return max(job.checkpoints, default=0) if job is not None else 0

        before = newest()
        wait_until(lambda: newest() >= before + count or program.process.poll() is not None, "a checkpoint")
        assert program.process.poll() is None, program.text()

    def await_text(self, program: Program, text: str) -> None:
        """It has printed that."""
        wait_until(lambda: text in program.text() or program.process.poll() is not None, text)
        assert text in program.text(), program.text()

    def workers(self) -> list[psutil.Process]:
        """The workers of the fork server that the record names."""
        entry = self.record().fork_server
        assert entry is not None
        server = psutil.Process(entry.pid)
        found = [child for child in server.children() if is_alive(child)]
        self._workers += [server, *found]
        return found

    def close(self) -> None:
        """Kill what is left, and see to it that a test that passed has left nothing."""
        for program in self._programs:
            program.process.kill()
            program.process.wait()
        kill_all(self._workers)
        psutil.wait_procs(self._workers, timeout=10)
        self._store.close()

    def check_the_end(self) -> None:
        """The output is right, once; of the cluster only a record of the outcome is left, of its processes nothing."""
        self.workshop.check_output(EVENTS)
        record = self.record()
        assert (record.leader, record.job, record.fork_server) == (None, None, None)
        assert record.outcome is not None
        assert record.outcome.status == "FINISHED"
        wait_until(lambda: gone(self._workers), "the end of the workers")
        self.workshop.check_nothing_is_left()
