"""Types by their names, and values of any type read without a backend."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import Row
from millstream.core.errors import CheckpointError, CheckpointFailureReason, StateError
from millstream.core.types import GENERIC, TaggedUnionTypeInfo, TypeInformation, Types, infer_type
from millstream.core.types.offline import OfflineClasses
from millstream.state.backend import BackendContext, TableDescriptor
from millstream.state.backends import BackendType, create_backend
from millstream.state.handles import ExternalVersion, KeyedStateHandle, TableInfo
from millstream.state.offline import OfflineTable, lay_out
from millstream.state.type_names import TypeReader
from tests.state.local_checkpoints import LocalCheckpoints

TYPES = TypeReader({}, unpickle=False)
Typed = tuple[TypeInformation[Any], st.SearchStrategy[Any]]

LONGS = st.integers(-(2**63), 2**63 - 1)
BASIC: list[Typed] = [
    (Types.LONG(), LONGS),
    (Types.BIG_INT(), st.integers()),
    (Types.STRING(), st.text(max_size=5)),
    (Types.DOUBLE(), st.floats(allow_nan=False)),
    (Types.BOOLEAN(), st.booleans()),
    (Types.PRIMITIVE_ARRAY(Types.BYTE()), st.binary(max_size=5)),
    (Types.BIG_DEC(), st.just(Decimal("1.50"))),
    (Types.SQL_TIMESTAMP(), st.datetimes(timezones=st.just(UTC))),
    (infer_type(timedelta) or GENERIC, st.timedeltas()),
    (infer_type(UUID) or GENERIC, st.uuids()),
    (GENERIC, st.one_of(st.none(), LONGS, st.tuples(st.text(max_size=3)), st.just(datetime(2026, 1, 1)))),
]


def composite(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    several = st.lists(inner, max_size=3)
    names = st.sampled_from([("a", "b", "c"), ("with space", "x", "y")])
    return st.one_of(
        inner.map(lambda t: (Types.LIST(t[0]), st.lists(t[1], max_size=3))),
        inner.map(lambda t: (Types.OBJECT_ARRAY(t[0]), st.lists(st.none() | t[1], max_size=3))),
        several.map(lambda ts: (Types.TUPLE([t for t, _ in ts]), st.tuples(*(v for _, v in ts)))),
        several.map(
            lambda ts: (
                Types.ROW([t for t, _ in ts]),
                st.tuples(*(st.none() | v for _, v in ts)).map(lambda values: Row(*values)),
            )
        ),
        st.tuples(st.lists(inner, min_size=1, max_size=3), names).map(
            lambda pair: (
                Types.ROW_NAMED(pair[1][: len(pair[0])], [t for t, _ in pair[0]]),
                st.tuples(*(v for _, v in pair[0])).map(
                    lambda values: Row.of_fields(pair[1][: len(values)], values)
                ),
            )
        ),
        inner.map(
            lambda t: (
                Types.MAP(Types.STRING(), t[0]),
                st.dictionaries(st.text(max_size=2), t[1], max_size=3),
            )
        ),
        st.tuples(inner, inner).map(
            lambda pair: (
                TaggedUnionTypeInfo(pair[0][0], pair[1][0]),
                st.tuples(st.just(1), pair[0][1]) | st.tuples(st.just(2), pair[1][1]),
            )
        ),
    )


typed = st.recursive(st.sampled_from(BASIC), composite, max_leaves=4)
typed_values = typed.flatmap(lambda t: st.tuples(st.just(t[0]), st.dictionaries(LONGS, t[1], max_size=4)))


@given(typed)
def test_a_type_is_read_back_from_its_name(drawn: Typed) -> None:
    assert TYPES.read(drawn[0].name).name == drawn[0].name


@pytest.mark.parametrize("kind", ["hashmap", "rocksdb"])
@settings(max_examples=60, deadline=None)
@given(drawn=typed_values)
def test_values_of_any_type_come_back_by_the_name_of_the_type_alone(
    kind: BackendType, drawn: tuple[TypeInformation[Any], dict[int, Any]]
) -> None:
    type_info, values = drawn
    values = {key: value for key, value in values.items() if value is not None}
    with tempfile.TemporaryDirectory(prefix="millstream-test-offline-") as name:
        folder = Path(name)
        checkpoints = LocalCheckpoints(folder / "checkpoints")
        handle = written(kind, folder, checkpoints, type_info, values)
        table = OfflineTable(handle.tables[0], TYPES, OfflineClasses({}), "values", 4)
        files = lay_out(handle, checkpoints, folder / "read")
        found = {entry.key: entry.value for entry in files.entries(table, 0, 3)}
        assert found == values
        assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in values.items()}
        for key, value in values.items():
            assert [(e.key, e.value) for e in files.entries_of_key(table, key)] == [(key, value)]
        files.close()


def written(
    kind: BackendType,
    folder: Path,
    checkpoints: LocalCheckpoints,
    type_info: TypeInformation[Any],
    values: dict[int, Any],
) -> KeyedStateHandle:
    (folder / "db").mkdir()
    backend = create_backend(kind, BackendContext("values", 4, (0, 3), folder / "db", (), checkpoints, 10))
    entries = backend.table(TableDescriptor("v", Types.LONG(), type_info)).namespace(None)
    for key, value in values.items():
        entries[key] = value
    pending = backend.snapshot(1)
    handle = pending.write(checkpoints.streams(1))
    pending.release()
    backend.close()
    return handle


@pytest.mark.parametrize(
    "name", ["LONGISH", "TUPLE(LONG", "MAP(LONG)", "OPTIONAL(LONG, LONG)", "ROW(a, b LONG)", ""]
)
def test_a_name_of_no_known_form_is_refused(name: str) -> None:
    with pytest.raises(StateError, match="no known form"):
        TYPES.read(name)


def test_state_in_a_database_is_refused_and_not_taken_for_empty(tmp_path: Path) -> None:
    version = ExternalVersion("job", "op", 1, 1)
    handle = KeyedStateHandle("postgresql-1", (0, 3), (), {}, version)
    with pytest.raises(CheckpointError, match="is in a database") as refused:
        lay_out(handle, LocalCheckpoints(tmp_path / "checkpoints"), tmp_path / "read")
    assert refused.value.reason is CheckpointFailureReason.INCOMPATIBLE


def test_a_format_that_is_not_known_is_refused(tmp_path: Path) -> None:
    checkpoints = LocalCheckpoints(tmp_path / "checkpoints")
    ref = checkpoints.put("chk-1", b"", shared=False)
    info = TableInfo("v", 0, "key", "LONG", "", "LONG")
    handle = KeyedStateHandle("from-the-future-9", (0, 3), (info,), {"state": ref})
    with pytest.raises(CheckpointError, match="from-the-future-9") as refused:
        lay_out(handle, checkpoints, tmp_path / "read")
    assert refused.value.reason is CheckpointFailureReason.INCOMPATIBLE
