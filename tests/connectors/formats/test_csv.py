from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import JobDefinitionError, Row, Types
from millstream.connectors.files import FileSource
from millstream.connectors.formats import (
    CsvReaderFormat,
    CsvRowDeserializationSchema,
    CsvRowSerializationSchema,
    CsvSchema,
)
from millstream.testing.connectors import SourceContract, SourceRun

NAMES = ["user", "clicks", "ok", "tags"]
TYPE = Types.ROW_NAMED(
    NAMES, [Types.STRING(), Types.LONG(), Types.BOOLEAN(), Types.OBJECT_ARRAY(Types.STRING())]
)


def reading():
    return CsvRowDeserializationSchema.Builder(TYPE)


def writing():
    return CsvRowSerializationSchema.Builder(TYPE)


def row(*values):
    return Row.of_fields(NAMES, values)


plain = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
tags = st.lists(st.text("abc", min_size=1), max_size=3)


@given(plain, st.integers(-(2**63), 2**63 - 1), st.booleans(), tags)
def test_every_row_without_line_ends_comes_back_as_it_was(user, clicks, ok, tags) -> None:
    wanted = row(user, clicks, ok, tags)
    assert reading().build().deserialize(writing().build().serialize(wanted)) == wanted


@given(plain.filter(lambda text: text != "NULL"))
def test_a_dialect_without_quotes_escapes(user) -> None:
    write = writing().disable_quote_character().set_escape_character("\\").set_field_delimiter("|").build()
    line = write.serialize(row(user, 1, True, []))
    read = reading().set_field_delimiter("|").set_escape_character("\\").set_quote_character("\x01")
    if "\x01" not in user:
        assert read.build().deserialize(line) == row(user, 1, True, [])


def test_what_a_line_looks_like() -> None:
    assert writing().build().serialize(row('a "b", c', 3, True, ["x", "y"])) == b'"a ""b"", c",3,true,x;y\n'
    bare = writing().set_line_delimiter("").set_null_literal("-").set_array_element_delimiter("+").build()
    assert bare.serialize(row(None, 3, None, ["x", "y"])) == b"-,3,-,x+y"


def test_null_literals_and_comments() -> None:
    schema = reading().set_null_literal("-").set_allow_comments(True).build()
    assert schema.deserialize(b"-,-,-,-") == row(None, None, None, None)
    assert schema.deserialize(b"# a,1,true,") is None


@pytest.mark.parametrize(
    "message",
    [
        b"a,1,true",
        b"a,1,true,x,y",
        b"a,b,true,x",
        b"a,1,perhaps,x",
        b'"a,1,true,x',
        b"\xff,1,true,x",
        b"a,1,true,x\nb,1,true,x",
    ],
)
def test_what_is_no_row_fails_or_is_dropped(message) -> None:
    with pytest.raises(ValueError):
        reading().build().deserialize(message)
    assert reading().set_ignore_parse_errors(True).build().deserialize(message) is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: reading().set_field_delimiter("||"),
        lambda: CsvRowDeserializationSchema.Builder(Types.STRING()).build(),
        lambda: CsvRowSerializationSchema.Builder(Types.ROW([Types.ROW([Types.INT()])])).build(),
        lambda: CsvSchema.builder().build(),
        lambda: CsvSchema.builder().add_string_column("a").add_string_column("a"),
    ],
)
def test_a_schema_that_cannot_work_is_refused_when_it_is_built(build) -> None:
    with pytest.raises(JobDefinitionError):
        build()


def schema(*, header=True):
    builder = CsvSchema.builder().add_string_column("user").add_number_column("clicks", Types.LONG())
    return builder.set_use_header(header).set_allow_comments().build()


class TestCsvFiles(SourceContract):
    @pytest.fixture
    def source(self, tmp_path):
        for name in "ab":
            lines = "".join(f'"{name}, {n}",{n}\n' + "# so far\n" * (n % 3 == 0) for n in range(40))
            (tmp_path / f"{name}.csv").write_text(f"user,clicks\n{lines}")
        builder = FileSource.for_record_stream_format(CsvReaderFormat.for_schema(schema()), tmp_path)
        return builder.set_split_bytes(50).build()

    @pytest.fixture
    def expected(self):
        return [Row.of_fields(["user", "clicks"], [f"{name}, {n}", n]) for name in "ab" for n in range(40)]


def test_a_source_of_csv_knows_the_type_of_its_rows(tmp_path) -> None:
    source = FileSource.for_record_stream_format(CsvReaderFormat.for_schema(schema()), tmp_path).build()
    assert source.type_info == schema().row_type


def test_a_line_that_is_no_row_fails_the_job(tmp_path) -> None:
    (tmp_path / "f").write_text("a,1\nb,many\n")
    source = FileSource.for_record_stream_format(CsvReaderFormat.for_schema(schema(header=False)), tmp_path)
    with pytest.raises(ValueError, match=r"field 'clicks'.*'b,many'"):
        SourceRun(source.build()).read()


def test_columns_are_taken_from_another_schema() -> None:
    names = CsvSchema.builder().add_string_column("user").add_number_column("clicks", Types.LONG()).build()
    builder = CsvSchema.builder().add_string_column("old").clear_columns().add_columns_from(names)
    builder.add_array_column("tags").set_array_element_separator("/").set_escape_char(
        "%"
    ).disable_escape_char()
    assert builder.size() == 3
    schema = builder.build()
    assert schema.size() == 3
    assert schema.row_type.get_field_names() == ["user", "clicks", "tags"]
    assert (schema.dialect.array_delimiter, schema.dialect.escape) == ("/", None)
    with pytest.raises(JobDefinitionError, match="two columns 'user'"):
        builder.add_columns_from(names)
