from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.checkpoint.completed_store import CompletedCheckpoint, CompletedCheckpointStore, Subsumed
from millstream.state.handles import FileRef
from tests.checkpoint.samples import exclusive, shared


def checkpoint(number: int, *files: FileRef) -> CompletedCheckpoint:
    return CompletedCheckpoint(number, number * 1_000, 0, frozenset(files))


def test_the_newest_ones_are_retained():
    store = CompletedCheckpointStore(2)
    for number in (1, 2, 3):
        last = store.add(checkpoint(number))
    assert [c.checkpoint_id for c in store.checkpoints] == [2, 3]
    assert store.latest.checkpoint_id == 3
    assert last == Subsumed((1,), ())


def test_a_shared_file_goes_one_checkpoint_after_its_last_reference():
    store = CompletedCheckpointStore(1)
    store.add(checkpoint(1, shared("a"), shared("b"), exclusive(1, "x")))
    assert store.add(checkpoint(2, shared("b"))) == Subsumed((1,), ())
    assert store.needs(shared("a"))  # a slow subtask may still name it
    assert store.add(checkpoint(3, shared("b"))) == Subsumed((2,), (shared("a"),))
    assert not store.needs(shared("a"))


def test_a_file_named_again_by_a_slow_subtask_stays():
    store = CompletedCheckpointStore(1)
    store.add(checkpoint(1, shared("a")))
    store.add(checkpoint(2))
    assert store.add(checkpoint(3, shared("a"))) == Subsumed((2,), ())
    assert store.needs(shared("a"))


def test_files_of_another_job_are_never_given_up():
    store = CompletedCheckpointStore(1)
    foreign = FileRef("/elsewhere/job/shared/a", 1, "", shared=True)
    store.add(checkpoint(1, foreign))
    gone = [file for number in (2, 3, 4) for file in store.add(checkpoint(number)).files]
    assert gone == []
    assert store.needs(foreign)


def test_what_a_resumed_job_found_is_retained_first_and_subsumed_later():
    store = CompletedCheckpointStore(1, [checkpoint(5, shared("b")), checkpoint(4, shared("a"))])
    assert store.latest.checkpoint_id == 5
    assert store.add(checkpoint(6, shared("b"))) == Subsumed((4, 5), ())
    assert store.add(checkpoint(7)) == Subsumed((6,), (shared("a"),))


def test_a_folder_that_a_retained_checkpoint_refers_into_stays():
    store = CompletedCheckpointStore(1)
    store.add(checkpoint(1, exclusive(1, "x")))
    assert store.add(checkpoint(2, exclusive(1, "x"))) == Subsumed()
    assert store.add(checkpoint(3)) == Subsumed((1, 2), ())


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        CompletedCheckpointStore(0)
    store = CompletedCheckpointStore(1, [checkpoint(1)])
    with pytest.raises(ValueError, match="already"):
        store.add(checkpoint(1))


@given(
    st.integers(1, 3),
    st.lists(st.frozensets(st.sampled_from("abcdef")), min_size=1, max_size=12),
)
def test_no_file_is_given_up_while_a_retained_checkpoint_names_it(retained, contents):
    store = CompletedCheckpointStore(retained)
    given_up: list[str] = []
    for number, names in enumerate(contents, start=1):
        # As in a job: a file that was given up is never named again; its name is unique.
        files = [shared(name) for name in names if f"shared/{name}" not in given_up]
        given_up += [file.path for file in store.add(checkpoint(number, *files)).files]
        kept = {file.path for c in store.checkpoints for file in c.files}
        assert not kept & set(given_up)
    assert len(given_up) == len(set(given_up))
    for number in range(100, 102 + retained):  # in the end nothing is left behind
        given_up += [file.path for file in store.add(checkpoint(number)).files]
    assert set(given_up) == {f"shared/{name}" for names in contents for name in names}
