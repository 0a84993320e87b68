"""A job that loses a worker to kill -9, and output that does not show it. Half a minute; run it with `make demo`.

The clicks of a shop (`clickstream.py`) are counted per product and minute of event time, by two worker processes. The counts
go to files, or with `--kafka` from one Kafka topic to another. A checkpoint is taken every 300 ms. When half of the clicks
are read, the demo kills one of its own workers with SIGKILL: the job goes on from its latest checkpoint. At the end, what
the job committed is compared with a plain loop over all clicks. Every window has to be there exactly once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from clickstream import MAX_DISORDER_MS, Click, Clickstream, Sales
from demo_ends import Ends, FileEnds
from demo_view import Gauges, View

from millstream import (
    AggregateFunction,
    Configuration,
    Duration,
    JobClient,
    JobExecutionResult,
    MillstreamError,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)

CLICKS = Clickstream(seed=2026, clicks=240_000)
CLICKS_PER_SECOND = 24_000  # slow enough to watch
WINDOW = Duration.of_minutes(1)
WORKERS = 2

Totals = tuple[int, int, int]


class SumUp(AggregateFunction[Click, Totals, Totals]):
    """Views, purchases and cents of the clicks of a window, kept as three numbers."""

    def create_accumulator(self) -> Totals:
        return 0, 0, 0

    def add(self, value: Click, accumulator: Totals) -> Totals:
        views, purchases, cents = accumulator
        if value.cents:
            return views, purchases + 1, cents + value.cents
        return views + 1, purchases, cents

    def get_result(self, accumulator: Totals) -> Totals:
        return accumulator

    def merge(self, acc_a: Totals, acc_b: Totals) -> Totals:
        return acc_a[0] + acc_b[0], acc_a[1] + acc_b[1], acc_a[2] + acc_b[2]


class NameWindow(ProcessWindowFunction[Totals, Sales, str]):
    """Puts product and window beside the totals."""

    def process(
        self, key: str, context: ProcessWindowFunction.Context, elements: Iterable[Totals]
    ) -> Iterable[Sales]:
        window = context.window()
        for totals in elements:
            yield Sales(key, window.start, window.end, *totals)


def declare_job(env: StreamExecutionEnvironment, ends: Ends) -> None:
    """The job itself: where it reads, what it computes, where it writes."""
    event_time = WatermarkStrategy.for_bounded_out_of_orderness(
        Duration.of_millis(MAX_DISORDER_MS)
    ).with_timestamp_assigner(lambda click, _: click.time_ms)
    (
        env.from_source(ends.source(CLICKS, CLICKS_PER_SECOND), event_time, "Clicks")
        .key_by(lambda click: click.product)
        .window(TumblingEventTimeWindows.of(WINDOW))
        .aggregate(SumUp(), NameWindow())
        .name("Sales per minute")
        .sink_to(ends.sink())
    )


def configuration(checkpoints: Path) -> Configuration:
    """Two workers, state in RocksDB, and a checkpoint every 300 ms."""
    settings = {
        "parallelism.default": str(WORKERS),
        "taskmanager.mode": "process",
        "state.backend.type": "rocksdb",
        "execution.checkpointing.interval": "300 ms",
        "execution.checkpointing.timeout": "1 min",
        "execution.checkpointing.dir": str(checkpoints),
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "3",
        "restart-strategy.fixed-delay.delay": "300 ms",
    }
    result = Configuration()
    for key, value in settings.items():
        result.set_string(key, value)
    return result


class Watch:
    """Looks at the running job from time to time."""

    def __init__(self, job: JobClient, ends: Ends) -> None:
        self._job = job
        self._ends = ends
        self._progress = 0.0

    def look(self) -> Gauges:
        """The job now."""
        statistics = self._job.statistics()
        source, *_, windows = statistics.vertices
        if windows.watermark is not None:  # it has none yet, or none yet after a restart
            self._progress = max(self._progress, CLICKS.progress_at(windows.watermark))
        return Gauges(
            progress=self._progress,
            clicks=source.records_in,
            windows=self._ends.count_committed(),
            checkpoints=statistics.checkpoints.completed if statistics.checkpoints else 0,
            restarts=statistics.restarts,
            status=statistics.status.value,
        )


def watch_and_kill(job: JobClient, ends: Ends, view: View) -> JobExecutionResult:
    """Show how the job goes on until it ends. Midway, kill one of its workers."""
    watch = Watch(job, ends)
    killed = restarted = False
    while True:
        try:
            result = job.wait(timeout_s=0.1)
        except TimeoutError:
            gauges = watch.look()
            view.show(gauges)
        else:
            view.show(watch.look())
            return result
        if not killed and gauges.progress >= 0.5:
            killed = True
            kill_one_worker(job, gauges, view)
        elif not restarted and gauges.restarts:
            restarted = True
            checkpoint = Path(job.statistics().latest_checkpoint or "the beginning").name
            view.say(f"[bold green]The job goes on[/] from {checkpoint}")


def kill_one_worker(job: JobClient, gauges: Gauges, view: View) -> None:
    """SIGKILL: the worker has no chance to save, close or say anything."""
    worker_id, pid = max(job.worker_pids().items())
    os.kill(pid, signal.SIGKILL)
    view.say(
        f"[bold red]kill -9[/] of worker {worker_id} (process {pid}) at {gauges.progress:.0%}, "
        f"after {gauges.checkpoints} checkpoints"
    )


def compare(committed: list[Sales], view: View) -> bool:
    """Whether the output is what a loop over all clicks gives: every window once, with the same totals."""
    expected = Counter(CLICKS.sales(WINDOW.to_millis()))
    found = Counter(committed)
    if found == expected:
        view.say(
            f"[bold green]The output is right:[/] {len(committed):,} windows, each exactly once, "
            f"equal to a loop over all {CLICKS.clicks:,} clicks"
        )
        return True
    wrong = {"missing": expected - found, "too many": found - expected}
    for what, rows in wrong.items():
        for row in list(rows)[:1]:
            view.say(f"[bold red]{what}: {rows.total():,} windows[/], e.g. {row}")
    return False


def run(ends: Ends, checkpoints: Path) -> bool:
    """The whole demo; whether the output is right."""
    with View() as view:
        env = StreamExecutionEnvironment.get_execution_environment(configuration(checkpoints))
        declare_job(env, ends)
        view.say(
            f"{CLICKS.clicks:,} clicks at {CLICKS_PER_SECOND:,} a second, {WORKERS} workers, {ends.description}"
        )
        with ends.feeding(CLICKS, CLICKS_PER_SECOND):
            job = env.execute_async("shop-sales")
            try:
                result = watch_and_kill(job, ends, view)
            finally:
                job.cancel_and_wait()
        view.say(
            f"Finished after {result.net_runtime_ms / 1000:.1f} s; restarts: {result.statistics.restarts}. "
            "Now the same by a plain loop ..."
        )
        return compare(ends.committed(), view)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 if the output was right."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kafka", action="store_true", help="from a Kafka topic to another, instead of to files"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="millstream-demo-") as folder:
        try:
            with choose_ends(Path(folder), kafka=options.kafka) as ends:
                right = run(ends, Path(folder, "checkpoints"))
        except MillstreamError as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0 if right else 1


def choose_ends(folder: Path, *, kafka: bool) -> AbstractContextManager[Ends]:
    """Kafka is imported only where it is wanted: it is an extra."""
    if not kafka:
        return nullcontext(FileEnds(folder / "sales"))
    from demo_kafka import kafka_ends

    return kafka_ends()


if __name__ == "__main__":
    sys.exit(main())
