"""Measured figures: a table for the reader, a dated file for the record."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Outcome:
    """A measured row. `values` and `baseline_values` are seconds, one per run."""

    name: str
    value: float
    unit: str
    bar: float
    reached: bool
    details: dict[str, Any]


def as_table(outcomes: list[Outcome]) -> Table:
    """The figures beside their bars."""
    table = Table(title="median of the runs; ratios are of throughputs")
    for column in ("what", "measured", "range", "bar", "records/s"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for outcome in outcomes:
        details = outcome.details
        low, high = details.get("lowest_ratio"), details.get("highest_ratio")
        rate = details.get("records_per_s")
        table.add_row(
            outcome.name,
            f"[{'green' if outcome.reached else 'red'}]{_number(outcome.value, outcome.unit)}",
            "" if low is None or high is None else f"{low:.2f}-{high:.2f}",
            _number(outcome.bar, outcome.unit),
            "" if rate is None else f"{rate:,.0f}",
        )
    return table


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f}" if unit == "/s" else f"{value:.2f}"


def write(outcomes: list[Outcome], label: str = "") -> Path:
    """The dated result file, with machine and versions; its name ends with the label."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    now = datetime.now(UTC)
    names = (f"{now:%Y-%m-%d}", commit.stdout.strip() or "no-commit", label)
    name = "-".join(filter(None, names)) + ".json"
    content = {
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": {
            "cpu_count": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
        },
        "load_average_at_end": os.getloadavg(),
        "rows": [
            {
                "name": o.name,
                "value": o.value,
                "unit": o.unit,
                "bar": o.bar,
                "reached": o.reached,
                **o.details,
            }
            for o in outcomes
        ],
    }
    path = ROOT / "benchmarks" / "results" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path.relative_to(ROOT)
