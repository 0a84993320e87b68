"""One measurement in a process of its own: `python -m benchmarks.measure '<json>'` prints seconds and results as JSON."""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import data, jobs, loops


def main(argument: str) -> None:
    """`{"engine": "loop"|"job", "workload": ..., "records": n, "settings": {...}, "source": "collection"|"generator"}`"""
    request = json.loads(argument)
    measure = measure_loop if request["engine"] == "loop" else measure_job
    seconds, results = measure(request)
    print(json.dumps({"seconds": seconds, "results": results}))


def _input(request: dict[str, Any]) -> Sequence[Any]:
    count = request["records"]
    return data.lines(0, count // 10) if request["workload"] == "w2" else data.events(0, count)


def measure_loop(request: dict[str, Any]) -> tuple[float, int]:
    """The calling loop over events in memory."""
    values = _input(request)
    loop = getattr(loops, request["workload"])
    gc.collect()
    started = time.perf_counter()
    results = loop(values)
    return time.perf_counter() - started, results


def measure_job(request: dict[str, Any]) -> tuple[float, int]:
    """A whole job, from `execute()` to its return."""
    env = jobs.environment(request["settings"])
    if request["source"] == "collection":
        stream = env.from_collection(_input(request))
    else:
        from millstream import WatermarkStrategy
        from millstream.connectors.datagen import DataGeneratorSource

        # For the exchange the events are the same few, so that making them is not what is measured.
        make = data.repeated_events if request["workload"] == "exchange" else data.events
        source = DataGeneratorSource.from_batches(make, request["records"])
        stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "events")
    with tempfile.TemporaryDirectory() as folder:
        jobs.WORKLOADS[request["workload"]](stream).sink_to(jobs.CountingSink(folder))
        gc.collect()
        started = time.perf_counter()
        env.execute("benchmark")
        seconds = time.perf_counter() - started
        results = sum(int(path.read_text()) for path in Path(folder).iterdir())
    return seconds, results


if __name__ == "__main__":
    main(sys.argv[1])
