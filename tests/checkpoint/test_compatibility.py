from __future__ import annotations

import msgspec
import pytest

from millstream.checkpoint.compatibility import check_compatible, stateful_operator_ids
from millstream.core.errors import CheckpointError, CheckpointFailureReason
from millstream.state.handles import ACCUMULATORS_STATE, OperatorSnapshot
from tests.checkpoint.samples import metadata, operator


def test_the_program_that_took_it_may_restore_it():
    check_compatible(metadata(), (operator(), operator("sink")), path="p")


def test_operators_without_state_may_come_and_go():
    check_compatible(metadata(), (operator(), operator("new")), path="p")


def test_another_parallelism_is_fine():
    check_compatible(metadata(), (operator(parallelism=5),), path="p")


def test_a_checkpoint_of_another_program_names_the_operators_of_both():
    with pytest.raises(CheckpointError, match="another program") as caught:
        check_compatible(metadata(), (operator("other", uid=None),), path="/c/chk-7")
    error = caught.value
    assert error.reason is CheckpointFailureReason.INCOMPATIBLE
    assert "'Name of op' (uid 'sum-by-user', id op)" in error.what
    assert "'Name of other' (no uid, id other)" in error.what
    assert error.where == "/c/chk-7"
    assert "execution.savepoint.ignore-unclaimed-state=true" in error.fix


def test_a_removed_operator_is_told_from_another_program():
    two = msgspec.structs.replace(
        metadata(), states={**metadata().states, "gone": (OperatorSnapshot(lists={"x": [b"1"]}),)}
    )
    assert stateful_operator_ids(two) == ("gone", "op")
    with pytest.raises(CheckpointError, match="an operator was removed"):
        check_compatible(two, (operator(),), path="p")


def test_accumulators_are_no_reason_to_refuse_a_program_without_their_operator():
    added_up = OperatorSnapshot(lists={ACCUMULATORS_STATE: [b"1"]})
    two = msgspec.structs.replace(metadata(), states={**metadata().states, "gone": (added_up,)})
    assert stateful_operator_ids(two) == ("op",)
    check_compatible(two, (operator(),), path="p")


def test_unclaimed_state_can_be_let_go():
    check_compatible(metadata(), (), path="p", ignore_unclaimed_state=True)


def test_another_max_parallelism_is_refused_with_the_number_to_set():
    with pytest.raises(CheckpointError, match="max parallelism 256") as caught:
        check_compatible(metadata(), (operator(max_parallelism=256),), path="p")
    assert "to 128" in caught.value.fix
