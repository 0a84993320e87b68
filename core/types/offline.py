"""Reading data without the program that wrote it: no class is looked up or imported by a name that data gives.

Within `without_program` a record of a class that was not passed comes back as a named `Row` of its fields, a member of such an
Enum as its name (combined flags as their value). Nothing of a user's module runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

from .row import RowKind, make_row

Builder: TypeAlias = Callable[[Iterable[tuple[Any, ...]]], Iterable[Any]]


class OfflineClasses:
    """The classes that may be used, by name ("module:qualname").

    Args:
        classes: what the caller passed; all others are stood in for.
    """

    def __init__(self, classes: Mapping[str, type]) -> None:
        self.classes: Final = dict(classes)
        self._builders: dict[tuple[str, tuple[str, ...]], Builder] = {}

    def builder(
        self, name: str, fields: tuple[str, ...], make: Callable[[type, tuple[str, ...]], Builder]
    ) -> Builder:
        """What puts records of a class together: made by `make` where the class is known, else rows."""
        found = self._builders.get((name, fields))
        if found is None:
            cls = self.classes.get(name)
            found = _rows(fields) if cls is None else make(cls, fields)
            self._builders[name, fields] = found
        return found


def _rows(fields: tuple[str, ...]) -> Builder:
    return lambda rows: (make_row(fields, list(row), RowKind.INSERT) for row in rows)


offline_classes: Final[ContextVar[OfflineClasses | None]] = ContextVar("offline_classes", default=None)
"""Set while data is read without the program; None: classes are found by their names, as a job does."""


@contextmanager
def without_program(classes: OfflineClasses) -> Iterator[None]:
    """Decode with these classes alone. Must not be left open across a `yield` to other code."""
    token = offline_classes.set(classes)
    try:
        yield
    finally:
        offline_classes.reset(token)
