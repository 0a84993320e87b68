from __future__ import annotations

from typing import ClassVar

import pytest

from millstream import SinkFunction, TwoPhaseCommitSinkFunction, Types
from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from millstream.core.errors import JobDefinitionError, RecordSerializationError
from millstream.operators.function_sink import FunctionSinkSpec
from millstream.testing import OperatorHarness

LOG = []


@pytest.fixture(autouse=True)
def empty_log():
    LOG.clear()


class Logging(SinkFunction):
    def open(self, runtime_context):
        LOG.append(("open", runtime_context.get_index_of_this_subtask()))

    def invoke(self, value, context):
        LOG.append(
            (value, context.timestamp(), context.current_watermark(), context.current_processing_time())
        )

    def write_watermark(self, watermark):
        LOG.append(("watermark", watermark.timestamp))

    def flush(self):
        LOG.append("flush")

    def finish(self):
        LOG.append("finish")

    def close(self):
        LOG.append("close")


def test_a_sink_function_sees_records_times_and_its_life() -> None:
    h = OperatorHarness(FunctionSinkSpec(Logging()))
    h.element("a")
    h.set_processing_time(7)
    h.watermark(3)
    h.element("b", ts=5)
    h.snapshot()
    h.end_input()
    h.close()
    assert LOG == [
        ("open", 0),
        ("a", None, MIN_TIMESTAMP, 0),
        ("watermark", 3),
        ("b", 5, 3, 7),
        "flush",
        ("watermark", MAX_TIMESTAMP),
        "finish",
        "flush",
        "close",
    ]


class Ledger(TwoPhaseCommitSinkFunction):
    """The outside system is a dict from transaction to its state and records."""

    TABLE: ClassVar = {}
    count = 0

    def __init__(self, transaction_type=str):
        super().__init__(transaction_type)

    def begin_transaction(self):
        Ledger.count += 1
        handle = f"t{Ledger.count}"
        self.TABLE[handle] = ["open", []]
        return handle

    def invoke(self, transaction, value, context):
        assert self.TABLE[transaction][0] == "open"
        self.TABLE[transaction][1].append(value)

    def pre_commit(self, transaction):
        assert self.TABLE[transaction][0] == "open"
        self.TABLE[transaction][0] = "prepared"

    def commit(self, transaction):
        assert self.TABLE[transaction][0] in {"prepared", "committed"}
        self.TABLE[transaction][0] = "committed"

    def abort(self, transaction):
        assert self.TABLE[transaction][0] != "committed"
        self.TABLE[transaction][0] = "aborted"

    def recover_and_commit(self, transaction):
        LOG.append(("recover_and_commit", transaction))
        self.commit(transaction)

    def recover_and_abort(self, transaction):
        LOG.append(("recover_and_abort", transaction))
        self.abort(transaction)

    def close(self):
        LOG.append("close")


@pytest.fixture(autouse=True)
def empty_table():
    Ledger.TABLE.clear()
    Ledger.count = 0


def states():
    return {name: state for name, (state, _) in Ledger.TABLE.items()}


def visible():
    return sorted(
        value for state, values in Ledger.TABLE.values() if state == "committed" for value in values
    )


def ledger(**settings) -> OperatorHarness:
    return OperatorHarness(FunctionSinkSpec(Ledger()), **settings)


def test_a_transaction_is_visible_after_its_checkpoint_and_not_before() -> None:
    h = ledger()
    h.element("a")
    h.snapshot(complete=False)
    assert states() == {"t1": "prepared", "t2": "open"}
    h.element("b")
    h.complete(1)
    assert states() == {"t1": "committed", "t2": "open"}
    assert visible() == ["a"]
    h.close()
    assert states() == {"t1": "committed", "t2": "aborted"}


def test_a_later_checkpoint_commits_what_an_earlier_notification_would_have() -> None:
    h = ledger()
    h.element("a")
    h.snapshot(complete=False)
    h.element("b")
    h.snapshot()
    assert visible() == ["a", "b"]
    h.close()


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_after_a_crash_prepared_transactions_are_committed_and_open_ones_aborted(parallelism) -> None:
    h = ledger(parallelism=2)
    h.batch(["a"])
    snapshots = h.snapshot(complete=False)
    h.batch(["lost"])
    # The crash: nobody closes anything.
    h.close = lambda: None
    restored = h.restored_from(snapshots, parallelism=parallelism)
    assert visible() == ["a"]
    assert sorted(LOG) == [
        ("recover_and_abort", "t3"),
        ("recover_and_abort", "t4"),
        ("recover_and_commit", "t1"),
        ("recover_and_commit", "t2"),
    ]
    restored.batch(["b"])
    restored.snapshot()
    assert visible() == ["a", "b"]
    restored.close()


def test_at_the_end_no_transaction_is_left_open() -> None:
    h = ledger()
    h.element("a")
    h.end_input()
    h.snapshot()
    h.snapshot()
    h.close()
    assert states() == {"t1": "committed"}
    assert LOG == ["close"]


def test_without_checkpoints_a_bounded_job_commits_at_its_end() -> None:
    h = ledger(checkpointing=False)
    h.element("a")
    h.end_input()
    h.operators[0].commit_without_checkpoint()
    h.close()
    assert states() == {"t1": "committed"}


def test_a_handle_of_another_type_than_declared_is_refused_at_the_checkpoint() -> None:
    h = OperatorHarness(FunctionSinkSpec(Ledger(int)))
    with pytest.raises(RecordSerializationError):
        h.snapshot()
    h.close()


def test_handles_may_be_of_any_declared_type() -> None:
    class Pairs(Ledger):
        def begin_transaction(self):
            return super().begin_transaction(), 5

        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            if name in {"pre_commit", "commit", "abort", "recover_and_commit", "recover_and_abort"}:
                return lambda transaction: found(
                    transaction[0] if isinstance(transaction, tuple) else transaction
                )
            return found

    h = OperatorHarness(FunctionSinkSpec(Pairs(Types.TUPLE([Types.STRING(), Types.INT()]))))
    h.restored().close()
    assert states() == {"t1": "committed", "t2": "aborted", "t3": "aborted"}


def test_a_transaction_timeout_must_be_positive() -> None:
    assert Ledger().set_transaction_timeout(5_000).transaction_timeout_ms == 5_000
    with pytest.raises(JobDefinitionError):
        Ledger().set_transaction_timeout(0)
