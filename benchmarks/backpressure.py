"""`python -m benchmarks.backpressure`: how long checkpoints take when every channel is full, against a job that idles.

The bar: with unaligned checkpoints at most twice as long.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import typer
from rich.console import Console

from millstream import JobClient, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy

from . import figures, jobs
from .watching import await_value, completed_checkpoints, records_in, running

BAR = 2.0
IDLE_RECORDS_PER_S = 100
WORK_S = 0.000_5
"""What the slow function takes for a record: two subtasks take 4,000 a second, the source makes far more."""


def work(number: int) -> int:
    """Spend `WORK_S` of processor time."""
    ends = time.perf_counter() + WORK_S
    while time.perf_counter() < ends:
        pass
    return number


def start(folder: Path, *, idle: bool, unaligned: bool) -> JobClient:
    """source -> exchange by key -> slow map -> exchange -> slow map, on two workers."""
    settings = {
        "parallelism.default": "2",
        "execution.checkpointing.interval": "1 s",
        "execution.checkpointing.dir": str(folder / "checkpoints"),
        "execution.checkpointing.unaligned.enabled": str(unaligned).lower(),
    }
    env = jobs.environment(settings)
    limit = RateLimiterStrategy.per_second(IDLE_RECORDS_PER_S) if idle else None
    source = DataGeneratorSource.from_batches(
        lambda start, stop: list(range(start, stop)), 1 << 40, rate_limiter_strategy=limit
    )
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers")
    keyed = stream.key_by(lambda number: number % 1_000, key_type=int)
    keyed.map(work).rebalance().map(work).sink_to(jobs.CountingSink(str(folder)))
    return env.execute_async("backpressure")


def durations_ms(checkpoints: int, *, idle: bool, unaligned: bool) -> list[int]:
    """Durations of so many checkpoints in a row, once channels have had the time to fill."""
    with running(lambda folder: start(folder, idle=idle, unaligned=unaligned)) as (client, _):
        await_value(client, lambda: True if records_in(client) >= IDLE_RECORDS_PER_S else None)
        first = completed_checkpoints(client) + 2
        found = []
        for number in range(first, first + checkpoints):
            await_value(
                client, lambda number=number: True if completed_checkpoints(client) >= number else None
            )
            seen = client.statistics().checkpoints
            assert seen is not None
            assert seen.last_completed is not None
            found.append(seen.last_completed.duration_ms)
        return found


def main(checkpoints: int = 30) -> None:
    """Measure CHECKPOINTS checkpoints in each of three jobs."""
    idle = durations_ms(checkpoints, idle=True, unaligned=False)
    unaligned = durations_ms(checkpoints, idle=False, unaligned=True)
    aligned = durations_ms(checkpoints, idle=False, unaligned=False)
    base = max(statistics.median(idle), 1)
    outcomes = [
        _outcome("unaligned checkpoint under backpressure / idle", unaligned, idle, base, BAR),
        _outcome("aligned checkpoint under backpressure / idle", aligned, idle, base, float("inf")),
    ]
    Console().print(figures.as_table(outcomes))
    Console().print(f"written to {figures.write(outcomes, 'backpressure')}")


def _outcome(name: str, subject: list[int], idle: list[int], base: float, bar: float) -> figures.Outcome:
    ratio = statistics.median(subject) / base
    return figures.Outcome(name, ratio, "x", bar, ratio <= bar, {"ms": subject, "idle_ms": idle})


if __name__ == "__main__":
    typer.run(main)
