from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.mutants.storage_mutants import MUTANTS
from tests.simulation.storage_world import StorageWorld

_HISTORIES = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_no_file_of_a_retained_checkpoint_is_deleted_and_none_else_stays() -> None:
    run_state_machine_as_test(StorageWorld, settings=_HISTORIES)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_part_that_forgets_a_rule_is_caught(mutant: str) -> None:
    world = type("Mutant", (StorageWorld,), MUTANTS[mutant])
    # Found is enough: no history is made shorter, and no second one looked for.
    found = settings(_HISTORIES, max_examples=200, phases=(Phase.generate,), report_multiple_bugs=False)
    with pytest.raises(Exception, match="missing"):
        run_state_machine_as_test(world, settings=found)
