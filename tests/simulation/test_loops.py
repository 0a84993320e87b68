"""Loops of any shape run empty, end, and are exactly-once, whatever the order of events."""

from __future__ import annotations

import pytest

from millstream.core.errors import ProtocolViolation
from tests.simulation.loop_world import Violation, World
from tests.simulation.mutants.loop_mutants import ALIGNERS, HEADS
from tests.simulation.seeds import run_seeds

SEEDS_FOR_MUTANTS = 100


@pytest.mark.parametrize("block", range(4))
def test_what_goes_round_comes_out_once_through_kills_and_every_loop_ends(block) -> None:
    run_seeds("loops", range(block * 10, block * 10 + 10))


def test_the_simulation_meets_what_it_is_about() -> None:
    worlds = [World(seed, kills=3) for seed in range(20)]
    for world in worlds:
        assert world.run()
    assert sum(world.restores for world in worlds) > 10
    assert sum(world.checkpoints for world in worlds) > 20
    assert sum(world.records_in_checkpoints for world in worlds) > 20


@pytest.mark.parametrize(
    ("place", "mutant"),
    [*(("head_type", mutant) for mutant in HEADS), *(("aligner_type", mutant) for mutant in ALIGNERS)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_planted_bugs_are_caught(place, mutant) -> None:
    for seed in range(SEEDS_FOR_MUTANTS):
        try:
            found = World(seed, **{place: mutant}).run()
        except (Violation, ProtocolViolation):
            return
        if found != World(seed).run():
            return
    pytest.fail(f"{mutant.__name__} was not noticed")
