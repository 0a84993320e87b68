"""Rows from and to JSON objects."""

from __future__ import annotations

from typing import Any, NoReturn, Self

import msgspec

from ...core.errors import JobDefinitionError
from ...core.types import Row, TypeInformation
from ..schemas import DeserializationSchema, SerializationSchema
from .conversion import from_json, to_json


class JsonRowDeserializationSchema(DeserializationSchema[Row]):
    """A row from the JSON object in the bytes. A field that is missing or null is None.

    >>> from millstream import Types
    >>> row_type = Types.ROW_NAMED(["user", "clicks"], [Types.STRING(), Types.LONG()])
    >>> schema = JsonRowDeserializationSchema.builder().type_info(row_type).build()
    >>> schema.deserialize(b'{"user": "ada", "clicks": 3}')
    Row(user='ada', clicks=3)
    """

    def __init__(
        self, type_info: TypeInformation[Any], *, fail_on_missing_field: bool, ignore_parse_errors: bool
    ) -> None:
        self.type_info = type_info
        self.NEVER_NONE = not ignore_parse_errors
        self._ignore_parse_errors = ignore_parse_errors
        self._convert = from_json(type_info, missing_fails=fail_on_missing_field)

    @staticmethod
    def builder() -> JsonRowDeserializationSchema.Builder:
        """As in PyFlink."""
        return JsonRowDeserializationSchema.Builder()

    def get_produced_type(self) -> TypeInformation[Any]:
        """The type of the rows."""
        return self.type_info

    def deserialize(self, message: bytes) -> Row | None:
        """The row; None for what is none, if parse errors are ignored.

        Raises:
            ValueError: it is no JSON object with such fields.
        """
        try:
            row: Row = self._convert(msgspec.json.decode(message))
        except (ValueError, TypeError, msgspec.DecodeError):
            if self._ignore_parse_errors:
                return None
            raise
        return row

    class Builder:
        """Builds a `JsonRowDeserializationSchema`."""

        def __init__(self) -> None:
            self._type_info: TypeInformation[Any] | None = None
            self._fail_on_missing_field = False
            self._ignore_parse_errors = False

        def type_info(self, type_info: TypeInformation[Any]) -> Self:
            """The type of the rows: `Types.ROW_NAMED(names, types)`."""
            self._type_info = type_info
            return self

        def json_schema(self, json_schema: str) -> NoReturn:
            """Not supported.

            Raises:
                JobDefinitionError: always.
            """
            raise JobDefinitionError(
                f"the type of rows cannot be read from the JSON schema {json_schema!r:.60}",
                where="JsonRowDeserializationSchema",
                fix="give the type: builder().type_info(Types.ROW_NAMED(names, types))",
            )

        def fail_on_missing_field(self) -> Self:
            """A row without one of its fields fails the job."""
            self._fail_on_missing_field = True
            return self

        def ignore_parse_errors(self) -> Self:
            """Drop what is no such row, instead of failing the job."""
            self._ignore_parse_errors = True
            return self

        def build(self) -> JsonRowDeserializationSchema:
            """The schema.

            Raises:
                JobDefinitionError: there is no type, JSON cannot hold it, or missing fields shall both fail and be ignored.
            """
            if self._type_info is None:
                raise _no_type("builder().type_info(Types.ROW_NAMED(names, types))")
            if self._fail_on_missing_field and self._ignore_parse_errors:
                raise JobDefinitionError(
                    "missing fields cannot both fail the job and be ignored",
                    where="JsonRowDeserializationSchema",
                    fix="leave out fail_on_missing_field() or ignore_parse_errors()",
                )
            return JsonRowDeserializationSchema(
                self._type_info,
                fail_on_missing_field=self._fail_on_missing_field,
                ignore_parse_errors=self._ignore_parse_errors,
            )


class JsonRowSerializationSchema(SerializationSchema[Row]):
    """A JSON object from a row: compact, in UTF-8, with the declared names in their order.

    >>> from millstream import Row, Types
    >>> row_type = Types.ROW_NAMED(["user", "clicks"], [Types.STRING(), Types.LONG()])
    >>> schema = JsonRowSerializationSchema.builder().with_type_info(row_type).build()
    >>> schema.serialize(Row("ada", 3))
    b'{"user":"ada","clicks":3}'
    """

    def __init__(self, type_info: TypeInformation[Any]) -> None:
        self._type_info = type_info
        self._convert = to_json(type_info)

    @staticmethod
    def builder() -> JsonRowSerializationSchema.Builder:
        """As in PyFlink."""
        return JsonRowSerializationSchema.Builder()

    def serialize(self, element: Row) -> bytes:
        """The object; a tuple or dict of field values is taken for a row too.

        Raises:
            ValueError: the row is not of the type.
        """
        row = self._type_info.coerce(element)
        reason = self._type_info.mismatch((row,))
        if reason is not None:
            raise ValueError(f"{element!r:.200} is no {self._type_info.name}: {reason}")
        return _ENCODER.encode(self._convert(row))

    class Builder:
        """Builds a `JsonRowSerializationSchema`."""

        def __init__(self) -> None:
            self._type_info: TypeInformation[Any] | None = None

        def with_type_info(self, type_info: TypeInformation[Any]) -> Self:
            """The type of the rows: `Types.ROW_NAMED(names, types)`."""
            self._type_info = type_info
            return self

        def build(self) -> JsonRowSerializationSchema:
            """The schema.

            Raises:
                JobDefinitionError: there is no type, or JSON cannot hold it.
            """
            if self._type_info is None:
                raise _no_type("builder().with_type_info(Types.ROW_NAMED(names, types))")
            return JsonRowSerializationSchema(self._type_info)


_ENCODER = msgspec.json.Encoder(decimal_format="number")


def _no_type(how: str) -> JobDefinitionError:
    return JobDefinitionError("a schema of JSON rows needs their type", fix=f"give it: {how}")
