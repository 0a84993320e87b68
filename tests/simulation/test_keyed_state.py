"""State and timers of every key survive snapshots, failures and other parallelisms, each exactly once."""

from __future__ import annotations

import pytest

from millstream.core.errors import ProtocolViolation
from tests.simulation.keyed_world import play
from tests.simulation.mutants.keyed_mutants import MUTANTS
from tests.simulation.seeds import run_seeds

SEEDS_FOR_MUTANTS = 100


@pytest.mark.parametrize("block", range(4))
def test_each_key_keeps_its_state_and_fires_its_timers_once(block: int) -> None:
    run_seeds("keyed-state", range(block * 5, block * 5 + 5))


def test_the_simulation_meets_what_it_is_about() -> None:
    assert sum(play(seed) for seed in range(3)) > 10


@pytest.mark.parametrize("mutant", MUTANTS)
def test_planted_bugs_are_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, name, bug = MUTANTS[mutant]
    monkeypatch.setattr(place, name, bug)
    for seed in range(SEEDS_FOR_MUTANTS):
        try:
            play(seed)
        except (AssertionError, ProtocolViolation):
            return
    pytest.fail(f"{mutant} survived {SEEDS_FOR_MUTANTS} seeds")
