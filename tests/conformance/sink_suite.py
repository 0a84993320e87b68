"""What every two-phase-commit sink has to do. Subclass `SinkSuite` and give it a sink and a way to read what it made visible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import cloudpickle
import pytest

from millstream.connectors.base import CommittingSinkWriter, Sink, SupportsCommitter
from tests.connectors.harness import SinkRun


class SinkSuite:
    """Subclasses define `sink`, a fixture, and `visible`, what a reader of the outside system sees now.

    Records are strings; a sink has to take any number of them, and give them back as they are.
    """

    @pytest.fixture
    def sink(self) -> Sink[str]:
        msg = "a subclass of SinkSuite gives the sink under test"
        raise AssertionError(msg)

    def visible(self, sink: Sink[str]) -> Sequence[Any]:
        msg = "a subclass of SinkSuite reads the committed records"
        raise AssertionError(msg)

    def saw(self, sink: Sink[str], *expected: str) -> bool:
        assert Counter(self.visible(sink)) == Counter(expected)
        return True

    def test_it_declares_that_it_can_commit(self, sink) -> None:
        run = SinkRun(sink)
        assert isinstance(run.sink, SupportsCommitter)
        assert isinstance(run.writers[0], CommittingSinkWriter)
        run.close()

    def test_records_are_visible_after_the_commit_and_not_before(self, sink) -> None:
        run = SinkRun(sink, parallelism=2)
        run.write(0, ["a", "b"])
        run.write(1, ["c"])
        assert self.saw(sink)
        checkpoint = run.checkpoint(1)
        assert self.saw(sink)
        run.commit(checkpoint)
        assert self.saw(sink, "a", "b", "c")
        run.close()

    def test_records_after_a_barrier_belong_to_the_next_commit(self, sink) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        first = run.checkpoint(1)
        run.write(0, ["b"])
        second = run.checkpoint(2)
        run.commit(first)
        assert self.saw(sink, "a")
        run.commit(second)
        assert self.saw(sink, "a", "b")
        run.close()

    def test_committing_again_changes_nothing(self, sink) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        checkpoint = run.checkpoint(1)
        run.commit(checkpoint)
        run.commit(checkpoint)
        SinkRun(sink, restored=checkpoint, attempt=1).close()
        run.close()
        assert self.saw(sink, "a")

    def test_committing_again_while_records_are_written_changes_nothing(self, sink) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        first = run.checkpoint(1)
        run.commit(first)
        run.write(0, ["b"])
        run.commit(first)
        assert self.saw(sink, "a")
        run.finish(2)
        assert self.saw(sink, "a", "b")

    @pytest.mark.parametrize("parallelism", [1, 2, 3])
    def test_a_checkpoint_that_completed_before_the_crash_is_committed_after_it(
        self, sink, parallelism
    ) -> None:
        run = SinkRun(sink, parallelism=2)
        run.write(0, ["a"])
        run.write(1, ["b"])
        completed = run.checkpoint(1)
        run.write(0, ["lost"])
        # no commit, no close: killed
        restored = SinkRun(sink, parallelism, completed, attempt=1)
        assert self.saw(sink, "a", "b")
        restored.write(parallelism - 1, ["lost"])
        restored.finish(2)
        assert self.saw(sink, "a", "b", "lost")

    def test_what_was_prepared_for_a_checkpoint_that_never_completed_stays_invisible(self, sink) -> None:
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
        assert self.saw(sink, "a", "b", "c")

    def test_a_crash_before_the_first_checkpoint_leaves_nothing_visible(self, sink) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        run.checkpoint(1)
        restarted = SinkRun(sink, attempt=1)
        restarted.write(0, ["a"])
        restarted.finish(2)
        assert self.saw(sink, "a")

    def test_a_zombie_can_neither_show_its_records_nor_harm_its_successor(self, sink) -> None:
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
        assert self.saw(sink, "a", "b")

    def test_several_crashes_in_a_row_lose_and_double_nothing(self, sink) -> None:
        completed, written = None, []
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
        assert self.saw(sink, *written)

    def test_an_empty_checkpoint_is_fine(self, sink) -> None:
        run = SinkRun(sink)
        run.write(0, [])
        run.commit(run.checkpoint(1))
        run.finish(2)
        assert self.saw(sink)

    def test_closing_commits_nothing(self, sink) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        run.close()
        assert self.saw(sink)

    def test_the_recipe_travels(self, sink) -> None:
        run = SinkRun(cloudpickle.loads(cloudpickle.dumps(sink)))
        run.write(0, ["a"])
        run.finish(1)
        assert self.saw(sink, "a")
