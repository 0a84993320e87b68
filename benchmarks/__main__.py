"""`python -m benchmarks [--runs N] [--only TEXT]`: measures, prints the table, writes `benchmarks/results/<date>-<commit>.json`.

Every measurement runs in a process of its own; the two sides of a row take turns; a row's ratio is that of the medians.
The answers of both sides are compared on every run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

import typer
from rich.console import Console
from rich.progress import Progress

from .figures import ROOT, Outcome, as_table, write
from .rows import EXCHANGE, EXCHANGE_BAR_PER_S, ROWS, START_BAR_S, Measurement, Row


def measure(measurement: Measurement) -> tuple[float, int]:
    """Seconds and number of results of one run."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {key: value.replace("{folder}", folder) for key, value in measurement.settings.items()}
        request = json.dumps(replace(measurement, settings=settings).request())
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.measure", request],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        sys.exit(f"measuring {request} failed:\n{done.stderr}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["seconds"], answer["results"]


def run_row(row: Row, runs: int) -> Outcome:
    """Measure both sides in turn."""
    subject: list[float] = []
    baseline: list[float] = []
    for _ in range(runs):
        seconds, results = measure(row.baseline)
        baseline.append(seconds)
        own_seconds, own_results = measure(row.subject)
        subject.append(own_seconds)
        if own_results != results:
            sys.exit(f"{row.name}: {own_results} results, but the baseline has {results}")
    ratio = statistics.median(baseline) / statistics.median(subject)
    details = {
        "records": row.subject.records,
        "seconds": subject,
        "baseline_seconds": baseline,
        "records_per_s": row.subject.records / statistics.median(subject),
        "baseline_records_per_s": row.baseline.records / statistics.median(baseline),
        "lowest_ratio": min(baseline) / max(subject),
        "highest_ratio": max(baseline) / min(subject),
    }
    return Outcome(row.name, ratio, "x", row.bar, ratio >= row.bar, details)


def run_exchange(runs: int) -> Outcome:
    """Records per second between two processes, (str, int, int)."""
    seconds = [measure(EXCHANGE)[0] for _ in range(runs)]
    rate = EXCHANGE.records / statistics.median(seconds)
    name = "exchange between two processes, records/s"
    return Outcome(name, rate, "/s", EXCHANGE_BAR_PER_S, rate >= EXCHANGE_BAR_PER_S, {"seconds": seconds})


def run_start(runs: int) -> Outcome:
    """W10: from the start of `python job.py` to its first line of output."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.one_row_job"], cwd=ROOT, stdout=subprocess.PIPE
        ) as job:
            assert job.stdout is not None
            line = job.stdout.readline()
            seconds.append(time.perf_counter() - started)
        if line.strip() != b"2":
            sys.exit(f"the one-row job printed {line!r}")
    median = statistics.median(seconds)
    return Outcome(
        "W10 one-row job to its first line, s",
        median,
        "s",
        START_BAR_S,
        median <= START_BAR_S,
        {"seconds": seconds},
    )


def main(runs: int = 3, only: str = "") -> None:
    """Measure everything whose name contains ONLY."""
    console = Console()
    jobs = [(row.name, lambda row=row: run_row(row, runs)) for row in ROWS]
    jobs += [("exchange", lambda: run_exchange(runs)), ("W10 start", lambda: run_start(runs))]
    chosen = [(name, job) for name, job in jobs if only.lower() in name.lower()]
    outcomes = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=len(chosen))
        for name, job in chosen:
            progress.update(task, description=name)
            outcomes.append(job())
            progress.advance(task)
    console.print(as_table(outcomes))
    if not only:
        console.print(f"written to {write(outcomes)}")


if __name__ == "__main__":
    typer.run(main)
