"""Rows from and to lines of CSV. A field cannot hold a line end: a record is one line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from ...core.errors import JobDefinitionError
from ...core.types import Row, TypeInformation
from ...core.types.composite import CollectionTypeInfo, RowTypeInfo
from ..files import StreamFormat
from ..schemas import DeserializationSchema, SerializationSchema
from .conversion import Converter, scalar
from .csv_schema import CsvDialect, CsvSchema


class CsvRowReader:
    """Lines to rows. Raises JobDefinitionError for a type that CSV cannot hold."""

    def __init__(self, row_type: TypeInformation[Any], dialect: CsvDialect) -> None:
        self._row_type = _checked(row_type)
        self._names = tuple(self._row_type.get_field_names())
        self._dialect = dialect
        self._converters = [_reader(t, dialect) for t in self._row_type.get_field_types()]

    def rows(self, lines: list[str]) -> list[Row]:
        """A row for each line, but for comments. Raises ValueError."""
        if self._dialect.comments:
            lines = [line for line in lines if not line.startswith("#")]
        rows = []
        for line, fields in zip(
            lines, csv.reader(lines, **_settings(self._dialect), strict=True), strict=True
        ):
            rows.append(self._row(line, fields))
        return rows

    def _row(self, line: str, fields: list[str]) -> Row:
        if len(fields) != len(self._names):
            raise ValueError(f"{len(fields)} fields instead of {len(self._names)}: {line!r:.200}")
        null, values = self._dialect.null, []
        for name, convert, text in zip(self._names, self._converters, fields, strict=True):
            try:
                values.append(None if text == null else convert(text))
            except ValueError as error:
                raise ValueError(f"field {name!r}: {error}, in {line!r:.200}") from error
        return Row.of_fields(self._names, values)


class CsvReaderFormat:
    """CSV files for `FileSource.for_record_stream_format`.

    >>> schema = CsvSchema.builder().add_string_column("user").build()
    >>> CsvReaderFormat.for_schema(schema).type_info
    ROW(user STRING)
    """

    @staticmethod
    def for_schema(schema: CsvSchema, charset_name: str = "UTF-8") -> StreamFormat[Row]:
        """Rows of the schema; a line that is none fails the job.

        Raises:
            JobDefinitionError: CSV cannot hold a type, or there is no such charset.
        """
        reader = CsvRowReader(schema.row_type, schema.dialect)
        text = StreamFormat.text_line_format(charset_name)
        return StreamFormat(text.charset_name, reader.rows, schema.row_type, schema.use_header)


class CsvRowDeserializationSchema(DeserializationSchema[Row]):
    """A row from the line of CSV in the bytes.

    >>> from millstream import Types
    >>> row_type = Types.ROW_NAMED(["user", "clicks"], [Types.STRING(), Types.LONG()])
    >>> CsvRowDeserializationSchema.Builder(row_type).build().deserialize(b'"ada",3')
    Row(user='ada', clicks=3)
    """

    def __init__(
        self, type_info: TypeInformation[Any], dialect: CsvDialect, *, ignore_parse_errors: bool
    ) -> None:
        self.type_info = type_info
        self._reader = CsvRowReader(type_info, dialect)
        self._ignore_parse_errors = ignore_parse_errors

    def get_produced_type(self) -> TypeInformation[Any]:
        """The type of the rows."""
        return self.type_info

    def deserialize(self, message: bytes) -> Row | None:
        """The row; None for a comment, and for what is no row, if parse errors are ignored.

        Raises:
            ValueError: it is no line with such fields.
        """
        try:
            line = message.decode().removesuffix("\n").removesuffix("\r")
            if "\n" in line:
                raise ValueError(f"more than one line: {line!r:.200}")
            rows = self._reader.rows([line])
        except (ValueError, csv.Error) as error:
            if self._ignore_parse_errors:
                return None
            raise ValueError(str(error)) from error
        return rows[0] if rows else None

    class Builder:
        """As in PyFlink."""

        def __init__(self, type_info: TypeInformation[Any]) -> None:
            self._type_info = type_info
            self._dialect = CsvDialect()
            self._ignore_parse_errors = False

        def set_field_delimiter(self, delimiter: str) -> Self:
            """`,` by default."""
            self._dialect = replace(self._dialect, delimiter=delimiter)
            return self

        def set_array_element_delimiter(self, delimiter: str) -> Self:
            """`;` by default."""
            self._dialect = replace(self._dialect, array_delimiter=delimiter)
            return self

        def set_quote_character(self, c: str) -> Self:
            """`"` by default."""
            self._dialect = replace(self._dialect, quote=c)
            return self

        def set_escape_character(self, c: str) -> Self:
            """None by default."""
            self._dialect = replace(self._dialect, escape=c)
            return self

        def set_null_literal(self, null_literal: str) -> Self:
            """The text of an absent value; none by default."""
            self._dialect = replace(self._dialect, null=null_literal)
            return self

        def set_allow_comments(self, allow_comments: bool) -> Self:
            """Whether lines that begin with `#` are dropped."""
            self._dialect = replace(self._dialect, comments=allow_comments)
            return self

        def set_ignore_parse_errors(self, ignore_parse_errors: bool) -> Self:
            """Drop what is no such row, instead of failing the job."""
            self._ignore_parse_errors = ignore_parse_errors
            return self

        def build(self) -> CsvRowDeserializationSchema:
            """The schema. Raises JobDefinitionError for a type that CSV cannot hold."""
            return CsvRowDeserializationSchema(
                self._type_info, self._dialect, ignore_parse_errors=self._ignore_parse_errors
            )


class CsvRowSerializationSchema(SerializationSchema[Row]):
    r"""A line of CSV from a row, with its line end.

    >>> from millstream import Row, Types
    >>> row_type = Types.ROW_NAMED(["user", "clicks"], [Types.STRING(), Types.LONG()])
    >>> CsvRowSerializationSchema.Builder(row_type).build().serialize(Row("a,da", 3))
    b'"a,da",3\n'
    """

    def __init__(self, type_info: TypeInformation[Any], dialect: CsvDialect, line_delimiter: str) -> None:
        self._type_info = _checked(type_info)
        self._dialect = dialect
        self._line_delimiter = line_delimiter
        self._converters = [_writer(t, dialect) for t in self._type_info.get_field_types()]

    def serialize(self, element: Row) -> bytes:
        """The line; a tuple or dict of field values is taken for a row too.

        Raises:
            ValueError: the row is not of the type, or a value cannot be written in this dialect.
        """
        row = self._type_info.coerce(element)
        reason = self._type_info.mismatch((row,))
        if reason is not None:
            raise ValueError(f"{element!r:.200} is no {self._type_info.name}: {reason}")
        null = self._dialect.null or ""
        fields = [
            null if value is None else convert(value)
            for convert, value in zip(self._converters, row, strict=True)
        ]
        line = io.StringIO()
        try:
            csv.writer(line, lineterminator="", **_settings(self._dialect)).writerow(fields)
        except csv.Error as error:
            raise ValueError(f"{element!r:.200} cannot be written as CSV: {error}") from error
        return f"{line.getvalue()}{self._line_delimiter}".encode()

    class Builder:
        """As in PyFlink."""

        def __init__(self, type_info: TypeInformation[Any]) -> None:
            self._type_info = type_info
            self._dialect = CsvDialect()
            self._line_delimiter = "\n"

        def set_field_delimiter(self, c: str) -> Self:
            """`,` by default."""
            self._dialect = replace(self._dialect, delimiter=c)
            return self

        def set_line_delimiter(self, delimiter: str) -> Self:
            r"""`\n` by default; may be empty."""
            self._line_delimiter = delimiter
            return self

        def set_array_element_delimiter(self, delimiter: str) -> Self:
            """`;` by default."""
            self._dialect = replace(self._dialect, array_delimiter=delimiter)
            return self

        def disable_quote_character(self) -> Self:
            """No field is quoted; one that would have to be is an error, unless there is an escape character."""
            self._dialect = replace(self._dialect, quote=None)
            return self

        def set_quote_character(self, c: str) -> Self:
            """`"` by default."""
            self._dialect = replace(self._dialect, quote=c)
            return self

        def set_escape_character(self, c: str) -> Self:
            """None by default."""
            self._dialect = replace(self._dialect, escape=c)
            return self

        def set_null_literal(self, s: str) -> Self:
            """The text of an absent value; nothing by default."""
            self._dialect = replace(self._dialect, null=s)
            return self

        def build(self) -> CsvRowSerializationSchema:
            """The schema. Raises JobDefinitionError for a type that CSV cannot hold."""
            return CsvRowSerializationSchema(self._type_info, self._dialect, self._line_delimiter)


def _settings(dialect: CsvDialect) -> dict[str, Any]:
    quoting = csv.QUOTE_NONE if dialect.quote is None else csv.QUOTE_MINIMAL
    return {
        "delimiter": dialect.delimiter,
        "quotechar": dialect.quote,
        "escapechar": dialect.escape,
        "doublequote": True,
        "quoting": quoting,
    }


def _checked(row_type: TypeInformation[Any]) -> RowTypeInfo:
    if not isinstance(row_type, RowTypeInfo):
        raise JobDefinitionError(
            f"lines of CSV are rows, not values of the type {row_type!r}",
            where="CSV",
            fix="give Types.ROW_NAMED(names, types)",
        )
    return row_type


def _reader(type_info: TypeInformation[Any], dialect: CsvDialect) -> Converter:
    if isinstance(type_info, CollectionTypeInfo):
        element, kind, delimiter = _scalar(type_info.element)[0], type_info.kind, dialect.array_delimiter
        return lambda text: kind(map(element, text.split(delimiter))) if text else kind(())
    return _scalar(type_info)[0]


def _writer(type_info: TypeInformation[Any], dialect: CsvDialect) -> Callable[[Any], str]:
    if isinstance(type_info, CollectionTypeInfo):
        element, delimiter = _text_of(_scalar(type_info.element)[1]), dialect.array_delimiter
        return lambda values: delimiter.join(map(element, values))
    return _text_of(_scalar(type_info)[1])


def _text_of(convert: Converter) -> Callable[[Any], str]:
    def text(value: Any) -> str:
        plain = convert(value)
        return str(plain).lower() if isinstance(plain, bool) else str(plain)

    return text


def _scalar(type_info: TypeInformation[Any]) -> tuple[Converter, Converter]:
    found = scalar(type_info)
    if found is None:
        raise JobDefinitionError(
            f"a field of CSV cannot hold values of the type {type_info.name}",
            where="CSV",
            fix="use numbers, strings, booleans, dates, and lists of these",
        )
    return found
