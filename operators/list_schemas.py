"""What the items of list states looked like when they were written, so that they may be read by a program that has changed.

Beside a list state that holds values of the program's types stands a union list of its schemas: an item from each subtask that
has anything in the list, read by all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ..core.errors import StateError
from ..core.types import TypeInformation, TypeSchema, conversion, difference, schema_of
from ..state.evolved_values import EvolvedValues

SCHEMAS: Final = "union:schema:"
"""The name of a list's schemas begins so, and ends with the name of the list."""


def with_schema(
    name: str, items: list[bytes], type_info: TypeInformation[Any], *, part: str = ""
) -> dict[str, list[bytes]]:
    """The list state `name`, and where there is anything in it the schema of its values, or of a part of them."""
    if not items:
        return {name: items}
    return {name: items, SCHEMAS + name + part: [msgspec.msgpack.encode(schema_of(type_info))]}


def restored_reader(
    restored: Mapping[str, Sequence[bytes]], name: str, label: str, declared: TypeInformation[Any]
) -> EvolvedValues:
    """What decodes the values in the restored items of the list `name`.

    Args:
        restored: lists of the operator; those of releases that wrote no schemas are read as declared, fields by name.
        name: of the list state.
        label: what errors call it.
        declared: the type of the values now.

    Raises:
        StateError: they were written with a type that does not fit; or by programs that differ, with rows in them.
    """
    items = sorted(set(restored.get(SCHEMAS + name, ())))
    found = [msgspec.msgpack.decode(item, type=TypeSchema) for item in items]
    now = schema_of(declared)
    for was in found:
        reason = difference(was, now)
        if reason is not None:
            raise StateError(
                f"{label}: the restored state has the type {was}, the job {now}: {reason}",
                fix="declare the type it was written with (fields may be added with a default, or removed), or give the"
                " new state another name",
            )
    if len(found) > 1 and any(conversion(was, now) for was in found):
        raise StateError(
            f"{label}: its parts were written with {len(found)} types, {', '.join(sorted(map(str, found)))}, and nothing says"
            " which part with which",
            fix="ask for the state in every subtask when it starts, then restore a checkpoint taken after that",
        )
    return EvolvedValues(found[0] if len(found) == 1 else None, declared)
