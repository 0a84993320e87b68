"""Regions restart on their own, never overlap, and every job ends: whatever dies, hangs or comes late."""

from __future__ import annotations

from collections import Counter

import pytest

from millstream.core.errors import ProtocolViolation
from tests.simulation.mutants.scheduler_mutants import SCHEDULERS
from tests.simulation.scheduler_world import Violation, World
from tests.simulation.seeds import run_seeds

SEEDS_FOR_MUTANTS = 1_000


@pytest.mark.parametrize("block", range(4))
def test_attempts_of_a_region_never_overlap_and_every_job_ends(block) -> None:
    run_seeds("scheduler", range(block * 100, block * 100 + 100))


def test_the_simulation_meets_the_faults_it_is_about() -> None:
    counts: Counter[str] = Counter()
    outcomes = set()
    for seed in range(150):
        world = World(seed).run()
        counts.update(world.counts)
        outcomes.add(type(world.outcome).__name__)
    assert outcomes == {"JobFinished", "JobFailed", "JobCancelled"}
    assert counts["deaths"] > 300
    assert counts["regional"] > 50
    assert counts["deployments"] > 300


@pytest.mark.parametrize("mutant", SCHEDULERS, ids=lambda mutant: mutant.__name__)
def test_planted_bugs_are_caught(mutant) -> None:
    for seed in range(SEEDS_FOR_MUTANTS):
        try:
            World(seed, scheduler_type=mutant).run()
        except (Violation, ProtocolViolation, AssertionError):
            return
    pytest.fail(f"{mutant.__name__} survived {SEEDS_FOR_MUTANTS} seeds")
