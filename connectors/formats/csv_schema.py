"""What a line of CSV is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from ...core.errors import JobDefinitionError
from ...core.types import TypeInformation, Types
from ...core.types.composite import RowTypeInfo


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How fields are told apart.

    Attributes:
        quote: None where no field is quoted.
        escape: makes the next character an ordinary one; None for no such character.
        null: the text of an absent value; None where there is none such.
        comments: lines that begin with `#` are no records.
    """

    delimiter: str = ","
    array_delimiter: str = ";"
    quote: str | None = '"'
    escape: str | None = None
    null: str | None = None
    comments: bool = False

    def __post_init__(self) -> None:
        for what, character in (
            ("delimiter", self.delimiter),
            ("quote character", self.quote),
            ("escape character", self.escape),
        ):
            if character is not None and (len(character) != 1 or character in "\r\n"):
                raise JobDefinitionError(
                    f"the {what} of CSV cannot be {character!r}",
                    where="CSV",
                    fix="give one character, no line end",
                )


@dataclass(frozen=True, slots=True)
class CsvSchema:
    """Columns and their types. Made by `CsvSchema.builder()`.

    >>> schema = CsvSchema.builder().add_string_column("user").add_number_column("clicks", Types.LONG()).build()
    >>> schema.row_type
    ROW(user STRING, clicks LONG)
    """

    row_type: RowTypeInfo
    dialect: CsvDialect
    use_header: bool

    @staticmethod
    def builder() -> CsvSchemaBuilder:
        """As in PyFlink."""
        return CsvSchemaBuilder()

    def size(self) -> int:
        """Number of columns."""
        return len(self.row_type.types)


class CsvSchemaBuilder:
    """Builds a `CsvSchema`."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._types: list[TypeInformation[Any]] = []
        self._dialect = CsvDialect()
        self._use_header = False

    def _add(self, name: str, type_info: TypeInformation[Any]) -> Self:
        if name in self._names:
            raise JobDefinitionError(f"CSV has two columns {name!r}", where="CsvSchema", fix="rename one")
        self._names.append(name)
        self._types.append(type_info)
        return self

    def add_string_column(self, name: str) -> Self:
        """Text."""
        return self._add(name, Types.STRING())

    def add_number_column(self, name: str, number_type: TypeInformation[Any] | None = None) -> Self:
        """A number, `Types.DOUBLE()` unless another type is given."""
        return self._add(name, number_type or Types.DOUBLE())

    def add_boolean_column(self, name: str) -> Self:
        """`true` or `false`."""
        return self._add(name, Types.BOOLEAN())

    def add_array_column(
        self, name: str, separator: str = ";", element_type: TypeInformation[Any] | None = None
    ) -> Self:
        """A list of `element_type` (strings by default). All array columns have the same separator."""
        self._dialect = replace(self._dialect, array_delimiter=separator)
        return self._add(name, Types.OBJECT_ARRAY(element_type or Types.STRING()))

    def add_columns_from(self, schema: CsvSchema) -> Self:
        """The columns of another schema; nothing else of it.

        Raises:
            JobDefinitionError: there is a column of such a name already.
        """
        for name, type_info in zip(schema.row_type.get_field_names(), schema.row_type.types, strict=True):
            self._add(name, type_info)
        return self

    def clear_columns(self) -> Self:
        """No columns so far."""
        self._names.clear()
        self._types.clear()
        return self

    def size(self) -> int:
        """Number of columns so far."""
        return len(self._names)

    def set_array_element_separator(self, separator: str) -> Self:
        """What is between the items of array columns, `;` by default."""
        self._dialect = replace(self._dialect, array_delimiter=separator)
        return self

    def set_column_separator(self, char: str) -> Self:
        """`,` by default."""
        self._dialect = replace(self._dialect, delimiter=char)
        return self

    def set_quote_char(self, char: str) -> Self:
        """`"` by default."""
        self._dialect = replace(self._dialect, quote=char)
        return self

    def disable_quote_char(self) -> Self:
        """No field is quoted."""
        self._dialect = replace(self._dialect, quote=None)
        return self

    def set_escape_char(self, char: str) -> Self:
        """None by default."""
        self._dialect = replace(self._dialect, escape=char)
        return self

    def disable_escape_char(self) -> Self:
        """No character is one."""
        self._dialect = replace(self._dialect, escape=None)
        return self

    def set_null_value(self, null_value: str) -> Self:
        """The text of an absent value; none by default."""
        self._dialect = replace(self._dialect, null=null_value)
        return self

    def set_allow_comments(self, allow: bool = True) -> Self:
        """Whether lines that begin with `#` are no records."""
        self._dialect = replace(self._dialect, comments=allow)
        return self

    def set_use_header(self, use: bool = True) -> Self:
        """Whether the first line of a file names the columns, and so is no record."""
        self._use_header = use
        return self

    def build(self) -> CsvSchema:
        """The schema.

        Raises:
            JobDefinitionError: it has no columns.
        """
        if not self._names:
            raise JobDefinitionError(
                "CSV needs at least one column",
                where="CsvSchema",
                fix="call add_string_column(name) and the like",
            )
        return CsvSchema(Types.ROW_NAMED(self._names, self._types), self._dialect, self._use_header)
