"""Keys as text: what a person writes on a command line, read by the type that the stream's keys were declared with."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn
from uuid import UUID

from ..core.errors import StateError
from ..core.types import GENERIC, CollectionTypeInfo, OptionalTypeInfo, TupleTypeInfo, TypeInformation

_INTEGERS: Final = frozenset({"BYTE", "SHORT", "INT", "LONG", "BIG_INT"})
_TEXTS: Final = frozenset({"STRING", "CHAR"})
_BOOLEANS: Final = {"true": True, "false": False}


def parse_key(text: str, key_type: TypeInformation[Any]) -> Any:
    """The key that a text stands for.

    Strings stand for themselves, numbers, dates, times and UUIDs are written as in Python, bytes as hexadecimal digits, tuples as
    JSON arrays. Where no type was declared, text that is JSON is what it says, and any other text itself.

    >>> from millstream import Types
    >>> parse_key("7", Types.LONG()), parse_key("7", Types.STRING()), parse_key('["a", 7]', GENERIC)
    (7, '7', ('a', 7))

    Raises:
        StateError: it is no key of the type, or keys of the type cannot be written as text.
    """
    if key_type == GENERIC:
        try:
            return _undeclared(json.loads(text))
        except ValueError:
            return text
    if isinstance(key_type, TupleTypeInfo | CollectionTypeInfo | OptionalTypeInfo):
        try:
            parsed = json.loads(text)
        except ValueError as error:
            _refuse(text, key_type, f"it is no JSON: {error}")
        return _from_json(parsed, key_type)
    return _from_text(text, key_type)


def _from_text(text: str, key_type: TypeInformation[Any]) -> Any:
    name = key_type.name
    if name in _TEXTS:
        return text
    read = int if name in _INTEGERS else _READERS.get(name)
    if read is None:
        raise StateError(
            f"keys of type {name} cannot be written as text",
            fix="read them in a program: state_reader.open(path, classes=[...]), then keyed(name).get(key)",
        )
    try:
        return read(text)
    except (ValueError, InvalidOperation, KeyError) as error:
        _refuse(text, key_type, str(error) or type(error).__name__)


def _from_json(parsed: Any, key_type: TypeInformation[Any]) -> Any:
    match key_type:
        case OptionalTypeInfo(inner=inner):
            return None if parsed is None else _from_json(parsed, inner)
        case TupleTypeInfo(types=types):
            if not isinstance(parsed, list) or len(parsed) != len(types):
                _refuse(json.dumps(parsed), key_type, f"write a JSON array of {len(types)} items")
            return tuple(_from_json(item, part) for item, part in zip(parsed, types, strict=True))
        case CollectionTypeInfo(kind=kind, element=element):
            if not isinstance(parsed, list):
                _refuse(json.dumps(parsed), key_type, "write a JSON array")
            return kind(_from_json(item, element) for item in parsed)
        case _ if key_type == GENERIC:
            return _undeclared(parsed)
    if isinstance(parsed, str):
        return _from_text(parsed, key_type)
    reason = key_type.mismatch((parsed,))
    if reason is not None:
        _refuse(json.dumps(parsed), key_type, reason)
    return parsed


def _undeclared(parsed: Any) -> Any:
    """Keys are hashable: arrays stand for tuples."""
    return tuple(map(_undeclared, parsed)) if isinstance(parsed, list) else parsed


def _refuse(text: str, key_type: TypeInformation[Any], why: str) -> NoReturn:
    raise StateError(
        f"'{text}' is no key of the declared type {key_type.name}: {why}",
        fix="write a tuple as a JSON array, bytes as hexadecimal digits, dates and times in ISO 8601",
    )


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "DOUBLE": float,
    "FLOAT": float,
    "BOOLEAN": lambda text: _BOOLEANS[text.lower()],
    "BIG_DEC": Decimal,
    "SQL_DATE": date.fromisoformat,
    "SQL_TIMESTAMP": datetime.fromisoformat,
    "UUID": UUID,
    "PRIMITIVE_ARRAY(BYTE)": bytes.fromhex,
}
