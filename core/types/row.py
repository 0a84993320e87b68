"""`Row`: a record of positional, optionally named fields, as in PyFlink."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Any, Final


class RowKind(enum.Enum):
    """What a row means in a changelog."""

    INSERT = 0
    UPDATE_BEFORE = 1
    UPDATE_AFTER = 2
    DELETE = 3

    def __str__(self) -> str:
        return ("+I", "-U", "+U", "-D")[self.value]


class Row:
    """Values by position, and by name where the fields have names.

    Keyword arguments make a row with names, in the order they are given; positional arguments make one without. A row
    without names that holds strings can be called like a class to make rows with these names. Two rows are equal when kind,
    names and values are; the order of named fields does not count. `name in row` asks for a field where fields have names,
    for a value where they have not. Fields without names are also called f0, f1, and so on.

    >>> row = Row(name="Alice", age=11)
    >>> row, row.name, row["age"], row[0], "age" in row
    (Row(name='Alice', age=11), 'Alice', 11, 'Alice', True)
    >>> Person = Row("name", "age")
    >>> Person("Alice", 11)
    Row(name='Alice', age=11)

    Raises:
        ValueError: both positional and keyword arguments.
    """

    __slots__ = ("_fields", "_row_kind", "_values")

    _fields: tuple[str, ...] | None
    _row_kind: RowKind
    _values: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            msg = "a Row takes either positional values or named ones, not both"
            raise ValueError(msg)
        _fill(self, tuple(kwargs) or None, list(kwargs.values() if kwargs else args), RowKind.INSERT)

    @staticmethod
    def of_kind(row_kind: RowKind, *args: Any, **kwargs: Any) -> Row:
        """A row as the constructor makes it, of this kind.

        >>> Row.of_kind(RowKind.DELETE, "Alice", 11).get_row_kind().name
        'DELETE'
        """
        row = Row(*args, **kwargs)
        row.set_row_kind(row_kind)
        return row

    @staticmethod
    def of_fields(names: Sequence[str] | None, values: Sequence[Any], kind: RowKind = RowKind.INSERT) -> Row:
        """A row whose names keep the given order.

        >>> Row.of_fields(["b", "a"], [1, 2])
        Row(b=1, a=2)

        Raises:
            ValueError: as many names as values are needed.
        """
        if names is not None and len(names) != len(values):
            msg = f"{len(names)} field names for {len(values)} values"
            raise ValueError(msg)
        return make_row(None if names is None else tuple(names), list(values), kind)

    def as_dict(self, recursive: bool = False) -> dict[str, Any]:
        """Values by name; with `recursive`, also those of rows inside (also in lists and dicts).

        Raises:
            TypeError: the fields have no names.
        """
        if self._fields is None:
            msg = "a Row without field names cannot become a dict"
            raise TypeError(msg)
        values = map(_unrow, self._values) if recursive else self._values
        return dict(zip(self._fields, values, strict=True))

    def get_row_kind(self) -> RowKind:
        """What the row means in a changelog; INSERT unless set."""
        return self._row_kind

    def set_row_kind(self, row_kind: RowKind) -> None:
        """Change what the row means in a changelog."""
        object.__setattr__(self, "_row_kind", row_kind)

    def get_field_names(self) -> list[str] | None:
        """The names in the order of the values, or None."""
        return None if self._fields is None else list(self._fields)

    def set_field_names(self, field_names: Sequence[str]) -> None:
        """Give the fields names, in the order of the values."""
        object.__setattr__(self, "_fields", tuple(field_names))

    def get_fields_by_names(self, names: Sequence[str]) -> list[Any]:
        """The values of these fields, in this order; all values where the fields have no names.

        >>> Row(name="Alice", age=11).get_fields_by_names(["age", "name"])
        [11, 'Alice']

        Raises:
            KeyError: there is no field of such a name.
        """
        if self._fields is None:
            return list(self._values)
        return [self._values[self._index(name)] for name in names]

    def _index(self, name: str) -> int:
        if self._fields is None:
            # PyFlink calls the fields of Types.ROW f0, f1, ...
            position = name[1:]
            if name[:1] == "f" and position.isdecimal() and int(position) < len(self._values):
                return int(position)
            raise KeyError(name)
        if name not in self._fields:
            raise KeyError(name)
        return self._fields.index(name)

    def __contains__(self, item: object) -> bool:
        return item in (self._values if self._fields is None else self._fields)

    def __call__(self, *args: Any) -> Row:
        if len(args) > len(self._values):
            msg = f"{self!r} makes rows of {len(self._values)} fields, {len(args)} values were given"
            raise ValueError(msg)
        return Row.of_fields(self._values[: len(args)], args, self._row_kind)

    def __getitem__(self, item: int | slice | str) -> Any:
        return self._values[self._index(item) if isinstance(item, str) else item]

    def __setitem__(self, item: int | slice | str, value: Any) -> None:
        self._values[self._index(item) if isinstance(item, str) else item] = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[self._index(name)]
        except KeyError:
            msg = f"no field {name!r} in {self!r}"
            raise AttributeError(msg) from None

    def __setattr__(self, name: str, value: Any) -> None:
        msg = f"fields of a Row are set by row[{name!r}] = ..."
        raise AttributeError(msg)

    def __reduce__(self) -> tuple[Any, ...]:
        return Row.of_fields, (self._fields, self._values, self._row_kind)

    def __repr__(self) -> str:
        if self._fields is None:
            return f"<Row({', '.join(map(repr, self._values))})>"
        return f"Row({', '.join(f'{n}={v!r}' for n, v in zip(self._fields, self._values, strict=False))})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Row):
            return NotImplemented
        if self._row_kind is not other._row_kind:
            return False
        if self._fields == other._fields:
            return self._values == other._values
        if self._fields is None or other._fields is None:
            return False
        return self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        # Rows that differ in the order of their fields alone are equal.
        values = (
            self._values if self._fields is None else (value for _, value in sorted(self.as_dict().items()))
        )
        return hash(tuple(values))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


_set_fields: Final = Row.__dict__["_fields"].__set__
_set_values: Final = Row.__dict__["_values"].__set__
_set_kind: Final = Row.__dict__["_row_kind"].__set__


def make_row(fields: tuple[str, ...] | None, values: list[Any], kind: RowKind) -> Row:
    """A row that takes over what is given, unchecked: for decoding."""
    row = Row.__new__(Row)
    _fill(row, fields, values, kind)
    return row


def _fill(row: Row, fields: tuple[str, ...] | None, values: list[Any], kind: RowKind) -> None:
    _set_fields(row, fields)
    _set_values(row, values)
    _set_kind(row, kind)


def _unrow(value: Any) -> Any:
    match value:
        case Row():
            return value.as_dict(recursive=True)
        case list():
            return [_unrow(item) for item in value]
        case dict():
            return {key: _unrow(item) for key, item in value.items()}
        case _:
            return value
