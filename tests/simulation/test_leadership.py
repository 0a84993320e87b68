"""Contenders for the leadership under pauses, deaths, slow and lost answers, and clocks that run at different rates."""

from __future__ import annotations

import pytest

from millstream.core.errors import ProtocolViolation
from millstream.runtime.high_availability.leadership import (
    Claim,
    Claimed,
    Lead,
    Leadership,
    LeaseTerms,
    Renew,
    Renewed,
    Role,
    Seen,
    StepDown,
    Superseded,
    Tick,
)
from tests.simulation.leadership_world import Violation, World
from tests.simulation.mutants.leadership_mutants import LEADERSHIPS
from tests.simulation.seeds import run_seeds

SEEDS_FOR_MUTANTS = 1_000
TERMS = LeaseTerms(lease_ms=1_000, margin_ms=100, renew_ms=250, look_ms=100)


@pytest.mark.parametrize("block", range(4))
def test_no_two_contenders_ever_act(block):
    # Every run also checks that epochs rise, and that somebody leads once faults have stopped.
    run_seeds("leadership", range(block * 100, block * 100 + 100))


def test_the_simulation_meets_the_faults_it_is_about():
    worlds = [World(seed) for seed in range(30)]
    for world in worlds:
        world.run()
    assert sum(len(world.led) for world in worlds) > 90
    assert sum(world.pauses_while_leading for world in worlds) > 30


@pytest.mark.parametrize("mutant", LEADERSHIPS, ids=lambda mutant: mutant.__name__)
def test_planted_bugs_are_caught(mutant):
    for seed in range(SEEDS_FOR_MUTANTS):
        try:
            World(seed, mutant).run()
        except (Violation, ProtocolViolation):
            return
    pytest.fail(f"{mutant.__name__} survived {SEEDS_FOR_MUTANTS} seeds")


def leading(began_ms: int = 0) -> Leadership:
    machine = Leadership(TERMS)
    machine.handle(Tick(), 0)
    assert machine.handle(Seen(None, 0), 0) == [Claim()]
    assert machine.handle(Claimed(1, began_ms), 10) == [Lead(1)]
    return machine


def test_a_leader_that_was_stopped_for_longer_than_its_lease_acts_no_more():
    machine = leading()
    assert machine.may_act(899)
    assert not machine.may_act(900)
    (step_down,) = machine.handle(Tick(), 5_000)
    assert isinstance(step_down, StepDown)
    assert "no sign of life for 900 ms" in step_down.reason
    assert machine.role is Role.DEPOSED


def test_a_renewal_counts_from_its_beginning_and_not_at_all_after_the_lease():
    machine = leading()
    assert machine.handle(Tick(), 10) == [Renew()]
    assert machine.handle(Renewed(began_ms=10), 800) == []
    assert machine.may_act(909)
    assert not machine.may_act(910)
    assert machine.handle(Tick(), 880) == [Renew()]
    assert isinstance(machine.handle(Renewed(began_ms=880), 911)[0], StepDown)


def test_a_leader_that_finds_another_epoch_steps_down_at_once():
    machine = leading()
    machine.handle(Tick(), 10)
    (step_down,) = machine.handle(Superseded(7), 20)
    assert "epoch 7" in step_down.reason
    assert not machine.may_act(21)
    assert machine.next_deadline_ms() is None


def test_an_answer_nobody_asked_for_is_a_bug():
    with pytest.raises(ProtocolViolation):
        Leadership(TERMS).handle(Claimed(1, 0), 0)
