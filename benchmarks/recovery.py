"""W9: `python -m benchmarks.recovery`: a worker with 1 GB of state is killed with -9; how long until records come out again?

The time runs from the kill to the first record that the next attempt hands to the sink, restart delay (100 ms) included.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from pathlib import Path

import typer
from rich.console import Console

from millstream import JobClient, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource

from . import figures, jobs
from .state_jobs import VALUE_BYTES, FirstRecordSink, remember
from .watching import await_value, completed_checkpoints, records_in, running

BAR_S = 5.0


def start(folder: Path, backend: str, keys: int) -> JobClient:
    """The job, on one worker in a process of its own, as fast as it can."""
    settings = {
        "taskmanager.mode": "process",
        "state.backend.type": backend,
        "execution.checkpointing.interval": "5 s",
        "execution.checkpointing.dir": str(folder / "checkpoints"),
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.delay": "100 ms",
    }
    env = jobs.environment(settings)
    source = DataGeneratorSource.from_batches(lambda start, stop: list(range(start, stop)), 1 << 40)
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers")
    remember(stream, keys).sink_to(FirstRecordSink(str(folder)))
    return env.execute_async("recovery")


def measure(backend: str, keys: int) -> float:
    """Seconds from the kill to the first record after it."""
    with running(lambda folder: start(folder, backend, keys)) as (client, folder):
        await_value(client, lambda: True if records_in(client) >= keys else None)
        seen = completed_checkpoints(client)
        await_value(client, lambda: True if completed_checkpoints(client) >= seen + 2 else None)
        (pid,) = client.worker_pids().values()
        known = set(folder.glob("first-*"))
        killed_ns = time.time_ns()
        os.kill(pid, signal.SIGKILL)
        await_value(client, lambda: set(folder.glob("first-*")) - known or None)
        (noted,) = set(folder.glob("first-*")) - known
        return (int(noted.read_text()) - killed_ns) / 1e9


def main(backend: str = "rocksdb", size_mb: int = 1_024, runs: int = 3) -> None:
    """Measure RUNS recoveries of SIZE_MB of state on BACKEND."""
    keys = size_mb * 1_000_000 // VALUE_BYTES
    seconds = [measure(backend, keys) for _ in range(runs)]
    median = statistics.median(seconds)
    name = f"W9 kill to first record, {size_mb} MB on {backend}, s"
    outcome = figures.Outcome(name, median, "s", BAR_S, median <= BAR_S, {"seconds": seconds})
    Console().print(figures.as_table([outcome]))
    Console().print(f"written to {figures.write([outcome], 'recovery')}")


if __name__ == "__main__":
    typer.run(main)
