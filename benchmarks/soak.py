"""`python -m benchmarks.soak`: a job with expiring state for half an hour: memory must stay flat once the state has its size.

Keys come for a while and never again; their state expires after `TTL_S`. Sampled once a second: resident memory of the worker and
blocks that its Python allocator has given out. Flat means: the mean of the last quarter is at most 5 % above that of the second.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import track

from millstream import JobClient, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy

from . import figures, jobs
from .state_jobs import FirstRecordSink, remember
from .watching import rss_bytes, running

BAR = 1.05
TTL_S = 20
RECORDS_PER_S = 2_000


def start(folder: Path, backend: str) -> JobClient:
    """The job, on one worker in a process of its own."""
    settings = {
        "taskmanager.mode": "process",
        "state.backend.type": backend,
        "execution.checkpointing.interval": "5 s",
        "execution.checkpointing.dir": str(folder / "checkpoints"),
    }
    env = jobs.environment(settings)
    source = DataGeneratorSource.from_batches(
        lambda start, stop: list(range(start, stop)),
        1 << 40,
        rate_limiter_strategy=RateLimiterStrategy.per_second(RECORDS_PER_S),
    )
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers")
    remember(stream, 1 << 40, TTL_S).sink_to(FirstRecordSink(str(folder)))
    return env.execute_async("soak")


def sample(client: JobClient) -> tuple[int, int]:
    """Resident bytes of the worker, and blocks in use."""
    (pid,) = client.worker_pids().values()
    blocks = 0
    for vertex in client.statistics().vertices:
        for operator in vertex.operators:
            for gauge in operator.metrics.get("allocated_blocks", {}).values():
                blocks = int(gauge.value)  # type: ignore[union-attr]
    return rss_bytes(pid), blocks


def growth(samples: list[int]) -> float:
    """The last quarter's mean over that of the second."""
    quarter = len(samples) // 4
    return statistics.mean(samples[-quarter:]) / statistics.mean(samples[quarter : 2 * quarter])


def main(backend: str = "hashmap", minutes: float = 30) -> None:
    """Watch the job on BACKEND for MINUTES."""
    samples: list[tuple[int, int]] = []
    with running(lambda folder: start(folder, backend)) as (client, _):
        for _ in track(range(int(minutes * 60)), description="sampling"):
            time.sleep(1)
            if client.status.is_terminal():
                client.wait()
            if client.worker_pids():
                samples.append(sample(client))
    outcomes = []
    for what, values in zip(("resident memory", "allocated blocks"), zip(*samples, strict=True), strict=True):
        series = [value for value in values if value]
        ratio = growth(series)
        details = {"minutes": minutes, "every_10_s": series[::10]}
        name = f"{what} over {minutes:g} minutes on {backend}, last quarter / second"
        outcomes.append(figures.Outcome(name, ratio, "x", BAR, ratio <= BAR, details))
    Console().print(figures.as_table(outcomes))
    Console().print(f"written to {figures.write(outcomes, f'soak-{backend}')}")


if __name__ == "__main__":
    typer.run(main)
