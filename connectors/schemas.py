"""Schemas: how the bytes of an outside system become records, and records become bytes.

Wherever a connector takes a schema, a plain callable does as well: `bytes -> T` to read, `T -> bytes` to write. The
classes carry PyFlink's names. A schema is called once for every record, so `deserializer_of` and `serializer_of` resolve
it to one bare callable when the connector opens; no schema object is looked at per record.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

from ..core.errors import JobDefinitionError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

__all__ = [
    "ByteArraySchema",
    "DeserializationSchema",
    "Deserializer",
    "JsonSchema",
    "RowFieldExtractorSchema",
    "SerializationSchema",
    "Serializer",
    "SimpleStringSchema",
    "deserializer_of",
    "serializer_of",
]


class DeserializationSchema(Generic[T_co]):
    """Turns bytes into records. Base class for schemas of your own: override `deserialize`."""

    NEVER_NONE: bool = False
    """Whether `deserialize` returns a record for all bytes (or raises): then nobody has to look for dropped ones."""

    def deserialize(self, message: bytes) -> T_co | None:
        """The record in `message`, or None to drop it. An exception fails the job, named with the record's place."""
        raise TypeError(f"{type(self).__name__} must override deserialize(message)")


class SerializationSchema(Generic[T_contra]):
    """Turns records into bytes. Base class for schemas of your own: override `serialize`."""

    def serialize(self, element: T_contra) -> bytes:
        """The bytes of `element`. An exception fails the job, named with the record."""
        raise TypeError(f"{type(self).__name__} must override serialize(element)")


Deserializer: TypeAlias = DeserializationSchema[T] | Callable[[bytes], T | None]
Serializer: TypeAlias = SerializationSchema[T] | Callable[[T], bytes]


class SimpleStringSchema(DeserializationSchema[str], SerializationSchema[str]):
    """Text in a character set, UTF-8 by default.

    >>> schema = SimpleStringSchema()
    >>> schema.deserialize(schema.serialize("Grüße"))
    'Grüße'
    """

    NEVER_NONE = True

    def __init__(self, charset: str = "UTF-8") -> None:
        self._charset = charset

    def deserialize(self, message: bytes) -> str:
        return message.decode(self._charset)

    def serialize(self, element: str) -> bytes:
        return element.encode(self._charset)


class ByteArraySchema(DeserializationSchema[bytes], SerializationSchema[bytes]):
    """The bytes themselves.

    >>> ByteArraySchema().deserialize(b"as it is")
    b'as it is'
    """

    NEVER_NONE = True

    def deserialize(self, message: bytes) -> bytes:
        return message

    def serialize(self, element: bytes) -> bytes:
        return element


class RowFieldExtractorSchema(SerializationSchema[Any]):
    """One field of a row, which holds bytes, such as the key of a Kafka record.

    >>> from millstream import Row
    >>> RowFieldExtractorSchema(0).serialize(Row(b"key", b"value"))
    b'key'

    Raises:
        JobDefinitionError: the index is no whole number from 0 on.
    """

    def __init__(self, field_index: int) -> None:
        given: Any = field_index  # the annotation is not checked at run time
        if not isinstance(given, int) or isinstance(given, bool) or given < 0:
            raise JobDefinitionError(
                f"the field of a RowFieldExtractorSchema must be a whole number from 0 on, not {given!r}",
                fix="give the position of a field of bytes, 0 for the first one",
            )
        self._field_index = field_index

    def serialize(self, element: Any) -> bytes:
        """The field as it is.

        Raises:
            TypeError: it does not hold bytes.
            IndexError: the row is too short.
        """
        field = element[self._field_index]
        if not isinstance(field, bytes | bytearray):
            message = (
                f"field {self._field_index} of {element!r:.200} must hold bytes, not {type(field).__name__}"
            )
            raise TypeError(message)
        return bytes(field)


class JsonSchema(DeserializationSchema[Any], SerializationSchema[Any]):
    """JSON values as plain Python values (dict, list, str, int, float, bool), compact and in UTF-8.

    The JSON value `null` is a dropped record, as is None from any deserialization schema.

    >>> schema = JsonSchema()
    >>> schema.serialize({"user": "ada", "clicks": 3})
    b'{"user":"ada","clicks":3}'
    >>> schema.deserialize(b'{"user":"ada","clicks":3}')
    {'user': 'ada', 'clicks': 3}
    """

    def deserialize(self, message: bytes) -> Any:  # whatever JSON value the outside world wrote
        return json.loads(message)

    def serialize(self, element: Any) -> bytes:  # whatever json.dumps takes
        return json.dumps(element, separators=(",", ":"), ensure_ascii=False).encode()


def deserializer_of(schema: Deserializer[T], *, used_as: str) -> tuple[Callable[[bytes], T | None], bool]:
    """One callable from bytes to a record, and whether it never returns None.

    Args:
        schema: a schema or a plain callable.
        used_as: what it is used as, for the message.

    Raises:
        JobDefinitionError: it is neither.
    """
    if isinstance(schema, DeserializationSchema):
        return schema.deserialize, schema.NEVER_NONE
    if not _is_class_of(schema, DeserializationSchema) and callable(schema):
        return schema, False
    raise _not_a_schema(schema, used_as, "bytes -> record")


def serializer_of(schema: Serializer[T], *, used_as: str) -> Callable[[T], bytes]:
    """One callable from a record to bytes.

    Args:
        schema: a schema or a plain callable.
        used_as: what it is used as, for the message.

    Raises:
        JobDefinitionError: it is neither.
    """
    if isinstance(schema, SerializationSchema):
        return schema.serialize
    if not _is_class_of(schema, SerializationSchema) and callable(schema):
        return schema
    raise _not_a_schema(schema, used_as, "record -> bytes")


def _is_class_of(schema: object, base: type) -> bool:
    """Whether it is the class where an instance was meant, which is callable too."""
    return isinstance(schema, type) and issubclass(schema, base)


def _not_a_schema(schema: object, used_as: str, shape: str) -> JobDefinitionError:
    return JobDefinitionError(
        f"the {used_as} is {schema!r}, which is no schema",
        fix=f"pass an instance of a schema class, such as SimpleStringSchema(), or a callable {shape}",
    )
