from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console


def run_demo(folder: Path, *arguments: str, **environment: str) -> str:
    """What the demo prints where there is no terminal; it has to end well."""
    root = folder.parent
    done = subprocess.run(
        [sys.executable, str(folder / "demo.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_demo_kills_a_worker_and_its_output_is_right(examples_folder) -> None:
    output = run_demo(examples_folder)
    assert "kill -9 of worker" in output
    assert "restarts: 1." in output
    assert "The output is right: 1,631 windows, each exactly once" in output


@pytest.mark.slow
def test_the_demo_on_kafka_kills_a_worker_and_its_output_is_right(examples_folder, kafka) -> None:
    output = run_demo(examples_folder, "--kafka", MILLSTREAM_TEST_KAFKA=kafka.bootstrap_servers)
    assert "kill -9 of worker" in output
    assert "restarts: 1." in output
    assert "The output is right: 1,631 windows, each exactly once" in output


@pytest.fixture
def demo(monkeypatch):
    import demo

    monkeypatch.setattr(demo, "CLICKS", demo.Clickstream(seed=1, clicks=2_000))
    yield demo
    for module in ("clickstream", "demo", "demo_ends", "demo_view"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda rows: rows, "The output is right"),
        (lambda rows: rows[::-1], "The output is right"),
        (lambda rows: rows[1:], "missing: 1 windows"),
        (lambda rows: [*rows, rows[0]], "too many: 1 windows"),
        (lambda rows: [rows[0]._replace(cents=1), *rows[1:]], "missing: 1 windows"),
    ],
)
def test_the_comparison_sees_what_is_missing_doubled_or_wrong(demo, change, verdict) -> None:
    text = io.StringIO()
    rows = demo.CLICKS.sales(demo.WINDOW.to_millis())
    with demo.View(Console(file=text)) as view:
        right = demo.compare(change(rows), view)
    assert verdict in text.getvalue()
    assert right == (verdict == "The output is right")


def test_the_aggregate_gives_the_same_totals_in_any_grouping(demo) -> None:
    sum_up = demo.SumUp()
    whole = one = other = sum_up.create_accumulator()
    for index, click in enumerate(demo.CLICKS):
        whole = sum_up.add(click, whole)
        if index % 3:
            one = sum_up.add(click, one)
        else:
            other = sum_up.add(click, other)
    assert sum_up.merge(one, other) == whole
    assert sum(whole[:2]) == 2_000


def test_unfinished_files_are_not_counted(demo, tmp_path) -> None:
    ends = demo.FileEnds(tmp_path)
    row = demo.CLICKS.sales(60_000)[0]
    (tmp_path / ".sales-1.csv.inprogress.x.1").write_text(f"{row.to_line()}\n")
    (tmp_path / "sales-0.csv").write_text(f"{row.to_line()}\n")
    assert ends.count_committed() == 1
    assert ends.committed() == [row]


def test_elsewhere_than_on_a_terminal_each_tenth_is_a_line(demo) -> None:
    text = io.StringIO()
    with demo.View(Console(file=text)) as view:
        for percent in range(101):
            view.show(demo.Gauges(progress=percent / 100, clicks=percent))
    assert len(text.getvalue().splitlines()) == 10
