"""What every sink has to do that cannot commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import cloudpickle
import pytest

from ..connectors.base import Sink, SupportsCommitter
from .connector_runs import SinkCheckpoint, SinkRun
from .sink_contract import SinkUnderTest


class AtLeastOnceSinkContract(SinkUnderTest):
    """As `SinkContract`, for a sink without two-phase commit: its records are visible as soon as they are flushed.

    A sink passes if every record that was written before a checkpoint is visible when its `flush` has returned, whatever
    happens to the writer after that, and if nothing is visible that was not written. Records after the last checkpoint are
    written again by a restarted job, so that they may be there twice; those before it may not. A sink that overwrites by key
    passes too: `visible` then gives each record once.

        class TestMySink(AtLeastOnceSinkContract):
            @pytest.fixture
            def sink(self, tmp_path):
                return MySink(tmp_path)

            def visible(self, sink):
                return read_back(sink.path)
    """

    def sees(self, sink: Sink[str], *once: str, perhaps_again: Sequence[str] = ()) -> None:
        """Check that these records are visible, and nothing else; those of `perhaps_again` once more or not at all."""
        found, wanted = Counter(self.visible(sink)), Counter(once)
        missing, extra = wanted - found, found - wanted - Counter(perhaps_again)
        assert not missing, f"lost {sum(missing.values())} records: {list(missing)[:5]}"
        assert not extra, f"{sum(extra.values())} records too many: {list(extra)[:5]}"

    def test_it_does_not_declare_that_it_can_commit(self, sink: Sink[str]) -> None:
        assert not isinstance(sink, SupportsCommitter), "a sink that commits has to pass SinkContract"

    @pytest.mark.parametrize("parallelism", [1, 2, 3])
    def test_what_was_flushed_at_the_barrier_is_visible(self, sink: Sink[str], parallelism: int) -> None:
        run = SinkRun(sink, parallelism)
        for subtask in range(parallelism):
            run.write(subtask, [f"{subtask}.a", f"{subtask}.b"])
        run.checkpoint(1)
        self.sees(sink, *(f"{subtask}.{name}" for subtask in range(parallelism) for name in "ab"))
        run.close()

    def test_records_after_a_barrier_are_visible_after_the_next_one(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        run.checkpoint(1)
        run.write(0, ["b"])
        run.checkpoint(2)
        self.sees(sink, "a", "b")
        run.close()

    def test_more_than_a_buffer_holds_is_visible_at_the_barrier(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        records = [f"r{number}" for number in range(2_000)]
        run.write(0, records)
        run.checkpoint(1)
        self.sees(sink, *records)

    @pytest.mark.parametrize("parallelism", [1, 2, 3])
    def test_after_a_crash_nothing_of_before_the_checkpoint_is_lost_or_doubled(
        self, sink: Sink[str], parallelism: int
    ) -> None:
        run = SinkRun(sink, parallelism=2)
        run.write(0, ["a"])
        run.write(1, ["b"])
        completed = run.checkpoint(1)
        run.write(0, ["c"])  # no flush, no close: killed
        restored = SinkRun(sink, parallelism, completed, attempt=1)
        restored.write(parallelism - 1, ["c"])
        restored.finish(2)
        self.sees(sink, "a", "b", "c", perhaps_again=["c"])

    def test_several_crashes_in_a_row_lose_nothing(self, sink: Sink[str]) -> None:
        completed: SinkCheckpoint | None = None
        kept: list[str] = []
        replayed: list[str] = []
        for attempt in range(5):
            run = SinkRun(sink, 1 + attempt % 3, completed, attempt=attempt)
            record = f"r{attempt}"
            run.write(attempt % run.parallelism, [record])
            kept.append(record)
            completed = run.checkpoint(attempt + 1)
            run.write(0, ["again"])
            replayed.append("again")
        last = SinkRun(sink, 2, completed, attempt=5)
        last.write(1, ["again"])
        last.finish(6)
        self.sees(sink, *kept, "again", perhaps_again=replayed)

    def test_the_end_of_the_input_brings_everything(self, sink: Sink[str]) -> None:
        run = SinkRun(sink, parallelism=2)
        run.write(0, ["a"], [1])
        run.write(1, ["b"], [2])
        run.finish(1)
        self.sees(sink, "a", "b")

    def test_without_checkpoints_the_end_of_the_input_brings_everything_too(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        run.write(0, ["a"])
        run.writers[0].flush(end_of_input=True)
        run.close()
        self.sees(sink, "a")

    def test_an_empty_batch_and_an_empty_checkpoint_are_fine(self, sink: Sink[str]) -> None:
        run = SinkRun(sink)
        run.write(0, [])
        run.checkpoint(1)
        run.finish(2)
        self.sees(sink)

    def test_closing_an_attempt_harms_nothing_that_its_successor_wrote(self, sink: Sink[str]) -> None:
        zombie = SinkRun(sink)
        zombie.write(0, ["a"])
        completed = zombie.checkpoint(1)
        successor = SinkRun(sink, 1, completed, attempt=1)
        successor.write(0, ["b"])
        successor.checkpoint(2)
        zombie.close()
        successor.close()
        self.sees(sink, "a", "b")

    def test_the_recipe_travels_and_can_be_used_twice(self, sink: Sink[str]) -> None:
        for number, recipe in enumerate((sink, cloudpickle.loads(cloudpickle.dumps(sink)))):
            run = SinkRun(recipe, attempt=number)
            run.write(0, [f"r{number}"])
            run.finish(number + 1)
        self.sees(sink, "r0", "r1")
