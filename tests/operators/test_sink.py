from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millstream.core.errors import ConnectorError, StateError
from millstream.operators.sink import SinkSpec
from millstream.operators.stateless import MapSpec
from millstream.testing import OperatorHarness


class _Recorder:
    """The outside system: everything that happened, in order. The same for all copies of a sink."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.fail: Callable[[list[str]], None] = lambda committables: None

    def __deepcopy__(self, memo: object) -> _Recorder:
        return self


class _Writer:
    def __init__(self, recorder: _Recorder, context: Any) -> None:
        self._recorder = recorder
        self._subtask = context.subtask
        self._buffer: list[Any] = []
        recorder.log.append(("create_writer", context.pending_committables, context.restored_state))

    def write_batch(self, values: Any, timestamps: Any) -> None:
        self._buffer += values

    def flush(self, end_of_input: bool) -> None:
        self._recorder.log.append("flush at the end" if end_of_input else "flush")

    def snapshot_state(self, checkpoint_id: int) -> list[bytes]:
        self._recorder.log.append(f"snapshot_state {checkpoint_id}")
        return [b"state %d" % checkpoint_id]

    def close(self) -> None:
        self._recorder.log.append("close writer")


class _CommittingWriter(_Writer):
    def prepare_commit(self, checkpoint_id: int) -> list[str]:
        self._recorder.log.append(f"prepare_commit {checkpoint_id}")
        prepared, self._buffer = self._buffer, []
        return ["+".join(map(str, prepared))] if prepared else []


class _Committer:
    def __init__(self, recorder: _Recorder) -> None:
        self._recorder = recorder

    def commit(self, committables: Any) -> None:
        self._recorder.fail(list(committables))
        self._recorder.log.append(("commit", list(committables)))

    def close(self) -> None:
        self._recorder.log.append("close committer")


class PlainSink:
    def __init__(self, recorder: _Recorder) -> None:
        self.recorder = recorder

    def create_writer(self, context: Any) -> Any:
        return _Writer(self.recorder, context)


class TwoPhaseSink(PlainSink):
    def create_writer(self, context: Any) -> Any:
        return _CommittingWriter(self.recorder, context)

    def create_committer(self) -> _Committer:
        return _Committer(self.recorder)

    def encode_committable(self, committable: str) -> bytes:
        return committable.encode()

    def decode_committable(self, data: bytes) -> str:
        return data.decode()


class OnceTwoPhaseSink(PlainSink):
    """The same with a weaker guarantee: it has no committables of its own."""

    create_committer = TwoPhaseSink.create_committer
    decode_committable = TwoPhaseSink.decode_committable


class OtherSink(TwoPhaseSink):
    def decode_committable(self, data: bytes) -> str:
        _, second = data
        return str(second)


@pytest.fixture
def outside() -> _Recorder:
    return _Recorder()


CREATED = ("create_writer", (), ())


def test_a_plain_sink_is_flushed_at_barriers_and_at_the_end(outside) -> None:
    h = OperatorHarness(SinkSpec(PlainSink(outside)))
    h.element("x")
    h.snapshot()
    h.end_input()
    h.close()
    assert outside.log == [CREATED, "flush", "snapshot_state 1", "flush at the end", "close writer"]
    assert h.output == []


def test_a_barrier_flushes_then_prepares_then_snapshots_and_commits_nothing(outside) -> None:
    h = OperatorHarness(SinkSpec(TwoPhaseSink(outside)))
    h.batch(["a", "b"])
    h.snapshot(complete=False)
    h.run_background()
    assert outside.log == [CREATED, "flush", "prepare_commit 1", "snapshot_state 1"]
    assert h.operators[0].has_pending_work()
    h.close()


def test_committables_are_committed_when_their_checkpoint_is_complete(outside) -> None:
    h = OperatorHarness(SinkSpec(TwoPhaseSink(outside)))
    h.element("a")
    h.snapshot(complete=False)
    h.element("b")
    h.complete(1)
    assert outside.log[-1] == ("commit", ["a"])
    assert not h.operators[0].has_pending_work()
    h.snapshot()
    assert outside.log[-1] == ("commit", ["b"])
    h.close()


def test_a_lost_notification_is_covered_by_a_later_one(outside) -> None:
    h = OperatorHarness(SinkSpec(TwoPhaseSink(outside)))
    for value in "ab":
        h.element(value)
        h.snapshot(complete=False)
    h.complete(2)
    h.complete(1)
    h.complete(2)
    assert [entry for entry in outside.log if entry[0] == "commit"] == [("commit", ["a", "b"])]
    h.close()


def test_restored_committables_are_committed_before_the_writer_is_made(outside) -> None:
    h = OperatorHarness(SinkSpec(TwoPhaseSink(outside)))
    h.element("a")
    taken = h.snapshot(complete=False)
    h.element("lost")
    outside.log.clear()
    h = h.restored_from(taken)
    assert outside.log == [
        "close writer",
        "close committer",
        ("commit", ["a"]),
        ("create_writer", ("a",), (b"state 1",)),
    ]
    h.element("b")
    h.snapshot()
    assert outside.log[-1] == ("commit", ["b"])
    h.close()


def pre_committed(recorder: _Recorder) -> tuple[OperatorHarness, Any]:
    """A job that ended between pre-commit and commit, and its checkpoint."""
    h = OperatorHarness(SinkSpec(TwoPhaseSink(recorder)))
    h.element("a")
    taken = h.snapshot(complete=False)
    recorder.log.clear()
    return h, taken


def test_a_sink_whose_guarantee_is_weaker_now_commits_what_was_pre_committed(outside) -> None:
    h, taken = pre_committed(outside)
    h.spec = SinkSpec(OnceTwoPhaseSink(outside))
    h = h.restored_from(taken)
    assert outside.log[2:5] == [("commit", ["a"]), "close committer", ("create_writer", (), (b"state 1",))]
    h.element("b")
    outside.log.clear()
    h = h.restored_from(h.snapshot())
    assert not [entry for entry in outside.log if entry[0] == "commit"]
    h.close()


@pytest.mark.parametrize("spec", [SinkSpec(PlainSink(_Recorder())), MapSpec(str)], ids=["sink", "map"])
def test_what_was_pre_committed_is_not_forgotten_when_nobody_would_commit_it(outside, spec) -> None:
    h, taken = pre_committed(outside)
    h.spec = spec
    with pytest.raises(
        StateError, match="holds 1 transactions or files that a sink had pre-committed"
    ) as refused:
        h.restored_from(taken)
    assert "another uid" in (refused.value.fix or "")


def test_what_another_sink_had_pre_committed_is_an_error_with_the_way_out(outside) -> None:
    h, taken = pre_committed(outside)
    h.spec = SinkSpec(OtherSink(outside))
    with pytest.raises(StateError, match=r"cannot read the transactions or files.*ValueError") as refused:
        h.restored_from(taken)
    assert "another uid" in (refused.value.fix or "")
    assert not [entry for entry in outside.log if entry[0] == "commit"]


def test_each_restored_committable_is_committed_by_one_subtask_and_known_to_all(outside) -> None:
    h = OperatorHarness(SinkSpec(TwoPhaseSink(outside)))
    for value in "abc":
        h.element(value)
        taken = h.snapshot(complete=False)
    outside.log.clear()
    h = h.restored_from(taken, parallelism=2)
    commits = [entry[1] for entry in outside.log if entry[0] == "commit"]
    pending = [entry[1] for entry in outside.log if entry[0] == "create_writer"]
    assert sorted(value for commit in commits for value in commit) == ["a", "b", "c"]
    assert [sorted(seen) for seen in pending] == [["a", "b", "c"]] * 2
    h.close()


@pytest.mark.parametrize("retryable", [True, False])
def test_a_failed_commit_fails_the_task_and_is_repeated_after_the_restart(outside, retryable) -> None:
    def fail(committables: list[str]) -> None:
        raise ConnectorError(f"refused {committables}", retryable=retryable)

    h = OperatorHarness(SinkSpec(TwoPhaseSink(outside)))
    h.element("a")
    taken = h.snapshot(complete=False)
    outside.fail = fail
    with pytest.raises(ConnectorError, match=r"refused \['a'\]") as failed:
        h.complete(1)
    assert failed.value.retryable is retryable
    outside.fail = lambda committables: None
    h = h.restored_from(taken)
    assert ("commit", ["a"]) in outside.log
    h.close()


def test_what_the_last_attempt_wrote_after_its_snapshot_is_not_committed(outside) -> None:
    h = OperatorHarness(SinkSpec(TwoPhaseSink(outside)))
    taken = h.snapshot()
    h.element("lost")
    h = h.restored_from(taken)
    h.snapshot()
    assert not [entry for entry in outside.log if entry[0] == "commit"]
    h.close()


def test_a_bounded_job_without_checkpoints_commits_at_its_end(outside) -> None:
    h = OperatorHarness(SinkSpec(TwoPhaseSink(outside)), checkpointing=False)
    h.element("a")
    h.end_input()
    assert outside.log[-1] == "flush at the end"
    h.operators[0].commit_without_checkpoint()
    assert h.operators[0].has_pending_work()
    h.run_background()
    assert outside.log[-1] == ("commit", ["a"])
    assert not h.operators[0].has_pending_work()
    h.close()
    assert outside.log[-2:] == ["close writer", "close committer"]


def test_the_end_commits_what_savepoints_have_prepared_too(outside) -> None:
    h = OperatorHarness(SinkSpec(TwoPhaseSink(outside)), checkpointing=False)
    h.element("a")
    h.snapshot(complete=False)
    h.element("b")
    h.end_input()
    h.operators[0].commit_without_checkpoint()
    h.run_background()
    assert [entry for entry in outside.log if entry[0] == "commit"] == [("commit", ["a", "b"])]
    h.close()


def test_a_commit_that_fails_at_the_restart_leaves_no_writer_behind(outside) -> None:
    def fail(committables: list[str]) -> None:
        raise ConnectorError("unreachable", retryable=True)

    h = OperatorHarness(SinkSpec(TwoPhaseSink(outside)))
    h.element("a")
    taken = h.snapshot(complete=False)
    outside.fail = fail
    outside.log.clear()
    with pytest.raises(ConnectorError):
        h.restored_from(taken)
    assert CREATED not in outside.log
