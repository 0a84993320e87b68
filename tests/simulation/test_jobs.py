"""Whole jobs give each result once, and end, whatever dies, stops, fills up or gets lost."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.job_world import World
from tests.simulation.model_kafka import Violation
from tests.simulation.mutants.job_mutants import MUTANTS
from tests.simulation.seeds import run_seeds

SEEDS_FOR_MUTANTS = 300
HARSH = 0.012
MILD = 0.004


@pytest.mark.parametrize("block", range(4))
def test_every_result_comes_out_once_and_every_job_ends(block) -> None:
    run_seeds("jobs", range(block * 50, block * 50 + 50))


def test_the_simulation_meets_the_faults_it_is_about() -> None:
    counts: Counter[str] = Counter()
    for seed in range(40):
        world = World(seed, danger=MILD if seed % 2 else HARSH)
        world.run()
        counts["checkpoints"] += world.checkpoints
        counts["restarts"] += world.restarts
        counts["deaths of the JobManager"] += world.job_manager_deaths
        counts["deaths"] += sum(cluster.deaths for cluster in world.clusters)
        counts["lost notifications"] += sum(cluster.lost_notifications for cluster in world.clusters)
    assert counts["checkpoints"] > 80
    assert counts["restarts"] > 100
    assert counts["deaths of the JobManager"] > 60
    assert counts["deaths"] > 40
    assert counts["lost notifications"] > 20


@pytest.mark.parametrize("plant", MUTANTS, ids=lambda plant: plant.__name__)
def test_planted_bugs_are_caught(plant) -> None:
    for seed in range(SEEDS_FOR_MUTANTS):
        try:
            World(seed, plant, MILD if seed % 2 else HARSH).run()
        except Violation:
            return
    pytest.fail(f"{plant.__name__} survived {SEEDS_FOR_MUTANTS} seeds")
