"""The coordinator, the completed-checkpoint store and the two-phase commit under faults, thousands of decisions a second."""

from __future__ import annotations

import pytest

from millstream.core.errors import ProtocolViolation
from tests.simulation.checkpoint_world import Violation, World
from tests.simulation.mutants.checkpoint_mutants import COORDINATORS, SINKS, STORES
from tests.simulation.seeds import run_seeds

SEEDS_FOR_MUTANTS = 1_000  # the rarest planted bug shows in 8 of 300 seeds


@pytest.mark.parametrize("block", range(4))
def test_commits_only_durable_checkpoints(block):
    # Every run also checks that no retained file is deleted, that no output is doubled or lost, and that the final
    # checkpoint completes once faults have stopped.
    run_seeds("coordinator", range(block * 100, block * 100 + 100))


def test_the_simulation_meets_the_faults_it_is_about():
    worlds = [World(seed) for seed in range(30)]
    for world in worlds:
        world.run()
    assert sum(world.outside.attempts for world in worlds) > 100
    assert sum(world.outside.completed for world in worlds) > 100
    assert sum(world.coordinator.statistics().late_messages for world in worlds) > 20
    assert sum(len(world.outside.aborted) for world in worlds) > 20
    assert sum(len(world.outside.savepoints) for world in worlds) > 20
    assert sum(world.outside.job != "job-1" for world in worlds) > 5


@pytest.mark.parametrize(
    ("place", "mutant"),
    [
        *(("coordinator_type", mutant) for mutant in COORDINATORS),
        *(("store_type", mutant) for mutant in STORES),
        *(("sink_type", mutant) for mutant in SINKS),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_planted_bugs_are_caught(place, mutant):
    for seed in range(SEEDS_FOR_MUTANTS):
        try:
            World(seed, **{place: mutant}).run()
        except (Violation, ProtocolViolation):
            return
    pytest.fail(f"{mutant.__name__} survived {SEEDS_FOR_MUTANTS} seeds")
