"""Whatever the order of events, each record is counted once: in an operator's state, or in what was under way, never in both."""

from __future__ import annotations

import pytest

from tests.simulation.barrier_world import play
from tests.simulation.mutants.barrier_mutants import MUTANTS
from tests.simulation.seeds import run_seeds

SEEDS_FOR_MUTANTS = 300


@pytest.mark.parametrize("block", range(4))
def test_nothing_is_lost_doubled_or_out_of_order(block: int) -> None:
    run_seeds("barriers", range(block * 60, block * 60 + 60))


def test_the_simulation_meets_what_it_is_about() -> None:
    overtaking = [seed for seed in range(60) if seed % 3]
    assert sum(play(seed) > 0 for seed in overtaking) > len(overtaking) // 2


@pytest.mark.parametrize("mutant", MUTANTS)
def test_planted_bugs_are_caught(mutant: str) -> None:
    for seed in range(SEEDS_FOR_MUTANTS):
        try:
            play(seed, MUTANTS[mutant])
        except AssertionError:
            return
    pytest.fail(f"{mutant} survived {SEEDS_FOR_MUTANTS} seeds")
