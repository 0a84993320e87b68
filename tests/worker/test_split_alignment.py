from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.runtime.worker.split_alignment import PauseChange, SplitAlignment


def change(pause="", resume=""):
    return PauseChange(frozenset(pause), frozenset(resume))


def test_splits_ahead_of_the_limit_are_paused_and_resumed_when_it_rises() -> None:
    alignment = SplitAlignment(per_split=True)
    assert alignment.update({"a": 100, "b": 5}) is None
    alignment.set_limit(50)
    assert alignment.update({"a": 100, "b": 5}) == change(pause="a")
    assert alignment.update({"a": 100, "b": 51}) == change(pause="b")
    alignment.set_limit(99)
    assert alignment.update({"a": 100, "b": 51}) == change(resume="b")
    assert not alignment.waits


def test_a_split_that_becomes_idle_or_ends_while_paused_is_let_go() -> None:
    alignment = SplitAlignment(per_split=True)
    alignment.set_limit(50)
    alignment.update({"a": 100, "b": 100})
    assert alignment.update({"b": 100}) == change(resume="a")
    alignment.forget("b")
    assert alignment.update({}) is None


def test_a_reader_that_cannot_pause_splits_waits_only_while_its_last_one_is_ahead() -> None:
    alignment = SplitAlignment(per_split=False)
    alignment.set_limit(50)
    assert alignment.update({"a": 100, "b": 5}) is None
    assert not alignment.waits
    assert alignment.update({"a": 100, "b": 51}) == change(pause="ab")
    assert alignment.waits
    alignment.set_limit(51)
    assert alignment.update({"a": 100, "b": 51}) == change(resume="ab")
    assert not alignment.waits


def test_a_reader_without_splits_does_not_wait() -> None:
    alignment = SplitAlignment(per_split=False)
    alignment.set_limit(-100)
    assert alignment.update({}) is None
    assert not alignment.waits


readers = st.lists(
    st.tuples(st.booleans(), st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))), min_size=1
)


@given(readers=readers, drift=st.integers(0, 3))
def test_whoever_is_last_in_the_group_is_always_read(readers, drift) -> None:
    """Invariant A1: alignment cannot stop everybody."""
    least = min((w for _, watermarks in readers for w in watermarks.values()), default=None)
    for per_split, watermarks in readers:
        alignment = SplitAlignment(per_split=per_split)
        alignment.set_limit((0 if least is None else least) + drift)
        alignment.update(watermarks)
        for split, watermark in watermarks.items():
            if watermark == least:
                assert split not in alignment.paused
                assert not alignment.waits
