"""What every bounded, replayable source has to do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import cloudpickle
import pytest

from ..connectors.base import EndOfSource, NothingAvailable, Source, SourceBatch, SupportsSplitPausing
from .connector_runs import SourceCheckpoint, SourceRun, close_open_runs


class SourceContract:
    """Derive a test class from it that gives the source, and what is in it, as fixtures; pytest does the rest.

    A source passes if it is bounded, and reads every record once however often it is stopped at a checkpoint and goes on
    elsewhere, at whatever parallelism. Records must be hashable; two of them may be equal.

        class TestMySource(SourceContract):
            @pytest.fixture
            def source(self, tmp_path):
                return MySource(tmp_path)

            @pytest.fixture
            def expected(self, source):
                return ["all", "its", "records"]
    """

    @pytest.fixture
    def source(self) -> Source[Any, Any]:
        """The source under test."""
        message = "a subclass of SourceContract gives the source under test"
        raise AssertionError(message)

    @pytest.fixture
    def expected(self) -> Sequence[Any]:
        """All of its records, in any order."""
        message = "a subclass of SourceContract gives the records of its source"
        raise AssertionError(message)

    @pytest.fixture(autouse=True)
    def crashed_attempts_hold_nothing_after_the_test(self) -> Iterator[None]:
        """A killed process would have given everything back at once."""
        yield
        close_open_runs()

    # ---- reading

    @pytest.mark.parametrize("parallelism", [1, 2, 3, 7])
    def test_every_record_is_read_once(
        self, source: Source[Any, Any], expected: Sequence[Any], parallelism: int
    ) -> None:
        run = SourceRun(source, parallelism)
        run.read()
        run.close()
        same_records(run.values, expected)

    def test_after_the_end_polling_says_so_again(self, source: Source[Any, Any]) -> None:
        run = SourceRun(source, 1)
        run.read()
        assert run.poll(0) == EndOfSource()
        assert run.poll(0) == EndOfSource()
        run.close()

    def test_a_batch_is_handed_over(self, source: Source[Any, Any], expected: Sequence[Any]) -> None:
        run = SourceRun(source, 1, batch=2)
        while not all(run.ended):
            answer = run.poll(0)
            if isinstance(answer, SourceBatch):
                answer.values.clear()
            if isinstance(answer, NothingAvailable):
                run.clock.advance(answer.retry_in_ms)
        run.close()
        same_records(run.values, expected)

    def test_the_recipe_can_be_used_twice_and_travels(
        self, source: Source[Any, Any], expected: Sequence[Any]
    ) -> None:
        copy = cloudpickle.loads(cloudpickle.dumps(source))
        for recipe in (source, copy, source):
            run = SourceRun(recipe, 2)
            run.read()
            run.close()
            same_records(run.values, expected)

    def test_closing_amid_reading_is_fine(self, source: Source[Any, Any]) -> None:
        run = SourceRun(source, 2, batch=1)
        run.read(6)
        run.close()

    # ---- checkpoints

    @pytest.mark.parametrize("seed", range(20))
    def test_records_before_checkpoints_and_after_restores_are_all_records_once(
        self, source: Source[Any, Any], expected: Sequence[Any], seed: int
    ) -> None:
        chance = random.Random(seed)
        durable: list[Any] = []
        checkpoint: SourceCheckpoint | None = None
        batch = chance.randint(1, 50)
        for _ in range(chance.randint(1, 4)):
            run = SourceRun(source, chance.randint(1, 4), checkpoint, batch=batch)
            run.read(chance.randint(0, 40))
            durable += run.values
            checkpoint = run.checkpoint()
            run.read(chance.randint(0, 20))  # after the checkpoint, so the crash takes it back
            run.close()
        run = SourceRun(source, chance.randint(1, 4), checkpoint, batch=batch)
        durable += run.read()
        run.close()
        same_records(durable, expected)

    def test_a_snapshot_does_not_disturb_reading(
        self, source: Source[Any, Any], expected: Sequence[Any]
    ) -> None:
        run = SourceRun(source, 2, batch=3)
        while not all(run.ended):
            run.read(1)
            run.checkpoint()
            run.read(1)
        run.close()
        same_records(run.values, expected)

    def test_a_split_survives_its_encoding_at_every_position(self, source: Source[Any, Any]) -> None:
        run = SourceRun(source, 1, batch=2)
        while not all(run.ended):
            for split in run.readers[0].snapshot_state(1):
                data = source.encode_split(split)
                again = source.decode_split(data)
                assert isinstance(data, bytes)
                assert again.split_id == split.split_id
                assert source.encode_split(again) == data
            run.read(1)
        run.close()

    def test_a_snapshot_holds_exactly_the_splits_that_are_not_finished(
        self, source: Source[Any, Any]
    ) -> None:
        run = SourceRun(source, 2, batch=5)
        while not all(run.ended):
            run.read(1)
            for reader, unfinished in zip(run.readers, run.unfinished, strict=True):
                held = [split.split_id for split in reader.snapshot_state(1)]
                assert sorted(held) == sorted(unfinished)
        run.close()

    def test_a_snapshot_before_any_reader_registered_loses_nothing(
        self, source: Source[Any, Any], expected: Sequence[Any]
    ) -> None:
        run = SourceRun(source, 2)
        run.context.pending.clear()  # its own enumerator finds nothing, and its readers read nothing
        fresh = run.source.create_enumerator(run.context, None)
        fresh.start()
        run.context.run_pending()
        checkpoint = SourceCheckpoint(fresh.snapshot_state(1), ())
        run.close()
        restored = SourceRun(source, 3, checkpoint)
        restored.read()
        restored.close()
        same_records(restored.values, expected)

    def test_a_finished_source_stays_finished_after_a_restore(self, source: Source[Any, Any]) -> None:
        run = SourceRun(source, 2)
        run.read()
        checkpoint = run.checkpoint()
        run.close()
        assert checkpoint.splits == ()
        restored = SourceRun(source, 3, checkpoint)
        restored.read()
        restored.close()
        assert restored.values == []

    def test_notifications_that_come_late_repeatedly_or_never_change_nothing(
        self, source: Source[Any, Any], expected: Sequence[Any]
    ) -> None:
        run = SourceRun(source, 1, batch=3)
        for checkpoint_id in range(1, 5):
            run.read(2)
            run.checkpoint(checkpoint_id)
        for notified in (3, 3, 1):
            run.readers[0].notify_checkpoint_complete(notified)
        run.read()
        run.close()
        same_records(run.values, expected)

    # ---- pausing (only readers that can)

    def test_a_paused_split_gives_nothing_until_it_is_resumed_and_loses_nothing(
        self, source: Source[Any, Any], expected: Sequence[Any]
    ) -> None:
        run = SourceRun(source, 1, batch=2)
        reader: object = run.readers[0]
        if isinstance(reader, SupportsSplitPausing):
            run.read(3)
            paused = set(run.unfinished[0])
            reader.pause_or_resume_splits(paused, ())
            for _ in range(20):
                answer = run.poll(0)
                assert not isinstance(answer, EndOfSource) or not paused
                assert getattr(answer, "split_id", None) not in paused
            durable, checkpoint = list(run.values), run.checkpoint()
            reader.pause_or_resume_splits((), paused & run.unfinished[0])
            run.read()
            same_records(run.values, expected)
            restored = SourceRun(source, 2, checkpoint)
            same_records([*durable, *restored.read()], expected)
        run.close()


def same_records(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """The same records, equally often. Raises AssertionError with what is missing and what is too much."""
    missing, extra = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    assert not missing, f"lost {sum(missing.values())} records: {list(missing)[:5]}"
    assert not extra, f"{sum(extra.values())} records too many: {list(extra)[:5]}"
