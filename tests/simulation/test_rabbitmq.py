"""Every message of a queue is counted once, and the queue ends empty: whatever is lost, killed, late or restored."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.mutants.rabbitmq_mutants import READERS
from tests.simulation.rabbitmq_world import Violation, World
from tests.simulation.seeds import run_seeds

SEEDS_FOR_MUTANTS = 3_000


@pytest.mark.parametrize("block", range(4))
def test_every_message_counts_once_and_the_queue_ends_empty(block: int) -> None:
    run_seeds("rabbitmq", range(block * 100, block * 100 + 100))


def test_the_simulation_meets_the_faults_it_is_about() -> None:
    counts: Counter[str] = Counter()
    restored = 0
    for seed in range(100):
        world = World(seed).run()
        counts.update(world.counts)
        restored += world.completed is not None
    assert counts["drop"] > 500
    assert counts["crash"] > 200
    assert counts["restore"] > 200
    assert restored == 100


@pytest.mark.parametrize("mutant", READERS, ids=lambda mutant: mutant.__name__)
def test_planted_bugs_are_caught(mutant: type) -> None:
    for seed in range(SEEDS_FOR_MUTANTS):
        try:
            World(seed, mutant).run()
        except Violation:
            return
    pytest.fail(f"{mutant.__name__} survived {SEEDS_FOR_MUTANTS} seeds")
