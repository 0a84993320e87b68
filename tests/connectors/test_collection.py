from __future__ import annotations

import pytest

from millstream.connectors.collection import CollectionSource
from millstream.core.errors import JobDefinitionError
from millstream.testing.connectors import SourceContract, SourceRun


class TestCollectionSource(SourceContract):
    @pytest.fixture
    def source(self):
        return CollectionSource([(f"key-{n % 3}", n) for n in range(100)])

    @pytest.fixture
    def expected(self):
        return [(f"key-{n % 3}", n) for n in range(100)]


def test_records_keep_their_order() -> None:
    run = SourceRun(CollectionSource(range(20)), parallelism=3)
    assert run.read() == list(range(20))


def test_timestamps_stay_with_their_records_across_a_restore() -> None:
    source = CollectionSource("abcdefghij", timestamps=range(0, 100, 10))
    run = SourceRun(source, batch=4)
    run.read(1)
    restored = SourceRun(source, 2, run.checkpoint(), batch=4)
    restored.read()
    assert restored.values == list("efghij")
    assert restored.timestamps == [40, 50, 60, 70, 80, 90]


def test_the_collection_is_taken_over_when_the_source_is_made() -> None:
    values = [1, 2]
    source = CollectionSource(values)
    values.append(3)
    assert SourceRun(source).read() == [1, 2]


def test_an_empty_collection_ends_at_once() -> None:
    assert SourceRun(CollectionSource([]), 2).read() == []


def test_a_missing_timestamp_is_an_error_in_the_program() -> None:
    with pytest.raises(JobDefinitionError, match="2 values has 1 timestamps"):
        CollectionSource([1, 2], [0])
