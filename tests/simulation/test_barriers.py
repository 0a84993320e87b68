"""Whatever the order of events, each record is counted once: in an operator's state, or in what was under way, never in both."""

from __future__ import annotations

from random import Random

import pytest

from millstream.runtime.worker.input_task import InputTask
from tests.simulation.barrier_world import DIAMOND, Parts, State, World, play
from tests.simulation.mutants.barrier_mutants import MUTANTS
from tests.simulation.seeds import run_seeds

SEEDS_FOR_MUTANTS = 300


@pytest.mark.parametrize("block", range(4))
def test_nothing_is_lost_doubled_or_out_of_order(block: int) -> None:
    run_seeds("barriers", range(block * 60, block * 60 + 60))


@pytest.mark.parametrize("block", range(2))
def test_barriers_that_overtake_on_one_way_and_not_on_the_other_hold_nothing_up(block: int) -> None:
    run_seeds("diamonds", range(block * 60, block * 60 + 60))


def test_the_simulation_meets_what_it_is_about() -> None:
    overtaking = [seed for seed in range(60) if seed % 3]
    assert sum(play(seed) > 0 for seed in overtaking) > len(overtaking) // 2


class StandsStill(InputTask):
    """The last layer takes nothing more, as before a sink that hangs."""

    def _may_take_input(self) -> bool:
        return self.subtask.vertex.index < 2


@pytest.mark.parametrize(("overtake_after_ms", "completes"), [(None, False), (0, True), (5, True)])
def test_a_job_that_stands_still_completes_checkpoints_if_barriers_overtake(
    overtake_after_ms: int | None, completes: bool
) -> None:
    for seed in range(20):
        world = World(Random(seed), State(), [2, 2, 2], overtake_after_ms, Parts(task=StandsStill))
        world.run_quietly(1_000)
        assert world.completes_a_checkpoint(1_000) is completes


@pytest.mark.parametrize("mutant", MUTANTS)
def test_planted_bugs_are_caught(mutant: str) -> None:
    for seed in range(SEEDS_FOR_MUTANTS):
        try:
            play(seed, MUTANTS[mutant])
            play(seed, MUTANTS[mutant], DIAMOND)
        except AssertionError:
            return
    pytest.fail(f"{mutant} survived {SEEDS_FOR_MUTANTS} seeds")
