"""Which key group an entry of a table belongs to."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from ..core.errors import ProtocolViolation
from ..core.types import KeyEncoder
from .backend import TableDescriptor


def routing_encoder(descriptor: TableDescriptor) -> KeyEncoder:
    """The encoder of whatever decides the key group: the key, or the namespace (`TableDescriptor.routed_by`)."""
    if descriptor.routed_by == "key":
        return KeyEncoder(descriptor.key_type)
    assert descriptor.namespace_type is not None, "a table routed by its namespace has a namespace type"
    return KeyEncoder(descriptor.namespace_type)


class GroupCache(dict[Any, int]):
    """Key -> key group, computed once a key: `groups[key]`. Made for one pass over a table, then thrown away."""

    def __init__(self, encoder: KeyEncoder, max_parallelism: int) -> None:
        super().__init__()
        self._encode = encoder.encode
        self._max_parallelism = max_parallelism

    def __missing__(self, key: Any) -> int:
        group = self[key] = crc32(self._encode(key)) % self._max_parallelism
        return group


def foreign_group(operator: str, group: int, key_groups: tuple[int, int]) -> ProtocolViolation:
    """The error for an entry that another subtask owns."""
    return ProtocolViolation(
        f"an entry of key group {group} reached the subtask of key groups {key_groups[0]}-{key_groups[1]}",
        where=f"operator '{operator}'",
    )
