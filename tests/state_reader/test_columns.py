"""State as Arrow, polars and pandas."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import Row, Types, state_reader
from millstream.core.errors import MissingDependencyError, StateError
from millstream.core.types import GENERIC, TypeInformation
from millstream.state.type_names import Pickled, TypeReader
from millstream.state_reader.frames import Columnar
from tests.state_reader.conftest import Totaling

TYPES = TypeReader({}, unpickle=False)


class Values(Columnar):
    """A column of values of a declared type."""

    def __init__(self, type_info: TypeInformation[Any], *values: Any) -> None:
        self.columns_, self.values = {"value": type_info.name}, values

    @property
    def columns(self) -> dict[str, str]:
        return self.columns_

    def rows(self) -> Any:
        return ({"value": value} for value in self.values)

    def _type_reader(self) -> TypeReader:
        return TYPES


def test_keyed_state_becomes_columns_of_the_declared_types(totals: Totaling) -> None:
    with (
        totals() as job,
        state_reader.open(job.take(("a", "x", 1), ("b", "y", 2), ("a", "z", 3))) as snapshot,
    ):
        operator = snapshot.operator("totals")
        table = operator.keyed("total").to_arrow()
        assert table.schema == pa.schema([("key", pa.string()), ("value", pa.int64())])
        assert sorted(map(tuple, (row.values() for row in table.to_pylist()))) == [("a", 4), ("b", 2)]
        items = operator.keyed("items").to_polars()
        assert items.columns == ["key", "map_key", "value"]
        assert sorted(items.rows()) == [("a", "x", 1), ("a", "z", 3), ("b", "y", 2)]
        frame = operator.keyed("total").to_pandas()
        assert isinstance(frame, pd.DataFrame)
        assert dict(zip(frame["key"], frame["value"], strict=True)) == {"a": 4, "b": 2}


def test_batches_are_bounded_and_have_one_schema() -> None:
    values = Values(GENERIC, *range(10), None, 0.5)
    batches = list(values.to_batches(4))
    assert [batch.num_rows for batch in batches] == [4, 4, 4]
    assert {batch.schema for batch in batches} == {pa.schema([("value", pa.float64())])}
    assert pa.Table.from_batches(batches).column("value").to_pylist() == [*range(10), None, 0.5]


@pytest.mark.parametrize(
    ("type_info", "value", "arrow_type", "shown"),
    [
        (
            Types.TUPLE([Types.STRING(), Types.LONG()]),
            ("a", 1),
            "struct<f0: string, f1: int64>",
            {"f0": "a", "f1": 1},
        ),
        (Types.ROW_NAMED(["a"], [Types.DOUBLE()]), Row(a=1.5), "struct<a: double>", {"a": 1.5}),
        (Types.LIST(Types.INT()), [1, 2], "list<item: int32>", [1, 2]),
        (Types.MAP(Types.STRING(), Types.LONG()), {"a": 1}, "map<string, int64>", [("a", 1)]),
        (Types.PICKLED_BYTE_ARRAY(), Pickled(b"x"), "binary", b"x"),
        (Types.BIG_DEC(), Decimal("1.50"), "decimal128(3, 2)", Decimal("1.50")),
        (
            GENERIC,
            {1: ("a",)},
            "list<item: struct<key: int64, value: list<item: string>>>",
            [{"key": 1, "value": ["a"]}],
        ),
        (GENERIC, {"a": None}, "struct<a: null>", {"a": None}),
    ],
    ids=str,
)
def test_each_type_has_its_arrow_type(
    type_info: TypeInformation[Any], value: Any, arrow_type: str, shown: Any
) -> None:
    table = Values(type_info, value).to_arrow()
    assert str(table.schema.field("value").type).replace("element:", "item:") == arrow_type
    assert table.column("value").to_pylist() == [shown]


def test_a_state_without_entries_is_a_table_without_rows() -> None:
    table = Values(Types.TUPLE([Types.STRING()])).to_arrow()
    assert (table.num_rows, str(table.schema.field("value").type)) == (0, "struct<f0: string>")


def test_values_of_no_common_type_are_one_clear_error() -> None:
    with pytest.raises(StateError, match="column 'value' have no common Arrow type"):
        Values(GENERIC, 1, "a").to_arrow()


@pytest.mark.parametrize(
    ("package", "method"), [("pyarrow", "to_arrow"), ("polars", "to_polars"), ("pandas", "to_pandas")]
)
def test_a_missing_package_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, package: str, method: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"needs the package '{package}'"):
        getattr(Values(Types.LONG(), 1), method)()


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=3), st.integers(-(2**63), 2**63 - 1)), max_size=20))
def test_what_goes_in_comes_out_by_way_of_polars(values: list[tuple[str, int]]) -> None:
    column = Values(Types.TUPLE([Types.STRING(), Types.LONG()]), *values).to_polars().get_column("value")
    assert isinstance(column, pl.Series)
    assert [(item["f0"], item["f1"]) for item in column.to_list()] == values
