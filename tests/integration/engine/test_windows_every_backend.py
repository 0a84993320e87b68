"""Event-time windows, tumbling and sliding, pre-aggregated and not, on every backend, while the source fails and each restart is at
another parallelism: each key gets each window once, with the exact sum.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.integration.engine.harness import JOBS, Program, Workshop, problem
from tests.integration.engine.jobs.window_kinds import expected_lines

EVENTS = 40_000
RATE = 10_000
RUNS = (("2", 2_000), ("3", 12_000), ("1", 22_000), ("2", 0))
"""Parallelism of each run, and the record that its source fails at."""
BACKENDS = [
    "hashmap",
    "rocksdb",
    "postgresql",
    "redis",
]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_key_gets_each_window_once_with_the_exact_sum(
    workshop: Workshop, backend: str, request: pytest.FixtureRequest
) -> None:
    settings = workshop.settings(state_backend_type=backend, restart__strategy_type="none")
    if backend in ("postgresql", "redis"):
        server = request.getfixturevalue("postgresql" if backend == "postgresql" else "redis_server")
        settings[f"state.backend.{backend}.url"] = server.url
    options = [part for key, value in settings.items() for part in ("-D", f"{key}={value}")]
    for number, (parallelism, fails_at) in enumerate(RUNS):
        arguments = (workshop.out, EVENTS, RATE, workshop.checkpoints, workshop.faults, fails_at)
        program = Program(
            workshop,
            JOBS / "window_kinds.py",
            *options,
            *("-p", parallelism, "--resume", "--", *map(str, arguments)),
        )
        status = program.end()
        assert (status == 0) == (number == len(RUNS) - 1), program.text()
        if status:
            assert "planned" in program.text()
    assert len(list(workshop.faults.glob("failed-*"))) == len(RUNS) - 1
    committed = workshop.committed()
    assert committed == Counter(expected_lines(EVENTS)), problem(committed, expected_lines(EVENTS))
    assert workshop.hidden() == []
    workshop.check_nothing_is_left()
