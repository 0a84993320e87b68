"""What every two-phase-commit sink has to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cloudpickle
import pytest

from ..connectors.base import CommittingSinkWriter, Sink, SupportsCommitter
from .connector_runs import SinkCheckpoint, SinkRun, close_open_runs
from .source_contract import same_records


class SinkUnderTest:
    """What a subclass of either contract of sinks gives."""

    @pytest.fixture
    def sink(self) -> Sink[str]:
        """The sink under test, writing to where nothing is yet. It has to take any number of strings."""
        message = "a subclass of the contract gives the sink under test"
        raise AssertionError(message)

    def visible(self, sink: Any) -> Sequence[Any]:  # Any: the subclass knows what its fixture makes
        """The records that a reader of the outside system sees now, in any order; committed ones, where it commits."""
        message = "a subclass of the contract reads the records"
        raise AssertionError(message)

    @pytest.fixture(autouse=True)
    def crashed_attempts_hold_nothing_after_the_test(self) -> Iterator[None]:
        """A killed process would have given everything back at once."""
        yield
        close_open_runs()


class SinkContract(SinkUnderTest):
    """Derive a test class from it that gives the sink as a fixture, and reads what it made visible; pytest does the rest.

    A sink passes if every record is visible once after its checkpoint was committed and never before, through crashes at any
    moment, repeated commits, and restores at another parallelism. Records are strings; a sink has to take any number of them.
    One without two-phase commit has to pass `AtLeastOnceSinkContract` instead.

        class TestMySink(SinkContract):
            @pytest.fixture
            def sink(self, tmp_path):
                return MySink(tmp_path)

            def visible(self, sink):
                return read_back(sink.path)
    """

    def sees(self, sink: Sink[str], *expected: str) -> None:
        """Check that exactly these records are visible."""
        same_records(self.visible(sink), expected)

    def test_it_declares_that_it_can_commit(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        assert isinstance(run.sink, SupportsCommitter)
        assert isinstance(run.writers[0], CommittingSinkWriter)
        run.close()

    def test_records_are_visible_after_the_commit_and_not_before(self, sink: Sink[str]) -> None:
        run = SinkRun(sink, parallelism=2)
        run.write(0, ["a", "b"])
        run.write(1, ["c"])
        self.sees(sink)
        checkpoint = run.checkpoint(1)
        self.sees(sink)
        run.commit(checkpoint)
        self.sees(sink, "a", "b", "c")
        run.close()

    def test_records_after_a_barrier_belong_to_the_next_commit(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        first = run.checkpoint(1)
        run.write(0, ["b"])
        second = run.checkpoint(2)
        run.commit(first)
        self.sees(sink, "a")
        run.commit(second)
        self.sees(sink, "a", "b")
        run.close()

    def test_committing_again_changes_nothing(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        checkpoint = run.checkpoint(1)
        run.commit(checkpoint)
        run.commit(checkpoint)
        SinkRun(sink, restored=checkpoint, attempt=1).close()
        run.close()
        self.sees(sink, "a")

    def test_committing_again_while_records_are_written_changes_nothing(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        first = run.checkpoint(1)
        run.commit(first)
        run.write(0, ["b"])
        run.commit(first)
        self.sees(sink, "a")
        run.finish(2)
        self.sees(sink, "a", "b")

    @pytest.mark.parametrize("parallelism", [1, 2, 3])
    def test_a_checkpoint_that_completed_before_the_crash_is_committed_after_it(
        self, sink: Sink[str], parallelism: int
    ) -> None:
        run = SinkRun(sink, parallelism=2)
        run.write(0, ["a"])
        run.write(1, ["b"])
        completed = run.checkpoint(1)
        run.write(0, ["lost"])
        # no commit, no close: killed
        restored = SinkRun(sink, parallelism, completed, attempt=1)
        self.sees(sink, "a", "b")
        restored.write(parallelism - 1, ["lost"])
        restored.finish(2)
        self.sees(sink, "a", "b", "lost")

    def test_what_was_prepared_for_a_checkpoint_that_never_completed_stays_invisible(
        self, sink: Sink[str]
    ) -> None:
        run = SinkRun(sink, parallelism=2)
        run.write(0, ["a"])
        completed = run.checkpoint(1)
        run.commit(completed)
        run.write(0, ["b"])
        run.write(1, ["c"])
        run.checkpoint(2)  # acknowledged by the subtasks, but the metadata were never written
        restored = SinkRun(sink, 1, completed, attempt=1)
        restored.write(0, ["b", "c"])
        restored.finish(3)
        self.sees(sink, "a", "b", "c")

    def test_a_crash_before_the_first_checkpoint_leaves_nothing_visible(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        run.checkpoint(1)
        restarted = SinkRun(sink, attempt=1)
        restarted.write(0, ["a"])
        restarted.finish(2)
        self.sees(sink, "a")

    def test_a_zombie_can_neither_show_its_records_nor_harm_its_successor(self, sink: Sink[str]) -> None:
        zombie = SinkRun(sink)
        zombie.write(0, ["a"])
        completed = zombie.checkpoint(1)
        successor = SinkRun(sink, 1, completed, attempt=1)
        zombie.write(0, ["b"])
        successor.write(0, ["b"])
        first = successor.checkpoint(2)
        zombie.close()
        successor.commit(first)
        successor.close()
        self.sees(sink, "a", "b")

    def test_several_crashes_in_a_row_lose_and_double_nothing(self, sink: Sink[str]) -> None:
        completed: SinkCheckpoint | None = None
        written: list[str] = []
        for attempt in range(5):
            run = SinkRun(sink, 1 + attempt % 3, completed, attempt=attempt)
            for checkpoint_id in range(3):
                record = f"{attempt}.{checkpoint_id}"
                run.write(checkpoint_id % run.parallelism, [record])
                written.append(record)
                completed = run.checkpoint(10 * attempt + checkpoint_id)
                if checkpoint_id < 2:
                    run.commit(completed)
            run.write(0, ["lost"])
        SinkRun(sink, 2, completed, attempt=5).close()
        self.sees(sink, *written)

    def test_an_empty_checkpoint_is_fine(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        run.write(0, [])
        run.commit(run.checkpoint(1))
        run.finish(2)
        self.sees(sink)

    def test_closing_commits_nothing(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        run.close()
        self.sees(sink)

    def test_the_recipe_travels(self, sink: Sink[str]) -> None:
        run = SinkRun(cloudpickle.loads(cloudpickle.dumps(sink)))
        run.write(0, ["a"])
        run.finish(1)
        self.sees(sink, "a")

    def test_committables_survive_their_encoding(self, sink: Sink[str]) -> None:
        run = SinkRun(sink, parallelism=2)
        run.write(0, ["a"])
        run.write(1, ["b"])
        assert isinstance(run.sink, SupportsCommitter)
        for data in run.checkpoint(1).committables:
            assert isinstance(data, bytes)
            assert run.sink.encode_committable(run.sink.decode_committable(data)) == data
        run.close()

    def test_what_was_flushed_at_the_barrier_needs_nothing_of_the_writer_any_more(
        self, sink: Sink[str]
    ) -> None:
        run = SinkRun(sink)
        run.write(0, [f"r{number}" for number in range(2_000)])
        completed = run.checkpoint(1)
        run.writers.clear()  # gone, with whatever they still had in memory
        SinkRun(sink, 1, completed, attempt=1).close()
        self.sees(sink, *(f"r{number}" for number in range(2_000)))

    def test_a_crash_in_the_middle_of_committing_is_made_good(self, sink: Sink[str]) -> None:
        run = SinkRun(sink, parallelism=3)
        for subtask in range(3):
            run.write(subtask, [f"r{subtask}"])
        completed = run.checkpoint(1)
        run.commit(SinkCheckpoint(1, completed.committables[:1], ()))
        SinkRun(sink, 2, completed, attempt=1).close()
        self.sees(sink, "r0", "r1", "r2")
