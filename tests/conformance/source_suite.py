"""What every bounded, replayable source has to do. Subclass `SourceSuite` and give it a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import cloudpickle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.connectors.base import EndOfSource, NothingAvailable, Source, SourceBatch
from tests.connectors.harness import SourceCheckpoint, SourceRun

SLOW_FIXTURES_ARE_FINE = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


class SourceSuite:
    """Subclasses define `source`, a fixture, and `expected`, all of its records. Records must be hashable."""

    @pytest.fixture
    def source(self) -> Source[Any, Any]:
        msg = "a subclass of SourceSuite gives the source under test"
        raise AssertionError(msg)

    @pytest.fixture
    def expected(self) -> Sequence[Any]:
        msg = "a subclass of SourceSuite gives the records of its source"
        raise AssertionError(msg)

    @pytest.mark.parametrize("parallelism", [1, 2, 3, 7])
    def test_every_record_is_read_once(self, source, expected, parallelism) -> None:
        run = SourceRun(source, parallelism)
        run.read()
        run.close()
        assert Counter(run.values) == Counter(expected)

    @SLOW_FIXTURES_ARE_FINE
    @given(
        attempts=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 40), st.integers(0, 20)), max_size=4),
        last_parallelism=st.integers(1, 4),
        batch=st.integers(1, 50),
    )
    def test_records_before_checkpoints_and_after_restores_are_all_records_once(
        self, source, expected, attempts, last_parallelism, batch
    ) -> None:
        durable, checkpoint = [], None
        for parallelism, polls, polls_lost in attempts:
            run = SourceRun(source, parallelism, checkpoint, batch=batch)
            run.read(polls)
            durable += run.values[:]
            checkpoint = run.checkpoint()
            run.read(polls_lost)  # after the checkpoint, so the crash takes it back
            run.close()
        run = SourceRun(source, last_parallelism, checkpoint, batch=batch)
        durable += run.read()
        run.close()
        assert Counter(durable) == Counter(expected)

    def test_a_snapshot_does_not_disturb_reading(self, source, expected) -> None:
        run = SourceRun(source, 2, batch=3)
        while not all(run.ended):
            run.read(1)
            run.checkpoint()
            run.read(1)
        run.close()
        assert Counter(run.values) == Counter(expected)

    def test_a_snapshot_before_any_reader_registered_loses_nothing(self, source, expected) -> None:
        run = SourceRun(source, 2)
        fresh = run.source.create_enumerator(run.context, None)
        fresh.start()
        run.context.run_pending()
        checkpoint = SourceCheckpoint(fresh.snapshot_state(1), ())
        run.close()
        restored = SourceRun(source, 3, checkpoint)
        restored.read()
        restored.close()
        assert Counter(restored.values) == Counter(expected)

    def test_a_finished_source_stays_finished_after_a_restore(self, source, expected) -> None:
        run = SourceRun(source, 2)
        run.read()
        checkpoint = run.checkpoint()
        run.close()
        assert checkpoint.splits == ()
        restored = SourceRun(source, 3, checkpoint)
        restored.read()
        restored.close()
        assert restored.values == []

    def test_after_the_end_polling_says_so_again(self, source, expected) -> None:
        run = SourceRun(source, 1)
        run.read()
        assert run.poll(0) == EndOfSource()
        assert run.poll(0) == EndOfSource()
        run.close()

    def test_a_batch_is_handed_over(self, source, expected) -> None:
        run = SourceRun(source, 1, batch=2)
        while not all(run.ended):
            answer = run.poll(0)
            if isinstance(answer, SourceBatch):
                answer.values.clear()
            if isinstance(answer, NothingAvailable):
                run.clock.advance(answer.retry_in_ms)
        run.close()
        assert Counter(run.values) == Counter(expected)

    def test_the_recipe_can_be_used_twice_and_travels(self, source, expected) -> None:
        copy = cloudpickle.loads(cloudpickle.dumps(source))
        for recipe in (source, copy, source):
            run = SourceRun(recipe, 2)
            run.read()
            run.close()
            assert Counter(run.values) == Counter(expected)

    def test_closing_amid_reading_is_fine(self, source, expected) -> None:
        run = SourceRun(source, 2, batch=1)
        run.read(6)
        run.close()
