"""Values of two types in one stream, told apart by a tag: how two joined streams travel and are kept as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .basic import found_kind
from .info import TypeInformation

_TUPLES = frozenset({tuple})
_TAGS = frozenset({1, 2})
_PAIR = 2


@dataclass(frozen=True, repr=False)
class TaggedUnionTypeInfo(TypeInformation[tuple[int, Any]]):
    """Pairs `(1, value of the first type)` and `(2, value of the second type)`."""

    first: TypeInformation[Any]
    second: TypeInformation[Any]

    @property
    def name(self) -> str:
        return f"TAGGED_UNION({self.first.name}, {self.second.name})"

    @property
    def immutable(self) -> bool:
        return self.first.immutable and self.second.immutable

    def mismatch(self, values: Sequence[Any]) -> str | None:
        reason = _untagged(values)
        if reason is not None:
            return reason
        reasons = (
            self._of(tag).mismatch([value for found, value in values if found == tag]) for tag in (1, 2)
        )
        return next((reason for reason in reasons if reason is not None), None)

    @property
    def is_plain(self) -> bool:
        return self.first.is_plain and self.second.is_plain

    def coerce(self, value: Any) -> Any:
        if self.is_plain or _untagged((value,)) is not None:
            return value
        tag, item = value
        return tag, self._of(tag).coerce(item)

    def to_wire(self, value: Any) -> Any:
        tag, item = value
        return tag, self._of(tag).to_wire(item)

    def from_wire(self, data: Any) -> Any:
        tag, item = data
        return tag, self._of(tag).from_wire(item)

    def _of(self, tag: int) -> TypeInformation[Any]:
        return self.first if tag == 1 else self.second


def _untagged(values: Sequence[Any]) -> str | None:
    """Why these are not all tagged values."""
    if not _TUPLES.issuperset(map(type, values)):
        return found_kind(values, _TUPLES)
    if not {_PAIR}.issuperset(map(len, values)) or not _TAGS.issuperset(tag for tag, _ in values):
        return "it is not a pair of a tag, 1 or 2, and a value"
    return None
