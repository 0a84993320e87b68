"""A whole job whose checkpoints are in S3: killed with -9, resumed, and its output is there once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from millstream.checkpoint.catalog import list_checkpoints, load, verify
from tests.integration.engine.harness import JOBS, Program, Workshop, wait_until

EVENTS = 60_000


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def run(workshop: Workshop, bucket: str, backend: str, rate: int) -> Program:
    changes = {"execution.checkpointing.dir": f"{bucket}/checkpoints", "state.backend.type": backend}
    settings = [f"-D{key}={value}" for key, value in (workshop.settings() | changes).items()]
    arguments = (*settings, "-p", "2", "--resume", "--", str(workshop.out), str(EVENTS), str(rate))
    return Program(workshop, JOBS / "windows.py", *arguments)


def worker_of(program: Program) -> psutil.Process:
    """Any worker: the fork server has children, and none of them has."""
    return next(process for process in program.descendants() if not process.children())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_kill_9_of_a_worker_then_of_everything_and_a_resumed_job(
    workshop: Workshop, s3_bucket: str, backend: str
) -> None:
    url = f"{s3_bucket}/checkpoints"

    def newest() -> int:
        return max((info.checkpoint_id for info in list_checkpoints(url) if info.complete), default=0)

    program = run(workshop, s3_bucket, backend, rate=4_000)
    wait_until(lambda: newest() >= 2, "two checkpoints in the bucket")
    before = newest()
    os.kill(worker_of(program).pid, signal.SIGKILL)
    wait_until(lambda: newest() >= before + 2, "two more after the worker was killed")
    program.kill_group()
    assert "killed by signal 9" in program.text()
    resumed = run(workshop, s3_bucket, backend, rate=10**6)
    assert resumed.end() == 0, resumed.text()
    workshop.check_output(EVENTS)
    infos = list_checkpoints(url)
    assert 1 <= len(infos) <= 3
    for info in infos:
        assert info.problem is None
        verify(load(info.path), content=True)
