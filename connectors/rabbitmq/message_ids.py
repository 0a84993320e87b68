"""Ids of messages that are the same whenever a record is written again, so that whoever reads them can tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import xxhash

from ...core.errors import JobDefinitionError

MAX_ID_BYTES: Final = 255
"""Of AMQP's short strings."""


def id_of_position(namespace: Sequence[str], position: Any) -> str:
    """An id for what was made from one place of a source, e.g. (topic, partition, offset), or (key, end of a window).

    Args:
        namespace: what tells this sink from others that write from the same places.
        position: a tuple of str, int, bytes, bool and None, also nested.

    >>> id_of_position(["orders"], ("clicks", 0, 17))
    '01f48da1758b3c639af01bd47317f4d2'
    """
    try:
        encoded = msgspec.msgpack.encode([list(namespace), position])
    except TypeError as error:
        raise JobDefinitionError(
            f"a record's source position cannot be made an id: {error}",
            fix="return a tuple of str, int, bytes, bool or None from the function of set_source_position()",
        ) from error
    return xxhash.xxh3_128_hexdigest(encoded)


def checked_id(value: Any) -> str:
    """What a user's function gave as an id. Raises JobDefinitionError."""
    if isinstance(value, str) and 0 < len(value.encode()) <= MAX_ID_BYTES:
        return value
    raise JobDefinitionError(
        f"the function of set_message_id() returned {value!r}",
        fix=f"return a string of 1 to {MAX_ID_BYTES} bytes",
    )


def positioned(namespace: Sequence[str], position_of: Callable[[Any], Any]) -> Callable[[Any], str]:
    """From a record to its id, by its position."""
    return lambda value: id_of_position(namespace, position_of(value))


def given(id_of: Callable[[Any], Any]) -> Callable[[Any], str]:
    """From a record to its id, by a user's function."""
    return lambda value: checked_id(id_of(value))
