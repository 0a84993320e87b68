from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.state.handles import FileRef
from millstream.state.uploaded_files import UploadedFiles


def ref(name: str, checkpoint_id: int) -> FileRef:
    return FileRef(f"shared/{checkpoint_id}-{name}", 1, "", shared=True)


def test_only_a_completed_checkpoint_lends_its_files() -> None:
    files = UploadedFiles({})
    files.uploaded(1, {"a": ref("a", 1)})
    assert files.reusable() == {}
    files.completed(1)
    assert files.reusable() == {"a": ref("a", 1)}


def test_files_of_the_restored_checkpoint_are_lent_until_a_newer_one_completes() -> None:
    files = UploadedFiles({"a": ref("a", 0), "b": ref("b", 0)})
    files.uploaded(7, {"b": ref("b", 0), "c": ref("c", 7)})
    assert files.reusable() == {"b": ref("b", 0)}, "7 may be complete, and the restored one gone with its a"
    files.completed(7)
    assert files.reusable() == {"b": ref("b", 0), "c": ref("c", 7)}


def test_a_late_notification_does_not_lend_what_a_later_checkpoint_does_not_share() -> None:
    files = UploadedFiles({})
    files.uploaded(1, {"a": ref("a", 1)})
    files.uploaded(2, {"a": ref("a", 2)})  # uploaded again, for nobody knew yet that 1 was complete
    files.completed(1)
    assert files.reusable() == {}
    files.completed(2)
    files.completed(1)
    assert files.reusable() == {"a": ref("a", 2)}


@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abcd")), st.booleans(), st.sets(st.integers(1, 12))), max_size=12
    )
)
def test_what_is_lent_is_never_gone(steps: list[tuple[set[str], bool, set[int]]]) -> None:
    """Each step: local files that compaction removed, whether the checkpoint completes, notifications that arrive then."""
    files = UploadedFiles({})
    stored: set[FileRef] = set()  # what the retained checkpoint refers to: one is retained
    completed: set[int] = set()
    generation = dict.fromkeys("abcd", 0)
    for checkpoint_id, (compacted, completes, arriving) in enumerate(steps, start=1):
        for name in compacted:
            generation[name] = checkpoint_id  # a new file has a new name
        local = {f"{name}{number}" for name, number in generation.items()}
        lent = files.reusable()
        assert {lent[name] for name in local & lent.keys()} <= stored
        snapshot = {name: lent.get(name) or ref(name, checkpoint_id) for name in local}
        files.uploaded(checkpoint_id, snapshot)
        if completes:
            completed.add(checkpoint_id)
            stored = set(snapshot.values())
        for notified in arriving & completed:
            files.completed(notified)
