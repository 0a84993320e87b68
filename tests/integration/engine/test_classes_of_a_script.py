"""Classes that a script defines beside its job, as records in worker processes, which cannot import the script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

SCRIPT = """
import os

import msgspec

from millstream import Configuration, StreamExecutionEnvironment


class Place(msgspec.Struct, frozen=True):
    city: str


class Visit(msgspec.Struct):
    place: Place
    count: int = 1
    processes: frozenset[int] = frozenset()

    def with_one_of(self, other: "Visit") -> "Visit":
        return Visit(self.place, self.count + other.count, self.processes | other.processes | {os.getpid()})


def visit(number: int) -> Visit:
    return Visit(Place(f"city {number % 7}"), processes=frozenset({os.getpid()}))


if __name__ == "__main__":
    env = StreamExecutionEnvironment.get_execution_environment(Configuration({"parallelism.default": 2}))
    visits = env.from_collection(list(range(70))).rebalance().map(visit)
    totals = visits.key_by(lambda one: one.place).reduce(Visit.with_one_of)
    newest = {}
    with totals.execute_and_collect() as results:
        for total in results:
            assert type(total) is Visit and type(total.place) is Place, total
            newest[total.place] = max(newest.get(total.place, total), total, key=lambda one: one.count)
    for place, total in sorted(newest.items(), key=lambda item: item[0].city):
        print(place.city, total.count)
    processes = frozenset().union(*(total.processes for total in newest.values()))
    print(len(processes), "workers,", "one of them here" if os.getpid() in processes else "none of them here")
"""


def test_structs_of_a_script_are_records_keys_and_state_of_two_worker_processes(tmp_path: Path) -> None:
    script = tmp_path / "visits.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [*(f"city {number} 10" for number in range(7)), "2 workers, none of them here"]
    assert done.stdout.splitlines() == expected
