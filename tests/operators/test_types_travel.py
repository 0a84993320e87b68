"""Values of all kinds through the two ways that records take: an exchange between workers, and a snapshot."""

from __future__ import annotations

from enum import Enum
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import RecordBatch
from millstream.core.errors import JobDefinitionError
from millstream.core.types import GENERIC, Types, as_type, holds_pickled
from millstream.operators.keyed import ReduceSpec
from millstream.runtime.exchange.codec import BatchCodec
from millstream.testing import OperatorHarness
from tests.core.test_types_exact import VALUES, shape

batches = st.lists(VALUES, min_size=1, max_size=5)


def exchanged(values: list[Any]) -> list[Any]:
    codec = BatchCodec(GENERIC)
    kind, payload = codec.encode(RecordBatch(values))
    return codec.decode(kind, memoryview(payload)).values


def kept_first(first: Any, _: Any) -> Any:
    return first


def snapshotted(values: list[Any], backend: Any) -> list[Any]:
    """As they come back out of keyed state, after a restore."""
    spec = ReduceSpec(itemgetter(0), Types.LONG(), kept_first, GENERIC)
    with TemporaryDirectory() as folder:
        harness = OperatorHarness(spec, backend=backend, directory=Path(folder))
        harness.batch(list(enumerate(values)))
        with harness.restored(parallelism=2) as restored:
            restored.output.clear()
            restored.batch([(index, "second") for index in range(len(values))])
            return [value for _, value in sorted(restored.results, key=itemgetter(0))]


@given(batches)
def test_an_exchange_keeps_values_and_types(values) -> None:
    assert shape(exchanged(values)) == shape(values)


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
@given(values=batches)
@settings(max_examples=20, deadline=None)
def test_a_snapshot_keeps_values_and_types(backend, values) -> None:
    assert shape(snapshotted(values, backend)) == shape(values)


NUMPY = [
    np.int64(5),
    np.float32(1.5),
    np.arange(6, dtype="<i4").reshape(2, 3),
    {"nested": [np.zeros((0, 3))]},
]


@pytest.mark.parametrize(
    "travel", [exchanged, lambda v: snapshotted(v, "hashmap"), lambda v: snapshotted(v, "rocksdb")]
)
def test_numpy_scalars_and_arrays_travel(travel) -> None:
    number, single, array, nested = travel(NUMPY)
    assert (type(number), number) == (np.int64, 5)
    assert (type(single), single) == (np.float32, 1.5)
    assert array.dtype == np.dtype("<i4")
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert nested["nested"][0].shape == (0, 3)


class Colour(Enum):
    RED = 1


def test_an_enum_can_be_declared() -> None:
    assert Types.ENUM(Colour) == as_type(Colour)
    with pytest.raises(JobDefinitionError, match="no Enum class"):
        Types.ENUM(int)


PICKLED = Types.PICKLED_BYTE_ARRAY()


@pytest.mark.parametrize(
    ("type_info", "expected"),
    [
        (PICKLED, True),
        (Types.TUPLE([Types.LONG(), PICKLED]), True),
        (Types.ROW([Types.LIST(PICKLED)]), True),
        (Types.MAP(Types.STRING(), PICKLED), True),
        (Types.OBJECT_ARRAY(PICKLED), True),
        (GENERIC, False),
        (Types.TUPLE([Types.LONG(), Types.LIST(Types.STRING())]), False),
        (Types.MAP(Types.STRING(), Types.LONG()), False),
    ],
)
def test_pickle_is_found_in_any_part_of_a_type(type_info, expected) -> None:
    assert holds_pickled(type_info) is expected
